"""The SQLite index keeps the contract of ``Index``, and what it promises beyond."""

from __future__ import annotations

import itertools
import multiprocessing
import random
import re
import shutil
import sqlite3
import threading
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from dicomulus.adapters.local import sqlite_index
from dicomulus.adapters.local.index_schema import CARRIED_COLUMNS
from dicomulus.adapters.local.sqlite_index import SqliteIndex
from dicomulus.adapters.local.study_scan import (
    Statement,
    Stretch,
    count_statement,
    entries_statement,
    last_key_statement,
)
from dicomulus.ports import CARRIED_KEYWORDS, InstanceChanges, SearchPath
from dicomulus.services.search_keys import CARRIED_TAGS
from tests.support.builders import (
    instance_of,
    instance_row,
    putting,
    search_keys,
    series_of,
    series_row,
    study_row,
)
from tests.support.disturbed import Disturbance, DisturbedIndex
from tests.support.index_contract import (
    DUE_MS,
    NOW_MS,
    IndexContract,
    add_studies,
    carrying_studies,
    commit,
    entries_of,
    in_threads,
    pages_of,
    rows_of,
    version_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dicomulus.ports import StudyRow


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "index.sqlite"


@pytest.fixture
def index(file: Path) -> Iterator[SqliteIndex]:
    with closing(SqliteIndex(file)) as index:
        yield index


class TestSqliteIndex(IndexContract):
    @pytest.fixture
    def index(self, file: Path) -> Iterator[SqliteIndex]:
        with closing(SqliteIndex(file)) as index:
            yield index


class TestDisturbedSqliteIndex(IndexContract):
    """Short pages and commits in steps break no promise; lag would, and is tested elsewhere."""

    @pytest.fixture
    def index(self, file: Path) -> Iterator[DisturbedIndex]:
        with closing(SqliteIndex(file)) as inner:
            yield DisturbedIndex(inner, random.Random(1), Disturbance(lag=0))


def test_two_indexes_of_one_file_see_each_others_commits(file: Path) -> None:
    with closing(SqliteIndex(file)) as first, closing(SqliteIndex(file)) as second:
        commit(first, putting(instance_row()))
        assert second.get_instance(instance_of()) == (instance_row(),)
        commit(second, putting(instance_row()))
        assert version_of(first, series_of()) == NOW_MS + 2


def _commit_series(file: Path, worker: int) -> None:
    with closing(SqliteIndex(file)) as index:
        for turn in range(10):
            commit(index, putting(instance_row(instance_of(sop=worker * 100 + turn))))


def test_several_processes_create_and_write_one_index(file: Path) -> None:
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_commit_series, args=(file, i)) for i in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    with closing(SqliteIndex(file)) as index:
        assert len(rows_of(index, series_of())) == 30
        assert version_of(index, series_of()) == NOW_MS + 30


def test_a_commit_that_fails_midway_changes_nothing(index: SqliteIndex) -> None:
    commit(index, putting(instance_row()))
    before = index.get_series(series_of())
    broken = instance_row(instance_of(sop=2), checksum="\ud800")
    with pytest.raises(UnicodeEncodeError):
        commit(index, putting(instance_row(instance_of(sop=3)), broken))
    assert rows_of(index, series_of()) == [instance_row()]
    assert index.get_series(series_of()) == before


def test_there_is_one_shard(index: SqliteIndex) -> None:
    assert index.search_shards == 1
    with pytest.raises(ValueError, match="one shard"):
        index.scan_studies(SearchPath.DATE, 1)


def test_there_is_a_column_for_each_text_that_studies_carry() -> None:
    assert tuple(CARRIED_COLUMNS) == CARRIED_KEYWORDS
    assert CARRIED_TAGS.keys() <= set(CARRIED_KEYWORDS)


