"""The emulated gateway before a function that answers what a test wants, over real connections."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from typing import TYPE_CHECKING, Any

import pytest

from dicomulus.adapters.aws.limits import MAX_GATEWAY_BYTES, MAX_INVOKE_BYTES
from dicomulus.cli.emulate.gateway import MAX_HEADERS_BYTES, Gateway
from dicomulus.errors import (
    InvalidHeaderError,
    PayloadTooLargeError,
    RouteNotFoundError,
    UnavailableError,
)
from dicomulus.wire.message import Headers, Request

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dicomulus.wire.message import Response


@dataclass(slots=True)
class Function:
    """What the function answers, and what it was asked."""

    body: bytes = b""
    announced: int | None = None
    headers: tuple[tuple[str, str], ...] = ()
    asked: str = ""
    given: bytes = b""


@contextmanager
def running(function: Function) -> Iterator[Gateway]:
    """Run a function, and give a gateway before it."""

    class Answer(BaseHTTPRequestHandler):
        def answer(self) -> None:
            function.asked = f"{self.command} {self.path}"
            function.given = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(200)
            for name, value in function.headers:
                self.send_header(name, value)
            announced = len(function.body) if function.announced is None else function.announced
            self.send_header("Content-Length", str(announced))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(function.body)

        do_GET = do_HEAD = do_OPTIONS = do_POST = do_DELETE = answer

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, request: object, client_address: object) -> None:
            pass  # a gateway that has had enough goes away

    with Server(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        port = server.server_address[1]
        try:
            yield Gateway(
                base_path="/dicom-web",
                read_port=port,
                render_port=port,
                store_port=port,
                manage_port=port,
                max_stream_bytes=300_000,
                full_speed_bytes=100_000,
                slow_bytes_per_second=1_000_000,
            )
        finally:
            server.shutdown()
            thread.join()


def get(path: str = "/studies", method: str = "GET", **arguments: object) -> Request:
    """Make a request."""
    return Request(method, f"/dicom-web{path}", **arguments)  # type: ignore[arg-type]


def whole(response: Response) -> bytes:
    """Take a body to its end, and close it."""
    if isinstance(response.body, bytes):
        return response.body
    try:
        return b"".join(response.body)
    finally:
        response.body.close()  # type: ignore[attr-defined]


def test_path_and_query_reach_the_function_as_they_were_sent() -> None:
    function = Function(b"[]")
    with running(function) as gateway:
        query = (("PatientName", "Müller^*"), ("includefield", "a"), ("includefield", "b"))
        whole(gateway(get("/studies/1%2F2/series", query=query)))
    expected = "PatientName=M%C3%BCller%5E%2A&includefield=a&includefield=b"
    assert function.asked == f"GET /dicom-web/studies/1%2F2/series?{expected}"


def test_an_answer_comes_back_with_its_headers_but_those_of_the_edge() -> None:
    function = Function(
        b"[]",
        headers=(("ETag", '"x"'), ("Access-Control-Allow-Origin", "*"), ("Vary", "Origin")),
    )
    with running(function) as gateway:
        response = gateway(get())
        assert whole(response) == b"[]"
    assert response.headers == (("ETag", '"x"'),)
    assert response.content_length == 2


def test_a_stream_over_lambda_s_limit_breaks() -> None:
    with running(Function(bytes(300_001))) as gateway, pytest.raises(UnavailableError):
        whole(gateway(get()))


def test_a_stream_is_slowed_down_after_its_first_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    monkeypatch.setattr(time, "monotonic", lambda: 0.0)
    with running(Function(bytes(300_000))) as gateway:
        response = gateway(get())
        assert len(whole(response)) == 300_000
    assert pauses[0] == 0
    assert pauses[-1] == pytest.approx(0.2)


def test_an_answer_that_breaks_off_is_not_taken_for_whole() -> None:
    with (
        running(Function(bytes(10), announced=20)) as gateway,
        pytest.raises(UnavailableError),
    ):
        whole(gateway(get()))


def test_a_body_reaches_the_storing_function() -> None:
    function = Function(b"{}")
    with running(function) as gateway:
        response = gateway(get(method="POST", body=BytesIO(b"content")))
    assert response.body == b"{}"
    assert function.given == b"content"


@pytest.mark.parametrize("size", [MAX_GATEWAY_BYTES + 1, MAX_INVOKE_BYTES * 3 // 4])
def test_a_body_over_the_limits_reaches_no_function(size: int) -> None:
    function = Function()
    with running(function) as gateway, pytest.raises(PayloadTooLargeError):
        gateway(get(method="POST", body=BytesIO(bytes(size))))
    assert function.asked == ""


def test_a_buffered_answer_over_lambda_s_limit_is_none() -> None:
    too_long = Function(bytes(MAX_INVOKE_BYTES + 1))
    with running(too_long) as gateway, pytest.raises(UnavailableError):
        gateway(get(method="POST"))


@pytest.mark.parametrize(
    ("method", "path", "port"),
    [
        ("GET", "/studies", "read_port"),
        ("HEAD", "/studies", "read_port"),
        ("OPTIONS", "/", "read_port"),
        ("POST", "/studies", "store_port"),
        ("DELETE", "/studies/1", "manage_port"),
    ],
)
def test_each_scope_has_a_function_of_its_own(method: str, path: str, port: str) -> None:
    ports: dict[str, Any] = {"read_port": 1, "store_port": 1, "manage_port": 1}
    with running(Function()) as gateway:
        real = replace(gateway, **ports | {port: getattr(gateway, port)})
        assert real(get(path, method=method)).status == 200
        with pytest.raises(UnavailableError):
            replace(real, **ports)(get(path, method=method))


def test_headers_over_the_gateway_s_limit_are_refused() -> None:
    headers = Headers((("X-Long", "x" * MAX_HEADERS_BYTES),))
    with running(Function()) as gateway, pytest.raises(InvalidHeaderError):
        gateway(get(headers=headers))


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/nothing"), ("POST", "/studies/1/metadata"), ("PUT", "/studies")]
)
def test_what_is_no_route_reaches_no_function(method: str, path: str) -> None:
    function = Function()
    with running(function) as gateway, pytest.raises(RouteNotFoundError):
        gateway(get(path, method=method))
    assert function.asked == ""


def test_a_path_outside_the_service_is_no_route() -> None:
    with running(Function()) as gateway, pytest.raises(RouteNotFoundError):
        gateway(Request("GET", "/studies"))


def test_a_function_that_does_not_answer_is_unavailable() -> None:
    with running(Function()) as gateway:
        gone = replace(gateway, read_port=1)
        with pytest.raises(UnavailableError):
            gone(get())
