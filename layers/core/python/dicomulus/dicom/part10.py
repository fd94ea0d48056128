"""The structure of a DICOM object's bytes, read without converting values (PS3.5 §7, PS3.10 §7)."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from dicomulus.dicom.byte_source import FIRST_READ_BYTES, ByteSource, Prefix
from dicomulus.dicom.dictionary import vr_of
from dicomulus.errors import BulkDataNotFoundError, RejectedObjectError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

MAX_DEPTH: Final = 32
"""Sequences within sequences that are read; a real file has been seen to nest without end."""

MAX_INFLATED_BYTES: Final = 256 * 1_048_576
"""Bytes a deflated data set may grow to."""

IMPLICIT_LITTLE_ENDIAN: Final = "1.2.840.10008.1.2"
EXPLICIT_LITTLE_ENDIAN: Final = "1.2.840.10008.1.2.1"
EXPLICIT_BIG_ENDIAN: Final = "1.2.840.10008.1.2.2"
DEFLATED_SYNTAXES: Final = frozenset(
    {
        "1.2.840.10008.1.2.1.99",  # Deflated Explicit VR Little Endian (PS3.5 §A.5)
        "1.2.840.10008.1.2.4.95",  # JPIP Referenced Deflate (PS3.5 §A.7)
        "1.2.840.10008.1.2.4.205",  # JPIP HTJ2K Referenced Deflate (PS3.5 §A.11)
    }
)

ITEM: Final = 0xFFFEE000
ITEM_DELIMITER: Final = 0xFFFEE00D
SEQUENCE_DELIMITER: Final = 0xFFFEE0DD

FLOAT_PIXEL_DATA: Final = 0x7FE00008
DOUBLE_FLOAT_PIXEL_DATA: Final = 0x7FE00009
PIXEL_DATA: Final = 0x7FE00010
PIXEL_TAGS: Final = frozenset({FLOAT_PIXEL_DATA, DOUBLE_FLOAT_PIXEL_DATA, PIXEL_DATA})
EXTENDED_OFFSET_TABLE: Final = 0x7FE00001
EXTENDED_OFFSET_TABLE_LENGTHS: Final = 0x7FE00002

UNDEFINED: Final = 0xFFFFFFFF

# PS3.5 §7.1.2: two bytes of length, or two reserved bytes and four of length.
SHORT_VRS: Final = frozenset(
    b"AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US".split()
)
LONG_VRS: Final = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())
_VRS: Final = SHORT_VRS | LONG_VRS

_PREAMBLE_BYTES: Final = 128
_MAGIC: Final = b"DICM"
_LARGEST_META_VALUE_BYTES: Final = 1024
_EARLIEST_GROUPS: Final = frozenset({0x0000, 0x0002, 0x0004, 0x0008})

# PS3.5 §7.3: what swapping to little endian exchanges, in bytes.
_SWAP_UNITS: Final = {
    **dict.fromkeys(("AT", "OW", "SS", "US"), 2),
    **dict.fromkeys(("FL", "OF", "OL", "SL", "UL"), 4),
    **dict.fromkeys(("FD", "OD", "OV", "SV", "UV"), 8),
}


@dataclass(frozen=True, slots=True)
class Encoding:
    """How elements are written: with or without VR, and in which byte order."""

    implicit: bool = False
    big_endian: bool = False


@dataclass(frozen=True, slots=True)
class Element:
    """An element's header; offsets are bytes in the object, or in its inflated form."""

    tag: int
    vr: str
    """Two letters as written; empty where the encoding writes none."""
    offset: int
    value_offset: int
    length: int | None
    """Bytes of the value; none when undefined, so that a delimiter ends it."""


@dataclass(frozen=True, slots=True)
class Header:
    """What the object's structure tells before any value is converted.

    ``dataset_offset`` is where the data set begins. In a deflated object the offsets from there on are
    those of the inflated form: the object's bytes up to ``dataset_offset``, then the inflated data set.
    """

    file_meta: Mapping[str, str]
    """Text values of group 0002 by tag."""
    transfer_syntax_uid: str
    """As the file meta says, unless the data set is plainly written otherwise or nothing says."""
    encoding: Encoding
    deflated: bool
    dataset_offset: int
    pixel: Element | None = None
    """The top-level pixel element, never that of an icon."""
    extended_offset_table: Element | None = None
    extended_offset_table_lengths: Element | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Located:
    """An element found by its path, and where its value can be read."""

    element: Element
    vr: str
    """As written, else as the dictionary has it, else ``UN``."""
    source: ByteSource
    """Holds the value at ``element.value_offset``: the object, or its inflated form."""
    encoding: Encoding

    @property
    def swap_unit(self) -> int:
        """Bytes to exchange for little endian; 1 when the value is right as it is."""
        return swap_unit(self.vr) if self.encoding.big_endian else 1


