"""Frames that stand one after the other (RFC 8878, RFC 9659)."""

from __future__ import annotations

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicomulus.metadata.assembly import encoded, json_array
from dicomulus.metadata.zstd_assembly import compress, frames, verbatim
from tests.support.encodings import decoded

texts = st.lists(st.binary(max_size=2_000), max_size=6)


@given(parts=st.lists(texts, min_size=1, max_size=5), level=st.integers(1, 9))
def test_frames_hold_their_texts_joined(parts: list[list[bytes]], level: int) -> None:
    blocks = [compress(part, level=level) for part in parts]
    text = b"".join(b"".join(part) for part in parts)
    assert decoded(b"".join(frames(blocks)), "zstd") == text
    assert sum(block.raw_length for block in blocks) == len(text)


@pytest.mark.parametrize("length", [0, 1, 255, 256, 257, 8_192, 65_535, 65_791])
def test_a_text_is_framed_as_it_is(length: int) -> None:
    text = random.Random(length).randbytes(length)
    block = verbatim(text)
    assert text in block.data
    assert decoded(block.data, "zstd") == text
    assert decoded(block.data * 2, "zstd") == text * 2


@given(members=st.lists(st.lists(st.integers(), min_size=1), max_size=4))
def test_members_of_frames_stand_in_one_array(members: list[list[int]]) -> None:
    blocks = [compress([",".join(map(str, each)).encode()], level=1) for each in members]
    answer = encoded(json_array(blocks, encoding="zstd"), encoding="zstd")
    text = decoded(b"".join(answer), "zstd")
    assert json.loads(text) == [number for each in members for number in each]


@pytest.mark.parametrize("level", [1, 9])
def test_a_large_text_needs_no_larger_window_than_browsers_allow(level: int) -> None:
    noise = random.Random(level).randbytes(3_000_000)
    pieces = [noise, noise[::-1], noise, noise]
    assert decoded(compress(pieces, level=level).data, "zstd") == b"".join(pieces)


def test_a_damaged_frame_is_noticed_by_its_reader() -> None:
    frame = bytearray(compress([random.Random(1).randbytes(1_000)], level=1).data)
    frame[500] ^= 1
    with pytest.raises(Exception, match="checksum"):
        decoded(bytes(frame), "zstd")
