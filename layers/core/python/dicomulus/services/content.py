"""Bytes that are read as they are sent: what is given of an object, a value or frames."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias, overload

ReadPart: TypeAlias = Callable[[int, int], Iterator[bytes]]

CHUNK_BYTES: Final = 1_048_576
"""Bytes that are read, held and sent at a time; divisible by every unit of byte order."""


@dataclass(frozen=True, slots=True)
class Content:
    """Bytes to be sent: how many, and the bytes, read as they are taken."""

    length: int
    chunks: Iterator[bytes]
    read: ReadPart | None = None
    """Reads a part, from an offset in a length; none where only the whole can be made."""

    @classmethod
    def seekable(cls, length: int, read: ReadPart) -> Content:
        """Take bytes of which any part can be read without the others."""
        return cls(length, read(0, length), read)

    def part(self, start: int, length: int) -> Content:
        """Give a part of what is seekable, for which nothing else is read."""
        if self.read is None:
            raise ValueError("only the whole can be made")
        return Content(length, self.read(start, length))

    def shortened(self, length: int) -> Content:
        """Give the beginning of what is seekable, as seekable as before."""
        if self.read is None:
            raise ValueError("only the whole can be made")
        return Content.seekable(length, self.read)


class Contents(Sequence[Content]):
    """Contents that are made as they are taken, each time anew, for there may be very many."""

    def __init__(self, count: int, make: Callable[[int], Content]) -> None:
        """Make each, by its place from 0, when it is asked for."""
        self._count = count
        self._make = make

    def __len__(self) -> int:
        """Give how many there are."""
        return self._count

    @overload
    def __getitem__(self, index: int) -> Content: ...

    @overload
    def __getitem__(self, index: slice) -> Contents: ...

    def __getitem__(self, index: int | slice) -> Content | Contents:
        """Make one, or tell of some."""
        places = range(self._count)[index]
        if isinstance(places, int):
            return self._make(places)
        return Contents(len(places), lambda at: self._make(places[at]))


@dataclass(frozen=True, slots=True)
class Frames:
    """Frames of one instance, in the order asked for."""

    transfer_syntax_uid: str
    contents: Contents
