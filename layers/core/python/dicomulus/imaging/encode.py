"""Images as JPEG, PNG and GIF (PS3.18 §8.7.4)."""

from __future__ import annotations

from io import BytesIO
from itertools import chain
from typing import TYPE_CHECKING, Final

from PIL import Image

from dicomulus.errors import NotAcceptableError

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy as np
    import numpy.typing as npt

JPEG: Final = "image/jpeg"
PNG: Final = "image/png"
GIF: Final = "image/gif"

_DEFAULT_QUALITY: Final = 90
_LARGEST_JPEG_SIDE: Final = 65_535
"""Rows and columns in a frame header (ISO 10918-1 §B.2.2)."""

_PNG_LEVEL: Final = 4
"""Of zlib: 5 % larger than its default in half of the time."""

_SHORTEST_FRAME_MS: Final = 20
"""Browsers show frames that are told to be shorter for 100 ms."""


def image_of(levels: npt.NDArray[np.uint8]) -> Image.Image:
    """Give an image of grey levels, or of red, green and blue."""
    return Image.fromarray(levels)


def encode(image: Image.Image, media_type: str, *, quality: int | None = None) -> bytes:
    """Write one image.

    Args:
        image: Grey or RGB.
        media_type: ``JPEG``, ``PNG`` or ``GIF``.
        quality: Of JPEG, from 1 to 100; the others lose nothing and need none.

    Raises:
        NotAcceptableError: The format cannot hold it.
    """
    written = BytesIO()
    if media_type == GIF:
        return encode_cine([image], frame_ms=_SHORTEST_FRAME_MS)
    if media_type == PNG:
        image.save(written, "PNG", compress_level=_PNG_LEVEL)
    else:
        if max(image.size) > _LARGEST_JPEG_SIDE:
            raise NotAcceptableError("an image of that size is no JPEG; it can be a PNG")
        image.save(written, "JPEG", quality=quality or _DEFAULT_QUALITY)
    return written.getvalue()


def encode_cine(images: Iterable[Image.Image], *, frame_ms: float) -> bytes:
    """Write images of one size as an animated GIF that repeats.

    Frames that are equal become one that is shown for as long as all of them.

    Args:
        images: At least one, grey or RGB.
        frame_ms: How long each is shown.
    """
    written = BytesIO()
    frames = iter(images)
    first = next(frames)
    duration = max(_SHORTEST_FRAME_MS, round(frame_ms / 10) * 10)
    first.save(
        written,
        "GIF",
        save_all=True,
        append_images=chain(frames),
        duration=duration,
        loop=0,
        optimize=False,
    )
    return written.getvalue()
