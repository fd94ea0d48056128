"""A folder verified while it is served: a share a day, and where it was after a stop."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any

import pytest

from dicomulus.cli import verifier as verifier_module
from dicomulus.cli.pace import Pace
from dicomulus.cli.reconcile_record import read_records
from dicomulus.cli.verifier import DAY_MS, Progress, StoppedError, Verifier, read_progress
from dicomulus.composition import local_archive
from dicomulus.errors import ConfigurationError
from dicomulus.ports import ChangeType
from dicomulus.settings import Settings
from tests.support.archives import Clock
from tests.support.datasets import ct_instance

if TYPE_CHECKING:
    from pathlib import Path

    from dicomulus.services.archive import Archive

FILES = 12


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A folder of some files, indexed."""
    source = tmp_path / "scans"
    source.mkdir()
    settings = Settings(
        source_folder=str(source),
        data_folder=str(tmp_path / "data"),
        verify_days=2,
        verify_rate_mb=0,
    )
    for number in range(FILES):
        study: Any = {"study_instance_uid": f"1.2.{number}", "patient_id": f"{number}"}
        (source / f"{number}.dcm").write_bytes(ct_instance(**study))
        os.utime(source / f"{number}.dcm", (1_700_000_000, 1_700_000_000))
    local_archive(settings).ingest.look_at([f"{number}.dcm" for number in range(FILES)])
    return settings


def pending(archive: Archive) -> int:
    """Count the files whose checksums are not known yet."""
    held = [
        archive.index.query_instances(row.series).items[0]
        for number in range(FILES)
        for row in archive.index.query_series(f"1.2.{number}")
    ]
    return sum(not row.checksum for row in held)


def test_each_day_has_its_share_and_all_of_them_are_everything(
    settings: Settings, tmp_path: Path
) -> None:
    clock = Clock()
    verifier = Verifier(settings, clock_ms=clock)
    assert verifier.verify_if_due()
    assert 0 < pending(local_archive(settings)) < FILES
    assert not verifier.verify_if_due()
    clock.now_ms += DAY_MS
    assert verifier.verify_if_due()
    assert pending(local_archive(settings)) == 0
    record = read_records(tmp_path / "data").verified
    assert record is not None
    assert record.days == 2
    assert read_progress(tmp_path / "data").share == 1


def test_what_is_stopped_goes_on_where_it_was(settings: Settings, tmp_path: Path) -> None:
    clock, data = Clock(), tmp_path / "data"

    class Hasty(Clock):
        """Every look at the time is much later."""

        def __call__(self) -> int:
            self.now_ms += 10_000
            return self.now_ms

    verified: list[int] = []

    class Stopping(Verifier):
        """Ends as soon as something is done."""

        def _keep(self, progress: Progress) -> None:
            super()._keep(progress)
            if progress.checked:
                verified.append(progress.checked["verified"])
                self._stop.set()

    with pytest.raises(StoppedError):
        Stopping(settings, clock_ms=Hasty()).verify_if_due()
    assert verified[0] < FILES / 2
    assert read_progress(data).cursor
    assert Verifier(settings, clock_ms=clock).verify_if_due()
    record = read_records(data).verified
    assert record is not None
    left = pending(local_archive(settings))
    assert record.checked["verified"] == FILES - left
    assert read_progress(data).cursor == ""


def test_damage_is_found_and_kept(settings: Settings, tmp_path: Path) -> None:
    clock = Clock()
    verifier = Verifier(settings, clock_ms=clock)
    for _ in range(2):
        assert verifier.verify_if_due()
        clock.now_ms += DAY_MS
    file = tmp_path / "scans" / "7.dcm"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    with file.open("r+b") as opened:
        opened.write(content)
    os.utime(file, (1_700_000_000, 1_700_000_000))
    for _ in range(2):
        assert verifier.verify_if_due()
        clock.now_ms += DAY_MS
    archive = local_archive(settings)
    assert [each.object_key for each in archive.damages.now()] == ["7.dcm"]
    told = [each.type for each in archive.index.changes().items]
    assert told.count(ChangeType.DAMAGED_OBJECT) == 1


def is_running() -> bool:
    return any(each.name == "verify" for each in threading.enumerate())


def test_it_is_begun_and_ended_with_the_server(settings: Settings) -> None:
    verifier = Verifier(settings, first_seconds=0)
    verifier.start()
    assert is_running()
    verifier.stop()
    assert not is_running()
    never = Verifier(Settings(verify_days=0, data_folder=settings.data_folder))
    never.start()
    assert not is_running()
    never.stop()


def test_what_cannot_be_done_now_is_tried_again(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(verifier_module, "PAUSE_SECONDS", 0)
    tries: list[int] = []

    class Failing(Verifier):
        """The disk is not there at first."""

        def verify_if_due(self) -> bool:
            tries.append(len(tries))
            if len(tries) == 1:
                raise ConfigurationError("source_folder: it is no folder")
            raise StoppedError

    verifier = Failing(settings, first_seconds=0)
    verifier.start()
    verifier._thread.join(10)
    assert tries == [0, 1]
    assert "cannot verify just now" in caplog.text


def test_who_is_held_to_a_rate_can_be_stopped() -> None:
    slept: list[float] = []
    pace = Pace(1e9, sleep=slept.append)
    pace(10**12)
    assert 900 < slept[0] <= 1_000
