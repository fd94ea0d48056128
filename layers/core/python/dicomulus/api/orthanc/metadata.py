"""Metadata of resources in Orthanc's REST API."""

from __future__ import annotations

from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from dicomulus.api.orthanc.answers import json_response, text_response
from dicomulus.api.orthanc.asked import has_flag
from dicomulus.api.orthanc.resources import resource_of_path
from dicomulus.api.orthanc.revisions import expected_revision, is_known_revision, revision_etag
from dicomulus.api.route import Route
from dicomulus.api.store import check_store_allowed
from dicomulus.dicom.metadata_names import metadata_names
from dicomulus.dicom.orthanc_id import Level
from dicomulus.errors import InvalidBodyError, PayloadTooLargeError
from dicomulus.services.user_metadata import MAX_VALUE_BYTES, md5_of
from dicomulus.wire.message import Response

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dicomulus.services.archive import Archive
    from dicomulus.services.resource_document import MetadataEntry
    from dicomulus.wire.message import Request


def list_metadata(
    level: Level, archive: Archive, request: Request, variables: Mapping[str, str]
) -> Response:
    """Answer ``GET /{level}/{id}/metadata``: names, or names and values with ``expand``."""
    resource = resource_of_path(archive, level, variables)
    entries = archive.user_metadata.entries(resource)
    is_numeric = request.parameter("numeric") is not None
    name_of = str if is_numeric else metadata_names(archive.settings.metadata_names).name_of
    if has_flag(request, "expand"):
        named = {name_of(number): entry.value for number, entry in entries.items()}
        return json_response(dict(sorted(named.items())))
    return json_response([number if is_numeric else name_of(number) for number in entries])


def get_metadata(
    level: Level, archive: Archive, request: Request, variables: Mapping[str, str]
) -> Response:
    """Answer ``GET /{level}/{id}/metadata/{name}``."""
    resource = resource_of_path(archive, level, variables)
    entry = archive.user_metadata.find(resource, _number(archive, variables))
    etag = _etag(entry)
    if is_known_revision(request, etag):
        return Response(HTTPStatus.NOT_MODIFIED, (("ETag", etag),))
    return text_response(entry.value, ("ETag", etag))


def put_metadata(
    level: Level, archive: Archive, request: Request, variables: Mapping[str, str]
) -> Response:
    """Answer ``PUT /{level}/{id}/metadata/{name}``."""
    check_store_allowed(archive)
    resource = resource_of_path(archive, level, variables)
    entry = archive.user_metadata.put(
        resource,
        _number(archive, variables),
        _value(request),
        expected=expected_revision(request),
    )
    return text_response("", ("ETag", _etag(entry)))


def delete_metadata(
    level: Level, archive: Archive, request: Request, variables: Mapping[str, str]
) -> Response:
    """Answer ``DELETE /{level}/{id}/metadata/{name}``."""
    check_store_allowed(archive)
    resource = resource_of_path(archive, level, variables)
    number = _number(archive, variables)
    archive.user_metadata.delete(resource, number, expected=expected_revision(request))
    return text_response("")


def _number(archive: Archive, variables: Mapping[str, str]) -> int:
    return metadata_names(archive.settings.metadata_names).number_of(variables["name"])


def _etag(entry: MetadataEntry) -> str:
    return revision_etag(entry.revision, md5_of(entry.value))


def _value(request: Request) -> str:
    body = request.body.read(MAX_VALUE_BYTES + 1)
    if len(body) > MAX_VALUE_BYTES:
        raise PayloadTooLargeError(
            f"a value of metadata has at most {MAX_VALUE_BYTES} bytes: larger ones are attachments"
        )
    try:
        return body.decode()
    except UnicodeDecodeError as exc:
        raise InvalidBodyError("a value of metadata is text in UTF-8") from exc


METADATA_ROUTES: Final = tuple(
    route
    for level in Level
    for route in (
        Route("GET", f"/{level.plural}/{{id}}/metadata", partial(list_metadata, level)),
        Route("GET", f"/{level.plural}/{{id}}/metadata/{{name}}", partial(get_metadata, level)),
        Route(
            "PUT",
            f"/{level.plural}/{{id}}/metadata/{{name}}",
            partial(put_metadata, level),
            "write",
        ),
        Route(
            "DELETE",
            f"/{level.plural}/{{id}}/metadata/{{name}}",
            partial(delete_metadata, level),
            "write",
        ),
    )
)
