"""Patients, studies, series and instances as a tree, out of the rows of the index."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, TypeAlias

from dicomulus.dicom.orthanc_id import Level, patient_of
from dicomulus.dicom.resource import InstanceResource, PatientResource, SeriesResource
from dicomulus.errors import IdentifierNotFoundError
from dicomulus.ports import InstanceRow, SeriesRow, StudyRow
from dicomulus.services.folds import chosen, fold_series, fold_study
from dicomulus.services.identifier_notes import patient_id_in
from dicomulus.services.identifiers import studies_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dicomulus.dicom.main_tags import MainTags
    from dicomulus.dicom.resource import Resource
    from dicomulus.ports import HeldObject, Index
    from dicomulus.services.fragments import FragmentReader

Known: TypeAlias = "tuple[PatientResource | StudyRow | SeriesRow | InstanceRow, str]"
"""A resource as the index has it, and the Patient ID that identifiers of it are made with."""

_NAMESPACE: Final = uuid.UUID("5b2a8c9e-7d1f-4e44-9f0a-3c6d8b1e2a70")


def object_uuid(row: InstanceRow) -> str:
    """Give the UUID of the object of a row, which another object, or another state, does not have."""
    return str(uuid.uuid5(_NAMESPACE, f"{row.object_key}\0{row.object_etag}"))


def arrival(row: HeldObject) -> tuple[int, bool, int, str]:
    """Give what instances are put in order by: when they arrived, then their numbers."""
    number = row.instance_number
    uid = row.instance.sop_instance_uid
    return row.object_modified_ms, number is None, number or 0, uid


def resource_of_row(row: PatientResource | StudyRow | SeriesRow | InstanceRow) -> Resource:
    """Give the resource that a row is of."""
    if isinstance(row, StudyRow):
        return row.study_instance_uid
    if isinstance(row, SeriesRow):
        return row.series
    return row.instance if isinstance(row, InstanceRow) else row


@dataclass(frozen=True, slots=True)
class Hierarchy:
    """Reads what is below and above resources.

    Rows that are not folded yet are folded as they are read, so that what was acknowledged is told.
    """

    index: Index
    fragments: FragmentReader
    tags: MainTags

    def study(self, study_instance_uid: str) -> StudyRow:
        """Read a study.

        Raises:
            IdentifierNotFoundError: It is not there any more.
        """
        row = self.index.get_studies([study_instance_uid]).get(study_instance_uid)
        if row is None:
            raise IdentifierNotFoundError("the study is not there any more")
        if row.search_keys is None:
            series = self.series_of(study_instance_uid)
            return fold_study(study_instance_uid, series, version=row.version)
        return row

    def series(self, series: SeriesResource) -> SeriesRow:
        """Read a series.

        Raises:
            IdentifierNotFoundError: It is not there any more.
        """
        row = self.index.get_series(series)
        if row is None:
            raise IdentifierNotFoundError("the series is not there any more")
        return self._folded(row)

    def series_of(self, study_instance_uid: str) -> list[SeriesRow]:
        """Read the series of a study that have instances."""
        rows = map(self._folded, self.index.query_series(study_instance_uid))
        return [row for row in rows if row.instance_count]

    def instances_of(self, series: SeriesResource) -> list[InstanceRow]:
        """Read the instances of a series in the order in which they arrived, one row each."""
        return sorted(chosen(self._rows_of(series)), key=arrival)

    def instance(self, instance: InstanceResource) -> InstanceRow:
        """Read an instance.

        Raises:
            IdentifierNotFoundError: It is not there any more.
        """
        rows = chosen(self.index.get_instance(instance))
        if not rows:
            raise IdentifierNotFoundError("the instance is not there any more")
        return rows[0]

    def patient_id_of(self, resource: Resource) -> str:
        """Give the Patient ID that identifiers of a resource are made with."""
        if isinstance(resource, PatientResource):
            return resource.patient_id
        uid = resource if isinstance(resource, str) else resource.study_instance_uid
        return patient_id_in(self.study(uid).answer)

    def patient_of(self, resource: Resource) -> PatientResource:
        """Give the patient that a resource is of."""
        return patient_of(self.patient_id_of(resource))

    def above(self, resource: Resource, level: Level) -> Resource:
        """Give what a resource lies in at a level over its own."""
        if level is Level.PATIENT:
            return self.patient_of(resource)
        if level is Level.SERIES and isinstance(resource, InstanceResource):
            return resource.series
        if isinstance(resource, (SeriesResource, InstanceResource)):
            return resource.study_instance_uid
        return resource

    def studies_within(self, resource: Resource) -> Iterator[StudyRow]:
        """Go through the studies of a patient, or give the one that a resource is or lies in."""
        if isinstance(resource, PatientResource):
            yield from studies_of(self.index, resource)
        else:
            yield self.study(resource if isinstance(resource, str) else resource.study_instance_uid)

    def series_within(self, resource: Resource) -> Iterator[SeriesRow]:
        """Go through the series of a resource, or give the one that it is or lies in."""
        if isinstance(resource, (PatientResource, str)):
            for study in self.studies_within(resource):
                yield from self.series_of(study.study_instance_uid)
        else:
            yield self.series(resource if isinstance(resource, SeriesResource) else resource.series)

    def instances_within(self, resource: Resource) -> Iterator[InstanceRow]:
        """Go through the instances of a resource, one row each."""
        if isinstance(resource, InstanceResource):
            yield self.instance(resource)
            return
        for row in self.series_within(resource):
            yield from self.instances_of(row.series)

    def resources_within(self, resource: Resource) -> Iterator[Resource]:
        """Go through a resource and all resources below it."""
        yield resource
        if isinstance(resource, InstanceResource):
            return
        if isinstance(resource, PatientResource):
            yield from (study.study_instance_uid for study in self.studies_within(resource))
        for row in self.series_within(resource):
            if row.series != resource:
                yield row.series
            yield from self._instances_named(row.series)

    def _instances_named(self, series: SeriesResource) -> Iterator[InstanceResource]:
        after: str | None = None
        while True:
            page = self.index.query_stored_objects(series, after)
            yield from dict.fromkeys(row.instance for row in page.items)
            if page.next is None:
                return
            after = page.next

    def within(self, resource: Resource, level: Level) -> Iterator[Known]:
        """Go through what is of a lower level within a resource, with the Patient ID of each."""
        for study in self.studies_within(resource):
            patient_id = patient_id_in(study.answer)
            inner = study.study_instance_uid if isinstance(resource, PatientResource) else resource
            if level is Level.STUDY:
                yield study, patient_id
            elif level is Level.SERIES:
                yield from ((row, patient_id) for row in self.series_within(inner))
            else:
                yield from ((row, patient_id) for row in self.instances_within(inner))

    def instances_with_patient_id(self, resource: Resource) -> Iterator[tuple[InstanceRow, str]]:
        """Go through the instances of a resource, each with the Patient ID of its study."""
        for row, patient_id in self.within(resource, Level.INSTANCE):
            if isinstance(row, InstanceRow):
                yield row, patient_id

    def first_instance(self, resource: Resource) -> InstanceRow:
        """Give the instance of a resource that is told first.

        Raises:
            IdentifierNotFoundError: It has none any more.
        """
        for row in self.instances_within(resource):
            return row
        raise IdentifierNotFoundError("the resource has no instance any more")

    def _folded(self, row: SeriesRow) -> SeriesRow:
        if row.folded_version == row.version:
            return row
        rows = chosen(self._rows_of(row.series))
        folded = fold_series(row, rows, text_of=self.fragments.text, tags=self.tags)
        return replace(folded, folded_version=row.folded_version)

    def _rows_of(self, series: SeriesResource) -> Iterator[InstanceRow]:
        after: str | None = None
        while True:
            page = self.index.query_instances(series, after)
            yield from page.items
            if page.next is None:
                return
            after = page.next
