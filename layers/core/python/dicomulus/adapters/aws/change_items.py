"""The items of the log of changes, and what they hold to values and back.

What a series' log was told of is written once, as an item of the study; the log itself points to
it. What is recorded alone lies in the log.
"""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from pynamodb.attributes import BinaryAttribute, NumberAttribute, UnicodeAttribute

from dicomulus.adapters.aws.keys import ItemKey
from dicomulus.adapters.aws.table import Item
from dicomulus.adapters.changed import format_changed, parse_changed
from dicomulus.dicom.resource import InstanceResource
from dicomulus.errors import CorruptFragmentError
from dicomulus.ports import Change, ChangeType

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from dicomulus.ports import Tidings

_TYPES: Final = tuple(ChangeType)
_CODES: Final = {kind: code for code, kind in enumerate(_TYPES)}


class LogItem(Item):
    """Entries of the log one after the other; the sort key is the sequence of the first."""

    length = NumberAttribute(attr_name="x")
    body = BinaryAttribute(legacy_encoding=False, attr_name="b")


class ToldItem(Item):
    """What the log was told of a series at one time."""

    body = BinaryAttribute(legacy_encoding=False, attr_name="b")


class LifeItem(Item):
    """What the log says of a study or a patient."""

    generation = NumberAttribute(attr_name="v")
    children = NumberAttribute(attr_name="x")
    """Series with instances, or studies."""
    patient_id = UnicodeAttribute(null=True, attr_name="o")
    pending = UnicodeAttribute(attr_name="k")
    """Where what was written with it waits for its place in the log, or did."""


class VersionItem(Item):
    """The newest version of which a change of one kind, resource and number was recorded."""

    version = NumberAttribute(attr_name="v")
    pending = UnicodeAttribute(attr_name="k")
    """See ``LifeItem``."""


class PendingItem(Item):
    """A piece of the log that waits for its place."""

    body = BinaryAttribute(legacy_encoding=False, attr_name="b")


class CursorItem(Item):
    """Up to where somebody outside was told, and who tells him until when."""

    sequence = NumberAttribute(null=True, attr_name="v")
    claim = UnicodeAttribute(attr_name="t")
    until_ms = NumberAttribute(attr_name="m")


class NameItem(Item):
    """What the log is called."""

    identity = UnicodeAttribute(attr_name="t")


# --- pieces --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """Entries that are in the log one after the other: one of its own, or those that a series told."""

    change: Change | None = None
    told: ItemKey | None = None
    count: int = 1
    types: frozenset[ChangeType]
    """Of the entries."""

    @classmethod
    def of_change(cls, change: Change) -> Piece:
        """Give the piece of one change."""
        return cls(change=change, types=frozenset({change.type}))

    @classmethod
    def of_told(cls, key: ItemKey, changes: Sequence[Change]) -> Piece:
        """Give the piece of what lies in an item of its own."""
        return cls(told=key, count=len(changes), types=frozenset(each.type for each in changes))


def _format_piece(piece: Piece) -> list[Any]:
    if piece.change is not None:
        return _format_change(piece.change)
    assert piece.told is not None  # noqa: S101  (one of both is there)
    codes = sum(1 << _CODES[kind] for kind in piece.types)
    return [piece.told.partition, piece.told.sort, piece.count, codes]


def _parse_piece(values: list[Any]) -> Piece:
    if isinstance(values[0], int):
        return Piece.of_change(_parse_change(values))
    partition, sort, count, codes = values
    types = frozenset(kind for code, kind in enumerate(_TYPES) if codes >> code & 1)
    return Piece(told=ItemKey(partition, sort), count=count, types=types)


def pack_pieces(pieces: Iterable[Piece]) -> bytes:
    """Write pieces in their order."""
    return _pack([_format_piece(piece) for piece in pieces])


def unpack_pieces(body: bytes) -> list[Piece]:
    """Read what ``pack_pieces`` wrote."""
    return [_parse_piece(values) for values in _unpack(body)]


# --- what a series told --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class ToldBody:
    """What lies in the item of a time when a series told."""

    arrived: tuple[str, ...]
    gone: tuple[str, ...]
    changes: tuple[Change, ...]
    pending: str


def pack_told(tidings: Tidings, changes: Sequence[Change], pending: ItemKey) -> bytes:
    """Write what a series tells.

    Of instances only the UIDs are written; all else of their changes is alike.
    """
    series = tidings.told.series
    others = [each for each in changes if not isinstance(each.resource, InstanceResource)]
    owners = {each.type: each.patient_id for each in changes[: len(changes) - len(others)]}
    content = [
        series.study_instance_uid,
        series.series_instance_uid,
        tidings.told.generation + 1,
        tidings.date_ms,
        owners.get(ChangeType.DELETED, ""),
        owners.get(ChangeType.NEW_INSTANCE, ""),
        tidings.gone,
        tidings.arrived,
        list(map(_format_change, others)),
        format_key(pending),
    ]
    return _pack(content)


def unpack_told(body: bytes) -> ToldBody:
    """Read what ``pack_told`` wrote."""
    study, series, version, date_ms, deleted_of, new_of, gone, arrived, others, pending = _unpack(
        body
    )

    def instances(kind: ChangeType, uids: list[str], patient_id: str) -> list[Change]:
        return [
            Change(
                type=kind,
                resource=InstanceResource(study, series, uid),
                version=version,
                patient_id=patient_id,
                date_ms=date_ms,
            )
            for uid in uids
        ]

    return ToldBody(
        arrived=tuple(arrived),
        gone=tuple(gone),
        changes=(
            *instances(ChangeType.DELETED, gone, deleted_of),
            *instances(ChangeType.NEW_INSTANCE, arrived, new_of),
            *map(_parse_change, others),
        ),
        pending=pending,
    )


def numbered(changes: Iterable[Change], first: int) -> list[Change]:
    """Give entries their sequences."""
    return [replace(each, sequence=place) for place, each in enumerate(changes, first)]


def format_key(key: ItemKey) -> str:
    """Write a key as one text."""
    return f"{key.partition}\n{key.sort}"


def parse_key(text: str) -> ItemKey:
    """Read what ``format_key`` wrote."""
    return ItemKey(*text.split("\n"))


def _format_change(change: Change) -> list[Any]:
    return [
        _CODES[change.type],
        format_changed(change.resource),
        change.version,
        change.number,
        change.patient_id,
        change.date_ms,
    ]


def _parse_change(values: list[Any]) -> Change:
    code, resource, version, number, patient_id, date_ms = values
    return Change(
        type=_TYPES[code],
        resource=parse_changed(resource),
        version=version,
        number=number,
        patient_id=patient_id,
        date_ms=date_ms,
    )


def _pack(content: Any) -> bytes:
    return zlib.compress(json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode(), 9)


def _unpack(body: bytes) -> Any:
    try:
        return json.loads(zlib.decompress(body))
    except (zlib.error, ValueError) as exc:
        raise CorruptFragmentError("an item of the log of changes does not inflate") from exc
