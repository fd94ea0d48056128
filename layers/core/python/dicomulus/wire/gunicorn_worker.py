"""gunicorn's worker with threads, which clients that stall cannot use up."""

from __future__ import annotations

import errno
import logging
import selectors
import socket
import struct
import sys
import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol, cast, runtime_checkable

from gunicorn import util
from gunicorn.http.errors import (
    LimitRequestHeaders,
    LimitRequestLine,
    ParseException,
    UnsupportedTransferCoding,
)
from gunicorn.workers.gthread import TConn, ThreadWorker

from dicomulus.errors import (
    HeadersTooLargeError,
    InvalidRequestError,
    TargetTooLongError,
    TransferCodingError,
)
from dicomulus.wire.message import Headers
from dicomulus.wire.problem import problem, unexpected_problem
from dicomulus.wire.wsgi import header_lines, status_line

if TYPE_CHECKING:
    from concurrent.futures import Future
    from types import FrameType

    from gunicorn.http import Request, RequestParser

    from dicomulus.errors import DicomulusError
    from dicomulus.wire.message import Response

STALL_SECONDS: Final = 30
"""Without progress for so long, a connection is ended: while a body is sent, or an answer."""

HEAD_SECONDS: Final = 30
"""Seconds that a client has from its first byte to the end of the headers, or to the first byte."""

_READ_BYTES: Final = 65_536
_HEAD_END: Final = b"\r\n\r\n"
_TRY_LATER: Final = frozenset({errno.EAGAIN, errno.EWOULDBLOCK, errno.ECONNABORTED})

logger = logging.getLogger(__name__)


class Connection(TConn):
    """A connection, and what came of the headers of its next request."""

    def __init__(self, *args: Any) -> None:
        """Wait for a request."""
        super().__init__(*args)
        self._head = bytearray()
        self.head = b""

    def is_waiting(self) -> bool:
        """Read what is there; whether the end of the headers is still to come."""
        searched = max(0, len(self._head) - len(_HEAD_END) + 1)
        try:
            data = self.sock.recv(_READ_BYTES)
        except (BlockingIOError, InterruptedError):
            return True
        except OSError:
            data = b""
        self._head += data
        found = self._head.find(_HEAD_END, searched)
        return bool(data) and found < 0 and len(self._head) < _READ_BYTES

    def make_ready(self) -> bool:
        """Give what was read to the parser; whether there is anything."""
        if not self._head:
            return False
        self.init()
        self.head = bytes(self._head)
        cast("RequestParser", self.parser).unreader.unread(self.head)
        self._head.clear()
        return True

    def close(self, graceful: bool = False) -> None:
        """Close the socket, once."""
        if self.sock.fileno() >= 0:
            super().close(graceful=graceful)


