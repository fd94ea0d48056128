"""Many natural numbers in the bytes that they need, with the sum of those before any of them.

A frame's place is the sum of all lengths before it. Whole slide images have some hundred thousand
fragments, so neither the lists nor the sums are kept as objects.
"""

from __future__ import annotations

import sys
from array import array
from dataclasses import dataclass, field
from itertools import accumulate
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_TYPE_CODES: Final = {array(code).itemsize: code for code in ("B", "H", "I", "L", "Q")}
"""Bytes of a number to what ``array`` calls such numbers: 1, 2, 4 and 8 on all machines."""

_BLOCK: Final = 256
"""Numbers that are added up when a sum is asked for."""


@dataclass(frozen=True, slots=True)
class Numbers:
    """Natural numbers in order."""

    values: array[int]
    _marks: array[int] = field(init=False, repr=False, compare=False)
    """The sum before each block."""

    def __post_init__(self) -> None:
        """Add up the blocks once."""
        blocks = range(0, len(self.values), _BLOCK)
        sums = (sum(self.values[start : start + _BLOCK]) for start in blocks)
        object.__setattr__(self, "_marks", array("Q", accumulate(sums, initial=0)))

    @classmethod
    def of(cls, values: Iterable[int]) -> Numbers:
        """Take numbers, of at most 64 bits each."""
        wide = array("Q", values)
        largest = max(wide, default=0)
        width = next(width for width in sorted(_TYPE_CODES) if largest < 1 << 8 * width)
        return cls(array(_TYPE_CODES[width], wide))

    @classmethod
    def unpack(cls, data: bytes, position: int, count: int) -> tuple[Numbers, int]:
        """Read what ``pack`` wrote; give the position after it as well.

        Raises:
            IndexError: There is nothing.
            KeyError: There is no such width.
            ValueError: There are fewer.
        """
        width = data[position]
        end = position + 1 + width * count
        values = array(_TYPE_CODES[width])
        values.frombytes(data[position + 1 : end])
        if len(values) != count:
            raise ValueError("fewer numbers than announced")
        if sys.byteorder == "big":
            values.byteswap()
        return cls(values), end

    def pack(self) -> bytes:
        """Write them in as many bytes each as the largest needs, that width in front."""
        values = self.values
        if sys.byteorder == "big":
            values = values[:]
            values.byteswap()
        return bytes((values.itemsize,)) + values.tobytes()

    def __len__(self) -> int:
        """Give how many there are."""
        return len(self.values)

    def __iter__(self) -> Iterator[int]:
        """Go through them."""
        return iter(self.values)

    def __getitem__(self, index: int) -> int:
        """Give one of them, by its place from 0."""
        return self.values[index]

    @property
    def total(self) -> int:
        """The sum of all."""
        return self._marks[-1]

    @property
    def held_bytes(self) -> int:
        """Bytes of memory that they take."""
        return sum(len(each) * each.itemsize for each in (self.values, self._marks))

    def before(self, index: int) -> int:
        """Give the sum of the first ``index`` numbers."""
        block, rest = divmod(index, _BLOCK)
        return self._marks[block] + sum(self.values[index - rest : index])
