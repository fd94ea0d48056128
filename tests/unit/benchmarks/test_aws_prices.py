"""What DynamoDB counts, against the rules and examples of its documentation."""

from __future__ import annotations

from collections import Counter

import pytest

from dicomulus.adapters.aws.schema import IndexSchema, KeyAttribute
from dicomulus.adapters.aws.table import item_size_bytes
from tests.benchmarks.aws_prices import Bill, index_write_units, read_units, write_units

BY_DATE = IndexSchema(
    name="by_date", partition_key=KeyAttribute("h"), sort_key=KeyAttribute("d"), carried=("c",)
)
STUDY = {"p": {"S": "x"}, "s": {"S": "y"}, "h": {"S": "1"}, "d": {"S": "2024"}, "b": {"S": "b"}}


def item_of(size: int) -> dict[str, dict[str, str]]:
    """An item that counts as so many bytes."""
    item = {"p": {"S": "x"}, "b": {"S": "b" * (size - 3)}}
    assert item_size_bytes(item) == size
    return item


@pytest.mark.parametrize(
    ("read_bytes", "strong", "eventual"),
    [(0, 1, 0.5), (1, 1, 0.5), (4096, 1, 0.5), (4097, 2, 1), (10_240, 3, 1.5)],
)
def test_a_read_is_counted_in_4_kb_and_halved_if_not_strong(
    read_bytes: int, strong: float, eventual: float
) -> None:
    assert read_units(read_bytes, is_strong=True) == strong
    assert read_units(read_bytes, is_strong=False) == eventual


@pytest.mark.parametrize(("size", "units"), [(10, 1), (1024, 1), (1025, 2), (3500, 4)])
def test_a_write_is_counted_in_1_kb(size: int, units: int) -> None:
    assert write_units(None, item_of(size)) == units


def test_a_write_counts_as_the_larger_of_before_and_after() -> None:
    assert write_units(item_of(5000), item_of(100)) == 5
    assert write_units(item_of(100), item_of(5000)) == 5


def test_removing_what_is_not_there_is_one_unit() -> None:
    assert write_units(None, None) == 1


@pytest.mark.parametrize(
    ("before", "after", "units"),
    [
        pytest.param(None, STUDY, 1, id="comes"),
        pytest.param(STUDY, None, 1, id="goes"),
        pytest.param(STUDY, {**STUDY, "b": {"S": "other"}}, 0, id="what-it-does-not-hold-changes"),
        pytest.param(STUDY, {**STUDY, "c": {"S": "other"}}, 1, id="what-it-carries-changes"),
        pytest.param(STUDY, {**STUDY, "d": {"S": "2025"}}, 2, id="its-key-changes"),
        pytest.param(STUDY, {k: v for k, v in STUDY.items() if k != "d"}, 1, id="its-key-goes"),
        pytest.param({"p": {"S": "x"}}, {"p": {"S": "x"}, "b": {"S": "b"}}, 0, id="never-in-it"),
    ],
)
def test_an_index_counts_what_moves_in_it(
    before: dict[str, dict[str, str]] | None, after: dict[str, dict[str, str]] | None, units: int
) -> None:
    assert index_write_units(before, after, [BY_DATE]) == units


def test_every_index_counts() -> None:
    by_shard = IndexSchema(name="by_shard", partition_key=KeyAttribute("h"))
    assert index_write_units(None, STUDY, [BY_DATE, by_shard]) == 2


def test_a_bill_adds_what_the_services_charge() -> None:
    bill = Bill(
        requests=Counter({"s3:GetObject": 10, "s3:PutObject": 1, "dynamodb:GetItem": 4}),
        read_units=8,
        write_units=4,
        sqs_requests=5,
    )
    expected = 8 * 0.125e-6 + 4 * 0.625e-6 + 5 * 0.4e-6 + 10 * 0.4e-6 + 1 * 5e-6
    assert bill.usd == pytest.approx(expected)
