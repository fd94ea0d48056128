"""Searches by label: at every level, with other keys, in pages, and however many have one."""

from __future__ import annotations

from contextlib import closing
from itertools import product
from typing import TYPE_CHECKING

import pytest

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
from dicomulus.dicom.resource import PatientResource
from dicomulus.errors import InvalidQueryError
from dicomulus.services import label_search
from dicomulus.services.search import EVERYTHING, Within
from tests.support.builders import instance_of
from tests.support.document_contract import document_row
from tests.support.search_archive import (
    SERIES_UID,
    SOP_UID,
    STUDY_UID,
    add_series,
    query_of,
    search_of,
    studies,
    uids,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from dicomulus.dicom.query import SearchResource
    from dicomulus.dicom.resource import Resource

COUNT = 12
PATIENT_ID = "00100020"


def label(index: SqliteIndex, resource: Resource, *labels: str, version: int = 1) -> None:
    assert index.put_document(document_row(resource, labels=labels, version=version))


@pytest.fixture
def index(tmp_path: Path) -> Iterator[SqliteIndex]:
    """Twelve studies of four patients: every second one ``even``, every third one ``third``."""
    with closing(SqliteIndex(tmp_path / "index.sqlite")) as index:
        for study in range(1, COUNT + 1):
            for series in (1, 2):
                add_series(
                    index,
                    study,
                    series,
                    PatientID=f"P{study % 4}",
                    StudyDate=f"202401{study:02d}",
                    Modality="CT" if series == 1 else "MR",
                    SeriesNumber=series,
                    InstanceNumber=1,
                )
            labels = [name for name, each in (("even", 2), ("third", 3)) if study % each == 0]
            label(index, f"1.2.{study}", *labels)
            if "even" in labels:
                label(index, instance_of(study, 2).series, "s")
            if "third" in labels:
                label(index, instance_of(study, 1), "i")
        label(index, PatientResource("P1"), "p")
        label(index, PatientResource("P3"), "p", "q")
        yield index


def of(numbers: Iterable[int]) -> list[str]:
    return [f"1.2.{number}" for number in numbers]


EVEN = {2, 4, 6, 8, 10, 12}
THIRD = {3, 6, 9, 12}
ALL = set(range(1, COUNT + 1))


@pytest.fixture(params=[1_000, 4, 0], ids=lambda most: f"at most {most} looked up")
def _most(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many resources have a label: looked up, or each match tested."""
    monkeypatch.setattr(label_search, "MOST_NAMED", request.param)


@pytest.mark.usefixtures("_most")
@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"Label": "even"}, EVEN),
        ({"Label": "even,third"}, EVEN & THIRD),
        ({"Label": "third", "LabelsConstraint": "All"}, THIRD),
        ({"Label": "even,third", "LabelsConstraint": "Any"}, EVEN | THIRD),
        ({"Label": "even,third", "LabelsConstraint": "None"}, ALL - EVEN - THIRD),
        ({"Label": "even,nobody"}, set()),
        ({"Label": "nobody"}, set()),
        ({"Label": "nobody", "LabelsConstraint": "None"}, ALL),
        ({"Label": "even,nobody", "LabelsConstraint": "Any"}, EVEN),
        ({"Label": "Even"}, set()),
        ({"Label": ""}, ALL),
        ({"Label": "even", "PatientID": "P0"}, {4, 8, 12}),
        ({"Label": "even", "StudyDate": "20240103-20240108"}, {4, 6, 8}),
        ({"Label": "even", "StudyInstanceUID": "1.2.3,1.2.4,1.2.77"}, {4}),
    ],
    ids=str,
)
def test_studies_are_found_by_their_labels_newest_first(
    index: SqliteIndex, asked: dict[str, str], expected: set[int]
) -> None:
    assert studies(index, **asked) == of(sorted(expected, reverse=True))
    assert search_of(index).count(query_of(**asked)) == len(expected)


@pytest.mark.usefixtures("_most")
@pytest.mark.parametrize(
    ("resource", "within", "tag", "name", "expected"),
    [
        (ALL_SERIES, EVERYTHING, SERIES_UID, "s", [f"1.2.{n}.2" for n in sorted(EVEN)[::-1]]),
        (STUDY_SERIES, Within(study_instance_uid="1.2.4"), SERIES_UID, "s", ["1.2.4.2"]),
        (STUDY_SERIES, Within(study_instance_uid="1.2.3"), SERIES_UID, "s", []),
        (ALL_INSTANCES, EVERYTHING, SOP_UID, "i", [f"1.2.{n}.1.1" for n in sorted(THIRD)[::-1]]),
        (STUDY_INSTANCES, Within(study_instance_uid="1.2.3"), SOP_UID, "i", ["1.2.3.1.1"]),
        (
            SERIES_INSTANCES,
            Within(study_instance_uid="1.2.3", series_instance_uid="1.2.3.1"),
            SOP_UID,
            "i",
            ["1.2.3.1.1"],
        ),
        (STUDIES, Within(patient_id="P0"), STUDY_UID, "even", of([12, 8, 4])),
        (PATIENTS, EVERYTHING, PATIENT_ID, "p", ["P3", "P1"]),
        (PATIENTS, EVERYTHING, PATIENT_ID, "q", ["P3"]),
        (STUDIES, EVERYTHING, STUDY_UID, "s", []),
    ],
)
def test_each_level_has_labels_of_its_own(
    index: SqliteIndex,
    resource: SearchResource,
    within: Within,
    tag: str,
    name: str,
    expected: list[str],
) -> None:
    page = search_of(index).find(query_of(resource, Label=name), within)
    assert uids(page, tag) == expected


@pytest.mark.usefixtures("_most")
@pytest.mark.parametrize(
    ("resource", "tag", "name", "order"),
    [
        (STUDIES, STUDY_UID, "even", ""),
        (STUDIES, STUDY_UID, "even", "StudyDate"),
        (STUDIES, STUDY_UID, "even", "-PatientID"),
        (ALL_SERIES, SERIES_UID, "s", ""),
        (ALL_INSTANCES, SOP_UID, "i", ""),
    ],
)
def test_following_the_links_gives_every_match_once(
    index: SqliteIndex, resource: SearchResource, tag: str, name: str, order: str
) -> None:
    search = search_of(index)
    asked = {"Label": name, "orderby": order}
    whole = uids(search.find(query_of(resource, **asked)), tag)
    for size in ("1", "2", "3"):
        found, page = [], ""
        while True:
            answer = search.find(query_of(resource, limit=size, page=page, **asked))
            found += uids(answer, tag)
            page = answer.next
            if not page:
                break
        assert found == whole


def test_a_link_belongs_to_its_labels(index: SqliteIndex) -> None:
    search = search_of(index)
    page = search.find(query_of(Label="even", limit="1")).next
    for other in ({"Label": "third"}, {}, {"Label": "even", "LabelsConstraint": "None"}):
        with pytest.raises(InvalidQueryError):
            search.find(query_of(limit="1", page=page, **other))


def test_few_labelled_studies_cost_the_same_in_any_archive(index: SqliteIndex) -> None:
    """Four are looked up by their label and read, and no entry of the dates is."""
    page = search_of(index).find(query_of(Label="third"))
    assert page.plan == "studies named: 4; labels looked up: 4"
    assert (page.cost.entries, page.cost.studies) == (4, 4)


def test_a_label_is_found_as_soon_as_it_is_put_and_no_more_when_it_went(
    index: SqliteIndex,
) -> None:
    label(index, "1.2.1", "new", version=2)
    assert studies(index, Label="new") == of([1])
    label(index, "1.2.1", version=3)
    assert studies(index, Label="new") == []
    label(index, "1.2.999", "new")
    assert studies(index, Label="new") == []


@pytest.mark.parametrize(
    ("parameters", "name"),
    [
        ({"Label": "a b"}, "Label"),
        ({"Label": "a" * 65}, "Label"),
        ({"Label": ",".join(map(str, range(101)))}, "Label"),
        ({"Label": "a", "LabelsConstraint": "Some"}, "LabelsConstraint"),
        ({"LabelsConstraint": "all"}, "LabelsConstraint"),
    ],
    ids=str,
)
def test_what_can_be_no_label_is_refused_by_name(parameters: dict[str, str], name: str) -> None:
    for resource, _ in product((STUDIES, ALL_SERIES, ALL_INSTANCES), (0,)):
        with pytest.raises(InvalidQueryError) as caught:
            query_of(resource, **parameters)
        assert caught.value.parameter == name
