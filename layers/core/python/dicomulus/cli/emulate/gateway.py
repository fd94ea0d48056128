"""The gateway: the routes of the deployed REST API, its limits and Lambda's, before the functions."""

from __future__ import annotations

import http.client
import time
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from dicomulus.adapters.aws.limits import (
    FULL_SPEED_BYTES,
    MAX_GATEWAY_BYTES,
    MAX_INVOKE_BYTES,
    MAX_LAMBDA_STREAM_BYTES,
    SLOW_BYTES_PER_SECOND,
)
from dicomulus.api.route import find_route
from dicomulus.api.routes import ROUTES
from dicomulus.api.uploads import PATH as UPLOADS_PATH
from dicomulus.errors import (
    InvalidHeaderError,
    MethodNotAllowedError,
    PayloadTooLargeError,
    RouteNotFoundError,
    UnavailableError,
)
from dicomulus.wire.message import Response

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dicomulus.api.route import Route
    from dicomulus.wire.message import Request

MAX_HEADERS_BYTES: Final = 10_240
"""Bytes of all headers of a request that API Gateway takes."""

ENVELOPE_BYTES: Final = 16_384
"""Bytes that an event needs besides the body: headers, which come twice, and the context."""

GATEWAY_SECONDS: Final = 29
"""Seconds that the gateway waits for an answer that is not streamed."""

STREAM_SECONDS: Final = 300
"""Seconds that it waits for more of one that is."""

CHUNK_BYTES: Final = 65_536

# Those of one connection only, and those that the gateway's own edge writes.
_NOT_FORWARDED: Final = frozenset(
    {"connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"}
)
_NOT_RETURNED: Final = _NOT_FORWARDED | {
    "access-control-allow-origin",
    "access-control-expose-headers",
    "content-length",
    "date",
    "server",
    "x-content-type-options",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """Hands requests to the function that answers their route."""

    base_path: str
    read_port: int
    render_port: int
    store_port: int
    manage_port: int
    max_stream_bytes: int = MAX_LAMBDA_STREAM_BYTES
    full_speed_bytes: int = FULL_SPEED_BYTES
    slow_bytes_per_second: int = SLOW_BYTES_PER_SECOND

    def __call__(self, request: Request) -> Response:
        """Answer a request.

        Raises:
            RouteNotFoundError: The API has no such resource, or not with that method.
            PayloadTooLargeError: The body is over the gateway's or Lambda's limit.
            UnavailableError: The function does not answer, or with more than Lambda takes.
        """
        route = self._route(request)
        streamed = route.scope == "read"
        body = _body(request)
        ports = {"read": self.read_port, "write": self.store_port, "delete": self.manage_port}
        port = self.render_port if route.decodes else ports[route.scope]
        seconds = STREAM_SECONDS if streamed else GATEWAY_SECONDS
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=seconds)
        try:
            answer = _sent(connection, request, body)
        except (OSError, http.client.HTTPException) as exc:
            connection.close()
            raise UnavailableError("the function gives no answer") from exc
        if streamed:
            return self._streamed(connection, answer)
        return _buffered(connection, answer)

    def _route(self, request: Request) -> Route:
        base = tuple(self.base_path.strip("/").split("/"))
        segments = request.segments
        if segments[: len(base)] != base:
            raise RouteNotFoundError("no such resource")
        try:
            route, _ = find_route(ROUTES, request.method, segments=segments[len(base) :])
        except MethodNotAllowedError as exc:
            # To the gateway a resource without the method is no resource.
            raise RouteNotFoundError("no such resource") from exc
        return route

    def _streamed(
        self, connection: http.client.HTTPConnection, answer: http.client.HTTPResponse
    ) -> Response:
        length = answer.getheader("Content-Length")
        return Response(
            answer.status,
            _headers(answer),
            _Stream(self, connection, answer),
            content_length=None if length is None else int(length),
        )


class _Stream:
    """A function's answer as it comes, at the speed and up to the length that Lambda gives it."""

    def __init__(
        self,
        gateway: Gateway,
        connection: http.client.HTTPConnection,
        answer: http.client.HTTPResponse,
    ) -> None:
        self._gateway = gateway
        self._connection = connection
        self._answer = answer

    def __iter__(self) -> Iterator[bytes]:
        gateway, sent, started = self._gateway, 0, time.monotonic()
        while chunk := self._answer.read(CHUNK_BYTES):
            sent += len(chunk)
            if sent > gateway.max_stream_bytes:
                raise UnavailableError("the answer is longer than Lambda sends")
            if sent <= gateway.full_speed_bytes:
                started = time.monotonic()
            yield chunk
            slow = max(0, sent - gateway.full_speed_bytes) / gateway.slow_bytes_per_second
            time.sleep(max(0.0, started + slow - time.monotonic()))
        if self._answer.length:
            raise UnavailableError("the function's answer broke off")

    def close(self) -> None:
        """Let the function know that nobody reads on."""
        self._connection.close()


def _body(request: Request) -> bytes:
    size = sum(len(name) + len(value) for name, value in request.headers)
    if size > MAX_HEADERS_BYTES:
        raise InvalidHeaderError("all", f"are longer than the gateway's {MAX_HEADERS_BYTES} bytes")
    uploads = request.base_url + UPLOADS_PATH
    try:
        body = request.body.read(MAX_GATEWAY_BYTES + 1)
    except PayloadTooLargeError as exc:
        raise PayloadTooLargeError(str(exc), uploads=uploads) from exc
    if len(body) > MAX_GATEWAY_BYTES:
        raise PayloadTooLargeError("the request is over the gateway's 10 MB", uploads=uploads)
    # Bytes travel as base64 within the event.
    if len(body) * 4 // 3 + ENVELOPE_BYTES > MAX_INVOKE_BYTES:
        raise PayloadTooLargeError(
            "the request is over the 6 MB that a function is handed", uploads=uploads
        )
    return body


def _sent(
    connection: http.client.HTTPConnection, request: Request, body: bytes
) -> http.client.HTTPResponse:
    query = _raw_query(request)
    connection.putrequest(
        request.method, request.path + query, skip_host=True, skip_accept_encoding=True
    )
    for name, value in request.headers:
        if name.lower() not in _NOT_FORWARDED | {"content-length", "expect"}:
            connection.putheader(name, value)
    if body or request.method == "POST":
        connection.putheader("Content-Length", str(len(body)))
    connection.endheaders(body)
    return connection.getresponse()


def _raw_query(request: Request) -> str:
    from urllib.parse import urlencode

    return f"?{urlencode(request.query)}" if request.query else ""


def _buffered(connection: http.client.HTTPConnection, answer: http.client.HTTPResponse) -> Response:
    with closing(connection):
        body = answer.read(MAX_INVOKE_BYTES + 1)
    if len(body) > MAX_INVOKE_BYTES:
        raise UnavailableError("the answer is over the 6 MB that a function may give")
    return Response(answer.status, _headers(answer), body)


def _headers(answer: http.client.HTTPResponse) -> tuple[tuple[str, str], ...]:
    return tuple(
        (name, value)
        for name, value in answer.getheaders()
        if name.lower() not in _NOT_RETURNED and (name.lower(), value) != ("vary", "Origin")
    )
