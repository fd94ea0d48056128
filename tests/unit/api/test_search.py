"""The Search transactions as HTTP."""

from __future__ import annotations

import gzip
import json
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from dicomulus.api.search import (
    count_instances,
    count_series,
    count_studies,
    search_instances,
    search_patients,
    search_series,
    search_studies,
)
from dicomulus.dicom.main_tags import BUILT_IN
from dicomulus.dicom.query import (
    ALL_INSTANCES,
    ALL_SERIES,
    PATIENTS,
    SERIES_INSTANCES,
    STUDIES,
    STUDY_INSTANCES,
    STUDY_SERIES,
)
from dicomulus.errors import InvalidQueryError, NotAcceptableError
from dicomulus.services.search import ResultPage, Within
from dicomulus.services.search_meter import SearchCost
from dicomulus.settings import Settings
from dicomulus.wire.message import Headers, Request, Response, parse_query

if TYPE_CHECKING:
    from dicomulus.api.route import Handler
    from dicomulus.dicom.query import Query, SearchResource
    from dicomulus.services.archive import Archive

BASE_URL = "http://archive.example/dicom-web"
STUDY = b'{"00081190":{"vr":"UR","Value":["\x01/studies/1.2"]}}'


SETTINGS = Settings()


def page_of(*texts: bytes, **others: Any) -> ResultPage:
    return ResultPage(texts=texts, **others)


class RecordedSearch:
    """Answers every search with one page, and keeps what was asked."""

    def __init__(self, page: ResultPage) -> None:
        self.page = page
        self.asked: list[tuple[Within, Query]] = []

    def find(self, query: Query, within: Within) -> ResultPage:
        self.asked.append((within, query))
        return self.page

    def count(self, query: Query, within: Within) -> int:
        self.asked.append((within, query))
        return 7


def archive_of(search: RecordedSearch, own_settings: Settings = SETTINGS) -> Archive:
    return cast("Archive", SimpleNamespace(search=search, settings=own_settings, tags=BUILT_IN))


def request(query: str = "", **headers: str) -> Request:
    lines = {name.replace("_", "-"): value for name, value in headers.items()}
    return Request(
        "GET",
        "/dicom-web/studies",
        query=parse_query(query),
        headers=Headers.of(lines),
        base_url=BASE_URL,
    )


def studies(page: ResultPage, query: str = "", **headers: str) -> Response:
    return search_studies(archive_of(RecordedSearch(page)), request(query, **headers), {})


def test_no_match_is_an_empty_list() -> None:
    """PS3.18 §10.6.3: 200, also where nothing is found."""
    response = studies(page_of())
    assert (response.status, response.body) == (200, b"[]")
    assert response.header("Content-Type") == "application/dicom+json"
    assert response.header("Warning") is None


def test_results_are_a_list_with_the_base_url_in_place() -> None:
    response = studies(page_of(STUDY, STUDY))
    assert isinstance(response.body, bytes)
    found = json.loads(response.body)
    assert [each["00081190"]["Value"] for each in found] == [[f"{BASE_URL}/studies/1.2"]] * 2


@pytest.mark.parametrize(
    ("remaining", "text"),
    [
        (None, "There are additional results that can be requested"),
        (7, "There are 7 additional results that can be requested"),
    ],
)
def test_a_page_that_is_not_all_says_so(remaining: int | None, text: str) -> None:
    """PS3.18 §8.3.4.4."""
    response = studies(page_of(STUDY, remaining=remaining))
    assert response.header("Warning") == f"299 {BASE_URL}: {text}"


def test_a_long_answer_is_compressed_for_who_takes_it() -> None:
    page = page_of(*[STUDY] * 100)
    plain, packed = studies(page), studies(page, Accept_Encoding="gzip, deflate")
    assert packed.header("Content-Encoding") == "gzip"
    assert plain.header("Content-Encoding") is None
    assert isinstance(packed.body, bytes)
    assert gzip.decompress(packed.body) == plain.body


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        ("application/json", "application/json"),
        ("application/dicom+json, application/json", "application/dicom+json"),
        ("*/*", "application/dicom+json"),
    ],
)
def test_the_media_type_is_the_one_asked_for(accept: str, media_type: str) -> None:
    assert studies(page_of(), Accept=accept).header("Content-Type") == media_type


def test_another_media_type_is_not_acceptable() -> None:
    with pytest.raises(NotAcceptableError):
        studies(page_of(), Accept="text/csv")


def test_an_unknown_parameter_is_refused() -> None:
    with pytest.raises(InvalidQueryError):
        studies(page_of(), "SeriesNumber=1")


def test_series_and_instances_are_searched_under_what_the_path_names() -> None:
    search = RecordedSearch(page_of())
    variables = {"study": "1.2", "series": "1.3"}
    search_series(archive_of(search), request("SeriesNumber=1"), variables)
    search_instances(archive_of(search), request("InstanceNumber=1"), variables)
    named = Within(study_instance_uid="1.2", series_instance_uid="1.3")
    assert [within for within, _ in search.asked] == [named, named]
    resources = [query.resource for _, query in search.asked]
    assert resources == [STUDY_SERIES, SERIES_INSTANCES]


