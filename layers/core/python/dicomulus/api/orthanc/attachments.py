"""Attachments of patients, studies, series and instances, as Orthanc's REST API has them."""

from __future__ import annotations

import re
from functools import partial
from http import HTTPStatus
from itertools import chain
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from dicomulus.api.direct import direct_object
from dicomulus.api.orthanc.answers import json_response, text_response
from dicomulus.api.orthanc.asked import has_flag
from dicomulus.api.orthanc.resources import resource_of_path
from dicomulus.api.orthanc.revisions import expected_revision, is_known_revision, revision_etag
from dicomulus.api.route import Route
from dicomulus.api.single import check_length
from dicomulus.api.store import check_store_allowed
from dicomulus.dicom.attachment_types import DICOM_FILE, OCTET_STREAM
from dicomulus.dicom.orthanc_id import Level
from dicomulus.errors import (
    AttachmentDamagedError,
    PayloadTooLargeError,
)
from dicomulus.services.content import Content
from dicomulus.services.identifiers import has_instances
from dicomulus.wire.byte_range import wanted_range
from dicomulus.wire.message import Response

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from dicomulus.dicom.resource import Resource
    from dicomulus.services.archive import Archive
    from dicomulus.services.resource_document import AttachmentEntry
    from dicomulus.wire.byte_range import Stretch
    from dicomulus.wire.message import Request

    Tell = Callable[[AttachmentEntry, int], object]

OPERATIONS: Final = (
    "compress",
    "compressed-data",
    "compressed-md5",
    "compressed-size",
    "data",
    "info",
    "is-compressed",
    "md5",
    "size",
    "uncompress",
    "verify-md5",
    "uuid",
)
"""What can be done with each attachment, in Orthanc's order."""

_EXTENSIONS: Final = {DICOM_FILE: ".dcm", 2: ".json", 3: ".dcm"}
_QUOTED: Final = re.compile(r'[\x00-\x1f\x7f"\\]')


def attachment_routes() -> tuple[Route, ...]:
    """Give the rows of the route table."""
    return tuple(route for level in Level for route in _routes_of(level))


def _routes_of(level: Level) -> tuple[Route, ...]:
    every = f"/{level.plural}/{{id}}/attachments"
    one = every + "/{name}"
    return (
        Route("GET", every, partial(list_attachments, level)),
        Route("GET", one, partial(tell, level, lambda *_: OPERATIONS, sums=False)),
        Route("PUT", one, partial(put_attachment, level), "write"),
        Route("DELETE", one, partial(delete_attachment, level), "write"),
        Route("GET", one + "/data", partial(give_content, level, as_stored=False)),
        Route("GET", one + "/compressed-data", partial(give_content, level, as_stored=True)),
        Route("GET", one + "/info", partial(tell, level, _info)),
        Route("GET", one + "/size", partial(tell, level, lambda e, _: str(e.size), sums=False)),
        Route(
            "GET",
            one + "/compressed-size",
            partial(tell, level, lambda e, _: str(e.stored_size), sums=False),
        ),
        Route("GET", one + "/md5", partial(tell, level, lambda e, _: e.md5)),
        Route("GET", one + "/compressed-md5", partial(tell, level, lambda e, _: e.stored_md5)),
        Route(
            "GET",
            one + "/is-compressed",
            partial(tell, level, lambda e, _: "1" if e.is_compressed else "0", sums=False),
        ),
        Route("GET", one + "/uuid", partial(tell, level, lambda e, _: e.uuid, sums=False)),
        Route("POST", one + "/verify-md5", partial(verify_attachment, level)),
        Route("POST", one + "/compress", partial(recompress, level, compressed=True), "write"),
        Route("POST", one + "/uncompress", partial(recompress, level, compressed=False), "write"),
    )


# --- reading -------------------------------------------------------------------------------------


