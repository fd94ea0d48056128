"""JPEG Lossless, First-Order Prediction, which pydicom has no encoder for (PS3.5 §8.2.1).

GDCM encodes it. Depths that make it end its process are not given to it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dicomulus.dicom.transfer_syntax import EXPLICIT_VR_LITTLE_ENDIAN, JPEG_LOSSLESS_SV1

if TYPE_CHECKING:
    from dicomulus.imaging.image_pixel import ImagePixel, Pixels

_BITS_STORED: Final = {8: range(8, 9), 16: range(9, 17)}
"""By bits allocated."""

_INTERPRETATIONS: Final = {
    "MONOCHROME1": "MONOCHROME1",
    "MONOCHROME2": "MONOCHROME2",
    # GDCM takes no palette without its tables; places in one are grey levels to the code stream.
    "PALETTE COLOR": "MONOCHROME2",
    "RGB": "RGB",
}


def encode_jpeg_lossless(
    pixels: Pixels, pixel: ImagePixel, *, photometric_interpretation: str
) -> bytes:
    """Encode a frame, colours by pixel.

    Raises:
        ValueError: It is none that is encoded.
        ImportError: GDCM is not there.
    """
    bits_allocated = pixels.dtype.itemsize * 8
    interpretation = _INTERPRETATIONS.get(photometric_interpretation)
    if interpretation is None or pixel.bits_stored not in _BITS_STORED.get(bits_allocated, ()):
        raise ValueError("not a frame that GDCM encodes")
    lowest = -(1 << pixel.bits_stored - 1) if pixel.is_signed else 0
    if pixels.min() < lowest or pixels.max() >= lowest + (1 << pixel.bits_stored):
        raise ValueError("values of more bits than are stored")
    import gdcm

    # The image belongs to the writer, which has to live as long.
    writer = gdcm.ImageWriter()
    image = writer.GetImage()
    image.SetNumberOfDimensions(2)
    image.SetDimensions((pixel.columns, pixel.rows, 1))
    kind = gdcm.PhotometricInterpretation.GetPIType(interpretation)
    image.SetPhotometricInterpretation(gdcm.PhotometricInterpretation(kind))
    image.SetTransferSyntax(_syntax(EXPLICIT_VR_LITTLE_ENDIAN))
    bits, signed = pixel.bits_stored, int(pixel.is_signed)
    image.SetPixelFormat(
        gdcm.PixelFormat(pixel.samples_per_pixel, bits_allocated, bits, bits - 1, signed)
    )
    if pixel.samples_per_pixel > 1:
        image.SetPlanarConfiguration(0)
    element = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
    element.SetByteStringValue(pixels.tobytes())
    image.SetDataElement(element)
    change = gdcm.ImageChangeTransferSyntax()
    change.SetTransferSyntax(_syntax(JPEG_LOSSLESS_SV1))
    change.SetInput(image)
    if not change.Change():
        raise ValueError("GDCM does not encode the frame")
    fragments = change.GetOutput().GetDataElement().GetSequenceOfFragments()
    found = (fragments.GetFragment(i) for i in range(fragments.GetNumberOfFragments()))
    return b"".join(_bytes(each.GetByteValue().GetBuffer()) for each in found)


def _syntax(uid: str) -> object:
    import gdcm

    return gdcm.TransferSyntax(gdcm.TransferSyntax.GetTSType(uid))


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
