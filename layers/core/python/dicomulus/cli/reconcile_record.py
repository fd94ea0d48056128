"""The records of the latest comparison of a folder with its index, and of the latest verification."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final

from dicomulus.cli.kept_json import keep_json

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

NAME: Final = "reconcile.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconcileRecord:
    """A comparison that has come to its end."""

    finished_ms: int
    repaired: bool
    """Whether what was found was made good, or only told."""
    checked: Mapping[str, int]
    counts: Mapping[str, int]
    """What was found, by kind."""
    days: int = 1
    """For a verification: it has read one share in so many of the archive."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconcileRecords:
    """The latest of each kind."""

    compared: ReconcileRecord | None = None
    verified: ReconcileRecord | None = None


def write_records(data_folder: Path, records: ReconcileRecords) -> None:
    """Keep records in place of those before.

    Raises:
        UnavailableError: They cannot be written, for lack of space, permission or a folder.
    """
    keep_json(data_folder / NAME, asdict(records))


def read_records(data_folder: Path) -> ReconcileRecords:
    """Read the records; none where no comparison was finished, or it is of another version."""
    try:
        members = json.loads((data_folder / NAME).read_text(encoding="utf-8"))
        return ReconcileRecords(**{kind: _record(each) for kind, each in members.items()})
    except (FileNotFoundError, ValueError, TypeError, AttributeError):
        return ReconcileRecords()


def _record(members: dict[str, object] | None) -> ReconcileRecord | None:
    if members is None:
        return None
    # What a version before kept here the index knows. What does not fit is a TypeError, and no record.
    known = {name: value for name, value in members.items() if name != "damaged"}
    return ReconcileRecord(**known)  # type: ignore[arg-type]