def list_attachments(
    level: Level, archive: Archive, request: Request, variables: Mapping[str, str]
) -> Response:
    """Answer ``GET /{level}/{id}/attachments``."""
    resource = resource_of_path(archive, level, variables)
    numbers = archive.attachments.numbers(resource)
    named = {archive.attachments.types.name_of(number): number for number in numbers}
    return json_response(named if has_flag(request, "full") else list(named))


def tell(
    level: Level,
    what: Tell,
    archive: Archive,
    request: Request,
    variables: Mapping[str, str],
    *,
    sums: bool = True,
) -> Response:
    """Answer what is told of an attachment beside its content: texts as such, others as JSON."""
    resource, number = _named(archive, level, variables)
    entry = archive.attachments.find(resource, number, sums=sums)
    if _is_held(request, entry):
        return _not_modified(entry)
    value = what(entry, number)
    etag = ("ETag", _etag(entry))
    return text_response(value, etag) if isinstance(value, str) else json_response(value, etag)


def _info(entry: AttachmentEntry, number: int) -> dict[str, object]:
    return {
        "CompressedMD5": entry.stored_md5,
        "CompressedSize": entry.stored_size,
        "ContentType": number,
        "UncompressedMD5": entry.md5,
        "UncompressedSize": entry.size,
        "Uuid": entry.uuid,
    }


def give_content(
    level: Level,
    archive: Archive,
    request: Request,
    variables: Mapping[str, str],
    *,
    as_stored: bool,
) -> Response:
    """Answer ``GET …/data`` and ``GET …/compressed-data``."""
    resource, number = _named(archive, level, variables)

    def give(entry: AttachmentEntry, content: Content) -> Response:
        if _is_held(request, entry):
            return _not_modified(entry)
        headers = _content_headers(archive, request, entry, number, as_stored=as_stored)
        direct = _direct(archive, request, entry, number, as_stored=as_stored)
        if direct is not None and content.read is not None:
            # That it is there at all is found out by whoever reads it.
            _begun(content.part(0, min(1, content.length)))
            return direct
        return _content_response(archive, request, content, headers, etag=_etag(entry))

    return archive.attachments.read(resource, number, give, as_stored=as_stored)


def _content_headers(
    archive: Archive, request: Request, entry: AttachmentEntry, number: int, *, as_stored: bool
) -> tuple[tuple[str, str], ...]:
    kept = (("ETag", _etag(entry)), ("Cache-Control", "private, no-cache"))
    if as_stored:
        return (*kept, ("Content-Type", OCTET_STREAM))
    media_type = archive.attachments.types.media_type_of(number)
    name = request.parameter("filename") or entry.uuid + _EXTENSIONS.get(number, "")
    headers = (
        *kept,
        ("Content-Type", media_type),
        ("Content-Disposition", _disposition(name)),
    )
    # Anybody may have put it: it is no page of this server's. Browsers show no PDF in a sandbox.
    is_shown = media_type == "application/pdf"
    return headers if is_shown else (*headers, ("Content-Security-Policy", "sandbox"))


def _disposition(name: str) -> str:
    plain = _QUOTED.sub("_", name).encode("ascii", "replace").decode()
    if plain == name:
        return f'filename="{plain}"'
    return f"filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='', errors='replace')}"


def _direct(
    archive: Archive, request: Request, entry: AttachmentEntry, number: int, *, as_stored: bool
) -> Response | None:
    if number == DICOM_FILE or (entry.is_compressed and not as_stored):
        return None
    media_type = OCTET_STREAM if as_stored else archive.attachments.types.media_type_of(number)
    key = archive.attachments.location(entry)
    return direct_object(
        archive, request, key, entry.stored_size, content_type=media_type, etag=_etag(entry)
    )


