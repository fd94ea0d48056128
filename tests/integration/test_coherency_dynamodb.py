"""The same runs on DynamoDB: actors stop, and die, between any two requests to the table."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pytest

from dicomulus.adapters.aws.dynamodb_index import DynamoDbIndex
from dicomulus.adapters.aws.dynamodb_table import DynamoDbTable
from tests.support.aws import REGION, MotoAws, empty_table, moto_aws
from tests.support.memory_store import MemoryStore
from tests.support.simulation import Simulation, World, pause

if TYPE_CHECKING:
    from collections.abc import Iterator

STEPS = 300
SEEDS = range(8)


@pytest.fixture(scope="module")
def aws() -> Iterator[MotoAws]:
    with moto_aws() as played:
        yield played


@pytest.fixture
def index(aws: MotoAws) -> Iterator[DynamoDbIndex]:
    """Give an empty index whose every request is a step of its actor."""
    empty_table(aws)
    table = DynamoDbTable(aws.table_name, region=REGION)

    def before_request(**_: Any) -> None:
        pause()

    table.client.meta.events.register("before-call.dynamodb", before_request)
    yield DynamoDbIndex(table, search_shards=2)
    table.client.meta.events.unregister("before-call.dynamodb", before_request)


@pytest.mark.parametrize("seed", SEEDS)
def test_table_and_objects_agree_whatever_happens_between_two_requests(
    seed: int, index: DynamoDbIndex
) -> None:
    world = World()
    simulation = Simulation(
        random.Random(seed),
        index=index,
        storage=MemoryStore(world.clock_ms),
        cache=MemoryStore(world.clock_ms),
        world=world,
        pause_index=False,
    )
    simulation.run(STEPS)
    simulation.settle()
    simulation.sweep()
    simulation.check()
