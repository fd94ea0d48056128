"""What a transfer tells of itself while it goes on, and of single files at its end."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from threading import Lock
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator


class Meter:
    """Bytes of what is under way; may be used by many threads."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._lock = Lock()
        self._numbers = count()
        self._bytes: dict[int, int] = {}

    @property
    def total_bytes(self) -> int:
        """Bytes that have moved of what has not come to its end."""
        with self._lock:
            return sum(self._bytes.values())

    @contextmanager
    def moving(self) -> Iterator[Move]:
        """Count something until its end."""
        number = next(self._numbers)
        try:
            yield Move(self, number)
        finally:
            with self._lock:
                self._bytes.pop(number, None)

    def note(self, number: int, size_bytes: int) -> None:
        """Note how far something has come."""
        with self._lock:
            self._bytes[number] = size_bytes


@dataclass(frozen=True, slots=True)
class Move:
    """Something under way."""

    meter: Meter
    number: int

    def at(self, size_bytes: int) -> None:
        """Tell how far it has come."""
        self.meter.note(self.number, size_bytes)


class Progress(Protocol):
    """Is told how far the work has come."""

    def expect(self, size_bytes: int) -> None:
        """There are so many bytes in all."""
        ...

    def done(self, size_bytes: int, *, files: int = 1) -> None:
        """So many bytes, and files, are done."""
        ...


class Quiet:
    """Progress that nobody watches."""

    def expect(self, size_bytes: int) -> None:
        """Say nothing."""

    def done(self, size_bytes: int, *, files: int = 1) -> None:
        """Say nothing."""


@dataclass(frozen=True, slots=True)
class Note:
    """A file and what is to be said of it."""

    name: str
    reason: str
