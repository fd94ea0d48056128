"""The Retrieve transactions of rendered resources and thumbnails (PS3.18 §10.4.1.1.3, §8.3.5)."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pytest
from PIL import Image
from pydicom.encaps import encapsulate

from dicomulus.api.routes import answer
from dicomulus.errors import (
    FrameNotFoundError,
    InstanceNotFoundError,
    InvalidQueryError,
    InvalidResourceError,
    NotAcceptableError,
    NotFoundError,
    ObjectChangedError,
    ResponseTooLargeError,
    SeriesNotFoundError,
    StudyNotFoundError,
)
from dicomulus.wire.media_types import parse_media_type
from dicomulus.wire.message import Headers, Request, parse_query
from dicomulus.wire.multipart import read_parts
from tests.support.archives import BASE_URL, body_of, small_archive
from tests.support.datasets import JPEG_BASELINE, ct_instance

if TYPE_CHECKING:
    from pathlib import Path

    from dicomulus.ports import InstanceRow
    from dicomulus.wire.message import Response
    from tests.support.archives import Small

MP4: Final = "1.2.840.10008.1.2.4.102"
PDF_STORAGE: Final = "1.2.840.10008.5.1.4.1.1.104.1"
CDA_STORAGE: Final = "1.2.840.10008.5.1.4.1.1.104.2"
MANY_JPEG: Final = 'multipart/related; type="image/jpeg"'


@pytest.fixture
def small(tmp_path: Path) -> Small:
    return small_archive(tmp_path)


def taken(small: Small, content: bytes, key: str = "a") -> InstanceRow:
    (row,) = small.take({key: content}).indexed
    return row


def ask(small: Small, target: str, accept: str | None = None, **headers: str) -> Response:
    """Answer a request for a path and query below the base path."""
    path, _, query = target.partition("?")
    lines = {name.replace("_", "-"): value for name, value in headers.items()}
    if accept is not None:
        lines["Accept"] = accept
    return answer(
        small.archive,
        Request(
            "GET", f"/dicom-web{path}", parse_query(query), Headers.of(lines), base_url=BASE_URL
        ),
    )


def image_of(response: Response) -> Image.Image:
    assert response.status == 200
    image = Image.open(BytesIO(body_of(response)))
    assert response.header("Content-Type") == f"image/{str(image.format).lower()}"
    return image


def parts_of(response: Response) -> list[Any]:
    content_type = parse_media_type(response.header("Content-Type") or "")
    assert content_type.essence == "multipart/related"
    assert content_type.parameter("type") == "image/jpeg"
    read = read_parts(BytesIO(body_of(response)), content_type)
    return [np.asarray(Image.open(BytesIO(part.content.read()))) for part in read]


def paths_of(row: InstanceRow) -> tuple[str, str, str, str]:
    """Give the paths of an instance's study and series, its own, and that of its first frame."""
    study = f"/studies/{row.instance.study_instance_uid}"
    instance = row.instance.path
    return study, row.instance.series.path, instance, f"{instance}/frames/1"


# --- media types ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (None, "JPEG"),
        ("*/*", "JPEG"),
        ("image/*", "JPEG"),
        ("image/avif,image/webp,*/*;q=0.8", "JPEG"),
        ("image/png", "PNG"),
        ("image/png;q=0.5, image/gif;q=0.9", "GIF"),
    ],
)
@pytest.mark.parametrize("level", range(4))
@pytest.mark.parametrize("what", ["rendered", "thumbnail"])
def test_one_image_of_the_type_liked_best(
    small: Small, what: str, level: int, accept: str | None, expected: str
) -> None:
    path = paths_of(taken(small, ct_instance()))[level]
    assert image_of(ask(small, f"{path}/{what}", accept)).format == expected


@pytest.mark.parametrize("what", ["rendered", "thumbnail"])
def test_the_accept_parameter_wins_over_the_header(small: Small, what: str) -> None:
    """PS3.18 §8.3.3.1: what OHIF sends for its thumbnails."""
    path = taken(small, ct_instance()).instance.path
    header = 'multipart/related; type="application/octet-stream"'
    assert image_of(ask(small, f"{path}/{what}?accept=image%2Fjpeg", header)).format == "JPEG"
    with pytest.raises(NotAcceptableError):
        ask(small, f"{path}/{what}", header)


