"""A folder that changes while it is served."""

from __future__ import annotations

import json
import os
from http.client import IncompleteRead
from typing import TYPE_CHECKING
from urllib.error import HTTPError

import pytest

from tests.support.datasets import ct_instance
from tests.support.serving import eventually, run_command, serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.serving import Served

PATIENT_ID = "00100020"


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scans")
    (folder / "first.dcm").write_bytes(ct_instance(patient_id="first"))
    return folder


@pytest.fixture(scope="module")
def served(scans: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    aside = tmp_path_factory.mktemp("aside")
    with serving(scans, "--data-dir", aside / "data", log=aside / "log") as served:
        eventually(lambda: "first" in patients(served), "the first file")
        yield served


def patients(served: Served) -> set[str]:
    return served.values("/studies", PATIENT_ID)


def test_a_file_that_appears_is_served(scans: Path, served: Served) -> None:
    (scans / "no-suffix").write_bytes(ct_instance(patient_id="appeared"))
    eventually(lambda: "appeared" in patients(served), "the new file")


def test_a_file_that_changes_is_served_as_it_is(scans: Path, served: Served) -> None:
    path = scans / "changing.dcm"
    path.write_bytes(ct_instance(patient_id="before"))
    eventually(lambda: "before" in patients(served), "the file")
    path.write_bytes(ct_instance(patient_id="afterwards"))
    eventually(
        lambda: "afterwards" in patients(served) and "before" not in patients(served),
        "the changed file",
    )


def test_a_file_that_vanishes_is_served_no_more(scans: Path, served: Served) -> None:
    path = scans / "vanishing.dcm"
    path.write_bytes(ct_instance(patient_id="vanishing"))
    eventually(lambda: "vanishing" in patients(served), "the file")
    path.unlink()
    eventually(lambda: "vanishing" not in patients(served), "its end")


def test_a_file_moved_into_place_is_served(scans: Path, served: Served, tmp_path: Path) -> None:
    (tmp_path / "moved").write_bytes(ct_instance(patient_id="moved"))
    (tmp_path / "moved").rename(scans / "moved")
    eventually(lambda: "moved" in patients(served), "the moved file")


def test_a_folder_that_comes_and_goes_takes_its_files_along(
    scans: Path, served: Served, tmp_path: Path
) -> None:
    (tmp_path / "study" / "deep").mkdir(parents=True)
    (tmp_path / "study" / "deep" / "1").write_bytes(ct_instance(patient_id="in a folder"))
    (tmp_path / "study").rename(scans / "study")
    eventually(lambda: "in a folder" in patients(served), "the folder's file")
    (scans / "study" / "deep" / "2").write_bytes(ct_instance(patient_id="added later"))
    eventually(lambda: "added later" in patients(served), "a file added to it")
    (scans / "study").rename(tmp_path / "study")
    eventually(lambda: not {"in a folder", "added later"} & patients(served), "the folder's end")


def test_a_file_that_grows_is_served_whole_in_the_end(scans: Path, served: Served) -> None:
    content = ct_instance(patient_id="growing", rows=64, columns=64)
    path = scans / "growing.dcm"
    with path.open("wb", buffering=0) as file:
        file.write(content[:200])
        eventually(lambda: "growing.dcm" in _rejected(served), "its beginning")
        file.write(content[200:-1_000])
        eventually(lambda: "growing" in patients(served), "most of it")
        file.write(content[-1_000:])
    [study] = served.search("/studies?PatientID=growing")
    retrieve = f"/studies/{study['0020000D']['Value'][0]}"
    eventually(lambda: content in _whole(served, retrieve), "all of it")


def _whole(served: Served, path: str) -> bytes:
    """Get an answer; none while the object is another one than the index knows."""
    try:
        return served.get(path)
    except (HTTPError, IncompleteRead):
        return b""


def test_a_name_that_is_not_utf_8_is_followed(scans: Path, served: Served) -> None:
    path = scans / os.fsdecode(b"m\xfcller")
    path.write_bytes(ct_instance(patient_id="latin-1 name"))
    eventually(lambda: "latin-1 name" in patients(served), "the file")
    path.unlink()
    eventually(lambda: "latin-1 name" not in patients(served), "its end")


def test_what_a_link_out_of_the_folder_leads_to_is_found(
    scans: Path, served: Served, tmp_path: Path
) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "1").write_bytes(ct_instance(patient_id="linked"))
    (scans / "link").symlink_to(tmp_path / "elsewhere")
    (scans / "loop").symlink_to(scans)
    eventually(lambda: "linked" in patients(served), "the linked file")
    (scans / "link").unlink()
    eventually(lambda: "linked" not in patients(served), "its end")


def test_many_files_at_once_are_all_found(scans: Path, served: Served) -> None:
    for number in range(300):
        (scans / f"many-{number}").write_bytes(
            ct_instance(patient_id="many", instance_number=number)
        )

    def count() -> int:
        return sum(
            match["00201208"]["Value"][0] for match in served.search("/studies?PatientID=many")
        )

    eventually(lambda: count() == 300, "300 instances")


def test_junk_is_summed_up_and_stops_nothing(scans: Path, served: Served) -> None:
    (scans / "notes.txt").write_text("no DICOM at all")
    (scans / "empty").touch()
    os.mkfifo(scans / "pipe")
    (scans / "good").write_bytes(ct_instance(patient_id="good"))
    eventually(lambda: "good" in patients(served), "the good file")
    eventually(lambda: _rejected(served) >= {"notes.txt", "empty"}, "the others' reasons")
    assert "pipe" not in _rejected(served)


def _rejected(served: Served) -> set[str]:
    data = served.log.parent / "data"
    done = run_command("status", "--json", "--data-dir", data, (data / "source.txt").read_text())
    rejected = json.loads(done.stdout)["rejected"]
    return {key for keys in rejected.values() for key in keys}
