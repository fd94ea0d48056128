"""A meter on clients of AWS: what each request counts as, worked out from its items."""

from __future__ import annotations

import math
import re
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from dicomulus.adapters.aws.keys import OBJECT_PREFIX
from dicomulus.adapters.aws.schema import PARTITION_KEY, SORT_KEY, TABLE_SCHEMA
from dicomulus.adapters.aws.table import item_size_bytes
from tests.benchmarks.aws_prices import (
    SQS_REQUEST_BYTES,
    Bill,
    moved_in_index,
    read_units,
    write_units,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from dicomulus.adapters.aws.table import RawItem

_BEFORE: Final = "dicomulus-items-before"

_PARTIAL: Final = frozenset({"FilterExpression", "ProjectionExpression", "Select"})
"""What makes the answer of a query smaller and its read units not."""


class Meter:
    """Adds what clients ask for to a bill.

    Args:
        dynamodb: A client of its own, by which it looks at items before and after a write.
    """

    def __init__(self, dynamodb: Any) -> None:
        self._dynamodb = dynamodb
        self._lock = threading.Lock()
        self._bill = Bill()

    @contextmanager
    def reading(self) -> Iterator[Bill]:
        """Take what is asked for from here on onto a new bill."""
        with self._lock:
            self._bill = Bill()
        yield self._bill

    def connect(self, *clients: Any) -> None:
        """Meter the requests of clients, for good."""
        for client in clients:
            client.meta.events.register("before-parameter-build", self._on_request)
            client.meta.events.register("after-call", self._on_answer)

    def _on_request(
        self, params: dict[str, Any], model: Any, context: dict[str, Any], **_: Any
    ) -> None:
        keys = [(table, key) for table, key in _written_keys(model.name, params)]
        context[_BEFORE] = (params, [(table, key, self._item(table, key)) for table, key in keys])

    def _on_answer(
        self, parsed: dict[str, Any], model: Any, context: dict[str, Any], **_: Any
    ) -> None:
        params, written = context[_BEFORE]
        after = [self._item(table, key) for table, key, _ in written]
        service = model.service_model.service_name
        with self._lock:
            self._bill.requests[f"{service}:{model.name}"] += 1
            self._bill.calls.append((f"{service}:{model.name}", threading.current_thread().name))
            # A transaction prepares each write and then makes it.
            times = 2 if model.name == "TransactWriteItems" else 1
            for (_, _, old), new in zip(written, after, strict=True):
                self._write(old, new, times=times)
            self._bill.read_units += _units_read(model.name, params, self._whole(params, parsed))
            if service == "sqs":
                self._bill.sqs_requests += _sqs_requests(params, parsed)
            if model.name == "GetObject":
                self._bill.s3_bytes += parsed.get("ContentLength", 0)

    def _write(self, old: RawItem | None, new: RawItem | None, *, times: int) -> None:
        place = _place(new or old)
        self._bill.written[place] += times * write_units(old, new)
        for index in TABLE_SCHEMA.indexes:
            if units := moved_in_index(old, new, index):
                self._bill.written[index.name] += units
        self._bill.write_units = sum(self._bill.written.values())

    def _whole(self, params: Mapping[str, Any], parsed: Mapping[str, Any]) -> Mapping[str, Any]:
        """Give the items that a query read, of which its answer may hold less."""
        if _PARTIAL.isdisjoint(params):
            return parsed
        if "KeyConditionExpression" not in params:
            return self._scanned(params, parsed)
        condition = params["KeyConditionExpression"]
        asked = {name: value for name, value in params.items() if name not in _PARTIAL}
        for names in ("ExpressionAttributeNames", "ExpressionAttributeValues"):
            known = params.get(names, {})
            asked[names] = {k: v for k, v in known.items() if re.search(rf"{k}\b", condition)}
        asked["Limit"] = max(1, parsed["ScannedCount"])
        whole: Mapping[str, Any] = self._dynamodb.query(**{k: v for k, v in asked.items() if v})
        return {**whole, "Items": whole["Items"][: parsed["ScannedCount"]]}

    def _scanned(self, params: Mapping[str, Any], parsed: Mapping[str, Any]) -> Mapping[str, Any]:
        """Scan again what was scanned, with all attributes of all items."""
        named = ("TableName", "Segment", "TotalSegments", "ExclusiveStartKey", "ConsistentRead")
        asked = {name: params[name] for name in named if name in params}
        whole: Mapping[str, Any] = self._dynamodb.scan(
            **asked, Limit=max(1, parsed["ScannedCount"])
        )
        return {**whole, "Items": whole["Items"][: parsed["ScannedCount"]]}

    def _item(self, table: str, key: RawItem) -> RawItem | None:
        item: RawItem | None = self._dynamodb.get_item(
            TableName=table, Key=key, ConsistentRead=True
        ).get("Item")
        return item


def _place(item: RawItem | None) -> str:
    is_object = item is not None and item[PARTITION_KEY.name]["S"].startswith(OBJECT_PREFIX)
    return "object" if is_object else "study"


def _written_keys(operation: str, params: Mapping[str, Any]) -> Iterator[tuple[str, RawItem]]:
    if operation in ("UpdateItem", "DeleteItem"):
        yield params["TableName"], params["Key"]
    elif operation == "PutItem":
        yield params["TableName"], _key(params["Item"])
    elif operation == "BatchWriteItem":
        for table, writes in params["RequestItems"].items():
            for write in writes:
                if "PutRequest" in write:
                    yield table, _key(write["PutRequest"]["Item"])
                else:
                    yield table, write["DeleteRequest"]["Key"]
    elif operation == "TransactWriteItems":
        for write in params["TransactItems"]:
            ((kind, part),) = write.items()
            yield part["TableName"], _key(part["Item"]) if kind == "Put" else part["Key"]


def _key(item: RawItem) -> RawItem:
    return {name: item[name] for name in (PARTITION_KEY.name, SORT_KEY.name)}


def _units_read(operation: str, params: Mapping[str, Any], parsed: Mapping[str, Any]) -> float:
    if operation == "GetItem":
        item = parsed.get("Item", {})
        return read_units(item_size_bytes(item), is_strong=params.get("ConsistentRead", False))
    if operation in ("Query", "Scan"):
        size = sum(map(item_size_bytes, parsed.get("Items", ())))
        return read_units(size, is_strong=params.get("ConsistentRead", False))
    if operation == "BatchGetItem":
        return sum(
            _batch_units(asked, parsed.get("Responses", {}).get(table, ()))
            for table, asked in params["RequestItems"].items()
        )
    return 0.0


def _batch_units(asked: Mapping[str, Any], found: Iterable[RawItem]) -> float:
    is_strong = asked.get("ConsistentRead", False)
    sizes = [item_size_bytes(item) for item in found]
    absent = [0] * (len(asked["Keys"]) - len(sizes))
    return sum(read_units(size, is_strong=is_strong) for size in sizes + absent)


def _sqs_requests(params: Mapping[str, Any], parsed: Mapping[str, Any]) -> int:
    sent = sum(len(entry["MessageBody"].encode()) for entry in params.get("Entries", ()))
    received = sum(len(message["Body"].encode()) for message in parsed.get("Messages", ()))
    return max(1, math.ceil(max(sent, received) / SQS_REQUEST_BYTES))
