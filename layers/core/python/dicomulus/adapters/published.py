"""What those outside are told of a change: UIDs and Orthanc's identifiers, and nothing of patients."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from dicomulus.dicom.orthanc_id import level_of, orthanc_id
from dicomulus.dicom.resource import PatientResource, uids_of

if TYPE_CHECKING:
    from dicomulus.ports import Change

_UID_NAMES: Final = ("study_instance_uid", "series_instance_uid", "sop_instance_uid")


def published(change: Change) -> dict[str, Any]:
    """Give a change as a JSON object; a patient is named by the identifier alone."""
    resource = change.resource
    uids = () if isinstance(resource, PatientResource) else uids_of(resource)
    when = datetime.fromtimestamp(change.date_ms / 1000, UTC)
    return {
        "sequence": change.sequence,
        "type": change.type.value,
        "date": when.isoformat(timespec="milliseconds"),
        "level": level_of(resource).value,
        "id": orthanc_id(change.patient_id, resource),
        **dict(zip(_UID_NAMES, uids, strict=False)),
        **({} if change.number is None else {"number": change.number}),
    }


def as_json(content: object) -> str:
    """Write it as compact JSON."""
    return json.dumps(content, ensure_ascii=False, separators=(",", ":"))
