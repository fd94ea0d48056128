"""Sixteen writers of attachments of one study: no update is lost, and no content lost or left over."""

from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from typing import TYPE_CHECKING

import pytest

from dicomulus.composition import local_archive
from dicomulus.dicom.own_keys import ATTACHMENT_PREFIX, attachment_key
from dicomulus.errors import RevisionMismatchError
from tests.integration.test_document_writers import on_aws, on_one_machine, settings_of
from tests.support.writer_processes import written_by_processes

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from pathlib import Path

    from dicomulus.services.archive import Archive
    from dicomulus.services.resource_document import AttachmentEntry

WRITERS = 16
STUDY = "1.2"
SHARED = 2_000
"""The number of the attachment that all writers add their mark to."""

Taken = Counter[str]


def put(archive: Archive, number: int, content: bytes, expected: tuple[int, str] | None) -> None:
    archive.attachments.put(STUDY, number, BytesIO(content).read, expected=expected)


def read(archive: Archive, number: int) -> tuple[AttachmentEntry, bytes]:
    return archive.attachments.read(
        STUDY, number, lambda entry, content: (entry, b"".join(content.chunks))
    )


def add_mark(archive: Archive, mark: int, taken: Taken, meet: Callable[[], object]) -> None:
    """Add to what was read: whoever has an old revision reads it again."""
    while True:
        entry, content = read(archive, SHARED)
        if not taken:
            meet()
        try:
            put(archive, SHARED, content + bytes([mark]), (entry.revision, entry.md5))
        except RevisionMismatchError:
            taken["refused"] += 1
        else:
            taken["written"] += 1
            return


def write(
    archive: Archive,
    writer: int,
    taken: Taken,
    *,
    turns: int = 1,
    meet: Callable[[], object] = lambda: None,
) -> None:
    """Do what one writer does, beside the others, who have all read the same at first."""
    own = 1024 + writer
    add_mark(archive, writer, taken, meet)
    for turn in range(turns):
        put(archive, own, f"{writer}/{turn}".encode() * 10, None)
    if writer % 2:
        archive.attachments.recompress(STUDY, own, compressed=True)
    if writer % 4 == 0:
        archive.attachments.delete(STUDY, own)


def check(archive: Archive, *, turns: int = 1) -> None:
    entry, content = read(archive, SHARED)
    assert sorted(content) == list(range(WRITERS))
    assert entry.revision == WRITERS
    kept = [writer for writer in range(WRITERS) if writer % 4]
    assert archive.attachments.numbers(STUDY) == [*(1024 + writer for writer in kept), SHARED]
    for writer in kept:
        entry, content = read(archive, 1024 + writer)
        assert content == f"{writer}/{turns - 1}".encode() * 10
        assert entry.is_compressed == bool(writer % 2)
        assert archive.attachments.verify(STUDY, 1024 + writer)
    named = archive.documents.read(STUDY).attachments.values()
    assert {info.key for info in archive.storage.list(ATTACHMENT_PREFIX)} == {
        attachment_key(each.uuid) for each in named
    }


@pytest.mark.parametrize(("system", "turns"), [(on_one_machine, 2), (on_aws, 1)])
def test_threads_lose_nothing(
    tmp_path: Path, system: Callable[[Path], AbstractContextManager[Archive]], turns: int
) -> None:
    all_have_read = threading.Barrier(WRITERS, timeout=60)
    taken = [Taken() for _ in range(WRITERS)]
    with system(tmp_path) as archive:
        put(archive, SHARED, b"", None)

        def run(writer: int) -> None:
            write(archive, writer, taken[writer], turns=turns, meet=all_have_read.wait)

        with ThreadPoolExecutor(WRITERS) as pool:
            list(pool.map(run, range(WRITERS)))
        check(archive, turns=turns)
    total = sum(taken, Taken())
    assert total["written"] == WRITERS
    assert total["refused"] >= WRITERS - 1


def test_processes_lose_nothing(tmp_path: Path) -> None:
    archive = local_archive(settings_of(tmp_path))
    put(archive, SHARED, b"", None)
    written = written_by_processes(__name__, tmp_path, writers=WRITERS, processes=2)
    assert written == WRITERS
    check(archive)
