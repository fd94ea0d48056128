"""What the command says of what it is asked."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dicomulus import __version__
from dicomulus.cli import index, serve
from dicomulus.cli.exit_status import ERROR, INTERRUPTED
from dicomulus.cli.folders import default_data_folder
from dicomulus.cli.main import main
from dicomulus.settings import Settings


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep the user's own data directory and settings out of it."""
    monkeypatch.setattr(
        "platformdirs.user_data_dir", lambda *_args, **_named: str(tmp_path / "home")
    )
    return tmp_path / "home"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "scans").mkdir()
    return tmp_path / "scans"


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[Settings]:
    """The settings with which ``serve`` was called."""
    calls: list[Settings] = []

    def note(settings: Settings, **_: object) -> None:
        calls.append(settings)

    monkeypatch.setattr(serve, "serve", note)
    return calls


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"dicomulus {__version__}\n"


@pytest.mark.parametrize(
    "command", ["serve", "index", "status", "sample", "reindex", "compress-storage"]
)
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert ended.value.code == 0
    assert "FOLDER" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["serve", "index", "status", "reindex", "compress-storage"])
def test_no_such_folder_is_one_line(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command, str(tmp_path / "none")]) == ERROR
    assert capsys.readouterr().err == f"dicomulus: {tmp_path / 'none'} is no folder\n"


def test_the_defaults_of_serve(source: Path, served: list[Settings]) -> None:
    assert main(["serve", str(source)]) == 0
    [settings] = served
    assert (settings.host, settings.port) == ("127.0.0.1", 8080)
    assert settings.source_folder == str(source)
    assert settings.data_folder == str(default_data_folder(source))
    assert not settings.allow_store
    assert settings.compact_delay_seconds == 1


