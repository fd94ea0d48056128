"""A client of an archive in this process, in place of one by HTTP."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any

from dicomulus.client.http_client import Answer, HttpClient
from dicomulus.client.progress import Meter
from dicomulus.errors import DicomulusError
from dicomulus.wire.problem import problem
from tests.support.archives import body_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from tests.support.archives import Small


@dataclass(frozen=True)
class Asked:
    """A request."""

    method: str
    path: str


@dataclass
class DirectClient:
    """Asks Orthanc's REST API of an archive; each answer can be altered on its way."""

    small: Small
    alter: Callable[[Asked, Answer], Answer] = lambda asked, answer: answer
    refuses: Callable[[Asked], bool] = lambda asked: False
    """Which requests are too large for the way there."""
    base_url: str = "http://archive.example/orthanc"
    stopped: threading.Event = field(default_factory=threading.Event)
    meter: Meter = field(default_factory=Meter)
    asked: list[Asked] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    refuse = staticmethod(HttpClient.refuse)

    def send(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | IO[bytes] | None = None,
        max_bytes: int = 0,
    ) -> Answer:
        """Send a request and read its answer whole, whatever its status."""
        del max_bytes
        if body is not None and not isinstance(body, bytes):
            body.seek(0)
            body = body.read()
        asked = Asked(method, url)
        lines = {name.replace("-", "_"): value for name, value in (headers or {}).items()}
        if self.refuses(asked):
            self.asked.append(asked)
            return Answer(413, {}, b"")
        # The archive of a test is for one at a time.
        with self._lock:
            self.asked.append(asked)
            try:
                response = self.small.orthanc(url, method=method, body=body or b"", **lines)
            except DicomulusError as exc:
                response = problem(exc)
            answer = Answer(response.status, dict(response.headers), body_of(response))
        return self.alter(asked, answer)

    @contextmanager
    def stream(self, url: str, *, headers: Mapping[str, str] | None = None) -> Iterator[Any]:
        """Get a resource piece by piece."""
        answer = self.send("GET", url, headers=headers)
        if answer.status != 200:
            self.refuse(answer)
        yield _Pieces(answer.body)

    def written(self) -> list[Asked]:
        """The requests that change the archive."""
        return [each for each in self.asked if each.method != "GET"]


@dataclass(frozen=True)
class _Pieces:
    content: bytes

    def stream(self, size: int) -> Iterator[bytes]:
        for at in range(0, len(self.content), size):
            yield self.content[at : at + size]
