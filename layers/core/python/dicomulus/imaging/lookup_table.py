"""Lookup tables of modality and VOI (PS3.3 §C.11.1, §C.11.2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from dicomulus.dicom.json_model import integer_of
from dicomulus.errors import NotAcceptableError
from dicomulus.imaging.frame_attributes import numbers_of, table_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    from dicomulus.imaging.frame_attributes import BulkReader

_LUT_DESCRIPTOR: Final = "00283002"
_LUT_DATA: Final = "00283006"
_LARGEST_TABLE: Final = 65_536
"""Entries of a table whose number of entries is written as 0 (PS3.3 §C.11.1.1)."""

_SIGN: Final = 0x8000


@dataclass(frozen=True, slots=True)
class LookupTable:
    """Entries for values from ``first`` on."""

    first: int
    entries: npt.NDArray[Any]
    bits: int
    """Of an entry."""

    @property
    def largest(self) -> int:
        """The largest entry that its bits allow."""
        return (1 << self.bits) - 1

    def apply(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Map values; those before the first and after the last map as these."""
        with np.errstate(invalid="ignore"):
            places = np.nan_to_num(np.asarray(values, np.float64)) - self.first
        return self.entries[np.clip(places, 0, len(self.entries) - 1).astype(np.int64)]


def lookup_table_of(
    item: Mapping[str, object], read_bulk: BulkReader, *, is_signed: bool
) -> LookupTable:
    """Read a table out of its sequence item.

    Args:
        item: The item as DICOM JSON.
        read_bulk: Reads entries that are not in it.
        is_signed: Whether the values that are mapped can be negative.

    Raises:
        NotAcceptableError: It has no entries, or contradicts itself.
    """
    descriptor = [int(number) for number in numbers_of(item, _LUT_DESCRIPTOR)]
    if len(descriptor) != 3 or not 1 <= descriptor[2] <= 16:
        raise NotAcceptableError(f"{_LUT_DESCRIPTOR}: not the descriptor of a lookup table")
    count, first, bits = descriptor
    count = count & 0xFFFF or _LARGEST_TABLE
    # Its VR is US or SS, and writers choose the wrong one.
    if is_signed and first >= _SIGN:
        first -= 2 * _SIGN
    data = table_of(item, _LUT_DATA, read_bulk)
    # Entries of 8 bits are in words of their own or two to a word.
    entries: npt.NDArray[Any] = np.frombuffer(data[: len(data) // 2 * 2], "<u2")
    if bits <= 8 and len(data) in (count, count + count % 2):
        entries = np.frombuffer(data, np.uint8)
    if not len(entries):
        raise NotAcceptableError(f"{_LUT_DATA}: a lookup table without entries")
    return LookupTable(first, entries[:count], bits)


def has_table(item: Mapping[str, object]) -> bool:
    """Whether a sequence item holds a table at all."""
    return integer_of(item, _LUT_DESCRIPTOR) is not None
