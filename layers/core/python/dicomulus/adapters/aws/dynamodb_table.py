"""One DynamoDB table by PynamoDB's connection: batches, pages and conditions carried through."""

from __future__ import annotations

import logging
import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from pynamodb.connection.base import MetaTable
from pynamodb.connection.table import TableConnection
from pynamodb.exceptions import DeleteError, PutError, TransactWriteError, UpdateError

from dicomulus.adapters.aws.failures import translated_failures
from dicomulus.adapters.aws.keys import ItemKey
from dicomulus.adapters.aws.retries import ATTEMPTS, CONNECT_SECONDS, READ_SECONDS
from dicomulus.adapters.aws.schema import PARTITION_KEY, SORT_KEY, create_table_arguments
from dicomulus.adapters.aws.session import SharedConnection
from dicomulus.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from pynamodb.expressions.condition import Condition
    from pynamodb.expressions.update import Action

    from dicomulus.adapters.aws.table import Item, RawItem

logger = logging.getLogger(__name__)

MAX_BATCH_WRITE_ITEMS: Final = 25
"""Items of one BatchWriteItem. At 400 KB an item they stay below its 16 MB."""

MAX_BATCH_GET_ITEMS: Final = 100
"""Items of one BatchGetItem."""

MAX_CONNECTIONS: Final = 32
"""Connections kept open, so that parallel requests do not wait for one."""

_BATCH_ATTEMPTS: Final = 10
"""Times that what a batch left unprocessed is sent."""

_FIRST_PAUSE_SECONDS: Final = 0.05
_LONGEST_PAUSE_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class RawPage:
    """What one request read of an index."""

    items: list[RawItem]
    scanned: int
    """Items read, with those that the filter left out."""
    last: RawItem | None
    """The keys of the last item read; none at the end of the index."""


