"""Answers of one representation alone: whole, in part, or not again (RFC 9110 §13, §14)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from dicomulus.api.compression import CACHE_CONTROL
from dicomulus.errors import PreconditionFailedError, ResponseTooLargeError
from dicomulus.wire.byte_range import wanted_range
from dicomulus.wire.conditional import fails_if_match, format_etag, is_not_modified
from dicomulus.wire.message import Response

if TYPE_CHECKING:
    from dicomulus.ports import InstanceRow
    from dicomulus.services.archive import Archive
    from dicomulus.services.content import Content
    from dicomulus.wire.byte_range import Stretch
    from dicomulus.wire.message import Request

VARIES: Final = (("Cache-Control", CACHE_CONTROL), ("Vary", "Accept"))
"""Headers of every answer that follows from an object and Accept."""

_REVISION: Final = "1"
"""Moves when the same object is given as other bytes than before."""

_TAG_BYTES: Final = 12


@dataclass(frozen=True, slots=True)
class Single:
    """A representation of an object, or of something in it."""

    content: Content
    content_type: str
    what: str
    """Names it among all that can be made of one object."""
    headers: tuple[tuple[str, str], ...] = ()


def entity_tag(row: InstanceRow, *what: str) -> str:
    """Give the strong entity tag of something that follows from a row's object."""
    named = "\0".join((_REVISION, row.object_key, row.object_etag, *what))
    return format_etag(hashlib.blake2b(named.encode(), digest_size=_TAG_BYTES).hexdigest())


def single_response(
    archive: Archive, request: Request, row: InstanceRow, single: Single
) -> Response:
    """Answer with a representation, or the part that is asked for, whose first bytes are read.

    Of what cannot be read in parts the whole is given, whatever part is asked for.

    Raises:
        ObjectChangedError: The object is no longer that of the row.
        PreconditionFailedError: If-Match names others.
        RangeNotSatisfiableError: The range begins behind the end.
        ResponseTooLargeError: What is to be sent is over the limit.
    """
    etag = entity_tag(row, single.what, single.content_type)
    if fails_if_match(request.headers.get("If-Match"), etag):
        raise PreconditionFailedError("It is no longer what If-Match names")
    if is_not_modified(request.headers.get("If-None-Match"), etag):
        return not_modified(etag)
    part = asked_part(request, single.content, etag)
    content = single.content if part is None else single.content.part(*part)
    check_length(archive, content.length)
    headers = (
        ("ETag", etag),
        *VARIES,
        ("Content-Type", single.content_type),
        *single.headers,
        *_range_headers(single.content, part),
    )
    status = HTTPStatus.OK if part is None else HTTPStatus.PARTIAL_CONTENT
    begun = archive.retrieve.begin(row, content)
    return Response(status, headers, begun.chunks, begun.length)


def not_modified(etag: str) -> Response:
    """Answer that the client has it already."""
    return Response(HTTPStatus.NOT_MODIFIED, (("ETag", etag), *VARIES))


def check_length(archive: Archive, length: int) -> None:
    """Refuse an answer that is too long for what carries it.

    Raises:
        ResponseTooLargeError: It is.
    """
    limit = archive.settings.max_stream_bytes
    if limit and length > limit:
        raise ResponseTooLargeError(
            f"The answer has {length} bytes, one answer at most {limit}; retrieve less at a time"
        )


def asked_part(request: Request, content: Content, etag: str) -> Stretch | None:
    """Give the part of a representation that is asked for, none for the whole.

    Raises:
        RangeNotSatisfiableError: It begins behind the end.
    """
    # Range means something for GET alone (RFC 9110 §14.2).
    if content.read is None or request.method != "GET":
        return None
    return wanted_range(request.headers, etag=etag, length=content.length)


def _range_headers(content: Content, part: Stretch | None) -> tuple[tuple[str, str], ...]:
    if content.read is None:
        return ()
    accepts = (("Accept-Ranges", "bytes"),)
    if part is None:
        return accepts
    return (*accepts, ("Content-Range", part.content_range(content.length)))
