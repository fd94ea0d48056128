"""Bodies that nobody should send: each is answered, and none with a defect."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dicomulus.errors import DicomulusError, PayloadTooLargeError
from dicomulus.wire.problem import status_of
from tests.support.archives import body_of, small_archive
from tests.support.datasets import ct_instance

if TYPE_CHECKING:
    from tests.support.archives import Small


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Small:
    made = small_archive(
        tmp_path_factory.mktemp("bodies"), orthanc_path="/orthanc", allow_delete=True
    )
    made.take({"1": ct_instance()})
    made.compact()
    return made


_NAMES = [
    "CaseSensitive",
    "Expand",
    "Full",
    "Labels",
    "LabelsConstraint",
    "Level",
    "Limit",
    "Metadata",
    "MetadataQuery",
    "OrderBy",
    "ParentPatient",
    "ParentSeries",
    "ParentStudy",
    "Query",
    "RequestedTags",
    "Resources",
    "ResponseContent",
    "Short",
    "Since",
    "Transcode",
    "Filename",
    "PatientID",
    "PatientName",
    "StudyDate",
    "StudyTime",
    "StudyInstanceUID",
    "Modality",
    "ModalitiesInStudy",
    "Rows",
    "PixelData",
    "0010,0020",
    "00090010",
    "00091001",
    "RequestAttributesSequence",
    "1030",
]
_TEXTS = st.sampled_from(
    ["", "*", "?", "\\", "-", "Study", "Patient", "Series", "Instance", "All", "DicomTag", "ASC"]
) | st.text(max_size=6)
_SCALARS = st.none() | st.booleans() | st.integers(-2, 2**70) | st.floats() | _TEXTS
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(_NAMES) | _TEXTS, inner, max_size=4)
    ),
    max_leaves=12,
)
_BODIES = st.fixed_dictionaries(
    {"Level": st.sampled_from(["Study", "Patient", "Series", "Instance"])},
    optional={name: _VALUES for name in _NAMES if name != "Level"},
) | st.fixed_dictionaries(
    {
        "Level": st.sampled_from(["Study", "Patient", "Series", "Instance"]),
        "Query": st.dictionaries(st.sampled_from(_NAMES), _TEXTS, max_size=4),
    },
    optional={"Labels": st.lists(_TEXTS, max_size=2), "CaseSensitive": st.booleans()},
)
_PATHS = (
    "/tools/find",
    "/tools/count-resources",
    "/tools/bulk-content",
    "/tools/bulk-delete",
    "/tools/create-archive",
    "/tools/create-media",
)


def status(small: Small, path: str, body: bytes) -> int:
    try:
        response = small.orthanc(path, method="POST", body=body)
        body_of(response)
    except DicomulusError as error:
        return status_of(type(error))
    return response.status


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(path=st.sampled_from(_PATHS), body=_VALUES | _BODIES)
def test_no_body_meets_a_defect(small: Small, path: str, body: Any) -> None:
    assert status(small, path, json.dumps(body).encode()) in {200, 400, 404, 413, 501}


@given(body=st.binary(max_size=40))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_bytes_meet_one_either(small: Small, body: bytes) -> None:
    for path in (*_PATHS, "/tools/lookup", "/instances"):
        assert status(small, path, body) in {200, 400, 413}


def test_a_long_body_is_not_read(small: Small) -> None:
    with pytest.raises(PayloadTooLargeError):
        small.orthanc("/tools/lookup", method="POST", body=b"1" * 2_000)
    with pytest.raises(PayloadTooLargeError):
        small.orthanc("/tools/find", method="POST", body=b"[" + b" " * 9_000_000 + b"]")
