"""What the values of an image depend on (PS3.3 Table C.7-11a)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from dicomulus.dicom.json_model import integer_of, text_of
from dicomulus.errors import NotAcceptableError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    Pixels = npt.NDArray[Any]

_FLOAT_PIXEL_DATA: Final = "7FE00008"
_DOUBLE_FLOAT_PIXEL_DATA: Final = "7FE00009"


@dataclass(frozen=True, slots=True)
class ImagePixel:
    """The description of an image's values."""

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


@dataclass(frozen=True, slots=True)
class FrameForm:
    """What the data set has to say of a frame; colours are by pixel."""

    photometric_interpretation: str
    bits_allocated: int


def _keyword(attributes: Mapping[str, object]) -> str:
    if _FLOAT_PIXEL_DATA in attributes:
        return "FloatPixelData"
    return "DoubleFloatPixelData" if _DOUBLE_FLOAT_PIXEL_DATA in attributes else "PixelData"
