"""Frames decoded by pydicom, one at a time and without their file."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from pydicom.encaps import encapsulate
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import UID

from dicomulus.dicom.transfer_syntax import EXPLICIT_VR_LITTLE_ENDIAN
from dicomulus.imaging.jpeg_extended import decode_12_bits, is_of_12_bits
from dicomulus.imaging.packed_frames import RLE, check_rle, is_packed, unpacked

if TYPE_CHECKING:
    from dicomulus.imaging.image_pixel import ImagePixel, Pixels

_JPEG_LS: Final = frozenset({"1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.81"})

_OWN_PLUGIN: Final = "pydicom"
"""The plugin in Rust, where it is installed, panics at damaged frames, which is no Exception."""


def decode_here(frame: bytes, pixel: ImagePixel, syntax: str) -> Pixels:
    """Decode a frame in this process, colours to red, green and blue.

    Raises:
        Exception: Of whatever family, when the frame is none that is decoded.
    """
    pixels, interpretation = decode_as(frame, pixel, syntax, as_rgb=True)
    if pixels.ndim == 3 and interpretation != "RGB":
        raise ValueError("colours that are neither RGB nor made so")
    return pixels


def decode_as(frame: bytes, pixel: ImagePixel, syntax: str, **options: bool) -> tuple[Pixels, str]:
    """Decode a frame in this process, and tell its Photometric Interpretation.

    Args:
        frame: The bytes as a retrieve of frames gives them.
        pixel: What the data set says of it.
        syntax: The transfer syntax of the bytes.
        options: Those of pydicom's decoder that say what is done to the values.

    Raises:
        Exception: Of whatever family, when the frame is none that is decoded.
    """
    if is_of_12_bits(
        syntax, bits_stored=pixel.bits_stored, samples_per_pixel=pixel.samples_per_pixel
    ):
        pixels = decode_12_bits(frame, rows=pixel.rows, columns=pixel.columns)
        return pixels, pixel.photometric_interpretation
    if is_packed(syntax, pixel):
        frame, syntax = unpacked(frame, syntax, pixel), EXPLICIT_VR_LITTLE_ENDIAN
    if syntax == RLE:
        check_rle(frame, pixel)
    decoder = get_decoder(UID(syntax))
    source = frame if decoder.is_native else encapsulate([frame], has_bot=False)
    pixels, described = decoder.as_array(
        source,
        index=0,
        decoding_plugin=_OWN_PLUGIN if syntax == RLE else "",
        **(_options(_as_held(frame, pixel)) | options),
    )
    if syntax in _JPEG_LS and pixel.is_signed:
        pixels = _of_bits_stored(pixels, pixel.bits_stored)
    return pixels, str(described["photometric_interpretation"])


def _of_bits_stored(pixels: Pixels, bits_stored: int) -> Pixels:
    """Have the sign of a value where its stored bits have it, whatever is in the bits above.

    The code stream may hold these, too, and pydicom then takes them for part of the value.
    """
    unused_bits = pixels.dtype.itemsize * 8 - bits_stored
    if pixels.dtype.kind != "i" or unused_bits <= 0:
        return pixels
    corrected: Pixels = (pixels << unused_bits) >> unused_bits
    return corrected


def _as_held(frame: bytes, pixel: ImagePixel) -> ImagePixel:
    """Call colours by their name where YBR_FULL_422 is written of pixels that share none."""
    whole = pixel.rows * pixel.columns * pixel.samples_per_pixel * pixel.bits_allocated // 8
    if pixel.photometric_interpretation == "YBR_FULL_422" and len(frame) == whole:
        return replace(pixel, photometric_interpretation="YBR_FULL")
    return pixel


def _options(pixel: ImagePixel) -> dict[str, Any]:
    options: dict[str, Any] = {
        "rows": pixel.rows,
        "columns": pixel.columns,
        "samples_per_pixel": pixel.samples_per_pixel,
        "number_of_frames": 1,
        "photometric_interpretation": pixel.photometric_interpretation,
        "bits_allocated": pixel.bits_allocated,
        "pixel_keyword": pixel.keyword,
    }
    if pixel.keyword == "PixelData":
        options["bits_stored"] = pixel.bits_stored
        options["pixel_representation"] = int(pixel.is_signed)
    if pixel.samples_per_pixel > 1:
        options["planar_configuration"] = pixel.planar_configuration
    return options
