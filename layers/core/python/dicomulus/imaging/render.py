"""A frame as an image: decoded, transformed for display, cropped, scaled and annotated."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dicomulus.imaging.annotate import annotated
from dicomulus.imaging.colour import palette_colours, true_colours
from dicomulus.imaging.decode import check_bytes, check_pixels, decode_frame
from dicomulus.imaging.encode import image_of
from dicomulus.imaging.frame_attributes import frame_attributes
from dicomulus.imaging.geometry import pixel_ratio, shown
from dicomulus.imaging.grey import grey_levels
from dicomulus.imaging.image_pixel import ImagePixel

if TYPE_CHECKING:
    from collections.abc import Mapping

    from PIL import Image

    from dicomulus.imaging.frame_attributes import BulkReader
    from dicomulus.imaging.parameters import RenderParameters


def check_size(attributes: Mapping[str, object]) -> None:
    """Refuse an image by what its data set says, before any of its frames is read.

    Raises:
        NotAcceptableError: What no image can do without is missing.
        ResponseTooLargeError: Its frames are too large.
    """
    pixel = ImagePixel.from_attributes(attributes)
    pixels = pixel.rows * pixel.columns
    check_pixels(pixels)
    check_bytes(pixels * pixel.samples_per_pixel * pixel.bits_allocated // 8)


def render_frame(
    frame: bytes,
    attributes: Mapping[str, object],
    number: int,
    *,
    transfer_syntax_uid: str,
    parameters: RenderParameters,
    read_bulk: BulkReader,
) -> Image.Image:
    """Give a frame as it is to be seen.

    Args:
        frame: The bytes as a retrieve of frames gives them.
        attributes: The instance's DICOM JSON.
        number: Which frame it is, counted from 1.
        transfer_syntax_uid: That of the bytes.
        parameters: What the client asks for.
        read_bulk: Reads tables that the attributes only point to.

    Raises:
        InvalidQueryError: The viewport shows nothing of the frame.
        NotAcceptableError: The frame cannot be decoded, or not be displayed.
        ResponseTooLargeError: It has too many pixels.
    """
    attributes = frame_attributes(attributes, number)
    pixel = ImagePixel.from_attributes(attributes)
    pixels = decode_frame(frame, pixel, transfer_syntax_uid=transfer_syntax_uid)
    if pixels.ndim == 3:
        levels = true_colours(pixels, pixel)
    elif pixel.is_palette:
        levels = palette_colours(pixels, pixel, attributes, read_bulk=read_bulk)
    else:
        levels = grey_levels(
            pixels, pixel, attributes, window=parameters.window, read_bulk=read_bulk
        )
    image = shown(image_of(levels), parameters.viewport, ratio=pixel_ratio(attributes))
    if parameters.annotation:
        return annotated(image, attributes, parameters.annotation, window=parameters.window)
    return image
