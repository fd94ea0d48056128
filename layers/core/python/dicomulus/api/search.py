"""The Search transactions (PS3.18 §10.6)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, urlencode

from dicomulus.api.compression import text_response
from dicomulus.api.xml_parts import TEXT_OFFERS, xml_response
from dicomulus.dicom import query as resources
from dicomulus.dicom.query import parse_search
from dicomulus.metadata.base_url import resolve
from dicomulus.services.search import Within
from dicomulus.wire.media_types import DICOM_JSON, DICOM_XML, JSON, Offer, accept_of, select

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dicomulus.dicom.query import Query, SearchResource
    from dicomulus.services.archive import Archive
    from dicomulus.services.search import ResultPage
    from dicomulus.wire.message import Request, Response

EXPLAIN_HEADER: Final = "Dicomulus-Explain"
"""A request with it, whatever its value, is answered with the plan and the cost of its search."""

MAX_WARNING_LENGTH: Final = 1_000
"""Characters of what a warning says of parameters, one sentence after the other."""

MAX_LINK_LENGTH: Final = 8_000
"""Characters of a link that the server itself takes, with the rest of the request's line."""

PLAN_HEADER: Final = "Dicomulus-Plan"
COST_HEADER: Final = "Dicomulus-Cost"

# Clients of DICOMweb accept DICOM JSON of everything.
_COUNT_OFFERS: Final = (Offer(JSON), Offer(DICOM_JSON))


def search_patients(archive: Archive, request: Request, variables: Mapping[str, str]) -> Response:
    """Answer ``GET /patients``."""
    return _search(archive, request, resources.PATIENTS, variables)


def search_studies(archive: Archive, request: Request, variables: Mapping[str, str]) -> Response:
    """Answer ``GET /studies`` and ``GET /patients/{patient}/studies``."""
    return _search(archive, request, resources.STUDIES, variables)


def search_series(archive: Archive, request: Request, variables: Mapping[str, str]) -> Response:
    """Answer ``GET /series`` and ``GET /studies/{study}/series``."""
    return _search(archive, request, _series_resource(variables), variables)


def search_instances(archive: Archive, request: Request, variables: Mapping[str, str]) -> Response:
    """Answer ``GET /instances`` and those of a study or of a series."""
    return _search(archive, request, _instance_resource(variables), variables)


def count_patients(archive: Archive, request: Request, variables: Mapping[str, str]) -> Response:
    """Answer ``GET /patients/count``."""
    return _count(archive, request, resources.PATIENTS, variables)


def count_studies(archive: Archive, request: Request, variables: Mapping[str, str]) -> Response:
    """Answer ``count`` below what ``search_studies`` answers."""
    return _count(archive, request, resources.STUDIES, variables)


def count_series(archive: Archive, request: Request, variables: Mapping[str, str]) -> Response:
    """Answer ``count`` below what ``search_series`` answers."""
    return _count(archive, request, _series_resource(variables), variables)


def count_instances(archive: Archive, request: Request, variables: Mapping[str, str]) -> Response:
    """Answer ``count`` below what ``search_instances`` answers."""
    return _count(archive, request, _instance_resource(variables), variables)


def _series_resource(variables: Mapping[str, str]) -> SearchResource:
    return resources.STUDY_SERIES if "study" in variables else resources.ALL_SERIES


def _instance_resource(variables: Mapping[str, str]) -> SearchResource:
    if "series" in variables:
        return resources.SERIES_INSTANCES
    return resources.STUDY_INSTANCES if "study" in variables else resources.ALL_INSTANCES


def _within(variables: Mapping[str, str]) -> Within:
    return Within(
        patient_id=variables.get("patient", ""),
        study_instance_uid=variables.get("study", ""),
        series_instance_uid=variables.get("series", ""),
    )


def _search(
    archive: Archive, request: Request, resource: SearchResource, variables: Mapping[str, str]
) -> Response:
    media_type = select(accept_of(request), TEXT_OFFERS).media_type
    query = _query(archive, request, resource)
    page = archive.search.find(query, _within(variables))
    headers = (
        *_warnings(request, query, page),
        *_links(archive, request, page),
        *_totals(page),
        *_explained(request, page),
    )
    if media_type == DICOM_XML:
        objects = [resolve(text, request.base_url) for text in page.texts]
        return xml_response(request, objects, headers=headers)
    text = resolve(b"[" + b",".join(page.texts) + b"]", request.base_url)
    return text_response(request, text, media_type=media_type, headers=headers)


def _count(
    archive: Archive, request: Request, resource: SearchResource, variables: Mapping[str, str]
) -> Response:
    media_type = select(accept_of(request), _COUNT_OFFERS).media_type
    query = _query(archive, request, resource)
    count = archive.search.count(query, _within(variables))
    text = json.dumps({"count": count}).encode()
    return text_response(request, text, media_type=media_type)


def _query(archive: Archive, request: Request, resource: SearchResource) -> Query:
    return parse_search(
        request.query,
        resource,
        tags=archive.tags,
        ignores_unknown=archive.settings.unknown_parameters == "ignore",
    )


# --- headers --------------------------------------------------------------------------------------


def _warnings(request: Request, query: Query, page: ResultPage) -> tuple[tuple[str, str], ...]:
    """Say what is not as asked for, and that the page is not all (PS3.18 §8.3.4.4)."""
    sentences = [_cut("; ".join(query.notes))] if query.notes else []
    if page.remaining != 0:
        count = "" if page.remaining is None else f"{page.remaining} "
        sentences.append(f"There are {count}additional results that can be requested")
    return tuple(("Warning", f"299 {request.base_url}: {each}") for each in sentences)


def _cut(text: str) -> str:
    """Cut a text that a client's reader of headers might not take."""
    return text if len(text) <= MAX_WARNING_LENGTH else text[: MAX_WARNING_LENGTH - 3] + "..."


def _links(archive: Archive, request: Request, page: ResultPage) -> tuple[tuple[str, str], ...]:
    """Name the next page (RFC 8288); its token takes the place of an offset."""
    if not page.next:
        return ()
    kept = [(name, value) for name, value in request.query if name not in ("offset", "page")]
    path = request.path.removeprefix(archive.settings.base_path)
    # A space is %20: not everything on the way takes a plus sign for one.
    asked = urlencode([*kept, ("page", page.next)], safe=",*:", quote_via=quote)
    target = f"{request.base_url}{path}?{asked}"
    # A list of very many UIDs leaves no room for where to go on; the warning is told all the same.
    return () if len(target) > MAX_LINK_LENGTH else (("Link", f'<{target}>; rel="next"'),)


def _totals(page: ResultPage) -> tuple[tuple[str, str], ...]:
    return () if page.total is None else (("X-Total-Count", str(page.total)),)


def _explained(request: Request, page: ResultPage) -> tuple[tuple[str, str], ...]:
    if EXPLAIN_HEADER not in request.headers:
        return ()
    return ((PLAN_HEADER, page.plan), (COST_HEADER, str(page.cost)))
