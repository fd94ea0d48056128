"""``dicomulus reindex``: new lists of main tags reach all rows without a look at any file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dicomulus.cli.exit_status import ERROR
from dicomulus.cli.main import main
from dicomulus.composition import local_archive
from dicomulus.settings import Settings
from tests.support.datasets import ct_instance

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A folder of files that was indexed, and its data folder, as arguments."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    source = tmp_path / "scans"
    source.mkdir()
    for number in range(1, 4):
        attributes = {"KVP": "100", "SliceLocation": str(number)}
        content = ct_instance(instance_number=number, attributes=attributes)
        (source / f"{number}.dcm").write_bytes(content)
    arguments = [str(source), "--data-dir", str(tmp_path / "data")]
    assert main(["index", "--jobs", "1", *arguments]) == 0
    return arguments


def test_rows_follow_new_lists_although_the_files_are_gone(
    folders: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for file in (tmp_path / "scans").iterdir():
        file.unlink()
    monkeypatch.setenv("DICOMULUS_MAIN_SERIES_TAGS", "KVP")
    monkeypatch.setenv("DICOMULUS_MAIN_INSTANCE_TAGS", "SliceLocation")
    capsys.readouterr()
    assert main(["reindex", *folders]) == 0
    assert "1 series: 1 renewed with 3 rows, 0 unchanged" in capsys.readouterr().out
    archive = local_archive(
        Settings(source_folder=folders[0], data_folder=folders[2], main_series_tags=("KVP",))
    )
    (row,) = archive.reindex.series()
    assert (row.folded_version, row.compact_due_ms) == (row.version, None)
    assert b'"00180060"' in row.attributes
    rows = archive.index.query_instances(row.series).items
    assert all(b'"00201041"' in each.further for each in rows)


def test_a_second_run_finds_nothing_to_do(
    folders: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DICOMULUS_MAIN_SERIES_TAGS", "KVP")
    assert main(["reindex", *folders]) == 0
    capsys.readouterr()
    assert main(["reindex", *folders]) == 0
    assert "0 renewed with 0 rows, 1 unchanged" in capsys.readouterr().out


def test_a_name_that_is_no_attribute_is_one_line(
    folders: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DICOMULUS_MAIN_SERIES_TAGS", "Kilovolts")
    capsys.readouterr()
    assert main(["reindex", *folders]) == ERROR
    assert capsys.readouterr().err.count("\n") == 1
