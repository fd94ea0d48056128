"""Frames in another transfer syntax have the values that they had (PS3.5 §8.2)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import numpy as np
import pytest

from dicomulus.dicom.transfer_syntax import (
    COMPRESSED_TARGETS,
    EXPLICIT_VR_LITTLE_ENDIAN,
    JPEG_LOSSLESS_SV1,
    JPEG_LS_LOSSLESS,
    RLE_LOSSLESS,
)
from dicomulus.errors import NotAcceptableError
from dicomulus.imaging import decode
from dicomulus.imaging.image_pixel import FrameForm, ImagePixel
from dicomulus.imaging.jpeg_lossless import encode_jpeg_lossless
from dicomulus.imaging.recode import Recoded, recode_here

ROWS: Final = 40
COLUMNS: Final = 33

GREY: Final = ImagePixel(
    rows=ROWS,
    columns=COLUMNS,
    samples_per_pixel=1,
    photometric_interpretation="MONOCHROME2",
    bits_allocated=16,
    bits_stored=16,
    is_signed=False,
    planar_configuration=0,
)
COLOUR: Final = replace(
    GREY,
    samples_per_pixel=3,
    photometric_interpretation="RGB",
    bits_allocated=8,
    bits_stored=8,
)


def values_of(pixel: ImagePixel) -> Any:
    """Give values over all of the range that an image has."""
    low = -(1 << pixel.bits_stored - 1) if pixel.is_signed else 0
    shape = (ROWS, COLUMNS) if pixel.samples_per_pixel == 1 else (ROWS, COLUMNS, 3)
    values = np.random.default_rng(1).integers(low, low + (1 << pixel.bits_stored), size=shape)
    return values.astype(f"<{'i' if pixel.is_signed else 'u'}{pixel.bits_allocated // 8}")


def there_and_back(pixel: ImagePixel, target: str) -> tuple[Recoded, Recoded]:
    frame = values_of(pixel).tobytes()
    there = recode_here(frame, pixel, EXPLICIT_VR_LITTLE_ENDIAN, target)
    held = replace(pixel, planar_configuration=0)
    back = recode_here(there.content, held, target, EXPLICIT_VR_LITTLE_ENDIAN)
    return there, back


@pytest.mark.parametrize("target", COMPRESSED_TARGETS)
@pytest.mark.parametrize(
    "pixel",
    [
        GREY,
        replace(GREY, is_signed=True),
        replace(GREY, bits_stored=12),
        replace(GREY, bits_stored=10, is_signed=True),
        replace(GREY, bits_allocated=8, bits_stored=8),
        replace(GREY, bits_allocated=8, bits_stored=8, is_signed=True),
        replace(GREY, photometric_interpretation="MONOCHROME1"),
        replace(GREY, photometric_interpretation="PALETTE COLOR", bits_allocated=8, bits_stored=8),
        COLOUR,
        replace(COLOUR, bits_allocated=16, bits_stored=16),
    ],
    ids=lambda pixel: f"{pixel.photometric_interpretation} {pixel.bits_stored} {pixel.is_signed}",
)
def test_values_come_back(pixel: ImagePixel, target: str) -> None:
    there, back = there_and_back(pixel, target)
    assert there.form == FrameForm(pixel.photometric_interpretation, pixel.bits_allocated)
    assert back == Recoded(values_of(pixel).tobytes(), there.form)
    assert there.content != back.content


@pytest.mark.parametrize("target", sorted(set(COMPRESSED_TARGETS) - {JPEG_LOSSLESS_SV1}))
def test_luminance_and_colour_differences_stay_what_they_are(target: str) -> None:
    """Their way to RGB and back would lose."""
    pixel = replace(COLOUR, photometric_interpretation="YBR_FULL")
    there, back = there_and_back(pixel, target)
    assert there.form.photometric_interpretation == "YBR_FULL"
    assert back.content == values_of(pixel).tobytes()


@pytest.mark.parametrize("target", COMPRESSED_TARGETS)
def test_colours_by_plane_come_out_by_pixel(target: str) -> None:
    pixel = replace(COLOUR, planar_configuration=1)
    by_plane = values_of(COLOUR).transpose(2, 0, 1).tobytes()
    there = recode_here(by_plane, pixel, EXPLICIT_VR_LITTLE_ENDIAN, target)
    back = recode_here(there.content, COLOUR, target, EXPLICIT_VR_LITTLE_ENDIAN)
    assert back.content == values_of(COLOUR).tobytes()


@pytest.mark.parametrize(
    ("pixel", "target"),
    [
        (replace(GREY, bits_allocated=8, bits_stored=7), JPEG_LOSSLESS_SV1),
        (replace(GREY, bits_stored=8), JPEG_LOSSLESS_SV1),
        (replace(COLOUR, photometric_interpretation="YBR_FULL"), JPEG_LOSSLESS_SV1),
        (replace(GREY, bits_allocated=32, bits_stored=32), JPEG_LS_LOSSLESS),
        (replace(GREY, bits_allocated=32, bits_stored=32), RLE_LOSSLESS),
    ],
)
def test_what_an_encoder_does_not_have_is_refused(pixel: ImagePixel, target: str) -> None:
    frame = values_of(pixel).tobytes()
    with pytest.raises((ValueError, RuntimeError)):
        recode_here(frame, pixel, EXPLICIT_VR_LITTLE_ENDIAN, target)


@pytest.mark.parametrize("target", COMPRESSED_TARGETS)
def test_single_bits_are_not_compressed(target: str) -> None:
    pixel = replace(GREY, bits_allocated=1, bits_stored=1)
    with pytest.raises(ValueError, match="single bits"):
        recode_here(bytes(ROWS * COLUMNS // 8), pixel, EXPLICIT_VR_LITTLE_ENDIAN, target)


@pytest.mark.parametrize("is_signed", [True, False])
def test_values_beyond_those_stored_are_refused(is_signed: bool) -> None:
    """GDCM would cut them off."""
    pixel = replace(GREY, bits_stored=12, is_signed=is_signed)
    pixels = values_of(replace(pixel, bits_stored=13))
    with pytest.raises(ValueError, match="more bits than are stored"):
        encode_jpeg_lossless(pixels, pixel, photometric_interpretation="MONOCHROME2")


def test_too_many_pixels_are_refused_before_any_process_has_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(decode, "recode_apart", None)
    monkeypatch.setattr(decode, "MAX_FRAME_PIXELS", ROWS * COLUMNS - 1)
    with pytest.raises(NotAcceptableError, match="pixels are given as stored"):
        decode.recode_frame(
            b"", GREY, transfer_syntax_uid=EXPLICIT_VR_LITTLE_ENDIAN, target=RLE_LOSSLESS
        )
