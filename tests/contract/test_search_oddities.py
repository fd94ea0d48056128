"""Searches for what archives and requests have that nobody planned for, on both adapters."""

from __future__ import annotations

import base64
import json
import random
from contextlib import closing, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from dicomulus.adapters.aws.dynamodb_index import DynamoDbIndex
from dicomulus.adapters.aws.dynamodb_table import DynamoDbTable
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
from dicomulus.dicom.resource import InstanceResource, SeriesResource
from dicomulus.errors import InvalidQueryError
from dicomulus.services.search import EVERYTHING, Within
from tests.support.aws import REGION, moto_aws
from tests.support.lagging_index import LaggingShards
from tests.support.reference_archive import HeldObject, MadeArchive, place_of
from tests.support.search_archive import elements, parsed, query_of, search_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dicomulus.dicom.query import SearchResource
    from dicomulus.ports import Index
    from dicomulus.services.search import ResultPage

LONG = "x" * 130
HIGH = "\U0001f600"
"""Above U+FFFF, and so ordered differently in UTF-16."""


def held(study: str, series: str = "1.5", sop: str = "1.6", **values: Any) -> HeldObject:
    key = values.pop("key", "")
    damaged = values.pop("damaged", False)
    instance = InstanceResource(study, series, sop)
    return HeldObject(instance, elements(**values), key=key, damaged=damaged)


ARCHIVE = MadeArchive(
    objects=(
        held("1.1", PatientID=LONG + "1", StudyDate="20240101", Modality="CT"),
        held("1.2", PatientID=LONG + "2", StudyDate="20240102", Modality="MR"),
        held("1.3", PatientID="y" * 2_000, PatientName={"Alphabetic": "N" * 1_500}),
        held("1.4", PatientID="P\x011", StudyDate="20240103", StudyTime="1000"),
        held("1.5", PatientID="P\\1", StudyDate="20240103", StudyTime="1200"),
        held("1.6", PatientID="P*1", PatientName={"Ideographic": "山田^太郎"}),
        held("1.7", PatientID=f"P{HIGH}1", PatientName={"Alphabetic": f"{HIGH}^A"}),
        held("1.8", PatientID="P\uffee1", PatientName={"Alphabetic": "\uffee^A"}),
        held("1.A", "1.A.1", "1.6", PatientName={"Alphabetic": "Zed", "Phonetic": "Abe"}),
        held("1%41", "1%41", "1/2", PatientID="P%", AccessionNumber="A"),
        # One instance of two objects, one of which is damaged and says otherwise.
        held("1.9", "1.5", "1.6", key="b", PatientID="sound", StudyDate="20240105"),
        held("1.9", "1.5", "1.6", key="a", damaged=True, PatientID="broken"),
        # Two series that contradict each other.
        held("1.10", "1.5", "1.6", PatientID="first", TimezoneOffsetFromUTC="+1400"),
        held("1.10", "1.55", "1.6", PatientID="second", StudyDate="20240106", Modality="PT"),
    ),
    emptied=frozenset({SeriesResource("1.9", "1.99"), SeriesResource("1.11", "1.5")}),
)
STUDY_COUNT = 12


@pytest.fixture(scope="module")
def sqlite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SqliteIndex]:
    folder: Path = tmp_path_factory.mktemp("odd")
    with closing(SqliteIndex(folder / "index.sqlite")) as index:
        ARCHIVE.put_into(index)
        yield index


@pytest.fixture(scope="module")
def dynamodb() -> Iterator[DynamoDbIndex]:
    with moto_aws() as aws:
        index = DynamoDbIndex(DynamoDbTable(aws.table_name, region=REGION), search_shards=2)
        ARCHIVE.put_into(index)
        yield index


@pytest.fixture(params=["sqlite", "shards", "dynamodb"])
def index(request: pytest.FixtureRequest) -> Index:
    if request.param == "shards":
        shards: Any = LaggingShards(request.getfixturevalue("sqlite"), shards=3)
        return shards  # type: ignore[no-any-return]
    found: Index = request.getfixturevalue(request.param)
    return found


