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
    return _home() / f"{name[:40]}-{digest}"


def known_sources() -> dict[Path, Path]:
    """Give the sources that have a default data folder, with that folder."""
    return {
        Path(os.fsdecode(note.read_bytes())): note.parent
        for note in sorted(_home().glob(f"*/{SOURCE_FILE}"))
    }


def note_source(data_folder: Path, source: Path) -> None:
    """Write down in a data folder whose data it is."""
    data_folder.mkdir(parents=True, exist_ok=True)
    content = os.fsencode(source.resolve())
    note = data_folder / SOURCE_FILE
    if not note.exists() or note.read_bytes() != content:
        note.write_bytes(content)


def require_index(source: Path, data_folder: Path) -> None:
    """Make sure that there is an index in a data folder.

    Raises:
        ConfigurationError: The source was never indexed.
    """
    if not (data_folder / _INDEX_FILE).exists():
        raise ConfigurationError(
            f"{source} has no index in {data_folder}; "
            "`dicomulus index` or `dicomulus serve` makes one"
        )


def _home() -> Path:
    return Path(platformdirs.user_data_dir("dicomulus", appauthor=False))
