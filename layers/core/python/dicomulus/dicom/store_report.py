"""The Store Instances Response Module (PS3.18 §I.2)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

from dicomulus.dicom.resource import study_path

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dicomulus.dicom.level_json import Element
    from dicomulus.dicom.resource import InstanceResource


class FailureReason(IntEnum):
    """Values of FailureReason (0008,1197) (PS3.18 Table I.2-2, PS3.7 §C.5)."""

    PROCESSING_FAILURE = 0x0110
    DUPLICATE_SOP_INSTANCE = 0x0111
    OUT_OF_RESOURCES = 0xA700
    DOES_NOT_MATCH = 0xA900
    CANNOT_UNDERSTAND = 0xC000


@dataclass(frozen=True, slots=True)
class Stored:
    """An instance that is in the archive now."""

    instance: InstanceResource
    sop_class_uid: str


@dataclass(frozen=True, slots=True)
class Failed:
    """An object that is not; without an instance if none could be read from it."""

    reason: FailureReason
    instance: InstanceResource | None = None
    sop_class_uid: str = ""


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
        elements["0008119A"] = _sequence([{"00081197": _number(e.reason)} for e in unnamed])
    studies = {each.instance.study_instance_uid for each in stored}
    if len(studies) == 1:
        elements["00081190"] = _url(base_url + study_path(studies.pop()))
    return dict(sorted(elements.items()))


def _stored_item(each: Stored, base_url: str) -> dict[str, Element]:
    return _reference(each.sop_class_uid, each.instance) | {
        "00081190": _url(base_url + each.instance.path)
    }


def _failed_item(each: Failed) -> dict[str, Element]:
    if each.instance is None:
        return {"00081197": _number(each.reason)}
    return _reference(each.sop_class_uid, each.instance) | {"00081197": _number(each.reason)}


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