def is_slow(index: object) -> bool:
    return isinstance(index, DynamoDbIndex)


def find(
    index: object, resource: SearchResource, within: Within = EVERYTHING, /, **parameters: str
) -> list[str]:
    """Search along the links in pages of two, and as a whole, which must be the same."""
    search = search_of(index)
    whole = search.find(query_of(resource, **parameters), within)
    found = [place_of(text, query_of(resource)) for text in whole.texts]
    met: list[str] = []
    page: ResultPage | None = None
    while page is None or page.next:
        token = {"page": page.next} if page else {}
        page = search.find(query_of(resource, **parameters, **token, limit="2"), within)
        met += [place_of(text, query_of(resource)) for text in page.texts]
    assert met == found
    assert search.count(query_of(resource, **parameters), within) == len(found)
    return found


def studies(index: object, **parameters: str) -> list[str]:
    return [place.removeprefix("/studies/") for place in find(index, STUDIES, **parameters)]


# --- keys and values ------------------------------------------------------------------------------


def test_everything_is_listed_each_once(index: Index) -> None:
    assert len(studies(index)) == STUDY_COUNT
    assert len(find(index, ALL_SERIES)) == STUDY_COUNT + 1
    assert len(find(index, ALL_INSTANCES)) == STUDY_COUNT + 1
    assert len(find(index, PATIENTS)) == STUDY_COUNT - 1


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({"PatientID": LONG + "2"}, ["1.2"]),
        ({"PatientID": LONG + "*"}, ["1.2", "1.1"]),
        ({"PatientID": LONG[:100] + "*1"}, ["1.1"]),
        ({"PatientID": "*x2"}, ["1.2"]),
        ({"PatientID": "y" * 2_000}, ["1.3"]),
        ({"PatientID": "y" * 1_999}, []),
        ({"PatientName": "n" * 1_500}, ["1.3"]),
        ({"PatientName": "n" * 1_000 + "*"}, ["1.3"]),
        ({"PatientID": "P\x011"}, ["1.4"]),
        ({"PatientID": "*\x01*"}, ["1.4"]),
        ({"PatientID": "P\ufffd1"}, []),
        ({"PatientID": "P\\1"}, ["1.5"]),
        ({"PatientID": "P\\1", "multiplevaluematching": "true"}, []),
        ({"PatientID": "sound\\P*1", "multiplevaluematching": "true"}, None),
        ({"PatientName": "山田*"}, ["1.6"]),
        ({"PatientName": "=山田*"}, ["1.6"]),
        ({"PatientName": "山 太", "fuzzymatching": "true"}, ["1.6"]),
        ({"PatientName": "太郎", "fuzzymatching": "true"}, ["1.6"]),
        ({"PatientName": "郎", "fuzzymatching": "true"}, []),
        ({"PatientName": "abe"}, ["1.A"]),
        ({"PatientName": "ze*===nothing"}, ["1.A"]),
        ({"PatientName": "zed===nothing", "fuzzymatching": "true"}, ["1.A"]),
        ({"PatientID": f"P{HIGH}*"}, ["1.7"]),
        ({"PatientName": f"{HIGH}*"}, ["1.7"]),
        ({"PatientName": "\uffee*"}, ["1.8"]),
        ({"StudyInstanceUID": "1.A"}, ["1.A"]),
        ({"StudyInstanceUID": "1%41"}, ["1%2541"]),
        ({"PatientID": "broken"}, []),
        ({"PatientID": "sound"}, ["1.9"]),
        ({"PatientID": "first"}, ["1.10"]),
        ({"PatientID": "second"}, []),
        ({"StudyDate": "20240106"}, ["1.10"]),
        ({"StudyDate": "20240201-20240101"}, []),
        ({"PatientID": '""', "emptyvaluematching": "true"}, ["1.A"]),
        ({"PatientName": '""', "emptyvaluematching": "true", "PatientID": "P*"}, None),
        ({"StudyDate": '""', "emptyvaluematching": "true", "StudyTime": "10"}, []),
        (
            {"StudyDate": "20240101\\20240103", "multiplevaluematching": "true"},
            ["1.5", "1.4", "1.1"],
        ),
        ({"ModalitiesInStudy": "CT,PT"}, ["1.10", "1.1"]),
        ({"NumberOfStudyRelatedSeries": "2"}, ["1.10"]),
    ],
)
def test_odd_values_are_found_as_they_are(
    index: Index, parameters: dict[str, str], expected: list[str] | None
) -> None:
    if expected is None:  # several, whatever their order
        assert len(studies(index, **parameters)) > 1
        return
    assert studies(index, **parameters) == expected


