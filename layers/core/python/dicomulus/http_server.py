"""The HTTP edge: a WSGI application around the routes, and the server that runs it."""

from __future__ import annotations

import errno
import logging
import os
import re
import socket
import time
from dataclasses import dataclass, replace
from functools import partial
from http import HTTPStatus
from traceback import extract_tb
from typing import TYPE_CHECKING, Any, Final

from dicomulus.errors import ConfigurationError, DicomulusError, MethodNotAllowedError
from dicomulus.settings import Settings
from dicomulus.wire.base_url import Endpoint, base_url, own_origins
from dicomulus.wire.bearer import Tokens
from dicomulus.wire.correlation import correlation_id, granted_scopes
from dicomulus.wire.cors import (
    check_embedding,
    check_origin,
    is_preflight,
    preflight_response,
    with_cors,
)
from dicomulus.wire.message import Response
from dicomulus.wire.problem import problem, status_of, unexpected_problem
from dicomulus.wire.wsgi import Incoming, Outgoing, header_lines, opened, status_line

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

    from dicomulus.wire.message import Headers, Request

    Handle = Callable[[Request], Response]

METHODS: Final = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS")
"""Methods that a page may use; which of them a resource has, the request itself finds out."""

DEFAULT_THREADS: Final = 64
"""Requests that one process answers at the same time; those of clients that stall are some."""

KEEP_ALIVE_SECONDS: Final = 65
"""Seconds that an idle connection stays open: longer than proxies keep theirs, usually 60."""

GRACE_SECONDS: Final = 3
"""Seconds that requests in progress have to end when the server stops."""

MAX_REQUEST_LINE_BYTES: Final = 8_190
"""Bytes of method, path and query: the most that gunicorn takes; some 100 UIDs."""

MAX_HEADER_BYTES: Final = 32_768
"""Bytes of one header; bearer tokens with many groups come near half of it."""

_NAMED: Final = re.compile(
    r"/(patients(?=/(?!count$))|labels|metadata|attachments)/[^/]*", re.IGNORECASE
)
"""What is named in a path by what may tell of a patient."""

_LETTER: Final = re.compile(r"%(4[1-9a-f]|5[0-9a]|6[1-9a-f]|7[0-9a])", re.IGNORECASE)
"""A letter that is percent-encoded without need."""

logger = logging.getLogger(__name__)


def application(
    handle: Handle,
    *,
    settings: Settings,
    port: int,
    body_errors: tuple[type[Exception], ...] = (OSError,),
    behind_gateway: bool = False,
) -> WSGIApplication:
    """Wrap the routes into a WSGI application.

    It finds the base URL, refuses foreign hosts and origins, answers preflights, finds what the
    request's token is for, turns errors into problems, leaves the body of HEAD away and logs,
    without query values or anything of patients.

    Args:
        handle: Answers a request; HEAD as if it were GET.
        settings: Where the archive is and who may use it.
        port: The port that is listened on.
        body_errors: What the server's input raises for a body that breaks off or does not parse.
        behind_gateway: Whether requests come from a gateway alone, by whatever name it has.

    Raises:
        ConfigurationError: The tokens of the settings cannot be read.
    """
    endpoint = Endpoint(port=port, behind_gateway=behind_gateway)
    return _Edge(handle, settings, endpoint, body_errors, Tokens.of(settings))


@dataclass(frozen=True, slots=True)
class _Edge:
    handle: Handle
    settings: Settings
    endpoint: Endpoint
    body_errors: tuple[type[Exception], ...]
    tokens: Tokens

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        started = time.perf_counter()
        incoming = Incoming.of(
            environ,
            max_body_bytes=self.settings.max_request_bytes,
            body_errors=self.body_errors,
        )
        response = self._respond(incoming)
        if response.status >= HTTPStatus.BAD_REQUEST:
            incoming.body.drain()
        start_response(status_line(response.status), header_lines(response))
        return Outgoing(
            response,
            is_head=incoming.method == "HEAD",
            on_close=partial(_log_answer, incoming, response, started),
            on_error=partial(_log_defect, incoming),
        )

    def _respond(self, incoming: Incoming) -> Response:
        endpoint = replace(self.endpoint, peer=incoming.peer)
        origin = incoming.headers.get("Origin")
        allowed = self.settings.allowed_origins
        own: Collection[str] = ()
        try:
            base = base_url(self.settings, incoming.headers, endpoint=endpoint)
            own = own_origins(base, incoming.headers, endpoint=endpoint)
            check_origin(origin, own=own, allowed=allowed)
            check_embedding(incoming.headers, own=own, allowed=allowed)
            scopes = self.tokens.scopes_of(incoming.headers)
            if endpoint.behind_gateway:
                scopes &= granted_scopes(incoming.headers)
            response = opened(self._answer(replace(incoming.request(base), scopes=scopes)))
        except DicomulusError as error:
            _log_problem(incoming, error)
            response = problem(error)
        except Exception as error:  # noqa: BLE001 - the defect of one answer must not end others
            _log_defect(incoming, error)
            response = unexpected_problem()
        # No browser may take data for a page of this server's.
        response = response.with_headers(("X-Content-Type-Options", "nosniff"))
        return with_cors(response, origin, own=own, allowed=allowed)

    def refused(self, response: Response, headers: Headers, peer: str) -> Response:
        """Let allowed pages read an answer to what the server itself could not understand."""
        endpoint = replace(self.endpoint, peer=peer)
        try:
            base = base_url(self.settings, headers, endpoint=endpoint)
        except DicomulusError:
            return response
        own = own_origins(base, headers, endpoint=endpoint)
        allowed = self.settings.allowed_origins
        return with_cors(response, headers.get("Origin"), own=own, allowed=allowed)

    def _answer(self, request: Request) -> Response:
        if is_preflight(request):
            return preflight_response(METHODS, request.headers)
        try:
            return self.handle(request)
        except MethodNotAllowedError as error:
            if request.method != "OPTIONS":
                raise
            return Response(HTTPStatus.NO_CONTENT, (("Allow", ", ".join(error.allowed)),))


