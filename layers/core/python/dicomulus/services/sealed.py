"""What is kept in the cache store under a name that is not of its content: with a checksum behind it."""

from __future__ import annotations

import struct
import zlib
from typing import Final

from dicomulus.errors import CorruptFragmentError

SEALED_SUFFIX: Final = ".1"
"""Ends the keys of what is sealed; what was kept under other names nobody asks for any more."""

_SEAL: Final = struct.Struct("<I")


def seal(content: bytes) -> bytes:
    """Give the object that holds a content."""
    return content + _SEAL.pack(zlib.crc32(content))


def unseal(data: bytes) -> bytes:
    """Give the content of an object.

    Raises:
        CorruptFragmentError: It is not as it was sealed.
    """
    content, end = data[: -_SEAL.size], data[-_SEAL.size :]
    if len(end) != _SEAL.size or zlib.crc32(content) != _SEAL.unpack(end)[0]:
        raise CorruptFragmentError("a kept image is not as it was written")
    return content
