"""Multi-frame objects far larger than what is read for one frame, in a folder.

The same shapes are measured in 2 GB by ``python -m tests.benchmarks --retrieval-only``.
"""

from __future__ import annotations

import random
import tracemalloc
from typing import TYPE_CHECKING

import pytest

from dicomulus.adapters.ledger import Ledger
from dicomulus.adapters.local.folder_store import FolderStore
from dicomulus.adapters.local.sqlite_index import SqliteIndex
from dicomulus.api.routes import answer
from dicomulus.composition import compose
from dicomulus.settings import Settings
from dicomulus.wire.message import Headers, Request
from tests.support.archives import ListQueue
from tests.support.large_objects import native, one_fragment_each, several_fragments_each

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from dicomulus.adapters.ledger import Call
    from dicomulus.services.archive import Archive
    from dicomulus.wire.message import Response
    from tests.support.large_objects import LargeObject

MIB = 1_048_576
HEADER_BYTES = 65_536
"""What ingest reads at first, whatever follows the header."""

WRITERS: dict[str, Callable[[Path], LargeObject]] = {
    "native": lambda path: native(path, frames=96, side=256),
    "a fragment a frame": lambda path: one_fragment_each(
        path, frames=300, side=64, frame_bytes=40_000
    ),
    "several fragments a frame": lambda path: several_fragments_each(
        path, frames=30, side=512, frame_bytes=400_000
    ),
}


class Served:
    """An archive over one object, indexed, with a ledger of what was read for it."""

    def __init__(self, folder: Path, write: Callable[[Path], LargeObject]) -> None:
        source = folder / "source"
        cache = folder / "cache"
        source.mkdir()
        cache.mkdir()
        self.large = write(source / "large.dcm")
        self.ledger = Ledger()
        store = FolderStore(source, clock_tick_seconds=0)
        self.archive: Archive = compose(
            Settings(),
            index=self.ledger.index(SqliteIndex(folder / "index.sqlite")),
            storage=self.ledger.store(store, "storage"),
            cache=self.ledger.store(FolderStore(cache, writable=True), "cache"),
            queue=ListQueue(),
        )
        report, self.ingest_calls = self.ledger.of(
            lambda: self.archive.ingest.look_at(["large.dcm"])
        )
        (self.row,) = report.indexed

    def ask(self, below: str, **headers: str) -> Response:
        path = f"/dicom-web{self.row.instance.path}{below}"
        lines = Headers.of({name.replace("_", "-"): value for name, value in headers.items()})
        return answer(self.archive, Request("GET", path, (), lines, base_url="http://x"))

    def body(self, below: str, **headers: str) -> bytes:
        response = self.ask(below, **headers)
        return response.body if isinstance(response.body, bytes) else b"".join(response.body)


@pytest.fixture(scope="module", params=WRITERS)
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Served:
    return Served(tmp_path_factory.mktemp("large"), WRITERS[request.param])


def storage_reads(calls: list[Call]) -> list[int]:
    return [call.object_bytes for call in calls if call.port == "storage" and call.object_bytes]


def test_ingest_reads_headers_and_no_pixels(served: Served) -> None:
    large = served.large
    assert large.path.stat().st_size > 10_000_000
    reads = storage_reads(served.ingest_calls)
    # From each fragment's header it jumps to the next one; a short jump reads on a little.
    assert len(reads) <= large.fragments + 6
    assert sum(reads) <= HEADER_BYTES + 256 * (large.fragments + 6)


def test_every_frame_is_found(served: Served) -> None:
    large = served.large
    frames = range(1, large.frames + 1)
    picked = {1, large.frames, *random.Random(7).sample(frames, 20)}
    for number in picked:
        assert served.body(f"/frames/{number}") == large.frame(number), number
    assert served.ask(f"/frames/{large.frames}").status == 200


def test_a_frame_is_one_read_of_its_bytes(served: Served) -> None:
    large = served.large
    served.body("/frames/1")
    middle = large.frames // 2
    _, calls = served.ledger.of(lambda: served.body(f"/frames/{middle}"))
    assert [call.port for call in calls] == ["index", "storage"]
    (read,) = storage_reads(calls)
    # The headers of its fragments lie between them.
    assert len(large.frame(middle)) <= read <= len(large.frame(middle)) + 3 * 8


def test_a_part_of_a_frame_is_read_as_that_part(served: Served) -> None:
    large = served.large
    expected = large.frame(3)[100:200]
    body, calls = served.ledger.of(lambda: served.body("/frames/3", Range="bytes=100-199"))
    assert body == expected
    assert sum(storage_reads(calls)) <= 100 + 3 * 8


def test_the_whole_comes_in_chunks_of_what_is_stored(served: Served) -> None:
    response = served.ask("", Accept="application/dicom; transfer-syntax=*")
    size = served.large.path.stat().st_size
    assert response.length == size
    with served.large.path.open("rb") as file:
        for chunk in response.body:
            assert isinstance(chunk, bytes)
            assert len(chunk) <= MIB
            assert chunk == file.read(len(chunk))
        assert not file.read(1)


def test_memory_does_not_grow_with_the_object(served: Served) -> None:
    served.body("/frames/1")
    tracemalloc.start()
    try:
        for chunk in served.ask("", Accept="application/dicom; transfer-syntax=*").body:
            assert chunk
        served.body(f"/frames/{served.large.frames}")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4 * MIB


def test_a_frame_is_rendered(served: Served) -> None:
    image = served.body("/frames/2/rendered", Accept="image/png")
    assert image.startswith(b"\x89PNG")
