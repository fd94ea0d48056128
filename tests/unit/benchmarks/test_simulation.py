"""The simulation, where the answer is known."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from dicomulus.cli.cost import ledger as names
from dicomulus.cli.cost.latencies import Latency, latency_of
from dicomulus.cli.cost.ledger import Round, read_ledger
from tests.benchmarks.simulation.__main__ import DOCUMENT
from tests.benchmarks.simulation.batches import BatchShape
from tests.benchmarks.simulation.capacity import Budget, Table
from tests.benchmarks.simulation.document import (
    QUICK,
    SIMULATED,
    places,
    with_quick,
    write_charts,
)
from tests.benchmarks.simulation.ingest import IngestPlan, simulate_ingest
from tests.benchmarks.simulation.latency import Samples
from tests.benchmarks.simulation.limits import uses
from tests.benchmarks.simulation.scenarios import Scenario, run_scenario, scenarios
from tests.benchmarks.simulation.viewers import ViewerPlan, simulate_viewers

if TYPE_CHECKING:
    from pathlib import Path

    from dicomulus.cli.cost.ledger import Ledger

CANONICAL = BatchShape(read_ledger(), canonical=True)
ANY_KEYS = BatchShape(read_ledger())


class ConstantSamples(Samples):
    """Writing rows takes one second, all else nothing."""

    def one(self, latency: Latency) -> float:
        return 0.0

    def many(self, latency: Latency, count: int) -> Any:
        return np.zeros(count)

    def of_round(self, each: Round) -> float:
        return 1.0 if each.operation == "dynamodb:BatchWriteItem" else 0.0


@pytest.fixture(scope="module")
def ledger() -> Ledger:
    return read_ledger()


# --- partitions -----------------------------------------------------------------------------------


def test_a_partition_takes_its_units_a_second_and_no_more() -> None:
    budget = Budget(1_000)
    for tick in range(600):
        budget.take(150, tick / 10)
    # The first second's is there when it begins.
    assert budget.granted == pytest.approx(1_000 * 61, rel=0.01)
    assert budget.refused == pytest.approx(600 * 150 - budget.granted)


def test_what_is_not_used_is_not_kept() -> None:
    budget = Budget(1_000)
    assert budget.take(5_000, 100.0) == 1_000


def test_a_partition_that_refuses_for_long_is_split() -> None:
    table = Table([1], write_units=1_000, split_seconds=30, seed=1)
    granted = [table.write(1, 200, tick / 10) for tick in range(600)]
    assert table.splits == 1
    assert sum(granted[100:200]) == pytest.approx(10 * 1_000, rel=0.02)
    assert sum(granted[400:500]) == pytest.approx(10 * 2_000, rel=0.05)


def test_without_splits_a_table_keeps_its_partitions() -> None:
    table = Table(range(10), write_units=4_000, split_seconds=None, seed=1)
    for tick in range(600):
        table.write(tick % 10, 1_000, tick / 10)
    assert len(table.partitions) == 4


# --- batches --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "instances", "series"),
    [(names.INGEST_ONE, 1, 1), (names.INGEST_FULL, 32, 1), (names.INGEST_MIXED, 32, 32)],
)
def test_a_batch_asks_what_the_ledger_has_counted(
    ledger: Ledger, name: str, instances: int, series: int
) -> None:
    assert ANY_KEYS.rounds(instances, series) == ledger[name].rounds
    units = ANY_KEYS.instance_units * instances + ANY_KEYS.series_units * series
    assert units == ledger[name].written["study"]
    seconds = ANY_KEYS.processor_seconds(instances, series)
    assert CANONICAL.processor_seconds(instances, series) == pytest.approx(
        ledger[name].processor_ms / 1000
    )
    assert seconds >= CANONICAL.processor_seconds(instances, series)


def test_the_rate_of_one_study_follows_from_its_write_units() -> None:
    """A row each, the version once a batch, and a fourth of the items of keys on four partitions."""
    alone = CANONICAL.study_rate(partition_units=1_000, partitions=None)
    assert alone == pytest.approx(1_000 / (1 + 1 / 32))
    beside = ANY_KEYS.study_rate(partition_units=1_000, partitions=4)
    assert beside == pytest.approx(1_000 / (1 + 1 / 32 + 1 / 4))


# --- ingest ---------------------------------------------------------------------------------------


def test_a_queue_with_constant_service_waits_as_theory_says() -> None:
    """M/D/5 at 80%: half of the wait of M/M/5, and a little more (Cosmetatos)."""
    servers, service = 5, 1.0 + CANONICAL.processor_seconds(1, 1)
    rate = 0.8 * servers / service
    plan = IngestPlan(
        uploads_a_second=rate,
        upload_seconds=4_000,
        studies=50,
        functions=servers,
        batch=1,
        window_seconds=0.02,
        longest_seconds=5_000,
        seed=5,
    )
    run = simulate_ingest(plan, CANONICAL, samples=ConstantSamples(1))
    load = rate * service
    terms = [load**n / math.factorial(n) for n in range(servers)]
    last = load**servers / math.factorial(servers) / (1 - load / servers)
    erlang_c = last / (sum(terms) + last)
    markov = erlang_c * service / (servers - load)
    share = load / servers
    exact = 1 + (1 - share) * (servers - 1) * (math.sqrt(4 + 5 * servers) - 2) / (
        16 * servers * share
    )
    wait = float(np.mean(run.latencies)) - service
    # Pollers look every 20 ms, and events come every 50.
    assert wait == pytest.approx(markov / 2 * exact + 0.035, rel=0.15)
    assert run.functions_at_work == pytest.approx(load, rel=0.03)


def test_more_than_a_study_takes_waits_and_drains_without_loss() -> None:
    rate = CANONICAL.study_rate(partition_units=1_000, partitions=None)
    plan = IngestPlan(
        uploads_a_second=2 * rate,
        upload_seconds=20,
        studies=1,
        series_instances=100_000,
        seed=3,
    )
    run = simulate_ingest(plan, CANONICAL)
    assert (run.lost, run.dead) == (0, 0)
    assert run.done == run.uploaded
    assert run.deepest > rate * 10
    # What was too much takes as long again, with the start and some retries.
    assert 18 < run.drained_seconds < 70
    assert run.written_units == pytest.approx(run.uploaded / rate * 1_000, rel=0.05)
    (first, *_) = uses(plan, run, None, shape=CANONICAL)
    assert first.share > 1


def test_the_same_seed_gives_the_same_run() -> None:
    plan = IngestPlan(uploads_a_second=100, upload_seconds=10, studies=5)
    once, again = (simulate_ingest(plan, ANY_KEYS) for _ in range(2))
    assert once.latencies.tolist() == again.latencies.tolist()
    assert once.lost == 0
    assert once.done == 1_000


# --- viewers --------------------------------------------------------------------------------------


def test_functions_at_work_are_requests_times_their_time(ledger: Ledger) -> None:
    """Little's law."""
    plan = ViewerPlan(viewers=100, seconds=30)
    run = simulate_viewers(plan, ledger)
    assert run.requests_a_second == pytest.approx(plan.requests_a_second, rel=0.05)
    mean = sum(each.count * each.p50_ms for each in run.answers) / 1000 / plan.seconds
    assert 0.4 * mean < run.functions_at_work < 1.6 * mean


