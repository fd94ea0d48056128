"""Store instances: an object written under its canonical key, and its row, before any success."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import IO, TYPE_CHECKING, Final

from dicomulus.dicom.byte_source import RangedSource
from dicomulus.dicom.dataset_json import convert
from dicomulus.dicom.resource import canonical_key
from dicomulus.dicom.store_report import Failed, FailureReason, Stored
from dicomulus.errors import (
    InvalidResourceError,
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

_ATTEMPTS: Final = 3
"""Times that an object is compared with one that goes away meanwhile."""


@dataclass(frozen=True, slots=True)
class _Placed:
    """An instance whose bytes an object holds; its row is still to be seen."""

    instance: InstanceResource
    sop_class_uid: str
    object_key: str


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
        outcomes: list[_Placed | Failed] = []
        indexed: set[tuple[str, InstanceResource]] = set()
        try:
            outcomes.extend(self._place(each, study_instance_uid) for each in objects)
        finally:
            # A body that breaks off leaves objects behind, and they are the archive's now.
            indexed |= self._index_all(each for each in outcomes if isinstance(each, _Placed))
        return tuple(
            _outcome(each, indexed) if isinstance(each, _Placed) else each for each in outcomes
        )

    def _place(self, content: IO[bytes], study_instance_uid: str | None) -> _Placed | Failed:
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
            object_key = self._write(content, instance)
        except UnavailableError:
            return Failed(FailureReason.PROCESSING_FAILURE, instance, sop_class_uid)
        except InvalidResourceError:
            # UIDs that make no key: one of a thousand characters, say.
            return Failed(FailureReason.CANNOT_UNDERSTAND, instance, sop_class_uid)
        if object_key is None:
            return Failed(FailureReason.DUPLICATE_SOP_INSTANCE, instance, sop_class_uid)
        return _Placed(instance, sop_class_uid, object_key)

    def _write(self, content: IO[bytes], instance: InstanceResource) -> str | None:
        """Write an object by the policy; give the key that holds its bytes now, if one does."""
        key = canonical_key(instance)
        if self._policy == "replace":
            content.seek(0)
            self._storage.put(key, content)
            return key
        for _ in range(_ATTEMPTS):
            rows = self._index.get_instance(instance)
            if not rows and self._create(key, content):
                return key
            held = choose(rows).object_key if rows else key
            try:
                return held if self._holds(held, content) else None
            except ObjectNotFoundError:
                # Gone, and its row with it as soon as somebody looks.
                self._ingest.look_at([held])
        raise UnavailableError("the instance comes and goes")

    def _create(self, object_key: str, content: IO[bytes]) -> bool:
        content.seek(0)
        try:
            self._storage.put(object_key, content, if_none_match=True)
        except PreconditionFailedError:
            return False
        return True

    def _holds(self, object_key: str, content: IO[bytes]) -> bool:
        """Whether an object has exactly these bytes."""
        content.seek(0)
        for chunk in self._storage.stream(object_key):
            if content.read(len(chunk)) != chunk:
                return False
        return not content.read(1)

    def _index_all(self, placed: Iterable[_Placed]) -> set[tuple[str, InstanceResource]]:
        """Index what was written; give the keys that have rows now, and their instances."""
        indexed: set[tuple[str, InstanceResource]] = set()
        left = iter(dict.fromkeys(each.object_key for each in placed))
        while batch := tuple(islice(left, _BATCH)):
            report = self._ingest.look_at(batch)
            indexed |= {(row.object_key, row.instance) for row in report.indexed}
        return indexed


def _outcome(placed: _Placed, indexed: set[tuple[str, InstanceResource]]) -> Stored | Failed:
    if (placed.object_key, placed.instance) in indexed:
        return Stored(placed.instance, placed.sop_class_uid)
    return Failed(FailureReason.PROCESSING_FAILURE, placed.instance, placed.sop_class_uid)


def _source(content: IO[bytes]) -> RangedSource:
    size = content.seek(0, 2)

    def fetch(start: int, length: int) -> bytes:
        content.seek(start)
        return content.read(length)

    return RangedSource(fetch, size)
