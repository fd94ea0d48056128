"""Store instances: an object written under its canonical key, and its row, before any success."""

from __future__ import annotations

from itertools import islice
from typing import IO, TYPE_CHECKING, Final

from dicomulus.dicom.byte_source import RangedSource
from dicomulus.dicom.dataset_json import convert
from dicomulus.dicom.resource import canonical_key
from dicomulus.dicom.store_report import Failed, FailureReason, Stored
from dicomulus.errors import (
    ObjectNotFoundError,
    PreconditionFailedError,
    RejectedObjectError,
    UnavailableError,
)
from dicomulus.services.folds import choose

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dicomulus.dicom.resource import InstanceResource
    from dicomulus.ports import Index, ObjectStore
    from dicomulus.services.ingest import Ingest
    from dicomulus.settings import StorePolicy

_BATCH: Final = 25
"""Objects indexed at a time."""

_COMPARED_BYTES: Final = 1_048_576
"""Bytes compared at a time."""


class Store:
    """Takes instances in."""

    def __init__(
        self, index: Index, storage: ObjectStore, *, ingest: Ingest, policy: StorePolicy
    ) -> None:
        """Write objects to the storage area and have them indexed."""
        self._index = index
        self._storage = storage
        self._ingest = ingest
        self._policy = policy

    def store(
        self, objects: Iterable[IO[bytes]], *, study_instance_uid: str | None = None
    ) -> tuple[Stored | Failed, ...]:
        """Store objects, each given as a file that is read from its start before the next is taken.

        Args:
            objects: The objects' bytes.
            study_instance_uid: Study that all must belong to.

        Returns:
            What became of each, in order. What is stored is durable and indexed.
        """
        outcomes = [self._place(each, study_instance_uid) for each in objects]
        failed = self._index_all([each.instance for each in outcomes if isinstance(each, Stored)])
        return tuple(
            Failed(FailureReason.PROCESSING_FAILURE, each.instance, each.sop_class_uid)
            if isinstance(each, Stored) and each.instance in failed
            else each
            for each in outcomes
        )

    def _place(self, content: IO[bytes], study_instance_uid: str | None) -> Stored | Failed:
        try:
            converted = convert(_source(content))
        except RejectedObjectError:
            return Failed(FailureReason.CANNOT_UNDERSTAND)
        instance, sop_class_uid = converted.instance, converted.sop_class_uid
        if converted.damaged:
            return Failed(FailureReason.CANNOT_UNDERSTAND, instance, sop_class_uid)
        if study_instance_uid not in (None, instance.study_instance_uid):
            return Failed(FailureReason.DOES_NOT_MATCH, instance, sop_class_uid)
        try:
            if self._write(content, instance):
                return Stored(instance, sop_class_uid)
        except UnavailableError:
            return Failed(FailureReason.PROCESSING_FAILURE, instance, sop_class_uid)
        return Failed(FailureReason.DUPLICATE_SOP_INSTANCE, instance, sop_class_uid)

    def _write(self, content: IO[bytes], instance: InstanceResource) -> bool:
        """Write an object by the policy; whether the archive now holds these bytes."""
        key = canonical_key(instance)
        content.seek(0)
        if self._policy == "replace":
            self._storage.put(key, content)
            return True
        rows = self._index.get_instance(instance)
        if rows:
            return self._holds(choose(rows).object_key, content)
        try:
            self._storage.put(key, content, if_none_match=True)
        except PreconditionFailedError:
            return self._holds(key, content)
        return True

    def _holds(self, object_key: str, content: IO[bytes]) -> bool:
        """Whether an object has exactly these bytes."""
        content.seek(0)
        try:
            for chunk in self._storage.stream(object_key):
                if content.read(len(chunk)) != chunk:
                    return False
        except ObjectNotFoundError as exc:
            raise UnavailableError("the object has just been removed") from exc
        return not content.read(1)

    def _index_all(self, instances: Iterable[InstanceResource]) -> set[InstanceResource]:
        """Index what was written; give the instances for which that failed."""
        missing: set[InstanceResource] = set()
        left = iter(dict.fromkeys(instances))
        while batch := tuple(islice(left, _BATCH)):
            keys = {canonical_key(instance): instance for instance in batch}
            report = self._ingest.look_at(keys)
            missing |= {keys[key] for key in (*report.rejected, *report.failed)}
        return missing


def _source(content: IO[bytes]) -> RangedSource:
    size = content.seek(0, 2)

    def fetch(start: int, length: int) -> bytes:
        content.seek(start)
        return content.read(length)

    return RangedSource(fetch, size)
