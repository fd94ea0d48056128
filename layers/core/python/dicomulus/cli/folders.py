"""Where a folder's index and cache are kept."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path
from typing import Final

import platformdirs

from dicomulus.errors import ConfigurationError

_UNUSUAL: Final = re.compile(r"[^A-Za-z0-9._-]+")

SOURCE_FILE: Final = "source.txt"
"""In a data folder: the path of the folder whose data it is."""

_INDEX_FILE: Final = "index.sqlite"


def default_data_folder(source: Path) -> Path:
    """Give the data folder of a source: one for each path, named after it, for this user."""
    resolved = source.resolve()
    name = _UNUSUAL.sub("-", resolved.name).strip("-.") or "root"
    digest = hashlib.sha256(os.fsencode(resolved)).hexdigest()[:10]
    return user_folder() / f"{name[:40]}-{digest}"


def default_viewer_folder() -> Path:
    """Give the folder that this user's viewer is put into."""
    return user_folder() / "viewer"


def known_sources() -> dict[Path, Path]:
    """Give the sources that have a default data folder, with that folder."""
    return {
        Path(os.fsdecode(noted)): note.parent
        for note in sorted(user_folder().glob(f"*/{SOURCE_FILE}"))
        if (noted := note.read_bytes())
    }


def note_source(data_folder: Path, source: Path) -> None:
    """Make a data folder and write down in it whose data it is.

    Raises:
        ConfigurationError: It is the data folder of another source, or cannot be written to.
    """
    try:
        data_folder.mkdir(parents=True, exist_ok=True)
        if _refuse_other_source(data_folder, source) is None:
            (data_folder / SOURCE_FILE).write_bytes(os.fsencode(source.resolve()))
    except OSError as exc:
        raise _unusable(data_folder, exc) from exc


def require_index(source: Path, data_folder: Path) -> None:
    """Make sure that there is an index of a source in a data folder.

    Raises:
        ConfigurationError: The source was never indexed, or the index there is of another one.
    """
    try:
        if (data_folder / _INDEX_FILE).exists():
            _refuse_other_source(data_folder, source)
            return
    except OSError as exc:
        raise _unusable(data_folder, exc) from exc
    raise ConfigurationError(
        f"{source} has no index in {data_folder}; `dicomulus index` or `dicomulus serve` makes one"
    )


def _refuse_other_source(data_folder: Path, source: Path) -> bytes | None:
    """Give what is written down in a data folder, if it is this source; none if nothing is."""
    try:
        # It is empty after a disk was full.
        noted = (data_folder / SOURCE_FILE).read_bytes() or None
    except FileNotFoundError:
        return None
    if noted not in (None, os.fsencode(source.resolve())):
        raise ConfigurationError(
            f"{data_folder} is the data folder of {Path(os.fsdecode(noted))}; "
            "choose another --data-dir or delete it"
        )
    return noted


def _unusable(data_folder: Path, error: OSError) -> ConfigurationError:
    return ConfigurationError(f"data_folder: {data_folder}: {error.strerror}")


def user_folder() -> Path:
    """Give the folder of this user's data."""
    return Path(platformdirs.user_data_dir("dicomulus", appauthor=False))
