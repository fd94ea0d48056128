"""JPEG Extended of 12 bits (Process 4), which pydicom leaves to a decoder under the GPL.

GDCM decodes it when it is told of 12 bits in 16.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

JPEG_EXTENDED: Final = "1.2.840.10008.1.2.4.51"

_BITS: Final = range(9, 13)


def is_of_12_bits(transfer_syntax_uid: str, *, bits_stored: int, samples_per_pixel: int) -> bool:
    """Whether this module is what decodes a frame."""
    return transfer_syntax_uid == JPEG_EXTENDED and bits_stored in _BITS and samples_per_pixel == 1


def decode_12_bits(frame: bytes, *, rows: int, columns: int) -> npt.NDArray[np.uint16]:
    """Decode a frame of one sample per pixel.

    Raises:
        ValueError: It is not such a frame.
        ImportError: GDCM is not there.
    """
    import gdcm

    fragment = gdcm.Fragment()
    fragment.SetByteStringValue(frame)
    fragments = gdcm.SequenceOfFragments.New()
    fragments.AddFragment(fragment)
    element = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
    element.SetValue(fragments.__ref__())
    image = gdcm.Image()
    image.SetNumberOfDimensions(2)
    image.SetDimensions((columns, rows, 1))
    image.SetDataElement(element)
    monochrome = gdcm.PhotometricInterpretation.GetPIType("MONOCHROME2")
    image.SetPhotometricInterpretation(gdcm.PhotometricInterpretation(monochrome))
    syntax = gdcm.TransferSyntax.GetTSType(JPEG_EXTENDED)
    image.SetTransferSyntax(gdcm.TransferSyntax(syntax))
    image.SetPixelFormat(gdcm.PixelFormat(1, 16, 12, 11, 0))
    text = cast("str | None", image.GetBuffer())
    decoded = b"" if text is None else text.encode("utf-8", "surrogateescape")
    if len(decoded) != 2 * rows * columns:
        raise ValueError("not a frame of that size")
    return np.frombuffer(decoded, "<u2").reshape(rows, columns)
