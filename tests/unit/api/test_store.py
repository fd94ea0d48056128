"""The Store transaction and its report (PS3.18 §10.5, Annex I)."""

from __future__ import annotations

import json
from io import BytesIO
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import pytest
from dicomweb_client.web import _load_xml_dataset

from dicomulus.api.routes import answer
from dicomulus.errors import (
    InvalidBodyError,
    PayloadTooLargeError,
    StoreForbiddenError,
    UnsupportedMediaTypeError,
)
from dicomulus.wire.message import Headers, Request
from dicomulus.wire.problem import problem
from tests.support.archives import BASE_URL, body_of, small_archive
from tests.support.datasets import ct_instance
from tests.support.native_model import MULTIPART, as_text, data_sets_of

if TYPE_CHECKING:
    from pathlib import Path

    from dicomulus.wire.message import Response
    from tests.support.archives import Small

STUDY = "1.2.3"
RELATED = 'multipart/related; type="application/dicom"; boundary=b'
FIRST = ct_instance(study_instance_uid=STUDY)
SECOND = ct_instance(study_instance_uid=STUDY, instance_number=2)


@pytest.fixture
def small(tmp_path: Path) -> Small:
    return small_archive(tmp_path)


def body(*contents: bytes, part_type: str = "application/dicom") -> bytes:
    head = b"--b\r\nContent-Type: " + part_type.encode() + b"\r\n\r\n"
    return b"".join(head + each + b"\r\n" for each in contents) + b"--b--\r\n"


def post(
    small: Small,
    content: bytes,
    *,
    path: str = "/studies",
    content_type: str = RELATED,
    **more: str,
) -> Response:
    lines = {"Content-Type": content_type} | {k.replace("_", "-"): v for k, v in more.items()}
    request = Request(
        "POST", f"/dicom-web{path}", (), Headers.of(lines), BytesIO(content), base_url=BASE_URL
    )
    return answer(small.archive, request)


def report(response: Response) -> dict[str, Any]:
    assert isinstance(response.body, bytes)
    read: dict[str, Any] = json.loads(response.body)
    return read


def items(response: Response, tag: str) -> list[Any]:
    return report(response).get(tag, {}).get("Value", [])  # type: ignore[no-any-return]


def test_all_stored_is_200_with_where_to_find_them(small: Small) -> None:
    response = post(small, body(FIRST, SECOND))
    assert (response.status, response.header("Content-Type")) == (200, "application/dicom+json")
    assert report(response)["00081190"]["Value"] == [f"{BASE_URL}/studies/{STUDY}"]
    urls = [item["00081190"]["Value"][0] for item in items(response, "00081199")]
    assert len(urls) == 2
    assert all(url.startswith(f"{BASE_URL}/studies/{STUDY}/series/") for url in urls)
    assert "00081198" not in report(response)


def test_some_stored_is_202_with_both_lists(small: Small) -> None:
    response = post(small, body(FIRST, b"none", ct_instance()), path=f"/studies/{STUDY}")
    assert response.status == 202
    assert len(items(response, "00081199")) == 1
    (refused,) = items(response, "00081198")
    assert refused["00081197"]["Value"] == [0xA900]
    (unnamed,) = items(response, "0008119A")
    assert unnamed["00081197"]["Value"] == [0xC000]


def test_the_report_can_be_a_document(small: Small) -> None:
    """PS3.18 §10.5.3; read by dicomweb-client, which knows the model of one document."""
    response = post(small, body(FIRST, b"none"), Accept="application/dicom+xml")
    assert (response.status, response.header("Content-Type")) == (202, "application/dicom+xml")
    assert response.header("Cache-Control") == "no-store"
    assert isinstance(response.body, bytes)
    read = _load_xml_dataset(ET.fromstring(response.body))
    (stored,) = read.ReferencedSOPSequence
    assert stored.RetrieveURL.startswith(f"{BASE_URL}/studies/{STUDY}/series/")
    assert read.OtherFailuresSequence[0].FailureReason == 0xC000


def test_the_report_can_be_a_document_in_a_part(small: Small) -> None:
    expected = report(post(small, body(FIRST)))
    response = post(small, body(FIRST), Accept=MULTIPART)
    assert response.status == 200
    assert data_sets_of(response) == [as_text(expected)]


def test_none_stored_is_409(small: Small) -> None:
    response = post(small, body(b"none", FIRST[:-9]))
    assert response.status == 409
    assert "00081199" not in report(response)


