"""What the benchmark says that DynamoDB reads for a search, against what is metered there."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Final

import boto3
import pytest

from dicomulus.adapters.aws.dynamodb_index import DynamoDbIndex
from dicomulus.adapters.aws.dynamodb_table import DynamoDbTable
from dicomulus.adapters.local.sqlite_index import SqliteIndex
from tests.benchmarks.aws_meter import Meter
from tests.benchmarks.search_prices import SHARDS, PricedIndex, item_sizes
from tests.benchmarks.search_questions import DESCRIPTIONS, KEYED, QUESTIONS
from tests.support.aws import REGION, moto_aws
from tests.support.search_archive import search_of
from tests.support.synthetic_studies import add_studies

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.benchmarks.aws_prices import Bill
    from tests.benchmarks.search_prices import ItemSizes
    from tests.benchmarks.search_questions import Question

STUDIES: Final = range(440, 600)
"""As many as moto reads in little time, those of the keyed searches among them."""

ASKED: Final = (*KEYED, *DESCRIPTIONS[1:], *(each for each in QUESTIONS if each.is_count))


@pytest.fixture(scope="module")
def table() -> Iterator[DynamoDbIndex]:
    with moto_aws() as aws:
        index = DynamoDbIndex(DynamoDbTable(aws.table_name, region=REGION), search_shards=SHARDS)
        add_studies(index, STUDIES, has_series=False)
        yield index


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SqliteIndex]:
    folder: Path = tmp_path_factory.mktemp("priced")
    with closing(SqliteIndex(folder / "index.sqlite")) as index:
        add_studies(index, STUDIES, has_series=False)
        yield index


@pytest.fixture(scope="module")
def sizes() -> ItemSizes:
    return item_sizes()


def metered(table: DynamoDbIndex, question: Question) -> Bill:
    meter = Meter(boto3.client("dynamodb", region_name=REGION))
    meter.connect(table.table.client)
    with meter.reading() as bill:
        found = ask(table, question)
    assert found or question.name.endswith("no match")
    return bill


def ask(index: object, question: Question) -> int:
    search = search_of(index)
    if question.is_count:
        return search.count(question.query)
    return len(search.find(question.query).texts)


@pytest.mark.parametrize("question", ASKED, ids=lambda each: each.name)
def test_a_search_is_priced_as_the_table_would_be_read(
    table: DynamoDbIndex, file: SqliteIndex, sizes: ItemSizes, question: Question
) -> None:
    bill = metered(table, question)
    priced = PricedIndex(file, sizes)
    ask(priced, question)
    assert priced.bill.requests == bill.requests
    # Shards are not equally full, and each read is rounded up.
    assert priced.bill.read_units == pytest.approx(bill.read_units, abs=1)