@pytest.mark.parametrize("accept", ["image/webp", "application/dicom", "video/mp4"])
@pytest.mark.parametrize("level", range(4))
def test_other_types_are_not_acceptable(small: Small, level: int, accept: str) -> None:
    path = paths_of(taken(small, ct_instance()))[level]
    for what in ("rendered", "thumbnail"):
        with pytest.raises(NotAcceptableError, match="image/jpeg"):
            ask(small, f"{path}/{what}", accept)


def test_a_gif_of_a_multi_frame_instance_moves(small: Small) -> None:
    path = taken(small, ct_instance(frames=4)).instance.path
    assert getattr(image_of(ask(small, f"{path}/rendered", "image/gif")), "n_frames", 1) == 4
    some = image_of(ask(small, f"{path}/frames/4,2,3/rendered", "image/gif"))
    assert getattr(some, "n_frames", 1) == 3
    still = image_of(ask(small, f"{path}/thumbnail", "image/gif"))
    assert getattr(still, "n_frames", 1) == 1


# --- several images ------------------------------------------------------------------------------


@pytest.mark.parametrize("accept", [MANY_JPEG, "image/jpeg", None])
def test_several_frames_are_a_part_each(small: Small, accept: str | None) -> None:
    path = taken(small, ct_instance(frames=4)).instance.path
    images = parts_of(ask(small, f"{path}/frames/3,1/rendered", accept))
    singles = [image_of(ask(small, f"{path}/frames/{n}/rendered")) for n in (3, 1)]
    assert [each.tolist() for each in images] == [np.asarray(each).tolist() for each in singles]


def test_all_images_of_what_is_asked_for(small: Small) -> None:
    """Instances without pixels, and those that cannot be decoded, have no part."""
    row = taken(small, ct_instance(frames=2))
    taken(small, ct_instance(instance_number=2, series_instance_uid="1.2.3"), "b")
    taken(small, ct_instance(instance_number=3, has_pixels=False), "c")
    taken(small, ct_instance(instance_number=4, transfer_syntax=JPEG_BASELINE), "d")
    taken(small, ct_instance(instance_number=5, transfer_syntax=MP4), "e")
    study, series, instance, frame = paths_of(row)
    counts = [
        len(parts_of(ask(small, f"{path}/rendered", MANY_JPEG)))
        for path in (study, series, instance, frame)
    ]
    assert counts == [3, 2, 2, 1]


def test_images_are_made_as_they_are_sent(small: Small) -> None:
    row = taken(small, ct_instance(frames=50))
    response = ask(small, f"{row.instance.path}/rendered", MANY_JPEG)
    assert response.length is None
    read_before = sum(call.object_bytes for call in small.ledger.calls)
    assert len(parts_of(response)) == 50
    read_after = sum(call.object_bytes for call in small.ledger.calls)
    assert read_after - read_before >= 49 * 512


def test_nothing_to_render_is_told_before_anything_is_sent(small: Small) -> None:
    row = taken(small, ct_instance(has_pixels=False))
    taken(small, ct_instance(instance_number=2, has_pixels=False), "b")
    study, series, instance, _ = paths_of(row)
    for path in (study, series):
        with pytest.raises(NotAcceptableError):
            ask(small, f"{path}/rendered", MANY_JPEG)
    for path in (study, series, instance):
        for what in ("rendered", "thumbnail"):
            with pytest.raises(FrameNotFoundError):
                ask(small, f"{path}/{what}")


# --- parameters ----------------------------------------------------------------------------------


