"""Documents of resources: what they tell, who may change them, and how their rows follow."""

from __future__ import annotations

import json
import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from functools import partial
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicomulus.dicom.labels import is_label
from dicomulus.dicom.orthanc_id import Level, level_of
from dicomulus.dicom.own_keys import (
    attachment_key,
    attachment_of_key,
    document_key,
    is_document_key,
    is_own_key,
)
from dicomulus.dicom.resource import InstanceResource, PatientResource, SeriesResource
from dicomulus.errors import (
    DamagedDocumentError,
    PayloadTooLargeError,
    RevisionMismatchError,
    UnavailableError,
)
from dicomulus.services.documents import Documents
from dicomulus.services.resource_document import (
    MAX_LABELS,
    AttachmentEntry,
    ResourceDocument,
    format_document,
    parse_document,
)
from tests.support.archives import small_archive
from tests.support.crashing import Crashes
from tests.support.failing_store import failing_archive

if TYPE_CHECKING:
    from pathlib import Path

    from dicomulus.dicom.resource import Resource
    from tests.support.archives import Small

UUID = "6e0a4a5c-1f0e-4c5e-9a3b-0123456789ab"
RESOURCES: tuple[Resource, ...] = (
    PatientResource("DOE^J / ü"),
    "1.2",
    SeriesResource("1.2", "1.2.3"),
    InstanceResource("1.2", "1.2.3", "1.2.3.4"),
)


def attachment(**members: object) -> AttachmentEntry:
    values: dict[str, object] = {
        "uuid": UUID,
        "size": 11,
        "md5": "5d41402abc4b2a76b9719d911017c592",
        "stored_size": 9,
        "stored_md5": "7d793037a0760186574b0282f2f435e7",
        "is_compressed": True,
    }
    return AttachmentEntry(**(values | members))  # type: ignore[arg-type]


def document(resource: Resource = "1.2") -> ResourceDocument:
    made = ResourceDocument(resource=resource, version=7, write="a")
    made = made.with_metadata(1024, "größe\n").with_attachment(1030, attachment())
    made = made.with_label("a").with_label("b").with_metadata(9, "x").without_metadata(9)
    return made.stamped(8, "b")


@pytest.fixture
def small(tmp_path: Path) -> Small:
    return small_archive(tmp_path)


def without_pauses(small: Small) -> Documents:
    return Documents(
        small.index,
        small.archive.storage,
        changes=small.archive.changes,
        clock_ms=small.clock,
        pause=lambda _: None,
    )


# --- keys ----------------------------------------------------------------------------------------


def test_resources_have_keys_of_their_own_whatever_their_names() -> None:
    keys = {document_key(each) for each in (*RESOURCES, "1.2.3", PatientResource("1.2"))}
    assert len(keys) == 6
    assert all(is_document_key(key) and is_own_key(key) for key in keys)
    assert not is_document_key("dicomulus/resources/aa/bb/x.json")
    assert not is_own_key("dicom/1.2/3/4.dcm")


def test_the_content_of_an_attachment_lies_under_its_uuid() -> None:
    assert attachment_key(UUID) == f"dicomulus/attachments/6e/0a/{UUID}"
    assert attachment_of_key(attachment_key(UUID)) == UUID
    assert attachment_of_key(f"dicomulus/attachments/6e/0b/{UUID}") is None
    assert attachment_of_key("dicomulus/attachments/6e/0a/x") is None
    with pytest.raises(ValueError, match="UUID"):
        attachment_key("../../etc")


# --- the text ------------------------------------------------------------------------------------


@pytest.mark.parametrize("resource", RESOURCES, ids=level_of)
def test_a_document_is_read_as_it_was_written(resource: Resource) -> None:
    assert parse_document(format_document(document(resource))) == document(resource)


@given(value=st.text(st.characters(exclude_categories=())), version=st.integers(0, 2**53))
def test_values_are_any_text(value: str, version: int) -> None:
    made = ResourceDocument(resource="1.2", version=version).with_metadata(1024, value)
    assert parse_document(format_document(made)) == made


def test_one_changed_byte_anywhere_is_found() -> None:
    text = format_document(document())
    for place in range(len(text)):
        flipped = bytes([text[place] ^ 1])
        with pytest.raises(DamagedDocumentError):
            parse_document(text[:place] + flipped + text[place + 1 :])


