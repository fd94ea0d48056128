"""A data folder is that of one source, and what is wrong with it is said in one line."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from dicomulus.cli import serve
from dicomulus.cli.exit_status import ERROR
from dicomulus.cli.folders import SOURCE_FILE
from dicomulus.cli.main import main
from tests.support.datasets import ct_instance

if TYPE_CHECKING:
    from pathlib import Path


def folder_with(path: Path) -> Path:
    """Make a source of one instance."""
    path.mkdir(parents=True)
    (path / "IM0001").write_bytes(ct_instance())
    return path


def counted(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> int:
    """Count the instances that ``status`` tells of."""
    capsys.readouterr()
    assert main(["status", "--json", *map(str, arguments)]) == 0
    found: int = json.loads(capsys.readouterr().out)["instances"]
    return found


@pytest.mark.parametrize("command", ["index", "serve", "status", "changes"])
def test_the_data_folder_of_another_source_is_refused(
    command: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(serve, "serve", lambda *_args, **_named: None)
    first, second = folder_with(tmp_path / "first"), folder_with(tmp_path / "second")
    data = tmp_path / "data"
    assert main(["index", str(first), "--data-dir", str(data)]) == 0
    capsys.readouterr()
    assert main([command, str(second), "--data-dir", str(data)]) == ERROR
    assert capsys.readouterr().err == (
        f"dicomulus: {data} is the data folder of {first}; choose another --data-dir or delete it\n"
    )
    assert counted(capsys, first, "--data-dir", data) == 1


def test_a_note_that_a_full_disk_left_empty_is_written_again(tmp_path: Path) -> None:
    source, data = folder_with(tmp_path / "scans"), tmp_path / "data"
    data.mkdir()
    (data / SOURCE_FILE).touch()
    assert main(["index", str(source), "--data-dir", str(data)]) == 0
    assert (data / SOURCE_FILE).read_text() == str(source)


@pytest.mark.parametrize("command", ["index", "serve", "status"])
def test_the_source_itself_is_refused_as_data_folder(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = folder_with(tmp_path / "scans")
    assert main([command, str(source), "--data-dir", f"{source}/../scans"]) == ERROR
    assert f"data_folder: {source} is the source itself" in capsys.readouterr().err
    assert [file.name for file in source.iterdir()] == ["IM0001"]


@pytest.mark.parametrize("data", ["scans/data", ".", "elsewhere/deep"])
def test_a_data_folder_lies_anywhere_else(
    data: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = folder_with(tmp_path / "scans")
    arguments = (str(source), "--data-dir", str(tmp_path / data))
    assert main(["index", *arguments]) == 0
    assert counted(capsys, *arguments) == 1
    assert main(["index", *arguments]) == 0
    assert "1 file: 0 indexed, 1 unchanged, 0 not indexable, 0 gone" in capsys.readouterr().out
    assert counted(capsys, *arguments) == 1


@pytest.mark.parametrize("command", ["index", "serve"])
def test_a_file_is_no_data_folder(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = folder_with(tmp_path / "scans")
    (tmp_path / "file").touch()
    for data, why in [("file", "File exists"), ("file/deeper", "Not a directory")]:
        assert main([command, str(source), "--data-dir", str(tmp_path / data)]) == ERROR
        assert capsys.readouterr().err == f"dicomulus: data_folder: {tmp_path / data}: {why}\n"
