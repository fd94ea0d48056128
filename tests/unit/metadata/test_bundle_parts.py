"""A series is divided so that a change moves little."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING

import pytest

from dicomulus.metadata.bundle_parts import LEAST_BYTES, MOST_BYTES, plan
from tests.support.builders import fragment, instance_of, instance_row

if TYPE_CHECKING:
    from dicomulus.ports import InstanceRow

INSTANCE_BYTES = 9_000


def rows_of(instances: int, *, raw_length: int = INSTANCE_BYTES) -> list[InstanceRow]:
    """Give rows of instances whose JSON would be so long."""
    return [
        instance_row(
            instance_of(1, 1, number),
            fragment=replace(fragment(f"{number}".encode()), raw_length=raw_length),
        )
        for number in range(instances)
    ]


@pytest.mark.parametrize("instances", [0, 1, 450, 3_000, 10_000])
def test_every_instance_is_in_one_part_in_order(instances: int) -> None:
    rows = rows_of(instances)
    parts = list(plan(rows))
    assert list(chain.from_iterable(part.rows for part in parts)) == rows
    assert len({part.digest for part in parts}) == len(parts)


def test_an_ordinary_series_is_one_part() -> None:
    assert len(list(plan(rows_of(450)))) == 1


@pytest.mark.parametrize("raw_length", [INSTANCE_BYTES, 500_000, 20_000_000])
def test_a_part_is_not_much_longer_than_its_bound(raw_length: int) -> None:
    for part in plan(rows_of(2_000, raw_length=raw_length)):
        assert (len(part.rows) - 1) * raw_length < MOST_BYTES


def test_no_part_but_the_last_is_short() -> None:
    *parts, _ = plan(rows_of(10_000))
    assert len(parts) > 10
    assert all(len(part.rows) * INSTANCE_BYTES >= LEAST_BYTES for part in parts)


@pytest.mark.parametrize("position", [0, 5_000, 9_999])
def test_one_instance_more_or_less_leaves_most_parts_as_they_were(position: int) -> None:
    rows = rows_of(10_000)
    before = {part.digest for part in plan(rows)}
    after = {part.digest for part in plan(rows[:position] + rows[position + 1 :])}
    assert len(before - after) <= 3


def test_other_json_is_another_part() -> None:
    row = instance_row()
    digests = {
        next(plan([replace(row, fragment=each)])).digest
        for each in (
            row.fragment,
            fragment(b"other"),
            replace(row.fragment, dictionary="d"),
            replace(row.fragment, data=b"", pointer="p"),
            replace(row.fragment, data=b"", pointer="q"),
        )
    }
    assert len(digests) == 5
    assert next(plan([row])).digest in digests
