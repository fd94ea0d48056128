"""What a search has read so far, and when it has read enough."""

from __future__ import annotations

from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

# Read units of DynamoDB: 4,096 bytes of a strong read, 8,192 of one that is not.
_ENTRY_UNITS: Final = 0.03
"""An entry of an ordered index has some 250 bytes."""
_STUDY_UNITS: Final = 1.0
_SERIES_UNITS: Final = 0.25
_INSTANCE_UNITS: Final = 0.2
"""Instance rows are read many at a time: 450 of them took 80 units."""


@dataclass(frozen=True, slots=True)
class SearchLimits:
    """What one page of a search may take."""

    page_units: float = 10_000
    """Read units after which a page ends with the matches it has."""
    page_bytes: int = 0
    """Bytes of results after which it ends; 0: no limit."""
    seconds: float = 20
    """Time that a page without any match may take."""


@dataclass(slots=True)
class SearchCost:
    """What was read of the index."""

    reads: int = 0
    """Calls of the index."""
    entries: int = 0
    """Entries of ordered indexes."""
    studies: int = 0
    """Study rows."""
    series: int = 0
    instances: int = 0

    @property
    def units(self) -> float:
        """About how many of DynamoDB's read units that is, whatever the index is kept in."""
        return (
            self.entries * _ENTRY_UNITS
            + self.studies * _STUDY_UNITS
            + self.series * _SERIES_UNITS
            + self.instances * _INSTANCE_UNITS
        )

    def __str__(self) -> str:
        """Give the figures as one line."""
        return (
            f"reads={self.reads}; entries={self.entries}; studies={self.studies}; "
            f"series={self.series}; instances={self.instances}; units={self.units:.1f}"
        )


class SearchMeter:
    """Counts what one page of a search reads, against its limits."""

    def __init__(self, limits: SearchLimits, *, clock: Callable[[], float] = monotonic) -> None:
        """Begin now; ``clock`` gives seconds."""
        self.cost: Final = SearchCost()
        self.limits: Final = limits
        self._clock = clock
        self._deadline = clock() + limits.seconds

    def count(
        self, *, entries: int = 0, studies: int = 0, series: int = 0, instances: int = 0
    ) -> None:
        """Write down one call of the index and what it gave."""
        cost = self.cost
        cost.reads += 1
        cost.entries += entries
        cost.studies += studies
        cost.series += series
        cost.instances += instances

    @property
    def is_spent(self) -> bool:
        """Whether a page that has a match should end."""
        return self.cost.units >= self.limits.page_units or self.is_late

    @property
    def is_late(self) -> bool:
        """Whether a page that has none has to give up."""
        return self._clock() >= self._deadline
