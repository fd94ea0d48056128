"""A folder whose file system tells nothing of changes."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from dicomulus.cli import scanner, watch
from dicomulus.cli.follow import Follower
from dicomulus.composition import local_runtime
from dicomulus.settings import Settings
from tests.support.datasets import ct_instance
from tests.support.serving import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dicomulus.composition import LocalRuntime


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "scans").mkdir()
    return Settings(
        source_folder=str(tmp_path / "scans"),
        data_folder=str(tmp_path / "data"),
        compact_delay_seconds=0,
    )


@contextmanager
def following(settings: Settings) -> Iterator[LocalRuntime]:
    stop = threading.Event()
    follower = Follower(settings, jobs=1)
    assert follower.lead(stop)
    thread = threading.Thread(target=follower.run, args=(stop,))
    thread.start()
    try:
        yield local_runtime(settings)
    finally:
        stop.set()
        thread.join(60)
    assert not thread.is_alive()


def has_patients(runtime: LocalRuntime, scans: Path, count: int) -> None:
    def found() -> bool:
        counts = runtime.statistics.counts()
        return (counts.studies, counts.compactions_pending) == (count, 0)

    eventually(found, f"{count} patients from {len(list(scans.iterdir()))} files")


def follows_changes(runtime: LocalRuntime, scans: Path) -> None:
    (scans / "1").write_bytes(ct_instance(patient_id="1"))
    (scans / "2").write_bytes(ct_instance(patient_id="2"))
    has_patients(runtime, scans, 2)
    (scans / "1").unlink()
    has_patients(runtime, scans, 1)
    (scans / "2").write_bytes(ct_instance(patient_id="3"))
    (scans / "4").write_bytes(ct_instance(patient_id="4"))
    has_patients(runtime, scans, 2)


def test_a_file_system_without_events_is_scanned_again_and_again(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "has_events", lambda _: False)
    monkeypatch.setattr(scanner, "POLL_SECONDS", 0.1)
    with following(settings) as runtime:
        follows_changes(runtime, tmp_path / "scans")


def test_more_folders_than_the_system_watches_are_scanned_again_and_again(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> NoReturn:
        raise OSError(28, "OS file watch limit reached.")

    monkeypatch.setattr(watch, "watch", refuse)
    monkeypatch.setattr(scanner, "POLL_SECONDS", 0.1)
    with following(settings) as runtime:
        follows_changes(runtime, tmp_path / "scans")


def test_a_scan_finds_what_no_event_has_told_of(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def silent(*_: Any, stop_event: threading.Event, **__: Any) -> Iterator[set[Any]]:
        while not stop_event.wait(0.05):
            yield set()

    monkeypatch.setattr(watch, "watch", silent)
    monkeypatch.setattr(scanner, "SAFETY_SECONDS", 0.1)
    with following(settings) as runtime:
        follows_changes(runtime, tmp_path / "scans")
