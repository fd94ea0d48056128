"""Files that are the same for everybody, with their entity tags and compressed copies."""

from __future__ import annotations

import gzip
import hashlib
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, Final

from dicomulus.wire.conditional import format_etag, is_not_modified
from dicomulus.wire.content_coding import negotiate
from dicomulus.wire.message import Response

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from dicomulus.wire.message import Request

MEDIA_TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".ico": "image/x-icon",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".jsonc": "application/json",
    ".mjs": "text/javascript; charset=utf-8",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".wasm": "application/wasm",
    ".webapp": "application/json",
    ".woff2": "font/woff2",
    ".xml": "application/xml",
}
"""By the end of a file's name; a file of another kind is not served."""

ZIPPED: Final = ".gz"
"""Ends the name of the compressed copy that may lie beside a file."""

WORTH_BYTES: Final = 1_024
"""Bytes below which compressing costs more than it saves."""

_ASK_AGAIN: Final = "no-cache"
_NEVER_CHANGES: Final = "public, max-age=31536000, immutable"
_HASHED: Final = re.compile(r"(?:^|\.)[0-9a-f]{16}\.")
"""In a name that its file's content is part of."""

_CHUNK_BYTES: Final = 1_048_576


@dataclass(frozen=True, slots=True)
class Text:
    """A small file, as it is and compressed."""

    plain: bytes
    zipped: bytes
    digest: str

    @classmethod
    def of(cls, text: bytes) -> Text:
        """Compress a text, if that is worth it."""
        digest = hashlib.blake2b(text, digest_size=12).hexdigest()
        return cls(text, gzip.compress(text, mtime=0) if len(text) >= WORTH_BYTES else b"", digest)


def text_file(request: Request, text: Text, *, suffix: str, policy: str) -> Response:
    """Answer with a text.

    Args:
        request: Asks for it.
        text: What it is.
        suffix: Of its name, which says what kind of text it is.
        policy: What it may load if it is a document (Content-Security-Policy).
    """
    coding = _coding(request, has_zipped=bool(text.zipped))
    headers: tuple[tuple[str, str], ...] = (
        ("ETag", format_etag(f"{text.digest}-{coding}")),
        ("Cache-Control", _ASK_AGAIN),
        ("Vary", "Accept-Encoding"),
        ("Content-Security-Policy", policy),
        ("Referrer-Policy", "no-referrer"),
    )
    if is_not_modified(request.headers.get("If-None-Match"), headers[0][1]):
        return Response(304, headers)
    headers = (*headers, ("Content-Type", MEDIA_TYPES[suffix]))
    if coding == "gzip":
        return Response(200, (*headers, ("Content-Encoding", "gzip")), text.zipped)
    return Response(200, headers, text.plain)


def file_below(folder: Path, segments: Sequence[str]) -> Path | None:
    """Find a file below a folder; what leads out of the folder is none, by links neither."""
    if not segments or any(map(_is_odd, segments)):
        return None
    path = folder.joinpath(*segments)
    if path.suffix not in MEDIA_TYPES:
        return None
    found = path.resolve()
    return found if found.is_file() and found.is_relative_to(folder.resolve()) else None


def cache_control(name: str) -> str:
    """Tell how long a browser may keep a file of a viewer without asking, by its name."""
    return _NEVER_CHANGES if _HASHED.search(name) else _ASK_AGAIN


def is_file_name(segments: Sequence[str]) -> bool:
    """Tell whether a path ends like a file's that would be served."""
    return bool(segments) and segments[-1].endswith(tuple(MEDIA_TYPES))


def _is_odd(segment: str) -> bool:
    return segment in ("", ".", "..") or any(char in "/\\:" or char < " " for char in segment)


def large_file(request: Request, path: Path, *, policy: str) -> Response:
    """Answer with a file as it is read, or with its compressed copy."""
    zipped = path.with_name(path.name + ZIPPED)
    has_zipped = zipped.is_file()
    coding = _coding(request, has_zipped=has_zipped)
    body = FileBody((zipped if coding == "gzip" else path).open("rb"))
    status = os.fstat(body.file.fileno())
    etag = format_etag(f"{status.st_mtime_ns:x}-{status.st_size:x}-{coding}")
    headers = [
        ("ETag", etag),
        ("Cache-Control", cache_control(path.name)),
        ("Content-Security-Policy", policy),
    ]
    if has_zipped:
        headers.append(("Vary", "Accept-Encoding"))
    if is_not_modified(request.headers.get("If-None-Match"), etag):
        body.close()
        return Response(304, tuple(headers))
    headers.append(("Content-Type", MEDIA_TYPES[path.suffix]))
    if coding == "gzip":
        headers.append(("Content-Encoding", "gzip"))
    return Response(200, tuple(headers), body, status.st_size)


@dataclass(frozen=True, slots=True)
class FileBody:
    """A file as a streamed body."""

    file: BinaryIO

    def __iter__(self) -> Iterator[bytes]:
        """Read it chunk by chunk."""
        while chunk := self.file.read(_CHUNK_BYTES):
            yield chunk

    def close(self) -> None:
        """Close it; streaming servers do."""
        self.file.close()


def _coding(request: Request, *, has_zipped: bool) -> str:
    return negotiate(request.headers.get("Accept-Encoding"), ("gzip",) if has_zipped else ())
