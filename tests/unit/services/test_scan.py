"""What a scan has looked at, and what it leaves alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dicomulus.composition import local_runtime
from dicomulus.errors import UnavailableError
from dicomulus.ports import ObjectInfo, Rejection
from dicomulus.services.scan import BATCH, scan, scan_prefix
from dicomulus.settings import Settings
from tests.support.builders import instance_of, instance_row, putting

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dicomulus.ports import Index


class Listing:
    """A store of which only names and entity tags are asked."""

    def __init__(self, **etags: str) -> None:
        self.etags = etags
        self.unreachable: set[str] = set()

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        for key in self.etags:
            if key.startswith(prefix) and key not in self.unreachable:
                yield self._info(key)

    def head(self, key: str) -> ObjectInfo | None:
        if key in self.unreachable:
            raise UnavailableError("no way to it")
        return self._info(key) if key in self.etags else None

    def _info(self, key: str) -> ObjectInfo:
        return ObjectInfo(key=key, etag=self.etags[key], size=10, modified_ms=0)


@pytest.fixture
def index(tmp_path: Path) -> Index:
    (tmp_path / "source").mkdir()
    settings = Settings(source_folder=str(tmp_path / "source"), data_folder=str(tmp_path / "data"))
    return local_runtime(settings).archive.index


def put(index: Index, **etags: str) -> None:
    for number, (key, etag) in enumerate(etags.items()):
        index.note_objects({key: frozenset({instance_of(sop=number)})})
        row = instance_row(instance_of(sop=number), key, object_etag=etag)
        index.commit(putting(row), now_ms=1, due_ms=2)


def keys_to_look_at(index: Index, store: Listing) -> list[str]:
    return [key for each in scan(index, store) for key in each.object_keys]  # type: ignore[arg-type]


def test_a_new_object_is_looked_at(index: Index) -> None:
    assert keys_to_look_at(index, Listing(a="1")) == ["a"]


def test_an_object_with_a_row_of_its_entity_tag_is_left_alone(index: Index) -> None:
    put(index, a="1")
    assert keys_to_look_at(index, Listing(a="1")) == []


def test_a_rejection_of_its_entity_tag_leaves_an_object_alone(index: Index) -> None:
    index.reject_objects({"a": Rejection(etag="1", reason="no DICOM")})
    assert keys_to_look_at(index, Listing(a="1")) == []


def test_a_changed_object_is_looked_at_whether_it_had_a_row_or_was_rejected(index: Index) -> None:
    put(index, a="1")
    index.reject_objects({"b": Rejection(etag="1", reason="no DICOM")})
    assert keys_to_look_at(index, Listing(a="2", b="2")) == ["a", "b"]


def test_a_key_with_two_rows_is_unsettled(index: Index) -> None:
    put(index, a="1")
    other = instance_row(instance_of(sop=99), "a", object_etag="1")
    index.commit(putting(other), now_ms=1, due_ms=2)
    assert keys_to_look_at(index, Listing(a="1")) == ["a"]


def test_a_vanished_object_is_looked_at_once_whether_it_had_a_row_or_was_rejected(
    index: Index,
) -> None:
    put(index, a="1", b="1")
    index.reject_objects({"c": Rejection(etag="1", reason="no DICOM")})
    assert keys_to_look_at(index, Listing(b="1")) == ["a", "c"]


def test_an_object_that_cannot_be_reached_is_not_known_to_have_vanished(index: Index) -> None:
    put(index, a="1")
    store = Listing(a="1")
    store.unreachable.add("a")
    assert keys_to_look_at(index, store) == []


def test_an_object_that_came_after_the_listing_has_not_vanished(index: Index) -> None:
    store = Listing(a="1")
    batches = scan(index, store)  # type: ignore[arg-type]
    assert next(batches).object_keys == ("a",)
    store.etags["b"] = "1"
    put(index, b="1")
    assert list(batches) == []


def test_vanished_objects_do_not_count_as_listed(index: Index) -> None:
    put(index, a="1")
    batches = list(scan(index, Listing(b="1")))  # type: ignore[arg-type]
    assert sum(each.listed for each in batches) == 1
    assert sum(each.listed_bytes for each in batches) == 10


def test_more_objects_than_a_batch_are_all_compared(index: Index) -> None:
    names = {f"k{number}": "1" for number in range(2 * BATCH + 1)}
    assert keys_to_look_at(index, Listing(**names)) == list(names)


def test_a_scan_of_a_prefix_looks_at_nothing_else_and_speaks_of_no_vanished_one(
    index: Index,
) -> None:
    put(index, xgone="1")
    store = Listing(xa="1", xb="1", y="1")
    found = [
        key
        for each in scan_prefix(index, store, prefix="x")  # type: ignore[arg-type]
        for key in each.object_keys
    ]
    assert found == ["xa", "xb"]
