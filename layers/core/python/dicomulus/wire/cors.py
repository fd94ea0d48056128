"""Which pages may read answers: the CORS protocol (Fetch standard, section HTTP-CORS protocol)."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from dicomulus.errors import OriginForbiddenError
from dicomulus.wire.base_url import is_loopback
from dicomulus.wire.message import Response

if TYPE_CHECKING:
    from collections.abc import Collection

    from dicomulus.wire.message import Headers, Request

EVERY_ORIGIN: Final = "*"

EXPOSED_HEADERS: Final = (
    "Accept-Ranges",
    "Allow",
    "Content-Disposition",
    "Content-Encoding",
    "Content-Length",
    "Content-Location",
    "Content-Range",
    "Content-Type",
    "Date",
    "Dicomulus-Cost",
    "Dicomulus-Plan",
    "ETag",
    "Last-Modified",
    "Link",
    "Location",
    "Retry-After",
    "Vary",
    "WWW-Authenticate",
    "Warning",
    "X-Total-Count",
)
"""Answer headers that a page may read."""

ALLOWED_HEADERS: Final = (
    "Accept",
    "Accept-Language",
    # A wildcard never covers Authorization, so that everything is listed by name.
    "Authorization",
    "Cache-Control",
    "Content-Type",
    "Dicomulus-Explain",
    "If-Match",
    "If-Modified-Since",
    "If-None-Match",
    "If-Range",
    "Pragma",
    "Range",
    "X-Requested-With",
)
"""Request headers that a page may send."""

PREFLIGHT_SECONDS: Final = 7_200
"""Seconds a browser keeps a preflight's answer; Chromium keeps none longer."""


def check_origin(origin: str | None, *, own: Collection[str], allowed: Collection[str]) -> None:
    """Refuse a page of a foreign origin; browsers name the origin, other clients none.

    Raises:
        OriginForbiddenError: The page's origin is neither own, loopback nor allowed.
    """
    if origin is not None and not is_allowed(origin, own=own, allowed=allowed):
        raise OriginForbiddenError("Pages of this origin may not use the archive")


def check_embedding(headers: Headers, *, own: Collection[str], allowed: Collection[str]) -> None:
    """Refuse what a foreign page shows as a part of its own: images, frames, scripts.

    Browsers ask for these without Origin, and no script can read them; still the page would learn
    whether there is something and how large it is, or could have it clicked at. The page's origin
    is in Referer, unless the page hides it.

    Raises:
        OriginForbiddenError: The page is of another site, and its origin is not allowed.
    """
    if "Origin" in headers or headers.get("Sec-Fetch-Site") != "cross-site":
        return
    is_link = headers.get("Sec-Fetch-Mode") == "navigate"
    if is_link and headers.get("Sec-Fetch-Dest") == "document":
        return
    origin = _origin_of(headers.get("Referer"))
    if not is_allowed(origin, own=own, allowed=allowed):
        raise OriginForbiddenError("Pages of this origin may not show what is in the archive")


def _origin_of(url: str | None) -> str:
    if not url:
        return "null"  # what browsers call a page's origin that they do not tell
    try:
        return "{0.scheme}://{0.netloc}".format(urlsplit(url))
    except ValueError:
        return ""


def is_allowed(origin: str, *, own: Collection[str], allowed: Collection[str]) -> bool:
    """Tell whether pages of an origin may read answers."""
    if EVERY_ORIGIN in allowed or origin in own or origin in allowed:
        return True
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return parts.scheme in ("http", "https") and host is not None and is_loopback(host)


def is_preflight(request: Request) -> bool:
    """Tell whether a browser asks whether it may send another request."""
    return request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers


def preflight_response(methods: Collection[str], asked: Headers | None = None) -> Response:
    """Answer a preflight of an allowed page for a resource that has these methods."""
    response = Response(
        HTTPStatus.NO_CONTENT,
        (
            ("Access-Control-Allow-Methods", ", ".join(methods)),
            ("Access-Control-Allow-Headers", ", ".join(ALLOWED_HEADERS)),
            ("Access-Control-Max-Age", str(PREFLIGHT_SECONDS)),
        ),
    )
    if asked is not None and asked.get("Access-Control-Request-Private-Network") == "true":
        # A page of the internet asks whether it may use a server of the reader's own network.
        return response.with_headers(("Access-Control-Allow-Private-Network", "true"))
    return response


def with_cors(
    response: Response, origin: str | None, *, own: Collection[str], allowed: Collection[str]
) -> Response:
    """Add the headers that let an allowed page read an answer, an error too."""
    response = response.with_headers(("Vary", "Origin"))
    if origin is None or not is_allowed(origin, own=own, allowed=allowed):
        return response
    return response.with_headers(
        ("Access-Control-Allow-Origin", origin),
        ("Access-Control-Expose-Headers", ", ".join(EXPOSED_HEADERS)),
    )
