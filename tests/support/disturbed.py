"""An index as bad as the port allows: late, forgetful, repetitive, and crashing between steps."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from dicomulus.ports import InstanceChanges

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Collection, Hashable, Iterator, Mapping, Sequence

    from dicomulus.dicom.orthanc_id import Level
    from dicomulus.dicom.resource import InstanceResource, Resource, SeriesResource
    from dicomulus.ports import (
        ArchiveCounts,
        Change,
        ChangeType,
        CountsMove,
        Damage,
        DictionaryRow,
        DocumentRow,
        EntryPage,
        HeldChecksum,
        Index,
        InstanceAnswer,
        InstanceRow,
        InstanceRowKey,
        LogState,
        ObjectRow,
        Page,
        Rejection,
        SearchPath,
        SeriesRow,
        StoredObject,
        StudyRow,
        Tidings,
        Told,
    )

T = TypeVar("T")
P = TypeVar("P", bound="Page[Any]")


class CrashError(Exception):
    """The process died here; nothing but a test catches it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Disturbance:
    """How often each thing goes wrong, from 0 to 1."""

    lag: float = 0.5
    """An indexed read gives what an earlier one gave, or a little less or more."""
    short_page: float = 0.5
    """A page ends before its limit."""
    crash: float = 0.0
    """A write stops before one of its steps."""
    batch_rows: int = 3
    """Instance rows that a step of a commit puts or deletes."""


@dataclass(slots=True)
class _Memory:
    """Earlier answers of indexed reads."""

    answers: dict[Hashable, list[object]] = field(default_factory=dict)

    def remember(self, question: Hashable, answer: object) -> None:
        self.answers.setdefault(question, []).append(answer)


