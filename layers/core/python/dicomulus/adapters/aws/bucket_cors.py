"""Which pages may use presigned requests of the storage bucket: its CORS configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mypy_boto3_s3.type_defs import CORSRuleTypeDef

EVERY_ORIGIN: Final = "*"

PREFLIGHT_SECONDS: Final = 7_200
"""Seconds a browser keeps a preflight's answer; Chromium keeps none longer."""

# An origin may hold one wildcard (S3), so that a port can be any; ``localhost*`` would be a foreign
# ``localhost.example`` too.
LOOPBACK_ORIGINS: Final = tuple(
    f"{scheme}://{host}{port}"
    for scheme in ("http", "https")
    for host in ("localhost", "127.0.0.1")
    for port in ("", ":*")
)
"""Origins of pages of the reader's own machine."""

ALLOWED_HEADERS: Final = (
    "Accept",
    "Cache-Control",
    "Content-Type",
    "If-Match",
    "If-Modified-Since",
    "If-None-Match",
    "If-Range",
    "Pragma",
    "Range",
    "X-Requested-With",
    "x-amz-*",
)
"""Headers that a page may send: of a range, of a condition, of a presigned request."""

# A wildcard is not taken here (S3).
EXPOSED_HEADERS: Final = (
    "Accept-Ranges",
    "Content-Length",
    "Content-Range",
    "Content-Type",
    "Date",
    "ETag",
    "Last-Modified",
    "x-amz-checksum-crc32",
    "x-amz-checksum-crc32c",
    "x-amz-checksum-crc64nvme",
    "x-amz-checksum-sha1",
    "x-amz-checksum-sha256",
    "x-amz-checksum-type",
    "x-amz-request-id",
    "x-amz-version-id",
)
"""Headers of an answer that a page may read."""

METHODS: Final = ("GET", "HEAD", "PUT")
"""What presigned requests are; there is none that deletes."""


def storage_cors_rule(
    allowed_origins: tuple[str, ...], *, public_base_url: str = ""
) -> CORSRuleTypeDef:
    """Write the rule for pages of loopback, of the allowed origins and of the public base URL.

    Whose pages they are protects nothing: only who has a presigned URL gets anything. It lets
    pages that have been given one use it.
    """
    return {
        "AllowedOrigins": list(_origins(allowed_origins, public_base_url)),
        "AllowedMethods": list(METHODS),
        "AllowedHeaders": list(ALLOWED_HEADERS),
        "ExposeHeaders": list(EXPOSED_HEADERS),
        "MaxAgeSeconds": PREFLIGHT_SECONDS,
    }


def _origins(allowed_origins: tuple[str, ...], public_base_url: str) -> Iterator[str]:
    if EVERY_ORIGIN in allowed_origins:
        yield EVERY_ORIGIN
        return
    yield from LOOPBACK_ORIGINS
    yield from allowed_origins
    own = "{0.scheme}://{0.netloc}".format(urlsplit(public_base_url)) if public_base_url else ""
    if own and own not in allowed_origins:
        yield own
