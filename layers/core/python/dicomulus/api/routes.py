"""The route table: every transaction that the archive has (PS3.18 Table 10.1-1)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dicomulus.api.bulk_data import (
    instance_bulk_data,
    instance_pixel_data,
    series_bulk_data,
    series_pixel_data,
    study_bulk_data,
    study_pixel_data,
)
from dicomulus.api.capabilities import describe_service, retrieve_capabilities
from dicomulus.api.delete import delete_instance, delete_series, delete_study
from dicomulus.api.icon import or_icon
from dicomulus.api.manifest import (
    instance_manifest,
    naming_manifest,
    series_manifest,
    study_manifest,
)
from dicomulus.api.metadata import instance_metadata, series_metadata, study_metadata
from dicomulus.api.render import (
    frame_thumbnail,
    instance_thumbnail,
    rendered_frames,
    rendered_instance,
    rendered_series,
    rendered_study,
    series_thumbnail,
    study_thumbnail,
)
from dicomulus.api.retrieve import (
    retrieve_bulk_data,
    retrieve_frames,
)
from dicomulus.api.route import Route, check_known, check_scope, find_route
from dicomulus.api.search import (
    count_instances,
    count_patients,
    count_series,
    count_studies,
    search_instances,
    search_patients,
    search_series,
    search_studies,
)
from dicomulus.api.single import check_length
from dicomulus.api.store import store_instances
from dicomulus.api.uploads import PATH as UPLOADS_PATH
from dicomulus.api.uploads import plan_uploads
from dicomulus.api.wado_uri import or_by_uri, retrieve_by_uri
from dicomulus.api.zip_files import instance_or_zip, series_or_zip, study_or_zip
from dicomulus.errors import ResponseTooLargeError, RouteNotFoundError
from dicomulus.settings import PAGES
from dicomulus.wire.message import parse_segments

if TYPE_CHECKING:
    from dicomulus.services.archive import Archive
    from dicomulus.settings import Settings
    from dicomulus.wire.message import Request, Response

_STUDY: Final = "/studies/{study}"
_SERIES: Final = _STUDY + "/series/{series}"
_INSTANCE: Final = _SERIES + "/instances/{instance}"


def _routes() -> tuple[Route, ...]:
    return ROUTES


ROUTES: Final = (
    Route("GET", "/studies", search_studies),
    Route("GET", "/series", search_series),
    Route("GET", "/instances", search_instances),
    Route("GET", _STUDY + "/series", search_series),
    Route("GET", _STUDY + "/instances", search_instances),
    Route("GET", _SERIES + "/instances", search_instances),
    # Extensions. A path that is literal comes before one with a variable at that place.
    Route("GET", "/patients", search_patients),
    Route("GET", "/patients/{patient}/studies", search_studies),
    Route("GET", "/patients/count", count_patients),
    Route("GET", "/patients/{patient}/studies/count", count_studies),
    Route("GET", "/studies/count", count_studies),
    Route("GET", "/series/count", count_series),
    Route("GET", "/instances/count", count_instances),
    Route("GET", _STUDY + "/series/count", count_series),
    Route("GET", _STUDY + "/instances/count", count_instances),
    Route("GET", _SERIES + "/instances/count", count_instances),
    Route("GET", _STUDY + "/metadata", study_metadata),
    Route("GET", _SERIES + "/metadata", series_metadata),
    Route("GET", _INSTANCE + "/metadata", instance_metadata),
    Route("GET", _STUDY + "/manifest", study_manifest),
    Route("GET", _SERIES + "/manifest", series_manifest),
    Route("GET", _INSTANCE + "/manifest", instance_manifest),
    Route("GET", _STUDY, study_or_zip, decodes=True),
    Route("GET", _SERIES, series_or_zip, decodes=True),
    Route("GET", _INSTANCE, instance_or_zip, decodes=True),
    Route("GET", _INSTANCE + "/frames/{frames}", retrieve_frames, decodes=True),
    Route("GET", _STUDY + "/bulkdata", study_bulk_data, decodes=True),
    Route("GET", _SERIES + "/bulkdata", series_bulk_data, decodes=True),
    Route("GET", _INSTANCE + "/bulkdata", instance_bulk_data, decodes=True),
    Route("GET", _STUDY + "/pixeldata", study_pixel_data, decodes=True),
    Route("GET", _SERIES + "/pixeldata", series_pixel_data, decodes=True),
    Route("GET", _INSTANCE + "/pixeldata", instance_pixel_data, decodes=True),
    Route("GET", _INSTANCE + "/bulkdata/{path+}", retrieve_bulk_data, decodes=True),
    Route("GET", _STUDY + "/rendered", rendered_study, decodes=True),
    Route("GET", _SERIES + "/rendered", rendered_series, decodes=True),
    Route("GET", _INSTANCE + "/rendered", rendered_instance, decodes=True),
    Route("GET", _INSTANCE + "/frames/{frames}/rendered", rendered_frames, decodes=True),
    Route("GET", _STUDY + "/thumbnail", or_icon(study_thumbnail), decodes=True),
    Route("GET", _SERIES + "/thumbnail", or_icon(series_thumbnail), decodes=True),
    Route("GET", _INSTANCE + "/thumbnail", or_icon(instance_thumbnail), decodes=True),
    Route("GET", _INSTANCE + "/frames/{frames}/thumbnail", frame_thumbnail, decodes=True),
    Route("GET", "/wado", retrieve_by_uri, decodes=True),
    Route("GET", "/", or_by_uri(describe_service(_routes)), decodes=True),
    Route("OPTIONS", "/", retrieve_capabilities(_routes)),
    Route("POST", "/studies", store_instances, "write"),
    Route("POST", _STUDY, store_instances, "write"),
    Route("POST", UPLOADS_PATH, plan_uploads, "write"),
    Route("DELETE", _STUDY, delete_study, "delete"),
    Route("DELETE", _SERIES, delete_series, "delete"),
    Route("DELETE", _INSTANCE, delete_instance, "delete"),
)


def is_of_service(base_path: str, request: Request) -> bool:
    """Tell whether a request is for a path below the service's."""
    base = parse_segments(base_path)
    return request.segments[: len(base)] == base


