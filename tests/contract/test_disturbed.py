"""The disturbed index disturbs what the port allows, and nothing else."""

from __future__ import annotations

import itertools
import random
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from dicomulus.adapters.local.sqlite_index import SqliteIndex
from dicomulus.ports import InstanceChanges, SearchPath
from tests.support.builders import (
    instance_of,
    instance_row,
    putting,
    row_key,
    search_keys,
    series_of,
    study_row,
)
from tests.support.disturbed import CrashError, Disturbance, DisturbedIndex
from tests.support.index_contract import DUE_MS, add_studies, commit, rows_of, version_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def inner(tmp_path: Path) -> Iterator[SqliteIndex]:
    with closing(SqliteIndex(tmp_path / "index.sqlite")) as index:
        yield index


def studies(*numbers: int) -> InstanceChanges:
    return InstanceChanges(studies={f"1.2.{i}": study_row(f"1.2.{i}") for i in numbers})


def test_indexed_reads_lag_miss_and_repeat(inner: SqliteIndex) -> None:
    index = DisturbedIndex(inner, random.Random(3), Disturbance(lag=0.8, short_page=0))
    seen = []
    for number in range(30):
        commit(index, studies(number))
        page = index.scan_studies(SearchPath.DATE, 0)
        seen.append([entry.study_instance_uid for entry in page.items])
    assert any(len(uids) < number + 1 for number, uids in enumerate(seen))
    assert any(len(set(uids)) < len(uids) for uids in seen)
    assert any(len(later) < len(sooner) for sooner, later in itertools.pairwise(seen))


def test_a_late_answer_is_one_to_the_same_question(inner: SqliteIndex) -> None:
    index = DisturbedIndex(inner, random.Random(3), Disturbance(lag=0.5))
    names = ["doe", "roe"]
    for number in range(30):
        keys = search_keys(f"1.2.{number}", carried={"PatientName": names[number % 2]})
        add_studies(index, study_row(f"1.2.{number}", search_keys=keys))
        for backwards, name in itertools.product((False, True), names):
            page = index.scan_studies(
                SearchPath.DATE, 0, backwards=backwards, containing={"PatientName": (name,)}
            )
            found = [entry.sort_key for entry in page.items]
            assert found == sorted(found, reverse=not backwards)
            assert {entry.carried["PatientName"] for entry in page.items} <= {name}


def test_strong_reads_are_never_late(inner: SqliteIndex) -> None:
    index = DisturbedIndex(inner, random.Random(3), Disturbance(lag=1))
    for number in range(20):
        row = instance_row(instance_of(sop=number))
        index.note_objects({row.object_key: frozenset({row.instance})})
        before = number and version_of(index, series_of())
        commit(index, putting(row))
        assert index.get_instance(row.instance) == (row,)
        assert index.indexed_etags([row.object_key]) == {row.object_key: row.object_etag}
        assert len(rows_of(index, series_of())) == number + 1
        assert version_of(index, series_of()) > before


def test_pages_end_early(inner: SqliteIndex) -> None:
    index = DisturbedIndex(inner, random.Random(3), Disturbance(short_page=1))
    commit(index, putting(*(instance_row(instance_of(sop=i)) for i in range(20))))
    page = index.query_instances(series_of())
    assert 0 < len(page.items) < 20
    assert page.next is not None


@pytest.mark.parametrize("seed", range(20))
def test_a_commit_repeated_after_crashes_arrives_whole(inner: SqliteIndex, seed: int) -> None:
    index = DisturbedIndex(inner, random.Random(seed))
    old = [instance_row(instance_of(sop=i)) for i in range(5)]
    commit(index, putting(*old))
    before = version_of(index, series_of())
    new = [instance_row(instance_of(1, series, 10 + series)) for series in (1, 2)]
    changes = replace(putting(*new), deletes=[row_key(row) for row in old])
    crashes = 0
    with index.crashing(0.3):
        while True:
            try:
                commit(index, changes)
            except CrashError:
                crashes += 1
                continue
            break
    assert [row.instance for row in rows_of(index, series_of())] == [new[0].instance]
    assert all(index.get_instance(row.instance) == () for row in old)
    assert before < version_of(index, series_of()) <= before + 1 + crashes
    assert list(index.get_studies(["1.2.1"])) == ["1.2.1"]


def test_a_crash_falls_between_rows_and_versions(inner: SqliteIndex) -> None:
    index = DisturbedIndex(inner, random.Random(1))
    between = 0
    for number in range(60):
        row = instance_row(instance_of(study=number))
        try:
            with index.crashing(0.3):
                commit(index, putting(row))
        except CrashError:
            there = bool(index.get_instance(row.instance))
            between += there and index.get_series(row.instance.series) is None
    assert between > 0


def test_calm_ends_all_disturbances(inner: SqliteIndex) -> None:
    index = DisturbedIndex(
        inner, random.Random(1), Disturbance(lag=1, short_page=1, crash=1, batch_rows=1)
    )
    with pytest.raises(CrashError):
        commit(index, studies(1))
    index.calm()
    commit(index, studies(*range(50)))
    commit(index, putting(instance_row()))
    assert len(index.scan_studies(SearchPath.DATE, 0).items) == 50
    assert index.overdue_series(DUE_MS + 1) == (series_of(),)
    assert index.find_uid(series_of().series_instance_uid) == (series_of(),)
