"""WSGI in terms of requests and responses (PEP 3333)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from http import HTTPStatus
from itertools import chain
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, urlsplit

from dicomulus.errors import InvalidBodyError, PayloadTooLargeError
from dicomulus.wire.message import Headers, Request, Response, parse_query

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from wsgiref.types import InputStream, WSGIEnvironment

DRAIN_BYTES: Final = 67_108_864
"""Bytes of an unread body that are taken before a refusal is sent.

A client that is still sending when the connection closes sees a broken pipe, not the refusal.
"""

_PATH_CHARACTERS: Final = "/:@!$&'()*+,;=~"


@dataclass(frozen=True, slots=True)
class Incoming:
    """A request as the server gives it, not yet parsed where parsing can fail."""

    method: str
    path: str
    query: str
    headers: Headers
    peer: str
    body: RequestBody

    @classmethod
    def of(
        cls,
        environ: WSGIEnvironment,
        *,
        max_body_bytes: int,
        body_errors: tuple[type[Exception], ...] = (OSError,),
    ) -> Incoming:
        """Take the environment of a WSGI application, whose input raises ``body_errors``."""
        path, query = _target(environ)
        headers = Headers(tuple(_headers(environ)))
        body = RequestBody(
            environ["wsgi.input"], headers, max_bytes=max_body_bytes, errors=body_errors
        )
        peer = environ.get("REMOTE_ADDR", "")
        return cls(environ["REQUEST_METHOD"], path, query, headers, peer, body)

    def request(self, base_url: str) -> Request:
        """Parse the rest of the request.

        Raises:
            InvalidRequestError: The query does not parse.
        """
        query = parse_query(self.query)
        return Request(self.method, self.path, query, self.headers, self.body, base_url)


class RequestBody:
    """The body of a request, checked against its announced length and the largest one taken."""

    def __init__(
        self,
        stream: InputStream,
        headers: Headers,
        *,
        max_bytes: int,
        errors: tuple[type[Exception], ...] = (OSError,),
    ) -> None:
        """Read nothing yet; ``errors`` are what the stream raises if the body is none."""
        length = headers.get("Content-Length") or ""
        self._stream = stream
        self._announced = int(length) if length.isascii() and length.isdigit() else None
        self._is_chunked = "Transfer-Encoding" in headers
        self._max_bytes = max_bytes
        self._errors = errors
        self._is_broken = False
        self._taken = 0

    def read(self, size: int = -1, /) -> bytes:
        """Read at most ``size`` bytes, all for -1; empty at the end.

        Raises:
            PayloadTooLargeError: The body is longer than the largest one taken.
            InvalidBodyError: It ends before its announced length.
        """
        if self._announced is not None and self._announced > self._max_bytes:
            raise self._too_large()
        # One byte over the limit shows that a body sent in chunks is too large.
        content = self._read(size if size >= 0 else self._max_bytes - self._taken + 1)
        if self._taken > self._max_bytes:
            raise self._too_large()
        return content

    def drain(self) -> None:
        """Take what the client still sends, up to ``DRAIN_BYTES``, and forget it."""
        end = self._taken + DRAIN_BYTES
        try:
            while self._taken < end and self._read(65_536):
                pass
        except InvalidBodyError:
            return

    def _read(self, size: int) -> bytes:
        if self._announced is not None:
            size = min(size, self._announced - self._taken)
        elif not self._is_chunked:
            return b""
        if size <= 0 or self._is_broken:
            return b""
        try:
            content = self._stream.read(size)
        except self._errors as exc:
            self._is_broken = True
            raise InvalidBodyError("The body broke off, or its chunks do not parse") from exc
        self._taken += len(content)
        if not content and self._announced is not None:
            raise InvalidBodyError("The body is shorter than announced")
        return content

    def _too_large(self) -> PayloadTooLargeError:
        return PayloadTooLargeError(f"The body is longer than {self._max_bytes} bytes")


class Outgoing:
    """A response's body on its way; it ends whole, or with an error that breaks the connection."""

    def __init__(
        self,
        response: Response,
        *,
        is_head: bool,
        on_close: Callable[[int], None],
        on_error: Callable[[Exception], None],
    ) -> None:
        """Send nothing yet.

        Args:
            response: What to send the body of.
            is_head: Send no body, whatever there is.
            on_close: Called once, with the number of bytes sent.
            on_error: Called with what the body raises, before it goes on to the server.
        """
        self._body = response.body
        self._on_close = on_close
        self._on_error = on_error
        self._sent = 0
        self._is_closed = False
        has_body = not (is_head or is_bodiless(response.status))
        self._chunks = _of_length(response) if has_body else iter(())

    def __iter__(self) -> Iterator[bytes]:
        """Go through the chunks, once."""
        return self

    def __next__(self) -> bytes:
        """Give the next chunk."""
        try:
            chunk = next(self._chunks)
        except StopIteration:
            raise
        except Exception as error:
            self._on_error(error)
            raise
        self._sent += len(chunk)
        return chunk

    def close(self) -> None:
        """Free the source; servers call it in any case, whole or not."""
        if not self._is_closed:
            self._is_closed = True
            _close(self._body)
            self._on_close(self._sent)


