"""What a run of reconcile is asked to do, which share of the archive that is, and how far it is."""

from __future__ import annotations

import json
import zlib
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What a run is asked to do."""

    repair: bool = True
    """Make good what is found, or say only what would be."""
    verify: bool = False
    """Read objects whole, and compare them with their checksums; and the metadata of their rows."""
    days: int = 1
    """Verify so small a share of the archive that so many daily runs are needed for all of it."""
    day: int = 0
    """Which of these runs it is; runs of successive days have successive numbers."""
    compare_days: int = 1
    """Compare no more than such a share, and what is recent; no more than ``days`` with ``verify``."""

    def has_share(self, name: str) -> bool:
        """Whether something is of the share that this run compares."""
        return _share_of(name, self.compare_days) == self.day % self.compare_days

    def has_due(self, name: str) -> bool:
        """Whether something, of what this run compares, is of the share that it verifies.

        Every ``compare_days`` its turn comes, of which one in so many is the one to verify it.
        """
        turns = max(1, self.days // self.compare_days)
        return _share_of(name, turns) == self.day // self.compare_days % turns


@dataclass(frozen=True, slots=True, kw_only=True)
class Cursor:
    """How far a walk of the rows has come."""

    after: str | None = None
    """The end of the last page that was done as a whole."""
    study: str = ""
    """The last study that was begun."""
    row: tuple[str, ...] = ()
    """Within it the last row that was verified; empty: all of it is done."""
    document: str = ""
    """Of the page that is being done the last document that was verified, its studies being done."""

    def __str__(self) -> str:
        """Write it as a text that ``parse_cursor`` reads."""
        return json.dumps(asdict(self), ensure_ascii=False)


def day_of(seconds: float) -> int:
    """Give the number of a day, for ``Wishes``, by a time in seconds since the epoch."""
    return int(seconds) // 86_400


def parse_cursor(text: str) -> Cursor:
    """Read what a cursor was written as."""
    members: dict[str, Any] = json.loads(text)
    return Cursor(
        after=members["after"],
        study=members["study"],
        row=tuple(members["row"]),
        # A version before has no such place.
        document=members.get("document", ""),
    )


def _share_of(name: str, shares: int) -> int:
    return zlib.crc32(name.encode()) % shares
