"""Pages of a search: next links, budgets, orders, counts, and searches across studies."""

from __future__ import annotations

from contextlib import ExitStack, closing
from typing import TYPE_CHECKING, Any

import pytest

from dicomulus.adapters.ledger import Ledger
from dicomulus.adapters.local.sqlite_index import SqliteIndex
from dicomulus.dicom.query import (
    ALL_INSTANCES,
    ALL_SERIES,
    PATIENTS,
    SERIES_INSTANCES,
    STUDIES,
    STUDY_INSTANCES,
    STUDY_SERIES,
)
from dicomulus.errors import InvalidQueryError, SearchTooBroadError
from dicomulus.services import patient_search, search_order
from dicomulus.services.search import EVERYTHING, Within
from dicomulus.services.search_meter import SearchLimits
from dicomulus.services.search_token import format_token
from tests.support.builders import putting
from tests.support.lagging_index import LaggingShards
from tests.support.search_archive import (
    SERIES_UID,
    SOP_UID,
    STUDY_UID,
    add_series,
    add_study,
    elements,
    parsed,
    query_of,
    row_of,
    search_of,
    studies,
    uids,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from dicomulus.dicom.query import SearchResource
    from dicomulus.services.search import ResultPage, Search

PATIENT_ID = "00100020"


@pytest.fixture
def index(tmp_path: Path) -> Iterator[SqliteIndex]:
    with closing(SqliteIndex(tmp_path / "index.sqlite")) as index:
        yield index


STUDIES_OF_CLINIC: list[tuple[str | None, str | None, list[str | None]]] = [
    ("P2", "20240105", ["CT", "MR"]),
    ("P1", "20240104", ["CT"]),
    ("P2", "20240103", ["US"]),
    ("P3", None, ["MR"]),
    (None, "20240101", ["CT"]),
    ("P1", "20240102", ["MR", "CT"]),
    ("P4", "20240106", [None]),
]
"""PatientID, StudyDate and the Modality of each series."""


@pytest.fixture
def clinic(index: SqliteIndex) -> SqliteIndex:
    """Four patients, seven studies, some of two series."""
    for study, (patient, date, modalities) in enumerate(STUDIES_OF_CLINIC, start=1):
        for series, modality in enumerate(modalities, start=1):
            add_series(
                index,
                study,
                series,
                PatientID=patient,
                StudyDate=date,
                Modality=modality,
                SeriesNumber=3 - series,
                InstanceNumber=1,
                SOPClassUID=f"1.2.840.{modality == 'CT':d}",
                StudyDescription=f"Study {study % 3}",
            )
    return index


def follow(
    search: Search,
    resource: SearchResource = STUDIES,
    within: Within = EVERYTHING,
    /,
    *,
    between: Callable[[], None] = lambda: None,
    **parameters: str,
) -> list[ResultPage]:
    """Get all pages along the next links; ``between`` is done before each but the first."""
    pages = [search.find(query_of(resource, **parameters), within)]
    while pages[-1].next:
        between()
        following = parameters | {"page": pages[-1].next}
        following.pop("offset", None)
        pages.append(search.find(query_of(resource, **following), within))
    return pages


def found(pages: list[ResultPage], tag: str = STUDY_UID) -> list[str]:
    return [uid for page in pages for uid in uids(page, tag)]


# --- next links -----------------------------------------------------------------------------------

RESOURCES: list[tuple[SearchResource, Within, str]] = [
    (STUDIES, EVERYTHING, STUDY_UID),
    (STUDIES, Within(patient_id="P2"), STUDY_UID),
    (PATIENTS, EVERYTHING, PATIENT_ID),
    (ALL_SERIES, EVERYTHING, SERIES_UID),
    (STUDY_SERIES, Within(study_instance_uid="1.2.1"), SERIES_UID),
    (ALL_INSTANCES, EVERYTHING, SOP_UID),
    (STUDY_INSTANCES, Within(study_instance_uid="1.2.1"), SOP_UID),
]


@pytest.mark.parametrize(("resource", "within", "tag"), RESOURCES)
@pytest.mark.parametrize("size", ["1", "2", "3"])
@pytest.mark.parametrize("shards", [1, 3])
@pytest.mark.parametrize("order", ["", "-StudyDate", "StudyDate", "PatientID", "-PatientName"])
def test_following_the_links_gives_every_match_once(
    clinic: SqliteIndex,
    resource: SearchResource,
    within: Within,
    tag: str,
    size: str,
    shards: int,
    order: str,
) -> None:
    if resource == PATIENTS and "Date" in order:
        pytest.skip("patients have no date")
    search = search_of(LaggingShards(clinic, shards=shards))
    everything = uids(search.find(query_of(resource, orderby=order), within), tag)
    pages = follow(search, resource, within, limit=size, orderby=order)
    assert found(pages, tag) == everything
    assert all(0 < len(page.texts) <= int(size) for page in pages)


@pytest.mark.parametrize(
    "parameters",
    [
        {"SeriesInstanceUID": "1.2.1.1,1.2.1.2,1.2.6.1"},
        {"StudyInstanceUID": "1.2.1,1.2.6"},
        {"Modality": "CT"},
        {"orderby": "Modality,-SeriesNumber"},
    ],
)
def test_links_of_other_ways_give_every_series_once(
    clinic: SqliteIndex, parameters: dict[str, Any]
) -> None:
    search = search_of(clinic)
    everything = uids(search.find(query_of(ALL_SERIES, **parameters)), SERIES_UID)
    assert len(everything) > 2
    assert found(follow(search, ALL_SERIES, limit="1", **parameters), SERIES_UID) == everything


def test_paging_neither_repeats_nor_drops_what_was_there_throughout(index: SqliteIndex) -> None:
    for study in range(10, 20):
        add_study(index, study, StudyDate=f"202401{study}")
    arriving = iter(range(20, 60))

    def arrive() -> None:
        study = next(arriving)
        add_study(index, study, StudyDate=f"20240{study % 3}{study % 9 + 10}")

    pages = follow(search_of(index), limit="2", between=arrive)
    met = [uid for uid in found(pages) if int(uid.rpartition(".")[2]) < 20]
    assert met == [f"1.2.{study}" for study in range(19, 9, -1)]


def test_a_page_after_an_offset_goes_on_by_its_link(clinic: SqliteIndex) -> None:
    search = search_of(clinic)
    everything = uids(search.find(query_of()))
    assert found(follow(search, offset="3", limit="2")) == everything[3:]


@pytest.mark.parametrize(
    "token", ["x", "é", "e30", "WzEsMl0", "W1tbW1tb", "WzEsIngiLFsxXV0", "A" * 70_000]
)
def test_what_is_no_token_is_refused(clinic: SqliteIndex, token: str) -> None:
    with pytest.raises(InvalidQueryError, match="page"):
        search_of(clinic).find(query_of(page=token))


def test_a_token_is_of_one_search_alone(clinic: SqliteIndex) -> None:
    search = search_of(clinic)
    token = search.find(query_of(limit="1")).next
    assert search.find(query_of(limit="5", includefield="StudyDescription", page=token)).texts
    for other in ({"PatientID": "P1"}, {"orderby": "StudyDate"}, {"fuzzymatching": "true"}):
        with pytest.raises(InvalidQueryError, match="another search"):
            search.find(query_of(page=token, **other))
    with pytest.raises(InvalidQueryError, match="another search"):
        search.find(query_of(page=token), Within(patient_id="P1"))


# --- totals ---------------------------------------------------------------------------------------


def test_a_total_is_told_where_all_matches_were_seen(clinic: SqliteIndex) -> None:
    search = search_of(clinic)
    assert search.find(query_of()).total == 7
    assert search.find(query_of(limit="2")).total is None
    assert search.find(query_of(limit="2", orderby="StudyDescription")).total == 7
    assert search.find(query_of(offset="9")).total is None
    series = search.find(query_of(STUDY_SERIES, limit="1"), Within(study_instance_uid="1.2.1"))
    assert (series.total, series.remaining) == (2, 1)


@pytest.mark.parametrize(
    ("resource", "parameters", "count"),
    [
        (STUDIES, {}, 7),
        (STUDIES, {"StudyDate": "20240102-20240104"}, 3),
        (STUDIES, {"ModalitiesInStudy": "MR"}, 3),
        (STUDIES, {"StudyInstanceUID": "1.2.1,1.2.9"}, 1),
        (PATIENTS, {}, 4),
        (ALL_SERIES, {}, 9),
        (ALL_SERIES, {"Modality": "CT", "PatientID": "P1"}, 2),
        (ALL_INSTANCES, {"SOPClassUID": "1.2.840.1"}, 4),
    ],
)
def test_all_matches_are_counted(
    clinic: SqliteIndex, resource: SearchResource, parameters: Mapping[str, str], count: int
) -> None:
    search = search_of(LaggingShards(clinic, shards=2))
    assert search.count(query_of(resource, **parameters)) == count


def test_a_count_of_a_range_reads_no_study(clinic: SqliteIndex) -> None:
    ledger = Ledger()
    search = search_of(ledger.index(clinic))
    _, calls = ledger.of(lambda: search.count(query_of(StudyDate="20240101-20240131")))
    assert {call.operation for call in calls} == {"count_studies"}


# --- budgets --------------------------------------------------------------------------------------


def test_a_page_ends_at_its_budget_with_what_it_has(index: SqliteIndex) -> None:
    for study in range(1, 400):
        kind = "CT" if study % 100 == 99 else "MR"
        time = f"{study // 60:02}{study % 60:02}"
        add_study(index, study, StudyDate="20240101", StudyTime=time, Modality=kind)
    limited = search_of(index, limits=SearchLimits(page_units=110))
    first = limited.find(query_of(ModalitiesInStudy="CT"))
    assert uids(first) == ["1.2.399"]
    assert (first.remaining, first.total) == (None, None)
    pages = follow(limited, ModalitiesInStudy="CT")
    assert found(pages) == ["1.2.399", "1.2.299", "1.2.199", "1.2.99"]
    assert len(pages) > 2


def test_a_page_without_a_match_goes_on_behind_its_budget(index: SqliteIndex) -> None:
    for study in range(1, 300):
        kind = "CT" if study == 1 else "MR"
        add_study(index, study, StudyDate=f"2024010{study % 8 + 2}", Modality=kind)
    add_study(index, 1, StudyDate="20230101", Modality="CT")
    limited = search_of(index, limits=SearchLimits(page_units=1))
    assert uids(limited.find(query_of(ModalitiesInStudy="CT"))) == ["1.2.1"]


def test_a_search_without_a_match_is_refused_when_its_time_is_over(clinic: SqliteIndex) -> None:
    pages_of_two = LaggingShards(clinic, shards=1, page=2)
    late = search_of(pages_of_two, limits=SearchLimits(seconds=0))
    with pytest.raises(SearchTooBroadError, match="Narrow the search"):
        late.find(query_of(StudyID="nobody has it"))
    with pytest.raises(SearchTooBroadError):
        late.count(query_of(ModalitiesInStudy="CT"))
    with pytest.raises(SearchTooBroadError):
        late.find(query_of(orderby="StudyDescription"))


def test_a_search_that_has_looked_through_everything_answers_however_late_it_is(
    clinic: SqliteIndex,
) -> None:
    late = search_of(clinic, limits=SearchLimits(seconds=0, page_units=1))
    nobody = late.find(query_of(StudyID="nobody has it"))
    assert (nobody.texts, nobody.total, nobody.next) == ((), 0, "")
    ultrasound = late.find(query_of(ModalitiesInStudy="US"))
    assert (uids(ultrasound), ultrasound.total, ultrasound.next) == (["1.2.3"], 1, "")


def test_a_page_ends_before_it_grows_too_large(clinic: SqliteIndex) -> None:
    search = search_of(clinic, limits=SearchLimits(page_bytes=2_000))
    pages = follow(search)
    assert len(pages) > 1
    assert all(1 <= len(page.texts) <= 3 for page in pages)
    assert found(pages) == uids(search_of(clinic).find(query_of()))


def test_too_many_matches_are_not_sorted(
    clinic: SqliteIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search_order, "MAX_SORTED", 6)
    with pytest.raises(SearchTooBroadError, match="orderby"):
        search_of(clinic).find(query_of(orderby="StudyDescription"))


# --- orders ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ("StudyDate", "5632174"),
        ("-StudyDate", "7123654"),
        ("-StudyDate,-StudyTime", "7123654"),
        ("PatientID", "2613475"),
        ("-PatientID", "7431625"),
        ("StudyDescription,-PatientID", "3674125"),
        ("-StudyDescription,StudyDate", "5217463"),
    ],
)
def test_studies_come_in_the_order_asked_for(
    clinic: SqliteIndex, order: str, expected: str
) -> None:
    assert studies(clinic, orderby=order) == [f"1.2.{number}" for number in expected]


