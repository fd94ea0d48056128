"""Those outside are told every change, in order, whatever breaks off."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dicomulus.errors import UnavailableError
from dicomulus.ports import Change, ChangeType
from dicomulus.services.publishing import CLAIM_MS, Publisher, pause_ms
from tests.support.archives import small_archive
from tests.support.builders import series_of
from tests.support.crashing import Crashes

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.support.archives import Small

EVER_MS = 2**53


class Receiver:
    """Takes what it is sent, or refuses some of it."""

    name = "receiver"
    most = 3

    def __init__(self) -> None:
        self.taken: list[int] = []
        self.logs: set[str] = set()
        self.refusals = 0

    def send(self, changes: Sequence[Change], *, log: str) -> None:
        if self.refusals:
            self.refusals -= 1
            # One of them it has taken all the same.
            self.taken.append(changes[0].sequence)
            raise UnavailableError("not now")
        assert len(changes) <= self.most
        self.taken += [each.sequence for each in changes]
        self.logs.add(log)


@pytest.fixture
def small(tmp_path: Path) -> Small:
    return small_archive(tmp_path)


def record(small: Small, count: int) -> None:
    first = small.index.log_state().last
    for number in range(first, first + count):
        change = Change(
            type=ChangeType.STABLE_SERIES, resource=series_of(1, number), version=1, date_ms=5
        )
        assert small.index.record_change(change)


def publisher(small: Small, *receivers: Receiver) -> Publisher:
    return Publisher(small.archive.index, receivers, clock_ms=small.clock)


def test_all_changes_are_told_once_and_in_order(small: Small) -> None:
    receiver = Receiver()
    told = publisher(small, receiver)
    record(small, 7)
    assert told.publish(until_ms=EVER_MS)
    record(small, 2)
    assert told.publish(until_ms=EVER_MS)
    assert receiver.taken == list(range(1, 10))
    assert receiver.logs == {small.index.log_state().identity}


def test_the_next_publisher_goes_on_where_one_ended(small: Small) -> None:
    receiver = Receiver()
    record(small, 4)
    publisher(small, receiver).publish(until_ms=EVER_MS)
    record(small, 1)
    publisher(small, receiver).publish(until_ms=EVER_MS)
    assert receiver.taken == [1, 2, 3, 4, 5]


def test_nobody_waits_for_somebody_else(small: Small) -> None:
    good, bad = Receiver(), Receiver()
    bad.name = "bad"
    bad.refusals = 5
    record(small, 4)
    assert not publisher(small, bad, good).publish(until_ms=EVER_MS)
    assert good.taken == [1, 2, 3, 4]


def test_what_was_not_taken_comes_again_before_anything_else(small: Small) -> None:
    receiver = Receiver()
    receiver.refusals = 1
    told = publisher(small, receiver)
    record(small, 4)
    assert not told.publish(until_ms=EVER_MS)
    small.clock.now_ms += 2_000
    assert told.publish(until_ms=EVER_MS)
    assert receiver.taken == [1, 1, 2, 3, 4]


def test_a_receiver_in_trouble_is_asked_less_and_less_often(small: Small) -> None:
    receiver = Receiver()
    receiver.refusals = 1000
    told = publisher(small, receiver)
    record(small, 1)
    for _ in range(3600):
        small.clock.now_ms += 1_000
        told.publish(until_ms=EVER_MS)
    assert 15 < len(receiver.taken) < 25
    receiver.refusals = 0
    small.clock.now_ms += 300_000
    assert told.publish(until_ms=EVER_MS)
    assert [pause_ms(attempts) for attempts in (1, 2, 3, 9, 10, 10_000)] == [
        1_000,
        2_000,
        4_000,
        256_000,
        300_000,
        300_000,
    ]


def test_a_publisher_stops_at_its_time(small: Small) -> None:
    receiver = Receiver()
    record(small, 9)
    told = publisher(small, receiver)
    assert not told.publish(until_ms=small.clock.now_ms + 6)
    assert 0 < len(receiver.taken) < 9
    assert told.publish(until_ms=EVER_MS)
    assert receiver.taken == list(range(1, 10))


def test_of_two_publishers_one_tells(small: Small) -> None:
    receiver = Receiver()
    record(small, 4)
    small.index.claim_cursor(
        "receiver", "another", now_ms=small.clock(), until_ms=small.clock() + CLAIM_MS
    )
    told = publisher(small, receiver)
    assert not told.publish(until_ms=EVER_MS)
    assert receiver.taken == []
    small.clock.now_ms += CLAIM_MS
    assert told.publish(until_ms=EVER_MS)
    assert receiver.taken == [1, 2, 3, 4]


def test_a_crash_before_any_call_loses_nothing_and_keeps_the_order(tmp_path: Path) -> None:
    crashes = Crashes()
    small = small_archive(tmp_path, index=crashes.around)
    receiver = Receiver()
    for calls in range(100):
        record(small, 5)
        last = small.index.log_state().last
        before = len(receiver.taken)
        # Each is a process of its own.
        finished = crashes.is_finished(
            lambda: publisher(small, receiver).publish(until_ms=EVER_MS), calls=calls
        )
        small.clock.now_ms += 2 * CLAIM_MS
        assert publisher(small, receiver).publish(until_ms=EVER_MS)
        assert set(receiver.taken) == set(range(1, last + 1))
        # What comes again is the rest of the log from some place on.
        news = receiver.taken[before:]
        assert list(dict.fromkeys(news)) == sorted(set(news))
        if finished:
            assert calls > 5
            return
    raise AssertionError("it never comes to its end")
