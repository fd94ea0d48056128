"""Many clients at once, by wrk."""

from __future__ import annotations

import os
import re
import shutil
import statistics
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tests.benchmarks.interleaving import UnexpectedAnswerError
from tests.benchmarks.machine import load_average

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.benchmarks.interleaving import Contender

CLIENTS: Final = 8
"""Connections, each with a request under way at all times."""

_TO_MS: Final = {"us": 0.001, "ms": 1.0, "s": 1000.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Throughput:
    """What a contender gave to all clients together."""

    contender: Contender
    per_second: float
    median_ms: float
    cpu_ms: float
    count: int
    load: float


def has_wrk() -> bool:
    """Tell whether wrk is there."""
    return shutil.which("wrk") is not None


def throughput_in_turns(
    contenders: Sequence[Contender], *, rounds: int, seconds: int
) -> list[Throughput]:
    """Let eight clients ask contenders in turns.

    Raises:
        UnexpectedAnswerError: An answer was an error.
    """
    taken: list[list[_Run]] = [[] for _ in contenders]
    for _ in range(rounds):
        for contender, runs in zip(contenders, taken, strict=True):
            runs.append(_run(contender, seconds))
    return [
        Throughput(
            contender=contender,
            per_second=statistics.median(run.per_second for run in runs),
            median_ms=statistics.median(run.median_ms for run in runs),
            cpu_ms=sum(run.cpu_seconds for run in runs) / sum(run.count for run in runs) * 1000,
            count=sum(run.count for run in runs),
            load=load_average(),
        )
        for contender, runs in zip(contenders, taken, strict=True)
    ]


@dataclass(frozen=True, slots=True)
class _Run:
    count: int
    per_second: float
    median_ms: float
    cpu_seconds: float


def _run(contender: Contender, seconds: int) -> _Run:
    command = ["wrk", "-t1", f"-c{CLIENTS}", f"-d{seconds}s", "--timeout", "60s", "--latency"]
    for name, value in contender.headers.items():
        command += ["-H", f"{name}: {value}"]
    before = contender.server.cpu_seconds()
    done = subprocess.run(
        [*command, contender.base_url + contender.path],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "LC_ALL": "C"},
    )
    cpu_seconds = contender.server.cpu_seconds() - before
    count, per_second, median_ms = parse_wrk(done.stdout)
    return _Run(count, per_second, median_ms, cpu_seconds)


def parse_wrk(text: str) -> tuple[int, float, float]:
    """Read answers, answers per second and median milliseconds from what wrk prints.

    Raises:
        UnexpectedAnswerError: It tells of errors, or of no answer.
    """
    if "Non-2xx" in text or "Socket errors" in text:
        raise UnexpectedAnswerError(text)
    count = re.search(r"^\s*(\d+) requests in", text, re.MULTILINE)
    rate = re.search(r"^Requests/sec:\s*([\d.]+)", text, re.MULTILINE)
    median = re.search(r"^\s*50%\s+([\d.]+)(us|ms|s)", text, re.MULTILINE)
    if not (count and rate and median) or int(count[1]) == 0:
        raise UnexpectedAnswerError(text)
    return int(count[1]), float(rate[1]), float(median[1]) * _TO_MS[median[2]]
