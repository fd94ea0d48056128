"""One frame of an image as an array of its stored values (PS3.5 §8, PS3.3 §C.7.6.3)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from pydicom.encaps import encapsulate
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import UID

from dicomulus.dicom.json_model import integer_of, text_of
from dicomulus.dicom.transfer_syntax import EXPLICIT_VR_LITTLE_ENDIAN
from dicomulus.errors import NotAcceptableError, ResponseTooLargeError
from dicomulus.imaging.code_stream import declared_pixels
from dicomulus.imaging.jpeg_extended import decode_12_bits, is_of_12_bits

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    Pixels = npt.NDArray[Any]

MAX_FRAME_PIXELS: Final = 50_000_000
"""Pixels of one frame: some 4 bytes each while a grey one is rendered, 10 of colour.

A mammogram has 14,000,000. Larger ones are tiled in practice, and retrieved by frame.
"""

MAX_FRAME_BYTES: Final = 4 * MAX_FRAME_PIXELS
"""Bytes of one frame, as it is stored."""

_RLE: Final = "1.2.840.10008.1.2.5"
_OWN_PLUGIN: Final = "pydicom"
"""The plugin in Rust, where it is installed, panics at damaged frames, which is no Exception."""

_FLOAT_PIXEL_DATA: Final = "7FE00008"
_DOUBLE_FLOAT_PIXEL_DATA: Final = "7FE00009"


@dataclass(frozen=True, slots=True)
class ImagePixel:
    """What the values of a frame depend on (PS3.3 Table C.7-11a)."""

    rows: int
    columns: int
    samples_per_pixel: int
    photometric_interpretation: str
    bits_allocated: int
    bits_stored: int
    is_signed: bool
    planar_configuration: int
    keyword: str = "PixelData"

    @classmethod
    def from_attributes(cls, attributes: Mapping[str, object]) -> ImagePixel:
        """Take it from DICOM JSON.

        Raises:
            NotAcceptableError: What no image can do without is missing.
        """

        def number(tag: str, default: int = 0) -> int:
            value = integer_of(attributes, tag)
            return default if value is None else value

        bits_allocated = number("00280100")
        found = cls(
            rows=number("00280010"),
            columns=number("00280011"),
            samples_per_pixel=number("00280002", 1),
            photometric_interpretation=text_of(attributes, "00280004").strip() or "MONOCHROME2",
            bits_allocated=bits_allocated,
            bits_stored=number("00280101") or bits_allocated,
            is_signed=number("00280103") == 1,
            planar_configuration=number("00280006"),
            keyword=_keyword(attributes),
        )
        if min(found.rows, found.columns, found.bits_allocated) < 1:
            raise NotAcceptableError("rows, columns or bits allocated are missing")
        return found

    @property
    def is_palette(self) -> bool:
        """Whether the values are places in a palette."""
        return self.photometric_interpretation == "PALETTE COLOR"


def _keyword(attributes: Mapping[str, object]) -> str:
    if _FLOAT_PIXEL_DATA in attributes:
        return "FloatPixelData"
    return "DoubleFloatPixelData" if _DOUBLE_FLOAT_PIXEL_DATA in attributes else "PixelData"


def decode_frame(frame: bytes, pixel: ImagePixel, *, transfer_syntax_uid: str) -> Pixels:
    """Decode a frame: rows and columns of values, of colour with red, green and blue.

    Args:
        frame: The bytes as a retrieve of frames gives them: native ones are little endian.
        pixel: What the data set says of it.
        transfer_syntax_uid: That of the bytes.

    Raises:
        NotAcceptableError: There is no decoder, or the frame is none that it decodes.
        ResponseTooLargeError: The frame has over ``MAX_FRAME_PIXELS``.
    """
    declared = 0
    if transfer_syntax_uid != EXPLICIT_VR_LITTLE_ENDIAN:
        declared = declared_pixels(frame) or 0
    check_pixels(max(declared, pixel.rows * pixel.columns))
    try:
        return _decoded(frame, pixel, transfer_syntax_uid)
    # What codecs raise is not one family: every way of failing means the same to the client.
    except Exception as exc:
        raise NotAcceptableError(f"the frame cannot be decoded from {transfer_syntax_uid}") from exc


def check_pixels(count: int) -> None:
    """Refuse a frame of too many pixels.

    Raises:
        ResponseTooLargeError: There are over ``MAX_FRAME_PIXELS``.
    """
    if count > MAX_FRAME_PIXELS:
        raise ResponseTooLargeError(f"Frames of over {MAX_FRAME_PIXELS} pixels are not rendered")


def check_bytes(count: int) -> None:
    """Refuse a frame of too many bytes.

    Raises:
        ResponseTooLargeError: There are over ``MAX_FRAME_BYTES``.
    """
    if count > MAX_FRAME_BYTES:
        raise ResponseTooLargeError(f"Frames of over {MAX_FRAME_BYTES} bytes are not rendered")


def _decoded(frame: bytes, pixel: ImagePixel, syntax: str) -> Pixels:
    if is_of_12_bits(
        syntax, bits_stored=pixel.bits_stored, samples_per_pixel=pixel.samples_per_pixel
    ):
        return decode_12_bits(frame, rows=pixel.rows, columns=pixel.columns)
    decoder = get_decoder(UID(syntax))
    source = frame if decoder.is_native else encapsulate([frame], has_bot=False)
    pixels, described = decoder.as_array(
        source,
        index=0,
        decoding_plugin=_OWN_PLUGIN if syntax == _RLE else "",
        **_options(_as_held(frame, pixel)),
    )
    interpretation = str(described["photometric_interpretation"])
    if pixels.ndim == 3 and interpretation != "RGB":
        raise ValueError("colours that are neither RGB nor made so")
    return pixels


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
