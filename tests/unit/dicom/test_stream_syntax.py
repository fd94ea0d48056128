"""A code stream says itself what it is, which its sender often does not."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from dicomulus.dicom.stream_syntax import DEFAULTS, jpeg_image_of, transfer_syntax_of
from dicomulus.wire.media_types import FRAME_MEDIA_TYPES
from tests.support.pydicom_corpus import FILES, ROOT, frames_of, read

TOLD_APART = {
    "1.2.840.10008.1.2.4.50",
    "1.2.840.10008.1.2.4.51",
    "1.2.840.10008.1.2.4.57",
    "1.2.840.10008.1.2.4.70",
    "1.2.840.10008.1.2.4.80",
    "1.2.840.10008.1.2.4.81",
    "1.2.840.10008.1.2.4.90",
    "1.2.840.10008.1.2.4.91",
}
NOT_AS_DECLARED = {
    "test_files/693_J2KI.dcm": "its wavelet is the reversible one, which 4.91 may have too",
    "test_files/SC_rgb_gdcm_KY.dcm": "likewise",
}


def compressed() -> dict[str, tuple[str, bytes]]:
    """Give transfer syntax and first frame of each compressed file."""
    found = {}
    for name in FILES:
        dataset = read((ROOT / name).read_bytes())
        syntax = getattr(dataset, "file_meta", {}).get("TransferSyntaxUID", "")
        if syntax in TOLD_APART and "PixelData" in dataset:
            found[name] = (str(syntax), frames_of(dataset)[0])
    return found


def test_streams_of_files_are_what_the_files_say() -> None:
    files = compressed()
    assert {syntax for syntax, _ in files.values()} >= TOLD_APART - {"1.2.840.10008.1.2.4.57"}
    others = {
        name: (syntax, transfer_syntax_of(FRAME_MEDIA_TYPES[syntax], frame))
        for name, (syntax, frame) in files.items()
        if transfer_syntax_of(FRAME_MEDIA_TYPES[syntax], frame) != syntax
    }
    assert others.keys() == NOT_AS_DECLARED.keys(), others


def test_each_media_type_of_frames_has_a_default_of_its_own() -> None:
    """PS3.18 Table 8.7.3-5."""
    assert set(DEFAULTS) == set(FRAME_MEDIA_TYPES.values())
    assert all(FRAME_MEDIA_TYPES[syntax] == kind for kind, syntax in DEFAULTS.items())
    assert transfer_syntax_of("image/png", b"") is None


@pytest.mark.parametrize("media_type", sorted(DEFAULTS))
@pytest.mark.parametrize(
    "head",
    [b"", b"\xff", b"\xff\xd8\xff", b"\xff\xd8\xff\xc0\0", b"\xff\xd8\xff\xda\0\0", b"\xff" * 99],
)
def test_of_a_broken_stream_the_default_is_taken(media_type: str, head: bytes) -> None:
    assert transfer_syntax_of(media_type, head) == DEFAULTS[media_type]


@pytest.mark.parametrize(
    ("mode", "subsampling", "expected"),
    [("L", 0, (1, False, False)), ("RGB", 0, (3, False, False)), ("RGB", 2, (3, True, False))],
)
def test_a_jpeg_says_what_it_shows(
    mode: str, subsampling: int, expected: tuple[int, bool, bool]
) -> None:
    written = io.BytesIO()
    pixels = np.zeros((30, 20) if mode == "L" else (30, 20, 3), np.uint8)
    Image.fromarray(pixels).save(written, "JPEG", subsampling=subsampling)
    image = jpeg_image_of(written.getvalue())
    assert image is not None
    assert (image.bits, image.rows, image.columns) == (8, 30, 20)
    assert (image.samples, image.is_subsampled, image.is_rgb) == expected


def test_a_jpeg_may_say_that_its_colours_are_not_converted() -> None:
    """Adobe's segment APP14, of which the last byte is the transformation."""
    written = io.BytesIO()
    Image.new("RGB", (8, 8)).save(written, "JPEG", keep_rgb=True)
    image = jpeg_image_of(written.getvalue())
    assert image is not None
    assert image.is_rgb


def test_what_is_no_jpeg_says_nothing() -> None:
    assert jpeg_image_of(b"\x89PNG\r\n") is None
