"""ZIP archives and media of Orthanc's REST API."""

from __future__ import annotations

import json
import zipfile
from io import BytesIO
from typing import TYPE_CHECKING

import pytest
from pydicom import dcmread

from dicomulus.errors import (
    IdentifierNotFoundError,
    InvalidBodyError,
    NotOfferedError,
    ResponseTooLargeError,
)
from tests.support.archives import body_of, small_archive
from tests.support.datasets import IMPLICIT_LITTLE_ENDIAN, RLE, ct_instance

if TYPE_CHECKING:
    from pathlib import Path

    from dicomulus.wire.message import Response
    from tests.support.archives import Small

STUDY = "8f1c0a3e"
FILES = {
    "1": ct_instance(instance_number=1),
    "2": ct_instance(instance_number=2, transfer_syntax=IMPLICIT_LITTLE_ENDIAN),
    "3": ct_instance(
        study_instance_uid="1.2",
        attributes={"Modality": "M", "SeriesDescription": "", "StudyDescription": "../a^^b/c"},
    ),
    "4": ct_instance(
        study_instance_uid="1.3",
        patient_id="山田",
        patient_name="山田^太郎",
        attributes={
            "Modality": "",
            "SeriesDescription": "",
            "AccessionNumber": "..",
            "StudyDescription": "",
        },
    ),
}


@pytest.fixture
def small(tmp_path: Path) -> Small:
    return small_archive(tmp_path, orthanc_path="/orthanc")


@pytest.fixture
def stored(small: Small) -> dict[str, dict[str, str]]:
    told = {
        name: json.loads(body_of(small.orthanc("/instances", method="POST", body=content)))
        for name, content in FILES.items()
    }
    small.compact()
    return told


def unzipped(response: Response) -> dict[str, bytes]:
    """Give the files; what is wrong with the ZIP file or its announced length fails."""
    assert response.header("Content-Type") == "application/zip"
    body = body_of(response)
    assert response.content_length in (None, len(body))
    with zipfile.ZipFile(BytesIO(body)) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


def test_files_lie_below_patient_study_and_series_as_they_are_stored(
    small: Small, stored: dict[str, dict[str, str]]
) -> None:
    response = small.orthanc(f"/patients/{stored['1']['ParentPatient']}/archive")
    assert unzipped(response) == {
        "P0001 Doe Jane/A0001 Thorax/CT Axial 5 mm/CT000000.dcm": FILES["1"],
        "P0001 Doe Jane/A0001 Thorax/CT Axial 5 mm/CT000001.dcm": FILES["2"],
        "P0001 Doe Jane/A0001 ..a bc/M/M0000000.dcm": FILES["3"],
    }
    name = f'filename="{stored["1"]["ParentPatient"]}.zip"'
    assert response.header("Content-Disposition") == name
    assert response.content_length is not None


def test_what_no_file_system_has_is_left_out_of_names(
    small: Small, stored: dict[str, dict[str, str]]
) -> None:
    files = unzipped(small.orthanc(f"/studies/{stored['4']['ParentStudy']}/archive"))
    assert list(files) == ["Unknown Patient/Unknown Study/Unknown Series/00000000.dcm"]


def test_folders_of_one_name_are_told_apart(small: Small) -> None:
    told = [
        json.loads(body_of(small.orthanc("/instances", method="POST", body=content)))
        for content in (
            ct_instance(series_instance_uid="1.2.1"),
            ct_instance(series_instance_uid="1.2.2"),
        )
    ]
    small.compact()
    files = unzipped(small.orthanc(f"/studies/{told[0]['ParentStudy']}/archive"))
    assert [name.split("/")[2] for name in files] == ["CT Axial 5 mm", "CT Axial 5 mm-2"]