@pytest.mark.parametrize(
    ("handler", "variables", "resource"),
    [
        (search_patients, {}, PATIENTS),
        (search_studies, {"patient": "P1"}, STUDIES),
        (search_series, {}, ALL_SERIES),
        (search_instances, {}, ALL_INSTANCES),
        (search_instances, {"study": "1.2"}, STUDY_INSTANCES),
        (count_series, {}, ALL_SERIES),
        (count_instances, {"study": "1.2"}, STUDY_INSTANCES),
    ],
)
def test_each_path_searches_its_resource(
    handler: Handler, variables: dict[str, str], resource: SearchResource
) -> None:
    """PS3.18 Table 10.6.1-1, and patients as an extension."""
    search = RecordedSearch(page_of())
    handler(archive_of(search), request(), variables)
    ((within, query),) = search.asked
    assert query.resource == resource
    assert within == Within(
        patient_id=variables.get("patient", ""), study_instance_uid=variables.get("study", "")
    )


def test_a_page_that_is_not_the_last_links_to_the_next() -> None:
    response = studies(page_of(STUDY, next="T"), "PatientName=M%C3%BCller%2A&offset=20&limit=5")
    link = f"<{BASE_URL}/studies?PatientName=M%C3%BCller*&limit=5&page=T>"
    assert response.header("Link") == f'{link}; rel="next"'
    assert studies(page_of(STUDY)).header("Link") is None


def test_a_total_is_told_where_it_is_known() -> None:
    assert studies(page_of(STUDY, total=1)).header("X-Total-Count") == "1"
    assert studies(page_of(STUDY)).header("X-Total-Count") is None


def test_a_count_is_told_as_json() -> None:
    response = count_studies(archive_of(RecordedSearch(page_of())), request("PatientID=1"), {})
    assert (response.body, response.header("Content-Type")) == (b'{"count": 7}', "application/json")


def test_the_plan_and_its_cost_are_told_on_request() -> None:
    page = page_of(STUDY, plan="along by_date", cost=SearchCost(reads=2, entries=3, studies=1))
    told = studies(page, Dicomulus_Explain="1")
    assert told.header("Dicomulus-Plan") == "along by_date"
    assert (told.header("Dicomulus-Cost") or "").startswith("reads=2; entries=3; studies=1;")
    assert studies(page).header("Dicomulus-Plan") is None


def test_what_is_left_out_is_warned_of_by_name() -> None:
    """PS3.18 §10.6.3.3: attributes of lower levels are not returned."""
    response = studies(page_of(STUDY), "includefield=Modality")
    assert "(Modality) belongs to the series level" in (response.header("Warning") or "")


def test_an_unknown_parameter_can_be_ignored_with_a_warning() -> None:
    lenient = archive_of(RecordedSearch(page_of()), Settings(unknown_parameters="ignore"))
    response = search_studies(lenient, request("colour=red"), {})
    assert response.header("Warning") == (
        f"299 {BASE_URL}: parameter colour is not known and was ignored"
    )


def test_results_are_given_as_xml_to_who_asks_for_it() -> None:
    """PS3.18 §10.6.4: one part for each result."""
    accept = 'multipart/related; type="application/dicom+xml"'
    response = studies(page_of(STUDY, STUDY, total=2), Accept=accept)
    assert (response.header("Content-Type") or "").startswith(accept)
    assert response.header("X-Total-Count") == "2"
    body = response.body if isinstance(response.body, bytes) else b"".join(response.body)
    assert body.count(f'<Value number="1">{BASE_URL}/studies/1.2</Value>'.encode()) == 2
    by_parameter = studies(page_of(STUDY), "accept=application/dicom%2Bxml", Accept="text/csv")
    assert by_parameter.status == 200


def test_a_link_that_the_server_would_refuse_is_not_given() -> None:
    uids = ",".join(f"1.2.826.0.1.3680043.2.{number}" for number in range(400))
    response = studies(page_of(STUDY, remaining=None, next="T"), f"StudyInstanceUID={uids}")
    assert response.header("Link") is None
    assert response.header("Warning") is not None


def test_all_fields_left_out_make_one_warning_of_bounded_length() -> None:
    names = "Rows,Columns,Modality,SliceThickness,KVP,EchoTime,FlipAngle,ImageType,PixelSpacing"
    names += ",BitsStored,HighBit,WindowCenter,WindowWidth,InstanceNumber,SeriesNumber,PixelData"
    response = studies(page_of(STUDY), f"includefield={names}")
    warnings = [value for name, value in response.headers if name == "Warning"]
    assert len(warnings) == 1
    assert len(warnings[0]) < 1_100
