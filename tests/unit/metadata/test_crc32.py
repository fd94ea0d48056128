"""CRC-32 of joined texts, against zlib."""

from __future__ import annotations

import zlib

from hypothesis import given
from hypothesis import strategies as st

from dicomulus.metadata.crc32 import combine


@given(first=st.binary(max_size=300), second=st.binary(max_size=300))
def test_combined_is_the_crc_of_both_joined(first: bytes, second: bytes) -> None:
    combined = combine(zlib.crc32(first), zlib.crc32(second), len(second))
    assert combined == zlib.crc32(first + second)


@given(length=st.integers(min_value=0, max_value=3_000_000))
def test_the_second_text_may_be_long(length: int) -> None:
    second = bytes(length)
    assert combine(zlib.crc32(b"["), zlib.crc32(second), length) == zlib.crc32(b"[" + second)


@given(
    first=st.integers(0, 2**32 - 1),
    second=st.integers(0, 2**32 - 1),
    third=st.integers(0, 2**32 - 1),
    lengths=st.tuples(st.integers(0, 2**40), st.integers(0, 2**40)),
)
def test_it_does_not_matter_which_texts_are_joined_first(
    first: int, second: int, third: int, lengths: tuple[int, int]
) -> None:
    left = combine(combine(first, second, lengths[0]), third, lengths[1])
    right = combine(first, combine(second, third, lengths[1]), sum(lengths))
    assert left == right
