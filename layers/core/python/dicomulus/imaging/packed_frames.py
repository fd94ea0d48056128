"""Native frames that are deflated, or single bits in RLE: what pydicom 3.0 has no decoder for."""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from dicomulus.imaging.image_pixel import ImagePixel

DEFLATED_IMAGE_FRAME: Final = "1.2.840.10008.1.2.8.1"
RLE: Final = "1.2.840.10008.1.2.5"

_RLE_HEADER: Final = struct.Struct("<16L")
"""The number of segments, and where each begins (PS3.5 §G.5)."""


def is_packed(transfer_syntax_uid: str, pixel: ImagePixel) -> bool:
    """Whether this module is what unpacks a frame."""
    if transfer_syntax_uid == DEFLATED_IMAGE_FRAME:
        return True
    return transfer_syntax_uid == RLE and pixel.bits_allocated == 1


def unpacked(frame: bytes, transfer_syntax_uid: str, pixel: ImagePixel) -> bytes:
    """Give the native frame, little endian and of the length that the image has.

    Raises:
        ValueError: The frame is not packed so, or not that long.
        struct.error: It is shorter than its header.
        zlib.error: It is not deflated.
    """
    bits = pixel.rows * pixel.columns * pixel.samples_per_pixel * pixel.bits_allocated
    length = (bits + 7) // 8
    if transfer_syntax_uid == DEFLATED_IMAGE_FRAME:
        native = zlib.decompressobj(-zlib.MAX_WBITS).decompress(frame, length)
    else:
        native = _of_one_segment(frame, length)
    if len(native) != length:
        raise ValueError("the frame is not as long as the image")
    return native


def _of_one_segment(frame: bytes, length: int) -> bytes:
    count, begin, *_ = _RLE_HEADER.unpack_from(frame)
    if count != 1:
        raise ValueError("single bits have one segment")
    native = bytearray()
    position = begin
    while len(native) < length and position + 1 < len(frame):
        # PS3.5 §G.3.2: 0 to 127 copies one more than that, 129 to 255 repeats 257 less that.
        code = frame[position]
        if code < 128:
            native += frame[position + 1 : position + 2 + code]
            position += 2 + code
        else:
            native += frame[position + 1 : position + 2] * (257 - code if code > 128 else 0)
            position += 2 if code > 128 else 1
    return bytes(native[:length])
