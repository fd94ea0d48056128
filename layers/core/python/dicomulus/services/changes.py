"""Changes that are recorded one by one, by those who have made or found them."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from dicomulus.dicom.resource import PatientResource, uids_of
from dicomulus.ports import Change, ChangeType
from dicomulus.services.identifier_notes import patient_id_in

if TYPE_CHECKING:
    from collections.abc import Callable

    from dicomulus.ports import ChangedResource, Index

logger = logging.getLogger(__name__)


class Changes:
    """Records changes, each once."""

    def __init__(self, index: Index, *, clock_ms: Callable[[], int]) -> None:
        """Record in the index."""
        self._index = index
        self._clock_ms = clock_ms

    def record_updated(
        self, resource: ChangedResource, kind: ChangeType, *, number: int, version: int
    ) -> bool:
        """Record that an attachment or a metadata was put or deleted.

        Whoever sees its document later says the same again, which records nothing twice.

        Args:
            resource: What it belongs to.
            kind: ``UPDATED_ATTACHMENT`` or ``UPDATED_METADATA``.
            number: Which one.
            version: Its revision; never less than before.

        Returns:
            Whether it was recorded; it was before otherwise, or a later one was.
        """
        return self._record(kind, resource, version=version, number=number)

    def record_damaged(self, resource: ChangedResource, *, version: int) -> bool:
        """Record that an object is damaged.

        Args:
            resource: What the object holds, or is of.
            version: When it was found first, which is kept with the object's generation.

        Returns:
            Whether it was recorded; it was before otherwise, or a later one was.
        """
        return self._record(ChangeType.DAMAGED_OBJECT, resource, version=version)

    def _record(
        self,
        kind: ChangeType,
        resource: ChangedResource,
        *,
        version: int,
        number: int | None = None,
    ) -> bool:
        change = Change(
            type=kind,
            resource=resource,
            version=version,
            number=number,
            patient_id=patient_id_of(self._index, resource),
            date_ms=self._clock_ms(),
        )
        is_news = self._index.record_change(change)
        if is_news:
            logger.info("change recorded", extra={"change": kind.value, "version": version})
        return is_news


def patient_id_of(index: Index, resource: ChangedResource) -> str:
    """Give the Patient ID that a resource's study has now."""
    if isinstance(resource, PatientResource):
        return resource.patient_id
    study_instance_uid = uids_of(resource)[0]
    row = index.get_studies([study_instance_uid]).get(study_instance_uid)
    return "" if row is None else patient_id_in(row.answer)
