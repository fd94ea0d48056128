"""An object store some of whose objects are compressed, without anybody noticing.

Objects under the canonical keys of compressed instances are given as their content: its bytes, its
size, its ranges, its SHA-256; entity tags and times are those of what is stored. All other keys are
those of the store itself, and so is what lies under such a key without being of the form that is
written here: it is given as it is, which is no DICOM.
"""

from __future__ import annotations

import logging
import tempfile
from collections import OrderedDict
from contextlib import contextmanager
from dataclasses import replace
from io import BytesIO
from itertools import chain
from threading import Lock
from typing import IO, TYPE_CHECKING, Final, NamedTuple

from dicomulus.dicom.resource import is_compressed_key
from dicomulus.errors import (
    CorruptObjectError,
    InvalidResourceError,
    ObjectChangedError,
    spooling,
)
from dicomulus.metadata.seekable_gzip import (
    END_BYTES,
    SHORTEST_BYTES,
    compress,
    parse,
    told_header_bytes,
)
from dicomulus.ports import ObjectInfo, ObjectRead

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from dicomulus.metadata.seekable_gzip import Span, Table
    from dicomulus.ports import ObjectStore, PresignedRequest

logger = logging.getLogger(__name__)

FIRST_READ_BYTES: Final = 262_144
"""Bytes of the read that finds the table: with it comes the first chunk, which has the header."""

HELD_BYTES: Final = 4_194_304
"""Bytes of tables kept in memory: those of some ten thousand CT slices."""

SPOOL_BYTES: Final = 4_194_304
"""Compressed bytes that are kept in memory before they go to a file."""

PIECE_BYTES: Final = 1_048_576
"""Largest piece of a stream."""

_ATTEMPTS: Final = 5
"""Reads of an object that is being replaced, before the caller is told to come back."""


class _Opened(NamedTuple):
    """An object as it is now, and its first bytes as they are stored."""

    info: ObjectInfo
    table: Table | None
    prefix: bytes = b""


