"""The server as a process, seen from its clients."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256
from http.client import HTTPConnection, IncompleteRead
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dicomulus.errors import ConfigurationError
from dicomulus.http_server import listen
from tests.support.http_server_program import CHUNK, LONG

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).parents[2]
PATIENCE_SECONDS = 30.0
"""How long to wait for what is bound to come, on a busy machine."""


@dataclass(frozen=True)
class Running:
    """A server process and its port."""

    process: subprocess.Popen[str]
    port: int

    def get(self, path: str) -> bytes:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_SECONDS)
        try:
            connection.request("GET", path)
            return connection.getresponse().read()
        finally:
            connection.close()


@contextmanager
def running(workers: int = 1, *, stall_seconds: int = 600) -> Iterator[Running]:
    program = [sys.executable, "-m", "tests.support.http_server_program"]
    process = subprocess.Popen(
        [*program, str(workers), str(stall_seconds)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT / "layers/core/python")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            assert process.stdout is not None
            yield Running(process, int(process.stdout.readline()))
        finally:
            process.kill()


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    with running() as found:
        yield found


def until(condition: Callable[[], bool]) -> bool:
    end = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def stalled_reader(port: int, path: str) -> socket.socket:
    """Ask for an answer and take no byte of it."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
    client.connect(("127.0.0.1", port))
    client.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    return client


@contextmanager
def connected(server: Running) -> Iterator[socket.socket]:
    client = socket.socket()
    with client:
        client.settimeout(PATIENCE_SECONDS)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        client.connect(("127.0.0.1", server.port))
        yield client


def everything(client: socket.socket) -> bytes:
    """What the server sends until it closes the connection."""
    pieces = iter(lambda: client.recv(65_536), b"")
    return b"".join(pieces)


def test_a_request_arrives_as_it_was_sent(server: Running) -> None:
    facts = (
        ("dicom-web", "1/2", "..", "x"),
        (("a", " b"),),
        f"http://127.0.0.1:{server.port}/dicom-web",
    )
    assert server.get("/dicom-web/1%2F2/../x?a=%20b").decode() == repr(facts)


@pytest.mark.parametrize("path", ["/failing", "/failing-of-known-length"])
def test_a_broken_answer_never_looks_whole(server: Running, path: str) -> None:
    with pytest.raises(IncompleteRead):
        server.get(path)
    assert server.get("/x"), "the next request is answered"


def test_a_body_in_chunks_is_read_as_it_comes(server: Running) -> None:
    connection = HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE_SECONDS)
    connection.request("POST", "/digest", body=iter([CHUNK] * 100), encode_chunked=True)
    assert connection.getresponse().read().decode() == sha256(CHUNK * 100).hexdigest()
    connection.close()


@pytest.mark.parametrize(
    "body",
    [
        b"5\r\nab",
        b"zz\r\nab\r\n0\r\n\r\n",
        b"2\r\nabc\r\n0\r\n\r\n",
        b"2;=\r\nab\r\n0\r\n\r\n",
        b"2\r\nab\r\n0\r\nbad trailer\r\n\r\n",
    ],
)
@pytest.mark.parametrize("path", ["/digest", "/%zz/?%FF"])
def test_a_body_in_broken_chunks_is_a_bad_request(server: Running, path: str, body: bytes) -> None:
    """Whether the body is read, or only taken off the wire before a refusal."""
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    with connected(server) as client:
        client.sendall(head.encode() + body)
        client.shutdown(socket.SHUT_WR)
        answer = everything(client)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b'"code": "invalid-' in answer


@pytest.mark.parametrize(
    ("request_head", "status", "code"),
    [
        (b"GET /" + b"x" * 9_000 + b" HTTP/1.1\r\nHost: localhost", 414, "target-too-long"),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * 40_000, 431, "headers-too-large"),
        (b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 200, 431, "headers-too-large"),
        (b"GET / HTTP/1.1\r\nNo Header", 400, "invalid-request"),
        (b"GET / HTTP/9.9\r\nHost: localhost", 400, "invalid-request"),
        (b"G\x01T / HTTP/1.1\r\nHost: localhost", 400, "invalid-request"),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: brotli", 501, "transfer-coding"),
    ],
)
def test_what_is_no_request_is_answered_by_a_problem(
    server: Running, request_head: bytes, status: int, code: str
) -> None:
    with connected(server) as client:
        client.sendall(request_head + b"\r\n\r\n")
        head, _, body = everything(client).partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert lines[0].split()[1] == str(status)
    assert "Content-Type: application/problem+json" in lines
    assert "X-Content-Type-Options: nosniff" in lines
    assert "Connection: close" in lines
    assert f"Content-Length: {len(body)}" in lines
    problem = json.loads(body)
    assert (problem["status"], problem["code"]) == (status, code)
    assert "xxx" not in problem["detail"]


@pytest.mark.parametrize(
    ("origin", "host", "is_allowed"),
    [
        ("http://localhost:3000", "localhost", True),
        ("http://evil.example", "localhost", False),
        ("http://evil.example", "evil.example", False),
        ("http://localhost:3000", "evil.example", False),
    ],
)
@pytest.mark.parametrize("path_length", [9_000, 70_000])
def test_what_is_no_request_is_told_to_allowed_pages(
    server: Running, origin: str, host: str, is_allowed: bool, path_length: int
) -> None:
    head = f"GET /{'x' * path_length} HTTP/1.1\r\nHost: {host}\r\nOrigin: {origin}\r\n\r\n"
    with connected(server) as client:
        client.sendall(head.encode())
        answer, _, _ = everything(client).partition(b"\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 414 ")
    # What lies behind a path of that length is not read.
    is_told = is_allowed and path_length < 10_000
    assert (f"Access-Control-Allow-Origin: {origin}".encode() in answer) == is_told
    assert (b"Access-Control" in answer) == is_told


