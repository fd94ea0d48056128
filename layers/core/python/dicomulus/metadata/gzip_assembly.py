"""One single-member gzip made of deflate blocks that were compressed before (RFC 1951, 1952).

Never several members: browsers and some libraries stop after the first without an error.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from dicomulus.metadata.crc32 import combine

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

_HEADER: Final = bytes.fromhex("1f8b08000000000000ff")
"""Deflate, no name, no time, unknown system (RFC 1952 §2.3)."""

_LAST_BLOCK: Final = b"\x03\x00"
"""An empty block of fixed codes, marked as the last one (RFC 1951 §3.2.3)."""

_RAW: Final = -zlib.MAX_WBITS

_INFLATE_STEP: Final = 262_144
"""Bytes inflated at a time, so that an identity answer is never whole in memory."""


@dataclass(frozen=True, slots=True)
class Block:
    """Text compressed as deflate blocks that end on a byte, none of them the last one."""

    deflated: bytes
    raw_length: int
    crc32: int


def deflate(text: Iterable[bytes], *, level: int) -> Block:
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


def _stored(text: bytes) -> Block:
    header = struct.pack("<BHH", 0, len(text), len(text) ^ 0xFFFF)
    return Block(header + text, len(text), zlib.crc32(text))


_OPEN: Final = _stored(b"[")
_COMMA: Final = _stored(b",")
_CLOSE: Final = _stored(b"]")


def json_array(members: Iterable[Block]) -> tuple[Block, ...]:
    """Set blocks, each holding members joined by commas, into the brackets of one array."""
    blocks = [_OPEN]
    for number, member in enumerate(members):
        if number:
            blocks.append(_COMMA)
        blocks.append(member)
    blocks.append(_CLOSE)
    return tuple(blocks)


def gzip(blocks: Sequence[Block]) -> tuple[bytes, ...]:
    """Give the pieces of one gzip member that holds the blocks' texts in order."""
    crc32 = raw_length = 0
    for block in blocks:
        crc32 = combine(crc32, block.crc32, block.raw_length)
        raw_length += block.raw_length
    trailer = struct.pack("<II", crc32, raw_length & 0xFFFFFFFF)
    return (_HEADER, *(block.deflated for block in blocks), _LAST_BLOCK + trailer)


def identity(blocks: Iterable[Block]) -> Iterator[bytes]:
    """Give the blocks' texts, inflated piece by piece."""
    for block in blocks:
        stream = zlib.decompressobj(_RAW)
        piece = stream.decompress(block.deflated, _INFLATE_STEP)
        while piece:
            yield piece
            piece = stream.decompress(stream.unconsumed_tail, _INFLATE_STEP)
