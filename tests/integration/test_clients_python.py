"""dicomweb-client for Python against the served archive, compared with pydicom's reading."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import numpy as np
import pytest
import requests
from dicomweb_client.api import DICOMwebClient
from pydicom.uid import ExplicitVRLittleEndian

from dicomulus.dicom.transfer_syntax import LOSSY
from tests.support.clinic import INSTANCES, SERIES
from tests.support.pydicom_corpus import read
from tests.support.pydicom_json import differing_from_pydicom

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydicom import Dataset

    from tests.support.clinic import Clinic

STUDY, SERIES_UID, SOP = "0020000D", "0020000E", "00080018"
RETRIEVE_URL = "00081190"
PIXEL_DATA = "7FE00010"

Json = dict[str, Any]
Uids = tuple[str, str, str]


class RecordingSession(requests.Session):
    """A session that keeps the Host header of every request."""

    def __init__(self) -> None:
        super().__init__()
        self.hosts: set[str | bytes | None] = set()

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        self.hosts.add(request.headers.get("Host"))
        return super().send(request, **kwargs)


@pytest.fixture(scope="module")
def session() -> Iterator[RecordingSession]:
    with RecordingSession() as session:
        yield session


@pytest.fixture(scope="module")
def client(served_clinic: Clinic, session: RecordingSession) -> DICOMwebClient:
    return DICOMwebClient(served_clinic.base_url, session=session)


def first(attributes: Json, tag: str) -> str:
    return str(attributes[tag]["Value"][0])


@pytest.fixture(scope="module")
def found(client: DICOMwebClient) -> dict[str, tuple[Uids, list[Json]]]:
    """All instances by SOP Instance UID, with their UIDs and the search results above them."""
    instances = {}
    for study in client.search_for_studies():
        study_uid = first(study, STUDY)
        for series in client.search_for_series(study_uid):
            series_uid = first(series, SERIES_UID)
            for instance in client.search_for_instances(study_uid, series_uid):
                uids = (study_uid, series_uid, first(instance, SOP))
                instances[uids[2]] = (uids, [study, series, instance])
    return instances


def uids_of(found: dict[str, tuple[Uids, list[Json]]]) -> list[Uids]:
    return [uids for uids, _ in found.values()]


def bulk_data_uris(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        if "BulkDataURI" in value:
            yield value["BulkDataURI"]
        for each in value.values():
            yield from bulk_data_uris(each)
    elif isinstance(value, list):
        for each in value:
            yield from bulk_data_uris(each)


def test_every_instance_is_found_from_study_to_series_to_instance(
    found: dict[str, tuple[Uids, list[Json]]], served_clinic: Clinic
) -> None:
    assert found.keys() == served_clinic.contents.keys()
    of_study = [uids for uids in uids_of(found) if uids[0] == served_clinic.generated_study_uid]
    assert len(of_study) == SERIES * INSTANCES
    assert len({series for _, series, _ in of_study}) == SERIES


def test_metadata_of_instances_equal_pydicom_s(
    client: DICOMwebClient,
    found: dict[str, tuple[Uids, list[Json]]],
    served_clinic: Clinic,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.CRITICAL, logger="pydicom")
    for sop_instance_uid, content in served_clinic.contents.items():
        ours = dict(client.retrieve_instance_metadata(*found[sop_instance_uid][0]))
        assert differing_from_pydicom(ours, content) == [], sop_instance_uid


def test_metadata_of_series_and_studies_are_those_of_their_instances(
    client: DICOMwebClient, found: dict[str, tuple[Uids, list[Json]]]
) -> None:
    by_instance = {uids[2]: client.retrieve_instance_metadata(*uids) for uids in uids_of(found)}
    by_series = [
        each
        for study, series in sorted({uids[:2] for uids in uids_of(found)})
        for each in client.retrieve_series_metadata(study, series)
    ]
    by_study = [
        each
        for study in sorted({uids[0] for uids in uids_of(found)})
        for each in client.retrieve_study_metadata(study)
    ]
    for several in (by_series, by_study):
        assert len(several) == len(by_instance)
        assert {first(each, SOP): each for each in several} == by_instance


def test_frames_are_those_that_pydicom_reads(
    client: DICOMwebClient, found: dict[str, tuple[Uids, list[Json]]], served_clinic: Clinic
) -> None:
    compared = 0
    for sop_instance_uid, frames in served_clinic.images.items():
        if not frames:
            continue
        numbers = list(range(1, len(frames) + 1))
        ours = client.retrieve_instance_frames(*found[sop_instance_uid][0], numbers)
        assert ours == frames, sop_instance_uid
        compared += len(ours)
    assert compared > 100


def test_a_frame_after_the_last_is_not_found(
    client: DICOMwebClient, found: dict[str, tuple[Uids, list[Json]]], served_clinic: Clinic
) -> None:
    for sop_instance_uid, frames in served_clinic.images.items():
        with pytest.raises(requests.HTTPError, match="404"):
            client.retrieve_instance_frames(*found[sop_instance_uid][0], [len(frames) + 1])


def test_every_bulk_data_uri_can_be_fetched(
    client: DICOMwebClient,
    found: dict[str, tuple[Uids, list[Json]]],
    session: RecordingSession,
    served_clinic: Clinic,
) -> None:
    """The client sends Host without the port, so no URL may be made of Host alone."""
    uris = [
        uri
        for uids in uids_of(found)
        for uri in bulk_data_uris(client.retrieve_instance_metadata(*uids))
    ]
    assert len(uris) > 50
    for uri in uris:
        assert uri.startswith(served_clinic.base_url)
        assert client.retrieve_bulkdata(uri), uri
    assert session.hosts == {"127.0.0.1"}


def test_bulk_data_but_pixels_are_the_values_that_pydicom_reads(
    client: DICOMwebClient,
    found: dict[str, tuple[Uids, list[Json]]],
    served_clinic: Clinic,
) -> None:
    compared = 0
    for sop_instance_uid, content in served_clinic.contents.items():
        for uri in bulk_data_uris(client.retrieve_instance_metadata(*found[sop_instance_uid][0])):
            path = uri.partition("/bulkdata/")[2]
            if path == PIXEL_DATA:
                continue
            assert client.retrieve_bulkdata(uri) == [value_at(read(content), path)]
            compared += 1
    assert compared > 3


def test_a_range_of_bulk_data_is_that_part_of_the_value(
    client: DICOMwebClient, found: dict[str, tuple[Uids, list[Json]]]
) -> None:
    """The client takes multipart alone, and means bytes of the value in it."""
    compared = 0
    for uids in uids_of(found):
        for uri in bulk_data_uris(client.retrieve_instance_metadata(*uids)):
            whole = client.retrieve_bulkdata(uri)
            part = client.retrieve_bulkdata(uri, byte_range=(3, 90))
            # Several frames are several parts, of which there is no range.
            assert part == ([whole[0][3:91]] if len(whole) == 1 else whole), uri
            compared += len(whole) == 1
    assert compared > 30


def value_at(dataset: Dataset, path: str) -> bytes:
    """Give the value at ``tag`` or ``tag/item/tag``."""
    tag, *rest = path.split("/", maxsplit=2)
    value = dataset[int(tag, 16)].value
    if not rest:
        assert isinstance(value, bytes)
        return value
    return value_at(value[int(rest[0]) - 1], rest[1])


def test_every_retrieve_url_can_be_fetched(
    found: dict[str, tuple[Uids, list[Json]]], session: RecordingSession, served_clinic: Clinic
) -> None:
    urls = {first(match, RETRIEVE_URL) for _, matches in found.values() for match in matches}
    assert len(urls) > len(found)
    for url in urls:
        accept = 'multipart/related; type="application/dicom"; transfer-syntax=*'
        response = session.get(url, headers={"Accept": accept, "Host": "127.0.0.1"})
        assert response.status_code == 200, url
        assert response.headers["Content-Type"].startswith("multipart/related")


def test_objects_come_back_as_they_were_stored(
    client: DICOMwebClient,
    found: dict[str, tuple[Uids, list[Json]]],
    served_clinic: Clinic,
) -> None:
    [series, *_] = sorted(
        {uids[:2] for uids in uids_of(found) if uids[0] == served_clinic.generated_study_uid}
    )
    datasets = client.retrieve_series(*series)
    assert len(datasets) == INSTANCES
    for dataset in datasets:
        stored = read(served_clinic.contents[str(dataset.SOPInstanceUID)])
        assert dataset == stored
        assert client.retrieve_instance(*series, dataset.SOPInstanceUID) == stored


def test_series_and_studies_come_readable_without_a_word_on_transfer_syntax(
    client: DICOMwebClient,
    found: dict[str, tuple[Uids, list[Json]]],
    served_clinic: Clinic,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The client asks so for both: what is not lossy comes as Explicit VR Little Endian."""
    caplog.set_level(logging.CRITICAL, logger="pydicom")
    studies = {uids[0] for uids in uids_of(found)} - {served_clinic.generated_study_uid}
    datasets = [each for study in studies for each in client.retrieve_study(study)]
    compared = 0
    for dataset in datasets:
        stored = read(served_clinic.contents[str(dataset.SOPInstanceUID)])
        is_plain = dataset.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
        assert is_plain or stored.file_meta.TransferSyntaxUID in LOSSY
        if served_clinic.images.get(str(dataset.SOPInstanceUID)):
            try:
                expected = stored.pixel_array
            except (RuntimeError, ValueError):
                continue  # pydicom does not decode it as it is stored
            assert np.array_equal(dataset.pixel_array, expected)
            compared += 1
    assert len(datasets) > 60
    assert compared > 50
    for uids in uids_of(found):
        if uids[0] in studies:
            stored = read(served_clinic.contents[uids[2]])
            again = client.retrieve_instance(*uids)
            # As stored, and what is not for the web as Explicit VR Little Endian.
            plain = {str(stored.file_meta.get("TransferSyntaxUID", "")), ExplicitVRLittleEndian}
            assert str(again.file_meta.TransferSyntaxUID) in plain
            assert again.SOPInstanceUID == uids[2]
    for series in {uids[:2] for uids in uids_of(found) if uids[0] in studies}:
        of_series = {str(each.SOPInstanceUID) for each in client.retrieve_series(*series)}
        assert of_series == {each[2] for each in uids_of(found) if each[:2] == series}


@pytest.mark.parametrize("level", ["series", "study"])
def test_all_names_of_this_machine_get_one_and_the_same_answer(
    served_clinic: Clinic, found: dict[str, tuple[Uids, list[Json]]], level: str
) -> None:
    """One entity tag, one content: so one bundle serves them all."""
    study, series, _ = next(
        uids for uids in uids_of(found) if uids[0] == served_clinic.generated_study_uid
    )
    path = f"/studies/{study}" + (f"/series/{series}" if level == "series" else "") + "/metadata"
    port = urlsplit(served_clinic.base_url).port
    answers = set()
    for url, host in (
        (served_clinic.base_url, f"127.0.0.1:{port}"),
        (served_clinic.base_url, "127.0.0.1"),
        (served_clinic.base_url_on("localhost"), f"localhost:{port}"),
        (served_clinic.base_url_on("localhost"), "localhost"),
    ):
        response = requests.get(url + path, headers={"Host": host}, timeout=30)
        assert response.status_code == 200
        answers.add((response.headers["ETag"], response.content))
        [uri, *_] = bulk_data_uris(response.json())
        assert requests.get(uri, timeout=30).status_code == 200
    assert len(answers) == 1