class PatientWorker(ThreadWorker):
    """Takes threads only for requests whose headers are there, and has clients go that stall.

    Headers are read by the loop that waits for all connections. While all threads are taken, no
    connection is accepted, so that another process does it.
    """

    def __init__(self, *args: Any, **named: Any) -> None:
        """Begin with all threads free."""
        super().__init__(*args, **named)
        self._busy = 0
        self._handled = _Handled()

    def handle_quit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002
        """End at once, from the loop: here the signal may have met a lock that is held."""
        self.alive = False
        self.method_queue.defer(self._leave)

    def _leave(self) -> None:
        self.tpool.shutdown(wait=False)
        sys.exit(0)

    # connections, in the loop

    def accept(self, listener: socket.socket) -> None:
        """Take a connection, without a thread."""
        try:
            client, address = listener.accept()
        except OSError as exc:
            if exc.errno not in _TRY_LATER:
                raise
            return
        _limit_waits(client)
        if self.nr_conns >= self.worker_connections - 1:
            self._dismiss_one()
        self.nr_conns += 1
        self._expect(Connection(self.cfg, client, address, listener.getsockname()))

    def on_client_socket_readable(self, conn: TConn, client: socket.socket) -> None:
        """Read the beginning of another request on a connection."""
        self.poller.unregister(client)
        self.keepalived_conns.remove(conn)
        self._expect(cast("Connection", conn))

    def on_pending_socket_readable(self, conn: TConn, client: socket.socket) -> None:
        """Read on, and hand the request to a thread if its headers are there."""
        connection = cast("Connection", conn)
        if connection.is_waiting():
            return
        self.poller.unregister(client)
        self.pending_conns.remove(conn)
        self._begin(connection)

    def enqueue_req(self, conn: TConn) -> None:
        """Hand a request to a thread."""
        self._busy += 1
        super().enqueue_req(conn)
        if self._busy >= self.cfg.threads:
            self.set_accept_enabled(False)

    def finish_request(self, conn: TConn, fs: Future[bool]) -> None:
        """Take a connection back from a thread."""
        self._busy -= 1
        super().finish_request(conn, fs)

    def set_accept_enabled(self, enabled: bool | None) -> None:
        """Accept connections or stop that; they are not accepted while all threads are taken."""
        super().set_accept_enabled(bool(enabled) and self._busy < self.cfg.threads)

    def _expect(self, conn: Connection) -> None:
        if not conn.is_waiting():
            self._begin(conn)
            return
        # All wait equally long, so those that have waited longest are first.
        conn.timeout = time.monotonic() + HEAD_SECONDS
        self.pending_conns.append(conn)
        readable = partial(self.on_pending_socket_readable, conn)
        self.poller.register(conn.sock, selectors.EVENT_READ, readable)

    def _dismiss_one(self) -> None:
        """End the connection that has waited longest for a request, so that another one fits."""
        for waiting in (self.pending_conns, self.keepalived_conns):
            if waiting:
                conn = waiting.popleft()
                self.poller.unregister(conn.sock)
                self.nr_conns -= 1
                conn.close()
                return

    def _begin(self, conn: Connection) -> None:
        if conn.make_ready():
            self.enqueue_req(conn)
        else:
            self.nr_conns -= 1
            conn.close()

    # requests, in threads

    def handle(self, conn: TConn) -> bool:
        """Answer one request; whether the connection may have another one."""
        self._handled.head = cast("Connection", conn).head
        keep = super().handle(conn)
        if not keep:
            # It waits for the client, which must not hold up the loop.
            conn.close(graceful=True)
        return keep

    def handle_error(
        self,
        req: Request | None,  # noqa: ARG002
        client: socket.socket,
        addr: Any,
        exc: BaseException,
    ) -> None:
        """Answer what cannot be handed to the application; the connection ends."""
        response = _response_to(exc)
        application: object = self.wsgi
        if isinstance(application, Refuses):
            peer = addr[0] if isinstance(addr, tuple) else ""
            response = application.refused(response, _origin_lines(self._handled.head), peer)
        logger.info("request not understood", extra={"status": int(response.status)})
        try:
            util.write_nonblock(client, _written(response))
        except OSError:
            logger.debug("the client is gone")


class _Handled(threading.local):
    """What the request that a thread answers begins with."""

    head = b""


@runtime_checkable
class Refuses(Protocol):
    """An application that completes answers to what it is not handed."""

    def refused(self, response: Response, headers: Headers, peer: str) -> Response:
        """Add what depends on who asks, for whose headers no more than these are known."""
        ...


def _origin_lines(head: bytes) -> Headers:
    """Find Host and Origin in what is not parsed."""
    lines = (line.partition(b":") for line in head.split(b"\r\n")[1:])
    named = ((name.decode("latin-1"), value.decode("latin-1").strip()) for name, _, value in lines)
    return Headers(tuple(each for each in named if each[0].lower() in ("host", "origin")))


def _limit_waits(client: socket.socket) -> None:
    waited = struct.pack("@ll", STALL_SECONDS, 0)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, waited)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, waited)


def _response_to(exc: BaseException) -> Response:
    if isinstance(exc, ParseException):
        return problem(_error_of(exc))
    return unexpected_problem()


def _error_of(exc: ParseException) -> DicomulusError:
    if isinstance(exc, LimitRequestLine):
        return TargetTooLongError("The path and the query are too long")
    if isinstance(exc, LimitRequestHeaders):
        return HeadersTooLargeError("The headers, or one of them, are too large")
    if isinstance(exc, UnsupportedTransferCoding):
        return TransferCodingError("The body can be sent in chunks, and in no other coding")
    # What gunicorn says of it quotes the request.
    return InvalidRequestError("The request is no HTTP, or contradicts itself")


def _written(response: Response) -> bytes:
    headers = [
        *header_lines(response),
        ("X-Content-Type-Options", "nosniff"),
        ("Connection", "close"),
    ]
    lines = [f"HTTP/1.1 {status_line(response.status)}"]
    lines += [f"{name}: {value}" for name, value in headers]
    body = response.body if isinstance(response.body, bytes) else b"".join(response.body)
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body