@dataclass(slots=True)
class Findings:
    """What a walk has to say about the object, collected as it goes."""

    warnings: list[str] = field(default_factory=list)
    damaged: bool = False

    def damage(self, warning: str) -> None:
        """Note that part of the object could not be read."""
        self.warnings.append(warning)
        self.damaged = True


def format_tag(tag: int) -> str:
    """Write a tag as 8 upper-case hexadecimal digits."""
    return f"{tag:08X}"


def swap_unit(vr: str) -> int:
    """Give the bytes that big and little endian exchange in values of a VR; 1 for none."""
    return _SWAP_UNITS.get(vr, 1)


def swap_bytes(value: bytes, unit: int) -> bytes:
    """Reverse every ``unit`` bytes; a remainder at the end stays as it is."""
    if unit == 1:
        return value
    swapped = bytearray(value)
    whole_bytes = len(value) - len(value) % unit
    for index in range(unit):
        swapped[index:whole_bytes:unit] = value[unit - 1 - index : whole_bytes : unit]
    return bytes(swapped)


def read_element(
    source: ByteSource, position: int, *, encoding: Encoding, bound: int
) -> Element | None:
    """Read the element header at a position; none when fewer than 8 bytes are left before ``bound``.

    A VR that the standard does not have is tried as an element without VR, then with the short and the
    long form, and the first is taken after which something sensible follows.

    Raises:
        NeedMoreError: The source does not hold the header.
    """
    if bound - position < 8:
        return None
    raw = source.read(position, min(12, bound - position))
    if len(raw) < 8:
        return None
    order = ">" if encoding.big_endian else "<"
    group, number, length = struct.unpack_from(f"{order}HHL", raw)
    tag = group << 16 | number
    vr = raw[4:6]
    if encoding.implicit or group == 0xFFFE:
        return _element(tag, "", position, header_bytes=8, length=length)
    if vr in SHORT_VRS:
        (length,) = struct.unpack_from(f"{order}H", raw, 6)
        return Element(tag, vr.decode("ascii"), position, position + 8, length)
    if vr in LONG_VRS:
        return _long_element(raw, tag, position, order=order)
    return _guess_element(source, raw, position, encoding=encoding, bound=bound)


def _element(tag: int, vr: str, position: int, *, header_bytes: int, length: int) -> Element:
    known = None if length == UNDEFINED else length
    return Element(tag, vr, position, position + header_bytes, known)


def _long_element(raw: bytes, tag: int, position: int, *, order: str) -> Element | None:
    if len(raw) < 12:
        return None
    (length,) = struct.unpack_from(f"{order}L", raw, 8)
    return _element(tag, raw[4:6].decode("ascii"), position, header_bytes=12, length=length)


def _guess_element(
    source: ByteSource, raw: bytes, position: int, *, encoding: Encoding, bound: int
) -> Element | None:
    order = ">" if encoding.big_endian else "<"
    group, number, length = struct.unpack_from(f"{order}HHL", raw)
    (short_length,) = struct.unpack_from(f"{order}H", raw, 6)
    tag = group << 16 | number
    candidates = [
        _element(tag, "", position, header_bytes=8, length=length),
        Element(tag, "UN", position, position + 8, short_length),
    ]
    if len(raw) == 12:
        (long_length,) = struct.unpack_from(f"{order}L", raw, 8)
        candidates.append(_element(tag, "UN", position, header_bytes=12, length=long_length))
    for candidate in candidates:
        if _is_plausible(source, candidate, encoding=encoding, bound=bound):
            return candidate
    return None


