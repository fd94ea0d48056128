"""What another archive told of a resource, taken over with it by ``dicomulus import``."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

from dicomulus.api.orthanc.answers import json_response
from dicomulus.api.orthanc.bodies import read_json_object, string_list
from dicomulus.api.orthanc.resources import resource_of_path
from dicomulus.api.route import Route
from dicomulus.api.store import check_store_allowed
from dicomulus.dicom.metadata_names import metadata_names
from dicomulus.dicom.orthanc_id import Level
from dicomulus.errors import InvalidBodyError, MetadataNotFoundError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dicomulus.services.archive import Archive
    from dicomulus.wire.message import Request, Response


def take_over(
    level: Level, archive: Archive, request: Request, variables: Mapping[str, str]
) -> Response:
    """Answer ``POST /{level}/{id}/take-over``: metadata and labels, all in one write.

    What is there already stays, and so does its revision. ``Unknown`` lists the names of metadata
    that have no number here.
    """
    check_store_allowed(archive)
    resource = resource_of_path(archive, level, variables)
    body = read_json_object(request)
    names = metadata_names(archive.settings.metadata_names)
    labels = string_list(body.get("Labels", []), "Labels")
    values: dict[int, str] = {}
    unknown: list[str] = []
    for name, value in _texts(body.get("Metadata", {})).items():
        try:
            values[names.number_of(name)] = value
        except MetadataNotFoundError:
            unknown.append(name)
    archive.user_metadata.take_over(resource, values, labels)
    return json_response({"Unknown": unknown})


def _texts(value: Any) -> Mapping[str, str]:
    if not isinstance(value, dict) or not all(isinstance(each, str) for each in value.values()):
        raise InvalidBodyError("Metadata is an object of texts")
    return value


TAKE_OVER_ROUTES: Final = tuple(
    Route("POST", f"/{level.plural}/{{id}}/take-over", partial(take_over, level), "write")
    for level in Level
)
