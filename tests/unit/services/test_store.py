"""What is reported stored is in the storage area and in the index; everything else is told."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import replace
from functools import partial
from io import BytesIO
from typing import TYPE_CHECKING

import pytest

from dicomulus.dicom.byte_source import whole
from dicomulus.dicom.dataset_json import convert
from dicomulus.dicom.resource import canonical_key
from dicomulus.dicom.store_report import Failed, FailureReason, Stored
from dicomulus.errors import (
    InvalidBodyError,
    InvalidResourceError,
    StorageFullError,
    UnavailableError,
)
from tests.support.archives import small_archive
from tests.support.crashing import Crashes
from tests.support.datasets import ct_instance
from tests.support.failing_store import failing_archive

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import IO

    from dicomulus.ports import InstanceRow
    from tests.support.archives import Small

STUDY = "1.2.3"
FIRST = ct_instance(study_instance_uid=STUDY, instance_number=1)
SECOND = ct_instance(study_instance_uid=STUDY, instance_number=2)
OTHER_FIRST = ct_instance(
    study_instance_uid=STUDY, instance_number=1, attributes={"ImageComments": "another one"}
)


@pytest.fixture
def small(tmp_path: Path) -> Small:
    return small_archive(tmp_path)


def store(small: Small, *contents: bytes, study: str | None = None) -> list[Stored | Failed]:
    return list(small.archive.store.store(map(BytesIO, contents), study_instance_uid=study))


def reasons(outcomes: list[Stored | Failed]) -> list[FailureReason | None]:
    """Give why each failed, nothing for those stored."""
    return [each.reason if isinstance(each, Failed) else None for each in outcomes]


def content_of(small: Small, outcome: Stored | Failed) -> bytes:
    assert outcome.instance is not None
    return small.storage.get(canonical_key(outcome.instance)).data


def test_what_is_stored_is_durable_and_indexed(small: Small) -> None:
    outcomes = store(small, FIRST, SECOND)
    assert reasons(outcomes) == [None, None]
    for outcome, content in zip(outcomes, (FIRST, SECOND), strict=True):
        assert content_of(small, outcome) == content
        assert outcome.instance is not None
        (row,) = small.index.get_instance(outcome.instance)
        assert row.object_key == canonical_key(outcome.instance)


def test_the_same_bytes_again_are_stored(small: Small) -> None:
    store(small, FIRST)
    assert reasons(store(small, FIRST, FIRST)) == [None, None]


def test_other_bytes_of_a_known_instance_are_refused_and_change_nothing(small: Small) -> None:
    (stored,) = store(small, FIRST)
    assert reasons(store(small, OTHER_FIRST)) == [FailureReason.DUPLICATE_SOP_INSTANCE]
    assert content_of(small, stored) == FIRST


@pytest.mark.parametrize("other", [FIRST + b"\0" * 8, FIRST[:-2] + b"\xff\xff"])
def test_bytes_that_begin_alike_are_other_bytes(small: Small, other: bytes) -> None:
    store(small, FIRST)
    assert reasons(store(small, other)) == [FailureReason.DUPLICATE_SOP_INSTANCE]


def test_of_two_objects_of_one_instance_in_a_body_the_first_is_stored(small: Small) -> None:
    outcomes = store(small, FIRST, OTHER_FIRST)
    assert reasons(outcomes) == [None, FailureReason.DUPLICATE_SOP_INSTANCE]
    assert content_of(small, outcomes[0]) == FIRST


def test_an_instance_known_under_another_key_is_not_written_again(small: Small) -> None:
    (row,) = small.take({"scans/1": FIRST}).indexed
    assert reasons(store(small, FIRST, OTHER_FIRST)) == [
        None,
        FailureReason.DUPLICATE_SOP_INSTANCE,
    ]
    assert [info.key for info in small.storage.list()] == ["scans/1"]
    assert [each.object_key for each in small.index.get_instance(row.instance)] == ["scans/1"]


def test_an_object_in_the_way_that_no_row_tells_of_is_compared(small: Small) -> None:
    (row,) = small.take({"scans/1": FIRST}).indexed
    small.storage.delete("scans/1")
    small.look_at(["scans/1"])
    small.storage.put(canonical_key(row.instance), FIRST)
    assert reasons(store(small, OTHER_FIRST, FIRST)) == [
        FailureReason.DUPLICATE_SOP_INSTANCE,
        None,
    ]


def test_an_instance_whose_object_has_just_gone_is_stored(small: Small) -> None:
    small.take({"scans/1": FIRST})
    small.storage.delete("scans/1")
    (outcome,) = store(small, OTHER_FIRST)
    assert isinstance(outcome, Stored)
    assert content_of(small, outcome) == OTHER_FIRST
    assert len(small.index.get_instance(outcome.instance)) == 1


def test_replacing_writes_over_what_was_there(tmp_path: Path) -> None:
    small = small_archive(tmp_path, store_policy="replace")
    store(small, FIRST)
    (outcome,) = store(small, OTHER_FIRST)
    assert isinstance(outcome, Stored)
    assert content_of(small, outcome) == OTHER_FIRST
    (row,) = small.index.get_instance(outcome.instance)
    info = small.storage.head(row.object_key)
    assert info is not None
    assert row.object_etag == info.etag


def test_an_instance_of_another_study_is_refused(small: Small) -> None:
    stranger = ct_instance(study_instance_uid="9.9")
    outcomes = store(small, stranger, FIRST, study=STUDY)
    assert reasons(outcomes) == [FailureReason.DOES_NOT_MATCH, None]
    assert len(list(small.storage.list())) == 1


@pytest.mark.parametrize(
    "content",
    [b"", b"none", FIRST[:-50], ct_instance(omit=("SOPInstanceUID",))],
    ids=["empty", "not DICOM", "truncated", "without UID"],
)
def test_what_is_no_whole_instance_is_refused(small: Small, content: bytes) -> None:
    outcomes = store(small, content, FIRST)
    assert reasons(outcomes) == [FailureReason.CANNOT_UNDERSTAND, None]
    assert len(list(small.storage.list())) == 1


# --- when the stores fail ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (UnavailableError("no rights"), FailureReason.PROCESSING_FAILURE),
        (StorageFullError("no space"), FailureReason.OUT_OF_RESOURCES),
        (InvalidResourceError("too long a name"), FailureReason.CANNOT_UNDERSTAND),
    ],
)
def test_an_object_that_cannot_be_written_fails_alone(
    tmp_path: Path, error: Exception, reason: FailureReason
) -> None:
    small, storage = failing_archive(tmp_path)
    storage.errors.append(error)
    assert reasons(store(small, FIRST, SECOND)) == [reason, None]


def test_the_log_says_why_nothing_can_be_written(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The sender is told a number; who runs the archive needs to know of the disk."""
    small, storage = failing_archive(tmp_path)
    storage.errors.append(StorageFullError("a/b.dcm: No space left on device"))
    store(small, FIRST, SECOND)
    reasons_told = [vars(record)["reason"] for record in caplog.records]
    assert reasons_told == ["a/b.dcm: No space left on device"]


