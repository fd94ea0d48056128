"""Stability: changes recorded of series, then studies, that nothing has changed for a while.

A compaction leaves a series with a stable due time, which stays until all that follows from it
has been recorded. So whatever interrupts that, and however late it comes, is made good by doing it
again, and what was recorded is recorded once.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from dicomulus.ports import Change, ChangeType, StabiliseSeries

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from dicomulus.dicom.resource import SeriesResource
    from dicomulus.ports import ChangedResource, ChangeQueue, Index, SeriesRow

logger = logging.getLogger(__name__)

_BATCH: Final = 16
"""Series handled in one go, so that others get their turn."""


class Stability:
    """Records what has become stable."""

    def __init__(
        self,
        index: Index,
        queue: ChangeQueue,
        *,
        stable_age_seconds: int,
        clock_ms: Callable[[], int],
    ) -> None:
        """Record in the index, by the messages of the queue or by looking for what is due."""
        self._index = index
        self._queue = queue
        self._stable_age_seconds = stable_age_seconds
        self._clock_ms = clock_ms

    def announce(self, compacted: Mapping[SeriesResource, int]) -> None:
        """Enqueue the look at series whose compaction has just begun their quiet time.

        Args:
            compacted: The version each was compacted at.
        """
        self._queue.send(
            [StabiliseSeries(series, version) for series, version in compacted.items()],
            delay_seconds=self._stable_age_seconds,
        )

    def handle(self, message: StabiliseSeries) -> None:
        """Do what a message says; one that comes too early is sent again."""
        row = self._index.get_series(message.series)
        if row is None or message.version not in (None, row.version):
            return
        early_ms = self._early_ms(row)
        if early_ms is not None and early_ms <= 0:
            self._stabilise(row)
        elif early_ms is not None and message.version is not None:
            delay_seconds = min(early_ms / 1000, self._stable_age_seconds)
            self._queue.send([message], delay_seconds=delay_seconds)

    def record_due(self, *, limit: int = _BATCH) -> int:
        """Record all that is due, the longest due first; give how many series were looked at."""
        due = self._index.quiet_series(self._clock_ms(), limit=limit)
        for series in due:
            self.handle(StabiliseSeries(series))
        return len(due)

    def _early_ms(self, row: SeriesRow) -> int | None:
        """Give how long it is till the row's version is stable; nothing where it will not be."""
        # A due time for compaction says that the version has moved since the other was set.
        if row.compact_due_ms is not None or row.stable_due_ms is None:
            return None
        return row.stable_due_ms - self._clock_ms()

    def _stabilise(self, row: SeriesRow) -> None:
        series = row.series
        if row.stable_version != row.version:
            # Of what is empty nothing is told, but it stands in no study's way.
            if row.instance_count:
                self._record(ChangeType.STABLE_SERIES, series, version=row.version)
            if not self._index.mark_stable(series, row.version):
                return
        # Of two series that become stable at once, at least the later sees the other one here.
        self._record_study(series.study_instance_uid)
        self._index.end_quiet(series, row.version)

    def _record_study(self, study_instance_uid: str) -> None:
        rows = self._index.query_series(study_instance_uid)
        if any(row.stable_version != row.version for row in rows):
            return
        if any(row.instance_count for row in rows):
            # Every series is in the sum for ever, and only grows in it.
            version = sum(row.version for row in rows)
            self._record(ChangeType.STABLE_STUDY, study_instance_uid, version=version)

    def _record(self, kind: ChangeType, resource: ChangedResource, *, version: int) -> None:
        change = Change(type=kind, resource=resource, version=version, date_ms=self._clock_ms())
        if self._index.record_change(change):
            logger.info("change recorded", extra={"change": kind.value, "version": version})
