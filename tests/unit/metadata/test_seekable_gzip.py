"""The gzip member of compressed objects: any program inflates it, and every bit of it is checked."""

from __future__ import annotations

import gzip
import random
import shutil
import subprocess
import zlib
from array import array
from io import BytesIO
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicomulus.errors import CorruptObjectError
from dicomulus.metadata import seekable_gzip
from dicomulus.metadata.seekable_gzip import (
    CHUNK_EXPONENT,
    MAX_CHUNKS,
    MAX_HEADER_BYTES,
    Table,
    chunk_exponent_for,
    compress,
    header_bytes,
    is_worthwhile,
    parse,
)
from tests.support.compressed import member_of, smooth

if TYPE_CHECKING:
    from pathlib import Path

CHUNK = 1 << CHUNK_EXPONENT


def table_of(member: bytes) -> Table:
    table = parse(member[:MAX_HEADER_BYTES], len(member))
    assert table is not None
    return table


@pytest.mark.parametrize("length", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK + 5])
def test_any_program_inflates_it(length: int, tmp_path: Path) -> None:
    content = smooth(length)
    member = member_of(content)
    assert gzip.decompress(member) == content
    stream = zlib.decompressobj(zlib.MAX_WBITS | 16)
    assert stream.decompress(member) == content
    # One member: nothing is behind it that a browser would leave out.
    assert (stream.eof, stream.unused_data) == (True, b"")
    file = tmp_path / "object.gz"
    file.write_bytes(member)
    for program in ("gunzip", "zcat"):
        found = shutil.which(program)
        assert found
        with file.open("rb") as stdin:
            told = subprocess.run([found, "-c"], stdin=stdin, capture_output=True, check=True)
        assert told.stdout == content