def test_an_object_gone_before_it_was_indexed_is_not_reported_stored(tmp_path: Path) -> None:
    small, storage = failing_archive(tmp_path)
    storage.loses = True
    assert reasons(store(small, FIRST)) == [FailureReason.PROCESSING_FAILURE]


def test_a_body_that_breaks_off_leaves_no_object_without_row(small: Small) -> None:
    def objects() -> Iterator[IO[bytes]]:
        yield BytesIO(FIRST)
        raise InvalidBodyError("broken off")

    with pytest.raises(InvalidBodyError):
        small.archive.store.store(objects())
    (info,) = small.storage.list()
    assert small.index.indexed_etags([info.key]) == {info.key: info.etag}


def test_what_was_written_is_indexed_without_reading_it_again(small: Small) -> None:
    """One conversion an object, and a second look at it all the same."""
    _, calls = small.ledger.of(lambda: store(small, FIRST, SECOND))
    of_storage = [call.operation for call in calls if call.port == "storage"]
    assert Counter(of_storage) == {"put": 2, "make_durable": 1, "head": 4}
    rows = [row for each in (FIRST, SECOND) for row in rows_of(small, each)]
    small.look_at([row.object_key for row in rows])
    assert [row for each in (FIRST, SECOND) for row in rows_of(small, each)] == rows


def rows_of(small: Small, content: bytes) -> tuple[InstanceRow, ...]:
    return small.index.get_instance(convert(whole(content)).instance)


def test_an_object_overwritten_before_it_is_indexed_is_indexed_as_it_is(tmp_path: Path) -> None:
    small, storage = failing_archive(tmp_path)
    storage.overwrites = OTHER_FIRST
    (outcome,) = store(small, FIRST)
    assert isinstance(outcome, Stored)
    (row,) = small.index.get_instance(outcome.instance)
    info = small.storage.head(row.object_key)
    assert info is not None
    assert row.object_etag == info.etag


def test_bodies_of_many_objects_are_indexed_on_the_way(small: Small) -> None:
    contents = [ct_instance(study_instance_uid=STUDY, instance_number=n) for n in range(60)]
    seen: list[int] = []

    def objects() -> Iterator[IO[bytes]]:
        for content in contents:
            seen.append(len(small.index.query_series(STUDY)))
            yield BytesIO(content)

    outcomes = small.archive.store.store(objects())
    assert reasons(list(outcomes)) == [None] * 60
    assert (seen[24], seen[25]) == (0, 1)


