"""Lists of resources, single ones, and those below and above them."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Final

from dicomulus.api.orthanc.answers import array_response, json_response
from dicomulus.api.orthanc.asked import has_flag, requested_tags, tag_format, window
from dicomulus.api.orthanc.expanded import Expanded
from dicomulus.api.orthanc.resources import hierarchy_of, resource_of_path
from dicomulus.dicom.orthanc_id import Level, orthanc_id
from dicomulus.dicom.orthanc_tags import TagFormat
from dicomulus.dicom.resource import PatientResource
from dicomulus.ports import InstanceRow, SeriesRow, StudyRow
from dicomulus.services.hierarchy import resource_of_row
from dicomulus.services.listing import Listing

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from dicomulus.api.route import Handler
    from dicomulus.services.archive import Archive
    from dicomulus.services.hierarchy import Known
    from dicomulus.wire.message import Request, Response


_DESCRIBED_AT_ONCE: Final = 50
"""Resources whose documents are read in one call."""


def expanded(archive: Archive, request: Request) -> Expanded:
    """Give what describes resources as a request asks for it."""
    return Expanded(archive, tag_format(request, TagFormat.HUMAN), requested_tags(request))


def list_of(level: Level) -> Handler:
    """Make what answers ``GET /{level}s``."""

    def answer(archive: Archive, request: Request, _: Mapping[str, str]) -> Response:
        since, limit = window(request)
        described = expanded(archive, request) if has_flag(request, "expand") else None
        found = Listing(hierarchy_of(archive)).of(level, since=since, limit=limit)
        return array_response(_told(described, found))

    return answer


def single(level: Level) -> Handler:
    """Make what answers ``GET /{level}s/{id}``."""

    def answer(archive: Archive, request: Request, variables: Mapping[str, str]) -> Response:
        resource = resource_of_path(archive, level, variables)
        return json_response(expanded(archive, request).of(resource))

    return answer


def children(level: Level, below: Level) -> Handler:
    """Make what answers for all resources of a lower level within one."""

    def answer(archive: Archive, request: Request, variables: Mapping[str, str]) -> Response:
        resource = resource_of_path(archive, level, variables)
        described = expanded(archive, request)
        found = described.hierarchy.within(resource, below)
        is_told = has_flag(request, "expand", default=True)
        return array_response(_told(described if is_told else None, found))

    return answer


def parent(level: Level, above: Level) -> Handler:
    """Make what answers for the resource of a higher level that one lies in."""

    def answer(archive: Archive, request: Request, variables: Mapping[str, str]) -> Response:
        resource = resource_of_path(archive, level, variables)
        described = expanded(archive, request)
        return json_response(described.of(described.hierarchy.above(resource, above)))

    return answer


def _told(described: Expanded | None, found: Iterator[Known]) -> Iterator[object]:
    """Give the identifiers of resources, or all that is known of them."""
    if described is None:
        yield from (orthanc_id(patient_id, resource_of_row(of)) for of, patient_id in found)
        return
    while batch := list(islice(found, _DESCRIBED_AT_ONCE)):
        described.read_documents([resource_of_row(of) for of, _ in batch])
        for of, patient_id in batch:
            yield _described(described, of, patient_id)


def _described(
    described: Expanded, of: PatientResource | StudyRow | SeriesRow | InstanceRow, patient_id: str
) -> object:
    if isinstance(of, PatientResource):
        return described.patient(of)
    if isinstance(of, StudyRow):
        return described.study(of)
    if isinstance(of, SeriesRow):
        return described.series(of, patient_id)
    return described.instance(of, patient_id)
