"""What is deleted is gone from the storage area, the index and the cache, and nothing else is."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final, cast

import pytest

from dicomulus.dicom.resource import SeriesResource, canonical_key
from dicomulus.errors import (
    InstanceGoneError,
    InstanceNotFoundError,
    NotFoundError,
    ObjectChangedError,
    SeriesGoneError,
    SeriesNotFoundError,
    StudyGoneError,
    StudyNotFoundError,
    UnavailableError,
)
from dicomulus.services.cache_keys import pointed_prefix, thumbnail_prefix
from tests.support.archives import small_archive
from tests.support.crashing import Crashes
from tests.support.datasets import ct_instance

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from dicomulus.dicom.resource import InstanceResource
    from dicomulus.ports import ObjectStore
    from tests.support.archives import Small

STUDY = "1.2.3"
FIRST = ct_instance(study_instance_uid=STUDY, series_instance_uid="1.2.3.1", instance_number=1)
SECOND = ct_instance(study_instance_uid=STUDY, series_instance_uid="1.2.3.1", instance_number=2)
THIRD = ct_instance(study_instance_uid=STUDY, series_instance_uid="1.2.3.2", instance_number=3)
ELSEWHERE = ct_instance(study_instance_uid="9.9", instance_number=4)
OTHER_FIRST = ct_instance(
    study_instance_uid=STUDY,
    series_instance_uid="1.2.3.1",
    instance_number=1,
    attributes={"ImageComments": "another one"},
)
SERIES = SeriesResource(STUDY, "1.2.3.1")
NAMED: Final[Any] = {"study_instance_uid": STUDY, "series_instance_uid": "1.2.3.1"}
OTHER_SERIES = SeriesResource(STUDY, "1.2.3.2")
OBJECTS = {"1": FIRST, "2": SECOND, "deep/3": THIRD, "4": ELSEWHERE}


def filled(folder: Path, **options: Any) -> Small:
    small = small_archive(folder, **options)
    small.take(OBJECTS)
    small.compact()
    return small


@pytest.fixture
def small(tmp_path: Path) -> Small:
    return filled(tmp_path)


def keys(small: Small) -> set[str]:
    return {info.key for info in small.storage.list()}


def instances(small: Small, series: SeriesResource) -> set[str]:
    """Give the keys that the rows of a series name."""
    return {row.object_key for row in small.archive.compaction.instance_rows(series)}


def cached(small: Small, series: SeriesResource) -> set[str]:
    """Give the keys of all that is derived from a series."""
    path = f"{series.study_instance_uid}/{series.series_instance_uid}/"
    return {info.key for info in small.cache.list() if path in info.key}


def first(small: Small) -> InstanceResource:
    return small.row_of("1").instance


# --- what goes -----------------------------------------------------------------------------------


def test_a_deleted_study_leaves_objects_rows_and_cache_of_others_alone(small: Small) -> None:
    small.archive.delete.study(STUDY)
    assert keys(small) == {"4"}
    assert instances(small, SERIES) | instances(small, OTHER_SERIES) == set()
    assert cached(small, SERIES) | cached(small, OTHER_SERIES) == set()
    (info,) = (info for info in small.cache.list() if info.key.endswith(".zst"))
    assert info.key.startswith("bundles/9.9/")


def test_no_search_finds_a_deleted_study_from_then_on(small: Small) -> None:
    small.archive.delete.study(STUDY)
    study = small.index.get_studies([STUDY])[STUDY]
    assert (study.instance_count, study.search_keys) == (0, None)


def test_a_deleted_series_leaves_the_rest_of_its_study(small: Small) -> None:
    small.archive.delete.series(SERIES)
    assert keys(small) == {"deep/3", "4"}
    assert instances(small, OTHER_SERIES) == {"deep/3"}
    assert small.index.get_studies([STUDY])[STUDY].instance_count == 1


def test_a_deleted_instance_leaves_the_rest_of_its_series(small: Small) -> None:
    before = small.index.get_series(SERIES)
    small.archive.delete.instance(first(small))
    assert keys(small) == set(OBJECTS) - {"1"}
    assert instances(small, SERIES) == {"2"}
    after = small.index.get_series(SERIES)
    assert before
    assert after
    assert after.version > before.version


def test_every_object_that_holds_the_instance_goes(small: Small) -> None:
    """Otherwise the next one would take its place."""
    instance = first(small)
    small.take({"copy": FIRST, canonical_key(instance): OTHER_FIRST})
    small.archive.delete.instance(instance)
    assert keys(small) == set(OBJECTS) - {"1"}
    assert small.index.get_instance(instance) == ()


def test_pieces_and_thumbnails_go_with_the_instance_but_not_what_others_share(
    tmp_path: Path,
) -> None:
    small = filled(tmp_path, max_row_fragment_bytes=1)
    small.take({"copy": FIRST})
    (row, _) = small.index.get_instance(first(small))
    small.cache.put(thumbnail_prefix(SERIES) + "any", b"image")
    own = row.fragment.pointer
    others = {key for key in cached(small, SERIES) if key.startswith("pointed/")} - {own}
    assert own.startswith(pointed_prefix(SERIES))
    assert others
    small.storage.delete("copy")
    small.look_at(["copy"])
    small.archive.delete.instance(row.instance)
    left = cached(small, SERIES)
    assert {key for key in left if key.startswith("pointed/")} == others
    assert not any(key.startswith("thumbnails/") for key in left)


def test_a_piece_that_another_instance_shares_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Frame tables are named by their content, and are alike in a series."""
    monkeypatch.setattr("dicomulus.services.ingest._MAX_FRAME_TABLE_BYTES", 1)
    small = filled(tmp_path)
    one, other = small.row_of("1"), small.row_of("2")
    assert one.frame_table_pointer == other.frame_table_pointer != ""
    small.archive.delete.instance(one.instance)
    assert small.cache.head(other.frame_table_pointer)
    small.archive.delete.instance(other.instance)
    assert small.cache.head(other.frame_table_pointer) is None


