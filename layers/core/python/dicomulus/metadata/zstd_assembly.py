"""Zstandard frames that stand one after the other in one answer (RFC 8878 §3.1).

Frames are made of other frames here; only ``compress`` needs the library.
"""

from __future__ import annotations

import struct
import sys
import zlib
from typing import TYPE_CHECKING, Final

from dicomulus.metadata.block import Block

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_MAGIC: Final = bytes.fromhex("28b52ffd")

_TWO_BYTES_OF_SIZE: Final = 0x60
"""Frame header: a single segment whose size follows in two bytes, less 256 (RFC 8878 §3.1.1.1)."""

_ONE_BYTE_OF_SIZE: Final = 0x20
_TWO_BYTES_FROM: Final = 256

_LAST_RAW_BLOCK: Final = 0b001
"""Flags below the size in a block header: the last one, and not compressed (§3.1.1.2)."""

_WINDOW_LOG: Final = 22
"""Decoders need not take windows over 8 MiB (§3.1.1.1.2), and browsers do not."""


def compress(text: Iterable[bytes], *, level: int) -> Block:
    """Compress a text into one frame with a checksum."""
    # Nothing that sends stored frames pays for the library.
    if sys.version_info >= (3, 14):
        from compression.zstd import CompressionParameter, ZstdCompressor
    else:
        from backports.zstd import CompressionParameter, ZstdCompressor

    options: dict[int, int] = {
        CompressionParameter.compression_level: level,
        CompressionParameter.window_log: _WINDOW_LOG,
        CompressionParameter.checksum_flag: 1,
    }
    stream = ZstdCompressor(options=options)
    frame: list[bytes] = []
    raw_length = crc32 = 0
    for piece in text:
        frame.append(stream.compress(piece))
        raw_length += len(piece)
        crc32 = zlib.crc32(piece, crc32)
    frame.append(stream.flush())
    return Block(b"".join(frame), raw_length, crc32)


def verbatim(text: bytes) -> Block:
    """Give a frame that holds at most 65,791 bytes as they are."""
    if len(text) < _TWO_BYTES_FROM:
        head = struct.pack("<BB", _ONE_BYTE_OF_SIZE, len(text))
    else:
        head = struct.pack("<BH", _TWO_BYTES_OF_SIZE, len(text) - _TWO_BYTES_FROM)
    block = (len(text) << 3 | _LAST_RAW_BLOCK).to_bytes(3, "little")
    return Block(_MAGIC + head + block + text, len(text), zlib.crc32(text))


def frames(blocks: Sequence[Block]) -> tuple[bytes, ...]:
    """Give the pieces of an answer that holds the blocks' texts in order."""
    return tuple(block.data for block in blocks)
