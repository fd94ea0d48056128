"""``dicomulus reconcile``: a folder and its index agree afterwards, and what is damaged is named."""

from __future__ import annotations

import json
import os
import shutil
import time
from typing import TYPE_CHECKING, Any

import pytest

from dicomulus.api.routes import answer
from dicomulus.cli.exit_status import FAILED
from dicomulus.cli.main import main
from dicomulus.cli.pace import Pace
from dicomulus.cli.work import archive_of
from dicomulus.composition import local_archive
from dicomulus.settings import Settings
from dicomulus.wire.message import Request, parse_query
from tests.support.datasets import ct_instance

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

BASE_URL = "http://archive.example/dicom-web"
LONG_AGO = time.time() - 100_000


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three files of long ago, and one that is none."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    source = tmp_path / "scans"
    source.mkdir()
    named: Any = {"study_instance_uid": "1.2", "series_instance_uid": "1.2.3"}
    for number in range(3):
        write(source / f"{number}.dcm", ct_instance(**named, instance_number=number))
    write(source / "notes.txt", b"no DICOM")
    return source


def write(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    os.utime(file, (LONG_AGO, LONG_AGO))


@pytest.fixture
def reconcile(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, dict[str, Any]]]:
    """Run it, and give its exit status and what it tells programs."""

    def run(*options: str) -> tuple[int, dict[str, Any]]:
        capsys.readouterr()
        folders = [str(source), "--data-dir", str(tmp_path / "data"), "--jobs", "1"]
        status = main(["reconcile", "--json", *options, *folders])
        told: dict[str, Any] = json.loads(capsys.readouterr().out)
        return status, told

    return run


def answers(source: Path, data: Path) -> list[bytes]:
    """Answer some requests, as they were recorded once."""
    archive = local_archive(Settings(source_folder=str(source), data_folder=str(data)))
    found = []
    for path, query in (
        ("/studies", "includefield=all"),
        ("/studies/1.2/series", ""),
        ("/instances", "includefield=all"),
        ("/studies/1.2/metadata", ""),
        ("/studies/1.2/series/1.2.3/metadata", ""),
    ):
        request = Request("GET", f"/dicom-web{path}", parse_query(query), base_url=BASE_URL)
        response = answer(archive, request)
        assert response.status == 200
        body = response.body
        found.append(body if isinstance(body, bytes) else b"".join(body))
    return found


def test_an_index_that_was_lost_is_made_again_and_answers_as_before(
    source: Path, tmp_path: Path, reconcile: Any
) -> None:
    data = tmp_path / "data"
    assert reconcile()[0] == 0
    before = answers(source, data)
    shutil.rmtree(data)
    # Another command is another process.
    archive_of.cache_clear()
    status, told = reconcile()
    assert status == 0
    assert told["counts"]["object-without-row"] == 4
    assert answers(source, data) == before
    assert reconcile()[1]["found"] == {}


def test_what_differs_is_told_and_then_made_good(source: Path, reconcile: Any) -> None:
    reconcile()
    (source / "0.dcm").unlink()
    write(source / "new.dcm", ct_instance())
    write(source / "1.dcm", ct_instance(rows=8))
    wrong = {
        "object-without-row": ["new.dcm"],
        "object-changed": ["1.dcm"],
        "row-without-object": ["0.dcm"],
    }
    status, told = reconcile("--dry-run")
    assert (status, told["found"], told["repaired"]) == (FAILED, wrong, False)
    status, told = reconcile()
    assert (status, told["found"], told["failed"]) == (0, wrong, {})
    assert reconcile()[1]["found"] == {"object-row-unneeded": ["0.dcm"]}
    assert reconcile()[1]["found"] == {}


def test_a_bit_that_flips_by_itself_is_found_by_the_second_verification(
    source: Path, tmp_path: Path, reconcile: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    status, told = reconcile("--verify")
    assert (status, told["checked"]["checksums"]) == (0, 0)
    assert reconcile("--verify")[1]["checked"]["checksums"] == 3
    with (source / "1.dcm").open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        last = file.read(1)
        file.seek(-1, os.SEEK_END)
        file.write(bytes([last[0] ^ 1]))
    os.utime(source / "1.dcm", (LONG_AGO, LONG_AGO))
    assert reconcile()[1]["found"] == {}
    status, told = reconcile("--verify", "--rate", "1000")
    assert (status, told["found"]) == (FAILED, {"object-damaged": ["1.dcm"]})
    main(["status", str(source), "--data-dir", str(tmp_path / "data")])
    text = capsys.readouterr().out
    assert "1 file is damaged" in text
    assert "    1.dcm" in text
    assert "Reconciled" in text
    assert "checksums pending" not in text
    # It is known until it is another one.
    assert reconcile()[1]["found"] == {}
    assert told_damaged(source, tmp_path, capsys) == ["1.dcm"]
    write(source / "1.dcm", ct_instance(rows=8))
    assert told_damaged(source, tmp_path, capsys) == []
    assert reconcile()[1]["found"] == {"object-changed": ["1.dcm"]}


def told_damaged(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> list[str]:
    capsys.readouterr()
    main(["status", "--json", str(source), "--data-dir", str(tmp_path / "data")])
    told: list[str] = json.loads(capsys.readouterr().out)["damaged_objects"]
    return told


def test_people_are_told_in_words(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = [str(source), "--data-dir", str(tmp_path / "data"), "--jobs", "1"]
    assert main(["reconcile", *folders]) == 0
    assert "4 files not in the index\n  0.dcm" in capsys.readouterr().out
    assert main(["reconcile", *folders]) == 0
    assert "The folder and the index agree" in capsys.readouterr().out
    write(source / "new.dcm", ct_instance())
    os.utime(source / "new.dcm")
    assert main(["reconcile", "--dry-run", *folders]) == 0
    assert "1 of the files that differ" in capsys.readouterr().out


def test_a_rate_holds_the_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    slept: list[float] = []
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(time, "sleep", slept.append)
    pace = Pace(1_000)
    pace(500)
    now[0] = 2.0
    pace(500)
    assert slept == [0.5]
    Pace(0)(10**12)
    assert slept == [0.5]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--stage", "prod", "scans"], "FOLDER"),
        (["--stage", "prod", "--jobs", "2"], "--jobs"),
        (["--verify-days", "30"], "--verify"),
        (["--rate", "10"], "--verify"),
    ],
)
def test_options_that_would_be_overlooked_are_refused(
    options: list[str], told: str, source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = [] if "--stage" in options else [str(source)]
    assert main(["reconcile", *options, *folder]) == 2
    error = capsys.readouterr().err
    assert told in error
    assert error.count("\n") == 1


def test_one_finding_is_told_as_one(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = [str(source), "--data-dir", str(tmp_path / "data"), "--jobs", "1"]
    main(["reconcile", *folders])
    (source / "1.dcm").unlink()
    capsys.readouterr()
    main(["reconcile", *folders])
    assert "1 file in the index that is gone" in capsys.readouterr().out
