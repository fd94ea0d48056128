"""Searches of 100,000 studies: what they read, where they end, and that nothing is lost."""

from __future__ import annotations

import json
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest

from dicomulus.adapters.aws.dynamodb_index import DynamoDbIndex
from dicomulus.adapters.aws.dynamodb_table import DynamoDbTable
from dicomulus.adapters.local.sqlite_index import SqliteIndex
from dicomulus.api.routes import answer
from dicomulus.errors import SearchTooBroadError
from dicomulus.services.search_meter import SearchLimits
from dicomulus.wire.message import Headers, Request
from dicomulus.wire.problem import problem
from tests.support.archives import BASE_URL, body_of, small_archive
from tests.support.aws import REGION, moto_aws
from tests.support.search_archive import STUDY_UID, search_of
from tests.support.synthetic_studies import (
    ABSENT_MODALITY,
    DEEP,
    DEEP_NUMBER,
    LACKING,
    add_studies,
    attributes,
    modalities,
    study_uid,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dicomulus.ports import Index
    from dicomulus.services.archive import Archive
    from dicomulus.wire.message import Response

FEW: Final = 100
MANY: Final = 100_000

OHIF_LIST: Final = {
    "limit": "101",
    "offset": "0",
    "fuzzymatching": "true",
    "includefield": "00081030,00080060,00080090,00100030",
}
"""What OHIF asks for with every list, whatever its filters."""

YEAR: Final = {"StudyDate": "20180101-20181231"}
"""A tenth of the studies."""


@dataclass(frozen=True)
class Page:
    """An answer to a search for studies, and its links."""

    response: Response

    @property
    def studies(self) -> list[str]:
        found: list[dict[str, Any]] = json.loads(body_of(self.response))
        return [each[STUDY_UID]["Value"][0] for each in found]

    @property
    def warnings(self) -> list[str]:
        return [value for name, value in self.response.headers if name == "Warning"]

    @property
    def next(self) -> str | None:
        """The target of the link to the next page."""
        link = self.response.header("Link")
        return None if link is None else link[1 : link.index(">")]


def asked(archive: Archive, target: str) -> Page:
    """Ask for a path below the base URL, or for the target of a link."""
    url = urlsplit(target.removeprefix(BASE_URL))
    query = tuple(parse_qsl(url.query, keep_blank_values=True))
    request = Request("GET", f"/dicom-web{url.path}", query, Headers.of({}), base_url=BASE_URL)
    return Page(answer(archive, request))


def pages(archive: Archive, **parameters: str) -> Iterator[Page]:
    """Follow the links from the first page on."""
    target: str | None = f"/studies?{urlencode(parameters)}"
    while target is not None:
        page = asked(archive, target)
        yield page
        target = page.next


def first_page(archive: Archive, **parameters: str) -> Page:
    return asked(archive, f"/studies?{urlencode(parameters)}")


def filled(folder: Path, studies: int) -> Path:
    with closing(SqliteIndex(folder / "index.sqlite")) as index:
        add_studies(index, range(studies), has_series=False)
    return folder


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return filled(tmp_path_factory.mktemp("few"), FEW)


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return filled(tmp_path_factory.mktemp("many"), MANY)


# --- what is read ---------------------------------------------------------------------------------


def reads_of(folder: Path, **parameters: str) -> tuple[dict[str, int], int]:
    """Count a search's calls of the index, and the entries that they read; it finds something."""
    small = small_archive(folder)
    with closing(small.index):
        page, calls = small.ledger.of(lambda: first_page(small.archive, limit="25", **parameters))
    assert page.studies
    return dict(Counter(call.operation for call in calls)), sum(call.entries for call in calls)


@pytest.mark.parametrize(
    "parameters",
    [
        {"PatientID": "P00000007"},
        {"AccessionNumber": "A000000042"},
        {"PatientName": "Hadd*"},
        YEAR,
    ],
    ids=lambda parameters: next(iter(parameters)),
)
def test_a_search_with_an_access_path_reads_as_often_among_100_studies_as_among_100_000(
    few: Path, many: Path, parameters: dict[str, str]
) -> None:
    calls_of_few, _ = reads_of(few, **parameters)
    calls_of_many, entries = reads_of(many, **parameters)
    assert calls_of_many == calls_of_few
    assert sum(calls_of_many.values()) <= 3
    # Those of the page and one more, which tells that there are more.
    assert entries <= 26


# --- where a search ends --------------------------------------------------------------------------


def test_a_costly_search_ends_at_its_budget_and_its_links_lead_to_every_match_once(
    many: Path,
) -> None:
    of_year = {
        number
        for number in range(MANY)
        if "SR" in modalities(number) and (attributes(number)["StudyDate"] or "")[:4] == "2018"
    }
    small = small_archive(many, search_page_units=300)
    with closing(small.index):
        found = list(pages(small.archive, limit="1000", ModalitiesInStudy="SR", **YEAR))
    assert len(found) > 10
    for page in found[:-1]:
        assert page.studies
        assert page.warnings == [
            f"299 {BASE_URL}: There are additional results that can be requested"
        ]
    assert found[-1].warnings == []
    studies = [uid for page in found for uid in page.studies]
    assert Counter(studies) == Counter(map(study_uid, of_year))


def test_a_search_that_finds_nothing_in_its_time_says_how_to_narrow_it(many: Path) -> None:
    small = small_archive(many)
    with closing(small.index):
        search = search_of(small.index, limits=SearchLimits(seconds=0))
        archive = replace(small.archive, search=search)
        with pytest.raises(SearchTooBroadError) as refused:
            first_page(archive, ModalitiesInStudy=ABSENT_MODALITY)
        # In the same time, one that finds something ends with that.
        assert first_page(archive, ModalitiesInStudy="CT").studies
    response = problem(refused.value)
    assert response.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    for keyword in ("PatientID", "AccessionNumber", "PatientName", "StudyDate"):
        assert keyword in json.loads(body_of(response))["detail"]


# --- what viewers ask -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "parameters",
    [
        {"PatientID": "*77-UNIQ*"},
        {"AccessionNumber": "*CX77*"},
        {"PatientName": "*zalco*"},
        {"StudyDescription": "*once only*"},
    ],
    ids=lambda parameters: next(iter(parameters)),
)
def test_the_only_match_of_a_viewers_filter_is_on_page_one_however_deep_it_lies(
    many: Path, parameters: dict[str, str]
) -> None:
    (keyword,) = parameters
    assert parameters[keyword].strip("*") in DEEP[keyword].replace("Quetz", "quetz")
    # A budget that is spent long before.
    small = small_archive(many, search_page_units=50)
    with closing(small.index):
        page = first_page(small.archive, **OHIF_LIST, **parameters)
    assert page.studies == [study_uid(DEEP_NUMBER)]
    # All has been looked through by then, so nothing more is promised.
    assert page.next is None
    assert page.response.header("X-Total-Count") == "1"


