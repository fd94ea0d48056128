"""Native frames that are packed: deflated, or in RLE, as far as pydicom 3.0 has no part of it."""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from dicomulus.imaging.image_pixel import ImagePixel

DEFLATED_IMAGE_FRAME: Final = "1.2.840.10008.1.2.8.1"
RLE: Final = "1.2.840.10008.1.2.5"

MAX_UNCHECKED_BYTES: Final = 67_108_864
"""Bytes that a frame in RLE may unpack to without being looked at before: 64 times its own."""

_LARGEST_RATIO: Final = 64
"""Two bytes stand for at most 128 (PS3.5 §G.3.1)."""

MAX_PIXEL_BITS: Final = 128
"""Bits of one pixel, all samples together: four of 32, or two of 64."""

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
    pixel_bits = pixel.samples_per_pixel * pixel.bits_allocated
    if pixel_bits > MAX_PIXEL_BITS:
        raise ValueError("a pixel has more bits than there are images of")
    bits = pixel.rows * pixel.columns * pixel_bits
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


def check_rle(frame: bytes, pixel: ImagePixel) -> None:
    """Refuse a frame whose segments unpack to far more than the image has, before they do.

    Raises:
        ValueError: One does.
        struct.error: The frame is shorter than its header.
    """
    if len(frame) * _LARGEST_RATIO <= MAX_UNCHECKED_BYTES:
        return
    count, *begins = _RLE_HEADER.unpack_from(frame)
    begins = begins[:count]
    # Some writers pad what they pack.
    limit = 2 * pixel.rows * pixel.columns + 1_024
    for begin, end in zip(begins, [*begins[1:], len(frame)], strict=True):
        if _unpacked_length(frame, begin, end, limit=limit) > limit:
            raise ValueError("a segment unpacks to more than the image has")


def _unpacked_length(frame: bytes, begin: int, end: int, *, limit: int) -> int:
    length, position, end = 0, begin, min(end, len(frame))
    while position < end and length <= limit:
        code = frame[position]
        if code < 128:
            length += code + 1
            position += code + 2
        elif code > 128:
            length += 257 - code
            position += 2
        else:
            position += 1
    return length
