"""Many numbers in few bytes, with quick sums."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicomulus.dicom.numbers import Numbers

SMALL_AND_LARGE = st.one_of(st.integers(0, 300), st.integers(0, 2**40))


@given(values=st.lists(SMALL_AND_LARGE, max_size=40), repeats=st.integers(1, 40))
def test_they_are_kept_written_and_added_up(values: list[int], repeats: int) -> None:
    values = values * repeats
    numbers = Numbers.of(values)
    assert list(numbers) == values
    assert len(numbers) == len(values)
    assert numbers.total == sum(values)
    for index in {0, len(values) // 2, max(0, len(values) - 1), len(values)}:
        assert numbers.before(index) == sum(values[:index])
    packed = b"x" + numbers.pack() + b"y"
    assert Numbers.unpack(packed, 1, len(values)) == (numbers, len(packed) - 1)


@pytest.mark.parametrize(("largest", "width"), [(255, 1), (256, 2), (65_536, 4), (2**32, 8)])
def test_they_take_the_bytes_that_the_largest_needs(largest: int, width: int) -> None:
    assert len(Numbers.of([1, largest]).pack()) == 1 + 2 * width
    assert Numbers.of([largest] * 1_000).held_bytes <= 1_000 * width + 50


def test_a_million_numbers_take_no_objects() -> None:
    numbers = Numbers.of(range(70_000, 1_070_000))
    assert numbers.held_bytes < 4.1 * 1_000_000
    assert numbers.before(999_999) == sum(range(70_000, 1_069_999))
