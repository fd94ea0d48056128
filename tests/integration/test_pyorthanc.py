"""pyorthanc, as its users have it, against a served archive: below a path, and at the root."""

from __future__ import annotations

import asyncio
import gc
import io
import zipfile
from datetime import datetime
from typing import TYPE_CHECKING

import httpx
import pydicom
import pyorthanc
import pytest
from pyorthanc import AsyncOrthanc, Instance, Orthanc, Patient, Series, Study
from pyorthanc.util import to_orthanc_instance_id_from_ds

from tests.support.datasets import ct_instance
from tests.support.serving import eventually, serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.serving import Served


def content_of(patient: int, study: int = 1, series: int = 1, number: int = 1) -> bytes:
    """Give an instance of a patient; the modality is that of the series."""
    uid = f"1.2.{patient}.{study}"
    return ct_instance(
        patient_id=f"Pat-{patient}",
        patient_name=f"Doe^{patient}",
        study_instance_uid=uid,
        series_instance_uid=f"{uid}.{series}",
        sop_instance_uid=f"{uid}.{series}.{number}",
        instance_number=number,
        attributes={
            "StudyDate": f"20200{study}01",
            "Modality": {1: "CT", 2: "SR"}[series],
            "InstanceCreationDate": "20200102",
            "InstanceCreationTime": "030405",
        },
    )


FILES = {
    "1.dcm": content_of(1),
    "2.dcm": content_of(1, number=2),
    "sub/3.dcm": content_of(1, series=2),
    "sub/4.dcm": content_of(1, study=2),
    "sub/5.dcm": content_of(2),
}
AUTH = ("orthanc", "secret")
"""Whoever asks, with the token as his password."""


@pytest.fixture(scope="module", params=["/orthanc", "/"])
def served(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Served, str]]:
    folder = tmp_path_factory.mktemp("served")
    (folder / "source").mkdir()
    options = ("--data-dir", folder / "data", "--allow-store", "--allow-delete")
    variables = {
        "DICOMULUS_ORTHANC_PATH": request.param,
        "DICOMULUS_COMPACT_DELAY_SECONDS": "0",
        "DICOMULUS_STABLE_AGE_SECONDS": "1",
        "DICOMULUS_TOKEN": "secret",
    }
    with serving(folder / "source", *options, log=folder / "log", **variables) as served:
        base = served.base_url.removesuffix("/dicom-web")
        yield served, base + request.param.removesuffix("/")


