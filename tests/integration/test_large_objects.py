"""Multi-frame objects far larger than what is read for one frame, in a folder.

The same shapes are measured in 2 GB by ``python -m tests.benchmarks --retrieval-only``.
"""

from __future__ import annotations

import random
import tracemalloc
from typing import TYPE_CHECKING

import pytest

from tests.support.counted_archive import CountedArchive, storage_reads
from tests.support.large_objects import native, one_fragment_each, several_fragments_each

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.large_objects import LargeObject

MIB = 1_048_576
ANY_PART = 'multipart/related; type="*/*"'
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


class Served(CountedArchive):
    """An archive over one object of a shape."""

    def __init__(self, folder: Path, write: Callable[[Path], LargeObject]) -> None:
        source, data = folder / "source", folder / "data"
        source.mkdir()
        data.mkdir()
        self.large = write(source / "large.dcm")
        super().__init__(self.large.path, data=data)


@pytest.fixture(scope="module", params=WRITERS)
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Served:
    return Served(tmp_path_factory.mktemp("large"), WRITERS[request.param])


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
        # All frames, each a part of its own where they are compressed.
        for chunk in served.ask("/bulkdata/7FE00010", Accept=ANY_PART).body:
            assert chunk is not None
        served.body(f"/frames/{served.large.frames}")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4 * MIB


def test_a_frame_is_rendered(served: Served) -> None:
    image = served.body("/frames/2/rendered", Accept="image/png")
    assert image.startswith(b"\x89PNG")
