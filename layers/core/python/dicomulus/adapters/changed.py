"""How both indexes write what a change is of."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from dicomulus.dicom.resource import PatientResource, resource_of, uids_of

if TYPE_CHECKING:
    from dicomulus.ports import ChangedResource

_PATIENT: Final = "patient"


def format_changed(resource: ChangedResource) -> str:
    """Write a resource as JSON: its UIDs from the study down, or the patient by name."""
    if isinstance(resource, PatientResource):
        return json.dumps({_PATIENT: resource.patient_id}, ensure_ascii=False)
    return json.dumps(uids_of(resource), ensure_ascii=False, separators=(",", ":"))


def parse_changed(text: str) -> ChangedResource:
    """Read what ``format_changed`` wrote."""
    content = json.loads(text)
    if isinstance(content, dict):
        return PatientResource(content[_PATIENT])
    return resource_of(content)
