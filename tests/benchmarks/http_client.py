"""A client that costs little: one kept-alive connection, bodies read and not decoded."""

from __future__ import annotations

import socket
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, Self
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

    Sink = Callable[[memoryview], None]

TIMEOUT_SECONDS: Final = 300.0

_CHUNK_BYTES: Final = 1 << 20
_MAX_HEAD_BYTES: Final = 1 << 16


class ConnectionClosedError(Exception):
    """The server closed the connection before its answer was whole."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer; the body is as it came, with no coding undone but that of chunks."""

    status: int
    headers: Mapping[str, str]
    """By name in lower case."""
    body: bytes
    """Empty for an answer that is only measured."""
    body_bytes: int
    seconds: float
    """From the first byte sent to the last one read."""
    first_seconds: float
    """From the first byte sent to the end of the headers."""


@dataclass(slots=True)
class Connection:
    """One connection to a server on this machine, opened again where the server closed it."""

    base_url: str
    _socket: socket.socket | None = field(default=None, init=False)
    _buffer: bytearray = field(default_factory=bytearray, init=False)
    _scratch: bytearray = field(default_factory=lambda: bytearray(_CHUNK_BYTES), init=False)

    def __enter__(self) -> Self:
        """Begin; the connection is opened by the first request."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the connection."""
        self.close()

    def close(self) -> None:
        """Close the connection if it is open."""
        if self._socket is not None:
            self._socket.close()
        self._socket = None
        self._buffer.clear()

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> Answer:
        """Get a resource; ``path`` goes below the base URL.

        Raises:
            ConnectionClosedError: The answer is not whole.
        """
        return self.send("GET", path, headers)

    def measure(self, path: str, headers: Mapping[str, str] | None = None) -> Answer:
        """Get a resource as ``get`` does, but drop the body as it comes.

        Raises:
            ConnectionClosedError: The answer is not whole.
        """
        return self._send(_format("GET", self.base_url + path, headers or {}, b""), _drop)

    def send(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str] | None = None,
        *,
        body: bytes = b"",
    ) -> Answer:
        """Send a request and read its answer.

        Raises:
            ConnectionClosedError: The answer is not whole.
        """
        kept = bytearray()
        request = _format(method, self.base_url + path, headers or {}, body)
        answer = self._send(request, kept.extend)
        return replace(answer, body=bytes(kept))

    def _send(self, request: bytes, sink: Sink) -> Answer:
        for attempt in (1, 2):
            was_open = self._socket is not None
            try:
                return self._exchange(request, sink)
            except (ConnectionClosedError, ConnectionError):
                self.close()
                # A server may close an idle connection at any time: then, and only then, again.
                if attempt == 2 or not was_open:
                    raise
        raise AssertionError("the second attempt returns or raises")

    def _exchange(self, request: bytes, sink: Sink) -> Answer:
        connection = self._socket or self._open()
        started = time.perf_counter()
        connection.sendall(request)
        status, headers = _parse_head(self._until(b"\r\n\r\n"))
        first_seconds = time.perf_counter() - started
        body_bytes = self._body(status, headers, sink)
        seconds = time.perf_counter() - started
        if headers.get("connection", "").lower() == "close":
            self.close()
        return Answer(status, headers, b"", body_bytes, seconds, first_seconds)

    def _open(self) -> socket.socket:
        url = urlsplit(self.base_url)
        if url.hostname is None or url.port is None:
            raise ValueError("a base URL with a port is needed")
        connection = socket.create_connection((url.hostname, url.port), TIMEOUT_SECONDS)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = connection
        return connection

    def _body(self, status: int, headers: Mapping[str, str], sink: Sink) -> int:
        if status in (204, 304):
            return 0
        if headers.get("transfer-encoding", "").lower() == "chunked":
            return self._chunks(sink)
        if "content-length" not in headers:
            raise ConnectionClosedError("neither a length nor chunks")
        return self._exactly(int(headers["content-length"]), sink)

    def _chunks(self, sink: Sink) -> int:
        total = 0
        while size := int(self._until(b"\r\n").partition(b";")[0], 16):
            total += self._exactly(size, sink)
            self._until(b"\r\n")
        self._until(b"\r\n")
        return total

    def _until(self, mark: bytes) -> bytes:
        while (at := self._buffer.find(mark)) < 0:
            if len(self._buffer) > _MAX_HEAD_BYTES:
                raise ConnectionClosedError("a head without end")
            self._buffer += self._receive()
        found = bytes(self._buffer[:at])
        del self._buffer[: at + len(mark)]
        return found

    def _exactly(self, size: int, sink: Sink) -> int:
        have = min(size, len(self._buffer))
        sink(memoryview(bytes(self._buffer[:have])))
        del self._buffer[:have]
        view = memoryview(self._scratch)
        while have < size:
            got = self._connected().recv_into(view, min(_CHUNK_BYTES, size - have))
            if not got:
                raise ConnectionClosedError("in the middle of a body")
            sink(view[:got])
            have += got
        return size

    def _receive(self) -> bytes:
        data = self._connected().recv(_CHUNK_BYTES)
        if not data:
            raise ConnectionClosedError("before the end of a head")
        return data

    def _connected(self) -> socket.socket:
        if self._socket is None:
            raise ConnectionClosedError("no connection")
        return self._socket


def _drop(_: memoryview) -> None:
    """Take bytes for nothing."""


def _format(method: str, url: str, headers: Mapping[str, str], body: bytes) -> bytes:
    split = urlsplit(url)
    target = split.path + (f"?{split.query}" if split.query else "")
    lines = [f"{method} {target} HTTP/1.1", f"Host: {split.netloc}"]
    if body or method in ("POST", "PUT"):
        lines.append(f"Content-Length: {len(body)}")
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode("ascii") + body


def _parse_head(head: bytes) -> tuple[int, dict[str, str]]:
    first, *lines = head.decode("latin-1").split("\r\n")
    pairs = (line.partition(":") for line in lines)
    return int(first.split()[1]), {name.lower(): value.strip() for name, _, value in pairs}
