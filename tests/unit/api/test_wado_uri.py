"""The URI service: one instance by query parameters (PS3.18 §9)."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import numpy as np
import pytest
from PIL import Image

from dicomulus.api.routes import answer
from dicomulus.errors import (
    InstanceNotFoundError,
    InvalidHeaderError,
    InvalidQueryError,
    NotAcceptableError,
    ResponseTooLargeError,
)
from dicomulus.wire.message import Headers, Request, parse_query
from tests.support.archives import BASE_URL, body_of, small_archive
from tests.support.datasets import (
    EXPLICIT_LITTLE_ENDIAN,
    IMPLICIT_LITTLE_ENDIAN,
    JPEG_BASELINE,
    JPEG_LS,
    ct_instance,
)

if TYPE_CHECKING:
    from pathlib import Path

    from dicomulus.ports import InstanceRow
    from dicomulus.wire.message import Response
    from tests.support.archives import Small

MP4 = "1.2.840.10008.1.2.4.102"
PDF_STORAGE = "1.2.840.10008.5.1.4.1.1.104.1"
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"


@pytest.fixture
def small(tmp_path: Path) -> Small:
    return small_archive(tmp_path)


def taken(small: Small, content: bytes, key: str = "a") -> InstanceRow:
    (row,) = small.take({key: content}).indexed
    return row


def wado(
    small: Small,
    row: InstanceRow,
    accept: str | None = "*/*",
    *,
    path: Any = "/dicom-web/wado",
    **more: Any,
) -> Response:
    """Ask for an instance; a parameter that is None is left away."""
    parameters = {
        "requestType": "WADO",
        "studyUID": row.instance.study_instance_uid,
        "seriesUID": row.instance.series_instance_uid,
        "objectUID": row.instance.sop_instance_uid,
    } | more
    query = parse_query(urlencode({k: v for k, v in parameters.items() if v is not None}))
    headers = Headers.of({} if accept is None else {"Accept": accept})
    return answer(small.archive, Request("GET", path, query, headers, base_url=BASE_URL))


def image_of(response: Response) -> Image.Image:
    assert response.status == 200
    image = Image.open(BytesIO(body_of(response)))
    assert response.header("Content-Type") == f"image/{str(image.format).lower()}"
    return image


# --- media types ---------------------------------------------------------------------------------


@pytest.mark.parametrize("accept", [None, "*/*", BROWSER, "image/*"])
def test_an_image_is_a_jpeg_without_wishes(small: Small, accept: str | None) -> None:
    """PS3.18 §9.3."""
    row = taken(small, ct_instance(rows=8, columns=12))
    image = image_of(wado(small, row, accept))
    assert (image.format, image.size) == ("JPEG", (12, 8))


@pytest.mark.parametrize(
    ("content_type", "accept", "given"),
    [
        ("image/png", "*/*", "image/png"),
        ("image/gif", "image/png", "image/gif"),
        ("image/png,image/jpeg;q=0.5", None, "image/png"),
        ("image/tiff,image/png;q=0.5", "*/*", "image/png"),
        (None, "image/png", "image/png"),
        ("application/dicom", "*/*", "application/dicom; transfer-syntax=1.2.840.10008.1.2.1"),
        (None, "application/dicom", "application/dicom; transfer-syntax=1.2.840.10008.1.2.1"),
    ],
)
def test_the_parameter_wins_over_the_header(
    small: Small, content_type: str | None, accept: str | None, given: str
) -> None:
    row = taken(small, ct_instance())
    response = wado(small, row, accept, contentType=content_type)
    assert response.header("Content-Type") == given


@pytest.mark.parametrize("path", ["/dicom-web", "/dicom-web/"])
def test_the_base_url_answers_what_names_its_type(small: Small, path: str) -> None:
    """What clients build that are given one URL for everything."""
    content = ct_instance()
    asked = {"contentType": "application/dicom", "transferSyntax": "*"}
    assert body_of(wado(small, taken(small, content), path=path, **asked)) == content
    assert wado(small, taken(small, content), path=path, requestType=None).header(
        "Content-Type"
    ) == ("application/json")


def test_what_cannot_be_rendered_is_dicom_without_wishes(small: Small) -> None:
    content = ct_instance(has_pixels=False)
    assert body_of(wado(small, taken(small, content))) == content


@pytest.mark.parametrize("content_type", ["image/tiff", "text/html", "application/pdf"])
def test_what_an_instance_cannot_be_is_refused(small: Small, content_type: str) -> None:
    row = taken(small, ct_instance())
    with pytest.raises(NotAcceptableError):
        wado(small, row, contentType=content_type)


def test_a_document_and_a_video_are_what_they_are(small: Small) -> None:
    attributes = {"SOPClassUID": PDF_STORAGE, "EncapsulatedDocument": b"%PDF-1.7"}
    document = ct_instance(has_pixels=False, attributes=attributes)
    response = wado(small, taken(small, document), frameNumber=1)
    assert response.header("Content-Type") == "application/pdf"
    assert body_of(response) == b"%PDF-1.7"
    video = taken(small, ct_instance(transfer_syntax=MP4, instance_number=2), key="v")
    assert wado(small, video).header("Content-Type") == "video/mp4"
    assert str(wado(small, video, contentType="application/dicom").header("Content-Type")) == (
        f"application/dicom; transfer-syntax={MP4}"
    )


# --- DICOM ---------------------------------------------------------------------------------------


def test_dicom_is_explicit_little_endian_without_wishes(small: Small) -> None:
    row = taken(small, ct_instance(transfer_syntax=IMPLICIT_LITTLE_ENDIAN))
    response = wado(small, row, contentType="application/dicom")
    assert EXPLICIT_LITTLE_ENDIAN in (response.header("Content-Type") or "")


@pytest.mark.parametrize("asked", [{"transferSyntax": "*"}, {"transferSyntax": JPEG_BASELINE}])
def test_a_transfer_syntax_may_be_asked_for(small: Small, asked: dict[str, str]) -> None:
    content = ct_instance(transfer_syntax=JPEG_BASELINE)
    response = wado(small, taken(small, content), contentType="application/dicom", **asked)
    assert body_of(response) == content


def test_what_cannot_be_made_explicit_little_endian_comes_as_stored(small: Small) -> None:
    """The code stream is none, so nothing decodes it."""
    content = ct_instance(transfer_syntax=JPEG_LS)
    response = wado(small, taken(small, content), contentType="application/dicom")
    assert response.header("Content-Type") == f"application/dicom; transfer-syntax={JPEG_LS}"
    assert body_of(response) == content


def test_a_transfer_syntax_that_cannot_be_had_is_refused(small: Small) -> None:
    row = taken(small, ct_instance(transfer_syntax=JPEG_LS))
    with pytest.raises(NotAcceptableError):
        wado(small, row, contentType="application/dicom", transferSyntax="1.2.840.10008.1.2.4.100")


def test_an_instance_over_the_limit_names_its_manifest(tmp_path: Path) -> None:
    small = small_archive(tmp_path, max_stream_bytes=100)
    row = taken(small, ct_instance())
    with pytest.raises(ResponseTooLargeError) as raised:
        wado(small, row, contentType="application/dicom")
    assert raised.value.manifest == f"{BASE_URL}{row.instance.path}/manifest"


# --- rendering -----------------------------------------------------------------------------------


def test_a_frame_is_rendered_as_the_rendered_resource_is(small: Small) -> None:
    row = taken(small, ct_instance(frames=3))
    path = f"{row.instance.path}/frames/2/rendered"
    expected = small.ask(path, accept="image/png")
    response = wado(small, row, contentType="image/png", frameNumber=2)
    assert body_of(response) == body_of(expected)
    assert response.header("ETag") == expected.header("ETag")


@pytest.mark.parametrize(
    ("parameters", "size"),
    [
        ({"rows": 4, "columns": 4}, (4, 2)),
        ({"rows": 4}, (8, 4)),
        ({"columns": 4}, (4, 2)),
        ({"region": "0,0,0.5,1"}, (8, 8)),
        ({"region": "0.25,0.5,0.75,1", "columns": 4, "rows": 100}, (4, 2)),
        ({"region": "0.01,0.01,0.02,0.02"}, (1, 1)),
    ],
)
def test_size_and_region_are_those_asked_for(
    small: Small, parameters: dict[str, Any], size: tuple[int, int]
) -> None:
    row = taken(small, ct_instance(rows=8, columns=16))
    assert image_of(wado(small, row, **parameters)).size == size


def test_a_region_is_that_part_of_the_image(small: Small) -> None:
    row = taken(small, ct_instance(rows=8, columns=16))
    window: dict[str, Any] = {"windowCenter": 0, "windowWidth": 4096, "contentType": "image/png"}
    whole = np.asarray(image_of(wado(small, row, **window)))
    part = np.asarray(image_of(wado(small, row, region="0.25,0.5,0.75,1", **window)))
    assert (part == whole[4:, 4:12]).all()


def test_a_window_is_that_of_the_rendered_resource(small: Small) -> None:
    row = taken(small, ct_instance())
    response = wado(
        small, row, windowCenter=100, windowWidth=50, imageQuality=30, annotation="patient"
    )
    path = f"/dicom-web{row.instance.path}/rendered"
    query = parse_query("window=100,50&quality=30&annotation=patient")
    expected = answer(small.archive, Request("GET", path, query, base_url=BASE_URL))
    assert body_of(response) == body_of(expected)


@pytest.mark.parametrize("lossy", [True, False])
def test_an_image_that_is_known_is_not_sent_again(small: Small, lossy: bool) -> None:
    row = taken(small, ct_instance())
    content_type = "image/jpeg" if lossy else "image/png"
    etag = wado(small, row, contentType=content_type).header("ETag") or ""
    query = parse_query(
        urlencode(
            {
                "requestType": "WADO",
                "objectUID": row.instance.sop_instance_uid,
                "contentType": content_type,
            }
        )
    )
    headers = Headers.of({"If-None-Match": etag})
    request = Request("GET", "/dicom-web/wado", query, headers, base_url=BASE_URL)
    assert answer(small.archive, request).status == 304


# --- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parameters", "named"),
    [
        ({"requestType": None}, "requestType"),
        ({"requestType": "wado"}, "requestType"),
        ({"objectUID": None}, "objectUID"),
        ({"objectUID": ""}, "objectUID"),
        ({"objectUID": "1" * 300}, "objectUID"),
        ({"studyUID": "1\n2"}, "studyUID"),
        ({"frameNumber": 0}, "frameNumber"),
        ({"frameNumber": "1,2"}, "frameNumber"),
        ({"frameNumber": "x"}, "frameNumber"),
        ({"frameNumber": 2}, "frameNumber"),
        ({"rows": 0}, "rows, columns, region"),
        ({"rows": "x", "columns": 1}, "rows, columns, region"),
        ({"region": "0,0,1"}, "region"),
        ({"region": "0,0,1,nan"}, "region"),
        ({"region": "0,0,1,1.5"}, "region"),
        ({"region": "0.5,0,0.5,1"}, "region"),
        ({"windowCenter": 1}, "windowCenter, windowWidth"),
        ({"windowCenter": 1, "windowWidth": 0}, "windowCenter, windowWidth"),
        ({"windowCenter": "a", "windowWidth": 1}, "windowCenter, windowWidth"),
        ({"windowCenter": "1,2", "windowWidth": "sigmoid"}, "windowCenter"),
        ({"columns": "1,2"}, "columns"),
        ({"imageQuality": 0}, "imageQuality"),
        ({"annotation": "all"}, "annotation"),
        ({"anonymize": "yes"}, "anonymize"),
        ({"presentationUID": "1.2"}, "presentationUID"),
        ({"contentType": "application/dicom", "transferSyntax": "x"}, "transferSyntax"),
        ({"contentType": "jpeg"}, "contentType"),
        ({"contentType": "image/jpeg,application/dicom"}, "contentType"),
    ],
)
def test_what_breaks_a_rule_is_named(small: Small, parameters: dict[str, Any], named: str) -> None:
    row = taken(small, ct_instance())
    with pytest.raises(InvalidQueryError) as raised:
        wado(small, row, **parameters)
    assert raised.value.parameter == named


def test_a_header_that_does_not_parse_is_named(small: Small) -> None:
    row = taken(small, ct_instance())
    with pytest.raises(InvalidHeaderError) as raised:
        wado(small, row, accept="jpeg")
    assert raised.value.header == "Accept"


def test_what_is_not_known_is_ignored(small: Small) -> None:
    row = taken(small, ct_instance())
    response = wado(small, row, charset="UTF-8", anonymize="no", whatever=1)
    assert response.status == 200


# --- targets -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "left_away", [["studyUID"], ["seriesUID"], ["studyUID", "seriesUID"]], ids=" ".join
)
def test_an_instance_is_found_by_its_own_uid(small: Small, left_away: list[str]) -> None:
    row = taken(small, ct_instance())
    assert wado(small, row, **dict.fromkeys(left_away)).status == 200


def test_of_one_uid_in_two_studies_the_study_must_be_named(small: Small) -> None:
    rows = [
        taken(small, ct_instance(sop_instance_uid="1.2.3", study_instance_uid=study), key=study)
        for study in ("1.2.1", "1.2.2")
    ]
    with pytest.raises(InvalidQueryError) as raised:
        wado(small, rows[0], studyUID=None, seriesUID=None)
    assert raised.value.parameter == "objectUID"
    assert wado(small, rows[0], seriesUID=None).status == 200


@pytest.mark.parametrize(
    "wrong",
    [
        {"objectUID": "1.2.99"},
        {"objectUID": "1.2.99", "studyUID": None},
        {"seriesUID": "1.2.99"},
        {"seriesUID": "1.2.99", "studyUID": None},
    ],
)
def test_an_instance_that_is_not_there_is_not_found(small: Small, wrong: dict[str, Any]) -> None:
    row = taken(small, ct_instance())
    with pytest.raises(InstanceNotFoundError):
        wado(small, row, **wrong)