class DynamoDbTable:
    """Reads and writes of one table."""

    def __init__(
        self,
        table_name: str,
        *,
        region: str | None = None,
        endpoint_url: str | None = None,
        pause: Callable[[float], None] = time.sleep,
        attempts: int = ATTEMPTS,
    ) -> None:
        """Connect to a table; without region or endpoint, to the one the environment names."""
        self.connection = TableConnection(table_name)
        # PynamoDB would have a session of its own.
        self.connection.connection = SharedConnection(
            region=region,
            host=endpoint_url,
            connect_timeout_seconds=CONNECT_SECONDS,
            read_timeout_seconds=READ_SECONDS,
            max_retry_attempts=attempts - 1,
            max_pool_connections=MAX_CONNECTIONS,
        )
        self.connection.connection.add_meta_table(MetaTable(create_table_arguments(table_name)))
        self._table_name = table_name
        self._pause = pause
        # Making a client is not thread-safe, using one is, so it is made here.
        with self._failures():
            self.client: Any = self.connection.connection.client

    def get(self, key: ItemKey) -> RawItem | None:
        """Read one item (strong)."""
        with self._failures():
            answer = self.connection.get_item(key.partition, key.sort, consistent_read=True)
        item: RawItem | None = answer.get("Item")
        return item

    def batch_get(self, keys: Iterable[ItemKey]) -> dict[ItemKey, RawItem]:
        """Read items (strong); those that do not exist are absent."""
        return self._batch_get_all(keys, is_strong=True)

    def eventual_batch_get(self, keys: Iterable[ItemKey]) -> dict[ItemKey, RawItem]:
        """Read items as they were a moment ago (eventual); those that did not exist are absent."""
        return self._batch_get_all(keys, is_strong=False)

    def _batch_get_all(self, keys: Iterable[ItemKey], *, is_strong: bool) -> dict[ItemKey, RawItem]:
        wanted = [_key_attributes(key) for key in dict.fromkeys(keys)]
        found: dict[ItemKey, RawItem] = {}
        for first in range(0, len(wanted), MAX_BATCH_GET_ITEMS):
            for item in self._batch_get(
                wanted[first : first + MAX_BATCH_GET_ITEMS], is_strong=is_strong
            ):
                found[key_of(item)] = item
        return found

    def _batch_get(self, keys: Sequence[Any], *, is_strong: bool) -> Iterator[RawItem]:
        for attempt in range(_BATCH_ATTEMPTS):
            with self._failures():
                answer = self.connection.batch_get_item(keys, consistent_read=is_strong)
            yield from answer["Responses"].get(self._table_name, ())
            keys = answer.get("UnprocessedKeys", {}).get(self._table_name, {}).get("Keys", ())
            if not keys:
                return
            self._back_off(attempt, unprocessed=len(keys))
        raise UnavailableError("DynamoDB leaves reads unprocessed")

    def batch_write(self, puts: Iterable[Item], deletes: Iterable[ItemKey] = ()) -> None:
        """Put and delete items; of two writes to one item the last counts, deletes after puts."""
        writes: dict[ItemKey, RawItem | None] = {}
        for item in puts:
            writes[ItemKey(item.partition, item.sort)] = item.serialize()
        writes |= dict.fromkeys(deletes)
        listed = list(writes.items())
        for first in range(0, len(listed), MAX_BATCH_WRITE_ITEMS):
            batch = listed[first : first + MAX_BATCH_WRITE_ITEMS]
            self._batch_write(
                [item for _, item in batch if item is not None],
                [_key_attributes(key) for key, item in batch if item is None],
            )

    def _batch_write(self, puts: list[Any], deletes: list[Any]) -> None:
        for attempt in range(_BATCH_ATTEMPTS):
            with self._failures():
                answer = self.connection.batch_write_item(puts, deletes)
            left = answer.get("UnprocessedItems", {}).get(self._table_name, ())
            if not left:
                return
            puts = [each["PutRequest"]["Item"] for each in left if "PutRequest" in each]
            deletes = [each["DeleteRequest"]["Key"] for each in left if "DeleteRequest" in each]
            self._back_off(attempt, unprocessed=len(left))
        raise UnavailableError("DynamoDB leaves writes unprocessed")

    def put_if(self, item: Item, condition: Condition) -> bool:
        """Put an item if its key's item meets a condition; whether it did."""
        try:
            with self._failures():
                self.connection.put_item(
                    item.partition, item.sort, attributes=item.serialize(), condition=condition
                )
        except PutError as exc:
            return _condition_failed(exc)
        return True

    def delete_if(self, key: ItemKey, condition: Condition) -> bool:
        """Delete an item if it meets a condition; whether it did."""
        try:
            with self._failures():
                self.connection.delete_item(key.partition, key.sort, condition=condition)
        except DeleteError as exc:
            return _condition_failed(exc)
        return True

    def transact(
        self,
        puts: Sequence[tuple[Item, Condition]],
        deletes: Sequence[tuple[ItemKey, Condition]] = (),
    ) -> bool:
        """Put and delete items in one transaction, 100 at most, or none of them.

        Returns:
            Whether it was done; otherwise a condition was not met, or others were at an item.
        """
        put_arguments = [self._put_arguments(item, condition) for item, condition in puts]
        delete_arguments = [self._delete_arguments(key, condition) for key, condition in deletes]
        try:
            with self._failures():
                self.connection.connection.transact_write_items(
                    [], delete_arguments, put_arguments, []
                )
        except TransactWriteError as exc:
            _raise_unless_contention(exc)
            return False
        return True

    def write_together(
        self,
        guarded: tuple[Item | ItemKey, Condition],
        others: Sequence[Item | ItemKey],
        *,
        added: tuple[ItemKey, Sequence[Action]] | None = None,
    ) -> bool:
        """Put items, and delete keys, in one transaction if the first one's condition is met.

        What is ``added`` is added to an item in the same transaction.

        Returns:
            Whether that was done; not where the condition is not met, or others were at an item.
        """
        first, condition = guarded
        writes = [(first, condition), *((each, None) for each in others)]
        puts = [self._put_arguments(each, c) for each, c in writes if not isinstance(each, ItemKey)]
        deletes = [
            self.connection.connection.get_operation_kwargs(
                self._table_name, each.partition, each.sort, key="Key", condition=c
            )
            for each, c in writes
            if isinstance(each, ItemKey)
        ]
        try:
            with self._failures():
                self.connection.connection.transact_write_items(
                    [], deletes, puts, [] if added is None else [self._update_arguments(*added)]
                )
        except TransactWriteError as exc:
            codes = {reason.code if reason else "" for reason in exc.cancellation_reasons}
            if not _CONTENTION & codes:
                raise
            return False
        return True

    def put_and_add(
        self,
        puts: Sequence[tuple[Item, Condition]],
        added: tuple[ItemKey, Sequence[Action]],
    ) -> tuple[bool, ...] | None:
        """Put items on their conditions and add to another one, in one transaction, or nothing.

        Returns:
            Nothing if it was done, else for each put whether its condition was not met; that none
            was not says that others were at one of the items.
        """
        arguments = [self._put_arguments(item, condition) for item, condition in puts]
        updates = [self._update_arguments(*added)]
        try:
            with self._failures():
                self.connection.connection.transact_write_items([], [], arguments, updates)
        except TransactWriteError as exc:
            codes = [reason.code if reason else "" for reason in exc.cancellation_reasons]
            if not _CONTENTION.intersection(codes):
                raise
            return tuple(code == "ConditionalCheckFailed" for code in codes[: len(puts)])
        return None

    def _update_arguments(self, key: ItemKey, actions: Sequence[Action]) -> dict[str, Any]:
        arguments: dict[str, Any] = self.connection.connection.get_operation_kwargs(
            self._table_name, key.partition, key.sort, key="Key", actions=actions
        )
        return arguments

    def _put_arguments(self, item: Item, condition: Condition | None) -> dict[str, Any]:
        arguments: dict[str, Any] = self.connection.connection.get_operation_kwargs(
            self._table_name,
            item.partition,
            item.sort,
            key="Item",
            attributes=item.serialize(),
            condition=condition,
        )
        return arguments

    def _delete_arguments(self, key: ItemKey, condition: Condition) -> dict[str, Any]:
        arguments: dict[str, Any] = self.connection.connection.get_operation_kwargs(
            self._table_name, key.partition, key.sort, condition=condition
        )
        return arguments

    def update(
        self,
        key: ItemKey,
        actions: Sequence[Action],
        condition: Condition | None = None,
        *,
        returned: str = "NONE",
    ) -> dict[str, Any] | None:
        """Update an item; nothing is given where it does not meet the condition.

        Returns:
            The answer of UpdateItem, with the ``Attributes`` that ``returned`` asks for.
        """
        try:
            with self._failures():
                answer: dict[str, Any] = self.connection.update_item(
                    key.partition,
                    key.sort,
                    actions=actions,
                    condition=condition,
                    return_values=returned,
                )
        except UpdateError as exc:
            _condition_failed(exc)
            return None
        return answer

    def query(
        self,
        partition: str,
        condition: Condition | None = None,
        *,
        limit: int | None = None,
        descending: bool = False,
        attributes: Sequence[str] | None = None,
    ) -> Iterator[RawItem]:
        """Read items of a partition by their sort key (strong), all their attributes or some."""
        return self._query(
            partition,
            condition,
            limit=limit,
            attributes_to_get=list(attributes) if attributes else None,
            consistent_read=True,
            scan_index_forward=not descending,
        )

    def query_index(
        self,
        index_name: str,
        partition: str,
        condition: Condition | None = None,
        *,
        limit: int | None = None,
        descending: bool = False,
    ) -> Iterator[RawItem]:
        """Read items of a secondary index's partition, by its sort key (indexed)."""
        return self._query(
            partition,
            condition,
            limit=limit,
            index_name=index_name,
            scan_index_forward=not descending,
        )

    def scan_index(
        self,
        index_name: str,
        partition: str,
        condition: Condition | None = None,
        *,
        filter_condition: Condition | None,
        attributes: Sequence[str],
        limit: int,
        descending: bool,
    ) -> Iterator[RawPage]:
        """Read items of a secondary index's partition page by page (indexed).

        Args:
            index_name: The index.
            partition: Its partition.
            condition: What the sort key must meet.
            filter_condition: What items must meet to be given; it saves their transfer alone.
            attributes: Which of their attributes are given; likewise.
            limit: Most items to read, before the filter.
            descending: Whether the sort keys fall.
        """
        for answer in self._answers(
            partition,
            condition,
            filter_condition=filter_condition,
            attributes_to_get=list(attributes),
            limit=limit,
            index_name=index_name,
            scan_index_forward=not descending,
        ):
            yield RawPage(answer["Items"], answer["ScannedCount"], answer.get("LastEvaluatedKey"))

    def count_index(self, index_name: str, partition: str, condition: Condition | None) -> int:
        """Count items of a secondary index's partition (indexed)."""
        answers = self._answers(
            partition, condition, limit=None, index_name=index_name, select="COUNT"
        )
        return sum(answer["Count"] for answer in answers)

    def _query(
        self, partition: str, condition: Condition | None, *, limit: int | None, **arguments: Any
    ) -> Iterator[RawItem]:
        for answer in self._answers(partition, condition, limit=limit, **arguments):
            yield from answer["Items"]

    def _answers(
        self, partition: str, condition: Condition | None, *, limit: int | None, **arguments: Any
    ) -> Iterator[dict[str, Any]]:
        start: Any = None
        while True:
            with self._failures():
                answer = self.connection.query(
                    partition,
                    range_key_condition=condition,
                    exclusive_start_key=start,
                    limit=limit,
                    **arguments,
                )
            yield answer
            # A page ends at 1 MB, before the limit, and may be the last although it says "more".
            start = answer.get("LastEvaluatedKey")
            if limit is not None:
                limit -= answer["ScannedCount"]
            if start is None or limit == 0:
                return

    def scan_page(
        self,
        after: ItemKey | None,
        *,
        limit: int,
        filter_condition: Condition | None = None,
        segment: tuple[int, int] | None = None,
        attributes: Sequence[str] | None = None,
    ) -> tuple[list[RawItem], ItemKey | None]:
        """Read one page of the table, ``limit`` items before the filter (indexed).

        Args:
            after: Where the page before ended.
            limit: Most items to read.
            filter_condition: What items must meet to be given.
            segment: Which part of how many is read, from 0; none for the whole table.
            attributes: Which attributes of the items are given; none for all.
        """
        number, segments = segment or (None, None)
        with self._failures():
            # By its annotation the start is a partition key alone; a whole key is taken as it is.
            answer = self.connection.scan(
                filter_condition=filter_condition,
                limit=limit,
                exclusive_start_key=None if after is None else _key_attributes(after),  # type: ignore[arg-type]
                segment=number,
                total_segments=segments,
                attributes_to_get=list(attributes) if attributes else None,
            )
        last = answer.get("LastEvaluatedKey")
        return answer["Items"], None if last is None else key_of(last)

    def _failures(self) -> AbstractContextManager[None]:
        return translated_failures("DynamoDB")

    def _back_off(self, attempt: int, *, unprocessed: int) -> None:
        logger.info("batch partly unprocessed", extra={"attempt": attempt, "items": unprocessed})
        self.back_off(attempt)

    def back_off(self, attempt: int) -> None:
        """Wait for a random time that grows with the attempts, counted from 0."""
        longest = min(_LONGEST_PAUSE_SECONDS, _FIRST_PAUSE_SECONDS * 2**attempt)
        self._pause(random.uniform(0, longest))  # noqa: S311  (jitter, no secret)


def key_of(item: RawItem) -> ItemKey:
    """Give the primary key of an item."""
    return ItemKey(item[PARTITION_KEY.name]["S"], item[SORT_KEY.name]["S"])


def _key_attributes(key: ItemKey) -> RawItem:
    return {PARTITION_KEY.name: {"S": key.partition}, SORT_KEY.name: {"S": key.sort}}


def _condition_failed(error: DeleteError | PutError | UpdateError) -> bool:
    """Give False for a condition that was not met; raise any other failure."""
    if error.cause_response_code != "ConditionalCheckFailedException":
        raise error
    return False


_CONTENTION: Final = frozenset(
    {
        "ConditionalCheckFailed",
        "ProvisionedThroughputExceeded",
        "ThrottlingError",
        "TransactionConflict",
    }
)


def _raise_unless_contention(error: TransactWriteError) -> None:
    """Raise what cancelled a transaction unless others were quicker at one of its items."""
    codes = [reason.code for reason in error.cancellation_reasons if reason]
    if not _CONTENTION.intersection(codes):
        raise error
