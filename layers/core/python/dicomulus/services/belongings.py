"""What belongs to resources beside their DICOM objects, and goes with them when they are deleted.

Documents and contents of attachments go after the objects, so that an instance which could not be
deleted keeps its own. What is to go is noted in the storage area before: whoever finds the note
later finishes what was interrupted. A resource whose objects merely vanished is in no note, and
keeps what belongs to it.
"""

from __future__ import annotations

import json
import logging
from contextlib import contextmanager, suppress
from itertools import chain
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

from dicomulus.dicom.orthanc_id import Level, level_of, patient_of
from dicomulus.dicom.own_keys import (
    DELETION_PREFIX,
    document_key,
    names_of,
    resource_of_level,
)
from dicomulus.dicom.resource import InstanceResource, PatientResource, SeriesResource
from dicomulus.errors import (
    ConfigurationError,
    DicomulusError,
    ObjectNotFoundError,
    StoreForbiddenError,
)
from dicomulus.services.identifier_notes import patient_id_in
from dicomulus.services.identifiers import entries_of_patient

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator

    from dicomulus.dicom.resource import Resource
    from dicomulus.ports import Index, ObjectInfo, ObjectStore
    from dicomulus.services.attachments import Attachments
    from dicomulus.services.documents import Documents

logger = logging.getLogger(__name__)

UNDER_WAY_MS: Final = 900_000
"""Age below which a note is of a deletion that may still be at it."""

NOTE_LIVES_MS: Final = 86_400_000
"""Age over which a note is given up: what it names and is still there is there to stay."""

MAX_NOTE_BYTES: Final = 1_048_576
"""Bytes of a note: of 64 instances and what is above them, with the longest names."""


class Belongings:
    """Takes documents and contents away with the resources that they belong to."""

    def __init__(
        self,
        index: Index,
        storage: ObjectStore,
        *,
        documents: Documents,
        attachments: Attachments,
        clock_ms: Callable[[], int],
    ) -> None:
        """Look in the index for what there is, and remove it from the storage area."""
        self._index = index
        self._storage = storage
        self._documents = documents
        self._attachments = attachments
        self._clock_ms = clock_ms

    def above(self, study_instance_uid: str) -> tuple[Resource, ...]:
        """Give a study and its patient, which are gone when their last instance is."""
        row = self._index.get_studies([study_instance_uid]).get(study_instance_uid)
        if row is None:
            return (study_instance_uid,)
        return study_instance_uid, patient_of(patient_id_in(row.answer))

    @contextmanager
    def going_with(self, resources: Iterable[Resource]) -> Iterator[None]:
        """Have what belongs to resources go, as far as they themselves go within this."""
        going = tuple(resources)
        held = self._with_documents(going)
        key = self._note(held) if held else None
        try:
            yield
        except DicomulusError:
            # The note stays: objects may be gone whose rows are not yet.
            with suppress(DicomulusError):
                self._remove_gone(held)
            raise
        # What somebody has written since then was written before he could see them gone.
        self._remove_gone(dict.fromkeys((*held, *self._with_documents(going))))
        if key is not None:
            self._storage.delete(key)

    def finish(self) -> int:
        """Finish deletions that were interrupted; give how many resources that was about."""
        return sum(self.finish_noted(info) for info in list(self._storage.list(DELETION_PREFIX)))

    def finish_noted(self, info: ObjectInfo) -> int:
        """Finish what one note says, unless somebody may still be at it."""
        age_ms = self._clock_ms() - info.modified_ms
        if age_ms < UNDER_WAY_MS:
            return 0
        resources = self._noted(info)
        removed = self._remove_gone(resources)
        if age_ms > NOTE_LIVES_MS or removed == len(resources):
            self._storage.delete(info.key, if_match=info.etag)
        logger.info("deletion finished", extra={"resources": removed})
        return removed

    def is_there(self, resource: Resource) -> bool:
        """Whether there is an instance of a resource, by the rows themselves."""
        if isinstance(resource, InstanceResource):
            return bool(self._index.get_instance(resource))
        if isinstance(resource, SeriesResource):
            return bool(self._index.query_instances(resource, limit=1).items)
        if isinstance(resource, PatientResource):
            return any(self.is_there(study) for study in self._studies_of(resource))
        known = self._index.query_series(resource)
        return any(self.is_there(row.series) for row in known)

    def _studies_of(self, patient: PatientResource) -> Iterator[str]:
        for entry in entries_of_patient(self._index, patient):
            uid = entry.study_instance_uid
            row = self._index.get_studies([uid]).get(uid)
            if row is not None and patient_of(patient_id_in(row.answer)) == patient:
                yield uid

    def _with_documents(self, resources: Iterable[Resource]) -> list[Resource]:
        keys = {document_key(resource): resource for resource in resources}
        rows = self._index.get_documents(keys)
        return [resource for key, resource in keys.items() if key in rows]

    # notes

    def _note(self, resources: Collection[Resource]) -> str | None:
        key = f"{DELETION_PREFIX}{uuid4()}.json"
        named = [[level_of(each).value, *names_of(each)] for each in resources]
        try:
            self._storage.put(key, json.dumps(named).encode(), if_none_match=True)
        except (ConfigurationError, StoreForbiddenError) as exc:
            # Who may delete need not be allowed to write; then nobody goes on where he ends.
            logger.warning("deletion not noted", extra={"reason": str(exc)})
            return None
        return key

    def _noted(self, info: ObjectInfo) -> list[Resource]:
        """Read a note; of one that is damaged nothing is known, and nothing goes by it."""
        try:
            text = self._storage.get(info.key, length=MAX_NOTE_BYTES, if_match=info.etag).data
            return [_resource(each) for each in json.loads(text)]
        except (ObjectNotFoundError, ValueError, TypeError, RecursionError):
            return []

    def _remove_gone(self, resources: Iterable[Resource]) -> int:
        """Remove what belongs to resources that are gone, and give how many these are."""
        removed = 0
        for resource in resources:
            try:
                if self.is_there(resource):
                    continue
                self._attachments.forget_contents(self._documents.remove(resource))
            except ConfigurationError as exc:
                # What may not be looked at or removed keeps nothing else.
                logger.warning("document left", extra={"reason": str(exc)})
                continue
            removed += 1
        return removed


def _resource(named: Any) -> Resource:
    level, *names = named
    if not all(isinstance(each, str) for each in chain([level], names)):
        raise TypeError("no texts")
    return resource_of_level(Level(level), names)
