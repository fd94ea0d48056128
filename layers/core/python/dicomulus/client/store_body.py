"""The body of a Store transaction, read from the files it is made of (PS3.18 §10.5.1)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from dicomulus.client.http_client import CHUNK_BYTES
from dicomulus.errors import InvalidBodyError, RemoteUnavailableError, SourceFileError
from dicomulus.wire.media_types import DICOM
from dicomulus.wire.multipart import Part, PartHead, Related

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from threading import Event

    from dicomulus.client.progress import Move
    from dicomulus.client.sources import Source


class ChunkedBody(ABC):
    """Chunks as a file that can be read again from its start; it holds one chunk."""

    def __init__(self, length: int, *, stopped: Event, move: Move) -> None:
        """Make a body of so many bytes; reading it ends with an error once it is stopped."""
        self.length = length
        self._stopped = stopped
        self._move = move
        self._left = iter(self._chunks())
        self._held = b""
        self._position = 0

    def read(self, size: int = -1, /) -> bytes:
        """Give the next bytes, at most ``size``, all for -1.

        Raises:
            SourceFileError: A file cannot be read, or not as it was found.
            RemoteUnavailableError: It was stopped.
        """
        if size < 0:
            return b"".join(iter(lambda: self.read(CHUNK_BYTES), b""))
        if self._stopped.is_set():
            raise RemoteUnavailableError("stopped")
        while not self._held:
            chunk = self._next()
            if chunk is None:
                return b""
            self._held = chunk
        given, self._held = self._held[:size], self._held[size:]
        self._position += len(given)
        self._move.at(self._position)
        return given

    def seek(self, position: int, whence: int = 0, /) -> int:
        """Begin again; another position is not known."""
        if position or whence:
            raise OSError("a body is read from its start")
        self._left, self._held, self._position = iter(self._chunks()), b"", 0
        return 0

    def tell(self) -> int:
        """Give the bytes read so far."""
        return self._position

    @abstractmethod
    def _chunks(self) -> Iterator[bytes]:
        """Give the content from its start."""

    def _next(self) -> bytes | None:
        chunk = next(self._left, None)
        longer = chunk is not None and self._position + len(chunk) > self.length
        if longer or (chunk is None and self._position < self.length):
            raise SourceFileError("changed while it was being sent")
        return chunk


class StoreBody(ChunkedBody):
    """The multipart body of some files."""

    def __init__(self, sources: Sequence[Source], *, stopped: Event, move: Move) -> None:
        """Make the body of files of the sizes that they were found with."""
        self._sources = sources
        self._related = Related(DICOM)
        self._heads = [PartHead(DICOM, source.size) for source in sources]
        self.content_type = self._related.content_type
        super().__init__(self._related.length(self._heads), stopped=stopped, move=move)

    def _chunks(self) -> Iterator[bytes]:
        heads = zip(self._heads, self._sources, strict=True)
        parts = (Part(head, chunks_of(source)) for head, source in heads)
        try:
            yield from self._related.write(parts)
        except InvalidBodyError as exc:
            raise SourceFileError("changed while it was being sent") from exc


class FileBody(ChunkedBody):
    """One file as it is."""

    def __init__(self, source: Source, *, stopped: Event, move: Move) -> None:
        """Make the body of a file of the size that it was found with."""
        self._source = source
        super().__init__(source.size, stopped=stopped, move=move)

    def _chunks(self) -> Iterator[bytes]:
        return chunks_of(self._source)


def chunks_of(source: Source) -> Iterator[bytes]:
    """Read a file piece by piece.

    Raises:
        SourceFileError: It cannot be read.
    """
    with source.open() as content:
        while True:
            try:
                chunk = content.read(CHUNK_BYTES)
            except OSError as exc:
                raise SourceFileError(exc.strerror or "cannot be read") from exc
            if not chunk:
                return
            yield chunk
