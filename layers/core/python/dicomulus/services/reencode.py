"""An object written anew as Explicit VR Little Endian, its pixels as they are (PS3.18 §8.7.3.4).

Only headers and byte order change: no value is converted, so that text in a wrong character set
and numbers that are none leave as they came. Pixel data and other large values are neither held in
memory nor decoded.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate, chain
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, TypeAlias

from dicomulus.dicom.element_tree import read_tree
from dicomulus.dicom.encapsulation import ITEM_HEADER_BYTES, scan_fragments
from dicomulus.dicom.part10 import (
    DOUBLE_FLOAT_PIXEL_DATA,
    FLOAT_PIXEL_DATA,
    PIXEL_DATA,
    PIXEL_TAGS,
    Encoding,
    Findings,
    data_set_source,
    end_of,
    parse_file_meta,
    swap_bytes,
    swap_unit,
)
from dicomulus.dicom.part10_writing import (
    LARGEST_LONG_BYTES,
    LARGEST_SHORT_BYTES,
    SEQUENCE_END,
    element,
    element_head,
    file_meta,
    is_short,
    item_head,
    padding,
)
from dicomulus.dicom.transfer_syntax import EXPLICIT_VR_LITTLE_ENDIAN
from dicomulus.errors import NotAcceptableError
from dicomulus.services.content import CHUNK_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from dicomulus.dicom.byte_source import ByteSource
    from dicomulus.dicom.element_tree import Node
    from dicomulus.ports import InstanceRow

    Changes = Mapping[int, tuple[str, bytes] | None]
    """New elements of a data set, VR and value, or none, by tag."""

    PlainIcon = Callable[["Icon"], tuple[bytes, Changes]]
    """Gives the native pixels of an icon, and what its item has to say of them."""

MAX_ICON_BYTES: Final = 16_777_216
"""Bytes of an icon as it is stored, which is whole in memory."""

# What explicit encodings call a pixel element that is written without VR (PS3.5 §A.1, §A.2).
_PIXEL_VRS: Final = {FLOAT_PIXEL_DATA: "OF", DOUBLE_FLOAT_PIXEL_DATA: "OD", PIXEL_DATA: "OW"}

_PHOTOMETRIC_INTERPRETATION: Final = 0x00280004
_BITS_ALLOCATED: Final = 0x00280100
_PIXEL_REPRESENTATION: Final = 0x00280103
_LUT_DESCRIPTOR: Final = 0x00283002


_NO_CHANGES: Final[Changes] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Reencoded:
    """An object in its new encoding, and its length in bytes."""

    length: int
    content: Iterator[bytes]


def explicit_little_endian(source: ByteSource, row: InstanceRow) -> Reencoded:
    """Write a native object as Explicit VR Little Endian with file meta information.

    Group lengths are left out, elements come once and in ascending order of tags.

    Raises:
        NotAcceptableError: It cannot be written so.
    """
    plain = _Plain(source)
    pixels = None
    if plain.pixel_node is not None:
        bits_allocated = plain.writer.number(plain.nodes, _BITS_ALLOCATED)
        pixels = plain.writer.pixels(plain.pixel_node, bits_allocated=bits_allocated)
    return plain.written(_file_meta(row, plain.file_meta, EXPLICIT_VR_LITTLE_ENDIAN), pixels)


def with_new_pixels(
    source: ByteSource,
    row: InstanceRow,
    transfer_syntax_uid: str,
    *,
    changes: Changes,
    pixels: NewPixels | None,
    plain_icon: PlainIcon,
) -> Reencoded:
    """Write an object with other pixel data, in Explicit VR Little Endian around it.

    Args:
        source: The object.
        row: Its row.
        transfer_syntax_uid: That of the pixel data.
        changes: VR and value, or nothing, for elements of the data set by tag.
        pixels: The value of Pixel Data; none where there is none.
        plain_icon: Decodes the compressed pixel data of an icon.

    Raises:
        NotAcceptableError: It cannot be written so.
    """
    plain = _Plain(source, plain_icon)
    meta = _file_meta(row, plain.file_meta, transfer_syntax_uid)
    if pixels is None:
        return plain.written(meta, None, changes)
    head = element_head(PIXEL_DATA, pixels.vr, pixels.length if pixels.is_native else None)
    tail = b"" if pixels.is_native else SEQUENCE_END
    written = _Pixels(head, pixels.length, pixels.content, tail)
    return plain.written(meta, written, changes)


@dataclass(frozen=True, slots=True)
class NewPixels:
    """A value of Pixel Data: native, or the items of an encapsulated one without delimiter."""

    vr: str
    is_native: bool
    length: int
    """Bytes of the content; even."""
    content: Iterator[bytes]


@dataclass(frozen=True, slots=True)
class Icon:
    """The compressed pixel data of an item, and the numbers that describe it."""

    frame: bytes
    numbers: Mapping[int, int]
    """Values of the group 0028 of VR US, by tag."""
    photometric_interpretation: str


class _Plain:
    """An object that is written anew in Explicit VR Little Endian."""

    def __init__(self, source: ByteSource, plain_icon: PlainIcon | None = None) -> None:
        header = parse_file_meta(source)
        data_set = data_set_source(source, header)
        tree = read_tree(
            data_set, header.dataset_offset, encoding=header.encoding, findings=Findings()
        )
        self.file_meta = header.file_meta
        self.writer = _Writer(data_set, header.encoding, plain_icon)
        self.nodes = _by_tag(tree.nodes)
        first = min(PIXEL_TAGS & self.nodes.keys(), default=None)
        self.pixel_node = None if first is None else self.nodes[first]

    def written(
        self, meta: bytes, pixels: _Pixels | None, changes: Changes = _NO_CHANGES
    ) -> Reencoded:
        """Put the object together, with these pixels in the place of its own."""
        context = _context(self.nodes, _NOT_SIGNED, self.writer)
        if self.pixel_node is None or pixels is None:
            pieces = [meta, *self.writer.data_set(self.nodes, context, changes)]
            return Reencoded(_length(pieces), self.writer.content(pieces))
        at = self.pixel_node.element.tag
        before = {tag: node for tag, node in self.nodes.items() if tag < at}
        after = {tag: node for tag, node in self.nodes.items() if tag > at}
        head = [meta, *self.writer.data_set(before, context, changes), pixels.head]
        tail = [pixels.padding, *self.writer.data_set(after, context)]
        length = _length(head) + pixels.length + _length(tail)
        content = self.writer.content
        return Reencoded(length, chain(content(head), pixels.content, content(tail)))


@dataclass(frozen=True, slots=True)
class _Context:
    """What the VRs that the dictionary leaves open depend on."""

    is_signed: bool
    lut_entries: int


_NOT_SIGNED: Final = _Context(is_signed=False, lut_entries=0)


@dataclass(frozen=True, slots=True)
class _Pixels:
    head: bytes
    length: int
    """Bytes of the content, without the padding."""
    content: Iterator[bytes]
    padding: bytes


@dataclass(frozen=True, slots=True)
class _Stretch:
    """Bytes of the object, which are copied when their turn comes."""

    offset: int
    length: int
    swap_unit: int = 1


_Piece: TypeAlias = "bytes | _Stretch"


class _Writer:
    def __init__(
        self, source: ByteSource, encoding: Encoding, plain_icon: PlainIcon | None = None
    ) -> None:
        self.source = source
        self.encoding = encoding
        self.plain_icon = plain_icon

    def data_set(
        self, nodes: Mapping[int, Node], context: _Context, changes: Changes = _NO_CHANGES
    ) -> list[_Piece]:
        # Group lengths would be wrong now, and none are wanted (PS3.5 §7.2).
        kept = (tag for tag in nodes if tag & 0xFFFF and tag not in changes)
        written = {tag: self.element(nodes[tag], context) for tag in kept}
        written |= {tag: [element(tag, *each)] for tag, each in changes.items() if each is not None}
        return _joined(chain.from_iterable(written[tag] for tag in sorted(written)))

    def content(self, pieces: Iterable[_Piece]) -> Iterator[bytes]:
        for piece in pieces:
            if isinstance(piece, _Stretch):
                yield from self.copied(piece)
            elif piece:
                yield piece

    def element(self, node: Node, context: _Context) -> list[_Piece]:
        if node.items is not None:
            items = self.items(node.items, context)
            return [element_head(node.element.tag, "SQ", _checked_length(items)), *items]
        if node.element.length is None:
            return self.fragments(node)
        if node.vr == "SQ" and node.element.length:
            raise NotAcceptableError("sequences nest too deep to be written anew")
        # Of an unknown VR the byte order is unknown too (PS3.5 §6.2.2).
        vr = "UN" if node.element.vr == "UN" else _settled_vr(node.vr, context)
        unit = swap_unit(vr) if self.encoding.big_endian else 1
        if node.value is not None:
            return [element(node.element.tag, vr, swap_bytes(node.value, unit))]
        value = _Stretch(node.element.value_offset, self.held_length(node), unit)
        end = padding(vr, value.length)
        length = value.length + len(end)
        if length > LARGEST_SHORT_BYTES and is_short(vr):
            vr = "UN"
        return [element_head(node.element.tag, vr, length), value, end]

    def items(self, items: Sequence[Sequence[Node]], outer: _Context) -> list[_Piece]:
        written: list[_Piece] = []
        for each in items:
            nodes = _by_tag(each)
            changes = self.icon(nodes)
            content = self.data_set(nodes, _context(nodes, outer, self), changes)
            written += [item_head(_checked_length(content)), *content]
        return written

    def icon(self, nodes: Mapping[int, Node]) -> Changes:
        """Give what becomes of an item's elements when its pixels no longer are compressed."""
        node = nodes.get(PIXEL_DATA)
        if self.plain_icon is None or node is None or node.element.length is not None:
            return _NO_CHANGES
        found = scan_fragments(self.source, node.element.value_offset)
        if sum(found.lengths) > MAX_ICON_BYTES:
            raise NotAcceptableError(f"an icon of over {MAX_ICON_BYTES} bytes is not decoded")
        offsets = accumulate(
            (ITEM_HEADER_BYTES + length for length in found.lengths),
            initial=found.offset + ITEM_HEADER_BYTES,
        )
        places = zip(offsets, found.lengths, strict=False)
        frame = b"".join(self.source.read(offset, length) for offset, length in places)
        described = (tag for tag, each in nodes.items() if tag >> 16 == 0x28 and each.vr == "US")
        numbers = {tag: self.number(nodes, tag) or 0 for tag in described}
        named = nodes.get(_PHOTOMETRIC_INTERPRETATION)
        value = b"" if named is None else named.value or b""
        content, changes = self.plain_icon(Icon(frame, numbers, value.decode("latin-1").strip()))
        vr = "OW" if numbers.get(_BITS_ALLOCATED, 0) > 8 else "OB"
        return {**changes, PIXEL_DATA: (vr, content)}

    def fragments(self, node: Node) -> list[_Piece]:
        """Copy fragments, which are little endian items already."""
        start, size = node.element.value_offset, self.source.size
        end = end_of(self.source, node.element, encoding=self.encoding, bound=size)
        if end is None or node.vr == "SQ" or self.encoding.big_endian:
            raise NotAcceptableError("a value of undefined length cannot be written anew")
        vr = node.vr if node.vr in ("OB", "OW", "UN") else "OB"
        return [element_head(node.element.tag, vr, None), _Stretch(start, end - start)]

    def held_length(self, node: Node) -> int:
        """Give the bytes of a value that the object holds: it may end before."""
        element = node.element
        return max(0, min(element.length or 0, self.source.size - element.value_offset))

    def number(self, nodes: Mapping[int, Node], tag: int) -> int | None:
        """Give an element's first value of two bytes."""
        node = nodes.get(tag)
        if node is None or node.value is None or len(node.value) < 2:
            return None
        return int.from_bytes(node.value[:2], "big" if self.encoding.big_endian else "little")

    def pixels(self, node: Node, *, bits_allocated: int | None) -> _Pixels:
        element = node.element
        if element.length is None:
            raise NotAcceptableError("compressed pixel data is given as stored only")
        vr = element.vr if element.vr not in ("", "UN") else _PIXEL_VRS[element.tag]
        length = self.held_length(node)
        unit = self.pixel_swap_unit(vr, bits_allocated) if self.encoding.big_endian else 1
        head = element_head(element.tag, vr, length + length % 2)
        content = self.copied(_Stretch(element.value_offset, length, unit))
        return _Pixels(head, length, content, b"\0" * (length % 2))

    def pixel_swap_unit(self, vr: str, bits_allocated: int | None) -> int:
        if bits_allocated in (16, 32, 64):
            return bits_allocated // 8
        return swap_unit(vr)

    def copied(self, stretch: _Stretch) -> Iterator[bytes]:
        for at in range(0, stretch.length, CHUNK_BYTES):
            length = min(CHUNK_BYTES, stretch.length - at)
            yield swap_bytes(self.source.read(stretch.offset + at, length), stretch.swap_unit)


