"""What compressed code streams are, by their own headers (ISO 10918-1, 14495-1, 15444-1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

HEAD_BYTES: Final = 65_536
"""Bytes from the start in which the headers are looked for."""

_JPEG_LOSSLESS_FIRST_ORDER: Final = "1.2.840.10008.1.2.4.70"
_JPEG_LOSSLESS: Final = "1.2.840.10008.1.2.4.57"

# PS3.18 Table 8.7.3-5: what a media type stands for where neither it nor the stream says more.
DEFAULTS: Final = {
    "image/jpeg": _JPEG_LOSSLESS_FIRST_ORDER,
    "image/dicom-rle": "1.2.840.10008.1.2.5",
    "image/jls": "1.2.840.10008.1.2.4.80",
    "image/jp2": "1.2.840.10008.1.2.4.90",
    "image/jpx": "1.2.840.10008.1.2.4.92",
    "image/jphc": "1.2.840.10008.1.2.4.201",
    "image/jxl": "1.2.840.10008.1.2.4.110",
    "video/mpeg2": "1.2.840.10008.1.2.4.100",
    "video/mp4": "1.2.840.10008.1.2.4.102",
    "video/h265": "1.2.840.10008.1.2.4.107",
}

_SOF_SYNTAXES: Final = {0xC0: "1.2.840.10008.1.2.4.50", 0xC1: "1.2.840.10008.1.2.4.51"}
_SOF_LOSSLESS: Final = 0xC3
_SOS: Final = 0xDA
_COD: Final = 0x52
_ADOBE: Final = 0xEE
_NO_LENGTH: Final = frozenset((0x01, *range(0xD0, 0xD9)))
_J2K_CODESTREAM: Final = b"\xff\x4f\xff\x51"
_TRANSFORMATION_AT: Final = 9
"""Of a segment COD, without its marker and length (ISO 15444-1 §A.6.1)."""


def transfer_syntax_of(media_type: str, head: bytes) -> str | None:
    """Give the transfer syntax of a stream, or its media type's default; none for other types.

    Senders write ``image/jpeg`` of any kind of JPEG, so the stream itself is asked.
    """
    if media_type not in DEFAULTS:
        return None
    if media_type == "image/jpeg":
        return _of_jpeg(head) or DEFAULTS[media_type]
    if media_type == "image/jls":
        # NEAR stands before the interleave mode and the point transform (ISO 14495-1 §C.2.3).
        lossy = any(marker == _SOS and body[-3:-2] > b"\0" for marker, body in _segments(head))
        return "1.2.840.10008.1.2.4.81" if lossy else DEFAULTS[media_type]
    if media_type == "image/jp2" and _is_irreversible(head):
        return "1.2.840.10008.1.2.4.91"
    return DEFAULTS[media_type]


@dataclass(frozen=True, slots=True)
class JpegImage:
    """What the frame header of a JPEG says."""

    bits: int
    rows: int
    columns: int
    samples: int
    is_subsampled: bool
    is_rgb: bool
    """It has three components that are not converted, by the mark that Adobe's writers leave."""


def jpeg_image_of(head: bytes) -> JpegImage | None:
    """Read the frame header of a JPEG; none if there is none."""
    transform: int | None = None
    for marker, body in _segments(head):
        if marker == _ADOBE and body.startswith(b"Adobe") and len(body) >= 12:
            transform = body[11]
        if (marker in _SOF_SYNTAXES or marker == _SOF_LOSSLESS) and len(body) >= 9:
            return JpegImage(
                bits=body[0],
                rows=int.from_bytes(body[1:3], "big"),
                columns=int.from_bytes(body[3:5], "big"),
                samples=body[5],
                is_subsampled=body[7] != 0x11,
                is_rgb=body[5] == 3 and transform == 0,
            )
    return None


def _of_jpeg(head: bytes) -> str | None:
    is_lossless = False
    for marker, body in _segments(head):
        if marker in _SOF_SYNTAXES:
            return _SOF_SYNTAXES[marker]
        is_lossless = is_lossless or marker == _SOF_LOSSLESS
        if marker == _SOS and is_lossless:
            # The selection value of the predictor stands before the last two bytes.
            return _JPEG_LOSSLESS_FIRST_ORDER if body[-3:-2] == b"\x01" else _JPEG_LOSSLESS
    return None


def _is_irreversible(head: bytes) -> bool:
    begin = max(head.find(_J2K_CODESTREAM), 0)
    for marker, body in _segments(head[begin:]):
        if marker == _COD:
            return body[_TRANSFORMATION_AT : _TRANSFORMATION_AT + 1] == b"\0"
    return False


def _segments(stream: bytes) -> Iterator[tuple[int, bytes]]:
    """Go through marker segments, up to the first scan: marker and body."""
    position = 2
    while position + 4 <= len(stream) and stream[position] == 0xFF:
        marker = stream[position + 1]
        if marker in _NO_LENGTH or marker == 0xFF:
            position += 1 if marker == 0xFF else 2
            continue
        end = position + 2 + int.from_bytes(stream[position + 2 : position + 4], "big")
        yield marker, stream[position + 4 : end]
        if marker == _SOS or end < position + 4:
            return
        position = end
