"""Frames from one transfer syntax into another, without loss (PS3.5 §8.2, §A.4)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from pydicom.pixels.encoders.base import get_encoder
from pydicom.uid import UID

from dicomulus.dicom.transfer_syntax import (
    EXPLICIT_VR_LITTLE_ENDIAN,
    JPEG_LOSSLESS_SV1,
    RLE_LOSSLESS,
)
from dicomulus.imaging.image_pixel import FrameForm
from dicomulus.imaging.jpeg_lossless import encode_jpeg_lossless
from dicomulus.imaging.packed_frames import DEFLATED_IMAGE_FRAME
from dicomulus.imaging.pydicom_frames import decode_as

if TYPE_CHECKING:
    from dicomulus.imaging.image_pixel import ImagePixel, Pixels

# JPEG Baseline and Extended. Their colours become red, green and blue, as all decoders give them;
# the values of other colours are those that the code stream was made of, and stay.
_OF_LOSSY_JPEG: Final = frozenset({"1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51"})

_OF_BYTES: Final = frozenset({EXPLICIT_VR_LITTLE_ENDIAN, RLE_LOSSLESS, DEFLATED_IMAGE_FRAME})
"""Syntaxes that know bytes and no samples."""

_RLE_PLUGIN: Final = "pydicom"
"""GDCM, which is faster, ends the process at frames of a few pixels."""

_COLOURS: Final = frozenset({"RGB", "YBR_FULL"})


@dataclass(frozen=True, slots=True)
class Recoded:
    """A frame in its new transfer syntax: a code stream, or little-endian values."""

    content: bytes
    form: FrameForm


def recode_here(frame: bytes, pixel: ImagePixel, syntax: str, target: str) -> Recoded:
    """Decode a frame and encode it anew, in this process.

    Single bits begin at a byte of their own.

    Raises:
        Exception: Of whatever family, when the frame is none that is decoded, or its values are
            none that the target has.
    """
    is_native = target == EXPLICIT_VR_LITTLE_ENDIAN
    options: dict[str, bool] = {"as_rgb": syntax in _OF_LOSSY_JPEG}
    if is_native or target == RLE_LOSSLESS:
        # Bits above those stored may hold something, and both have room for it.
        options |= _as_they_are(syntax)
    pixels, interpretation = decode_as(frame, pixel, syntax, **options)
    if pixels.ndim == 3 and interpretation not in _COLOURS:
        raise ValueError("colours whose samples are not told apart")
    pixels = np.ascontiguousarray(pixels, pixels.dtype.newbyteorder("<"))
    if pixel.bits_allocated == 1:
        if not is_native:
            raise ValueError("single bits are not compressed")
        content = np.packbits(pixels.reshape(-1), bitorder="little").tobytes()
        return Recoded(content, FrameForm(interpretation, 1))
    form = FrameForm(interpretation, pixels.dtype.itemsize * 8)
    if is_native:
        return Recoded(pixels.tobytes(), form)
    return Recoded(_encoded(pixels, pixel, form, target), form)


def _as_they_are(syntax: str) -> dict[str, bool]:
    return {"correct_unused_bits": False} if syntax in _OF_BYTES else {}


def _encoded(pixels: Pixels, pixel: ImagePixel, form: FrameForm, target: str) -> bytes:
    if target == JPEG_LOSSLESS_SV1:
        return encode_jpeg_lossless(
            pixels, pixel, photometric_interpretation=form.photometric_interpretation
        )
    # Of RLE every bit is a stored one: it knows bytes alone.
    bits_stored = form.bits_allocated if target == RLE_LOSSLESS else pixel.bits_stored
    options: dict[str, Any] = {
        "rows": pixel.rows,
        "columns": pixel.columns,
        "samples_per_pixel": pixel.samples_per_pixel,
        "number_of_frames": 1,
        "photometric_interpretation": form.photometric_interpretation,
        "bits_allocated": form.bits_allocated,
        "bits_stored": bits_stored,
        "pixel_representation": int(pixel.is_signed),
    }
    if pixel.samples_per_pixel > 1:
        options["planar_configuration"] = 0
    plugin = _RLE_PLUGIN if target == RLE_LOSSLESS else ""
    encoder = get_encoder(UID(target))
    return bytes(encoder.encode(pixels, index=None, encoding_plugin=plugin, **options))
