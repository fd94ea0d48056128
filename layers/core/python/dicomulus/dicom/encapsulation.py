"""The fragments of an encapsulated value, found by the lengths of their items (PS3.5 §A.4)."""

from __future__ import annotations

import struct
from array import array
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from dicomulus.dicom.part10 import ITEM, SEQUENCE_DELIMITER

if TYPE_CHECKING:
    from dicomulus.dicom.byte_source import ByteSource

ITEM_HEADER_BYTES: Final = 8

MAX_FRAGMENTS: Final = 2_000_000
"""Fragments that are followed; whole slide images have some hundred thousand."""

_LARGEST_OFFSET_TABLE_BYTES: Final = 4 * MAX_FRAGMENTS

_LOOK_BYTES: Final = 4
# Start of Image (T.81), Start of Codestream (T.800), the signature box of JP2.
_STREAM_STARTS: Final = (b"\xff\xd8\xff", b"\xff\x4f\xff\x51", b"\x00\x00\x00\x0c")
_STREAM_END: Final = b"\xff\xd9"


@dataclass(frozen=True, slots=True)
class Fragments:
    """The fragments of one value, without the item of the Basic Offset Table."""

    basic_offset_table: tuple[int, ...]
    offset: int
    """Where the item header of the first fragment begins."""
    lengths: array[int]
    """Bytes in each fragment, without its item header; the last one is as long as the object allows."""
    begins_stream: tuple[bool, ...]
    """For each fragment: it begins as a JPEG or JPEG 2000 code stream does."""
    ends_stream: tuple[bool, ...]
    """For each fragment: it ends as such a code stream does, padding left out."""
    end: int
    """The offset after the value, its delimiter included."""
    damage: str = ""
    """What kept the walk from the delimiter; empty when nothing did."""


def scan_fragments(source: ByteSource, offset: int, *, big_endian: bool = False) -> Fragments:
    """Walk over the items of an encapsulated value.

    A delimiter that could only be the object's last eight bytes is taken as read.

    Args:
        source: The object.
        offset: Where the value begins, which is the item of the Basic Offset Table.
        big_endian: Byte order of item headers; encapsulated values are little endian by the standard.
    """
    walk = _Walk(source, offset, "HHL" if not big_endian else ">HHL")
    table = walk.offset_table()
    first = walk.position
    walk.follow()
    return Fragments(
        basic_offset_table=table,
        offset=first,
        lengths=walk.lengths,
        begins_stream=tuple(walk.begins),
        ends_stream=tuple(walk.ends),
        end=walk.position,
        damage=walk.damage,
    )


class _Walk:
    def __init__(self, source: ByteSource, offset: int, layout: str) -> None:
        self.source = source
        self.position = offset
        self.layout = layout if layout.startswith(">") else "<" + layout
        self.lengths = array("Q")
        self.begins: list[bool] = []
        self.ends: list[bool] = []
        self.damage = ""

    def offset_table(self) -> tuple[int, ...]:
        """Read the first item, which is the table, and stand after it."""
        raw = self.source.read(self.position, ITEM_HEADER_BYTES)
        tag, length = self.unpack(raw)
        end = self.position + ITEM_HEADER_BYTES + length
        if tag != ITEM or end > self.source.size:
            # Nothing is passed over: the walk sees the same and tells what is wrong.
            return ()
        self.position = end
        if length > _LARGEST_OFFSET_TABLE_BYTES:
            return ()
        count = length // 4
        table = self.source.read(end - length, 4 * count)
        return struct.unpack(f"{self.layout[0]}{count}L", table)

    def unpack(self, raw: bytes) -> tuple[int, int]:
        if len(raw) < ITEM_HEADER_BYTES:
            return 0, 0
        group, number, length = struct.unpack(self.layout, raw)
        return group << 16 | number, length

    def follow(self) -> None:
        """Go from item to item until the delimiter, the object's end or something else."""
        while self.source.size - self.position > ITEM_HEADER_BYTES:
            look_back = _LOOK_BYTES if self.lengths else 0
            raw = self.source.read(
                self.position - look_back, look_back + ITEM_HEADER_BYTES + _LOOK_BYTES
            )
            header = raw[look_back : look_back + ITEM_HEADER_BYTES]
            tag, length = self.unpack(header)
            self.note_end(raw[:look_back])
            if tag == SEQUENCE_DELIMITER:
                self.position += ITEM_HEADER_BYTES
                return
            if tag != ITEM or len(self.lengths) == MAX_FRAGMENTS:
                self.damage = "the fragments end in something else than their delimiter"
                self.position = self.source.size
                return
            self.note_fragment(length, raw[look_back + ITEM_HEADER_BYTES :])
        self.reach_end()

    def note_fragment(self, length: int, start: bytes) -> None:
        self.position += ITEM_HEADER_BYTES
        held = min(length, self.source.size - self.position)
        if held < length:
            self.damage = "the object ends within a fragment"
        self.lengths.append(held)
        self.begins.append(start.startswith(_STREAM_STARTS))
        self.position += held

    def note_end(self, last_bytes: bytes) -> None:
        """Note how the fragment before the position ended."""
        if len(self.ends) < len(self.lengths):
            self.ends.append(last_bytes.rstrip(b"\0").endswith(_STREAM_END))

    def reach_end(self) -> None:
        if len(self.ends) < len(self.lengths):
            # One fragment is told apart by nothing, so its end need not be looked at.
            single = len(self.lengths) == 1
            tail = b"" if single else self.source.read(self.position - _LOOK_BYTES, _LOOK_BYTES)
            self.note_end(tail)
        self.position = self.source.size