def test_pieces_are_looked_for_in_their_own_attribute_alone(index: SqliteIndex) -> None:
    texts = ({"PatientID": "ct7"}, {"PatientID": "7", "StudyDescription": "ct"}, {"PatientID": ""})
    add_studies(index, *carrying_studies(*texts))
    found = entries_of(index, SearchPath.DATE, containing={"PatientID": ("ct",)})
    assert [entry.carried for entry in found] == [{"PatientID": "ct7"}]


def test_entries_that_come_while_a_page_is_read_move_no_others(
    index: SqliteIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    def studies(names: str) -> list[StudyRow]:
        keys = {n: search_keys(f"1.{n}", by_date=n, carried={"PatientID": "p"}) for n in names}
        return [study_row(f"1.{name}", search_keys=keys[name]) for name in names]

    def while_others_come(*asked: Any, limit: int) -> Statement:
        add_studies(index, *studies(coming.pop()))
        return entries_statement(*asked, limit=limit)

    coming = ["bdf", "y", "k", "l", "n"]
    add_studies(index, *studies("acegimo"))
    monkeypatch.setattr(sqlite_index, "entries_statement", while_others_come)
    asked: dict[str, Any] = {"limit": 2, "containing": {"PatientID": ("p",)}}
    found = [
        entry.sort_key[0]
        for page in pages_of(index, SearchPath.DATE, 0, **asked)
        for entry in page.items
    ]
    assert [name for name in found if name in "acegimo"] == list("omigeca")


def test_a_page_gives_no_more_than_it_may_of_much_that_is_found(
    index: SqliteIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_index, "MOST_FOUND", 3)
    names = ["doe", "nobody", "doe", "doe", "nobody", "doe", "doe", "doe", "nobody"]
    add_studies(index, *carrying_studies(*({"PatientName": name} for name in names)))
    asked: dict[str, Any] = {"limit": 6, "containing": {"PatientName": ("doe",)}}
    pages = list(pages_of(index, SearchPath.DATE, 0, **asked))
    assert [(len(page.items), page.scanned) for page in pages] == [(3, 4), (3, 5), (0, 0)]


# --- plans ---------------------------------------------------------------------------------------


def _stretch(
    path: SearchPath,
    low: str = "",
    high: str | None = None,
    after: str | None = None,
    *,
    backwards: bool = False,
) -> Stretch:
    descending = (path is SearchPath.DATE) != backwards
    stretch = Stretch(path=path, low=low, high=high, descending=descending)
    return stretch if after is None else stretch.after(after)


def _statements() -> dict[str, str]:
    named = {
        name: text
        for name, text in vars(sqlite_index).items()
        if re.fullmatch(r"[A-Z][A-Z_]+", name) and isinstance(text, str)
    }
    for path, low, high, after, backwards in itertools.product(
        (SearchPath.DATE, SearchPath.PATIENT_ID), ("", "b"), (None, "d"), (None, "c"), (False, True)
    ):
        stretch = _stretch(path, low, high, after, backwards=backwards)
        scan = f"{path} {low} {high} {after} {backwards}"
        named[f"entries {scan}"], _ = entries_statement(stretch, limit=9)
        named[f"last key {scan}"], _ = last_key_statement(stretch, 9)
        named[f"count {scan}"], _ = count_statement(stretch)
    part, pieces = _stretch(SearchPath.DATE).up_to("b"), [("PatientID", "p"), ("PatientName", "n")]
    named["containing"], _ = entries_statement(part, ["PatientID"], pieces, limit=9)
    return named


STATEMENTS = _statements()


def _plan(file: Path, statement: str) -> list[str]:
    with closing(sqlite3.connect(file)) as connection:
        numbered = [int(number) for number in re.findall(r"\?(\d)", statement)]
        marks = max(numbered, default=statement.count("?"))
        found = connection.execute(f"EXPLAIN QUERY PLAN {statement}", [1] * marks).fetchall()
    return [str(row[3]) for row in found]


@pytest.mark.parametrize("name", STATEMENTS)
def test_no_statement_walks_or_sorts_a_table(index: SqliteIndex, file: Path, name: str) -> None:
    plan = _plan(file, STATEMENTS[name])
    walks = [step for step in plan if step.startswith("SCAN") and "json_each" not in step]
    walks = [step for step in walks if "CONSTANT ROW" not in step]
    assert walks == []
    # Neither a due series nor an object is found by sorting all of them.
    sorts = [step for step in plan if "TEMP B-TREE FOR ORDER" in step]
    assert sorts == []


def test_a_scan_begins_where_the_page_before_ended() -> None:
    statement, values = entries_statement(_stretch(SearchPath.PATIENT_ID, "b", None, "c"), limit=9)
    assert statement.count("sort_key >") == 1
    assert values == ("by_patient_id", "c", 9)
    statement, values = entries_statement(_stretch(SearchPath.DATE, "b", "x", "c"), limit=9)
    assert statement.count("sort_key <") == 1
    assert values == ("by_date", "b", "c", 9)


def test_a_fold_that_keeps_its_search_keys_writes_no_index(index: SqliteIndex, file: Path) -> None:
    commit(index, InstanceChanges(studies={"1.2.1": study_row()}))
    with closing(sqlite3.connect(file)) as connection:
        connection.execute(
            "CREATE TRIGGER refuse BEFORE DELETE ON study_search "
            "BEGIN SELECT RAISE(ABORT, 'written'); END"
        )
        connection.execute(
            "CREATE TRIGGER refuse_too BEFORE INSERT ON study_search "
            "BEGIN SELECT RAISE(ABORT, 'written'); END"
        )
        connection.commit()
    version = index.get_studies(["1.2.1"])["1.2.1"].version
    same = study_row(version=version + 1, instance_count=9)
    assert index.fold_study(same, expected_version=version)
    moved = study_row(version=version + 2, search_keys=search_keys(by_date="1999"))
    with pytest.raises(sqlite3.IntegrityError, match="written"):
        index.fold_study(moved, expected_version=version + 1)


def test_looking_at_known_objects_again_writes_nothing(index: SqliteIndex, file: Path) -> None:
    noted = {"a/1": frozenset({instance_of()})}
    index.note_objects(noted)
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        # Would wait for the other writer if it wrote.
        assert index.note_objects(noted)["a/1"].instances == noted["a/1"]
        other.execute("ROLLBACK")


def test_a_series_row_of_large_numbers_is_kept(index: SqliteIndex) -> None:
    row = series_row(total_size=2**50, instance_count=10**6)
    index.commit(InstanceChanges(touched={row.series: row}), now_ms=NOW_MS, due_ms=DUE_MS)
    found = index.get_series(row.series)
    assert found is not None
    assert (found.total_size, found.instance_count) == (2**50, 10**6)


def test_indexes_opened_side_by_side_wait_for_each_others_writes(file: Path) -> None:
    workers = 4
    start = threading.Barrier(workers)

    def work(worker: int) -> None:
        with closing(SqliteIndex(file)) as index:
            start.wait()
            for turn in range(25):
                commit(index, putting(instance_row(instance_of(sop=worker * 100 + turn))))

    in_threads(work, workers)
    with closing(SqliteIndex(file)) as index:
        assert version_of(index, series_of()) == NOW_MS + workers * 25


def test_versions_do_not_come_again_when_the_file_is_set_back(tmp_path: Path) -> None:
    """A power cut may take back what no checkpoint has written, but not a bundle made since."""
    path, earlier = tmp_path / "index.sqlite", tmp_path / "earlier.sqlite"
    index = SqliteIndex(path)
    index.commit(putting(instance_row()), now_ms=1_000, due_ms=2_000)
    index.close()
    shutil.copy(path, earlier)
    index = SqliteIndex(path)
    index.commit(putting(instance_row()), now_ms=5_000, due_ms=6_000)
    lost = index.get_series(series_of())
    index.close()
    index = SqliteIndex(earlier)
    index.commit(putting(instance_row()), now_ms=9_000, due_ms=9_500)
    again = index.get_series(series_of())
    index.close()
    assert lost is not None
    assert again is not None
    assert again.version > lost.version
