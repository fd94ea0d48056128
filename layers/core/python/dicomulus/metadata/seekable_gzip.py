"""One gzip member that can be read from the middle: chunks that inflate alone, and their table.

Every chunk is compressed by itself and ends in a full flush, so that all of them together are one
deflate stream that any program inflates (RFC 1951), and each is one that needs no other. Where they
lie is told by a subfield of the header (RFC 1952 §2.3.1.1), which other programs pass over.

    10 bytes   the gzip header, with FEXTRA
     2         length of the extra field, then the one subfield: "DC", its length (2 + 2)
     1         version
     1         chunk size, as the exponent of 2
     8         length of the content
     4         CRC-32 of the content
    32         SHA-256 of the content
     8 each    length of a chunk as it is stored, and the CRC-32 of that
     4         CRC-32 of all of the header before
     …         the chunks, an empty last block, and the gzip trailer

The checksums are of what is stored, so that every bit of it is covered, and nothing is inflated
that was not written here.
"""

from __future__ import annotations

import hashlib
import itertools
import struct
import zlib
from array import array
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Final, NamedTuple

from dicomulus.errors import CorruptObjectError
from dicomulus.metadata.gzip_assembly import LAST_BLOCK

if TYPE_CHECKING:
    from collections.abc import Iterator

CHUNK_EXPONENT: Final = 17
"""128 KiB: 0.3 % larger than without any cut, and a CT slice of 512 by 512 lies in five of them."""

MAX_CHUNK_EXPONENT: Final = 24
"""16 MiB, which is inflated at once: more than the chunks of a content of 100 GB have."""

LEVEL: Final = 3
"""As small as level 6 on CT and MR, in a third of its time."""

_FIXED: Final = bytes.fromhex("1f8b08040000000000ff")
_SUBFIELD: Final = b"DC"
_VERSION: Final = 1
_EXTRA: Final = struct.Struct("<H2sH")
_FACTS: Final = struct.Struct("<BBQI32s")
_CHUNK: Final = struct.Struct("<II")
_CRC: Final = struct.Struct("<I")
_TRAILER: Final = struct.Struct("<II")
_RAW: Final = -zlib.MAX_WBITS

_MAX_EXTRA_BYTES: Final = 65_535
_SUBFIELD_HEAD_BYTES: Final = 4

MAX_CHUNKS: Final = (
    _MAX_EXTRA_BYTES - _SUBFIELD_HEAD_BYTES - _FACTS.size - _CRC.size
) // _CHUNK.size
"""Chunks whose table an extra field takes."""

MAX_HEADER_BYTES: Final = len(_FIXED) + 2 + _MAX_EXTRA_BYTES
"""Bytes at the start of an object that have its whole header."""

END_BYTES: Final = len(LAST_BLOCK) + _TRAILER.size
"""Bytes behind the chunks."""

_FACTS_OFFSET: Final = len(_FIXED) + _EXTRA.size

SHORTEST_BYTES: Final = _FACTS_OFFSET + _FACTS.size + _CRC.size
"""Bytes of a header without any chunk."""


class Span(NamedTuple):
    """Some chunks one after the other, and where they are stored."""

    first: int
    end: int
    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class Table:
    """Where the chunks of a content are stored, and their checksums."""

    chunk_bytes: int
    length: int
    """Bytes of the content."""
    crc32: int
    sha256: bytes
    sizes: array[int]
    """Bytes of each chunk as stored."""
    crcs: array[int]
    offsets: array[int]
    """Where each chunk begins, and where the last one ends."""

    @classmethod
    def of(
        cls, chunk_bytes: int, length: int, crc32: int, *, sha256: bytes, chunks: array[int]
    ) -> Table:
        """Make a table of sizes and checksums by turns."""
        sizes, crcs = chunks[0::2], chunks[1::2]
        begin = header_bytes(len(sizes))
        offsets = array("Q", itertools.accumulate(sizes, initial=begin))
        return cls(chunk_bytes, length, crc32, sha256, sizes, crcs, offsets)

    @property
    def stored_length(self) -> int:
        """Bytes of the whole gzip member."""
        return self.offsets[-1] + END_BYTES

    @property
    def held_bytes(self) -> int:
        """Bytes that the table takes in memory, about."""
        return 256 + 16 * len(self.sizes)

    @property
    def end(self) -> bytes:
        """What is stored behind the chunks."""
        return LAST_BLOCK + _TRAILER.pack(self.crc32, self.length & 0xFFFFFFFF)

    def span(self, start: int, end: int) -> Span:
        """Give the chunks that have the content from ``start`` to ``end``, which is not empty."""
        first, behind = start // self.chunk_bytes, -(-end // self.chunk_bytes)
        offset = self.offsets[first]
        return Span(first, behind, offset, self.offsets[behind] - offset)

    def inflate(self, number: int, stored: bytes | bytearray | memoryview) -> bytes:
        """Give the content of a chunk.

        Raises:
            CorruptObjectError: It is not as it was written.
        """
        if len(stored) != self.sizes[number] or zlib.crc32(stored) != self.crcs[number]:
            raise CorruptObjectError(f"chunk {number} of a compressed object is damaged")
        wanted = min(self.chunk_bytes, self.length - number * self.chunk_bytes)
        stream = zlib.decompressobj(_RAW)
        try:
            content = stream.decompress(stored, wanted + 1)
        except zlib.error as exc:
            raise CorruptObjectError(f"chunk {number} does not inflate") from exc
        # Of a table that lies: what would be more is not inflated.
        if len(content) != wanted or stream.unconsumed_tail or stream.eof:
            raise CorruptObjectError(f"chunk {number} is not as long as its table says")
        return content

    def header(self) -> bytes:
        """Write the header of the gzip member."""
        facts = _FACTS.pack(
            _VERSION, self.chunk_bytes.bit_length() - 1, self.length, self.crc32, self.sha256
        )
        chunks = b"".join(map(_CHUNK.pack, self.sizes, self.crcs))
        length = len(facts) + len(chunks) + _CRC.size
        extra = _EXTRA.pack(length + _SUBFIELD_HEAD_BYTES, _SUBFIELD, length)
        told = _FIXED + extra + facts + chunks
        return told + _CRC.pack(zlib.crc32(told))


