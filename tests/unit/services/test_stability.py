"""What has been quiet for long enough is recorded once, whatever happens in between."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dicomulus.dicom.resource import PatientResource
from dicomulus.ports import ChangeType, CompactSeries, LookAtObjects, StabiliseSeries
from dicomulus.services import stability
from tests.support.archives import small_archive
from tests.support.builders import series_of
from tests.support.crashing import Crashes
from tests.support.datasets import ct_instance, generated_study

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from dicomulus.dicom.resource import SeriesResource
    from dicomulus.ports import Change, SeriesRow
    from tests.support.archives import Small

AGE_SECONDS = 60
SERIES, STUDY = ChangeType.STABLE_SERIES, ChangeType.STABLE_STUDY
PATIENT = ChangeType.STABLE_PATIENT


@pytest.fixture
def small(tmp_path: Path) -> Small:
    return small_archive(tmp_path, stable_age_seconds=AGE_SECONDS)


def filled(small: Small, *, series: int = 1) -> list[SeriesResource]:
    """Index a study and compact it; give its series by their objects' keys."""
    report = small.take({e.name: e.content for e in generated_study(series=series, instances=2)})
    small.compact()
    rows = sorted(report.indexed, key=lambda row: row.object_key)
    return list(dict.fromkeys(row.instance.series for row in rows))


def wait(small: Small, seconds: float = AGE_SECONDS + 1) -> None:
    small.clock.now_ms += round(1000 * seconds)


def record_due(small: Small) -> None:
    while small.archive.stability.record_due():
        pass


def touch(small: Small, *keys: str) -> None:
    """Have objects looked at again that are as they were, and their series compacted."""
    small.look_at(keys)
    small.compact()


def recorded(small: Small) -> list[tuple[ChangeType, object]]:
    """Give what was recorded of series and studies."""
    return [(each.type, each.resource) for each in stable_changes(small, SERIES, STUDY)]


def stable_changes(small: Small, *types: ChangeType) -> tuple[Change, ...]:
    return small.index.changes(types=types, limit=10_000).items


def patients(small: Small) -> list[object]:
    return [each.resource for each in stable_changes(small, PATIENT)]


def rows_of(small: Small, series: Sequence[SeriesResource]) -> list[SeriesRow]:
    return [row for each in series if (row := small.index.get_series(each)) is not None]


def test_a_quiet_series_and_its_study_are_recorded(small: Small) -> None:
    (series,) = filled(small)
    wait(small)
    record_due(small)
    assert recorded(small) == [(SERIES, series), (STUDY, series.study_instance_uid)]
    (row,) = rows_of(small, [series])
    assert (row.stable_version, row.stable_due_ms) == (row.version, None)


def test_a_change_has_the_time_when_it_was_recorded(small: Small) -> None:
    filled(small)
    wait(small)
    before_ms = small.clock.now_ms
    record_due(small)
    assert all(
        before_ms < c.date_ms <= small.clock.now_ms
        for c in stable_changes(small, SERIES, STUDY, PATIENT)
    )


def test_nothing_is_recorded_before_the_stable_age(small: Small) -> None:
    filled(small)
    wait(small, AGE_SECONDS - 1)
    record_due(small)
    assert recorded(small) == []


def test_nothing_is_recorded_before_the_compaction(small: Small) -> None:
    (series,) = filled(small)
    small.look_at(["01/00001.dcm"])
    wait(small)
    record_due(small)
    small.archive.stability.handle(StabiliseSeries(series))
    assert recorded(small) == []


def test_a_change_meanwhile_begins_the_time_anew(small: Small) -> None:
    (series,) = filled(small)
    wait(small, AGE_SECONDS / 2)
    touch(small, "01/00001.dcm")
    wait(small, AGE_SECONDS / 2 + 1)
    record_due(small)
    assert recorded(small) == []
    wait(small, AGE_SECONDS / 2)
    record_due(small)
    assert recorded(small) == [(SERIES, series), (STUDY, series.study_instance_uid)]