def test_nothing_is_acknowledged_before_it_is_durable(tmp_path: Path) -> None:
    """Neither what is put now nor what others have put under the same key."""
    small, storage = failing_archive(tmp_path)
    assert reasons(store(small, FIRST)) == [None]
    storage.sync_errors = [UnavailableError("the disk fails")] * 2
    assert set(reasons(store(small, FIRST))) == {FailureReason.PROCESSING_FAILURE}
    assert set(reasons(store(small, SECOND))) == {FailureReason.PROCESSING_FAILURE}
    assert reasons(store(small, FIRST, SECOND)) == [None, None]


def test_an_index_that_is_away_fails_what_was_written_and_loses_nothing(tmp_path: Path) -> None:
    small, storage = failing_archive(tmp_path)
    storage.head_errors = [UnavailableError("away")] * 2
    assert set(reasons(store(small, FIRST, SECOND))) == {FailureReason.PROCESSING_FAILURE}
    assert len(list(small.storage.list())) == 2
    assert reasons(store(small, FIRST, SECOND)) == [None, None]


# --- the preamble --------------------------------------------------------------------------------

PROGRAM = b"MZ" + b"\x90" * 126
TIFF = b"II*\0" + b"\x01" * 124


@pytest.fixture
def sanitising(tmp_path: Path) -> Small:
    return small_archive(tmp_path, sanitise_preamble=True)


def test_a_preamble_becomes_zeros_where_that_is_asked_for(sanitising: Small) -> None:
    (outcome,) = store(sanitising, PROGRAM + FIRST[128:])
    assert content_of(sanitising, outcome) == bytes(128) + FIRST[128:]


def test_the_preamble_of_a_tiff_stays(sanitising: Small) -> None:
    (outcome,) = store(sanitising, TIFF + FIRST[128:])
    assert content_of(sanitising, outcome) == TIFF + FIRST[128:]


def test_a_preamble_stays_where_nothing_is_asked_for(small: Small) -> None:
    (outcome,) = store(small, PROGRAM + FIRST[128:])
    assert content_of(small, outcome) == PROGRAM + FIRST[128:]


def test_an_object_without_preamble_is_not_taken_for_one(sanitising: Small) -> None:
    bare = ct_instance(study_instance_uid=STUDY, has_file_meta=False)
    (outcome,) = store(sanitising, bare)
    assert content_of(sanitising, outcome) == bare


def test_the_same_bytes_again_are_stored_whatever_became_of_the_preamble(tmp_path: Path) -> None:
    """Also where they came before preambles were sanitised."""
    hostile = PROGRAM + FIRST[128:]
    small = small_archive(tmp_path, sanitise_preamble=True)
    (row,) = small.take({"scans/1": hostile}).indexed
    assert reasons(store(small, hostile)) == [None]
    small.storage.delete("scans/1")
    small.look_at(["scans/1"])
    assert reasons(store(small, hostile, hostile, bytes(128) + FIRST[128:])) == [None] * 3
    assert small.storage.get(canonical_key(row.instance)).data == bytes(128) + FIRST[128:]
    other = (b"ZM" + bytes(126)) + OTHER_FIRST[128:]
    assert reasons(store(small, other)) == [FailureReason.DUPLICATE_SOP_INSTANCE]


def test_a_known_checksum_is_compared_instead_of_the_object(sanitising: Small) -> None:
    hostile = PROGRAM + FIRST[128:]
    (row,) = sanitising.take({"scans/1": hostile}).indexed
    info = sanitising.storage.head("scans/1")
    assert info is not None
    known = replace(info, checksum=f"sha256:{hashlib.sha256(hostile).hexdigest()}")
    sanitising.storage.head = lambda key: known  # type: ignore[method-assign]
    outcomes, calls = sanitising.ledger.of(lambda: store(sanitising, hostile))
    assert reasons(outcomes) == [None]
    assert "stream" not in {call.operation for call in calls}
    assert row.object_key == "scans/1"


def test_after_a_crash_anywhere_the_same_request_succeeds(tmp_path: Path) -> None:
    for calls in range(100):
        folder = tmp_path / str(calls)
        folder.mkdir()
        crashes = Crashes()
        small = small_archive(folder, index=crashes.around, storage=crashes.around)
        is_finished = crashes.is_finished(partial(store, small, FIRST, SECOND), calls=calls)
        outcomes = store(small, FIRST, SECOND)
        assert reasons(outcomes) == [None, None]
        assert all(each.instance and small.index.get_instance(each.instance) for each in outcomes)
        small.index.close()
        if is_finished:
            assert calls > 5
            return
    raise AssertionError("storing makes more calls than expected")
