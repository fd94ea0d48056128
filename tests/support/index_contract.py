"""What every ``Index`` does: one test per sentence of the port."""

from __future__ import annotations

import itertools
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

from dicomulus.dicom.orthanc_id import identifiers_of, orthanc_id
from dicomulus.dicom.resource import (
    InstanceResource,
    PatientResource,
    SeriesResource,
    canonical_key,
    compressed_key,
)
from dicomulus.ports import (
    CARRIED_CUT,
    CARRIED_KEYWORDS,
    ArchiveCounts,
    Change,
    ChangeType,
    CountsMove,
    Damage,
    HeldChecksum,
    InstanceAnswer,
    InstanceChanges,
    ObjectRow,
    Page,
    Rejection,
    SearchPath,
    StoredObject,
    StudyEntry,
)
from tests.support.builders import (
    deleting,
    dictionary_row,
    fragment,
    instance_of,
    instance_row,
    putting,
    row_key,
    search_keys,
    series_of,
    series_row,
    study_row,
)
from tests.support.change_contract import ChangeContract
from tests.support.document_contract import DocumentContract

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from dicomulus.ports import (
        ChangedResource,
        EntryPage,
        Index,
        InstanceRow,
        SeriesRow,
        StudyRow,
    )

T = TypeVar("T")

NOW_MS = 1_800_000_000_000
DUE_MS = NOW_MS + 5_000
QUIET_MS = NOW_MS + 60_000


def commit(
    index: Index, changes: InstanceChanges, *, now_ms: int = NOW_MS, due_ms: int = DUE_MS
) -> frozenset[SeriesResource]:
    return index.commit(changes, now_ms=now_ms, due_ms=due_ms)


def touching(*series: SeriesResource) -> InstanceChanges:
    return InstanceChanges(touched={each: series_row(each) for each in series})


def change(
    resource: ChangedResource, version: int, kind: ChangeType = ChangeType.STABLE_SERIES
) -> Change:
    return Change(type=kind, resource=resource, version=version, date_ms=NOW_MS)


def damage_of(key: str) -> Damage:
    return Damage(object_key=key, object_etag="e", object_modified_ms=1, found_ms=NOW_MS)


def settled(index: Index, series: SeriesResource, *, stable_due_ms: int) -> SeriesRow:
    """Give a series that has changed and been compacted."""
    commit(index, touching(series))
    assert index.settle_series(series, version_of(index, series), stable_due_ms=stable_due_ms)
    row = index.get_series(series)
    assert row is not None
    return row


def stable(index: Index, series: SeriesResource) -> SeriesRow:
    row = settled(index, series, stable_due_ms=QUIET_MS)
    assert index.mark_stable(series, row.version)
    return replace(row, stable_version=row.version)


def walk(read: Callable[[str | None], Page[T]]) -> Iterator[T]:
    page = read(None)
    yield from page.items
    while page.next is not None:
        page = read(page.next)
        yield from page.items


def version_of(index: Index, series: SeriesResource) -> int:
    row = index.get_series(series)
    assert row is not None
    return row.version


def rows_of(index: Index, series: SeriesResource, *, limit: int = 1000) -> list[InstanceRow]:
    return list(walk(lambda after: index.query_instances(series, after, limit=limit)))


def pages_of(index: Index, path: SearchPath, shard: int, **asked: Any) -> Iterator[EntryPage]:
    """Read one shard through its pages; ``asked`` is what a scan takes."""
    page = index.scan_studies(path, shard, **asked)
    yield page
    while page.next is not None:
        page = index.scan_studies(path, shard, **asked | {"after": page.next})
        yield page


def entries_of(index: Index, path: SearchPath, **asked: Any) -> list[StudyEntry]:
    """Read all shards, each through its pages, merged in the order of the scan."""
    entries: list[StudyEntry] = []
    down = (path is SearchPath.DATE) != asked.get("backwards", False)
    for shard in range(index.search_shards):
        found = [entry for page in pages_of(index, path, shard, **asked) for entry in page.items]
        assert found == in_order(found, down=down)
        entries += found
    return in_order(entries, down=down)


def in_order(entries: list[StudyEntry], *, down: bool) -> list[StudyEntry]:
    return sorted(entries, key=lambda entry: entry.sort_key.encode(), reverse=down)


def named_studies(path: SearchPath, names: Iterable[str]) -> list[StudyRow]:
    """Give studies that lie in an index by these names."""
    return [
        study_row(f"1.2.{i}", search_keys=search_keys(f"1.2.{i}", **{path.value: name or "-"}))
        for i, name in enumerate(names)
    ]


def carrying_studies(*texts: dict[str, str]) -> list[StudyRow]:
    """Give studies numbered from 1 of which the date index carries these texts."""
    return [
        study_row(f"1.2.{i}", search_keys=search_keys(f"1.2.{i}", carried=carried))
        for i, carried in enumerate(texts, 1)
    ]


def add_studies(index: Index, *rows: StudyRow) -> None:
    commit(index, InstanceChanges(studies={row.study_instance_uid: row for row in rows}))


def various_rows() -> list[InstanceRow]:
    """Give rows of a series, of one object an instance and of several."""
    canonical = canonical_key(instance_of(sop=7))
    return [
        *(instance_row(instance_of(sop=s), k) for s in (9, 10, 1) for k in ("z", "\u00fc", "a")),
        instance_row(instance_of(sop=2), instance_number=None, damaged=True),
        instance_row(instance_of(sop=3), instance_number=-7, object_modified_ms=5),
        instance_row(instance_of(sop=4), attributes=b"{}", frame_table=bytes(9_000)),
        instance_row(instance_of(sop=7), canonical),
        instance_row(instance_of(sop=7), compressed_key(instance_of(sop=7)), compressed_size=9),
        instance_row(InstanceResource("1.2.1", "1.2.1.1", "not/a uid"), "odd"),
    ]


