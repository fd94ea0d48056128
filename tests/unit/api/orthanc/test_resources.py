"""Lists of resources, single ones with all that is known of them, those below and above."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from dicomulus.api.orthanc.answers import array_response, object_response
from dicomulus.dicom.orthanc_id import orthanc_id, patient_of
from dicomulus.dicom.resource import InstanceResource, SeriesResource
from dicomulus.errors import IdentifierNotFoundError, InvalidQueryError
from tests.support.archives import body_of, small_archive
from tests.support.datasets import ct_instance

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.archives import Small

STUDY, OTHER_STUDY = "1.2", "1.3"
SERIES, OTHER_SERIES = "1.2.1", "1.2.2"


def instance(
    study: str = STUDY,
    series: str = SERIES,
    number: int = 1,
    *,
    patient_id: str = "P1",
    **attributes: Any,
) -> bytes:
    return ct_instance(
        patient_id=patient_id,
        study_instance_uid=study,
        series_instance_uid=series,
        sop_instance_uid=f"{series}.{number}",
        instance_number=number,
        attributes={"StudyDescription": "Chest", **attributes},
    )


def id_of(resource: str | SeriesResource | InstanceResource, patient_id: str = "P1") -> str:
    return orthanc_id(patient_id, resource)


PATIENT_ID = orthanc_id("P1", patient_of("P1"))
STUDY_ID = id_of(STUDY)
SERIES_ID = id_of(SeriesResource(STUDY, SERIES))
INSTANCE_ID = id_of(InstanceResource(STUDY, SERIES, f"{SERIES}.1"))


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Small]:
    """Two studies of one patient, the first of two series, and one of another patient."""
    small = small_archive(tmp_path, orthanc_path="/orthanc")
    small.take(
        {
            "a": instance(),
            "b": instance(number=2),
            "c": instance(series=OTHER_SERIES),
            "d": instance(OTHER_STUDY, "1.3.1"),
            "e": instance("1.4", "1.4.1", patient_id="P2"),
        }
    )
    small.compact()
    yield small
    small.index.close()


# --- single ones ---------------------------------------------------------------------------------


def test_an_instance_tells_what_orthanc_tells(small: Small) -> None:
    row = small.row_of("a")
    told = small.orthanc_json(f"/instances/{INSTANCE_ID}")
    uuid = told.pop("FileUuid")
    assert len(uuid) == 36
    assert told == {
        "FileSize": row.object_size,
        "ID": INSTANCE_ID,
        "IndexInSeries": 1,
        "Labels": [],
        "MainDicomTags": told["MainDicomTags"],
        "ParentSeries": SERIES_ID,
        "Type": "Instance",
    }
    assert told["MainDicomTags"]["SOPInstanceUID"] == f"{SERIES}.1"
    assert told["MainDicomTags"]["InstanceNumber"] == "1"


def test_the_uuid_of_a_file_is_that_of_this_state_of_it(small: Small) -> None:
    first = small.orthanc_json(f"/instances/{INSTANCE_ID}")["FileUuid"]
    assert small.orthanc_json(f"/instances/{INSTANCE_ID}")["FileUuid"] == first
    small.take({"a": instance(StudyDescription="Other")})
    assert small.orthanc_json(f"/instances/{INSTANCE_ID}")["FileUuid"] != first


def test_a_series_tells_what_orthanc_tells(small: Small) -> None:
    told = small.orthanc_json(f"/series/{SERIES_ID}")
    assert told == {
        "ExpectedNumberOfInstances": None,
        "ID": SERIES_ID,
        "Instances": [INSTANCE_ID, id_of(InstanceResource(STUDY, SERIES, f"{SERIES}.2"))],
        "IsStable": False,
        "Labels": [],
        "LastUpdate": "20231114T221320",
        "MainDicomTags": told["MainDicomTags"],
        "ParentStudy": STUDY_ID,
        "Status": "Unknown",
        "Type": "Series",
    }
    assert told["MainDicomTags"]["Modality"] == "CT"
    assert told["MainDicomTags"]["SeriesInstanceUID"] == SERIES


def test_a_study_tells_what_orthanc_tells(small: Small) -> None:
    told = small.orthanc_json(f"/studies/{STUDY_ID}")
    assert told == {
        "ID": STUDY_ID,
        "IsStable": False,
        "Labels": [],
        "LastUpdate": "20231114T221320",
        "MainDicomTags": told["MainDicomTags"],
        "ParentPatient": PATIENT_ID,
        "PatientMainDicomTags": told["PatientMainDicomTags"],
        "Series": [SERIES_ID, id_of(SeriesResource(STUDY, OTHER_SERIES))],
        "Type": "Study",
    }
    assert told["MainDicomTags"]["StudyInstanceUID"] == STUDY
    assert told["MainDicomTags"]["StudyDescription"] == "Chest"
    assert told["PatientMainDicomTags"]["PatientID"] == "P1"


def test_a_patient_tells_what_orthanc_tells(small: Small) -> None:
    told = small.orthanc_json(f"/patients/{PATIENT_ID}")
    assert told == {
        "ID": PATIENT_ID,
        "IsProtected": False,
        "IsStable": False,
        "Labels": [],
        "LastUpdate": "20231114T221320",
        "MainDicomTags": told["MainDicomTags"],
        "Studies": told["Studies"],
        "Type": "Patient",
    }
    assert told["MainDicomTags"]["PatientName"] == "Doe^Jane"
    assert sorted(told["Studies"]) == sorted([STUDY_ID, id_of(OTHER_STUDY)])


def test_stable_is_what_has_not_changed_since_it_was_found_so(small: Small) -> None:
    series = small.index.get_series(SeriesResource(OTHER_STUDY, "1.3.1"))
    assert series is not None
    assert small.index.mark_stable(series.series, series.version)
    path = f"/studies/{id_of(OTHER_STUDY)}"
    assert small.orthanc_json(path)["IsStable"] is True
    small.take({"f": instance(OTHER_STUDY, "1.3.1", 2)})
    assert small.orthanc_json(path)["IsStable"] is False


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [((1, 2), "Complete"), ((1,), "Missing"), ((1, 3), "Inconsistent")],
)
def test_a_series_that_says_how_many_instances_it_has_is_held_to_it(
    tmp_path: Path, numbers: tuple[int, ...], expected: str
) -> None:
    small = small_archive(tmp_path, orthanc_path="/orthanc")
    small.take(
        {
            str(number): instance(
                number=number, ImagesInAcquisition="1", NumberOfTemporalPositions="2"
            )
            for number in numbers
        }
    )
    told = small.orthanc_json(f"/series/{SERIES_ID}")
    assert (told["ExpectedNumberOfInstances"], told["Status"]) == (2, expected)


def test_tags_come_in_the_form_that_is_asked_for(small: Small) -> None:
    path = f"/studies/{STUDY_ID}"
    assert small.orthanc_json(f"{path}?short")["MainDicomTags"]["0020,000d"] == STUDY
    assert small.orthanc_json(f"{path}?full")["MainDicomTags"]["0020,000d"] == {
        "Name": "StudyInstanceUID",
        "Type": "String",
        "Value": STUDY,
    }


@pytest.mark.parametrize("name", ["requested-tags", "requestedTags"])
def test_further_tags_are_told_on_request(small: Small, name: str) -> None:
    told = small.orthanc_json(
        f"/studies/{STUDY_ID}?{name}=Rows;0008-0061;NumberOfStudyRelatedSeries"
    )
    assert told["RequestedTags"] == {
        "ModalitiesInStudy": "CT",
        "NumberOfStudyRelatedSeries": "2",
        "Rows": "16",
    }


def test_a_tag_that_is_none_is_refused(small: Small) -> None:
    with pytest.raises(InvalidQueryError, match="requested-tags"):
        small.orthanc(f"/studies/{STUDY_ID}?requested-tags=Nonsense")


def test_an_identifier_of_another_level_is_not_found(small: Small) -> None:
    with pytest.raises(IdentifierNotFoundError):
        small.orthanc(f"/studies/{SERIES_ID}")


def test_what_is_gone_is_not_found(small: Small) -> None:
    for key in ("a", "b", "c"):
        small.storage.delete(key)
    small.look_at(["a", "b", "c"])
    small.compact()
    for path in (f"/studies/{STUDY_ID}", f"/series/{SERIES_ID}", f"/instances/{INSTANCE_ID}"):
        with pytest.raises(IdentifierNotFoundError):
            small.orthanc(path)
    assert small.orthanc_json(f"/patients/{PATIENT_ID}")["Studies"] == [id_of(OTHER_STUDY)]


def test_what_comes_back_is_found_at_once(small: Small) -> None:
    for key in ("a", "b", "c"):
        small.storage.delete(key)
    small.look_at(["a", "b", "c"])
    small.compact()
    small.take({"b": instance(number=2)})
    sop = id_of(InstanceResource(STUDY, SERIES, f"{SERIES}.2"))
    assert small.orthanc_json(f"/instances/{sop}")["ParentSeries"] == SERIES_ID
    assert small.orthanc_json(f"/series/{SERIES_ID}")["Instances"] == [sop]


def test_what_was_acknowledged_is_told_before_anything_is_folded(tmp_path: Path) -> None:
    small = small_archive(tmp_path, orthanc_path="/orthanc")
    small.take({"a": instance(), "b": instance(number=2), "c": instance(series=OTHER_SERIES)})
    assert small.orthanc_json(f"/studies/{STUDY_ID}/statistics")["CountInstances"] == 3
    assert len(small.orthanc_json(f"/studies/{STUDY_ID}")["Series"]) == 2
    before = small.orthanc_json("/studies?expand")
    small.compact()
    assert small.orthanc_json("/studies?expand") == before


# --- lists ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("level", "count"), [("patients", 2), ("studies", 3), ("series", 4), ("instances", 5)]
)
def test_a_list_has_every_identifier_once(small: Small, level: str, count: int) -> None:
    found = small.orthanc_json(f"/{level}")
    assert len(found) == len(set(found)) == count
    assert [small.orthanc_json(f"/{level}/{each}")["ID"] for each in found] == found


@pytest.mark.parametrize("level", ["patients", "studies", "series", "instances"])
def test_pages_are_parts_of_the_list(small: Small, level: str) -> None:
    found = small.orthanc_json(f"/{level}")
    pages = [
        small.orthanc_json(f"/{level}?since={since}&limit=2")
        for since in range(0, len(found) + 2, 2)
    ]
    assert [each for page in pages for each in page] == found
    assert pages[-1] == []
    assert small.orthanc_json(f"/{level}?since=0&limit=0") == found
    assert small.orthanc_json(f"/{level}?since=1&limit=0") == found[1:]


@pytest.mark.parametrize("level", ["patients", "studies", "series", "instances"])
def test_a_list_is_expanded_on_request(small: Small, level: str) -> None:
    found = small.orthanc_json(f"/{level}?expand&since=1&limit=1")
    (one,) = small.orthanc_json(f"/{level}?since=1&limit=1")
    assert found == [small.orthanc_json(f"/{level}/{one}")]
    assert small.orthanc_json(f"/{level}?expand=false&since=1&limit=1") == [one]


def test_a_list_of_nothing_is_empty(tmp_path: Path) -> None:
    small = small_archive(tmp_path, orthanc_path="/orthanc")
    assert [small.orthanc_json(f"/{level}") for level in ("patients", "studies", "series")] == [
        []
    ] * 3


@pytest.mark.parametrize(
    "query", ["since=1", "limit=1", "since=x&limit=1", "since=0&limit=-1", "since=&limit=1"]
)
def test_a_page_without_beginning_or_length_is_refused(small: Small, query: str) -> None:
    with pytest.raises(InvalidQueryError):
        small.orthanc(f"/studies?{query}")


@pytest.mark.parametrize("count", [0, 1, 200, 201, 450])
def test_a_list_of_any_length_is_one_array(count: int) -> None:
    response = array_response(iter(range(count)))
    assert not isinstance(response.body, bytes)
    assert json.loads(body_of(response)) == list(range(count))


@pytest.mark.parametrize("count", [0, 1, 3])
def test_an_object_of_any_length_is_one_object(count: int) -> None:
    members = {f'"{at}': [at] for at in range(count)}
    response = object_response(iter(members.items()))
    assert json.loads(body_of(response)) == members


def test_what_cannot_be_listed_is_told_before_the_answer_begins() -> None:
    def gone(_: int) -> object:
        raise IdentifierNotFoundError("gone")

    with pytest.raises(IdentifierNotFoundError):
        array_response(map(gone, range(3)))


def test_patients_whose_ids_are_long_or_padded_or_missing_are_listed_once(tmp_path: Path) -> None:
    small = small_archive(tmp_path, orthanc_path="/orthanc")
    patient_ids = ["", " P1", "P1", "P" * 200, "P" * 199, "X\\Y", "ü" * 70]
    small.take(
        {
            str(at): instance(f"1.{at}", f"1.{at}.1", patient_id=patient_id)
            for at, patient_id in enumerate(patient_ids)
        }
    )
    expected = {orthanc_id(each, patient_of(each)) for each in patient_ids}
    found = small.orthanc_json("/patients")
    assert len(found) == len(expected) == 6
    assert set(found) == expected
    for each in found:
        assert small.orthanc_json(f"/patients/{each}")["ID"] == each


# --- below and above -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "count"),
    [
        (f"/patients/{PATIENT_ID}/studies", 2),
        (f"/patients/{PATIENT_ID}/series", 3),
        (f"/patients/{PATIENT_ID}/instances", 4),
        (f"/studies/{STUDY_ID}/series", 2),
        (f"/studies/{STUDY_ID}/instances", 3),
        (f"/series/{SERIES_ID}/instances", 2),
    ],
)
def test_what_is_below_is_told_whole_or_by_identifier(small: Small, path: str, count: int) -> None:
    below = path.rpartition("/")[2]
    told = small.orthanc_json(path)
    found = small.orthanc_json(f"{path}?expand=false")
    assert len(found) == count
    assert [each["ID"] for each in told] == found
    assert told == [small.orthanc_json(f"/{below}/{each}") for each in found]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (f"/studies/{STUDY_ID}/patient", PATIENT_ID),
        (f"/series/{SERIES_ID}/patient", PATIENT_ID),
        (f"/series/{SERIES_ID}/study", STUDY_ID),
        (f"/instances/{INSTANCE_ID}/patient", PATIENT_ID),
        (f"/instances/{INSTANCE_ID}/study", STUDY_ID),
        (f"/instances/{INSTANCE_ID}/series", SERIES_ID),
    ],
)
def test_what_is_above_is_told_whole(small: Small, path: str, expected: str) -> None:
    assert small.orthanc_json(path)["ID"] == expected


def test_an_instance_with_a_patient_id_of_its_own_is_told_as_its_study_is(small: Small) -> None:
    """Lists name it by the study's Patient ID, and it is found by both."""
    small.take({"x": instance(series=OTHER_SERIES, number=9, patient_id="P9")})
    small.compact()
    resource = InstanceResource(STUDY, OTHER_SERIES, f"{OTHER_SERIES}.9")
    by_study, by_itself = id_of(resource), id_of(resource, "P9")
    assert by_study in small.orthanc_json(f"/studies/{STUDY_ID}/instances?expand=false")
    told = small.orthanc_json(f"/instances/{by_itself}")
    assert told == small.orthanc_json(f"/instances/{by_study}")
    assert told["ID"] == by_study


