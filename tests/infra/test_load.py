"""What a deployment is asked to carry."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from dicomulus.adapters.aws.limits import COMPACT_BATCH, INGEST_BATCH
from dicomulus.adapters.aws.schema import UID_INDEX
from infra.deployment import MAX_INGEST_BATCH, NEW_TABLE_WRITE_UNITS, Deployment
from tests.benchmarks.simulation import capacity, scenarios

if TYPE_CHECKING:
    from tests.infra.conftest import Synthesised


def mappings(synthesised: Synthesised) -> set[tuple[int, int]]:
    """Give messages at once and functions at a time of each queue that feeds a function."""
    found = synthesised.resources("AWS::Lambda::EventSourceMapping").values()
    return {
        (
            each["Properties"]["BatchSize"],
            each["Properties"]["ScalingConfig"]["MaximumConcurrency"],
        )
        for each in found
    }


def table(synthesised: Synthesised) -> dict[str, Any]:
    """Give the properties of the table."""
    (found,) = synthesised.resources("AWS::DynamoDB::Table").values()
    properties: dict[str, Any] = found["Properties"]
    return properties


def test_functions_take_what_their_queues_give_by_default(synthesised: Synthesised) -> None:
    assert mappings(synthesised) == {
        (INGEST_BATCH.messages, INGEST_BATCH.functions),
        (COMPACT_BATCH.messages, COMPACT_BATCH.functions),
    }
    assert "WarmThroughput" not in table(synthesised)


def test_more_functions_ingest_larger_batches_where_that_is_asked_for(
    open_stage: Synthesised,
) -> None:
    assert (100, 500) in mappings(open_stage)
    assert (COMPACT_BATCH.messages, COMPACT_BATCH.functions) in mappings(open_stage)


def test_the_table_and_its_busy_index_are_warm_where_that_is_asked_for(
    open_stage: Synthesised,
) -> None:
    warm = {"WriteUnitsPerSecond": 40_000, "ReadUnitsPerSecond": 120_000}
    properties = table(open_stage)
    assert properties["WarmThroughput"] == warm
    indexes = {each["IndexName"]: each for each in properties["GlobalSecondaryIndexes"]}
    assert {name for name, each in indexes.items() if "WarmThroughput" in each} == {UID_INDEX}
    assert indexes[UID_INDEX]["WarmThroughput"] == warm


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("ingest_concurrency", "1"),
        ("ingest_concurrency", "1001"),
        ("ingest_batch", "0"),
        ("ingest_batch", "101"),
        ("warm_write_units", "100"),
    ],
)
def test_what_nothing_carries_is_refused_by_name(key: str, value: str) -> None:
    with pytest.raises(ValueError, match=key):
        Deployment.from_context({key: value}.get)


def test_what_is_simulated_can_be_deployed() -> None:
    Deployment(
        ingest_concurrency=scenarios.LARGE_FUNCTIONS,
        ingest_batch=scenarios.LARGE_BATCH,
        warm_write_units=scenarios.LARGE_WRITE_UNITS,
    )
    assert scenarios.LARGE_BATCH <= MAX_INGEST_BATCH
    assert capacity.NEW_TABLE_WRITE_UNITS == NEW_TABLE_WRITE_UNITS