def test_every_version_that_came_to_rest_is_recorded(small: Small) -> None:
    (series,) = filled(small)
    for _ in range(2):
        wait(small)
        record_due(small)
        touch(small, "01/00001.dcm")
    study = series.study_instance_uid
    assert recorded(small) == [(SERIES, series), (STUDY, study)] * 2
    versions = [each.version for each in stable_changes(small, SERIES)]
    assert versions[0] < versions[1]


def test_a_study_is_stable_when_the_last_of_its_series_is(small: Small) -> None:
    first, second = filled(small, series=2)
    touch(small, "02/00001.dcm")
    wait(small, AGE_SECONDS / 2)
    touch(small, "02/00001.dcm")
    wait(small, AGE_SECONDS / 2 + 1)
    record_due(small)
    assert recorded(small) == [(SERIES, first)]
    wait(small, AGE_SECONDS / 2)
    record_due(small)
    study = first.study_instance_uid
    assert recorded(small) == [(SERIES, first), (SERIES, second), (STUDY, study)]


def test_a_second_compaction_records_nothing_anew(small: Small) -> None:
    (series,) = filled(small)
    wait(small)
    record_due(small)
    small.archive.compaction.compact([series])
    wait(small)
    record_due(small)
    assert len(recorded(small)) == 2


def test_of_an_emptied_series_only_the_study_is_recorded(small: Small) -> None:
    first, second = filled(small, series=2)
    wait(small)
    record_due(small)
    before = recorded(small)
    for key in ("02/00001.dcm", "02/00002.dcm"):
        small.storage.delete(key)
        touch(small, key)
    wait(small)
    record_due(small)
    assert recorded(small) == [*before, (STUDY, first.study_instance_uid)]
    assert all(row.stable_due_ms is None for row in rows_of(small, [first, second]))


def test_of_an_emptied_study_nothing_is_recorded(small: Small) -> None:
    filled(small)
    for key in ("01/00001.dcm", "01/00002.dcm"):
        small.storage.delete(key)
    touch(small, "01/00001.dcm", "01/00002.dcm")
    wait(small)
    record_due(small)
    assert recorded(small) == []
    assert small.index.quiet_series(2**62) == ()


def test_a_crash_before_any_call_costs_no_change_and_doubles_none(tmp_path: Path) -> None:
    crashes = Crashes()
    small = small_archive(tmp_path, index=crashes.around, stable_age_seconds=AGE_SECONDS)
    first, second = filled(small, series=2)
    study = first.study_instance_uid
    for calls in range(100):
        before = recorded(small)
        wait(small)
        finished = crashes.is_finished(lambda: record_due(small), calls=calls)
        wait(small)
        record_due(small)
        found = recorded(small)[len(before) :]
        assert sorted(found, key=repr) == sorted(
            [(SERIES, first), (SERIES, second), (STUDY, study)], key=repr
        )
        assert found[-1] == (STUDY, study)
        if finished:
            assert calls > 5
            return
        touch(small, "01/00001.dcm", "02/00001.dcm")
    raise AssertionError("it never comes to its end")


# --- patients ------------------------------------------------------------------------------------


def taken(small: Small, *names: str, patient: str = "P 1") -> None:
    """Index a study of each name and compact all."""
    small.take(
        {
            f"{each}.dcm": ct_instance(
                patient_id=patient,
                study_instance_uid=f"2.25.{ord(each)}",
                series_instance_uid=f"2.25.{ord(each)}.1",
                sop_instance_uid=f"2.25.{ord(each)}.2",
            )
            for each in names
        }
    )
    small.compact()


def test_a_patient_is_stable_when_the_last_of_his_studies_is(small: Small) -> None:
    taken(small, "a")
    wait(small, AGE_SECONDS / 2)
    taken(small, "b")
    taken(small, "c", patient="P 2")
    wait(small, AGE_SECONDS / 2 + 1)
    record_due(small)
    assert patients(small) == []
    wait(small, AGE_SECONDS / 2)
    record_due(small)
    assert sorted(map(str, patients(small))) == [
        str(PatientResource("P 1")),
        str(PatientResource("P 2")),
    ]


def test_a_patient_is_recorded_once_for_each_rest(small: Small) -> None:
    taken(small, "a", "b")
    for _ in range(2):
        wait(small)
        record_due(small)
    assert patients(small) == [PatientResource("P 1")]
    touch(small, "a.dcm")
    wait(small)
    record_due(small)
    assert patients(small) == [PatientResource("P 1")] * 2