@pytest.mark.parametrize("text", [b"", b"{}", b"\xff" * 200, format_document(document())[:-30]])
def test_what_is_no_whole_document_is_damaged(text: bytes) -> None:
    with pytest.raises(DamagedDocumentError):
        parse_document(text)


@pytest.mark.parametrize(
    "change",
    [
        {"format": 2},
        {"level": "frame"},
        {"names": ["1.2", "1.3"]},
        {"version": -1},
        {"version": 2**64},
        {"attachments": {"1030": asdict(attachment(uuid="../../../x"))}},
        {"attachments": {"1030": asdict(attachment(size=10**30))}},
        {"version": True},
        {"metadata": {"65536": {"value": "", "revision": 0, "version": 1}}},
        {"metadata": {"1024": {"value": 1, "revision": 0, "version": 1}}},
        {"metadata": {"1024": {"value": ""}}},
        {"attachments": {"1024": {"uuid": UUID}}},
        {"attachments": []},
        {"labels": ["a b"]},
        {"labels": [1]},
        {"gone_metadata": {"x": 0}},
        {"further": 1},
    ],
    ids=str,
)
def test_what_is_of_another_form_is_damaged_though_it_has_its_checksum(
    change: dict[str, object],
) -> None:
    import hashlib

    content = json.loads(format_document(document()))
    del content["sha256"]
    body = json.dumps(content | change).encode()[:-1]
    digest = hashlib.sha256(body).hexdigest().encode()
    with pytest.raises(DamagedDocumentError, match="form"):
        parse_document(b'%s,"sha256":"%s"}\n' % (body, digest))


def test_a_document_over_its_limit_is_refused() -> None:
    with pytest.raises(PayloadTooLargeError, match="attachments"):
        format_document(document().with_metadata(1025, "x" * 262_144))
    labels = frozenset(str(number) for number in range(MAX_LABELS + 1))
    with pytest.raises(PayloadTooLargeError, match="labels"):
        format_document(replace(document(), labels=labels))


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("a-B_9", True),
        ("x" * 64, True),
        ("x" * 65, False),
        ("", False),
        ("ä", False),
        ("a b", False),
    ],
)
def test_labels_are_as_orthanc_has_them(text: str, is_one: bool) -> None:
    assert is_label(text) is is_one


def test_revisions_rise_and_go_on_after_a_deletion() -> None:
    made = ResourceDocument(resource="1.2").with_metadata(1024, "a").with_metadata(1024, "b")
    assert made.metadata[1024].revision == 1
    again = made.without_metadata(1024).with_metadata(1024, "b")
    assert again.metadata[1024].revision == 2
    assert not again.gone_metadata
    made = made.with_attachment(5, attachment()).without_attachment(5)
    assert made.with_attachment(5, attachment(revision=9)).attachments[5].revision == 1
    assert made.without_attachment(6) is made
    assert made.without_metadata(6) is made


def test_numbers_that_come_and_go_do_not_fill_the_document() -> None:
    made = ResourceDocument(resource="1.2")
    for number in range(1024, 2200):
        made = made.with_metadata(number, "a").stamped(number, "w")
        made = made.without_metadata(number).stamped(number, "w")
    assert set(made.gone_metadata) == set(range(1200, 2200))
    assert len(format_document(made)) < 65_536


def test_texts_of_any_script_take_the_room_that_they_have_as_utf_8() -> None:
    value = "患者" * 10_000
    made = ResourceDocument(resource="1.2").with_metadata(1024, value)
    assert len(format_document(made)) < len(value.encode()) + 1_000


# --- changes -------------------------------------------------------------------------------------


def test_what_was_never_written_is_empty(small: Small) -> None:
    found = small.archive.documents.read("1.2")
    assert found == ResourceDocument(resource="1.2")
    assert found.is_empty
    assert list(small.storage.list()) == []


def test_a_change_is_in_the_storage_area_and_in_the_index(small: Small) -> None:
    documents = small.archive.documents
    written = documents.update("1.2", lambda d: d.with_metadata(1024, "a").with_label("x"))
    assert documents.read("1.2") == written
    assert documents.read_rows(["1.2", "1.3"]) == {"1.2": written}
    assert small.index.labelled(Level.STUDY, "x").items == ("1.2",)
    key = document_key("1.2")
    assert small.index.indexed_etags([key]) == {key: small.storage.get(key).info.etag}


