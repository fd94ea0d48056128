"""Frames whose attributes and bytes are not what one would write today."""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO
from typing import Final

import numpy as np
import pytest
from PIL import Image
from pydicom.pixels.encoders.base import get_encoder
from pydicom.uid import UID

from dicomulus.errors import NotAcceptableError, ResponseTooLargeError
from dicomulus.imaging import decode
from dicomulus.imaging.code_stream import declared_pixels
from dicomulus.imaging.decode import decode_frame
from dicomulus.imaging.image_pixel import ImagePixel
from dicomulus.imaging.pydicom_frames import decode_here

NATIVE: Final = "1.2.840.10008.1.2.1"
JPEG: Final = "1.2.840.10008.1.2.4.50"
JPEG_2000: Final = "1.2.840.10008.1.2.4.90"
JPEG_LS: Final = "1.2.840.10008.1.2.4.80"

GREY: Final = ImagePixel(
    rows=4,
    columns=6,
    samples_per_pixel=1,
    photometric_interpretation="MONOCHROME2",
    bits_allocated=8,
    bits_stored=8,
    is_signed=False,
    planar_configuration=0,
)
RGB: Final = replace(GREY, samples_per_pixel=3, photometric_interpretation="RGB")


def native(frame: bytes, pixel: ImagePixel) -> np.ndarray[tuple[int, ...], np.dtype[np.generic]]:
    return decode_frame(frame, pixel, transfer_syntax_uid=NATIVE)


def written(size: tuple[int, int], form: str, **options: object) -> bytes:
    buffer = BytesIO()
    Image.new("L", size, 77).save(buffer, form, **options)
    return buffer.getvalue()


def test_planes_of_colour_become_pixels_of_colour() -> None:
    values = np.arange(72, dtype=np.uint8).reshape(4, 6, 3)
    planes = values.transpose(2, 0, 1).tobytes()
    assert np.array_equal(native(planes, replace(RGB, planar_configuration=1)), values)
    assert np.array_equal(native(values.tobytes(), RGB), values)


def test_ybr_is_made_rgb_once() -> None:
    """PS3.3 §C.7.6.3.1.2: pure red, green and blue."""
    full = bytes([76, 85, 255] * 8 + [150, 44, 21] * 8 + [29, 255, 107] * 8)
    ybr = replace(RGB, photometric_interpretation="YBR_FULL")
    found = native(full, ybr).astype(int).reshape(-1, 3)
    expected = np.repeat([[255, 0, 0], [0, 255, 0], [0, 0, 255]], 8, axis=0)
    assert np.abs(found - expected).max() <= 2


def test_shared_colour_differences_are_given_to_both_pixels() -> None:
    shared = bytes([76, 76, 85, 255] * 12)
    found = native(shared, replace(RGB, photometric_interpretation="YBR_FULL_422"))
    assert np.abs(found.astype(int) - [255, 0, 0]).max() <= 2


def test_colours_that_say_they_are_shared_and_are_not() -> None:
    full = bytes([76, 85, 255] * 24)
    found = native(full, replace(RGB, photometric_interpretation="YBR_FULL_422"))
    assert np.abs(found.astype(int) - [255, 0, 0]).max() <= 2


def test_bits_above_those_stored_are_not_of_the_value() -> None:
    """PS3.5 §8.1.1: overlays were kept there."""
    pixel = replace(GREY, bits_allocated=16, bits_stored=12)
    frame = np.full(24, 0xF123, "<u2").tobytes()
    assert set(native(frame, pixel).reshape(-1).tolist()) == {0x123}
    signed = replace(pixel, is_signed=True)
    frame = np.full(24, 0x0FFF, "<u2").tobytes()
    assert set(native(frame, signed).reshape(-1).tolist()) == {-1}


def test_single_bits_are_pixels() -> None:
    pixel = replace(GREY, bits_allocated=1, bits_stored=1)
    found = native(bytes([0b00000001, 0b10000000, 0xFF]), pixel).reshape(-1).tolist()
    assert found == [1] + 14 * [0] + 9 * [1]


