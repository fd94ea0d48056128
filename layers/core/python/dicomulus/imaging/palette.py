"""Palette colour lookup tables (PS3.3 §C.7.6.3.1.5, §C.7.9)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from dicomulus.errors import NotAcceptableError
from dicomulus.imaging.frame_attributes import numbers_of, table_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    from dicomulus.imaging.frame_attributes import BulkReader

    Entries = npt.NDArray[Any]

_DESCRIPTORS: Final = ("00281101", "00281102", "00281103")
_TABLES: Final = ("00281201", "00281202", "00281203")
_SEGMENTED_TABLES: Final = ("00281221", "00281222", "00281223")

_LARGEST_TABLE: Final = 65_536
_SIGN: Final = 0x8000

_DISCRETE, _LINEAR, _INDIRECT = range(3)


@dataclass(frozen=True, slots=True)
class Palette:
    """Red, green and blue of the values from ``first`` on."""

    first: int
    colours: npt.NDArray[np.uint8]
    """One row of three for each entry."""

    def apply(self, values: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
        """Map values; those before the first and after the last map as these."""
        places = np.clip(values.astype(np.int64) - self.first, 0, len(self.colours) - 1)
        return np.take(self.colours, places, axis=0)


def palette_of(
    attributes: Mapping[str, object], read_bulk: BulkReader, *, is_signed: bool
) -> Palette:
    """Read an image's palette.

    Raises:
        NotAcceptableError: It has none, or one that contradicts itself.
    """
    segmented = any(tag in attributes for tag in _SEGMENTED_TABLES)
    channels: list[Entries] = []
    first = 0
    for descriptor, tag in zip(
        _DESCRIPTORS, _SEGMENTED_TABLES if segmented else _TABLES, strict=True
    ):
        numbers = [int(number) for number in numbers_of(attributes, descriptor)]
        if len(numbers) != 3:
            raise NotAcceptableError(f"{descriptor}: not the descriptor of a palette")
        count, first, bits = numbers[0] & 0xFFFF or _LARGEST_TABLE, numbers[1], numbers[2]
        data = table_of(attributes, tag, read_bulk)
        entries = _units(data, count, is_8_bits=bits <= 8, segmented=segmented)
        channels.append(_expanded(entries, count) if segmented else entries[:count])
    lengths = {len(channel) for channel in channels}
    if len(lengths) != 1 or 0 in lengths:
        raise NotAcceptableError("the palette has not as many entries of each colour")
    if is_signed and first >= _SIGN:
        first -= 2 * _SIGN
    return Palette(first, _of_8_bits(np.stack(channels, axis=-1)))


def _units(data: bytes, count: int, *, is_8_bits: bool, segmented: bool) -> Entries:
    # Entries of 8 bits lie two to a word, but some writers give each a word.
    if is_8_bits and (segmented or len(data) in (count, count + count % 2)):
        return np.frombuffer(data, np.uint8)
    return np.frombuffer(data[: len(data) // 2 * 2], "<u2")


def _of_8_bits(colours: Entries) -> npt.NDArray[np.uint8]:
    # Palettes of 16 bits that use the lower 8 alone exist; all of their colours would be black.
    deep = colours.dtype.itemsize == 2 and int(colours.max()) > 0xFF
    return (colours >> 8 if deep else colours).astype(np.uint8)


def _expanded(units: Entries, count: int) -> Entries:
    """Expand the segments of a table to its entries (PS3.3 §C.7.9.2)."""
    numbers = [int(unit) for unit in units]
    entries: list[int] = []
    position = 0
    while position + 1 < len(numbers) and len(entries) < count:
        position = _take_segment(numbers, position, entries, units.dtype.itemsize)
    return np.array(entries[:count], dtype=units.dtype)


def _take_segment(numbers: list[int], position: int, entries: list[int], unit_bytes: int) -> int:
    """Add the entries of one segment; give where the next begins."""
    kind, length = numbers[position : position + 2]
    if kind == _DISCRETE:
        end = position + 2 + length
        entries += numbers[position + 2 : end]
        return end
    if kind == _LINEAR and entries and position + 2 < len(numbers):
        line = np.linspace(entries[-1], numbers[position + 2], length + 1)[1:]
        entries += [int(value) for value in np.rint(line)]
        return position + 3
    if kind == _INDIRECT:
        return _take_copies(numbers, position, entries, unit_bytes)
    raise NotAcceptableError("a segmented palette has a segment that is none")


def _take_copies(numbers: list[int], position: int, entries: list[int], unit_bytes: int) -> int:
    """Add the segments that an indirect one points to by its offset in units."""
    words = 4 // unit_bytes
    offset_units = numbers[position + 2 : position + 2 + words]
    shift = 8 * unit_bytes
    offset = sum(unit << shift * index for index, unit in enumerate(offset_units))
    for _ in range(numbers[position + 1]):
        if offset + 1 >= len(numbers) or numbers[offset] == _INDIRECT:
            raise NotAcceptableError("a segmented palette points to what is no segment")
        if len(entries) > _LARGEST_TABLE:
            raise NotAcceptableError("a segmented palette has too many entries")
        offset = _take_segment(numbers, offset, entries, unit_bytes)
    return position + 2 + words