def test_entries_tell_the_version_that_they_came_or_went_with(small: Small) -> None:
    update = partial(small.archive.documents.update, "1.2")
    first = update(lambda d: d.with_metadata(1024, "a").with_metadata(1025, "a"))
    second = update(lambda d: d.with_attachment(1024, attachment()))
    third = update(lambda d: d.with_label("a").without_metadata(1025))
    assert 0 < first.version < second.version < third.version
    assert third.metadata[1024].version == first.version
    assert third.attachments[1024].version == second.version
    assert third.gone_metadata[1025].version == third.version


def recorded(small: Small) -> list[tuple[str, object, int | None]]:
    return [(each.type.value, each.resource, each.number) for each in small.index.changes().items]


def test_what_users_change_is_in_the_log_of_changes(small: Small) -> None:
    """Labels are not, as with Orthanc, nor what the numbers below 1024 name."""
    update = partial(small.archive.documents.update, "1.2")
    update(lambda d: d.with_metadata(1024, "a").with_metadata(9, "b").with_label("a"))
    update(lambda d: d.with_metadata(1024, "b"))
    update(lambda d: d.with_attachment(1030, attachment()))
    small.look_at([document_key("1.2")])
    update(lambda d: d.without_metadata(1024))
    assert recorded(small) == [
        ("UpdatedMetadata", "1.2", 1024),
        ("UpdatedMetadata", "1.2", 1024),
        ("UpdatedAttachment", "1.2", 1030),
        ("UpdatedMetadata", "1.2", 1024),
    ]


def test_an_index_made_again_tells_of_no_change_that_is_long_past(small: Small) -> None:
    written = small.archive.documents.update("1.2", lambda d: d.with_metadata(1024, "a"))
    key = document_key("1.2")
    text = small.storage.get(key).data
    (small.archive.documents.remove("1.2"))
    small.storage.put(key, text)
    small.clock.now_ms += 86_400_001
    before = recorded(small)
    small.look_at([key])
    assert small.archive.documents.read_rows(["1.2"]) == {"1.2": written}
    assert recorded(small) == before


def test_a_change_of_nothing_writes_nothing(small: Small) -> None:
    documents = small.archive.documents
    first = documents.update("1.2", lambda d: d.with_label("a"))
    assert documents.update("1.2", lambda d: d.with_label("a")) == first
    assert documents.update("1.3", lambda d: d) == ResourceDocument(resource="1.3")
    assert len(list(small.storage.list())) == 1


def test_a_change_for_another_revision_is_refused_and_writes_nothing(small: Small) -> None:
    documents = small.archive.documents
    documents.update("1.2", lambda d: d.with_metadata(1024, "a"))

    def change(found: ResourceDocument) -> ResourceDocument:
        raise RevisionMismatchError(f"{found.metadata[1024].revision} is not 3")

    with pytest.raises(RevisionMismatchError, match="0 is not 3"):
        documents.update("1.2", change)
    assert documents.read("1.2").metadata[1024].value == "a"


def test_what_others_write_meanwhile_is_changed_and_not_lost(small: Small) -> None:
    documents = small.archive.documents
    others = iter(range(5))

    def change(found: ResourceDocument) -> ResourceDocument:
        other = next(others, None)
        if other is not None:
            documents.update("1.2", lambda d: d.with_label(f"other-{other}"))
        return found.with_label("mine")

    written = without_pauses(small).update("1.2", change)
    assert written.labels == {"mine", *(f"other-{n}" for n in range(5))}


def test_who_never_gets_through_is_told_to_come_back(small: Small) -> None:
    documents = without_pauses(small)

    def change(found: ResourceDocument) -> ResourceDocument:
        small.archive.documents.update("1.2", lambda d: d.with_metadata(1024, "x"))
        return found.with_label("mine")

    with pytest.raises(UnavailableError, match="faster"):
        documents.update("1.2", change)