@pytest.mark.parametrize("order", ["PatientID", "-PatientID", "StudyDate", "StudyDescription"])
def test_a_text_looked_for_within_is_found_in_any_order(clinic: SqliteIndex, order: str) -> None:
    found_anyhow = studies(clinic, StudyDescription="*y 1*")
    assert len(found_anyhow) == 3
    assert sorted(studies(clinic, StudyDescription="*y 1*", orderby=order)) == sorted(found_anyhow)


def test_numbers_are_sorted_as_numbers_and_what_has_none_comes_last(index: SqliteIndex) -> None:
    for series, number in enumerate([10, 9, None, -1, "x"], start=1):
        add_series(index, 1, series, SeriesNumber=number)
    within = Within(study_instance_uid="1.2.1")
    for order, expected in (("SeriesNumber", "42135"), ("-SeriesNumber", "12435")):
        page = search_of(index).find(query_of(STUDY_SERIES, orderby=order), within)
        assert uids(page, SERIES_UID) == [f"1.2.1.{number}" for number in expected]


# --- across studies -------------------------------------------------------------------------------


def test_series_of_all_studies_come_with_their_study(clinic: SqliteIndex) -> None:
    """PS3.18 §10.6.3.3: the attributes of the levels above are returned as well."""
    (first, *_) = parsed(search_of(clinic).find(query_of(ALL_SERIES, StudyInstanceUID="1.2.1")))
    assert first["00100020"]["Value"] == ["P2"]
    assert first["00201206"]["Value"] == [2]
    assert first["00201209"]["Value"] == [1]
    assert first["00081190"]["Value"] == ["\x01/studies/1.2.1/series/1.2.1.2"]
    assert list(first) == sorted(first)


