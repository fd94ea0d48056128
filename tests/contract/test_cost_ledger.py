"""The package's ledger, against a count of the deployed archive on fewer instances."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dicomulus.cli.cost import ledger as names
from dicomulus.cli.cost.ledger import Ledger, read_ledger
from tests.benchmarks.ledger import INSTANCES, count_ledger

if TYPE_CHECKING:
    from dicomulus.cli.cost.ledger import Operation

FEWER = 33
"""One more than a batch."""

ANEW = (
    "run: python -m tests.benchmarks.ledger --count --update, "
    "then python -m tests.benchmarks.cost_document --update-docs"
)

# What does not depend on how many instances the series has, or how many studies are listed.
SAME = (
    names.INGEST_SHORT,
    names.INGEST_SHORT_CANONICAL,
    names.INGEST_ONE,
    names.INGEST_FULL,
    names.INGEST_MIXED,
    names.STABILITY,
    names.SWEEP,
    names.STUDY_BY_UID,
    names.SERIES_LIST,
    names.SERIES_METADATA,
    names.NOT_MODIFIED,
    names.STUDY_METADATA,
    names.INSTANCE_METADATA,
    names.FRAME,
)


@pytest.fixture(scope="module")
def counted() -> Ledger:
    return count_ledger(instances=FEWER, studies_listed=2, previous=None)


@pytest.fixture(scope="module")
def kept() -> Ledger:
    return read_ledger()


def counts(operation: Operation) -> object:
    return (
        operation.count,
        operation.invocations,
        operation.requests,
        operation.read_units,
        operation.written,
        operation.sqs_requests,
        operation.rounds,
    )


@pytest.mark.parametrize("name", SAME)
def test_an_operation_asks_what_the_ledger_says(counted: Ledger, kept: Ledger, name: str) -> None:
    assert counts(counted[name]) == counts(kept[name]), ANEW


@pytest.mark.parametrize("name", [names.INGEST, names.INGEST_CANONICAL])
def test_a_longer_series_asks_for_that_much_more(counted: Ledger, kept: Ledger, name: str) -> None:
    fewer, whole = counted[name], kept[name]
    more = whole.count - fewer.count
    batches = whole.invocations - fewer.invocations
    for operation in ("s3:GetObject", "s3:HeadObject"):
        assert whole.requests[operation] - fewer.requests[operation] == more, ANEW
    reads = fewer.requests["dynamodb:BatchGetItem"] / fewer.invocations
    assert whole.requests["dynamodb:BatchGetItem"] == reads * whole.invocations, ANEW
    # A row and its UID each, the key's own item where it has one, the version once a batch.
    assert whole.written["by_uid"] - fewer.written["by_uid"] == more, ANEW
    assert whole.written.get("object", 0) - fewer.written.get("object", 0) == (
        more if name == names.INGEST else 0
    ), ANEW
    assert whole.written["study"] - fewer.written["study"] == more + batches, ANEW


@pytest.mark.parametrize("name", [names.RECONCILE_OBJECTS, names.RECONCILE_CANONICAL])
def test_comparing_reads_as_much_of_each_object(counted: Ledger, kept: Ledger, name: str) -> None:
    fewer, whole = counted[name], kept[name]
    # A page that is begun counts as a whole.
    each = fewer.read_units / fewer.count
    assert whole.read_units / whole.count == pytest.approx(each, abs=0.1), ANEW


def test_items_are_as_large_as_the_ledger_says(counted: Ledger, kept: Ledger) -> None:
    assert kept.instances == INSTANCES
    assert counted.stored.instance == pytest.approx(kept.stored.instance, rel=0.05), ANEW
    assert counted.stored.series == pytest.approx(kept.stored.series, rel=0.05), ANEW
    assert counted.stored.study == pytest.approx(kept.stored.study, rel=0.05), ANEW


def test_what_functions_are_given_is_what_is_deployed(counted: Ledger, kept: Ledger) -> None:
    for name in (
        "memory_mb",
        "ingest_batch",
        "ingest_window_seconds",
        "ingest_functions",
        "compact_batch",
        "compact_functions",
        "reconcile_batch",
        "search_shards",
        "sweep_minutes",
        "metrics",
    ):
        assert getattr(counted.deployed, name) == getattr(kept.deployed, name), ANEW