# --- how much ------------------------------------------------------------------------------------


def test_what_is_of_a_resource_is_counted(small: Small) -> None:
    sizes = {key: small.row_of(key).object_size for key in "abcde"}
    study = sizes["a"] + sizes["b"] + sizes["c"]
    assert small.orthanc_json(f"/studies/{STUDY_ID}/statistics") == {
        "CountInstances": 3,
        "CountSeries": 2,
        "DicomDiskSize": str(study),
        "DicomDiskSizeMB": 0,
        "DicomUncompressedSize": str(study),
        "DicomUncompressedSizeMB": 0,
        "DiskSize": str(study),
        "DiskSizeMB": 0,
        "UncompressedSize": str(study),
        "UncompressedSizeMB": 0,
    }
    patient = small.orthanc_json(f"/patients/{PATIENT_ID}/statistics")
    counts = {name: count for name, count in patient.items() if name.startswith("Count")}
    assert counts == {"CountInstances": 4, "CountSeries": 3, "CountStudies": 2}
    assert patient["DiskSize"] == str(study + sizes["d"])
    of_instance = small.orthanc_json(f"/instances/{INSTANCE_ID}/statistics")
    assert of_instance["DiskSize"] == str(sizes["a"])
    assert "CountInstances" not in of_instance


# --- the archive ---------------------------------------------------------------------------------


