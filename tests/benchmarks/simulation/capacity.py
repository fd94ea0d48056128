"""What DynamoDB allows a second: partitions with a budget, and how they split."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

PARTITION_WRITE_UNITS: Final = 1_000
"""Write units a second of one partition (DynamoDB)."""

_SPREAD: Final = 4
"""Partitions among which a batch of single items is shared; over many batches it is all."""

NEW_TABLE_WRITE_UNITS: Final = 4_000
"""Write units a second that a new on-demand table, and each of its indexes, takes at once."""


@dataclass(slots=True)
class Budget:
    """Units that come at a rate; what is not used is not kept beyond one second's."""

    rate: float
    left: float = field(init=False)
    at: float = 0.0
    granted: float = 0.0
    refused: float = 0.0

    def __post_init__(self) -> None:
        self.left = self.rate

    def take(self, units: float, now: float) -> float:
        """Take whole units as far as they are there; what is not is refused."""
        self.left = min(self.rate, self.left + (now - self.at) * self.rate)
        self.at = now
        given = min(units, float(int(self.left)))
        self.left -= given
        self.granted += given
        self.refused += units - given
        return given


class Table:
    """A table's partitions, and the studies on each.

    A study lies on one partition at first. A partition that refuses for ``split_seconds`` on end
    is split: its studies by half, or the items of its only study, which no local index forbids.
    """

    def __init__(
        self, studies: Iterable[int], *, write_units: int, split_seconds: float | None, seed: int
    ) -> None:
        """Place studies at random on as many partitions as the units take."""
        self._random = random.Random(seed)
        self._split_seconds = split_seconds
        count = max(1, write_units // PARTITION_WRITE_UNITS)
        self.partitions = [Budget(PARTITION_WRITE_UNITS) for _ in range(count)]
        self._places = {study: [self._random.randrange(count)] for study in studies}
        self._hot_since: dict[int, float] = {}
        self._last_refused: dict[int, float] = {}
        self.splits = 0

    def write(self, study: int, units: float, now: float) -> float:
        """Write to a study; give the units that were taken."""
        return self._write(self._random.choice(self._places[study]), units, now)

    def write_anywhere(self, units: float, now: float) -> float:
        """Write items that each have a partition key of their own: a few partitions get a share."""
        shares = min(_SPREAD, len(self.partitions))
        return sum(
            self._write(place, units / shares, now)
            for place in self._random.sample(range(len(self.partitions)), shares)
        )

    def _write(self, place: int, units: float, now: float) -> float:
        given = self.partitions[place].take(units, now)
        if given < units and self._split_seconds is not None:
            self._note_heat(place, now)
        return given

    def _note_heat(self, place: int, now: float) -> None:
        last = self._last_refused.get(place)
        if last is None or now - last > 1:
            self._hot_since[place] = now
        self._last_refused[place] = now
        if now - self._hot_since[place] >= (self._split_seconds or 0):
            self._split(place)
            del self._last_refused[place]

    def _split(self, place: int) -> None:
        new = len(self.partitions)
        self.partitions.append(Budget(PARTITION_WRITE_UNITS))
        self.splits += 1
        here = [study for study, places in self._places.items() if place in places]
        if len(here) == 1:
            self._places[here[0]].append(new)
        for study in here[: len(here) // 2]:
            places = self._places[study]
            places[places.index(place)] = new

    @property
    def refused(self) -> float:
        """Give all units that were refused."""
        return sum(each.refused for each in self.partitions)

    @property
    def granted(self) -> float:
        """Give all units that were written."""
        return sum(each.granted for each in self.partitions)
