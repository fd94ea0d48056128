"""Stored values of a frame as Orthanc gives them: images that clip or stretch, matrices, arrays."""

from __future__ import annotations

from enum import StrEnum
from io import BytesIO
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from PIL import Image

from dicomulus.errors import NotAcceptableError
from dicomulus.imaging.encode import JPEG, PNG, encode

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dicomulus.imaging.image_pixel import Pixels

PAM: Final = "image/x-portable-arbitrarymap"


class Extraction(StrEnum):
    """How values become those of an image."""

    PREVIEW = "preview"
    """Stretched, so that the lowest is black and the highest white."""
    UINT8 = "image-uint8"
    """Cut off below 0 and above 255."""
    UINT16 = "image-uint16"
    """Cut off below 0 and above 65,535."""
    INT16 = "image-int16"
    """Cut off at what two bytes hold with a sign."""


_TYPES: Final[Mapping[Extraction, type[np.integer[Any]]]] = {
    Extraction.UINT8: np.uint8,
    Extraction.UINT16: np.uint16,
    Extraction.INT16: np.int16,
}


def extracted(pixels: Pixels, extraction: Extraction, *, inverted: bool) -> Pixels:
    """Give the values of an image.

    Args:
        pixels: Stored values of one sample.
        extraction: What is made of them.
        inverted: Whether a preview has its lowest value white.
    """
    if extraction is not Extraction.PREVIEW:
        wanted = _TYPES[extraction]
        limits = np.iinfo(wanted)
        clipped: Pixels = np.clip(np.nan_to_num(pixels), limits.min, limits.max).astype(wanted)
        return clipped
    values = np.nan_to_num(pixels.astype(np.float64))
    low, high = values.min(), values.max()
    scale = 0.0 if low == high else 255.0 / (high - low)
    levels = (values - low) * scale
    shown: Pixels = np.rint(255.0 - levels if inverted else levels).astype(np.uint8)
    return shown


def write_image(values: Pixels, media_type: str, *, quality: int | None) -> bytes:
    """Write values of one or two bytes, or colours, as an image.

    Raises:
        NotAcceptableError: The format does not have them.
    """
    if media_type == PAM:
        return _pam(values)
    if values.dtype == np.uint8:
        return encode(Image.fromarray(values), media_type, quality=quality)
    if media_type == JPEG:
        raise NotAcceptableError("values of two bytes are no JPEG; they can be a PNG")
    written = BytesIO()
    # PNG has no signs: as its readers know from Orthanc, they are in the two's complement.
    Image.fromarray(values.view(np.uint16)).save(written, PNG.removeprefix("image/"))
    return written.getvalue()


def _pam(values: Pixels) -> bytes:
    depth = values.shape[2] if values.ndim == 3 else 1
    kind = "RGB" if depth == 3 else "GRAYSCALE"
    largest = 255 if values.dtype.itemsize == 1 else 65_535
    head = (
        f"P7\nWIDTH {values.shape[1]}\nHEIGHT {values.shape[0]}\nDEPTH {depth}\n"
        f"MAXVAL {largest}\nTUPLTYPE {kind}\nENDHDR\n"
    )
    return head.encode() + values.astype(values.dtype.newbyteorder(">")).tobytes()


def matlab_text(pixels: Pixels) -> str:
    """Write values as a matrix that Octave and Matlab read with ``eval``."""
    if pixels.ndim == 3:
        rows, columns, samples = pixels.shape
        values = " ".join(map(str, pixels.ravel().tolist()))
        # Their arrays run along the first dimension, these along the last.
        reshaped = f"reshape([ {values} ], [ {samples} {columns} {rows} ])"
        return f"double(permute({reshaped}, [ 3 2 1 ]))"
    lines = (" ".join(map(str, row)) for row in pixels.tolist())
    return f"double([ {' ; '.join(lines)} ])"


def numpy_file(
    frames: Sequence[Pixels], *, slope: float, intercept: float, rescaled: bool, compressed: bool
) -> bytes:
    """Write frames as an array of frame, row, column and sample, in the format of NumPy.

    Args:
        frames: Stored values, all of one shape.
        slope: What grey values are multiplied with.
        intercept: What is added to them then.
        rescaled: Whether that is done, which makes them 32-bit floats.
        compressed: Whether the file is of the format that has several arrays, of which this is one.
    """
    stacked = np.stack([each if each.ndim == 3 else each[:, :, np.newaxis] for each in frames])
    if rescaled and stacked.shape[3] == 1:
        stacked = (stacked * np.float64(slope) + intercept).astype(np.float32)
    written = BytesIO()
    if compressed:
        np.savez_compressed(written, stacked)
    else:
        np.save(written, stacked)
    return written.getvalue()
