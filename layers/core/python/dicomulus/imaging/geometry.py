"""The region of an image that is shown, and the size it is shown at (PS3.18 §8.3.5.1.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from PIL import Image

from dicomulus.errors import InvalidQueryError, ResponseTooLargeError
from dicomulus.imaging.decode import MAX_FRAME_PIXELS
from dicomulus.imaging.frame_attributes import numbers_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dicomulus.imaging.parameters import Viewport

    Box = tuple[int, int, int, int]
    """Left, top, right, bottom; the last two are outside."""

# Each is vertical, then horizontal; the first that is there counts.
_ASPECTS: Final = (
    "00280034",  # Pixel Aspect Ratio
    "00280030",  # Pixel Spacing
    "00181164",  # Imager Pixel Spacing
    "00182010",  # Nominal Scanned Pixel Spacing
)

_SQUARE: Final = 0.01
"""How far from 1 a ratio may be that is taken for 1: spacings are measured."""

_LARGEST_RATIO: Final = 20.0
"""Ratios beyond are not of pixels but of mistakes."""

_REDUCING_GAP: Final = 3.0
"""What is made much smaller is first made that many times too large, by a faster way; nobody sees
a difference (Pillow's documentation of ``reducing_gap``)."""


def pixel_ratio(attributes: Mapping[str, object]) -> float:
    """Give a pixel's height in widths, 1 where nothing that makes sense is said of it."""
    for tag in _ASPECTS:
        numbers = numbers_of(attributes, tag)
        if len(numbers) == 2 and min(numbers) > 0:
            ratio = numbers[0] / numbers[1]
            is_square = abs(ratio - 1) < _SQUARE
            is_mistake = not 1 / _LARGEST_RATIO <= ratio <= _LARGEST_RATIO
            return 1.0 if is_square or is_mistake else ratio
    return 1.0


def shown(image: Image.Image, viewport: Viewport | None, *, ratio: float) -> Image.Image:
    """Crop, flip and scale an image so that its pixels are square.

    Without a viewport no pixel is lost: the image grows along the side its pixels are long on.

    Args:
        image: The source image.
        viewport: The region and what it has to fit into.
        ratio: A source pixel's height in widths.

    Raises:
        InvalidQueryError: The region lies outside the image.
        ResponseTooLargeError: What is shown would have over ``MAX_FRAME_PIXELS``.
    """
    if viewport is None:
        size = _grown(image.size, ratio)
        return image if size == image.size else _scaled(image, size, (0, 0, *image.size))
    box = left, top, right, bottom = _box(image, viewport)
    width, height = right - left, (bottom - top) * ratio
    scale = min(viewport.width / width, viewport.height / height)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    found = _scaled(image, size, box)
    if viewport.flipped_horizontally:
        found = found.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if viewport.flipped_vertically:
        found = found.transpose(Image.Transpose.FLIP_TOP_BOTTOM)
    return found


def _grown(size: tuple[int, int], ratio: float) -> tuple[int, int]:
    columns, rows = size
    return (columns, round(rows * ratio)) if ratio > 1 else (round(columns / ratio), rows)


def _box(image: Image.Image, viewport: Viewport) -> Box:
    right = viewport.left + (viewport.region_width or image.width)
    bottom = viewport.top + (viewport.region_height or image.height)
    if viewport.left >= image.width or viewport.top >= image.height:
        rule = f"has a region outside the image of {image.width} by {image.height} pixels"
        raise InvalidQueryError("viewport", rule)
    return viewport.left, viewport.top, min(right, image.width), min(bottom, image.height)


def _scaled(image: Image.Image, size: tuple[int, int], box: Box) -> Image.Image:
    if size[0] * size[1] > MAX_FRAME_PIXELS:
        raise ResponseTooLargeError(f"Images of over {MAX_FRAME_PIXELS} pixels are not rendered")
    # Averages where it makes smaller, so that no line is lost, and never goes beyond the values.
    return image.resize(size, Image.Resampling.BILINEAR, box, _REDUCING_GAP)
