"""The Search transactions (PS3.18 §10.6)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dicomulus.api.compression import text_response
from dicomulus.dicom.query import SERIES_INSTANCES, STUDIES, STUDY_SERIES, parse_search
from dicomulus.dicom.resource import SeriesResource
from dicomulus.metadata.base_url import resolve
from dicomulus.wire.media_types import DICOM_JSON, JSON, Offer, accept_of, select

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from dicomulus.dicom.query import Query, SearchResource
    from dicomulus.services.archive import Archive
    from dicomulus.services.search import ResultPage
    from dicomulus.wire.message import Request, Response

_OFFERS: Final = (Offer(DICOM_JSON), Offer(JSON))


def search_studies(archive: Archive, request: Request, variables: Mapping[str, str]) -> Response:
    """Answer ``GET /studies``."""
    del variables
    return _answer(request, STUDIES, find=archive.search.studies)


def search_series(archive: Archive, request: Request, variables: Mapping[str, str]) -> Response:
    """Answer ``GET /studies/{study}/series``."""
    study_instance_uid = variables["study"]
    return _answer(
        request,
        STUDY_SERIES,
        find=lambda query: archive.search.series(study_instance_uid, query),
    )


def search_instances(archive: Archive, request: Request, variables: Mapping[str, str]) -> Response:
    """Answer ``GET /studies/{study}/series/{series}/instances``."""
    series = SeriesResource(variables["study"], variables["series"])
    return _answer(
        request,
        SERIES_INSTANCES,
        find=lambda query: archive.search.instances(series, query),
    )


def _answer(
    request: Request, resource: SearchResource, *, find: Callable[[Query], ResultPage]
) -> Response:
    media_type = select(accept_of(request), _OFFERS).media_type
    page = find(parse_search(request.query, resource))
    text = resolve(b"[" + b",".join(page.texts) + b"]", request.base_url)
    return text_response(request, text, media_type=media_type, headers=_warnings(request, page))


def _warnings(request: Request, page: ResultPage) -> tuple[tuple[str, str], ...]:
    """Say that the page is not all (PS3.18 §8.3.4.4)."""
    if page.remaining == 0:
        return ()
    count = "" if page.remaining is None else f"{page.remaining} "
    text = f"There are {count}additional results that can be requested"
    return (("Warning", f"299 {request.base_url}: {text}"),)