def opened(response: Response) -> Response:
    """Take a streamed body's first chunk: until then an error can still be answered as one."""
    if isinstance(response.body, bytes):
        return response
    try:
        return replace(response, body=_Opened(response.body))
    except BaseException:
        _close(response.body)
        raise


def is_bodiless(status: int) -> bool:
    """Tell whether answers of a status have no body (RFC 9110 §15.3.5, §15.4.5)."""
    return status in (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED)


def status_line(status: int) -> str:
    """Write a status with its phrase."""
    return f"{int(status)} {HTTPStatus(status).phrase}"


def header_lines(response: Response) -> list[tuple[str, str]]:
    """List the headers, each name once, Content-Length among them where the length is known.

    Several lines of one name are one list (RFC 9110 §5.3). What starts a streamed answer of a
    function has a place for one value of each name.
    """
    lines: dict[str, tuple[str, str]] = {}
    for name, value in response.headers:
        first, before = lines.get(name.lower(), (name, ""))
        lines[name.lower()] = (first, f"{before}, {value}" if before else value)
    if response.length is not None and not is_bodiless(response.status):
        lines["content-length"] = ("Content-Length", str(response.length))
    return list(lines.values())


class _Opened:
    """A streamed body of which the first chunk was already taken."""

    def __init__(self, body: Iterable[bytes]) -> None:
        self._body = body
        chunks = iter(body)
        first = next((chunk for chunk in chunks if chunk), b"")
        self._chunks = chain((first,), chunks)

    def __iter__(self) -> Iterator[bytes]:
        return self._chunks

    def close(self) -> None:
        _close(self._body)


def _of_length(response: Response) -> Iterator[bytes]:
    body = (response.body,) if isinstance(response.body, bytes) else response.body
    length = response.length
    sent = 0
    for chunk in body:
        sent += len(chunk)
        if length is not None and sent > length:
            break
        yield chunk
    if length is not None and sent != length:
        # A server that is not told would keep the connection, and the client would wait.
        raise RuntimeError("a body has another length than announced")


def _close(body: object) -> None:
    close = getattr(body, "close", None)
    if close is not None:
        close()


def _target(environ: WSGIEnvironment) -> tuple[str, str]:
    """Give path and query as they were sent; PATH_INFO is decoded, so it shows no ``%2F``."""
    raw: str | None = environ.get("RAW_URI")
    if raw is None:
        path = environ.get("PATH_INFO", "").encode("latin-1")
        return quote(path, safe=_PATH_CHARACTERS), environ.get("QUERY_STRING", "")
    if not raw.startswith("/"):  # absolute-form (RFC 9112 §3.2.2)
        parts = urlsplit(raw)
        return parts.path, parts.query
    path, _, query = raw.partition("?")
    return path, query


def _headers(environ: WSGIEnvironment) -> Iterator[tuple[str, str]]:
    for key, value in environ.items():
        if key.startswith("HTTP_"):
            yield key.removeprefix("HTTP_").replace("_", "-").title(), value
        elif key in ("CONTENT_TYPE", "CONTENT_LENGTH") and value:
            yield key.replace("_", "-").title(), value
