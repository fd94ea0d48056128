"""Once the dust settles the archive is right, whatever happened in between.

Objects change, workers crash, messages repeat, and no reader is ever given an answer that lacks an
acknowledged write. Each guard of the write path is taken out once, to show that the runs notice.
"""

from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import pytest

from dicomulus.adapters.local.sqlite_index import SqliteIndex
from dicomulus.ports import InstanceChanges
from dicomulus.services.delete import Delete
from dicomulus.services.ingest import Ingest, LookReport
from tests.support.disturbed import Disturbance, DisturbedIndex
from tests.support.memory_store import MemoryStore
from tests.support.simulation import Paused, Simulation, World, as_no_actor

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator
    from pathlib import Path

    from dicomulus.dicom.resource import SeriesResource
    from dicomulus.ports import Change, Index, Tidings

STEPS = 400
SEEDS = range(40)
SEEDS_UNTIL_NOTICED = range(800)
"""Runs in which a missing guard must show."""


@pytest.fixture
def make_index(tmp_path: Path) -> Iterator[Callable[[int], Index]]:
    """Give an empty index for a seed: SQLite, its commits taken apart into single steps."""
    opened: list[SqliteIndex] = []

    def make(seed: int) -> Index:
        sqlite = SqliteIndex(tmp_path / f"{seed}-{len(opened)}.sqlite")
        opened.append(sqlite)
        disturbance = Disturbance(lag=0.5, short_page=0.3, crash=0, batch_rows=1)
        stepped = cast("Index", Paused(sqlite))
        return cast("Index", DisturbedIndex(stepped, random.Random(seed), disturbance))

    yield make
    for index in opened:
        index.close()


def simulate(seed: int, index: Index) -> None:
    """Let things happen, settle and compare."""
    world = World()
    simulation = Simulation(
        random.Random(seed),
        index=index,
        storage=MemoryStore(world.clock_ms),
        cache=MemoryStore(world.clock_ms),
        world=world,
        pause_index=False,
    )
    simulation.run(STEPS)
    simulation.settle()
    if isinstance(index, DisturbedIndex):
        index.calm()
    simulation.sweep()
    simulation.check()


def is_noticed(make_index: Callable[[int], Index]) -> bool:
    for seed in SEEDS_UNTIL_NOTICED:
        try:
            simulate(seed, make_index(seed))
        except AssertionError:
            return True
    return False


@pytest.mark.parametrize("seed", SEEDS)
def test_archive_and_objects_agree_whatever_happens_in_between(
    seed: int, make_index: Callable[[int], Index]
) -> None:
    simulate(seed, make_index(seed))


def test_without_the_second_look_it_would_not(
    make_index: Callable[[int], Index], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Ingest, "_has_moved", lambda *_: False)
    assert is_noticed(make_index)


class _WithoutNoOpAdd:
    """Leaves versions alone when no row changes."""

    def __init__(self, inner: Index) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def commit(
        self, changes: InstanceChanges, *, now_ms: int, due_ms: int
    ) -> frozenset[SeriesResource]:
        held = [row for put in changes.puts for row in self._inner.get_instance(put.instance)]
        gone = [row for key in changes.deletes for row in self._inner.get_instance(key.instance)]
        same = all(put in held for put in changes.puts)
        deleted = {(row.instance, row.object_key) for row in gone}
        if same and not any((k.instance, k.object_key) in deleted for k in changes.deletes):
            changes = replace(changes, touched={})
        return self._inner.commit(changes, now_ms=now_ms, due_ms=due_ms)


def test_without_the_add_of_a_no_op_it_would_not(make_index: Callable[[int], Index]) -> None:
    assert is_noticed(lambda seed: cast("Index", _WithoutNoOpAdd(make_index(seed))))


class _VersionFirst:
    """Moves versions before it writes rows."""

    def __init__(self, inner: Index) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def commit(
        self, changes: InstanceChanges, *, now_ms: int, due_ms: int
    ) -> frozenset[SeriesResource]:
        due = self._inner.commit(
            InstanceChanges(touched=changes.touched, studies=changes.studies),
            now_ms=now_ms,
            due_ms=due_ms,
        )
        rows = InstanceChanges(puts=changes.puts, deletes=changes.deletes)
        return due | self._inner.commit(rows, now_ms=now_ms, due_ms=due_ms)


def test_with_versions_moved_before_rows_it_would_not(
    make_index: Callable[[int], Index],
) -> None:
    assert is_noticed(lambda seed: cast("Index", _VersionFirst(make_index(seed))))


class _WithoutMemory:
    """Records whatever it is told, also what it has recorded before."""

    def __init__(self, inner: Index) -> None:
        self._inner = inner
        self._recorded = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def record_change(self, change: Change, *, after: int | None = None) -> bool:
        self._recorded += 1
        known = replace(change, version=change.version + self._recorded)
        return self._inner.record_change(known, after=after)


def test_if_changes_were_recorded_without_looking_it_would_not(
    make_index: Callable[[int], Index],
) -> None:
    assert is_noticed(lambda seed: cast("Index", _WithoutMemory(make_index(seed))))


class _WithoutGeneration:
    """Tells whatever was seen, also if the log was told since it was looked at."""

    def __init__(self, inner: Index) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def tell(self, tidings: Tidings) -> bool:
        with as_no_actor():
            now = self._inner.told(tidings.told.series)
        told = replace(tidings.told, generation=now.generation)
        return self._inner.tell(replace(tidings, told=told))


def test_if_changes_were_told_whoever_told_since_it_would_not(
    make_index: Callable[[int], Index],
) -> None:
    assert is_noticed(lambda seed: cast("Index", _WithoutGeneration(make_index(seed))))


class _Blind:
    """An ingest that looks at nothing."""

    def look_at(self, _object_keys: Collection[str]) -> LookReport:
        return LookReport()


class _LeavesRows(Delete):
    """Deletes objects, and leaves their rows to whoever hears of it."""

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more | {"ingest": _Blind()})


def test_if_deletions_left_the_rows_to_others_it_would_not(
    make_index: Callable[[int], Index], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.support.simulation.Delete", _LeavesRows)
    assert is_noticed(make_index)
