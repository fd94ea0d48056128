"""Stored values as red, green and blue of 8 bits each (PS3.3 §C.7.6.3.1.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dicomulus.errors import NotAcceptableError
from dicomulus.imaging.palette import palette_of
from dicomulus.imaging.values import every_value, look_up

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    from dicomulus.imaging.frame_attributes import BulkReader
    from dicomulus.imaging.image_pixel import ImagePixel, Pixels

    Colours = npt.NDArray[np.uint8]


def true_colours(pixels: Pixels, pixel: ImagePixel) -> Colours:
    """Give decoded colours of any depth with 8 bits, the most significant ones.

    Raises:
        NotAcceptableError: They are not whole numbers.
    """
    if pixels.dtype.kind not in "iu":
        raise NotAcceptableError("colours that are no whole numbers are not rendered")
    shift = max(0, pixel.bits_stored - 8)
    return (pixels >> shift).astype(np.uint8) if shift else pixels.astype(np.uint8, copy=False)


def palette_colours(
    pixels: Pixels,
    pixel: ImagePixel,
    attributes: Mapping[str, object],
    *,
    read_bulk: BulkReader,
) -> Colours:
    """Give the colours that the image's palette has for the values.

    Raises:
        NotAcceptableError: The palette cannot be read, or the values are no places in one.
    """
    if pixels.dtype.kind not in "iu" or pixels.dtype.itemsize > 2:
        raise NotAcceptableError("a palette is for values of 8 or 16 bits")
    palette = palette_of(attributes, read_bulk, is_signed=pixel.is_signed)
    return look_up(palette.apply(every_value(pixels.dtype)), pixels)
