"""Orthanc's identifiers are noted before what they are of, for every Patient ID that is said."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import pytest

from dicomulus.composition import compose
from dicomulus.dicom.orthanc_id import Level, identifiers_of, orthanc_id, patient_of
from dicomulus.dicom.resource import InstanceResource, SeriesResource
from dicomulus.services.findings import Finding
from dicomulus.services.identifiers import find_resource
from dicomulus.services.wishes import Wishes
from tests.support.archives import small_archive
from tests.support.crashing import Crashes
from tests.support.datasets import ct_instance
from tests.support.reconciling import reconciled

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from dicomulus.dicom.resource import Resource
    from dicomulus.ports import Index
    from tests.support.archives import Small

FIRST, SECOND = "1.2.1", "1.2.2"
"""Series in the order in which the study takes what they say."""


def instance(patient_id: str, series: str = FIRST, number: int = 1) -> bytes:
    return ct_instance(
        patient_id=patient_id,
        study_instance_uid="1.2",
        series_instance_uid=series,
        sop_instance_uid=f"{series}.{number}",
        instance_number=number,
    )


def of(small: Small, key: str) -> InstanceResource:
    return small.row_of(key).instance


def found(small: Small, patient_id: str, key: str) -> dict[str, Resource | None]:
    """What the index has of the identifiers that a Patient ID makes of an object's instance."""
    named = identifiers_of(patient_id, of(small, key))
    return {each: small.index.find_identifier(each) for each in named}


def is_known(small: Small, patient_id: str, key: str) -> bool:
    return found(small, patient_id, key) == identifiers_of(patient_id, of(small, key))


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Small]:
    small = small_archive(tmp_path, orthanc_path="/orthanc")
    yield small
    small.index.close()


def test_what_arrives_is_found_by_its_identifiers_at_once(small: Small) -> None:
    small.take({"a": instance("P1")})
    for level, (key, resource) in zip(
        Level, identifiers_of("P1", of(small, "a")).items(), strict=True
    ):
        assert find_resource(small.index, level, key) == resource


def test_nothing_is_noted_while_the_api_is_off(tmp_path: Path) -> None:
    small = small_archive(tmp_path)
    small.take({"a": instance("P1")})
    small.compact()
    assert "note_identifiers" not in {call.operation for call in small.ledger.calls}
    assert set(found(small, "P1", "a").values()) == {None}


class Noting:
    """An index that keeps in mind how many identifiers it was given at a time."""

    def __init__(self, inner: Index) -> None:
        self._inner = inner
        self.noted: list[int] = []

    def note_identifiers(self, identifiers: Mapping[str, Resource]) -> None:
        self.noted.append(len(identifiers))
        self._inner.note_identifiers(identifiers)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


def test_identifiers_above_an_instance_are_noted_once(tmp_path: Path) -> None:
    made: list[Noting] = []

    def noting(index: Index) -> Index:
        made.append(Noting(index))
        return cast("Index", made[0])

    small = small_archive(tmp_path, index=noting, orthanc_path="/orthanc")
    small.take({"a": instance("P1")})
    small.take({"b": instance("P1", number=2), "c": instance("P1", number=3)})
    assert made[0].noted == [4, 2]


def test_whatever_dies_no_row_is_without_its_identifiers(tmp_path: Path) -> None:
    crashes = Crashes()
    for calls in range(60):
        folder = tmp_path / str(calls)
        folder.mkdir()
        small = small_archive(folder, index=crashes.around, orthanc_path="/orthanc")
        is_finished = crashes.is_finished(partial(small.take, {"a": instance("P1")}), calls=calls)
        series = [each for each in small.index.walk().items if isinstance(each, SeriesResource)]
        rows = [row for each in series for row in small.index.query_instances(each).items]
        for row in rows:
            noted = identifiers_of("P1", row.instance)
            assert {key: small.index.find_identifier(key) for key in noted} == noted
        small.index.close()
        if is_finished:
            assert rows
            return
    pytest.fail("it never came to its end")


def test_an_instance_that_says_another_patient_id_has_two_identifiers(small: Small) -> None:
    small.take({"a": instance("P1"), "b": instance("P2", SECOND)})
    assert is_known(small, "P2", "b")
    assert not is_known(small, "P1", "b")
    small.compact()
    assert is_known(small, "P1", "b")
    assert is_known(small, "P2", "b")


def test_so_it_is_within_a_series(small: Small) -> None:
    small.take({"a": instance("P1"), "b": instance("P2", number=2)})
    small.compact()
    assert is_known(small, "P1", "a")
    assert is_known(small, "P1", "b")


def test_a_patient_id_that_a_study_gets_later_is_that_of_all_its_series(small: Small) -> None:
    small.take({"b": instance("P2", SECOND), "c": instance("P2", SECOND, 2)})
    small.compact()
    small.take({"a": instance("P1")})
    small.compact()
    assert is_known(small, "P1", "b")
    assert is_known(small, "P1", "c")


