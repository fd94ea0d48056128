"""What every ``Index`` does with the rows of documents."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from dicomulus.dicom.orthanc_id import Level, level_of
from dicomulus.dicom.own_keys import document_key
from dicomulus.dicom.resource import InstanceResource, PatientResource, SeriesResource
from dicomulus.ports import DocumentRow, ObjectRow, Rejection

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dicomulus.dicom.resource import Resource
    from dicomulus.ports import Index, Page

RESOURCES: tuple[Resource, ...] = (
    PatientResource("DOE^JANE / 1"),
    "1.2",
    SeriesResource("1.2", "1.2.3"),
    InstanceResource("1.2", "1.2.3", "1.2.3.4"),
)


def document_row(
    resource: Resource = "1.2",
    *,
    version: int = 1,
    labels: Iterable[str] = (),
    content: bytes = b"{}",
    etag: str = "",
    attached: tuple[int, int] = (0, 0),
) -> DocumentRow:
    """Give a row; its entity tag is that of its version."""
    return DocumentRow(
        object_key=document_key(resource),
        object_etag=etag or f"etag-{version}",
        resource=resource,
        version=version,
        labels=frozenset(labels),
        content=content,
        attached_bytes=attached[0],
        attached_stored_bytes=attached[1],
    )


def labelled(
    index: Index, label: str, level: Level = Level.STUDY, *, limit: int = 1000
) -> set[Resource]:
    found: list[Resource] = []
    after: str | None = None
    while True:
        page: Page[Resource] = index.labelled(level, label, after, limit=limit)
        found += page.items
        if page.next is None:
            assert len(set(found)) == len(found)
            return set(found)
        after = page.next


class DocumentContract:
    """One test per sentence of the port."""

    @pytest.mark.parametrize("resource", RESOURCES, ids=level_of)
    def test_the_row_of_a_document_is_read_as_it_was_put(
        self, index: Index, resource: Resource
    ) -> None:
        row = document_row(resource, labels=["a", "B-1_c"], content=b"x" * 262_144)
        assert index.put_document(row)
        other = document_key("1.2.99")
        assert index.get_documents([row.object_key, other]) == {row.object_key: row}

    def test_the_row_of_a_newer_document_stays(self, index: Index) -> None:
        newer = document_row(version=7, labels=["new"])
        assert index.put_document(newer)
        assert not index.put_document(document_row(version=6, labels=["old"]))
        assert not index.put_document(document_row(version=6), instead_of=5)
        assert index.get_documents([newer.object_key]) == {newer.object_key: newer}
        assert labelled(index, "old") == set()

    def test_a_newer_row_is_replaced_by_whoever_names_its_version(self, index: Index) -> None:
        index.put_document(document_row(version=7, labels=["new"]))
        older = document_row(version=6, labels=["old"])
        assert index.put_document(older, instead_of=7)
        assert index.get_documents([older.object_key]) == {older.object_key: older}
        assert labelled(index, "new") == set()
        assert labelled(index, "old") == {"1.2"}

    def test_the_same_row_is_put_again(self, index: Index) -> None:
        row = document_row(version=7, labels=["a"])
        assert index.put_document(row)
        assert index.put_document(row)
        moved = document_row(version=7, labels=["a"], etag="another")
        assert index.put_document(moved)
        assert index.get_documents([row.object_key]) == {row.object_key: moved}

    def test_labels_are_found_by_level_as_long_as_the_row_has_them(self, index: Index) -> None:
        for resource in RESOURCES:
            index.put_document(document_row(resource, labels=["a", "b"]))
        for resource in RESOURCES:
            assert labelled(index, "a", level_of(resource)) == {resource}
        index.put_document(document_row("1.2", version=2, labels=["b", "c"]))
        assert labelled(index, "a") == set()
        assert labelled(index, "b") == labelled(index, "c") == {"1.2"}
        assert labelled(index, "a", Level.SERIES) == {RESOURCES[2]}

    def test_resources_of_a_label_come_in_pages_in_a_stable_order(self, index: Index) -> None:
        studies: set[Resource] = {f"1.2.{number}" for number in range(7)}
        for study in studies:
            index.put_document(document_row(study, labels=["a"]))
        index.put_document(document_row("1.3", labels=["b"]))
        assert labelled(index, "a", limit=3) == labelled(index, "a") == studies

    def test_used_labels_are_those_that_some_resource_has(self, index: Index) -> None:
        assert index.used_labels() == ()
        index.put_document(document_row("1.2", labels=["b", "a"]))
        index.put_document(document_row(RESOURCES[2], labels=["c", "a"]))
        assert index.used_labels() == ("a", "b", "c")
        index.put_document(document_row("1.2", version=2))
        assert index.used_labels() == ("a", "c")

    def test_more_labels_change_than_one_transaction_takes(self, index: Index) -> None:
        many = [f"label-{number}" for number in range(130)]
        row = document_row(version=1, labels=many[:95])
        assert index.put_document(row)
        assert index.get_documents([row.object_key])[row.object_key] == row
        assert index.put_document(document_row(version=2, labels=many[90:]))
        found = index.get_documents([row.object_key])[row.object_key]
        assert found == document_row(version=2, labels=many[90:])
        assert labelled(index, many[0]) == set()
        assert labelled(index, many[-1]) == {"1.2"}
        assert index.forget_document(row.object_key, 2)
        assert index.used_labels() == ()

    def test_a_row_is_forgotten_with_its_labels_if_it_is_of_the_version(self, index: Index) -> None:
        row = document_row(version=3, labels=["a"])
        assert index.forget_document(row.object_key, 3)
        index.put_document(row)
        assert not index.forget_document(row.object_key, 2)
        assert labelled(index, "a") == {"1.2"}
        assert index.forget_document(row.object_key, 3)
        assert index.get_documents([row.object_key]) == {}
        assert labelled(index, "a") == set()

    def test_the_key_of_a_document_is_settled_by_its_row_or_a_rejection(self, index: Index) -> None:
        row = document_row(version=3)
        index.put_document(row)
        key = row.object_key
        assert index.indexed_etags([key, document_key("1.3")]) == {key: "etag-3"}
        index.reject_objects({key: Rejection(etag="damaged", reason="no checksum")})
        assert index.indexed_etags([key]) == {key: "damaged"}
        index.reject_objects({key: None})
        assert index.indexed_etags([key]) == {key: "etag-3"}

    def test_documents_are_among_what_a_walk_gives(self, index: Index) -> None:
        key = document_row().object_key
        index.put_document(document_row(labels=["a"]))
        assert ObjectRow(object_key=key) in _all(index.known_objects)
        parts = [
            [each for each in _part(index, number) if each == ObjectRow(object_key=key)]
            for number in range(3)
        ]
        assert sum(bool(part) for part in parts) == 1

    def test_of_writers_at_once_the_newest_document_stays_with_its_labels(
        self, index: Index
    ) -> None:
        rows = [document_row(version=v, labels=[f"l{v}", "all"]) for v in range(1, 9)]
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(index.put_document, rows))
        assert index.get_documents([rows[0].object_key]) == {rows[0].object_key: rows[-1]}
        assert index.used_labels() == ("all", "l8")

    def test_what_is_attached_is_counted(self, index: Index) -> None:
        def counts() -> tuple[int, int]:
            found = index.count_archive()
            return found.attached_bytes, found.attached_stored_bytes

        row = document_row("1.2", version=1, attached=(2**40, 100))
        assert index.put_document(row)
        assert index.put_document(document_row("1.3", version=1, labels=["a"], attached=(7, 7)))
        assert counts() == (2**40 + 7, 107)
        assert dict(index.get_documents([row.object_key])) == {row.object_key: row}
        assert index.put_document(row)
        assert not index.put_document(document_row("1.2", version=0, attached=(5, 5)))
        assert counts() == (2**40 + 7, 107)
        assert index.put_document(document_row("1.2", version=2, attached=(3, 2)))
        assert counts() == (10, 9)
        assert not index.forget_document(row.object_key, 1)
        assert counts() == (10, 9)
        assert index.forget_document(row.object_key, 2)
        assert index.forget_document(row.object_key, 2)
        assert counts() == (7, 7)


def _part(index: Index, number: int) -> list[object]:
    return _all(lambda after: index.walk(after, segment=number, segments=3))


def _all(read: object) -> list[object]:
    found: list[object] = []
    after: str | None = None
    while True:
        page = read(after)  # type: ignore[operator]
        found += page.items
        if page.next is None:
            return found
        after = page.next