@pytest.mark.parametrize("level", ["Patient", "Study", "Series"])
def test_a_medium_has_a_directory_of_its_files(
    small: Small, stored: dict[str, dict[str, str]], level: str
) -> None:
    path = {"Patient": "patients", "Study": "studies", "Series": "series"}[level]
    files = unzipped(small.orthanc(f"/{path}/{stored['1'][f'Parent{level}']}/media"))
    directory = dcmread(BytesIO(files.pop("DICOMDIR")))
    named = [
        "/".join(r.ReferencedFileID)
        for r in directory.DirectoryRecordSequence
        if "ReferencedFileID" in r
    ]
    assert named == list(files) == [f"IMAGES/IM{number}" for number in range(len(files))]
    assert len(files) == (3 if level == "Patient" else 2)
    assert set(files.values()) <= set(FILES.values())


def test_an_archive_of_several_resources_has_each_file_once(
    small: Small, stored: dict[str, dict[str, str]]
) -> None:
    named = [stored["1"]["ID"], stored["1"]["ParentSeries"], stored["4"]["ParentPatient"]]
    for body in (named, {"Resources": named, "Synchronous": True}):
        response = small.orthanc(
            "/tools/create-archive", method="POST", body=json.dumps(body).encode()
        )
        assert sorted(unzipped(response).values()) == sorted(FILES[name] for name in "124")
        assert response.header("Content-Disposition") == 'filename="Archive.zip"'
    response = small.orthanc(f"/tools/create-archive?resources={','.join(named)}")
    assert len(unzipped(response)) == 3
    several = json.dumps({"Resources": named, "Filename": 'a"b.zip'}).encode()
    response = small.orthanc("/tools/create-media", method="POST", body=several)
    assert "DICOMDIR" in unzipped(response)
    assert response.header("Content-Disposition") == 'filename="a_b.zip"'


def test_an_archive_of_nothing_is_empty(small: Small) -> None:
    assert unzipped(small.orthanc("/tools/create-archive", method="POST", body=b"[]")) == {}


def test_files_are_transcoded_where_they_can_be(
    small: Small, stored: dict[str, dict[str, str]]
) -> None:
    for kind in ("archive", "media"):
        body = json.dumps({"Transcode": RLE}).encode()
        response = small.orthanc(
            f"/series/{stored['1']['ParentSeries']}/{kind}", method="POST", body=body
        )
        files = unzipped(response)
        files.pop("DICOMDIR", None)
        assert [str(dcmread(BytesIO(f)).file_meta.TransferSyntaxUID) for f in files.values()] == [
            RLE,
            RLE,
        ]


def test_what_is_asked_for_in_a_wrong_way_is_refused(
    small: Small, stored: dict[str, dict[str, str]]
) -> None:
    path = f"/series/{stored['1']['ParentSeries']}/archive"
    for wish in ({"Asynchronous": True}, {"Synchronous": False}):
        with pytest.raises(NotOfferedError):
            small.orthanc(path, method="POST", body=json.dumps(wish).encode())
    for body in (b"[]", b"", b'{"Transcode":5}'):
        with pytest.raises(InvalidBodyError):
            small.orthanc(path, method="POST", body=body)
    for body in (b"{}", b"5", b'{"Resources":[1]}'):
        with pytest.raises(InvalidBodyError):
            small.orthanc("/tools/create-archive", method="POST", body=body)
    with pytest.raises(IdentifierNotFoundError):
        small.orthanc("/tools/create-media", method="POST", body=b'["nothing"]')
    with pytest.raises(IdentifierNotFoundError):
        small.orthanc("/studies/nothing/archive")


def test_an_archive_over_the_limit_of_what_carries_it_is_refused(tmp_path: Path) -> None:
    small = small_archive(tmp_path, orthanc_path="/orthanc", max_stream_bytes=1_000)
    told = json.loads(body_of(small.orthanc("/instances", method="POST", body=FILES["1"])))
    for kind in ("archive", "media"):
        with pytest.raises(ResponseTooLargeError):
            small.orthanc(f"/series/{told['ParentSeries']}/{kind}")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/studies/x/anonymize"),
        ("POST", "/instances/x/modify"),
        ("POST", "/tools/bulk-modify"),
        ("GET", "/modalities/x"),
        ("POST", "/modalities/x/store"),
        ("GET", "/jobs/x"),
    ],
)
def test_what_the_archive_does_not_have_is_told(small: Small, method: str, path: str) -> None:
    with pytest.raises(NotOfferedError):
        small.orthanc(path, method=method)
