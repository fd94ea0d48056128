"""What a transfer tells of itself while it goes on, and of single files at its end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


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
