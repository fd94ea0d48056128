"""Searches of Orthanc's REST API: what is found, and how."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING, Any, cast

import pytest

from dicomulus.api.routes import answer
from dicomulus.dicom.orthanc_id import identifiers_of, orthanc_id
from dicomulus.dicom.resource import InstanceResource, PatientResource, Resource
from dicomulus.errors import (
    InvalidBodyError,
    InvalidQueryError,
    MetadataNotFoundError,
    SearchTooBroadError,
)
from dicomulus.wire.message import Request
from tests.support.archives import body_of, small_archive
from tests.support.datasets import ct_instance
from tests.support.disturbed import Disturbance, DisturbedIndex

if TYPE_CHECKING:
    from pathlib import Path

    from dicomulus.ports import Index
    from tests.support.archives import Small

# Name of the instance -> what it is made of. Study 1 has two series, of which one has two instances.
FILES: dict[str, dict[str, Any]] = {
    "1.1.1": {"patient_id": "Pat-1", "attributes": {"StudyDate": "20200101"}},
    "1.1.2": {"patient_id": "Pat-1", "attributes": {"StudyDate": "20200101", "Rows": 99}},
    "1.2.1": {
        "patient_id": "Pat-1",
        "attributes": {"StudyDate": "20200101", "Modality": "SR", "SeriesDescription": "Report"},
    },
    "2.1.1": {
        "patient_id": "PAT-2",
        "patient_name": "Müller^Jörg",
        "attributes": {"StudyDate": "20210101", "AccessionNumber": "acc2", "OperatorsName": "Op^A"},
    },
    "3.1.1": {
        "patient_id": "Pat-1",
        "attributes": {
            "StudyDate": "20220101",
            "StudyDescription": "Abdomen*",
            "PatientWeight": "80",
        },
    },
    "4.1.1": {"patient_id": "", "patient_name": "", "attributes": {"StudyDate": ""}},
}


def content(name: str) -> bytes:
    study, series, _ = name.split(".")
    return ct_instance(
        study_instance_uid=f"1.{study}",
        series_instance_uid=f"1.{study}.{series}",
        sop_instance_uid=f"1.{name}",
        instance_number=int(name[-1]),
        **FILES[name],
    )


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Small:
    made = small_archive(tmp_path_factory.mktemp("find"), orthanc_path="/orthanc")
    made.take({name: content(name) for name in FILES})
    made.compact()
    return made


def names_of_all() -> dict[str, str]:
    """Give short names by identifier: of a patient its ID, else numbers as far as the level goes."""
    names: dict[str, str] = {}
    for name, told in FILES.items():
        study, series, _ = name.split(".")
        instance = InstanceResource(f"1.{study}", f"1.{study}.{series}", f"1.{name}")
        patient_id = str(told["patient_id"])
        shown = [patient_id or "nobody", study, f"{study}.{series}", name]
        identifiers = identifiers_of(patient_id, instance)
        names |= dict(zip(identifiers, shown, strict=True))
    return names


NAMES = names_of_all()


def ask(small: Small, path: str, body: object) -> Any:
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    return json.loads(body_of(small.orthanc(path, method="POST", body=text)))


def find(small: Small, level: str, query: dict[str, str] | None = None, **more: Any) -> list[str]:
    found = ask(small, "/tools/find", {"Level": level, "Query": query or {}, **more})
    return [NAMES[each] for each in found]


@pytest.mark.parametrize(
    ("level", "query", "expected"),
    [
        # Nothing, an empty value and "*" leave all in.
        ("Patient", {}, {"Pat-1", "PAT-2", "nobody"}),
        ("Study", {}, {"1", "2", "3", "4"}),
        ("Series", {}, {"1.1", "1.2", "2.1", "3.1", "4.1"}),
        ("Instance", {}, set(FILES)),
        ("Study", {"PatientID": "", "StudyDate": "", "AccessionNumber": "*"}, {"1", "2", "3", "4"}),
        # Identifiers, whatever their case; tags in any spelling.
        ("Study", {"PatientID": "pat-1"}, {"1", "3"}),
        ("Study", {"0010,0020": "PAT-1"}, {"1", "3"}),
        ("Study", {"0010-0020": "pat-2"}, {"2"}),
        ("Patient", {"00100020": "pAT-1"}, {"Pat-1"}),
        ("Study", {"PatientID": "pat-*"}, {"1", "2", "3"}),
        ("Study", {"PatientID": "*-2"}, {"2"}),
        ("Study", {"PatientID": "p?T-2"}, {"2"}),
        ("Study", {"PatientID": "pat-2\\nobody\\PAT-1"}, {"1", "2", "3"}),
        ("Study", {"AccessionNumber": "ACC2"}, {"2"}),
        ("Study", {"StudyInstanceUID": "1.1\\1.3\\junk"}, {"1", "3"}),
        ("Study", {"StudyInstanceUID": "junk"}, set()),
        # Names, whatever their case and accents.
        ("Study", {"PatientName": "müller^jörg"}, {"2"}),
        ("Study", {"PatientName": "MULLER*"}, {"2"}),
        ("Patient", {"PatientName": "*JÖRG"}, {"PAT-2"}),
        # Dates: ranges, lists, and what is none.
        ("Study", {"StudyDate": "20200101-20210101"}, {"1", "2"}),
        ("Study", {"StudyDate": "20210101-"}, {"2", "3"}),
        ("Study", {"StudyDate": "-20200101"}, {"1"}),
        ("Study", {"StudyDate": "20200101\\20220101"}, {"1", "3"}),
        ("Study", {"StudyDate": "yesterday"}, set()),
        ("Study", {"StudyDescription": "ABDOMEN\\THORAX"}, {"1", "2", "4"}),
        # What the rows of the level have of levels below.
        ("Study", {"ModalitiesInStudy": "SR"}, {"1"}),
        ("Study", {"ModalitiesInStudy": "sr\\MR"}, {"1"}),
        # What they do not have: of any series, of one instance.
        ("Study", {"Modality": "SR"}, {"1"}),
        ("Study", {"Modality": "sr", "SeriesDescription": "rep*"}, {"1"}),
        ("Study", {"Modality": "CT", "SeriesDescription": "rep*"}, set()),
        ("Patient", {"Modality": "SR"}, {"Pat-1"}),
        ("Study", {"OperatorsName": "op^*"}, {"2"}),
        ("Study", {"PatientWeight": "80"}, {"3"}),
        ("Series", {"PatientWeight": "80"}, {"3.1"}),
        ("Patient", {"StudyDate": "20220101"}, {"Pat-1"}),
        # Levels above, with those of the level itself.
        ("Series", {"PatientID": "Pat-1", "Modality": "ct"}, {"1.1", "3.1"}),
        ("Series", {"SeriesInstanceUID": "1.2.1\\1.3.1"}, {"2.1", "3.1"}),
        ("Instance", {"Rows": "99"}, {"1.1.2"}),
        ("Instance", {"SOPInstanceUID": "1.2.1.1"}, {"2.1.1"}),
        ("Instance", {"Modality": "SR", "StudyDate": "20200101"}, {"1.2.1"}),
        ("Instance", {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.4"}, set()),
        # A sequence is matched by nothing.
        ("Study", {"ReferencedStudySequence": "1"}, set()),
    ],
)
def test_what_is_found(small: Small, level: str, query: dict[str, str], expected: set[str]) -> None:
    found = find(small, level, query)
    assert len(found) == len(set(found))
    assert set(found) == expected
    counted = ask(small, "/tools/count-resources", {"Level": level, "Query": query})
    assert counted == {"Count": len(expected)}


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"PatientID": "pat-1"}, set()),
        ({"PatientID": "Pat-1"}, {"1", "3"}),
        ({"PatientName": "müller^jörg"}, set()),
        ({"PatientName": "Müller^J*"}, {"2"}),
        ({"PatientName": "Muller*"}, set()),
        ({"PatientName": "Doe*\\Müller^Jörg", "StudyDate": "20210101"}, {"2"}),
        ({"StudyDescription": "abdomen*"}, set()),
    ],
)
def test_case_counts_where_that_is_asked_for(
    small: Small, query: dict[str, str], expected: set[str]
) -> None:
    assert set(find(small, "Study", query, CaseSensitive=True)) == expected


@pytest.mark.parametrize("level", ["study", "STUDY", "Studies", "Study"])
def test_levels_are_named_in_any_way(small: Small, level: str) -> None:
    assert len(find(small, level)) == 4


def test_pages_are_cut_by_number_and_hold_all_together(small: Small) -> None:
    for level, count in (("Patient", 3), ("Study", 4), ("Series", 5), ("Instance", 6)):
        whole = find(small, level)
        pages = [find(small, level, Since=since, Limit=2) for since in range(0, 8, 2)]
        assert [each for page in pages for each in page] == whole
        assert len(whole) == count
        assert find(small, level, Since=1) == whole[1:]
        assert find(small, level, Limit=0) == whole


def test_results_come_in_the_order_asked_for(small: Small) -> None:
    def ordered(*keys: tuple[str, str], level: str = "Study") -> list[str]:
        order = [{"Type": "DicomTag", "Key": key, "Direction": way} for key, way in keys]
        return find(small, level, {"PatientID": "Pat-*"}, OrderBy=order)

    assert ordered(("StudyDate", "ASC")) == ["1", "2", "3"]
    assert ordered(("StudyDate", "desc")) == ["3", "2", "1"]
    assert ordered(("PatientID", "ASC"), ("StudyDate", "DESC")) == ["2", "3", "1"]
    assert ordered(("0008,0020", "DESC"), level="Patient") == ["Pat-1", "PAT-2"]


def test_resources_are_limited_to_those_within_others(small: Small) -> None:
    ids = {name: identifier for identifier, name in NAMES.items()}
    assert set(find(small, "Study", ParentPatient=ids["Pat-1"])) == {"1", "3"}
    assert find(small, "Study", {"PatientID": "pat*"}, ParentPatient=ids["PAT-2"]) == ["2"]
    assert find(small, "Study", ParentPatient=ids["nobody"]) == ["4"]
    assert find(small, "Series", {"Modality": "SR"}, ParentStudy=ids["1"]) == ["1.2"]
    assert find(small, "Instance", ParentSeries=ids["1.1"]) == ["1.1.1", "1.1.2"]
    assert find(small, "Instance", {"StudyInstanceUID": "1.2"}, ParentStudy=ids["1"]) == []
    assert find(small, "Instance", ParentStudy="nothing") == []
    assert find(small, "Instance", ParentStudy=ids["Pat-1"]) == []


def test_resources_are_told_whole_or_in_part(small: Small) -> None:
    body: dict[str, Any] = {"Level": "Series", "Query": {"Modality": "SR"}}
    (whole,) = ask(small, "/tools/find", body | {"Expand": True})
    assert whole == small.orthanc_json(f"/series/{whole['ID']}")
    assert whole["MainDicomTags"]["Modality"] == "SR"
    (short,) = ask(small, "/tools/find", body | {"Expand": True, "Short": True})
    assert short["MainDicomTags"]["0008,0060"] == "SR"
    (full,) = ask(small, "/tools/find", body | {"Expand": True, "Full": True})
    assert full["MainDicomTags"]["0008,0060"]["Value"] == "SR"
    (requested,) = ask(
        small, "/tools/find", body | {"Expand": True, "RequestedTags": ["PatientID", "0010,0010"]}
    )
    assert requested["RequestedTags"] == {"PatientID": "Pat-1", "PatientName": "Doe^Jane"}
    (part,) = ask(
        small, "/tools/find", body | {"ResponseContent": ["MainDicomTags", "Parent", "Children"]}
    )
    assert set(part) == {"ID", "Type", "MainDicomTags", "ParentStudy", "Instances"}
    (part,) = ask(small, "/tools/find", body | {"ResponseContent": ["Metadata"]})
    path = f"/series/{whole['ID']}/metadata?expand"
    assert part["Metadata"] == small.orthanc_json(path)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{",
        {"Query": {}},
        {"Level": "Foo", "Query": {}},
        {"Level": 5, "Query": {}},
        {"Level": "Study"},
        {"Level": "Study", "Query": []},
        {"Level": "Study", "Query": {"PatientID": 5}},
        {"Level": "Study", "Query": {}, "CaseSensitive": 1},
        {"Level": "Study", "Query": {}, "Expand": "x"},
        {"Level": "Study", "Query": {}, "Full": 1, "Expand": True},
        {"Level": "Study", "Query": {}, "MetadataQuery": []},
        {"Level": "Study", "Query": {}, "MetadataQuery": {"1024": 5}},
        {"Level": "Study", "Query": {}, "Limit": -1},
        {"Level": "Study", "Query": {}, "Limit": "1"},
        {"Level": "Study", "Query": {}, "Since": True},
        {"Level": "Study", "Query": {}, "Labels": "a"},
        {"Level": "Study", "Query": {}, "Labels": [1]},
        {"Level": "Study", "Query": {}, "LabelsConstraint": "Some"},
        {"Level": "Study", "Query": {}, "LabelsConstraint": ["All"]},
        {"Level": "Study", "Query": {}, "OrderBy": [5]},
        {"Level": "Study", "Query": {}, "OrderBy": [{"Type": "DicomTag", "Key": "StudyDate"}]},
        {"Level": "Study", "Query": {}, "ResponseContent": ["Foo"]},
        {"Level": "Study", "Query": {}, "ParentPatient": 5},
    ],
)
def test_a_search_that_is_none_is_refused(small: Small, body: object) -> None:
    with pytest.raises(InvalidBodyError):
        ask(small, "/tools/find", body)


@pytest.mark.parametrize(
    "query", [{"NoSuchTag": "1"}, {"StudyInstanceUID": "1.*"}, {"StudyDate": "2020*"}]
)
def test_a_query_that_breaks_rules_is_refused(small: Small, query: dict[str, str]) -> None:
    with pytest.raises(InvalidQueryError):
        find(small, "Study", query)


def test_a_member_that_is_not_known_is_ignored(small: Small) -> None:
    assert len(find(small, "Study", Foo=5)) == 4


@pytest.mark.parametrize("seed", range(3))
def test_pages_of_the_index_may_end_anywhere(tmp_path: Path, seed: int) -> None:
    def disturbed(index: Index) -> Index:
        disturbance = Disturbance(lag=0, short_page=0.7)
        return cast("Index", DisturbedIndex(index, random.Random(seed), disturbance))

    made = small_archive(tmp_path, orthanc_path="/orthanc", index=disturbed)
    made.take({name: content(name) for name in FILES})
    made.compact()
    for number in range(1, 5):
        put_label(made, f"1.{number}", "all")
    assert set(find(made, "Study", {"PatientID": "pat-1\\PAT-2"})) == {"1", "2", "3"}
    assert set(find(made, "Instance", {"PatientID": "pat*"})) == set(FILES) - {"4.1.1"}
    assert set(find(made, "Patient", {"Modality": "SR"})) == {"Pat-1"}
    assert set(find(made, "Study", Labels=["all"])) == {"1", "2", "3", "4"}


def test_a_value_in_either_case_is_looked_up_and_not_looked_for(small: Small) -> None:
    """A search for one of many patients reads his studies alone."""
    found, calls = small.ledger.of(lambda: find(small, "Study", {"PatientID": "pat-2"}))
    assert found == ["2"]
    assert sum(call.entries for call in calls) <= 3  # of which two tell how it is spelt


def test_what_takes_too_long_is_refused_and_not_cut_off(tmp_path: Path) -> None:
    small = small_archive(tmp_path, orthanc_path="/orthanc", search_seconds=1)
    small.take({name: content(name) for name in FILES})
    small.compact()
    object.__setattr__(small.archive.search._limits, "seconds", -1)
    with pytest.raises(SearchTooBroadError):
        find(small, "Study")


# --- labels ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Small:
    """Studies 1 to 3 with labels "1" to their number, and some on other levels."""
    made = small_archive(
        tmp_path_factory.mktemp("labels"),
        orthanc_path="/orthanc",
        metadata_names=("my-note=1030",),
    )
    made.take({name: content(name) for name in FILES})
    made.compact()
    for number in range(1, 4):
        for label in range(1, number + 1):
            put_label(made, f"1.{number}", str(label))
    put_label(made, PatientResource("Pat-1"), "p")
    put_label(made, PatientResource(""), "p")
    put_label(made, InstanceResource("1.1", "1.1.1", "1.1.1.2"), "i")
    put_metadata(made, "1.1", 1030, "Good")
    put_metadata(made, "1.2", 1030, "boo")
    put_metadata(made, InstanceResource("1.2", "1.2.1", "1.2.1.1"), 1031, "i")
    return made


def put_label(small: Small, resource: Resource, label: str) -> None:
    small.archive.documents.update(resource, lambda document: document.with_label(label))


def put_metadata(small: Small, resource: Resource, number: int, value: str) -> None:
    small.archive.documents.update(resource, lambda document: document.with_metadata(number, value))


@pytest.mark.parametrize(
    ("level", "more", "expected"),
    [
        ("Study", {"Labels": ["1"]}, {"1", "2", "3"}),
        ("Study", {"Labels": ["1", "3"]}, {"3"}),
        ("Study", {"Labels": ["2", "3"], "LabelsConstraint": "Any"}, {"2", "3"}),
        ("Study", {"Labels": ["2", "3"], "LabelsConstraint": "None"}, {"1", "4"}),
        ("Study", {"Labels": [], "LabelsConstraint": "None"}, {"4"}),
        ("Study", {"Labels": [], "LabelsConstraint": "All"}, {"1", "2", "3", "4"}),
        ("Study", {"Labels": ["x"]}, set()),
        ("Study", {"Labels": ["1"], "Query": {"PatientID": "pat-1"}}, {"1", "3"}),
        ("Study", {"Labels": ["1"], "Query": {"StudyInstanceUID": "1.2\\1.4"}}, {"2"}),
        ("Patient", {"Labels": ["p"]}, {"Pat-1", "nobody"}),
        ("Patient", {"Labels": ["p"], "LabelsConstraint": "None"}, {"PAT-2"}),
        ("Patient", {"Labels": ["1"]}, set()),
        ("Instance", {"Labels": ["i"]}, {"1.1.2"}),
        ("Series", {"Labels": ["i"]}, set()),
    ],
)
@pytest.mark.parametrize("most", [10_000, 0])
def test_resources_are_found_by_their_labels(
    labelled: Small,
    level: str,
    more: dict[str, Any],
    expected: set[str],
    most: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Looked up, or where very many have them tested one by one."""
    monkeypatch.setattr("dicomulus.services.resource_search._MOST_LABELLED", most)
    body = {"Level": level, "Query": {}, **more}
    found = [NAMES[each] for each in ask(labelled, "/tools/find", body)]
    assert len(found) == len(set(found))
    assert set(found) == expected
    assert ask(labelled, "/tools/count-resources", body) == {"Count": len(expected)}


