"""Files, frames, images and values of instances, as Orthanc's REST API gives them."""

from __future__ import annotations

import gzip
import json
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread

from dicomulus.errors import (
    FrameNotFoundError,
    InvalidQueryError,
    InvalidResourceError,
    NotAcceptableError,
    RouteNotFoundError,
    UnsupportedMediaTypeError,
)
from tests.support.archives import body_of, small_archive
from tests.support.datasets import JPEG_BASELINE, RLE, ct_instance, native_frame, rle_frame

if TYPE_CHECKING:
    from pathlib import Path

    from dicomulus.wire.message import Response
    from tests.support.archives import Small

FRAMES = 2
VALUES = [
    np.frombuffer(native_frame(number), "<u2").reshape(16, 16) for number in range(1, FRAMES + 1)
]


@pytest.fixture
def small(tmp_path: Path) -> Small:
    return small_archive(tmp_path, orthanc_path="/orthanc")


def stored(small: Small, content: bytes) -> str:
    """Store an object; give the path of its instance."""
    told = json.loads(body_of(small.orthanc("/instances", method="POST", body=content)))
    path: str = told["Path"]
    return path


@pytest.fixture
def image(small: Small) -> str:
    return stored(small, ct_instance(frames=FRAMES))


def pixels_of(response: Response) -> Any:
    return np.asarray(Image.open(BytesIO(body_of(response))))


def test_a_file_is_given_as_it_is_stored_under_its_identifier(small: Small) -> None:
    content = ct_instance()
    path = stored(small, content)
    response = small.orthanc(f"{path}/file")
    assert body_of(response) == content
    assert response.header("Content-Type") == "application/dicom"
    name = f'filename="{path.split("/")[-1]}.dcm"'
    assert response.header("Content-Disposition") == name
    part = small.orthanc(f"{path}/file", Range="bytes=128-131")
    assert (part.status, body_of(part)) == (206, b"DICM")
    named = small.orthanc(f"{path}/file?filename=x%22%0d.dcm")
    assert named.header("Content-Disposition") == 'filename="x__.dcm"'


def test_a_file_is_transcoded_when_asked_for(small: Small, image: str) -> None:
    content = body_of(small.orthanc(f"{image}/file?transcode={RLE}"))
    assert dcmread(BytesIO(content)).file_meta.TransferSyntaxUID == RLE
    with pytest.raises(NotAcceptableError):
        small.orthanc(f"{image}/file?transcode=1.2.3")


def test_a_file_may_come_as_its_metadata(small: Small, image: str) -> None:
    as_json = small.orthanc(f"{image}/file", Accept="application/dicom+json")
    assert as_json.header("Content-Type") == "application/dicom+json"
    assert json.loads(body_of(as_json))["00100020"] == {"vr": "LO", "Value": ["P-0001"]}
    as_xml = small.orthanc(f"{image}/file", Accept="application/dicom+xml")
    assert as_xml.header("Content-Type") == "application/dicom+xml"
    assert b'keyword="PatientID"' in body_of(as_xml)


def test_frames_are_counted_from_0(small: Small, image: str) -> None:
    assert small.orthanc_json(f"{image}/frames") == [0, 1]
    assert "preview" in small.orthanc_json(f"{image}/frames/0")
    for number in range(FRAMES):
        raw = small.orthanc(f"{image}/frames/{number}/raw")
        assert body_of(raw) == native_frame(number + 1)
        assert raw.header("Content-Type") == "application/octet-stream"
        packed = body_of(small.orthanc(f"{image}/frames/{number}/raw.gz"))
        assert gzip.decompress(packed) == native_frame(number + 1)


def test_compressed_frames_come_as_they_are(small: Small) -> None:
    path = stored(small, ct_instance(frames=2, transfer_syntax=RLE))
    assert body_of(small.orthanc(f"{path}/frames/1/raw")) == rle_frame(native_frame(2))
    path = stored(small, ct_instance(instance_number=2, transfer_syntax=JPEG_BASELINE))
    assert small.orthanc(f"{path}/frames/0/raw").header("Content-Type") == "image/jpeg"


