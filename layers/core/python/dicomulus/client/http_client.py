"""An HTTP client of one DICOMweb server: connections kept, proxies, tokens, patience."""

from __future__ import annotations

import json
import logging
import os
import ssl
import urllib.request
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from threading import Event, Lock
from typing import IO, TYPE_CHECKING, Any, Final
from urllib.parse import urljoin, urlsplit

import urllib3
from urllib3.exceptions import HTTPError, LocationParseError, MaxRetryError
from urllib3.util.retry import Retry

from dicomulus import __version__
from dicomulus.client.progress import Meter
from dicomulus.client.store_answer import describe, parse_store_answer
from dicomulus.errors import (
    ConfigurationError,
    RemoteAnswerError,
    RemoteRefusedError,
    RemoteUnavailableError,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from urllib.parse import SplitResult

    from urllib3 import BaseHTTPResponse

logger = logging.getLogger(__name__)

CHUNK_BYTES: Final = 262_144
"""Bytes sent or received at a time."""

CONNECT_SECONDS: Final = 10.0
READ_SECONDS: Final = 300.0
"""From the last byte sent to the first of the answer: a store of many instances takes its time."""

ATTEMPTS: Final = 7
"""Times that a request is sent before the server counts as unavailable: about 30 seconds."""

ANSWER_ATTEMPTS: Final = 3
"""Times that a request is sent whose answer breaks off."""

BACKOFF_SECONDS: Final = 0.5
MAX_BACKOFF_SECONDS: Final = 20.0
MAX_RETRY_AFTER_SECONDS: Final = 60

MAX_ANSWER_BYTES: Final = 64 * 1_048_576
"""Bytes of an answer that is read whole, such as a report or a page of a search."""

_MAX_REPORT_BYTES: Final = 1_048_576
"""Bytes of an answer that is looked into for what one waits for."""

MAX_REASON_LENGTH: Final = 300

UNAVAILABLE: Final = frozenset({429, 502, 503, 504})
"""Statuses after which the same request is sent again."""

_PATH: Final = "/dicom-web"


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer that was read whole."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """Give the body's JSON; none if it is none."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            return None

    @property
    def members(self) -> Mapping[str, Any]:
        """The members of a problem or of another JSON object; empty for any other body."""
        value = self.json()
        return value if isinstance(value, dict) else {}

    @property
    def reason(self) -> str:
        """What the server says of a refusal, in one line."""
        return reason_of(self.status, self.members)


def reason_of(status: int, members: Mapping[str, Any]) -> str:
    """Put a refusal into one line; of bodies that may hold anything only the status is told."""
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = "no known status"
    # RFC 9457 has `detail`, Orthanc `Message`.
    text = members.get("detail") or members.get("Message") or _failures_of(members)
    said = f": {' '.join(text.split())}" if isinstance(text, str) and text.strip() else ""
    return f"{status} {phrase}{said}"[:MAX_REASON_LENGTH]


def _failures_of(members: Mapping[str, Any]) -> str:
    """Give the reasons of a store report's failures."""
    report = parse_store_answer(members)
    reasons = {*report.failed.values(), *report.others} if report else ()
    return ", ".join(map(describe, sorted(reasons)))


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientOptions:
    """How a server is talked to."""

    token: str = field(default="", repr=False)
    """Bearer token; empty for none."""
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    """Further headers of each request to the server."""
    connections: int = 4
    attempts: int = ATTEMPTS


class HttpClient:
    """Requests to one server, and to whatever it refers to; may be used by many threads.

    Proxies and certificates are those of the environment. What identifies the user goes to the
    server alone, never to where it redirects or refers to.
    """

    def __init__(
        self,
        url: str,
        options: ClientOptions | None = None,
        *,
        default_path: str = _PATH,
        stopped: Event | None = None,
    ) -> None:
        """Talk to the server with a base URL.

        Args:
            url: The base URL.
            options: How to talk to it.
            default_path: Its path, if the URL has none.
            stopped: Is shared with other clients that end together with this one.

        Raises:
            ConfigurationError: The URL is none, or a certificate file cannot be read.
        """
        self.base_url = base_url_of(url, default_path=default_path)
        self.stopped = stopped or Event()
        """Set to end all waiting, and requests that are still being sent."""
        self.meter = Meter()
        self._options = options or ClientOptions()
        self._origin = origin_of(self.base_url)
        self._own_headers = _own_headers(self._options)
        self._retries = _Patience(
            total=self._options.attempts - 1,
            redirect=5,
            allowed_methods=None,
            status_forcelist=UNAVAILABLE,
            backoff_factor=BACKOFF_SECONDS,
            backoff_max=MAX_BACKOFF_SECONDS,
            backoff_jitter=0.25,
            retry_after_max=MAX_RETRY_AFTER_SECONDS,
            raise_on_status=False,
            remove_headers_on_redirect=[*Retry.DEFAULT_REMOVE_HEADERS_ON_REDIRECT]
            + [name for name, _ in self._own_headers],
            stopped=self.stopped,
            told=Event(),
        )
        self._pools = _Pools(self._options.connections)
        # Its warnings name URLs whole, and a search has attributes of patients in them.
        logging.getLogger("urllib3").setLevel(logging.ERROR)

    def send(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | IO[bytes] | None = None,
        max_bytes: int = MAX_ANSWER_BYTES,
    ) -> Answer:
        """Send a request and read its answer whole, whatever its status.

        Args:
            method: Of the request, which may be sent several times.
            url: Absolute, or a path below the base URL.
            headers: Of this request; with a body that is a file, its Content-Length among them.
            body: Bytes, or a file that can be read again from its start.
            max_bytes: Most bytes of an answer that is taken.

        Raises:
            RemoteUnavailableError: There was no answer.
            RemoteAnswerError: The answer breaks off, or is longer than anything expected.
        """
        for _ in range(ANSWER_ATTEMPTS - 1):
            try:
                return self._send_once(method, url, headers, body, max_bytes)
            except RemoteAnswerError:
                if self.stopped.wait(BACKOFF_SECONDS):
                    raise
        return self._send_once(method, url, headers, body, max_bytes)

    def _send_once(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None,
        body: bytes | IO[bytes] | None,
        max_bytes: int,
    ) -> Answer:
        if body is not None and not isinstance(body, bytes):
            body.seek(0)
        with self._answer(method, url, headers=headers, body=body) as response:
            return Answer(response.status, response.headers, _whole(response, max_bytes))

    @contextmanager
    def stream(
        self, url: str, *, headers: Mapping[str, str] | None = None
    ) -> Iterator[BaseHTTPResponse]:
        """Get a resource piece by piece.

        Raises:
            RemoteUnavailableError: There was no answer, or a later one is asked for.
            RemoteRefusedError: Its status is no success.
            RemoteAnswerError: It breaks off.
        """
        with self._answer("GET", url, headers=headers, body=None) as response:
            if response.status not in (200, 206):
                self.refuse(Answer(response.status, response.headers, _whole(response)))
            yield response

    def close(self) -> None:
        """End all connections that are kept; a server that is about to end need not wait for them."""
        self._pools.clear()

    @staticmethod
    def refuse(answer: Answer) -> None:
        """Raise the error that an answer without success is.

        Raises:
            RemoteUnavailableError: It asks for patience.
            RemoteRefusedError: It is final.
        """
        if answer.status in UNAVAILABLE:
            raise RemoteUnavailableError(answer.reason)
        reason = answer.reason
        if answer.status in (401, 403) and "store-forbidden" not in answer.members.values():
            reason += " (a token is given by --token or DICOMULUS_TOKEN)"
        raise RemoteRefusedError(reason, status=answer.status)

    @contextmanager
    def _answer(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None,
        body: bytes | IO[bytes] | None,
    ) -> Iterator[BaseHTTPResponse]:
        target = url if "://" in url else self.base_url + url
        sent = {"User-Agent": f"dicomulus/{__version__}", "Accept-Encoding": "identity"}
        if origin_of(target) == self._origin:
            sent |= dict(self._own_headers)
        sent |= headers or {}
        try:
            response = self._pools.to(target).urlopen(
                method,
                target,
                headers=sent,
                body=body,
                retries=self._retries,
                preload_content=False,
                timeout=urllib3.Timeout(connect=CONNECT_SECONDS, read=READ_SECONDS),
            )
        except (HTTPError, LocationParseError) as exc:
            raise RemoteUnavailableError(f"{origin_of(target)}: {_cause(exc)}") from exc
        except ValueError as exc:
            # Of a URL, a method or headers that a server named: more than one line, say.
            raise RemoteAnswerError("the server names a request that cannot be sent") from exc
        try:
            yield response
        except HTTPError as exc:
            raise RemoteAnswerError(f"{origin_of(target)}: the answer breaks off") from exc
        finally:
            # What was not read to its end cannot be used again.
            response.close()
            response.release_conn()


class _Pools:
    """Connections, kept by scheme and by the proxy that they go through."""

    def __init__(self, connections: int) -> None:
        self._connections = connections
        self._proxies = urllib.request.getproxies()
        self._lock = Lock()
        self._kept: dict[tuple[str, str], urllib3.PoolManager] = {}

    def to(self, url: str) -> urllib3.PoolManager:
        """Give the connections by which a URL is reached."""
        parts = urlsplit(url)
        proxy = self._proxies.get(parts.scheme) or self._proxies.get("all") or ""
        if proxy and urllib.request.proxy_bypass(parts.netloc):
            proxy = ""
        with self._lock:
            kept = self._kept.get((parts.scheme, proxy))
            if kept is None:
                kept = self._kept[parts.scheme, proxy] = self._new(parts.scheme, proxy)
            return kept

    def clear(self) -> None:
        """End all connections."""
        with self._lock:
            for kept in self._kept.values():
                kept.clear()

    def _new(self, scheme: str, proxy: str) -> urllib3.PoolManager:
        options: dict[str, Any] = {"maxsize": self._connections, "blocksize": CHUNK_BYTES}
        if "https" in (scheme, urlsplit(proxy).scheme):
            options["ssl_context"] = _tls()
        return _proxied(proxy, options) if proxy else urllib3.PoolManager(**options)


def _proxied(proxy: str, options: Mapping[str, Any]) -> urllib3.PoolManager:
    url = proxy if "://" in proxy else f"http://{proxy}"
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https"):
        raise ConfigurationError(f"a proxy of the environment is {parts.scheme}, which is unknown")
    login = f"{parts.username}:{parts.password or ''}" if parts.username else None
    headers = urllib3.make_headers(proxy_basic_auth=login) if login else None
    return urllib3.ProxyManager(url, proxy_headers=headers, **options)


class _Patience(Retry):
    """Waits between attempts that end as soon as the work is stopped."""

    def __init__(self, *arguments: Any, stopped: Event, told: Event, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._stopped = stopped
        self._told = told
        """Set once the user knows that the server lets us wait at times."""
        self._said: Mapping[str, Any] = {}
        """The report of a store that is to be sent again."""

    def new(self, **named: Any) -> _Patience:
        return super().new(stopped=self._stopped, told=self._told, **named)

    def increment(self, *arguments: Any, **named: Any) -> _Patience:
        # Raises for the last answer, which is somebody else's to read.
        after = super().increment(*arguments, **named)
        response = named.get("response")
        if response is not None and response.status in UNAVAILABLE:
            after._said = _report_of(response)
        return after

    def sleep(self, response: BaseHTTPResponse | None = None) -> None:
        asked = None if response is None else self.get_retry_after(response)
        # Servers ask for a second each time, however often they do.
        seconds = max(asked or 0.0, self.get_backoff_time())
        level = logging.INFO if self._told.is_set() else logging.WARNING
        self._told.set()
        logger.log(level, "waiting for the server", extra={"reason": self._reason(response)})
        if self._stopped.wait(seconds):
            raise RemoteUnavailableError("stopped while waiting for the server")

    def _reason(self, response: BaseHTTPResponse | None) -> str:
        if response is not None:
            return reason_of(response.status, self._said)
        error = self.history[-1].error if self.history else None
        return "" if error is None else _cause(error)


def _report_of(response: BaseHTTPResponse) -> Mapping[str, Any]:
    """Give the failures that an answer reports; other texts may hold anything of the request."""
    with suppress(HTTPError, ValueError, RecursionError):
        members = json.loads(response.read(_MAX_REPORT_BYTES))
        if isinstance(members, dict) and "detail" not in members and "Message" not in members:
            return members
    return {}


def base_url_of(url: str, *, default_path: str = _PATH) -> str:
    """Give the base URL that a user means: without ``/studies``, with a path if there is none.

    Raises:
        ConfigurationError: It is no URL of HTTP.
    """
    parts = split_url(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigurationError(f"{url} is no http or https URL")
    if parts.query or parts.fragment or parts.username:
        raise ConfigurationError("the URL has more than scheme, host, port and path")
    path = parts.path.rstrip("/").removesuffix("/studies")
    return f"{parts.scheme}://{parts.netloc}{path or default_path}"


def split_url(url: str) -> SplitResult:
    """Split a URL that a user gave.

    Raises:
        ConfigurationError: It is none.
    """
    try:
        return urlsplit(url)
    except ValueError as exc:
        raise ConfigurationError(f"{url} is no URL") from exc


def origin_of(url: str) -> str:
    """Give scheme, host and port of a URL."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}".lower()


def absolute(url: str, *, base_url: str) -> str:
    """Give a URL that a server named, which may be relative to its base.

    Raises:
        RemoteAnswerError: It is none.
    """
    try:
        return urljoin(base_url + "/", url)
    except ValueError as exc:
        raise RemoteAnswerError("the server names a URL that is none") from exc


def headers_of(lines: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Parse headers as they are given on the command line, ``Name: value``.

    Raises:
        ConfigurationError: One is none.
    """
    parsed = []
    for line in lines:
        name, colon, value = line.partition(":")
        if not (colon and name.strip() and name.isascii() and line.isprintable()):
            raise ConfigurationError("--header: not of the form 'Name: value'")
        parsed.append((name.strip(), value.strip()))
    return tuple(parsed)


def _own_headers(options: ClientOptions) -> tuple[tuple[str, str], ...]:
    if not options.token:
        return options.headers
    if not (options.token.isascii() and options.token.isprintable()):
        raise ConfigurationError("token: has characters that no header takes")
    return (("Authorization", f"Bearer {options.token}"), *options.headers)


def _tls() -> ssl.SSLContext:
    """Trust what the system trusts; SSL_CERT_FILE and SSL_CERT_DIR are OpenSSL's own."""
    context = ssl.create_default_context()
    bundle = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE")
    if bundle:
        try:
            context.load_verify_locations(bundle)
        except OSError as exc:
            raise ConfigurationError(f"certificates: {bundle} cannot be read") from exc
    return context


def _whole(response: BaseHTTPResponse, max_bytes: int = MAX_ANSWER_BYTES) -> bytes:
    body = response.read(max_bytes + 1)
    if len(body) > max_bytes:
        raise RemoteAnswerError(f"an answer has more than {max_bytes} bytes")
    return body


def _cause(error: BaseException) -> str:
    """Tell why there was no answer, by the system's own word for it where there is one."""
    cause: BaseException | None = error.reason if isinstance(error, MaxRetryError) else error
    while cause is not None:
        if isinstance(cause, ssl.SSLError):
            return f"TLS: {cause.reason or cause.args[-1]}"
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        if cause.__cause__ is None and cause.__context__ is None:
            break
        cause = cause.__cause__ or cause.__context__
    return f"no answer ({type(cause).__name__})"
