"""The Search transactions as HTTP."""

from __future__ import annotations

import gzip
import json
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest

from dicomulus.api.search import search_instances, search_series, search_studies
from dicomulus.dicom.resource import SeriesResource
from dicomulus.errors import InvalidQueryError, NotAcceptableError
from dicomulus.services.search import ResultPage
from dicomulus.wire.message import Headers, Request, Response, parse_query

if TYPE_CHECKING:
    from dicomulus.dicom.query import Query
    from dicomulus.services.archive import Archive

BASE_URL = "http://archive.example/dicom-web"
STUDY = b'{"00081190":{"vr":"UR","Value":["\x01/studies/1.2"]}}'


class RecordedSearch:
    """Answers every search with one page, and keeps what was asked."""

    def __init__(self, page: ResultPage) -> None:
        self.page = page
        self.asked: list[tuple[object, Query]] = []

    def studies(self, query: Query) -> ResultPage:
        return self._answer("", query)

    def series(self, study_instance_uid: str, query: Query) -> ResultPage:
        return self._answer(study_instance_uid, query)

    def instances(self, series: SeriesResource, query: Query) -> ResultPage:
        return self._answer(series, query)

    def _answer(self, target: object, query: Query) -> ResultPage:
        self.asked.append((target, query))
        return self.page


def archive_of(search: RecordedSearch) -> Archive:
    return cast("Archive", SimpleNamespace(search=search))


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
    response = studies(ResultPage(()))
    assert (response.status, response.body) == (200, b"[]")
    assert response.header("Content-Type") == "application/dicom+json"
    assert response.header("Warning") is None


def test_results_are_a_list_with_the_base_url_in_place() -> None:
    response = studies(ResultPage((STUDY, STUDY)))
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
    response = studies(ResultPage((STUDY,), remaining))
    assert response.header("Warning") == f"299 {BASE_URL}: {text}"


def test_a_long_answer_is_compressed_for_who_takes_it() -> None:
    page = ResultPage((STUDY,) * 100)
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
    assert studies(ResultPage(()), Accept=accept).header("Content-Type") == media_type


def test_another_media_type_is_not_acceptable() -> None:
    with pytest.raises(NotAcceptableError):
        studies(ResultPage(()), Accept="text/csv")


def test_an_unknown_parameter_is_refused() -> None:
    with pytest.raises(InvalidQueryError):
        studies(ResultPage(()), "SeriesNumber=1")


def test_series_and_instances_are_searched_under_what_the_path_names() -> None:
    search = RecordedSearch(ResultPage(()))
    variables = {"study": "1.2", "series": "1.3"}
    search_series(archive_of(search), request("SeriesNumber=1"), variables)
    search_instances(archive_of(search), request("InstanceNumber=1"), variables)
    assert [target for target, _ in search.asked] == ["1.2", SeriesResource("1.2", "1.3")]
    assert [query.level for _, query in search.asked] == ["series", "instance"]
