"""Elements, sequences and whole objects written byte by byte, sound and otherwise."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from dicomulus.dicom.part10 import Encoding

if TYPE_CHECKING:
    from collections.abc import Sequence

EXPLICIT: Final = Encoding()
IMPLICIT: Final = Encoding(implicit=True)
BIG_ENDIAN: Final = Encoding(big_endian=True)

UNDEFINED: Final = 0xFFFFFFFF
ITEM: Final = 0xFFFEE000
ITEM_END: Final = struct.pack("<HHL", 0xFFFE, 0xE00D, 0)
SEQUENCE_END: Final = struct.pack("<HHL", 0xFFFE, 0xE0DD, 0)

_LONG_VRS: Final = frozenset(
    {"OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"}
)


def encode_element(
    tag: int, vr: str, value: bytes, *, encoding: Encoding = EXPLICIT, length: int | None = None
) -> bytes:
    """Write an element; ``length`` is what the header claims, the value's own by default."""
    order = ">" if encoding.big_endian else "<"
    claimed = len(value) if length is None else length
    head = struct.pack(f"{order}HH", tag >> 16, tag & 0xFFFF)
    if encoding.implicit or tag >> 16 == 0xFFFE:
        return head + struct.pack(f"{order}L", claimed) + value
    if vr in _LONG_VRS:
        return head + vr.encode() + struct.pack(f"{order}HL", 0, claimed) + value
    return head + vr.encode() + struct.pack(f"{order}H", claimed) + value


def encode_item(content: bytes, *, delimited: bool = False) -> bytes:
    """Write a little endian item, of defined length or with a delimiter."""
    if delimited:
        return struct.pack("<HHL", 0xFFFE, 0xE000, UNDEFINED) + content + ITEM_END
    return struct.pack("<HHL", 0xFFFE, 0xE000, len(content)) + content


def encode_fragments(
    fragments: Sequence[bytes], *, table: Sequence[int] = (), end: bytes = SEQUENCE_END
) -> bytes:
    """Write an encapsulated value: offset table, fragments, delimiter."""
    items = [struct.pack(f"<{len(table)}L", *table), *fragments]
    return b"".join(map(encode_item, items)) + end


def encode_file_meta(transfer_syntax_uid: str) -> bytes:
    """Write preamble and file meta with nothing but the transfer syntax."""
    uid = transfer_syntax_uid.encode() + b"\0" * (len(transfer_syntax_uid) % 2)
    return bytes(128) + b"DICM" + encode_element(0x00020010, "UI", uid)


def encode_uids(*, encoding: Encoding = EXPLICIT) -> bytes:
    """Write the UIDs that an instance needs: 1.2 of study, 1.3 of series, 1.4 of instance."""
    return b"".join(
        encode_element(tag, "UI", value, encoding=encoding)
        for tag, value in (
            (0x00080018, b"1.4\0"),
            (0x0020000D, b"1.2\0"),
            (0x0020000E, b"1.3\0"),
        )
    )


def encode_object(
    *elements: bytes,
    transfer_syntax_uid: str = "1.2.840.10008.1.2.1",
    encoding: Encoding = EXPLICIT,
) -> bytes:
    """Write an object with its UIDs and the elements given."""
    uids = encode_uids(encoding=encoding)
    return encode_file_meta(transfer_syntax_uid) + uids + b"".join(elements)
