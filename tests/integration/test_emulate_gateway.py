"""The emulated gateway before a function that answers what a test wants, over real connections."""

from __future__ import annotations

import base64
import json
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from typing import TYPE_CHECKING, Any

import pytest

from dicomulus.adapters.aws.limits import (
    FULL_SPEED_BYTES,
    MAX_GATEWAY_BYTES,
    MAX_INVOKE_BYTES,
    MAX_LAMBDA_STREAM_BYTES,
    MAX_STORE_BYTES,
    SLOW_BYTES_PER_SECOND,
)
from dicomulus.cli.emulate.gateway import GATEWAY_SECONDS, MAX_HEADERS_BYTES, Gateway
from dicomulus.cli.emulate.stream import Clock, Pace
from dicomulus.errors import UnavailableError
from dicomulus.wire.message import Headers, Request

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dicomulus.wire.message import Response


PIECE_BYTES = 65_536


@dataclass(slots=True)
class Time:
    """Time that goes by where somebody waits, and by a step at each look at it."""

    now: float = 0.0
    step: float = 0.0
    pauses: list[float] = field(default_factory=list)

    def tell(self) -> float:
        self.now += self.step
        return self.now

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds

    @property
    def clock(self) -> Clock:
        return Clock(now=self.tell, sleep=self.sleep)


@dataclass(slots=True)
class Function:
    """What the function answers, and what it was asked."""

    body: bytes = b""
    announced: int | None = None
    headers: tuple[tuple[str, str], ...] = ()
    asked: str = ""
    asked_headers: list[tuple[str, str]] = field(default_factory=list)
    given: bytes = b""


@contextmanager
def running(function: Function) -> Iterator[Gateway]:
    """Run a function, and give a gateway before it."""

    class Answer(BaseHTTPRequestHandler):
        def answer(self) -> None:
            function.asked = f"{self.command} {self.path}"
            function.asked_headers = list(self.headers.items())
            function.given = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(200)
            for name, value in function.headers:
                self.send_header(name, value)
            announced = len(function.body) if function.announced is None else function.announced
            self.send_header("Content-Length", str(announced))
            self.end_headers()
            if self.command != "HEAD":
                for start in range(0, len(function.body), PIECE_BYTES):
                    self.wfile.write(function.body[start : start + PIECE_BYTES])

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
                pace=Pace(
                    max_bytes=300_000, full_speed_bytes=100_000, slow_bytes_per_second=1_000_000
                ),
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


def refusal(response: Response) -> tuple[int, str]:
    """Give status and code of a problem that the gateway itself answers with."""
    assert isinstance(response.body, bytes)
    assert response.header("Content-Type") == "application/problem+json"
    return response.status, json.loads(response.body)["code"]


def test_path_and_query_reach_the_function_as_they_were_sent() -> None:
    function = Function(b"[]")
    with running(function) as gateway:
        query = (("PatientName", "Müller^*"), ("includefield", "a"), ("includefield", "b+&"))
        whole(gateway(get("/studies/1%2F2/series", query=query)))
    expected = "PatientName=M%C3%BCller%5E%2A&includefield=a&includefield=b%2B%26"
    assert function.asked == f"GET /dicom-web/studies/1%2F2/series?{expected}"


def test_a_list_of_frames_is_one_segment() -> None:
    function = Function(b"[]")
    with running(function) as gateway:
        whole(gateway(get("/studies/1/series/2/instances/3/frames/1,2,3")))
    assert function.asked.endswith("/frames/1,2,3")


def test_of_a_header_in_several_lines_the_last_arrives() -> None:
    function = Function(b"[]")
    with running(function) as gateway:
        whole(gateway(get(headers=Headers((("Accept", "a/b"), ("Accept", "c/d"))))))
    assert [value for name, value in function.asked_headers if name == "Accept"] == ["c/d"]


