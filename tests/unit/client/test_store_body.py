from __future__ import annotations

import threading
from dataclasses import dataclass
from io import BytesIO
from typing import IO, TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicomulus.client.progress import Meter
from dicomulus.client.store_body import StoreBody
from dicomulus.errors import RemoteUnavailableError, SourceFileError
from dicomulus.wire.media_types import parse_media_type
from dicomulus.wire.multipart import read_parts

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class Held:
    """A file in memory, which may have another length than it was found with."""

    content: bytes
    size: int
    name: str = "held"
    fingerprint: tuple[bytes, int, int] = (b"held", 0, 0)

    def open(self) -> IO[bytes]:
        return BytesIO(self.content)


def body_of(
    contents: Sequence[bytes], *, wrong: int = 0, stopped: threading.Event | None = None
) -> StoreBody:
    sources = [Held(content, len(content) + wrong) for content in contents]
    with Meter().moving() as move:
        return StoreBody(sources, stopped=stopped or threading.Event(), move=move)


@given(
    contents=st.lists(st.binary(max_size=600), min_size=1, max_size=4),
    sizes=st.lists(st.integers(min_value=1, max_value=900), min_size=1, max_size=5),
    begun=st.integers(min_value=0, max_value=3),
)
def test_the_parts_are_the_files_however_it_is_read(
    contents: list[bytes], sizes: list[int], begun: int
) -> None:
    """RFC 2387; and it may be read again from its start, wherever it was."""
    body = body_of(contents)
    for size in sizes[:begun]:
        body.read(size)
    body.seek(0)
    read, turn = b"", 0
    while piece := body.read(sizes[turn % len(sizes)]):
        read, turn = read + piece, turn + 1
        assert body.tell() == len(read)
    assert len(read) == body.length
    parts = read_parts(BytesIO(read), parse_media_type(body.content_type))
    assert [part.content.read() for part in parts] == contents


@pytest.mark.parametrize("wrong", [-1, 1])
def test_a_file_of_another_length_never_makes_a_whole_body(wrong: int) -> None:
    with pytest.raises(SourceFileError, match="changed"):
        body_of([b"abc", b"def"], wrong=wrong).read()


def test_a_body_that_is_stopped_breaks_off() -> None:
    stopped = threading.Event()
    body = body_of([bytes(1_000)], stopped=stopped)
    body.read(10)
    stopped.set()
    with pytest.raises(RemoteUnavailableError):
        body.read(10)


def test_a_body_begins_at_its_start_alone() -> None:
    with pytest.raises(OSError, match="start"):
        body_of([b"abc"]).seek(2)