def test_instances_of_all_studies_come_with_series_and_study(clinic: SqliteIndex) -> None:
    (only,) = parsed(search_of(clinic).find(query_of(ALL_INSTANCES, SOPInstanceUID="1.2.1.2.1")))
    assert only["00080060"]["Value"] == ["MR"]
    assert only["00100020"]["Value"] == ["P2"]
    assert only["00081190"]["Value"] == ["\x01/studies/1.2.1/series/1.2.1.2/instances/1.2.1.2.1"]


def test_instances_of_a_study_come_with_their_series_alone(clinic: SqliteIndex) -> None:
    within = Within(study_instance_uid="1.2.1")
    results = parsed(search_of(clinic).find(query_of(STUDY_INSTANCES), within))
    assert [each["00080060"]["Value"] for each in results] == [["MR"], ["CT"]]
    assert not any("00100020" in each for each in results)


@pytest.mark.parametrize(
    ("resource", "parameters", "expected"),
    [
        (ALL_SERIES, {"Modality": "US"}, ["1.2.3.1"]),
        (ALL_SERIES, {"Modality": "MR", "PatientID": "P1"}, ["1.2.6.1"]),
        (ALL_SERIES, {"SeriesInstanceUID": "1.2.6.1", "PatientID": "P2"}, []),
        (ALL_INSTANCES, {"Modality": "MR", "StudyDate": "20240105"}, ["1.2.1.2.1"]),
        (ALL_INSTANCES, {"SOPInstanceUID": "1.2.1.1.1", "Modality": "MR"}, []),
        (ALL_INSTANCES, {"SOPInstanceUID": "1.2.1.1.1", "InstanceNumber": "2"}, []),
        (ALL_INSTANCES, {"SeriesInstanceUID": "1.2.3.1", "StudyDescription": "*0"}, ["1.2.3.1.1"]),
    ],
)
def test_keys_of_all_levels_are_matched_together(
    clinic: SqliteIndex,
    resource: SearchResource,
    parameters: Mapping[str, str],
    expected: list[str],
) -> None:
    tag = SERIES_UID if resource == ALL_SERIES else SOP_UID
    assert uids(search_of(clinic).find(query_of(resource, **parameters)), tag) == expected


