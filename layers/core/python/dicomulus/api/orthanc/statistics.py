"""How much there is of a resource."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dicomulus.api.orthanc.answers import json_response
from dicomulus.api.orthanc.resources import hierarchy_of, resource_of_path
from dicomulus.dicom.orthanc_id import Level
from dicomulus.dicom.resource import InstanceResource

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dicomulus.api.route import Handler
    from dicomulus.dicom.resource import Resource
    from dicomulus.services.archive import Archive
    from dicomulus.services.hierarchy import Hierarchy
    from dicomulus.wire.message import Request, Response

_MEGABYTE: Final = 1_048_576


def sizes(size_bytes: int, *, prefix: str) -> dict[str, str | int]:
    """Write a size twice, as Orthanc does: as text, and in whole megabytes."""
    return {f"{prefix}Size": str(size_bytes), f"{prefix}SizeMB": size_bytes // _MEGABYTE}


def statistics(archive: Archive, _: Request, __: Mapping[str, str]) -> Response:
    """Answer ``GET /statistics``: the whole archive, as of the last fold of each study."""
    counts = archive.index.count_archive()
    return json_response(
        {
            "CountInstances": counts.instances,
            "CountPatients": counts.patients,
            "CountSeries": counts.series,
            "CountStudies": counts.studies,
            **sizes(counts.total_bytes, prefix="TotalDisk"),
            **sizes(counts.total_bytes, prefix="TotalUncompressed"),
        }
    )


def resource_statistics(level: Level) -> Handler:
    """Make what answers ``GET /{level}s/{id}/statistics``."""

    def answer(archive: Archive, _: Request, variables: Mapping[str, str]) -> Response:
        resource = resource_of_path(archive, level, variables)
        counts, size = _counted(hierarchy_of(archive), resource, level)
        prefixes = ("DicomDisk", "DicomUncompressed", "Disk", "Uncompressed")
        told: dict[str, object] = dict(counts)
        for prefix in prefixes:
            told |= sizes(size, prefix=prefix)
        return json_response(dict(sorted(told.items())))

    return answer


def _counted(
    hierarchy: Hierarchy, resource: Resource, level: Level
) -> tuple[Mapping[str, int], int]:
    if isinstance(resource, InstanceResource):
        return {}, hierarchy.instance(resource).object_size
    series = list(hierarchy.series_within(resource))
    counts = {"CountInstances": sum(row.instance_count for row in series)}
    if level in (Level.PATIENT, Level.STUDY):
        counts["CountSeries"] = len(series)
    if level is Level.PATIENT:
        counts["CountStudies"] = len({row.series.study_instance_uid for row in series})
    return counts, sum(row.total_size for row in series)