@pytest.mark.parametrize(
    ("level", "query", "expected"),
    [
        ("Study", {"1030": "good"}, {"1"}),
        ("Study", {"my-note": "*OO*"}, {"1", "2"}),
        ("Study", {"my-note": "good\\boo"}, {"1", "2"}),
        ("Study", {"my-note": "good", "1031": "x"}, set()),
        ("Study", {"my-note": ""}, {"1", "2", "3", "4"}),
        ("Series", {"my-note": "good"}, set()),
        ("Instance", {"TransferSyntax": "1.2.840.10008.1.2.1", "1031": "i"}, {"2.1.1"}),
    ],
)
def test_resources_are_found_by_their_metadata(
    labelled: Small, level: str, query: dict[str, str], expected: set[str]
) -> None:
    more = {"Level": level, "Query": {}, "MetadataQuery": query}
    assert {NAMES[each] for each in ask(labelled, "/tools/find", more)} == expected
    with pytest.raises(MetadataNotFoundError):
        ask(labelled, "/tools/find", more | {"MetadataQuery": {"nothing": "x"}})


# --- lookup and bulk content ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Pat-1", [("Patient", "Pat-1")]),
        (" pat-1\n", [("Patient", "Pat-1")]),
        ("1.2", [("Study", "2")]),
        ("1.2.1", [("Series", "2.1")]),
        ("1.2.1.1", [("Instance", "2.1.1")]),
        ("nothing", []),
        ("", []),
        ("*", []),
    ],
)
def test_identifiers_are_looked_up(
    small: Small, text: str, expected: list[tuple[str, str]]
) -> None:
    told = ask(small, "/tools/lookup", text.encode())
    assert [(each["Type"], NAMES[each["ID"]]) for each in told] == expected
    for each in told:
        path = {"Patient": "patients", "Study": "studies"}.get(each["Type"])
        path = path or {"Series": "series", "Instance": "instances"}[each["Type"]]
        assert each["Path"] == f"/{path}/{each['ID']}"