def test_a_series_alone_is_found_without_looking_through_studies(clinic: SqliteIndex) -> None:
    ledger = Ledger()
    search = search_of(ledger.index(clinic))
    _, calls = ledger.of(lambda: search.find(query_of(ALL_SERIES, SeriesInstanceUID="1.2.6.1")))
    assert [call.operation for call in calls] == ["find_uid", "get_studies", "get_series"]


def test_series_that_cannot_hold_the_sop_class_are_not_opened(clinic: SqliteIndex) -> None:
    ledger = Ledger()
    search = search_of(ledger.index(clinic))
    query = query_of(ALL_INSTANCES, SOPClassUID="1.2.840.0", PatientID="P2")
    page, calls = ledger.of(lambda: search.find(query))
    assert uids(page, SOP_UID) == ["1.2.1.2.1", "1.2.3.1.1"]
    assert [call.operation for call in calls].count("query_instance_answers") == 2


def test_counts_of_the_study_are_included_with_its_series(clinic: SqliteIndex) -> None:
    query = query_of(STUDY_SERIES, includefield="NumberOfStudyRelatedSeries,ModalitiesInStudy")
    (first, _) = parsed(search_of(clinic).find(query, Within(study_instance_uid="1.2.1")))
    assert first["00201206"]["Value"] == [2]
    assert first["00080061"]["Value"] == ["CT", "MR"]