def test_a_series_emptied_in_any_way_leaves_nothing_in_the_cache(tmp_path: Path) -> None:
    small = filled(tmp_path, max_row_fragment_bytes=1)
    small.cache.put(thumbnail_prefix(OTHER_SERIES) + "any", b"image")
    small.storage.delete("deep/3")
    small.look_at(["deep/3"])
    small.compact()
    assert cached(small, OTHER_SERIES) == set()


def test_more_objects_than_fit_a_batch_are_deleted(tmp_path: Path) -> None:
    small = small_archive(tmp_path)
    small.take(
        {
            f"{n:03}": ct_instance(
                study_instance_uid=STUDY,
                instance_number=n,
                series_instance_uid="1.2.3.1",
                has_pixels=False,
            )
            for n in range(150)
        }
    )
    small.archive.delete.series(SERIES)
    assert keys(small) == set()
    assert instances(small, SERIES) == set()


# --- again, and never ----------------------------------------------------------------------------


def test_what_is_gone_already_is_deleted_without_an_error(small: Small) -> None:
    instance = first(small)
    for _ in range(2):
        small.archive.delete.instance(instance)
    for _ in range(2):
        small.archive.delete.series(SERIES)
    small.archive.delete.instance(instance)
    for _ in range(2):
        small.archive.delete.study(STUDY)


def test_what_never_was_cannot_be_deleted(small: Small) -> None:
    stranger = small.row_of("4").instance
    small.archive.delete.instance(first(small))
    with pytest.raises(StudyNotFoundError):
        small.archive.delete.study("5.5")
    with pytest.raises(SeriesNotFoundError):
        small.archive.delete.series(SeriesResource(STUDY, "5.5"))
    with pytest.raises(InstanceNotFoundError):
        small.archive.delete.instance(type(stranger)(STUDY, "1.2.3.1", stranger.sop_instance_uid))
    assert keys(small) == set(OBJECTS) - {"1"}


