"""A stranger's client reading a running archive, whatever it holds and wherever it is."""

from __future__ import annotations

import os
from typing import Any, Final

import pytest
import requests
from dicomweb_client.api import DICOMwebClient

STUDIES: Final = 5
"""Studies that are read of a large archive."""

STUDY, SERIES, SOP = "0020000D", "0020000E", "00080018"
INSTANCES_OF_SERIES, RETRIEVE_URL = "00201209", "00081190"
PIXEL_DATA = "7FE00010"

Json = dict[str, Any]


@pytest.fixture(scope="module")
def url() -> str:
    url = os.environ.get("DICOMULUS_E2E_URL", "")
    if not url:
        pytest.skip("DICOMULUS_E2E_URL does not say which archive")
    return url.rstrip("/")


@pytest.fixture(scope="module")
def client(url: str) -> DICOMwebClient:
    return DICOMwebClient(url)


@pytest.fixture(scope="module")
def series(client: DICOMwebClient) -> list[Json]:
    """The series of the newest studies."""
    found: list[Json] = []
    for study in client.search_for_studies(limit=STUDIES):
        # A search below a study need not repeat its UID.
        uid = {STUDY: study[STUDY]}
        found.extend(uid | each for each in client.search_for_series(first(study, STUDY)))
    if not found:
        pytest.skip("the archive is empty")
    return found


def first(attributes: Json, tag: str) -> Any:
    return attributes[tag]["Value"][0]


def uids(attributes: Json) -> tuple[str, str]:
    return first(attributes, STUDY), first(attributes, SERIES)


def test_what_a_search_finds_has_metadata_on_three_levels(
    client: DICOMwebClient, series: list[Json]
) -> None:
    for each in series:
        of_series = client.retrieve_series_metadata(*uids(each))
        assert len(of_series) == first(each, INSTANCES_OF_SERIES)
        found = client.search_for_instances(*uids(each), get_remaining=True)
        assert {first(i, SOP) for i in found} == {first(i, SOP) for i in of_series}
        sop_instance_uid = first(of_series[0], SOP)
        assert client.retrieve_instance_metadata(*uids(each), sop_instance_uid) == of_series[0]
    study_uid = first(series[0], STUDY)
    of_study = client.retrieve_study_metadata(study_uid)
    in_study = [each for each in series if first(each, STUDY) == study_uid]
    assert len(of_study) == sum(first(each, INSTANCES_OF_SERIES) for each in in_study)


def test_pixels_are_where_the_metadata_say(client: DICOMwebClient, series: list[Json]) -> None:
    read = 0
    for each in series:
        [instance, *_] = client.retrieve_series_metadata(*uids(each))
        if "BulkDataURI" not in instance.get(PIXEL_DATA, {}):
            continue
        frames = client.retrieve_instance_frames(*uids(each), first(instance, SOP), [1])
        [whole, *_] = client.retrieve_bulkdata(instance[PIXEL_DATA]["BulkDataURI"])
        assert whole.startswith(frames[0])
        read += 1
    if not read:
        pytest.skip("no images among them")


def test_metadata_that_have_not_changed_are_not_sent_again(url: str, series: list[Json]) -> None:
    study, series_uid = uids(series[0])
    path = f"{url}/studies/{study}/series/{series_uid}/metadata"
    answer = requests.get(path, timeout=60)
    again = requests.get(path, headers={"If-None-Match": answer.headers["ETag"]}, timeout=60)
    assert (answer.status_code, again.status_code) == (200, 304)


def test_retrieve_urls_lead_to_the_archive(series: list[Json]) -> None:
    for each in series:
        with requests.get(
            first(each, RETRIEVE_URL),
            headers={"Accept": 'multipart/related; type="application/dicom"; transfer-syntax=*'},
            stream=True,
            timeout=60,
        ) as answer:
            assert answer.status_code == 200