# --- patients -------------------------------------------------------------------------------------


def patients(index: object, **parameters: str) -> list[str]:
    return uids(search_of(index).find(query_of(PATIENTS, **parameters)), PATIENT_ID)


def test_patients_come_with_the_counts_of_their_studies(clinic: SqliteIndex) -> None:
    results = parsed(search_of(clinic).find(query_of(PATIENTS)))
    assert [each[PATIENT_ID]["Value"] for each in results] == [["P4"], ["P2"], ["P1"], ["P3"]]
    told = results[1]
    counts = [told[tag]["Value"] for tag in ("00201200", "00201202", "00201204")]
    assert counts == [[2], [3], [3]]
    assert told["00100010"] == {"vr": "PN"}


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({"PatientID": "P1"}, ["P1"]),
        ({"PatientID": "P?"}, ["P4", "P2", "P1", "P3"]),
        ({"PatientID": "*2"}, ["P2"]),
        ({"orderby": "PatientID"}, ["P1", "P2", "P3", "P4"]),
        ({"PatientName": "nobody"}, []),
    ],
)
def test_patients_are_found_by_their_attributes(
    clinic: SqliteIndex, parameters: Mapping[str, str], expected: list[str]
) -> None:
    assert sorted(patients(clinic, **parameters)) == sorted(expected)


def test_the_newest_study_speaks_for_the_patient(index: SqliteIndex) -> None:
    add_study(index, 1, PatientID="P", PatientSex="F", StudyDate="20240101", PatientAge="041Y")
    add_study(index, 2, PatientID="P", PatientSex=None, StudyDate="20240201", PatientComments="new")
    (told,) = parsed(search_of(index).find(query_of(PATIENTS)))
    assert told["00100040"]["Value"] == ["F"]


def test_a_patients_studies_are_those_of_the_very_id(index: SqliteIndex) -> None:
    for study, patient in enumerate(["P?", "PX", "P*", "p?", "X" * 200, "X" * 199 + "Y"], start=1):
        add_study(index, study, PatientID=patient, StudyDate=f"2024010{study}")
    search = search_of(index)
    for patient, expected in (("P?", 1), ("P*", 3), ("X" * 200, 5)):
        page = search.find(query_of(), Within(patient_id=patient))
        assert uids(page) == [f"1.2.{expected}"]
    page = search.find(query_of(StudyDate="20240102"), Within(patient_id="P?"))
    assert page.texts == ()


def test_many_studies_of_a_patient_are_one_patient_across_pages(index: SqliteIndex) -> None:
    for study in range(1, 30):
        add_study(index, study, PatientID=f"P{study % 3}", StudyDate=f"202401{study:02}")
    pages = follow(search_of(index), PATIENTS, limit="1")
    assert found(pages, PATIENT_ID) == ["P2", "P1", "P0"]


# --- what is read ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def two_sizes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[SqliteIndex]]:
    """Give archives of 150 and of 450 studies that differ in nothing else."""
    folder = tmp_path_factory.mktemp("sizes")
    with ExitStack() as stack:
        indexes = []
        for held in (150, 450):
            index = stack.enter_context(closing(SqliteIndex(folder / f"{held}.sqlite")))
            for study in range(1, held + 1):
                add_study(
                    index,
                    study,
                    StudyDate=f"202401{study % 30 + 1:02}",
                    PatientID=f"P{study % 10}",
                    AccessionNumber=f"A{study % 10}",
                    PatientName={"Alphabetic": "Roe" if study % 10 else "Doe"},
                )
            indexes.append(index)
        yield indexes


@pytest.mark.parametrize(
    ("parameters", "reads"),
    [
        ({"PatientID": "P7"}, 2),
        ({"PatientID": "P*"}, 2),
        ({"AccessionNumber": "A7"}, 2),
        ({"PatientName": "Roe*"}, 3),
        ({"StudyDate": "20240101-20240131"}, 2),
        ({}, 2),
        ({"orderby": "-PatientID"}, 2),
    ],
)
def test_what_a_page_reads_is_independent_of_the_archive(
    two_sizes: list[SqliteIndex], parameters: Mapping[str, str], reads: int
) -> None:
    small, large = (
        search_of(index).find(query_of(limit="5", **parameters)).cost for index in two_sizes
    )
    assert (large.reads, large.studies) == (small.reads, small.studies) == (reads, 6)
    assert large.entries <= 100