def test_a_write_whose_answer_was_lost_counts_once(tmp_path: Path) -> None:
    small, store = failing_archive(tmp_path)
    documents = small.archive.documents
    documents.update("1.2", lambda d: d.with_metadata(1024, "a"))
    put = store.put

    def put_and_lose(key: str, body: bytes, **conditions: object) -> object:
        store.put = put  # type: ignore[method-assign]
        put(key, body, **conditions)
        return put(key, body, **conditions)

    store.put = put_and_lose  # type: ignore[method-assign, assignment]
    assert (
        documents.update("1.2", lambda d: d.with_metadata(1024, "b")).metadata[1024].revision == 1
    )


def test_many_writers_lose_nothing(small: Small) -> None:
    """Sixteen threads at one study, each with changes of all kinds."""

    def write(worker: int) -> None:
        for turn in range(4):
            small.archive.documents.update(
                "1.2",
                lambda d, n=worker * 4 + turn: (  # type: ignore[misc]
                    d.with_metadata(1024 + n, str(n))
                    .with_label(f"label-{n}")
                    .with_attachment(1024, attachment(size=n))
                ),
            )

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(write, range(16)))
    found = small.archive.documents.read("1.2")
    assert {n: entry.value for n, entry in found.metadata.items()} == {
        1024 + n: str(n) for n in range(64)
    }
    assert found.labels == {f"label-{n}" for n in range(64)}
    assert found.attachments[1024].revision == 63
    assert small.archive.documents.read_rows(["1.2"]) == {"1.2": found}


# --- rows ----------------------------------------------------------------------------------------


def test_a_crash_anywhere_leaves_a_state_that_a_look_makes_good(tmp_path: Path) -> None:
    crashes = Crashes()
    small = small_archive(tmp_path, index=crashes.around, storage=crashes.around)
    documents = small.archive.documents
    key = document_key("1.2")
    calls = 0
    while not crashes.is_finished(
        lambda: documents.update("1.2", lambda d: d.with_metadata(1024, "a").with_label("x")),
        calls=calls,
    ):
        small.look_at([key])
        found = documents.read("1.2")
        rows = documents.read_rows(["1.2"])
        assert rows == ({} if found.version == 0 else {"1.2": found})
        # An update that ended before its answer is sent again: each is one change.
        assert len(recorded(small)) == (
            0 if not found.metadata else found.metadata[1024].revision + 1
        )
        calls += 1
    assert calls >= 3


