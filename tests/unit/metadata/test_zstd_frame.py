"""One frame that every decoder reads to its end (RFC 8878, RFC 9659)."""

from __future__ import annotations

import random
import sys
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicomulus.metadata.zstd_frame import FrameWriter
from tests.support.encodings import decoded

if sys.version_info >= (3, 14):
    from compression.zstd import ZstdDecompressor
else:
    from backports.zstd import ZstdDecompressor


def frame_of(pieces: list[bytes], *, level: int = 9) -> bytes:
    writer = FrameWriter(level=level)
    for piece in pieces:
        writer.write(piece)
    return writer.finish().data


@given(pieces=st.lists(st.binary(max_size=2_000), max_size=6), level=st.integers(1, 9))
def test_a_frame_is_read_as_it_was_written(pieces: list[bytes], level: int) -> None:
    text = b"".join(pieces)
    assert decoded(frame_of(pieces, level=level), "zstd") == text
    writer = FrameWriter(level=level)
    writer.write(text)
    block = writer.finish()
    assert (block.raw_length, block.crc32) == (len(text), zlib.crc32(text))


@given(pieces=st.lists(st.binary(max_size=2_000), max_size=6))
def test_it_is_a_single_frame(pieces: list[bytes]) -> None:
    """Some clients that ask for zstd stop after the first."""
    reader = ZstdDecompressor()
    text = reader.decompress(frame_of(pieces))
    assert (reader.eof, reader.unused_data) == (True, b"")
    assert text == b"".join(pieces)


@pytest.mark.parametrize("level", [1, 9])
def test_a_large_text_needs_no_larger_window_than_browsers_allow(level: int) -> None:
    noise = random.Random(level).randbytes(3_000_000)
    pieces = [noise, noise[::-1], noise, noise]
    assert decoded(frame_of(pieces, level=level), "zstd") == b"".join(pieces)


def test_a_damaged_frame_is_noticed_by_its_reader() -> None:
    frame = bytearray(frame_of([random.Random(1).randbytes(1_000)]))
    frame[500] ^= 1
    with pytest.raises(Exception, match="checksum"):
        decoded(bytes(frame), "zstd")
