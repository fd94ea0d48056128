"""How fast somebody may read."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Pace:
    """Holds whoever reads to so many bytes a second."""

    def __init__(
        self, bytes_per_second: float, *, sleep: Callable[[float], None] | None = None
    ) -> None:
        """Begin; 0 holds nobody."""
        self._bytes_per_second = bytes_per_second
        self._sleep = sleep or time.sleep
        self._begun = time.monotonic()
        self._bytes = 0

    def __call__(self, size_bytes: int) -> None:
        """Count bytes, and wait until they may have been read."""
        if not self._bytes_per_second:
            return
        self._bytes += size_bytes
        ahead = self._bytes / self._bytes_per_second - (time.monotonic() - self._begun)
        if ahead > 0:
            self._sleep(ahead)
