"""The items that a Distributed Map of Step Functions reads of a listing: objects of a bucket."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from dicomulus.adapters.aws.s3_store import is_archived
from dicomulus.errors import InvalidBodyError
from dicomulus.ports import ObjectInfo

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def objects_of_items(items: Sequence[Mapping[str, Any]], *, prefix: str = "") -> list[ObjectInfo]:
    """Read items, but for those outside a prefix, which is not part of the keys given.

    Raises:
        InvalidBodyError: They are no such items.
    """
    try:
        return [
            _object_of(item, prefix=prefix) for item in items if str(item["Key"]).startswith(prefix)
        ]
    except (KeyError, TypeError, ValueError, AttributeError) as exc:
        raise InvalidBodyError("an item is no object of a listing") from exc


def part_name(items: Sequence[Mapping[str, Any]]) -> str:
    """Give a name that the same items have whenever they are handed out again."""
    names = "\n".join(str(item.get("Key")) for item in items)
    return hashlib.sha256(names.encode()).hexdigest()[:32]


def _object_of(item: Mapping[str, Any], *, prefix: str) -> ObjectInfo:
    # Step Functions writes it otherwise than S3, with a time in seconds that may have an exponent.
    etag = item["Etag"] if "Etag" in item else item["ETag"]
    return ObjectInfo(
        key=str(item["Key"]).removeprefix(prefix),
        etag=etag.strip('"'),
        size=int(item["Size"]),
        modified_ms=int(float(item["LastModified"])) * 1000,
        is_archived=is_archived(item),
    )
