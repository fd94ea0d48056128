from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicomulus.dicom.byte_source import (
    FIRST_READ_BYTES,
    LARGEST_READ_BYTES,
    NeedMoreError,
    Prefix,
    RangedSource,
)

_CONTENT = bytes(range(256)) * 2048


class _Store:
    def __init__(self, content: bytes) -> None:
        self.content = content
        self.reads: list[tuple[int, int]] = []

    def fetch(self, start: int, length: int) -> bytes:
        self.reads.append((start, length))
        return self.content[start : start + length]


def test_a_prefix_names_exactly_what_it_lacks() -> None:
    source = Prefix(_CONTENT[:100], 1000)
    assert source.read(90, 10) == _CONTENT[90:100]
    with pytest.raises(NeedMoreError) as caught:
        source.read(90, 50)
    assert (caught.value.start, caught.value.end) == (100, 140)


def test_a_prefix_is_short_only_at_the_end_of_the_object() -> None:
    source = Prefix(b"abc", 3)
    assert (source.read(1, 10), source.read(3, 1), source.read(9, 4)) == (b"bc", b"", b"")
    with pytest.raises(NeedMoreError):
        Prefix(b"abc", 4).read(0, 10)


@given(
    reads=st.lists(
        st.tuples(st.integers(0, len(_CONTENT) + 10), st.integers(0, 100_000)), max_size=20
    ),
    near_bytes=st.sampled_from([0, 4096, 1_048_576]),
)
def test_ranged_reads_give_the_bytes_of_the_object(
    reads: list[tuple[int, int]], near_bytes: int
) -> None:
    source = RangedSource(_Store(_CONTENT).fetch, len(_CONTENT), near_bytes=near_bytes)
    for start, length in reads:
        assert source.read(start, length) == _CONTENT[start : start + length]


def test_a_header_within_the_first_read_takes_one_read() -> None:
    store = _Store(_CONTENT)
    source = RangedSource(store.fetch, len(_CONTENT))
    for start in range(0, FIRST_READ_BYTES, 64):
        source.read(start, 64)
    assert store.reads == [(0, FIRST_READ_BYTES)]


def test_reading_on_asks_for_ever_more_without_asking_twice() -> None:
    store = _Store(_CONTENT)
    source = RangedSource(store.fetch, len(_CONTENT))
    for start in range(0, len(_CONTENT), 1024):
        source.read(start, 1024)
    assert len(store.reads) <= 4
    assert all(start + length == after for (start, length), (after, _) in pairwise(store.reads))


def test_far_jumps_read_little() -> None:
    store = _Store(bytes(64 * 1_048_576))
    source = RangedSource(store.fetch, len(store.content), near_bytes=1_048_576)
    for start in range(0, len(store.content), 4 * 1_048_576):
        source.read(start, 16)
    assert sum(length for _, length in store.reads) < 2 * FIRST_READ_BYTES


def test_short_jumps_share_large_reads() -> None:
    store = _Store(bytes(64 * 1_048_576))
    source = RangedSource(store.fetch, len(store.content), near_bytes=1_048_576)
    for start in range(0, len(store.content), 50_000):
        source.read(start, 16)
    assert len(store.reads) < 20
    assert max(length for _, length in store.reads) <= LARGEST_READ_BYTES


def test_the_start_stays_at_hand() -> None:
    store = _Store(_CONTENT)
    source = RangedSource(store.fetch, len(_CONTENT))
    source.read(0, 8)
    source.read(400_000, 8)
    reads = len(store.reads)
    assert source.read(128, 4) == _CONTENT[128:132]
    assert len(store.reads) == reads