def test_the_plan_is_told_without_the_values_asked_for(clinic: SqliteIndex) -> None:
    query = query_of(PatientID="*SECRET*", StudyID="SECRET", orderby="StudyDescription")
    plan = search_of(clinic).find(query).plan
    assert plan == (
        "along by_date; looked through in the index: PatientID; tested in each study: PatientID, "
        "StudyID; sorted in memory by: StudyDescription"
    )


# --- odd archives ---------------------------------------------------------------------------------


def test_what_should_be_items_and_is_text_matches_nothing(index: SqliteIndex) -> None:
    add_series(index, 1, 1, RequestAttributesSequence=elements(ScheduledProcedureStepID="S1"))
    add_series(index, 1, 2, RequestAttributesSequence={"vr": "LO", "Value": ["S1", 7]})
    query = query_of(ALL_SERIES, **{"RequestAttributesSequence.ScheduledProcedureStepID": "S1"})
    assert uids(search_of(index).find(query), SERIES_UID) == ["1.2.1.1"]


def test_a_patient_who_is_nobody_stands_in_nobodys_way(
    index: SqliteIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patient_search, "MOST_STUDIES", 4)
    for study in range(1, 21):
        patient = "ANON" if study % 5 else f"P{study}"
        add_study(index, study, PatientID=patient, StudyDate=f"202401{study:02}")
    pages = follow(search_of(index), PATIENTS, limit="1")
    assert found(pages, PATIENT_ID) == ["P20", "ANON", "P15", "P10", "P5"]
    told = parsed(pages[1])[0]
    assert (told["00201200"], told["00201204"]) == ({"vr": "IS"}, {"vr": "IS"})


def test_long_values_to_sort_by_make_short_tokens(index: SqliteIndex) -> None:
    for study in range(1, 6):
        add_study(index, study, PatientComments=f"{study}" * 3_000, StudyDate="20240101")
    pages = follow(search_of(index), limit="1", orderby="-PatientComments")
    assert found(pages) == [f"1.2.{study}" for study in range(5, 0, -1)]
    assert max(len(page.next) for page in pages) < 500


def test_a_sorted_place_of_another_form_is_refused(clinic: SqliteIndex) -> None:
    query = query_of(orderby="StudyDescription")
    for position in ((True,), (False, 1, 0, "x"), (False, "Study 1", "x", 0)):
        token = format_token(position, query, of=repr(EVERYTHING))
        with pytest.raises(InvalidQueryError, match="token"):
            search_of(clinic).find(query_of(orderby="StudyDescription", page=token))


@pytest.mark.parametrize("multiple", ["true", "false"])
def test_a_list_of_uids_is_looked_up_however_it_is_divided(
    clinic: SqliteIndex, multiple: str
) -> None:
    for tag, resource in (("StudyInstanceUID", STUDIES), ("SeriesInstanceUID", ALL_SERIES)):
        values = "1.2.1\\1.2.6" if resource == STUDIES else "1.2.1.1\\1.2.6.1"
        query = query_of(resource, **{tag: values, "multiplevaluematching": multiple})
        page = search_of(clinic).find(query)
        assert len(page.texts) == 2
        assert "along" not in page.plan


def test_a_series_is_searched_through_no_longer_than_a_page_may_take(index: SqliteIndex) -> None:
    rows = [row_of(1, 1, sop, InstanceNumber=sop) for sop in range(1, 351)]
    add_series(index, 1, 1)
    index.commit(putting(*rows), now_ms=1, due_ms=2)
    within = Within(study_instance_uid="1.2.1", series_instance_uid="1.2.1.1")
    late = search_of(index, limits=SearchLimits(seconds=0))
    with pytest.raises(SearchTooBroadError):
        late.find(query_of(SERIES_INSTANCES, ImageComments="none"), within)
    spent = search_of(index, limits=SearchLimits(page_units=1))
    page = spent.find(query_of(SERIES_INSTANCES, limit="10"), within)
    assert (len(page.texts), page.remaining) == (10, None)
    assert len(found(follow(spent, SERIES_INSTANCES, within, limit="90"), SOP_UID)) == 350
