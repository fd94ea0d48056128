"""Why nothing is found under a name: nothing ever was, or nothing is any more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dicomulus.dicom.resource import InstanceResource, SeriesResource
from dicomulus.errors import (
    InstanceNotFoundError,
    SeriesGoneError,
    SeriesNotFoundError,
    StudyGoneError,
    StudyNotFoundError,
)

if TYPE_CHECKING:
    from dicomulus.errors import NotFoundError
    from dicomulus.ports import Index


def absence(index: Index, resource: str | SeriesResource | InstanceResource) -> NotFoundError:
    """Give the error for a study, series or instance without any row of an instance.

    Rows of series outlive their instances, so that a series and a study are known to be gone. An
    instance is known to be when its whole series is. Costs reads that only failures pay for.
    """
    if isinstance(resource, str):
        if index.query_series(resource):
            return StudyGoneError("the study has no instance any more")
        return StudyNotFoundError("no such study")
    if isinstance(resource, SeriesResource):
        if index.get_series(resource) is not None:
            return SeriesGoneError("the series has no instance any more")
        return SeriesNotFoundError("no such series")
    series = resource.series
    if index.get_series(series) is None or index.query_instances(series, limit=1).items:
        return InstanceNotFoundError("no such instance")
    return SeriesGoneError("the series has no instance any more")