class CompressedStore:
    """An ``ObjectStore`` around another one."""

    def __init__(self, store: ObjectStore, *, held_bytes: int = HELD_BYTES) -> None:
        """Keep at most ``held_bytes`` of the tables of objects that were read last."""
        self.store: Final = store
        self._tables = _Tables(held_bytes)

    @property
    def near_bytes(self) -> int:
        """See ``ObjectStore``."""
        return self.store.near_bytes

    # reading

    def head(self, key: str) -> ObjectInfo | None:
        """See ``ObjectStore``; of a compressed object its table is read, unless it is known."""
        info = self.store.head(key)
        if info is None or info.is_archived or not is_compressed_key(key):
            return info
        table = self._tables.of(key, info.etag)
        if table is not None:
            return _told(info, table)
        return self._look(key, info)

    def _look(self, key: str, info: ObjectInfo) -> ObjectInfo | None:
        for _ in range(_ATTEMPTS):
            try:
                opened = self._open(key, info.etag)
                return info if opened.table is None else _told(info, opened.table)
            except ObjectChangedError:
                again = self.store.head(key)
                if again is None:
                    return None
                info = again
        raise ObjectChangedError(f"{key} keeps changing")

    def get(
        self, key: str, *, start: int = 0, length: int | None = None, if_match: str | None = None
    ) -> ObjectRead:
        """See ``ObjectStore``.

        Raises:
            CorruptObjectError: It is not as it was written.
        """
        if not is_compressed_key(key):
            return self.store.get(key, start=start, length=length, if_match=if_match)
        for _ in range(1 if if_match else _ATTEMPTS):
            opened = self._begun(key, if_match)
            try:
                return self._get(opened, start, length)
            except ObjectChangedError:
                if if_match:
                    raise
        raise ObjectChangedError(f"{key} keeps changing")

    def stream(
        self, key: str, *, start: int = 0, length: int | None = None, if_match: str | None = None
    ) -> Iterator[bytes]:
        """See ``ObjectStore``; who reads all of an object has every stored bit of it checked.

        Raises:
            CorruptObjectError: It is not as it was written; maybe only after its first pieces.
        """
        if not is_compressed_key(key):
            yield from self.store.stream(key, start=start, length=length, if_match=if_match)
        elif start == 0 and self._is_all(key, length, if_match):
            with self._telling_damage(_known(key, if_match or "")):
                yield from self._stream_all(key, if_match)
        else:
            yield from self._stream(self._begun(key, if_match), start, length)

    def _is_all(self, key: str, length: int | None, if_match: str | None) -> bool:
        table = self._tables.of(key, if_match) if length is not None and if_match else None
        return length is None or (table is not None and length >= table.length)

    def stream_stored(self, key: str, *, if_match: str) -> Iterator[bytes]:
        """Give an object as it is stored, as ``stream`` gives its content."""
        return self.store.stream(key, if_match=if_match)

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """See ``ObjectStore``."""
        return self.store.list(prefix)

    def presigned_get(
        self,
        key: str,
        *,
        expires_seconds: int,
        if_match: str | None = None,
        content_type: str | None = None,
        content_encoding: str | None = None,
    ) -> PresignedRequest | None:
        """See ``ObjectStore``; a compressed object is sent as gzip, to be decoded by its client."""
        return self.store.presigned_get(
            key,
            expires_seconds=expires_seconds,
            if_match=if_match,
            content_type=content_type,
            content_encoding="gzip" if is_compressed_key(key) else content_encoding,
        )

    # writing

    def put(
        self,
        key: str,
        body: bytes | IO[bytes],
        *,
        if_match: str | None = None,
        if_none_match: bool = False,
        durable: bool = True,
    ) -> ObjectInfo:
        """See ``ObjectStore``; what is to be compressed is so in a temporary file first."""
        if not is_compressed_key(key):
            return self.store.put(
                key, body, if_match=if_match, if_none_match=if_none_match, durable=durable
            )
        content = BytesIO(body) if isinstance(body, bytes) else body
        with tempfile.SpooledTemporaryFile(SPOOL_BYTES) as spool:
            with spooling():
                table = compress(content, spool)
            info = self.store.put(
                key, spool, if_match=if_match, if_none_match=if_none_match, durable=durable
            )
        self._tables.keep(key, info.etag, table)
        return _told(info, table)

    def make_durable(self, keys: Collection[str]) -> None:
        """See ``ObjectStore``."""
        self.store.make_durable(keys)

    def presigned_put(
        self,
        key: str,
        *,
        size: int,
        sha256: str,
        expires_seconds: int,
        if_none_match: bool = False,
    ) -> PresignedRequest | None:
        """See ``ObjectStore``; what others put is not compressed.

        Raises:
            InvalidResourceError: The key is that of a compressed object.
        """
        if is_compressed_key(key):
            raise InvalidResourceError(f"{key!r} is written by the archive alone")
        return self.store.presigned_put(
            key,
            size=size,
            sha256=sha256,
            expires_seconds=expires_seconds,
            if_none_match=if_none_match,
        )

    def delete(self, key: str, *, if_match: str | None = None) -> None:
        """See ``ObjectStore``."""
        self.store.delete(key, if_match=if_match)

    # one compressed object

    def _begun(self, key: str, if_match: str | None) -> _Opened:
        """Give the table that is known of an entity tag, else that of the object."""
        table = self._tables.of(key, if_match) if if_match else None
        if table is None or if_match is None:
            return self._open(key, if_match)
        # What else there is to tell of the object comes with its bytes.
        return _Opened(_known(key, if_match), table)

    def _open(self, key: str, if_match: str | None) -> _Opened:
        read = self.store.get(key, length=FIRST_READ_BYTES, if_match=if_match)
        table = parse(read.data, read.info.size)
        if table is not None:
            self._tables.keep(key, read.info.etag, table)
        return _Opened(read.info, table, read.data)

    def _get(self, opened: _Opened, start: int, length: int | None) -> ObjectRead:
        info, table, prefix = opened
        if table is None:
            return self._get_stored(opened, start, length)
        end = table.length if length is None else min(start + length, table.length)
        if end <= start:
            read = self.store.get(info.key, length=0, if_match=info.etag)
            return ObjectRead(_told(read.info, table), b"")
        span = table.span(start, end)
        stored = prefix[span.offset : span.offset + span.length]
        if len(stored) < span.length:
            read = self.store.get(
                info.key,
                start=span.offset + len(stored),
                length=span.length - len(stored),
                if_match=info.etag,
            )
            info, stored = read.info, stored + read.data
        with self._telling_damage(info):
            chunks = _inflated(table, _Stored(iter((stored,))), span)
            content = b"".join(_cut(chunks, start - span.first * table.chunk_bytes, end - start))
        return ObjectRead(_told(info, table), content)

    def _get_stored(self, opened: _Opened, start: int, length: int | None) -> ObjectRead:
        info, _, prefix = opened
        end = info.size if length is None else min(start + length, info.size)
        if end <= len(prefix):
            return ObjectRead(info, prefix[start:end])
        return self.store.get(info.key, start=start, length=length, if_match=info.etag)

    def _stream(self, opened: _Opened, start: int, length: int | None) -> Iterator[bytes]:
        info, table, _ = opened
        if table is None:
            yield from self.store.stream(info.key, start=start, length=length, if_match=info.etag)
            return
        end = table.length if length is None else min(start + length, table.length)
        if end <= start:
            return
        span = table.span(start, end)
        stored = _Stored(self._stored(opened, span))
        begin = start - span.first * table.chunk_bytes
        with self._telling_damage(info):
            yield from _cut(_inflated(table, stored, span), begin, end - start)

    def _stored(self, opened: _Opened, span: Span) -> Iterator[bytes]:
        held = opened.prefix[span.offset : span.offset + span.length]
        if held:
            yield held
        if len(held) < span.length:
            yield from self.store.stream(
                opened.info.key,
                start=span.offset + len(held),
                length=span.length - len(held),
                if_match=opened.info.etag,
            )

    def _stream_all(self, key: str, if_match: str | None) -> Iterator[bytes]:
        """Read an object from its first bit to its last, whatever is known of it."""
        stored = _Stored(self.store.stream(key, if_match=if_match))
        header = stored.take(SHORTEST_BYTES)
        header += stored.take(told_header_bytes(header) - len(header))
        table = parse(header, None)
        if table is None:
            yield from _cut(chain((header,), stored.rest()), 0, None)
            return
        if table.length:
            yield from _cut(_inflated(table, stored, table.span(0, table.length)), 0, table.length)
        if stored.take(END_BYTES + 1) != table.end:
            raise CorruptObjectError("the end of a compressed object is damaged")

    @contextmanager
    def _telling_damage(self, info: ObjectInfo) -> Iterator[None]:
        try:
            yield
        except CorruptObjectError as exc:
            logger.warning("compressed object damaged", extra={"object_key": info.key})
            # The table may be of other bytes, where two generations have one entity tag.
            self._tables.forget(info.key, info.etag)
            exc.etag, exc.modified_ms = info.etag, info.modified_ms
            raise


