"""The DynamoDB index keeps the contract of ``Index``, and what it promises beyond."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dicomulus.adapters.aws.dynamodb_index import DynamoDbIndex
from dicomulus.adapters.aws.dynamodb_table import DynamoDbTable
from tests.support.aws import REGION, empty_table, moto_aws
from tests.support.index_contract import IndexContract

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.aws import MotoAws


@pytest.fixture(scope="module")
def aws() -> Iterator[MotoAws]:
    with moto_aws() as aws:
        yield aws


@pytest.fixture(scope="module")
def connected(aws: MotoAws) -> DynamoDbTable:
    return DynamoDbTable(aws.table_name, region=REGION)


@pytest.fixture
def table(aws: MotoAws, connected: DynamoDbTable) -> DynamoDbTable:
    empty_table(aws)
    return connected


class TestDynamoDbIndex(IndexContract):
    MANY = 120

    @pytest.fixture
    def index(self, table: DynamoDbTable) -> Iterator[DynamoDbIndex]:
        yield DynamoDbIndex(table, search_shards=4)  # noqa: PT022  (as the contract has it)
