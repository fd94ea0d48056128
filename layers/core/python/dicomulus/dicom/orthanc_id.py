"""The identifiers that Orthanc's REST API has for resources, which follow from their UIDs."""

from __future__ import annotations

import hashlib
import re
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from dicomulus.dicom.resource import InstanceResource, PatientResource, SeriesResource, uids_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dicomulus.dicom.resource import Resource

_GROUP: Final = 8
_ID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{8}){4}")

_SPACES: Final = " \t\n\v\f\r\0"
"""What surrounds the values that are hashed and does not count."""


class Level(StrEnum):
    """The levels of the hierarchy, as answers name them."""

    PATIENT = "Patient"
    STUDY = "Study"
    SERIES = "Series"
    INSTANCE = "Instance"

    @property
    def plural(self) -> str:
        """What paths have for it."""
        return _PLURALS[self]


_PLURALS: Final = {
    Level.PATIENT: "patients",
    Level.STUDY: "studies",
    Level.SERIES: "series",
    Level.INSTANCE: "instances",
}


def level_of(resource: Resource) -> Level:
    """Give the level of a resource."""
    if isinstance(resource, PatientResource):
        return Level.PATIENT
    if isinstance(resource, str):
        return Level.STUDY
    return Level.SERIES if isinstance(resource, SeriesResource) else Level.INSTANCE


def orthanc_id(patient_id: str, resource: Resource) -> str:
    """Give the identifier of a resource of a patient.

    It is the SHA-1 of the Patient ID and the UIDs down to the resource, joined by ``|``, as five
    groups of eight digits.
    """
    uids = () if isinstance(resource, PatientResource) else uids_of(resource)
    hashed = "|".join(part.strip(_SPACES) for part in (patient_id, *uids))
    digits = hashlib.sha1(hashed.encode("utf-8", "replace"), usedforsecurity=False).hexdigest()
    return "-".join(digits[at : at + _GROUP] for at in range(0, len(digits), _GROUP))


def is_orthanc_id(text: str) -> bool:
    """Tell whether a text could be an identifier."""
    return _ID.fullmatch(text) is not None


def patient_of(patient_id: str) -> PatientResource:
    """Give the patient of a Patient ID as data sets have it."""
    return PatientResource(patient_id.strip(_SPACES))


def identifiers_of(patient_id: str, instance: InstanceResource) -> Mapping[str, Resource]:
    """Give the identifiers of an instance and of all above it, with what each is of."""
    above: tuple[Resource, ...] = (
        patient_of(patient_id),
        instance.study_instance_uid,
        instance.series,
        instance,
    )
    return {orthanc_id(patient_id, resource): resource for resource in above}
