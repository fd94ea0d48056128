"""One Zstandard frame written piece by piece (RFC 8878).

Never several frames in one answer: some clients that ask for zstd stop after the first without an
error, as others do after a gzip member.
"""

from __future__ import annotations

import sys
import zlib
from typing import Final

from dicomulus.metadata.block import Block

_WINDOW_LOG: Final = 22
"""Logarithm of the window; browsers refuse one over 8 MiB (RFC 9659)."""


class FrameWriter:
    """Compresses a text into a frame with a checksum."""

    def __init__(self, *, level: int) -> None:
        """Begin a frame; levels 1 to 9 cost less than those of deflate."""
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
        self._stream = ZstdCompressor(options=options)
        self._written: list[bytes] = []
        self._raw_length = 0
        self._crc32 = 0

    def write(self, piece: bytes) -> None:
        """Add to the text."""
        self._written.append(self._stream.compress(piece))
        self._raw_length += len(piece)
        self._crc32 = zlib.crc32(piece, self._crc32)

    def finish(self) -> Block:
        """End the frame; nothing can be written after that."""
        self._written.append(self._stream.flush())
        return Block(b"".join(self._written), self._raw_length, self._crc32)