def _is_plausible(source: ByteSource, element: Element, *, encoding: Encoding, bound: int) -> bool:
    """Tell whether what follows a guessed element looks like another one."""
    if element.length is None:
        (first,) = _tags(source.read(element.value_offset, 4), encoding) or (0,)
        return first in (ITEM, SEQUENCE_DELIMITER)
    end = element.value_offset + element.length
    if end >= bound:
        return end == bound
    raw = source.read(end, min(8, bound - end))
    if len(raw) < 8:
        return False
    (following,) = _tags(raw, encoding)
    if following in (ITEM, ITEM_DELIMITER, SEQUENCE_DELIMITER):
        return True
    (length,) = struct.unpack_from(">L" if encoding.big_endian else "<L", raw, 4)
    return following > element.tag and (raw[4:6] in _VRS or end + 8 + length <= bound)


def _tags(raw: bytes, encoding: Encoding) -> tuple[int, ...]:
    if len(raw) < 4:
        return ()
    group, number = struct.unpack_from(">HH" if encoding.big_endian else "<HH", raw)
    return (group << 16 | number,)


def end_of(source: ByteSource, element: Element, *, encoding: Encoding, bound: int) -> int | None:
    """Give the offset after an element, its delimiter included; none when the delimiter is missing.

    Nothing is recursed into, so that depth costs no stack.
    """
    if element.length is not None:
        return element.value_offset + element.length
    position, open_values = element.value_offset, 1
    while open_values:
        inner = read_element(source, position, encoding=encoding, bound=bound)
        if inner is None:
            return None
        position = inner.value_offset
        if inner.tag in (ITEM_DELIMITER, SEQUENCE_DELIMITER):
            open_values -= 1
        elif inner.length is None:
            open_values += 1
        else:
            position += inner.length
    return position


def iterate_elements(
    source: ByteSource, start: int, *, encoding: Encoding, findings: Findings
) -> Iterator[Element]:
    """Walk over the top level, leaving values out, until the object ends or cannot be read on.

    A value that reaches past the object's end is given as it claims to be, as the last one.
    """
    position = start
    while position < source.size:
        element = read_element(source, position, encoding=encoding, bound=source.size)
        if element is None or element.tag == 0:
            _note_rest(source, position, findings)
            return
        yield element
        end = end_of(source, element, encoding=encoding, bound=source.size)
        if end is None or end > source.size:
            findings.damage(f"{format_tag(element.tag)}: the object ends within the value")
            return
        position = end


def _note_rest(source: ByteSource, position: int, findings: Findings) -> None:
    # Writers pad to a block size with zeros.
    if source.read(position, 64).strip(b"\0"):
        findings.damage("the end of the object is no DICOM element")
    else:
        findings.warnings.append("the object ends with padding")


def parse_header(source: ByteSource) -> Header:
    """Read the file meta and walk over the top level up to the pixel element.

    Raises:
        RejectedObjectError: The bytes are no DICOM object.
        NeedMoreError: The source does not hold what is wanted.
    """
    header = parse_file_meta(source)
    findings = Findings(list(header.warnings))
    data_set = data_set_source(source, header)
    found: dict[int, Element] = {}
    walk = iterate_elements(
        data_set, header.dataset_offset, encoding=header.encoding, findings=findings
    )
    for element in walk:
        found[element.tag] = element
        if element.tag in PIXEL_TAGS:
            break
    return with_pixel(header, found, findings.warnings)


def with_pixel(header: Header, elements: Mapping[int, Element], warnings: Sequence[str]) -> Header:
    """Give the header with what belongs to pixel data among top-level elements."""
    return replace(
        header,
        pixel=next((elements[tag] for tag in sorted(PIXEL_TAGS & elements.keys())), None),
        extended_offset_table=elements.get(EXTENDED_OFFSET_TABLE),
        extended_offset_table_lengths=elements.get(EXTENDED_OFFSET_TABLE_LENGTHS),
        warnings=tuple(warnings),
    )


