"""Functions of pixels computed for the values there can be, or for a part of the pixels at a time.

Indices and intermediate results have eight bytes a pixel: never all of them are there at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from dicomulus.imaging.image_pixel import Pixels

BLOCK_PIXELS: Final = 262_144
"""Pixels that are computed at a time; what they take fits into a processor's cache."""


def blocks(pixels: Pixels) -> Iterator[slice]:
    """Give ranges of rows that are all of them."""
    rows = max(1, BLOCK_PIXELS // max(1, pixels.shape[1]))
    for start in range(0, pixels.shape[0], rows):
        yield slice(start, start + rows)


def every_value(kind: np.dtype[Any]) -> Pixels:
    """Give all values of an integer of one or two bytes, each at its place."""
    unsigned = np.dtype(f"u{kind.itemsize}")
    return np.arange(1 << 8 * kind.itemsize, dtype=unsigned).view(kind)


def as_places(pixels: Pixels) -> Pixels:
    """Give the places in ``every_value`` of integers of one or two bytes."""
    return pixels.view(f"u{pixels.dtype.itemsize}")


def look_up(results: npt.NDArray[np.uint8], pixels: Pixels) -> npt.NDArray[np.uint8]:
    """Give each pixel the result of its value, the results being in the order of ``every_value``."""
    found = np.empty((*pixels.shape, *results.shape[1:]), np.uint8)
    for rows in blocks(pixels):
        np.take(results, as_places(pixels[rows]), axis=0, out=found[rows], mode="clip")
    return found
