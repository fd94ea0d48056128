"""The multipart/related bodies of DICOMweb, written and read as streams (RFC 2046, RFC 2387)."""

from __future__ import annotations

import secrets
from collections import deque
from dataclasses import dataclass, field
from tempfile import SpooledTemporaryFile
from typing import IO, TYPE_CHECKING, Final

from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser

from dicomulus.errors import (
    InvalidBodyError,
    PayloadTooLargeError,
    UnavailableError,
    spooling,
)
from dicomulus.wire.media_types import MULTIPART_RELATED, MediaType, format_media_type
from dicomulus.wire.message import Headers

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from dicomulus.errors import DicomulusError
    from dicomulus.wire.message import BodyReader

BOUNDARY_BYTES: Final = 16
"""Random bytes in a boundary: 128 bits, so that it occurs in no payload."""

MAX_BOUNDARY_LENGTH: Final = 70
"""Characters in a boundary (RFC 2046 §5.1.1)."""

MAX_PREAMBLE_BYTES: Final = 65_536
"""Bytes before the first boundary; RFC 2046 allows a few words for readers of mail."""

MAX_PART_HEADERS: Final = 32
"""Header lines of one part; DICOMweb uses up to four."""

MAX_PART_HEADER_BYTES: Final = 8_192
"""Bytes in one header line of a part."""

MAX_PARTS: Final = 100_000
"""Parts in one body; a study of 50,000 instances is a very large one."""

PLAIN_CODINGS: Final = frozenset({"7bit", "8bit", "binary"})
"""Content-Transfer-Encodings of mail that change no byte (RFC 2045 §6.2)."""

SPOOL_BYTES: Final = 1_048_576
"""Bytes of a part kept in memory; a longer one goes to a temporary file."""

READ_BYTES: Final = 262_144
"""Bytes asked of a body at a time."""


@dataclass(frozen=True, slots=True)
class PartHead:
    """What is known of a part before its content: media type, length in bytes, further headers."""

    content_type: str
    length: int
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Part:
    """A part to be sent; the content is taken only when its turn comes."""

    head: PartHead
    content: Iterable[bytes]


@dataclass(frozen=True, slots=True)
class Related:
    """A multipart/related body to be written: its boundary, and its media type around the parts.

    ``media_type`` is the ``type`` parameter: the media type of the parts (RFC 2387 §3.1).
    """

    media_type: str
    boundary: str = field(default_factory=lambda: secrets.token_hex(BOUNDARY_BYTES))

    @property
    def content_type(self) -> str:
        """The body's Content-Type."""
        # Quotes as PS3.18 §8.6.1.2 writes them, around a value that is a token or not.
        return f'{MULTIPART_RELATED}; type="{self.media_type}"; boundary={self.boundary}'

    def length(self, heads: Iterable[PartHead]) -> int:
        """Bytes of the body with these parts, without taking any content."""
        parts = sum(len(self._opening(head)) + head.length + len(b"\r\n") for head in heads)
        return parts + len(self._closing)

    def write(self, parts: Iterable[Part]) -> Iterator[bytes]:
        """Write the body piece by piece, closing boundary last.

        Raises:
            InvalidBodyError: A content has not the length of its head. The body then stays
                without a closing boundary, as it does when a content raises.
        """
        for part in parts:
            yield self._opening(part.head)
            yield from _counted(part)
            yield b"\r\n"
        yield self._closing

    def _opening(self, head: PartHead) -> bytes:
        lines = [f"--{self.boundary}", f"Content-Type: {head.content_type}"]
        lines += [f"{name}: {value}" for name, value in head.headers]
        return "\r\n".join([*lines, "", ""]).encode("ascii")

    @property
    def _closing(self) -> bytes:
        return f"--{self.boundary}--\r\n".encode("ascii")


def _counted(part: Part) -> Iterator[bytes]:
    missing = part.head.length
    for chunk in part.content:
        missing -= len(chunk)
        if missing < 0:
            break
        yield chunk
    if missing:
        raise InvalidBodyError("A part has another length than announced")


@dataclass(frozen=True, slots=True)
class PartLimits:
    """What a received body may not exceed."""

    max_parts: int = MAX_PARTS
    max_part_bytes: int | None = None
    spool_bytes: int = SPOOL_BYTES


@dataclass(frozen=True, slots=True)
class ReceivedPart:
    """A part as received, its content ready to be read from the start and closed by the reader."""

    headers: Headers
    content: IO[bytes]
    length: int

    def close(self) -> None:
        """Free the content."""
        self.content.close()


def read_parts(
    body: BodyReader, content_type: MediaType, *, limits: PartLimits | None = None
) -> Iterator[ReceivedPart]:
    """Read a multipart body, one complete part after the other.

    The content of a part is closed when the next one is asked for.

    Raises:
        InvalidBodyError: There is no boundary, the body does not parse, or it ends without its
            closing boundary. Parts given before were whole.
        PayloadTooLargeError: A limit is exceeded.
    """
    parser = PartParser(_boundary_of(content_type), limits=limits or PartLimits())
    try:
        while chunk := body.read(READ_BYTES):
            yield from _closing_each(parser.feed(chunk))
        parser.finish()
    finally:
        parser.close()


