"""Large instances from where they are stored: the client is sent there (RFC 9110 §15.4.8)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dicomulus.wire.conditional import is_not_modified
from dicomulus.wire.content_coding import negotiate
from dicomulus.wire.message import Response

if TYPE_CHECKING:
    from dicomulus.ports import InstanceRow
    from dicomulus.services.archive import Archive
    from dicomulus.wire.message import Request


def direct_response(
    archive: Archive, request: Request, row: InstanceRow, *, content_type: str, etag: str
) -> Response | None:
    """Send a client to the object store for an object as stored, where that is better.

    The caller looks at the object of the row, by the first byte of it: no client can be made to
    send an entity tag along, so what it gets is of the row's or of a later generation. A client
    that has an entity tag of the archive's is answered here: the store knows others.

    Returns:
        The answer, or none where the object is to be sent from here.
    """
    if archive.at_rest.is_compressed(row) and not _decodes(request):
        return None
    return direct_object(
        archive, request, row.object_key, row.object_size, content_type=content_type, etag=etag
    )


def direct_object(
    archive: Archive,
    request: Request,
    object_key: str,
    object_size: int,
    *,
    content_type: str,
    etag: str,
) -> Response | None:
    """Send a client to the object store for any object of a size; see ``direct_response``."""
    limit = archive.settings.max_direct_bytes
    if not limit or object_size <= limit or not _can_follow(request, etag):
        return None
    presigned = archive.storage.presigned_get(
        object_key,
        expires_seconds=archive.settings.presigned_seconds,
        content_type=content_type,
    )
    if presigned is None:
        return None
    headers = (
        ("Location", presigned.url),
        # Whoever has the URL may use it.
        ("Cache-Control", "no-store"),
        ("Vary", "Accept, Accept-Encoding, Origin, Range, Sec-Fetch-Mode"),
    )
    return Response(307, headers)


def _decodes(request: Request) -> bool:
    """Whether a client gets the object itself out of the gzip that the store has of it.

    It says that it knows gzip, and wants no range: of the store that would be one of the gzip.
    """
    coding = negotiate(request.headers.get("Accept-Encoding"), ("gzip",))
    return coding == "gzip" and "Range" not in request.headers


def _can_follow(request: Request, etag: str) -> bool:
    if request.method != "GET" or "If-Match" in request.headers:
        return False
    if is_not_modified(request.headers.get("If-None-Match"), etag):
        return False
    # Of a page's script the browser follows only where the store knows the page's origin.
    is_of_a_page = request.headers.get("Sec-Fetch-Mode") == "cors"
    return not (is_of_a_page or "Origin" in request.headers)
