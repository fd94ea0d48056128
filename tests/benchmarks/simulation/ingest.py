"""Uploads on their way into the index: events, queue, pollers, functions, partitions."""

from __future__ import annotations

import math
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import simpy

from tests.benchmarks.simulation.capacity import (
    NEW_TABLE_WRITE_UNITS,
    Budget,
    Table,
)
from tests.benchmarks.simulation.latency import (
    COLD_START,
    INVOKE,
    NOTIFICATION,
    RECEIVE,
    Samples,
)

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from tests.benchmarks.simulation.batches import BatchShape

    Process = Generator[simpy.Event, Any, Any]

FIRST_POLLERS: Final = 5
"""Batches that Lambda takes at the same time of a queue that was idle."""

POLLERS_A_SECOND: Final = 300 / 60
"""How quickly that grows while there is a backlog (Lambda)."""

FUNCTION_SECONDS: Final = 90
"""The function's time limit."""

VISIBILITY_SECONDS: Final = 6 * FUNCTION_SECONDS
"""Six times the function's time limit, after which a failed message comes again."""

MAX_RECEIVES: Final = 5
"""Deliveries, after which a message goes to the dead-letter queue."""

SDK_RETRIES: Final = 5
LONGEST_BACK_OFF_SECONDS: Final = 20.0
"""Of botocore's standard mode: a random part of 1, 2, 4, 8, 16 seconds, and 20 at most."""

BATCH_ATTEMPTS: Final = 10
FIRST_PAUSE_SECONDS: Final = 0.05
LONGEST_PAUSE_SECONDS: Final = 5.0
"""Of what a batch leaves unprocessed, as the adapter has it."""

_TICK_SECONDS: Final = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestPlan:
    """What is uploaded, and what takes it."""

    uploads_a_second: float
    upload_seconds: float
    studies: int
    """Studies that arrive at the same time, each at the same rate."""
    series_instances: int = 450
    functions: int = 50
    batch: int = 32
    window_seconds: float = 1.0
    write_units: int = NEW_TABLE_WRITE_UNITS
    """Write units a second that the table, and the index of UIDs, take from the beginning."""
    split_seconds: float | None = None
    """Seconds after which DynamoDB splits a partition that refuses; never, if there are none."""
    longest_seconds: float = 3_600
    """When the simulation ends in any case."""
    seed: int = 1


@dataclass(slots=True)
class IngestRun:
    """What became of it."""

    plan: IngestPlan
    uploaded: int = 0
    done: int = 0
    dead: int = 0
    failed_batches: int = 0
    """Batches of which each object was looked at alone then."""
    returned: int = 0
    """Messages that were given back to the queue."""
    batches: int = 0
    series_in_batches: int = 0
    refused_units: float = 0.0
    written_units: float = 0.0
    refused_uid_units: float = 0.0
    hottest_share: float = 0.0
    """Of its budget that the busiest partition used while uploads came."""
    partitions: int = 0
    splits: int = 0
    drained_seconds: float = math.nan
    """Seconds from the last upload until all of it is searchable."""
    most_in_flight: int = 0
    """Messages that functions have and have not finished."""
    latencies: Any = None
    """Seconds from upload to searchable, of each instance."""
    series: list[tuple[float, int, float, int]] = field(default_factory=list)
    """By second: queue depth, age of the oldest message, functions at work."""
    busy_seconds: float = 0.0
    """Of all functions together, while uploads came."""

    @property
    def lost(self) -> int:
        """Instances that are neither searchable nor in the queue nor in the dead-letter queue."""
        return self.uploaded - self.done - self.dead

    def percentile(self, share: float) -> float:
        """Give the latency that this percentage of instances does not exceed."""
        return float(np.percentile(self.latencies, share)) if len(self.latencies) else math.nan

    @property
    def deepest(self) -> int:
        """Give the most messages that waited."""
        return max((each[1] for each in self.series), default=0)

    @property
    def waiting_at_the_end(self) -> int:
        """Give the messages that waited when the last upload came."""
        return next((each[1] for each in self.series if each[0] >= self.plan.upload_seconds), 0)

    @property
    def oldest_seconds(self) -> float:
        """Give the highest age of the oldest message."""
        return max((each[2] for each in self.series), default=0.0)

    @property
    def functions_at_work(self) -> float:
        """Give how many functions were at work while uploads came, on average."""
        return self.busy_seconds / self.plan.upload_seconds


def simulate_ingest(
    plan: IngestPlan, shape: BatchShape, *, samples: Samples | None = None
) -> IngestRun:
    """Upload, and go on until everything is searchable."""
    return _Simulation(plan, shape, samples or Samples(plan.seed)).run()


