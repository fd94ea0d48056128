"""The queue of changes in a SQLite file."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from dicomulus.adapters.local.database import Database, Schema
from dicomulus.dicom.resource import SeriesResource, uids_of
from dicomulus.ports import CompactSeries, LookAtObjects, StabiliseSeries

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from dicomulus.ports import Message

MAX_ATTEMPTS: Final = 5
"""Deliveries of a message before it is given up."""

VISIBILITY_SECONDS: Final = 60.0
"""How long a delivered message stays away from other receivers, unless said otherwise."""

LOST: Final = "no receiver answered"
"""Reason of giving up a message whose receivers all died or took too long."""

QUEUE_SCHEMA: Final = Schema(
    purpose="a queue of changes",
    version=1,
    remedy="Remove the data folder: everything in it is made again from the DICOM files.",
    statements=(
        """
        CREATE TABLE message (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            body TEXT NOT NULL,
            visible_ms INTEGER NOT NULL,
            attempts INTEGER NOT NULL DEFAULT 0
        )
        """,
        "CREATE INDEX message_by_time ON message (visible_ms, id)",
        """
        CREATE TABLE dead_letter (
            id INTEGER PRIMARY KEY,
            body TEXT NOT NULL,
            reason TEXT NOT NULL,
            attempts INTEGER NOT NULL,
            given_up_ms INTEGER NOT NULL
        )
        """,
    ),
)

SEND: Final = "INSERT INTO message (body, visible_ms) VALUES (?, ?)"
FIND_VISIBLE: Final = """
    SELECT id, body, attempts FROM message WHERE visible_ms <= ? ORDER BY visible_ms, id LIMIT ?
"""
ANY_VISIBLE: Final = "SELECT 1 FROM message WHERE visible_ms <= ? LIMIT 1"
NEXT_VISIBLE: Final = "SELECT min(visible_ms) FROM message"
TAKE: Final = "UPDATE message SET visible_ms = ?, attempts = attempts + 1 WHERE id = ?"
RETURN: Final = "UPDATE message SET visible_ms = ? WHERE id = ? AND attempts = ?"
REMOVE: Final = "DELETE FROM message WHERE id = ? AND attempts = ?"
BURY: Final = """
    INSERT INTO dead_letter (id, body, reason, attempts, given_up_ms)
    SELECT id, body, ?, attempts, ? FROM message WHERE id = ? AND attempts = ?
"""
READ_DEAD: Final = "SELECT body, reason, attempts, given_up_ms FROM dead_letter ORDER BY id"
REVIVE: Final = "INSERT INTO message (body, visible_ms) SELECT body, ? FROM dead_letter ORDER BY id"
CLEAR_DEAD: Final = "DELETE FROM dead_letter"
COUNT: Final = "SELECT (SELECT count(*) FROM message), (SELECT count(*) FROM dead_letter)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """A message as one receiver got it."""

    receipt: str
    """Names this delivery; worth nothing once the message is delivered again."""
    message: Message
    attempts: int
    """Deliveries so far, this one included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """A message that was given up."""

    message: Message
    reason: str
    attempts: int
    given_up_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueCounts:
    """How many messages are there, visible or not, and how many were given up."""

    waiting: int
    given_up: int


