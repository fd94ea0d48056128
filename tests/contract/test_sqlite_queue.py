"""The SQLite queue keeps the contract of ``ChangeQueue``, and what it promises beyond."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from dicomulus.adapters.local.sqlite_queue import LOST, QueueCounts, SqliteQueue
from dicomulus.ports import LookAtObjects
from tests.support.queue_contract import ChangeQueueContract

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dicomulus.ports import ChangeQueue, Message

LOOK = LookAtObjects(("a/1",))


class Clock:
    """Milliseconds that move when told to."""

    def __init__(self) -> None:
        self.now_ms = 1_800_000_000_000

    def __call__(self) -> int:
        return self.now_ms

    def advance(self, seconds: float) -> None:
        self.now_ms += round(seconds * 1000)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def queue(tmp_path: Path, clock: Clock) -> Iterator[SqliteQueue]:
    path = tmp_path / "queue.sqlite"
    with closing(SqliteQueue(path, max_attempts=3, clock_ms=clock)) as queue:
        yield queue


class TestSqliteQueue(ChangeQueueContract):
    @pytest.fixture
    def queue(self, tmp_path: Path, clock: Clock) -> Iterator[SqliteQueue]:
        self.clock = clock
        with closing(SqliteQueue(tmp_path / "queue.sqlite", clock_ms=clock)) as queue:
            yield queue

    def receive(self, queue: ChangeQueue, *, after_seconds: float = 0) -> list[Message]:
        assert isinstance(queue, SqliteQueue)
        self.clock.advance(after_seconds)
        found: list[Message] = []
        while deliveries := queue.receive():
            found += [delivery.message for delivery in deliveries]
            queue.acknowledge([delivery.receipt for delivery in deliveries])
        return found


def test_a_delivered_message_is_invisible_for_the_time_given(
    queue: SqliteQueue, clock: Clock
) -> None:
    queue.send([LOOK])
    (first,) = queue.receive(visibility_seconds=30)
    clock.advance(29)
    assert queue.receive() == []
    clock.advance(1)
    (second,) = queue.receive()
    assert (first.attempts, second.attempts) == (1, 2)
    assert first.message == second.message == LOOK


def test_an_acknowledged_message_is_gone(queue: SqliteQueue, clock: Clock) -> None:
    queue.send([LOOK])
    (delivery,) = queue.receive()
    queue.acknowledge([delivery.receipt])
    clock.advance(10_000)
    assert queue.receive() == []
    assert queue.counts() == QueueCounts(waiting=0, given_up=0)


def test_a_late_acknowledgement_does_not_take_the_message_from_its_next_receiver(
    queue: SqliteQueue, clock: Clock
) -> None:
    queue.send([LOOK])
    (late,) = queue.receive(visibility_seconds=1)
    clock.advance(2)
    (current,) = queue.receive()
    queue.acknowledge([late.receipt])
    assert queue.counts().waiting == 1
    queue.acknowledge([current.receipt])
    assert queue.counts().waiting == 0


def test_at_most_as_many_messages_as_asked_for_come_the_oldest_first(queue: SqliteQueue) -> None:
    queue.send([LookAtObjects((str(i),)) for i in range(5)])
    first, second = queue.receive(3), queue.receive(3)
    keys = [
        d.message.object_keys[0] for d in first + second if isinstance(d.message, LookAtObjects)
    ]
    assert (len(first), len(second)) == (3, 2)
    assert keys == ["0", "1", "2", "3", "4"]


def test_a_message_put_back_comes_again_after_its_delay(queue: SqliteQueue, clock: Clock) -> None:
    queue.send([LOOK])
    (delivery,) = queue.receive()
    queue.put_back(delivery.receipt, "disk full", delay_seconds=5)
    assert queue.receive() == []
    clock.advance(5)
    assert [each.attempts for each in queue.receive()] == [2]


def test_a_message_put_back_too_often_is_given_up_with_its_reason(
    queue: SqliteQueue, clock: Clock
) -> None:
    queue.send([LOOK])
    for _ in range(3):
        (delivery,) = queue.receive()
        queue.put_back(delivery.receipt, "permission denied")
    (letter,) = queue.dead_letters()
    assert (letter.message, letter.reason, letter.attempts) == (LOOK, "permission denied", 3)
    assert letter.given_up_ms == clock.now_ms
    assert queue.counts() == QueueCounts(waiting=0, given_up=1)


def test_a_message_whose_receivers_all_die_is_given_up(queue: SqliteQueue, clock: Clock) -> None:
    queue.send([LOOK])
    for _ in range(3):
        assert len(queue.receive(visibility_seconds=1)) == 1
        clock.advance(1)
    assert queue.receive() == []
    assert [letter.reason for letter in queue.dead_letters()] == [LOST]


def test_a_dead_letter_sent_again_starts_anew(queue: SqliteQueue) -> None:
    queue.send([LOOK])
    (delivery,) = queue.receive()
    queue.give_up(delivery.receipt, "no use")
    queue.revive()
    assert [(each.message, each.attempts) for each in queue.receive()] == [(LOOK, 1)]
    assert queue.dead_letters() == ()


def test_messages_outlive_the_process(tmp_path: Path, clock: Clock) -> None:
    path = tmp_path / "queue.sqlite"
    with closing(SqliteQueue(path, clock_ms=clock)) as queue:
        queue.send([LOOK])
    with closing(SqliteQueue(path, clock_ms=clock)) as queue:
        assert [each.message for each in queue.receive()] == [LOOK]


def test_each_message_goes_to_one_of_several_receivers(tmp_path: Path) -> None:
    path = tmp_path / "queue.sqlite"
    start = threading.Barrier(4)

    def drain(_: int) -> list[str]:
        with closing(SqliteQueue(path)) as queue:
            start.wait()
            receipts: list[str] = []
            while deliveries := queue.receive(3):
                receipts += [delivery.receipt for delivery in deliveries]
            return receipts

    with closing(SqliteQueue(path)) as sender:
        sender.send([LookAtObjects((str(i),)) for i in range(60)])
        with ThreadPoolExecutor(4) as pool:
            received = [receipt for part in pool.map(drain, range(4)) for receipt in part]
    assert len(received) == len(set(received)) == 60


def test_a_wait_ends_when_a_message_is_sent(queue: SqliteQueue) -> None:
    waiting, woken = threading.Event(), threading.Event()

    def wait() -> None:
        waiting.set()
        while not queue.receive():
            queue.wait(60)
        woken.set()

    thread = threading.Thread(target=wait)
    thread.start()
    waiting.wait()
    queue.send([LOOK])
    thread.join(timeout=30)
    assert woken.is_set()


def test_a_wait_ends_at_once_when_a_message_is_there(queue: SqliteQueue) -> None:
    queue.send([LOOK])
    thread = threading.Thread(target=queue.wait, args=(600,), daemon=True)
    thread.start()
    thread.join(timeout=30)
    assert not thread.is_alive()
