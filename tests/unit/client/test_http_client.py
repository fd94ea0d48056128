from __future__ import annotations

import socket
from io import BytesIO
from typing import TYPE_CHECKING

import pytest

from dicomulus.client import http_client
from dicomulus.client.http_client import (
    ClientOptions,
    HttpClient,
    base_url_of,
    headers_of,
    reason_of,
)
from dicomulus.errors import (
    ConfigurationError,
    RemoteAnswerError,
    RemoteRefusedError,
    RemoteUnavailableError,
)
from tests.support.remote_server import Asked, RemoteServer, Reply, remote_server, store_report

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def remote() -> Iterator[RemoteServer]:
    with remote_server() as server:
        yield server


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_client, "BACKOFF_SECONDS", 0.001)


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("http://pacs", "http://pacs/dicom-web"),
        ("http://pacs:8042/", "http://pacs:8042/dicom-web"),
        ("https://pacs/dicom-web/", "https://pacs/dicom-web"),
        ("https://pacs/rs/studies", "https://pacs/rs"),
        ("https://pacs/aets/X/rs/", "https://pacs/aets/X/rs"),
    ],
)
def test_the_base_url_is_what_was_meant(given: str, meant: str) -> None:
    assert base_url_of(given) == meant


@pytest.mark.parametrize(
    "url", ["pacs", "ftp://pacs", "http://", "http://pacs/x?y=1", "http://[::1/x"]
)
def test_what_is_no_base_url_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError):
        base_url_of(url)


@pytest.mark.parametrize(
    ("method", "url", "headers"),
    [
        ("GET", "/x", {"X": "a\r\nB: c"}),
        ("GET", "/x", {"X y\n": "a"}),
        ("GET", "/x", {"X": "\u20ac"}),
        ("A B\r\nX", "/x", {}),
    ],
)
def test_a_request_that_a_server_names_and_nobody_can_send_is_its_answer(
    remote: RemoteServer, method: str, url: str, headers: dict[str, str]
) -> None:
    with pytest.raises(RemoteAnswerError):
        HttpClient(remote.url).send(method, url, headers=headers)


def test_an_unavailable_server_is_asked_again(remote: RemoteServer) -> None:
    moods = [Reply(503), Reply(429, headers={"Retry-After": "0"}), Reply(200, b"yes")]
    remote.interfere = lambda _: moods.pop(0)
    assert HttpClient(remote.url).send("POST", "/studies", body=b"x").body == b"yes"
    assert [each.body for each in remote.asked] == [b"x"] * 3


def test_a_server_that_stays_unavailable_gives_its_last_answer(remote: RemoteServer) -> None:
    remote.interfere = lambda _: Reply(503)
    client = HttpClient(remote.url, ClientOptions(attempts=3))
    assert client.send("GET", "/studies").status == 503
    assert len(remote.asked) == 3