class DisturbedIndex:
    """An ``Index`` around another one; strong reads stay strong, and no promise is broken.

    ``calm`` ends all disturbances, as when the dust settles.
    """

    def __init__(
        self, inner: Index, random: random.Random, disturbance: Disturbance | None = None
    ) -> None:
        self._inner = inner
        self._random = random
        self._disturbance = disturbance or Disturbance()
        self._memory = _Memory()
        # Threads share the random numbers; which of them gets which is up to the scheduler.
        self._lock = threading.Lock()

    def calm(self) -> None:
        """End all disturbances: indexed reads have caught up, nothing crashes."""
        with self._lock:
            self._disturbance = Disturbance(lag=0, short_page=0, crash=0)
            self._memory = _Memory()

    @contextmanager
    def crashing(self, rate: float) -> Iterator[None]:
        """Crash at this rate for a while."""
        before = self._disturbance
        self._disturbance = replace(before, crash=rate)
        try:
            yield
        finally:
            self._disturbance = before

    # objects

    def note_objects(
        self, instances: Mapping[str, frozenset[InstanceResource]]
    ) -> Mapping[str, ObjectRow]:
        rows: dict[str, ObjectRow] = {}
        for key, held in instances.items():
            if held:
                self._may_crash()
            rows |= self._inner.note_objects({key: held})
        return rows

    def reject_objects(self, rejections: Mapping[str, Rejection | None]) -> None:
        for key, rejection in rejections.items():
            self._may_crash()
            self._inner.reject_objects({key: rejection})

    def indexed_etags(self, object_keys: Collection[str]) -> Mapping[str, str]:
        return self._inner.indexed_etags(object_keys)

    def eventual_etags(self, object_keys: Collection[str]) -> Mapping[str, str]:
        current = self._inner.indexed_etags(object_keys)
        late = {key: self._late(("etag", key), partial(current.get, key)) for key in object_keys}
        return {key: etag for key, etag in late.items() if etag is not None}

    def known_objects(self, after: str | None = None, *, limit: int = 1000) -> Page[ObjectRow]:
        return self._late_page(
            ("known_objects", after),
            lambda: self._inner.known_objects(after, limit=self._short(limit)),
        )

    def walk(
        self,
        after: str | None = None,
        *,
        segment: int = 0,
        segments: int = 1,
        limit: int = 1000,
    ) -> Page[SeriesResource | ObjectRow]:
        return self._late_page(
            ("walk", after, segment, segments),
            lambda: self._inner.walk(
                after, segment=segment, segments=segments, limit=self._short(limit)
            ),
        )

    def forget_object(self, row: ObjectRow) -> bool:
        self._may_crash()
        return self._inner.forget_object(row)

    # documents

    def get_documents(self, object_keys: Collection[str]) -> Mapping[str, DocumentRow]:
        return self._inner.get_documents(object_keys)

    def put_document(self, row: DocumentRow, *, instead_of: int | None = None) -> bool:
        self._may_crash()
        return self._inner.put_document(row, instead_of=instead_of)

    def forget_document(self, object_key: str, version: int) -> bool:
        self._may_crash()
        return self._inner.forget_document(object_key, version)

    def labelled(
        self, level: Level, label: str, after: str | None = None, *, limit: int = 1000
    ) -> Page[Resource]:
        return self._inner.labelled(level, label, after, limit=self._short(limit))

    def used_labels(self) -> tuple[str, ...]:
        return self._inner.used_labels()

    # dictionaries

    def put_dictionary(self, row: DictionaryRow) -> None:
        self._may_crash()
        self._inner.put_dictionary(row)

    def query_dictionaries(self, series: SeriesResource) -> tuple[DictionaryRow, ...]:
        return self._inner.query_dictionaries(series)

    # instances

    def commit(
        self, changes: InstanceChanges, *, now_ms: int, due_ms: int
    ) -> frozenset[SeriesResource]:
        """Commit step by step: rows in batches in any order, studies, versions one by one."""
        due: frozenset[SeriesResource] = frozenset()
        for step in self._steps(changes):
            self._may_crash()
            due |= self._inner.commit(step, now_ms=now_ms, due_ms=due_ms)
        self._may_crash()
        return due

    def query_instances(
        self, series: SeriesResource, after: str | None = None, *, limit: int = 1000
    ) -> Page[InstanceRow]:
        return self._inner.query_instances(series, after, limit=self._short(limit))

    def query_instance_answers(
        self, series: SeriesResource, after: str | None = None, *, limit: int = 1000
    ) -> Page[InstanceAnswer]:
        return self._inner.query_instance_answers(series, after, limit=self._short(limit))

    def query_stored_objects(
        self, series: SeriesResource, after: str | None = None, *, limit: int = 1000
    ) -> Page[StoredObject]:
        return self._inner.query_stored_objects(series, after, limit=self._short(limit))

    def get_instance(self, instance: InstanceResource) -> tuple[InstanceRow, ...]:
        return self._inner.get_instance(instance)

    def held_checksums(
        self, keys: Collection[InstanceRowKey]
    ) -> Mapping[InstanceRowKey, HeldChecksum]:
        return self._inner.held_checksums(keys)

    # series

    def get_series(self, series: SeriesResource) -> SeriesRow | None:
        return self._inner.get_series(series)

    def query_series(self, study_instance_uid: str) -> tuple[SeriesRow, ...]:
        return self._inner.query_series(study_instance_uid)

    def fold_series(self, row: SeriesRow) -> bool:
        self._may_crash()
        return self._inner.fold_series(row)

    def settle_series(
        self, series: SeriesResource, version: int, *, stable_due_ms: int | None = None
    ) -> bool:
        self._may_crash()
        return self._inner.settle_series(series, version, stable_due_ms=stable_due_ms)

    def overdue_series(self, now_ms: int, *, limit: int = 1000) -> tuple[SeriesResource, ...]:
        return self._late_rows(
            "overdue_series", lambda: self._inner.overdue_series(now_ms, limit=limit)
        )

    # stability

    def quiet_series(self, now_ms: int, *, limit: int = 1000) -> tuple[SeriesResource, ...]:
        return self._late_rows(
            "quiet_series", lambda: self._inner.quiet_series(now_ms, limit=limit)
        )

    def mark_stable(self, series: SeriesResource, version: int) -> bool:
        self._may_crash()
        return self._inner.mark_stable(series, version)

    def end_quiet(self, series: SeriesResource, version: int) -> bool:
        self._may_crash()
        return self._inner.end_quiet(series, version)

    # changes

    def told(self, series: SeriesResource) -> Told:
        return self._inner.told(series)

    def tell(self, tidings: Tidings) -> bool:
        self._may_crash()
        return self._inner.tell(tidings)

    def record_change(self, change: Change, *, after: int | None = None) -> bool:
        self._may_crash()
        return self._inner.record_change(change, after=after)

    def recorded_version(self, change: Change) -> int:
        return self._inner.recorded_version(change)

    def flush_changes(self) -> None:
        self._inner.flush_changes()

    def changes(
        self,
        since: int = 0,
        *,
        to: int | None = None,
        types: Collection[ChangeType] = (),
        limit: int = 100,
        backwards: bool = False,
    ) -> Page[Change]:
        return self._inner.changes(
            since, to=to, types=types, limit=self._short(limit), backwards=backwards
        )

    def log_state(self) -> LogState:
        return self._inner.log_state()

    def claim_cursor(self, name: str, claim: str, *, now_ms: int, until_ms: int) -> int | None:
        self._may_crash()
        return self._inner.claim_cursor(name, claim, now_ms=now_ms, until_ms=until_ms)

    def move_cursor(self, name: str, claim: str, sequence: int, *, until_ms: int) -> bool:
        self._may_crash()
        return self._inner.move_cursor(name, claim, sequence, until_ms=until_ms)

    # damage

    def note_damage(self, damage: Damage) -> Damage:
        self._may_crash()
        return self._inner.note_damage(damage)

    def clear_damage(self, damage: Damage) -> None:
        self._may_crash()
        self._inner.clear_damage(damage)

    def damages(self, after: str | None = None, *, limit: int = 1000) -> Page[Damage]:
        return self._inner.damages(after, limit=self._short(limit))

    # studies

    def get_studies(self, study_instance_uids: Collection[str]) -> Mapping[str, StudyRow]:
        return self._inner.get_studies(study_instance_uids)

    def fold_study(
        self, row: StudyRow, *, expected_version: int, moved: CountsMove | None = None
    ) -> bool:
        self._may_crash()
        return self._inner.fold_study(row, expected_version=expected_version, moved=moved)

    def count_archive(self) -> ArchiveCounts:
        return self._inner.count_archive()

    # search

    @property
    def search_shards(self) -> int:
        return self._inner.search_shards

    def scan_studies(
        self,
        path: SearchPath,
        shard: int,
        *,
        low: str = "",
        high: str | None = None,
        after: str | None = None,
        limit: int = 1000,
        backwards: bool = False,
        containing: Mapping[str, tuple[str, ...]] | None = None,
    ) -> EntryPage:
        pieces = tuple((containing or {}).items())
        return self._late_page(
            ("scan_studies", path, shard, low, high, after, backwards, pieces),
            lambda: self._inner.scan_studies(
                path,
                shard,
                low=low,
                high=high,
                after=after,
                limit=self._short(limit),
                backwards=backwards,
                containing=containing,
            ),
        )

    def count_studies(
        self, path: SearchPath, shard: int, *, low: str = "", high: str | None = None
    ) -> int:
        return self._late(
            ("count_studies", path, shard, low, high),
            lambda: self._inner.count_studies(path, shard, low=low, high=high),
        )

    def find_uid(self, uid: str) -> tuple[SeriesResource | InstanceResource, ...]:
        return self._late_rows(("find_uid", uid), lambda: self._inner.find_uid(uid))

    # Orthanc's identifiers

    def note_identifiers(self, identifiers: Mapping[str, Resource]) -> None:
        for key, resource in identifiers.items():
            self._may_crash()
            self._inner.note_identifiers({key: resource})

    def find_identifier(self, orthanc_id: str) -> Resource | None:
        return self._inner.find_identifier(orthanc_id)

    def missing_identifiers(self, orthanc_ids: Collection[str]) -> frozenset[str]:
        return self._inner.missing_identifiers(orthanc_ids)

    # what goes wrong

    def _happens(self, rate: float) -> bool:
        with self._lock:
            return self._random.random() < rate

    def _below(self, end: int) -> int:
        with self._lock:
            return self._random.randrange(end)

    def _may_crash(self) -> None:
        if self._happens(self._disturbance.crash):
            raise CrashError

    def _short(self, limit: int) -> int:
        if limit > 1 and self._happens(self._disturbance.short_page):
            return 1 + self._below(min(limit - 1, 5))
        return limit

    def _steps(self, changes: InstanceChanges) -> Iterator[InstanceChanges]:
        size = self._disturbance.batch_rows
        for puts in _batches(self._shuffled(changes.puts), size):
            yield InstanceChanges(puts=puts)
        for renewed in _batches(self._shuffled(changes.renewed), size):
            yield InstanceChanges(renewed=renewed)
        for deletes in _batches(self._shuffled(changes.deletes), size):
            yield InstanceChanges(deletes=deletes)
        for uid, study in changes.studies.items():
            yield InstanceChanges(studies={uid: study})
        for series, row in changes.touched.items():
            yield InstanceChanges(touched={series: row})

    def _shuffled(self, items: Collection[T]) -> Sequence[T]:
        with self._lock:
            return self._random.sample(list(items), len(items))

    def _late_page(self, question: Hashable, read: Callable[[], P]) -> P:
        page = self._late(question, read)
        return replace(page, items=self._spoiled(page.items))

    def _late_rows(self, question: Hashable, read: Callable[[], tuple[T, ...]]) -> tuple[T, ...]:
        return self._spoiled(self._late(question, read))

    def _late(self, question: Hashable, read: Callable[[], T]) -> T:
        current = read()
        with self._lock:
            earlier = self._memory.answers.get(question, [])
            chosen = self._random.choice(earlier) if earlier else current
            self._memory.remember(question, current)
        return chosen if self._happens(self._disturbance.lag) else current  # type: ignore[return-value]

    def _spoiled(self, items: tuple[T, ...]) -> tuple[T, ...]:
        if not items or not self._happens(self._disturbance.lag):
            return items
        place = self._below(len(items))
        # One row is missed, or comes twice.
        copies = 2 * self._below(2)
        return items[:place] + items[place : place + 1] * copies + items[place + 1 :]


def _batches(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