def is_of_orthanc(settings: Settings, request: Request) -> bool:
    """Tell whether a request that is not for DICOMweb is for Orthanc's REST API.

    At the root that has what is no page's.
    """
    if settings.orthanc_path != "/":
        return bool(settings.orthanc_path) and is_of_service(settings.orthanc_path, request)
    return bool(request.segments) and request.segments[0] not in PAGES


def answer(archive: Archive, request: Request) -> Response:
    """Answer a request by the route tables.

    Raises:
        DicomulusError: Whatever the request or its route runs into.
    """
    settings = archive.settings
    if is_of_service(settings.base_path, request):
        return _answer(archive, request)
    if is_of_orthanc(settings, request):
        return _answer_as_orthanc(archive, request)
    raise RouteNotFoundError(f"the service lies under {settings.base_path}")


def _answer_as_orthanc(archive: Archive, request: Request) -> Response:
    from dicomulus.api.orthanc.routes import ORTHANC_ROUTES  # for who asks, not for each start

    check_known(request)
    segments = request.segments[len(parse_segments(archive.settings.orthanc_path)) :]
    route, variables = find_route(ORTHANC_ROUTES, request.method, segments=segments)
    check_scope(request, route.scope)
    return _within_limit(archive, route.handler(archive, request, variables))


def _answer(archive: Archive, request: Request) -> Response:
    base_path = archive.settings.base_path
    # This is the only way to anything that is stored; what is answered elsewhere is for everybody.
    check_known(request)
    segments = request.segments[len(parse_segments(base_path)) :]
    route, variables = find_route(ROUTES, request.method, segments=segments)
    check_scope(request, route.scope)
    try:
        return _within_limit(archive, route.handler(archive, request, variables))
    except ResponseTooLargeError as error:
        raise naming_manifest(error, request, variables) from error


def _within_limit(archive: Archive, response: Response) -> Response:
    """Give an answer on whose length does not break what carries it.

    Raises:
        ResponseTooLargeError: It is known to be longer.
    """
    try:
        check_length(archive, response.length or 0)
    except ResponseTooLargeError:
        if not isinstance(response.body, bytes):
            getattr(response.body, "close", lambda: None)()
        raise
    return response