def parse_file_meta(source: ByteSource) -> Header:
    """Read the file meta and find out how the data set is written; the pixel element stays open.

    Raises:
        RejectedObjectError: The bytes are no DICOM object.
        NeedMoreError: The source does not hold the file meta.
    """
    start, is_part10 = _file_meta_offset(source)
    file_meta, dataset_offset = _read_file_meta(source, start)
    if not (is_part10 or file_meta or _begins_data_set(source, start)):
        raise RejectedObjectError("no DICOM object: neither file meta nor a data set")
    declared = file_meta.get("00020010", "")
    warnings = [] if declared else ["00020010: no transfer syntax; taken from the data set"]
    deflated = declared in DEFLATED_SYNTAXES
    if deflated and _begins_data_set(source, dataset_offset):
        deflated = False
        warnings.append("00020010: the data set is not deflated")
    stated = _stated_encoding(declared)
    encoding = stated if deflated else _seen_encoding(source, dataset_offset, stated)
    if declared and encoding != stated:
        warnings.append("00020010: the data set is written in another transfer syntax")
    syntax = _effective_syntax(declared, stated, encoding)
    return Header(file_meta, syntax, encoding, deflated, dataset_offset, warnings=tuple(warnings))


def _file_meta_offset(source: ByteSource) -> tuple[int, bool]:
    start = source.read(0, _PREAMBLE_BYTES + len(_MAGIC))
    if start[_PREAMBLE_BYTES:] == _MAGIC:
        return _PREAMBLE_BYTES + len(_MAGIC), True
    if start[: len(_MAGIC)] == _MAGIC:
        return len(_MAGIC), True
    return 0, False


def _read_file_meta(source: ByteSource, start: int) -> tuple[dict[str, str], int]:
    """Give the text values of group 0002, which is Explicit VR Little Endian, and its end."""
    found: dict[str, str] = {}
    position = start
    while True:
        element = read_element(source, position, encoding=Encoding(), bound=source.size)
        if element is None or element.tag >> 16 != 0x0002 or element.length is None:
            return found, position
        if element.vr in ("UI", "SH", "AE", "") and element.length <= _LARGEST_META_VALUE_BYTES:
            value = source.read(element.value_offset, element.length)
            found[format_tag(element.tag)] = value.decode("latin-1").strip("\0 ")
        position = element.value_offset + element.length


def _begins_data_set(source: ByteSource, position: int) -> bool:
    """Tell whether elements plausibly begin here: an early group, a known VR or a length that fits."""
    raw = source.read(position, 8)
    if len(raw) < 8:
        return False
    group_little, group_big = struct.unpack_from("<H", raw)[0], struct.unpack_from(">H", raw)[0]
    if raw[4:6] in _VRS:
        return group_little in _EARLIEST_GROUPS or group_big in _EARLIEST_GROUPS
    (length,) = struct.unpack_from("<L", raw, 4)
    fits = position + 8 + length <= source.size
    return group_little in _EARLIEST_GROUPS and fits and raw.strip(b"\0") != b""


def _stated_encoding(transfer_syntax_uid: str) -> Encoding:
    return Encoding(
        implicit=transfer_syntax_uid == IMPLICIT_LITTLE_ENDIAN,
        big_endian=transfer_syntax_uid == EXPLICIT_BIG_ENDIAN,
    )


def _seen_encoding(source: ByteSource, position: int, stated: Encoding) -> Encoding:
    """Tell how the first element is written, which wins over what the file meta says."""
    raw = source.read(position, 8)
    if len(raw) < 8:
        return stated
    little, big = struct.unpack_from("<H", raw)[0], struct.unpack_from(">H", raw)[0]
    if raw[4:6] in _VRS:
        return Encoding(implicit=False, big_endian=big < little)
    both_capitals = all(0x41 <= letter <= 0x5A for letter in raw[4:6])
    return stated if both_capitals and not stated.implicit else Encoding(implicit=True)


def _effective_syntax(declared: str, stated: Encoding, seen: Encoding) -> str:
    native = declared in (
        "",
        IMPLICIT_LITTLE_ENDIAN,
        EXPLICIT_LITTLE_ENDIAN,
        EXPLICIT_BIG_ENDIAN,
    )
    if declared and (stated == seen or not native):
        return declared
    if seen.implicit:
        return IMPLICIT_LITTLE_ENDIAN
    return EXPLICIT_BIG_ENDIAN if seen.big_endian else EXPLICIT_LITTLE_ENDIAN