def test_a_study_never_has_a_patient_id_that_its_instances_are_not_found_by(
    tmp_path: Path,
) -> None:
    crashes = Crashes()
    for calls in range(200):
        folder = tmp_path / str(calls)
        folder.mkdir()
        small = small_archive(folder, index=crashes.around, orthanc_path="/orthanc")
        small.take({"b": instance("P2", SECOND), "d": instance("P3", SECOND, 2)})
        small.compact()
        small.take({"a": instance("P1")})
        is_finished = crashes.is_finished(small.compact, calls=calls)
        (row,) = small.index.get_studies(["1.2"]).values()
        if b"P1" in row.answer:
            assert is_known(small, "P1", "b")
            assert is_known(small, "P1", "d")
        small.compact()
        assert is_known(small, "P1", "d")
        small.index.close()
        if is_finished:
            return
    pytest.fail("it never came to its end")


def test_reindex_notes_those_of_an_index_that_was_built_without(tmp_path: Path) -> None:
    before = small_archive(tmp_path)
    before.take({"a": instance("P1"), "b": instance("P2", number=2)})
    before.compact()
    assert not is_known(before, "P1", "a")
    after = small_archive(tmp_path, orthanc_path="/orthanc")
    for row in after.archive.reindex.series():
        renewal = after.archive.reindex.renew(row)
        assert (renewal.rows, renewal.moved) == (0, False)
    assert is_known(before, "P1", "a")
    assert is_known(before, "P1", "b")
    assert is_known(before, "P2", "b")


def test_a_patient_without_an_id_is_a_patient(small: Small) -> None:
    small.take({"a": instance("", number=1)})
    key = orthanc_id("", patient_of(""))
    assert find_resource(small.index, Level.PATIENT, key) == patient_of("")


def switched(small: Small, path: str) -> Small:
    """The same archive with Orthanc's REST API below a path, or without."""
    archive = compose(
        replace(small.archive.settings, orthanc_path=path),
        index=small.ledger.index(small.index),
        storage=small.storage,
        cache=small.cache,
        queue=small.queue,
        clock=small.clock,
    )
    return replace(small, archive=archive)


def reindexed(small: Small) -> None:
    for row in list(small.archive.reindex.series()):
        small.archive.reindex.renew(row)
        small.archive.compaction.count_study(row.series.study_instance_uid)


def reconciled_alone(small: Small) -> None:
    reconciled(small.archive, Wishes())


def taken_while_off(small: Small, *, is_folded: bool) -> Small:
    """Have an instance of another patient arrive between two times of the API."""
    small.take({"a": instance("P1")})
    small.compact()
    off = switched(small, "")
    off.take({"b": instance("P1", number=2), "c": instance("P2", SECOND)})
    if is_folded:
        off.compact()
    on = switched(off, "/orthanc")
    on.compact()
    return on


TAKEN = {
    "a": InstanceResource("1.2", FIRST, f"{FIRST}.1"),
    "b": InstanceResource("1.2", FIRST, f"{FIRST}.2"),
    "c": InstanceResource("1.2", SECOND, f"{SECOND}.1"),
}


def lacks(small: Small) -> list[tuple[str, str]]:
    """Patient IDs and objects whose identifiers are not all known; nothing is looked at for it."""
    return [
        (patient_id, key)
        for patient_id, key in (("P1", "a"), ("P1", "b"), ("P1", "c"), ("P2", "c"))
        for named in [identifiers_of(patient_id, TAKEN[key])]
        if {each: small.index.find_identifier(each) for each in named} != named
    ]


@pytest.mark.parametrize("is_folded", [False, True])
@pytest.mark.parametrize("completed", [reindexed, reconciled_alone])
def test_what_arrived_while_the_api_was_off_is_found_after_a_completion(
    small: Small, completed: Callable[[Small], None], is_folded: bool
) -> None:
    on = taken_while_off(small, is_folded=is_folded)
    assert lacks(on)
    completed(on)
    assert lacks(on) == []


@pytest.mark.parametrize("completed", [reindexed, reconciled_alone])
def test_a_completion_notes_nothing_again(small: Small, completed: Callable[[Small], None]) -> None:
    on = taken_while_off(small, is_folded=False)
    completed(on)
    on.ledger.calls.clear()
    completed(on)
    operations = [call.operation for call in on.ledger.calls]
    assert "missing_identifiers" in operations
    assert "note_identifiers" not in operations


def test_a_comparison_alone_notes_no_identifiers(small: Small) -> None:
    on = taken_while_off(small, is_folded=False)
    before = lacks(on)
    found = reconciled(on.archive, Wishes(repair=False)).found
    assert set(found[Finding.IDENTIFIER]) == {TAKEN["b"].path, TAKEN["c"].path}
    assert lacks(on) == before
