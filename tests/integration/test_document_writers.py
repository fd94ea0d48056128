"""Sixteen writers of metadata, labels and attachments of one study: no update is lost."""

from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from dicomulus.adapters.aws.dynamodb_index import DynamoDbIndex
from dicomulus.adapters.aws.dynamodb_table import DynamoDbTable
from dicomulus.adapters.aws.s3_store import S3Store
from dicomulus.composition import compose, local_archive
from dicomulus.dicom.own_keys import document_key
from dicomulus.dicom.resource import InstanceResource, canonical_key
from dicomulus.errors import RevisionMismatchError
from dicomulus.services.resource_document import AttachmentEntry
from dicomulus.services.user_metadata import md5_of
from dicomulus.settings import Settings
from tests.support.archives import ListQueue
from tests.support.aws import REGION, moto_aws
from tests.support.datasets import ct_instance
from tests.support.writer_processes import written_by_processes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from dicomulus.services.archive import Archive

WRITERS = 16
TURNS = 2
STUDY = "1.2"
INSTANCE = InstanceResource(STUDY, "1.2.3", "1.2.3.4")
SHARED = 2_000
"""The number of a value that all writers count up."""

ENTRY = AttachmentEntry(
    uuid="6e0a4a5c-1f0e-4c5e-9a3b-0123456789ab",
    size=1,
    md5="0" * 32,
    stored_size=1,
    stored_md5="0" * 32,
)

Taken = Counter[str]


def fill(archive: Archive) -> None:
    key = canonical_key(INSTANCE)
    content = ct_instance(
        study_instance_uid=STUDY,
        series_instance_uid=INSTANCE.series_instance_uid,
        sop_instance_uid=INSTANCE.sop_instance_uid,
    )
    archive.storage.put(key, content)
    archive.ingest.look_at([key])
    archive.compaction.compact([INSTANCE.series])
    archive.user_metadata.put(STUDY, SHARED, "0", expected=None)


def count_up(archive: Archive, taken: Taken, meet: Callable[[], object]) -> None:
    """Add one to the shared value: whoever has an old revision reads it again."""
    while True:
        entry = archive.user_metadata.find(STUDY, SHARED)
        seen = entry.revision, md5_of(entry.value)
        if not taken:
            meet()
        try:
            archive.user_metadata.put(STUDY, SHARED, str(int(entry.value) + 1), expected=seen)
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
    turns: int = TURNS,
    meet: Callable[[], object] = lambda: None,
) -> None:
    """Do what one writer does, beside the others, who have all read the same at first."""
    own = 1024 + writer
    for turn in range(turns):
        count_up(archive, taken, meet)
        archive.user_metadata.put(STUDY, own, f"{writer}/{turn}", expected=None)
        archive.user_metadata.put_label(STUDY, f"writer-{writer}-{turn}")
        archive.documents.update(STUDY, lambda document: document.with_attachment(own, ENTRY))
    archive.user_metadata.delete_label(STUDY, f"writer-{writer}-0")


def check(archive: Archive, *, turns: int = TURNS) -> None:
    found = archive.documents.read(STUDY)
    own = range(1024, 1024 + WRITERS)
    assert found.metadata[SHARED].value == str(WRITERS * turns)
    assert found.metadata[SHARED].revision == WRITERS * turns
    assert {n: found.metadata[n].value for n in own} == {n: f"{n - 1024}/{turns - 1}" for n in own}
    assert {found.metadata[n].revision for n in own} == {turns - 1}
    assert {found.attachments[n].revision for n in own} == {turns - 1}
    assert found.labels == {
        f"writer-{writer}-{turn}" for writer in range(WRITERS) for turn in range(1, turns)
    }
    # The index has come to know the newest document, and its labels.
    assert archive.documents.read_rows([STUDY]) == {STUDY: found}
    assert set(archive.index.used_labels()) == found.labels
    key = document_key(STUDY)
    info = archive.storage.head(key)
    assert info is not None
    assert archive.index.indexed_etags([key]) == {key: info.etag}


def settings_of(folder: Path) -> Settings:
    (folder / "files").mkdir(exist_ok=True)
    return Settings(
        source_folder=str(folder / "files"),
        data_folder=str(folder / "data"),
        allow_store=True,
    )


@contextmanager
def on_one_machine(folder: Path) -> Iterator[Archive]:
    yield local_archive(settings_of(folder))


@contextmanager
def on_aws(_: Path) -> Iterator[Archive]:
    with moto_aws() as aws:
        table = DynamoDbTable(aws.table_name, region=REGION)
        yield compose(
            Settings(allow_store=True),
            index=DynamoDbIndex(table, search_shards=2, parallel=1),
            storage=S3Store(aws.storage_bucket),
            cache=S3Store(aws.cache_bucket),
            queue=ListQueue(),
        )


@pytest.mark.parametrize(("system", "turns"), [(on_one_machine, TURNS), (on_aws, 1)])
def test_threads_lose_nothing(
    tmp_path: Path, system: Callable[[Path], AbstractContextManager[Archive]], turns: int
) -> None:
    all_have_read = threading.Barrier(WRITERS, timeout=60)
    taken = [Taken() for _ in range(WRITERS)]
    with system(tmp_path) as archive:
        fill(archive)

        def run(writer: int) -> None:
            write(archive, writer, taken[writer], turns=turns, meet=all_have_read.wait)

        with ThreadPoolExecutor(WRITERS) as pool:
            list(pool.map(run, range(WRITERS)))
        check(archive, turns=turns)
    total = sum(taken, Taken())
    assert total["written"] == WRITERS * turns
    assert total["refused"] >= WRITERS - 1


def test_processes_lose_nothing(tmp_path: Path) -> None:
    archive = local_archive(settings_of(tmp_path))
    fill(archive)
    written = written_by_processes(__name__, tmp_path, writers=WRITERS, processes=4)
    assert written == WRITERS
    check(archive, turns=1)