def test_another_object_of_a_known_instance_is_a_duplicate(small: Small) -> None:
    post(small, body(FIRST))
    other = ct_instance(study_instance_uid=STUDY, rows=8)
    response = post(small, body(other))
    assert response.status == 409
    assert items(response, "00081198")[0]["00081197"]["Value"] == [0x0111]


def test_without_one_study_the_common_url_is_empty(small: Small) -> None:
    """PS3.18 Table I.1-1: Retrieve URL is of type 2."""
    of_several = post(small, body(FIRST, ct_instance()))
    of_none = post(small, body(b"no DICOM"))
    assert (of_several.status, of_none.status) == (200, 409)
    assert report(of_several)["00081190"] == report(of_none)["00081190"] == {"vr": "UR"}


@pytest.mark.parametrize(
    ("content", "content_type", "error"),
    [
        (b"", RELATED, InvalidBodyError),
        (b"--b--\r\n", RELATED, InvalidBodyError),
        (body(FIRST)[:-9], RELATED, InvalidBodyError),
        (body(FIRST), 'multipart/related; type="application/dicom"', InvalidBodyError),
        (b"", "application/dicom", InvalidBodyError),
        (FIRST, "application/pdf", UnsupportedMediaTypeError),
        (body(FIRST), RELATED.replace("dicom", "pdf"), UnsupportedMediaTypeError),
        (body(FIRST, part_type="image/jpeg"), RELATED, UnsupportedMediaTypeError),
    ],
    ids=[
        "empty",
        "no parts",
        "cut",
        "no boundary",
        "empty single",
        "single PDF",
        "PDF",
        "part of another type",
    ],
)
def test_a_body_that_is_no_set_of_objects_is_refused(
    small: Small, content: bytes, content_type: str, error: type[Exception]
) -> None:
    with pytest.raises(error):
        post(small, content, content_type=content_type)


@pytest.mark.parametrize("part_type", ["image/jpeg", "application/octet-stream", ";;"])
def test_a_part_of_another_type_fails_alone_after_what_was_stored(
    small: Small, part_type: str
) -> None:
    mixed = body(FIRST).removesuffix(b"--b--\r\n") + body(SECOND, part_type=part_type)
    response = post(small, mixed)
    assert response.status == 202
    assert len(items(response, "00081199")) == 1
    assert items(response, "0008119A")[0]["00081197"]["Value"] == [0xC000]


def test_parts_without_a_type_are_taken_for_dicom(small: Small) -> None:
    content = b"--b\r\nContent-Length: 1\r\n\r\n" + FIRST + b"\r\n--b--\r\n"
    assert post(small, content).status == 200


def test_a_body_over_the_limit_is_refused(tmp_path: Path) -> None:
    small = small_archive(tmp_path, max_request_bytes=1_000)
    with pytest.raises(PayloadTooLargeError):
        post(small, body(FIRST), Content_Length="5000")
    with pytest.raises(PayloadTooLargeError):
        post(small, body(FIRST))
    assert list(small.storage.list()) == []


@pytest.mark.parametrize("is_offered", [True, False])
def test_a_body_over_the_limit_is_told_of_direct_upload_where_there_is_one(
    tmp_path: Path, is_offered: bool
) -> None:
    small = small_archive(tmp_path, max_request_bytes=1_000)
    small.storage.address = "https://objects.example" if is_offered else ""
    with pytest.raises(PayloadTooLargeError) as refused:
        post(small, body(FIRST))
    assert isinstance(refused.value, PayloadTooLargeError)
    told = json.loads(body_of(problem(refused.value)))
    assert told.get("uploads") == (f"{BASE_URL}/uploads" if is_offered else None)


def test_an_archive_that_takes_nothing_says_so(tmp_path: Path) -> None:
    small = small_archive(tmp_path, allow_store=False)
    with pytest.raises(StoreForbiddenError):
        post(small, body(FIRST))


@pytest.mark.parametrize("coding", ["gzip", "br", "identity, gzip"])
def test_a_body_with_a_content_coding_is_not_taken(small: Small, coding: str) -> None:
    """RFC 9110 §8.4: a server that cannot decode it answers 415."""
    with pytest.raises(UnsupportedMediaTypeError):
        post(small, body(FIRST), Content_Encoding=coding)
    assert post(small, body(FIRST), Content_Encoding="Identity").status == 200
