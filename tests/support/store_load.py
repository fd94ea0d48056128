"""Clients that store, as many do: in batches, at the same time, again where nothing was answered."""

from __future__ import annotations

import http.client
import json
import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from dicomulus.dicom.byte_source import whole
from dicomulus.dicom.dataset_json import convert
from dicomulus.dicom.resource import SeriesResource, canonical_key
from tests.support.serving import Served, eventually, serving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from concurrent.futures import Future
    from pathlib import Path

CLIENTS: Final = 8
BATCH: Final = 25
"""Instances in one request."""

PATIENCE_SECONDS: Final = 120.0
"""After this long without an answer a client gives up."""

_RETRY_SECONDS: Final = 0.05
_BOUNDARY: Final = "batch-of-instances"


@dataclass(frozen=True, slots=True)
class Batch:
    """One Store request, and what its answer must name."""

    body: bytes
    sop_instance_uids: frozenset[str]

    @classmethod
    def of(cls, instances: Sequence[tuple[str, bytes]]) -> Batch:
        """Make the body of instances, given by SOP Instance UID and content."""
        head = f"--{_BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n".encode()
        parts = b"".join(head + content + b"\r\n" for _, content in instances)
        closing = f"--{_BOUNDARY}--\r\n".encode()
        return cls(parts + closing, frozenset(uid for uid, _ in instances))


def batches_of(instances: Sequence[tuple[str, bytes]], *, size: int = BATCH) -> list[Batch]:
    """Divide instances into requests, in their order."""
    return [Batch.of(instances[at : at + size]) for at in range(0, len(instances), size)]


@dataclass(frozen=True, slots=True)
class Load:
    """What storing took."""

    seconds: float
    retries: int
    """Requests sent again because the server was not there, or went away."""
    slowest_ms: float


def store_all(
    base_url: Callable[[], str],
    batches: Sequence[Batch],
    *,
    clients: int = CLIENTS,
    on_stored: Callable[[], None] = lambda: None,
) -> Load:
    """Store batches until each was answered by 200 with all of its instances.

    Args:
        base_url: Where the server is now; it may move when it is started again.
        batches: What to store, each by one client.
        clients: How many store at the same time.
        on_stored: Called with each batch that was.

    Raises:
        AssertionError: An answer was another than it must be, or none came in time.
    """
    waiting: SimpleQueue[Batch] = SimpleQueue()
    for batch in batches:
        waiting.put(batch)
    each = [_Client(base_url, waiting, on_stored) for _ in range(clients)]
    started = time.perf_counter()
    for client in each:
        client.start()
    for client in each:
        client.join()
    seconds = time.perf_counter() - started
    failures = [client.failure for client in each if client.failure is not None]
    if failures:
        raise AssertionError("a client has failed") from failures[0]
    return Load(
        seconds,
        retries=sum(client.retries for client in each),
        slowest_ms=1_000 * max(client.slowest for client in each),
    )


class _Client(threading.Thread):
    def __init__(
        self,
        base_url: Callable[[], str],
        waiting: SimpleQueue[Batch],
        on_stored: Callable[[], None],
    ) -> None:
        super().__init__(daemon=True)
        self._on_stored = on_stored
        self.failure: Exception | None = None
        self.retries = 0
        self.slowest = 0.0
        self._base_url = base_url
        self._waiting = waiting
        self._connection: http.client.HTTPConnection | None = None

    def run(self) -> None:
        try:
            while True:
                self._store(self._waiting.get_nowait())
        except Empty:
            self._close()
        except Exception as exc:  # noqa: BLE001 - told by who waits for the thread
            self.failure = exc

    def _store(self, batch: Batch) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            started = time.perf_counter()
            try:
                status, body = self._post(batch.body)
            except (OSError, http.client.HTTPException):
                self._close()
                status, body = 503, b""
            if status != 503:
                check_answer(batch, status, body)
                self.slowest = max(self.slowest, time.perf_counter() - started)
                self._on_stored()
                return
            if time.monotonic() > deadline:
                raise AssertionError(f"no answer within {PATIENCE_SECONDS:.0f} s")
            self.retries += 1
            time.sleep(_RETRY_SECONDS)

    def _post(self, body: bytes) -> tuple[int, bytes]:
        parts = urlsplit(self._base_url())
        if self._connection is None:
            self._connection = http.client.HTTPConnection(
                parts.hostname or "", parts.port, timeout=PATIENCE_SECONDS
            )
        self._connection.request(
            "POST",
            f"{parts.path}/studies",
            body,
            {"Content-Type": f'multipart/related; type="application/dicom"; boundary={_BOUNDARY}'},
        )
        answer = self._connection.getresponse()
        return answer.status, answer.read()

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


@dataclass(slots=True)
class Interruptions:
    """Kills a server some times while it is stored to, and starts it again."""

    folder: Path
    data: Path
    log: Path
    batches: int
    kills: int
    base_url: str = ""
    _stored: int = 0

    def run(self, batches: Sequence[Batch]) -> Load:
        """Store batches through all of it."""
        with ThreadPoolExecutor(1) as pool:
            storing = pool.submit(store_all, lambda: self.base_url, batches, on_stored=self._count)
            for kill in range(1, self.kills + 1):
                self._serve_until(partial(self._is_at, kill, storing))
            with self._serving():
                return storing.result()

    def _is_at(self, kill: int, storing: Future[Load]) -> bool:
        return storing.done() or self._stored * (self.kills + 1) >= self.batches * kill

    def _count(self) -> None:
        self._stored += 1

    def _serve_until(self, is_enough: Callable[[], bool]) -> None:
        with self._serving() as served:
            eventually(is_enough, "the next kill")
            # All of its processes at once, in the middle of whatever they do.
            os.killpg(served.process.pid, signal.SIGKILL)

    @contextmanager
    def _serving(self) -> Iterator[Served]:
        with serving(self.folder, "--data-dir", self.data, "--allow-store", log=self.log) as served:
            self.base_url = served.base_url
            yield served


def check_answer(batch: Batch, status: int, body: bytes) -> None:
    """Check that an answer says of all instances, and of no others, that they are stored.

    Raises:
        AssertionError: It does not.
    """
    if status != 200:
        raise AssertionError(f"status {status}: {body[:500]!r}")
    report = json.loads(body)
    named = [item["00081155"]["Value"][0] for item in report["00081199"]["Value"]]
    if sorted(named) != sorted(batch.sop_instance_uids):
        raise AssertionError("the answer names other instances than were sent")
    if {"00081198", "0008119A"} & report.keys():
        raise AssertionError("the answer tells of failures")


def check_archive(served: Served, folder: Path, instances: Sequence[tuple[str, bytes]]) -> None:
    """Check that a server has all instances, each once and as it was sent, and nothing else.

    Raises:
        AssertionError: It has not.
    """
    expected = {
        canonical_key(convert(whole(content)).instance): content for _, content in instances
    }
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*.dcm")}
    if found != expected.keys():
        raise AssertionError(f"{len(found)} objects, not {len(expected)}")
    if any((folder / key).read_bytes() != content for key, content in expected.items()):
        raise AssertionError("an object is another than was sent")
    by_series: dict[SeriesResource, list[str]] = {}
    for _, content in instances:
        instance = convert(whole(content)).instance
        by_series.setdefault(instance.series, []).append(instance.sop_instance_uid)
    for series, uids in by_series.items():
        for resource in ("instances", "metadata"):
            told = json.loads(served.get(f"{series.path}/{resource}"))
            if sorted(each["00080018"]["Value"][0] for each in told) != sorted(uids):
                raise AssertionError(f"{resource} are others than were sent")