def test_the_archive_tells_what_it_is(small: Small) -> None:
    told = small.orthanc_json("/system")
    assert told["HasLabels"] is True
    assert told["MainDicomTags"]["Patient"] == (
        "OtherPatientIDs;PatientBirthDate;PatientID;PatientName;PatientSex"
    )


@pytest.mark.parametrize("path", ["/plugins", "/jobs", "/modalities", "/peers", "/queries"])
def test_there_is_nothing_of_what_the_archive_has_not(small: Small, path: str) -> None:
    assert small.orthanc_json(path) == []


def test_uids_are_made_on_request(small: Small) -> None:
    for level in ("study", "series", "instance"):
        made = [body_of(small.orthanc(f"/tools/generate-uid?level={level}")) for _ in range(2)]
        assert made[0] != made[1]
        assert made[0].startswith(b"2.25.")
    assert b"-" in body_of(small.orthanc("/tools/generate-uid?level=patient"))
    with pytest.raises(InvalidQueryError):
        small.orthanc("/tools/generate-uid?level=other")


def test_a_patient_without_an_id_has_an_empty_one(tmp_path: Path) -> None:
    small = small_archive(tmp_path, orthanc_path="/orthanc")
    small.take({"a": ct_instance(omit=("PatientID",))})
    (patient,) = small.orthanc_json("/patients?expand")
    assert patient["MainDicomTags"]["PatientID"] == ""
    assert patient["ID"] == orthanc_id("", patient_of(""))


@pytest.mark.parametrize("path", ["/tools/now", "/tools/now-local"])
def test_the_time_is_told(small: Small, path: str) -> None:
    text = body_of(small.orthanc(path)).decode()
    assert (len(text), text[8]) == (15, "T")


def test_no_patient_is_protected_as_none_is_recycled(small: Small) -> None:
    assert body_of(small.orthanc(f"/patients/{PATIENT_ID}/protected")) == b"0"
    assert small.orthanc_json(f"/patients/{PATIENT_ID}")["IsProtected"] is False
