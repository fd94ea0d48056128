"""Readers who open studies: requests through the gateway, and functions at work for them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from dicomulus.cli.cost import ledger as names
from tests.benchmarks.simulation.latency import COLD_START, GATEWAY, INVOKE, Samples

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dicomulus.cli.cost.ledger import Ledger

ACCOUNT_FUNCTIONS: Final = 1_000
"""Functions at work in an account and region at the same time, unless more was asked for."""

GATEWAY_REQUESTS: Final = 10_000
"""Requests a second of all gateways of an account and region."""

NEW_FUNCTIONS: Final = 1_000
"""Environments by which one function grows in ten seconds (Lambda)."""

FULL_SPEED_BYTES_A_SECOND: Final = 60e6
"""Bytes a second of a stream's first 6 MB; not published, some 500 Mbit/s."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewerPlan:
    """How readers work."""

    viewers: int = 500
    seconds_a_study: float = 300
    """Seconds from opening one study to opening the next."""
    series: int = 4
    instances: int = 450
    viewed_share: float = 0.5
    frame_bytes: float = 531_000
    seconds: float = 120
    account_functions: int = ACCOUNT_FUNCTIONS
    throttle_rate: int = 2_000
    """Requests a second that the deployed gateway lets through."""
    seed: int = 1

    def requests(self) -> dict[str, float]:
        """Give the requests that opening one study makes, by operation."""
        return {
            names.STUDY_LIST: 2,
            names.STUDY_BY_UID: 2,
            names.STUDY_BY_PATIENT: 1,
            names.SERIES_LIST: 1,
            names.SERIES_METADATA: self.series,
            names.FRAME: self.series * (1 + self.instances * self.viewed_share),
        }

    @property
    def requests_a_second(self) -> float:
        """Give the requests of all readers."""
        return self.viewers / self.seconds_a_study * sum(self.requests().values())


@dataclass(slots=True)
class Answers:
    """What one operation's answers took."""

    operation: str
    count: int
    p50_ms: float
    p99_ms: float


@dataclass(slots=True)
class ViewerRun:
    """What became of it."""

    plan: ViewerPlan
    answers: list[Answers] = field(default_factory=list)
    requests_a_second: float = 0.0
    most_requests_a_second: float = 0.0
    functions_at_work: float = 0.0
    most_functions_at_work: float = 0.0
    """With those of ingest."""
    throttled: int = 0
    """Requests that neither the gateway nor the account had room for."""
    cold_starts: int = 0
    bytes_a_second: float = 0.0


def simulate_viewers(
    plan: ViewerPlan, ledger: Ledger, *, beside: Sequence[float] = ()
) -> ViewerRun:
    """Let readers read, beside so many functions at work in each second."""
    samples = Samples(plan.seed)
    result = ViewerRun(plan)
    starts, lengths, groups = [], [], []
    for operation, each in plan.requests().items():
        count = round(plan.viewers / plan.seconds_a_study * each * plan.seconds)
        at = samples.generator.uniform(0, plan.seconds, count)
        in_function, outside = _durations(operation, count, plan, ledger, samples)
        starts.append(at)
        lengths.append(in_function)
        groups.append((operation, len(at), outside))
    at, length = np.concatenate(starts), np.concatenate(lengths)
    at_work = _at_work(at, length, plan.seconds)
    others = np.zeros(len(at_work))
    others[: min(len(beside), len(others))] = beside[: len(others)]
    total = at_work + others
    cold = _cold_starts(at_work)
    length = _delayed(at, length, cold, samples)
    result.cold_starts = int(cold.sum())
    seconds = int(plan.seconds)
    rate = np.bincount(at.astype(int), minlength=seconds)[:seconds]
    refused = np.maximum(0, rate - min(plan.throttle_rate, GATEWAY_REQUESTS)).sum()
    over = np.maximum(0.0, total - plan.account_functions) / np.maximum(1.0, at_work)
    result.throttled = int(refused + (rate * np.minimum(1.0, over[:seconds])).sum())
    result.requests_a_second = float(rate.mean())
    result.most_requests_a_second = float(rate.max())
    result.functions_at_work = float(at_work.mean())
    result.most_functions_at_work = float(total.max())
    first = 0
    for operation, count, outside in groups:
        taken = 1000 * (length[first : first + count] + outside)
        p50, p99 = np.percentile(taken, [50, 99])
        result.answers.append(Answers(operation, count, float(p50), float(p99)))
        first += count
    result.bytes_a_second = sum(
        plan.viewers / plan.seconds_a_study * each * _bytes(operation, plan, ledger)
        for operation, each in plan.requests().items()
    )
    return result


def _bytes(operation: str, plan: ViewerPlan, ledger: Ledger) -> float:
    if operation == names.FRAME:
        return plan.frame_bytes
    share = plan.instances / ledger.instances if operation == names.SERIES_METADATA else 1.0
    return ledger[operation].answer_bytes * share


def _durations(
    operation: str, count: int, plan: ViewerPlan, ledger: Ledger, samples: Samples
) -> tuple[Any, Any]:
    """Draw seconds in the function and on the way to and from it."""
    counted = ledger[operation]
    waiting = np.zeros(count)
    for each in counted.rounds:
        waiting += [samples.of_round(each) for _ in range(count)]
    sent = _bytes(operation, plan, ledger) / FULL_SPEED_BYTES_A_SECOND
    outside = samples.many(GATEWAY, count) + samples.many(INVOKE, count)
    return waiting + counted.processor_ms / 1000 + sent, outside


def _at_work(at: Any, length: Any, seconds: float) -> Any:
    """Give how many requests are in a function, at the middle of each second."""
    moments = np.arange(int(seconds)) + 0.5
    begun = np.searchsorted(np.sort(at), moments, side="right")
    ended = np.searchsorted(np.sort(at + length), moments, side="right")
    return (begun - ended).astype(float)


def _cold_starts(at_work: Any) -> Any:
    """Give the new environments of each second: what exceeds all that there ever were."""
    most = np.maximum.accumulate(at_work)
    return np.minimum(np.diff(most, prepend=0.0), NEW_FUNCTIONS / 10)


def _delayed(at: Any, length: Any, cold: Any, samples: Samples) -> Any:
    """Have as many requests of each second wait for an environment as are made in it."""
    second = at.astype(int)
    delayed = length.copy()
    for number, made in enumerate(cold.astype(int)):
        if made:
            here = np.flatnonzero(second == number)[:made]
            delayed[here] += samples.many(COLD_START, len(here))
    return delayed
