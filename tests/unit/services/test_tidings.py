"""The log of changes is told what there is, once, whatever happens in between."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import pytest

from dicomulus.dicom.resource import InstanceResource, PatientResource
from dicomulus.ports import ChangeType
from dicomulus.services import tidings
from tests.support.archives import small_archive
from tests.support.crashing import Crashes
from tests.support.datasets import ct_instance
from tests.support.simulation import BEGINNINGS, check_lives

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from dicomulus.ports import Change, ChangedResource, Index
    from tests.support.archives import Small

NEW_INSTANCE, DELETED = ChangeType.NEW_INSTANCE, ChangeType.DELETED
STUDY, SERIES = "2.25.1", "2.25.11"


@pytest.fixture
def small(tmp_path: Path) -> Small:
    return small_archive(tmp_path)


def an_object(
    number: int, *, study: str = STUDY, series: str = SERIES, patient: str = "P 1"
) -> bytes:
    return ct_instance(
        study_instance_uid=study,
        series_instance_uid=series,
        sop_instance_uid=f"{series}.{number}",
        patient_id=patient,
    )


def arrive(small: Small, *numbers: int, **more: Any) -> list[InstanceResource]:
    """Take objects named by their numbers, and compact."""
    report = small.take({f"{number}.dcm": an_object(number, **more) for number in numbers})
    small.compact()
    return [row.instance for row in report.indexed]


def go(small: Small, *numbers: int) -> None:
    for number in numbers:
        small.storage.delete(f"{number}.dcm")
    small.look_at([f"{number}.dcm" for number in numbers])
    small.compact()


def log_of(small: Small) -> tuple[Change, ...]:
    types = (*BEGINNINGS, DELETED)
    return small.index.changes(types=types, limit=100_000).items


def told(small: Small, since: int = 0) -> list[tuple[str, ChangedResource]]:
    return [(each.type.value, each.resource) for each in log_of(small)[since:]]


def present(*instances: InstanceResource, patient: str = "P 1") -> set[ChangedResource]:
    """Give instances, and all that they are in."""
    found: set[ChangedResource] = set(instances)
    for each in instances:
        found |= {each.series, each.study_instance_uid, PatientResource(patient)}
    return found


def test_what_arrives_is_told_from_the_instance_up(small: Small) -> None:
    one, two = sorted(arrive(small, 1, 2))
    assert told(small) == [
        ("NewInstance", one),
        ("NewInstance", two),
        ("NewSeries", one.series),
        ("NewStudy", STUDY),
        ("NewPatient", PatientResource("P 1")),
    ]


def test_what_comes_later_is_told_alone(small: Small) -> None:
    arrive(small, 1)
    (two,) = arrive(small, 2)
    assert told(small, 4) == [("NewInstance", two)]


def test_what_is_as_it_was_tells_nothing(small: Small) -> None:
    arrive(small, 1)
    arrive(small, 1)
    small.look_at(["1.dcm"])
    small.compact()
    assert len(told(small)) == 4


def test_what_goes_and_comes_again_is_deleted_and_new(small: Small) -> None:
    (one,) = arrive(small, 1)
    go(small, 1)
    arrive(small, 1)
    assert [each for each, _ in told(small, 4)] == [
        *["Deleted"] * 4,
        "NewInstance",
        "NewSeries",
        "NewStudy",
        "NewPatient",
    ]
    check_lives(log_of(small), present(one))


def test_what_went_and_came_between_two_compactions_never_went(small: Small) -> None:
    arrive(small, 1)
    small.storage.delete("1.dcm")
    small.look_at(["1.dcm"])
    arrive(small, 1)
    assert len(told(small)) == 4


def test_a_second_object_of_an_instance_is_no_second_instance(small: Small) -> None:
    arrive(small, 1)
    small.take({"again.dcm": an_object(1)})
    small.compact()
    go(small, 1)
    assert len(told(small)) == 4


def test_a_study_with_another_patient_id_is_told_of_its_patients(small: Small) -> None:
    arrive(small, 1)
    (one,) = arrive(small, 1, patient="P 2")
    assert told(small, 4) == [
        ("Deleted", PatientResource("P 1")),
        ("NewPatient", PatientResource("P 2")),
    ]
    check_lives(log_of(small), present(one, patient="P 2"))


def test_spaces_around_a_patient_id_are_no_other_patient(small: Small) -> None:
    arrive(small, 1)
    arrive(small, 2, study="2.25.2", series="2.25.21", patient="P 1 ")
    patients = [each for _, each in told(small) if isinstance(each, PatientResource)]
    assert patients == [PatientResource("P 1")]


def test_many_instances_are_told_in_portions(small: Small, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tidings, "MOST_INSTANCES", 2)
    instances = arrive(small, *range(5))
    assert [each for each, _ in told(small)] == [
        *["NewInstance"] * 2,
        "NewSeries",
        "NewStudy",
        "NewPatient",
        *["NewInstance"] * 3,
    ]
    check_lives(log_of(small), present(*instances))
    go(small, *range(5))
    assert [each for each, _ in told(small, 8)] == ["Deleted"] * 8
    check_lives(log_of(small), set())


def test_a_crash_before_any_call_tells_everything_once(tmp_path: Path) -> None:
    crashes = Crashes()
    small = small_archive(tmp_path, index=crashes.around)
    arrive(small, 1, 2, 3)
    for calls in range(200):
        go(small, 3)
        small.take({"3.dcm": an_object(3), "2.dcm": an_object(2)})
        finished = crashes.is_finished(small.compact, calls=calls)
        small.compact()
        check_lives(log_of(small), present(*map(instance, (1, 2, 3))))
        if finished:
            assert calls > 8
            return
    raise AssertionError("it never comes to its end")


def instance(number: int) -> InstanceResource:
    return InstanceResource(STUDY, SERIES, f"{SERIES}.{number}")


class Interrupted:
    """An index that has something else happen between a look at the rows and what follows."""

    def __init__(self, inner: Index) -> None:
        self._inner = inner
        self.meanwhile: Callable[[], object] | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def fold_study(self, *args: Any, **kwargs: Any) -> Any:
        if self.meanwhile is not None:
            meanwhile, self.meanwhile = self.meanwhile, None
            meanwhile()
        return self._inner.fold_study(*args, **kwargs)


def interrupted_archive(folder: Path) -> tuple[Small, Interrupted]:
    held: list[Interrupted] = []

    def around(index: Index) -> Index:
        held.append(Interrupted(index))
        return cast("Index", held[0])

    small = small_archive(folder, index=around)
    return small, held[0]


def test_a_look_that_somebody_else_overtakes_tells_nothing_back(tmp_path: Path) -> None:
    small, interrupted = interrupted_archive(tmp_path)
    arrive(small, 1)
    before = len(log_of(small))
    interrupted.meanwhile = lambda: arrive(small, 2)
    small.look_at(["1.dcm"])
    small.compact()
    assert told(small, before) == [("NewInstance", instance(2))]


def test_the_same_told_by_two_at_once_is_told_once(tmp_path: Path) -> None:
    small, interrupted = interrupted_archive(tmp_path)
    small.take({"1.dcm": an_object(1)})
    interrupted.meanwhile = small.compact
    small.compact()
    assert len(told(small)) == 4


def test_a_look_at_the_log_that_came_after_the_rows_would_tell_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Why what the log says is looked at first."""

    def looks_late(index: Index, seen: tidings.Seen, *args: Any, **more: Any) -> bool:
        late = replace(seen, told=index.told(seen.told.series))
        return tidings.tell(index, late, *args, **more)

    monkeypatch.setattr("dicomulus.services.compaction.tell", looks_late)
    small, interrupted = interrupted_archive(tmp_path)
    arrive(small, 1)
    before = len(log_of(small))
    interrupted.meanwhile = lambda: arrive(small, 2)
    small.look_at(["1.dcm"])
    small.compact()
    assert ("Deleted", instance(2)) in told(small, before)


def test_the_log_tells_as_many_as_it_was_told_in_one_call(small: Small) -> None:
    small.take({f"{number}.dcm": an_object(number) for number in range(20)})
    _, calls = small.ledger.of(small.compact)
    assert [call.operation for call in calls].count("tell") == 1