def _facts(incoming: Incoming) -> dict[str, object]:
    # The query stays away: what is searched for are names of patients. So do a Patient ID, a label
    # and whatever somebody takes for the name of metadata or of an attachment.
    known_as = correlation_id(incoming.headers)
    return {
        "method": incoming.method,
        "path": _without_names(incoming.path),
        **({} if known_as is None else {"correlation_id": known_as}),
    }


def _without_names(path: str) -> str:
    plain = _LETTER.sub(lambda match: chr(int(match[1], 16)), path)
    return _NAMED.sub(lambda match: f"/{match[1].lower()}/-", plain)


def _log_answer(incoming: Incoming, response: Response, started: float, sent: int) -> None:
    seconds = time.perf_counter() - started
    facts = {"status": int(response.status), "bytes": sent, "seconds": seconds}
    logger.info("request answered", extra=_facts(incoming) | facts)


def _log_problem(incoming: Incoming, error: DicomulusError) -> None:
    status = status_of(type(error))
    # What is not offered is no failure of the archive's.
    is_failure = HTTPStatus.INTERNAL_SERVER_ERROR <= status != HTTPStatus.NOT_IMPLEMENTED
    level = logging.ERROR if is_failure else logging.INFO
    facts: dict[str, object] = {"status": int(status), "code": error.code}
    if level == logging.ERROR:
        facts["reason"] = str(error)
    logger.log(level, "request refused", extra=_facts(incoming) | facts)


def _log_defect(incoming: Incoming, error: Exception) -> None:
    # The text of an unforeseen exception may hold anything, so only its kind and place are kept.
    where = [f"{f.filename}:{f.lineno} {f.name}" for f in extract_tb(error.__traceback__)]
    facts = {"error": type(error).__qualname__, "where": where}
    logger.error("request failed", extra=_facts(incoming) | facts)


def listen(host: str, port: int) -> socket.socket:
    """Open the listening socket; port 0 lets the system choose one.

    Raises:
        ConfigurationError: The address is not this machine's, or the port is taken.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, _, _, _, address = found[0]
        everywhere = address[0] == "::" and socket.has_dualstack_ipv6()
        return socket.create_server(
            (address[0], port), family=family, backlog=1024, dualstack_ipv6=everywhere
        )
    except OSError as exc:
        raise ConfigurationError(_why_not_listening(exc, host=host, port=port)) from exc


def _why_not_listening(error: OSError, *, host: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port: {port} of {host} is taken by another program"
    if error.errno == errno.EACCES:
        return f"port: {port} needs the rights of an administrator"
    if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
        return f"host: {host} is no address of this machine"
    return f"host: cannot listen on {host}, port {port}: {os.strerror(error.errno or 0)}"


def serve(
    build: Callable[[], Handle],
    *,
    settings: Settings,
    listener: socket.socket,
    workers: int,
    ready: Callable[[], None],
    threads: int = DEFAULT_THREADS,
    behind_gateway: bool = False,
) -> None:
    """Serve until SIGINT, SIGTERM or SIGHUP, from processes that are forked here.

    The caller must be the main thread, and should hold no other threads and no open database.

    Args:
        build: Makes what answers requests, once in each process.
        settings: Those of the edge.
        listener: From ``listen``; it is taken over.
        workers: Processes.
        ready: Called once when requests will be answered, in the calling process.
        threads: Requests that one process answers at the same time.
        behind_gateway: See ``application``.

    Raises:
        SystemExit: A process could not be started.
    """
    from dicomulus.wire.gunicorn_server import BODY_ERRORS, run  # for those who serve

    port = listener.getsockname()[1]
    options: dict[str, Any] = {
        "bind": f"fd://{listener.detach()}",
        "workers": workers,
        "threads": threads,
        "keepalive": KEEP_ALIVE_SECONDS,
        "graceful_timeout": GRACE_SECONDS,
        "limit_request_line": MAX_REQUEST_LINE_BYTES,
        "limit_request_field_size": MAX_HEADER_BYTES,
    }

    def make() -> WSGIApplication:
        return application(
            build(),
            settings=settings,
            port=port,
            body_errors=BODY_ERRORS,
            behind_gateway=behind_gateway,
        )

    run(make, options, ready=ready)


def serve_behind_adapter(build: Callable[[Settings], Handle], *, ready: Callable[[], None]) -> None:
    """Serve as what the Lambda Web Adapter starts: settings and port by the environment.

    Args:
        build: Makes what answers requests.
        ready: Called once when requests will be answered.

    Raises:
        ConfigurationError: A setting is malformed, or the port is taken.
    """
    settings = Settings.from_env()
    listener = listen("127.0.0.1", int(os.environ["AWS_LWA_PORT"]))
    # An environment is handed one request at a time, so that one process is enough.
    serve(
        partial(build, settings),
        settings=settings,
        listener=listener,
        workers=1,
        ready=ready,
        behind_gateway=True,
    )
