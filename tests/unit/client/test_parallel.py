from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from dicomulus.client.parallel import Ended, Parallel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def run(tasks: Iterator[Callable[[], int]], *, fatal: int = -1) -> tuple[Ended, list[int]]:
    """Run tasks by two threads; one result ends it all."""
    collected: list[int] = []

    def collect(result: int) -> str:
        collected.append(result)
        return "fatal" if result == fatal else ""

    stopped = threading.Event()
    return Parallel(2, stopped=stopped, collect=collect).run(tasks), collected


def numbers(count: int) -> Iterator[Callable[[], int]]:
    for number in range(count):
        yield lambda number=number: number  # type: ignore[misc]


def test_every_result_is_collected() -> None:
    ended, collected = run(numbers(100))
    assert ended == Ended()
    assert sorted(collected) == list(range(100))


def test_tasks_are_asked_for_as_they_are_needed() -> None:
    asked: list[int] = []
    collected: list[int] = []

    def collect(result: int) -> str:
        collected.append(result)
        return ""

    def tasks() -> Iterator[Callable[[], int]]:
        for each in numbers(50):
            asked.append(len(asked) - len(collected))
            yield each

    Parallel(2, stopped=threading.Event(), collect=collect).run(tasks())
    assert max(asked) <= 6


def test_a_fatal_result_ends_it() -> None:
    ended, collected = run(numbers(1_000), fatal=3)
    assert ended == Ended(stopped="fatal")
    assert len(collected) < 20


def test_an_interrupt_keeps_what_was_under_way() -> None:
    def tasks() -> Iterator[Callable[[], int]]:
        yield from numbers(3)
        raise KeyboardInterrupt

    ended, collected = run(tasks())
    assert ended == Ended(interrupted=True)
    assert set(collected) <= {0, 1, 2}
