"""The items that a Distributed Map of Step Functions reads: objects of a listing, or of an inventory."""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_plus

from dicomulus.errors import InvalidBodyError
from dicomulus.ports import ObjectInfo

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def objects_of_items(items: Sequence[Mapping[str, Any]], *, prefix: str = "") -> list[ObjectInfo]:
    """Read items, but for those outside a prefix, which is not part of the keys given.

    An item of a listing has its time in seconds since the epoch; one of an inventory has texts
    alone, and its key in a form. Versions and delete markers of an inventory say nothing.

    Raises:
        InvalidBodyError: They are no such items.
    """
    try:
        infos = [
            _inventoried(item) if "LastModifiedDate" in item else _listed(item) for item in items
        ]
    except (KeyError, TypeError, ValueError, AttributeError) as exc:
        raise InvalidBodyError("an item is no object of a listing or an inventory") from exc
    return [
        ObjectInfo(
            key=info.key.removeprefix(prefix),
            etag=info.etag,
            size=info.size,
            modified_ms=info.modified_ms,
        )
        for info in infos
        if info is not None and info.key.startswith(prefix)
    ]


def part_name(items: Sequence[Mapping[str, Any]]) -> str:
    """Give a name that the same items have whenever they are handed out again."""
    names = "\n".join(str(item.get("Key")) for item in items)
    return hashlib.sha256(names.encode()).hexdigest()[:32]


def _listed(item: Mapping[str, Any]) -> ObjectInfo:
    # Step Functions writes it otherwise than S3.
    etag = item["Etag"] if "Etag" in item else item["ETag"]
    return ObjectInfo(
        key=str(item["Key"]),
        etag=etag.strip('"'),
        size=int(item["Size"]),
        modified_ms=_milliseconds(item["LastModified"]),
    )


def _inventoried(item: Mapping[str, Any]) -> ObjectInfo | None:
    if item.get("IsLatest", "true") == "false" or item.get("IsDeleteMarker") == "true":
        return None
    return ObjectInfo(
        key=unquote_plus(item["Key"]),
        etag=item["ETag"].strip('"'),
        size=int(item["Size"] or 0),
        modified_ms=_milliseconds(item["LastModifiedDate"]),
    )


def _milliseconds(moment: float | str) -> int:
    if isinstance(moment, str) and "T" in moment:
        return int(datetime.fromisoformat(moment).timestamp()) * 1000
    return int(float(moment)) * 1000