def test_a_patient_who_has_lost_a_study_is_recorded_at_his_next_rest(small: Small) -> None:
    """Although all versions together are lower then."""
    taken(small, "a", "b")
    wait(small)
    record_due(small)
    small.storage.delete("b.dcm")
    touch(small, "b.dcm")
    touch(small, "a.dcm")
    wait(small)
    record_due(small)
    assert patients(small) == [PatientResource("P 1")] * 2


def test_nobody_in_particular_is_never_stable(small: Small) -> None:
    taken(small, "a", patient="")
    wait(small)
    record_due(small)
    assert patients(small) == []
    assert len(recorded(small)) == 2


def test_a_patient_of_too_many_studies_is_not_recorded(
    small: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stability, "MOST_STUDIES", 1)
    taken(small, "a", "b")
    wait(small)
    record_due(small)
    assert patients(small) == []


def test_a_crash_before_any_call_records_a_patient_once(tmp_path: Path) -> None:
    crashes = Crashes()
    small = small_archive(tmp_path, index=crashes.around, stable_age_seconds=AGE_SECONDS)
    taken(small, "a", "b")
    for calls in range(100):
        before = len(patients(small))
        wait(small)
        finished = crashes.is_finished(lambda: record_due(small), calls=calls)
        wait(small)
        record_due(small)
        assert len(patients(small)) == before + 1
        if finished:
            return
        touch(small, "a.dcm", "b.dcm")
    raise AssertionError("it never comes to its end")


# --- messages ------------------------------------------------------------------------------------


def stability_messages(small: Small) -> list[StabiliseSeries]:
    sent = [each for each in small.queue.messages if isinstance(each, StabiliseSeries)]
    small.queue.messages.clear()
    return sent


def test_a_compaction_is_announced_with_its_version(small: Small) -> None:
    series = filled(small, series=2)
    small.archive.stability.announce(small.archive.compaction.compact(series))
    versions = [StabiliseSeries(row.series, row.version) for row in rows_of(small, series)]
    assert sorted(stability_messages(small), key=repr) == sorted(versions, key=repr)


def test_a_message_after_the_stable_age_has_it_recorded_once(small: Small) -> None:
    (series,) = filled(small)
    (row,) = rows_of(small, [series])
    wait(small)
    for _ in range(2):
        small.archive.stability.handle(StabiliseSeries(series, row.version))
    assert recorded(small) == [(SERIES, series), (STUDY, series.study_instance_uid)]
    assert stability_messages(small) == []


def test_a_message_that_is_too_early_is_sent_again(small: Small) -> None:
    (series,) = filled(small)
    (row,) = rows_of(small, [series])
    wait(small, AGE_SECONDS - 1)
    message = StabiliseSeries(series, row.version)
    small.archive.stability.handle(message)
    assert recorded(small) == []
    assert stability_messages(small) == [message]


def test_a_message_of_an_older_version_says_nothing(small: Small) -> None:
    (series,) = filled(small)
    (row,) = rows_of(small, [series])
    touch(small, "01/00001.dcm")
    for _ in range(2):
        small.archive.stability.handle(StabiliseSeries(series, row.version))
        wait(small)
    assert recorded(small) == []
    assert stability_messages(small) == []


def test_a_message_of_a_series_nobody_knows_says_nothing(small: Small) -> None:
    small.archive.stability.handle(StabiliseSeries(series_of(), 5))
    small.archive.stability.handle(StabiliseSeries(series_of()))
    assert recorded(small) == []


def test_ingest_itself_sends_and_writes_nothing_for_it(small: Small) -> None:
    """What comes to rest costs the compaction, not every arrival."""
    filled(small)
    small.queue.messages.clear()
    _, calls = small.ledger.of(lambda: small.look_at(["01/00001.dcm"]))
    assert {type(each) for each in small.queue.messages} <= {LookAtObjects, CompactSeries}
    made = {call.operation for call in calls}
    assert made.isdisjoint({"mark_stable", "end_quiet", "record_change", "quiet_series"})
