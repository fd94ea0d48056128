"""Rendered resources and thumbnails over HTTP, as dicomweb-client and OHIF ask for them."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, Final

import pytest
import requests
from dicomweb_client.api import DICOMwebClient
from PIL import Image

from tests.support.pydicom_corpus import read

if TYPE_CHECKING:
    from pydicom import Dataset

    from tests.support.clinic import Clinic

TIMEOUT_SECONDS: Final = 60


@pytest.fixture(scope="module")
def images(served_clinic: Clinic) -> list[Dataset]:
    """The headers of what has pixel data."""
    datasets = [read(content) for content in served_clinic.contents.values()]
    return [dataset for dataset in datasets if "PixelData" in dataset]


def path_of(dataset: Dataset) -> str:
    uids = dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.SOPInstanceUID
    return "/studies/{}/series/{}/instances/{}".format(*uids)


def image_of(content: bytes) -> Image.Image:
    image = Image.open(BytesIO(content))
    image.load()
    return image


def test_every_image_has_a_thumbnail_or_a_reason(
    served_clinic: Clinic, images: list[Dataset]
) -> None:
    """What OHIF sends, whose header alone would ask for something else."""
    header = {"Accept": 'multipart/related; type="application/octet-stream"'}
    refused = 0
    with requests.Session() as session:
        for dataset in images:
            url = f"{served_clinic.base_url}{path_of(dataset)}/thumbnail?accept=image%2Fjpeg"
            answer = session.get(url, headers=header, timeout=TIMEOUT_SECONDS)
            if answer.status_code == 200:
                assert answer.headers["Content-Type"] == "image/jpeg"
                assert max(image_of(answer.content).size) == 200
            else:
                assert answer.status_code in (404, 406, 413), dataset.SOPInstanceUID
                assert answer.headers["Content-Type"] == "application/problem+json"
                refused += 1
    # tests/unit/imaging/test_decode_corpus.py names them.
    assert refused == 2


def test_dicomweb_client_gets_images(served_clinic: Clinic) -> None:
    dataset = read(
        next(
            content
            for content in served_clinic.contents.values()
            if served_clinic.generated_study_uid.encode() in content
        )
    )
    uids = dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.SOPInstanceUID
    client = DICOMwebClient(served_clinic.base_url)
    of_instance = client.retrieve_instance_rendered(*uids)
    assert image_of(of_instance).format == "JPEG"
    of_frame = client.retrieve_instance_frames_rendered(*uids, [1], media_types=("image/png",))
    assert image_of(of_frame).size == (dataset.Columns, dataset.Rows)
    of_series = client.retrieve_series_rendered(
        *uids[:2],
        media_types=("image/jpeg",),
        params={"viewport": "100,100", "window": "40,400,linear", "quality": 50},
    )
    assert max(image_of(of_series).size) == 100


def test_what_is_up_to_date_is_not_sent_again(served_clinic: Clinic, images: list[Dataset]) -> None:
    for what in ("rendered", "thumbnail"):
        url = f"{served_clinic.base_url}{path_of(images[0])}/{what}"
        first = requests.get(url, timeout=TIMEOUT_SECONDS)
        head = requests.head(url, timeout=TIMEOUT_SECONDS)
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["Content-Length"] == str(len(first.content))
        condition = {"If-None-Match": first.headers["ETag"]}
        again = requests.get(url, headers=condition, timeout=TIMEOUT_SECONDS)
        assert (again.status_code, again.content) == (304, b"")


def test_a_bad_parameter_is_named(served_clinic: Clinic, images: list[Dataset]) -> None:
    url = f"{served_clinic.base_url}{path_of(images[0])}/rendered?window=40,0,linear"
    answer = requests.get(url, timeout=TIMEOUT_SECONDS)
    assert answer.status_code == 400
    assert "window" in answer.json()["detail"]