def test_an_index_that_was_lost_is_made_again_from_the_documents(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    old, new = small_archive(tmp_path / "a"), small_archive(tmp_path / "b")
    for resource in RESOURCES:
        old.archive.documents.update(
            resource, lambda d: d.with_metadata(1024, "a").with_label("x").with_label("y")
        )
    old.archive.documents.update("1.2", lambda d: d.without_label("y"))
    objects = {info.key: old.storage.get(info.key).data for info in old.storage.list()}
    report = new.take(objects)
    assert not report.failed
    assert new.archive.documents.read_rows(RESOURCES) == old.archive.documents.read_rows(RESOURCES)
    for level in Level:
        for label in ("x", "y"):
            assert new.index.labelled(level, label) == old.index.labelled(level, label)


def test_a_damaged_document_is_reported_and_not_served_as_an_empty_one(small: Small) -> None:
    documents = small.archive.documents
    written = documents.update("1.2", lambda d: d.with_metadata(1024, "a"))
    key = document_key("1.2")
    text = small.storage.get(key).data
    small.storage.put(key, text.replace(b'"a"', b'"b"'))
    with pytest.raises(DamagedDocumentError):
        documents.read("1.2")
    with pytest.raises(DamagedDocumentError):
        documents.update("1.2", lambda d: d.with_label("b"))
    assert "checksum" in small.look_at([key]).rejected[key]
    rejection = small.index.note_objects({key: frozenset()})[key].rejection
    assert rejection is not None
    assert rejection.etag == small.index.indexed_etags([key])[key]
    # The last that was known good stays, and counts again when somebody has brought it back.
    assert documents.read_rows(["1.2"]) == {"1.2": written}
    small.storage.put(key, text)
    assert not small.look_at([key]).rejected
    assert small.index.note_objects({key: frozenset()})[key].rejection is None


def test_a_document_under_the_key_of_another_is_damaged(small: Small) -> None:
    small.archive.documents.update("1.2", lambda d: d.with_label("a"))
    key = document_key("1.3")
    small.storage.put(key, small.storage.get(document_key("1.2")).data)
    with pytest.raises(DamagedDocumentError, match="another"):
        small.archive.documents.read("1.3")
    assert "another" in small.look_at([key]).rejected[key]


def test_an_older_document_that_was_brought_back_is_what_counts(small: Small) -> None:
    documents = small.archive.documents
    first = documents.update("1.2", lambda d: d.with_label("a"))
    key = document_key("1.2")
    text = small.storage.get(key).data
    documents.update("1.2", lambda d: d.with_label("b"))
    small.storage.put(key, text)
    small.look_at([key])
    assert documents.read_rows(["1.2"]) == {"1.2": first}
    assert small.index.used_labels() == ("a",)


def test_a_removed_document_leaves_no_row_and_begins_anew(small: Small) -> None:
    documents = small.archive.documents
    before = documents.update("1.2", lambda d: d.with_metadata(1024, "a").with_label("x"))
    assert documents.remove("1.2") == before
    assert documents.remove("1.2").version == 0
    assert list(small.storage.list()) == []
    assert documents.read_rows(["1.2"]) == {}
    assert small.index.used_labels() == ()
    again = documents.update("1.2", lambda d: d.with_metadata(1024, "b"))
    assert again.metadata[1024].revision == 0
    assert again.version > before.version


def test_a_document_that_somebody_deleted_is_gone_at_a_look(small: Small) -> None:
    small.archive.documents.update("1.2", lambda d: d.with_label("x"))
    key = document_key("1.2")
    small.storage.delete(key)
    assert small.look_at([key]).gone == (key,)
    assert small.index.get_documents([key]) == {}


def test_a_scan_names_what_the_rows_of_documents_do_not_agree_with(small: Small) -> None:
    from dicomulus.services.scan import scan

    documents = small.archive.documents
    for study in ("1.1", "1.2", "1.3"):
        documents.update(study, lambda d: d.with_label("x"))
    small.storage.put(attachment_key(UUID), b"content")
    storage = small.archive.storage
    assert [key for each in scan(small.index, storage) for key in each.object_keys] == []
    changed = small.storage.get(document_key("1.1")).data
    documents.update("1.1", lambda d: d.with_label("y"))
    small.storage.put(document_key("1.1"), changed)
    small.storage.delete(document_key("1.2"))
    found = [key for each in scan(small.index, storage) for key in each.object_keys]
    assert sorted(found) == sorted([document_key("1.1"), document_key("1.2")])


def test_documents_and_objects_are_looked_at_together(small: Small) -> None:
    documents = small.archive.documents
    written = documents.update("1.2", lambda d: d.with_label("x"))
    key = document_key("1.2")
    small.index.forget_document(key, written.version)
    small.storage.put("no-dicom", b"text")
    report = small.look_at([attachment_key(UUID), key, "no-dicom", "absent"])
    assert set(report.rejected) == {"no-dicom"}
    assert report.gone == ("absent",)
    assert small.index.labelled(Level.STUDY, "x").items == ("1.2",)


def test_any_order_of_changes_looks_and_removals_converges(tmp_path: Path) -> None:
    """Random histories: at the end one look makes the rows those of the documents."""
    chosen = random.Random(7)
    small = small_archive(tmp_path)
    documents = small.archive.documents
    resources = RESOURCES[1:]
    texts: list[tuple[str, bytes]] = []
    for step in range(120):
        resource = chosen.choice(resources)
        key = document_key(resource)
        if chosen.random() < 0.6:
            documents.update(resource, lambda d, n=step: d.with_label(f"l{n % 5}"))  # type: ignore[misc]
            texts.append((key, small.storage.get(key).data))
        elif chosen.random() < 0.3:
            documents.remove(resource)
        elif chosen.random() < 0.5 and texts:
            small.storage.put(*chosen.choice(texts))
        else:
            small.look_at([key])
    small.look_at([document_key(each) for each in resources])
    held = {each: documents.read(each) for each in resources}
    assert documents.read_rows(resources) == {r: d for r, d in held.items() if d.version}
    assert set(small.index.used_labels()) == {x for d in held.values() for x in d.labels}
