"""``dicomulus compress-storage``: all that the archive has stored changes its form, and back."""

from __future__ import annotations

import gzip
import os
import random
from dataclasses import replace
from io import BytesIO
from typing import TYPE_CHECKING

import pytest

from dicomulus.cli.exit_status import FAILED
from dicomulus.cli.main import main
from dicomulus.composition import local_archive
from dicomulus.settings import Settings
from tests.support.datasets import ct_instance

if TYPE_CHECKING:
    from pathlib import Path

    from dicomulus.services.archive import Archive

SMOOTH = [ct_instance(instance_number=number, rows=64, columns=64) for number in (1, 2)]
NOISE = ct_instance(
    instance_number=3,
    rows=64,
    columns=64,
    attributes={"PixelData": random.Random(1).randbytes(8_192)},
)
ADOPTED = ct_instance(instance_number=4, rows=64, columns=64)


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A folder with a file of its own and three that were stored, as arguments."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    source = tmp_path / "scans"
    source.mkdir()
    (source / "IM1").write_bytes(ADOPTED)
    arguments = [str(source), "--data-dir", str(tmp_path / "data")]
    assert main(["index", "--jobs", "1", *arguments]) == 0
    archive = archive_of(arguments)
    archive.store.store(map(BytesIO, (*SMOOTH, NOISE)))
    return arguments


def archive_of(folders: list[str]) -> Archive:
    settings = Settings(source_folder=folders[0], data_folder=folders[2], allow_store=True)
    return local_archive(settings)


def files(tmp_path: Path) -> dict[str, bytes]:
    scans = tmp_path / "scans"
    return {
        path.name: path.read_bytes()
        for path in scans.rglob("*")
        if path.is_file() and not path.name.startswith(".")
    }


def retrieved(folders: list[str]) -> list[bytes]:
    archive = archive_of(folders)
    (series,) = archive.reindex.series()
    rows = archive.retrieve.series_rows(series.series)
    return [b"".join(archive.retrieve.stored(row).chunks) for row in rows]


def test_what_becomes_smaller_is_compressed_and_comes_back(
    folders: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = files(tmp_path)
    capsys.readouterr()
    assert main(["compress-storage", *folders]) == 0
    told = capsys.readouterr().out
    assert "2 objects compressed" in told
    assert "1 left as they are" in told
    assert "1 objects lie where others put them" in told
    after = files(tmp_path)
    small = {name: content for name, content in after.items() if name.endswith(".dcm.gz")}
    assert sorted(map(gzip.decompress, small.values())) == sorted(SMOOTH)
    assert len(after) == len(before)
    assert retrieved(folders) == [*SMOOTH, NOISE, ADOPTED]

    # What was done is not done again.
    assert main(["compress-storage", *folders]) == 0
    assert "0 objects compressed" in capsys.readouterr().out
    assert files(tmp_path) == after

    assert main(["compress-storage", "--uncompress", *folders]) == 0
    assert "2 objects uncompressed" in capsys.readouterr().out
    assert files(tmp_path) == before
    assert retrieved(folders) == [*SMOOTH, NOISE, ADOPTED]


def test_a_new_index_of_compressed_files_equals_the_old_one(
    folders: list[str], tmp_path: Path
) -> None:
    main(["compress-storage", *folders])
    archive = archive_of(folders)
    (series,) = archive.reindex.series()
    rows = archive.retrieve.series_rows(series.series)
    again = [folders[0], "--data-dir", str(tmp_path / "again")]
    assert main(["index", "--jobs", "1", *again]) == 0
    renewed_rows = archive_of(again).retrieve.series_rows(series.series)
    # Their tables have the checksums; of files that are not compressed only storing them told it.
    assert renewed_rows[:2] == rows[:2]
    assert all(row.checksum.startswith("sha256:") for row in rows[:2])
    assert renewed_rows[2] == replace(rows[2], checksum="")
    (renewed,) = archive_of(again).reindex.series()
    assert (renewed.answer, renewed.total_size) == (series.answer, series.total_size)


def test_an_object_that_fails_is_named_and_keeps_no_other(
    folders: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = next(path for path in (tmp_path / "scans").rglob("*.dcm"))
    # Others have put another object there, which nobody has looked at yet.
    first.write_bytes(b"another")
    capsys.readouterr()
    assert main(["compress-storage", *folders]) == FAILED
    captured = capsys.readouterr()
    assert first.name in captured.err
    assert "1 objects failed: object-changed" in captured.out


def test_a_flipped_byte_of_a_compressed_file_is_found(
    folders: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["compress-storage", *folders])
    for at in (5, 40, 200, -30, -3):
        path = next((tmp_path / "scans").rglob("*.dcm.gz"))
        content, times = path.read_bytes(), path.stat()
        damaged = bytearray(content)
        damaged[at] ^= 0x20
        # In place and with its old time, as a disk does it.
        path.write_bytes(damaged)
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
        capsys.readouterr()
        assert main(["reconcile", "--verify", "--dry-run", *folders]) == FAILED
        assert path.name in capsys.readouterr().out, at
        path.write_bytes(content)
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
