"""A bar of bytes and files for what moves between here and a server."""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING, Final, Never, Self

from tqdm import tqdm

from dicomulus.cli.text import counted

if TYPE_CHECKING:
    from types import TracebackType

    from dicomulus.client.progress import Meter

REFRESH_SECONDS: Final = 0.25


class TransferBar:
    """Progress on a terminal; nothing where there is none."""

    def __init__(self, doing: str, meter: Meter) -> None:
        """Show what is done, such as ``Sending``, and what of it is under way."""
        self._meter = meter
        self._files = self._done_bytes = 0
        self._closed = threading.Event()
        # tqdm decides by the terminal whether there is a bar at all.
        self._bar: tqdm[Never] = tqdm(
            desc=doing,
            unit="B",
            unit_scale=True,
            disable=None,
            dynamic_ncols=True,
            leave=False,
            file=sys.stderr,
        )
        self._thread = threading.Thread(target=self._run, daemon=True)

    def expect(self, size_bytes: int) -> None:
        """Make it a bar that has an end."""
        self._bar.total = max(size_bytes, self._bar.n, 1)

    def done(self, size_bytes: int, *, files: int = 1) -> None:
        """Move on."""
        self._files += files
        self._done_bytes += size_bytes

    def _run(self) -> None:
        while not self._closed.wait(REFRESH_SECONDS):
            self._bar.set_postfix_str(counted(self._files, "file"), refresh=False)
            moved_bytes = self._done_bytes + self._meter.total_bytes
            # What has just ended is not told as done for a moment.
            self._bar.update(max(0, moved_bytes - self._bar.n))

    def __enter__(self) -> Self:
        """Begin."""
        if not self._bar.disable:
            self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Take the bar away."""
        self._closed.set()
        if self._thread.is_alive():
            self._thread.join()
        self._bar.close()
