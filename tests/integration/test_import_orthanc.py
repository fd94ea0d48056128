"""``dicomulus import orthanc``: a real Orthanc, or an archive of our own in its place, taken over."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.datasets import write_study
from tests.support.orthanc_comparison import Server
from tests.support.orthanc_corpus import compared_files
from tests.support.orthanc_questions import Question, paths_of
from tests.support.real_orthanc import ABSENT, PASSWORD, PROGRAM, USER_NAME, real_orthanc
from tests.support.serving import COMMAND, PATIENCE_SECONDS, environment, eventually, serving

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tests.support.serving import Served

INSTANCES = 60
NAMES = {
    "DICOMULUS_METADATA_NAMES": "my-note=1030",
    "DICOMULUS_ATTACHMENT_NAMES": "my-report=1040",
}
BESIDE = ("/attachments/my-report/data", "/metadata/my-note")


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """An archive with a study, in Orthanc's place."""
    folder = tmp_path_factory.mktemp("archive")
    write_study(folder / "scans", series=2, instances=INSTANCES // 2)
    options = ("--data-dir", folder / "data", "--allow-store")
    with serving(folder / "scans", *options, log=folder / "log", **NAMES) as served:
        eventually(lambda: len(served.instances()) == INSTANCES, "all are indexed")
        source = Server(orthanc_of(served))
        eventually(lambda: len(source.ask(Question("/instances")).body) == INSTANCES, "listed")
        study = f"/studies/{source.ask(Question('/studies')).body[0]}"
        put(source, {f"{study}/attachments/my-report": b"report", f"{study}/labels/seen": b""})
        source.close()
        yield served


def orthanc_of(served: Served) -> str:
    return served.base_url.replace("/dicom-web", "/orthanc")


def put(server: Server, contents: Mapping[str, bytes]) -> None:
    for path, content in contents.items():
        assert server.ask(Question(path, "PUT", content)).status == 200


def arguments(source: str, *more: str | Path) -> list[str]:
    return [*COMMAND, "import", "orthanc", source, *map(str, more), "--json"]


def run(
    home: Path, source: str, *more: str | Path, **variables: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        arguments(source, *more),
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_SECONDS * 2,
        env=environment(XDG_DATA_HOME=os.fspath(home), **NAMES, **variables),
    )


def report_of(ended: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert ended.returncode == 0, ended.stderr
    report: dict[str, Any] = json.loads(ended.stdout)
    return report


def answers(server: Server, paths: list[str]) -> list[Any]:
    return [
        (answer.status, answer.body) for path in paths for answer in [server.ask(Question(path))]
    ]


def test_an_archive_is_taken_into_a_folder_once(archive: Served, tmp_path: Path) -> None:
    into = ("--into", tmp_path / "scans", "--data-dir", tmp_path / "data")
    report = report_of(run(tmp_path, orthanc_of(archive), *into))
    assert (report["instances"], report["attachments"], report["labels"]) == (INSTANCES, 1, 1)
    assert len(list((tmp_path / "scans").rglob("*.dcm"))) == INSTANCES
    report = report_of(run(tmp_path, orthanc_of(archive), *into))
    assert (report["instances"], report["instances_before"]) == (0, INSTANCES)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_run_that_was_ended_is_gone_on_with(
    archive: Served, tmp_path: Path, number: signal.Signals
) -> None:
    (tmp_path / "scans").mkdir()
    options = ("--data-dir", tmp_path / "data", "--allow-store")
    with serving(tmp_path / "scans", *options, log=tmp_path / "log", **NAMES) as served:
        to = ("--to", orthanc_of(served), "--jobs", "1")
        process = subprocess.Popen(
            arguments(orthanc_of(archive), *to),
            stdout=subprocess.PIPE,
            env=environment(XDG_DATA_HOME=os.fspath(tmp_path), **NAMES),
        )
        eventually(lambda: len(list((tmp_path / "scans").rglob("*.dcm"))) > 3, "it has begun")
        process.send_signal(number)
        process.communicate(timeout=PATIENCE_SECONDS)
        assert process.returncode == (130 if number == signal.SIGINT else -signal.SIGKILL)
        report = report_of(run(tmp_path, orthanc_of(archive), *to))
        assert report["instances"] < INSTANCES
        eventually(lambda: len(served.instances()) == INSTANCES, "all have arrived")
        target = Server(orthanc_of(served))
        study = f"/studies/{target.ask(Question('/studies')).body[0]}"
        assert target.ask(Question(f"{study}/labels")).body == ["seen"]
        target.close()


def test_what_cannot_be_asked_ends_with_one_line(archive: Served, tmp_path: Path) -> None:
    (tmp_path / "scans").mkdir()
    with serving(tmp_path / "scans", "--data-dir", tmp_path / "data", log=tmp_path / "log") as it:
        ended = run(tmp_path, orthanc_of(archive), "--to", orthanc_of(it))
        assert (ended.returncode, json.loads(ended.stdout)["instances"]) == (1, 0)
        assert "403" in json.loads(ended.stdout)["stopped"]
        ended = run(tmp_path, archive.base_url, "--to", orthanc_of(it))
        assert ended.returncode == 2
        assert ended.stderr.count("\n") == 1


@pytest.mark.skipif(PROGRAM is None, reason=ABSENT)
def test_a_real_orthanc_is_taken_over(tmp_path: Path) -> None:
    users = {"AuthenticationEnabled": True, "RegisteredUsers": {USER_NAME: PASSWORD}}
    with real_orthanc(tmp_path / "open") as running:
        source = Server(running.url)
        uploaded = {
            name: source.ask(Question("/instances", "POST", content)).body
            for name, content in compared_files().items()
        }
        resources = list(paths_of(uploaded, "a1-1").values())
        for path in resources:
            put(source, {f"{path}/metadata/my-note": path.encode()})
            put(source, {f"{path}/attachments/my-report": path.encode() * 100})
        instances = [paths_of(uploaded, name)["instances"] for name in uploaded]
        asked = [
            *(path + below for path in resources for below in BESIDE),
            *(f"{path}/file" for path in instances),
            *(f"{path}/metadata/ReceptionDate" for path in instances),
            *(f"{path}/metadata/RemoteIP" for path in instances),
        ]
        expected = answers(source, asked)
        source.close()
    (tmp_path / "scans").mkdir()
    options = ("--data-dir", tmp_path / "data", "--allow-store")
    with (
        real_orthanc(tmp_path / "open", **users) as running,
        serving(tmp_path / "scans", *options, log=tmp_path / "log", **NAMES) as served,
    ):
        to = ("--to", orthanc_of(served))
        wrong = {"ORTHANC_USER": USER_NAME, "ORTHANC_PASSWORD": "a guess"}
        ended = run(tmp_path, running.url, *to, **wrong)
        assert ended.returncode == 2
        assert "ORTHANC_PASSWORD" in ended.stderr
        (tmp_path / "password").write_text(f"{USER_NAME}:{PASSWORD}\n")
        report = report_of(
            run(tmp_path, running.url, *to, "--password-file", tmp_path / "password")
        )
        assert report["instances"] == len({answer["ID"] for answer in uploaded.values()})
        target = Server(orthanc_of(served))
        assert answers(target, asked) == expected
        target.close()
