"""Queries and paths that nobody should send: each is answered, and none with a defect."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from pydicom import Dataset

from dicomulus.dicom.orthanc_id import orthanc_id
from dicomulus.dicom.resource import InstanceResource
from dicomulus.errors import DicomulusError
from dicomulus.wire.problem import status_of
from tests.support.archives import body_of, small_archive
from tests.support.datasets import ct_instance

if TYPE_CHECKING:
    from tests.support.archives import Small

_INSTANCE = "/instances/" + orthanc_id("P1", InstanceResource("1", "1.1", "1.1.1"))
_NUMBERS = (
    "",
    "-1",
    "1.5",
    "٣",
    "1e3",
    "9" * 10,
    "9" * 19,
    "9" * 21,
    "9" * 5_000,
    "0" * 9 + "9",
    "0" * 20 + "9" * 30,
    "0" * 5_000,
)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Small:
    item = Dataset()
    item.ReferencedSOPInstanceUID = "1.2.3"
    made = small_archive(tmp_path_factory.mktemp("queries"), orthanc_path="/orthanc")
    made.take(
        {
            "1": ct_instance(
                patient_id="P1",
                study_instance_uid="1",
                series_instance_uid="1.1",
                sop_instance_uid="1.1.1",
                attributes={"ReferencedImageSequence": [item]},
            )
        }
    )
    made.compact()
    return made


def status(small: Small, path: str) -> int:
    try:
        response = small.orthanc(path)
        body_of(response)
    except DicomulusError as error:
        return status_of(type(error))
    return response.status


@pytest.mark.parametrize("number", _NUMBERS, ids=lambda text: f"{text[:24]}({len(text)})")
@pytest.mark.parametrize(
    "path",
    [
        "/studies?since={}&limit=1",
        "/studies?since=0&limit={}",
        "/changes?since={}",
        "/changes?to={}&limit={}",
        _INSTANCE + "/rendered?width={}",
        _INSTANCE + "/rendered?height={}",
        _INSTANCE + "/rendered?window-center={}&window-width={}",
        _INSTANCE + "/preview?quality={}",
        _INSTANCE + "/frames/{}/raw",
        _INSTANCE + "/content/ReferencedImageSequence/{}",
        _INSTANCE + "/content/ReferencedImageSequence/{}/0008-1155",
        _INSTANCE + "/metadata/{}",
        _INSTANCE + "/attachments/{}/info",
    ],
)
def test_no_number_meets_a_defect(small: Small, path: str, number: str) -> None:
    assert status(small, path.replace("{}", number)) in {200, 400, 404}
