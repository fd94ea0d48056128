"""Compaction publishes what the rows say, or leaves the series due."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, cast

import pytest

from dicomulus.composition import compose
from dicomulus.dicom.main_tags import BUILT_IN
from dicomulus.errors import DerivedDataMissingError, UnavailableError
from dicomulus.metadata.block import ENCODINGS
from dicomulus.metadata.bundle import bundle_key, bundle_prefix, parse_bundle
from dicomulus.services.compaction import Compaction
from dicomulus.services.fragments import FragmentReader
from dicomulus.settings import Settings
from tests.support.archives import BASE_URL, small_archive
from tests.support.builders import series_of
from tests.support.crashing import Crashes
from tests.support.datasets import ct_instance

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from dicomulus.dicom.resource import SeriesResource
    from dicomulus.metadata.bundle import Bundle
    from dicomulus.ports import Index, InstanceRow, SeriesRow
    from dicomulus.services.fragments import InstanceText
    from tests.support.archives import Small

OTHER_URL = "https://elsewhere.example/dicom-web"


@pytest.fixture
def small(tmp_path: Path) -> Small:
    return small_archive(tmp_path)


def filled(small: Small, patient_id: str = "P1", *, instances: int = 3) -> SeriesResource:
    """Index a series; give it."""
    numbers = range(1, instances + 1)
    report = small.take(
        {
            f"{patient_id}/{n}": ct_instance(patient_id=patient_id, instance_number=n)
            for n in numbers
        }
    )
    return report.indexed[0].instance.series


def bundles(small: Small, series: SeriesResource) -> dict[str, Bundle]:
    infos = small.cache.list(bundle_prefix(series))
    read = [parse_bundle(small.cache.get(info.key).data) for info in infos]
    held = {bundle.base_url: bundle for bundle in read}
    assert len(read) == len(held) * len(ENCODINGS)
    return held


def row_of(small: Small, series: SeriesResource) -> SeriesRow:
    row = small.index.get_series(series)
    assert row is not None
    return row


def is_settled(small: Small, series: SeriesResource) -> bool:
    row, held = row_of(small, series), bundles(small, series)
    tagged = all(bundle.version == row.version for bundle in held.values())
    return row.compact_due_ms is None and row.folded_version == row.version and tagged


def test_a_compacted_series_has_a_bundle_of_its_version(small: Small) -> None:
    series = filled(small)
    small.archive.compaction.compact([series])
    assert bundles(small, series)[BASE_URL].count == 3
    assert is_settled(small, series)


def test_every_base_url_kept_gets_its_bundle_anew(small: Small) -> None:
    series = filled(small)
    small.compact()
    state = small.archive.metadata.series_state(series)
    small.archive.metadata.blocks(state, base_url=OTHER_URL)
    small.take({"P1/4": ct_instance(patient_id="P1", instance_number=4)})
    small.compact()
    assert {url: each.count for url, each in bundles(small, series).items()} == {
        BASE_URL: 4,
        OTHER_URL: 4,
    }


def test_no_more_base_urls_are_published_for_than_are_kept(tmp_path: Path) -> None:
    """A server started on one port after the other leaves a default base URL each time."""
    small = small_archive(tmp_path, max_bases=2)
    series = filled(small)
    small.compact()
    for port in (1, 2, 3):
        settings = Settings(public_base_url=f"http://127.0.0.1:{port}/dicom-web", max_bases=2)
        archive = compose(
            settings,
            index=small.index,
            storage=small.storage,
            cache=small.cache,
            queue=small.queue,
            clock=small.clock,
        )
        archive.compaction.compact([series])
        assert settings.public_base_url in bundles(small, series)
    assert len(bundles(small, series)) == 2


def test_without_a_known_base_url_none_is_made_for(tmp_path: Path) -> None:
    small = small_archive(tmp_path, public_base_url="", table_name="archive")
    series = filled(small)
    small.compact()
    assert bundles(small, series) == {}
    assert is_settled(small, series)


def test_a_bundle_whose_instances_are_the_same_is_not_compressed_again(small: Small) -> None:
    series = filled(small)
    small.compact()
    before = bundles(small, series)[BASE_URL]
    small.look_at(["P1/1"])
    fragments = FragmentReader(small.index, small.cache, queue=small.queue)
    read: list[InstanceRow] = []
    compaction = Compaction(
        small.index,
        small.cache,
        tags=BUILT_IN,
        fragments=cast("FragmentReader", Recording(fragments, read)),
        default_base_url=BASE_URL,
        max_bases=4,
        stable_age_seconds=60,
        clock_ms=small.clock,
    )
    compaction.compact([series])
    after = bundles(small, series)[BASE_URL]
    assert after.block == before.block
    assert after.version > before.version
    # The fold reads one of the instances, which all say the same of their series.
    assert len(read) == 1


class Recording:
    """Writes down whose JSON is read."""

    def __init__(self, inner: FragmentReader, rows: list[InstanceRow]) -> None:
        self._inner = inner
        self._rows = rows

    def read(self, row: InstanceRow) -> InstanceText:
        self._rows.append(row)
        return self._inner.read(row)

    def text(self, row: InstanceRow) -> bytes:
        return self.read(row).text


def test_an_emptied_series_loses_its_bundles(small: Small) -> None:
    series = filled(small, instances=1)
    small.compact()
    small.storage.delete("P1/1")
    small.look_at(["P1/1"])
    small.compact()
    assert bundles(small, series) == {}
    assert (row_of(small, series).instance_count, is_settled(small, series)) == (0, True)
    study = series.study_instance_uid
    assert small.index.get_studies([study])[study].search_keys is None


@pytest.mark.parametrize("content", [b"", b"DCMB", b"something else"])
def test_what_is_no_bundle_is_replaced_or_removed(small: Small, content: bytes) -> None:
    series = filled(small)
    for encoding in ENCODINGS:
        small.cache.put(bundle_key(series, BASE_URL, encoding), content)
        small.cache.put(bundle_key(series, OTHER_URL, encoding), content)
    small.compact()
    assert list(bundles(small, series)) == [BASE_URL]
    assert is_settled(small, series)


def test_a_series_nobody_knows_is_no_error(small: Small) -> None:
    small.archive.compaction.compact([series_of()])
    assert small.index.get_series(series_of()) is None
    assert list(small.cache.list()) == []


# --- writes in between ---------------------------------------------------------------------------


class Overtaking:
    """An index in which something is written before a fold."""

    def __init__(self, inner: Index) -> None:
        self._inner = inner
        self.before_fold: Callable[[], None] = lambda: None
        self.before_settle: Callable[[], None] = lambda: None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def fold_series(self, row: SeriesRow) -> bool:
        self.before_fold()
        return self._inner.fold_series(row)

    def settle_series(self, series: SeriesResource, version: int, **more: Any) -> bool:
        self.before_settle()
        return self._inner.settle_series(series, version, **more)


def overtaken_archive(folder: Path) -> tuple[Small, Overtaking]:
    held: list[Overtaking] = []

    def around(index: Index) -> Index:
        held.append(Overtaking(index))
        return cast("Index", held[0])

    return small_archive(folder, index=around), held[0]


@pytest.mark.parametrize("when", ["before_fold", "before_settle"])
def test_a_write_in_between_is_in_the_bundle(tmp_path: Path, when: str) -> None:
    small, index = overtaken_archive(tmp_path)
    series = filled(small)

    def write_once() -> None:
        setattr(index, when, lambda: None)
        small.take({"late": ct_instance(patient_id="P1", instance_number=9)})

    setattr(index, when, write_once)
    small.archive.compaction.compact([series])
    assert bundles(small, series)[BASE_URL].count == 4
    assert is_settled(small, series)


@pytest.mark.parametrize("when", ["before_fold", "before_settle"])
def test_writes_without_end_leave_the_series_due(tmp_path: Path, when: str) -> None:
    small, index = overtaken_archive(tmp_path)
    series = filled(small)
    setattr(index, when, lambda: small.look_at(["P1/1"]))
    with pytest.raises(UnavailableError):
        small.archive.compaction.compact([series])
    assert row_of(small, series).compact_due_ms is not None


def test_a_bundle_published_by_somebody_else_is_not_overwritten_unseen(tmp_path: Path) -> None:
    small, index = overtaken_archive(tmp_path)
    series = filled(small)

    def compact_too() -> None:
        index.before_fold = lambda: None
        small.take({"late": ct_instance(patient_id="P1", instance_number=9)})
        small.archive.compaction.compact([series])

    index.before_fold = compact_too
    small.archive.compaction.compact([series])
    assert bundles(small, series)[BASE_URL].count == 4
    assert is_settled(small, series)


# --- what is missing -----------------------------------------------------------------------------


def lose_fragments(small: Small, rows: tuple[InstanceRow, ...]) -> None:
    for row in rows:
        small.cache.delete(row.fragment.pointer)


def test_a_missing_fragment_leaves_the_series_due_and_its_object_looked_at(tmp_path: Path) -> None:
    small = small_archive(tmp_path, max_row_fragment_bytes=1)
    series = filled(small)
    lose_fragments(small, small.index.query_instances(series).items)
    with pytest.raises(DerivedDataMissingError):
        small.archive.compaction.compact([series])
    assert row_of(small, series).compact_due_ms is not None
    assert small.queue.looks
    small.look_at(["P1/1", "P1/2", "P1/3"])
    small.compact()
    assert is_settled(small, series)


def test_a_series_that_cannot_be_compacted_stops_no_other(tmp_path: Path) -> None:
    small = small_archive(tmp_path, max_row_fragment_bytes=1)
    all_series = sorted([filled(small, "P1"), filled(small, "P2"), filled(small, "P3")])
    first, *others = all_series
    lose_fragments(small, small.index.query_instances(first).items)
    with pytest.raises(DerivedDataMissingError):
        small.archive.compaction.compact(all_series)
    assert all(is_settled(small, each) for each in others)


def test_a_study_is_folded_although_one_of_its_series_cannot_be(tmp_path: Path) -> None:
    small = small_archive(tmp_path, max_row_fragment_bytes=1)
    uids = ["1.2.3.1", "1.2.3.2"]
    report = small.take({uid: ct_instance(series_instance_uid=uid) for uid in uids})
    lose_fragments(small, report.indexed[:1])
    with pytest.raises(DerivedDataMissingError):
        small.archive.compaction.compact([row.instance.series for row in report.indexed])
    study = report.indexed[0].instance.study_instance_uid
    assert small.index.get_studies([study])[study].series_count == 2


def test_an_interrupted_compaction_leaves_the_series_due(tmp_path: Path) -> None:
    for calls in range(100):
        folder = tmp_path / str(calls)
        folder.mkdir()
        crashes = Crashes()
        small = small_archive(folder, index=crashes.around)
        series = filled(small)
        compact = partial(small.archive.compaction.compact, [series])
        is_finished = crashes.is_finished(compact, calls=calls)
        assert is_finished or row_of(small, series).compact_due_ms is not None
        small.compact()
        assert is_settled(small, series)
        small.index.close()
        if is_finished:
            assert calls > 4
            return
    raise AssertionError("the compaction makes more calls than expected")