def test_a_server_that_asks_for_a_second_each_time_gets_ever_more(
    remote: RemoteServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[float] = []
    monkeypatch.setattr(http_client, "BACKOFF_SECONDS", 0.5)
    remote.interfere = lambda _: Reply(503, headers={"Retry-After": "1"})
    client = HttpClient(remote.url)
    monkeypatch.setattr(client.stopped, "wait", waited.append)
    client.send("GET", "/studies")
    assert len(waited) == 6
    assert waited[0] == 1
    assert 30 < sum(waited) < 40


def test_a_server_that_is_not_there_is_named_with_the_reason() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
    client = HttpClient(url, ClientOptions(attempts=2))
    with pytest.raises(RemoteUnavailableError, match=f"{url}: Connection refused"):
        client.send("GET", "/studies?PatientID=secret")


def test_no_log_names_what_is_searched_for(
    remote: RemoteServer, caplog: pytest.LogCaptureFixture
) -> None:
    remote.interfere = lambda _: Reply(503)
    with caplog.at_level("INFO"):
        HttpClient(remote.url, ClientOptions(attempts=2)).send("GET", "/studies?PatientID=secret")
    [record] = caplog.records
    assert vars(record)["reason"] == "503 Service Unavailable"
    assert "secret" not in caplog.text


def test_what_a_full_archive_says_is_told_while_it_is_waited_for(
    remote: RemoteServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Retry-After may be a minute, and the user can do something about a disk."""
    report = store_report([], ["1.2"], reason=0xA700)
    remote.interfere = lambda _: Reply(503, report)
    answer = HttpClient(remote.url, ClientOptions(attempts=2)).send("POST", "/studies")
    full = "503 Service Unavailable: the server is out of resources (A700H)"
    assert [vars(record)["reason"] for record in caplog.records] == [full]
    assert answer.reason == full


def test_that_the_server_is_waited_for_is_told_once(
    remote: RemoteServer, caplog: pytest.LogCaptureFixture
) -> None:
    remote.interfere = lambda _: Reply(503)
    HttpClient(remote.url, ClientOptions(attempts=4)).send("GET", "/studies")
    assert [record.levelname for record in caplog.records].count("WARNING") == 1


def test_what_identifies_the_user_goes_to_the_server_alone(remote: RemoteServer) -> None:
    def redirect(asked: Asked) -> Reply | None:
        if asked.path.endswith("/a"):
            elsewhere = remote.url.replace("127.0.0.1", "localhost")
            return Reply(307, headers={"Location": f"{elsewhere}/b"})
        return Reply(200)

    remote.interfere = redirect
    options = ClientOptions(token="t0k3n", headers=(("X-Api-Key", "k3y"),))
    assert HttpClient(remote.url, options).send("GET", "/a").status == 200
    first, second = remote.asked
    assert (first.headers["Authorization"], first.headers["X-Api-Key"]) == ("Bearer t0k3n", "k3y")
    assert "t0k3n" not in str(second.headers)
    assert "k3y" not in str(second.headers)


def test_another_host_never_sees_the_token(remote: RemoteServer) -> None:
    client = HttpClient("http://pacs.invalid", ClientOptions(token="t0k3n"))
    client.send("GET", f"{remote.url}/object")
    assert "t0k3n" not in str(remote.asked)


def test_a_stopped_client_does_not_wait(
    remote: RemoteServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    remote.interfere = lambda _: Reply(503, headers={"Retry-After": "60"})
    client = HttpClient(remote.url)
    client.stopped.set()
    with pytest.raises(RemoteUnavailableError):
        client.send("GET", "/studies")
    assert len(remote.asked) == 1


def test_a_refused_stream_says_what_the_server_says(remote: RemoteServer) -> None:
    remote.interfere = lambda _: Reply(404, b'{"detail": "no such study"}')
    with (
        pytest.raises(RemoteRefusedError, match="404 Not Found: no such study") as refused,
        HttpClient(remote.url).stream("/studies/1.2"),
    ):
        pass
    assert refused.value.status == 404


class Short(bytes):
    """Is sent with a length that it does not have."""

    def __len__(self) -> int:
        return 100


def test_an_answer_that_breaks_off_is_asked_for_again(remote: RemoteServer) -> None:
    """A server may die after it has begun to answer; what is sent may be sent again."""
    moods = [Reply(200, Short(b"sho"), {"Connection": "close"}), Reply(200, b"whole")]
    remote.interfere = lambda _: moods.pop(0)
    length = {"Content-Length": "4"}
    answer = HttpClient(remote.url).send("POST", "/x", headers=length, body=BytesIO(b"body"))
    assert answer.body == b"whole"
    assert [asked.body for asked in remote.asked] == [b"body"] * 2


def test_an_answer_that_goes_on_breaking_off_is_an_error(remote: RemoteServer) -> None:
    remote.interfere = lambda _: Reply(200, Short(b"sho"), {"Connection": "close"})
    with pytest.raises(RemoteAnswerError, match="breaks off"):
        HttpClient(remote.url).send("GET", "/x")


def test_a_stream_that_breaks_off_is_an_error(remote: RemoteServer) -> None:
    remote.interfere = lambda _: Reply(200, Short(b"short"), {"Connection": "close"})
    with pytest.raises(RemoteAnswerError), HttpClient(remote.url).stream("/x") as response:
        response.read()


def test_an_html_page_of_an_error_is_not_repeated() -> None:
    """It may hold anything of the request."""
    assert reason_of(502, {}) == "502 Bad Gateway"
    assert reason_of(599, {"Message": "odd\nthings"}) == "599 no known status: odd things"


def test_requests_go_through_the_proxy_of_the_environment(
    remote: RemoteServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", remote.url)
    monkeypatch.setenv("no_proxy", "inside.invalid")
    remote.interfere = lambda _: Reply(200)
    assert HttpClient("http://pacs.invalid").send("GET", "/studies").status == 200
    assert remote.asked[0].path == "http://pacs.invalid/dicom-web/studies"


def test_headers_are_name_and_value() -> None:
    assert headers_of(["X-A: b: c", "Y:d"]) == (("X-A", "b: c"), ("Y", "d"))
    with pytest.raises(ConfigurationError):
        headers_of(["no header"])
    with pytest.raises(ConfigurationError):
        headers_of(["X: a\nY: b"])
