"""All bulk data, and all pixel data, of a study, a series or an instance (PS3.18 §10.4.3.3.5)."""

from __future__ import annotations

import json
from io import BytesIO
from typing import TYPE_CHECKING, Any

import pytest
from pydicom import Dataset

from dicomulus.errors import (
    BulkDataNotFoundError,
    NotAcceptableError,
    ObjectChangedError,
    ResponseTooLargeError,
    StudyNotFoundError,
)
from dicomulus.wire.media_types import parse_media_type
from dicomulus.wire.multipart import read_parts
from tests.support.archives import BASE_URL, body_of, small_archive
from tests.support.datasets import (
    JPEG_BASELINE,
    JPEG_LS,
    RLE,
    ct_instance,
    native_frame,
)

if TYPE_CHECKING:
    from pathlib import Path

    from dicomulus.wire.message import Response
    from tests.support.archives import Small

ANY_PART = 'multipart/related; type="*/*"'
PLAIN = "multipart/related; type=application/octet-stream"
AS_STORED = f"{PLAIN}; transfer-syntax=*"
LONG = bytes(range(256)) * 5


@pytest.fixture
def small(tmp_path: Path) -> Small:
    return small_archive(tmp_path)


def parts(response: Response) -> list[tuple[str, str, bytes]]:
    """Give Content-Location, Content-Type and content of each part."""
    content_type = parse_media_type(response.header("Content-Type") or "")
    return [
        (
            part.headers.get("Content-Location") or "",
            part.headers.get("Content-Type") or "",
            part.content.read(),
        )
        for part in read_parts(BytesIO(body_of(response)), content_type)
    ]


def bulk_data_uris(value: Any) -> list[str]:
    """Give every BulkDataURI in metadata, in order."""
    if isinstance(value, list):
        return [uri for each in value for uri in bulk_data_uris(each)]
    if not isinstance(value, dict):
        return []
    own = [value["BulkDataURI"]] if "BulkDataURI" in value else []
    return own + [uri for each in value.values() for uri in bulk_data_uris(each)]


def with_values(number: int) -> bytes:
    """An instance with bulk data at the top, in a sequence, and of pixels."""
    item = Dataset()
    item.add_new(0x00091010, "OB", LONG + bytes([number] * 2))
    attributes = {"ICCProfile": LONG, "ReferencedImageSequence": [item]}
    return ct_instance(
        series_instance_uid=f"1.2.{number}", instance_number=number, attributes=attributes
    )


@pytest.mark.parametrize("level", ["study", "series", "instance"])
def test_every_value_that_the_metadata_names_is_a_part(small: Small, level: str) -> None:
    report = small.take({f"{n}": with_values(n) for n in (1, 2)})
    small.compact()
    instance = report.indexed[0].instance
    path = {
        "study": f"/studies/{instance.study_instance_uid}",
        "series": instance.series.path,
        "instance": instance.path,
    }[level]
    named = bulk_data_uris(json.loads(body_of(small.ask(f"{path}/metadata"))))
    assert len(named) == (6 if level == "study" else 3)
    read = parts(small.ask(f"{path}/bulkdata", accept=ANY_PART))
    assert [location for location, _, _ in read] == named
    for location, content_type, content in read:
        alone = small.ask(location.removeprefix(BASE_URL), accept="*/*")
        assert body_of(alone) == content
        assert alone.header("Content-Type") == content_type


def test_pixel_data_is_the_bulk_data_of_pixels_alone(small: Small) -> None:
    report = small.take({f"{n}": with_values(n) for n in (1, 2)})
    small.compact()
    study = f"/studies/{report.indexed[0].instance.study_instance_uid}"
    read = parts(small.ask(f"{study}/pixeldata", accept=PLAIN))
    assert [content for _, _, content in read] == [native_frame(1)] * 2
    assert all(location.endswith("/bulkdata/7FE00010") for location, _, _ in read)


@pytest.mark.parametrize("accept", [None, "*/*", "multipart/related", ANY_PART, AS_STORED])
def test_compressed_pixel_data_comes_frame_by_frame(small: Small, accept: str | None) -> None:
    content = ct_instance(frames=2, transfer_syntax=JPEG_BASELINE)
    row = small.take({"a": content}).indexed[0]
    read = parts(small.ask(f"{row.instance.path}/pixeldata", accept=accept))
    frames = [small.ask(f"{row.instance.path}/frames/{n}", accept="*/*") for n in (1, 2)]
    assert [content for _, _, content in read] == [body_of(each) for each in frames]
    location = f"{BASE_URL}{row.instance.path}/bulkdata/7FE00010"
    assert {place for place, _, _ in read} == {location}
    media_type = "application/octet-stream" if accept == AS_STORED else "image/jpeg"
    assert {kind for _, kind, _ in read} == {f"{media_type}; transfer-syntax={JPEG_BASELINE}"}


