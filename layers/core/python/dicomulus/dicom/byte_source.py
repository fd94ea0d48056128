"""Reading an object's bytes by position, from a prefix that is held or by ranged reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

FIRST_READ_BYTES: Final = 65_536
"""Bytes of the first read: 98 % of real headers fit."""

LARGEST_READ_BYTES: Final = 8 * 1_048_576
"""Bytes of the largest read ahead; also what a source may hold beyond the value asked for."""

_NEAR_TO_JUMP_READ: Final = 256
"""After a jump so many times less than ``near_bytes`` is read: it costs nothing beside the jump."""


class NeedMoreError(Exception):
    """Bytes are wanted that the object has and the source does not hold.

    ``start`` and ``end`` are byte offsets in the object, ``end`` exclusive.
    """

    def __init__(self, start: int, end: int) -> None:
        super().__init__(f"bytes {start} to {end} are not held")
        self.start = start
        self.end = end


class ByteSource(Protocol):
    """An object's bytes, by offset."""

    @property
    def size(self) -> int:
        """Bytes in the object."""
        ...

    def read(self, start: int, length: int) -> bytes:
        """Give ``length`` bytes from ``start``, fewer only where the object ends.

        Raises:
            NeedMoreError: The object has them, the source does not hold them.
        """
        ...


@dataclass(frozen=True, slots=True)
class Prefix:
    """The first bytes of an object of ``size`` bytes, or all of them."""

    held: bytes | bytearray | memoryview
    size: int

    def read(self, start: int, length: int) -> bytes:
        """Give bytes of the prefix; see ``ByteSource.read``."""
        end = min(start + length, self.size)
        if end > len(self.held):
            raise NeedMoreError(max(start, len(self.held)), end)
        return bytes(self.held[start:end])


def whole(content: bytes) -> Prefix:
    """Give the source of an object that is held entirely."""
    return Prefix(content, len(content))


class RangedSource:
    """An object read in ranges, each as large as the reading so far makes sensible.

    The first read takes 64 KB. Reading on from there doubles what is read ahead, up to 8 MB. A jump of
    more than ``near_bytes`` reads little, because the next jump may be as far: so the headers of large
    fragments cost a small read each, and those of small fragments share large reads.
    """

    def __init__(
        self,
        fetch: Callable[[int, int], bytes],
        size: int,
        *,
        near_bytes: int = 1_048_576,
    ) -> None:
        """Make a source that has read nothing yet.

        Args:
            fetch: Gives the bytes from an offset, in the length asked for; errors pass through.
            size: Bytes in the object.
            near_bytes: Bytes that arrive in the time one more read takes.
        """
        self.size: Final = size
        self._fetch = fetch
        self._near_bytes = near_bytes
        self._jump_read_bytes = max(1, near_bytes // _NEAR_TO_JUMP_READ)
        self._head = b""
        self._start = 0
        self._window = b""
        self._ahead = FIRST_READ_BYTES

    def read(self, start: int, length: int) -> bytes:
        """Give bytes, fetching what is missing; see ``ByteSource.read``."""
        end = min(start + length, self.size)
        if end <= start:
            return b""
        if end <= len(self._head):
            return self._head[start:end]
        if not (self._start <= start and end <= self._start + len(self._window)):
            self._extend(start, end)
        return self._window[start - self._start : end - self._start]

    def _extend(self, start: int, end: int) -> None:
        window_end = self._start + len(self._window)
        keeps = self._start <= start <= window_end
        kept = self._window[start - self._start :] if keeps else b""
        if self._head or start:
            near = self._start <= start <= window_end + self._near_bytes
            self._ahead = (
                min(2 * self._ahead, LARGEST_READ_BYTES) if near else self._jump_read_bytes
            )
        begin = start + len(kept)
        wanted = min(max(end - begin, self._ahead), self.size - begin)
        self._window = kept + self._fetch(begin, wanted)
        self._start = start
        if not self._head and start == 0:
            self._head = self._window
