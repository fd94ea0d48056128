"""What a comparison announces of its findings: objects to be looked at, series to be compacted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dicomulus.ports import CompactSeries, InstanceChanges, LookAtObjects
from dicomulus.services.findings import Checked

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dicomulus.dicom.resource import SeriesResource
    from dicomulus.ports import ChangeQueue, Index, InstanceRow, Message
    from dicomulus.services.findings import Findings

KEYS_IN_MESSAGE: Final = 10
"""Keys of one message: 32 messages are one batch of ingest, which has 90 seconds for them."""


class Nobody:
    """A queue that leads nowhere: what reads without repairing tells nobody."""

    def send(self, messages: Sequence[Message], *, delay_seconds: float = 0) -> None:
        """Drop them."""


class Announcements:
    """Tells those who index and compact what to do."""

    def __init__(
        self,
        index: Index,
        queue: ChangeQueue,
        *,
        compact_delay_seconds: int,
        clock_ms: Callable[[], int],
    ) -> None:
        """Announce by a queue."""
        self._index = index
        self._queue = queue
        self._delay_seconds = compact_delay_seconds
        self._clock_ms = clock_ms

    def look_again(self, object_keys: Sequence[str], findings: Findings) -> None:
        """Have objects looked at."""
        keys = tuple(dict.fromkeys(object_keys))
        if not keys:
            return
        self._queue.send(
            [
                LookAtObjects(keys[start : start + KEYS_IN_MESSAGE])
                for start in range(0, len(keys), KEYS_IN_MESSAGE)
            ]
        )
        findings.checked[Checked.REPAIRS] += len(keys)

    def fold_again(self, series: SeriesResource, findings: Findings) -> None:
        """Have a series compacted, which folds its study as well."""
        now_ms = self._clock_ms()
        due = self._index.commit(
            InstanceChanges(touched={series: None}),
            now_ms=now_ms,
            due_ms=now_ms + 1000 * self._delay_seconds,
        )
        self._queue.send(
            [CompactSeries(each) for each in sorted(due)], delay_seconds=self._delay_seconds
        )
        findings.checked[Checked.REPAIRS] += 1


def instance_rows(index: Index, series: SeriesResource) -> list[InstanceRow]:
    """Read all instance rows of a series."""
    rows: list[InstanceRow] = []
    after: str | None = None
    while True:
        page = index.query_instances(series, after)
        rows += page.items
        if page.next is None:
            return rows
        after = page.next
