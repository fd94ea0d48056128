"""Store instances: an object written under its canonical key, and its row, before any success."""

from __future__ import annotations

import hashlib
import logging
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import IO, TYPE_CHECKING, Final

from dicomulus.dicom.byte_source import RangedSource
from dicomulus.dicom.dataset_json import MEDIA_STORAGE_DIRECTORY, convert, parse_members
from dicomulus.dicom.matching import joined_text
from dicomulus.dicom.part10 import parse_file_meta
from dicomulus.dicom.resource import InstanceResource, other_form
from dicomulus.dicom.store_report import Failed, FailureReason, Stored, WarningReason
from dicomulus.errors import (
    InvalidResourceError,
    ObjectNotFoundError,
    PreconditionFailedError,
    RejectedObjectError,
    StorageFullError,
    UnavailableError,
    spooling,
)
from dicomulus.services.content import CHUNK_BYTES
from dicomulus.services.folds import choose
from dicomulus.services.ingest import Written

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from dicomulus.dicom.dataset_json import ConvertedInstance
    from dicomulus.ports import Index, ObjectInfo, ObjectStore, RunAll
    from dicomulus.services.at_rest import AtRest
    from dicomulus.services.ingest import Ingest
    from dicomulus.settings import StorePolicy

    Offered = IO[bytes] | Failed
    """An object, or what its sender made of it that is none."""

logger = logging.getLogger(__name__)

_BATCH: Final = 25
"""Objects indexed at a time."""

_ATTEMPTS: Final = 3
"""Times that an object is compared with one that goes away meanwhile."""

_MAX_KEPT_BYTES: Final = 262_144
"""Bytes of an instance's JSON that are kept until its batch is indexed; a larger one is read again."""

_PATIENT_ID: Final = "00100020"

_SHA256: Final = "sha256:"

PREAMBLE_BYTES: Final = 128
"""Bytes before the prefix DICM, free for any use (PS3.10 §7.1)."""

_MAGIC: Final = b"DICM"
_NO_PREAMBLE: Final = b"\0" * PREAMBLE_BYTES
_TIFF: Final = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
"""Beginnings of TIFF and BigTIFF, which whole slide images have there with good reason."""

_STANDARD_SYNTAXES: Final = "1.2.840.10008."
"""What the UIDs of the standard's transfer syntaxes begin with."""


@dataclass(frozen=True, slots=True)
class _Placed:
    """An instance whose bytes an object holds; its row is still to be seen."""

    instance: InstanceResource
    sop_class_uid: str
    object_key: str
    warning: WarningReason | None
    patient_id: str
    is_new: bool
    """Whether the object was written just now."""
    written: Written | None
    """What was written, if it may be kept in memory."""