def test_an_object_that_went_before_its_row_takes_that_along(small: Small) -> None:
    instance = first(small)
    small.storage.delete("1")
    small.archive.delete.instance(instance)
    assert small.index.get_instance(instance) == ()


# --- while others write --------------------------------------------------------------------------


class Meddling:
    """A store in which something happens before the next deletion."""

    def __init__(self, inner: ObjectStore) -> None:
        self._inner = inner
        self.before_delete: list[Callable[[], object]] = []
        self.stubborn: set[str] = set()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def delete(self, key: str, *, if_match: str | None = None) -> None:
        while self.before_delete:
            self.before_delete.pop()()
        if key in self.stubborn:
            raise UnavailableError("no permission")
        self._inner.delete(key, if_match=if_match)


def meddled(folder: Path) -> tuple[Small, Meddling]:
    held: list[Meddling] = []

    def around(inner: ObjectStore) -> ObjectStore:
        held.append(Meddling(inner))
        return cast("ObjectStore", held[0])

    return filled(folder, storage=around), held[0]


def test_an_object_replaced_meanwhile_is_kept_and_the_next_request_deletes_it(
    tmp_path: Path,
) -> None:
    small, storage = meddled(tmp_path)
    instance = first(small)
    storage.before_delete.append(lambda: small.storage.put("1", OTHER_FIRST))
    with pytest.raises(ObjectChangedError):
        small.archive.delete.series(SERIES)
    assert keys(small) == set(OBJECTS) - {"2"}
    (row,) = small.index.get_instance(instance)
    info = small.storage.head("1")
    assert info
    assert row.object_etag == info.etag
    small.archive.delete.series(SERIES)
    assert keys(small) == {"deep/3", "4"}


def test_an_object_that_holds_something_else_by_now_is_kept(tmp_path: Path) -> None:
    small, storage = meddled(tmp_path)
    instance = first(small)
    storage.before_delete.append(lambda: small.storage.put("1", ELSEWHERE))
    small.archive.delete.instance(instance)
    assert keys(small) == set(OBJECTS)
    assert small.index.get_instance(instance) == ()


def test_an_object_that_arrives_meanwhile_is_kept(tmp_path: Path) -> None:
    small, storage = meddled(tmp_path)
    another = ct_instance(
        study_instance_uid=STUDY, series_instance_uid="1.2.3.1", instance_number=5
    )
    storage.before_delete.append(lambda: small.take({"5": another}))
    small.archive.delete.series(SERIES)
    assert instances(small, SERIES) == {"5"}
    assert keys(small) == {"5", "deep/3", "4"}


def test_an_object_that_cannot_be_deleted_keeps_no_other(tmp_path: Path) -> None:
    small, storage = meddled(tmp_path)
    storage.stubborn.add("1")
    with pytest.raises(UnavailableError, match="no permission"):
        small.archive.delete.study(STUDY)
    assert keys(small) == {"1", "4"}
    assert instances(small, SERIES) == {"1"}


def test_a_deletion_ends_when_its_time_is_over_and_the_next_goes_on(tmp_path: Path) -> None:
    small = filled(tmp_path, delete_seconds=1)
    clock = small.clock
    original = small.archive.delete._ingest.look_at

    def slow(object_keys: Any, **named: Any) -> Any:
        clock.now_ms += 2_000
        return original(object_keys, **named)

    small.archive.delete._ingest.look_at = slow  # type: ignore[method-assign]
    with pytest.raises(UnavailableError):
        small.archive.delete.study(STUDY)
    assert keys(small) == {"deep/3", "4"}
    small.archive.delete.study(STUDY)
    assert keys(small) == {"4"}


