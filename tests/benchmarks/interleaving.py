"""Requests to several servers in turn, so that what else the machine does meets all alike."""

from __future__ import annotations

import statistics
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from tests.benchmarks.http_client import Connection
from tests.benchmarks.machine import load_average

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.benchmarks.processes import ServerProcesses

MAX_BURST: Final = 200
"""Requests of one turn, however short they are."""


class UnexpectedAnswerError(Exception):
    """A server answered otherwise than it should, so that a figure would mean nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """One way to get an answer: from which server, and how."""

    peer: str
    variant: str
    server: ServerProcesses
    base_url: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    status: int = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """The times of one contender."""

    contender: Contender
    median_ms: float
    min_ms: float
    max_ms: float
    cpu_ms: float
    count: int
    body_bytes: int
    load: float


def time_in_turns(
    contenders: Sequence[Contender], *, rounds: int, burst_seconds: float
) -> list[Timing]:
    """Time contenders in turns: A B C, A B C, and so on, each turn one warm connection's burst.

    Raises:
        UnexpectedAnswerError: One did not answer with the status it should.
    """
    with ExitStack() as stack:
        turns = [
            _Turns(contender, stack.enter_context(Connection(contender.base_url)))
            for contender in contenders
        ]
        for turn in turns:
            turn.prepare(burst_seconds)
        for _ in range(rounds):
            for turn in turns:
                turn.take()
        return [turn.timing() for turn in turns]


class _Turns:
    def __init__(self, contender: Contender, connection: Connection) -> None:
        self._contender = contender
        self._connection = connection
        self._burst = 1
        self._seconds: list[float] = []
        self._cpu_seconds = 0.0
        self._body_bytes = 0

    def prepare(self, burst_seconds: float) -> None:
        self._ask()
        quickest = min(self._ask() for _ in range(2))
        self._burst = max(1, min(MAX_BURST, int(burst_seconds / quickest)))

    def take(self) -> None:
        # The first one of a turn may have to open a connection, and finds the caches cold.
        self._ask()
        before = self._contender.server.cpu_seconds()
        self._seconds += [self._ask() for _ in range(self._burst)]
        self._cpu_seconds += self._contender.server.cpu_seconds() - before

    def timing(self) -> Timing:
        count = len(self._seconds)
        return Timing(
            contender=self._contender,
            median_ms=statistics.median(self._seconds) * 1000,
            min_ms=min(self._seconds) * 1000,
            max_ms=max(self._seconds) * 1000,
            cpu_ms=self._cpu_seconds / count * 1000,
            count=count,
            body_bytes=self._body_bytes,
            load=load_average(),
        )

    def _ask(self) -> float:
        answer = self._connection.measure(self._contender.path, self._contender.headers)
        if answer.status != self._contender.status:
            raise UnexpectedAnswerError(
                f"{self._contender.peer}: {answer.status} for {self._contender.path}"
            )
        self._body_bytes = answer.body_bytes
        return answer.seconds
