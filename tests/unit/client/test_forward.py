"""A spool forwarded to servers of all moods."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import pytest

from dicomulus.client import forward, http_client, send
from dicomulus.client.forward import Forwarder
from dicomulus.client.http_client import ClientOptions, HttpClient
from dicomulus.client.spool import Spool
from tests.support.datasets import ct_instance
from tests.support.remote_server import (
    Asked,
    RemoteServer,
    Reply,
    remote_server,
    store_report,
    uid_of_object,
)
from tests.support.serving import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_client, "BACKOFF_SECONDS", 0.001)
    monkeypatch.setattr(send, "PAUSES_SECONDS", (0.0, 0.0))
    monkeypatch.setattr(forward, "FIRST_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(forward, "LAST_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(forward, "FILE_PAUSE_SECONDS", 0.05)
    monkeypatch.setattr(forward, "IDLE_SECONDS", 0.01)


@pytest.fixture
def remote() -> Iterator[RemoteServer]:
    with remote_server() as server:
        yield server


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    opened = Spool(tmp_path / "spool")
    yield opened
    opened.close()


@pytest.fixture
def forwarder(remote: RemoteServer, spool: Spool) -> Iterator[Forwarder]:
    client = HttpClient(remote.url, ClientOptions(attempts=1))
    started = Forwarder(client, spool, jobs=2)
    started.start()
    yield started
    started.stop(5)


def receive(spool: Spool, number: int) -> str:
    """Put an instance into the spool; its SOP Instance UID."""
    content = ct_instance(instance_number=number)
    arriving = spool.arriving()
    arriving.write(content)
    spool.accept(arriving)
    return uid_of_object(content)


def test_what_is_received_is_forwarded_and_removed(
    remote: RemoteServer, spool: Spool, forwarder: Forwarder
) -> None:
    uids = {receive(spool, number) for number in range(5)}
    forwarder.wake()
    eventually(lambda: spool.count() == 0, "the spool is empty")
    assert set(remote.objects) == uids
    assert forwarder.tally().forwarded == 5


@pytest.mark.parametrize("status", [503, 401, 404])
def test_a_server_that_takes_nothing_is_tried_until_it_does(
    remote: RemoteServer, spool: Spool, forwarder: Forwarder, status: int
) -> None:
    remote.interfere = lambda _: Reply(status)
    receive(spool, 1)
    eventually(lambda: str(status) in forwarder.tally().trouble, "the trouble is named")
    assert spool.count() == 1
    remote.interfere = lambda _: None
    eventually(lambda: spool.count() == 0, "the spool is empty")
    eventually(lambda: not forwarder.tally().trouble, "the trouble is over")
    assert len(remote.objects) == 1


def test_an_instance_that_the_server_has_trouble_with_holds_up_no_other(
    remote: RemoteServer, spool: Spool, forwarder: Forwarder
) -> None:
    """PS3.18 §I.2.2: 0110H is a processing failure."""
    bad = receive(spool, 1)
    answers = [Reply(409, store_report([], [bad], reason=0x0110))] * 4

    def fail(asked: Asked) -> Reply | None:
        return answers.pop() if bad.encode() in asked.body and answers else None

    remote.interfere = fail
    eventually(lambda: len(answers) < 4, "it was tried")
    good = receive(spool, 2)
    eventually(lambda: good in remote.objects, "another is forwarded")
    eventually(lambda: bad in remote.objects, "it is forwarded in the end")
    eventually(lambda: spool.count() == 0, "the spool is empty")


def test_what_is_refused_for_good_is_put_aside(
    remote: RemoteServer, spool: Spool, forwarder: Forwarder
) -> None:
    remote.objects[uid_of_object(ct_instance(instance_number=1))] = b"other"
    receive(spool, 1)
    eventually(lambda: forwarder.tally().refused == 1, "it is refused")
    assert spool.count() == 0
    [reason] = spool.refused.glob("*.txt")
    assert reason.read_text() == "the archive has another object under the same UIDs (0111H)\n"


def test_a_file_in_the_spool_that_is_no_instance_is_put_aside(
    spool: Spool, forwarder: Forwarder
) -> None:
    arriving = spool.arriving()
    arriving.write(b"no instance" * 100)
    spool.accept(arriving)
    eventually(lambda: forwarder.tally().refused == 1, "it is refused")
    [reason] = spool.refused.glob("*.txt")
    assert reason.read_text() == "not DICOM\n"


def test_trouble_with_the_disk_is_named_and_passes(
    remote: RemoteServer, spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(spool, "done", broken)
    receive(spool, 1)
    started = Forwarder(HttpClient(remote.url), spool, jobs=2)
    started.start()
    eventually(lambda: "Input/output" in started.tally().trouble, "the trouble is named")
    assert not started.has_ended
    monkeypatch.undo()
    eventually(lambda: spool.count() == 0, "the spool is empty")
    started.stop(5)


def test_stopping_leaves_what_waits(remote: RemoteServer, spool: Spool) -> None:
    remote.interfere = lambda _: Reply(503, headers={"Retry-After": "60"})
    receive(spool, 1)
    started = Forwarder(HttpClient(remote.url), spool, jobs=2)
    started.start()
    eventually(lambda: bool(remote.asked), "it is tried")
    started.stop(0.1)
    assert spool.count() == 1