def data_set_source(source: ByteSource, header: Header) -> ByteSource:
    """Give the source in which the header's offsets hold: the object, inflated when it is deflated.

    Raises:
        RejectedObjectError: The data set inflates to more than ``MAX_INFLATED_BYTES``.
        NeedMoreError: A deflated object is not held whole.
    """
    if not header.deflated:
        return source
    start = source.read(0, header.dataset_offset)
    content = start + _inflate(source, header.dataset_offset)
    return Prefix(content, len(content))


def _inflate(source: ByteSource, position: int) -> bytes:
    """Inflate to the end of the stream, or as far as it is intact."""
    if source.size - position > MAX_INFLATED_BYTES:
        raise RejectedObjectError("the deflated data set is too large")
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    pieces: list[bytes] = []
    room = MAX_INFLATED_BYTES
    # One read of the whole, so that a prefix names at once all that is missing.
    deflated = memoryview(source.read(position, source.size - position))
    for begin in range(0, len(deflated), FIRST_READ_BYTES):
        try:
            piece = inflater.decompress(deflated[begin : begin + FIRST_READ_BYTES], room)
        except zlib.error:
            break
        pieces.append(piece)
        room -= len(piece)
        if room == 0:
            raise RejectedObjectError("the deflated data set is too large")
    return b"".join(pieces)


def locate(source: ByteSource, path: Sequence[str]) -> Located:
    """Find an element by the path that a BulkDataURI carries.

    Args:
        source: The object.
        path: Tags of 8 hexadecimal digits, each but the last followed by the number of an item, counted
            from 1 as in the Native DICOM Model (PS3.19 §A.1): ``("00540016", "1", "00189999")``.

    Raises:
        BulkDataNotFoundError: The path does not parse or leads nowhere.
        RejectedObjectError: The bytes are no DICOM object.
        NeedMoreError: The source does not hold what is wanted.
    """
    tags, numbers = _parse_path(path)
    header = parse_file_meta(source)
    data_set = data_set_source(source, header)
    position, bound = header.dataset_offset, data_set.size
    for tag, number in zip(tags, numbers, strict=False):
        sequence = _find(data_set, position, tag=tag, encoding=header.encoding, bound=bound)
        position, bound = _item(
            data_set, sequence, number=number, encoding=header.encoding, bound=bound
        )
    element = _find(data_set, position, tag=tags[-1], encoding=header.encoding, bound=bound)
    vr = element.vr or (vr_of(format_tag(element.tag)) or "UN").split("/")[-1]
    return Located(element, vr, data_set, header.encoding)


def _parse_path(path: Sequence[str]) -> tuple[list[int], list[int]]:
    if len(path) % 2 == 0 or len(path) > 2 * MAX_DEPTH + 1:
        raise BulkDataNotFoundError("a path is a tag, or tags with item numbers between them")
    try:
        tags = [int(tag, 16) for tag in path[0::2] if len(tag) == 8]
        numbers = [int(number) for number in path[1::2]]
    except ValueError as exc:
        raise BulkDataNotFoundError("a path has tags and item numbers only") from exc
    if len(tags) != len(path[0::2]) or min(numbers, default=1) < 1:
        raise BulkDataNotFoundError("tags have 8 digits, items are counted from 1")
    return tags, numbers


def _find(
    source: ByteSource, position: int, *, tag: int, encoding: Encoding, bound: int
) -> Element:
    while position < bound:
        element = read_element(source, position, encoding=encoding, bound=bound)
        if element is None or element.tag == ITEM_DELIMITER:
            break
        if element.tag == tag:
            return element
        end = end_of(source, element, encoding=encoding, bound=bound)
        if end is None:
            break
        position = end
    raise BulkDataNotFoundError(f"{format_tag(tag)} is not there")


def _item(
    source: ByteSource, sequence: Element, *, number: int, encoding: Encoding, bound: int
) -> tuple[int, int]:
    """Give where the content of an item begins and the offset it cannot reach past."""
    position = sequence.value_offset
    if sequence.length is not None:
        bound = min(bound, position + sequence.length)
    for _ in range(number):
        item = read_element(source, position, encoding=encoding, bound=bound)
        if item is None or item.tag != ITEM:
            raise BulkDataNotFoundError(f"{format_tag(sequence.tag)} has no item {number}")
        end = end_of(source, item, encoding=encoding, bound=bound)
        begin, position = item.value_offset, bound if end is None else end
    return begin, min(bound, position)
