"""Stored values of one sample as grey levels (PS3.4 §N.2.1).

Modality transformation, then VOI, then presentation, each computed for the values that can occur
and not for every pixel where that is less.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from dicomulus.dicom.json_model import integer_of, items, text_of
from dicomulus.imaging.frame_attributes import number_of, numbers_of
from dicomulus.imaging.lookup_table import has_table, lookup_table_of
from dicomulus.imaging.parameters import Window, WindowFunction
from dicomulus.imaging.values import as_places, blocks, every_value, look_up

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import numpy.typing as npt

    from dicomulus.imaging.frame_attributes import BulkReader
    from dicomulus.imaging.image_pixel import ImagePixel, Pixels

    Levels = npt.NDArray[np.float64]
    Grey = npt.NDArray[np.uint8]

_MODALITY_LUT_SEQUENCE: Final = "00283000"
_VOI_LUT_SEQUENCE: Final = "00283010"
_WINDOW_CENTER: Final = "00281050"
_WINDOW_WIDTH: Final = "00281051"
_VOI_LUT_FUNCTION: Final = "00281056"
_RESCALE_INTERCEPT: Final = "00281052"
_RESCALE_SLOPE: Final = "00281053"
_PRESENTATION_LUT_SHAPE: Final = "20500020"

# Pixel Padding Value and Range Limit of integers, floats and doubles (PS3.3 §C.7.5.1.1.2)
_PADDING: Final = {
    "PixelData": ("00280120", "00280121"),
    "FloatPixelData": ("00280122", "00280124"),
    "DoubleFloatPixelData": ("00280123", "00280125"),
}

_FUNCTIONS: Final = {
    "LINEAR": WindowFunction.LINEAR,
    "LINEAR_EXACT": WindowFunction.LINEAR_EXACT,
    "SIGMOID": WindowFunction.SIGMOID,
}


def grey_levels(
    pixels: Pixels,
    pixel: ImagePixel,
    attributes: Mapping[str, object],
    *,
    window: Window | None,
    read_bulk: BulkReader,
) -> Grey:
    """Give levels of 0 (black) to 255 (white).

    Args:
        pixels: Stored values of a frame.
        pixel: What the data set says of them.
        attributes: DICOM JSON with what holds for the frame.
        window: Takes the place of the image's own VOI transformation.
        read_bulk: Reads tables that the attributes only point to.

    Raises:
        NotAcceptableError: A lookup table cannot be read.
    """
    modality = _modality(attributes, pixel, read_bulk)
    voi = _window(window) if window else _voi(attributes, read_bulk)
    if voi is None:
        voi = _automatic(pixels, pixel, attributes, modality=modality)
    shade = partial(_shade, modality=modality, voi=voi, inverted=_is_inverted(attributes, pixel))
    if _is_cheaper_by_value(pixels):
        return look_up(shade(every_value(pixels.dtype)), pixels)
    shaded = np.empty(pixels.shape, np.uint8)
    for rows in blocks(pixels):
        shaded[rows] = shade(pixels[rows])
    return shaded


def _shade(
    values: Pixels,
    *,
    modality: Callable[[Pixels], Pixels],
    voi: Callable[[Pixels], Levels],
    inverted: bool,
) -> Grey:
    with np.errstate(over="ignore", invalid="ignore"):
        levels = np.clip(np.nan_to_num(voi(modality(values))), 0.0, 1.0)
    return np.rint(255 * (1 - levels if inverted else levels)).astype(np.uint8)


def _is_cheaper_by_value(pixels: Pixels) -> bool:
    small = pixels.dtype.kind in "iu" and pixels.dtype.itemsize <= 2
    return small and pixels.size > 1 << 8 * pixels.dtype.itemsize


def _is_inverted(attributes: Mapping[str, object], pixel: ImagePixel) -> bool:
    # MONOCHROME1 comes with INVERSE, so both say the same and not the opposite of the opposite.
    shape = text_of(attributes, _PRESENTATION_LUT_SHAPE).strip()
    return pixel.photometric_interpretation == "MONOCHROME1" or shape == "INVERSE"


# --- modality ------------------------------------------------------------------------------------


def _modality(
    attributes: Mapping[str, object], pixel: ImagePixel, read_bulk: BulkReader
) -> Callable[[Pixels], Pixels]:
    for item in items(attributes, _MODALITY_LUT_SEQUENCE)[:1]:
        if has_table(item):
            return lookup_table_of(item, read_bulk, is_signed=pixel.is_signed).apply
    slope = number_of(attributes, _RESCALE_SLOPE)
    intercept = number_of(attributes, _RESCALE_INTERCEPT)
    if slope is None or intercept is None:
        return np.asarray
    return lambda values: values.astype(np.float64) * slope + intercept


# --- VOI -----------------------------------------------------------------------------------------


def _voi(
    attributes: Mapping[str, object], read_bulk: BulkReader
) -> Callable[[Pixels], Levels] | None:
    """Give the image's own transformation, the first of several, a table before a window."""
    for item in items(attributes, _VOI_LUT_SEQUENCE)[:1]:
        if has_table(item):
            # Modality values may be negative whatever the stored ones are.
            table = lookup_table_of(item, read_bulk, is_signed=_may_be_negative(attributes))
            return lambda values: table.apply(values) / table.largest
    centers = numbers_of(attributes, _WINDOW_CENTER)
    widths = numbers_of(attributes, _WINDOW_WIDTH)
    if not (centers and widths):
        return None
    name = text_of(attributes, _VOI_LUT_FUNCTION).strip().upper()
    function = _FUNCTIONS.get(name, WindowFunction.LINEAR)
    return _window(Window(centers[0], widths[0], function))


