"""All patients, studies, series or instances, in pages that are cut by number.

What a page leaves out is skipped by the counts of the rows above it, so that its cost follows
from the number of studies before it at most.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Final, TypeVar

from dicomulus.dicom.orthanc_id import Level, patient_of
from dicomulus.ports import SearchPath
from dicomulus.services.identifier_notes import patient_id_in
from dicomulus.services.identifiers import entries_along, studies_without_id
from dicomulus.services.search_keys import value_of_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from dicomulus.dicom.resource import PatientResource
    from dicomulus.ports import InstanceRow, SeriesRow, StudyRow
    from dicomulus.services.hierarchy import Hierarchy, Known

T = TypeVar("T")

_ROWS_READ: Final = 100
"""Study rows read in one call."""


@dataclass(frozen=True, slots=True)
class Listing:
    """Lists what there is; studies newest first, the rest below them."""

    hierarchy: Hierarchy

    def of(self, level: Level, *, since: int = 0, limit: int | None = None) -> Iterator[Known]:
        """Go through the resources of a level, from one on, each with its Patient ID.

        Patients come by Patient ID, one without it last.
        """
        match level:
            case Level.PATIENT:
                found: Iterator[Known] = islice(self._patients(), since, None)
            case Level.STUDY:
                found = ((row, patient_id_in(row.answer)) for row in self._studies(skip=since))
            case Level.SERIES:
                found = self._series(since)
            case Level.INSTANCE:
                found = self._instances(since)
        return islice(found, limit)

    def _studies(self, *, skip: int = 0) -> Iterator[StudyRow]:
        entries = islice(entries_along(self.hierarchy.index, SearchPath.DATE), skip, None)
        for batch in batches((entry.study_instance_uid for entry in entries), _ROWS_READ):
            uids = dict.fromkeys(batch)
            rows = self.hierarchy.index.get_studies(uids)
            yield from (rows[uid] for uid in uids if uid in rows and rows[uid].instance_count)

    def _series(self, skip: int) -> Iterator[tuple[SeriesRow, str]]:
        for study in self._studies():
            if skip >= study.series_count:
                skip -= study.series_count
                continue
            patient_id = patient_id_in(study.answer)
            rows = self.hierarchy.series_of(study.study_instance_uid)
            yield from ((row, patient_id) for row in rows[skip:])
            skip = 0

    def _instances(self, skip: int) -> Iterator[tuple[InstanceRow, str]]:
        for study in self._studies():
            if skip >= study.instance_count:
                skip -= study.instance_count
                continue
            patient_id = patient_id_in(study.answer)
            for series in self.hierarchy.series_of(study.study_instance_uid):
                if skip >= series.instance_count:
                    skip -= series.instance_count
                    continue
                rows = self.hierarchy.instances_of(series.series)
                yield from ((row, patient_id) for row in rows[skip:])
                skip = 0

    def _patients(self) -> Iterator[tuple[PatientResource, str]]:
        before: PatientResource | None = None
        # What begins with a space precedes all else in the index, so few are kept in mind.
        padded: set[PatientResource] = set()
        for patient_id in self._patient_ids():
            patient = patient_of(patient_id)
            if patient == before or patient in padded or not patient.patient_id:
                continue
            if patient.patient_id != patient_id:
                padded.add(patient)
            before = patient
            yield patient, patient_id
        if next(studies_without_id(self.hierarchy.index), None) is not None:
            yield patient_of(""), ""

    def _patient_ids(self) -> Iterator[str]:
        for entry in entries_along(self.hierarchy.index, SearchPath.PATIENT_ID):
            known = value_of_key(entry.sort_key)
            if known is not None:
                yield known
                continue
            uid = entry.study_instance_uid
            yield from (
                patient_id_in(row.answer)
                for row in self.hierarchy.index.get_studies([uid]).values()
            )


def batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Give items some at a time, in their order."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch
