"""``dicomulus index`` and ``dicomulus status`` over real folders."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pydicom.data
import pytest

from tests.support.datasets import ct_instance
from tests.support.serving import (
    COMMAND,
    PATIENCE_SECONDS,
    environment,
    eventually,
    processes_of_session,
    run_command,
)

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "scans").mkdir()
    return tmp_path / "scans"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


def status_of(folder: Path, data: Path) -> dict[str, Any]:
    done = run_command("status", "--json", folder, "--data-dir", data)
    assert done.returncode == 0, done.stderr
    status: dict[str, Any] = json.loads(done.stdout)
    return status


def write_instances(folder: Path, count: int, *, patient_id: str = "P") -> None:
    folder.mkdir(exist_ok=True)
    template = ct_instance(
        patient_id=patient_id, instance_number=1, sop_instance_uid="2.25.1000001"
    )
    for number in range(count):
        content = template.replace(b"2.25.1000001", b"2.25.%07d" % (2_000_000 + number))
        (folder / f"{number:05}").write_bytes(content)


def content_of(database: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Give all rows of a database."""
    connection = sqlite3.connect(database)
    try:
        tables = [
            name
            for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        ]
        return {t: connection.execute(f"SELECT * FROM {t}").fetchall() for t in tables}
    finally:
        connection.close()


def test_every_file_of_pydicom_is_served_a_duplicate_or_rejected_with_a_reason(
    folder: Path, data: Path
) -> None:
    corpus = [Path(name) for name in pydicom.data.get_testdata_files("*.dcm")]
    for number, path in enumerate(corpus):
        shutil.copy(path, folder / f"{number}-{path.name}")
    assert run_command("index", folder, "--data-dir", data).returncode == 0
    status = status_of(folder, data)
    rejected = {key for keys in status["rejected"].values() for key in keys}
    others = {key for each in status["duplicates"] for key in each["others"]}
    assert status["instances"] + len(others) + len(rejected) == len(corpus)
    assert all(status["rejected"])
    assert not others & rejected
    assert status["compactions_pending"] == 0
    assert status["scan"]["files"] == len(corpus)


def test_a_second_run_over_an_unchanged_folder_writes_nothing(folder: Path, data: Path) -> None:
    write_instances(folder, 20)
    (folder / "notes.txt").write_text("no DICOM")
    run_command("index", folder, "--data-dir", data)
    before = {name: content_of(data / name) for name in ("index.sqlite", "queue.sqlite")}
    bundles = {path: path.stat().st_mtime_ns for path in (data / "cache").rglob("*")}
    done = run_command("index", folder, "--data-dir", data)
    assert "21 files: 0 indexed, 21 unchanged" in done.stdout
    assert {name: content_of(data / name) for name in before} == before
    assert {path: path.stat().st_mtime_ns for path in (data / "cache").rglob("*")} == bundles


def test_a_later_run_takes_over_what_is_new_changed_or_gone(folder: Path, data: Path) -> None:
    write_instances(folder, 3)
    run_command("index", folder, "--data-dir", data)
    (folder / "00000").unlink()
    (folder / "00001").write_bytes(ct_instance(patient_id="other"))
    (folder / "new").write_bytes(ct_instance(patient_id="another"))
    done = run_command("index", folder, "--data-dir", data)
    assert "3 files: 2 indexed, 1 unchanged, 0 not indexable, 1 gone" in done.stdout
    status = status_of(folder, data)
    assert (status["studies"], status["instances"]) == (3, 3)


def test_the_folder_is_not_written_to(folder: Path, data: Path) -> None:
    write_instances(folder, 3)
    before = sorted(folder.rglob("*"))
    folder.chmod(0o555)
    try:
        done = run_command("index", folder, "--data-dir", data)
    finally:
        folder.chmod(0o755)
    assert "3 indexed" in done.stdout
    assert sorted(folder.rglob("*")) == before


def test_an_index_inside_its_own_folder_is_not_indexed(folder: Path) -> None:
    write_instances(folder, 2)
    run_command("index", folder, "--data-dir", folder / "data")
    done = run_command("index", folder, "--data-dir", folder / "data")
    assert "2 files: 0 indexed, 2 unchanged" in done.stdout


