"""Ingest: the rows of objects made to agree with the objects as they are now.

An event only says where to look. The order is the promise: instance rows, then the versions of
every series that the key was ever seen in, then a second look, and only then is the event done.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections import OrderedDict
from dataclasses import dataclass, field, replace
from functools import partial
from threading import Lock
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from dicomulus.dicom.byte_source import RangedSource
from dicomulus.dicom.dataset_json import convert
from dicomulus.dicom.json_model import integer_of
from dicomulus.dicom.level_json import parse_json_object
from dicomulus.dicom.own_keys import is_document_key, is_own_key
from dicomulus.dicom.resource import instance_of_key, is_addressable
from dicomulus.dicom.transfer_syntax import is_transfer_syntax, on_the_web
from dicomulus.errors import (
    CorruptObjectError,
    DicomulusError,
    ObjectChangedError,
    ObjectNotFoundError,
    RejectedObjectError,
)
from dicomulus.metadata.fragment import (
    MAX_DICTIONARY_BYTES,
    compress,
    compress_apart,
    dictionary_of,
)
from dicomulus.ports import (
    NOT_YET_COUNTED,
    CompactSeries,
    InstanceChanges,
    InstanceRow,
    InstanceRowKey,
    Rejection,
)
from dicomulus.services.cache_keys import pointed_prefix
from dicomulus.services.folds import (
    instance_answer,
    instance_text,
    level_rows,
    levels_text,
    saved_bytes_of,
)
from dicomulus.services.identifier_notes import patient_id_in
from dicomulus.services.row_tags import further_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

    from dicomulus.dicom.dataset_json import ConvertedInstance
    from dicomulus.dicom.main_tags import MainTags
    from dicomulus.dicom.resource import InstanceResource, SeriesResource
    from dicomulus.ports import (
        ChangeQueue,
        DictionaryRow,
        Fragment,
        Index,
        ObjectInfo,
        ObjectRead,
        ObjectRow,
        ObjectStore,
        RunAll,
        SeriesRow,
        StudyRow,
    )
    from dicomulus.services.documents import Documents
    from dicomulus.services.folds import LevelRows
    from dicomulus.services.identifier_notes import IdentifierNotes
    from dicomulus.settings import Settings

logger = logging.getLogger(__name__)

_LOOKS: Final = 5
"""Times that an object which changes while it is looked at is looked at in one go."""

_MAX_FRAME_TABLE_BYTES: Final = 256
"""Bytes of an encoded frame table over which it goes to the cache store."""

_LARGEST_INSTANCE_NUMBER: Final = 999_999_999_999
"""What twelve characters hold (PS3.5 §6.2, IS); more is no number to put instances in order by."""

_MAX_WARNINGS: Final = 100
"""Warnings that a row keeps; broken objects repeat themselves."""

_DICTIONARIES_HELD: Final = 256
"""Dictionaries kept in memory, at most 32 KiB each."""

_DICTIONARY_HELD_SECONDS: Final = 600
"""Seconds after which the index is asked for a dictionary again: it may be another index by
now, or one that was restored to an earlier hour."""


@dataclass(frozen=True, slots=True)
class Look:
    """What one look at an object found."""

    state: tuple[str, int] | None
    """Entity tag and time of the object that was read; none if there was no object."""
    row: InstanceRow | None = None
    series: SeriesRow | None = None
    study: StudyRow | None = None
    rejection: Rejection | None = None


@dataclass(frozen=True, slots=True)
class Written:
    """An object just written, and what its bytes say: it need not be read for that again."""

    info: ObjectInfo
    converted: ConvertedInstance


@dataclass(frozen=True, slots=True, kw_only=True)
class LookReport:
    """What became of the objects that were looked at."""

    indexed: tuple[InstanceRow, ...] = ()
    rejected: Mapping[str, str] = field(default_factory=dict)
    """Object key to reason."""
    gone: tuple[str, ...] = ()
    failed: Mapping[str, DicomulusError] = field(default_factory=dict)
    """Objects that must be looked at again; their events are not done."""


_NOTHING_WRITTEN: Final[Mapping[str, Written]] = MappingProxyType({})


class Ingest:
    """Looks at objects."""

    def __init__(
        self,
        index: Index,
        storage: ObjectStore,
        *,
        documents: Documents,
        cache: ObjectStore,
        queue: ChangeQueue,
        settings: Settings,
        tags: MainTags,
        clock_ms: Callable[[], int],
        run_all: RunAll,
        identifiers: IdentifierNotes | None = None,
    ) -> None:
        """Write rows with these tags to the index, what is too large to the cache store.

        The objects of a batch are read, and looked at again, through ``run_all``. Orthanc's
        identifiers of what they hold are noted before, where that is asked for.
        """
        self._index = index
        self._storage = storage
        self._documents = documents
        self._cache = cache
        self._queue = queue
        self._settings = settings
        self._tags = tags
        self._clock_ms = clock_ms
        self._run_all = run_all
        self._identifiers = identifiers
        self._dictionaries = _Dictionaries(index)

    def look_at(
        self, object_keys: Collection[str], *, written: Mapping[str, Written] = _NOTHING_WRITTEN
    ) -> LookReport:
        """Make the rows of some objects agree with them; one bad object stops no other.

        Some tens of keys at a time share the move of their series' versions. An object that is
        still as it was written by the caller is not read, and looked at again as any other.
        """
        own = [key for key in object_keys if is_own_key(key)]
        if own:
            others = [key for key in object_keys if not is_own_key(key)]
            return self._with_documents(own, self.look_at(others, written=written))
        looks: dict[str, Look] = {}
        failed: dict[str, DicomulusError] = {}
        pending = tuple(dict.fromkeys(object_keys))
        for _ in range(_LOOKS):
            seen = self._with_known_checksums(self._look_each(pending, failed, written))
            written = _NOTHING_WRITTEN
            self._record(seen)
            looks |= seen
            pending = self._moved(seen, failed)
            if not pending:
                break
        failed |= {key: ObjectChangedError("the object keeps changing") for key in pending}
        return _report(looks, failed)

    def _with_documents(self, own_keys: Collection[str], others: LookReport) -> LookReport:
        """Look at documents as well; what else is the archive's own has no rows."""
        seen = self._documents.look_at([key for key in own_keys if is_document_key(key)])
        _log_rejected(seen.rejected)
        return replace(
            others,
            rejected={**others.rejected, **seen.rejected},
            gone=(*others.gone, *seen.gone),
            failed={**others.failed, **seen.failed},
        )

    def _look_each(
        self,
        object_keys: tuple[str, ...],
        failed: dict[str, DicomulusError],
        written: Mapping[str, Written],
    ) -> dict[str, Look]:
        seen: dict[str, Look] = {}
        firsts = self._run_all(
            [partial(self._first_look, key, written.get(key)) for key in object_keys]
        )
        for key, first in zip(object_keys, firsts, strict=True):
            try:
                seen[key] = self._look(key, first)
            except DicomulusError as exc:
                failed[key] = exc
        return seen

    def _with_known_checksums(self, looks: dict[str, Look]) -> dict[str, Look]:
        """Keep the checksum that a row has, of storing it or of a verification.

        Few stores tell one with the first bytes of an object.
        """
        lacking = {
            key: look.row for key, look in looks.items() if look.row and not look.row.checksum
        }
        if not lacking:
            return looks
        held = self._index.held_checksums(
            [InstanceRowKey(row.instance, key) for key, row in lacking.items()]
        )
        known: dict[str, Look] = {}
        for key, row in lacking.items():
            each = held.get(InstanceRowKey(row.instance, key))
            if each and (each.object_etag, each.object_modified_ms) == looks[key].state:
                known[key] = replace(looks[key], row=replace(row, checksum=each.checksum))
        return looks | known

    def _first_look(
        self, object_key: str, written: Written | None
    ) -> ObjectRead | Written | DicomulusError:
        """Give what is known of an object that was just written, else its first bytes."""
        if written is None:
            return self._first_bytes(object_key)
        try:
            info = self._storage.head(object_key)
        except DicomulusError as exc:
            return exc
        if info is None or info.etag != written.info.etag:
            return self._first_bytes(object_key)
        # Two clocks may tell of the write; what the store says later on is compared.
        checksum = info.checksum or written.info.checksum
        return replace(written, info=replace(info, checksum=checksum))

    def _first_bytes(self, object_key: str) -> ObjectRead | DicomulusError:
        try:
            return self._storage.get(object_key, length=self._settings.prefix_bytes)
        except DicomulusError as exc:
            # One object's error must not end the reads of the others.
            return exc

    def _look(self, object_key: str, first: ObjectRead | Written | DicomulusError) -> Look:
        for _ in range(_LOOKS):
            try:
                if isinstance(first, DicomulusError):
                    raise first
                if isinstance(first, Written):
                    return self._look_of(first.info, first.converted)
                return self._read(first.info, first.data)
            except ObjectNotFoundError:
                return Look(None)
            except CorruptObjectError as exc:
                rejection = Rejection(etag=exc.etag, reason=str(exc))
                return Look((exc.etag, exc.modified_ms), rejection=rejection)
            except ObjectChangedError:
                first = self._first_bytes(object_key)
        raise ObjectChangedError("the object keeps changing")

    def _read(self, info: ObjectInfo, prefix: bytes) -> Look:
        def fetch(start: int, length: int) -> bytes:
            if start + length <= len(prefix):
                return prefix[start : start + length]
            return self._storage.get(info.key, start=start, length=length, if_match=info.etag).data

        try:
            converted = convert(RangedSource(fetch, info.size, near_bytes=self._storage.near_bytes))
        except (RejectedObjectError, CorruptObjectError) as exc:
            state = info.etag, info.modified_ms
            return Look(state, rejection=Rejection(etag=info.etag, reason=str(exc)))
        return self._look_of(info, converted)

    def _look_of(self, info: ObjectInfo, converted: ConvertedInstance) -> Look:
        levels = level_rows(
            converted.instance.series,
            levels_text(converted.members, self._tags),
            self._tags,
            sop_class_uid=_sop_class_uid(converted),
        )
        row = self._row(info, converted, levels)
        series = replace(
            levels.series,
            total_size=row.object_size,
            saved_bytes=saved_bytes_of(row),
            modified_ms=row.object_modified_ms,
        )
        study = levels.study
        if self._identifiers is not None:
            study = replace(study, counted_bytes=NOT_YET_COUNTED)
        return Look((info.etag, info.modified_ms), row, series, study)

    def _row(
        self, info: ObjectInfo, converted: ConvertedInstance, levels: LevelRows
    ) -> InstanceRow:
        instance = converted.instance
        attributes = parse_json_object(instance_text(converted.members))
        header = converted.header
        # Only a file meta that tells the truth lets the object be sent as it is.
        told = header.file_meta.get("00020010", "") == header.transfer_syntax_uid
        is_truth = told and is_transfer_syntax(header.transfer_syntax_uid)
        transfer_syntax_uid = header.transfer_syntax_uid if is_truth else ""
        further, main_tags = further_of(converted.members, self._tags)
        row = InstanceRow(
            instance=instance,
            object_key=info.key,
            object_etag=info.etag,
            object_size=info.size,
            object_modified_ms=info.modified_ms,
            compressed_size=info.compressed_size,
            checksum=info.checksum,
            sop_class_uid=_sop_class_uid(converted),
            transfer_syntax_uid=transfer_syntax_uid,
            instance_number=_instance_number(attributes),
            attributes=instance_answer(instance, attributes, on_the_web(transfer_syntax_uid)),
            further=further,
            main_tags=main_tags,
            levels_digest=levels.digest,
            fragment=self._fragment(instance, converted.json),
            warnings=converted.warnings[:_MAX_WARNINGS],
            damaged=converted.damaged,
        )
        return self._with_frame_table(row, converted)

    def _fragment(self, instance: InstanceResource, text: bytes) -> Fragment:
        dictionary = self._dictionaries.of(instance.series)
        if dictionary is None and len(text) <= MAX_DICTIONARY_BYTES:
            dictionary = dictionary_of(instance.series, text)
            self._index.put_dictionary(dictionary)
            self._dictionaries.keep(dictionary)
        fragment = compress(text, dictionary)
        if len(fragment.data) <= self._settings.max_row_fragment_bytes:
            return fragment
        apart, content = compress_apart(text)
        return replace(apart, pointer=self._put_aside(instance, content))

    def _with_frame_table(self, row: InstanceRow, converted: ConvertedInstance) -> InstanceRow:
        if converted.frame_table is None:
            return row
        encoded = converted.frame_table.encode()
        if len(encoded) <= _MAX_FRAME_TABLE_BYTES:
            return replace(row, frame_table=encoded)
        return replace(row, frame_table_pointer=self._put_aside(row.instance, encoded))

    def _put_aside(self, instance: InstanceResource, content: bytes) -> str:
        """Keep what is too large for a row under a key that names its content."""
        key = pointed_key(instance, content)
        self._cache.put(key, content)
        return key

    def _record(self, looks: Mapping[str, Look]) -> None:
        if not looks:
            return
        objects = self._index.note_objects({key: _instances(look) for key, look in looks.items()})
        self._index.reject_objects(
            {
                key: look.rejection
                for key, look in looks.items()
                if look.rejection != objects[key].rejection
            }
        )
        if self._identifiers is not None:
            self._identifiers.note(_identified(looks.values()))
        now_ms = self._clock_ms()
        delay_seconds = self._settings.compact_delay_seconds
        due = self._index.commit(
            _changes(looks, objects), now_ms=now_ms, due_ms=now_ms + 1_000 * delay_seconds
        )
        if due:
            self._queue.send(
                [CompactSeries(series) for series in sorted(due)], delay_seconds=delay_seconds
            )

    def _moved(
        self, looks: Mapping[str, Look], failed: dict[str, DicomulusError]
    ) -> tuple[str, ...]:
        moved: list[str] = []
        found = self._run_all([partial(self._has_moved, key, look) for key, look in looks.items()])
        for key, has_moved in zip(looks, found, strict=True):
            if isinstance(has_moved, DicomulusError):
                failed[key] = has_moved
            elif has_moved:
                moved.append(key)
        return tuple(moved)

    def _has_moved(self, object_key: str, look: Look) -> bool | DicomulusError:
        try:
            info = self._storage.head(object_key)
        except DicomulusError as exc:
            return exc
        # Equal bytes have equal entity tags in some stores, and when an object was written counts.
        return (info and (info.etag, info.modified_ms)) != look.state


