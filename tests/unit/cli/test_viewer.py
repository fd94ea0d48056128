"""The viewer out of its package: what is kept, what is changed, what is refused."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import os
import tarfile
from typing import TYPE_CHECKING

import pytest

from dicomulus.cli import viewer
from dicomulus.cli.main import main
from dicomulus.cli.viewer import install_viewer, is_installed
from dicomulus.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path

FILES = {
    "package/package.json": b"{}",
    "package/dist/index.html": b'<script type="module" src="/init-service-worker.js"></script><p>',
    "package/dist/app.bundle.0f6159c501addfe9.js": (
        b"__webpack_require__.p = \"/\";\nimport('/dicom-microscopy-viewer/a.min.js')" + b" " * 2000
    ),
    "package/dist/app.css": b"a { b: url(/c.woff2) } d { e: url(//f/g) }",
    "package/dist/app.js.map": b"a map",
    "package/dist/sw.js": b"a service worker",
    "package/dist/ort/ort.js": b"a runtime",
    "package/dist/assets/icon.png": b"png",
    "package/dist/../../outside.js": b"outside",
}


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "ohif-app.tgz"
    with tarfile.open(path, "w:gz") as archive:
        for name, content in FILES.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        link = tarfile.TarInfo("package/dist/link.js")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    digest = base64.b64encode(hashlib.sha512(path.read_bytes()).digest()).decode()
    monkeypatch.setattr(viewer, "INTEGRITY", f"sha512-{digest}")
    return path


def names_below(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_what_is_served_of_the_package_is_kept(package: Path, tmp_path: Path) -> None:
    folder = tmp_path / "viewer"
    assert install_viewer(folder, package)
    assert names_below(folder) == {
        ".dicomulus-viewer",
        "app.bundle.0f6159c501addfe9.js",
        "app.bundle.0f6159c501addfe9.js.gz",
        "app.css",
        "assets/icon.png",
        "index.html",
    }
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ohif-app.tgz", "viewer"]


def test_the_viewer_may_lie_anywhere(package: Path, tmp_path: Path) -> None:
    install_viewer(folder := tmp_path / "viewer", package)
    script = (folder / "app.bundle.0f6159c501addfe9.js").read_bytes()
    assert b'"/"' not in script
    assert b"window.PUBLIC_URL + 'dicom-microscopy-viewer/a.min.js'" in script
    zipped = (folder / "app.bundle.0f6159c501addfe9.js.gz").read_bytes()
    assert gzip.decompress(zipped) == script
    assert (folder / "app.css").read_bytes() == b"a { b: url(c.woff2) } d { e: url(//f/g) }"
    assert b"service-worker" not in (folder / "index.html").read_bytes()


def test_a_viewer_that_is_there_is_left_alone(package: Path, tmp_path: Path) -> None:
    folder = tmp_path / "viewer"
    assert install_viewer(folder, package)
    package.unlink()
    assert not install_viewer(folder, package)


def test_another_version_takes_the_place_of_the_one_before(package: Path, tmp_path: Path) -> None:
    folder = tmp_path / "viewer"
    folder.mkdir()
    (folder / viewer.MARKER).write_text("another version")
    (folder / "old.js").touch()
    assert install_viewer(folder, package)
    assert "old.js" not in names_below(folder)


def test_a_folder_of_something_else_is_refused(package: Path, tmp_path: Path) -> None:
    (folder := tmp_path / "viewer").mkdir()
    (folder / "mine.txt").touch()
    with pytest.raises(ConfigurationError, match="holds something else"):
        install_viewer(folder, package)
    assert names_below(folder) == {"mine.txt"}


def test_another_package_is_refused(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package.write_bytes(package.read_bytes() + b"\0")
    with pytest.raises(ConfigurationError, match="its digest differs"):
        install_viewer(tmp_path / "viewer", package)
    assert not is_installed(tmp_path / "viewer")
    assert not (tmp_path / "viewer").exists()


def test_a_package_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="No such file"):
        install_viewer(tmp_path / "viewer", tmp_path / "missing.tgz")


@pytest.fixture
def npm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only program on the path; what it does is up to the test."""
    (folder := tmp_path / "bin").mkdir()
    program = folder / "npm"
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}/usr/bin{os.pathsep}/bin")
    return program


def write_program(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def test_npm_fetches_the_package(package: Path, npm: Path, tmp_path: Path) -> None:
    write_program(
        npm,
        f'for each; do case "$each" in --pack-destination=*) cp {package} "${{each#*=}}";; esac; done',
    )
    assert install_viewer(tmp_path / "viewer")
    assert is_installed(tmp_path / "viewer")


def test_what_npm_says_is_told(npm: Path, tmp_path: Path) -> None:
    write_program(npm, "echo 'npm error network is off' >&2; exit 1")
    with pytest.raises(ConfigurationError, match="network is off"):
        install_viewer(tmp_path / "viewer")


def test_where_it_cannot_be_had_the_command_ends_well_if_told_so(
    npm: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_program(npm, "exit 1")
    arguments = ["viewer", "--into", os.fspath(tmp_path / "viewer")]
    assert main(arguments) == 2
    assert "npm cannot fetch" in capsys.readouterr().err
    assert main([*arguments, "--if-possible"]) == 0
    assert "No viewer: npm cannot fetch" in capsys.readouterr().out


def test_without_npm_the_command_says_nothing_if_told_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", os.fspath(tmp_path))
    arguments = ["viewer", "--into", os.fspath(tmp_path / "viewer")]
    assert main([*arguments, "--if-possible"]) == 0
    assert capsys.readouterr().out == ""
    assert main(arguments) == 2
    assert "npm is not there" in capsys.readouterr().err


def test_the_command_says_where_the_viewer_is(
    package: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "viewer"
    assert main(["viewer", os.fspath(package), "--into", os.fspath(folder)]) == 0
    assert f"Viewer: {folder}" in capsys.readouterr().out
