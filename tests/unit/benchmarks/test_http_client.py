"""The benchmark's client: whole answers, or none."""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.benchmarks.http_client import Connection, ConnectionClosedError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


@contextmanager
def server(*connections: Sequence[bytes]) -> Iterator[tuple[str, list[bytes]]]:
    """Answer each connection's requests with these bytes, one after the other, and close it."""
    heard: list[bytes] = []
    listener = socket.create_server(("127.0.0.1", 0))

    def run() -> None:
        for answers in connections:
            connection, _ = listener.accept()
            with connection:
                for answer in answers:
                    heard.append(connection.recv(65536))
                    connection.sendall(answer)

    thread = threading.Thread(target=run)
    thread.start()
    with listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/base", heard
        thread.join()


def ok(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nX-A: b\r\n\r\n%b" % (len(body), body)


def test_answers_come_one_after_the_other_on_one_connection() -> None:
    with server([ok(b"first"), ok(b"")]) as (url, heard), Connection(url) as connection:
        first = connection.get("/a?b=c", {"Accept-Encoding": "gzip"})
        second = connection.get("/d")
    assert (first.status, first.body, first.body_bytes) == (200, b"first", 5)
    assert first.headers["x-a"] == "b"
    assert second.body == b""
    assert heard[0].startswith(b"GET /base/a?b=c HTTP/1.1\r\nHost: 127.0.0.1:")
    assert b"\r\nAccept-Encoding: gzip\r\n\r\n" in heard[0]


def test_chunks_are_put_together() -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    body = b"3\r\nabc\r\n10;x=y\r\n" + b"d" * 16 + b"\r\n0\r\n\r\n"
    with server([head + body, ok(b"next")]) as (url, _), Connection(url) as connection:
        assert connection.get("/").body == b"abc" + b"d" * 16
        assert connection.get("/").body == b"next"


def test_a_measured_answer_has_the_size_of_its_body_and_not_the_body() -> None:
    with server([ok(b"z" * 3_000_000)]) as (url, _), Connection(url) as connection:
        answer = connection.measure("/")
    assert (answer.body, answer.body_bytes) == (b"", 3_000_000)


def test_not_modified_has_no_body() -> None:
    head = b"HTTP/1.1 304 Not Modified\r\nContent-Length: 12\r\n\r\n"
    with server([head, ok(b"next")]) as (url, _), Connection(url) as connection:
        assert connection.get("/").status == 304
        assert connection.get("/").body == b"next"


def test_a_connection_closed_between_answers_is_opened_again() -> None:
    with server([ok(b"one")], [ok(b"two")]) as (url, _), Connection(url) as connection:
        assert connection.get("/").body == b"one"
        assert connection.get("/").body == b"two"


@pytest.mark.parametrize("cut", [b"HTTP/1.1 200 O", ok(b"whole")[:-1], b""])
def test_a_cut_answer_is_none(cut: bytes) -> None:
    with (
        server([cut]) as (url, _),
        Connection(url) as connection,
        pytest.raises(ConnectionClosedError),
    ):
        connection.get("/")
