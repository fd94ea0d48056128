"""What comes to rest is in the log once, although its server is killed before, or does not run."""

from __future__ import annotations

import json
import os
import signal
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.datasets import ct_instance, generated_study
from tests.support.receiver import receiving
from tests.support.serving import eventually, run_command, serving

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.serving import Served

AGE = {"DICOMULUS_STABLE_AGE_SECONDS": "2"}


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    """A folder with a study of two series."""
    folder = tmp_path / "scans"
    for each in generated_study(series=2, instances=2):
        path = folder / each.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(each.content)
    return folder


def changes(scans: Path, data: Path, *options: str) -> list[dict[str, Any]]:
    """Give the log as the command writes it for programs."""
    told = run_command("changes", scans, "--data-dir", data, "--json", *options)
    assert (told.returncode, told.stderr) == (0, "")
    return [json.loads(line) for line in told.stdout.splitlines()]


def types(scans: Path, data: Path) -> list[str]:
    """Give the types of what has come to rest."""
    return [each["type"] for each in changes(scans, data) if each["type"].startswith("Stable")]


def kill(served: Served) -> None:
    """End all processes of a server at once, without a chance to do anything."""
    for process_id in served.process_ids:
        with suppress(ProcessLookupError):
            os.kill(process_id, signal.SIGKILL)
    served.process.wait()
    eventually(lambda: not served.process_ids, "all processes ended")


ONCE = ["StableSeries", "StableSeries", "StableStudy", "StablePatient"]


def test_a_server_killed_before_its_time_has_it_recorded_by_the_next(
    scans: Path, tmp_path: Path
) -> None:
    data, log = tmp_path / "data", tmp_path / "log"
    with serving(scans, "--data-dir", data, log=log, **AGE) as served:
        eventually(lambda: is_compacted(scans, data), "the compaction")
        kill(served)
    found = types(scans, data)
    assert found == ONCE[: len(found)]
    with serving(scans, "--data-dir", data, log=log, **AGE) as served:
        eventually(lambda: len(types(scans, data)) >= 4, "the changes")
        kill(served)
    assert types(scans, data) == ONCE
    with serving(scans, "--data-dir", data, log=log, **AGE):
        (scans / "another.dcm").write_bytes(ct_instance(patient_id="another"))
        eventually(lambda: len(types(scans, data)) >= 7, "the other study's changes")
    assert types(scans, data) == [*ONCE, "StableSeries", "StableStudy", "StablePatient"]
    told = changes(scans, data)
    assert [each["sequence"] for each in told] == list(range(1, len(told) + 1))
    assert Counter(each["type"] for each in told if each["type"].startswith("New")) == {
        "NewInstance": 5,
        "NewSeries": 3,
        "NewStudy": 2,
        "NewPatient": 2,
    }


def is_compacted(scans: Path, data: Path) -> bool:
    told = run_command("status", scans, "--data-dir", data, "--json")
    status = json.loads(told.stdout) if told.returncode == 0 else {}
    return status.get("instances") == 4 and status["compactions_pending"] == 0


def test_what_came_to_rest_while_nobody_ran_is_recorded_by_the_next_index(
    scans: Path, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    assert run_command("index", scans, "--data-dir", data, **AGE).returncode == 0
    assert types(scans, data) == []

    def is_recorded() -> bool:
        assert run_command("index", scans, "--data-dir", data, **AGE).returncode == 0
        return types(scans, data) != []

    eventually(is_recorded, "the changes")
    assert types(scans, data) == ONCE
    first, second = changes(scans, data, "--type", "StableSeries")
    (last,) = changes(scans, data, "--type", "StableStudy")
    assert first["sequence"] < second["sequence"] < last["sequence"]
    assert second["study_instance_uid"] == last["study_instance_uid"]
    assert "series_instance_uid" in second
    assert "series_instance_uid" not in last
    before = str(second["sequence"] - 1)
    assert changes(scans, data, "--since", before, "--limit", "1") == [second]
    (patient,) = changes(scans, data, "--since", str(last["sequence"]))
    assert patient["type"] == "StablePatient"
    assert changes(scans, data, "--since", str(patient["sequence"])) == []


def test_people_read_the_log_by_the_line(scans: Path, tmp_path: Path) -> None:
    age = {"DICOMULUS_STABLE_AGE_SECONDS": "0"}
    for _ in range(2):
        run_command("index", scans, "--data-dir", tmp_path / "data", **age)
    lines = run_command("changes", scans, "--data-dir", tmp_path / "data").stdout.splitlines()
    assert [line.split()[0] for line in lines] == [str(n) for n in range(1, len(lines) + 1)]
    assert lines[-2].split()[3] == "StableStudy"
    assert lines[-2].split()[4].startswith("/studies/")
    assert lines[-1].split()[3:5] == ["StablePatient", "patient"]


def test_a_type_that_there_is_not_is_refused(scans: Path, tmp_path: Path) -> None:
    told = run_command("changes", scans, "--data-dir", tmp_path / "data", "--type", "Newer")
    assert told.returncode == 2
    assert "Newer is none of" in told.stderr


@pytest.mark.parametrize("option", ["--since", "--limit"])
def test_numbers_below_zero_are_refused(scans: Path, tmp_path: Path, option: str) -> None:
    told = run_command("changes", scans, "--data-dir", tmp_path / "data", option, "-1")
    assert told.returncode == 2
    assert "negative" in told.stderr


def test_a_folder_that_was_never_indexed_has_no_log(scans: Path, tmp_path: Path) -> None:
    told = run_command("changes", scans, "--data-dir", tmp_path / "data")
    assert told.returncode == 2
    assert "has no index" in told.stderr


def test_a_webhook_is_told_every_change_of_a_server_and_of_the_next(
    scans: Path, tmp_path: Path
) -> None:
    data, log = tmp_path / "data", tmp_path / "log"
    with receiving() as received:
        received.statuses = [503]
        hook = {**AGE, "DICOMULUS_WEBHOOK_URL": received.url, "DICOMULUS_WEBHOOK_SECRET": "s"}

        def told() -> list[int]:
            bodies = [json.loads(body) for _, body in received.requests]
            return [each["sequence"] for body in bodies for each in body["changes"]]

        with serving(scans, "--data-dir", data, log=log, **hook) as served:
            eventually(lambda: len(set(told())) >= 12, "the webhook's changes")
            kill(served)
        with serving(scans, "--data-dir", data, log=log, **hook):
            (scans / "another.dcm").write_bytes(ct_instance(patient_id="another"))
            eventually(lambda: len(set(told())) >= 19, "the other study's changes")
        assert sorted(set(told())) == list(range(1, 20))
        assert all("Dicomulus-Signature" in headers for headers, _ in received.requests)
        assert not any(b"another" in body for _, body in received.requests)