def test_many_resources_are_described_at_once(small: Small) -> None:
    ids = {name: identifier for identifier, name in NAMES.items()}
    named = [ids["1"], "nothing", ids["2.1.1"], ids["PAT-2"]]
    told = ask(small, "/tools/bulk-content", {"Resources": named})
    assert [(each["Type"], NAMES[each["ID"]]) for each in told] == [
        ("Study", "1"),
        ("Instance", "2.1.1"),
        ("Patient", "PAT-2"),
    ]
    metadata = {"Metadata": small.orthanc_json(f"/studies/{ids['1']}/metadata?expand")}
    assert told[0] == small.orthanc_json(f"/studies/{ids['1']}") | metadata
    (told,) = ask(small, "/tools/bulk-content", {"Resources": [ids["1"]], "Metadata": False})
    assert "Metadata" not in told
    for level, expected in {
        "Patient": ["Pat-1", "PAT-2"],
        "Study": ["1", "2"],
        "Series": ["1.1", "1.2", "2.1"],
        "Instance": ["1.1.1", "1.1.2", "1.2.1", "2.1.1"],
    }.items():
        told = ask(small, "/tools/bulk-content", {"Resources": named, "Level": level})
        assert [NAMES[each["ID"]] for each in told] == expected
    for body in ({}, {"Resources": "x"}, {"Resources": [], "Level": "x"}):
        with pytest.raises(InvalidBodyError):
            ask(small, "/tools/bulk-content", body)


