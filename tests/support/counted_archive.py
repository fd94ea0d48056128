"""An archive over one file, with a ledger of what is read for each answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dicomulus.adapters.ledger import Ledger
from dicomulus.adapters.local.folder_store import FolderStore
from dicomulus.adapters.local.sqlite_index import SqliteIndex
from dicomulus.api.routes import answer
from dicomulus.composition import compose
from dicomulus.settings import Settings
from dicomulus.wire.message import Headers, Request
from tests.support.archives import ListQueue, body_of

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from dicomulus.adapters.ledger import Call
    from dicomulus.services.archive import Archive
    from dicomulus.wire.message import Response


class CountedArchive:
    """Holds one object, which is indexed when it is made."""

    def __init__(self, file: Path, *, data: Path) -> None:
        """Index a file; ``data`` is an empty folder."""
        (data / "cache").mkdir()
        self.ledger = Ledger()
        folder = FolderStore(file.parent, clock_tick_seconds=0)
        self.archive: Archive = compose(
            Settings(),
            index=self.ledger.index(SqliteIndex(data / "index.sqlite")),
            storage=self.ledger.store(folder, "storage"),
            cache=self.ledger.store(FolderStore(data / "cache", writable=True), "cache"),
            queue=ListQueue(),
        )
        report, self.ingest_calls = self.ledger.of(lambda: self.archive.ingest.look_at([file.name]))
        (self.row,) = report.indexed

    def ask(self, below: str, **headers: str) -> Response:
        """Answer a request for what lies below the instance."""
        path = f"/dicom-web{self.row.instance.path}{below}"
        lines = Headers.of({name.replace("_", "-"): value for name, value in headers.items()})
        return answer(self.archive, Request("GET", path, (), lines, base_url="http://x"))

    def body(self, below: str, **headers: str) -> bytes:
        """Give the bytes of an answer."""
        return body_of(self.ask(below, **headers))


def storage_reads(calls: Iterable[Call]) -> list[int]:
    """Give the bytes of each read of the object."""
    return [call.object_bytes for call in calls if call.port == "storage" and call.object_bytes]
