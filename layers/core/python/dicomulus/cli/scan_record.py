"""The record of the latest scan of a folder: what only a walk of it can tell."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Final

from dicomulus.errors import UnavailableError

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
    target = data_folder / NAME
    temporary = target.with_name(f"{NAME}.{os.getpid()}.tmp")
    try:
        try:
            temporary.write_text(json.dumps(asdict(record), indent=1), encoding="utf-8")
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as exc:
        raise UnavailableError(f"{target} cannot be written: {exc.strerror}") from exc


def read_record(data_folder: Path) -> ScanRecord | None:
    """Read the record; none if no scan was finished, or its record is of another version."""
    try:
        return ScanRecord(**json.loads((data_folder / NAME).read_text(encoding="utf-8")))
    except (FileNotFoundError, ValueError, TypeError):
        return None