class Store:
    """Takes instances in."""

    def __init__(
        self,
        index: Index,
        storage: ObjectStore,
        *,
        ingest: Ingest,
        at_rest: AtRest,
        policy: StorePolicy,
        run_all: RunAll,
        sanitises_preamble: bool = False,
    ) -> None:
        """Write objects to the storage area and have them indexed.

        What else is to be known of a batch is read through ``run_all``.
        """
        self._index = index
        self._storage = storage
        self._ingest = ingest
        self._at_rest = at_rest
        self._policy = policy
        self._run_all = run_all
        self._sanitises_preamble = sanitises_preamble

    def store(
        self, objects: Iterable[Offered], *, study_instance_uid: str | None = None
    ) -> tuple[Stored | Failed, ...]:
        """Store objects, each given as a file that is read before the next is taken.

        Args:
            objects: The objects' bytes, in files that may be written to; what has failed before
                is passed on.
            study_instance_uid: Study that all must belong to.

        Returns:
            What became of each, in order. What is stored is durable and indexed.
        """
        outcomes: list[Stored | Failed] = []
        waiting: list[_Placed | Failed] = []
        try:
            for each in objects:
                waiting.append(
                    each if isinstance(each, Failed) else self._place(each, study_instance_uid)
                )
                if len(waiting) >= _BATCH:
                    batch, waiting = waiting, []
                    outcomes += self._settled(batch)
        finally:
            # A body that breaks off leaves objects behind, and they are the archive's now.
            outcomes += self._settled(waiting)
        return tuple(outcomes)

    def _place(self, content: IO[bytes], study_instance_uid: str | None) -> _Placed | Failed:
        source = _source(content)
        try:
            converted = convert(source)
        except RejectedObjectError as exc:
            return Failed(_reason_of_rejection(source), comment=str(exc))
        instance, sop_class_uid = converted.instance, converted.sop_class_uid
        patient_id = _patient_id(converted)
        if converted.damaged:
            return Failed(_reason_of_damage(converted), instance, sop_class_uid, "it is damaged")
        if study_instance_uid not in (None, instance.study_instance_uid):
            return Failed(
                FailureReason.DOES_NOT_MATCH, instance, sop_class_uid, "it is of another study"
            )
        try:
            with spooling():
                body = _Body.of(content, sanitised=self._sanitises_preamble)
            placed = self._write(body, instance)
        except UnavailableError as exc:
            logger.warning("an instance cannot be stored now", extra={"reason": str(exc)})
            return Failed(_reason_of_trouble(exc), instance, sop_class_uid)
        except InvalidResourceError:
            # UIDs that make no key: one of a thousand characters, say.
            return Failed(
                FailureReason.CANNOT_UNDERSTAND, instance, sop_class_uid, "its UIDs are too long"
            )
        if placed is None:
            return Failed(
                FailureReason.DUPLICATE_SOP_INSTANCE,
                instance,
                sop_class_uid,
                "the archive keeps other bytes",
                patient_id,
            )
        object_key, info = placed
        is_kept = info is not None and len(converted.json) <= _MAX_KEPT_BYTES
        written = Written(info, converted) if info is not None and is_kept else None
        return _Placed(
            instance,
            sop_class_uid,
            object_key,
            _warning_of(converted),
            patient_id,
            info is not None,
            written,
        )

    def _write(
        self, body: _Body, instance: InstanceResource
    ) -> tuple[str, ObjectInfo | None] | None:
        """Write an object by the policy; give the key that holds its bytes now, if one does.

        With it comes what was written, unless the object was there before.
        """
        if self._policy == "replace":
            return self._replace(body, instance)
        for _ in range(_ATTEMPTS):
            rows = self._index.get_instance(instance)
            if rows:
                held = choose(rows).object_key
            else:
                held, info = self._create(body, instance)
                if info is not None:
                    return held, info
            try:
                return (held, None) if self._holds(held, body) else None
            except ObjectNotFoundError:
                # Gone, and its row with it as soon as somebody looks.
                self._ingest.look_at([held])
        raise UnavailableError("the instance comes and goes")

    def _create(self, body: _Body, instance: InstanceResource) -> tuple[str, ObjectInfo | None]:
        """Write an object that there is none of; give the key of the one that there is.

        Two writers at once may each take another form. Then both take back what they wrote, so that
        nothing is lost of what one of them may have reported as stored before.
        """
        key = self._at_rest.key_for(instance, body.rewound())
        try:
            info = self._storage.put(key, body.rewound(), if_none_match=True, durable=False)
        except PreconditionFailedError:
            return key, None
        other = other_form(key)
        if not self._at_rest.compresses or other is None or self._storage.head(other) is None:
            return key, info
        with suppress(ObjectNotFoundError):
            if self._holds(other, body):
                return key, info
        with suppress(PreconditionFailedError):
            self._storage.delete(key, if_match=info.etag)
        self._ingest.look_at([key])
        return other, None

    def _replace(self, body: _Body, instance: InstanceResource) -> tuple[str, ObjectInfo]:
        """Write an object in the form that there is, or in both where there are two."""
        key = self._at_rest.key_for(instance, body.rewound())
        other = other_form(key)
        if other is None:
            return key, self._storage.put(key, body.rewound(), durable=False)
        if self._storage.head(other) is not None and self._storage.head(key) is None:
            key, other = other, key
        info = self._storage.put(key, body.rewound(), durable=False)
        for _ in range(_ATTEMPTS):
            found = self._storage.head(other)
            if found is None:
                return key, info
            try:
                self._storage.put(other, body.rewound(), if_match=found.etag)
            except PreconditionFailedError:
                continue
            self._ingest.look_at([other])
            return key, info
        raise UnavailableError("the instance comes and goes")

    def _holds(self, object_key: str, body: _Body) -> bool:
        """Whether an object has exactly these bytes, by its checksum or by all of it.

        Raises:
            ObjectNotFoundError: There is no such object.
        """
        info = self._storage.head(object_key)
        if info is None:
            raise ObjectNotFoundError(object_key)
        if info.size != body.size:
            return False
        if info.checksum.startswith(_SHA256):
            return info.checksum.removeprefix(_SHA256) in body.sha256s()
        return body.is_equal(self._storage.stream(object_key))

    def _settled(self, batch: list[_Placed | Failed]) -> list[Stored | Failed]:
        """Index what was written; only what has a row then is stored."""
        placed = [each for each in batch if isinstance(each, _Placed)]
        indexed = self._index_all(placed)
        settled = iter(self._run_all([partial(self._outcome, each, indexed) for each in placed]))
        return [next(settled) if isinstance(each, _Placed) else each for each in batch]

    def _index_all(self, placed: list[_Placed]) -> set[tuple[str, InstanceResource]]:
        """Give the keys that have rows now, and their instances."""
        if not placed:
            return set()
        written = {each.object_key: each.written for each in placed if each.written is not None}
        keys = tuple(dict.fromkeys(each.object_key for each in placed))
        try:
            # Also what another request has just put, which may not have come as far.
            self._storage.make_durable(keys)
            report = self._ingest.look_at(keys, written=written)
        except UnavailableError as exc:
            # The events of these objects are still to come, but nothing is known of their rows.
            logger.warning("what was stored cannot be indexed now", extra={"reason": str(exc)})
            return set()
        return {(row.object_key, row.instance) for row in report.indexed}

    def _outcome(
        self, placed: _Placed, indexed: set[tuple[str, InstanceResource]]
    ) -> Stored | Failed:
        instance, sop_class_uid = placed.instance, placed.sop_class_uid
        if (placed.object_key, instance) not in indexed:
            return Failed(FailureReason.PROCESSING_FAILURE, instance, sop_class_uid)
        stored = Stored(
            instance, sop_class_uid, placed.warning, placed.patient_id, is_new=placed.is_new
        )
        if stored.warning is None and self._is_elsewhere(instance):
            return replace(stored, warning=WarningReason.ATTRIBUTE_OUT_OF_RANGE)
        return stored

    def _is_elsewhere(self, instance: InstanceResource) -> bool:
        """Whether another study or series has the SOP Instance UID, too."""
        try:
            found = self._index.find_uid(instance.sop_instance_uid)
        except UnavailableError:
            return False
        return any(isinstance(each, InstanceResource) and each != instance for each in found)


