"""What code streams say of their size before they are decoded (ISO 10918-1, 15444-1)."""

from __future__ import annotations

import struct
from typing import Final

_J2K_BEGIN: Final = b"\xff\x4f\xff\x51"
"""Start of code stream and the marker of its size, which comes first (ISO 15444-1 §A.5.1)."""

_JPEG_BEGIN: Final = b"\xff\xd8"
_START_OF_SCAN: Final = 0xDA
# SOF markers of JPEG and, the last one, of JPEG-LS; C4, C8 and CC mean something else.
_FRAME_HEADERS: Final = (frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}) | {0xF7}
_NO_LENGTH: Final = frozenset((0x01, *range(0xD0, 0xD9)))
_JP2_SIGNATURE: Final = b"\x00\x00\x00\x0cjP  "
_SEARCHED_BYTES: Final = 65_536
"""Of a JP2 file, where the boxes before the code stream are short."""


def declared_pixels(frame: bytes) -> int | None:
    """Give rows times columns of a JPEG, JPEG-LS or JPEG 2000 stream; none if it is none."""
    if frame.startswith(_JP2_SIGNATURE):
        begin = frame.find(_J2K_BEGIN, 0, _SEARCHED_BYTES)
        return None if begin < 0 else _of_jpeg2000(frame, begin)
    if frame.startswith(_J2K_BEGIN):
        return _of_jpeg2000(frame, 0)
    if frame.startswith(_JPEG_BEGIN):
        return _of_jpeg(frame)
    return None


def _of_jpeg2000(frame: bytes, begin: int) -> int | None:
    header = frame[begin + 8 : begin + 24]
    if len(header) < 16:
        return None
    right, bottom, left, top = (int(each) for each in struct.unpack(">4L", header))
    return max(0, right - left) * max(0, bottom - top)


def _of_jpeg(frame: bytes) -> int | None:
    position = 2
    while position + 9 <= len(frame) and frame[position] == 0xFF:
        marker = frame[position + 1]
        if marker in _FRAME_HEADERS:
            rows, columns = struct.unpack_from(">HH", frame, position + 5)
            return int(rows) * int(columns)
        if marker == _START_OF_SCAN:
            return None
        if marker in _NO_LENGTH or marker == 0xFF:
            position += 1 if marker == 0xFF else 2
        else:
            position += 2 + int.from_bytes(frame[position + 2 : position + 4], "big")
    return None
