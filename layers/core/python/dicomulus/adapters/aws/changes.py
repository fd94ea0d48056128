"""The messages of the queues: ours, and the events of S3 that say an object may have changed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote_plus

from dicomulus.dicom.resource import SeriesResource, uids_of
from dicomulus.errors import InvalidBodyError
from dicomulus.ports import CompactSeries, LookAtObjects, StabiliseSeries

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from dicomulus.ports import Message

_LOOK_AT: Final = "look_at_objects"
_COMPACT: Final = "compact_series"
_STABILISE: Final = "stabilise_series"


def format_change(change: Message) -> str:
    """Write a message as JSON."""
    if isinstance(change, LookAtObjects):
        content: dict[str, Any] = {_LOOK_AT: list(change.object_keys)}
    elif isinstance(change, StabiliseSeries):
        content = {_STABILISE: [*uids_of(change.series), change.version]}
    else:
        content = {_COMPACT: uids_of(change.series)}
    return json.dumps(content, ensure_ascii=False, separators=(",", ":"))


def parse_changes(body: str, *, bucket: str, prefix: str = "") -> tuple[Message, ...]:
    """Read the body of a queue's message: ours, an S3 notification or S3's event by EventBridge.

    Args:
        body: The message's text.
        bucket: Events of other buckets say nothing.
        prefix: Events of keys outside of it say nothing; it is not part of the keys given.

    Raises:
        InvalidBodyError: It is none of these.
    """
    try:
        content = json.loads(body)
        return tuple(_changes(content, bucket=bucket, prefix=prefix))
    except (ValueError, TypeError, KeyError, AttributeError) as exc:
        raise InvalidBodyError("a message of a queue is of no known kind") from exc


def _changes(content: Mapping[str, Any], *, bucket: str, prefix: str) -> Iterator[Message]:
    if _LOOK_AT in content:
        yield LookAtObjects(tuple(str(key) for key in content[_LOOK_AT]))
    elif _COMPACT in content:
        study, series = content[_COMPACT]
        yield CompactSeries(SeriesResource(study, series))
    elif _STABILISE in content:
        study, series, version = content[_STABILISE]
        yield StabiliseSeries(SeriesResource(study, series), version)
    elif content.get("Event") == "s3:TestEvent":
        return
    else:
        names = [key for name, key in _objects_of_event(content) if name == bucket]
        keys = [key.removeprefix(prefix) for key in names if key.startswith(prefix)]
        if keys:
            yield LookAtObjects(tuple(dict.fromkeys(keys)))


def _objects_of_event(content: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Give bucket and key of every object that an event is about."""
    if content.get("source") == "aws.s3":
        # EventBridge has keys as they are, notifications as in a form.
        detail = content["detail"]
        return [(detail["bucket"]["name"], detail["object"]["key"])]
    return [
        (record["s3"]["bucket"]["name"], key_of_event_record(record))
        for record in content["Records"]
    ]


def key_of_event_record(record: Mapping[str, Any]) -> str:
    """Give the key of the object that a record of an S3 notification is about."""
    return unquote_plus(record["s3"]["object"]["key"])