@pytest.mark.parametrize("patient", [LONG + "1", "P\x011", "P\\1", "P*1", f"P{HIGH}1", "y" * 2_000])
def test_studies_of_a_patient_with_an_odd_id_are_his_alone(index: Index, patient: str) -> None:
    assert len(find(index, STUDIES, Within(patient_id=patient))) == 1


@pytest.mark.parametrize("order", ["PatientID", "-PatientID", "PatientName", "-PatientName"])
def test_orders_are_those_of_code_points_on_every_adapter(index: Index, order: str) -> None:
    found = studies(index, orderby=order)
    assert sorted(found) == sorted(studies(index))
    assert (found.index("1.8") < found.index("1.7")) is not order.startswith("-")


def test_a_range_of_date_and_time_is_meant_in_the_zone_of_the_query(index: Index) -> None:
    """PS3.4 §C.2.2.2.5: the study says 14 hours before UTC, and midnight of the 6th there."""
    asked = {"StudyDate": "20240105-20240105", "StudyTime": "0900-1100"}
    assert studies(index, **asked, TimezoneOffsetFromUTC="+0000") == ["1.10"]
    assert "1.10" not in studies(index, **asked, TimezoneOffsetFromUTC="+1400")
    assert "1.10" not in studies(index, **asked)


# --- UIDs -----------------------------------------------------------------------------------------


def test_uids_that_several_studies_have_are_found_in_each(index: Index) -> None:
    assert len(find(index, ALL_SERIES, SeriesInstanceUID="1.5")) == STUDY_COUNT - 2
    assert len(find(index, ALL_INSTANCES, SOPInstanceUID="1.6")) == STUDY_COUNT
    assert find(index, ALL_INSTANCES, SOPInstanceUID="1.6", SeriesInstanceUID="1.A.1") == [
        "/studies/1.A/series/1.A.1/instances/1.6"
    ]
    assert len(find(index, STUDY_INSTANCES, Within(study_instance_uid="1.10"))) == 2
    within = Within(study_instance_uid="1.10", series_instance_uid="1.55")
    assert find(index, SERIES_INSTANCES, within, SOPInstanceUID="1.6") == [
        "/studies/1.10/series/1.55/instances/1.6"
    ]


def test_named_series_come_in_the_order_asked_for(index: Index) -> None:
    named = {"SeriesInstanceUID": "1.5", "StudyDate": "20240101-"}
    found = find(index, ALL_SERIES, **named, orderby="-StudyDate")
    assert [place.split("/")[2] for place in found] == ["1.10", "1.9", "1.4", "1.5", "1.2", "1.1"]


def test_instances_of_a_series_are_found_without_looking_through_studies(
    sqlite: SqliteIndex,
) -> None:
    ledger = Ledger()
    search = search_of(ledger.index(sqlite))
    query = query_of(ALL_INSTANCES, SeriesInstanceUID="1.55", StudyDate="20240106")
    page, calls = ledger.of(lambda: search.find(query))
    assert len(page.texts) == 1
    assert [call.operation for call in calls] == [
        *("find_uid", "get_studies", "query_series", "query_instance_answers"),
    ]


def test_many_thousand_uids_are_looked_up(index: Index) -> None:
    uids = ",".join(["1.2", *(f"7.{number}" for number in range(9_000)), "1.1"])
    assert studies(index, StudyInstanceUID=uids) == ["1.2", "1.1"]
    assert len(find(index, ALL_SERIES, SeriesInstanceUID=uids + ",1.55")) == 1