def test_reading_is_enough_to_search(small: Small) -> None:
    """Though it is sent by POST."""
    request = Request("POST", "/orthanc/tools/lookup", scopes=frozenset({"read"}))
    assert answer(small.archive, request).status == 200


def test_identifiers_of_the_answers_are_those_of_patients_and_uids(small: Small) -> None:
    (found,) = ask(small, "/tools/find", {"Level": "Study", "Query": {"StudyInstanceUID": "1.2"}})
    assert found == orthanc_id("PAT-2", "1.2")


@pytest.mark.parametrize("name", ["Since", "Limit"])
def test_a_number_of_any_size_is_answered(small: Small, name: str) -> None:
    expected = [] if name == "Since" else find(small, "Study")
    more: dict[str, Any] = {name: 10**400}
    assert find(small, "Study", **more) == expected


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("Labels", [f"label-{number}" for number in range(1001)]),
        ("Query", {f"0009,{number:04x}": "x" for number in range(1001)}),
        ("MetadataQuery", {str(number): "x" for number in range(1024, 2025)}),
        ("OrderBy", [{"Type": "DicomTag", "Key": "PatientID", "Direction": "ASC"}] * 1001),
    ],
)
def test_what_one_search_may_ask_has_an_end(small: Small, member: str, value: Any) -> None:
    with pytest.raises(InvalidBodyError, match=member):
        ask(small, "/tools/find", {"Level": "Study", "Query": {}} | {member: value})


def test_a_pattern_for_metadata_is_no_longer_than_others(small: Small) -> None:
    with pytest.raises(InvalidQueryError, match="MetadataQuery"):
        find(small, "Study", MetadataQuery={"1024": "*a" * 40_000})