class SqliteQueue:
    """A ``ChangeQueue`` with its receiving end, for several threads and processes.

    A message is delivered until one receiver acknowledges it, and given up after some attempts.
    """

    def __init__(
        self,
        path: Path,
        *,
        max_attempts: int = MAX_ATTEMPTS,
        clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        """Open the queue, or create it.

        Raises:
            ConfigurationError: The file is of another version, or no queue.
            UnavailableError: It cannot be opened now.
        """
        self._database = Database(path, QUEUE_SCHEMA)
        self._max_attempts = max_attempts
        self._clock_ms = clock_ms
        self._sent = threading.Condition()

    def close(self) -> None:
        """Close the file; whoever still uses it gets an error."""
        self._database.close()

    # sending

    def send(self, messages: Sequence[Message], *, delay_seconds: float = 0) -> None:
        """Enqueue messages durably, in one transaction."""
        if not messages:
            return
        visible_ms = self._clock_ms() + round(delay_seconds * 1000)
        bodies = [(_format(message), visible_ms) for message in messages]
        with self._database.writing() as connection:
            connection.executemany(SEND, bodies)
        with self._sent:
            self._sent.notify_all()

    # receiving

    def receive(
        self, max_messages: int = 10, *, visibility_seconds: float = VISIBILITY_SECONDS
    ) -> list[Delivery]:
        """Take visible messages, the longest visible first; none there gives an empty list.

        Each stays invisible for the time given, and is delivered again if it is not
        acknowledged by then. One that was delivered too often is given up instead.
        """
        now_ms = self._clock_ms()
        with self._database.reading() as connection:
            # A look costs no lock, and most looks find nothing.
            if connection.execute(ANY_VISIBLE, (now_ms,)).fetchone() is None:
                return []
        deliveries: list[Delivery] = []
        with self._database.writing() as connection:
            for number, body, attempts in connection.execute(
                FIND_VISIBLE, (now_ms, max_messages)
            ).fetchall():
                if attempts >= self._max_attempts:
                    connection.execute(BURY, (LOST, now_ms, number, attempts))
                    connection.execute(REMOVE, (number, attempts))
                    continue
                connection.execute(TAKE, (now_ms + round(visibility_seconds * 1000), number))
                deliveries.append(
                    Delivery(
                        receipt=f"{number}:{attempts + 1}",
                        message=_parse(body),
                        attempts=attempts + 1,
                    )
                )
        return deliveries

    def wait(self, timeout_seconds: float) -> None:
        """Wait until a message may be visible, at most this long.

        Messages sent by other processes end the wait only with the timeout.
        """
        with self._sent:
            self._sent.wait(min(timeout_seconds, self._seconds_to_next(timeout_seconds)))

    def acknowledge(self, receipts: Iterable[str]) -> None:
        """Remove delivered messages; one delivered again meanwhile stays."""
        with self._database.writing() as connection:
            connection.executemany(REMOVE, [_split(receipt) for receipt in receipts])

    def put_back(self, receipt: str, reason: str, *, delay_seconds: float = 0) -> None:
        """Say that a delivery failed: it is delivered again after the delay, or given up."""
        number, attempts = _split(receipt)
        if attempts >= self._max_attempts:
            self.give_up(receipt, reason)
            return
        visible_ms = self._clock_ms() + round(delay_seconds * 1000)
        with self._database.writing() as connection:
            connection.execute(RETURN, (visible_ms, number, attempts))

    def give_up(self, receipt: str, reason: str) -> None:
        """Move a delivered message to the dead letters; the reason holds no patient data."""
        number, attempts = _split(receipt)
        with self._database.writing() as connection:
            connection.execute(BURY, (reason, self._clock_ms(), number, attempts))
            connection.execute(REMOVE, (number, attempts))

    # for people

    def dead_letters(self) -> tuple[DeadLetter, ...]:
        """Give the messages given up, in the order they were sent."""
        with self._database.reading() as connection:
            found = connection.execute(READ_DEAD).fetchall()
        return tuple(
            DeadLetter(
                message=_parse(body), reason=reason, attempts=attempts, given_up_ms=given_up_ms
            )
            for body, reason, attempts, given_up_ms in found
        )

    def revive(self) -> None:
        """Send all dead letters again."""
        with self._database.writing() as connection:
            connection.execute(REVIVE, (self._clock_ms(),))
            connection.execute(CLEAR_DEAD)
        with self._sent:
            self._sent.notify_all()

    def counts(self) -> QueueCounts:
        """Count what is there."""
        with self._database.reading() as connection:
            waiting, given_up = connection.execute(COUNT).fetchone()
        return QueueCounts(waiting=waiting, given_up=given_up)

    def _seconds_to_next(self, limit: float) -> float:
        with self._database.reading() as connection:
            (next_ms,) = connection.execute(NEXT_VISIBLE).fetchone()
        return limit if next_ms is None else max(0.0, (next_ms - self._clock_ms()) / 1000)


def _format(message: Message) -> str:
    if isinstance(message, LookAtObjects):
        return json.dumps({"objects": message.object_keys})
    uids = uids_of(message.series)
    if isinstance(message, StabiliseSeries):
        return json.dumps({"stable": uids, "version": message.version})
    return json.dumps({"series": uids})


def _parse(body: str) -> Message:
    members = json.loads(body)
    if "objects" in members:
        return LookAtObjects(tuple(members["objects"]))
    if "stable" in members:
        return StabiliseSeries(SeriesResource(*members["stable"]), members["version"])
    return CompactSeries(SeriesResource(*members["series"]))


def _split(receipt: str) -> tuple[int, int]:
    number, _, attempts = receipt.partition(":")
    return int(number), int(attempts)