# --- what studies lack ----------------------------------------------------------------------------


@pytest.fixture(params=["SQLite", "DynamoDB"])
def either(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Index]:
    if request.param == "SQLite":
        with closing(SqliteIndex(tmp_path / "either.sqlite")) as index:
            yield index
    else:
        with moto_aws() as aws:
            yield DynamoDbIndex(DynamoDbTable(aws.table_name, region=REGION), search_shards=4)


def test_studies_without_date_time_patient_id_or_modality_are_in_the_list(
    either: Index, tmp_path: Path
) -> None:
    numbers = sorted({0, 1, DEEP_NUMBER, *LACKING.values()})
    for keyword, number in LACKING.items():
        lacks = modalities(number) == ("",) if keyword == "Modality" else False
        assert lacks or attributes(number).get(keyword, "") is None
    add_studies(either, numbers)
    small = small_archive(tmp_path)
    with closing(small.index):
        archive = replace(small.archive, search=search_of(either))
        found = list(pages(archive, limit="3"))
        whole = first_page(archive, **OHIF_LIST)
    studies = [uid for page in found for uid in page.studies]
    assert studies == whole.studies
    assert Counter(studies) == Counter(map(study_uid, numbers))
    # What has no date comes after all that have one.
    assert studies[-1] == study_uid(LACKING["StudyDate"])
