"""How much there is of a resource."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dicomulus.api.orthanc.answers import json_response
from dicomulus.api.orthanc.resources import hierarchy_of, resource_of_path
from dicomulus.dicom.orthanc_id import Level
from dicomulus.dicom.own_keys import document_key
from dicomulus.dicom.resource import InstanceResource
from dicomulus.services.counts_now import counts_now
from dicomulus.services.folds import saved_bytes_of
from dicomulus.services.listing import batches

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dicomulus.api.route import Handler
    from dicomulus.dicom.resource import Resource
    from dicomulus.services.archive import Archive
    from dicomulus.services.hierarchy import Hierarchy
    from dicomulus.wire.message import Request, Response

_DOCUMENTS_READ: Final = 500
"""Documents looked for in one call."""

_MEGABYTE: Final = 1_048_576


def sizes(size_bytes: int, *, prefix: str) -> dict[str, str | int]:
    """Write a size twice, as Orthanc does: as text, and in whole megabytes."""
    return {f"{prefix}Size": str(size_bytes), f"{prefix}SizeMB": size_bytes // _MEGABYTE}


def statistics(archive: Archive, _: Request, __: Mapping[str, str]) -> Response:
    """Answer ``GET /statistics``: the whole archive."""
    counts = counts_now(hierarchy_of(archive))
    total_stored = counts.total_bytes - counts.saved_bytes + counts.attached_stored_bytes
    return json_response(
        {
            "CountInstances": counts.instances,
            "CountPatients": counts.patients,
            "CountSeries": counts.series,
            "CountStudies": counts.studies,
            **sizes(total_stored, prefix="TotalDisk"),
            **sizes(counts.total_bytes + counts.attached_bytes, prefix="TotalUncompressed"),
        }
    )


def resource_statistics(level: Level) -> Handler:
    """Make what answers ``GET /{level}s/{id}/statistics``."""

    def answer(archive: Archive, _: Request, variables: Mapping[str, str]) -> Response:
        resource = resource_of_path(archive, level, variables)
        hierarchy = hierarchy_of(archive)
        counts, size, saved = _counted(hierarchy, resource, level)
        attached, stored = _attached(archive, hierarchy, resource)
        return json_response(
            {
                **counts,
                **sizes(size - saved, prefix="DicomDisk"),
                **sizes(size, prefix="DicomUncompressed"),
                **sizes(size - saved + stored, prefix="Disk"),
                **sizes(size + attached, prefix="Uncompressed"),
            }
        )

    return answer


def _counted(
    hierarchy: Hierarchy, resource: Resource, level: Level
) -> tuple[Mapping[str, int], int, int]:
    """Give counts, bytes, and how many of these are saved by compression."""
    if isinstance(resource, InstanceResource):
        row = hierarchy.instance(resource)
        return {}, row.object_size, saved_bytes_of(row)
    series = list(hierarchy.series_within(resource))
    counts = {"CountInstances": sum(row.instance_count for row in series)}
    if level in (Level.PATIENT, Level.STUDY):
        counts["CountSeries"] = len(series)
    if level is Level.PATIENT:
        counts["CountStudies"] = len({row.series.study_instance_uid for row in series})
    saved = sum(row.saved_bytes for row in series)
    return counts, sum(row.total_size for row in series), saved


def _attached(archive: Archive, hierarchy: Hierarchy, resource: Resource) -> tuple[int, int]:
    """Give the bytes of what is attached to a resource and to all below it, and as they lie."""
    if not archive.index.count_archive().attached_bytes:
        return 0, 0
    attached = stored = 0
    for batch in batches(hierarchy.resources_within(resource), _DOCUMENTS_READ):
        for row in archive.index.get_documents([document_key(each) for each in batch]).values():
            attached += row.attached_bytes
            stored += row.attached_stored_bytes
    return attached, stored
