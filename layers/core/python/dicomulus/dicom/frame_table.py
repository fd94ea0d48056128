"""Where the frames of an object's pixel data lie: one ranged read each (PS3.5 §8, §A.4)."""

from __future__ import annotations

import struct
import zlib
from array import array
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from dicomulus.dicom.encapsulation import ITEM_HEADER_BYTES, Fragments
from dicomulus.dicom.json_model import first_value, integer_of
from dicomulus.dicom.numbers import Numbers
from dicomulus.dicom.part10 import Header, swap_bytes
from dicomulus.errors import CorruptFragmentError, FrameNotFoundError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from dicomulus.dicom.byte_source import ByteSource
    from dicomulus.dicom.part10 import Element

_FORMAT_VERSION: Final = 1
_ENCAPSULATED: Final = 1
_OBJECT_DEFLATED: Final = 2
_LISTS_DEFLATED: Final = 4

_LARGEST_LISTS_BYTES: Final = 64 * 1_048_576

_NATIVE_SYNTAXES: Final = frozenset(
    {
        "1.2.840.10008.1.2",
        "1.2.840.10008.1.2.1",
        "1.2.840.10008.1.2.1.99",
        "1.2.840.10008.1.2.2",
    }
)
# MPEG-2, MPEG-4 and HEVC (PS3.5 §A.4.5 to §A.4.9): one bit stream for all frames.
_VIDEO_SYNTAX_PREFIX: Final = "1.2.840.10008.1.2.4.10"

PIXEL_DESCRIPTION_TAGS: Final = (
    "00280002",
    "00280004",
    "00280008",
    "00280010",
    "00280011",
    "00280100",
)
"""The attributes that ``PixelDescription`` is made of."""


class ByteRange(NamedTuple):
    """Bytes of the object, or of its inflated form when it is deflated."""

    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class PixelDescription:
    """What the size of a frame depends on (PS3.3 §C.7.6.3, §C.7.6.6)."""

    rows: int = 0
    columns: int = 0
    samples_per_pixel: int = 1
    bits_allocated: int = 0
    photometric_interpretation: str = ""
    number_of_frames: int = 1

    @classmethod
    def from_attributes(cls, attributes: Mapping[str, object]) -> PixelDescription:
        """Take it from an instance's DICOM JSON; what is missing or makes no sense is the default."""

        def natural(tag: str, default: int) -> int:
            value = integer_of(attributes, tag)
            return default if value is None or value < 1 else value

        return cls(
            rows=natural("00280010", 0),
            columns=natural("00280011", 0),
            samples_per_pixel=natural("00280002", 1),
            bits_allocated=natural("00280100", 0),
            photometric_interpretation=str(first_value(attributes, "00280004") or ""),
            number_of_frames=natural("00280008", 1),
        )

    @property
    def frame_bits(self) -> int:
        """Bits of a frame that is not compressed, 0 when unknown."""
        return self.rows * self.columns * self.samples_per_pixel * self.bits_allocated

    @property
    def subsampled_frame_bits(self) -> int:
        """Bits of a frame whose two colour differences are shared by two pixels each, else 0."""
        is_422 = self.photometric_interpretation in ("YBR_FULL_422", "YBR_PARTIAL_422")
        return self.frame_bits * 2 // 3 if is_422 and self.samples_per_pixel == 3 else 0