def _patient_id(converted: ConvertedInstance) -> str:
    member = converted.members.get(_PATIENT_ID)
    return joined_text(parse_members([member]).get(_PATIENT_ID)) if member else ""


def _reason_of_trouble(error: UnavailableError) -> FailureReason:
    is_full = isinstance(error, StorageFullError)
    return FailureReason.OUT_OF_RESOURCES if is_full else FailureReason.PROCESSING_FAILURE


def _reason_of_rejection(source: RangedSource) -> FailureReason:
    try:
        told = parse_file_meta(source).file_meta.get("00020002")
    except RejectedObjectError:
        return FailureReason.CANNOT_UNDERSTAND
    is_directory = told == MEDIA_STORAGE_DIRECTORY
    return (
        FailureReason.SOP_CLASS_NOT_SUPPORTED if is_directory else FailureReason.CANNOT_UNDERSTAND
    )


def _reason_of_damage(converted: ConvertedInstance) -> FailureReason:
    declared = converted.header.file_meta.get("00020010", "")
    if declared and not declared.startswith(_STANDARD_SYNTAXES):
        return FailureReason.TRANSFER_SYNTAX_NOT_SUPPORTED
    return FailureReason.CANNOT_UNDERSTAND


def _warning_of(converted: ConvertedInstance) -> WarningReason | None:
    """Tell of elements that do not parse, which are kept in the object as they are."""
    return WarningReason.DOES_NOT_MATCH_SOP_CLASS if converted.warnings else None


@dataclass(frozen=True, slots=True)
class _Body:
    """The bytes of an object, and the preamble that they came with if it was replaced."""

    file: IO[bytes]
    size: int
    former_preamble: bytes = b""

    @classmethod
    def of(cls, file: IO[bytes], *, sanitised: bool) -> _Body:
        """Take a file, whose preamble becomes zeros if it may be a program."""
        size = file.seek(0, 2)
        if not sanitised:
            return cls(file, size)
        file.seek(0)
        start = file.read(PREAMBLE_BYTES + len(_MAGIC))
        preamble = start[:PREAMBLE_BYTES]
        has_preamble = start[PREAMBLE_BYTES:] == _MAGIC
        if not has_preamble or preamble == _NO_PREAMBLE or preamble.startswith(_TIFF):
            return cls(file, size)
        file.seek(0)
        file.write(_NO_PREAMBLE)
        return cls(file, size, preamble)

    def rewound(self) -> IO[bytes]:
        """Give the file, to be read from its start."""
        self.file.seek(0)
        return self.file

    def is_equal(self, chunks: Iterable[bytes]) -> bool:
        """Whether chunks are these bytes, with either preamble."""
        file, former = self.rewound(), self.former_preamble
        for chunk in chunks:
            mine = file.read(len(chunk))
            if chunk != mine and not (former and chunk == former + mine[PREAMBLE_BYTES:]):
                return False
            former = b""
        return not file.read(1)

    def sha256s(self) -> set[str]:
        """Give the SHA-256 of these bytes, in hexadecimal, and of those with the former preamble."""
        starts = {self.former_preamble, b""} if self.former_preamble else {b""}
        return {self._sha256(start) for start in starts}

    def _sha256(self, start: bytes) -> str:
        digest = hashlib.sha256(start)
        self.file.seek(len(start))
        for chunk in self._chunks():
            digest.update(chunk)
        return digest.hexdigest()

    def _chunks(self) -> Iterator[bytes]:
        while chunk := self.file.read(CHUNK_BYTES):
            yield chunk


def _source(content: IO[bytes]) -> RangedSource:
    size = content.seek(0, 2)

    def fetch(start: int, length: int) -> bytes:
        content.seek(start)
        return content.read(length)

    return RangedSource(fetch, size)
