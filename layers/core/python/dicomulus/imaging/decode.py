"""One frame of an image as an array of its stored values (PS3.5 §8, PS3.3 §C.7.6.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dicomulus.dicom.transfer_syntax import EXPLICIT_VR_LITTLE_ENDIAN
from dicomulus.errors import NotAcceptableError, ResponseTooLargeError
from dicomulus.imaging.code_stream import declared_pixels
from dicomulus.imaging.decoder_process import decode_apart, recode_apart
from dicomulus.imaging.image_pixel import FrameForm

if TYPE_CHECKING:
    from dicomulus.imaging.image_pixel import ImagePixel, Pixels

MAX_FRAME_PIXELS: Final = 50_000_000
"""Pixels of one frame: some 4 bytes each while a grey one is rendered, 10 of colour.

A mammogram has 14,000,000. Larger ones are tiled in practice, and retrieved by frame.
"""

MAX_FRAME_BYTES: Final = 4 * MAX_FRAME_PIXELS
"""Bytes of one frame, as it is stored."""


def decode_frame(frame: bytes, pixel: ImagePixel, *, transfer_syntax_uid: str) -> Pixels:
    """Decode a frame: rows and columns of values, of colour with red, green and blue.

    Args:
        frame: The bytes as a retrieve of frames gives them: native ones are little endian.
        pixel: What the data set says of it.
        transfer_syntax_uid: That of the bytes.

    Raises:
        NotAcceptableError: There is no decoder, or the frame is none that it decodes.
        ResponseTooLargeError: The frame has over ``MAX_FRAME_PIXELS``.
    """
    declared = 0
    if transfer_syntax_uid != EXPLICIT_VR_LITTLE_ENDIAN:
        declared = declared_pixels(frame) or 0
    check_pixels(max(declared, pixel.rows * pixel.columns))
    try:
        if transfer_syntax_uid == EXPLICIT_VR_LITTLE_ENDIAN:
            from dicomulus.imaging.pydicom_frames import decode_here

            return decode_here(frame, pixel, transfer_syntax_uid)
        return decode_apart(frame, pixel, transfer_syntax_uid)
    # What codecs raise is not one family: every way of failing means the same to the client.
    except Exception as exc:
        raise NotAcceptableError(f"the frame cannot be decoded from {transfer_syntax_uid}") from exc


def recode_frame(
    frame: bytes, pixel: ImagePixel, *, transfer_syntax_uid: str, target: str
) -> tuple[FrameForm, bytes]:
    """Give a frame in another transfer syntax, and what its data set has to say of it then.

    Args:
        frame: The bytes as a retrieve of frames gives them: native ones are little endian.
        pixel: What the data set says of it.
        transfer_syntax_uid: That of the bytes.
        target: The syntax wanted, Explicit VR Little Endian or a compressed one.

    Raises:
        NotAcceptableError: It cannot be decoded, or not be encoded so.
    """
    declared = 0
    if transfer_syntax_uid != EXPLICIT_VR_LITTLE_ENDIAN:
        declared = declared_pixels(frame) or 0
    if max(declared, pixel.rows * pixel.columns) > MAX_FRAME_PIXELS:
        raise NotAcceptableError(f"frames of over {MAX_FRAME_PIXELS} pixels are given as stored")
    try:
        form, content = recode_apart(frame, pixel, transfer_syntax_uid, target=target)
    # The process cannot be started, or ended, or has no codec for it.
    except Exception as exc:
        raise NotAcceptableError(
            f"a frame cannot be given as {target} from {transfer_syntax_uid}"
        ) from exc
    return FrameForm(**form), content


def check_pixels(count: int) -> None:
    """Refuse a frame of too many pixels.

    Raises:
        ResponseTooLargeError: There are over ``MAX_FRAME_PIXELS``.
    """
    if count > MAX_FRAME_PIXELS:
        raise ResponseTooLargeError(f"Frames of over {MAX_FRAME_PIXELS} pixels are not rendered")


def check_bytes(count: int) -> None:
    """Refuse a frame of too many bytes.

    Raises:
        ResponseTooLargeError: There are over ``MAX_FRAME_BYTES``.
    """
    if count > MAX_FRAME_BYTES:
        raise ResponseTooLargeError(f"Frames of over {MAX_FRAME_BYTES} bytes are not rendered")
