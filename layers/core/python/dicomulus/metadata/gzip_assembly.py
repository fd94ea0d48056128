"""One single-member gzip made of deflate blocks that were compressed before (RFC 1951, 1952).

Never several members: browsers and some libraries stop after the first without an error.
"""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING, Final

from dicomulus.metadata.block import Block, checked

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

_HEADER: Final = bytes.fromhex("1f8b08000000000000ff")
"""Deflate, no name, no time, unknown system (RFC 1952 §2.3)."""

LAST_BLOCK: Final = b"\x03\x00"
"""An empty block of fixed codes, marked as the last one (RFC 1951 §3.2.3)."""

_RAW: Final = -zlib.MAX_WBITS

_INFLATE_STEP: Final = 262_144
"""Bytes inflated at a time, so that an identity answer is never whole in memory."""


def compress(text: Iterable[bytes], *, level: int) -> Block:
    """Compress a text into a block; it can stand anywhere in a stream."""
    stream = zlib.compressobj(level, zlib.DEFLATED, _RAW)
    deflated: list[bytes] = []
    raw_length = crc32 = 0
    for piece in text:
        deflated.append(stream.compress(piece))
        raw_length += len(piece)
        crc32 = zlib.crc32(piece, crc32)
    deflated.append(stream.flush(zlib.Z_FULL_FLUSH))
    return Block(b"".join(deflated), raw_length, crc32)


def verbatim(text: bytes) -> Block:
    """Give a block that holds at most 65,535 bytes as they are."""
    header = struct.pack("<BHH", 0, len(text), len(text) ^ 0xFFFF)
    return Block(header + text, len(text), zlib.crc32(text))


_OPEN: Final = verbatim(b"[")
_CLOSE: Final = verbatim(b"]")

COMMA: Final = verbatim(b",")
"""What stands between members."""


def members(blocks: Iterable[Block]) -> list[Block]:
    """Set commas between blocks, each of which holds members joined by commas."""
    joined: list[Block] = []
    for block in blocks:
        if joined:
            joined.append(COMMA)
        joined.append(block)
    return joined


def json_array(blocks: Iterable[Block]) -> tuple[Block, ...]:
    """Set blocks, each of which holds members joined by commas, into the brackets of one array."""
    return (_OPEN, *members(blocks), _CLOSE)


def gzip(blocks: Sequence[Block]) -> tuple[bytes, ...]:
    """Give the pieces of one gzip member that holds the blocks' texts in order."""
    raw_length, crc32 = checked(blocks)
    trailer = struct.pack("<II", crc32, raw_length & 0xFFFFFFFF)
    return (_HEADER, *(block.data for block in blocks), LAST_BLOCK + trailer)


def identity(blocks: Iterable[Block]) -> Iterator[bytes]:
    """Give the blocks' texts, inflated piece by piece."""
    for block in blocks:
        stream = zlib.decompressobj(_RAW)
        piece = stream.decompress(block.data, _INFLATE_STEP)
        while piece:
            yield piece
            piece = stream.decompress(stream.unconsumed_tail, _INFLATE_STEP)
