"""What Orthanc's REST API says of a resource."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from dicomulus.api.orthanc.resources import hierarchy_of
from dicomulus.dicom.json_model import text_of, texts
from dicomulus.dicom.level_json import first_known, parse_json_object
from dicomulus.dicom.orthanc_id import Level, level_of, orthanc_id, patient_of
from dicomulus.dicom.orthanc_tags import (
    MAIN_TAGS,
    TagFormat,
    parse_exactly,
    tags_json,
)
from dicomulus.dicom.place_in_series import (
    IMAGE_INDEX,
    INSTANCE_NUMBER,
    expected_instances,
    index_in_series,
    series_status,
)
from dicomulus.dicom.resource import InstanceResource, PatientResource, SeriesResource
from dicomulus.services.hierarchy import object_uuid
from dicomulus.services.identifier_notes import patient_id_in
from dicomulus.services.system_metadata import format_time

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from dicomulus.dicom.level_json import Element
    from dicomulus.dicom.resource import Resource
    from dicomulus.ports import InstanceRow, SeriesRow, StudyRow
    from dicomulus.services.archive import Archive
    from dicomulus.services.hierarchy import Hierarchy
    from dicomulus.services.resource_document import ResourceDocument

_PATIENT_ID: Final = "00100020"

# What metadata of a resource says in place of what follows from the index, by number.
_OF_DOCUMENT: Final = {"ModifiedFrom": 5, "AnonymizedFrom": 6, "LastUpdate": 7}

# What a request may ask for that no object says.
_OF_STUDY: Final = ("00080056", "00080061", "00080062", "00201206", "00201208")


@dataclass(frozen=True, slots=True)
class Expanded:
    """Describes resources."""

    archive: Archive
    tag_format: TagFormat = TagFormat.HUMAN
    requested: Sequence[str] = ()
    """Tags that are told besides."""
    hierarchy: Hierarchy = field(init=False)
    _documents: dict[Resource, ResourceDocument | None] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        """Make what reads the rows."""
        object.__setattr__(self, "hierarchy", hierarchy_of(self.archive))

    def read_documents(self, resources: Sequence[Resource]) -> None:
        """Read the documents of resources that are described next, in one call."""
        found = self.archive.documents.read_rows(resources)
        self._documents.clear()
        self._documents.update({resource: found.get(resource) for resource in resources})

    def _document_of(self, resource: Resource) -> ResourceDocument | None:
        if resource not in self._documents:
            self.read_documents([resource])
        return self._documents[resource]

    def of(self, resource: Resource) -> dict[str, Any]:
        """Describe a resource.

        Raises:
            IdentifierNotFoundError: It is not there any more.
        """
        if isinstance(resource, PatientResource):
            return self.patient(resource)
        if isinstance(resource, str):
            return self.study(self.hierarchy.study(resource))
        patient_id = self.hierarchy.patient_id_of(resource)
        if isinstance(resource, SeriesResource):
            return self.series(self.hierarchy.series(resource), patient_id)
        return self.instance(self.hierarchy.instance(resource), patient_id)

    def patient(self, patient: PatientResource) -> dict[str, Any]:
        """Describe a patient."""
        studies = list(self.hierarchy.studies_within(patient))
        series = [self.hierarchy.series_of(study.study_instance_uid) for study in studies]
        elements = first_known([_study_elements(rows) for rows in series])
        every = [row for rows in series for row in rows]
        counts = {
            "00201200": len(studies),
            "00201202": len(every),
            "00201204": sum(row.instance_count for row in every),
        }
        return {
            **_state(every),
            **self._head(patient, patient.patient_id),
            "IsProtected": False,
            **self._tags(Level.PATIENT, elements),
            "Studies": [
                orthanc_id(patient_id_in(study.answer), study.study_instance_uid)
                for study in studies
            ],
            **self._requested(patient, {tag: _number(count) for tag, count in counts.items()}),
        }

    def study(self, study: StudyRow) -> dict[str, Any]:
        """Describe a study."""
        uid, patient_id = study.study_instance_uid, patient_id_in(study.answer)
        series = self.hierarchy.series_of(uid)
        elements = _study_elements(series)
        return {
            **_state(series),
            **self._head(uid, patient_id),
            **self._tags(Level.STUDY, elements),
            "ParentPatient": orthanc_id(patient_id, patient_of(patient_id)),
            "PatientMainDicomTags": self._main_tags(Level.PATIENT, elements),
            "Series": [orthanc_id(patient_id, row.series) for row in series],
            **self._requested(uid, _computed_of_study(study)),
        }

    def series(self, row: SeriesRow, patient_id: str) -> dict[str, Any]:
        """Describe a series."""
        instances = self.hierarchy.instances_of(row.series)
        elements = self.elements(instances[0]) if instances else {}
        expected = expected_instances(elements)
        return {
            **_state([row]),
            **self._head(row.series, patient_id),
            **self._tags(Level.SERIES, elements),
            "ExpectedNumberOfInstances": expected,
            "Instances": [orthanc_id(patient_id, each.instance) for each in instances],
            "ParentStudy": orthanc_id(patient_id, row.series.study_instance_uid),
            "Status": series_status((_index_of(each) for each in instances), expected),
            **self._requested(row.series, {"00201209": _number(len(instances))}),
        }

    def instance(self, row: InstanceRow, patient_id: str) -> dict[str, Any]:
        """Describe an instance."""
        elements = self.elements(row)
        index = index_in_series(elements)
        return {
            **self._head(row.instance, patient_id),
            **self._tags(Level.INSTANCE, elements),
            "FileSize": row.object_size,
            "FileUuid": object_uuid(row),
            "IndexInSeries": _whole(index),
            "ParentSeries": orthanc_id(patient_id, row.instance.series),
            **self._requested(row.instance, {}),
        }

    def elements(self, row: InstanceRow) -> dict[str, Element]:
        """Read the complete JSON of an instance, its numbers as they are written."""
        return parse_exactly(self.archive.fragments.text(row))

    def _head(self, resource: Resource, patient_id: str) -> dict[str, Any]:
        document = self._document_of(resource)
        metadata = document.metadata if document else {}
        told = {
            name: metadata[number].value
            for name, number in _OF_DOCUMENT.items()
            if number in metadata
        }
        return {
            "ID": orthanc_id(patient_id, resource),
            "Labels": sorted(document.labels) if document else [],
            "Type": level_of(resource).value,
            **told,
        }

    def _tags(self, level: Level, elements: Mapping[str, Element]) -> dict[str, Any]:
        return {"MainDicomTags": self._main_tags(level, elements)}

    def _main_tags(self, level: Level, elements: Mapping[str, Element]) -> dict[str, Any]:
        if level is Level.PATIENT:
            # A patient without one is known by an empty one.
            elements = {_PATIENT_ID: {"vr": "LO"}, **elements}
        return tags_json(elements, MAIN_TAGS[level], self.tag_format)

    def _requested(self, resource: Resource, computed: Mapping[str, Element]) -> dict[str, Any]:
        if not self.requested:
            return {}
        elements = self.elements(self.hierarchy.first_instance(resource)) | dict(computed)
        if isinstance(resource, (SeriesResource, InstanceResource)):
            uid = resource.study_instance_uid
            elements |= _computed_of_study(self.hierarchy.study(uid))
        return {"RequestedTags": tags_json(elements, self.requested, self.tag_format)}


def _study_elements(series: Iterable[SeriesRow]) -> dict[str, Element]:
    """Merge what the series of a study say of it, as the study's fold does."""
    return first_known([parse_json_object(row.study_attributes) for row in series])


def _computed_of_study(study: StudyRow) -> dict[str, Element]:
    elements = parse_json_object(study.attributes) | parse_json_object(study.answer)
    return {tag: elements[tag] for tag in _OF_STUDY if tag in elements}


def _state(series: Sequence[SeriesRow]) -> dict[str, Any]:
    newest_ms = max((row.modified_ms for row in series), default=0)
    is_stable = bool(series) and all(row.stable_version == row.version for row in series)
    updated = {"LastUpdate": format_time(newest_ms)} if newest_ms else {}
    return {"IsStable": is_stable, **updated}


def _index_of(row: InstanceRow) -> str:
    attributes = parse_json_object(row.attributes)
    found = "".join(texts(attributes, INSTANCE_NUMBER)[:1])
    return found or text_of(parse_json_object(row.further), IMAGE_INDEX)


def _number(count: int) -> Element:
    return {"vr": "IS", "Value": [count]}


def _whole(text: str) -> int | None:
    try:
        return int(text)
    except ValueError:
        return None
