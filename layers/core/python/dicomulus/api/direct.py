"""Large instances from where they are stored: the client is sent there (RFC 9110 §15.4.8)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dicomulus.wire.message import Response

if TYPE_CHECKING:
    from dicomulus.ports import InstanceRow
    from dicomulus.services.archive import Archive
    from dicomulus.wire.message import Request


def direct_response(
    archive: Archive, request: Request, row: InstanceRow, *, content_type: str
) -> Response | None:
    """Send a client to the object store for an object as stored, where that is better.

    The row is one whose object was just looked at: no client can be made to send an entity tag
    along, so the object is of the row's or of a later generation.

    Returns:
        The answer, or none where the object is to be sent from here.
    """
    limit = archive.settings.max_direct_bytes
    if not limit or row.object_size <= limit or request.method != "GET" or _is_of_a_page(request):
        return None
    presigned = archive.storage.presigned_get(
        row.object_key,
        expires_seconds=archive.settings.presigned_seconds,
        content_type=content_type,
    )
    if presigned is None:
        return None
    headers = (
        ("Location", presigned.url),
        # Whoever has the URL may use it.
        ("Cache-Control", "no-store"),
        ("Vary", "Accept, Origin, Sec-Fetch-Mode"),
    )
    return Response(307, headers)


def _is_of_a_page(request: Request) -> bool:
    """Whether a script asks: its browser follows only where the store knows the page's origin."""
    return "Origin" in request.headers or request.headers.get("Sec-Fetch-Mode") == "cors"