def _closing_each(parts: Iterator[ReceivedPart]) -> Iterator[ReceivedPart]:
    for part in parts:
        try:
            yield part
        finally:
            part.close()


def _boundary_of(content_type: MediaType) -> bytes:
    boundary = content_type.parameter("boundary")
    if not boundary or len(boundary) > MAX_BOUNDARY_LENGTH or not boundary.isascii():
        raise InvalidBodyError(
            f"{format_media_type(content_type)}: needs a boundary of 1 to {MAX_BOUNDARY_LENGTH}"
            " ASCII characters"
        )
    return boundary.encode("ascii")


class PartParser:
    """Cuts a multipart body, fed in pieces of any size, into parts."""

    def __init__(self, boundary: bytes, *, limits: PartLimits) -> None:
        """Wait for the first boundary."""
        self._limits = limits
        self._opening = b"--" + boundary
        self._preamble: bytearray | None = bytearray()
        self._headers = Headers()
        self._names: list[bytes] = []
        self._values: list[bytes] = []
        self._content: SpooledTemporaryFile[bytes] | None = None
        self._length = 0
        self._count = 0
        self._ended = False
        self._whole: deque[ReceivedPart] = deque()
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin,
                "on_header_begin": self._begin_header,
                "on_header_field": self._add_to_name,
                "on_header_value": self._add_to_value,
                "on_headers_finished": self._end_headers,
                "on_part_data": self._add_content,
                "on_part_end": self._end_part,
                "on_end": self._end,
            },
            max_header_count=MAX_PART_HEADERS,
            max_header_size=MAX_PART_HEADER_BYTES,
        )

    def feed(self, chunk: bytes) -> Iterator[ReceivedPart]:
        """Take the next bytes and give the parts they complete.

        Raises:
            InvalidBodyError: The body does not parse. What was whole before is given first.
            PayloadTooLargeError: A limit is exceeded.
        """
        failure: DicomulusError | None = None
        try:
            self._parser.write(self._without_preamble(chunk))
        except MultipartParseError as exc:
            failure = InvalidBodyError("The multipart body does not parse")
            failure.__cause__ = exc
        except (InvalidBodyError, PayloadTooLargeError, UnavailableError) as exc:
            failure = exc
        while self._whole:
            yield self._whole.popleft()
        if failure is not None:
            raise failure

    def finish(self) -> None:
        """Check that the body came to its end.

        Raises:
            InvalidBodyError: There was no closing boundary.
        """
        if not self._ended:
            raise InvalidBodyError("The multipart body ends without its closing boundary")

    def close(self) -> None:
        """Free the parts that were not taken."""
        for part in self._whole:
            part.close()
        if self._content is not None:
            self._content.close()
            self._content = None

    def _without_preamble(self, chunk: bytes) -> bytes:
        """Drop what precedes the first boundary, which python-multipart takes for an error."""
        if self._preamble is None:
            return chunk
        self._preamble += chunk
        held = bytes(self._preamble)
        found = 0 if held.startswith(self._opening) else held.find(b"\r\n" + self._opening)
        # Not found yet, a boundary may still begin in the last bytes.
        begins = found if found >= 0 else len(held) - len(self._opening) - 1
        if begins > MAX_PREAMBLE_BYTES:
            raise InvalidBodyError(f"No boundary in the first {MAX_PREAMBLE_BYTES} bytes")
        if found < 0:
            return b""
        self._preamble = None
        return held[found:]

    def _begin(self) -> None:
        self._count += 1
        if self._count > self._limits.max_parts:
            raise PayloadTooLargeError(f"The body has over {self._limits.max_parts} parts")
        self._names, self._values = [], []
        # Closed by whoever takes the part, or by close().
        self._content = SpooledTemporaryFile(  # noqa: SIM115
            max_size=self._limits.spool_bytes
        )
        self._length = 0

    def _begin_header(self) -> None:
        self._names.append(b"")
        self._values.append(b"")

    def _add_to_name(self, data: bytes, start: int, end: int) -> None:
        self._names[-1] += data[start:end]

    def _add_to_value(self, data: bytes, start: int, end: int) -> None:
        self._values[-1] += data[start:end]

    def _end_headers(self) -> None:
        lines = zip(self._names, self._values, strict=True)
        self._headers = Headers.of(
            (name.decode("latin-1"), value.decode("latin-1").strip()) for name, value in lines
        )
        coding = (self._headers.get("Content-Transfer-Encoding") or "binary").lower()
        if coding not in PLAIN_CODINGS:
            raise InvalidBodyError("A part has a Content-Transfer-Encoding; HTTP sends bytes as is")

    def _add_content(self, data: bytes, start: int, end: int) -> None:
        self._length += end - start
        limit = self._limits.max_part_bytes
        if limit is not None and self._length > limit:
            raise PayloadTooLargeError(f"A part of the body is longer than {limit} bytes")
        if self._content is not None:
            with spooling():
                self._content.write(memoryview(data)[start:end])

    def _end_part(self) -> None:
        if self._content is None:
            return
        self._content.seek(0)
        self._whole.append(ReceivedPart(self._headers, self._content, self._length))
        self._content = None

    def _end(self) -> None:
        self._ended = True