def _may_be_negative(attributes: Mapping[str, object]) -> bool:
    intercept = number_of(attributes, _RESCALE_INTERCEPT) or 0.0
    return integer_of(attributes, "00280103") == 1 or intercept < 0


def _window(window: Window) -> Callable[[Pixels], Levels]:
    center, width = window.center, window.width
    if window.function is WindowFunction.SIGMOID and width > 0:
        return lambda values: 1 / (1 + np.exp(-4 * (values.astype(np.float64) - center) / width))
    if window.function is WindowFunction.LINEAR:
        # PS3.3 §C.11.2.1.2.1: from the middle of a value to the middle of another.
        center, width = center - 0.5, width - 1
    if width <= 0:
        # Not allowed, but written: everything above the centre is white.
        return lambda values: (values.astype(np.float64) > center).astype(np.float64)
    return lambda values: (values.astype(np.float64) - center) / width + 0.5


# --- without a VOI transformation ----------------------------------------------------------------


def _automatic(
    pixels: Pixels,
    pixel: ImagePixel,
    attributes: Mapping[str, object],
    *,
    modality: Callable[[Pixels], Pixels],
) -> Callable[[Pixels], Levels]:
    """Give a window from the smallest to the largest value that is no padding."""
    found = [
        meant
        for values in _occurring(pixels)
        if (meant := modality(_without_padding(values, pixel, attributes))).size
    ]
    low = min((float(each.min()) for each in found), default=0.0)
    high = max((float(each.max()) for each in found), default=0.0)
    if high <= low:
        return lambda values: np.zeros(values.shape)
    return lambda values: (values.astype(np.float64) - low) / (high - low)


def _occurring(pixels: Pixels) -> Iterator[Pixels]:
    """Give the values that occur, each once where that is less work for what comes after."""
    if not _is_cheaper_by_value(pixels):
        for rows in blocks(pixels):
            yield pixels[rows]
        return
    every = every_value(pixels.dtype)
    occurs = np.zeros(every.shape, np.bool_)
    for rows in blocks(pixels):
        occurs[as_places(pixels[rows])] = True
    yield every[occurs]


def _without_padding(
    values: Pixels, pixel: ImagePixel, attributes: Mapping[str, object]
) -> npt.NDArray[Any]:
    kept = np.isfinite(values)
    value_tag, limit_tag = _PADDING[pixel.keyword]
    padding = _in_range_of(number_of(attributes, value_tag), pixel)
    if padding is not None:
        limit = _in_range_of(number_of(attributes, limit_tag), pixel)
        ends = sorted((padding, padding if limit is None else limit))
        kept &= (values < ends[0]) | (values > ends[1])
    return values[kept]


def _in_range_of(number: float | None, pixel: ImagePixel) -> float | None:
    """Read a padding value whose VR, US or SS, is the wrong one of the two."""
    if number is None or pixel.keyword != "PixelData":
        return number
    span = float(1 << pixel.bits_allocated)
    if pixel.is_signed and number >= span / 2:
        return number - span
    return number + span if not pixel.is_signed and number < 0 else number