def test_a_killed_run_is_gone_on_with_by_the_next(folder: Path, data: Path) -> None:
    write_instances(folder, 600)
    with indexing(folder, data) as process:
        process.kill()
    kept = _rows(data)
    assert kept > 0
    done = run_command("index", folder, "--data-dir", data)
    assert f"600 files: {600 - kept} indexed, {kept} unchanged" in done.stdout
    status = status_of(folder, data)
    assert (status["instances"], status["compactions_pending"]) == (600, 0)


def test_a_worker_that_is_killed_costs_nothing_but_time(folder: Path, data: Path) -> None:
    write_instances(folder, 600)
    with indexing(folder, data) as process:
        workers = [each for each in processes_of_session(process.pid) if _is_worker(each)]
        os.kill(workers[0], signal.SIGKILL)
        told, _ = process.communicate(timeout=2 * PATIENCE_SECONDS)
    assert process.returncode == 0
    assert "600 files: 600 indexed" in told
    assert _rows(data) == 600


def test_ctrl_c_ends_all_processes(folder: Path, data: Path) -> None:
    # So many that it cannot have ended when its first rows have been seen.
    write_instances(folder, 3_000)
    with indexing(folder, data) as process:
        os.killpg(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 130
    assert "Traceback" not in errors


def _is_worker(process_id: int) -> bool:
    return b"spawn_main" in Path(f"/proc/{process_id}/cmdline").read_bytes()


@contextmanager
def indexing(folder: Path, data: Path) -> Iterator[subprocess.Popen[str]]:
    """Run ``dicomulus index`` with two workers, as soon as it has put the first rows."""
    with subprocess.Popen(
        [*COMMAND, "index", str(folder), "--data-dir", str(data), "--jobs", "2"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
        start_new_session=True,
    ) as process:
        eventually(lambda: process.poll() is not None or _rows(data) > 0, "first rows")
        yield process
    eventually(lambda: not processes_of_session(process.pid), "the end of all its processes")


def _rows(data: Path) -> int:
    try:
        connection = sqlite3.connect(f"file:{data / 'index.sqlite'}?mode=ro", uri=True)
    except sqlite3.OperationalError:
        return 0
    try:
        count: int = connection.execute("SELECT count(*) FROM instance").fetchone()[0]
    except sqlite3.OperationalError:
        return 0
    finally:
        connection.close()
    return count


def test_what_cannot_be_read_is_told_and_stops_nothing(folder: Path, data: Path) -> None:
    write_instances(folder, 2)
    write_instances(folder / "closed", 2, patient_id="Q")
    (folder / "loop").symlink_to(folder)
    (folder / "nowhere").symlink_to("none")
    (folder / os.fsdecode(b"m\xfcller")).write_bytes(ct_instance(patient_id="R"))
    (folder / "closed").chmod(0)
    try:
        done = run_command("index", folder, "--data-dir", data)
        status = status_of(folder, data)
    finally:
        (folder / "closed").chmod(0o755)
    assert done.returncode == 0
    if os.geteuid() == 0:
        # Nothing is closed to the administrator.
        assert status["instances"] == 5
    else:
        assert status["instances"] == 3
        assert set(status["scan"]["unreadable"]) == {"closed"}


def test_status_for_people_names_reasons_and_the_file_that_is_served(
    folder: Path, data: Path
) -> None:
    (folder / "a").write_bytes(ct_instance())
    os.utime(folder / "a", (1_000_000_000, 1_000_000_000))
    shutil.copy(folder / "a", folder / "b")
    (folder / "notes.txt").write_text("no DICOM")
    run_command("index", folder, "--data-dir", data)
    told = run_command("status", folder, "--data-dir", data).stdout
    assert "1 study, 1 series, 1 instance in 2 files" in told
    assert "  served: a\n    also: b\n" in told
    assert "Not indexed: 1 file\n" in told
    assert "    notes.txt" in told


def test_another_program_s_file_in_the_data_folder_is_one_line(folder: Path, data: Path) -> None:
    data.mkdir()
    (data / "index.sqlite").write_text("this is no database at all, but it is long enough" * 9)
    done = run_command("index", folder, "--data-dir", data)
    assert done.returncode == 2
    assert done.stderr.startswith("dicomulus: ")
    assert len(done.stderr.splitlines()) == 1