class _Stored:
    """Stored bytes, taken in the lengths that are wanted."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._held = bytearray()

    def take(self, length: int) -> bytes:
        """Give so many bytes, fewer where they end."""
        while len(self._held) < length:
            piece = next(self._pieces, b"")
            if not piece:
                break
            self._held += piece
        taken = bytes(self._held[:length])
        del self._held[:length]
        return taken

    def rest(self) -> Iterator[bytes]:
        """Give what has not been taken."""
        yield bytes(self._held)
        yield from self._pieces


def _inflated(table: Table, stored: _Stored, span: Span) -> Iterator[bytes]:
    for number in range(span.first, span.end):
        yield table.inflate(number, stored.take(table.sizes[number]))


def _cut(chunks: Iterator[bytes], start: int, length: int | None) -> Iterator[bytes]:
    """Leave out the first bytes, and what is over a length; in pieces that may be streamed."""
    for chunk in chunks:
        end = len(chunk) if length is None else min(len(chunk), start + length)
        for offset in range(start, end, PIECE_BYTES):
            yield chunk[offset : min(offset + PIECE_BYTES, end)]
        length = None if length is None else length - max(0, end - start)
        start = max(0, start - len(chunk))


def _known(key: str, etag: str) -> ObjectInfo:
    """Name a generation of an object of which nothing else is known."""
    return ObjectInfo(key=key, etag=etag, size=0, modified_ms=0)


def _told(info: ObjectInfo, table: Table) -> ObjectInfo:
    return replace(
        info,
        size=table.length,
        compressed_size=table.stored_length,
        checksum=f"sha256:{table.sha256.hex()}",
    )


class _Tables:
    """The tables of the objects that were read last, by key and entity tag."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._held_bytes = 0
        self._held: OrderedDict[tuple[str, str], Table] = OrderedDict()
        self._lock = Lock()

    def of(self, key: str, etag: str) -> Table | None:
        with self._lock:
            table = self._held.get((key, etag))
            if table is not None:
                self._held.move_to_end((key, etag))
            return table

    def keep(self, key: str, etag: str, table: Table) -> None:
        with self._lock:
            self._drop((key, etag))
            self._held[(key, etag)] = table
            self._held_bytes += table.held_bytes
            while self._held_bytes > self._most_bytes:
                self._drop(next(iter(self._held)))

    def forget(self, key: str, etag: str) -> None:
        with self._lock:
            self._drop((key, etag))

    def _drop(self, name: tuple[str, str]) -> None:
        table = self._held.pop(name, None)
        self._held_bytes -= table.held_bytes if table else 0
