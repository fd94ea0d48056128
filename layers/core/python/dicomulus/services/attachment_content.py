"""The contents of attachments at rest: as they came, or deflated in the form that Orthanc has.

That form is the length of the whole in 8 bytes, little endian, and one zlib stream; of nothing it
is nothing.
"""

from __future__ import annotations

import hashlib
import zlib
from contextlib import contextmanager
from dataclasses import dataclass
from tempfile import SpooledTemporaryFile
from typing import IO, TYPE_CHECKING, Final, Protocol

from dicomulus.errors import DamagedContentError, PayloadTooLargeError, spooling

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

CHUNK_BYTES: Final = 262_144
"""Bytes that are read, deflated or inflated at a time."""

SPOOL_BYTES: Final = 1_048_576
"""Bytes of a content kept in memory; a longer one goes to a temporary file."""

LENGTH_BYTES: Final = 8
"""Bytes of the length before a deflated content."""


class Digest(Protocol):
    """What sums up bytes."""

    def update(self, data: bytes, /) -> None:
        """Add some."""
        ...

    def hexdigest(self) -> str:
        """Give the sum in hexadecimal."""
        ...


def md5() -> Digest:
    """Begin an MD5: it finds damage, and keeps nobody out."""
    return hashlib.md5(usedforsecurity=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ContentForm:
    """How a content lies at rest, and what it is when it is read."""

    size: int
    md5: str
    """Of the bytes as they came, in hexadecimal."""
    stored_size: int
    stored_md5: str
    """Of the bytes at rest."""
    is_compressed: bool


@dataclass(frozen=True, slots=True)
class Spooled:
    """A content ready to be put, to be read from where ``file`` stands."""

    file: IO[bytes]
    form: ContentForm


@contextmanager
def spooled(
    read: Callable[[int], bytes], *, compressed: bool, max_bytes: int | None = None
) -> Iterator[Spooled]:
    """Take a content as it comes, put it into the form it is to have at rest, and sum it up.

    What it holds in memory does not depend on the content's length.

    Args:
        read: Gives at most so many bytes, and none at the end.
        compressed: Whether it is to be deflated.
        max_bytes: Most bytes that are taken; no limit if absent.

    Raises:
        PayloadTooLargeError: There are more.
        StorageFullError: There is no room for a temporary file.
    """
    with SpooledTemporaryFile(max_size=SPOOL_BYTES) as file:
        pieces = _bounded(iter(lambda: read(CHUNK_BYTES), b""), max_bytes)
        form = _take_deflated(pieces, file) if compressed else _take(pieces, file)
        file.seek(0)
        yield Spooled(file, form)


def _bounded(pieces: Iterable[bytes], max_bytes: int | None) -> Iterator[bytes]:
    length = 0
    for piece in pieces:
        length += len(piece)
        if max_bytes is not None and length > max_bytes:
            raise PayloadTooLargeError(f"the content is longer than {max_bytes} bytes")
        yield piece


def _take(pieces: Iterable[bytes], file: IO[bytes]) -> ContentForm:
    digest, size = md5(), 0
    for piece in pieces:
        digest.update(piece)
        size += len(piece)
        with spooling():
            file.write(piece)
    sums = digest.hexdigest()
    return ContentForm(size=size, md5=sums, stored_size=size, stored_md5=sums, is_compressed=False)


def _take_deflated(pieces: Iterable[bytes], file: IO[bytes]) -> ContentForm:
    deflate, digest, size = zlib.compressobj(), md5(), 0
    with spooling():
        file.write(bytes(LENGTH_BYTES))
    for piece in pieces:
        digest.update(piece)
        size += len(piece)
        with spooling():
            file.write(deflate.compress(piece))
    with spooling():
        file.write(deflate.flush())
        if not size:
            file.truncate(0)
        file.seek(0)
        file.write(size.to_bytes(LENGTH_BYTES, "little") if size else b"")
        # The length is known at the end alone, and what was written is summed up with it.
        stored, stored_size = md5(), 0
        file.seek(0)
        while piece := file.read(CHUNK_BYTES):
            stored.update(piece)
            stored_size += len(piece)
    return ContentForm(
        size=size,
        md5=digest.hexdigest(),
        stored_size=stored_size,
        stored_md5=stored.hexdigest(),
        is_compressed=True,
    )


def inflated(stored: Iterable[bytes], *, size: int) -> Iterator[bytes]:
    """Give a deflated content as it came, in pieces of at most ``CHUNK_BYTES``.

    Raises:
        DamagedContentError: It is not one of ``size`` bytes; pieces before may have been given.
    """
    pieces = _skipping_length(iter(stored), size)
    if not size:
        if any(pieces):
            raise DamagedContentError("an empty content has bytes at rest")
        return
    inflate, left = zlib.decompressobj(), size
    for piece in pieces:
        for made in _inflate(inflate, piece):
            left -= len(made)
            if left < 0:
                raise DamagedContentError("the content is longer than it was")
            yield made
    if left or not inflate.eof or inflate.unused_data:
        raise DamagedContentError("the content ends elsewhere than it did")


def _skipping_length(stored: Iterator[bytes], size: int) -> Iterator[bytes]:
    head = b""
    while size and len(head) < LENGTH_BYTES:
        piece = next(stored, b"")
        if not piece:
            raise DamagedContentError("the content breaks off before its length")
        head += piece
    if size and int.from_bytes(head[:LENGTH_BYTES], "little") != size:
        raise DamagedContentError("the content says another length than it had")
    if size:
        yield head[LENGTH_BYTES:]
    yield from stored


def _inflate(inflate: zlib._Decompress, piece: bytes) -> Iterator[bytes]:
    while not inflate.eof:
        try:
            made = inflate.decompress(piece, CHUNK_BYTES)
        except zlib.error as exc:
            raise DamagedContentError("the content does not inflate") from exc
        piece = inflate.unconsumed_tail
        if made:
            yield made
        # What was taken in whole may still have more to give than was asked for.
        if not piece and len(made) < CHUNK_BYTES:
            return
    if piece:
        raise DamagedContentError("the content goes on behind its end")


def part_of(pieces: Iterable[bytes], *, start: int, length: int) -> Iterator[bytes]:
    """Give a part of bytes that can be had from their start alone; what follows is not read."""
    skipped, left = start, length
    for piece in pieces:
        kept = piece[skipped : skipped + left]
        skipped = max(0, skipped - len(piece))
        left -= len(kept)
        if kept:
            yield kept
        if not left:
            return


def summed(pieces: Iterable[bytes]) -> tuple[int, str]:
    """Give the length and the MD5 of bytes."""
    digest, size = md5(), 0
    for piece in pieces:
        digest.update(piece)
        size += len(piece)
    return size, digest.hexdigest()