# --- crashes -------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["study", "series", "instance"])
def test_after_a_crash_anywhere_rows_are_ahead_of_nothing_and_the_same_request_goes_on(
    tmp_path: Path, what: str
) -> None:
    for calls in range(200):
        folder = tmp_path / str(calls)
        folder.mkdir()
        crashes = Crashes()
        small = filled(
            folder,
            index=crashes.around,
            storage=crashes.around,
            max_row_fragment_bytes=1,
        )
        target = {"study": STUDY, "series": SERIES, "instance": first(small)}[what]
        delete = partial(getattr(small.archive.delete, what), target)
        is_finished = crashes.is_finished(delete, calls=calls)
        # An object that is there has its row: nothing is lost from sight.
        objects = keys(small)
        assert objects <= instances(small, SERIES) | instances(small, OTHER_SERIES) | {"4"}
        delete()
        gone = {"study": {"1", "2", "deep/3"}, "series": {"1", "2"}, "instance": {"1"}}[what]
        assert keys(small) == set(OBJECTS) - gone
        assert instances(small, SERIES) | instances(small, OTHER_SERIES) == (
            {"1", "2", "deep/3"} - gone
        )
        small.compact()
        if what != "instance":
            assert cached(small, SERIES) == set()
        small.index.close()
        if is_finished:
            assert calls > 5
            return
    raise AssertionError("deleting makes more calls than expected")


# --- what is told of it --------------------------------------------------------------------------


@pytest.mark.parametrize("is_compacted", [True, False])
def test_what_was_deleted_is_told_from_what_never_was(small: Small, is_compacted: bool) -> None:
    instance = first(small)
    for key in ("1", "2", "deep/3"):
        small.storage.delete(key)
    small.look_at(["1", "2", "deep/3"])
    if is_compacted:
        small.compact()
    archive = small.archive

    def error_of(read: Callable[[], object]) -> type[NotFoundError]:
        with pytest.raises(NotFoundError) as caught:
            read()
        return caught.type

    assert error_of(lambda: archive.retrieve.study_rows(STUDY)) is StudyGoneError
    assert error_of(lambda: archive.retrieve.series_rows(SERIES)) is SeriesGoneError
    assert error_of(lambda: archive.retrieve.instance_row(instance)) is SeriesGoneError
    assert error_of(lambda: archive.metadata.instance(instance, base_url="")) is SeriesGoneError
    never = SeriesResource(STUDY, "5.5")
    assert error_of(lambda: archive.retrieve.study_rows("5.5")) is StudyNotFoundError
    assert error_of(lambda: archive.retrieve.series_rows(never)) is SeriesNotFoundError
    assert error_of(lambda: archive.metadata.study_state("5.5")) is StudyNotFoundError
    assert error_of(lambda: archive.metadata.series_state(never)) is SeriesNotFoundError


def test_an_instance_missing_from_a_series_that_is_there_is_gone_if_it_was_deleted(
    small: Small,
) -> None:
    instance = first(small)
    small.archive.delete.instance(instance)
    with pytest.raises(InstanceGoneError):
        small.archive.retrieve.instance_row(instance)
    second = small.row_of("2").instance
    small.take({"3": ct_instance(**NAMED, instance_number=3)})
    small.storage.delete("2")
    small.look_at(["2"])
    with pytest.raises(InstanceNotFoundError):
        small.archive.retrieve.instance_row(second)


def test_an_instance_that_comes_again_is_there_again(small: Small) -> None:
    instance = first(small)
    small.archive.delete.instance(instance)
    small.take({"1": FIRST})
    assert small.archive.retrieve.instance_row(instance).object_key == "1"


def test_a_deletion_that_is_noted_is_no_object_to_anybody(small: Small) -> None:
    instance = first(small)
    small.archive.delete.instance(instance)
    assert {row.object_key for row in small.index.known_objects().items} == set(OBJECTS) - {"1"}