@given(
    length=st.integers(0, 5 * CHUNK),
    start=st.floats(0, 1),
    end=st.floats(0, 1),
    seed=st.integers(0, 9),
)
def test_a_range_needs_the_chunks_that_have_it_and_no_others(
    length: int, start: float, end: float, seed: int
) -> None:
    content = random.Random(seed).randbytes(1 + length // 3)[: length // 3] * 3
    member = member_of(content)
    table = table_of(member)
    low, high = sorted((round(start * len(content)), round(end * len(content))))
    if low == high:
        return
    span = table.span(low, high)
    stored = member[span.offset : span.offset + span.length]
    assert span.first * table.chunk_bytes <= low < (span.first + 1) * table.chunk_bytes
    found, at = b"", 0
    for number in range(span.first, span.end):
        found += table.inflate(number, stored[at : at + table.sizes[number]])
        at += table.sizes[number]
    begin = low - span.first * table.chunk_bytes
    assert found[begin : begin + high - low] == content[low:high]


def test_the_table_tells_what_the_content_is() -> None:
    content = smooth(2 * CHUNK + 7)
    member = member_of(content)
    table = table_of(member)
    assert (table.length, table.stored_length) == (len(content), len(member))
    assert table.crc32 == zlib.crc32(content)
    assert len(table.sizes) == 3


def test_a_file_is_compressed_from_where_it_stands() -> None:
    body = BytesIO(b"skippedDICM")
    body.seek(7)
    out = BytesIO()
    compress(body, out)
    assert gzip.decompress(out.getvalue()) == b"DICM"


@pytest.mark.parametrize("gibibytes", [0, 1, 5, 60])
def test_the_table_of_an_object_of_any_size_fits_the_extra_field(gibibytes: int) -> None:
    length = gibibytes << 30
    chunks = -(-length >> chunk_exponent_for(length))
    assert chunks <= MAX_CHUNKS
    assert header_bytes(chunks) <= MAX_HEADER_BYTES


def test_a_table_of_as_many_chunks_as_there_can_be_is_read_again() -> None:
    chunks = array("Q", [20, 1] * MAX_CHUNKS)
    table = Table.of(CHUNK, MAX_CHUNKS * CHUNK, 7, sha256=bytes(32), chunks=chunks)
    assert parse(table.header(), table.stored_length) == table
    assert len(table.header()) <= MAX_HEADER_BYTES


def test_every_bit_of_an_object_is_covered() -> None:
    """The header by its own checksum, the chunks by theirs, and the rest by being known."""
    content = smooth(900)
    member = member_of(content)
    table = table_of(member)
    for at in range(len(member)):
        for bit in range(8):
            damaged = bytearray(member)
            damaged[at] ^= 1 << bit
            again = parse(bytes(damaged[:MAX_HEADER_BYTES]), len(member))
            if at < table.offsets[0]:
                assert again is None
                continue
            assert again == table
            if at < table.offsets[-1]:
                with pytest.raises(CorruptObjectError):
                    table.inflate(0, damaged[table.offsets[0] : table.offsets[-1]])
            else:
                assert damaged[table.offsets[-1] :] != table.end


def test_what_is_cut_short_or_longer_is_not_of_the_form() -> None:
    member = member_of(smooth(3 * CHUNK))
    for length in (0, 1, 11, 40, len(member) - 1):
        assert parse(member[:length][:MAX_HEADER_BYTES], length) is None
    assert parse(member[:MAX_HEADER_BYTES], len(member) + 1) is None


@pytest.mark.parametrize(
    "content",
    [
        gzip.compress(b"DICM"),
        bytes.fromhex("1f8b08040000000000ff") + bytes(100),
        bytes.fromhex("1f8b08040000000000ff060042430200ffff") + bytes(100),
        b"DICM" * 100,
        b"",
    ],
    ids=["plain gzip", "no subfield", "BGZF", "no gzip", "nothing"],
)
def test_gzip_of_others_is_not_of_the_form(content: bytes) -> None:
    assert parse(content, len(content)) is None


def test_a_chunk_is_not_inflated_beyond_what_its_table_says() -> None:
    """A bomb: a table whose checksums are right and whose lengths are not."""
    stream = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    bomb = stream.compress(bytes(100_000_000)) + stream.flush(zlib.Z_FULL_FLUSH)
    chunks = array("Q", [len(bomb), zlib.crc32(bomb)])
    table = Table.of(CHUNK, 1_000, 0, sha256=bytes(32), chunks=chunks)
    with pytest.raises(CorruptObjectError, match="as long as"):
        table.inflate(0, bomb)


@pytest.mark.parametrize("stored", [b"\xff" * 20, b"\x03\x00", b""])
def test_a_chunk_that_is_no_chunk_is_refused_though_its_checksum_is_right(stored: bytes) -> None:
    chunks = array("Q", [len(stored), zlib.crc32(stored)])
    table = Table.of(CHUNK, 10, 0, sha256=bytes(32), chunks=chunks)
    with pytest.raises(CorruptObjectError):
        table.inflate(0, stored)


def test_a_table_with_a_chunk_longer_than_any_chunk_becomes_is_refused() -> None:
    """Or a small range would take as much memory as the object has bytes."""
    chunks = array("Q", [1_000_000_000, 0])
    table = Table.of(CHUNK, CHUNK, 0, sha256=bytes(32), chunks=chunks)
    assert parse(table.header(), table.stored_length) is None


@pytest.mark.parametrize(
    ("version", "exponent", "length"), [(2, 17, 10), (1, 25, 10), (1, 255, 10), (1, 17, CHUNK + 1)]
)
def test_a_table_that_contradicts_itself_is_refused(
    version: int, exponent: int, length: int
) -> None:
    header = bytearray(member_of(b"0123456789")[: header_bytes(1)])
    at = header_bytes(0) - 4 - seekable_gzip._FACTS.size
    seekable_gzip._FACTS.pack_into(header, at, version, exponent, length, 0, bytes(32))
    told = bytes(header[:-4])
    assert parse(told + zlib.crc32(told).to_bytes(4, "little"), None) is None


def test_a_file_that_changes_while_it_is_compressed_is_refused() -> None:
    class Shrinking(BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            return super().read(size)[:-1]

    with pytest.raises(CorruptObjectError):
        compress(Shrinking(b"0123456789"), BytesIO())


@pytest.mark.parametrize("length", [100, 300_000, 5_000_000])
def test_what_gains_nothing_is_told_by_some_pieces_of_it(length: int) -> None:
    class Counting(BytesIO):
        taken = 0

        def read(self, size: int | None = -1, /) -> bytes:
            self.taken += size or 0
            return super().read(size)

    noise = Counting(b"skipped" + random.Random(1).randbytes(length))
    noise.seek(7)
    assert not is_worthwhile(noise)
    assert noise.taken <= 600_000
    assert noise.tell() == 7
    assert is_worthwhile(BytesIO(bytes(length)))
    assert not is_worthwhile(BytesIO(b""))
