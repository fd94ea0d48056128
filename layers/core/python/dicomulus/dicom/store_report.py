"""The Store Instances Response Module (PS3.18 §I.2)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Final

from dicomulus.dicom.resource import study_path

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dicomulus.dicom.level_json import Element
    from dicomulus.dicom.resource import InstanceResource


MAX_COMMENT_LENGTH: Final = 64
"""Characters of ErrorComment (0000,0902), which is of VR LO (PS3.5 §6.2)."""


class FailureReason(IntEnum):
    """Values of FailureReason (0008,1197) (PS3.18 Table I.2-2, PS3.7 §C.5)."""

    PROCESSING_FAILURE = 0x0110
    DUPLICATE_SOP_INSTANCE = 0x0111
    SOP_CLASS_NOT_SUPPORTED = 0x0122
    OUT_OF_RESOURCES = 0xA700
    DOES_NOT_MATCH = 0xA900
    CANNOT_UNDERSTAND = 0xC000
    TRANSFER_SYNTAX_NOT_SUPPORTED = 0xC122

    @property
    def is_passing(self) -> bool:
        """Whether the same object may be stored later."""
        return self in (FailureReason.PROCESSING_FAILURE, FailureReason.OUT_OF_RESOURCES)


class WarningReason(IntEnum):
    """Values of WarningReason (0008,1196) (PS3.18 Table I.2-1, PS3.7 §C.5)."""

    ATTRIBUTE_OUT_OF_RANGE = 0x0116
    DOES_NOT_MATCH_SOP_CLASS = 0xB007


@dataclass(frozen=True, slots=True)
class Stored:
    """An instance that is in the archive now."""

    instance: InstanceResource
    sop_class_uid: str
    warning: WarningReason | None = None
    patient_id: str = ""
    is_new: bool = True
    """Whether its bytes were written just now."""


@dataclass(frozen=True, slots=True)
class Failed:
    """An object that is not; without an instance if none could be read from it."""

    reason: FailureReason
    instance: InstanceResource | None = None
    sop_class_uid: str = ""
    comment: str = ""
    """What is wrong, for people; without patient data."""
    patient_id: str = ""
    """As far as it could be read."""


def store_report(
    stored: Sequence[Stored], failed: Sequence[Failed], *, base_url: str
) -> dict[str, Element]:
    """Give the response as DICOM JSON; sequences without items are left out."""
    named = [each for each in failed if each.instance is not None]
    unnamed = [each for each in failed if each.instance is None]
    elements: dict[str, Element] = {}
    if named:
        elements["00081198"] = _sequence([_failed_item(each) for each in named])
    if stored:
        elements["00081199"] = _sequence([_stored_item(each, base_url) for each in stored])
    if unnamed:
        elements["0008119A"] = _sequence([_why(each) for each in unnamed])
    studies = {each.instance.study_instance_uid for each in stored}
    # Of type 2: there in any case, without a value where there is no one study.
    elements["00081190"] = (
        _url(base_url + study_path(studies.pop())) if len(studies) == 1 else {"vr": "UR"}
    )
    return dict(sorted(elements.items()))


def _stored_item(each: Stored, base_url: str) -> dict[str, Element]:
    warning = {} if each.warning is None else {"00081196": _number(each.warning)}
    return {
        **_reference(each.sop_class_uid, each.instance),
        "00081190": _url(base_url + each.instance.path),
        **warning,
    }


def _failed_item(each: Failed) -> dict[str, Element]:
    if each.instance is None:
        return _why(each)
    return dict(sorted({**_reference(each.sop_class_uid, each.instance), **_why(each)}.items()))


def _why(each: Failed) -> dict[str, Element]:
    # No attribute of the module is for this; other servers take the same one.
    comment = each.comment[:MAX_COMMENT_LENGTH].strip()
    told: dict[str, Element] = {} if not comment else {"00000902": {"vr": "LO", "Value": [comment]}}
    return {**told, "00081197": _number(each.reason)}


def _reference(sop_class_uid: str, instance: InstanceResource) -> dict[str, Element]:
    return {
        "00081150": {"vr": "UI", "Value": [sop_class_uid]} if sop_class_uid else {"vr": "UI"},
        "00081155": {"vr": "UI", "Value": [instance.sop_instance_uid]},
    }


def _sequence(items: list[dict[str, Element]]) -> Element:
    return {"vr": "SQ", "Value": items}


def _url(url: str) -> Element:
    return {"vr": "UR", "Value": [url]}


def _number(value: int) -> Element:
    return {"vr": "US", "Value": [int(value)]}
