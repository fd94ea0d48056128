"""Archives for tests: SQLite, objects in memory, and a queue that is a list."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from io import BytesIO
from typing import TYPE_CHECKING, Any

from dicomulus.adapters.ledger import Ledger
from dicomulus.adapters.local.sqlite_index import SqliteIndex
from dicomulus.api.routes import answer
from dicomulus.composition import compose, one_by_one
from dicomulus.ports import LookAtObjects
from dicomulus.settings import Settings
from dicomulus.wire.message import Headers, Request, parse_query
from tests.support.memory_store import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from pathlib import Path

    from dicomulus.ports import Index, InstanceRow, Message, ObjectStore, RunAll
    from dicomulus.services.archive import Archive
    from dicomulus.services.ingest import LookReport
    from dicomulus.wire.message import Response

BASE_URL = "http://archive.example/dicom-web"


class ListQueue:
    """Keeps what was sent."""

    def __init__(self) -> None:
        self.messages: list[Message] = []

    def send(self, messages: Sequence[Message], *, delay_seconds: float = 0) -> None:
        self.messages.extend(messages)

    @property
    def looks(self) -> list[str]:
        """The keys that are to be looked at."""
        sent = [each for each in self.messages if isinstance(each, LookAtObjects)]
        return [key for each in sent for key in each.object_keys]


@dataclass
class Clock:
    """A time that moves when told to, and by a millisecond with every look."""

    now_ms: int = 1_700_000_000_000

    def __call__(self) -> int:
        self.now_ms += 1
        return self.now_ms


@dataclass(frozen=True)
class Small:
    """An archive, and the ends of it that a test holds."""

    archive: Archive
    index: SqliteIndex
    storage: MemoryStore
    cache: MemoryStore
    queue: ListQueue
    ledger: Ledger
    clock: Clock = field(default_factory=Clock)

    def take(self, objects: Mapping[str, bytes]) -> LookReport:
        """Put objects and look at them."""
        for key, content in objects.items():
            self.storage.put(key, content)
        return self.look_at(objects)

    def look_at(self, object_keys: Collection[str]) -> LookReport:
        return self.archive.ingest.look_at(object_keys)

    def compact(self) -> None:
        """Compact all that is due."""
        self.archive.compaction.compact(self.index.overdue_series(2**62))

    def row_of(self, key: str) -> InstanceRow:
        """Give the row of a key that was just looked at."""
        (row,) = self.look_at([key]).indexed
        return row

    def ask(
        self, path: str, *, method: str = "GET", accept: str | None = None, **headers: str
    ) -> Response:
        """Answer a request for a path below the base path."""
        lines = {name.replace("_", "-"): value for name, value in headers.items()}
        if accept is not None:
            lines["Accept"] = accept
        request = Request(method, f"/dicom-web{path}", (), Headers.of(lines), base_url=BASE_URL)
        return answer(self.archive, request)

    def orthanc(
        self, path: str, *, method: str = "GET", body: bytes = b"", **headers: str
    ) -> Response:
        """Answer a request, query included, of Orthanc's REST API."""
        target, _, query = path.partition("?")
        lines = {name.replace("_", "-"): value for name, value in headers.items()}
        lines.setdefault("Content-Length", str(len(body)))
        request = Request(
            method,
            f"/orthanc{target}",
            parse_query(query),
            Headers.of(lines),
            BytesIO(body),
            BASE_URL,
        )
        return answer(self.archive, request)

    def orthanc_json(self, path: str) -> Any:
        """Give the JSON that Orthanc's REST API answers."""
        return json.loads(body_of(self.orthanc(path)))


def small_archive(
    folder: Path,
    *,
    index: Callable[[Index], Index] = lambda index: index,
    storage: Callable[[ObjectStore], ObjectStore] = lambda store: store,
    run_all: RunAll = one_by_one,
    **settings: Any,
) -> Small:
    """Make an empty archive; ``index`` and ``storage`` may put something around them.

    Orthanc's REST API is off, as it is on AWS unless it is asked for.
    """
    sqlite = SqliteIndex(folder / "index.sqlite")
    clock = Clock()
    objects, cache = MemoryStore(clock), MemoryStore(clock)
    queue, ledger = ListQueue(), Ledger()
    values: dict[str, Any] = {
        "public_base_url": BASE_URL,
        "allow_store": True,
        "orthanc_path": "",
    } | settings
    archive = compose(
        Settings(**values),
        index=ledger.index(index(sqlite)),
        storage=ledger.store(storage(objects), "storage"),
        cache=ledger.store(cache, "cache"),
        queue=queue,
        run_all=run_all,
        clock=clock,
    )
    return Small(archive, sqlite, objects, cache, queue, ledger, clock)


def body_of(response: Response) -> bytes:
    """Give all bytes of an answer."""
    return response.body if isinstance(response.body, bytes) else b"".join(response.body)
