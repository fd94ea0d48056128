"""``dicomulus changes``: the log of changes of an archive."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from dicomulus.cli.folders import require_index
from dicomulus.composition import local_archive
from dicomulus.dicom.resource import PatientResource, study_path, uids_of
from dicomulus.errors import ConfigurationError
from dicomulus.ports import ChangeType

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from dicomulus.ports import Change, ChangedResource
    from dicomulus.settings import Settings

_PAGE: Final = 1_000
_UID_NAMES: Final = ("study_instance_uid", "series_instance_uid", "sop_instance_uid")


def read_changes(
    settings: Settings, *, since: int, limit: int | None = None, types: Collection[str] = ()
) -> Iterator[Change]:
    """Read the log of a local archive in order, from after a number on.

    Raises:
        ConfigurationError: It was never indexed, a number is negative, or a type is none.
    """
    if since < 0 or (limit or 0) < 0:
        raise ConfigurationError("since and limit must not be negative")
    unknown = sorted(set(types).difference(ChangeType))
    if unknown:
        raise ConfigurationError(f"{unknown[0]} is none of {', '.join(ChangeType)}")
    require_index(Path(settings.source_folder), Path(settings.data_folder))
    return _read(settings, since, limit, frozenset(map(ChangeType, types)))


def _read(
    settings: Settings, since: int, limit: int | None, types: frozenset[ChangeType]
) -> Iterator[Change]:
    index = local_archive(settings).index
    left = limit
    while left is None or left > 0:
        most = _PAGE if left is None else min(_PAGE, left)
        page = index.changes(since, types=types, limit=most)
        yield from page.items
        if page.next is None:
            return
        since = int(page.next)
        left = None if left is None else left - len(page.items)


def format_json(change: Change) -> str:
    """Write a change for programs, on one line."""
    members: dict[str, Any] = {
        "sequence": change.sequence,
        "type": change.type.value,
        "date": _when(change).isoformat(timespec="milliseconds"),
        **_names_of(change.resource),
        **({} if change.number is None else {"number": change.number}),
    }
    return json.dumps(members, ensure_ascii=False)


def _names_of(resource: ChangedResource) -> dict[str, str]:
    if isinstance(resource, PatientResource):
        return {"patient_id": resource.patient_id}
    return dict(zip(_UID_NAMES, uids_of(resource), strict=False))


def format_text(change: Change) -> str:
    """Write a change for people, on one line."""
    when = _when(change).astimezone()
    number = "" if change.number is None else f"  {change.number}"
    named = f"{change.type.value:<17}  {_path_of(change.resource)}{number}"
    return f"{change.sequence:>6}  {when:%Y-%m-%d %H:%M:%S}  {named}"


def _path_of(resource: ChangedResource) -> str:
    if isinstance(resource, PatientResource):
        return f"patient {resource.patient_id}"
    return study_path(resource) if isinstance(resource, str) else resource.path


def _when(change: Change) -> datetime:
    return datetime.fromtimestamp(change.date_ms / 1000, UTC)