class _Simulation:
    def __init__(self, plan: IngestPlan, shape: BatchShape, samples: Samples) -> None:
        self.plan = plan
        self.shape = shape
        self.env = simpy.Environment()
        self.samples = samples
        self.random = np.random.default_rng(plan.seed + 1)
        self.result = IngestRun(plan)
        self.table = Table(
            range(plan.studies),
            write_units=plan.write_units,
            split_seconds=plan.split_seconds,
            seed=plan.seed,
        )
        # UIDs spread over all partitions of their index evenly.
        self.by_uid = Budget(plan.write_units)
        self.queue: deque[int] = deque()
        self.waiting = 0
        self.at_work = 0
        self.in_flight = 0
        self.started = 0
        self._make_uploads()

    def _make_uploads(self) -> None:
        plan = self.plan
        count = round(plan.uploads_a_second * plan.upload_seconds)
        # Scanners send on their own, so uploads come at random within their rate.
        self.uploaded_at = np.sort(self.random.uniform(0, plan.upload_seconds, count))
        turns = np.arange(count)
        self.study = (turns % plan.studies).tolist()
        nth = turns // plan.studies
        self.series = (
            (nth // plan.series_instances) * plan.studies + turns % plan.studies
        ).tolist()
        delivered = self.uploaded_at + self.samples.many(NOTIFICATION, count)
        self.order = np.argsort(delivered, kind="stable")
        self.delivered = delivered[self.order]
        self.done_at = np.full(count, np.nan)
        self.receives = [0] * count
        self.result.uploaded = count

    def run(self) -> IngestRun:
        self.env.process(self._deliver())
        self.env.process(self._scale())
        self.env.process(self._watch())
        finished = self.env.event()
        self.finished = finished
        self.env.run(until=self.env.any_of([finished, self.env.timeout(self.plan.longest_seconds)]))
        return self._report()

    # what happens all the time

    def _deliver(self) -> Process:
        at, delivered, order = 0, self.delivered, self.order
        while at < len(delivered):
            until = int(np.searchsorted(delivered, self.env.now, side="right"))
            self.queue.extend(order[at:until].tolist())
            at = until
            yield self.env.timeout(_TICK_SECONDS)

    def _scale(self) -> Process:
        allowed = float(min(FIRST_POLLERS, self.plan.functions))
        while True:
            while self.started < int(allowed):
                self.started += 1
                self.env.process(self._poller())
            if len(self.queue) > self.plan.batch * self.started:
                allowed = min(self.plan.functions, allowed + POLLERS_A_SECOND)
            yield self.env.timeout(1)

    def _watch(self) -> Process:
        while True:
            oldest = self.env.now - self.uploaded_at[self.queue[0]] if self.queue else 0.0
            self.result.series.append((self.env.now, len(self.queue), float(oldest), self.at_work))
            if self.env.now < self.plan.upload_seconds:
                self.result.busy_seconds += self.at_work
                self._note_hottest()
            yield self.env.timeout(1)

    def _note_hottest(self) -> None:
        if self.env.now > 0:
            most = max(each.granted / each.rate for each in self.table.partitions)
            self.result.hottest_share = most / self.env.now

    # a poller, and the function that it feeds

    def _poller(self) -> Process:
        is_cold = True
        while True:
            taken = yield from self._gather()
            if not taken:
                yield self.env.timeout(self.samples.one(RECEIVE))
                continue
            for each in taken:
                self.receives[each] += 1
            self.at_work += 1
            self.in_flight += len(taken)
            self.result.most_in_flight = max(self.result.most_in_flight, self.in_flight)
            if is_cold:
                yield self.env.timeout(self.samples.one(COLD_START))
                is_cold = False
            left = yield from self._handle(taken)
            self.at_work -= 1
            self.in_flight -= len(taken)
            if left:
                self.result.returned += len(left)
                self.env.process(self._return(left))

    def _handle(self, taken: Sequence[int]) -> Process:
        """Look at a batch, and at each object alone where that failed; give what is not done."""
        started = self.env.now
        if (yield from self._look(taken)):
            self._finish(taken)
            return []
        self.result.failed_batches += 1
        left = []
        for each in taken:
            is_late = self.env.now - started > FUNCTION_SECONDS
            if not is_late and (yield from self._look([each])):
                self._finish([each])
            else:
                left.append(each)
        return left

    def _gather(self) -> Process:
        """Take a full batch, or after the window what there is, shared with those who wait too."""
        if len(self.queue) < self.plan.batch:
            self.waiting += 1
            yield self.env.timeout(self.plan.window_seconds)
            share = math.ceil(len(self.queue) / self.waiting)
            self.waiting -= 1
        else:
            share = self.plan.batch
        count = min(share, self.plan.batch, len(self.queue))
        taken = [self.queue.popleft() for _ in range(count)]
        for _ in range(math.ceil(count / 10)):
            yield self.env.timeout(self.samples.one(RECEIVE))
        return taken

    def _look(self, taken: Sequence[int]) -> Process:
        shape, count = self.shape, len(taken)
        series = {self.series[each]: self.study[each] for each in taken}
        self.result.batches += 1
        self.result.series_in_batches += len(series)
        before = self.samples.one(INVOKE) + shape.processor_seconds(count, len(series))
        before += sum(self.samples.of_round(each) for each in shape.reads(count))
        yield self.env.timeout(before)
        notes = shape.notes(count)
        if notes is not None:
            yield self.env.timeout(self.samples.of_round(notes))
            if not (yield from self._retried(lambda: self._note(count))):
                return False
        if not (yield from self._write_rows(taken)):
            return False
        yield self.env.timeout(self.samples.of_round(shape.versions(len(series))))
        for study in series.values():
            if not (yield from self._retried(lambda study=study: self._move(study))):
                return False
        yield self.env.timeout(self.samples.of_round(shape.looks(count)))
        return True

    def _note(self, count: int) -> bool:
        # Their partition keys are their own, so they spread; each is retried by itself.
        return self.table.write_anywhere(self.shape.object_units * count, self.env.now) > 0

    def _move(self, study: int) -> bool:
        return self.table.write(study, self.shape.series_units, self.env.now) > 0

    def _retried(self, write: Any) -> Process:
        """Make a single write as botocore does."""
        for attempt in range(SDK_RETRIES + 1):
            if write():
                return True
            if attempt < SDK_RETRIES:
                pause = self.random.uniform(0, 1) * 2**attempt
                yield self.env.timeout(min(LONGEST_BACK_OFF_SECONDS, pause))
        return False

    def _write_rows(self, taken: Sequence[int]) -> Process:
        """Write rows in batches; what is left unprocessed is sent again, as the adapter does."""
        for first in range(0, len(taken), 25):
            left = Counter(self.study[each] for each in taken[first : first + 25])
            yield self.env.timeout(self.samples.of_round(self.shape.rows(1)))
            for attempt in range(BATCH_ATTEMPTS):
                unprocessed = yield from self._sent(left)
                if unprocessed is None:
                    return False
                if not unprocessed:
                    break
                left = unprocessed
                pause = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2**attempt)
                yield self.env.timeout(self.random.uniform(0, pause))
            else:
                return False
        return True

    def _sent(self, rows: Counter[int]) -> Process:
        """Send rows; one whole batch that is refused is sent again by botocore."""
        for attempt in range(SDK_RETRIES + 1):
            left = self._put(rows)
            if left.total() < rows.total():
                return left
            if attempt < SDK_RETRIES:
                pause = self.random.uniform(0, 1) * 2**attempt
                yield self.env.timeout(min(LONGEST_BACK_OFF_SECONDS, pause))
        return None

    def _put(self, rows: Counter[int]) -> Counter[int]:
        """Write rows by study; give what was left unprocessed."""
        now, left = self.env.now, Counter[int]()
        for study, count in rows.items():
            # A throttled index holds up the table.
            given = self.by_uid.take(self.shape.uid_units * count, now) / self.shape.uid_units
            units = self.shape.instance_units
            written = self.table.write(study, int(given) * units, now) / units if given else 0
            if written < count:
                left[study] = count - int(written)
        return left

    def _finish(self, taken: Sequence[int]) -> None:
        now = self.env.now
        for each in taken:
            self.done_at[each] = now
        self.result.done += len(taken)
        self._end_if_nothing_is_left()

    def _return(self, taken: Sequence[int]) -> Process:
        """Give messages back when they are visible again, or to the dead-letter queue."""
        yield self.env.timeout(VISIBILITY_SECONDS)
        for each in taken:
            if self.receives[each] >= MAX_RECEIVES:
                self.result.dead += 1
            else:
                self.queue.append(each)
        self._end_if_nothing_is_left()

    def _end_if_nothing_is_left(self) -> None:
        if self.result.lost == 0 and not self.finished.triggered:
            self.finished.succeed()

    def _report(self) -> IngestRun:
        result = self.result
        latencies = self.done_at - self.uploaded_at
        result.latencies = latencies[~np.isnan(latencies)]
        result.refused_units = self.table.refused
        result.written_units = self.table.granted
        result.refused_uid_units = self.by_uid.refused
        result.partitions = len(self.table.partitions)
        result.splits = self.table.splits
        if result.done + result.dead == result.uploaded:
            result.drained_seconds = max(0.0, self.env.now - self.plan.upload_seconds)
        return result
