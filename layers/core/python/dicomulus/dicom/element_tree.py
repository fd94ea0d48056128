"""A data set as a tree of elements with the bytes of their values, large ones left out."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from dicomulus.dicom.dictionary import vr_of
from dicomulus.dicom.encapsulation import Fragments, scan_fragments
from dicomulus.dicom.part10 import (
    ITEM,
    ITEM_DELIMITER,
    MAX_DEPTH,
    PIXEL_TAGS,
    SEQUENCE_DELIMITER,
    Element,
    Encoding,
    Findings,
    end_of,
    format_tag,
    read_element,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dicomulus.dicom.byte_source import ByteSource

INLINE_BYTES: Final = 1024
"""Bytes of the largest binary value that is read."""

NUMBER_BYTES: Final = 65_536
"""Bytes of the largest value of binary numbers that is read."""

TEXT_BYTES: Final = 4 * 1_048_576
"""Bytes of the largest other value that is read; contours of a radiotherapy plan take some."""

MAX_ELEMENTS: Final = 600_000
"""Elements and items read from one object; 9,000 enhanced frames have about 400,000."""

MAX_VALUE_BYTES: Final = 64 * 1_048_576
"""Bytes of all values read from one object; as JSON they take up to six times as many."""

MAX_WARNINGS: Final = 50
"""Warnings kept of one object."""

_BINARY_VRS: Final = frozenset(
    {"OB", "OD", "OF", "OL", "OV", "OW", "UN", "OB/OW", "US/OW", "US/SS/OW"}
)
_NUMBER_VRS: Final = frozenset({"AT", "FD", "FL", "SL", "SS", "SV", "UL", "US", "UV", "US/SS"})

_LONGEST_REINTERPRETED_UN: Final = 0xFFFF

_PRIVATE_VRS_HELD: Final = 4096
"""Answers of the private dictionary kept; creators are whatever objects say."""


@dataclass(frozen=True, slots=True)
class Node:
    """An element with its value: bytes, items, or neither when the value was left out."""

    tag: str
    """8 upper-case hexadecimal digits."""
    element: Element
    vr: str
    """Resolved by the dictionaries; choices that depend on other attributes are left as ``US/SS``."""
    value: bytes | None = None
    items: tuple[tuple[Node, ...], ...] | None = None


@dataclass(frozen=True, slots=True)
class ElementTree:
    """A whole data set, and what was found out on the way."""

    nodes: tuple[Node, ...]
    """In the order of the object."""
    fragments: Fragments | None
    """The fragments of the top-level pixel element, when its length is undefined."""


def read_tree(
    source: ByteSource,
    start: int,
    *,
    encoding: Encoding,
    findings: Findings,
) -> ElementTree:
    """Read the data set from an offset to the end of the object.

    Args:
        source: The object.
        start: Where the data set begins.
        encoding: How it is written.
        findings: Takes warnings, each beginning with the path of its element.

    Raises:
        NeedMoreError: The source does not hold what is wanted.
    """
    reader = _Reader(source, encoding, findings)
    nodes, _ = reader.data_set(start, source.size, source.size, path=())
    return ElementTree(nodes, reader.fragments)


def binary_limit(vr: str) -> int:
    """Give the bytes above which a value of a VR is left out."""
    if vr in _BINARY_VRS:
        return INLINE_BYTES
    return NUMBER_BYTES if vr in _NUMBER_VRS else TEXT_BYTES


def note_creator(tag: int, value: bytes, creators: dict[int, str]) -> None:
    """Enter the creator of a private block (PS3.5 §7.8.1), if the element is one, by its block."""
    if tag >> 16 & 1 and 0x10 <= tag & 0xFFFF <= 0xFF:
        block = tag & 0xFFFF0000 | (tag & 0xFF) << 8
        creators[block] = value.decode("latin-1").strip("\0 ")


def resolved_vr(element: Element, creators: Mapping[int, str]) -> str:
    """Give the VR: as written, unless it is missing or UN and a dictionary knows it."""
    if element.vr not in ("", "UN"):
        return element.vr
    tag = element.tag
    if tag >> 16 & 1:
        return _resolved_private_vr(tag, creators)
    if element.vr and (element.length or 0) >= _LONGEST_REINTERPRETED_UN:
        # UN is also how values too long for their VR are written (PS3.5 §6.2.2).
        return "UN"
    if tag & 0xFFFF == 0:
        return "UL"
    return vr_of(format_tag(tag)) or "UN"


def _resolved_private_vr(tag: int, creators: Mapping[int, str]) -> str:
    if 0x10 <= tag & 0xFFFF <= 0xFF:
        return "LO"
    if tag & 0xFFFF == 0:
        return "UL"
    creator = creators.get(tag & 0xFFFFFF00)
    return (creator and _private_vr(format_tag(tag), creator)) or "UN"


@lru_cache(_PRIVATE_VRS_HELD)
def _private_vr(tag: str, creator: str) -> str | None:
    # Only objects with private elements of unknown VR pay for the import.
    from pydicom.datadict import private_dictionary_VR

    try:
        return private_dictionary_VR(int(tag, 16), creator).replace(" or ", "/")
    except KeyError:
        return None


class _Reader:
    def __init__(self, source: ByteSource, encoding: Encoding, findings: Findings) -> None:
        self.source = source
        self.encoding = encoding
        self.findings = findings
        self.fragments: Fragments | None = None
        self.elements = 0
        self.value_bytes = 0

    def data_set(
        self, start: int, end: int | None, bound: int, *, path: tuple[str, ...]
    ) -> tuple[tuple[Node, ...], int]:
        """Read elements up to ``end``, or to a delimiter where it is open.

        A value may reach past ``end``, which is then a wrong item length, but not past ``bound``.
        """
        nodes: list[Node] = []
        creators: dict[int, str] = {}
        position = start
        while position < (bound if end is None else end):
            element = read_element(self.source, position, encoding=self.encoding, bound=bound)
            if element is None:
                return tuple(nodes), self.unreadable(position, bound, path)
            if element.tag in (ITEM, ITEM_DELIMITER, SEQUENCE_DELIMITER):
                if path:
                    after = element.value_offset
                    return tuple(nodes), after if element.tag == ITEM_DELIMITER else position
                # Left over from a sequence of defined length at the top level.
                position = element.value_offset
                continue
            if self.is_full():
                return tuple(nodes), bound
            if element.tag == 0 and not path:
                return tuple(nodes), self.unreadable(position, bound, path)
            node, position = self.node(element, bound, path=path, creators=creators)
            nodes.append(node)
            if node.value is not None:
                note_creator(node.element.tag, node.value, creators)
        if end is None and path:
            self.damage(path, "the item is not delimited")
        return tuple(nodes), position

    def is_full(self) -> bool:
        self.elements += 1
        if self.elements <= MAX_ELEMENTS and self.value_bytes <= MAX_VALUE_BYTES:
            return False
        if self.elements < 2 * MAX_ELEMENTS:
            self.damage((), "the data set is too large; the rest of it is left out")
            self.elements = 2 * MAX_ELEMENTS
        return True

    def unreadable(self, position: int, bound: int, path: tuple[str, ...]) -> int:
        """Note why reading stops, and give where the surroundings may go on."""
        if not self.source.read(position, min(64, bound - position)).strip(b"\0"):
            # Writers pad to a block size with zeros.
            self.warn(path, "zeros follow the last element")
        else:
            self.damage(path, "what follows is no element")
        return bound

    def node(
        self,
        element: Element,
        bound: int,
        *,
        path: tuple[str, ...],
        creators: dict[int, str],
    ) -> tuple[Node, int]:
        here = (*path, format_tag(element.tag))
        if element.tag in PIXEL_TAGS and not path:
            return self.pixel_node(element)
        vr = resolved_vr(element, creators)
        is_open = element.length is None
        if vr == "SQ" or (is_open and self.holds_items(element, vr)):
            if len(here) // 2 >= MAX_DEPTH:
                self.warn(here, "sequences nest too deep; this one is left out")
                return self.left_out(element, bound, "SQ", path=here)
            if self.begins_items(element, bound):
                return self.sequence(element, bound, path=here)
            self.warn(here, "a sequence without items; kept as UN")
            vr = "UN"
        if is_open:
            return self.left_out(element, bound, vr, path=here)
        return self.plain_node(element, bound, vr, path=here)

    def plain_node(
        self, element: Element, bound: int, vr: str, *, path: tuple[str, ...]
    ) -> tuple[Node, int]:
        length = element.length or 0
        held = min(length, bound - element.value_offset)
        if held < length:
            self.damage(path, f"{held} of {length} bytes of the value are there")
        position = element.value_offset + held
        if length > binary_limit(vr):
            return Node(path[-1], element, vr), position
        self.value_bytes += held
        value = self.source.read(element.value_offset, held)
        if len(value) < held:
            self.damage(path, "the object is shorter than its size")
        return Node(path[-1], element, vr, value), position

    def left_out(
        self, element: Element, bound: int, vr: str, *, path: tuple[str, ...]
    ) -> tuple[Node, int]:
        """Pass over a value that is not read: fragments, or sequences too deep."""
        end = end_of(self.source, element, encoding=self.encoding, bound=bound)
        if end is None or end > bound:
            self.damage(path, "the value has no end")
            end = bound
        return Node(path[-1], element, vr), end

    def pixel_node(self, element: Element) -> tuple[Node, int]:
        vr = element.vr or ("OB" if element.length is None else "OW")
        path = (format_tag(element.tag),)
        if element.length is None:
            big_endian = self.encoding.big_endian
            scan = scan_fragments(self.source, element.value_offset, big_endian=big_endian)
            self.fragments = scan
            if scan.damage:
                self.damage(path, scan.damage)
            return Node(path[-1], element, vr), scan.end
        held = min(element.length, self.source.size - element.value_offset)
        if held < element.length:
            self.damage(path, f"{held} of {element.length} bytes of the value are there")
        return Node(path[-1], element, vr), element.value_offset + held

    def holds_items(self, element: Element, vr: str) -> bool:
        """Tell whether a value of undefined length is a sequence, not fragments (PS3.5 §6.2.2)."""
        if vr in ("OB", "OW", "OB/OW"):
            return False
        first = read_element(
            self.source, element.value_offset, encoding=self.encoding, bound=self.source.size
        )
        return first is not None and first.tag in (ITEM, SEQUENCE_DELIMITER)

    def begins_items(self, element: Element, bound: int) -> bool:
        if element.length == 0:
            return True
        first = read_element(self.source, element.value_offset, encoding=self.encoding, bound=bound)
        return first is not None and first.tag in (ITEM, SEQUENCE_DELIMITER)

    def sequence(self, element: Element, bound: int, *, path: tuple[str, ...]) -> tuple[Node, int]:
        end = bound
        if element.length is not None:
            end = min(bound, element.value_offset + element.length)
            if element.value_offset + element.length > bound:
                self.damage(path, "the sequence reaches past what holds it")
        items: list[tuple[Node, ...]] = []
        position = element.value_offset
        delimited = element.length is not None
        while position < end:
            item = read_element(self.source, position, encoding=self.encoding, bound=end)
            if item is None or item.tag != ITEM:
                if item is not None and item.tag == SEQUENCE_DELIMITER:
                    position, delimited = item.value_offset, True
                break
            if self.is_full():
                position, delimited = end, True
                break
            nodes, position = self.item(item, end, path=(*path, str(len(items) + 1)))
            items.append(nodes)
        if not delimited:
            self.damage(path, "the sequence is not delimited")
        position = end if element.length is not None else position
        return Node(path[-1], element, "SQ", items=tuple(items)), position

    def item(
        self, item: Element, bound: int, *, path: tuple[str, ...]
    ) -> tuple[tuple[Node, ...], int]:
        if item.length is None:
            return self.data_set(item.value_offset, None, bound, path=path)
        end = item.value_offset + item.length
        if end > bound:
            self.damage(path, "the item reaches past its sequence")
        nodes, position = self.data_set(item.value_offset, min(end, bound), bound, path=path)
        return nodes, max(position, min(end, bound))

    def warn(self, path: tuple[str, ...], text: str) -> None:
        if len(self.findings.warnings) < MAX_WARNINGS:
            self.findings.warnings.append(f"{'/'.join(path)}: {text}" if path else text)

    def damage(self, path: tuple[str, ...], text: str) -> None:
        self.findings.damaged = True
        self.warn(path, text)