def _content_response(
    archive: Archive,
    request: Request,
    content: Content,
    headers: tuple[tuple[str, str], ...],
    *,
    etag: str,
) -> Response:
    part = _asked_part(request, content, etag)
    accepts = (("Accept-Ranges", "bytes"),) if content.read is not None else ()
    if part is None:
        check_length(archive, content.length)
        begun = _begun(content)
        return Response(HTTPStatus.OK, (*headers, *accepts), begun.chunks, begun.length)
    check_length(archive, part.length)
    begun = _begun(content.part(*part))
    ranged = ("Content-Range", part.content_range(content.length))
    return Response(
        HTTPStatus.PARTIAL_CONTENT, (*headers, *accepts, ranged), begun.chunks, begun.length
    )


def _asked_part(request: Request, content: Content, etag: str) -> Stretch | None:
    if content.read is None or request.method != "GET":
        return None
    return wanted_range(request.headers, etag=etag, length=content.length)


def _begun(content: Content) -> Content:
    """Read the first bytes, so that what raises raises before anything is sent."""
    first = next(content.chunks, None)
    if first is None:
        return content
    return Content(content.length, chain([first], content.chunks))


def verify_attachment(
    level: Level, archive: Archive, _request: Request, variables: Mapping[str, str]
) -> Response:
    """Answer ``POST …/verify-md5``.

    Raises:
        AttachmentDamagedError: It is not what was put.
    """
    resource, number = _named(archive, level, variables)
    if not archive.attachments.verify(resource, number):
        raise AttachmentDamagedError("the attachment is not what was put")
    return json_response({})


# --- writing -------------------------------------------------------------------------------------


def put_attachment(
    level: Level, archive: Archive, request: Request, variables: Mapping[str, str]
) -> Response:
    """Answer ``PUT …/{name}``."""
    check_store_allowed(archive)
    resource, number = _named(archive, level, variables)
    limit = archive.settings.max_request_bytes
    length = request.content_length
    if length is not None and length > limit:
        raise PayloadTooLargeError(f"the body has {length} bytes, at most {limit} are taken")
    entry = archive.attachments.put(
        resource,
        number,
        request.body.read,
        expected=expected_revision(request),
        max_bytes=limit,
        is_there=partial(has_instances, archive.index, resource),
    )
    return json_response({}, ("ETag", _etag(entry)))


def delete_attachment(
    level: Level, archive: Archive, request: Request, variables: Mapping[str, str]
) -> Response:
    """Answer ``DELETE …/{name}``."""
    check_store_allowed(archive)
    resource, number = _named(archive, level, variables)
    archive.attachments.delete(resource, number, expected=expected_revision(request))
    return text_response("")


def recompress(
    level: Level,
    archive: Archive,
    _request: Request,
    variables: Mapping[str, str],
    *,
    compressed: bool,
) -> Response:
    """Answer ``POST …/compress`` and ``POST …/uncompress``."""
    check_store_allowed(archive)
    resource, number = _named(archive, level, variables)
    archive.attachments.recompress(resource, number, compressed=compressed)
    return json_response({})


# --- names and entity tags -----------------------------------------------------------------------


def _named(archive: Archive, level: Level, variables: Mapping[str, str]) -> tuple[Resource, int]:
    resource = resource_of_path(archive, level, variables)
    return resource, archive.attachments.types.number_of(variables["name"])


def _etag(entry: AttachmentEntry) -> str:
    """Give the entity tag: the revision and the MD5, or what stands for one that is not known."""
    return revision_etag(entry.revision, entry.md5 or _plain_uuid(entry))


def _plain_uuid(entry: AttachmentEntry) -> str:
    return entry.uuid.replace("-", "")


def _is_held(request: Request, entry: AttachmentEntry) -> bool:
    """Whether who asks has what there is, by whichever of its entity tags."""
    etags = {_etag(entry), revision_etag(entry.revision, _plain_uuid(entry))}
    return any(is_known_revision(request, etag) for etag in etags)


def _not_modified(entry: AttachmentEntry) -> Response:
    headers = (("ETag", _etag(entry)), ("Cache-Control", "private, no-cache"))
    return Response(HTTPStatus.NOT_MODIFIED, headers)
