"""Search, against every row tested one by one."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dicomulus.adapters.local.sqlite_index import SqliteIndex
from dicomulus.dicom.level_json import parse_json_object
from dicomulus.dicom.matching import filter_of
from dicomulus.dicom.query import SERIES_INSTANCES, STUDY_SERIES
from dicomulus.ports import SearchPath, StudyEntry
from dicomulus.services.search import ResultPage, Search, Within
from dicomulus.services.search_plan import plan_studies
from tests.support.builders import putting, series_of
from tests.support.lagging_index import LaggingShards
from tests.support.search_archive import (
    SERIES_UID,
    SOP_UID,
    STUDY_UID,
    add_series,
    add_study,
    elements,
    fold,
    parsed,
    query_of,
    row_of,
    search_of,
    studies,
    uids,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

IN_STUDY = Within(study_instance_uid="1.2.1")
IN_SERIES = Within(study_instance_uid="1.2.1", series_instance_uid="1.2.1.1")

DESCRIPTION = "00081030"


@pytest.fixture
def index(tmp_path: Path) -> Iterator[SqliteIndex]:
    with closing(SqliteIndex(tmp_path / "index.sqlite")) as index:
        yield index


# --- studies --------------------------------------------------------------------------------------


def test_an_empty_archive_has_no_studies(index: SqliteIndex) -> None:
    assert search_of(index).find(query_of()) == ResultPage(texts=(), total=0)


def test_studies_come_newest_first_and_those_without_a_date_last(index: SqliteIndex) -> None:
    add_study(index, 1, StudyDate="20240101")
    add_study(index, 2)
    add_study(index, 3, StudyDate="20240301")
    add_study(index, 4, StudyDate="unknown", Modality="CT")
    assert studies(index) == ["1.2.3", "1.2.1", "1.2.4", "1.2.2"]


def test_a_result_has_the_required_attributes(index: SqliteIndex) -> None:
    """PS3.18 Table 10.6.3-3: empty ones keep their VR, without modalities there is no list."""
    add_study(index, 1, PatientID="P1", StudyDescription="Chest")
    (found,) = parsed(search_of(index).find(query_of()))
    assert found["00100020"] == {"vr": "LO", "Value": ["P1"]}
    assert found["00080050"] == {"vr": "SH"}
    assert found["00201208"] == {"vr": "IS", "Value": [1]}
    assert found["00081190"]["Value"] == ["\x01/studies/1.2.1"]
    assert "00080061" not in found
    assert DESCRIPTION not in found


def test_included_attributes_are_added_in_order_of_tags(index: SqliteIndex) -> None:
    add_study(index, 1, StudyDescription="Che\x01st", PatientAge="042Y", Modality="CT")
    (text,) = search_of(index).find(query_of(includefield="StudyDescription")).texts
    found = parse_json_object(text)
    assert list(found) == sorted(found)
    assert found[DESCRIPTION]["Value"] == ["Che\x01st"]
    assert "00101010" not in found
    assert text.count(b"\x01") == 1, "the one place of the base URL, not the value's character"


def test_all_attributes_are_included_on_request(index: SqliteIndex) -> None:
    add_study(index, 1, StudyDescription="Chest", PatientAge="042Y", SeriesDescription="Axial")
    (found,) = parsed(search_of(index).find(query_of(includefield="all")))
    assert {DESCRIPTION, "00101010"} <= found.keys()
    assert "0008103E" not in found


def test_a_page_begins_after_the_offset_and_says_that_more_remain(index: SqliteIndex) -> None:
    for study in range(1, 8):
        add_study(index, study, StudyDate=f"2024010{study}")
    search = search_of(index)
    first = search.find(query_of(limit="3"))
    assert (uids(first), first.remaining) == (["1.2.7", "1.2.6", "1.2.5"], None)
    last = search.find(query_of(limit="3", offset="4"))
    assert (uids(last), last.remaining) == (["1.2.3", "1.2.2", "1.2.1"], 0)
    assert search.find(query_of(offset="7")) == ResultPage(texts=())
    assert search.find(query_of(limit="0")) == ResultPage(texts=(), remaining=None)


def test_a_page_is_no_longer_than_the_archive_allows(index: SqliteIndex) -> None:
    for study in range(1, 4):
        add_study(index, study)
    page = search_of(index, max_results=2).find(query_of(limit="10"))
    assert (len(page.texts), page.remaining) == (2, None)


def test_an_emptied_study_is_hidden(index: SqliteIndex) -> None:
    add_study(index, 1, PatientID="P1")
    held = index.get_series(series_of(1))
    assert held is not None
    index.fold_series(replace(held, instance_count=0))
    fold(index, 1)
    assert studies(index) == []
    assert studies(index, StudyInstanceUID="1.2.1") == []
    assert search_of(index).find(query_of(STUDY_SERIES), IN_STUDY).texts == ()


def test_named_studies_come_newest_first_each_once(index: SqliteIndex) -> None:
    for study in range(1, 4):
        add_study(index, study, StudyDate=f"2024010{study}", PatientID=f"P{study}")
    assert studies(index, StudyInstanceUID="1.2.1,1.2.3,1.2.9\\1.2.1") == ["1.2.3", "1.2.1"]
    assert studies(index, StudyInstanceUID="1.2.1,1.2.3", PatientID="P1") == ["1.2.1"]


@pytest.mark.parametrize(
    ("parameters", "path"),
    [
        ({"AccessionNumber": "A1", "PatientID": "P1"}, SearchPath.ACCESSION_NUMBER),
        ({"AccessionNumber": "A*", "PatientID": "P1"}, SearchPath.PATIENT_ID),
        ({"PatientID": "P*", "StudyDate": "20240101-"}, SearchPath.PATIENT_ID),
        ({"PatientName": "Doe*"}, SearchPath.PATIENT_NAME),
        ({"ReferringPhysicianName": "Doe^J?n"}, SearchPath.REFERRING_PHYSICIAN_NAME),
        ({"PatientName": "*doe*", "StudyDate": "20240101"}, SearchPath.DATE),
        ({"PatientName": "doe", "fuzzymatching": "true"}, SearchPath.DATE),
        ({"PatientID": '""', "emptyvaluematching": "true"}, SearchPath.DATE),
        ({}, SearchPath.DATE),
    ],
)
def test_the_narrowest_index_is_chosen(parameters: Mapping[str, str], path: SearchPath) -> None:
    plan = plan_studies(query_of(**parameters))
    assert (plan.uids, plan.legs[0].path) == (None, path)


def test_a_default_list_and_one_by_date_leave_nothing_to_filter() -> None:
    assert plan_studies(query_of()).rest is None
    assert plan_studies(query_of(StudyDate="20240101-20240131")).rest is None


def test_an_index_that_lags_costs_no_study_and_repeats_none(index: SqliteIndex) -> None:
    add_study(index, 1, StudyDate="20240101", PatientID="P1")
    add_study(index, 2, StudyDate="20240201", PatientID="P2")
    stale = [
        StudyEntry("20240301000000000000#1.2.1", "1.2.1", {"PatientID": "p1"}),
        StudyEntry("20240215000000000000#1.2.9", "1.2.9", {"PatientID": "p9"}),
    ]
    lagging = LaggingShards(index, shards=3, stale=stale)
    assert sorted(studies(lagging)) == ["1.2.1", "1.2.2"]
    assert studies(lagging, StudyDate="20240210-20240401") == []
    assert studies(lagging, StudyDate="20240101-20240131") == ["1.2.1"]


def test_what_a_date_entry_carries_cut_short_hides_no_study(index: SqliteIndex) -> None:
    add_study(index, 1, PatientID="P1", StudyDescription="A" * 250 + " END")
    assert studies(index, StudyDescription="*END") == ["1.2.1"]


def test_ranges_of_date_and_time_find_the_days_between_whole(index: SqliteIndex) -> None:
    """PS3.4 §C.2.2.2.5: one range from the first date and time to the last."""
    for study, (date, time) in enumerate(
        [("20240101", "0900"), ("20240102", "2300"), ("20240103", "1300")], start=1
    ):
        add_study(index, study, StudyDate=date, StudyTime=time)
    found = studies(index, StudyDate="20240101-20240103", StudyTime="1000-1200")
    assert found == ["1.2.2"]


# --- studies, against every row -------------------------------------------------------------------

_WORDS = ["A", "AB", "ABC", "a", "B?", "BÉ", "B\x01"]
_NAMES = [
    {"Alphabetic": "Doe^Jane"},
    {"Alphabetic": "DOE"},
    {"Alphabetic": "Müller^Jürgen"},
    {"Alphabetic": "Yamada^Tarou", "Ideographic": "山田^太郎", "Phonetic": "やまだ^たろう"},
    {"Ideographic": "山田", "Phonetic": "Yamada"},
]
_OPTIONAL: dict[str, st.SearchStrategy[Any]] = {
    "StudyDate": st.sampled_from(["20240101", "20240102", "20240201", "unknown", None]),
    "StudyTime": st.sampled_from(["10", "103000", "235959.5", None]),
    "AccessionNumber": st.sampled_from([*_WORDS, None]),
    "PatientID": st.sampled_from([*_WORDS, ["A", "B"], None]),
    "PatientName": st.sampled_from([*_NAMES, None]),
    "ReferringPhysicianName": st.sampled_from([*_NAMES, None]),
    "StudyDescription": st.sampled_from([*_WORDS, "A" * 195 + "B", None]),
    "StudyID": st.sampled_from([*_WORDS, None]),
    "Modality": st.sampled_from(["CT", "MR", None]),
}
_ARCHIVES = st.lists(st.fixed_dictionaries({}, optional=_OPTIONAL), max_size=8)

_PATTERNS = st.sampled_from(["A", "A*", "AB", "*B*", "a", "?B*", "B?", "B\x01", "A\\B", "*", '""'])
_NAME_PATTERNS = st.sampled_from(
    ["doe", "doe*", "DOE^*", "mull*", "*jane*", "yamada*", "山田*", "=山田*", "y?mada*", "jan", ""]
)
_PARAMETERS: dict[str, st.SearchStrategy[str]] = {
    "StudyDate": st.sampled_from(["20240101", "20240102-", "-20240131", "20240101-20240201", "*"]),
    "StudyTime": st.sampled_from(["10", "10-11", "-1030", "1030-", ""]),
    "AccessionNumber": _PATTERNS,
    "PatientID": _PATTERNS,
    "PatientName": _NAME_PATTERNS,
    "ReferringPhysicianName": _NAME_PATTERNS,
    "StudyDescription": _PATTERNS,
    "StudyID": _PATTERNS,
    "ModalitiesInStudy": st.sampled_from(["CT", "CT,MR", "MR\\US", "C*"]),
    "StudyInstanceUID": st.sampled_from(["1.2.1", "1.2.1,1.2.3", "1.2.2\\1.2.9"]),
    "fuzzymatching": st.sampled_from(["true", "false"]),
    "emptyvaluematching": st.sampled_from(["true", "false"]),
    "multiplevaluematching": st.sampled_from(["true", "false"]),
}
_QUERIES = st.fixed_dictionaries({}, optional=_PARAMETERS)


@given(
    archive=_ARCHIVES,
    queries=st.lists(_QUERIES, min_size=1, max_size=6),
    shards=st.sampled_from([1, 3]),
    size=st.integers(1, 5),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_a_plan_finds_what_testing_every_study_finds(
    tmp_path_factory: pytest.TempPathFactory,
    archive: Sequence[Mapping[str, Any]],
    queries: Sequence[Mapping[str, str]],
    shards: int,
    size: int,
) -> None:
    with closing(SqliteIndex(tmp_path_factory.mktemp("archive") / "index.sqlite")) as inner:
        for number, values in enumerate(archive, start=1):
            add_study(inner, number, **values)
        everything = parsed(search_of(inner).find(query_of(includefield="all")))
        assert len(everything) == len(archive)
        search = search_of(LaggingShards(inner, shards=shards))
        for parameters in queries:
            query = query_of(**parameters)
            test = filter_of(query.keys, query.semantics)
            expected = [found[STUDY_UID]["Value"][0] for found in everything if test(found)]
            assert sorted(uids(search.find(query))) == sorted(expected)
            assert _paged(search, parameters, size) == uids(search.find(query))


def _paged(search: Search, parameters: Mapping[str, str], size: int) -> list[str]:
    found: list[str] = []
    while True:
        page = search.find(query_of(**parameters, limit=str(size), offset=str(len(found))))
        found += uids(page)
        if page.remaining == 0:
            return found


# --- series ---------------------------------------------------------------------------------------


def series_found(index: SqliteIndex, **parameters: str) -> list[str]:
    return uids(search_of(index).find(query_of(STUDY_SERIES, **parameters), IN_STUDY), SERIES_UID)


def test_series_come_by_number_then_uid_those_without_number_last(index: SqliteIndex) -> None:
    for series, number in enumerate([None, 10, "9", 2, 2, "x"], start=1):
        add_series(index, 1, series, SeriesNumber=number)
    found = series_found(index)
    assert found == ["1.2.1.4", "1.2.1.5", "1.2.1.3", "1.2.1.2", "1.2.1.1", "1.2.1.6"]


def test_a_study_that_is_not_there_has_no_series(index: SqliteIndex) -> None:
    assert series_found(index) == []


@pytest.mark.parametrize(
    "parameters",
    [
        {"Modality": "MR,US"},
        {"SeriesInstanceUID": "1.2.1.2"},
        {"SeriesNumber": "2"},
        {"PerformedProcedureStepStartDate": "20240102"},
        {"PerformedProcedureStepStartTime": "11"},
        {"RequestAttributesSequence.ScheduledProcedureStepID": "S2"},
        {"RequestAttributesSequence.RequestedProcedureID": "R*2"},
        {"SeriesDescription": "Sag*"},
        {"PatientID": "P1", "Modality": "MR"},
    ],
)
def test_series_are_found_by_the_required_keys(
    index: SqliteIndex, parameters: Mapping[str, str]
) -> None:
    """PS3.18 Table 10.6.1-4."""
    for number, (modality, plane) in enumerate([("CT", "Axial"), ("MR", "Sagittal")], start=1):
        add_series(
            index,
            1,
            number,
            PatientID="P1",
            Modality=modality,
            SeriesNumber=number,
            SeriesDescription=plane,
            PerformedProcedureStepStartDate=f"2024010{number}",
            PerformedProcedureStepStartTime=f"1{number - 1}30",
            RequestAttributesSequence=elements(
                ScheduledProcedureStepID=f"S{number}", RequestedProcedureID=f"R{number}"
            ),
        )
    assert series_found(index, **parameters) == ["1.2.1.2"]


def test_a_viewers_fields_of_series_are_included(index: SqliteIndex) -> None:
    add_series(index, 1, 1, SeriesDate="20240101", Manufacturer="M", PatientSex="F")
    query = query_of(STUDY_SERIES, includefield="00080021,00080031,0008103E,00200011,PatientSex")
    (found,) = parsed(search_of(index).find(query, IN_STUDY))
    assert found["00080021"]["Value"] == ["20240101"]
    assert found["00100040"]["Value"] == ["F"]
    assert "00080070" not in found
    (everything,) = parsed(
        search_of(index).find(query_of(STUDY_SERIES, includefield="all"), IN_STUDY)
    )
    assert "00080070" in everything


def test_series_are_paged_and_the_rest_is_counted(index: SqliteIndex) -> None:
    for series in range(1, 6):
        add_series(index, 1, series, SeriesNumber=series)
    page = search_of(index).find(query_of(STUDY_SERIES, limit="2", offset="1"), IN_STUDY)
    assert (uids(page, SERIES_UID), page.remaining) == (["1.2.1.2", "1.2.1.3"], 2)


# --- instances ------------------------------------------------------------------------------------


def instances_found(index: SqliteIndex, **parameters: str) -> list[str]:
    query = query_of(SERIES_INSTANCES, **parameters)
    return uids(search_of(index).find(query, IN_SERIES), SOP_UID)


@pytest.fixture
def slices(index: SqliteIndex) -> SqliteIndex:
    rows = [
        row_of(
            1,
            1,
            sop,
            InstanceNumber=number,
            SOPClassUID=f"1.2.840.{sop}",
            ImageComments=f"Slice {sop}",
        )
        for sop, number in [(1, 3), (2, None), (3, 1)]
    ]
    rows.append(row_of(1, 1, 3, key="scans/copy.dcm", InstanceNumber=1))
    add_series(index, 1, 1)
    index.commit(putting(*rows), now_ms=1, due_ms=2)
    return index


def test_instances_come_by_number_one_for_several_objects(slices: SqliteIndex) -> None:
    assert instances_found(slices) == ["1.2.1.1.3", "1.2.1.1.1", "1.2.1.1.2"]


@pytest.mark.parametrize(
    "parameters",
    [
        {"SOPClassUID": "1.2.840.1"},
        {"SOPInstanceUID": "1.2.1.1.1,1.2.1.1.9"},
        {"InstanceNumber": "03"},
        {"ImageComments": "*1"},
        {"StudyInstanceUID": "1.2.1", "InstanceNumber": "3"},
    ],
)
def test_instances_are_found_by_any_attribute(
    slices: SqliteIndex, parameters: Mapping[str, str]
) -> None:
    """PS3.18 Table 10.6.1-5, and what else they have."""
    assert instances_found(slices, **parameters) == ["1.2.1.1.1"]


def test_many_named_instances_are_found(slices: SqliteIndex) -> None:
    wanted = ",".join(f"1.2.1.1.{sop}" for sop in range(2, 30))
    assert instances_found(slices, SOPInstanceUID=wanted) == ["1.2.1.1.3", "1.2.1.1.2"]


def test_any_attribute_of_an_instance_is_included(slices: SqliteIndex) -> None:
    query = query_of(SERIES_INSTANCES, includefield="ImageComments", limit="1", offset="1")
    page = search_of(slices).find(query, IN_SERIES)
    (found,) = parsed(page)
    assert found["00204000"]["Value"] == ["Slice 1"]
    assert found["00083002"]["Value"] == ["1.2.840.10008.1.2.1"]
    assert page.remaining == 1
    (everything, *_) = parsed(
        search_of(slices).find(query_of(SERIES_INSTANCES, includefield="all"), IN_SERIES)
    )
    assert {STUDY_UID, "00081190"} <= everything.keys()


def test_a_ready_answer_is_given_as_it_is_stored(slices: SqliteIndex) -> None:
    stored = {row.attributes for row in slices.query_instances(series_of(1)).items}
    texts = search_of(slices).find(query_of(SERIES_INSTANCES), IN_SERIES).texts
    assert set(texts) <= stored
    json.loads(texts[0].replace(b"\x01", b"http://x"))