def test_windows_viewports_quality_and_annotations(small: Small) -> None:
    path = taken(small, ct_instance(rows=64, columns=64)).instance.path
    plain = np.asarray(image_of(ask(small, f"{path}/rendered", "image/png")))
    window = image_of(ask(small, f"{path}/rendered?window=-500,900,sigmoid", "image/png"))
    assert not np.array_equal(np.asarray(window), plain)
    viewport = image_of(ask(small, f"{path}/rendered?viewport=32,32,8,8,-32,32", "image/png"))
    assert np.array_equal(np.asarray(viewport), plain[8:40, 8:40][:, ::-1])
    low, high = (len(body_of(ask(small, f"{path}/rendered?quality={q}"))) for q in (1, 100))
    assert low < high
    drawn = image_of(
        ask(small, f"{path}/rendered?annotation=patient&annotation=technique", "image/png")
    )
    assert not np.array_equal(np.asarray(drawn), plain)
    ignored = image_of(
        ask(small, f"{path}/rendered?iccprofile=no&charset=utf-8&other=1", "image/png")
    )
    assert np.array_equal(np.asarray(ignored), plain)


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("viewport=0,0", "viewport"),
        ("viewport=8,8,100,100", "viewport"),
        ("viewport=8,8&viewport=9,9", "viewport"),
        ("window=1", "window"),
        ("quality=0", "quality"),
        ("annotation=all", "annotation"),
        ("iccprofile=srgb", "iccprofile"),
    ],
)
@pytest.mark.parametrize("level", range(4))
def test_bad_parameters_are_named(small: Small, level: int, query: str, parameter: str) -> None:
    path = paths_of(taken(small, ct_instance()))[level]
    with pytest.raises(InvalidQueryError) as caught:
        ask(small, f"{path}/rendered?{query}")
    assert caught.value.parameter == parameter


def test_thumbnails_fit_into_their_size(small: Small) -> None:
    """PS3.18 §8.3.5.2."""
    path = taken(small, ct_instance(rows=300, columns=600)).instance.path
    assert image_of(ask(small, f"{path}/thumbnail")).size == (200, 100)
    assert image_of(ask(small, f"{path}/thumbnail?viewport=64,64")).size == (64, 32)
    for viewport in ("64", "64,64,1,1,2,2", "0,0"):
        with pytest.raises(InvalidQueryError):
            ask(small, f"{path}/thumbnail?viewport={viewport}")


# --- entity tags ---------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["rendered", "thumbnail"])
@pytest.mark.parametrize("level", range(4))
def test_what_has_not_changed_is_neither_rendered_nor_sent(
    small: Small, level: int, what: str
) -> None:
    path = paths_of(taken(small, ct_instance()))[level]
    first = ask(small, f"{path}/{what}")
    etag = first.header("ETag") or ""
    small.storage.delete("a")
    again = ask(small, f"{path}/{what}", If_None_Match=etag)
    assert (again.status, again.length) == (304, 0)
    assert again.header("ETag") == etag
    assert again.header("Vary") == "Accept"


def test_another_image_has_another_tag(small: Small) -> None:
    path = taken(small, ct_instance(frames=2)).instance.path
    targets = ["rendered", "rendered?quality=5", "frames/2/rendered", "thumbnail"]
    tags = {ask(small, f"{path}/{each}").header("ETag") for each in targets}
    tags.add(ask(small, f"{path}/rendered", "image/png").header("ETag"))
    tags.add(ask(small, f"{path}/rendered", "image/gif").header("ETag"))
    assert len(tags) == 6


def test_an_object_that_was_replaced_is_rendered_as_it_is_now(small: Small) -> None:
    path = taken(small, ct_instance()).instance.path
    before = ask(small, f"{path}/rendered", "image/png")
    small.storage.put("a", ct_instance(attributes={"WindowCenter": "-600"}))
    after = ask(small, f"{path}/rendered", "image/png")
    assert body_of(before) != body_of(after)
    assert before.header("ETag") != after.header("ETag")
    assert after.header("ETag") == ask(small, f"{path}/rendered", "image/png").header("ETag")


# --- what is no image ----------------------------------------------------------------------------


@pytest.mark.parametrize("document", [b"%PDF-1.7 odd", b"%PDF-1.7 even"])
def test_documents_leave_as_what_they_are(small: Small, document: bytes) -> None:
    """PS3.18 Table 8.7.4-1; the byte that makes the length even is not theirs."""
    attributes = {
        "SOPClassUID": PDF_STORAGE,
        "EncapsulatedDocument": document + b"\0" * (len(document) % 2),
        "EncapsulatedDocumentLength": len(document),
        "MIMETypeOfEncapsulatedDocument": "text/html",
    }
    path = taken(small, ct_instance(has_pixels=False, attributes=attributes)).instance.path
    response = ask(small, f"{path}/rendered")
    assert response.header("Content-Type") == "application/pdf"
    assert response.header("Content-Security-Policy") == "sandbox"
    assert body_of(response) == document
    assert response.length == len(document)
    with pytest.raises(NotAcceptableError, match="application/pdf"):
        ask(small, f"{path}/rendered", "image/jpeg")