@pytest.mark.parametrize("length", [100, 1_000, 2_049, 10_000])
def test_uids_of_any_length_find_nothing(index: Index, length: int) -> None:
    uid = "1." + "2" * length
    assert studies(index, StudyInstanceUID=uid) == []
    assert find(index, ALL_SERIES, SeriesInstanceUID=uid) == []
    assert find(index, ALL_INSTANCES, SOPInstanceUID=uid) == []
    assert find(index, STUDY_SERIES, Within(study_instance_uid=uid)) == []
    within = Within(study_instance_uid=uid, series_instance_uid=uid)
    assert find(index, SERIES_INSTANCES, within, SOPInstanceUID=uid) == []


# --- what series say ------------------------------------------------------------------------------


def test_attributes_of_the_study_are_those_of_its_row_in_every_search(index: Index) -> None:
    """Two series contradict each other: the first one speaks for the study."""
    within = Within(study_instance_uid="1.10")
    in_series = Within(study_instance_uid="1.10", series_instance_uid="1.55")
    for patient, found in (("first", 2), ("second", 0)):
        assert len(find(index, ALL_SERIES, PatientID=patient)) == found
        assert len(find(index, STUDY_SERIES, within, PatientID=patient)) == found
        assert len(find(index, STUDY_INSTANCES, within, PatientID=patient)) == found
        assert len(find(index, SERIES_INSTANCES, in_series, PatientID=patient)) == found // 2


def test_an_emptied_series_is_nowhere(index: Index) -> None:
    assert find(index, STUDY_SERIES, Within(study_instance_uid="1.9")) == [
        "/studies/1.9/series/1.5"
    ]
    assert find(index, STUDY_SERIES, Within(study_instance_uid="1.11")) == []
    assert find(index, ALL_SERIES, SeriesInstanceUID="1.99") == []


@pytest.mark.parametrize(
    "resource", [STUDIES, ALL_SERIES, ALL_INSTANCES, STUDY_INSTANCES, PATIENTS]
)
@pytest.mark.parametrize(
    "field",
    [
        *("all", "ModalitiesInStudy", "SOPClassesInStudy", "InstanceAvailability", "RetrieveURL"),
        *("NumberOfStudyRelatedInstances", "NumberOfSeriesRelatedInstances", "PatientName"),
        *("NumberOfPatientRelatedStudies", "SpecificCharacterSet", "AvailableTransferSyntaxUID"),
    ],
)
def test_fields_of_any_level_can_be_asked_for_of_each(
    sqlite: SqliteIndex, resource: SearchResource, field: str
) -> None:
    within = Within(study_instance_uid="1.10") if resource == STUDY_INSTANCES else EVERYTHING
    plain = parsed(search_of(sqlite).find(query_of(resource), within))
    query = query_of(resource, includefield=field)
    found = parsed(search_of(sqlite).find(query, within))
    assert len(found) == len(plain)
    for with_field, without in zip(found, plain, strict=True):
        assert with_field.items() >= without.items()
        assert list(with_field) == sorted(with_field)


# --- pages ----------------------------------------------------------------------------------------


def test_a_page_of_nothing_and_one_behind_the_end_are_empty(index: Index) -> None:
    for order in "", "PatientID", "StudyDescription":
        query = query_of(limit="0", orderby=order)
        assert search_of(index).find(query).texts == ()
        behind = search_of(index).find(query_of(offset="1000", orderby=order))
        assert (behind.texts, behind.remaining, behind.total, behind.next) == ((), 0, None, "")


def test_a_count_is_the_same_in_any_order(index: Index) -> None:
    for order in "", "StudyDate", "PatientID", "-PatientName", "StudyDescription":
        assert search_of(index).count(query_of(orderby=order)) == STUDY_COUNT


