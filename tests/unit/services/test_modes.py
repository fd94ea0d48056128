"""Metadata in its three modes: each tells exactly what it promises, whatever the rows are like."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicomulus.adapters.aws.dynamodb_index import DynamoDbIndex
from dicomulus.adapters.aws.dynamodb_table import DynamoDbTable
from dicomulus.api.routes import answer
from dicomulus.composition import compose
from dicomulus.dicom.attributes import INSTANCE_RETURN, SERIES_TAGS, STUDY_TAGS
from dicomulus.dicom.level_json import parse_json_object
from dicomulus.dicom.main_tags import BUILT_IN, INSTANCE_FURTHER, main_tags, parse_tags
from dicomulus.errors import ConfigurationError, InvalidQueryError
from dicomulus.metadata.fragment import decompress
from dicomulus.metadata.gzip_assembly import identity
from dicomulus.ports import InstanceChanges
from dicomulus.services.fragments import FragmentReader
from dicomulus.services.modes import MetadataMode, agreed
from dicomulus.services.reindex import Renewal
from dicomulus.services.row_tags import renewed
from dicomulus.wire.message import Headers, Request, parse_query
from tests.support.archives import BASE_URL, body_of, small_archive
from tests.support.aws import REGION, CrashError, crash_after, empty_table, moto_aws
from tests.support.datasets import ct_instance, generated_study
from tests.support.encodings import decoded
from tests.support.pydicom_corpus import instances_apart

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from dicomulus.ports import InstanceRow, SeriesRow
    from dicomulus.services.archive import Archive
    from dicomulus.wire.message import Response
    from tests.support.archives import Small
    from tests.support.aws import MotoAws

FULL, MAIN, EXTRAPOLATE = MetadataMode
_Answer = list[dict[str, Any]]


@pytest.fixture(scope="module")
def aws() -> Iterator[MotoAws]:
    with moto_aws() as aws:
        yield aws


@pytest.fixture(params=["sqlite", "dynamodb"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[..., Small]:
    if request.param == "sqlite":
        return partial(small_archive, tmp_path)
    played: MotoAws = request.getfixturevalue("aws")
    empty_table(played)
    table = DynamoDbTable(played.table_name, region=REGION)
    index = DynamoDbIndex(table, search_shards=2)
    return partial(small_archive, tmp_path, index=lambda _: index)


def in_dynamodb(aws: MotoAws, folder: Path) -> tuple[Small, Any]:
    """Give an archive in an empty table, and the client that all its requests go through."""
    empty_table(aws)
    table = DynamoDbTable(aws.table_name, region=REGION)
    index = DynamoDbIndex(table, search_shards=2, parallel=1)
    return small_archive(folder, index=lambda _: index), table.client


def under(small: Small, **settings: Any) -> Archive:
    """Give the same archive under other settings, as a restart with them would."""
    archive = small.archive
    return compose(
        replace(archive.settings, **settings),
        index=archive.index,
        storage=archive.storage,
        cache=archive.cache,
        queue=archive.queue,
        clock=small.clock,
    )


def compact(archive: Archive) -> None:
    archive.compaction.compact(archive.index.overdue_series(2**53))


def read_study(archive: Archive, study: str, mode: MetadataMode) -> _Answer:
    view = archive.modes.study_view(mode)
    state = archive.metadata.study_state(study)
    blocks = archive.modes.blocks(state, base_url=BASE_URL, view=view)
    answer: _Answer = json.loads(b"".join(identity(blocks)))
    return answer


def read_series(archive: Archive, row: SeriesRow, mode: MetadataMode) -> _Answer:
    view = archive.modes.series_view(mode)
    state = archive.metadata.series_state(row.series)
    text = b"".join(identity(archive.modes.blocks(state, base_url=BASE_URL, view=view)))
    frame = archive.modes.frame(state, base_url=BASE_URL, view=view)
    assert decoded(frame.data, "zstd") == text
    answer: _Answer = json.loads(text)
    return answer


def all_series(archive: Archive) -> list[SeriesRow]:
    return sorted(archive.reindex.series(), key=lambda row: row.series)


def has_bulk_data(element: Any) -> bool:
    return "BulkDataURI" in json.dumps(element)


def restricted(full: _Answer, tags: frozenset[str]) -> _Answer:
    return [
        {tag: each[tag] for tag in each if tag in tags and not has_bulk_data(each[tag])}
        for each in full
    ]


def assert_exact(archive: Archive, tags: frozenset[str] = BUILT_IN.all) -> None:
    """MainDicomTags is Full, restricted to the main tags."""
    rows = all_series(archive)
    assert rows
    for row in rows:
        full = read_series(archive, row, FULL)
        assert read_series(archive, row, MAIN) == restricted(full, tags)


def different() -> dict[str, bytes]:
    """Instances of one series that contradict each other, or say less than they should."""
    return {
        "ordinary": ct_instance(instance_number=1),
        "other patient": ct_instance(instance_number=2, patient_name="Roe^Richard"),
        "other series": ct_instance(
            instance_number=3, attributes={"Modality": "MR", "SeriesTime": "101112.5"}
        ),
        "empty": ct_instance(
            instance_number=4,
            has_file_meta=False,
            attributes={"Modality": "", "SOPClassUID": "", "Rows": None, "PatientWeight": "70.50"},
        ),
        "absent": ct_instance(
            instance_number=5, omit=("InstanceNumber", "Modality", "SeriesNumber", "PatientName")
        ),
        "long": ct_instance(
            instance_number=6,
            attributes={"ImageComments": "long " * 1_500, "PatientComments": "long " * 1_500},
        ),
    }


# --- main tags -----------------------------------------------------------------------------------


def test_of_contradicting_instances_each_tells_what_it_has(make: Callable[..., Small]) -> None:
    small = make()
    small.take(different())
    assert_exact(small.archive)
    compact(small.archive)
    assert_exact(small.archive)


def test_of_instances_in_files_of_all_kinds_each_tells_what_it_has(tmp_path: Path) -> None:
    small = small_archive(tmp_path)
    small.take(instances_apart())
    assert_exact(small.archive)
    small.compact()
    assert_exact(small.archive)


def test_of_a_generated_study_each_instance_tells_what_it_has(tmp_path: Path) -> None:
    tags: dict[str, Any] = {
        "main_series_tags": ("KVP",),
        "main_instance_tags": ("SliceLocation", "ImageType"),
    }
    small = small_archive(tmp_path, **tags)
    small.take({each.name: each.content for each in generated_study(series=2, instances=20)})
    small.compact()
    assert_exact(small.archive, BUILT_IN.all | parse_tags(("KVP", "SliceLocation", "ImageType")))


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Small:
    """An archive of a study of 4 series with 450 instances each, compacted."""
    small = small_archive(tmp_path_factory.mktemp("large"))
    small.take({each.name: each.content for each in generated_study(series=4, instances=450)})
    small.compact()
    return small


class CountedReader(FragmentReader):
    """Counts the fragments that are inflated."""

    count = 0

    def text(self, row: InstanceRow) -> bytes:
        CountedReader.count += 1
        return super().text(row)


@pytest.fixture
def inflated(monkeypatch: pytest.MonkeyPatch) -> type[CountedReader]:
    CountedReader.count = 0
    monkeypatch.setattr("dicomulus.composition.FragmentReader", CountedReader)
    return CountedReader


LARGE_READS = [("index", "query_series"), *[("index", "query_instances")] * 4]


@pytest.mark.parametrize(("mode", "fragments"), [(MAIN, 0), (EXTRAPOLATE, 3)])
def test_a_large_study_is_reads_of_the_index_alone(
    large: Small, inflated: type[CountedReader], mode: MetadataMode, fragments: int
) -> None:
    archive = under(large)
    study = all_series(archive)[0].series.study_instance_uid
    answer, calls = large.ledger.of(lambda: read_study(archive, study, mode))
    assert len(answer) == 1_800
    assert inflated.count == fragments
    made = [(call.port, call.operation) for call in calls]
    assert [each for each in made if each != ("index", "query_dictionaries")] == LARGE_READS


# --- lists ---------------------------------------------------------------------------------------


def test_an_attribute_named_at_two_levels_belongs_to_the_upper_one() -> None:
    tags = main_tags(["KVP"], ["KVP", "00180060"], instance=["PatientName", "KVP"])
    assert "00180060" in tags.study
    assert "00180060" not in tags.series | tags.instance
    assert "00100010" not in tags.instance


def test_lists_take_nothing_from_what_searches_answer(tmp_path: Path) -> None:
    """TimezoneOffsetFromUTC is returned of studies, series and instances."""
    small = small_archive(tmp_path, main_study_tags=("Modality",), main_instance_tags=("KVP",))
    attributes = {"TimezoneOffsetFromUTC": "+0100"}
    (row,) = small.take({"1": ct_instance(attributes=attributes)}).indexed
    compact(small.archive)
    (series,) = all_series(small.archive)
    studies = small.archive.index.get_studies([series.series.study_instance_uid])
    (study,) = studies.values()
    for text in (row.attributes, series.answer, study.answer):
        assert parse_json_object(text)["00080201"]["Value"] == ["+0100"]
    assert parse_json_object(series.answer)["00080060"]["Value"] == ["CT"]
    assert_exact(small.archive)


def test_lists_have_different_names_exactly_when_they_differ() -> None:
    assert main_tags(series=["KVP", "Rows"]) == main_tags(series=["rows".title(), "00180060"])
    names = {
        tags.name
        for tags in (
            BUILT_IN,
            main_tags(["KVP"]),
            main_tags(instance=["KVP"]),
            main_tags(["Exposure"]),
        )
    }
    assert len(names) == 4


@pytest.mark.parametrize("name", ["Nonsense", "0018006", "0018,0060", "PixelData", "00020010"])
def test_what_no_row_could_hold_is_no_main_tag(name: str) -> None:
    with pytest.raises(ConfigurationError, match=name):
        parse_tags([name])


def test_built_in_lists_have_all_that_searches_return_of_objects() -> None:
    computed = {"00080056", "00080061", "00081190", "00083002"}
    assert STUDY_TAGS | SERIES_TAGS | frozenset(INSTANCE_RETURN) - computed <= BUILT_IN.all
    assert BUILT_IN.instance >= INSTANCE_FURTHER


# --- extrapolated --------------------------------------------------------------------------------

SAMPLES = st.lists(
    st.dictionaries(st.sampled_from("AB"), st.sampled_from(["1", "2"]), max_size=2), max_size=3
)


@given(samples=SAMPLES)
def test_a_value_is_told_exactly_if_more_than_half_have_it(samples: list[dict[str, str]]) -> None:
    found = agreed(samples, "AB")
    for tag in "AB":
        for value in "12":
            having = sum(each.get(tag) == value for each in samples)
            assert (found.get(tag) == value) == (2 * having > len(samples))


def test_listed_attributes_come_from_the_majority_and_main_tags_from_each(
    make: Callable[..., Small],
) -> None:
    small = make(series_extrapolated_tags=("SliceThickness", "KVP", "Rows", "RescaleSlope"))
    for number, (thickness, kvp) in enumerate([("1.50", "100"), ("1.50", "120"), ("2", "80")], 1):
        attributes = {"SliceThickness": thickness, "KVP": kvp, "RescaleSlope": "1"}
        rows = 16 if number < 3 else 8
        small.take(
            {f"{number}": ct_instance(instance_number=number, rows=rows, attributes=attributes)}
        )
    (row,) = all_series(small.archive)
    main = read_series(small.archive, row, MAIN)
    added = {
        "00180050": {"vr": "DS", "Value": [1.5]},
        "00281053": {"vr": "DS", "Value": [1]},
    }
    assert read_series(small.archive, row, EXTRAPOLATE) == [each | added for each in main]
    assert [each["00280010"]["Value"] for each in main] == [[16], [16], [8]]


def test_the_sample_depends_on_the_set_of_instances_alone(tmp_path: Path) -> None:
    objects = {
        f"{number}": ct_instance(instance_number=number, attributes={"KVP": str(number // 3)})
        for number in range(12)
    }
    answers = []
    for name, keys in (("up", sorted(objects)), ("down", sorted(objects, reverse=True))):
        (tmp_path / name).mkdir()
        small = small_archive(tmp_path / name, studies_extrapolated_tags=("KVP",))
        for key in keys:
            small.take({key: objects[key]})
        (row,) = all_series(small.archive)
        answers.append(read_study(small.archive, row.series.study_instance_uid, EXTRAPOLATE))
    assert answers[0] == answers[1]


# --- changed lists -------------------------------------------------------------------------------

MORE: dict[str, Any] = {
    "main_study_tags": ("00321060", "SoftwareVersions"),
    "main_series_tags": ("KVP", "ConvolutionKernel"),
    "main_instance_tags": ("ImageType", "SliceLocation", "PixelSpacing", "RescaleIntercept"),
}
TAGS = main_tags(
    MORE["main_study_tags"], MORE["main_series_tags"], instance=MORE["main_instance_tags"]
)
MORE_TAGS = BUILT_IN.all | parse_tags(name for names in MORE.values() for name in names)


def decompressed(small: Small, row: InstanceRow) -> bytes:
    (dictionary,) = small.archive.index.query_dictionaries(row.instance.series)
    return decompress(row.fragment, row.fragment.data, dictionary.content)


def with_more() -> dict[str, bytes]:
    kernels = {"ordinary": "B30", "other patient": "B60"}
    return different() | {
        f"kernel {kernel}": ct_instance(
            instance_number=10 + number,
            attributes={"ConvolutionKernel": kernel, "KVP": "100", "SliceLocation": "1.50"},
        )
        for number, kernel in enumerate(kernels.values())
    }


def test_under_new_lists_answers_are_exact_at_once_and_after_reindexing(
    make: Callable[..., Small],
) -> None:
    small = make()
    small.take(with_more())
    compact(small.archive)
    later = under(small, **MORE)
    assert_exact(later, MORE_TAGS)
    compact(later)
    small.storage.delete("other series")
    later.ingest.look_at(["other series", "other patient"])
    assert_exact(later, MORE_TAGS)
    for row in all_series(later):
        assert later.reindex.renew(row).moved
    assert_exact(later, MORE_TAGS)
    compact(later)
    assert_exact(later, MORE_TAGS)
    assert_exact(under(small))


def test_reindexing_reads_no_object_and_leaves_what_is_done(make: Callable[..., Small]) -> None:
    small = make()
    small.take({f"{n}": ct_instance(instance_number=n) for n in range(1, 6)})
    compact(small.archive)
    later = under(small, **MORE)

    def reindex() -> list[Renewal]:
        return [later.reindex.renew(row) for row in all_series(later)]

    (first,), calls = small.ledger.of(reindex)
    assert (first.rows, first.missing, first.is_due) == (5, 0, True)
    assert {call.port for call in calls} == {"index"}
    compact(later)
    (again,), calls = small.ledger.of(reindex)
    assert again == Renewal()
    assert "commit" not in {call.operation for call in calls}


def test_after_reindexing_no_fragment_is_inflated(
    tmp_path: Path, inflated: type[CountedReader]
) -> None:
    small = small_archive(tmp_path)
    small.take({f"{n}": ct_instance(instance_number=n) for n in range(1, 6)})
    later = under(small, **MORE)
    (row,) = all_series(later)
    later.reindex.renew(row)
    compact(later)
    inflated.count = 0
    assert len(read_series(later, row, MAIN)) == 5
    assert inflated.count == 0


def test_a_run_cut_off_before_the_series_was_folded_is_finished_by_the_next(
    make: Callable[..., Small],
) -> None:
    small = make()
    small.take({f"{n}": ct_instance(instance_number=n) for n in range(1, 4)})
    compact(small.archive)
    later = under(small, **MORE)
    (row,) = all_series(later)
    rows = later.index.query_instances(row.series).items
    texts = [decompressed(small, each) for each in rows]
    news = [renewed(each, text, TAGS) for each, text in zip(rows, texts, strict=True)]
    later.index.commit(InstanceChanges(renewed=news), now_ms=small.clock(), due_ms=small.clock())
    done = later.reindex.renew(row)
    assert (done.rows, done.moved, done.is_due) == (0, True, True)


def test_wherever_a_run_is_cut_off_answers_stay_exact_and_the_next_run_finishes_it(
    aws: MotoAws, tmp_path: Path
) -> None:
    small, client = in_dynamodb(aws, tmp_path)
    small.take(
        {f"{n}": ct_instance(instance_number=n, attributes={"KVP": "100"}) for n in range(1, 4)}
    )
    compact(small.archive)
    for requests in range(20):
        unheard_of = f"0019{requests:04X}"
        names = ("KVP", unheard_of)
        later = under(small, main_series_tags=names)
        tags = BUILT_IN.all | parse_tags(names)
        (row,) = all_series(later)
        try:
            with crash_after(requests, client):
                later.reindex.renew(row)
        except CrashError:
            finished = False
        else:
            finished = True
        assert_exact(later, tags)
        (row,) = all_series(later)
        later.reindex.renew(row)
        compact(later)
        assert_exact(later, tags)
        (row,) = all_series(later)
        rows = later.index.query_instances(row.series).items
        assert {each.main_tags for each in rows} == {main_tags(series=names).name}
        assert row.main_tags == rows[0].main_tags
        assert b'"00180060"' in row.attributes
        if finished:
            return
    pytest.fail("renewing three rows never ended")


def test_a_row_whose_object_changed_meanwhile_is_left_alone(make: Callable[..., Small]) -> None:
    small = make()
    small.take({"1": ct_instance(instance_number=1)})
    later = under(small, **MORE)
    (row,) = all_series(later)
    (old,) = later.index.query_instances(row.series).items
    stale = renewed(old, decompressed(small, old), TAGS)
    small.take({"1": ct_instance(instance_number=1, attributes={"ImageType": ["DERIVED"]})})
    (newer,) = later.index.query_instances(row.series).items
    later.index.commit(
        InstanceChanges(renewed=[stale], touched={row.series: None}), now_ms=1, due_ms=2
    )
    assert later.index.query_instances(row.series).items == (newer,)


def test_a_row_whose_fragment_is_gone_is_counted_and_its_object_looked_at(tmp_path: Path) -> None:
    small = small_archive(tmp_path, max_row_fragment_bytes=1)
    small.take({f"{n}": ct_instance(instance_number=n) for n in range(1, 4)})
    pointed = next(info.key for info in small.cache.list("pointed/"))
    small.cache.delete(pointed)
    later = under(small, **MORE)
    (row,) = all_series(later)
    done = later.reindex.renew(row)
    assert (done.rows, done.missing) == (2, 1)
    assert len(small.queue.looks) == 1


def test_extra_main_tags_can_be_included_in_searches(tmp_path: Path) -> None:
    small = small_archive(tmp_path, main_series_tags=("KVP",))
    small.take({"1": ct_instance(attributes={"KVP": "100"})})
    (row,) = all_series(small.archive)
    assert json.loads(row.attributes)["00180060"] == {"vr": "DS", "Value": [100]}


# --- over HTTP -----------------------------------------------------------------------------------


def ask(archive: Archive, path: str, query: str = "", **headers: str) -> Response:
    lines = Headers.of({name.replace("_", "-"): value for name, value in headers.items()})
    request = Request("GET", f"/dicom-web{path}", parse_query(query), lines, base_url=BASE_URL)
    return answer(archive, request)


@pytest.fixture
def served(tmp_path: Path) -> tuple[Small, str]:
    small = small_archive(tmp_path)
    small.take({f"{n}": ct_instance(instance_number=n) for n in range(1, 3)})
    (row,) = all_series(small.archive)
    return small, row.series.path


def keys(response: Response) -> list[set[str]]:
    assert response.status == 200
    return [set(each) for each in json.loads(body_of(response))]


def test_the_mode_is_that_of_the_request_before_that_of_the_setting(
    served: tuple[Small, str],
) -> None:
    small, series = served
    study = series.partition("/series")[0]
    main = under(small, series_metadata="main-dicom-tags")
    told = {
        query: keys(ask(main, f"{series}/metadata", query))
        for query in ("", "mode=full", "mode=MAINDICOMTAGS", "mode=Extrapolate")
    }
    assert told[""] == told["mode=MAINDICOMTAGS"]
    assert told["mode=full"] == keys(ask(small.archive, f"{series}/metadata"))
    assert told[""][0] < told["mode=Extrapolate"][0] < told["mode=full"][0]
    assert keys(ask(main, f"{study}/metadata")) == told["mode=full"]
    assert keys(ask(main, f"{study}/metadata", "mode=MainDicomTags")) == told[""]


@pytest.mark.parametrize("query", ["mode=Half", "mode=", "mode=Full&mode=Extrapolate"])
def test_an_unknown_mode_is_refused_by_name(served: tuple[Small, str], query: str) -> None:
    small, series = served
    for path in (series, series.partition("/series")[0]):
        with pytest.raises(InvalidQueryError, match=r"^mode: "):
            ask(small.archive, f"{path}/metadata", query)


def test_every_mode_and_list_has_an_entity_tag_of_its_own(served: tuple[Small, str]) -> None:
    small, series = served
    archives = [
        under(small),
        under(small, main_series_tags=("KVP",)),
        under(small, series_extrapolated_tags=("KVP",)),
    ]
    seen = {
        (number, mode): ask(archive, f"{series}/metadata", f"mode={mode}").header("ETag")
        for number, archive in enumerate(archives)
        for mode in ("Full", "MainDicomTags", "Extrapolate")
    }
    assert len({seen[number, "Full"] for number in range(3)}) == 1
    assert len({seen[number, "MainDicomTags"] for number in range(3)}) == 2
    assert len({seen[number, "Extrapolate"] for number in range(3)}) == 3
    assert len(set(seen.values())) == 6
    for (number, mode), etag in seen.items():
        assert etag is not None
        path = f"{series}/metadata"
        again = ask(archives[number], path, f"mode={mode}", If_None_Match=etag)
        assert again.status == 304


def test_metadata_of_one_instance_is_always_full(served: tuple[Small, str]) -> None:
    small, series = served
    (first, _) = json.loads(body_of(ask(small.archive, f"{series}/metadata")))
    path = f"{series}/instances/{first['00080018']['Value'][0]}/metadata"
    main = under(small, series_metadata="main-dicom-tags")
    assert json.loads(body_of(ask(main, path, "mode=MainDicomTags"))) == [first]