@pytest.fixture(scope="module")
def client(
    served: tuple[Served, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Orthanc]:
    """An archive with all files, uploaded by pyorthanc from a folder."""
    folder = tmp_path_factory.mktemp("files")
    (folder / "sub").mkdir()
    for name, content in FILES.items():
        (folder / name).write_bytes(content)
    with Orthanc(served[1], *AUTH, timeout=30) as client:
        uploaded = pyorthanc.upload(client, str(folder), recursive=True)
        assert len({instance.id_ for instance in uploaded}) == len(FILES)
        eventually(lambda: len(client.get_series()) == 4, "all series")
        yield client


def instance_of(client: Orthanc, content: bytes) -> Instance:
    identifier = to_orthanc_instance_id_from_ds(pydicom.dcmread(io.BytesIO(content)))
    return Instance(identifier, client)


# --- uploads --------------------------------------------------------------------------------------


def test_what_is_uploaded_has_the_identifiers_that_pyorthanc_computes(client: Orthanc) -> None:
    for content in FILES.values():
        assert instance_of(client, content).get_dicom_file_content() == content


def test_files_folders_data_sets_and_zip_files_are_uploaded(
    client: Orthanc, tmp_path: Path
) -> None:
    """And known as being there already."""
    content = content_of(1)
    file = tmp_path / "1.dcm"
    file.write_bytes(content)
    with zipfile.ZipFile(tmp_path / "many.zip", "w") as archive:
        for name, each in FILES.items():
            archive.writestr(name, each)
    expected = instance_of(client, content)
    assert pyorthanc.upload(client, file) == [expected]
    assert pyorthanc.upload(client, pydicom.dcmread(file)) == [expected]
    assert pyorthanc.upload(client, str(tmp_path), check_before_upload=True) == [expected]
    many = pyorthanc.upload(client, tmp_path / "many.zip", check_before_upload=True)
    assert many == [instance_of(client, each) for each in FILES.values()]
    with pytest.raises(httpx.HTTPError, match="HTTP code: 400"):
        client.post_instances(b"no object")


def test_an_upload_may_be_asynchronous(served: tuple[Served, str], tmp_path: Path) -> None:
    file = tmp_path / "1.dcm"
    file.write_bytes(content_of(1))

    async def upload() -> object:
        async with AsyncOrthanc(served[1], *AUTH) as client:
            return await pyorthanc.async_upload(client, file)

    told = asyncio.run(upload())
    assert isinstance(told, dict)
    assert told["Status"] == "AlreadyStored"


# --- resources ------------------------------------------------------------------------------------


def test_an_instance_tells_all_that_pyorthanc_asks_for(client: Orthanc) -> None:
    content = content_of(1, number=2)
    instance = instance_of(client, content)
    assert instance.uid == "1.2.1.1.1.2"
    assert instance.file_size == len(content)
    assert instance.creation_date == datetime(2020, 1, 2, 3, 4, 5)  # noqa: DTZ001 - as it is given
    assert instance.instance_number == 2
    assert instance.image_position_patient == [-160, -160, 10]
    assert instance.image_orientation_patient == [1, 0, 0, 0, 1, 0]
    assert instance.tags["0010,0020"]["Value"] == "Pat-1"
    assert instance.simplified_tags["PatientID"] == "Pat-1"
    assert instance.get_content_by_tag("PatientName") == "Doe^1"
    assert instance.get_pydicom().PatientID == "Pat-1"
    assert instance.labels == []
    assert instance.parent_series.uid == "1.2.1.1.1"
    assert instance.parent_study.uid == "1.2.1.1"
    assert instance.parent_patient.patient_id == "Pat-1"
    with pytest.raises(pyorthanc.errors.TagDoesNotExistError):
        instance.image_comments  # noqa: B018 - which asks


def test_a_series_a_study_and_a_patient_tell_it_too(client: Orthanc) -> None:
    series = instance_of(client, content_of(1)).parent_series
    assert (series.uid, series.modality, series.series_number) == ("1.2.1.1.1", "CT", 1)
    assert series.description == "Axial 5 mm"
    assert {each.uid for each in series.instances} == {"1.2.1.1.1.1", "1.2.1.1.1.2"}
    study = series.parent_study
    assert (study.uid, study.description, study.accession_number) == ("1.2.1.1", "Thorax", "A-0001")
    assert study.date == datetime(2020, 1, 1, 10, 15, 30)  # noqa: DTZ001 - as it is given
    assert study.patient_information["PatientID"] == "Pat-1"
    assert {each.modality for each in study.series} == {"CT", "SR"}
    patient = study.parent_patient
    assert (patient.patient_id, patient.name, patient.sex) == ("Pat-1", "Doe^1", "F")
    assert patient.birth_date == datetime(1970, 1, 1)  # noqa: DTZ001 - as it is given
    assert {each.uid for each in patient.studies} == {"1.2.1.1", "1.2.1.2"}
    assert patient.get_patient_module(simplify=True)["PatientID"] == "Pat-1"
    assert patient.shared_tags["PatientID"] == "Pat-1"
    assert study.get_shared_tags(simplify=True)["StudyInstanceUID"] == "1.2.1.1"
    assert not patient.protected
    assert isinstance(patient.last_update, datetime)
    eventually(lambda: study.is_stable, "a stable study")


# --- searches -------------------------------------------------------------------------------------


def test_resources_are_found_by_queries(client: Orthanc) -> None:
    assert [
        each.patient_id for each in pyorthanc.find_patients(client, {"PatientID": "pat-2"})
    ] == ["Pat-2"]
    studies = pyorthanc.find_studies(client, {"PatientName": "doe^*", "StudyDate": "20200201-"})
    assert [each.uid for each in studies] == ["1.2.1.2"]
    series = pyorthanc.find_series(client, {"Modality": "SR", "PatientID": "Pat-*"})
    assert [each.uid for each in series] == ["1.2.1.1.2"]
    instances = pyorthanc.find_instances(client, {"SOPInstanceUID": "1.2.2.1.1.1"})
    assert instances == [instance_of(client, content_of(2))]
    assert len(pyorthanc.find_instances(client)) == len(FILES)


def test_results_come_in_pages(client: Orthanc) -> None:
    found = pyorthanc.query_orthanc(client, level="Instance", limit=2)
    assert len({each.id_ for each in found}) == len(found) == len(FILES)
    page = pyorthanc.query_orthanc(
        client, level="Instance", limit=2, since=1, retrieve_all_resources=False
    )
    assert page == found[1:3]


def is_wanted(asked: Orthanc | AsyncOrthanc) -> None:
    (patient,) = pyorthanc.find(
        asked,
        patient_filter=lambda patient: patient.patient_id == "Pat-1",
        study_filter=lambda study: study.uid == "1.2.1.1",
        series_filter=lambda series: series.modality == "CT",
        instance_filter=lambda instance: instance.instance_number == 2,
    )
    (study,) = patient.studies
    (series,) = study.series
    assert [each.uid for each in series.instances] == ["1.2.1.1.1.2"]


def test_resources_are_filtered_by_functions(client: Orthanc) -> None:
    is_wanted(client)
    assert pyorthanc.find(client, series_filter=lambda series: series.modality == "US") == []


# pyorthanc makes clients that it does not close.
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_resources_are_filtered_asynchronously(client: Orthanc, served: tuple[Served, str]) -> None:
    assert client.get_system()["ApiVersion"]
    is_wanted(AsyncOrthanc(served[1], *AUTH))
    gc.collect()


def test_identifiers_are_looked_up(client: Orthanc) -> None:
    with pytest.deprecated_call():  # of a text that httpx is given as data
        told = client.post_tools_lookup("1.2.2.1")
    assert [each["Type"] for each in told] == ["Study"]
    assert Study(told[0]["ID"], client).uid == "1.2.2.1"


# --- files ----------------------------------------------------------------------------------------


def test_patients_are_written_to_folders(client: Orthanc, tmp_path: Path) -> None:
    pyorthanc.retrieve_and_write_patients(pyorthanc.find_patients(client), tmp_path)
    written = {
        str(path.relative_to(tmp_path)): path.read_bytes() for path in tmp_path.rglob("*.dcm")
    }
    assert set(written) == {
        "Pat-1/1.2.1.1/1.2.1.1.1/1.2.1.1.1.1.dcm",
        "Pat-1/1.2.1.1/1.2.1.1.1/1.2.1.1.1.2.dcm",
        "Pat-1/1.2.1.1/1.2.1.1.2/1.2.1.1.2.1.dcm",
        "Pat-1/1.2.1.2/1.2.1.2.1/1.2.1.2.1.1.dcm",
        "Pat-2/1.2.2.1/1.2.2.1.1/1.2.2.1.1.1.dcm",
    }
    assert sorted(written.values()) == sorted(FILES.values())


def test_resources_are_downloaded(client: Orthanc, tmp_path: Path) -> None:
    instance = instance_of(client, content_of(1))
    instance.download(str(tmp_path / "instance.dcm"))
    assert (tmp_path / "instance.dcm").read_bytes() == content_of(1)
    series = instance.parent_series
    for resource in (series, series.parent_study, series.parent_study.parent_patient):
        buffer = io.BytesIO()
        resource.download(buffer)
        names = zipfile.ZipFile(buffer).namelist()
        assert sorted(names) == sorted(zipfile.ZipFile(io.BytesIO(resource.get_zip())).namelist())
        assert all(name.startswith("Pat1 Doe 1/A0001 Thorax") for name in names)


# --- what is written ------------------------------------------------------------------------------


def test_resources_have_labels_and_are_found_by_them(client: Orthanc) -> None:
    instance = instance_of(client, content_of(1, study=2))
    series, study = instance.parent_series, instance.parent_study
    patient = study.parent_patient
    finds = (
        (patient, pyorthanc.find_patients),
        (study, pyorthanc.find_studies),
        (series, pyorthanc.find_series),
        (instance, pyorthanc.find_instances),
    )
    for resource, find in finds:
        resource.add_label("seen")
        resource.add_label("to-do")
        assert resource.labels == ["seen", "to-do"]
        assert find(client, labels=["seen", "to-do"]) == [resource]
        assert find(client, labels=["seen", "other"], labels_constraint="Any") == [resource]
        assert find(client, {"PatientID": "nobody"}, labels="seen") == []
        assert resource not in find(client, labels="seen", labels_constraint="None")
    assert client.get_tools_labels() == ["seen", "to-do"]
    for resource, find in finds:
        resource.remove_label("seen")
        resource.remove_label("to-do")
        assert resource.labels == []
        assert find(client, labels="seen") == []


def test_resources_have_metadata(client: Orthanc) -> None:
    study = instance_of(client, content_of(1)).parent_study
    with pytest.deprecated_call():  # of a text that httpx is given as data
        client.put_studies_id_metadata_name(study.id_, "1030", "good")
    assert client.get_studies_id_metadata_name(study.id_, "1030") == "good"
    assert "1030" in client.get_studies_id_metadata(study.id_)
    found = client.post_tools_find(
        {"Level": "Study", "Query": {}, "MetadataQuery": {"1030": "GOOD"}}
    )
    assert found == [study.id_]
    client.delete_studies_id_metadata_name(study.id_, "1030")
    with pytest.raises(httpx.HTTPError, match="HTTP code: 404"):
        client.get_studies_id_metadata_name(study.id_, "1030")


def test_resources_have_attachments(client: Orthanc) -> None:
    study = instance_of(client, content_of(1)).parent_study
    content = bytes(range(256)) * 100
    client.put_studies_id_attachments_name(study.id_, "1040", content)
    assert client.get_studies_id_attachments(study.id_) == ["1040"]
    assert client.get_studies_id_attachments_name_data(study.id_, "1040") == content
    assert int(client.get_studies_id_attachments_name_size(study.id_, "1040")) == len(content)
    assert client.post_studies_id_attachments_name_verify_md5(study.id_, "1040") == {}
    client.post_studies_id_attachments_name_compress(study.id_, "1040")
    assert client.get_studies_id_attachments_name_is_compressed(study.id_, "1040") == "1"
    assert client.get_studies_id_attachments_name_data(study.id_, "1040") == content
    client.delete_studies_id_attachments_name(study.id_, "1040")
    assert client.get_studies_id_attachments(study.id_) == []
    instance = study.series[0].instances[0]
    file = client.get_instances_id_attachments_name_data(instance.id_, "dicom")
    assert file == instance.get_dicom_file_content()


def test_changes_are_told_in_pages(client: Orthanc) -> None:
    found, since = [], 0
    while True:
        page = client.get_changes(params={"since": since, "limit": 3})
        found += page["Changes"]
        since = page["Last"]
        if page["Done"]:
            break
    sequences = [change["Seq"] for change in found]
    assert sequences == sorted(set(sequences))
    kinds = {
        change["ID"]: change["ChangeType"] for change in found if "New" in change["ChangeType"]
    }
    for content in FILES.values():
        assert kinds[instance_of(client, content).id_] == "NewInstance"


def test_statistics_count_what_there_is(client: Orthanc) -> None:
    eventually(lambda: client.get_statistics()["CountSeries"] == 4, "counts of all series")
    told = client.get_statistics()
    counts = (told["CountPatients"], told["CountStudies"], told["CountInstances"])
    assert counts == (2, 3, len(FILES))
    assert int(told["TotalDiskSize"]) == sum(map(len, FILES.values()))


# --- what changes ---------------------------------------------------------------------------------


def test_resources_are_deleted(client: Orthanc) -> None:
    (instance,) = pyorthanc_upload(client, content_of(3))
    series, study = instance.parent_series, instance.parent_study
    patient = study.parent_patient
    assert client.delete_instances_id(instance.id_) == {"RemainingAncestor": None}
    for resource in (instance, series, study, patient):
        with pytest.raises(httpx.HTTPError, match="HTTP code: 404"):
            resource.get_main_information()


def pyorthanc_upload(client: Orthanc, content: bytes) -> list[Instance]:
    return [Instance(client.post_instances(content)["ID"], client)]


@pytest.mark.parametrize(
    "call",
    [
        lambda client: Patient("x", client).anonymize(),
        lambda client: Study("x", client).modify(replace={"PatientID": "y"}),
        lambda client: Series("x", client).anonymize_as_job(),
        lambda client: Instance("x", client).modify(replace={"PatientName": "y"}),
        lambda client: client.post_modalities_id_echo("x"),
    ],
)
def test_what_the_archive_does_not_have_is_told(client: Orthanc, call: object) -> None:
    assert callable(call)
    with pytest.raises(httpx.HTTPError, match=r"HTTP code: 501.*not-offered"):
        call(client)


def test_who_has_no_token_is_told_so(served: tuple[Served, str]) -> None:
    with Orthanc(served[1]) as client, pytest.raises(httpx.HTTPError, match="HTTP code: 401"):
        client.get_system()
