"""Delete studies, series and instances: the objects, what was derived from them, then the rows.

What knows goes last: a row names the object and the cached pieces, so it is there until they are
gone. Whatever interrupts a deletion leaves objects with their rows, or rows without their object,
which the event of its going, any reader, or the same request again puts right.
"""

from __future__ import annotations

import logging
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Final

from dicomulus.errors import (
    DicomulusError,
    GoneError,
    ObjectChangedError,
    PreconditionFailedError,
    UnavailableError,
)
from dicomulus.services.absence import absence, note_deletion
from dicomulus.services.cache_keys import thumbnail_prefix

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

    from dicomulus.dicom.resource import InstanceResource, SeriesResource
    from dicomulus.ports import Index, InstanceRow, ObjectStore, RunAll
    from dicomulus.services.at_rest import AtRest
    from dicomulus.services.belongings import Belongings
    from dicomulus.services.compaction import Compaction
    from dicomulus.services.ingest import Ingest

logger = logging.getLogger(__name__)

_BATCH: Final = 64
"""Objects deleted at a time; they share the move of their series' version."""


class Delete:
    """Takes instances out: those that are there when it begins, and no later ones."""

    def __init__(
        self,
        index: Index,
        storage: ObjectStore,
        *,
        cache: ObjectStore,
        ingest: Ingest,
        at_rest: AtRest,
        belongings: Belongings,
        compaction: Compaction,
        seconds: int,
        clock_ms: Callable[[], int],
        run_all: RunAll,
    ) -> None:
        """Delete for so many seconds at a time; 0 for as long as it takes."""
        self._index = index
        self._storage = storage
        self._cache = cache
        self._ingest = ingest
        self._at_rest = at_rest
        self._belongings = belongings
        self._compaction = compaction
        self._seconds = seconds
        self._clock_ms = clock_ms
        self._run_all = run_all

    def study(self, study_instance_uid: str) -> None:
        """Delete all instances of a study; one that has none any more is no error.

        Raises:
            StudyNotFoundError: There never was one.
            ObjectChangedError: An object was replaced meanwhile, and is kept.
            UnavailableError: Something is left; the same call goes on.
        """
        known = self._index.query_series(study_instance_uid)
        if not known:
            raise absence(self._index, study_instance_uid)
        group = [row.series for row in known]
        with self._belongings.going_with([*group, *self._belongings.above(study_instance_uid)]):
            self._empty(group)

    def series(self, series: SeriesResource) -> None:
        """Delete all instances of a series; errors as for ``study``.

        Raises:
            SeriesNotFoundError: There never was one.
        """
        if self._index.get_series(series) is None:
            raise absence(self._index, series)
        above = self._belongings.above(series.study_instance_uid)
        with self._belongings.going_with([series, *above]):
            self._empty([series])

    def instance(self, instance: InstanceResource) -> None:
        """Delete an instance, every object that holds it; errors as for ``study``.

        Raises:
            InstanceNotFoundError: There is none, and none was ever deleted.
        """
        rows = self._index.get_instance(instance)
        if rows:
            # First, so that whatever comes of it is told from what never was.
            note_deletion(self._index, instance)
            above = self._belongings.above(instance.study_instance_uid)
            with self._belongings.going_with([instance.series, *above]):
                self._remove_all([(rows, self._others(instance))])
                # What is left of a series is compacted when it is due: many deletions come in a row.
                if not self._index.query_instances(instance.series, limit=1).items:
                    self._compact([instance.series])
            return
        reason = absence(self._index, instance)
        if not isinstance(reason, GoneError):
            raise reason
        self._belongings.finish()

    def _others(self, instance: InstanceResource) -> Iterator[InstanceRow]:
        rows = self._compaction.instance_rows(instance.series)
        return (row for row in rows if row.instance != instance)

    def _empty(self, group: Sequence[SeriesResource]) -> None:
        # One series at a time is held in memory.
        found = self._remove_all(
            (tuple(self._compaction.instance_rows(each)), ()) for each in group
        )
        self._compact(group)
        if not found:
            # Whoever asks again may mean what he was not told the end of.
            self._belongings.finish()

    def _compact(self, group: Sequence[SeriesResource]) -> None:
        """Have searches know at once."""
        try:
            self._compaction.compact(group)
        except UnavailableError as exc:
            # It is still due: the instances are gone, and whoever compacts what is due goes on.
            logger.warning("compaction left for later", extra={"reason": str(exc)})

    def _remove_all(
        self, groups: Iterable[tuple[Sequence[InstanceRow], Iterable[InstanceRow]]]
    ) -> int:
        """Remove the first rows of each group; one that cannot be deleted keeps no other.

        Args:
            groups: Rows to remove, and the rows of their series that stay.

        Returns:
            How many rows there were.

        Raises:
            DicomulusError: What stood in the way of the first one that is left.
        """
        deadline_ms = self._clock_ms() + 1000 * self._seconds if self._seconds else None
        failures: list[DicomulusError] = []
        found = 0
        for rows, staying in groups:
            found += len(rows)
            for start in range(0, len(rows), _BATCH):
                if deadline_ms is not None and self._clock_ms() > deadline_ms:
                    raise UnavailableError("more is left than can be deleted at once")
                end = start + _BATCH
                batch = rows[start:end]
                with self._belongings.going_with(row.instance for row in batch):
                    failure = self._remove(batch, chain(rows[end:], staying))
                failures += [failure] if failure else []
        if failures:
            raise failures[0]
        return found

    # a batch

    def _remove(
        self, rows: Sequence[InstanceRow], others: Iterable[InstanceRow]
    ) -> DicomulusError | None:
        """Remove some rows; give what stood in the way of any of them."""
        outcomes = list(self._run_all([partial(self._delete_object, row) for row in rows]))
        pairs = list(zip(rows, outcomes, strict=True))
        deleted = [row for row, error in pairs if error is None]
        replaced = [row for row, error in pairs if isinstance(error, PreconditionFailedError)]
        self._forget_pointed(deleted, others)
        for series in {row.instance.series for row in deleted}:
            self._forget_thumbnails(series)
        report = self._ingest.look_at([row.object_key for row in (*deleted, *replaced)])
        logger.info("objects deleted", extra={"objects": len(report.gone)})
        failures = [e for e in outcomes if e and not isinstance(e, PreconditionFailedError)]
        failures += report.failed.values()
        if failures:
            return failures[0]
        held = {(row.object_key, row.instance) for row in report.indexed}
        if any((row.object_key, row.instance) in held for row in replaced):
            return ObjectChangedError("an object was replaced while it was to be deleted")
        return None

    def _delete_object(self, row: InstanceRow) -> DicomulusError | None:
        try:
            self._storage.delete(row.object_key, if_match=row.object_etag)
            copy = self._at_rest.forget_copy(row)
            if copy is not None:
                self._ingest.look_at([copy])
        except DicomulusError as exc:
            return exc
        return None

    def _forget_pointed(self, rows: Collection[InstanceRow], others: Iterable[InstanceRow]) -> None:
        """Delete the pieces in the cache store that these rows point to, and no others do.

        They are named by their content, so that instances of a series may share them.
        """
        pointed = _pointers(rows)
        if pointed:
            for key in sorted(pointed - _pointers(others)):
                self._cache.delete(key)

    def _forget_thumbnails(self, series: SeriesResource) -> None:
        """Delete a series' thumbnails: which of them show an instance, their keys do not say."""
        for info in self._cache.list(thumbnail_prefix(series)):
            self._cache.delete(info.key)


def _pointers(rows: Iterable[InstanceRow]) -> set[str]:
    found = {key for row in rows for key in (row.fragment.pointer, row.frame_table_pointer)}
    return found - {""}