def test_requests_come_in_pieces_and_behind_each_other(server: Running) -> None:
    with connected(server) as client:
        for piece in (
            b"GET /a HTT",
            b"P/1.1\r\nHost: loc",
            b"alhost\r\n\r",
            b"\nGET /b HTTP/1.1\r\n",
        ):
            client.sendall(piece)
            time.sleep(0.05)
        client.sendall(b"Host: localhost\r\n\r\nGET /c HTTP/1.1\r\nHost: localhost\r\n")
        client.sendall(b"Connection: close\r\n\r\n")
        answers = everything(client)
    assert [answers.count(f"(('{name}',)".encode()) for name in "abc"] == [1, 1, 1]


STALLED_REQUESTS = {
    "idle": b"",
    "headers": b"GET /x HTTP/1.1\r\nHost: local",
    "upload": b"POST /digest HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nab",
    "chunks": b"POST /digest HTTP/1.1\r\nHost: localhost\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n5\r\nab",
    "download": b"GET /endless HTTP/1.1\r\nHost: localhost\r\n\r\n",
}


@pytest.mark.parametrize("kind", STALLED_REQUESTS)
def test_clients_that_stall_leave_room_for_others(kind: str) -> None:
    with ExitStack() as stack, running(workers=2) as server:
        for _ in range(80):
            stack.enter_context(connected(server)).sendall(STALLED_REQUESTS[kind])
        for _ in range(10):
            assert server.get("/x")


@pytest.mark.parametrize("kind", ["idle", "headers"])
def test_connections_without_a_request_never_fill_the_server(kind: str) -> None:
    with ExitStack() as stack, running(workers=1) as server:
        for _ in range(600):
            stack.enter_context(connected(server)).sendall(STALLED_REQUESTS[kind])
        assert server.get("/x")


@pytest.mark.parametrize("kind", STALLED_REQUESTS)
def test_a_client_that_stalls_has_to_go_without_a_word_in_the_log(kind: str) -> None:
    with running(stall_seconds=1) as server:
        with connected(server) as client:
            client.sendall(STALLED_REQUESTS[kind])
            if kind == "download":
                assert until(lambda: server.get("/taken").endswith(b"True"))
            else:
                assert everything(client)[:12] in (b"", b"HTTP/1.1 400")
        assert server.get("/x")
        server.process.send_signal(signal.SIGINT)
        assert server.process.communicate(timeout=PATIENCE_SECONDS) == ("ended\n", "")


def test_a_stalled_reader_holds_the_source_back_and_its_leaving_frees_it() -> None:
    with running() as server:
        client = stalled_reader(server.port, "/endless")
        counts = [-1]

        def has_settled() -> bool:
            counts.append(int(server.get("/taken").split()[0]))
            time.sleep(0.2)
            return counts[-1] == counts[-2] > 0

        assert until(has_settled)
        assert counts[-1] < LONG / 10
        client.close()
        assert until(lambda: server.get("/taken").endswith(b"True"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_server_cleanly(number: signal.Signals) -> None:
    # One worker, which has answered: gunicorn has to kill one that is told to stop as it starts.
    with running(workers=1) as server:
        assert server.get("/x")
        server.process.send_signal(number)
        out, err = server.process.communicate(timeout=PATIENCE_SECONDS)
        assert (server.process.returncode, out, err) == (0, "ended\n", "")
        assert is_free(server.port)


def test_a_killed_server_takes_all_its_processes_with_it() -> None:
    """Even one that a client stalls; one that lived on would send the rest of its answer."""
    with running(workers=2) as server:
        client = stalled_reader(server.port, "/endless")
        assert client.recv(1)
        server.process.kill()
        assert until(lambda: is_free(server.port))
        assert received(client) < LONG * len(CHUNK)
        client.close()


def received(client: socket.socket) -> int:
    total = 0
    with suppress(ConnectionResetError):
        while chunk := client.recv(1_048_576):
            total += len(chunk)
    return total


def is_free(port: int) -> bool:
    try:
        listen("127.0.0.1", port).close()
    except ConfigurationError:
        return False
    return True


def test_a_defect_says_nothing_of_patients_to_the_log() -> None:
    with running() as server:
        with pytest.raises(IncompleteRead):
            server.get("/failing?PatientName=DOE%5EJANE")
        server.process.send_signal(signal.SIGINT)
        _, err = server.process.communicate(timeout=PATIENCE_SECONDS)
    assert "request failed" in err
    assert "DOE" not in err


def test_a_taken_port_is_named() -> None:
    with listen("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(ConfigurationError, match=f"{port} of 127.0.0.1 is taken"):
            listen("127.0.0.1", port)


@pytest.mark.parametrize("host", ["no-such-host.invalid", "192.0.2.1"])
def test_an_address_of_another_machine_is_named(host: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{host} is no address of this machine"):
        listen(host, 0)


@pytest.mark.parametrize("host", ["::1", "::", "localhost", "0.0.0.0"])
def test_addresses_of_both_families_are_listened_on(host: str) -> None:
    with listen(host, 0) as listener:
        assert listener.getsockname()[1] > 0
