"""What each function may do besides writing its log: exactly what its services call."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

_READ_ROWS: Final = ("dynamodb:BatchGetItem", "dynamodb:GetItem", "dynamodb:Query")
_WRITE_ROWS: Final = ("dynamodb:PutItem", "dynamodb:UpdateItem")
_WRITE_BATCHES: Final = ("dynamodb:BatchWriteItem",)
_READ_OBJECTS: Final = ("s3:GetObject",)
_WRITE_OBJECTS: Final = ("s3:GetObject", "s3:PutObject")
_KEEP_OBJECTS: Final = ("s3:DeleteObject", "s3:GetObject", "s3:PutObject")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rights:
    """What a function may do besides writing its log: actions by kind of resource."""

    table: tuple[str, ...] = ()
    indexes: tuple[str, ...] = ()
    """Actions on the table's secondary indexes."""
    storage: tuple[str, ...] = ()
    cache: tuple[str, ...] = ()
    send_to: tuple[str, ...] = ()
    """Queues, ``ingest`` or ``compact``, that it sends to."""
    receive_from: tuple[str, ...] = ()


# What each service calls; the ports' adapters make no other requests.
RIGHTS: Final[dict[str, Rights]] = {
    "ingest": Rights(
        table=_READ_ROWS + _WRITE_ROWS + _WRITE_BATCHES,
        storage=_READ_OBJECTS,
        cache=_WRITE_OBJECTS,
        send_to=("ingest", "compact"),
        receive_from=("ingest",),
    ),
    "compact": Rights(
        table=_READ_ROWS + _WRITE_ROWS,
        cache=_KEEP_OBJECTS,
        send_to=("ingest",),
        receive_from=("compact",),
    ),
    "read": Rights(
        table=_READ_ROWS,
        indexes=("dynamodb:Query",),
        storage=_READ_OBJECTS,
        cache=_KEEP_OBJECTS,
        send_to=("ingest",),
    ),
    "store": Rights(
        table=_READ_ROWS + _WRITE_ROWS + _WRITE_BATCHES,
        storage=_WRITE_OBJECTS,
        cache=_WRITE_OBJECTS,
        send_to=("ingest", "compact"),
    ),
    "sweep": Rights(table=("dynamodb:GetItem",), indexes=("dynamodb:Query",), send_to=("compact",)),
}
