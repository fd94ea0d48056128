"""The attributes that hold for one frame of an image, and the tables they point to."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Final

from dicomulus.dicom.json_model import items, values
from dicomulus.errors import NotAcceptableError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    BulkReader = Callable[[Sequence[str]], bytes]
    """Gives the value of an element by its path of tags and item numbers, little endian."""

_SHARED_FUNCTIONAL_GROUPS: Final = "52009229"
_PER_FRAME_FUNCTIONAL_GROUPS: Final = "52009230"

# PS3.3 §C.7.6.16.2: the macros that tell how a frame is displayed.
_MACROS: Final = (
    "00289110",  # Pixel Measures
    "00289132",  # Frame VOI LUT
    "00289145",  # Pixel Value Transformation
)

_BULK_DATA: Final = "/bulkdata/"


def frame_attributes(attributes: Mapping[str, object], number: int) -> Mapping[str, object]:
    """Give an instance's attributes with those that its functional groups say of a frame.

    Args:
        attributes: The instance's DICOM JSON.
        number: The frame, counted from 1.
    """
    shared = items(attributes, _SHARED_FUNCTIONAL_GROUPS)[:1]
    per_frame = items(attributes, _PER_FRAME_FUNCTIONAL_GROUPS)[number - 1 : number]
    merged = dict(attributes)
    for group in (*shared, *per_frame):
        for macro in _MACROS:
            for item in items(group, macro)[:1]:
                merged.update(item)
    return merged


def number_of(attributes: Mapping[str, object], tag: str) -> float | None:
    """Give an attribute's first value as a number; none when it is not one."""
    found = numbers_of(attributes, tag)
    return found[0] if found else None


def numbers_of(attributes: Mapping[str, object], tag: str) -> tuple[float, ...]:
    """Give an attribute's values as numbers, none unless all of them are."""
    try:
        return tuple(float(value) for value in values(attributes, tag))  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return ()


def table_of(attributes: Mapping[str, object], tag: str, read_bulk: BulkReader) -> bytes:
    """Give the value of a table: 16-bit numbers as little-endian bytes, or the bytes it has.

    Raises:
        NotAcceptableError: The value is not what a table has.
    """
    attribute = attributes.get(tag)
    if not isinstance(attribute, dict):
        return b""
    try:
        if "BulkDataURI" in attribute:
            return read_bulk(str(attribute["BulkDataURI"]).partition(_BULK_DATA)[2].split("/"))
        if "InlineBinary" in attribute:
            return base64.b64decode(str(attribute["InlineBinary"]))
        entries = (int(value) & 0xFFFF for value in attribute.get("Value", ()))
        return b"".join(entry.to_bytes(2, "little") for entry in entries)
    except (binascii.Error, TypeError, ValueError) as exc:
        raise NotAcceptableError(f"{tag}: not the value of a lookup table") from exc
