"""``dicomulus serve`` as a process: how it begins, how it ends, and what is left then."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.datasets import ct_instance
from tests.support.serving import (
    PATIENCE_SECONDS,
    eventually,
    processes_of_session,
    run_command,
    serving,
)

if TYPE_CHECKING:
    from tests.support.serving import Served

NUMBER_OF_STUDY_RELATED_INSTANCES = "00201208"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "scans"
    folder.mkdir()
    for number in (1, 2, 3):
        (folder / f"{number}").write_bytes(ct_instance(instance_number=number))
    return folder


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log"


def test_it_says_where_it_answers_and_answers_there(folder: Path, data: Path, log: Path) -> None:
    with serving(folder, "--data-dir", data, log=log) as served:
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/dicom-web", served.base_url)
        eventually(lambda: len(served.instances()) == 3, "three instances")
        eventually(
            lambda: served.values("/studies", NUMBER_OF_STUDY_RELATED_INSTANCES) == {3},
            "the study's count",
        )
        [study] = served.search("/studies")
    assert study["00081190"]["Value"][0].startswith(served.base_url)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_all_its_processes_quietly(
    folder: Path, data: Path, log: Path, number: signal.Signals
) -> None:
    with serving(folder, "--data-dir", data, log=log) as served:
        eventually(lambda: len(served.instances()) == 3, "three instances")
        assert served.end(number) == 0
        eventually(lambda: not served.process_ids, "no process left")
    assert log.read_text() == ""


def test_ctrl_c_at_a_terminal_reaches_all_processes_and_ends_them_quietly(
    folder: Path, data: Path, log: Path
) -> None:
    with serving(folder, "--data-dir", data, log=log) as served:
        for process_id in served.process_ids - {served.process.pid}:
            os.kill(process_id, signal.SIGINT)
        assert served.end(signal.SIGINT) == 0
    assert log.read_text() == ""


def test_no_process_outlives_the_first_one_when_that_is_killed(
    folder: Path, data: Path, log: Path
) -> None:
    with serving(folder, "--data-dir", data, log=log) as served:
        assert len(served.process_ids) > 2
        served.end(signal.SIGKILL)
        eventually(lambda: not processes_of_session(served.process.pid), "no process left")


def test_after_a_kill_all_that_has_happened_meanwhile_is_found(
    folder: Path, data: Path, log: Path
) -> None:
    with serving(folder, "--data-dir", data, log=log) as served:
        eventually(lambda: len(served.instances()) == 3, "three instances")
        before = served.instances()
        served.end(signal.SIGKILL)
    (folder / "1").unlink()
    (folder / "4").write_bytes(ct_instance(instance_number=4))
    with serving(folder, "--data-dir", data, log=log) as served:
        eventually(
            lambda: len(before & served.instances()) == 2 and len(served.instances()) == 3,
            "one gone, one new",
        )


def test_a_killed_follower_is_replaced(folder: Path, data: Path, log: Path) -> None:
    with serving(folder, "--data-dir", data, log=log) as served:
        eventually(lambda: len(served.instances()) == 3, "three instances")
        os.kill(_follower_of(data), signal.SIGKILL)
        (folder / "4").write_bytes(ct_instance(instance_number=4))
        eventually(lambda: len(served.instances()) == 4, "four instances")
    assert "the follower has ended" in log.read_text()


def _follower_of(data: Path) -> int:
    """Find the process that holds the follower's lock."""
    inode = (data / "follower.lock").stat().st_ino
    for line in Path("/proc/locks").read_text().splitlines():
        fields = line.split()
        if "FLOCK" in fields and fields[-3].endswith(f":{inode}"):
            return int(fields[4])
    raise AssertionError("nobody holds the lock")


def test_a_data_folder_that_is_deleted_ends_nothing(folder: Path, data: Path, log: Path) -> None:
    with serving(folder, "--data-dir", data, log=log) as served:
        eventually((data / "scan.json").exists, "the first scan")
        before = served.process_ids
        shutil.rmtree(data)
        (folder / "4").write_bytes(ct_instance(instance_number=4))
        eventually(lambda: "could not be" in log.read_text(), "a word of it")
        assert before <= served.process_ids
    assert "Traceback" not in log.read_text()


def test_two_servers_of_one_folder_share_its_index(folder: Path, data: Path, log: Path) -> None:
    with serving(folder, "--data-dir", data, log=log) as first:
        eventually(lambda: len(first.instances()) == 3, "three instances")
        with serving(folder, "--data-dir", data, log=log) as second:
            assert len(second.instances()) == 3
            assert first.end() == 0
            (folder / "4").write_bytes(ct_instance(instance_number=4))
            eventually(lambda: len(second.instances()) == 4, "the second one follows")


def test_a_port_that_is_taken_is_one_line_and_status_2(folder: Path, data: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = run_command("serve", folder, "--data-dir", data, "--port", port)
    assert done.returncode == 2
    assert done.stderr == f"dicomulus: port: {port} of 127.0.0.1 is taken by another program\n"


def test_an_address_that_others_reach_needs_a_word(folder: Path, data: Path) -> None:
    done = run_command("serve", folder, "--data-dir", data, "--host", "0.0.0.0", "--port", "0")
    assert done.returncode == 2
    assert "--insecure" in done.stderr


def status_of(served: Served, path: str, token: str | None, **options: Any) -> int:
    request = urllib.request.Request(served.base_url + path, **options)
    if token is not None:
        request.add_header("Authorization", f"Bearer {token}")
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE_SECONDS) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def test_a_server_that_asks_for_tokens_lets_in_who_has_one(
    folder: Path, data: Path, log: Path, tmp_path: Path
) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text("viewer read\n")
    options = ("--host", "0.0.0.0", "--token-file", tokens, "--allow-delete")
    with serving(folder, "--data-dir", data, *options, log=log, DICOMULUS_TOKEN="owner") as served:
        assert [status_of(served, "/studies", each) for each in (None, "x", "viewer", "owner")] == [
            401,
            401,
            200,
            200,
        ]
        delete = [
            status_of(served, "/studies/1.2.3", each, method="DELETE")
            for each in (None, "viewer", "owner")
        ]
        assert delete == [401, 403, 404]
    assert "owner" not in log.read_text()


def test_a_file_without_a_token_is_one_line_and_status_2(
    folder: Path, data: Path, tmp_path: Path
) -> None:
    (tmp_path / "tokens").touch()
    options = ("--port", "0", "--token-file", tmp_path / "tokens")
    done = run_command("serve", folder, "--data-dir", data, *options)
    assert done.returncode == 2
    assert done.stderr.startswith("dicomulus: token_file: ")
    assert done.stderr.count("\n") == 1