def header_bytes(chunks: int) -> int:
    """Give the length of a header with a table of so many chunks."""
    return SHORTEST_BYTES + chunks * _CHUNK.size


def chunk_exponent_for(length: int) -> int:
    """Give the size of the chunks of a content, so that their table fits."""
    exponent = CHUNK_EXPONENT
    while -(-length >> exponent) > MAX_CHUNKS:
        exponent += 1
    return exponent


def told_header_bytes(prefix: bytes) -> int:
    """Give how long a header says that it is, by its first ``SHORTEST_BYTES``, at least those."""
    told = int.from_bytes(prefix[len(_FIXED) : len(_FIXED) + 2], "little")
    return max(len(_FIXED) + 2 + told, SHORTEST_BYTES)


def parse(prefix: bytes, stored_length: int | None) -> Table | None:
    """Read the table of a stored object; none if it is not of this form, or not whole.

    Args:
        prefix: Its first ``MAX_HEADER_BYTES`` bytes, or all of them.
        stored_length: How many bytes it has, if that is known.
    """
    if len(prefix) < SHORTEST_BYTES or not prefix.startswith(_FIXED):
        return None
    extra_length, subfield, length = _EXTRA.unpack_from(prefix, len(_FIXED))
    chunks, rest = divmod(length - _FACTS.size - _CRC.size, _CHUNK.size)
    end = header_bytes(max(chunks, 0))
    is_ours = subfield == _SUBFIELD and extra_length == length + _SUBFIELD_HEAD_BYTES
    if not is_ours or rest or chunks < 0 or len(prefix) < end:
        return None
    if _CRC.unpack_from(prefix, end - _CRC.size)[0] != zlib.crc32(prefix[: end - _CRC.size]):
        return None
    return _table(prefix, chunks, stored_length)


def _table(header: bytes, chunks: int, stored_length: int | None) -> Table | None:
    version, exponent, length, crc32, sha256 = _FACTS.unpack_from(header, _FACTS_OFFSET)
    if version != _VERSION or exponent > MAX_CHUNK_EXPONENT or -(-length >> exponent) != chunks:
        return None
    told = struct.unpack_from(f"<{2 * chunks}I", header, _FACTS_OFFSET + _FACTS.size)
    table = Table.of(1 << exponent, length, crc32, sha256=sha256, chunks=array("Q", told))
    # No chunk is much longer than its content, so that none is held that is.
    if max(table.sizes, default=0) > _most_stored(table.chunk_bytes):
        return None
    return table if stored_length in (None, table.stored_length) else None


def _most_stored(length: int) -> int:
    return length + length // 1_000 + 1_024


def compress(content: IO[bytes], out: IO[bytes]) -> Table:
    """Write the rest of a file as a gzip member into another, which is at its start.

    Raises:
        CorruptObjectError: The file changed its length meanwhile.
    """
    start = content.tell()
    length = content.seek(0, 2) - start
    content.seek(start)
    exponent = chunk_exponent_for(length)
    count = -(-length >> exponent)
    # The header tells what is known only when everything is written.
    out.write(bytes(header_bytes(count)))
    digest, crc32, told, done = hashlib.sha256(), 0, array("Q"), 0
    for piece in _pieces(content, 1 << exponent):
        stream = zlib.compressobj(LEVEL, zlib.DEFLATED, _RAW)
        stored = stream.compress(piece) + stream.flush(zlib.Z_FULL_FLUSH)
        told.extend((len(stored), zlib.crc32(stored)))
        digest.update(piece)
        crc32 = zlib.crc32(piece, crc32)
        done += len(piece)
        out.write(stored)
    if done != length:
        raise CorruptObjectError("a file changes while it is compressed")
    table = Table.of(1 << exponent, length, crc32, sha256=digest.digest(), chunks=told)
    out.write(table.end)
    out.seek(0)
    out.write(table.header())
    out.seek(0)
    return table


def _pieces(content: IO[bytes], length: int) -> Iterator[bytes]:
    while piece := content.read(length):
        # A file may give fewer bytes than there are.
        while len(piece) < length and (more := content.read(length - len(piece))):
            piece += more
        yield piece


_SAMPLES: Final = 8
_SAMPLE_BYTES: Final = 65_536

WORTHWHILE: Final = 0.95
"""The part of its length that a content must come down to."""


def is_worthwhile(content: IO[bytes]) -> bool:
    """Whether the rest of a file becomes smaller by compression, as some pieces of it tell.

    The pieces are half a MiB at most, so that video and whole slides take no longer to refuse.
    """
    start = content.tell()
    length = content.seek(0, 2) - start
    before = after = 0
    for offset in _sampled(length):
        content.seek(start + offset)
        piece = content.read(_SAMPLE_BYTES)
        before += len(piece)
        after += len(zlib.compress(piece, LEVEL))
    content.seek(start)
    return before > 0 and after <= WORTHWHILE * before


def _sampled(length: int) -> range:
    if length <= _SAMPLES * _SAMPLE_BYTES:
        return range(0, length, _SAMPLE_BYTES)
    step = (length - _SAMPLE_BYTES) // (_SAMPLES - 1)
    return range(0, step * _SAMPLES, step)
