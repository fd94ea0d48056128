"""Rows brought in step with the lists of main tags, from fragments: no object is read."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from dicomulus.errors import DerivedDataMissingError
from dicomulus.ports import InstanceChanges, SearchPath
from dicomulus.services.identifier_notes import OwnPatientIds, patient_id_in
from dicomulus.services.row_tags import renewed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dicomulus.dicom.main_tags import MainTags
    from dicomulus.dicom.resource import SeriesResource
    from dicomulus.ports import Index, InstanceRow, Page, SeriesRow
    from dicomulus.services.fragments import FragmentReader
    from dicomulus.services.identifier_notes import IdentifierNotes

logger = logging.getLogger(__name__)

_PAGE: Final = 200
"""Instance rows renewed in one commit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Renewal:
    """What became of a series."""

    rows: int = 0
    """Rows written."""
    missing: int = 0
    """Rows whose fragment is gone; their objects are being looked at again."""
    moved: bool = False
    """The series has a new version, and is due for compaction."""
    is_due: bool = False
    """This call has set the due time: the caller must enqueue or do the compaction."""


class Reindex:
    """Renews the rows of whole series."""

    def __init__(
        self,
        index: Index,
        fragments: FragmentReader,
        *,
        tags: MainTags,
        compact_delay_seconds: int,
        clock_ms: Callable[[], int],
        identifiers: IdentifierNotes | None = None,
    ) -> None:
        """Renew rows for some lists, and note what identifiers are missing, if asked to."""
        self._index = index
        self._fragments = fragments
        self._tags = tags
        self._delay_ms = 1_000 * compact_delay_seconds
        self._clock_ms = clock_ms
        self._identifiers = identifiers

    def series(self) -> Iterator[SeriesRow]:
        """Walk all series of the archive."""
        for shard in range(self._index.search_shards):
            after: str | None = None
            while True:
                page = self._index.scan_studies(SearchPath.DATE, shard, after=after)
                for entry in page.items:
                    yield from self._index.query_series(entry.study_instance_uid)
                after = page.next
                if after is None:
                    break

    def renew(self, row: SeriesRow) -> Renewal:
        """Renew the rows of a series that were made under other lists.

        A row whose object has changed meanwhile is left to whoever looks at the object. The
        series' own row follows by compaction, and until it has it counts as not renewed, so that
        a run that is cut off is finished by the next.
        """
        written = missing = 0
        moved = is_due = False
        own = OwnPatientIds(self._fragments.text)
        study_patient_id = self._study_patient_id(row.series) if self._identifiers else ""
        after: str | None = None
        while True:
            page: Page[InstanceRow] = self._index.query_instances(row.series, after, limit=_PAGE)
            if self._identifiers is not None:
                named = own.named(page.items, study_patient_id)
                self._identifiers.note_missing(self._identifiers.missing(named))
            news, lost = self._renewed(page)
            missing += lost
            if news or (row.main_tags != self._tags.name and not moved):
                is_due |= self._commit(row.series, news)
                written, moved = written + len(news), True
            after = page.next
            if after is None:
                break
        if moved:
            uid = row.series.series_instance_uid
            logger.info("series renewed", extra={"series_instance_uid": uid, "rows": written})
        return Renewal(rows=written, missing=missing, moved=moved, is_due=is_due)

    def _study_patient_id(self, series: SeriesResource) -> str:
        uid = series.study_instance_uid
        row = self._index.get_studies([uid]).get(uid)
        return "" if row is None else patient_id_in(row.answer)

    def _renewed(self, page: Page[InstanceRow]) -> tuple[list[InstanceRow], int]:
        news: list[InstanceRow] = []
        missing = 0
        for row in page.items:
            if row.main_tags == self._tags.name:
                continue
            try:
                made = renewed(row, self._fragments.text(row), self._tags)
            except DerivedDataMissingError:
                missing += 1
                continue
            if made != row:
                news.append(made)
        return news, missing

    def _commit(self, series: SeriesResource, news: list[InstanceRow]) -> bool:
        now_ms = self._clock_ms()
        changes = InstanceChanges(renewed=news, touched={series: None})
        return bool(self._index.commit(changes, now_ms=now_ms, due_ms=now_ms + self._delay_ms))