def test_a_link_of_one_adapter_goes_on_in_another(
    sqlite: SqliteIndex, dynamodb: DynamoDbIndex
) -> None:
    indexes = [sqlite, LaggingShards(sqlite, shards=4), dynamodb]
    for order in "", "PatientName", "-PatientID", "StudyDescription":
        everything = search_of(sqlite).find(query_of(orderby=order)).texts
        found: list[bytes] = []
        token: dict[str, str] = {}
        for number in range(len(everything)):
            page = search_of(indexes[number % 3]).find(query_of(limit="1", orderby=order, **token))
            found += page.texts
            token = {"page": page.next}
        assert found == list(everything)
        assert token == {"page": ""}


ODD_PLACES: list[list[Any]] = [
    *([], [0], [0, ""], [0, "\ud800"], [0, "\x00"], [0, "~" * 5_000], [0, "\U0010ffff"]),
    *([-1, "2"], [9, "2"], [2**70, "2"], [True, "2"], [0.0, "2"], [0, 2], [None, "2"], ["", ""]),
    *(
        [False, "x", 0, "x"],
        [[], {}],
        [False, "\ud800", 0, "\ud800"],
        [0, "a", 0, "b", False, 1, ""],
    ),
]


@pytest.mark.parametrize("place", ODD_PLACES, ids=lambda place: repr(place)[:20])
def test_tokens_of_made_up_places_are_refused_or_give_a_page(
    index: Index, place: list[Any]
) -> None:
    searches: list[tuple[SearchResource, Within, dict[str, str]]] = [
        (STUDIES, EVERYTHING, {}),
        (STUDIES, EVERYTHING, {"orderby": "PatientName"}),
        (STUDIES, EVERYTHING, {"PatientID": "*"}),
        (STUDIES, EVERYTHING, {"PatientID": "P*"}),
        (STUDIES, EVERYTHING, {"orderby": "StudyDate"}),
        (STUDIES, EVERYTHING, {"orderby": "StudyDescription"}),
        (STUDIES, EVERYTHING, {"StudyInstanceUID": "1.1,1.2"}),
        (STUDIES, Within(patient_id="P*1"), {}),
        (PATIENTS, EVERYTHING, {}),
        (ALL_SERIES, EVERYTHING, {}),
        (ALL_SERIES, EVERYTHING, {"SeriesInstanceUID": "1.5"}),
        (ALL_INSTANCES, EVERYTHING, {}),
        (ALL_INSTANCES, EVERYTHING, {"SOPInstanceUID": "1.6"}),
        (STUDY_INSTANCES, Within(study_instance_uid="1.10"), {}),
    ]
    # moto takes its time, and the legs and ranges are the same for all.
    for resource, within, parameters in searches[: 2 if is_slow(index) else None]:
        token = search_of(index).find(query_of(resource, limit="1", **parameters), within).next
        if not token:
            continue
        content = json.loads(base64.urlsafe_b64decode(token + "=="))
        for made_up in (place, [*content[2][:-1], *place[-1:]], [*content[2], *place]):
            text = json.dumps([*content[:2], made_up])
            odd = base64.urlsafe_b64encode(text.encode()).decode()
            refused_or_found(index, resource, within, **parameters, page=odd)


@pytest.mark.parametrize("seed", range(3))
def test_tokens_cut_or_edited_are_refused_or_give_a_page(index: Index, seed: int) -> None:
    chance = random.Random(seed)
    token = search_of(index).find(query_of(limit="1")).next
    for _ in range(20 if is_slow(index) else 100):
        text = list(token)
        for _ in range(chance.randrange(1, 4)):
            text[chance.randrange(len(text))] = chance.choice("ABCxyz019-_=é%")
        odd = "".join(text[: chance.randrange(len(text) + 1)])
        refused_or_found(index, STUDIES, EVERYTHING, page=odd)


def refused_or_found(
    index: Index, resource: SearchResource, within: Within, **parameters: str
) -> None:
    with suppress(InvalidQueryError):
        search_of(index).find(query_of(resource, limit="3", **parameters), within)


def test_what_is_built_is_what_the_matcher_is_told() -> None:
    assert len(ARCHIVE.studies) == STUDY_COUNT
    assert replace(ARCHIVE, emptied=frozenset()).studies == ARCHIVE.studies