class IndexContract(ChangeContract, DocumentContract):
    """Inherited by a class with a fixture ``index`` that gives an empty index."""

    MANY = 130
    """Rows where a test wants several of an adapter's batches."""

    @pytest.fixture
    def index(self) -> Iterator[Index]:
        raise NotImplementedError

    # objects

    def test_a_key_never_seen_holds_nothing(self, index: Index) -> None:
        assert index.note_objects({"a/1": frozenset()}) == {"a/1": ObjectRow(object_key="a/1")}

    def test_noted_instances_add_up(self, index: Index) -> None:
        first, second = instance_of(1), instance_of(2)
        index.note_objects({"a/1": frozenset({first})})
        index.note_objects({"a/1": frozenset({second})})
        index.note_objects({"a/1": frozenset({first})})

        found = index.note_objects({"a/1": frozenset()})["a/1"]

        assert found.instances == {first, second}

    def test_noting_answers_with_what_it_added(self, index: Index) -> None:
        noted = {f"a/{i}": frozenset({instance_of(sop=i)}) for i in range(self.MANY)}
        found = index.note_objects(noted)
        assert {key: row.instances for key, row in found.items()} == noted

    def test_every_key_asked_for_is_in_the_answer(self, index: Index) -> None:
        index.note_objects({"a/1": frozenset({instance_of()})})
        index.reject_objects({"a/2": Rejection(etag="e", reason="no UIDs")})
        keys = {f"a/{i}" for i in range(self.MANY)}
        found = index.note_objects(dict.fromkeys(keys, frozenset[InstanceResource]()))
        assert set(found) == keys

    @pytest.mark.parametrize("key", ["a/ü 1+2%25&x=1.dcm", "\u65e5\u672c/\U0001f642", "#", "a//b"])
    def test_object_keys_are_any_text(self, index: Index, key: str) -> None:
        row = instance_row(instance_of(), key)
        index.note_objects({key: frozenset({row.instance})})
        commit(index, putting(row))
        assert index.note_objects({key: frozenset()})[key].instances == {row.instance}
        assert index.indexed_etags([key]) == {key: row.object_etag}
        assert index.get_instance(row.instance) == (row,)

    def test_a_long_object_key_is_kept_whole(self, index: Index) -> None:
        keys = ["k" * 1023 + end for end in "ab"]
        rows = [instance_row(instance_of(), key) for key in keys]
        index.note_objects({key: frozenset({instance_of()}) for key in keys})
        commit(index, putting(*rows))
        assert index.get_instance(instance_of()) == tuple(rows)
        assert set(index.indexed_etags(keys)) == set(keys)

    @pytest.mark.parametrize("key_of", [canonical_key, compressed_key])
    def test_a_canonical_key_counts_as_having_held_its_own_instance(
        self, index: Index, key_of: Callable[[InstanceResource], str]
    ) -> None:
        own, other = instance_of(1), instance_of(2)
        key = key_of(own)
        assert index.note_objects({key: frozenset()})[key].instances == {own}
        assert index.note_objects({key: frozenset({own})})[key].instances == {own}
        assert index.note_objects({key: frozenset({other})})[key].instances == {own, other}

    def test_a_rejection_is_kept_with_its_entity_tag(self, index: Index) -> None:
        rejection = Rejection(etag="e1", reason="no Study Instance UID")
        index.reject_objects({"a/1": rejection})
        assert index.note_objects({"a/1": frozenset()})["a/1"].rejection == rejection

    def test_a_later_rejection_replaces_an_earlier_one(self, index: Index) -> None:
        index.reject_objects({"a/1": Rejection(etag="e1", reason="one")})
        index.reject_objects({"a/1": Rejection(etag="e2", reason="two")})
        found = index.note_objects({"a/1": frozenset()})["a/1"].rejection
        assert found == Rejection(etag="e2", reason="two")

    def test_a_rejection_keeps_what_the_key_held(self, index: Index) -> None:
        index.note_objects({"a/1": frozenset({instance_of()})})
        index.reject_objects({"a/1": Rejection(etag="e1", reason="no UIDs")})
        found = index.note_objects({"a/1": frozenset()})["a/1"]
        assert found.instances == {instance_of()}
        assert found.rejection is not None

    @pytest.mark.parametrize("key", ["a/1", canonical_key(instance_of())])
    def test_noting_an_instance_ends_a_rejection(self, index: Index, key: str) -> None:
        index.note_objects({key: frozenset({instance_of()})})
        index.reject_objects({key: Rejection(etag="e1", reason="no UIDs")})
        assert index.note_objects({key: frozenset({instance_of()})})[key].rejection is None
        assert index.note_objects({key: frozenset()})[key].rejection is None

    def test_noting_no_instance_leaves_a_rejection(self, index: Index) -> None:
        index.reject_objects({"a/1": Rejection(etag="e1", reason="no UIDs")})
        index.note_objects({"a/1": frozenset()})
        assert index.note_objects({"a/1": frozenset()})["a/1"].rejection is not None

    def test_a_rejection_is_taken_back(self, index: Index) -> None:
        index.note_objects({"a/1": frozenset({instance_of()})})
        index.reject_objects(dict.fromkeys(("a/1", "a/2"), Rejection(etag="e1", reason="no")))
        index.reject_objects({"a/1": None, "a/3": None})
        found = index.note_objects(dict.fromkeys(("a/1", "a/2", "a/3"), frozenset()))
        assert [found[key].rejection is None for key in sorted(found)] == [True, False, True]
        assert found["a/1"].instances == {instance_of()}

    def test_taking_back_no_rejection_makes_no_known_object(self, index: Index) -> None:
        index.reject_objects({"a/1": None})
        assert list(walk(lambda after: index.known_objects(after))) == []

    def test_many_objects_are_rejected_at_once(self, index: Index) -> None:
        rejections = {f"a/{i}": Rejection(etag=f"e{i}", reason="no") for i in range(self.MANY)}
        index.reject_objects(rejections)
        assert index.indexed_etags(rejections) == {k: r.etag for k, r in rejections.items()}

    def test_one_instance_row_settles_a_key(self, index: Index) -> None:
        rows = [instance_row(instance_of(sop=i), object_etag=f"e{i}") for i in range(self.MANY)]
        index.note_objects({row.object_key: frozenset({row.instance}) for row in rows})
        commit(index, putting(*rows))
        found = index.indexed_etags([*(row.object_key for row in rows), "unknown"])
        assert found == {row.object_key: row.object_etag for row in rows}

    def test_two_instance_rows_of_a_key_leave_it_unsettled(self, index: Index) -> None:
        rows = [instance_row(instance_of(study), "a/1") for study in (1, 2)]
        index.note_objects({"a/1": frozenset(row.instance for row in rows)})
        commit(index, putting(*rows))
        assert index.indexed_etags(["a/1"]) == {}

    def test_a_rejection_settles_a_key_without_instance_row(self, index: Index) -> None:
        index.reject_objects({"a/1": Rejection(etag="e1", reason="no UIDs")})
        assert index.indexed_etags(["a/1"]) == {"a/1": "e1"}

    def test_a_key_noted_but_never_committed_is_unsettled(self, index: Index) -> None:
        index.note_objects({"a/1": frozenset({instance_of()})})
        assert index.indexed_etags(["a/1"]) == {}

    def test_a_key_whose_row_is_gone_is_unsettled(self, index: Index) -> None:
        row = instance_row()
        index.note_objects({row.object_key: frozenset({row.instance})})
        commit(index, putting(row))
        commit(index, deleting(row))
        assert index.indexed_etags([row.object_key]) == {}

    @pytest.mark.parametrize("key_of", [canonical_key, compressed_key])
    def test_a_canonical_key_is_settled_by_its_row(
        self, index: Index, key_of: Callable[[InstanceResource], str]
    ) -> None:
        row = instance_row(instance_of(), key_of(instance_of()))
        index.note_objects({row.object_key: frozenset({row.instance})})
        commit(index, putting(row))
        assert index.indexed_etags([row.object_key]) == {row.object_key: row.object_etag}

    def test_what_is_settled_is_so_in_the_end_for_a_late_read(self, index: Index) -> None:
        row = instance_row()
        index.note_objects({row.object_key: frozenset({row.instance})})
        commit(index, putting(row))
        index.reject_objects({"rejected": Rejection(etag="e", reason="no UIDs")})
        keys = [row.object_key, "rejected", "unknown"]
        assert index.eventual_etags(keys) == index.indexed_etags(keys)

    def test_asking_for_no_keys_answers_nothing(self, index: Index) -> None:
        assert index.indexed_etags([]) == {}
        assert index.note_objects({}) == {}
        assert index.get_studies([]) == {}

    @pytest.mark.parametrize("limit", [1, 7, 1000])
    def test_known_objects_are_those_with_a_row_or_a_rejection(
        self, index: Index, limit: int
    ) -> None:
        canonical = instance_row(instance_of(sop=99), canonical_key(instance_of(sop=99)))
        rows = [canonical, *(instance_row(instance_of(sop=i)) for i in range(10))]
        gone = instance_row(instance_of(sop=50))
        index.note_objects({r.object_key: frozenset({r.instance}) for r in [*rows, gone]})
        commit(index, putting(*rows, gone))
        commit(index, deleting(gone))
        index.reject_objects({"rejected": Rejection(etag="e", reason="no UIDs")})

        found = list(walk(lambda after: index.known_objects(after, limit=limit)))

        held = {row.object_key: {row.instance} for row in rows}
        assert {row.object_key for row in found} == set(held) | {"rejected"}
        assert all(row.instances >= held.get(row.object_key, set()) for row in found)
        assert {r.object_key for r in found if r.rejection is not None} == {"rejected"}

    @pytest.mark.parametrize(("limit", "segments"), [(1, 1), (7, 3), (1000, 2)])
    def test_a_walk_in_parts_gives_all_series_and_object_rows(
        self, index: Index, limit: int, segments: int
    ) -> None:
        rows = [instance_row(instance_of(study, s)) for study in range(4) for s in range(2)]
        rowless = instance_row(instance_of(9))
        index.note_objects({r.object_key: frozenset({r.instance}) for r in [*rows, rowless]})
        commit(index, putting(*rows))
        commit(index, InstanceChanges(puts=[rowless]))
        index.reject_objects({"rejected": Rejection(etag="e", reason="no UIDs")})

        def part(number: int) -> set[SeriesResource | ObjectRow]:
            return set(
                walk(
                    lambda after: index.walk(after, segment=number, segments=segments, limit=limit)
                )
            )

        parts = [part(number) for number in range(segments)]

        assert sum(map(len, parts)) == len(set().union(*parts))
        assert set().union(*parts) == {
            *(row.instance.series for row in [*rows, rowless]),
            *index.note_objects(
                dict.fromkeys([*(r.object_key for r in [*rows, rowless]), "rejected"], frozenset())
            ).values(),
        }
        for found in parts:
            studies = {s.study_instance_uid for s in found if isinstance(s, SeriesResource)}
            others = [p for p in parts if p is not found]
            assert not any(
                s.study_instance_uid in studies
                for p in others
                for s in p
                if isinstance(s, SeriesResource)
            )

    def test_an_object_row_is_forgotten_unless_it_has_changed(self, index: Index) -> None:
        canonical = canonical_key(instance_of(5))
        index.note_objects({"a/1": frozenset({instance_of(), instance_of(2)})})
        index.note_objects({canonical: frozenset({instance_of(6)})})
        index.reject_objects({"a/2": Rejection(etag="e", reason="no UIDs")})
        keys = ("a/1", "a/2", canonical)
        before = index.note_objects(dict.fromkeys(keys, frozenset()))
        index.note_objects({"a/1": frozenset({instance_of(3)})})

        assert [index.forget_object(before[key]) for key in keys] == [False, True, True]

        after = index.note_objects(dict.fromkeys(keys, frozenset()))
        assert len(after["a/1"].instances) == 3
        assert after["a/2"] == ObjectRow(object_key="a/2")
        assert after[canonical].instances == {instance_of(5)}
        assert index.forget_object(after["a/2"])

    def test_rows_with_a_checksum_tell_it_with_its_object(self, index: Index) -> None:
        with_it = instance_row(instance_of(), checksum="sha256:00", object_etag="e7")
        without = instance_row(instance_of(sop=2), checksum="")
        commit(index, putting(with_it, without))
        absent = row_key(instance_row(instance_of(sop=3)))
        found = index.held_checksums([row_key(with_it), row_key(without), absent])
        assert found == {
            row_key(with_it): HeldChecksum("e7", with_it.object_modified_ms, "sha256:00")
        }
        assert index.held_checksums([]) == {}

    # dictionaries

    def test_dictionaries_of_a_series_come_by_name(self, index: Index) -> None:
        rows = [dictionary_row(name=name, content=name.encode()) for name in ("b", "a")]
        other = dictionary_row(series_of(1, 2), name="c")
        for row in [*rows, other]:
            index.put_dictionary(row)
        assert index.query_dictionaries(series_of()) == (rows[1], rows[0])

    def test_a_dictionary_put_again_changes_nothing(self, index: Index) -> None:
        row = dictionary_row()
        index.put_dictionary(row)
        index.put_dictionary(row)
        assert index.query_dictionaries(row.series) == (row,)

    def test_a_dictionary_of_the_largest_size_is_kept(self, index: Index) -> None:
        row = dictionary_row(content=random.Random(1).randbytes(32_768))
        index.put_dictionary(row)
        assert index.query_dictionaries(row.series) == (row,)

    def test_a_dictionary_makes_no_series(self, index: Index) -> None:
        index.put_dictionary(dictionary_row())
        assert index.get_series(series_of()) is None
        assert index.query_series(series_of().study_instance_uid) == ()
        assert index.find_uid(series_of().series_instance_uid) == ()

    # instances

    def test_a_row_is_read_as_it_was_put(self, index: Index) -> None:
        row = instance_row(
            checksum="sha256:" + "ab" * 32,
            instance_number=-12,
            fragment=fragment(b'{"00100010":{}}', dictionary="0123abcd"),
            frame_table=bytes(range(256)),
            warnings=("group length is wrong", "Zeichensatz unbekannt: ÄÖÜ"),
            damaged=True,
        )
        commit(index, putting(row))
        assert index.get_instance(row.instance) == (row,)
        assert rows_of(index, row.instance.series) == [row]

    def test_a_row_of_defaults_is_read_as_it_was_put(self, index: Index) -> None:
        row = instance_row(instance_number=None, attributes=b"{}")
        commit(index, putting(row))
        assert index.get_instance(row.instance) == (row,)

    def test_a_row_of_pointers_is_read_as_it_was_put(self, index: Index) -> None:
        pointing = replace(fragment(), data=b"", pointer="fragments/x")
        row = instance_row(fragment=pointing, frame_table_pointer="frames/x")
        commit(index, putting(row))
        assert index.get_instance(row.instance) == (row,)

    def test_a_large_row_is_read_as_it_was_put(self, index: Index) -> None:
        noise = random.Random(2).randbytes(8_192)
        row = instance_row(fragment=replace(fragment(), data=noise), frame_table=noise)
        commit(index, putting(row))
        assert index.get_instance(row.instance) == (row,)

    @pytest.mark.parametrize("uid", ["1.2#3", "not/a uid", "%41", ".", "..", "ÄÖÜ", "'; --"])
    def test_uids_are_any_text(self, index: Index, uid: str) -> None:
        instance = InstanceResource(uid, uid + "x", uid + "y")
        row = instance_row(instance, "a/1")
        index.note_objects({"a/1": frozenset({instance})})
        index.put_dictionary(dictionary_row(instance.series))
        commit(index, putting(row))
        assert index.get_instance(instance) == (row,)
        assert rows_of(index, instance.series) == [row]
        assert [each.series for each in index.query_series(uid)] == [instance.series]
        assert index.query_dictionaries(instance.series) == (dictionary_row(instance.series),)
        assert index.note_objects({"a/1": frozenset()})["a/1"].instances == {instance}
        assert index.find_uid(uid + "x") == (instance.series,)
        assert index.find_uid(uid + "y") == (instance,)
        assert list(index.get_studies([uid])) == [uid]

    def test_a_row_put_again_is_replaced(self, index: Index) -> None:
        old = instance_row(object_etag="e1", warnings=("one",))
        new = instance_row(object_etag="e2", damaged=True)
        commit(index, putting(old))
        commit(index, putting(new))
        assert index.get_instance(new.instance) == (new,)

    def test_a_renewed_row_replaces_the_row_of_the_same_object(self, index: Index) -> None:
        old = instance_row()
        new = replace(old, further=b'{"00200012":{"vr":"IS","Value":[4]}}', main_tags="12ab34cd")
        commit(index, putting(old))
        before = version_of(index, series_of())
        commit(index, InstanceChanges(renewed=[new], touched={series_of(): None}))
        assert index.get_instance(new.instance) == (new,)
        assert version_of(index, series_of()) > before

    @pytest.mark.parametrize("fields", [{"object_etag": "e2"}, {"object_modified_ms": 5}])
    def test_a_renewed_row_never_replaces_that_of_a_newer_object(
        self, index: Index, fields: dict[str, Any]
    ) -> None:
        newer = instance_row(**fields)
        commit(index, putting(newer))
        commit(index, InstanceChanges(renewed=[instance_row(main_tags="12ab34cd")]))
        assert index.get_instance(newer.instance) == (newer,)

    def test_a_renewed_row_never_comes_back_after_its_object_went(self, index: Index) -> None:
        row = instance_row()
        commit(index, putting(row))
        commit(index, deleting(row))
        commit(index, InstanceChanges(renewed=[row]))
        assert index.get_instance(row.instance) == ()

    def test_an_instance_has_a_row_for_each_object_by_key(self, index: Index) -> None:
        rows = [instance_row(object_key=key) for key in ("b", "a", "c")]
        commit(index, putting(*rows))
        assert [row.object_key for row in index.get_instance(instance_of())] == ["a", "b", "c"]

    def test_only_the_named_row_is_deleted(self, index: Index) -> None:
        first, second = instance_row(object_key="a"), instance_row(object_key="b")
        commit(index, putting(first, second))
        commit(index, deleting(first))
        assert index.get_instance(instance_of()) == (second,)

    def test_deleting_a_row_that_is_not_there_moves_the_version(self, index: Index) -> None:
        commit(index, putting(instance_row()))
        before = version_of(index, series_of())
        commit(index, deleting(instance_row(object_key="never")))
        assert version_of(index, series_of()) > before
        assert len(index.get_instance(instance_of())) == 1

    def test_one_commit_puts_and_deletes_many_rows(self, index: Index) -> None:
        old = [instance_row(instance_of(sop=i)) for i in range(self.MANY)]
        new = [instance_row(instance_of(sop=1000 + i)) for i in range(self.MANY)]
        commit(index, putting(*old))
        changes = replace(putting(*new), deletes=[row_key(row) for row in old])
        commit(index, changes)
        found = rows_of(index, series_of())
        assert {row.object_key for row in found} == {row.object_key for row in new}

    def test_an_instance_that_is_not_there_has_no_rows(self, index: Index) -> None:
        commit(index, putting(instance_row(instance_of(sop=1))))
        assert index.get_instance(instance_of(sop=11)) == ()
        assert index.get_instance(instance_of(study=9)) == ()

    def test_a_uid_that_begins_with_another_is_another(self, index: Index) -> None:
        rows = [instance_row(instance_of("1", "2", sop)) for sop in ("3", "33", "3.3")]
        rows += [instance_row(instance_of("1", series, "3"), series) for series in ("22", "2.2")]
        commit(index, putting(*rows))
        assert index.get_instance(instance_of("1", "2", "3")) == (rows[0],)
        assert len(rows_of(index, series_of("1", "2"))) == 3

    @pytest.mark.parametrize("limit", [1, 3, 1000])
    def test_pages_of_a_series_are_its_rows_by_instance_and_key(
        self, index: Index, limit: int
    ) -> None:
        rows = [
            instance_row(instance_of(sop=sop), key) for sop in (9, 10, 1, 2) for key in ("z", "a")
        ]
        commit(index, putting(*rows, instance_row(instance_of(series=2))))
        found = rows_of(index, series_of(), limit=limit)
        assert found == sorted(rows, key=row_key)

    @pytest.mark.parametrize("limit", [1, 3])
    def test_a_page_is_never_longer_than_its_limit(self, index: Index, limit: int) -> None:
        commit(index, putting(*(instance_row(instance_of(sop=i)) for i in range(5))))
        assert 0 < len(index.query_instances(series_of(), limit=limit).items) <= limit

    def test_a_series_that_is_not_there_has_one_empty_page(self, index: Index) -> None:
        page = index.query_instances(series_of())
        assert page.items == ()
        assert page.next is None

    @pytest.mark.parametrize("limit", [1, 3, 1000])
    def test_answers_are_what_searches_need_of_the_rows(self, index: Index, limit: int) -> None:
        rows = various_rows()
        commit(index, putting(*rows, instance_row(instance_of(series=2))))

        found = list(
            walk(lambda after: index.query_instance_answers(series_of(), after, limit=limit))
        )

        assert found == [
            InstanceAnswer(
                instance=row.instance,
                object_key=row.object_key,
                object_modified_ms=row.object_modified_ms,
                damaged=row.damaged,
                instance_number=row.instance_number,
                attributes=row.attributes,
            )
            for row in rows_of(index, series_of())
        ]
        assert len(found) == len(rows)

    @pytest.mark.parametrize("limit", [1, 3])
    def test_a_page_of_answers_is_never_longer_than_its_limit(
        self, index: Index, limit: int
    ) -> None:
        commit(index, putting(*(instance_row(instance_of(sop=i)) for i in range(5))))
        assert 0 < len(index.query_instance_answers(series_of(), limit=limit).items) <= limit

    def test_a_series_that_is_not_there_has_no_answers(self, index: Index) -> None:
        assert index.query_instance_answers(series_of()) == Page(())

    @pytest.mark.parametrize("limit", [1, 3, 1000])
    def test_stored_objects_are_what_sending_needs_of_the_rows(
        self, index: Index, limit: int
    ) -> None:
        rows = various_rows()
        commit(index, putting(*rows, instance_row(instance_of(series=2))))

        found = list(
            walk(lambda after: index.query_stored_objects(series_of(), after, limit=limit))
        )

        assert found == [
            StoredObject(
                instance=row.instance,
                object_key=row.object_key,
                object_etag=row.object_etag,
                object_size=row.object_size,
                object_modified_ms=row.object_modified_ms,
                transfer_syntax_uid=row.transfer_syntax_uid,
                instance_number=row.instance_number,
                damaged=row.damaged,
            )
            for row in rows_of(index, series_of())
        ]
        assert len(found) == len(rows)

    @pytest.mark.parametrize("limit", [1, 3])
    def test_a_page_of_stored_objects_is_never_longer_than_its_limit(
        self, index: Index, limit: int
    ) -> None:
        commit(index, putting(*(instance_row(instance_of(sop=i)) for i in range(5))))
        assert 0 < len(index.query_stored_objects(series_of(), limit=limit).items) <= limit

    def test_a_series_that_is_not_there_has_no_stored_objects(self, index: Index) -> None:
        assert index.query_stored_objects(series_of()) == Page(())

    def test_what_an_object_takes_is_kept_where_it_is_compressed(self, index: Index) -> None:
        instance = instance_of()
        small = instance_row(instance, compressed_key(instance), compressed_size=250_000)
        plain = instance_row(instance, canonical_key(instance))
        commit(index, putting(small, plain))
        assert index.get_instance(instance) == (plain, small)

    # series and their versions

    def test_a_new_series_starts_from_the_time_of_its_commit(self, index: Index) -> None:
        given = series_row(version=7, compact_due_ms=8, folded_version=3)
        commit(index, InstanceChanges(touched={given.series: given}))
        assert index.get_series(given.series) == replace(
            given, version=NOW_MS + 1, compact_due_ms=DUE_MS
        )

    def test_every_commit_moves_the_version_of_touched_series_on(self, index: Index) -> None:
        commit(index, touching(series_of(1, 1), series_of(1, 2)))
        first, second = (version_of(index, series_of(1, i)) for i in (1, 2))
        commit(index, touching(series_of(1, 1)), now_ms=NOW_MS + 10)
        assert version_of(index, series_of(1, 1)) > first
        assert version_of(index, series_of(1, 2)) == second

    def test_putting_an_equal_row_again_moves_the_version(self, index: Index) -> None:
        commit(index, putting(instance_row()))
        before = version_of(index, series_of())
        commit(index, putting(instance_row()))
        assert version_of(index, series_of()) > before

    def test_a_commit_leaves_the_fold_of_a_series_that_exists(self, index: Index) -> None:
        commit(index, touching(series_of()))
        before = index.get_series(series_of())
        assert before is not None
        other = series_row(instance_count=99, attributes=b'{"x":1}', folded_version=5)
        commit(index, InstanceChanges(touched={other.series: other}))
        assert index.get_series(series_of()) == replace(before, version=before.version + 1)

    def test_a_series_touched_without_row_is_moved_but_not_made(self, index: Index) -> None:
        commit(index, touching(series_of(1, 1)))
        before = version_of(index, series_of(1, 1))
        changes = InstanceChanges(touched=dict.fromkeys((series_of(1, 1), series_of(1, 2))))
        due = commit(index, changes, now_ms=DUE_MS + 1, due_ms=DUE_MS + 9)
        assert due == {series_of(1, 1)}
        assert version_of(index, series_of(1, 1)) > before
        assert index.get_series(series_of(1, 2)) is None
        assert index.query_series("1.2.1") == (index.get_series(series_of(1, 1)),)

    def test_rows_without_touched_series_move_no_version(self, index: Index) -> None:
        commit(index, InstanceChanges(puts=[instance_row()]))
        assert index.get_instance(instance_of()) == (instance_row(),)
        assert index.get_series(series_of()) is None

    def test_a_commit_of_nothing_changes_nothing(self, index: Index) -> None:
        assert commit(index, InstanceChanges()) == frozenset()

    def test_the_first_commit_sets_the_due_time(self, index: Index) -> None:
        due = commit(index, touching(series_of(1, 1), series_of(1, 2)))
        assert due == {series_of(1, 1), series_of(1, 2)}

    def test_a_due_time_ahead_stays(self, index: Index) -> None:
        commit(index, touching(series_of()))
        due = commit(index, touching(series_of()), now_ms=DUE_MS - 1, due_ms=DUE_MS + 100)
        assert due == frozenset()
        row = index.get_series(series_of())
        assert row is not None
        assert row.compact_due_ms == DUE_MS

    def test_a_due_time_past_is_set_anew(self, index: Index) -> None:
        commit(index, touching(series_of(1, 1)))
        later = DUE_MS + 1
        due = commit(
            index, touching(series_of(1, 1), series_of(1, 2)), now_ms=later, due_ms=later + 5
        )
        assert due == {series_of(1, 1), series_of(1, 2)}
        assert {row.compact_due_ms for row in index.query_series("1.2.1")} == {later + 5}

    def test_a_settled_series_becomes_due_by_the_next_commit(self, index: Index) -> None:
        commit(index, touching(series_of()))
        assert index.settle_series(series_of(), version_of(index, series_of()))
        assert commit(index, touching(series_of()), now_ms=NOW_MS + 1) == {series_of()}

    def test_settling_removes_the_due_time_alone(self, index: Index) -> None:
        commit(index, touching(series_of()))
        before = index.get_series(series_of())
        assert before is not None
        assert index.settle_series(series_of(), before.version)
        assert index.get_series(series_of()) == replace(before, compact_due_ms=None)

    def test_settling_twice_is_settled(self, index: Index) -> None:
        commit(index, touching(series_of()))
        version = version_of(index, series_of())
        assert index.settle_series(series_of(), version)
        assert index.settle_series(series_of(), version)

    def test_a_series_that_moved_is_not_settled(self, index: Index) -> None:
        commit(index, touching(series_of()))
        version = version_of(index, series_of())
        commit(index, touching(series_of()))
        assert not index.settle_series(series_of(), version)
        row = index.get_series(series_of())
        assert row is not None
        assert row.compact_due_ms == DUE_MS

    def test_a_fold_is_written_at_its_version(self, index: Index) -> None:
        commit(index, touching(series_of()))
        version = version_of(index, series_of())
        fold = series_row(
            version=version,
            folded_version=version,
            instance_count=450,
            total_size=2**40,
            saved_bytes=2**39,
            modified_ms=NOW_MS,
            answer=b'{"a":1}',
            attributes=b'{"b":1}',
            study_attributes=b'{"c":"\x01/studies"}',
            sop_class_uids=("1.1", "1.2"),
        )
        assert index.fold_series(fold)
        assert index.get_series(series_of()) == replace(fold, compact_due_ms=DUE_MS)

    def test_an_emptied_series_stays(self, index: Index) -> None:
        commit(index, putting(instance_row()))
        commit(index, deleting(instance_row()))
        fold = replace(
            series_row(instance_count=0, total_size=0, answer=b"{}", sop_class_uids=()),
            version=version_of(index, series_of()),
        )
        assert index.fold_series(fold)
        assert index.query_series("1.2.1") == (replace(fold, compact_due_ms=DUE_MS),)

    def test_a_fold_of_an_older_version_is_not_written(self, index: Index) -> None:
        commit(index, touching(series_of()))
        old = index.get_series(series_of())
        assert old is not None
        commit(index, touching(series_of()))
        assert not index.fold_series(replace(old, instance_count=77))
        assert index.get_series(series_of()) == replace(old, version=old.version + 1)

    def test_a_fold_makes_no_series(self, index: Index) -> None:
        assert not index.fold_series(series_row(version=1))
        assert index.get_series(series_of()) is None

    def test_series_of_a_study_come_by_uid(self, index: Index) -> None:
        commit(index, touching(*(series_of("1", uid) for uid in ("2", "10", "1")), series_of("11")))
        found = index.query_series("1")
        assert [row.series.series_instance_uid for row in found] == ["1", "10", "2"]

    def test_a_study_that_is_not_there_has_no_series(self, index: Index) -> None:
        assert index.query_series("1.2.3") == ()

    def test_overdue_series_come_the_longest_overdue_first(self, index: Index) -> None:
        for number, due in ((1, 300), (2, 100), (3, 200), (4, 400)):
            commit(index, touching(series_of(1, number)), now_ms=1, due_ms=due)
        assert index.overdue_series(400) == (series_of(1, 2), series_of(1, 3), series_of(1, 1))
        assert index.overdue_series(400, limit=2) == (series_of(1, 2), series_of(1, 3))
        assert index.overdue_series(100) == ()

    def test_a_settled_series_is_not_overdue(self, index: Index) -> None:
        commit(index, touching(series_of()))
        index.settle_series(series_of(), version_of(index, series_of()))
        assert index.overdue_series(DUE_MS + 1) == ()

    # studies

    def test_a_commit_creates_studies_that_are_not_there(self, index: Index) -> None:
        given = study_row(version=0)
        add_studies(index, given)
        found = index.get_studies([given.study_instance_uid])[given.study_instance_uid]
        assert found == replace(given, version=found.version)
        assert found.version > 0

    def test_a_commit_leaves_studies_that_are_there(self, index: Index) -> None:
        add_studies(index, study_row())
        before = index.get_studies(["1.2.1"])
        add_studies(index, study_row(instance_count=9, search_keys=search_keys(by_date="2000")))
        assert index.get_studies(["1.2.1"]) == before
        assert len(entries_of(index, SearchPath.DATE)) == 1

    def test_many_studies_are_read_at_once_without_those_that_are_not_there(
        self, index: Index
    ) -> None:
        uids = [f"1.2.{i}" for i in range(self.MANY)]
        add_studies(index, *(study_row(uid) for uid in uids))
        found = index.get_studies([*uids, "9.9"])
        assert {uid: row.study_instance_uid for uid, row in found.items()} == {u: u for u in uids}

    def test_a_study_fold_replaces_the_expected_version(self, index: Index) -> None:
        add_studies(index, study_row())
        before = index.get_studies(["1.2.1"])["1.2.1"].version
        fold = study_row(
            version=before + 1,
            series_count=4,
            instance_count=1_800,
            answer=b'{"a":"\x01/studies"}',
            search_keys=search_keys(by_patient_name="DOE JANE", carried={"PatientID": "p1"}),
        )
        assert index.fold_study(fold, expected_version=before)
        assert index.get_studies(["1.2.1"]) == {"1.2.1": fold}

    @pytest.mark.parametrize(
        "carried",
        [
            {},
            {"AccessionNumber": ""},
            {"StudyDescription": 'sch\u00e4del "nativ"', "PatientID": "\u5c71"},
            dict.fromkeys(CARRIED_KEYWORDS, "x" + CARRIED_CUT),
        ],
    )
    def test_search_keys_are_read_as_they_were_written(
        self, index: Index, carried: dict[str, str]
    ) -> None:
        keys = [
            search_keys(
                "1.2.1", carried=carried, **{path.value: path.value for path in SearchPath}
            ),
            search_keys("1.2.2", carried=carried, by_patient_id=""),
        ]
        add_studies(index, *(study_row(f"1.2.{i}", search_keys=k) for i, k in enumerate(keys, 1)))
        found = index.get_studies(["1.2.1", "1.2.2"])
        assert [found[uid].search_keys for uid in ("1.2.1", "1.2.2")] == keys

    def test_a_study_fold_of_another_version_is_not_written(self, index: Index) -> None:
        add_studies(index, study_row())
        before = index.get_studies(["1.2.1"])
        version = before["1.2.1"].version
        fold = study_row(version=version + 2, instance_count=9)
        assert not index.fold_study(fold, expected_version=version + 1)
        assert not index.fold_study(fold, expected_version=0)
        assert index.get_studies(["1.2.1"]) == before

    def test_a_study_fold_without_row_needs_version_0(self, index: Index) -> None:
        fold = study_row(version=1)
        assert not index.fold_study(fold, expected_version=5)
        assert index.get_studies(["1.2.1"]) == {}
        assert index.fold_study(fold, expected_version=0)
        assert index.get_studies(["1.2.1"]) == {"1.2.1": fold}

    # search

    def test_a_study_lies_in_the_indexes_it_has_keys_for(self, index: Index) -> None:
        carried = {"PatientID": "p1", "PatientName": "doe jane"}
        keys = search_keys(by_patient_name="DOE", by_patient_id="", carried=carried)
        add_studies(index, study_row(search_keys=keys))
        found = {path: entries_of(index, path) for path in SearchPath}
        assert found == {key: [] for key in SearchPath} | {
            SearchPath.DATE: [StudyEntry(keys.by_date, "1.2.1", {})],
            SearchPath.PATIENT_NAME: [StudyEntry(keys.by_patient_name, "1.2.1", {})],
        }

    def test_an_entry_carries_what_is_looked_into(self, index: Index) -> None:
        texts = {"PatientID": "p1", "PatientName": "doe jane", "AccessionNumber": ""}
        add_studies(index, *carrying_studies(texts))
        for asked, found in (
            ({"PatientID": ()}, {"PatientID": "p1"}),
            ({"PatientID": ("p",), "StudyDescription": ()}, {"PatientID": "p1"}),
            (dict.fromkeys(CARRIED_KEYWORDS, ("",)), texts),
            ({}, {}),
        ):
            (entry,) = entries_of(index, SearchPath.DATE, containing=asked)
            assert entry.carried == found

    def test_a_study_without_search_keys_is_not_found(self, index: Index) -> None:
        add_studies(index, study_row(search_keys=None))
        assert all(not entries_of(index, path) for path in SearchPath)

    def test_a_fold_moves_a_study_within_the_indexes(self, index: Index) -> None:
        add_studies(index, study_row(search_keys=search_keys(by_accession_number="A1")))
        version = index.get_studies(["1.2.1"])["1.2.1"].version
        moved = search_keys(by_date="2027", by_patient_id="P2", by_patient_name="DOE")
        index.fold_study(
            study_row(version=version + 1, search_keys=moved), expected_version=version
        )
        found = {path: [e.sort_key for e in entries_of(index, path)] for path in SearchPath}
        assert found == {
            SearchPath.DATE: [moved.by_date],
            SearchPath.PATIENT_ID: [moved.by_patient_id],
            SearchPath.ACCESSION_NUMBER: [],
            SearchPath.PATIENT_NAME: [moved.by_patient_name],
            SearchPath.REFERRING_PHYSICIAN_NAME: [],
        }

    def test_a_fold_changes_what_the_date_index_carries(self, index: Index) -> None:
        add_studies(index, study_row(search_keys=search_keys(carried={"PatientID": "p1"})))
        version = index.get_studies(["1.2.1"])["1.2.1"].version
        keys = search_keys(carried={"PatientID": "p2"})
        index.fold_study(study_row(version=version + 1, search_keys=keys), expected_version=version)
        (entry,) = entries_of(index, SearchPath.DATE, containing={"PatientID": ("p",)})
        assert entry.carried == {"PatientID": "p2"}

    def test_a_study_folded_empty_leaves_the_indexes(self, index: Index) -> None:
        add_studies(index, study_row())
        version = index.get_studies(["1.2.1"])["1.2.1"].version
        empty = study_row(version=version + 1, search_keys=None)
        index.fold_study(empty, expected_version=version)
        assert all(not entries_of(index, path) for path in SearchPath)

    def test_a_study_made_by_its_fold_is_found(self, index: Index) -> None:
        index.fold_study(study_row(version=1), expected_version=0)
        assert [e.study_instance_uid for e in entries_of(index, SearchPath.DATE)] == ["1.2.1"]

    @pytest.mark.parametrize("path", SearchPath)
    @pytest.mark.parametrize("limit", [1, 4, 1000])
    def test_pages_of_a_path_are_its_studies_in_order(
        self, index: Index, path: SearchPath, limit: int
    ) -> None:
        texts = ["", "a", "A", "a b", "aa", "ä", "\ud7ff", "\uffee", "\U0001f642", "z", "0"]
        rows = [
            study_row(f"1.2.{i}", search_keys=search_keys(f"1.2.{i}", **{path.value: f"x{text}"}))
            for i, text in enumerate(texts)
        ]
        add_studies(index, *rows)
        found = entries_of(index, path, limit=limit)
        assert sorted(e.study_instance_uid for e in found) == sorted(
            row.study_instance_uid for row in rows
        )

    @pytest.mark.parametrize("path", SearchPath)
    @pytest.mark.parametrize("limit", [1, 1000])
    def test_a_scan_keeps_to_its_ends(self, index: Index, path: SearchPath, limit: int) -> None:
        names = ["a", "b", "ba", "bz", "c", "d"]
        add_studies(
            index,
            *(
                study_row(f"1.2.{i}", search_keys=search_keys(f"1.2.{i}", **{path.value: name}))
                for i, name in enumerate(names)
            ),
        )

        def found(low: str, high: str | None) -> list[str]:
            entries = entries_of(index, path, low=low, high=high, limit=limit)
            return sorted(entry.sort_key.split("\x00")[0] for entry in entries)

        assert found("b", "c") == ["b", "ba", "bz"]
        assert found("b", None) == ["b", "ba", "bz", "c", "d"]
        assert found("", "b") == ["a"]
        assert found("bb", "bc") == []
        assert found("c", "b") == []

    def test_the_low_end_is_inside_and_the_high_end_outside(self, index: Index) -> None:
        keys = [search_keys(f"1.2.{i}", by_patient_id=f"P{i}") for i in range(3)]
        add_studies(index, *(study_row(f"1.2.{i}", search_keys=k) for i, k in enumerate(keys)))
        low, high = keys[0].by_patient_id, keys[2].by_patient_id
        found = entries_of(index, SearchPath.PATIENT_ID, low=low, high=high)
        assert [entry.study_instance_uid for entry in found] == ["1.2.0", "1.2.1"]

    @pytest.mark.parametrize("path", SearchPath)
    @pytest.mark.parametrize("limit", [1, 4, 1000])
    def test_backwards_is_the_other_way_round(
        self, index: Index, path: SearchPath, limit: int
    ) -> None:
        add_studies(index, *named_studies(path, ["", "a", "A", "a b", "ä", "\U0001f642", "z"]))
        forwards = entries_of(index, path)
        assert len(forwards) == 7
        assert entries_of(index, path, limit=limit, backwards=True) == forwards[::-1]

    @pytest.mark.parametrize("backwards", [False, True])
    @pytest.mark.parametrize("path", [SearchPath.DATE, SearchPath.PATIENT_ID])
    def test_a_scan_goes_on_strictly_behind_any_sort_key(
        self, index: Index, path: SearchPath, *, backwards: bool
    ) -> None:
        add_studies(index, *named_studies(path, ["a", "b", "ba", "c", "d"]))
        descending = (path is SearchPath.DATE) != backwards

        def found(after: str, low: str = "", high: str | None = None) -> str:
            entries = entries_of(
                index, path, low=low, high=high, after=after, limit=2, backwards=backwards
            )
            names = [entry.sort_key.split("\x00")[0] for entry in entries]
            return " ".join(names[::-1] if descending else names)

        keys = {entry.sort_key[:2]: entry.sort_key for entry in entries_of(index, path)}
        behind_b = found(keys["b\x00"])
        assert behind_b == ("a" if descending else "ba c d")
        assert found("b") == ("a" if descending else "b ba c d")
        assert found("bz") == ("a b ba" if descending else "c d")
        # A key outside of the ends lies before all of the stretch, or behind it.
        assert found("zz", "b", "d") == ("b ba c" if descending else "")
        assert found("0", "b", "d") == ("" if descending else "b ba c")
        assert found("c", "b", "d") == ("b ba" if descending else "c")

    @pytest.mark.parametrize(
        ("containing", "found"),
        [
            ({"PatientName": ("nobody",)}, ""),
            ({"PatientName": ("doe",)}, "1 2"),
            ({"PatientName": ("doe", "jane")}, "1"),
            ({"PatientName": ("jane", "doe", "")}, "1"),
            ({"PatientName": ("doe",), "StudyDescription": ("skull",)}, "2"),
            ({"PatientName": ("m\u00fcller", "\u5c71\u7530")}, "3"),
            ({"StudyDescription": ('"a\\b"',)}, "3"),
            ({"StudyDescription": ('say "a', '"a\\b"', 'b" ')}, "3"),
            ({"StudyDescription": ("[a-z]*",)}, "4"),
            ({"StudyDescription": ("?",)}, "4"),
            ({"StudyDescription": ("100%_",)}, "4"),
            ({"AccessionNumber": ("a1",)}, "1"),
            ({"StudyDescription": ("x" * 70_000,)}, ""),
        ],
    )
    @pytest.mark.parametrize("backwards", [False, True])
    def test_entries_that_lack_a_piece_are_left_out(
        self,
        index: Index,
        containing: dict[str, tuple[str, ...]],
        found: str,
        *,
        backwards: bool,
    ) -> None:
        add_studies(
            index,
            *carrying_studies(
                {"PatientID": "p1", "PatientName": "doe^jane", "AccessionNumber": "a1"},
                {"PatientID": "p2", "PatientName": "doe^john", "StudyDescription": "skull"},
                {"PatientName": "m\u00fcller=\u5c71\u7530", "StudyDescription": 'say "a\\b" \n'},
                {"StudyDescription": "[a-z]* 100%_ or not?"},
                {},
            ),
        )
        entries = entries_of(index, SearchPath.DATE, backwards=backwards, containing=containing)
        assert " ".join(sorted(e.study_instance_uid[4:] for e in entries)) == found
        assert all(e.carried for e in entries)

    def test_a_text_that_was_cut_off_lacks_nothing(self, index: Index) -> None:
        add_studies(
            index,
            *carrying_studies(
                {"PatientName": "doe", "StudyDescription": "thorax" + CARRIED_CUT},
                {"PatientName": "doe", "StudyDescription": "thorax"},
            ),
        )
        containing = {"PatientName": ("doe",), "StudyDescription": ("abdomen", "thorax")}
        (entry,) = entries_of(index, SearchPath.DATE, containing=containing)
        assert entry.carried["StudyDescription"] == "thorax" + CARRIED_CUT

    def test_more_pieces_than_an_index_looks_for_leave_no_match_out(self, index: Index) -> None:
        pieces = tuple(f"p{number}" for number in range(400))
        add_studies(index, *carrying_studies({"StudyDescription": "".join(pieces)}, {}))
        containing = {"StudyDescription": pieces}
        (entry,) = entries_of(index, SearchPath.DATE, containing=containing)
        assert entry.carried == {"StudyDescription": "".join(pieces)}

    def test_no_entry_that_has_all_pieces_is_left_out(self, index: Index) -> None:
        chance = random.Random(4)

        def text(longest: int) -> str:
            return "".join(
                chance.choices('ab*?[]^-%_"\\/\u00fc\u5c71', k=chance.randint(0, longest))
            )

        studies = carrying_studies(
            *({keyword: text(6) for keyword in CARRIED_KEYWORDS[1:3]} for _ in range(40))
        )
        add_studies(index, *studies)
        for _ in range(40):
            keyword = chance.choice(CARRIED_KEYWORDS[1:3])
            pieces = (text(2), text(1))
            entries = entries_of(index, SearchPath.DATE, containing={keyword: pieces}, limit=30)
            assert {entry.study_instance_uid for entry in entries} >= {
                row.study_instance_uid
                for row in studies
                if row.search_keys
                and all(piece in row.search_keys.carried[keyword] for piece in pieces)
            }

    @pytest.mark.parametrize("backwards", [False, True])
    def test_the_limit_is_of_entries_read_not_of_those_given(
        self, index: Index, *, backwards: bool
    ) -> None:
        names = ["jane" if number in (0, 7, 8) else "john" for number in range(12)]
        add_studies(index, *carrying_studies(*({"PatientName": name} for name in names)))
        containing = {"PatientName": ("jane",)}
        pages = [
            page
            for shard in range(index.search_shards)
            for page in pages_of(
                index,
                SearchPath.DATE,
                shard,
                limit=1,
                backwards=backwards,
                containing=containing,
            )
        ]
        found = [entry.study_instance_uid for page in pages for entry in page.items]
        assert sorted(found) == ["1.2.1", "1.2.8", "1.2.9"]
        assert all(page.scanned <= 1 for page in pages)
        assert any(not page.items and page.next for page in pages)
        # An entry at the end of a page may be read again with the next.
        assert len(names) <= sum(page.scanned for page in pages) < len(names) + len(pages)

    def test_a_page_of_all_entries_tells_how_many_it_read(self, index: Index) -> None:
        add_studies(index, *named_studies(SearchPath.PATIENT_ID, ["a", "b", "c", "d", "e"]))
        pages = [
            page
            for shard in range(index.search_shards)
            for page in pages_of(index, SearchPath.PATIENT_ID, shard, limit=2)
        ]
        assert all(page.scanned == len(page.items) <= 2 for page in pages)
        assert sum(page.scanned for page in pages) == 5

    @pytest.mark.parametrize(
        ("path", "keyword"),
        [(SearchPath.PATIENT_ID, "PatientID"), (SearchPath.DATE, "Modality")],
    )
    def test_what_an_index_does_not_carry_is_not_looked_for(
        self, index: Index, path: SearchPath, keyword: str
    ) -> None:
        with pytest.raises(ValueError, match="does not carry"):
            index.scan_studies(path, 0, containing={keyword: ("p",)})

    @pytest.mark.parametrize("path", [SearchPath.DATE, SearchPath.PATIENT_ID])
    def test_entries_between_two_ends_are_counted(self, index: Index, path: SearchPath) -> None:
        names = ["a", "b", "ba", "bz", "c", "c\x00", "d", "\ud7ff", "\ue000", "\U0001f642"]
        add_studies(index, *named_studies(path, names))
        keys = [entry.sort_key for entry in entries_of(index, path)]
        ends = ["", *keys, "b", "bb", "c\x00", "e", "\ue000", "\U0010ffff"]
        for low, high in itertools.product(ends, [None, *ends]):
            counts = [
                index.count_studies(path, shard, low=low, high=high)
                for shard in range(index.search_shards)
            ]
            expected = sum(low <= key and (high is None or key < high) for key in keys)
            assert sum(counts) == expected, (low, high)

    def test_each_study_lies_in_one_shard(self, index: Index) -> None:
        uids = [f"1.2.{i}" for i in range(20)]
        add_studies(index, *(study_row(uid) for uid in uids))
        found = [e.study_instance_uid for e in entries_of(index, SearchPath.DATE)]
        assert sorted(found) == sorted(uids)

    def test_a_uid_is_found_in_any_study(self, index: Index) -> None:
        rows = [instance_row(instance_of(study, "5.1", "5.2")) for study in ("1", "2")]
        commit(index, putting(*rows))
        assert set(index.find_uid("5.1")) == {row.instance.series for row in rows}
        assert set(index.find_uid("5.2")) == {row.instance for row in rows}
        assert index.find_uid("5") == ()

    def test_a_uid_of_a_series_and_of_an_instance_finds_both(self, index: Index) -> None:
        row = instance_row(instance_of("1", "7", "7"))
        commit(index, putting(row))
        assert set(index.find_uid("7")) == {row.instance.series, row.instance}

    # stability

    def test_settling_begins_the_quiet_time(self, index: Index) -> None:
        row = settled(index, series_of(), stable_due_ms=QUIET_MS)
        assert (row.compact_due_ms, row.stable_due_ms, row.stable_version) == (None, QUIET_MS, 0)

    def test_settling_again_leaves_the_quiet_time(self, index: Index) -> None:
        row = settled(index, series_of(), stable_due_ms=QUIET_MS)
        assert index.settle_series(series_of(), row.version, stable_due_ms=QUIET_MS + 9)
        assert index.get_series(series_of()) == row
        assert index.end_quiet(series_of(), row.version)
        assert index.settle_series(series_of(), row.version, stable_due_ms=QUIET_MS + 9)
        assert index.get_series(series_of()) == replace(row, stable_due_ms=None)

    def test_a_series_that_moved_begins_no_quiet_time(self, index: Index) -> None:
        commit(index, touching(series_of()))
        before = index.get_series(series_of())
        assert before is not None
        assert not index.settle_series(series_of(), before.version - 1, stable_due_ms=QUIET_MS)
        assert index.get_series(series_of()) == before

    def test_settling_after_a_commit_begins_anew(self, index: Index) -> None:
        settled(index, series_of(), stable_due_ms=QUIET_MS)
        row = settled(index, series_of(), stable_due_ms=QUIET_MS + 9)
        assert row.stable_due_ms == QUIET_MS + 9

    def test_a_commit_leaves_what_is_known_of_stability(self, index: Index) -> None:
        before = stable(index, series_of())
        commit(index, touching(series_of()), now_ms=NOW_MS + 1)
        after = index.get_series(series_of())
        assert after == replace(before, version=before.version + 1, compact_due_ms=DUE_MS)

    def test_a_fold_leaves_what_is_known_of_stability(self, index: Index) -> None:
        before = stable(index, series_of())
        fold = replace(before, instance_count=2, stable_version=3, stable_due_ms=4)
        assert index.fold_series(fold)
        assert index.get_series(series_of()) == replace(before, instance_count=2)

    def test_only_the_version_it_has_is_marked(self, index: Index) -> None:
        row = settled(index, series_of(), stable_due_ms=QUIET_MS)
        assert not index.mark_stable(series_of(), row.version - 1)
        assert index.get_series(series_of()) == row
        assert index.mark_stable(series_of(), row.version)
        assert index.query_series("1.2.1") == (replace(row, stable_version=row.version),)

    def test_only_of_the_version_it_has_the_quiet_time_ends(self, index: Index) -> None:
        row = settled(index, series_of(), stable_due_ms=QUIET_MS)
        assert not index.end_quiet(series_of(), row.version - 1)
        assert index.get_series(series_of()) == row
        assert index.end_quiet(series_of(), row.version)
        assert index.get_series(series_of()) == replace(row, stable_due_ms=None)

    def test_what_does_not_exist_is_neither_marked_nor_ended(self, index: Index) -> None:
        assert not index.mark_stable(series_of(), 1)
        assert not index.end_quiet(series_of(), 1)
        assert index.get_series(series_of()) is None

    def test_quiet_series_come_the_longest_quiet_first(self, index: Index) -> None:
        for number, due in ((1, 300), (2, 100), (3, 200), (4, 400)):
            settled(index, series_of(1, number), stable_due_ms=due)
        assert index.quiet_series(301) == (series_of(1, 2), series_of(1, 3), series_of(1, 1))
        assert index.quiet_series(300) == (series_of(1, 2), series_of(1, 3))
        assert index.quiet_series(301, limit=1) == (series_of(1, 2),)
        assert index.quiet_series(100) == ()

    def test_a_series_whose_quiet_time_has_ended_is_not_found(self, index: Index) -> None:
        row = settled(index, series_of(), stable_due_ms=QUIET_MS)
        index.end_quiet(series_of(), row.version)
        assert index.quiet_series(QUIET_MS + 1) == ()

    # changes

    def test_changes_come_in_the_order_they_were_recorded(self, index: Index) -> None:
        given = [
            change(series_of(2, 1), 5),
            change("1.2.1", 9, ChangeType.STABLE_STUDY),
            change(instance_of(), 3),
            change(SeriesResource("1#2", "ÄÖ/%41"), 2**53),
            change(PatientResource("é#1"), 4, ChangeType.STABLE_PATIENT),
            change(PatientResource(""), 4, ChangeType.STABLE_PATIENT),
            replace(change(instance_of(), 0, ChangeType.UPDATED_METADATA), number=1024),
            replace(change(series_of(), 9), patient_id="P 1"),
        ]
        assert all(index.record_change(each) for each in given)
        expected = tuple(replace(each, sequence=n) for n, each in enumerate(given, 1))
        assert tuple(walk(lambda after: index.changes(int(after or 0)))) == expected

    def test_a_log_without_changes_is_empty(self, index: Index) -> None:
        assert index.changes() == index.changes(7) == Page(())

    def test_a_change_is_recorded_once(self, index: Index) -> None:
        assert index.record_change(change(series_of(), 5))
        assert not index.record_change(replace(change(series_of(), 5), date_ms=NOW_MS + 9))
        assert len(index.changes().items) == 1

    def test_an_older_change_is_not_recorded_after_a_newer_one(self, index: Index) -> None:
        assert index.record_change(change(series_of(), 5))
        assert not index.record_change(change(series_of(), 4))
        assert index.record_change(change(series_of(), 6))
        assert [each.version for each in index.changes().items] == [5, 6]

    def test_each_number_of_a_resource_has_versions_of_its_own(self, index: Index) -> None:
        given = change(series_of(), 0, ChangeType.UPDATED_ATTACHMENT)
        assert index.record_change(replace(given, number=1024))
        assert index.record_change(replace(given, number=1025))
        assert not index.record_change(replace(given, number=1024))
        assert index.record_change(replace(given, number=1024, version=1))
        assert [each.number for each in index.changes().items] == [1024, 1025, 1024]

    def test_changes_of_another_type_or_resource_are_others(self, index: Index) -> None:
        assert index.record_change(change("1.2.1", 5, ChangeType.STABLE_SERIES))
        assert index.record_change(change("1.2.1", 5, ChangeType.STABLE_STUDY))
        assert index.record_change(change(series_of(1, 1), 5))
        assert index.record_change(change(series_of(1, 2), 5))
        assert index.record_change(change(instance_of(1, 1), 5))

    @pytest.mark.parametrize("limit", [1, 3, 7, 8])
    def test_pages_of_the_log_are_its_changes_in_order(self, index: Index, limit: int) -> None:
        for number in range(7):
            index.record_change(change(series_of(1, number), 1))
        read = list(
            walk(lambda after: index.changes(int(after) if after else 0, limit=limit)),
        )
        assert [each.sequence for each in read] == [1, 2, 3, 4, 5, 6, 7]
        assert [each.resource for each in read] == [series_of(1, n) for n in range(7)]

    def test_reading_goes_on_after_a_sequence(self, index: Index) -> None:
        for number in range(3):
            index.record_change(change(series_of(1, number), 1))
        assert [each.sequence for each in index.changes(1).items] == [2, 3]
        assert index.changes(3) == index.changes(99) == Page(())

    # several at once

    def test_what_is_damaged_is_kept_in_the_order_of_the_keys(self, index: Index) -> None:
        every = [damage_of(key) for key in ("z", "a/\u00fc", "a/b")]
        for each in every:
            assert index.note_damage(each) == each
        ordered = sorted(every, key=lambda each: each.object_key.encode())
        assert list(walk(lambda after: index.damages(after, limit=2))) == ordered

    def test_of_one_generation_the_first_finding_is_kept(self, index: Index) -> None:
        first = damage_of("a")
        index.note_damage(first)
        assert index.note_damage(replace(first, found_ms=NOW_MS + 1)) == first
        assert index.damages().items == (first,)

    @pytest.mark.parametrize("other", [{"object_etag": "f"}, {"object_modified_ms": 2}])
    def test_the_finding_of_another_generation_replaces_it(
        self, index: Index, other: dict[str, Any]
    ) -> None:
        index.note_damage(damage_of("a"))
        newer = replace(damage_of("a"), found_ms=NOW_MS + 1, **other)
        assert index.note_damage(newer) == newer
        assert index.damages().items == (newer,)
        index.clear_damage(damage_of("a"))
        assert index.damages().items == (newer,)

    def test_what_is_cleared_is_not_damaged_any_more(self, index: Index) -> None:
        index.note_damage(damage_of("a"))
        index.note_damage(damage_of("b"))
        index.clear_damage(damage_of("a"))
        index.clear_damage(damage_of("c"))
        assert index.damages().items == (damage_of("b"),)

    def test_a_reader_sees_every_concurrent_change_once_and_in_order(self, index: Index) -> None:
        workers, rounds = 3, 5
        start = threading.Barrier(workers + 1)

        def record(worker: int) -> list[int]:
            start.wait()
            for turn in range(rounds):
                # Two of the workers record the same, one of them first.
                assert index.record_change(change(series_of(worker // 2, turn), 1)) or worker < 2
            return []

        def read() -> list[int]:
            start.wait()
            seen: list[int] = []
            deadline = time.monotonic() + 60
            while len(seen) < 2 * rounds and time.monotonic() < deadline:
                seen += [each.sequence for each in index.changes(seen[-1] if seen else 0).items]
            return seen

        *_, seen = in_threads(lambda n: record(n) if n < workers else read(), workers + 1)
        assert seen == list(range(1, 2 * rounds + 1))
        assert index.changes(seen[-1]) == Page(())

    def test_concurrent_commits_lose_no_row_and_no_version(self, index: Index) -> None:
        workers, rounds = 4, 5
        commit(index, touching(series_of()))
        before = version_of(index, series_of())
        start = threading.Barrier(workers)

        def work(worker: int) -> None:
            start.wait()
            for turn in range(rounds):
                commit(index, putting(instance_row(instance_of(sop=worker * 100 + turn))))

        in_threads(work, workers)
        assert version_of(index, series_of()) == before + workers * rounds
        assert len(rows_of(index, series_of())) == workers * rounds

    def test_of_concurrent_commits_one_sets_the_due_time(self, index: Index) -> None:
        workers = 4
        start = threading.Barrier(workers)

        def work(worker: int) -> int:
            start.wait()
            return len(commit(index, touching(series_of())))

        assert sum(in_threads(work, workers)) == 1

    def test_concurrent_notes_of_one_key_add_up(self, index: Index) -> None:
        workers = 4
        start = threading.Barrier(workers)

        def work(worker: int) -> None:
            start.wait()
            index.note_objects({"a/1": frozenset({instance_of(sop=worker)})})

        in_threads(work, workers)
        found = index.note_objects({"a/1": frozenset()})["a/1"]
        assert found.instances == {instance_of(sop=worker) for worker in range(workers)}

    def test_of_concurrent_study_folds_one_is_written(self, index: Index) -> None:
        workers = 4
        add_studies(index, study_row())
        version = index.get_studies(["1.2.1"])["1.2.1"].version
        start = threading.Barrier(workers)

        def work(worker: int) -> bool:
            start.wait()
            fold = study_row(version=version + 1, instance_count=worker)
            return index.fold_study(fold, expected_version=version)

        assert sorted(in_threads(work, workers)) == [False] * (workers - 1) + [True]

    # --- counts ---

    def test_an_archive_without_studies_counts_nothing(self, index: Index) -> None:
        assert index.count_archive() == ArchiveCounts()

    def test_folds_move_the_counts(self, index: Index) -> None:
        moves = [
            ("1.2.1", counts_move("P1")),
            ("1.2.2", counts_move("P1")),
            ("1.2.3", counts_move("")),
        ]
        for uid, moved in moves:
            assert index.fold_study(study_row(uid, version=1), expected_version=0, moved=moved)
        assert index.count_archive() == ArchiveCounts(
            patients=2, studies=3, series=6, instances=15, total_bytes=3 * 2**40, saved_bytes=21
        )

    def test_a_fold_that_is_not_written_moves_nothing(self, index: Index) -> None:
        row = study_row("1.2.1", version=1)
        assert not index.fold_study(row, expected_version=7, moved=counts_move("P1"))
        assert index.count_archive() == ArchiveCounts()

    def test_a_study_that_changes_its_patient_moves_him(self, index: Index) -> None:
        for at, uid in enumerate(("1.2.1", "1.2.2"), start=1):
            row = study_row(uid, version=1)
            assert index.fold_study(row, expected_version=0, moved=counts_move("P1"))
            assert index.count_archive().studies == at
        moved = CountsMove(series=0, instances=0, total_bytes=0, studies={"P1": -1, "P2": 1})
        index.fold_study(study_row("1.2.1", version=2), expected_version=1, moved=moved)
        counts = index.count_archive()
        assert (counts.patients, counts.studies) == (2, 2)
        index.fold_study(study_row("1.2.2", version=2), expected_version=1, moved=moved)
        counts = index.count_archive()
        assert (counts.patients, counts.studies) == (1, 2)

    def test_a_row_tells_with_how_many_bytes_it_is_counted(self, index: Index) -> None:
        for version, size in enumerate((None, 0, 2**41), start=1):
            row = study_row(version=version, counted_bytes=size, counted_saved_bytes=version)
            assert index.fold_study(row, expected_version=version - 1)
            found = index.get_studies(["1.2.1"])["1.2.1"]
            assert (found.counted_bytes, found.counted_saved_bytes) == (size, version)

    def test_concurrent_folds_all_count(self, index: Index) -> None:
        workers = 4
        start = threading.Barrier(workers)

        def work(worker: int) -> bool:
            start.wait()
            row = study_row(f"1.2.{worker}", version=1)
            return index.fold_study(row, expected_version=0, moved=counts_move("P1"))

        assert all(in_threads(work, workers))
        counts = index.count_archive()
        assert (counts.patients, counts.studies, counts.instances) == (1, workers, 5 * workers)

    # --- Orthanc's identifiers ---

    def test_an_identifier_gives_what_was_noted_of_it(self, index: Index) -> None:
        noted = identifiers_of("P=1", instance_of())
        index.note_identifiers(noted)
        assert {key: index.find_identifier(key) for key in noted} == noted

    def test_identifiers_of_odd_names_are_kept(self, index: Index) -> None:
        odd = InstanceResource("1.2/3", "ü" * 200, "1#2")
        noted = {**identifiers_of("", odd), **identifiers_of("Müller^%\\#", instance_of())}
        index.note_identifiers(noted)
        assert {key: index.find_identifier(key) for key in noted} == noted

    def test_an_identifier_of_nothing_is_of_nothing(self, index: Index) -> None:
        index.note_identifiers({})
        assert index.find_identifier(orthanc_id("P1", instance_of())) is None

    def test_identifiers_that_were_not_noted_are_missing(self, index: Index) -> None:
        noted = {
            key: resource
            for sop in range(120)
            for key, resource in identifiers_of("P1", instance_of(sop=sop)).items()
        }
        others = {orthanc_id("P2", instance_of(sop=sop)) for sop in range(120)}
        index.note_identifiers(noted)
        assert index.missing_identifiers({*noted, *others}) == others
        assert index.missing_identifiers(()) == frozenset()

    def test_identifiers_are_noted_before_and_without_any_row(self, index: Index) -> None:
        noted = identifiers_of("P1", instance_of())
        for _ in range(2):
            index.note_identifiers(noted)
        assert index.get_series(series_of()) is None
        assert index.walk().items == ()

    def test_many_identifiers_are_noted_at_once(self, index: Index) -> None:
        noted = {
            key: resource
            for sop in range(30)
            for key, resource in identifiers_of("P1", instance_of(sop=sop)).items()
        }
        index.note_identifiers(noted)
        assert {key: index.find_identifier(key) for key in noted} == noted


def counts_move(patient_id: str) -> CountsMove:
    return CountsMove(
        series=2, instances=5, total_bytes=2**40, saved_bytes=7, studies={patient_id: 1}
    )


def in_threads(work: Callable[[int], T], workers: int) -> list[T]:
    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(work, range(workers)))
