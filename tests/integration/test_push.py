"""Files pushed by the command to a running archive."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import zipfile
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from tests.support.datasets import ct_instance, write_study
from tests.support.remote_server import Asked, remote_server
from tests.support.serving import (
    COMMAND,
    PATIENCE_SECONDS,
    Served,
    environment,
    eventually,
    run_command,
    serving,
    serving_at,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

INSTANCES = 120
OTHER_OBJECT = "the archive has another object under the same UIDs (0111H)"


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    write_study(folder, series=3, instances=INSTANCES // 3)
    return folder


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("archive")
    (folder / "source").mkdir()
    arguments = (folder / "source", "--data-dir", folder / "data", "--allow-store")
    with serving(*arguments, log=folder / "log") as running:
        yield running


def push(tmp_path: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Push with a journal of the test's own."""
    return run_command("push", *arguments, XDG_DATA_HOME=str(tmp_path / "home"))


def report_of(ended: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    report: dict[str, Any] = json.loads(ended.stdout)
    return report


def test_folders_and_zip_files_arrive_and_the_report_says_what_did_not(
    served: Served, study: Path, tmp_path: Path
) -> None:
    files = tmp_path / "files"
    shutil.copytree(study, files / "study")
    (files / "readme.txt").write_text("Images of the study are in the folder beside this file.\n")
    with zipfile.ZipFile(files / "more.zip", "w") as archive:
        archive.writestr("images/1", ct_instance())
        archive.writestr("images/2", ct_instance(patient_name="Other^Name"))
    ended = push(tmp_path, files, served.base_url, "--jobs", "1")
    lines = ended.stdout.splitlines()
    assert ended.returncode == 1
    assert lines[0].startswith(f"Sent: {INSTANCES + 1} instances, ")
    assert lines[1:] == [
        "Skipped: 1 file",
        "  not DICOM: 1",
        f"    {files}/readme.txt",
        "Failed: 1 file",
        f"  {OTHER_OBJECT}: 1",
        f"    {files}/more.zip/images/2",
    ]
    assert len(served.instances()) == INSTANCES + 1

    report = report_of(push(tmp_path, files, served.base_url, "--json"))
    assert (report["sent"], report["sent_before"], report["refused"]) == (0, INSTANCES + 1, 1)
    assert report["failures"] == [{"name": f"{files}/more.zip/images/2", "reason": OTHER_OBJECT}]


def test_sending_everything_again_doubles_nothing(
    served: Served, study: Path, tmp_path: Path
) -> None:
    push(tmp_path, study, served.base_url)
    before = served.instances()
    ended = push(tmp_path, study, served.base_url, "--again")
    assert ended.returncode == 0
    assert ended.stdout.startswith(f"Sent: {INSTANCES} instances")
    assert served.instances() == before


def test_an_archive_that_takes_nothing_says_so(study: Path, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    with serving(source, "--data-dir", tmp_path / "data", log=tmp_path / "log") as running:
        ended = push(tmp_path, study, running.base_url)
    assert ended.returncode == 1
    assert (
        "403 Forbidden: this archive stores nothing for clients (serve --allow-store"
        in ended.stdout
    )


def test_a_url_that_is_none_is_one_line(study: Path, tmp_path: Path) -> None:
    ended = push(tmp_path, study, "pacs")
    assert (ended.returncode, ended.stderr) == (
        2,
        "dicomulus: pacs is no http or https URL\n",
    )


def test_an_interrupted_push_says_how_to_go_on_and_does(study: Path, tmp_path: Path) -> None:
    home = {"XDG_DATA_HOME": str(tmp_path / "home")}
    with remote_server() as remote:
        process = subprocess.Popen(
            [*COMMAND, "push", str(study), remote.url, "--jobs", "1"],
            stdout=subprocess.PIPE,
            text=True,
            env=environment(**home),
        )

        def interrupt(asked: Asked) -> None:
            if len(remote.asked) == 2:
                process.send_signal(signal.SIGINT)

        remote.interfere = interrupt
        output, _ = process.communicate(timeout=PATIENCE_SECONDS)
        assert process.returncode == 130
        assert output.endswith("The same command goes on from here\n")
        report = report_of(push(tmp_path, study, remote.url, "--json"))
        assert report["sent_before"] >= 50
        assert report["sent"] + report["sent_before"] == len(remote.objects) == INSTANCES


def test_a_push_outlives_the_death_of_the_server(study: Path, tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    arguments = (tmp_path / "source", "--data-dir", tmp_path / "data", "--allow-store")
    log = tmp_path / "log"
    with serving(*arguments, log=log) as first:
        port = urlsplit(first.base_url).port or 0
        pushing = subprocess.Popen(
            [*COMMAND, "push", str(study), first.base_url, "--json", "--jobs", "2"],
            stdout=subprocess.PIPE,
            text=True,
            env=environment(XDG_DATA_HOME=str(tmp_path / "home")),
        )
        stored = tmp_path / "source" / "dicom"
        eventually(lambda: bool(list(stored.rglob("*.dcm"))), "the first instance is stored")
        first.end(signal.SIGKILL)
    with serving_at(port, *arguments, log=log) as second:
        output, _ = pushing.communicate(timeout=PATIENCE_SECONDS * 2)
        report = json.loads(output)
        assert (report["sent"], report["stopped"], report["failures"]) == (INSTANCES, "", [])
        assert pushing.returncode == 0
        assert len(second.instances()) == INSTANCES
    assert len(list(stored.rglob("*.dcm"))) == INSTANCES
