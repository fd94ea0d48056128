"""``dicomulus viewer``: OHIF from its npm package, put where ``serve`` finds it.

The package holds the built viewer, so nothing is built and none of its dependencies are needed. It
is built to lie at the root of a server; a few lines are changed, so that it may lie anywhere.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import re
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final

from dicomulus.api.static_files import MEDIA_TYPES, WORTH_BYTES, ZIPPED
from dicomulus.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE: Final = "@ohif/app"
VERSION: Final = "3.13.2"
INTEGRITY: Final = "sha512-WZdxmpmG7rqFgW9ZJLcbgr3XCtLi1KDNPoMaeY5PPe6j4G4fjEjjkycZM6C6Zk2F87BKxFfpq+jd5xXZB9E8EA=="
"""Digest of the package's archive, as npm writes it."""

_REVISION: Final = 1
"""Moves when what is made of the package does."""

MARKER: Final = ".dicomulus-viewer"
"""File that says which viewer a folder holds, complete."""

_FETCH_SECONDS: Final = 300
_BUILT: Final = PurePosixPath("package/dist")
_ZIPPED_KINDS: Final = frozenset({".css", ".html", ".js", ".json", ".mjs", ".svg", ".wasm"})
_COMPRESSION: Final = 6

_LEFT_OUT: Final = frozenset(
    {
        "app-config.js",  # the server writes it
        "google.js",  # configuration of another service
        "es6-shim.min.js",
        "init-service-worker.js",
        "oidc-client.min.js",
        "ort",  # a runtime for models that would come from elsewhere: 136 MB
        "polyfill.min.js",
        "silent-refresh.html",
        "sw.js",
    }
)
"""What of the built viewer is not used here."""

_HERE: Final = (
    b'new URL(".", typeof document === "undefined" ? self.location.href : '
    b"document.currentScript.src).href"
)

# What is built to lie at the root, by the kind of file, and what it becomes.
_CHANGES: Final[dict[str, tuple[tuple[re.Pattern[bytes], bytes], ...]]] = {
    ".js": (
        (re.compile(rb'(__webpack_require__\.p = )"/";'), rb"\1" + _HERE + b";"),
        (
            re.compile(rb"'/(dicom-microscopy-viewer/[^']*)'"),
            rb"(window.PUBLIC_URL + '\1')",
        ),
    ),
    ".css": ((re.compile(rb"url\(/(?!/)"), b"url("),),
    ".html": ((re.compile(rb'<script[^>]*init-service-worker\.js"></script>'), b""),),
    ".json": ((re.compile(rb'"/assets/'), b'"assets/'),),
}


def install_viewer(folder: Path, package: Path | None = None) -> bool:
    """Put the viewer into a folder, if it is not there; tell whether it was not.

    Args:
        folder: It becomes the viewer's, and may hold an earlier one.
        package: The package's archive. Without it, npm fetches it.

    Raises:
        ConfigurationError: It cannot be had or put there; the text says why.
    """
    if is_installed(folder):
        return False
    if folder.exists() and not (folder / MARKER).exists() and any(folder.iterdir()):
        raise ConfigurationError(f"{folder} holds something else; say another folder")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".viewer-", dir=folder.parent) as scratch:
            _install(folder, Path(scratch), package)
    except (OSError, tarfile.TarError) as exc:
        raise ConfigurationError(f"{folder}: the viewer cannot be put there: {exc}") from exc
    return True


def is_installed(folder: Path) -> bool:
    """Tell whether a folder holds the viewer of this version."""
    try:
        return (folder / MARKER).read_text(encoding="utf-8") == viewer_mark()
    except OSError:
        return False


def has_npm() -> bool:
    """Tell whether npm is there to fetch the package."""
    return shutil.which("npm") is not None


def viewer_mark() -> str:
    """Name the viewer that is installed, with what is made of it."""
    return f"{PACKAGE} {VERSION}, {_REVISION}\n"


def _install(folder: Path, scratch: Path, package: Path | None) -> None:
    package = package or _fetched(scratch)
    _check(package)
    made = scratch / "viewer"
    made.mkdir()
    # A temporary folder is closed to other users, the viewer need not be.
    made.chmod(0o755)
    _unpack(package, made)
    (made / MARKER).write_text(viewer_mark(), encoding="utf-8")
    if folder.exists():
        folder.rename(scratch / "before")
    made.rename(folder)


def _fetched(scratch: Path) -> Path:
    npm = shutil.which("npm")
    if npm is None:
        raise ConfigurationError(
            f"npm is not there to fetch {PACKAGE}@{VERSION}; install it, or name the archive"
        )
    command = [npm, "pack", f"{PACKAGE}@{VERSION}", "--silent", "--ignore-scripts"]
    command += ["--fetch-retries=1", "--fetch-timeout=60000", f"--pack-destination={scratch}"]
    try:
        done = subprocess.run(  # noqa: S603  (all of it is ours)
            command,
            check=False,
            capture_output=True,
            text=True,
            timeout=_FETCH_SECONDS,
            cwd=scratch,
        )
    except subprocess.TimeoutExpired as exc:
        raise ConfigurationError(f"npm takes over {_FETCH_SECONDS} s for {PACKAGE}") from exc
    archives = list(scratch.glob("*.tgz"))
    if done.returncode or len(archives) != 1:
        reason = done.stderr.strip().splitlines()[-1:] or ["it says no more"]
        raise ConfigurationError(f"npm cannot fetch {PACKAGE}@{VERSION}: {reason[0]}")
    return archives[0]


def _check(package: Path) -> None:
    with package.open("rb") as file:
        digest = hashlib.file_digest(file, "sha512").digest()
    if f"sha512-{base64.b64encode(digest).decode()}" != INTEGRITY:
        raise ConfigurationError(f"{package.name} is not {PACKAGE}@{VERSION}: its digest differs")


def _unpack(package: Path, folder: Path) -> None:
    for name, content in _files(package):
        target = folder.joinpath(*name.parts)
        target.parent.mkdir(parents=True, exist_ok=True)
        content = _changed(name, content)
        target.write_bytes(content)
        if name.suffix in _ZIPPED_KINDS and len(content) >= WORTH_BYTES:
            zipped = gzip.compress(content, _COMPRESSION, mtime=0)
            target.with_name(target.name + ZIPPED).write_bytes(zipped)


def _files(package: Path) -> Iterator[tuple[PurePosixPath, bytes]]:
    """Go through the files of the built viewer that are served."""
    with tarfile.open(package, "r:gz") as archive:
        for member in archive:
            path = PurePosixPath(member.name)
            if not (member.isfile() and path.is_relative_to(_BUILT)) or ".." in path.parts:
                continue
            name = path.relative_to(_BUILT)
            if name.parts[0] in _LEFT_OUT or name.suffix not in MEDIA_TYPES:
                continue
            if (file := archive.extractfile(member)) is not None:
                yield name, file.read()


def _changed(name: PurePosixPath, content: bytes) -> bytes:
    if len(name.parts) > 1:
        return content
    for pattern, replacement in _CHANGES.get(name.suffix, ()):
        content = pattern.sub(replacement, content)
    return content