def test_an_answer_comes_back_with_its_headers_but_those_of_the_edge() -> None:
    function = Function(
        b"[]",
        headers=(("ETag", '"x"'), ("Access-Control-Allow-Origin", "*"), ("Vary", "a, Origin")),
    )
    with running(function) as gateway:
        response = gateway(get())
        assert whole(response) == b"[]"
    headers = dict(response.headers)
    assert headers["ETag"] == '"x"'
    assert headers["Vary"] == "a"
    assert "Access-Control-Allow-Origin" not in headers


def test_a_streamed_answer_has_no_length_of_its_own() -> None:
    """API Gateway keeps the function's under another name."""
    with running(Function(b"[]")) as gateway:
        response = gateway(get())
        whole(response)
    assert response.content_length is None
    assert response.header("Content-Length") is None
    assert response.header("x-amzn-Remapped-Content-Length") == "2"


def test_a_streamed_answer_that_names_a_header_twice_is_none() -> None:
    function = Function(b"[]", headers=(("Vary", "Accept"), ("Vary", "Origin")))
    with running(function) as gateway:
        assert refusal(gateway(get())) == (502, "unavailable")


@pytest.mark.parametrize(("length", "is_whole"), [(300_000, True), (300_001, False)])
def test_a_stream_ends_at_lambda_s_limit(length: int, *, is_whole: bool) -> None:
    with running(Function(bytes(length))) as gateway:
        response = replace(gateway, clock=Time().clock)(get())
        if is_whole:
            assert len(whole(response)) == length
        else:
            with pytest.raises(UnavailableError):
                whole(response)


def test_the_limits_of_a_stream_are_those_of_lambda() -> None:
    assert Pace() == Pace(
        full_speed_bytes=FULL_SPEED_BYTES,
        slow_bytes_per_second=SLOW_BYTES_PER_SECOND,
        max_bytes=MAX_LAMBDA_STREAM_BYTES,
    )


def test_a_stream_is_slowed_down_after_its_first_bytes() -> None:
    time = Time()
    sent = 0
    with running(Function(bytes(300_000))) as gateway:
        for chunk in replace(gateway, clock=time.clock)(get()).body:
            assert isinstance(chunk, bytes)
            # What was sent before this chunk has taken the time that it must.
            assert time.now == pytest.approx(max(0, sent - 100_000) / 1_000_000)
            sent += len(chunk)
    assert sent == 300_000
    assert sum(time.pauses) == pytest.approx(0.2)
    assert time.now == pytest.approx(0.2)


def test_a_stream_may_be_as_fast_as_it_goes() -> None:
    time = Time()
    with running(Function(bytes(300_000))) as gateway:
        pace = replace(gateway.pace, slow_bytes_per_second=0)
        assert len(whole(replace(gateway, pace=pace, clock=time.clock)(get()))) == 300_000
    assert time.pauses == []


def test_an_answer_that_breaks_off_ends_with_what_the_adapter_adds() -> None:
    """Nothing tells the client; the form of the answer must."""
    with running(Function(bytes(10), announced=20)) as gateway:
        body = whole(gateway(get()))
    assert body.startswith(bytes(10) + b"Lambda-Runtime-Function-Error-Type: ")


@pytest.mark.parametrize("content_type", ["application/dicom", 'Multipart/Related; boundary="b"'])
def test_bytes_of_a_body_reach_the_storing_function(content_type: str) -> None:
    function = Function(b"{}", headers=(("Content-Type", "application/dicom+json"),))
    headers = Headers((("Content-Type", content_type),))
    with running(function) as gateway:
        response = gateway(get(method="POST", body=BytesIO(b"\xff\x00"), headers=headers))
    assert response.body == b"{}"
    assert function.given == b"\xff\x00"


def test_a_body_of_another_media_type_is_text() -> None:
    function = Function(b"{}")
    headers = Headers((("Content-Type", "application/json"),))
    with running(function) as gateway:
        gateway(get("/uploads", method="POST", body=BytesIO(b'"\xc3\xbc\xff"'), headers=headers))
    assert function.given.decode() == '"ü\ufffd"'


