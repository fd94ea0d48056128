"""Parts and conditions of what is given alone (RFC 9110 §13, §14)."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING

import pytest
from pydicom.encaps import encapsulate

from dicomulus.errors import (
    PreconditionFailedError,
    RangeNotSatisfiableError,
    ResponseTooLargeError,
)
from dicomulus.wire.media_types import parse_media_type
from dicomulus.wire.multipart import read_parts
from dicomulus.wire.problem import problem
from tests.support.archives import body_of, small_archive
from tests.support.datasets import (
    IMPLICIT_LITTLE_ENDIAN,
    JPEG_BASELINE,
    code_stream,
    ct_dataset,
    ct_instance,
    encode,
)

if TYPE_CHECKING:
    from pathlib import Path

    from dicomulus.ports import InstanceRow
    from dicomulus.wire.message import Response
    from tests.support.archives import Small

MPEG4 = "1.2.840.10008.1.2.4.102"
ENCAPSULATED_PDF = "1.2.840.10008.5.1.4.1.1.104.1"
VIDEO = "1.2.840.10008.5.1.4.1.1.77.1.1.1"
ANY_PART = 'multipart/related; type="*/*"'

REPRESENTATIONS = ["instance", "frame", "bulk data", "document", "video"]


@pytest.fixture
def small(tmp_path: Path) -> Small:
    return small_archive(tmp_path)


def taken(small: Small, content: bytes) -> InstanceRow:
    (row,) = small.take({"a": content}).indexed
    return row


def document() -> bytes:
    dataset = ct_dataset()
    dataset.SOPClassUID = ENCAPSULATED_PDF
    dataset.MIMETypeOfEncapsulatedDocument = "application/pdf"
    dataset.EncapsulatedDocument = b"%PDF-1.7 " + bytes(range(200)) + b"\0"
    dataset.EncapsulatedDocumentLength = 209
    return encode(dataset)


def video() -> bytes:
    dataset = ct_dataset()
    dataset.SOPClassUID = VIDEO
    dataset.NumberOfFrames = 30
    dataset.PixelData = encapsulate([code_stream(1, length=300), code_stream(2, length=300)])
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    return encode(dataset, transfer_syntax=MPEG4)


def path_of(small: Small, what: str) -> str:
    """Store something, and give where it is."""
    content = {"document": document, "video": video}.get(what, lambda: ct_instance(frames=3))()
    path = taken(small, content).instance.path
    below = {
        "instance": "",
        "frame": "/frames/2",
        "bulk data": "/bulkdata/7FE00010",
        "document": "/rendered",
        "video": "/rendered",
    }
    return path + below[what]


# --- parts ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", REPRESENTATIONS)
def test_a_part_is_given_with_its_place(small: Small, what: str) -> None:
    path = path_of(small, what)
    whole = small.ask(path)
    body = body_of(whole)
    assert whole.header("Accept-Ranges") == "bytes"
    part = small.ask(path, Range="bytes=10-19")
    assert part.status == 206
    assert part.header("Content-Range") == f"bytes 10-19/{len(body)}"
    assert body_of(part) == body[10:20]
    assert part.length == 10
    for name in ("Content-Type", "ETag", "Cache-Control", "Vary", "Accept-Ranges"):
        assert part.header(name) == whole.header(name)


@pytest.mark.parametrize("what", REPRESENTATIONS)
def test_parts_make_the_whole_again(small: Small, what: str) -> None:
    path = path_of(small, what)
    body = body_of(small.ask(path))
    cut = len(body) // 3
    ranges = [f"bytes=0-{cut - 1}", f"bytes={cut}-{2 * cut}", f"bytes=-{len(body) - 2 * cut - 1}"]
    assert b"".join(body_of(small.ask(path, Range=each)) for each in ranges) == body


@pytest.mark.parametrize("what", REPRESENTATIONS)
def test_a_range_behind_the_end_is_refused(small: Small, what: str) -> None:
    path = path_of(small, what)
    length = small.ask(path).length
    with pytest.raises(RangeNotSatisfiableError) as caught:
        small.ask(path, Range="bytes=100000-")
    answer = problem(caught.value)
    assert answer.status == 416
    assert answer.header("Content-Range") == f"bytes */{length}"


@pytest.mark.parametrize("value", ["bytes=0-1,4-5", "bytes=5-1", "frames=1-2"])
def test_other_ranges_are_answered_with_the_whole(small: Small, value: str) -> None:
    path = path_of(small, "frame")
    answer = small.ask(path, Range=value)
    assert answer.status == 200
    assert body_of(answer) == body_of(small.ask(path))


def test_head_takes_no_range(small: Small) -> None:
    """RFC 9110 §14.2: Range is defined for GET alone."""
    path = path_of(small, "frame")
    answer = small.ask(path, method="HEAD", Range="bytes=0-1")
    assert answer.status == 200
    assert answer.length == small.ask(path).length


def test_only_the_part_is_read(small: Small) -> None:
    path = path_of(small, "instance")
    _, calls = small.ledger.of(lambda: body_of(small.ask(path, Range="bytes=100-149")))
    assert [call.object_bytes for call in calls if call.object_bytes] == [50]


def test_of_what_is_written_anew_there_is_only_the_whole(small: Small) -> None:
    row = taken(small, ct_instance(transfer_syntax=IMPLICIT_LITTLE_ENDIAN))
    answer = small.ask(row.instance.path, Range="bytes=0-1")
    assert answer.status == 200
    assert answer.header("Accept-Ranges") is None
    assert len(body_of(answer)) == answer.length


def test_a_part_of_what_is_over_the_limit_is_given(tmp_path: Path) -> None:
    small = small_archive(tmp_path, max_stream_bytes=100)
    path = path_of(small, "frame")
    with pytest.raises(ResponseTooLargeError):
        small.ask(path)
    assert len(body_of(small.ask(path, Range="bytes=0-99"))) == 100
    with pytest.raises(ResponseTooLargeError):
        small.ask(path, Range="bytes=0-100")


# --- parts within multipart ----------------------------------------------------------------------


def only_part(response: Response) -> tuple[str | None, bytes]:
    body = body_of(response)
    assert len(body) == response.length
    content_type = parse_media_type(response.header("Content-Type") or "")
    ((head, content),) = [
        (part.headers, part.content.read()) for part in read_parts(BytesIO(body), content_type)
    ]
    return head.get("Content-Range"), content


def test_a_range_of_bulk_data_in_multipart_is_one_of_the_value(small: Small) -> None:
    path = path_of(small, "bulk data")
    _, whole = only_part(small.ask(path, accept=ANY_PART))
    answer = small.ask(path, accept=ANY_PART, Range="bytes=100-")
    assert answer.status == 206
    assert only_part(answer) == (f"bytes 100-{len(whole) - 1}/{len(whole)}", whole[100:])
    with pytest.raises(RangeNotSatisfiableError):
        small.ask(path, accept=ANY_PART, Range=f"bytes={len(whole)}-")


@pytest.mark.parametrize("what", ["instance", "frame"])
def test_other_bodies_in_multipart_are_given_whole(small: Small, what: str) -> None:
    """Viewers that ask for a range of a frame take 200 for all of it."""
    answer = small.ask(path_of(small, what), accept=ANY_PART, Range="bytes=0-9")
    assert answer.status == 200
    assert only_part(answer)[0] is None


def test_compressed_frames_as_bulk_data_are_given_whole(small: Small) -> None:
    row = taken(small, ct_instance(frames=2, transfer_syntax=JPEG_BASELINE))
    path = f"{row.instance.path}/bulkdata/7FE00010"
    assert small.ask(path, accept=ANY_PART, Range="bytes=0-9").status == 200


# --- conditions ----------------------------------------------------------------------------------


@pytest.mark.parametrize("accept", ["*/*", ANY_PART])
@pytest.mark.parametrize("what", ["instance", "frame", "bulk data"])
def test_what_the_client_has_is_not_sent_again(small: Small, what: str, accept: str) -> None:
    path = path_of(small, what)
    etag = small.ask(path, accept=accept).header("ETag") or ""
    answer, calls = small.ledger.of(lambda: small.ask(path, accept=accept, If_None_Match=etag))
    assert (answer.status, answer.header("ETag")) == (304, etag)
    if what != "bulk data":
        assert [call.port for call in calls] == ["index"]
    assert small.ask(path, accept=accept, If_None_Match='"other"').status == 200


@pytest.mark.parametrize("what", ["instance", "frame", "bulk data"])
def test_the_tag_of_one_body_among_boundaries_is_weak(small: Small, what: str) -> None:
    path = path_of(small, what)
    assert (small.ask(path, accept=ANY_PART).header("ETag") or "").startswith('W/"')
    assert (small.ask(path, accept="*/*").header("ETag") or "").startswith('"')


@pytest.mark.parametrize("what", REPRESENTATIONS)
def test_an_object_that_is_replaced_has_another_tag(small: Small, what: str) -> None:
    path = path_of(small, what)
    before = small.ask(path).header("ETag")
    content = small.storage.get("a").data
    small.take({"a": content + bytes(2)})
    assert small.ask(path).header("ETag") != before


def test_each_representation_has_a_tag_of_its_own(small: Small) -> None:
    path = taken(small, ct_instance(frames=3, transfer_syntax=JPEG_BASELINE)).instance.path
    any_syntax = "application/octet-stream; transfer-syntax=*"
    asked = [
        (path, "*/*"),
        (f"{path}/frames/1", "*/*"),
        (f"{path}/frames/2", "*/*"),
        (f"{path}/frames/2", any_syntax),
    ]
    tags = [small.ask(where, accept=accept).header("ETag") for where, accept in asked]
    assert None not in tags
    assert len(set(tags)) == len(tags)


def test_if_range_gives_a_part_of_the_same_or_the_whole_of_another(small: Small) -> None:
    path = path_of(small, "frame")
    etag = small.ask(path).header("ETag") or ""
    assert small.ask(path, Range="bytes=0-9", If_Range=etag).status == 206
    small.take({"a": ct_instance(frames=3, rows=8)})
    assert small.ask(path, Range="bytes=0-9", If_Range=etag).status == 200


def test_if_match_refuses_another_generation(small: Small) -> None:
    path = path_of(small, "frame")
    etag = small.ask(path).header("ETag") or ""
    assert small.ask(path, If_Match=etag).status == 200
    small.take({"a": ct_instance(frames=3, rows=8)})
    with pytest.raises(PreconditionFailedError):
        small.ask(path, If_Match=etag)


def test_a_part_is_of_the_object_as_it_is_now(small: Small) -> None:
    """The row was planned from another generation: it is looked at again, and then read."""
    path = path_of(small, "frame")
    small.storage.put("a", ct_instance(frames=3, rows=8))
    part = small.ask(path, Range="bytes=0-9")
    assert part.header("Content-Range") == f"bytes 0-9/{8 * 16 * 2}"
    assert body_of(part) == body_of(small.ask(path))[:10]
