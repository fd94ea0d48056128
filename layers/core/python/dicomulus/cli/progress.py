"""A bar of bytes and files for what moves between here and a server."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Never, Self

from tqdm import tqdm

from dicomulus.cli.text import counted

if TYPE_CHECKING:
    from types import TracebackType


class TransferBar:
    """Progress on a terminal; nothing where there is none."""

    def __init__(self, doing: str) -> None:
        """Show what is done, such as ``Sending``."""
        self._files = 0
        # tqdm decides by the terminal whether there is a bar at all.
        self._bar: tqdm[Never] = tqdm(
            desc=doing,
            unit="B",
            unit_scale=True,
            disable=None,
            delay=0.3,
            dynamic_ncols=True,
            leave=False,
            file=sys.stderr,
        )

    def expect(self, size_bytes: int) -> None:
        """Make it a bar that has an end."""
        self._bar.total = max(size_bytes, self._bar.n, 1)

    def done(self, size_bytes: int, *, files: int = 1) -> None:
        """Move on."""
        self._files += files
        self._bar.set_postfix_str(counted(self._files, "file"), refresh=False)
        self._bar.update(size_bytes)

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Take the bar away."""
        self._bar.close()