class _Dictionaries:
    """The dictionary that each series' fragments are compressed with; the last ones are kept."""

    def __init__(self, index: Index) -> None:
        self._index = index
        self._held: OrderedDict[SeriesResource, tuple[DictionaryRow, float]] = OrderedDict()
        self._lock = Lock()

    def of(self, series: SeriesResource) -> DictionaryRow | None:
        """Give the dictionary of a series, if it has one yet."""
        with self._lock:
            row, until = self._held.get(series, (None, 0.0))
            if time.monotonic() < until:
                self._held.move_to_end(series)
                return row
        rows = self._index.query_dictionaries(series)
        if rows:
            self.keep(rows[0])
        return rows[0] if rows else None

    def keep(self, row: DictionaryRow) -> None:
        """Remember a dictionary that is in the index."""
        with self._lock:
            self._held[row.series] = row, time.monotonic() + _DICTIONARY_HELD_SECONDS
            if len(self._held) > _DICTIONARIES_HELD:
                self._held.popitem(last=False)


def pointed_key(instance: InstanceResource, content: bytes) -> str:
    """Give the cache key of something that a row points to."""
    return pointed_prefix(instance.series) + hashlib.sha256(content).hexdigest()


def _sop_class_uid(converted: ConvertedInstance) -> str:
    uid = converted.sop_class_uid
    return uid if is_addressable(uid) else ""


