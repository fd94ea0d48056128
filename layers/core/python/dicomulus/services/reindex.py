"""Rows brought in step with the lists of main tags, from fragments: no object is read."""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from dicomulus.errors import DerivedDataMissingError
from dicomulus.ports import InstanceChanges, SearchPath
from dicomulus.services.identifier_notes import patient_id_in, patient_id_in_instance
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
        """Renew rows for some lists, and note the identifiers of what they are of, if asked to."""
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
        said: dict[bytes, str] = {}
        patient_id = self._patient_id_of_unknown(row.series)
        after: str | None = None
        while True:
            page: Page[InstanceRow] = self._index.query_instances(row.series, after, limit=_PAGE)
            if patient_id is not None:
                self._note_identifiers(page, patient_id, said)
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

    def _patient_id_of_unknown(self, series: SeriesResource) -> str | None:
        """Give the Patient ID of a study whose instances are not found by their identifiers."""
        if self._identifiers is None:
            return None
        uid = series.study_instance_uid
        row = self._index.get_studies([uid]).get(uid)
        return patient_id_in(row.answer) if row and row.counted_bytes is None else None

    def _note_identifiers(
        self, page: Page[InstanceRow], study_patient_id: str, said: dict[bytes, str]
    ) -> None:
        """Note those of the study's Patient ID, and of what the instances themselves say.

        Instances that say the same of the levels above them have the same Patient ID.
        """
        if self._identifiers is None:
            return
        noted = [(study_patient_id, row.instance) for row in page.items]
        for row in page.items:
            if row.levels_digest not in said:
                with suppress(DerivedDataMissingError):
                    said[row.levels_digest] = patient_id_in_instance(self._fragments.text(row))
            if row.levels_digest in said:
                noted.append((said[row.levels_digest], row.instance))
        self._identifiers.note(noted)

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
