"""The loads that are simulated."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from tests.benchmarks.simulation.capacity import NEW_TABLE_WRITE_UNITS, PARTITION_WRITE_UNITS
from tests.benchmarks.simulation.ingest import IngestPlan, IngestRun, simulate_ingest
from tests.benchmarks.simulation.limits import LimitUse, uses
from tests.benchmarks.simulation.viewers import ViewerPlan, ViewerRun, simulate_viewers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dicomulus.cli.cost.ledger import Ledger
    from tests.benchmarks.simulation.batches import BatchShape

LARGE_FUNCTIONS: Final = 500
LARGE_WRITE_UNITS: Final = 80_000
LARGE_BATCH: Final = 100
"""Settings with which 10,000 uploads a second are simulated."""

SPLIT_SECONDS: Final = 60
"""Assumed: a partition that refuses for so long is split. AWS says minutes, and no figure."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """One load, and the settings that it meets."""

    name: str
    settings: str
    ingest: IngestPlan
    viewers: ViewerPlan | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a scenario came to."""

    scenario: Scenario
    ingest: IngestRun
    viewers: ViewerRun | None
    uses: list[LimitUse]


def scenarios(ledger: Ledger, shape: BatchShape) -> Iterator[Scenario]:
    """Give all of them."""
    deployed = IngestPlan(
        uploads_a_second=1_000,
        upload_seconds=180,
        studies=50,
        functions=ledger.deployed.ingest_functions,
        batch=ledger.deployed.ingest_batch,
        window_seconds=ledger.deployed.ingest_window_seconds,
        write_units=NEW_TABLE_WRITE_UNITS,
    )
    yield Scenario(
        "1,000 uploads/s of 50 studies, 500 viewers",
        "as deployed",
        deployed,
        ViewerPlan(seconds=180),
    )
    rate = shape.study_rate(
        partition_units=PARTITION_WRITE_UNITS,
        partitions=NEW_TABLE_WRITE_UNITS // PARTITION_WRITE_UNITS,
    )
    for factor in (0.9, 1.0, 3.0):
        seconds = 120 if factor < 3 else 60
        alone = replace(
            deployed,
            uploads_a_second=factor * rate,
            upload_seconds=seconds,
            studies=1,
            # Four series, one after the other.
            series_instances=round(factor * rate * seconds / 4),
        )
        yield Scenario(f"one study at {factor:g} times its rate", "as deployed", alone)
    much = replace(deployed, uploads_a_second=10_000, upload_seconds=30)
    yield Scenario("10,000 uploads/s of 50 studies", "as deployed", much)
    large = replace(
        much,
        upload_seconds=240,
        functions=LARGE_FUNCTIONS,
        write_units=LARGE_WRITE_UNITS,
        batch=LARGE_BATCH,
        split_seconds=SPLIT_SECONDS,
    )
    for studies in (20, 50, 200):
        yield Scenario(
            f"10,000 uploads/s of {studies} studies", "large", replace(large, studies=studies)
        )


def run_scenario(scenario: Scenario, *, ledger: Ledger, shape: BatchShape) -> Outcome:
    """Simulate a load; readers share the account with ingest."""
    ingested = simulate_ingest(scenario.ingest, shape)
    viewed = None
    if scenario.viewers is not None:
        beside = [at_work for *_, at_work in ingested.series]
        viewed = simulate_viewers(scenario.viewers, ledger, beside=beside)
    found = uses(scenario.ingest, ingested, viewed, shape=shape)
    return Outcome(scenario, ingested, viewed, found)


def run_all(ledger: Ledger, shape: BatchShape, *, tell: Callable[[str], None]) -> Iterator[Outcome]:
    """Simulate all loads."""
    for scenario in scenarios(ledger, shape):
        tell(f"{scenario.name}, {scenario.settings}")
        yield run_scenario(scenario, ledger=ledger, shape=shape)