@dataclass(frozen=True, slots=True)
class NativeFrames:
    """Frames of one size, one after the other.

    A frame of single bits need not begin at a byte; ``part_bytes`` shifts it into place.
    """

    value_offset: int
    value_length: int
    frame_bits: int
    number_of_frames: int
    swap_unit: int = 1
    """Bytes to exchange for little endian; 1 for none."""
    deflated: bool = False
    """Offsets are those of the inflated object, so that no range of the object gives a frame."""

    @property
    def is_plain(self) -> bool:
        """Whether frames are bytes of the object as they are, which ``pieces`` names."""
        return self.swap_unit == 1 and self.frame_bits % 8 == 0

    def pieces(self, number: int, start: int, length: int) -> tuple[ByteRange, ...]:
        """Give where bytes of a plain frame lie, in order.

        Raises:
            FrameNotFoundError: There is no frame of that number.
        """
        return (self.part_range(number, start, length),)

    def part_range(self, number: int, start: int, length: int) -> ByteRange:
        """Give the bytes to read for bytes of a frame; whole swap units.

        Raises:
            FrameNotFoundError: There is no frame of that number.
        """
        first, last = self._part_bits(number, start, length)
        begin = first // 8 // self.swap_unit * self.swap_unit
        end = _ceil_div(_ceil_div(last, 8), self.swap_unit) * self.swap_unit
        return ByteRange(self.value_offset + begin, min(end, self.value_length) - begin)

    def part_bytes(self, number: int, start: int, length: int, read: bytes) -> bytes:
        """Make bytes of a frame of those of ``part_range``."""
        first, last = self._part_bits(number, start, length)
        value = swap_bytes(read, self.swap_unit)
        skipped = first - first // 8 // self.swap_unit * self.swap_unit * 8
        if skipped % 8 == 0 and (last - first) % 8 == 0:
            return value[skipped // 8 : skipped // 8 + (last - first) // 8]
        # Bits are packed from the least significant on (PS3.5 §D).
        bits = int.from_bytes(value, "little") >> skipped & ((1 << (last - first)) - 1)
        return bits.to_bytes(_ceil_div(last - first, 8), "little")

    def _part_bits(self, number: int, start: int, length: int) -> tuple[int, int]:
        first, last = self._bits(number)
        return first + 8 * start, min(first + 8 * (start + length), last)

    def frame_length(self, number: int) -> int:
        """Give the bytes of a frame as it leaves, without reading anything."""
        first, last = self._bits(number)
        return _ceil_div(last - first, 8)

    def _bits(self, number: int) -> tuple[int, int]:
        check_frame_number(number, self.number_of_frames)
        return (number - 1) * self.frame_bits, number * self.frame_bits

    def encode(self) -> bytes:
        """Give the stored form, less than 24 bytes."""
        flags = _OBJECT_DEFLATED if self.deflated else 0
        numbers = (
            self.value_offset,
            self.value_length,
            self.frame_bits,
            self.number_of_frames,
            self.swap_unit,
        )
        return bytes((_FORMAT_VERSION, flags)) + b"".join(map(_varint, numbers))


@dataclass(frozen=True, slots=True)
class EncapsulatedFrames:
    """Frames of one or more fragments each, one item after the other."""

    offset: int
    """Where the item header of the first fragment begins."""
    lengths: Numbers
    """Bytes in each fragment, without its item header."""
    counts: Numbers
    """Fragments of each frame; empty when nothing tells where frames begin."""
    deflated: bool = False

    @classmethod
    def of(
        cls,
        offset: int,
        lengths: Iterable[int],
        counts: Iterable[int],
        *,
        deflated: bool = False,
    ) -> EncapsulatedFrames:
        """Make a table of lists."""
        return cls(offset, Numbers.of(lengths), Numbers.of(counts), deflated)

    @property
    def held_bytes(self) -> int:
        """Bytes of memory that the lists take."""
        return self.lengths.held_bytes + self.counts.held_bytes

    @property
    def number_of_frames(self) -> int:
        """Frames that can be read."""
        return len(self.counts)

    @property
    def value_offset(self) -> int:
        """Where the first fragment's item begins."""
        return self.offset

    @property
    def value_length(self) -> int:
        """Bytes of all fragments with their item headers."""
        return self.lengths.total + ITEM_HEADER_BYTES * len(self.lengths)

    def fragments(self, number: int) -> tuple[ByteRange, ...]:
        """Give the bytes of each fragment of a frame, without item headers.

        Raises:
            FrameNotFoundError: There is no frame of that number.
        """
        first, end = self._fragments_of(number)
        lengths = self.lengths.values[first:end]
        before = self.offset + self.lengths.before(first) + first * ITEM_HEADER_BYTES
        sizes = (length + ITEM_HEADER_BYTES for length in lengths)
        begins = accumulate(sizes, initial=before + ITEM_HEADER_BYTES)
        return tuple(map(ByteRange, begins, lengths))

    @property
    def is_plain(self) -> bool:
        """Whether frames are bytes of the object as they are, which ``pieces`` names."""
        return True

    def pieces(self, number: int, start: int, length: int) -> tuple[ByteRange, ...]:
        """Give where bytes of a frame lie, in order: those of its fragments, not of item headers.

        Raises:
            FrameNotFoundError: There is no frame of that number.
        """
        found: list[ByteRange] = []
        end = start + length
        position = 0
        for fragment in self.fragments(number):
            first, last = max(start, position), min(end, position + fragment.length)
            if first < last:
                found.append(ByteRange(fragment.offset + first - position, last - first))
            position += fragment.length
            if position >= end:
                break
        return tuple(found)

    def frame_length(self, number: int) -> int:
        """Give the bytes of a frame as it leaves, without reading anything."""
        first, end = self._fragments_of(number)
        return sum(self.lengths.values[first:end])

    def _fragments_of(self, number: int) -> tuple[int, int]:
        check_frame_number(number, self.number_of_frames)
        first = self.counts.before(number - 1)
        return first, first + self.counts[number - 1]

    def encode(self) -> bytes:
        """Give the stored form: a few bytes for one fragment, about three for each of many."""
        one_each = len(self.counts) == len(self.lengths)
        lists = self.lengths.pack() + (b"" if one_each else self.counts.pack())
        deflated = zlib.compress(lists, 9, -zlib.MAX_WBITS)
        flags = _ENCAPSULATED | (_OBJECT_DEFLATED if self.deflated else 0)
        if len(deflated) < len(lists):
            flags, lists = flags | _LISTS_DEFLATED, deflated
        numbers = (self.offset, len(self.lengths), len(self.counts))
        return bytes((_FORMAT_VERSION, flags)) + b"".join(map(_varint, numbers)) + lists


FrameTable: TypeAlias = NativeFrames | EncapsulatedFrames


def _ceil_div(dividend: int, divisor: int) -> int:
    return -(-dividend // divisor)


def check_frame_number(number: int, number_of_frames: int) -> None:
    """Refuse the number of a frame that is not there.

    Raises:
        FrameNotFoundError: It is none from 1 to the number of frames.
    """
    if not 1 <= number <= number_of_frames:
        raise FrameNotFoundError(f"frame {number} of {number_of_frames}")


# --- stored form -----------------------------------------------------------------------------------


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def _read_varint(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while shift < 70:
        byte = data[position]
        value |= (byte & 0x7F) << shift
        position += 1
        shift += 7
        if byte < 0x80:
            return value, position
    raise CorruptFragmentError("a number of the frame table has no end")


_SWAP_UNITS: Final = (1, 2, 4, 8)


def decode_frame_table(data: bytes) -> FrameTable:
    """Read the stored form back.

    Raises:
        CorruptFragmentError: The bytes are no frame table of this format.
    """
    if len(data) < 2 or data[0] != _FORMAT_VERSION:
        raise CorruptFragmentError("the frame table has an unknown format")
    try:
        table = _decode_encapsulated(data) if data[1] & _ENCAPSULATED else _decode_native(data)
    except (IndexError, KeyError, ValueError, zlib.error, MemoryError) as exc:
        raise CorruptFragmentError("the frame table does not parse") from exc
    return table


def _decode_native(data: bytes) -> NativeFrames:
    numbers: list[int] = []
    position = 2
    for _ in range(5):
        value, position = _read_varint(data, position)
        numbers.append(value)
    offset, length, frame_bits, frames, unit = numbers
    if position != len(data) or unit not in _SWAP_UNITS or frames * frame_bits > 8 * length:
        raise CorruptFragmentError("the frame table contradicts itself")
    return NativeFrames(
        offset, length, frame_bits, frames, unit, deflated=bool(data[1] & _OBJECT_DEFLATED)
    )


def _decode_encapsulated(data: bytes) -> EncapsulatedFrames:
    offset, position = _read_varint(data, 2)
    fragments, position = _read_varint(data, position)
    frames, position = _read_varint(data, position)
    lists = data[position:]
    if data[1] & _LISTS_DEFLATED:
        inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        lists = inflater.decompress(lists, _LARGEST_LISTS_BYTES)
    lengths, position = Numbers.unpack(lists, 0, fragments)
    if frames == fragments:
        counts = Numbers(array("B", b"\1" * frames))
    else:
        counts, position = Numbers.unpack(lists, position, frames)
    if position != len(lists) or counts.total not in (0, len(lengths)) or 0 in counts.values:
        raise CorruptFragmentError("the frame table contradicts itself")
    return EncapsulatedFrames(offset, lengths, counts, deflated=bool(data[1] & _OBJECT_DEFLATED))


# --- building --------------------------------------------------------------------------------------


class BuiltFrameTable(NamedTuple):
    """A frame table, none where no frame can be found, and what had to be said about it."""

    table: FrameTable | None
    warnings: tuple[str, ...] = ()


def build_frame_table(
    source: ByteSource,
    header: Header,
    *,
    description: PixelDescription,
    fragments: Fragments | None,
) -> BuiltFrameTable:
    """Find the frames of the header's pixel element.

    Args:
        source: The source in which the header's offsets hold; read for an extended offset table only.
        header: Tells the pixel element; without one there is no table.
        description: Sizes from the data set.
        fragments: What ``scan_fragments`` found in a pixel element of undefined length.
    """
    pixel = header.pixel
    if pixel is None:
        return BuiltFrameTable(None)
    if pixel.length is None:
        return _encapsulated(source, header, description=description, fragments=fragments)
    return _native(header, pixel, description=description, size=source.size)


def _native(
    header: Header, pixel: Element, *, description: PixelDescription, size: int
) -> BuiltFrameTable:
    tag = f"{pixel.tag:08X}"
    declared = pixel.length or 0
    held = max(0, min(declared, size - pixel.value_offset))
    frame_bits = _native_frame_bits(description, declared)
    if frame_bits == 0:
        return BuiltFrameTable(None, (f"{tag}: rows, columns or bits allocated are missing",))
    wanted = description.number_of_frames
    warnings: list[str] = []
    if header.transfer_syntax_uid not in _NATIVE_SYNTAXES:
        if _ceil_div(frame_bits * wanted, 8) not in (declared, declared - 1):
            return BuiltFrameTable(None, (f"{tag}: compressed data without fragments",))
        warnings.append(f"{tag}: not encapsulated as the transfer syntax says")
    frames = min(wanted, held * 8 // frame_bits)
    if frames < wanted:
        warnings.append(f"{tag}: {wanted} frames declared, {frames} held")
    unit = 1
    if header.encoding.big_endian:
        unit = _pixel_swap_unit(pixel.vr, description.bits_allocated)
    table = NativeFrames(
        pixel.value_offset, held, frame_bits, frames, unit, deflated=header.deflated
    )
    return BuiltFrameTable(table, tuple(warnings))


def _native_frame_bits(description: PixelDescription, value_length: int) -> int:
    # Some writers name YBR_FULL_422 and still give every pixel its own colour.
    full = description.frame_bits
    if description.number_of_frames * full <= 8 * value_length:
        return full
    return description.subsampled_frame_bits or full


def _pixel_swap_unit(vr: str, bits_allocated: int) -> int:
    if bits_allocated in (16, 32, 64):
        return bits_allocated // 8
    return 2 if vr == "OW" else 1


def _encapsulated(
    source: ByteSource,
    header: Header,
    *,
    description: PixelDescription,
    fragments: Fragments | None,
) -> BuiltFrameTable:
    if fragments is None or not fragments.lengths:
        return BuiltFrameTable(None, ("7FE00010: no fragments",))
    warnings: list[str] = []
    counts = _group(source, header, description.number_of_frames, fragments, warnings)
    table = EncapsulatedFrames.of(
        fragments.offset, fragments.lengths, counts, deflated=header.deflated
    )
    return BuiltFrameTable(table, tuple(warnings))


def _group(
    source: ByteSource,
    header: Header,
    frames: int,
    fragments: Fragments,
    warnings: list[str],
) -> tuple[int, ...]:
    """Give the number of fragments of each frame."""
    held = len(fragments.lengths)
    is_video = header.transfer_syntax_uid.startswith(_VIDEO_SYNTAX_PREFIX)
    if is_video or frames == 1:
        return (held,)
    tables = (
        ("7FE00001", _extended_offsets(source, header)),
        ("7FE00010", fragments.basic_offset_table),
    )
    for tag, table in tables:
        counts = _counts_by_table(table, frames, fragments)
        if counts:
            return counts
        if table:
            warnings.append(f"{tag}: the offset table is wrong and ignored")
    if held == frames:
        return (1,) * held
    return _group_by_streams(frames, fragments, warnings)


def _extended_offsets(source: ByteSource, header: Header) -> tuple[int, ...]:
    element = header.extended_offset_table
    if element is None or not element.length:
        return ()
    value = source.read(element.value_offset, min(element.length, _LARGEST_LISTS_BYTES))
    count = len(value) // 8
    order = ">" if header.encoding.big_endian else "<"
    return struct.unpack(f"{order}{count}Q", value[: 8 * count])


def _counts_by_table(table: tuple[int, ...], frames: int, fragments: Fragments) -> tuple[int, ...]:
    """Give the grouping of an offset table, empty unless each offset is that of an item."""
    if len(table) != frames:
        return ()
    steps = accumulate((ITEM_HEADER_BYTES + n for n in fragments.lengths), initial=0)
    index_by_offset = {offset: index for index, offset in enumerate(steps)}
    total = len(fragments.lengths)
    starts = [index_by_offset.get(offset, total) for offset in table]
    starts.append(total)
    counts = tuple(after - start for start, after in pairwise(starts))
    return counts if starts[0] == 0 and min(counts) > 0 else ()


def _group_by_streams(frames: int, fragments: Fragments, warnings: list[str]) -> tuple[int, ...]:
    """Tell frames apart by where code streams end and begin."""
    begins, ends = fragments.begins_stream, fragments.ends_stream
    after_end = (True, *ends[:-1])
    marks = [begin and after for begin, after in zip(begins, after_end, strict=True)]
    candidates = (marks, list(begins), list(after_end))
    for candidate in candidates:
        if candidate[0] and sum(candidate) == frames:
            return _counts_from_starts(candidate)
    if all(begins) and all(ends):
        warnings.append(f"00280008: {frames} frames declared, {len(begins)} found")
        return (1,) * len(begins)
    warnings.append("7FE00010: nothing tells where its frames begin")
    return ()


def _counts_from_starts(starts: Sequence[bool]) -> tuple[int, ...]:
    indices = [index for index, start in enumerate(starts) if start]
    indices.append(len(starts))
    return tuple(after - start for start, after in pairwise(indices))
