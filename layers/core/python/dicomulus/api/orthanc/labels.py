"""Labels of resources in Orthanc's REST API."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from dicomulus.api.orthanc.answers import json_response, text_response
from dicomulus.api.orthanc.resources import resource_of_path
from dicomulus.api.route import Route
from dicomulus.api.store import check_store_allowed
from dicomulus.dicom.orthanc_id import Level
from dicomulus.errors import LabelNotFoundError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dicomulus.services.archive import Archive
    from dicomulus.wire.message import Request, Response


def list_labels(
    level: Level, archive: Archive, _: Request, variables: Mapping[str, str]
) -> Response:
    """Answer ``GET /{level}/{id}/labels``."""
    resource = resource_of_path(archive, level, variables)
    return json_response(archive.user_metadata.labels(resource))


def get_label(level: Level, archive: Archive, _: Request, variables: Mapping[str, str]) -> Response:
    """Answer ``GET /{level}/{id}/labels/{label}``: nothing, if it is there."""
    resource = resource_of_path(archive, level, variables)
    if variables["label"] not in archive.user_metadata.labels(resource):
        raise LabelNotFoundError("the resource does not have this label")
    return text_response("")


def put_label(level: Level, archive: Archive, _: Request, variables: Mapping[str, str]) -> Response:
    """Answer ``PUT /{level}/{id}/labels/{label}``."""
    check_store_allowed(archive)
    archive.user_metadata.put_label(resource_of_path(archive, level, variables), variables["label"])
    return text_response("")


def delete_label(
    level: Level, archive: Archive, _: Request, variables: Mapping[str, str]
) -> Response:
    """Answer ``DELETE /{level}/{id}/labels/{label}``."""
    check_store_allowed(archive)
    archive.user_metadata.delete_label(
        resource_of_path(archive, level, variables), variables["label"]
    )
    return text_response("")


def used_labels(archive: Archive, _: Request, __: Mapping[str, str]) -> Response:
    """Answer ``GET /tools/labels``: all that any resource has."""
    return json_response(list(archive.index.used_labels()))


LABEL_ROUTES: Final = (
    Route("GET", "/tools/labels", used_labels),
    *(
        route
        for level in Level
        for route in (
            Route("GET", f"/{level.plural}/{{id}}/labels", partial(list_labels, level)),
            Route("GET", f"/{level.plural}/{{id}}/labels/{{label}}", partial(get_label, level)),
            Route(
                "PUT",
                f"/{level.plural}/{{id}}/labels/{{label}}",
                partial(put_label, level),
                scope="write",
            ),
            Route(
                "DELETE",
                f"/{level.plural}/{{id}}/labels/{{label}}",
                partial(delete_label, level),
                scope="write",
            ),
        )
    ),
)