def _joined(pieces: Iterable[_Piece]) -> list[_Piece]:
    """Join bytes that follow one another."""
    joined: list[_Piece] = []
    held: list[bytes] = []
    for piece in pieces:
        if isinstance(piece, bytes):
            held.append(piece)
            continue
        joined += [b"".join(held), piece]
        held = []
    return [*joined, b"".join(held)]


def _length(pieces: Iterable[_Piece]) -> int:
    return sum(len(each) if isinstance(each, bytes) else each.length for each in pieces)


def _checked_length(pieces: Iterable[_Piece]) -> int:
    length = _length(pieces)
    if length > LARGEST_LONG_BYTES:
        raise NotAcceptableError("a sequence is too long to be written anew")
    return length


def _by_tag(nodes: Iterable[Node]) -> dict[int, Node]:
    """Order elements by tag; of one that comes twice the last counts."""
    latest = {node.element.tag: node for node in nodes}
    return dict(sorted(latest.items()))


def _context(nodes: Mapping[int, Node], outer: _Context, writer: _Writer) -> _Context:
    representation = writer.number(nodes, _PIXEL_REPRESENTATION)
    is_signed = outer.is_signed if representation is None else representation == 1
    return _Context(is_signed, writer.number(nodes, _LUT_DESCRIPTOR) or 0)


def _settled_vr(vr: str, context: _Context) -> str:
    """Choose among the VRs that the dictionary leaves open (PS3.5 §A.1, PS3.3 §C.11.1)."""
    if vr == "US/SS":
        return "SS" if context.is_signed else "US"
    if vr == "US/OW" and context.lut_entries == 1:
        return "US"
    return "OW" if "/" in vr else vr


def _file_meta(row: InstanceRow, former: Mapping[str, str], transfer_syntax_uid: str) -> bytes:
    return file_meta(
        sop_class_uid=row.sop_class_uid,
        sop_instance_uid=row.instance.sop_instance_uid,
        transfer_syntax_uid=transfer_syntax_uid,
        source_application=former.get("00020016", ""),
    )