@pytest.mark.parametrize(
    ("frame", "pixel", "syntax"),
    [
        (b"\0" * 23, GREY, NATIVE),
        (b"\0" * 24, replace(GREY, photometric_interpretation="PURPLE"), NATIVE),
        (b"\0" * 36, replace(GREY, bits_allocated=12, bits_stored=12), NATIVE),
        (b"\0" * 72, replace(RGB, photometric_interpretation="HSV"), NATIVE),
        (b"\xff\xd8 no code stream", GREY, JPEG),
        (b"", GREY, JPEG_2000),
        (b"\0" * 24, GREY, "1.2.3.4"),
        (b"\0" * 24, GREY, "1.2.840.10008.1.2.4.102"),
        (b"\xff\xd8", replace(GREY, bits_allocated=16, bits_stored=12), "1.2.840.10008.1.2.4.51"),
    ],
)
def test_what_cannot_be_decoded_is_not_acceptable(
    frame: bytes, pixel: ImagePixel, syntax: str
) -> None:
    with pytest.raises(NotAcceptableError):
        decode_frame(frame, pixel, transfer_syntax_uid=syntax)


def test_attributes_without_which_there_is_no_image() -> None:
    attributes: dict[str, object] = {
        "00280010": {"vr": "US", "Value": ["4"]},
        "00280011": {"vr": "US", "Value": ["6"]},
        "00280100": {"vr": "US", "Value": ["8"]},
    }
    assert ImagePixel.from_attributes(attributes) == GREY
    for tag in attributes:
        with pytest.raises(NotAcceptableError):
            ImagePixel.from_attributes({key: attributes[key] for key in attributes if key != tag})


def test_frames_over_the_limit_are_refused_before_they_are_decoded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whether the data set says so or the code stream alone, as that of a bomb does."""
    monkeypatch.setattr(decode, "MAX_FRAME_PIXELS", 100)
    with pytest.raises(ResponseTooLargeError):
        native(b"\0" * 110, replace(GREY, rows=10, columns=11))
    for form, syntax in (("JPEG", JPEG), ("JPEG2000", JPEG_2000)):
        frame = written((11, 10), form)
        with pytest.raises(ResponseTooLargeError):
            decode_frame(frame, GREY, transfer_syntax_uid=syntax)


@pytest.mark.parametrize(
    ("form", "options"),
    [
        ("JPEG", {}),
        ("JPEG", {"progressive": True}),
        ("JPEG2000", {"no_jp2": True}),
        ("JPEG2000", {}),
    ],
)
def test_code_streams_tell_their_size(form: str, options: dict[str, object]) -> None:
    frame = written((37, 11), form, **options)
    assert declared_pixels(frame) == 37 * 11
    for end in range(0, len(frame) // 2, 3):
        assert declared_pixels(frame[:end]) in (None, 37 * 11)


def test_fill_bytes_before_a_marker_are_passed_over() -> None:
    frame = written((37, 11), "JPEG")
    assert declared_pixels(frame[:2] + b"\xff\xff" + frame[2:]) == 37 * 11


def test_what_is_no_code_stream_tells_no_size() -> None:
    assert declared_pixels(b"\xff\xd8\xff\xda" + bytes(20)) is None
    assert declared_pixels(b"GIF89a") is None


def test_signed_values_of_jpeg_ls_have_their_sign_in_the_stored_bits() -> None:
    """As native ones have: a writer may leave the bits above clear, and compress them too."""
    values = np.array([[-2048, -1, 0, 1, 1000, 2047]] * 4, "<i2")
    sixteen = get_encoder(UID(JPEG_LS)).encode(
        (values & 0xFFF).astype("<u2"),
        index=None,
        rows=4,
        columns=6,
        samples_per_pixel=1,
        number_of_frames=1,
        photometric_interpretation="MONOCHROME2",
        bits_allocated=16,
        bits_stored=16,
        pixel_representation=0,
    )
    pixel = replace(GREY, bits_allocated=16, bits_stored=12, is_signed=True)
    assert np.array_equal(decode_here(bytes(sixteen), pixel, JPEG_LS), values)
