"""The gateway: the routes of the deployed REST API, its limits and Lambda's, before the functions."""

from __future__ import annotations

import base64
import http.client
import json
from contextlib import closing
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from dicomulus.adapters.aws.gateway_rules import (
    DEFAULT_4XX,
    DEFAULT_5XX,
    INTEGRATION_FAILURE,
    INTEGRATION_TIMEOUT,
    NO_SUCH_ROUTE,
    REQUEST_TOO_LARGE,
    binary_media_types,
    is_binary,
)
from dicomulus.adapters.aws.limits import MAX_GATEWAY_BYTES, MAX_INVOKE_BYTES
from dicomulus.api.route import find_route
from dicomulus.api.routes import ROUTES
from dicomulus.api.uploads import PATH as UPLOADS_PATH
from dicomulus.cli.emulate.event import asked_by, event_of, size_of
from dicomulus.cli.emulate.stream import CHUNK_BYTES, Clock, Pace, Stream
from dicomulus.errors import MethodNotAllowedError, PayloadTooLargeError, RouteNotFoundError
from dicomulus.wire.message import Response, parse_segments
from dicomulus.wire.problem import PROBLEM_JSON, TYPE_PREFIX

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dicomulus.adapters.aws.gateway_rules import OwnAnswer
    from dicomulus.api.route import Route
    from dicomulus.cli.emulate.event import Asked
    from dicomulus.wire.message import Request

MAX_HEADERS_BYTES: Final = 10_240
"""Bytes of all headers of a request that API Gateway takes."""

MAX_PRELUDE_BYTES: Final = 16_384
"""Bytes within which status and headers of a streamed answer end."""

GATEWAY_SECONDS: Final = 29
"""Seconds that the gateway waits for an answer that is not streamed."""

STREAM_SECONDS: Final = 300
"""Seconds that it waits for more of one that is."""

# Those of one connection, and those that the gateway's own edge writes.
_NOT_RETURNED: Final = frozenset(
    {
        "access-control-allow-origin",
        "access-control-expose-headers",
        "connection",
        "keep-alive",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "x-content-type-options",
    }
)

# The gateway writes its own, and keeps the function's under another name.
_REMAPPED: Final = frozenset({"content-length", "date", "server", "www-authenticate"})
_REMAPPED_PREFIX: Final = "x-amzn-Remapped-"

_METHODS_OF_ORTHANC: Final = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS")

_TEXT_PREFIXES: Final = ("text", "application/json", "application/javascript", "application/xml")
_TEXT_SUFFIXES: Final = ("+json", "+xml")


class _RefusedError(Exception):
    """The gateway answers by itself."""

    def __init__(self, own: OwnAnswer, *, status: int | None = None) -> None:
        super().__init__(own.kind)
        self.own = own
        self.status = status or own.status or HTTPStatus.INTERNAL_SERVER_ERROR


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """Hands requests to the function that answers their route."""

    base_path: str
    orthanc_path: str = ""
    """Path that Orthanc's REST API lies below; empty where there is none."""
    read_port: int
    render_port: int
    store_port: int
    manage_port: int
    orthanc_port: int = 0
    authorize: Callable[[Request], OwnAnswer | None] | None = None
    """Gives the answer to a request that may not be made; nobody is asked without."""
    pace: Pace = field(default_factory=Pace)
    clock: Clock = field(default_factory=Clock)

    def __call__(self, request: Request) -> Response:
        """Answer a request, by a function or, where that is refused or fails, by itself."""
        try:
            return self._answer(request)
        except _RefusedError as refused:
            uploads = request.base_url + UPLOADS_PATH if refused.own is REQUEST_TOO_LARGE else ""
            hints = refused.own.hints(bearer=self.authorize is not None)
            return _own_answer(refused.own, refused.status, uploads=uploads).with_headers(*hints)

    def _answer(self, request: Request) -> Response:
        _check_headers(request)
        port, is_streamed = self._integration(request)
        if self.authorize is not None and request.method != "OPTIONS":
            refusal = self.authorize(request)
            if refusal is not None:
                raise _RefusedError(refusal)
        event = event_of(request, _body_of(request), binary_types=self._binary_types)
        if size_of(event) > MAX_INVOKE_BYTES:
            raise _RefusedError(REQUEST_TOO_LARGE)
        connection = http.client.HTTPConnection("127.0.0.1", port)
        if is_streamed:
            return self._streamed(connection, asked_by(event))
        return self._buffered(connection, asked_by(event), accept=request.headers.get("Accept"))

    @property
    def _binary_types(self) -> tuple[str, ...]:
        return binary_media_types(orthanc=bool(self.orthanc_path))

    def _integration(self, request: Request) -> tuple[int, bool]:
        """Give the port of the function that answers, and whether its answer is streamed."""
        below = parse_segments(self.orthanc_path)
        if below and request.segments[: len(below)] == below:
            if request.method not in _METHODS_OF_ORTHANC:
                raise _RefusedError(NO_SUCH_ROUTE)
            return self.orthanc_port, True
        route = self._route(request)
        return self._port(route), route.scope == "read"

    def _route(self, request: Request) -> Route:
        base = tuple(self.base_path.strip("/").split("/"))
        segments = request.segments
        if segments[: len(base)] != base:
            raise _RefusedError(NO_SUCH_ROUTE)
        try:
            route, _ = find_route(ROUTES, request.method, segments=segments[len(base) :])
        except (RouteNotFoundError, MethodNotAllowedError) as exc:
            # To the gateway a resource without the method is no resource.
            raise _RefusedError(NO_SUCH_ROUTE) from exc
        return route

    def _port(self, route: Route) -> int:
        if route.decodes:
            return self.render_port
        ports = {"read": self.read_port, "write": self.store_port, "delete": self.manage_port}
        return ports[route.scope]

    def _streamed(self, connection: http.client.HTTPConnection, asked: Asked) -> Response:
        connection.timeout = STREAM_SECONDS
        answer = _sent(connection, asked)
        headers = dict(_headers(answer))
        names = [name.lower() for name, _ in answer.getheaders()]
        if len(set(names)) < len(names) or len(json.dumps(headers)) > MAX_PRELUDE_BYTES:
            # What begins a stream has place for one text of each name.
            connection.close()
            raise _RefusedError(DEFAULT_5XX, status=HTTPStatus.BAD_GATEWAY)
        headers.setdefault("Content-Type", "application/octet-stream")
        body = Stream(connection, answer, pace=self.pace, clock=self.clock)
        return Response(answer.status, tuple(headers.items()), body)

    def _buffered(
        self, connection: http.client.HTTPConnection, asked: Asked, *, accept: str | None
    ) -> Response:
        deadline = self.clock.now() + GATEWAY_SECONDS
        connection.timeout = GATEWAY_SECONDS
        with closing(connection):
            answer = _sent(connection, asked)
            body = self._whole(answer, deadline)
        if _is_text(answer):
            return Response(answer.status, tuple(_headers(answer)), body)
        encoded = base64.b64encode(body)
        if len(encoded) > MAX_INVOKE_BYTES:
            raise _RefusedError(DEFAULT_5XX, status=HTTPStatus.BAD_GATEWAY)
        # Only who asks for such a type before all others is given bytes.
        first = (accept or "").partition(",")[0].partition(";")[0].strip().lower()
        is_decoded = is_binary(first, self._binary_types)
        return Response(answer.status, tuple(_headers(answer)), body if is_decoded else encoded)

    def _whole(self, answer: http.client.HTTPResponse, deadline: float) -> bytes:
        body = bytearray()
        try:
            while chunk := answer.read1(CHUNK_BYTES):
                body += chunk
                if len(body) > MAX_INVOKE_BYTES:
                    raise _RefusedError(DEFAULT_5XX, status=HTTPStatus.BAD_GATEWAY)
                if self.clock.now() > deadline:
                    raise _RefusedError(INTEGRATION_TIMEOUT)
        except TimeoutError as exc:
            raise _RefusedError(INTEGRATION_TIMEOUT) from exc
        except (OSError, http.client.HTTPException) as exc:
            raise _RefusedError(DEFAULT_5XX, status=HTTPStatus.BAD_GATEWAY) from exc
        if answer.length:
            raise _RefusedError(DEFAULT_5XX, status=HTTPStatus.BAD_GATEWAY)
        return bytes(body)


