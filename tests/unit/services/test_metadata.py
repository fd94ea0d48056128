"""A clean read of metadata costs what the design promises, and answers what the rows say."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NoReturn

import pytest

from dicomulus.dicom.resource import InstanceResource, SeriesResource
from dicomulus.errors import (
    InstanceNotFoundError,
    SeriesGoneError,
    SeriesNotFoundError,
    StudyGoneError,
    StudyNotFoundError,
    UnavailableError,
)
from dicomulus.metadata.block import ENCODINGS
from dicomulus.metadata.bundle import base_of, bundle_key, bundle_prefix, parse_bundle
from dicomulus.metadata.gzip_assembly import identity
from tests.support.archives import BASE_URL, small_archive
from tests.support.datasets import ct_instance, generated_study
from tests.support.encodings import decoded

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import Any

    from dicomulus.ports import InstanceRow
    from dicomulus.services.metadata import MetadataState
    from tests.support.archives import Small

CLEAN_READ = [("index", "get_series"), ("cache", "get")]
OTHER_URL = "https://elsewhere.example/dicom-web"


@pytest.fixture
def small(tmp_path: Path) -> Small:
    return small_archive(tmp_path)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Small, list[InstanceRow]]]:
    """An archive of a study of 4 series with 450 instances each, compacted."""
    small = small_archive(tmp_path_factory.mktemp("large"))
    objects = {each.name: each.content for each in generated_study(series=4, instances=450)}
    rows = list(small.take(objects).indexed)
    small.compact()
    yield small, rows
    small.index.close()


def read(small: Small, state: MetadataState, base_url: str = BASE_URL) -> list[dict[str, Any]]:
    blocks = small.archive.metadata.blocks(state, base_url=base_url)
    answer: list[dict[str, Any]] = json.loads(b"".join(identity(blocks)))
    return answer


def read_series(
    small: Small, series: SeriesResource, base_url: str = BASE_URL
) -> list[dict[str, Any]]:
    return read(small, small.archive.metadata.series_state(series), base_url)


def calls_of(
    small: Small, series: SeriesResource, base_url: str = BASE_URL
) -> list[tuple[str, str]]:
    _, calls = small.ledger.of(lambda: read_series(small, series, base_url))
    return [(call.port, call.operation) for call in calls]


def filled(small: Small, *, instances: int = 3) -> SeriesResource:
    numbers = range(1, instances + 1)
    report = small.take({f"{n}": ct_instance(instance_number=n) for n in numbers})
    small.compact()
    return report.indexed[0].instance.series


def bases_held(small: Small, series: SeriesResource) -> set[str]:
    return {base_of(info.key) for info in small.cache.list(bundle_prefix(series))}


def uids_of(answer: list[dict[str, Any]]) -> list[str]:
    return [each["00080018"]["Value"][0] for each in answer]


# --- what it costs -------------------------------------------------------------------------------


def test_a_clean_series_is_one_read_of_the_index_and_one_of_an_object(
    large: tuple[Small, list[InstanceRow]],
) -> None:
    small, rows = large
    for series in {row.instance.series for row in rows}:
        assert calls_of(small, series) == CLEAN_READ


def test_a_clean_study_is_one_query_and_one_object_a_series(
    large: tuple[Small, list[InstanceRow]],
) -> None:
    small, rows = large
    study = rows[0].instance.study_instance_uid
    answer, calls = small.ledger.of(lambda: read(small, small.archive.metadata.study_state(study)))
    made = [(call.port, call.operation) for call in calls]
    assert made == [("index", "query_series"), *[("cache", "get")] * 4]
    assert sorted(uids_of(answer)) == sorted(row.instance.sop_instance_uid for row in rows)


def test_instances_come_in_the_order_of_their_numbers(
    large: tuple[Small, list[InstanceRow]],
) -> None:
    small, rows = large
    answer = read_series(small, rows[0].instance.series)
    assert [each["00200013"]["Value"][0] for each in answer] == list(range(1, 451))


# --- what it answers -----------------------------------------------------------------------------


def test_before_compaction_the_answer_is_made_of_rows(small: Small) -> None:
    report = small.take({"1": ct_instance(), "2": ct_instance(instance_number=2)})
    series = report.indexed[0].instance.series
    assert uids_of(read_series(small, series)) == [
        row.instance.sop_instance_uid for row in report.indexed
    ]
    assert list(small.cache.list(bundle_prefix(series))) == []


def test_an_acknowledged_write_is_in_the_next_answer(small: Small) -> None:
    series = filled(small)
    (row,) = small.take({"late": ct_instance(instance_number=9)}).indexed
    assert row.instance.sop_instance_uid in uids_of(read_series(small, series))
    small.storage.delete("late")
    small.look_at(["late"])
    assert row.instance.sop_instance_uid not in uids_of(read_series(small, series))


def test_an_instance_of_several_objects_comes_once(small: Small) -> None:
    series = filled(small)
    small.take({"copy": ct_instance(instance_number=1)})
    assert len(read_series(small, series)) == 3


def test_the_tag_moves_with_the_version_and_the_base_url(small: Small) -> None:
    series = filled(small)
    metadata = small.archive.metadata
    before = metadata.series_state(series)
    assert before.tag(BASE_URL) == metadata.series_state(series).tag(BASE_URL)
    assert before.tag(BASE_URL) != before.tag(OTHER_URL)
    small.look_at(["1"])
    assert metadata.series_state(series).tag(BASE_URL) != before.tag(BASE_URL)


def test_the_tag_of_a_study_moves_with_each_of_its_series(small: Small) -> None:
    series = filled(small)
    study, metadata = series.study_instance_uid, small.archive.metadata
    alone = metadata.study_state(study).tag(BASE_URL)
    small.take({"new": ct_instance(series_instance_uid="1.2.3")})
    assert metadata.study_state(study).tag(BASE_URL) != alone
    small.storage.delete("new")
    small.look_at(["new"])
    small.compact()
    assert metadata.study_state(study).tag(BASE_URL) == alone
    assert len(read(small, metadata.study_state(study))) == 3


def test_one_instance_is_an_array_of_one(small: Small) -> None:
    (row,) = small.take({"1": ct_instance()}).indexed
    (answer,) = json.loads(small.archive.metadata.instance(row.instance, base_url=BASE_URL))
    assert answer["00080018"]["Value"] == [row.instance.sop_instance_uid]
    assert answer["7FE00010"]["BulkDataURI"].startswith(BASE_URL + row.instance.path)


# --- what is not there ---------------------------------------------------------------------------


def test_what_is_not_there_is_not_found(small: Small) -> None:
    metadata, series = small.archive.metadata, SeriesResource("1", "2")
    with pytest.raises(StudyNotFoundError):
        metadata.study_state("1")
    with pytest.raises(SeriesNotFoundError):
        metadata.series_state(series)
    with pytest.raises(InstanceNotFoundError):
        metadata.instance(InstanceResource("1", "2", "3"), base_url=BASE_URL)


@pytest.mark.parametrize("is_compacted", [True, False])
def test_what_was_emptied_is_gone(small: Small, is_compacted: bool) -> None:
    series = filled(small, instances=1)
    small.storage.delete("1")
    small.look_at(["1"])
    if is_compacted:
        small.compact()
    with pytest.raises(SeriesGoneError):
        read_series(small, series)
    with pytest.raises((StudyGoneError, SeriesGoneError)):
        read(small, small.archive.metadata.study_state(series.study_instance_uid))


# --- bundles -------------------------------------------------------------------------------------


def test_a_bundle_for_another_base_url_is_made_once_and_kept(small: Small) -> None:
    series = filled(small)
    first = read_series(small, series, OTHER_URL)
    assert calls_of(small, series, OTHER_URL) == CLEAN_READ
    assert read_series(small, series, OTHER_URL) == first
    assert first[0]["7FE00010"]["BulkDataURI"].startswith(OTHER_URL)


def test_a_cache_that_cannot_be_written_costs_no_answer(
    small: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    series = filled(small)

    def full(*_: object, **__: object) -> NoReturn:
        raise UnavailableError("no space left")

    monkeypatch.setattr(small.cache, "put", full)
    assert read_series(small, series, OTHER_URL) == read_series(small, series, OTHER_URL)
    assert bases_held(small, series) == {base_of(bundle_key(series, BASE_URL))}


def test_a_series_that_is_due_is_kept_for_no_other_base_url(small: Small) -> None:
    series = filled(small)
    small.look_at(["1"])
    read_series(small, series, OTHER_URL)
    assert bases_held(small, series) == {base_of(bundle_key(series, BASE_URL))}


def test_bundles_are_kept_for_so_many_base_urls_and_the_oldest_goes(tmp_path: Path) -> None:
    small = small_archive(tmp_path, max_bases=3)
    series = filled(small)
    urls = [f"http://host-{number}/dicom-web" for number in range(6)]
    for url in urls:
        read_series(small, series, url)
        assert len(bases_held(small, series)) <= 3
    assert bases_held(small, series) == {base_of(bundle_key(series, url)) for url in urls[-3:]}


def test_another_encoding_takes_no_place_of_a_base_url(tmp_path: Path) -> None:
    small = small_archive(tmp_path, max_bases=2)
    series = filled(small)
    state = small.archive.metadata.series_state(series)
    small.archive.metadata.blocks(state, base_url=OTHER_URL)
    small.archive.metadata.frame(state, base_url=OTHER_URL)
    assert {info.key for info in small.cache.list(bundle_prefix(series))} == {
        bundle_key(series, url, encoding) for url in (BASE_URL, OTHER_URL) for encoding in ENCODINGS
    }


@pytest.mark.parametrize("is_compacted", [True, False])
def test_a_frame_says_what_the_blocks_say(small: Small, is_compacted: bool) -> None:
    series = filled(small)
    if not is_compacted:
        small.take({"late": ct_instance(instance_number=9)})
    state = small.archive.metadata.series_state(series)
    frame, calls = small.ledger.of(lambda: small.archive.metadata.frame(state, base_url=BASE_URL))
    assert ([call.operation for call in calls] == ["get"]) == is_compacted
    text = decoded(frame.data, "zstd")
    assert text == b"".join(identity(small.archive.metadata.blocks(state, base_url=BASE_URL)))
    assert len(text) == frame.raw_length


def test_only_a_single_series_can_be_one_frame(small: Small) -> None:
    series = filled(small)
    metadata = small.archive.metadata
    assert metadata.study_state(series.study_instance_uid).encodings == ("zstd", "gzip")
    small.take({"new": ct_instance(series_instance_uid="1.2.3")})
    assert metadata.study_state(series.study_instance_uid).encodings == ("gzip",)


def test_what_was_emptied_is_no_frame(small: Small) -> None:
    series = filled(small, instances=1)
    small.storage.delete("1")
    small.look_at(["1"])
    state = small.archive.metadata.series_state(series)
    with pytest.raises(SeriesGoneError):
        small.archive.metadata.frame(state, base_url=BASE_URL)


@pytest.mark.parametrize("damage", [b"", b"DCMB", None])
def test_a_damaged_bundle_is_made_anew(small: Small, damage: bytes | None) -> None:
    series = filled(small)
    key, expected = bundle_key(series, BASE_URL), read_series(small, series)
    small.cache.put(key, small.cache.get(key).data[:-9] if damage is None else damage)
    assert read_series(small, series) == expected
    assert calls_of(small, series) == CLEAN_READ
    assert parse_bundle(small.cache.get(key).data).count == 3


def test_a_lost_bundle_is_made_anew(small: Small) -> None:
    series = filled(small)
    small.cache.delete(bundle_key(series, BASE_URL))
    assert len(read_series(small, series)) == 3
    assert calls_of(small, series) == CLEAN_READ


def test_a_bundle_of_another_version_is_not_given(small: Small) -> None:
    series = filled(small)
    key = bundle_key(series, BASE_URL)
    stale = small.cache.get(key).data
    small.take({"late": ct_instance(instance_number=9)})
    small.compact()
    small.cache.put(key, stale)
    assert len(read_series(small, series)) == 4
