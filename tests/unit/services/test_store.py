"""What is reported stored is in the storage area and in the index; everything else is told."""

from __future__ import annotations

from functools import partial
from io import BytesIO
from typing import TYPE_CHECKING, Any, cast

import pytest

from dicomulus.dicom.resource import canonical_key
from dicomulus.dicom.store_report import Failed, FailureReason, Stored
from dicomulus.errors import InvalidBodyError, InvalidResourceError, UnavailableError
from tests.support.archives import small_archive
from tests.support.crashing import Crashes
from tests.support.datasets import ct_instance

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import IO

    from dicomulus.ports import ObjectInfo, ObjectStore
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


class Failing:
    """A store that refuses to be written, or loses what was written."""

    def __init__(self, inner: ObjectStore) -> None:
        self._inner = inner
        self.errors: list[Exception] = []
        self.loses = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def put(self, key: str, body: bytes | IO[bytes], **conditions: Any) -> ObjectInfo:
        if self.errors:
            raise self.errors.pop()
        info = self._inner.put(key, body, **conditions)
        if self.loses:
            self._inner.delete(key)
        return info


def failing_archive(folder: Path) -> tuple[Small, Failing]:
    held: list[Failing] = []

    def around(inner: ObjectStore) -> ObjectStore:
        held.append(Failing(inner))
        return cast("ObjectStore", held[0])

    return small_archive(folder, storage=around), held[0]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (UnavailableError("no space"), FailureReason.PROCESSING_FAILURE),
        (InvalidResourceError("too long a name"), FailureReason.CANNOT_UNDERSTAND),
    ],
)
def test_an_object_that_cannot_be_written_fails_alone(
    tmp_path: Path, error: Exception, reason: FailureReason
) -> None:
    small, storage = failing_archive(tmp_path)
    storage.errors.append(error)
    assert reasons(store(small, FIRST, SECOND)) == [reason, None]


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