def test_what_cannot_be_given_as_asked_for_has_no_part(small: Small) -> None:
    """The code streams are none, so nothing decodes them."""
    objects = {
        "a": ct_instance(instance_number=1, transfer_syntax=JPEG_LS),
        "b": ct_instance(instance_number=2),
    }
    series = small.take(objects).indexed[0].instance.series
    read = parts(small.ask(f"{series.path}/pixeldata", accept=PLAIN))
    assert [content for _, _, content in read] == [native_frame(1)]
    assert len(parts(small.ask(f"{series.path}/pixeldata", accept=AS_STORED))) == 2


def test_pixel_data_is_compressed_frame_by_frame_where_that_is_asked_for(small: Small) -> None:
    row = small.take({"a": ct_instance(frames=2)}).indexed[0]
    accept = "multipart/related; type=image/dicom-rle"
    read = parts(small.ask(f"{row.instance.path}/pixeldata", accept=accept))
    assert [kind for _, kind, _ in read] == [f"image/dicom-rle; transfer-syntax={RLE}"] * 2
    frames = [small.ask(f"{row.instance.path}/frames/{n}", accept=accept) for n in (1, 2)]
    assert [content for _, _, content in read] == [parts(each)[0][2] for each in frames]


@pytest.mark.parametrize(
    ("syntax", "accept"),
    [
        (JPEG_LS, PLAIN),
        (JPEG_LS, "multipart/related; type=image/png"),
        (JPEG_LS, "application/dicom+json"),
        ("1.2.840.10008.1.2.1", "multipart/related; type=video/mp4"),
    ],
)
def test_where_nothing_can_be_given_as_asked_for_it_is_refused(
    small: Small, syntax: str, accept: str
) -> None:
    row = small.take({"a": ct_instance(transfer_syntax=syntax)}).indexed[0]
    with pytest.raises(NotAcceptableError):
        small.ask(f"{row.instance.path}/pixeldata", accept=accept)


@pytest.mark.parametrize("resource", ["bulkdata", "pixeldata"])
def test_where_there_is_no_bulk_data_there_is_no_such_resource(small: Small, resource: str) -> None:
    row = small.take({"a": ct_instance(has_pixels=False)}).indexed[0]
    with pytest.raises(BulkDataNotFoundError):
        small.ask(f"{row.instance.path}/{resource}")
    with pytest.raises(StudyNotFoundError):
        small.ask(f"/studies/1.2/{resource}")


def test_values_that_are_cut_off_are_left_out(small: Small) -> None:
    whole = ct_instance(attributes={"ICCProfile": LONG}, frames=4, transfer_syntax=JPEG_BASELINE)
    row = small.take({"a": whole[:-900]}).indexed[0]
    read = parts(small.ask(f"{row.instance.path}/bulkdata", accept=ANY_PART))
    assert read[0][2] == LONG


def test_an_answer_that_may_be_over_the_limit_is_refused(tmp_path: Path) -> None:
    small = small_archive(tmp_path, max_stream_bytes=100)
    row = small.take({"a": ct_instance()}).indexed[0]
    with pytest.raises(ResponseTooLargeError) as raised:
        small.ask(f"{row.instance.series.path}/bulkdata")
    assert raised.value.manifest == f"{BASE_URL}{row.instance.series.path}/manifest"


def test_a_change_is_told_before_anything_is_sent_and_is_looked_at(small: Small) -> None:
    series = small.take({"a": ct_instance()}).indexed[0].instance.series
    small.storage.put("a", ct_instance(rows=8))
    with pytest.raises(ObjectChangedError):
        small.ask(f"{series.path}/pixeldata")
    assert len(parts(small.ask(f"{series.path}/pixeldata"))) == 1


def test_of_one_instance_a_change_is_followed_at_once(small: Small) -> None:
    instance = small.take({"a": ct_instance()}).indexed[0].instance
    small.storage.put("a", ct_instance(rows=8))
    ((_, _, content),) = parts(small.ask(f"{instance.path}/pixeldata"))
    assert content == native_frame(1, rows=8)


def test_a_change_in_the_middle_leaves_the_answer_without_its_end(small: Small) -> None:
    objects = {f"{n}": ct_instance(instance_number=n) for n in (1, 2)}
    series = small.take(objects).indexed[0].instance.series
    response = small.ask(f"{series.path}/pixeldata")
    assert not isinstance(response.body, bytes)
    small.storage.put("2", ct_instance(instance_number=2, rows=8))
    sent: list[bytes] = []
    with pytest.raises(ObjectChangedError):
        sent.extend(response.body)
    assert not b"".join(sent).rstrip().endswith(b"--")
