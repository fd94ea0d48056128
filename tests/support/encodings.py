"""Answers decoded as a client decodes them, by libraries that know nothing of how they were made."""

from __future__ import annotations

import gzip
import sys
from typing import TYPE_CHECKING

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

if TYPE_CHECKING:
    from dicomulus.wire.content_coding import ContentCoding

_LARGEST_WINDOW_LOG = 23
"""8 MiB, over which browsers refuse (RFC 9659)."""


def decoded(content: bytes, coding: ContentCoding) -> bytes:
    """Give what a content coding holds; zstd with the window that browsers allow."""
    if coding == "gzip":
        return gzip.decompress(content)
    if coding == "zstd":
        limit: dict[int, int] = {zstd.DecompressionParameter.window_log_max: _LARGEST_WINDOW_LOG}
        return zstd.decompress(content, options=limit)
    return content
