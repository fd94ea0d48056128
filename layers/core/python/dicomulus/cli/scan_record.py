"""The record of the latest scan of a folder: what only a walk of it can tell."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Final

from dicomulus.cli.kept_json import keep_json

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

NAME: Final = "scan.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanRecord:
    """A scan whose findings have all been looked at."""

    finished_ms: int
    files: int
    file_bytes: int
    unreadable: Mapping[str, str] = field(default_factory=dict)
    """Keys of folders and files that could not be read, with the reasons."""


def write_record(data_folder: Path, record: ScanRecord) -> None:
    """Keep a record in place of the one before.

    Raises:
        UnavailableError: It cannot be written, for lack of space, permission or a folder.
    """
    keep_json(data_folder / NAME, asdict(record))


def read_record(data_folder: Path) -> ScanRecord | None:
    """Read the record; none if no scan was finished, or its record is of another version."""
    try:
        return ScanRecord(**json.loads((data_folder / NAME).read_text(encoding="utf-8")))
    except (FileNotFoundError, ValueError, TypeError):
        return None
