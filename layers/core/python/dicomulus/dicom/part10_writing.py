"""Elements and file meta information as bytes of Explicit VR Little Endian (PS3.5 §7.1, PS3.10 §7)."""

from __future__ import annotations

import struct
from typing import Final

from dicomulus.dicom.part10 import ITEM, SEQUENCE_DELIMITER, SHORT_VRS, UNDEFINED

IMPLEMENTATION_CLASS_UID: Final = "2.25.160431883256112985480433936829019169751"
"""Names this writer in the file meta (PS3.7 §D.3.3.2)."""

IMPLEMENTATION_VERSION_NAME: Final = "DICOMULUS"

LARGEST_SHORT_BYTES: Final = 0xFFFE
"""Bytes of a value whose length takes two bytes; lengths are even (PS3.5 §7.1.1)."""

LARGEST_LONG_BYTES: Final = 0xFFFFFFFE
"""Bytes of any other value."""

SEQUENCE_END: Final = struct.pack("<HHL", SEQUENCE_DELIMITER >> 16, SEQUENCE_DELIMITER & 0xFFFF, 0)

_SHORT: Final = frozenset(vr.decode() for vr in SHORT_VRS)
_SPACE_PADDED: Final = frozenset(
    ["AE", "AS", "CS", "DA", "DS", "DT", "IS", "LO", "LT", "PN", "SH", "ST", "TM", "UC", "UR", "UT"]
)


def is_short(vr: str) -> bool:
    """Tell whether lengths of the VR take two bytes."""
    return vr in _SHORT


def element_head(tag: int, vr: str, length: int | None) -> bytes:
    """Write what stands before a value; without a length its end is marked."""
    number = UNDEFINED if length is None else length
    where = struct.pack("<HH", tag >> 16, tag & 0xFFFF)
    if vr in _SHORT:
        return where + vr.encode("ascii") + struct.pack("<H", number)
    return where + vr.encode("ascii") + struct.pack("<HL", 0, number)


def item_head(length: int) -> bytes:
    """Write what stands before an item or a fragment."""
    return struct.pack("<HHL", ITEM >> 16, ITEM & 0xFFFF, length)


def padding(vr: str, length: int) -> bytes:
    """Give what makes a value's length even."""
    if length % 2 == 0:
        return b""
    return b" " if vr in _SPACE_PADDED else b"\0"


def element(tag: int, vr: str, value: bytes) -> bytes:
    """Write an element; one that is too long for the length of its VR becomes UN (PS3.5 §6.2.2)."""
    padded = value + padding(vr, len(value))
    if len(padded) > LARGEST_SHORT_BYTES and is_short(vr):
        vr = "UN"
    return element_head(tag, vr, len(padded)) + padded


def file_meta(
    *,
    sop_class_uid: str,
    sop_instance_uid: str,
    transfer_syntax_uid: str,
    source_application: str = "",
) -> bytes:
    """Write preamble and file meta information; what is empty is left out."""
    texts = {
        0x00020002: ("UI", sop_class_uid),
        0x00020003: ("UI", sop_instance_uid),
        0x00020010: ("UI", transfer_syntax_uid),
        0x00020012: ("UI", IMPLEMENTATION_CLASS_UID),
        0x00020013: ("SH", IMPLEMENTATION_VERSION_NAME),
        0x00020016: ("AE", source_application),
    }
    group = element(0x00020001, "OB", b"\x00\x01") + b"".join(
        element(tag, vr, text.encode("latin-1", "replace"))
        for tag, (vr, text) in texts.items()
        if text
    )
    return b"\0" * 128 + b"DICM" + element(0x00020000, "UL", struct.pack("<L", len(group))) + group
