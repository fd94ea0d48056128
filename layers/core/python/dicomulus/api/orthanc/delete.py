"""Deletion of resources: ``DELETE`` of Orthanc's REST API, one or many at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dicomulus.api.delete import check_delete_allowed
from dicomulus.api.orthanc.answers import json_response, text_response
from dicomulus.api.orthanc.bodies import find_any, parse_level, read_json_object
from dicomulus.api.orthanc.resources import resource_of_path
from dicomulus.dicom.orthanc_id import Level, level_of, orthanc_id, patient_of
from dicomulus.dicom.resource import InstanceResource, PatientResource, SeriesResource
from dicomulus.errors import IdentifierNotFoundError, InvalidBodyError
from dicomulus.services.identifier_notes import patient_id_in
from dicomulus.services.identifiers import find_resource, has_instances, studies_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dicomulus.dicom.resource import Resource
    from dicomulus.services.archive import Archive
    from dicomulus.wire.message import Request, Response


def delete_patient(archive: Archive, _request: Request, variables: Mapping[str, str]) -> Response:
    """Answer ``DELETE /patients/{id}``."""
    return _delete(archive, Level.PATIENT, variables)


def delete_study(archive: Archive, _request: Request, variables: Mapping[str, str]) -> Response:
    """Answer ``DELETE /studies/{id}``."""
    return _delete(archive, Level.STUDY, variables)


def delete_series(archive: Archive, _request: Request, variables: Mapping[str, str]) -> Response:
    """Answer ``DELETE /series/{id}``."""
    return _delete(archive, Level.SERIES, variables)


def delete_instance(archive: Archive, _request: Request, variables: Mapping[str, str]) -> Response:
    """Answer ``DELETE /instances/{id}``."""
    return _delete(archive, Level.INSTANCE, variables)


def delete_many(archive: Archive, request: Request, _: Mapping[str, str]) -> Response:
    """Answer ``POST /tools/bulk-delete``; what is not there is passed over."""
    check_delete_allowed(archive)
    named = read_json_object(request).get("Resources")
    if not isinstance(named, list):
        raise InvalidBodyError('the body has no array "Resources"')
    # Nothing goes unless all that is listed can be understood.
    for identifier, level in [_read(each) for each in named]:
        resource = _found(archive, identifier, level)
        if resource is not None:
            _remove(archive, resource)
    return text_response("")


def _read(named: object) -> tuple[str, Level | None]:
    """Read an item of the list: an identifier, or one with its level."""
    if isinstance(named, str):
        return named, None
    if not isinstance(named, dict):
        raise InvalidBodyError('an item of "Resources" is neither a text nor an object')
    identifier = named.get("ID")
    if not isinstance(identifier, str):
        raise InvalidBodyError('an item of "Resources" has no text "ID"')
    return identifier, parse_level(named.get("Level"))


def _found(archive: Archive, identifier: str, level: Level | None) -> Resource | None:
    if level is None:
        return find_any(archive, identifier)
    try:
        return find_resource(archive.index, level, identifier)
    except IdentifierNotFoundError:
        return None


def _delete(archive: Archive, level: Level, variables: Mapping[str, str]) -> Response:
    check_delete_allowed(archive)
    resource = resource_of_path(archive, level, variables)
    above = _above(archive, resource)
    _remove(archive, resource)
    remaining = next((each for each in above if has_instances(archive.index, each[1])), None)
    return json_response({"RemainingAncestor": None if remaining is None else _told(*remaining)})


def _above(archive: Archive, resource: Resource) -> list[tuple[str, Resource]]:
    """Give the resources above one, the nearest first, each with its identifier."""
    if isinstance(resource, PatientResource):
        return []
    study = resource if isinstance(resource, str) else resource.study_instance_uid
    row = archive.index.get_studies([study]).get(study)
    patient_id = "" if row is None else patient_id_in(row.answer)
    above: list[Resource] = []
    if isinstance(resource, InstanceResource):
        above.append(resource.series)
    if isinstance(resource, (InstanceResource, SeriesResource)):
        above.append(study)
    above.append(patient_of(patient_id))
    return [(orthanc_id(patient_id, each), each) for each in above]


def _remove(archive: Archive, resource: Resource) -> None:
    if isinstance(resource, PatientResource):
        for row in list(studies_of(archive.index, resource)):
            archive.delete.study(row.study_instance_uid)
    elif isinstance(resource, str):
        archive.delete.study(resource)
    elif isinstance(resource, SeriesResource):
        archive.delete.series(resource)
    else:
        archive.delete.instance(resource)


def _told(identifier: str, resource: Resource) -> dict[str, str]:
    level = level_of(resource)
    return {"ID": identifier, "Path": f"/{level.plural}/{identifier}", "Type": level.value}
