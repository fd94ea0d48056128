"""The log of changes, as Orthanc's REST API gives it."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from dicomulus.api.orthanc.answers import json_response
from dicomulus.dicom.orthanc_id import level_of, orthanc_id
from dicomulus.errors import InvalidQueryError
from dicomulus.ports import ChangeType, Page

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dicomulus.ports import Change, Index
    from dicomulus.services.archive import Archive
    from dicomulus.wire.message import Request, Response

DEFAULT_LIMIT: Final = 100
"""Changes of an answer where the request does not say."""

LOG_HEADER: Final = "Dicomulus-Log"
"""Which log it is: sequences of another one say nothing here."""

_NUMBER: Final = re.compile(r"[0-9]{1,30}")
_MOST: Final = 10**15
"""More than any sequence."""

_OURS: Final = {kind.value: kind for kind in ChangeType}

_NEVER_RECORDED: Final = frozenset(
    {
        "AnonymizedPatient",
        "AnonymizedSeries",
        "AnonymizedStudy",
        "CompletedSeries",
        "ModifiedPatient",
        "ModifiedSeries",
        "ModifiedStudy",
        "NewChildInstance",
    }
)
"""Types that Orthanc has besides ours."""


def list_changes(archive: Archive, request: Request, _: Mapping[str, str]) -> Response:
    """Answer ``GET /changes``: what came after ``since``, or the last up to ``to``."""
    state = archive.index.log_state()
    if request.parameter("last") is not None:
        page = Page(archive.index.changes(to=state.last, limit=1, backwards=True).items)
    else:
        page = _page(archive.index, request, most=archive.settings.max_results)
    changes = page.items
    answer: dict[str, Any] = {
        "Changes": [_format(each) for each in changes],
        "Done": page.next is None,
        "Last": changes[-1].sequence if changes else state.last,
    }
    if changes:
        answer["First"] = changes[0].sequence
    return json_response(answer, (LOG_HEADER, state.identity))


def _page(index: Index, request: Request, *, most: int) -> Page[Change]:
    since, to = _number(request, "since", 0), _number(request, "to", 0)
    limit = min(_number(request, "limit", DEFAULT_LIMIT), most)
    types = _types(request.parameter("type") or "")
    if types is None:
        return Page(())
    return index.changes(
        since, to=to or None, types=types, limit=limit, backwards=bool(to) and not since
    )


def _types(text: str) -> frozenset[ChangeType] | None:
    """Read which types are asked for: all where none is named, nothing where none is ever there.

    Raises:
        InvalidQueryError: One of them is no type of changes.
    """
    names = [name for name in text.split(";") if name]
    for name in names:
        if name not in _OURS and name not in _NEVER_RECORDED:
            raise InvalidQueryError("type", f"{name} is no type of changes")
    types = frozenset(_OURS[name] for name in names if name in _OURS)
    return None if names and not types else types


def _number(request: Request, name: str, default: int) -> int:
    # What is no number is taken for none, as Orthanc does.
    text = request.parameter(name) or ""
    return min(int(text), _MOST) if _NUMBER.fullmatch(text) else default


def _format(change: Change) -> dict[str, Any]:
    level = level_of(change.resource)
    identifier = orthanc_id(change.patient_id, change.resource)
    when = datetime.fromtimestamp(change.date_ms / 1000, UTC)
    return {
        "ChangeType": change.type.value,
        "Date": when.strftime("%Y%m%dT%H%M%S"),
        "ID": identifier,
        "Path": f"/{level.plural}/{identifier}",
        "ResourceType": level.value,
        "Seq": change.sequence,
    }
