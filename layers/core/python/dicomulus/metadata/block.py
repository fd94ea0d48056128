"""Compressed texts, and the texts of several in order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from dicomulus.metadata.crc32 import combine

if TYPE_CHECKING:
    from collections.abc import Sequence

Encoding = Literal["gzip", "zstd"]
"""What a block is for, as HTTP names it."""

ENCODINGS: Final[tuple[Encoding, ...]] = ("zstd", "gzip")
"""Those there are, the smaller first."""


@dataclass(frozen=True, slots=True)
class Block:
    """A compressed text: deflate blocks none of which is the last one, or a whole zstd frame."""

    data: bytes
    raw_length: int
    crc32: int
    """Of the text."""


def concatenate(blocks: Sequence[Block]) -> Block:
    """Give one block that holds the blocks' texts in order."""
    raw_length, crc32 = checked(blocks)
    return Block(b"".join(block.data for block in blocks), raw_length, crc32)


def checked(blocks: Sequence[Block]) -> tuple[int, int]:
    """Give length and CRC-32 of the blocks' texts in order."""
    raw_length = crc32 = 0
    for block in blocks:
        crc32 = combine(crc32, block.crc32, block.raw_length)
        raw_length += block.raw_length
    return raw_length, crc32
