"""Why nothing is found under a name: nothing ever was, or nothing is any more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dicomulus.dicom.resource import InstanceResource, SeriesResource, canonical_key
from dicomulus.errors import (
    InstanceGoneError,
    InstanceNotFoundError,
    SeriesGoneError,
    SeriesNotFoundError,
    StudyGoneError,
    StudyNotFoundError,
)

if TYPE_CHECKING:
    from dicomulus.errors import NotFoundError
    from dicomulus.ports import Index


NOTED: Final = "gone:"
"""What a canonical key follows in the key under which a deletion is noted; of no object."""


def note_deletion(index: Index, instance: InstanceResource) -> None:
    """Keep in mind that an instance was deleted, as what a key was seen to hold."""
    index.note_objects({_key_of(instance): frozenset({instance})})


def absence(index: Index, resource: str | SeriesResource | InstanceResource) -> NotFoundError:
    """Give the error for a study, series or instance without any row of an instance.

    Rows of series outlive their instances, so that a series and a study are known to be gone. An
    instance is known to be when its whole series is, or when its deletion was noted. Costs reads
    that only failures pay for.
    """
    if isinstance(resource, str):
        if index.query_series(resource):
            return StudyGoneError("the study has no instance any more")
        return StudyNotFoundError("no such study")
    if isinstance(resource, SeriesResource):
        if index.get_series(resource) is not None:
            return SeriesGoneError("the series has no instance any more")
        return SeriesNotFoundError("no such series")
    return _absence_of_instance(index, resource)


def _absence_of_instance(index: Index, instance: InstanceResource) -> NotFoundError:
    series = instance.series
    if index.get_series(series) is None:
        return InstanceNotFoundError("no such instance")
    if not index.query_instances(series, limit=1).items:
        return SeriesGoneError("the series has no instance any more")
    key = _key_of(instance)
    if instance in index.note_objects({key: frozenset()})[key].instances:
        return InstanceGoneError("the instance was deleted")
    return InstanceNotFoundError("no such instance")


def _key_of(instance: InstanceResource) -> str:
    return NOTED + canonical_key(instance)