def test_the_largest_body_that_the_store_takes_fits_into_an_event() -> None:
    function = Function(b"{}")
    headers = Headers((("Content-Type", "multipart/related"), ("Authorization", "x" * 9_000)))
    with running(function) as gateway:
        body = BytesIO(bytes(MAX_STORE_BYTES))
        assert gateway(get(method="POST", body=body, headers=headers)).status == 200
    assert len(function.given) == MAX_STORE_BYTES


@pytest.mark.parametrize("size", [MAX_GATEWAY_BYTES + 1, MAX_INVOKE_BYTES * 3 // 4])
def test_a_body_over_the_limits_reaches_no_function(size: int) -> None:
    function = Function()
    headers = Headers((("Content-Type", "multipart/related"),))
    with running(function) as gateway:
        response = gateway(get(method="POST", body=BytesIO(bytes(size)), headers=headers))
    assert refusal(response) == (413, "payload-too-large")
    assert b"/uploads" in response.body
    assert function.asked == ""


def test_a_buffered_answer_over_lambda_s_limit_is_none() -> None:
    text = (("Content-Type", "application/json"),)
    for function in (
        Function(bytes(MAX_INVOKE_BYTES + 1), headers=text),
        Function(bytes(MAX_INVOKE_BYTES * 3 // 4 + 1), headers=(("Content-Type", "a/b"),)),
    ):
        with running(function) as gateway:
            assert refusal(gateway(get(method="POST"))) == (502, "unavailable")


def test_bytes_of_a_buffered_answer_are_for_who_asks_for_such_a_type_first() -> None:
    function = Function(b"\xff", headers=(("Content-Type", "multipart/related"),))
    with running(function) as gateway:
        for accept, given in (
            ('multipart/related; type="application/dicom+xml"', b"\xff"),
            ("*/*, multipart/related", base64.b64encode(b"\xff")),
        ):
            headers = Headers((("Accept", accept),))
            assert gateway(get(method="POST", headers=headers)).body == given


def test_a_buffered_answer_has_29_seconds() -> None:
    time = Time(step=GATEWAY_SECONDS + 1)
    with running(Function(b"{}", headers=(("Content-Type", "application/json"),))) as gateway:
        slow = replace(gateway, clock=time.clock)
        assert refusal(slow(get(method="POST"))) == (504, "unavailable")


@pytest.mark.parametrize(
    ("method", "path", "port"),
    [
        ("GET", "/studies", "read_port"),
        ("HEAD", "/studies", "read_port"),
        ("OPTIONS", "/", "read_port"),
        ("GET", "/", "render_port"),
        ("POST", "/studies", "store_port"),
        ("DELETE", "/studies/1", "manage_port"),
    ],
)
def test_each_scope_has_a_function_of_its_own(method: str, path: str, port: str) -> None:
    ports: dict[str, Any] = {"read_port": 1, "render_port": 1, "store_port": 1, "manage_port": 1}
    with running(Function()) as gateway:
        real = replace(gateway, **ports | {port: getattr(gateway, port)})
        assert real(get(path, method=method)).status == 200
        assert refusal(replace(real, **ports)(get(path, method=method))) == (504, "unavailable")


def test_headers_over_the_gateway_s_limit_are_refused() -> None:
    function = Function()
    headers = Headers((("X-Long", "x" * MAX_HEADERS_BYTES),))
    with running(function) as gateway:
        assert refusal(gateway(get(headers=headers))) == (431, "invalid-request")
    assert function.asked == ""


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/nothing"), ("POST", "/studies/1/metadata"), ("PUT", "/studies")]
)
def test_what_is_no_route_reaches_no_function(method: str, path: str) -> None:
    function = Function()
    with running(function) as gateway:
        assert refusal(gateway(get(path, method=method))) == (404, "route-not-found")
    assert function.asked == ""


def test_a_path_outside_the_service_is_no_route() -> None:
    with running(Function()) as gateway:
        assert refusal(gateway(Request("GET", "/studies"))) == (404, "route-not-found")
