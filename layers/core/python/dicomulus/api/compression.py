"""Answers of text that are compressed as they are made."""

from __future__ import annotations

import gzip
import hashlib
import zlib
from typing import TYPE_CHECKING, Final

from dicomulus.wire.conditional import format_etag, is_not_modified
from dicomulus.wire.content_coding import negotiate
from dicomulus.wire.message import Response

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from dicomulus.wire.message import Request

CACHE_CONTROL: Final = "private, no-cache"
"""Patient data is kept by the one client only, and asked for anew with its entity tag."""

_WORTH_BYTES: Final = 1_024
"""Bytes below which compressing costs more than it saves."""

_LEVEL: Final = 1
_GZIP: Final = 16 + zlib.MAX_WBITS


def text_response(
    request: Request, text: bytes, *, media_type: str, headers: tuple[tuple[str, str], ...] = ()
) -> Response:
    """Answer with a text, compressed if the client takes it, under an entity tag of its content."""
    worth = len(text) >= _WORTH_BYTES
    coding = negotiate(request.headers.get("Accept-Encoding"), ("gzip",)) if worth else "identity"
    etag = format_etag(f"{hashlib.blake2b(text, digest_size=12).hexdigest()}-{coding}")
    headers = (
        *headers,
        ("ETag", etag),
        ("Cache-Control", CACHE_CONTROL),
        ("Vary", "Accept, Accept-Encoding"),
    )
    if is_not_modified(request.headers.get("If-None-Match"), etag):
        return Response(304, headers)
    headers += (("Content-Type", media_type),)
    if coding == "gzip":
        body = gzip.compress(text, _LEVEL, mtime=0)
        return Response(200, (*headers, ("Content-Encoding", "gzip")), body)
    return Response(200, headers, text)


def gzip_pieces(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Compress a text that is not whole in memory into one gzip member."""
    stream = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP)
    for piece in pieces:
        if compressed := stream.compress(piece):
            yield compressed
    yield stream.flush()
