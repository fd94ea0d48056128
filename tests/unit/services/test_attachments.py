"""Attachments are neither lost nor mixed up, whoever writes them and wherever a process ends."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from typing import TYPE_CHECKING, Any

import pytest

from dicomulus.dicom.content_uuids import documents_of, new_content_uuid
from dicomulus.dicom.own_keys import (
    ATTACHMENT_PREFIX,
    attachment_key,
    attachment_of_key,
    document_key,
)
from dicomulus.dicom.resource import InstanceResource, PatientResource, SeriesResource
from dicomulus.errors import (
    AttachmentNotFoundError,
    PreconditionFailedError,
    RevisionMismatchError,
    UnavailableError,
)
from dicomulus.ports import ChangeType
from dicomulus.services.attachments import CONTENT_LIVES_MS
from tests.support.archives import small_archive
from tests.support.crashing import Crashes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from dicomulus.dicom.resource import Resource
    from dicomulus.services.resource_document import AttachmentEntry
    from tests.support.archives import Small

STUDY = "1.2.3"
NUMBER = 1024
RESOURCES: tuple[Resource, ...] = (
    PatientResource("P"),
    STUDY,
    SeriesResource(STUDY, "4"),
    InstanceResource(STUDY, "4", "5"),
)


def put(small: Small, content: bytes, number: int = NUMBER, **options: Any) -> AttachmentEntry:
    return small.archive.attachments.put(STUDY, number, BytesIO(content).read, **options)


def content_of(small: Small, number: int = NUMBER) -> bytes:
    return small.archive.attachments.read(
        STUDY, number, lambda _, content: b"".join(content.chunks)
    )


def contents(small: Small) -> set[str]:
    """Give the UUIDs of all contents in the storage area."""
    keys = (info.key for info in small.storage.list(ATTACHMENT_PREFIX))
    return {attachment_of_key(key) or key for key in keys}


def named(small: Small) -> set[str]:
    document = small.archive.documents.read(STUDY)
    return {entry.uuid for entry in document.attachments.values()}


def expected_of(entry: AttachmentEntry) -> tuple[int, str]:
    return entry.revision, entry.md5


@pytest.fixture
def small(tmp_path: Path) -> Small:
    return small_archive(tmp_path)


# --- where contents belong -----------------------------------------------------------------------


@pytest.mark.parametrize("resource", RESOURCES)
def test_the_uuid_of_a_content_tells_its_document(resource: Resource) -> None:
    uuid = new_content_uuid(resource)
    assert attachment_of_key(attachment_key(uuid)) == uuid
    assert (uuid[14], uuid[19] in "89ab") == ("8", True)
    assert document_key(resource).startswith(documents_of(uuid) or "none")
    assert new_content_uuid(resource) != uuid


def test_of_a_uuid_from_elsewhere_nothing_is_known() -> None:
    assert documents_of("6e0a4a5c-1f0e-4c5e-9a3b-0123456789ab") is None


# --- crashes -------------------------------------------------------------------------------------


def crashed(folder: Path, operation: Callable[[Small], object]) -> Iterator[tuple[Small, bool]]:
    """Give archives in which an operation died before its first call, its second, and so on."""
    for calls in range(100):
        crashes = Crashes()
        place = folder / str(calls)
        place.mkdir()
        small = small_archive(place, index=crashes.around, storage=crashes.around)
        put(small, b"old", expected=None)
        done = crashes.is_finished(lambda s=small: operation(s), calls=calls)  # type: ignore[misc]
        yield small, done
        if done:
            return
    raise AssertionError("it never ends")


def test_a_put_that_is_cut_off_has_happened_or_not(tmp_path: Path) -> None:
    for small, done in crashed(tmp_path, lambda s: put(s, b"new")):
        assert content_of(small) in ({b"new"} if done else {b"old", b"new"})
        assert named(small) <= contents(small)
        assert not done or named(small) == contents(small)
        # Whoever looks at the document afterwards tells what its writer did not come to.
        small.look_at([document_key(STUDY)])
        updates = small.index.changes().items
        assert len(updates) == (2 if content_of(small) == b"new" else 1)
        assert {each.type for each in updates} == {ChangeType.UPDATED_ATTACHMENT}
        put(small, b"again")
        assert content_of(small) == b"again"


def test_a_deletion_that_is_cut_off_has_happened_or_not(tmp_path: Path) -> None:
    for small, done in crashed(tmp_path, lambda s: s.archive.attachments.delete(STUDY, NUMBER)):
        assert named(small) <= contents(small)
        assert not done or not contents(small)
        if named(small):
            assert content_of(small) == b"old"
            small.archive.attachments.delete(STUDY, NUMBER)
        with pytest.raises(AttachmentNotFoundError):
            content_of(small)


def test_a_change_of_form_that_is_cut_off_loses_nothing(tmp_path: Path) -> None:
    def compress(small: Small) -> None:
        small.archive.attachments.recompress(STUDY, NUMBER, compressed=True)

    for small, done in crashed(tmp_path, compress):
        assert content_of(small) == b"old"
        assert named(small) <= contents(small)
        assert not done or named(small) == contents(small)
        compress(small)
        assert small.archive.attachments.find(STUDY, NUMBER).is_compressed
        assert content_of(small) == b"old"


# --- answers that are lost, and others in between ------------------------------------------------


class Meddling:
    """A store that lets others do something after a write, once, and may lose its answer."""

    def __init__(self, store: Any) -> None:
        self._store = store
        self.after_document: Callable[[], object] | None = None
        self.after_content: Callable[[], object] | None = None
        self.loses_answer = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def put(self, key: str, body: Any, **options: Any) -> Any:
        info = self._store.put(key, body, **options)
        kind = "after_document" if key == document_key(STUDY) else "after_content"
        meddle = getattr(self, kind)
        if meddle is not None:
            setattr(self, kind, None)
            meddle()
            if self.loses_answer:
                raise PreconditionFailedError(key)
        return info


@pytest.fixture
def meddled(tmp_path: Path) -> tuple[Small, Meddling]:
    held: list[Meddling] = []

    def around(store: Any) -> Any:
        held.append(Meddling(store))
        return held[0]

    return small_archive(tmp_path, storage=around), held[0]


def test_a_put_whose_answer_is_lost_and_that_others_wrote_after_is_not_taken_back(
    meddled: tuple[Small, Meddling],
) -> None:
    small, meddling = meddled
    first = put(small, b"old")
    meddling.loses_answer = True
    meddling.after_document = lambda: put(small, b"beside", 2000)
    put(small, b"new", expected=expected_of(first))
    assert (content_of(small), content_of(small, 2000)) == (b"new", b"beside")
    assert named(small) == contents(small)


def test_a_put_that_others_have_replaced_at_once_takes_nothing_of_theirs(
    meddled: tuple[Small, Meddling],
) -> None:
    small, meddling = meddled
    first = put(small, b"old")
    meddling.loses_answer = True
    meddling.after_document = lambda: put(small, b"theirs")
    with pytest.raises(RevisionMismatchError):
        put(small, b"mine", expected=expected_of(first))
    assert content_of(small) == b"theirs"
    assert named(small) == contents(small)


def test_a_deletion_whose_answer_is_lost_is_none_that_failed(
    meddled: tuple[Small, Meddling],
) -> None:
    small, meddling = meddled
    put(small, b"old")
    meddling.loses_answer = True
    meddling.after_document = lambda: put(small, b"beside", 2000)
    small.archive.attachments.delete(STUDY, NUMBER)
    assert small.archive.attachments.numbers(STUDY) == [2000]
    assert named(small) == contents(small)


def test_a_put_that_was_refused_leaves_no_content(meddled: tuple[Small, Meddling]) -> None:
    small, meddling = meddled
    first = put(small, b"old")
    meddling.after_content = lambda: put(small, b"theirs")
    with pytest.raises(RevisionMismatchError):
        put(small, b"mine", expected=expected_of(first))
    assert content_of(small) == b"theirs"
    assert named(small) == contents(small)


def test_a_reader_whose_content_is_replaced_reads_the_next_one(small: Small) -> None:
    put(small, b"old")
    seen: list[str] = []

    def give(entry: AttachmentEntry, content: Any) -> bytes:
        seen.append(entry.uuid)
        if len(seen) == 1:
            put(small, b"new")
        return b"".join(content.chunks)

    assert small.archive.attachments.read(STUDY, NUMBER, give) == b"new"
    assert len(set(seen)) == 2


def test_a_content_that_is_always_replaced_is_unavailable(small: Small) -> None:
    put(small, b"old")

    def give(_: AttachmentEntry, content: Any) -> bytes:
        put(small, b"new")
        return b"".join(content.chunks)

    with pytest.raises(UnavailableError):
        small.archive.attachments.read(STUDY, NUMBER, give)


def test_an_attachment_that_is_replaced_while_its_form_changes_changes_all_the_same(
    meddled: tuple[Small, Meddling],
) -> None:
    small, meddling = meddled
    put(small, b"old")
    meddling.after_content = lambda: put(small, b"new")
    small.archive.attachments.recompress(STUDY, NUMBER, compressed=True)
    assert small.archive.attachments.find(STUDY, NUMBER).is_compressed
    assert content_of(small) == b"new"
    assert named(small) == contents(small)


def test_a_writer_that_slept_for_a_day_finds_its_content_gone_and_puts_it_again(
    meddled: tuple[Small, Meddling],
) -> None:
    small, meddling = meddled

    def sleep() -> None:
        small.clock.now_ms += 2 * CONTENT_LIVES_MS
        for uuid in contents(small):
            small.storage.delete(attachment_key(uuid))

    meddling.after_document = sleep
    put(small, b"kept")
    assert content_of(small) == b"kept"


# --- many at once --------------------------------------------------------------------------------


def test_sixteen_writers_with_revisions_lose_no_update(tmp_path: Path) -> None:
    """Each adds its mark to what it has read, and begins anew where others were quicker."""
    small = small_archive(tmp_path, check_revisions=True)
    put(small, b"")
    conflicts: list[int] = []

    def add(mark: int) -> None:
        while True:
            entry, content = small.archive.attachments.read(
                STUDY, NUMBER, lambda entry, content: (entry, b"".join(content.chunks))
            )
            try:
                put(small, content + bytes([mark]), expected=expected_of(entry))
            except RevisionMismatchError:
                conflicts.append(mark)
            except UnavailableError:
                continue
            else:
                return

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(add, [mark for mark in range(16) for _ in range(2)]))
    assert sorted(content_of(small)) == sorted([*range(16), *range(16)])
    assert small.archive.attachments.find(STUDY, NUMBER).revision == 32
    assert conflicts
    assert named(small) == contents(small)


def test_sixteen_writers_of_different_attachments_disturb_nobody(small: Small) -> None:
    def write(number: int) -> None:
        for content in (b"first", b"second", b"third"):
            put(small, content + str(number).encode(), number)
        if number % 2:
            small.archive.attachments.delete(STUDY, number)

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(write, range(2000, 2016)))
    kept = range(2000, 2016, 2)
    assert small.archive.attachments.numbers(STUDY) == list(kept)
    assert [content_of(small, number) for number in kept] == [
        b"third" + str(number).encode() for number in kept
    ]
    assert named(small) == contents(small)
