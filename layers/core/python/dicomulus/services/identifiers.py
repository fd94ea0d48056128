"""Resources by their Orthanc identifiers, and whether they are there."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, Final

from dicomulus.dicom.orthanc_id import Level, is_orthanc_id, level_of, patient_of
from dicomulus.dicom.resource import InstanceResource, PatientResource, SeriesResource
from dicomulus.errors import IdentifierNotFoundError
from dicomulus.ports import SearchPath
from dicomulus.services.identifier_notes import patient_id_in
from dicomulus.services.search_keys import exact_range

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from dicomulus.dicom.resource import Resource
    from dicomulus.ports import Index, StudyEntry, StudyRow

_STUDIES_READ: Final = 100
"""Study rows read in one call."""

_WITHOUT_PIECES: Final[Mapping[str, tuple[str, ...]]] = {"PatientID": ()}
"""Has the date index give the Patient IDs that it carries, and leave nothing out."""


def find_resource(index: Index, level: Level, orthanc_id: str) -> Resource:
    """Give the resource of a level that an identifier is of, and that has instances.

    Raises:
        IdentifierNotFoundError: There is none.
    """
    found = index.find_identifier(orthanc_id) if is_orthanc_id(orthanc_id) else None
    if found is None or level_of(found) != level or not has_instances(index, found):
        raise IdentifierNotFoundError(f"no {level.lower()} has this identifier")
    return found


def has_instances(index: Index, resource: Resource) -> bool:
    """Whether there are instances of a resource.

    Counts of studies and series are as of the last fold, so that none is looked for further.
    """
    if isinstance(resource, InstanceResource):
        return bool(index.get_instance(resource))
    if isinstance(resource, SeriesResource):
        row = index.get_series(resource)
        return row is not None and (bool(row.instance_count) or _holds_rows(index, resource))
    if isinstance(resource, PatientResource):
        return next(studies_of(index, resource), None) is not None
    return _study_has_instances(index, resource)


def _study_has_instances(index: Index, study_instance_uid: str) -> bool:
    row = index.get_studies([study_instance_uid]).get(study_instance_uid)
    if row is not None and row.instance_count:
        return True
    return row is not None and any(
        _holds_rows(index, each.series) for each in index.query_series(study_instance_uid)
    )


def _holds_rows(index: Index, series: SeriesResource) -> bool:
    return bool(index.query_instances(series, limit=1).items)


def studies_of(index: Index, patient: PatientResource) -> Iterator[StudyRow]:
    """Go through the studies of a patient that have instances, newest first."""
    batch: list[str] = []
    for entry in entries_of_patient(index, patient):
        batch.append(entry.study_instance_uid)
        if len(batch) == _STUDIES_READ:
            yield from _read(index, patient, batch)
            batch = []
    yield from _read(index, patient, batch)


def _read(index: Index, patient: PatientResource, uids: list[str]) -> Iterator[StudyRow]:
    rows = index.get_studies(uids) if uids else {}
    for uid in dict.fromkeys(uids):
        row = rows.get(uid)
        if row and row.instance_count and patient_of(patient_id_in(row.answer)) == patient:
            yield row


def entries_of_patient(index: Index, patient: PatientResource) -> Iterator[StudyEntry]:
    """Go through the entries of studies that may be a patient's, those without instances too."""
    # A leading space is part of the value in the index, and as rare as a value of spaces alone.
    if not patient.patient_id:
        return studies_without_id(index)
    span = exact_range(patient.patient_id)
    return entries_along(index, SearchPath.PATIENT_ID, low=span.low, high=span.high)


def studies_without_id(index: Index) -> Iterator[StudyEntry]:
    """Go through the entries of studies without a Patient ID, newest first."""
    entries = entries_along(index, SearchPath.DATE, containing=_WITHOUT_PIECES)
    return (each for each in entries if not each.carried.get("PatientID", "").strip())


def entries_along(
    index: Index,
    path: SearchPath,
    *,
    low: str = "",
    high: str | None = None,
    containing: Mapping[str, tuple[str, ...]] | None = None,
) -> Iterator[StudyEntry]:
    """Go through the entries of an ordered index in its order, of all its shards."""
    shards = [
        _entries_of_shard(index, path, shard, low=low, high=high, containing=containing)
        for shard in range(index.search_shards)
    ]
    return heapq.merge(*shards, key=lambda entry: entry.sort_key, reverse=path is SearchPath.DATE)


def _entries_of_shard(
    index: Index,
    path: SearchPath,
    shard: int,
    *,
    low: str,
    high: str | None,
    containing: Mapping[str, tuple[str, ...]] | None,
) -> Iterator[StudyEntry]:
    after: str | None = None
    while True:
        page = index.scan_studies(
            path, shard, low=low, high=high, after=after, containing=containing
        )
        yield from page.items
        if page.next is None:
            return
        after = page.next
