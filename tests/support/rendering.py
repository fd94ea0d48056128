"""What pydicom makes of images: the files that are some, and a reference of how they look."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_color_lut, apply_modality_lut, apply_voi_lut

from tests.support import pydicom_corpus

if TYPE_CHECKING:
    import numpy.typing as npt

_PIXELS: Final = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
_UIDS: Final = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
_MACROS: Final = ("PixelValueTransformationSequence", "FrameVOILUTSequence")


@cache
def image_files() -> dict[str, bytes]:
    """Give the corpus' images by name, each file as an instance of its own."""
    apart = iter(pydicom_corpus.instances_apart().values())
    images: dict[str, bytes] = {}
    for name, content in pydicom_corpus.contents().items():
        dataset = pydicom_corpus.read(content)
        if all(each in dataset for each in _UIDS):
            mine = next(apart)
            if any(each in dataset for each in _PIXELS):
                images[name] = mine
    return images


def with_functional_groups(dataset: Dataset, frame_index: int = 0) -> Dataset:
    """Give a data set with what its functional groups say of a frame at the top."""
    merged = Dataset(dataset)
    merged.set_original_encoding(*dataset.original_encoding)
    merged.file_meta = dataset.file_meta
    shared = dataset.get("SharedFunctionalGroupsSequence") or []
    per_frame = dataset.get("PerFrameFunctionalGroupsSequence") or []
    for group in (*shared[:1], *per_frame[frame_index : frame_index + 1]):
        for macro in _MACROS:
            for item in group.get(macro) or []:
                merged.update(item)
    return merged


def reference_levels(pixels: npt.NDArray[Any], dataset: Dataset) -> npt.NDArray[Any]:
    """Give grey levels or colours from 0 to 255, as floats, of a frame's stored values."""
    if pixels.ndim == 3:
        return np.asarray(pixels >> max(0, dataset.BitsStored - 8), np.float64)
    if dataset.PhotometricInterpretation == "PALETTE COLOR":
        colours = apply_color_lut(pixels, dataset)
        return np.asarray(colours >> 8 if colours.dtype.itemsize == 2 else colours, np.float64)
    if dataset.get("VOILUTSequence") or dataset.get("WindowCenter") is not None:
        low, high = _range(dataset)
        meant = apply_voi_lut(apply_modality_lut(pixels, dataset), dataset)
    else:
        meant = np.asarray(apply_modality_lut(pixels, dataset), np.float64)
        padding = dataset.get("PixelPaddingValue")
        kept = meant if padding is None else meant[pixels != padding]
        low, high = float(kept.min()), float(kept.max())
    if high == low:
        return np.zeros(pixels.shape)
    levels = 255 * np.clip((np.asarray(meant, np.float64) - low) / (high - low), 0, 1)
    return 255 - levels if dataset.PhotometricInterpretation == "MONOCHROME1" else levels


def _range(dataset: Dataset) -> tuple[float, float]:
    """Give the smallest and largest value that pydicom's windows can give."""
    if dataset.get("VOILUTSequence"):
        return 0.0, 2.0 ** int(dataset.VOILUTSequence[0].LUTDescriptor[2]) - 1
    bits = int(dataset.BitsStored)
    low, high = 0.0, 2.0**bits - 1
    if dataset.get("ModalityLUTSequence"):
        high = 2.0 ** int(dataset.ModalityLUTSequence[0].LUTDescriptor[2]) - 1
    elif dataset.PixelRepresentation:
        low, high = -(2.0 ** (bits - 1)), 2.0 ** (bits - 1) - 1
    slope = float(dataset.get("RescaleSlope", 1))
    intercept = float(dataset.get("RescaleIntercept", 0))
    return low * slope + intercept, high * slope + intercept
