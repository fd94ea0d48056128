"""What every index promises of its log of changes, beyond changes recorded one by one."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING, TypeVar

import pytest

from dicomulus.dicom.resource import InstanceResource, PatientResource, SeriesResource
from dicomulus.ports import Change, ChangeType, LogState, Page, Tidings, Told

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dicomulus.ports import ChangedResource, Index

T = TypeVar("T")

DELETED, NEW_INSTANCE = ChangeType.DELETED, ChangeType.NEW_INSTANCE
NEW_SERIES, NEW_STUDY = ChangeType.NEW_SERIES, ChangeType.NEW_STUDY
NEW_PATIENT, STABLE = ChangeType.NEW_PATIENT, ChangeType.STABLE_SERIES
DATE_MS = 1_800_000_000_000
A, B = SeriesResource("1.2", "1.2.1"), SeriesResource("1.2", "1.2.2")
OTHER = SeriesResource("1.3", "1.3.1")


def tell(
    index: Index,
    series: SeriesResource,
    *arrived: str,
    gone: tuple[str, ...] = (),
    patient: str = "P",
) -> bool:
    """Tell what the log says is there by now."""
    return index.tell(tidings(index.told(series), *arrived, gone=gone, patient=patient))


def tidings(told: Told, *arrived: str, gone: tuple[str, ...] = (), patient: str = "P") -> Tidings:
    return Tidings(told=told, arrived=arrived, gone=gone, patient_id=patient, date_ms=DATE_MS)


def log_of(index: Index) -> list[Change]:
    """Read the whole log."""
    read: list[Change] = []
    while page := index.changes(read[-1].sequence if read else 0, limit=7).items:
        read += page
    assert [each.sequence for each in read] == list(range(1, len(read) + 1))
    return read


def entries(index: Index, since: int = 0) -> list[tuple[ChangeType, ChangedResource]]:
    return [(each.type, each.resource) for each in log_of(index)[since:]]


def instance(series: SeriesResource, uid: str) -> InstanceResource:
    return InstanceResource(series.study_instance_uid, series.series_instance_uid, uid)


def stable(version: int) -> Change:
    return Change(type=STABLE, resource=A, version=version, date_ms=DATE_MS)


class ChangeContract:
    """Inherited by the tests of each index."""

    def test_a_series_that_told_nothing_has_nothing(self, index: Index) -> None:
        assert index.told(A) == Told(series=A)
        assert index.log_state().last == 0

    def test_first_instances_begin_series_study_and_patient_in_the_order_of_orthanc(
        self, index: Index
    ) -> None:
        assert tell(index, A, "1", "2")
        assert entries(index) == [
            (NEW_INSTANCE, instance(A, "1")),
            (NEW_INSTANCE, instance(A, "2")),
            (NEW_SERIES, A),
            (NEW_STUDY, "1.2"),
            (NEW_PATIENT, PatientResource("P")),
        ]
        assert {(each.patient_id, each.date_ms) for each in log_of(index)} == {("P", DATE_MS)}

    def test_what_was_told_is_what_the_log_says_is_there(self, index: Index) -> None:
        tell(index, A, "1", "2")
        tell(index, A, "3", gone=("1",))
        told = index.told(A)
        assert (told.generation, told.instances) == (2, frozenset({"2", "3"}))
        assert (told.study_generation, told.patient_id) == (1, "P")

    def test_more_instances_begin_nothing_anew(self, index: Index) -> None:
        tell(index, A, "1")
        tell(index, A, "2")
        assert entries(index, 4) == [(NEW_INSTANCE, instance(A, "2"))]

    def test_another_series_begins_no_study_and_another_study_no_patient(
        self, index: Index
    ) -> None:
        tell(index, A, "1")
        tell(index, B, "2")
        tell(index, OTHER, "3")
        assert entries(index, 4) == [
            (NEW_INSTANCE, instance(B, "2")),
            (NEW_SERIES, B),
            (NEW_INSTANCE, instance(OTHER, "3")),
            (NEW_SERIES, OTHER),
            (NEW_STUDY, "1.3"),
        ]

    def test_the_last_instance_ends_what_is_above_it_and_the_next_begins_it_again(
        self, index: Index
    ) -> None:
        tell(index, A, "1", "2")
        tell(index, A, gone=("1",))
        tell(index, A, gone=("2",))
        tell(index, A, "1")
        assert entries(index, 5) == [
            (DELETED, instance(A, "1")),
            (DELETED, instance(A, "2")),
            (DELETED, A),
            (DELETED, "1.2"),
            (DELETED, PatientResource("P")),
            (NEW_INSTANCE, instance(A, "1")),
            (NEW_SERIES, A),
            (NEW_STUDY, "1.2"),
            (NEW_PATIENT, PatientResource("P")),
        ]
        versions: dict[tuple[ChangedResource, ChangeType], int] = {}
        for each in log_of(index):
            assert each.version > versions.get((each.resource, each.type), 0)
            versions[each.resource, each.type] = each.version

    def test_a_study_stays_while_one_of_its_series_does(self, index: Index) -> None:
        tell(index, A, "1")
        tell(index, B, "2")
        tell(index, A, gone=("1",))
        assert entries(index, 6) == [(DELETED, instance(A, "1")), (DELETED, A)]

    def test_a_study_that_goes_to_another_patient_ends_one_and_begins_the_other(
        self, index: Index
    ) -> None:
        tell(index, A, "1", patient="P")
        tell(index, A, patient="Q")
        assert entries(index, 4) == [
            (DELETED, PatientResource("P")),
            (NEW_PATIENT, PatientResource("Q")),
        ]
        assert index.told(A).patient_id == "Q"
        tell(index, A, gone=("1",), patient="")
        assert [each.patient_id for each in log_of(index)[6:]] == ["Q"] * 4

    def test_a_patient_may_have_no_name_at_all(self, index: Index) -> None:
        tell(index, A, "1", patient="")
        assert entries(index, 3) == [(NEW_PATIENT, PatientResource(""))]
        assert index.told(A).patient_id == ""

    def test_what_was_looked_at_before_somebody_told_is_not_told(self, index: Index) -> None:
        before = index.told(A)
        tell(index, A, "1", "2")
        assert not index.tell(tidings(before, "1"))
        assert len(log_of(index)) == 5
        assert index.told(A).instances == {"1", "2"}

    def test_an_older_look_at_the_patient_is_not_told_after_a_newer_one(self, index: Index) -> None:
        tell(index, A, "1", patient="P")
        before = index.told(B)
        tell(index, A, patient="Q")
        assert not index.tell(tidings(before, "2", patient="P"))
        assert index.tell(tidings(before, "2", patient="Q"))

    def test_told_and_recorded_changes_are_one_log(self, index: Index) -> None:
        tell(index, A, "1")
        index.record_change(stable(5))
        tell(index, A, "2")
        assert [each for each, _ in entries(index)] == [
            NEW_INSTANCE,
            NEW_SERIES,
            NEW_STUDY,
            NEW_PATIENT,
            STABLE,
            NEW_INSTANCE,
        ]

    def test_a_thousand_instances_are_told_at_once(self, index: Index) -> None:
        uids = [f"2.25.{10**37 + 7919 * number}" for number in range(1000)]
        assert tell(index, A, *uids)
        assert index.told(A).instances == set(uids)
        read: list[Change] = []
        while page := index.changes(read[-1].sequence if read else 0, limit=400).items:
            read += page
        assert [each.sequence for each in read] == list(range(1, 1004))
        assert read[999].resource == instance(A, uids[-1])

    # recorded on a condition

    def test_a_change_is_recorded_after_the_one_that_it_follows_upon(self, index: Index) -> None:
        assert index.recorded_version(stable(5)) == 0
        assert not index.record_change(stable(5), after=3)
        assert index.record_change(stable(5), after=0)
        assert index.recorded_version(stable(9)) == 5
        assert not index.record_change(stable(9), after=0)
        assert index.record_change(stable(9), after=5)
        assert [each.version for each in log_of(index)] == [5, 9]

    # pages

    @pytest.fixture
    def filled(self, index: Index) -> Index:
        """A log of 10: four of an instance, two of one more, one of rest, three of a third."""
        tell(index, A, "1")
        tell(index, B, "2")
        index.record_change(stable(5))
        tell(index, A, "3", "4", "5")
        return index

    def test_pages_go_forwards_from_any_place(self, filled: Index) -> None:
        for since, limit in product(range(11), (1, 3, 20)):
            page = filled.changes(since, limit=limit)
            sequences = [each.sequence for each in page.items]
            assert sequences == list(range(since + 1, since + 1 + len(sequences)))
            assert page.next == (str(sequences[-1]) if since + len(sequences) < 10 else None)

    def test_pages_go_backwards_from_any_place(self, filled: Index) -> None:
        for to, limit in product((0, 1, 4, 5, 9, 10, 99), (1, 3, 20)):
            page = filled.changes(to=to, limit=limit, backwards=True)
            sequences = [each.sequence for each in page.items]
            last = min(to, 10)
            assert sequences == list(range(last + 1 - len(sequences), last + 1))
            assert page.next == (str(sequences[0] - 1) if len(sequences) < last else None)

    def test_a_part_of_the_log_has_two_ends(self, filled: Index) -> None:
        assert sequences_of(filled, since=2, to=6) == [3, 4, 5, 6]
        assert sequences_of(filled, since=6, to=2) == []

    def test_types_are_picked_out(self, filled: Index) -> None:
        assert sequences_of(filled, types=[STABLE]) == [7]
        assert sequences_of(filled, types=[NEW_INSTANCE]) == [1, 5, 8, 9, 10]
        assert sequences_of(filled, types=[NEW_SERIES, STABLE]) == [2, 6, 7]
        assert sequences_of(filled, types=[DELETED]) == []
        assert sequences_of(filled, since=5, to=9, types=[NEW_INSTANCE]) == [8, 9]

    def test_types_are_picked_out_backwards(self, filled: Index) -> None:
        page = filled.changes(to=9, types=[NEW_INSTANCE], limit=1, backwards=True)
        assert [each.sequence for each in page.items] == [9]
        assert page.next == "8"
        assert filled.changes(to=4, types=[STABLE], backwards=True) == Page(())

    def test_a_log_has_a_name_that_stays_and_an_end(self, index: Index) -> None:
        tell(index, A, "1")
        state = index.log_state()
        assert state == LogState(identity=state.identity, last=4)
        assert state.identity
        index.record_change(stable(5))
        assert index.log_state() == replace(state, last=5)

    def test_flushing_what_is_in_the_log_changes_nothing(self, filled: Index) -> None:
        filled.flush_changes()
        assert filled.log_state().last == 10

    # who is told

    def test_a_cursor_begins_at_the_beginning_and_stays_where_it_was_moved(
        self, index: Index
    ) -> None:
        assert index.claim_cursor("hook", "a", now_ms=0, until_ms=100) == 0
        assert index.move_cursor("hook", "a", 7, until_ms=200)
        assert index.claim_cursor("hook", "a", now_ms=150, until_ms=300) == 7
        assert index.claim_cursor("other", "a", now_ms=150, until_ms=300) == 0

    def test_one_has_a_cursor_at_a_time(self, index: Index) -> None:
        index.claim_cursor("hook", "a", now_ms=0, until_ms=100)
        assert index.claim_cursor("hook", "b", now_ms=100, until_ms=200) is None
        assert not index.move_cursor("hook", "b", 9, until_ms=200)
        assert index.claim_cursor("hook", "b", now_ms=101, until_ms=200) == 0
        assert not index.move_cursor("hook", "a", 9, until_ms=300)
        assert index.move_cursor("hook", "b", 3, until_ms=0)
        assert index.claim_cursor("hook", "a", now_ms=1, until_ms=300) == 3

    def test_a_cursor_of_nobody_is_not_moved(self, index: Index) -> None:
        assert not index.move_cursor("hook", "a", 9, until_ms=200)

    # several at once

    def test_of_those_who_tell_the_same_at_once_one_does(self, index: Index) -> None:
        told = index.told(A)
        outcomes = in_threads(lambda _: index.tell(tidings(told, "1", "2")), 4)
        assert sorted(outcomes) == [False, False, False, True]
        assert len(log_of(index)) == 5

    def test_series_that_begin_at_once_begin_their_study_and_patient_once(
        self, index: Index
    ) -> None:
        series = [SeriesResource(f"1.{n % 2}", f"1.{n % 2}.{n}") for n in range(6)]
        in_threads(lambda n: tell(index, series[n], f"9.{n}"), 6)
        types = [each.type for each in log_of(index)]
        assert {kind: types.count(kind) for kind in set(types)} == {
            NEW_INSTANCE: 6,
            NEW_SERIES: 6,
            NEW_STUDY: 2,
            NEW_PATIENT: 1,
        }


def sequences_of(
    index: Index, *, since: int = 0, to: int | None = None, types: list[ChangeType] | None = None
) -> list[int]:
    def read() -> Iterator[int]:
        after = since
        while True:
            page = index.changes(after, to=to, types=types or ())
            yield from (each.sequence for each in page.items)
            if page.next is None:
                return
            after = int(page.next)

    return list(read())


def in_threads(work: Callable[[int], T], count: int) -> list[T]:
    """Run work for each number at the same time."""
    start = threading.Barrier(count)

    def run(number: int) -> T:
        start.wait()
        return work(number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count)))