def test_readers_whom_the_account_has_no_room_for_are_throttled(ledger: Ledger) -> None:
    plan = ViewerPlan(viewers=100, seconds=10)
    assert simulate_viewers(plan, ledger).throttled == 0
    assert simulate_viewers(plan, ledger, beside=[1_000.0] * 10).throttled > 0


def test_readers_whom_the_gateway_refuses_are_throttled(ledger: Ledger) -> None:
    plan = ViewerPlan(viewers=100, seconds=10, throttle_rate=50)
    run = simulate_viewers(plan, ledger)
    assert run.throttled == pytest.approx(10 * (run.requests_a_second - 50), rel=0.05)


def test_a_chart_has_a_line_for_each_load(tmp_path: Path, ledger: Ledger) -> None:
    plan = IngestPlan(uploads_a_second=50, upload_seconds=5, studies=1)
    outcomes = [
        run_scenario(Scenario("some", "as deployed", each), ledger=ledger, shape=CANONICAL)
        for each in (plan, replace(plan, studies=2), replace(plan, studies=3))
    ]
    write_charts(outcomes, tmp_path)
    drawn = {path.name: path.read_text().count("<polyline") for path in tmp_path.iterdir()}
    assert drawn == {"scale-one-study.svg": 1, "scale-many-studies.svg": 2}
    text = "\n".join(made(outcomes) for made in SIMULATED.values())
    assert text.count("| some |") == 2 * len(outcomes)


# --- latencies, and the document ------------------------------------------------------------------


def test_samples_have_the_published_median_and_percentile() -> None:
    latency = latency_of("s3:GetObject")
    drawn = 1000 * Samples(1).many(latency, 100_000)
    assert np.median(drawn) == pytest.approx(latency.median_ms, rel=0.02)
    assert np.percentile(drawn, 99) == pytest.approx(latency.p99_ms, rel=0.05)
    assert drawn.mean() == pytest.approx(latency.mean_ms, rel=0.02)


def test_the_document_has_the_figures_that_need_no_simulation(ledger: Ledger) -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    told = "run: python -m tests.benchmarks.simulation --update-docs"
    assert with_quick(text, ANY_KEYS) == text, told
    assert set(places(text)) == {*QUICK, *SIMULATED}
    assert all(each.name in text for each in scenarios(ledger, ANY_KEYS)), told
