"""Blocks made and put together in either encoding."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dicomulus.metadata import gzip_assembly, zstd_assembly

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from dicomulus.metadata.block import Block, Encoding

ENCODINGS: Final[tuple[Encoding, ...]] = ("zstd", "gzip")
"""Those there are, the smaller first."""

_COMPRESS: Final = {"gzip": gzip_assembly.compress, "zstd": zstd_assembly.compress}
_VERBATIM: Final = {"gzip": gzip_assembly.verbatim, "zstd": zstd_assembly.verbatim}
_ANSWER: Final = {"gzip": gzip_assembly.gzip, "zstd": zstd_assembly.frames}
_OPEN: Final = {encoding: verbatim(b"[") for encoding, verbatim in _VERBATIM.items()}
_CLOSE: Final = {encoding: verbatim(b"]") for encoding, verbatim in _VERBATIM.items()}

COMMA: Final = {encoding: verbatim(b",") for encoding, verbatim in _VERBATIM.items()}
"""What stands between members, by encoding."""


def compress(text: Iterable[bytes], *, encoding: Encoding, level: int) -> Block:
    """Compress a text into a block; levels 1 to 9 mean much the same in both encodings."""
    return _COMPRESS[encoding](text, level=level)


def members(blocks: Iterable[Block], *, encoding: Encoding) -> list[Block]:
    """Set commas between blocks, each of which holds members joined by commas."""
    joined: list[Block] = []
    for block in blocks:
        if joined:
            joined.append(COMMA[encoding])
        joined.append(block)
    return joined


def json_array(blocks: Iterable[Block], *, encoding: Encoding) -> tuple[Block, ...]:
    """Set blocks, each of which holds members joined by commas, into the brackets of one array."""
    return (_OPEN[encoding], *members(blocks, encoding=encoding), _CLOSE[encoding])


def encoded(blocks: Sequence[Block], *, encoding: Encoding) -> tuple[bytes, ...]:
    """Give the pieces of an answer that holds the blocks' texts in order."""
    return _ANSWER[encoding](blocks)