def test_a_document_that_does_not_tell_its_length_leaves_whole(small: Small) -> None:
    attributes = {"SOPClassUID": CDA_STORAGE, "EncapsulatedDocument": b"<ClinicalDocument/> \0"}
    path = taken(small, ct_instance(has_pixels=False, attributes=attributes)).instance.path
    response = ask(small, f"{path}/rendered", "text/xml")
    body = body_of(response)
    assert body.startswith(b"<ClinicalDocument/>")
    assert response.length == len(body)


def video(small: Small) -> tuple[str, bytes]:
    stream = bytes(range(256)) * 20
    attributes = {"NumberOfFrames": 30, "PixelData": encapsulate([stream], has_bot=True)}
    content = ct_instance(frames=30, transfer_syntax=MP4, attributes=attributes)
    return taken(small, content).instance.path, stream


def test_videos_leave_as_they_are(small: Small) -> None:
    path, stream = video(small)
    response = ask(small, f"{path}/rendered")
    assert response.header("Content-Type") == "video/mp4"
    assert body_of(response) == stream
    assert response.length == len(stream)
    with pytest.raises(NotAcceptableError, match="video/mp4"):
        ask(small, f"{path}/rendered", "image/jpeg")


def test_of_a_video_no_frame_is_rendered(small: Small) -> None:
    path, _ = video(small)
    series = path.partition("/instances/")[0]
    for target in (f"{path}/frames/1/rendered", f"{path}/thumbnail", f"{series}/rendered"):
        with pytest.raises(NotAcceptableError):
            ask(small, target)


def test_what_is_passed_on_keeps_to_the_limit_of_answers(tmp_path: Path) -> None:
    small = small_archive(tmp_path, max_stream_bytes=1_000)
    path, _ = video(small)
    with pytest.raises(ResponseTooLargeError):
        ask(small, f"{path}/rendered")


# --- what is not there ---------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["rendered", "thumbnail"])
def test_what_is_not_there_is_not_found(small: Small, what: str) -> None:
    instance = taken(small, ct_instance()).instance
    series = instance.series.path
    missing: dict[str, type[NotFoundError]] = {
        "/studies/1.2.3": StudyNotFoundError,
        f"/studies/{instance.study_instance_uid}/series/1.2.3": SeriesNotFoundError,
        f"{series}/instances/1.2.3": InstanceNotFoundError,
        f"{instance.path}/frames/2": FrameNotFoundError,
    }
    for path, error in missing.items():
        with pytest.raises(error):
            ask(small, f"{path}/{what}")


def test_lists_of_frames_are_checked(small: Small) -> None:
    path = taken(small, ct_instance(frames=2)).instance.path
    for numbers in ("0", "x", "1,,2"):
        for what in ("rendered", "thumbnail"):
            with pytest.raises(InvalidResourceError):
                ask(small, f"{path}/frames/{numbers}/{what}")
    with pytest.raises(InvalidResourceError, match="one frame"):
        ask(small, f"{path}/frames/1,2/thumbnail")


@pytest.mark.parametrize("resource", ["/rendered", "/frames/1,1/rendered"])
def test_images_of_an_object_that_was_replaced_are_those_of_the_new_one(
    small: Small, resource: str
) -> None:
    """As with one image alone, the object is looked at again and the read repeated."""
    row = taken(small, ct_instance(rows=16))
    small.storage.put("a", ct_instance(rows=8))
    images = parts_of(ask(small, f"{row.instance.path}{resource}", MANY_JPEG))
    assert {image.shape for image in images} == {(8, 16)}


def test_a_replaced_object_among_many_is_looked_at_again(small: Small) -> None:
    row = taken(small, ct_instance(instance_number=1))
    taken(small, ct_instance(instance_number=2), "b")
    small.storage.put("a", ct_instance(instance_number=1, rows=8))
    series = f"{row.instance.series.path}/rendered"
    with pytest.raises(ObjectChangedError):
        ask(small, series, MANY_JPEG)
    assert [image.shape for image in parts_of(ask(small, series, MANY_JPEG))] == [(8, 16), (16, 16)]