@pytest.mark.parametrize("name", ["raw", "raw.gz", "matlab"])
def test_some_uses_of_a_frame_behind_the_last_are_bad_requests(
    small: Small, image: str, name: str
) -> None:
    """As in Orthanc; others are not found."""
    with pytest.raises(InvalidResourceError):
        small.orthanc(f"{image}/frames/2/{name}")
    with pytest.raises(RouteNotFoundError):
        small.orthanc(f"{image}/frames/x/{name}")


@pytest.mark.parametrize("name", ["preview", "image-uint8", "rendered", "numpy"])
def test_an_image_of_a_frame_behind_the_last_is_not_found(
    small: Small, image: str, name: str
) -> None:
    with pytest.raises(FrameNotFoundError):
        small.orthanc(f"{image}/frames/2/{name}")


def test_a_preview_stretches_values_from_black_to_white(small: Small, image: str) -> None:
    for number, values in enumerate(VALUES):
        low, high = int(values.min()), int(values.max())
        expected = np.rint((values.astype(float) - low) * (255 / (high - low)))
        shown = pixels_of(small.orthanc(f"{image}/frames/{number}/preview"))
        assert np.array_equal(shown, expected)
    assert np.array_equal(
        pixels_of(small.orthanc(f"{image}/preview")),
        pixels_of(small.orthanc(f"{image}/frames/0/preview")),
    )


def test_a_preview_of_monochrome1_is_inverted(small: Small) -> None:
    plain = stored(small, ct_instance())
    attributes = {"PhotometricInterpretation": "MONOCHROME1"}
    inverted = stored(small, ct_instance(instance_number=2, attributes=attributes))
    one, other = (pixels_of(small.orthanc(f"{path}/preview")) for path in (plain, inverted))
    assert np.array_equal(one, 255 - other)


def test_an_image_of_one_value_is_black(small: Small) -> None:
    content = ct_instance(raw={0x7FE00010: ("OW", b"\x05\x00" * 256)})
    shown = pixels_of(small.orthanc(f"{stored(small, content)}/preview"))
    assert not shown.any()


@pytest.mark.parametrize(("name", "most"), [("image-uint8", 255), ("image-uint16", 65_535)])
def test_values_are_cut_off_at_what_an_image_holds(
    small: Small, image: str, name: str, most: int
) -> None:
    shown = pixels_of(small.orthanc(f"{image}/{name}"))
    assert np.array_equal(shown, np.minimum(VALUES[0], most))


def test_negative_values_are_in_the_twos_complement(small: Small) -> None:
    content = ct_instance(
        attributes={"PixelRepresentation": 1, "BitsStored": 16, "HighBit": 15},
        raw={0x7FE00010: ("OW", b"\xfe\xff" * 256)},
    )
    path = stored(small, content)
    assert (pixels_of(small.orthanc(f"{path}/image-int16")) == 65_534).all()
    assert not pixels_of(small.orthanc(f"{path}/image-uint16")).any()


def test_images_come_in_the_format_asked_for(small: Small, image: str) -> None:
    types = {
        accept: small.orthanc(f"{image}/preview", Accept=accept).header("Content-Type")
        for accept in ("*/*", "image/png", "image/jpeg", "image/x-portable-arbitrarymap")
    }
    assert types == {accept: "image/png" if accept == "*/*" else accept for accept in types}
    pam = body_of(small.orthanc(f"{image}/image-uint16", Accept="image/x-portable-arbitrarymap"))
    head, _, values = pam.partition(b"ENDHDR\n")
    assert b"MAXVAL 65535\nTUPLTYPE GRAYSCALE" in head
    assert np.array_equal(np.frombuffer(values, ">u2").reshape(16, 16), VALUES[0])
    with pytest.raises(UnsupportedMediaTypeError):
        small.orthanc(f"{image}/image-uint16", Accept="image/jpeg")
    with pytest.raises(NotAcceptableError):
        small.orthanc(f"{image}/preview", Accept="image/tiff")


