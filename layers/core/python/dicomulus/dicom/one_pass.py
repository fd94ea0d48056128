"""Little endian data sets as members of DICOM JSON, in one pass over bytes that are as the standard has them.

Anything else is unusual and left to the careful way: elements out of order, lengths that do not fit,
delimiters that are missing. Within a usual data set single values that take more than copying go to the
element converter. Elements that were seen before, as most of a series' are, cost a look into a table.
"""

from __future__ import annotations

import math
import re
import struct
from dataclasses import dataclass, field
from enum import Enum, auto
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from dicomulus.dicom import element_tree, json_value
from dicomulus.dicom.byte_source import FIRST_READ_BYTES
from dicomulus.dicom.character_sets import UNDECLARED, CharacterSet, character_set_of
from dicomulus.dicom.element_json import (
    LUT_DESCRIPTOR,
    PIXEL_REPRESENTATION,
    SPECIFIC_CHARACTER_SET,
    Context,
    json_character_set,
)
from dicomulus.dicom.element_tree import Node, binary_limit, note_creator, resolved_vr
from dicomulus.dicom.encapsulation import scan_fragments
from dicomulus.dicom.part10 import (
    EXTENDED_OFFSET_TABLE,
    EXTENDED_OFFSET_TABLE_LENGTHS,
    LONG_VRS,
    MAX_DEPTH,
    PIXEL_TAGS,
    SHORT_VRS,
    UNDEFINED,
    Element,
    format_tag,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from dicomulus.dicom.byte_source import ByteSource
    from dicomulus.dicom.element_json import ElementConverter
    from dicomulus.dicom.encapsulation import Fragments
    from dicomulus.dicom.part10 import Encoding

SOP_CLASS_UID: Final = "00080016"
SOP_INSTANCE_UID: Final = "00080018"
STUDY_INSTANCE_UID: Final = "0020000D"
SERIES_INSTANCE_UID: Final = "0020000E"
UID_TAGS: Final = frozenset(
    {SOP_CLASS_UID, SOP_INSTANCE_UID, STUDY_INSTANCE_UID, SERIES_INSTANCE_UID}
)
PIXEL_ELEMENT_TAGS: Final = PIXEL_TAGS | {EXTENDED_OFFSET_TABLE, EXTENDED_OFFSET_TABLE_LENGTHS}

_ITEM: Final = b"\xfe\xff\x00\xe0"
_ITEM_DELIMITER: Final = b"\xfe\xff\x0d\xe0\0\0\0\0"
_SEQUENCE_DELIMITER: Final = b"\xfe\xff\xdd\xe0\0\0\0\0"
_ITEM_HEADER_BYTES: Final = 8
_LEAST_ELEMENT_BYTES: Final = 8
_LONGEST_HEAD_BYTES: Final = 12

_NOTED_TAGS: Final = PIXEL_ELEMENT_TAGS | {
    int(tag, 16) for tag in (*UID_TAGS, PIXEL_REPRESENTATION, LUT_DESCRIPTOR)
}

_HEADS_HELD: Final = 8192
"""Tags, with their VRs, of which the table is kept."""

_MEMORIES_HELD: Final = 8
"""Character sets and encodings whose elements are remembered."""

_CHARACTER_SETS_HELD: Final = 64

_REMEMBERED_BYTES: Final = 4 * 1_048_576
"""Bytes after which a memory begins anew."""

_ENTRY_BYTES: Final = 200
"""Bytes that an entry takes beside its text and the bytes it stands for, roughly."""

_LARGEST_REMEMBERED_BYTES: Final = 65_536
"""Bytes of the largest entry."""


class UnusualError(Exception):
    """The data set is not written as the standard has it, or in a way this module leaves out."""


class _Kind(Enum):
    """What is to be done with an element beside writing its value."""

    PLAIN = auto()
    NOTED = auto()
    """Others depend on it."""
    CHARACTER_SET = auto()
    SEQUENCE = auto()
    PIXEL = auto()
    UNKNOWN = auto()
    """The VR is found by the private creator, or by a dictionary instead of UN."""
    OPEN = auto()
    """The VR depends on other attributes."""
    LEFT_OUT = auto()
    """Group lengths, which are not part of DICOM JSON (PS3.18 §F.2.2)."""


@dataclass(frozen=True, slots=True)
class _Head:
    """What the first bytes of an element say, which are its tag and, where it is written, its VR."""

    kind: _Kind
    tag: int
    name: str
    """8 upper-case hexadecimal digits."""
    written_vr: str
    vr: str
    length_at: int
    """Bytes from the element's begin to its length."""
    value_at: int
    """Bytes from the element's begin to its value."""
    limit: int
    """Bytes over which a value is left out."""
    prefix: str
    """The member up to its value."""
    quick: Callable[[bytes], str | None]
    """Writes usual values; gives none for others."""


@dataclass(slots=True)
class ReadMembers:
    """What one pass over a data set gives."""

    members: dict[str, str] = field(default_factory=dict)
    """By tag, in ascending order; BulkDataURIs lack the path of the instance."""
    uids: dict[str, bytes] = field(default_factory=dict)
    """Values of ``UID_TAGS``, as far as they are there."""
    pixel_elements: dict[int, Element] = field(default_factory=dict)
    """Elements of ``PIXEL_ELEMENT_TAGS``."""
    fragments: Fragments | None = None
    """Those of the pixel element, if its length is undefined."""


def read_members(
    source: ByteSource, start: int, *, encoding: Encoding, converter: ElementConverter
) -> ReadMembers:
    """Convert the data set from an offset to the end of the object.

    Raises:
        UnusualError: The careful way is needed; the converter has findings that count no more.
        NeedMoreError: The source does not hold what is wanted.
    """
    if encoding.big_endian:
        raise UnusualError
    one_pass = _OnePass(source, converter, implicit=encoding.implicit)
    one_pass.read(start)
    return one_pass.result


# --- values ----------------------------------------------------------------------------------------

# Without control characters, quotes and backslashes, and with nothing to trim at its begin.
_PLAIN_TEXT: Final = re.compile(rb"[!#-\[\]-~][ !#-\[\]-~]*")
_PLAIN_NAME: Final = re.compile(rb"[!#-<>-\[\]-~][ !#-<>-\[\]-~]*")
# Whole numbers of more digits are not exact in every reader.
_PLAIN_NUMBER: Final = rb"-?(?:0|[1-9][0-9]{0,14})(?:\.[0-9]{1,40})?"
_PLAIN_NUMBERS: Final = re.compile(_PLAIN_NUMBER + rb"(?:\\" + _PLAIN_NUMBER + rb")*")
_PADDING: Final = b" \0"


def _quick_text(value: bytes) -> str | None:
    text = value.rstrip(_PADDING)
    if _PLAIN_TEXT.fullmatch(text):
        return f',"Value":["{text.decode("ascii")}"]'
    return None if text else ""


def _quick_texts(value: bytes) -> str | None:
    if b"\\" not in value:
        return _quick_text(value)
    parts = [part.rstrip(_PADDING) for part in value.split(b"\\")]
    if not all(map(_PLAIN_TEXT.fullmatch, parts)):
        return None
    text = b'","'.join(parts).decode("ascii")
    return f',"Value":["{text}"]'


def _quick_name(value: bytes) -> str | None:
    text = value.rstrip(_PADDING)
    if _PLAIN_NAME.fullmatch(text):
        return f',"Value":[{{"Alphabetic":"{text.decode("ascii")}"}}]'
    return None if text else ""


def _quick_number_texts(value: bytes) -> str | None:
    text = value.strip(_PADDING)
    if _PLAIN_NUMBERS.fullmatch(text):
        numbers = text.replace(b"\\", b",").decode("ascii")
        return f',"Value":[{numbers}]'
    return None if text else ""


def _quick_numbers(vr: str) -> Callable[[bytes], str | None]:
    layout, is_float = json_value.layout_of(vr), vr in ("FD", "FL")
    single = struct.Struct(f"<{layout}")

    def quick(value: bytes) -> str | None:
        if len(value) == single.size:
            (number,) = single.unpack(value)
            if is_float and not math.isfinite(number):
                return None
            return f',"Value":[{number!r}]'
        return None if value else ""

    return quick


def _quick_binary(vr: str) -> Callable[[bytes], str | None]:
    return lambda value: json_value.format_inline_binary(value, vr, big_endian=False)


def _never_quick(_value: bytes) -> str | None:
    return None


_QUICK: Final[dict[str, Callable[[bytes], str | None]]] = {
    **dict.fromkeys(("AE", "AS", "CS", "DA", "DT", "LO", "SH", "TM", "UC", "UI"), _quick_texts),
    **dict.fromkeys(("LT", "ST", "UR", "UT"), _quick_text),
    "PN": _quick_name,
    **dict.fromkeys(("DS", "IS"), _quick_number_texts),
    **{vr: _quick_numbers(vr) for vr in ("FD", "FL", "SL", "SS", "UL", "US")},
    **{vr: _quick_binary(vr) for vr in ("OB", "OD", "OF", "OL", "OV", "OW", "UN")},
}


# --- heads -----------------------------------------------------------------------------------------

_EXPLICIT_HEAD_BYTES: Final = 6
_IMPLICIT_HEAD_BYTES: Final = 4


@lru_cache(_HEADS_HELD)
def _explicit_head(raw: bytes) -> _Head | None:
    vr = raw[4:6]
    if vr in SHORT_VRS:
        return _head(raw, vr.decode("ascii"), vr.decode("ascii"), length_at=6, value_at=8)
    if vr in LONG_VRS:
        return _head(raw, vr.decode("ascii"), vr.decode("ascii"), length_at=8, value_at=12)
    return None


@lru_cache(_HEADS_HELD)
def _implicit_head(raw: bytes) -> _Head | None:
    if len(raw) < _IMPLICIT_HEAD_BYTES:
        return None
    tag = _tag(raw)
    # Without creators at hand, which private elements wait for.
    vr = resolved_vr(Element(tag, "", 0, 0, None), {})
    return _head(raw, "", vr, length_at=4, value_at=8)


def _tag(raw: bytes) -> int:
    group, number = struct.unpack_from("<HH", raw)
    return int(group << 16 | number)


def _head(raw: bytes, written_vr: str, vr: str, *, length_at: int, value_at: int) -> _Head | None:
    tag = _tag(raw)
    kind = _kind(tag, written_vr, vr)
    if kind is None:
        return None
    name = format_tag(tag)
    return _Head(
        kind=kind,
        tag=tag,
        name=name,
        written_vr=written_vr,
        vr=vr,
        length_at=length_at,
        value_at=value_at,
        limit=binary_limit(vr),
        prefix=f'"{name}":{{"vr":"{vr}"',
        quick=_QUICK.get(vr, _never_quick),
    )


def _kind(tag: int, written_vr: str, vr: str) -> _Kind | None:
    """Give the kind of an element; none for delimiters, and for what none of the kinds has room for."""
    group, number = tag >> 16, tag & 0xFFFF
    if group == 0xFFFE or tag == 0:
        return None
    if tag in PIXEL_TAGS:
        return _Kind.PIXEL
    is_left_out = number == 0 or group in (0x0000, 0x0002)
    name = format_tag(tag)
    if is_left_out or name == SPECIFIC_CHARACTER_SET:
        return _kind_without_member(vr, is_left_out=is_left_out)
    if vr == "SQ":
        return _Kind.SEQUENCE
    if written_vr == "UN" or (vr == "UN" and group & 1):
        return _Kind.UNKNOWN
    if "/" in vr:
        return _Kind.OPEN
    is_creator = bool(group & 1) and 0x10 <= number <= 0xFF
    return _Kind.NOTED if is_creator or tag in _NOTED_TAGS else _Kind.PLAIN


def _kind_without_member(vr: str, *, is_left_out: bool) -> _Kind | None:
    if is_left_out:
        return None if vr == "SQ" else _Kind.LEFT_OUT
    return _Kind.CHARACTER_SET if vr == "CS" else None


# --- the pass --------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Memory:
    """Members by the bytes of their elements, for one encoding and one character set.

    Only such members are kept as depend on nothing else: on no other element, no path, no instance.
    """

    members: dict[bytes | tuple[str, bytes], str] = field(default_factory=dict)
    """By the bytes, and by the VR as well where they do not tell it."""
    size: int = 0

    def keep(self, key: bytes | tuple[str, bytes], member: str) -> None:
        """Remember a member, at the cost of all others when there is no room left."""
        size = 2 * len(member) + _ENTRY_BYTES
        if size > _LARGEST_REMEMBERED_BYTES:
            return
        self.size += size
        if self.size > _REMEMBERED_BYTES:
            self.members.clear()
            self.size = size
        self.members[key] = member


@lru_cache(_CHARACTER_SETS_HELD)
def _character_set(value: bytes) -> CharacterSet:
    return character_set_of(json_value.split_text(value, "CS", character_set=UNDECLARED))


@lru_cache(_MEMORIES_HELD)
def _memory(_implicit: bool, _character_set: CharacterSet) -> _Memory:
    return _Memory()


@dataclass(slots=True)
class _Level:
    """A data set on the way: the object's own or an item's, and what its elements depend on."""

    memory: _Memory
    character_set: CharacterSet
    members: dict[str, str] = field(default_factory=dict)
    """By tag; empty texts for elements that have no member."""
    is_signed: bool = False
    is_sign_settled: bool = True
    """No Pixel Representation of a data set around this one can still follow."""
    lut_entries: int = 0
    path: tuple[str, ...] = ()
    creators: dict[int, str] = field(default_factory=dict)

    def note(self, head: _Head, value: bytes) -> None:
        """Keep what other elements depend on."""
        number = int.from_bytes(value[:2], "little") if len(value) > 1 else None
        if head.name == PIXEL_REPRESENTATION and number is not None:
            self.is_signed = number == 1
        elif head.name == LUT_DESCRIPTOR:
            self.lut_entries = number or 0
        note_creator(head.tag, value, self.creators)

    def context(self) -> Context:
        """Give what the converter has to know of this data set."""
        return Context(self.character_set, self.is_signed, self.lut_entries, self.path)

    def inner(self, sequence: _Head, path: tuple[str, ...]) -> _Level:
        """Make the level of an item in a sequence of this data set."""
        return _Level(
            self.memory,
            self.character_set,
            is_signed=self.is_signed,
            is_sign_settled=self.is_sign_settled and sequence.name > PIXEL_REPRESENTATION,
            path=path,
        )

    def has_settled(self, head: _Head, vr: str) -> bool:
        """Tell whether everything is known that the VR of an element depends on."""
        if vr == "US/SS":
            return self.is_sign_settled and head.name > PIXEL_REPRESENTATION
        return vr != "US/OW" or head.name > LUT_DESCRIPTOR


class _OnePass:
    """One pass over a data set, through a window into the object."""

    def __init__(self, source: ByteSource, converter: ElementConverter, *, implicit: bool) -> None:
        self.source = source
        self.converter = converter
        self.implicit = implicit
        self.head_of = _implicit_head if implicit else _explicit_head
        self.head_bytes = _IMPLICIT_HEAD_BYTES if implicit else _EXPLICIT_HEAD_BYTES
        self.result = ReadMembers()
        self.seen_bytes = 0
        self.base = 0
        """Where the window begins in the object."""
        self.data = b""
        """The window; positions are bytes in it."""

    def read(self, start: int) -> None:
        """Convert all elements, moving the window on to each that does not fit."""
        level = _Level(_memory(self.implicit, UNDECLARED), UNDECLARED)
        self.base, wanted = start, FIRST_READ_BYTES - start
        while self.base < self.source.size:
            self.move_window(wanted)
            position = self.elements(0, len(self.data), level)
            self.base += position
            if self.base < self.source.size:
                wanted = self.pass_over(position, level)
        self.result.members = {tag: member for tag, member in level.members.items() if member}

    def move_window(self, length: int) -> None:
        held = min(length, self.source.size - self.base)
        self.seen_bytes += held
        # Elements that may not be read for their number could not fit into so many bytes.
        if held <= 0 or self.seen_bytes // _LEAST_ELEMENT_BYTES > element_tree.MAX_ELEMENTS:
            raise UnusualError
        self.data = self.source.read(self.base, held)
        if len(self.data) < held:
            raise UnusualError

    def elements(self, position: int, end: int, level: _Level) -> int:
        """Convert elements and give the position of the first that does not fit or is none."""
        # Most of the time that conversion takes is spent in this loop, so names are local.
        data, head_of, head_bytes = self.data, self.head_of, self.head_bytes
        members, remembered = level.members, level.memory.members
        plain, number_of = _Kind.PLAIN, int.from_bytes
        last = next(reversed(members), "")
        while position < end:
            head = head_of(data[position : position + head_bytes])
            if head is None:
                return position
            name = head.name
            if name <= last:
                raise UnusualError
            start = position + head.value_at
            stop = start + number_of(data[position + head.length_at : start], "little")
            if head.kind is plain and stop <= end:
                member = remembered.get(data[position:stop])
                if member is None:
                    member = self.value(head, position, stop, level)
            else:
                written = self.other(head, position, stop, end=end, level=level)
                if written is None:
                    return position
                member, stop = written
                remembered = level.memory.members
            members[name] = member
            last = name
            position = stop
        return position

    def value(self, head: _Head, position: int, stop: int, level: _Level) -> str:
        """Write an element with a value, and remember it where it depends on nothing else."""
        value = self.data[position + head.value_at : stop]
        content = head.quick(value) if len(value) <= head.limit else None
        before = self.converter.particulars
        if content is not None:
            member = f"{head.prefix}{content}}}"
        else:
            member = self.carefully(head, head.vr, position, stop=stop, level=level)
        if self.converter.particulars == before:
            level.memory.keep(self.data[position:stop], member)
        return member

    def carefully(self, head: _Head, vr: str, position: int, *, stop: int, level: _Level) -> str:
        element = self.element(head, position, stop)
        is_held = stop - position - head.value_at <= binary_limit(vr)
        value = self.data[position + head.value_at : stop] if is_held else None
        return self.converter.member(Node(head.name, element, vr, value), level.context())

    def element(self, head: _Head, position: int, stop: int) -> Element:
        offset = self.base + position
        start = position + head.value_at
        return Element(head.tag, head.written_vr, offset, self.base + start, stop - start)

    def other(
        self, head: _Head, position: int, stop: int, *, end: int, level: _Level
    ) -> tuple[str, int] | None:
        """Write an element that is not plain, and give where it ends; none if it does not fit."""
        kind, start = head.kind, position + head.value_at
        if kind is _Kind.PIXEL and not level.path:
            return None
        if stop - start == UNDEFINED:
            return self.open_value(head, start, end=end, level=level)
        if stop > end:
            return None
        if kind is _Kind.SEQUENCE:
            return self.closed_sequence(head, position, stop, level), stop
        if kind is _Kind.LEFT_OUT:
            return "", stop
        if kind is _Kind.CHARACTER_SET:
            return self.character_set(self.data[start:stop], level), stop
        if kind is _Kind.NOTED:
            member = level.memory.members.get(self.data[position:stop])
            member = member or self.value(head, position, stop, level)
            self.note(head, head.vr, position, stop=stop, level=level)
            return member, stop
        return self.unsettled(head, position, stop, level), stop

    def character_set(self, value: bytes, level: _Level) -> str:
        # What stands before it is text of this character set as well.
        if any(level.members.values()):
            raise UnusualError
        level.character_set = _character_set(value)
        if level.character_set.problem:
            raise UnusualError
        level.memory = _memory(self.implicit, level.character_set)
        return json_character_set()

    def note(self, head: _Head, vr: str, position: int, *, stop: int, level: _Level) -> None:
        """Keep what other elements or the index depend on."""
        value = self.data[position + head.value_at : stop]
        if len(value) <= binary_limit(vr):
            level.note(head, value)
            if head.name in UID_TAGS and value and not level.path:
                self.result.uids[head.name] = value
        if head.tag in PIXEL_ELEMENT_TAGS and not level.path:
            self.result.pixel_elements[head.tag] = self.element(head, position, stop)

    def unsettled(self, head: _Head, position: int, stop: int, level: _Level) -> str:
        """Write an element whose VR is found out, or that would be pixel data outside an item."""
        vr = self.vr(head, stop - position - head.value_at, level)
        if vr == "SQ":
            if not self.implicit:
                raise UnusualError
            return self.closed_sequence(head, position, stop, level)
        self.note(head, vr, position, stop=stop, level=level)
        if "/" in vr:
            if not level.has_settled(head, vr):
                raise UnusualError
            # It holds for this data set alone, as does the sequence around it.
            self.converter.particulars += 1
            return self.carefully(head, vr, position, stop=stop, level=level)
        key = (vr, self.data[position:stop])
        member = level.memory.members.get(key)
        if member is None:
            before = self.converter.particulars
            member = self.carefully(head, vr, position, stop=stop, level=level)
            if self.converter.particulars == before:
                level.memory.keep(key, member)
        return member

    def vr(self, head: _Head, length: int, level: _Level) -> str:
        return resolved_vr(Element(head.tag, head.written_vr, 0, 0, length), level.creators)

    # --- sequences

    def open_value(self, head: _Head, start: int, *, end: int, level: _Level) -> tuple[str, int]:
        is_sequence = head.kind is _Kind.SEQUENCE
        if head.kind is _Kind.UNKNOWN and self.implicit:
            vr = self.vr(head, UNDEFINED, level)
            is_sequence = vr not in ("OB", "OW", "OB/OW") and self.data[start:].startswith(_ITEM)
        if not is_sequence:
            raise UnusualError
        member, stop = self.sequence(head, start, end, level)
        if stop + _ITEM_HEADER_BYTES > end or not self.data.startswith(_SEQUENCE_DELIMITER, stop):
            raise UnusualError
        return member, stop + _ITEM_HEADER_BYTES

    def closed_sequence(self, head: _Head, position: int, stop: int, level: _Level) -> str:
        raw = self.data[position:stop]
        # How deep it may nest depends on the path, so only the outermost are remembered.
        member = None if level.path else level.memory.members.get(raw)
        if member is not None:
            return member
        before = self.converter.particulars
        member, end = self.sequence(head, position + head.value_at, stop, level)
        if end != stop:
            raise UnusualError
        if not level.path and self.converter.particulars == before:
            level.memory.keep(raw, member)
        return member

    def sequence(self, head: _Head, position: int, bound: int, level: _Level) -> tuple[str, int]:
        """Write a sequence, and give where its last item ends."""
        path = (*level.path, head.name)
        if len(path) // 2 >= MAX_DEPTH:
            raise UnusualError
        items: list[str] = []
        while position < bound and self.data.startswith(_ITEM, position):
            inner = level.inner(head, (*path, str(len(items) + 1)))
            position = self.item(position, bound, inner)
            items.append("{" + ",".join(filter(None, inner.members.values())) + "}")
        content = f',"Value":[{",".join(items)}]' if items else ""
        return f'"{head.name}":{{"vr":"SQ"{content}}}', position

    def item(self, position: int, bound: int, inner: _Level) -> int:
        """Convert an item's elements and give where it ends."""
        start = position + _ITEM_HEADER_BYTES
        length = int.from_bytes(self.data[position + len(_ITEM) : start], "little")
        if length == UNDEFINED:
            end = self.elements(start, bound, inner)
            after = end + _ITEM_HEADER_BYTES
            is_whole = self.data.startswith(_ITEM_DELIMITER, end)
        else:
            after = start + length
            is_whole = after <= bound and self.elements(start, after, inner) == after
        if not is_whole or after > bound:
            raise UnusualError
        return after

    # --- what does not fit into a window

    def pass_over(self, position: int, level: _Level) -> int:
        """Get over what the window holds no more, and give the bytes that the next one needs."""
        raw = self.data[position : position + _LONGEST_HEAD_BYTES]
        head = self.head_of(raw[: self.head_bytes])
        if head is None or len(raw) < head.value_at:
            if position == 0:
                raise UnusualError
            return FIRST_READ_BYTES
        length = int.from_bytes(raw[head.length_at : head.value_at], "little")
        if head.kind is _Kind.PIXEL:
            self.pixel(head, None if length == UNDEFINED else length, level)
        elif self.base + head.value_at + length > self.source.size:
            raise UnusualError
        elif not self.left_out(head, length, level):
            return max(FIRST_READ_BYTES, head.value_at + length)
        return FIRST_READ_BYTES

    def left_out(self, head: _Head, length: int, level: _Level) -> bool:
        """Pass over a value that is too large to be read; tell whether it is."""
        vr = self.vr(head, length, level)
        if vr == "SQ" or "/" in vr or length <= binary_limit(vr):
            return False
        element = self.element(head, 0, head.value_at + length)
        level.members[head.name] = self.without_value(element, vr, level)
        if head.tag in PIXEL_ELEMENT_TAGS:
            self.result.pixel_elements[head.tag] = element
        self.base += head.value_at + length
        return True

    def pixel(self, head: _Head, length: int | None, level: _Level) -> None:
        vr = head.written_vr or ("OB" if length is None else "OW")
        start = self.base + head.value_at
        element = Element(head.tag, head.written_vr, self.base, start, length)
        level.members[head.name] = self.without_value(element, vr, level)
        self.result.pixel_elements[head.tag] = element
        self.base = self.fragments(start) if length is None else start + length
        if self.base > self.source.size:
            raise UnusualError

    def fragments(self, start: int) -> int:
        scan = scan_fragments(self.source, start)
        if scan.damage:
            raise UnusualError
        self.result.fragments = scan
        return scan.end

    def without_value(self, element: Element, vr: str, level: _Level) -> str:
        node = Node(format_tag(element.tag), element, vr)
        return self.converter.member(node, level.context())