def test_the_environment_gives_what_the_command_line_does_not(
    source: Path, served: list[Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DICOMULUS_SOURCE_FOLDER", str(source))
    monkeypatch.setenv("DICOMULUS_PORT", "8042")
    monkeypatch.setenv("DICOMULUS_HOST", "::1")
    monkeypatch.setenv("DICOMULUS_ALLOW_STORE", "yes")
    monkeypatch.setenv("DICOMULUS_COMPACT_DELAY_SECONDS", "7")
    assert main(["serve", "--host", "127.0.0.2"]) == 0
    [settings] = served
    assert settings.source_folder == str(source)
    assert (settings.host, settings.port) == ("127.0.0.2", 8042)
    assert settings.allow_store
    assert settings.compact_delay_seconds == 7


def test_every_option_of_serve(source: Path, served: list[Settings], tmp_path: Path) -> None:
    options = ["--host", "127.0.0.1", "--port", "0", "--data-dir", str(tmp_path / "data")]
    options += ["--allow-store", "--insecure", "--jobs", "3"]
    options += ["--allowed-origin", "https://a.example", "--allowed-origin", "https://b.example"]
    options += ["--public-url", "https://pacs.example/archive/dicom-web"]
    (tmp_path / "ohif").mkdir()
    (tmp_path / "ohif" / "index.html").touch()
    options += ["--viewer", str(tmp_path / "ohif")]
    assert main(["serve", str(source), *options]) == 0
    assert served == [
        Settings(
            source_folder=str(source),
            data_folder=str(tmp_path / "data"),
            port=0,
            allow_store=True,
            insecure=True,
            jobs=3,
            allowed_origins=("https://a.example", "https://b.example"),
            public_base_url="https://pacs.example/archive/dicom-web",
            compact_delay_seconds=1,
            viewer_folder=str(tmp_path / "ohif"),
        )
    ]


def test_a_viewer_that_is_named_is_there(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["serve", str(source), "--viewer", str(tmp_path)]) == ERROR
    assert "holds no index.html" in capsys.readouterr().err


def test_a_public_url_without_path_gets_the_service_s(source: Path, served: list[Settings]) -> None:
    assert main(["serve", str(source), "--public-url", "https://pacs.example/"]) == 0
    assert served[0].public_base_url == "https://pacs.example/dicom-web"


def test_a_bad_value_is_one_line(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", str(source), "--port", "70000"]) == ERROR
    assert capsys.readouterr().err == "dicomulus: port: 70000 is not between 0 and 65535\n"


def test_a_variable_that_is_no_setting_is_named(
    source: Path,
    served: list[Settings],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("DICOMULUS_PROT", "8042")
    assert main(["serve", str(source)]) == 0
    assert "DICOMULUS_PROT is no setting" in capsys.readouterr().err


def test_sources_of_one_name_have_data_folders_of_their_own(tmp_path: Path) -> None:
    assert default_data_folder(tmp_path / "a" / "ct") != default_data_folder(tmp_path / "b" / "ct")
    assert default_data_folder(tmp_path / "a" / "ct").name.startswith("ct-")


def test_a_source_has_one_data_folder_however_it_is_named(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to(source)
    assert default_data_folder(Path("scans")) == default_data_folder(tmp_path / "link")


def test_status_of_what_was_never_indexed_says_how_to(
    source: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["status", str(source)]) == ERROR
    assert "dicomulus index" in capsys.readouterr().err
    assert not home.exists()


def test_status_needs_no_folder_where_one_alone_was_indexed(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (source / "notes.txt").write_text("no DICOM")
    assert main(["status"]) == ERROR
    assert main(["index", str(source)]) == 0
    capsys.readouterr()
    assert main(["status", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["source"] == str(source)
    (tmp_path / "other").mkdir()
    assert main(["index", str(tmp_path / "other")]) == 0
    assert main(["status"]) == ERROR
    assert str(source) in capsys.readouterr().err


def test_ctrl_c_ends_index_with_the_status_that_shells_expect(
    source: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(index, "index", interrupt)
    assert main(["index", str(source)]) == INTERRUPTED
    assert "goes on from here" in capsys.readouterr().err


def test_a_sample_that_cannot_be_written_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    assert main(["sample", str(tmp_path / "file")]) == ERROR
    assert capsys.readouterr().err.startswith(f"dicomulus: {tmp_path / 'file'} cannot be filled")


def test_names_of_files_cannot_command_the_terminal(
    source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (source / "a\x1b[2J").write_text("no DICOM")
    (source / "b\x1b[2J").symlink_to("b\x1b[2J")
    assert main(["index", str(source)]) == 0
    assert main(["status", str(source)]) == 0
    told = capsys.readouterr().out
    assert "\x1b" not in told
    assert "a\\x1b[2J" in told
    assert told.count("b\\x1b[2J") == 2


def test_a_run_that_indexes_nothing_has_no_rate(
    source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (source / "notes.txt").write_text("no DICOM")
    assert main(["index", str(source)]) == 0
    assert capsys.readouterr().out.splitlines()[1].endswith(" files/s")
    assert main(["index", str(source)]) == 0
    assert "1 file: 0 indexed, 1 unchanged" in (told := capsys.readouterr().out)
    assert "files/s" not in told


def test_a_record_that_cannot_be_kept_is_one_line_after_the_summary(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "data"
    (data / "scan.json").mkdir(parents=True)
    assert main(["index", str(source), "--data-dir", str(data)]) == ERROR
    told = capsys.readouterr()
    assert "0 files: 0 indexed" in told.out
    assert told.err == f"dicomulus: {data / 'scan.json'} cannot be written: Is a directory\n"
    assert not list(data.glob("*.tmp"))


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("status", "folder of DICOM files, never written to"),
        ("serve", "never written to without --allow-store or --allow-delete"),
        ("compress-storage", "only what the archive itself has stored is rewritten"),
        ("reconcile", "only remains of attachments and of deletions are removed"),
    ],
)
def test_help_tells_what_a_command_writes_into_the_folder(
    command: str, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main([command, "--help"])
    assert told in " ".join(capsys.readouterr().out.split())