def test_colours_are_shown_as_they_are_and_have_no_grey_values(small: Small) -> None:
    attributes = {"PhotometricInterpretation": "RGB", "PlanarConfiguration": 0}
    path = stored(small, ct_instance(samples=3, bits_allocated=8, attributes=attributes))
    colours = np.frombuffer(native_frame(1, samples=3, bits_allocated=8), "u1").reshape(16, 16, 3)
    assert np.array_equal(pixels_of(small.orthanc(f"{path}/preview")), colours)
    with pytest.raises(UnsupportedMediaTypeError):
        small.orthanc(f"{path}/image-uint8")
    assert body_of(small.orthanc(f"{path}/matlab")).startswith(b"double(permute(reshape([ ")
    assert np.array_equal(np.load(BytesIO(body_of(small.orthanc(f"{path}/numpy")))), colours[None])


def test_a_rendered_image_is_of_the_window_and_size_asked_for(small: Small, image: str) -> None:
    plain = pixels_of(small.orthanc(f"{image}/rendered"))
    assert plain.shape == (16, 16)
    windowed = small.orthanc(f"{image}/rendered?window-center=0&window-width=4000")
    assert not np.array_equal(pixels_of(windowed), plain)
    for query in ("width=8", "height=8", "width=8&height=12"):
        assert pixels_of(small.orthanc(f"{image}/rendered?{query}")).shape == (8, 8)
    for query in ("width=x", "width=0", "height=99999", "window-center=1", "quality=0"):
        with pytest.raises(InvalidQueryError):
            small.orthanc(f"{image}/rendered?{query}")


def test_what_is_no_image_is_an_unsupported_type(small: Small) -> None:
    path = stored(small, ct_instance(has_pixels=False))
    assert small.orthanc_json(f"{path}/frames") == [0]
    for name in ("preview", "image-uint8", "rendered"):
        with pytest.raises(UnsupportedMediaTypeError):
            small.orthanc(f"{path}/{name}")
    with pytest.raises(RouteNotFoundError):
        small.orthanc(f"{path}/pdf")


def test_a_matrix_has_all_values_row_by_row(small: Small, image: str) -> None:
    text = body_of(small.orthanc(f"{image}/frames/1/matlab")).decode()
    assert text.startswith("double([ ")
    rows = text.removeprefix("double([ ").removesuffix(" ])").split(" ; ")
    assert np.array_equal(np.array([row.split() for row in rows], int), VALUES[1])


def test_an_array_has_frames_rows_columns_and_samples(small: Small, image: str) -> None:
    def loaded(query: str) -> Any:
        return np.load(BytesIO(body_of(small.orthanc(f"{image}/{query}"))))

    assert loaded("numpy").dtype == np.float32
    assert np.array_equal(loaded("numpy"), np.stack(VALUES)[..., None] - 1024.0)
    assert np.array_equal(loaded("numpy?rescale=0"), np.stack(VALUES)[..., None])
    assert np.array_equal(loaded("frames/1/numpy?rescale=false"), VALUES[1][None, ..., None])
    assert np.array_equal(loaded("numpy?compress=1")["arr_0"], loaded("numpy"))
    with pytest.raises(InvalidQueryError):
        small.orthanc(f"{image}/numpy?rescale=x")


def test_an_encapsulated_pdf_is_given(small: Small) -> None:
    document = b"%PDF-1.4 page"
    content = ct_instance(
        has_pixels=False,
        attributes={
            "SOPClassUID": "1.2.840.10008.5.1.4.1.1.104.1",
            "MIMETypeOfEncapsulatedDocument": "application/pdf",
            "EncapsulatedDocument": document + b"\0",
            "EncapsulatedDocumentLength": len(document),
        },
    )
    response = small.orthanc(f"{stored(small, content)}/pdf")
    assert (response.header("Content-Type"), body_of(response)) == ("application/pdf", document)