def _instance_number(attributes: Mapping[str, object]) -> int | None:
    number = integer_of(attributes, "00200013")
    return number if number is not None and abs(number) <= _LARGEST_INSTANCE_NUMBER else None


def _instances(look: Look) -> frozenset[InstanceResource]:
    return frozenset() if look.row is None else frozenset({look.row.instance})


def _identified(looks: Iterable[Look]) -> Iterator[tuple[str, InstanceResource]]:
    for look in looks:
        if look.row is not None and look.study is not None:
            yield patient_id_in(look.study.answer), look.row.instance


def _changes(looks: Mapping[str, Look], objects: Mapping[str, ObjectRow]) -> InstanceChanges:
    puts: list[InstanceRow] = []
    deletes: list[InstanceRowKey] = []
    touched: dict[SeriesResource, SeriesRow | None] = {}
    studies: dict[str, StudyRow] = {}
    for key, look in looks.items():
        held = _instances(look)
        for instance in _ever_held(objects[key]) - held:
            deletes.append(InstanceRowKey(instance, key))
            touched.setdefault(instance.series, None)
        if look.row is not None and look.series is not None and look.study is not None:
            puts.append(look.row)
            if touched.get(look.row.instance.series) is None:
                touched[look.row.instance.series] = look.series
            studies.setdefault(look.row.instance.study_instance_uid, look.study)
    return InstanceChanges(puts=puts, deletes=deletes, touched=touched, studies=studies)


def _ever_held(row: ObjectRow) -> frozenset[InstanceResource]:
    canonical = instance_of_key(row.object_key)
    return row.instances if canonical is None else row.instances | {canonical}


def _report(looks: Mapping[str, Look], failed: Mapping[str, DicomulusError]) -> LookReport:
    done = {key: look for key, look in looks.items() if key not in failed}
    rejected = {key: look.rejection.reason for key, look in done.items() if look.rejection}
    _log_rejected(rejected)
    return LookReport(
        indexed=tuple(look.row for look in done.values() if look.row is not None),
        rejected=rejected,
        gone=tuple(key for key, look in done.items() if look.state is None),
        failed=dict(failed),
    )


def _log_rejected(rejected: Mapping[str, str]) -> None:
    for key, reason in rejected.items():
        logger.info("object rejected", extra={"object_key": key, "reason": reason})
