"""Objects that are compressed at rest, as tests make and change them."""

from __future__ import annotations

import random
from io import BytesIO

from dicomulus.metadata.seekable_gzip import compress


def member_of(content: bytes) -> bytes:
    """Give the gzip member that a content is stored as."""
    out = BytesIO()
    compress(BytesIO(content), out)
    return out.getvalue()


def smooth(length: int, *, seed: int = 1) -> bytes:
    """Give bytes that are about half as long compressed: 16 bits a pixel, of which 8 are noise."""
    noise = random.Random(seed).randbytes(length // 2 + 1)
    return bytes(byte for pair in zip(noise, bytes(len(noise)), strict=True) for byte in pair)[
        :length
    ]
