"""DICOM JSON as pydicom writes it, and what of it differs from ours on purpose."""

from __future__ import annotations

import base64
import io
from typing import Any

import pydicom

from dicomulus.dicom.element_tree import INLINE_BYTES


def pydicom_json(content: bytes) -> dict[str, Any]:
    """Convert element by element, as pydicom gives up at the first one it cannot convert."""
    dataset = pydicom.dcmread(io.BytesIO(content), force=True)
    converted: dict[str, Any] = {}
    for tag in sorted(dataset.keys()):
        try:
            converted[f"{tag:08X}"] = dataset[tag].to_json_dict(None, 0)
        except ValueError:
            converted[f"{tag:08X}"] = {"vr": dataset.get_item(tag).VR}
    return converted


def normal_json(attributes: dict[str, Any], *, top_level: bool = True) -> dict[str, Any]:
    """Take out what differs on purpose, everywhere alike.

    Group lengths are not part of DICOM JSON; Specific Character Set is always ISO_IR 192; values over
    1,024 bytes and pixel data are bulk data; empty values are null or leave the attribute empty; AE is
    padded with NUL in real files, which pydicom leaves.
    """
    normal: dict[str, Any] = {}
    for tag, attribute in attributes.items():
        if tag.endswith("0000") or tag == "00080005":
            continue
        normal[tag] = _normal_attribute(tag, dict(attribute), top_level=top_level)
    return normal


def _normal_attribute(tag: str, attribute: dict[str, Any], *, top_level: bool) -> dict[str, Any]:
    if attribute["vr"] == "SQ":
        items = attribute.get("Value", [])
        return {"vr": "SQ", "Value": [normal_json(item, top_level=False) for item in items]}
    inline = base64.b64decode(attribute.get("InlineBinary", ""))
    is_pixel_data = top_level and tag in ("7FE00008", "7FE00009", "7FE00010")
    if "BulkDataURI" in attribute or len(inline) > INLINE_BYTES or (is_pixel_data and inline):
        return {"vr": attribute["vr"], "is bulk data": True}
    if "Value" in attribute:
        values = [_normal_value(value) for value in attribute.pop("Value")]
        if any(value is not None for value in values):
            attribute["Value"] = values
    return attribute


def _normal_value(value: Any) -> Any:
    if isinstance(value, str):
        return value.rstrip(" \0") or None
    if isinstance(value, dict):
        return {group: text for group, text in value.items() if text} or None
    return value


def differing_paths(ours: dict[str, Any], theirs: dict[str, Any], path: str = "") -> list[str]:
    """Give the paths, ``tag`` or ``tag/item/tag``, of attributes that are not equal."""
    differing: list[str] = []
    for tag in sorted(ours.keys() | theirs.keys()):
        our, their = ours.get(tag, {}), theirs.get(tag, {})
        if our == their:
            continue
        is_sequence = our.get("vr") == their.get("vr") == "SQ"
        if is_sequence and len(our["Value"]) == len(their["Value"]):
            pairs = zip(our["Value"], their["Value"], strict=True)
            for number, (our_item, their_item) in enumerate(pairs, start=1):
                differing += differing_paths(our_item, their_item, f"{path}{tag}/{number}/")
        else:
            differing.append(f"{path}{tag}")
    return differing


def differing_from_pydicom(ours: dict[str, Any], content: bytes) -> list[str]:
    """Give the paths of attributes that are not as pydicom has them, but for what it cannot read.

    A DS or IS that is no number is kept as a string (CP-1861); pydicom raises.
    """
    normal = normal_json(ours)
    differing = differing_paths(normal, normal_json(pydicom_json(content)))
    return [path for path in differing if not _is_no_number(normal.get(path, {}))]


def _is_no_number(attribute: dict[str, Any]) -> bool:
    values = attribute.get("Value", ())
    return attribute.get("vr") in ("DS", "IS") and any(isinstance(each, str) for each in values)
