"""The counts of the archive are those of its rows, whatever dies between two writes."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING

import pytest

from dicomulus.dicom.orthanc_id import orthanc_id
from dicomulus.dicom.resource import InstanceResource
from dicomulus.dicom.store_report import Stored
from dicomulus.ports import ArchiveCounts
from dicomulus.services.counts import counted, counts_move
from tests.support.archives import small_archive
from tests.support.builders import series_of, series_row, study_row
from tests.support.crashing import Crashes
from tests.support.datasets import ct_instance

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.archives import Small


def instance(study: str, number: int = 1, *, patient_id: str = "P1") -> bytes:
    return ct_instance(
        patient_id=patient_id,
        study_instance_uid=study,
        series_instance_uid=f"{study}.1",
        sop_instance_uid=f"{study}.1.{number}",
    )


THREE = {
    "a": instance("1"),
    "b": instance("1", 2),
    "c": instance("2"),
    "d": instance("3", patient_id=""),
}


def expected(small: Small) -> ArchiveCounts:
    """What the rows themselves add up to."""
    series = [
        row
        for uid in ("1", "2", "3")
        for row in small.index.query_series(uid)
        if row.instance_count
    ]
    studies = {row.series.study_instance_uid for row in series}
    patients = {small.index.get_studies([uid])[uid].answer.count(b"P1") for uid in studies}
    return ArchiveCounts(
        patients=len(patients),
        studies=len(studies),
        series=len(series),
        instances=sum(row.instance_count for row in series),
        total_bytes=sum(row.total_size for row in series),
        saved_bytes=sum(row.saved_bytes for row in series),
    )


def test_what_arrives_is_counted_and_what_goes_is_not(tmp_path: Path) -> None:
    small = small_archive(tmp_path, orthanc_path="/orthanc")
    small.take(THREE)
    small.compact()
    counts = small.index.count_archive()
    assert counts == expected(small)
    assert (counts.patients, counts.studies, counts.instances) == (2, 3, 4)
    small.storage.delete("a")
    small.storage.delete("d")
    small.look_at(["a", "d"])
    small.compact()
    counts = small.index.count_archive()
    assert counts == expected(small)
    assert (counts.patients, counts.studies, counts.instances) == (1, 2, 2)


def test_folding_again_counts_nothing_twice(tmp_path: Path) -> None:
    small = small_archive(tmp_path, orthanc_path="/orthanc")
    small.take(THREE)
    small.compact()
    before = small.index.count_archive()
    for uid in ("1", "2", "3"):
        small.archive.compaction.fold_study(uid)
    assert small.index.count_archive() == before


def test_counts_survive_a_death_before_any_call(tmp_path: Path) -> None:
    crashes = Crashes()
    for calls in range(200):
        folder = tmp_path / str(calls)
        folder.mkdir()
        small = small_archive(folder, index=crashes.around, orthanc_path="/orthanc")
        small.take(THREE)
        is_finished = crashes.is_finished(small.compact, calls=calls)
        small.compact()
        assert small.index.count_archive() == expected(small)
        small.index.close()
        if is_finished:
            return
    pytest.fail("it never came to its end")


def test_nothing_is_counted_while_the_api_is_off(tmp_path: Path) -> None:
    small = small_archive(tmp_path)
    small.take(THREE)
    small.compact()
    assert small.index.count_archive() == ArchiveCounts()
    assert small.index.get_studies(["1"])["1"].counted_bytes is None


def test_what_changes_while_the_api_is_off_is_not_counted_until_it_is_looked_at_again(
    tmp_path: Path,
) -> None:
    first = small_archive(tmp_path, orthanc_path="/orthanc")
    first.take(THREE)
    first.compact()
    second = small_archive(tmp_path)
    second.take({"e": instance("1", 3)})
    second.compact()
    assert second.index.count_archive().studies == 2
    third = small_archive(tmp_path, orthanc_path="/orthanc")
    third.archive.compaction.count_study("1")
    assert third.index.count_archive() == expected(third)
    new = InstanceResource("1", "1.1", "1.1.3")
    assert third.index.find_identifier(orthanc_id("P1", new)) == new


def test_studies_of_an_index_that_was_built_without_are_counted_later(tmp_path: Path) -> None:
    first = small_archive(tmp_path)
    first.take(THREE)
    first.compact()
    second = small_archive(tmp_path, orthanc_path="/orthanc")
    for _ in range(2):
        for uid in ("1", "2", "3", "4"):
            second.archive.compaction.count_study(uid)
    assert second.index.count_archive() == expected(second)


def test_what_compression_saves_is_told_apart(tmp_path: Path) -> None:
    small = small_archive(tmp_path, orthanc_path="/orthanc")
    instance = ct_instance(study_instance_uid="1", rows=64, columns=64)
    (outcome,) = small.archive.store.store([BytesIO(instance)])
    assert isinstance(outcome, Stored)
    small.compact()
    for change in (small.archive.at_rest.compress, small.archive.at_rest.uncompress):
        assert change(outcome.instance)
        small.compact()
        stored = sum(info.size for info in small.storage.list())
        told = small.orthanc_json("/statistics")
        assert told["TotalDiskSize"] == str(stored)
        assert told["TotalUncompressedSize"] == str(len(instance))
        (study,) = small.orthanc_json("/studies")
        told = small.orthanc_json(f"/studies/{study}/statistics")
        assert (told["DiskSize"], told["DicomDiskSize"]) == (str(stored), str(stored))
        assert told["UncompressedSize"] == str(len(instance))
        assert small.index.count_archive() == expected(small)
        assert small.index.count_archive().saved_bytes == len(instance) - stored


def test_the_archive_tells_how_much_there_is(tmp_path: Path) -> None:
    small = small_archive(tmp_path, orthanc_path="/orthanc")
    small.take(THREE)
    small.compact()
    size = small.index.count_archive().total_bytes
    calls = small.ledger.of(lambda: small.orthanc("/statistics"))[1]
    assert [call.operation for call in calls] == ["count_archive", "overdue_series"]
    assert small.orthanc_json("/statistics") == {
        "CountInstances": 4,
        "CountPatients": 2,
        "CountSeries": 3,
        "CountStudies": 3,
        "TotalDiskSize": str(size),
        "TotalDiskSizeMB": 0,
        "TotalUncompressedSize": str(size),
        "TotalUncompressedSizeMB": 0,
    }


def test_what_was_acknowledged_is_told_before_it_is_folded(tmp_path: Path) -> None:
    small = small_archive(tmp_path, orthanc_path="/orthanc")
    small.take(THREE)
    before = small.orthanc_json("/statistics")
    small.compact()
    assert small.orthanc_json("/statistics") == before
    small.storage.delete("a")
    small.storage.delete("d")
    small.take({"e": instance("4"), "f": instance("1", 3)})
    small.look_at(["a", "d"])
    before = small.orthanc_json("/statistics")
    small.compact()
    assert small.orthanc_json("/statistics") == before
    assert (before["CountPatients"], before["CountInstances"]) == (1, 4)


def test_what_is_attached_is_told_of_all_above_it(tmp_path: Path) -> None:
    small = small_archive(tmp_path, orthanc_path="/orthanc", attachment_compression=True)
    small.take(THREE)
    small.compact()
    study = f"/studies/{orthanc_id('P1', '1')}"
    instance_path = f"/instances/{orthanc_id('P1', InstanceResource('1', '1.1', '1.1.1'))}"
    before = {path: small.orthanc_json(f"{path}/statistics") for path in (study, instance_path)}
    archive = small.orthanc_json("/statistics")
    for path in before:
        small.orthanc(f"{path}/attachments/1024", method="PUT", body=b"x" * 10_000)
    stored = small.index.count_archive().attached_stored_bytes
    assert 0 < stored < 1_000
    for path, count in ((study, 2), (instance_path, 1)):
        told = small.orthanc_json(f"{path}/statistics")
        assert told["DicomDiskSize"] == before[path]["DicomDiskSize"]
        assert int(told["UncompressedSize"]) == int(told["DicomDiskSize"]) + count * 10_000
        assert int(told["DiskSize"]) == int(told["DicomDiskSize"]) + stored * count // 2
    told = small.orthanc_json("/statistics")
    assert int(told["TotalUncompressedSize"]) == int(archive["TotalDiskSize"]) + 20_000
    assert int(told["TotalDiskSize"]) == int(archive["TotalDiskSize"]) + stored
    for path in before:
        small.orthanc(f"{path}/attachments/1024", method="DELETE")
    assert small.orthanc_json("/statistics") == archive


def test_a_fold_that_changes_nothing_of_the_counts_moves_none() -> None:
    row = counted(study_row(answer=b"{}"), [series_row(series_of())])
    assert counts_move(row, row) is None
    assert counts_move(None, study_row()) is None
    moved = counts_move(None, row)
    assert moved is not None
    assert moved.studies == {"": 1}