def _check_headers(request: Request) -> None:
    size = sum(len(name) + len(value) for name, value in request.headers)
    if size > MAX_HEADERS_BYTES:
        raise _RefusedError(DEFAULT_4XX, status=HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)


def _body_of(request: Request) -> bytes:
    try:
        body = request.body.read(MAX_GATEWAY_BYTES + 1)
    except PayloadTooLargeError as exc:
        raise _RefusedError(REQUEST_TOO_LARGE) from exc
    if len(body) > MAX_GATEWAY_BYTES:
        raise _RefusedError(REQUEST_TOO_LARGE)
    return body


def _sent(connection: http.client.HTTPConnection, asked: Asked) -> http.client.HTTPResponse:
    try:
        connection.putrequest(asked.method, asked.target, skip_host=True, skip_accept_encoding=True)
        for name, value in asked.headers.items():
            connection.putheader(name, value)
        if asked.body or asked.method in ("POST", "PUT"):
            connection.putheader("Content-Length", str(len(asked.body)))
        connection.endheaders(asked.body)
        return connection.getresponse()
    except TimeoutError as exc:
        connection.close()
        raise _RefusedError(INTEGRATION_TIMEOUT) from exc
    except (OSError, http.client.HTTPException) as exc:
        connection.close()
        raise _RefusedError(INTEGRATION_FAILURE) from exc


def _headers(answer: http.client.HTTPResponse) -> Iterator[tuple[str, str]]:
    for name, value in answer.getheaders():
        if name.lower() in _REMAPPED:
            yield _REMAPPED_PREFIX + name, value
        elif name.lower() == "vary":
            # What the gateway's own edge adds again is not told twice.
            fields = [each for each in value.split(", ") if each != "Origin"]
            yield from [(name, ", ".join(fields))] if fields else []
        elif name.lower() not in _NOT_RETURNED:
            yield name, value


def _is_text(answer: http.client.HTTPResponse) -> bool:
    """Tell whether the Web Adapter hands a buffered body over as text."""
    if answer.getheader("Content-Encoding"):
        return False
    essence = (answer.getheader("Content-Type") or "text").partition(";")[0].strip().lower()
    return essence.startswith(_TEXT_PREFIXES) or essence.endswith(_TEXT_SUFFIXES)


def _own_answer(own: OwnAnswer, status: int, *, uploads: str) -> Response:
    headers = (("Content-Type", PROBLEM_JSON), ("Cache-Control", "no-store"))
    members = own.members(TYPE_PREFIX, uploads=uploads)
    return Response(status, headers, json.dumps(members).encode())
