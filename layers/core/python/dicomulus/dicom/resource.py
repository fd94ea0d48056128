"""The target resources of DICOMweb, as values (PS3.18 §6.5)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias
from urllib.parse import quote, unquote

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_UID_PART_LENGTH: Final = 240
"""Characters of a UID as a path or key part. Real files break the 64 of PS3.5 §9.1, but a file
name has at most 255 bytes, and a key of three UIDs at most 1,024."""


_PLAIN_UID: Final = re.compile(r"[0-9][0-9.]*")
"""A UID that needs no quoting, as nearly all."""


def quote_uid(uid: str) -> str:
    """Give a UID as one path or key part; those of digits and dots are left as they are."""
    if _PLAIN_UID.fullmatch(uid):
        return uid
    # "." and ".." would be path navigation to clients and file systems.
    if uid.strip(".") == "":
        return uid.replace(".", "%2E")
    return quote(uid, safe="")


def is_addressable(uid: str) -> bool:
    """Whether a UID can be part of a path and of a key: neither too long nor of control codes."""
    return uid.isprintable() and len(quote_uid(uid)) <= MAX_UID_PART_LENGTH


@dataclass(frozen=True, slots=True, order=True)
class PatientResource:
    """All studies with one Patient ID, which is empty where they have none.

    No resource of DICOMweb: Orthanc's REST API has it.
    """

    patient_id: str
    """Without the spaces around it."""


@dataclass(frozen=True, slots=True, order=True)
class SeriesResource:
    """A series within its study."""

    study_instance_uid: str
    series_instance_uid: str

    @property
    def path(self) -> str:
        """The path below the base URL, beginning with a slash."""
        study, series = quote_uid(self.study_instance_uid), quote_uid(self.series_instance_uid)
        return f"/studies/{study}/series/{series}"


@dataclass(frozen=True, slots=True, order=True)
class InstanceResource:
    """An instance within its series and study."""

    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str

    @property
    def series(self) -> SeriesResource:
        """The series that the instance belongs to."""
        return SeriesResource(self.study_instance_uid, self.series_instance_uid)

    @property
    def path(self) -> str:
        """The path below the base URL, beginning with a slash."""
        return f"{self.series.path}/instances/{quote_uid(self.sop_instance_uid)}"


Resource: TypeAlias = PatientResource | str | SeriesResource | InstanceResource
"""A resource of any level; a study by its Study Instance UID."""


def uids_of(resource: str | SeriesResource | InstanceResource) -> tuple[str, ...]:
    """Give the UIDs of a resource from the study down; a study is named by its UID."""
    if isinstance(resource, InstanceResource):
        return (*uids_of(resource.series), resource.sop_instance_uid)
    if isinstance(resource, SeriesResource):
        return resource.study_instance_uid, resource.series_instance_uid
    return (resource,)


def resource_of(uids: Sequence[str]) -> str | SeriesResource | InstanceResource:
    """Give the resource of one, two or three UIDs, as ``uids_of`` gives them."""
    if len(uids) == 1:
        return uids[0]
    return SeriesResource(*uids) if len(uids) == 2 else InstanceResource(*uids)


def study_path(study_instance_uid: str) -> str:
    """Give a study's path below the base URL, beginning with a slash."""
    return f"/studies/{quote_uid(study_instance_uid)}"


_KEY_PREFIX: Final = "dicom/"
_KEY_SUFFIX: Final = ".dcm"
_COMPRESSED_SUFFIX: Final = ".gz"


def canonical_key(instance: InstanceResource) -> str:
    """Give the object key under which a stored instance lies, unless it is compressed there."""
    parts = (
        instance.study_instance_uid,
        instance.series_instance_uid,
        instance.sop_instance_uid,
    )
    return _KEY_PREFIX + "/".join(quote_uid(uid) for uid in parts) + _KEY_SUFFIX


def compressed_key(instance: InstanceResource) -> str:
    """Give the object key under which a stored instance lies that is compressed at rest."""
    return canonical_key(instance) + _COMPRESSED_SUFFIX


def is_key_of(object_key: str, instance: InstanceResource) -> bool:
    """Whether a key is the canonical one of an instance, compressed or not."""
    return object_key.removesuffix(_COMPRESSED_SUFFIX) == canonical_key(instance)


def is_compressed_key(object_key: str) -> bool:
    """Whether a key is a canonical one of an instance that is compressed at rest."""
    return object_key.endswith(_KEY_SUFFIX + _COMPRESSED_SUFFIX) and (
        instance_of_key(object_key) is not None
    )


def other_form(object_key: str) -> str | None:
    """Give the other canonical key of a canonical key's instance; none for any other key."""
    if instance_of_key(object_key) is None:
        return None
    plain = object_key.removesuffix(_COMPRESSED_SUFFIX)
    return plain + _COMPRESSED_SUFFIX if plain == object_key else plain


def instance_of_key(object_key: str) -> InstanceResource | None:
    """Give the instance that a canonical key names; none for any other key."""
    plain = object_key.removesuffix(_COMPRESSED_SUFFIX)
    if not (plain.startswith(_KEY_PREFIX) and plain.endswith(_KEY_SUFFIX)):
        return None
    parts = plain[len(_KEY_PREFIX) : -len(_KEY_SUFFIX)].split("/")
    if len(parts) != 3 or not all(parts):
        return None
    instance = InstanceResource(*(unquote(part) for part in parts))
    return instance if canonical_key(instance) == plain else None
