"""The tags of instances, of their headers, and what several have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from dicomulus.dicom.orthanc_id import orthanc_id, patient_of
from dicomulus.dicom.resource import InstanceResource, SeriesResource
from dicomulus.errors import BulkDataNotFoundError, ObjectChangedError
from tests.support.archives import body_of, small_archive
from tests.support.datasets import ct_instance

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.archives import Small


def instance(number: int, **attributes: Any) -> bytes:
    return ct_instance(
        patient_id="P1",
        study_instance_uid="1",
        series_instance_uid="1.1",
        sop_instance_uid=f"1.1.{number}",
        instance_number=number,
        attributes={"SliceThickness": "1.500", **attributes},
    )


SERIES = SeriesResource("1", "1.1")
PATIENT = f"/patients/{orthanc_id('P1', patient_of('P1'))}"
STUDY_PATH = f"/studies/{orthanc_id('P1', '1')}"
SERIES_PATH = f"/series/{orthanc_id('P1', SERIES)}"
FIRST_ID, SECOND_ID = (orthanc_id("P1", InstanceResource("1", "1.1", f"1.1.{n}")) for n in (1, 2))
FIRST = f"/instances/{FIRST_ID}"


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Small]:
    small = small_archive(tmp_path, orthanc_path="/orthanc")
    small.take({"a": instance(1), "b": instance(2, PatientAge="030Y")})
    small.compact()
    yield small
    small.index.close()


def test_tags_are_told_without_a_read_of_the_object(small: Small) -> None:
    calls = small.ledger.of(lambda: small.orthanc_json(f"{FIRST}/tags"))[1]
    assert {call.port for call in calls} == {"index"}
    told = small.orthanc_json(f"{FIRST}/tags")
    assert told["0018,0050"] == {"Name": "SliceThickness", "Type": "String", "Value": "1.500"}
    assert told["7fe0,0010"] == {"Name": "PixelData", "Type": "Null", "Value": None}
    assert list(told) == sorted(told)


def test_tags_come_simplified(small: Small) -> None:
    simple = small.orthanc_json(f"{FIRST}/simplified-tags")
    assert simple["SliceThickness"] == "1.500"
    assert simple["PixelData"] is None
    assert small.orthanc_json(f"{FIRST}/tags?simplify") == simple
    assert small.orthanc_json(f"{FIRST}/tags?short")["0018,0050"] == "1.500"


def test_a_long_value_is_told_if_it_is_named(tmp_path: Path) -> None:
    small = small_archive(tmp_path, orthanc_path="/orthanc")
    small.take({"a": instance(1, ImageComments="x" * 300)})
    path = f"{FIRST}/tags"
    assert small.orthanc_json(path)["0020,4000"]["Type"] == "TooLong"
    for names in ("0020-4000", "ImageComments", "PatientName,ImageComments"):
        told = small.orthanc_json(f"{path}?ignore-length={names}")
        assert told["0020,4000"]["Value"] == "x" * 300


def test_the_header_is_the_file_meta_information(small: Small) -> None:
    told = small.orthanc_json(f"{FIRST}/header?simplify")
    assert told["TransferSyntaxUID"] == "1.2.840.10008.1.2.1"
    assert told["MediaStorageSOPInstanceUID"] == "1.1.1"
    assert told["FileMetaInformationGroupLength"].isdigit()
    assert small.orthanc_json(f"{FIRST}/header")["0002,0010"]["Type"] == "String"


def test_a_file_without_file_meta_information_has_an_empty_header(tmp_path: Path) -> None:
    small = small_archive(tmp_path, orthanc_path="/orthanc")
    content = ct_instance(
        patient_id="P1",
        study_instance_uid="1",
        series_instance_uid="1.1",
        sop_instance_uid="1.1.1",
        has_file_meta=False,
    )
    small.take({"a": content})
    assert small.orthanc_json(f"{FIRST}/header") == {}


# --- single values --------------------------------------------------------------------------------


def test_content_lists_the_tags(small: Small) -> None:
    found = small.orthanc_json(f"{FIRST}/content")
    assert found == sorted(found)
    assert {"0010-0020", "7fe0-0010"} <= set(found)


@pytest.mark.parametrize("name", ["PatientID", "0010-0020", "0010,0020", "00100020"])
def test_a_value_is_given_as_it_is_stored(small: Small, name: str) -> None:
    response = small.orthanc(f"{FIRST}/content/{name}")
    assert response.header("Content-Type") == "application/octet-stream"
    assert body_of(response) == b"P1"


def test_sequences_are_walked_by_the_places_of_their_items(tmp_path: Path) -> None:
    from pydicom.dataset import Dataset

    items = []
    for uid in ("1.9.1", "1.9.2"):
        item = Dataset()
        item.ReferencedSOPInstanceUID = uid
        items.append(item)
    small = small_archive(tmp_path, orthanc_path="/orthanc")
    small.take({"a": instance(1, ReferencedImageSequence=items)})
    path = f"{FIRST}/content/ReferencedImageSequence"
    assert small.orthanc_json(path) == ["0", "1"]
    assert small.orthanc_json(f"{path}/1") == ["0008-1155"]
    value = body_of(small.orthanc(f"{path}/1/ReferencedSOPInstanceUID"))
    assert value.rstrip(b"\0") == b"1.9.2"
    for wrong in ("2", "x", "-1", "1/PatientID", "99999999999999999999"):
        with pytest.raises(BulkDataNotFoundError):
            small.orthanc(f"{path}/{wrong}")


@pytest.mark.parametrize("name", ["Nonsense", "0010-4000", "PatientID/0", "PatientID/x/y"])
def test_nothing_is_given_where_nothing_is(small: Small, name: str) -> None:
    with pytest.raises(BulkDataNotFoundError):
        small.orthanc(f"{FIRST}/content/{name}")


def test_a_value_of_an_object_that_was_replaced_is_that_of_the_new_one(small: Small) -> None:
    small.storage.put("a", instance(1, PatientAge="044Y"))
    try:
        value = body_of(small.orthanc(f"{FIRST}/content/SliceThickness"))
    except ObjectChangedError:
        value = body_of(small.orthanc(f"{FIRST}/content/SliceThickness"))
    assert value.rstrip() == b"1.500"
    assert small.orthanc_json(f"{FIRST}/simplified-tags")["PatientAge"] == "044Y"


# --- of several instances ---------------------------------------------------------------------------


@pytest.mark.parametrize("path", [PATIENT, STUDY_PATH, SERIES_PATH])
def test_tags_of_all_instances_are_told_by_identifier(small: Small, path: str) -> None:
    told = small.orthanc_json(f"{path}/instances-tags")
    assert set(told) == {FIRST_ID, SECOND_ID}
    assert told[FIRST_ID] == small.orthanc_json(f"{FIRST}/tags")
    simple = small.orthanc_json(f"{path}/instances-tags?simplify")
    assert simple[FIRST_ID] == small.orthanc_json(f"{FIRST}/simplified-tags")


@pytest.mark.parametrize("path", [PATIENT, STUDY_PATH, SERIES_PATH])
def test_shared_tags_are_those_that_all_instances_have_alike(small: Small, path: str) -> None:
    told = small.orthanc_json(f"{path}/shared-tags?simplify")
    assert told["SliceThickness"] == "1.500"
    # One differs, one is of a single instance, one is no text.
    assert not {"InstanceNumber", "PatientAge", "PixelData"} & set(told)


@pytest.mark.parametrize(
    ("path", "present"),
    [
        (f"{PATIENT}/module", "PatientName"),
        (f"{STUDY_PATH}/module", "StudyInstanceUID"),
        (f"{STUDY_PATH}/module-patient", "PatientName"),
        (f"{SERIES_PATH}/module", "Modality"),
        (f"{FIRST}/module", "SOPInstanceUID"),
    ],
)
def test_a_module_has_the_attributes_of_its_level(small: Small, path: str, present: str) -> None:
    told = small.orthanc_json(f"{path}?simplify")
    assert present in told
    assert "SliceThickness" not in told
    assert "Name" in next(iter(small.orthanc_json(path).values()))
