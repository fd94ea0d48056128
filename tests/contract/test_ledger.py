"""The ledger writes down every call of a port and changes none."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from dicomulus.adapters.ledger import Call, Ledger
from dicomulus.adapters.local.sqlite_index import SqliteIndex
from dicomulus.errors import ObjectNotFoundError
from dicomulus.ports import SearchPath
from tests.support.builders import series_of
from tests.support.index_contract import IndexContract, add_studies, carrying_studies
from tests.support.memory_store import MemoryStore
from tests.support.store_contract import ObjectStoreContract

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dicomulus.ports import Index, ObjectStore


class TestRecordedIndex(IndexContract):
    @pytest.fixture
    def index(self, tmp_path: Path) -> Iterator[Index]:
        sqlite = SqliteIndex(tmp_path / "index.sqlite")
        yield Ledger().index(sqlite)
        sqlite.close()


class TestRecordedStore(ObjectStoreContract):
    @pytest.fixture
    def store(self) -> ObjectStore:
        return Ledger().store(MemoryStore(), "storage")


def test_calls_are_kept_in_order_with_the_bytes_of_objects(tmp_path: Path) -> None:
    ledger = Ledger()
    sqlite = SqliteIndex(tmp_path / "index.sqlite")
    index, store = ledger.index(sqlite), ledger.store(MemoryStore(), "cache")
    store.put("a", b"12345")
    index.get_series(series_of())
    store.get("a", start=1, length=3)
    assert ledger.calls == [
        Call("cache", "put"),
        Call("index", "get_series"),
        Call("cache", "get", 3),
    ]
    sqlite.close()


def test_scans_tell_how_many_entries_they_read(tmp_path: Path) -> None:
    ledger = Ledger()
    with closing(SqliteIndex(tmp_path / "index.sqlite")) as sqlite:
        add_studies(sqlite, *carrying_studies(*({"PatientID": f"p{n}"} for n in range(5))))
        index = ledger.index(sqlite)
        index.scan_studies(SearchPath.DATE, 0, limit=4, containing={"PatientID": ("p3",)})
        index.count_studies(SearchPath.DATE, 0)
    assert ledger.calls == [
        Call("index", "scan_studies", entries=4),
        Call("index", "count_studies", entries=5),
    ]


def test_a_stream_counts_its_chunks_as_they_are_taken() -> None:
    ledger = Ledger()
    store = ledger.store(MemoryStore(), "storage")
    store.put("a", bytes(1_500_000))
    _, calls = ledger.of(lambda: list(store.stream("a")))
    assert [call.operation for call in calls] == ["stream", "chunk", "chunk"]
    assert sum(call.object_bytes for call in calls) == 1_500_000


def test_a_call_that_fails_was_made_all_the_same() -> None:
    ledger = Ledger()
    store = ledger.store(MemoryStore(), "cache")
    with pytest.raises(ObjectNotFoundError):
        store.get("a")
    assert ledger.calls == [Call("cache", "get")]


def test_an_operation_is_given_its_own_calls_only() -> None:
    ledger = Ledger()
    store = ledger.store(MemoryStore(), "cache")
    store.head("before")
    result, calls = ledger.of(lambda: store.head("a"))
    assert (result, calls) == (None, [Call("cache", "head")])
