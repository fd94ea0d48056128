"""The index in one DynamoDB table.

A commit writes instance items, then missing study items, then moves the versions of series. A
request that fails between any two of them leaves a state from which the same commit, done again,
arrives where it would have.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields, replace
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from dicomulus.adapters.aws.change_log import ChangeLog
from dicomulus.adapters.aws.dynamodb_table import DynamoDbTable, key_of
from dicomulus.adapters.aws.keys import (
    COUNTS_PARTITION,
    DAMAGE_PARTITION,
    DOCUMENT_PREFIX,
    INSTANCE_PREFIX,
    OBJECT_PREFIX,
    SERIES_PREFIX,
    ItemKey,
    counts_key,
    damage_key,
    dictionary_prefix,
    end_of,
    fit_high,
    fit_low,
    fit_sort_key,
    identifier_key,
    instance_key,
    instance_prefix,
    instances_prefix,
    just_below,
    object_item_key,
    parse_item_key,
    partition_key,
    patient_studies_key,
    series_key,
    study_key,
    uid_key,
)
from dicomulus.adapters.aws.schema import (
    CARRIED,
    COMPACT_DUE,
    DUE_INDEX,
    PARTITION_KEY,
    QUIET_INDEX,
    SEARCH_KEYS,
    SORT_KEY,
    UID_INDEX,
)
from dicomulus.adapters.aws.table import (
    ANSWER_ATTRIBUTES,
    STORED_ATTRIBUTES,
    WALKED_ATTRIBUTES,
    CountsItem,
    DamageItem,
    DictionaryItem,
    IdentifierItem,
    InstanceItem,
    Item,
    ObjectItem,
    PatientItem,
    SeriesItem,
    StudyItem,
    damage_item,
    damage_row,
    dictionary_item,
    dictionary_row,
    format_held,
    format_rejection,
    held_checksum,
    identified,
    identifier_item,
    in_carried,
    instance_answer,
    instance_item,
    instance_row,
    named_by,
    object_row,
    parse_carried,
    series_body,
    series_item,
    series_row,
    stored_object,
    study_item,
    study_row,
)
from dicomulus.adapters.carried import MOST_FOUND, sharp_pieces
from dicomulus.dicom.own_keys import is_document_key
from dicomulus.dicom.resource import InstanceResource, SeriesResource, instance_of_key
from dicomulus.errors import UnavailableError
from dicomulus.ports import (
    CARRIED_CUT,
    ArchiveCounts,
    EntryPage,
    ObjectRow,
    Page,
    SearchPath,
    StudyEntry,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from pynamodb.attributes import NumberAttribute, UnicodeAttribute
    from pynamodb.expressions.condition import Condition
    from pynamodb.expressions.update import Action

    from dicomulus.adapters.aws.document_items import DocumentItems
    from dicomulus.adapters.aws.table import RawItem
    from dicomulus.dicom.orthanc_id import Level
    from dicomulus.dicom.resource import Resource
    from dicomulus.ports import (
        Change,
        ChangeType,
        CountsMove,
        Damage,
        DictionaryRow,
        DocumentRow,
        HeldChecksum,
        InstanceAnswer,
        InstanceChanges,
        InstanceRow,
        InstanceRowKey,
        LogState,
        Rejection,
        SeriesRow,
        StoredObject,
        StudyRow,
        Tidings,
        Told,
    )

    ItemReader = Callable[[Iterable[ItemKey]], Mapping[ItemKey, RawItem]]

T = TypeVar("T")
R = TypeVar("R")
H = TypeVar("H", bound="InstanceRow | InstanceAnswer | StoredObject")

PARALLEL_REQUESTS: Final = 8
"""Requests made at once where one call needs several."""

_STUDIES_REMEMBERED: Final = 10_000
"""Studies whose items are known to exist; a study item is never removed."""

_REMEMBERED_MS: Final = 600_000
"""Milliseconds for which that is believed: the table may be another one by then, by a restore."""

_AFTER_SORT_KEY: Final = "\n"
"""Between the sort key and the rest of a page token; no sort key contains it."""


_COUNT_ATTEMPTS: Final = 20
"""Times that a fold which moves the counts is tried while others move them as well."""


class DynamoDbIndex:
    """The rows, in DynamoDB."""

    def __init__(
        self, table: DynamoDbTable, *, search_shards: int, parallel: int = PARALLEL_REQUESTS
    ) -> None:
        """Use a table.

        Args:
            table: What holds the rows.
            search_shards: Shards of the ordered indexes; fixed once there is a study.
            parallel: Requests made at once where one call needs several; 1 makes no threads.
        """
        self._table = table
        self._log = ChangeLog(table)
        self._parallel = parallel
        self._search_shards = search_shards
        self._existing_studies: set[str] = set()
        self._forget_studies_ms = 0

    @property
    def table(self) -> DynamoDbTable:
        """The table that holds the rows."""
        return self._table

    # objects

    def note_objects(
        self, instances: Mapping[str, frozenset[InstanceResource]]
    ) -> Mapping[str, ObjectRow]:
        """See ``Index``; a canonical key always holds its own instance."""
        rows = self._object_rows(instances)
        unknown = [
            key
            for key, noted in instances.items()
            if not noted <= rows[key].instances or (noted and rows[key].rejection)
        ]
        noted_rows = self._for_each(lambda key: self._note_object(key, instances[key]), unknown)
        return rows | {row.object_key: row for row in noted_rows}

    def _object_rows(
        self, object_keys: Iterable[str], read: ItemReader | None = None
    ) -> dict[str, ObjectRow]:
        keys = {object_key: object_item_key(object_key) for object_key in object_keys}
        items = (read or self._table.batch_get)(keys.values())
        return {
            object_key: object_row(object_key, _read(ObjectItem, items.get(key)))
            for object_key, key in keys.items()
        }

    def _note_object(self, object_key: str, noted: frozenset[InstanceResource]) -> ObjectRow:
        actions: list[Action] = [ObjectItem.rejection.remove()]
        others = noted - {instance_of_key(object_key)}
        if others:
            actions.append(ObjectItem.instances.add({format_held(each) for each in others}))
        answer = self._table.update(object_item_key(object_key), actions, returned="ALL_NEW") or {}
        return object_row(object_key, ObjectItem.from_raw_data(answer.get("Attributes", {})))

    def reject_objects(self, rejections: Mapping[str, Rejection | None]) -> None:
        """See ``Index``."""
        self._for_each(lambda item: self._reject_object(*item), rejections.items())

    def _reject_object(self, object_key: str, rejection: Rejection | None) -> None:
        key = object_item_key(object_key)
        if rejection is None:
            present = ObjectItem.rejection.exists()
            self._table.update(key, [ObjectItem.rejection.remove()], present)
        else:
            self._table.update(key, [ObjectItem.rejection.set(format_rejection(rejection))])

    def indexed_etags(self, object_keys: Collection[str]) -> Mapping[str, str]:
        """See ``Index``."""
        return self._etags(object_keys, self._table.batch_get)

    def eventual_etags(self, object_keys: Collection[str]) -> Mapping[str, str]:
        """See ``Index``; an eventually consistent read is half a strong one."""
        return self._etags(object_keys, self._table.eventual_batch_get)

    def _etags(self, object_keys: Collection[str], read: ItemReader) -> dict[str, str]:
        rows = self._object_rows(object_keys, read)
        keys = {
            object_key: [instance_key(instance, object_key) for instance in row.instances]
            for object_key, row in rows.items()
        }
        items = read(key for each in keys.values() for key in each)
        held = {
            object_key: [items[key] for key in each if key in items]
            for object_key, each in keys.items()
        }
        etags = {key: _settled_etag(row, held[key]) for key, row in rows.items()}
        documents = [row for key, row in rows.items() if is_document_key(key)]
        if documents:
            etags |= self._documents.settled_etags(documents, read)
        return {key: etag for key, etag in etags.items() if etag is not None}

    def known_objects(self, after: str | None = None, *, limit: int = 1000) -> Page[ObjectRow]:
        """See ``Index``; reads the whole table, and may give a key on more than one page."""
        start = None if after is None else _parse_item_token(after)
        is_row = InstanceItem.etag.exists() | ObjectItem.rejection.exists()
        while True:
            items, start = self._table.scan_page(
                start, limit=limit, filter_condition=is_row | self._documents.is_document
            )
            if items or start is None:
                rows = self._object_rows(dict.fromkeys(map(_object_key_of, items)))
                token = None if start is None else _format_item_token(start)
                return Page(tuple(rows.values()), token)

    def walk(
        self,
        after: str | None = None,
        *,
        segment: int = 0,
        segments: int = 1,
        limit: int = 1000,
    ) -> Page[SeriesResource | ObjectRow]:
        """See ``Index``; one page of a parallel scan, which gives the keys of rows in order."""
        items, last = self._table.scan_page(
            None if after is None else _parse_item_token(after),
            limit=limit,
            segment=(segment, segments),
            attributes=WALKED_ATTRIBUTES,
        )
        walked = dict.fromkeys(each for each in map(_walked, items) if each is not None)
        return Page(tuple(walked), None if last is None else _format_item_token(last))

    def forget_object(self, row: ObjectRow) -> bool:
        """See ``Index``; what a canonical key holds by its name needs no item."""
        held = row.instances - {instance_of_key(row.object_key)}
        instances, rejection = ObjectItem.instances, ObjectItem.rejection
        unchanged: Condition = (
            instances == {format_held(each) for each in held}
            if held
            else instances.does_not_exist()
        )
        unchanged &= (
            rejection == format_rejection(row.rejection)
            if row.rejection
            else rejection.does_not_exist()
        )
        return self._table.delete_if(object_item_key(row.object_key), unchanged)

    # documents

    @cached_property
    def _documents(self) -> DocumentItems:
        # What reads DICOMweb has no need of it.
        from dicomulus.adapters.aws.document_items import DocumentItems

        return DocumentItems(self._table)

    def get_documents(self, object_keys: Collection[str]) -> Mapping[str, DocumentRow]:
        """See ``Index``."""
        return self._documents.get(object_keys)

    def put_document(self, row: DocumentRow, *, instead_of: int | None = None) -> bool:
        """See ``Index``; many labels change in several steps, the row with the last one."""
        return self._documents.put(row, instead_of=instead_of)

    def forget_document(self, object_key: str, version: int) -> bool:
        """See ``Index``."""
        return self._documents.forget(object_key, version)

    def labelled(
        self, level: Level, label: str, after: str | None = None, *, limit: int = 1000
    ) -> Page[Resource]:
        """See ``Index``."""
        return self._documents.labelled(level, label, after, limit=limit)

    def used_labels(self) -> tuple[str, ...]:
        """See ``Index``; one request for each label that there was, and one more."""
        return self._documents.used_labels()

    # dictionaries

    def put_dictionary(self, row: DictionaryRow) -> None:
        """See ``Index``."""
        self._table.put_if(dictionary_item(row), DictionaryItem.partition.does_not_exist())

    def query_dictionaries(self, series: SeriesResource) -> tuple[DictionaryRow, ...]:
        """See ``Index``."""
        prefix = dictionary_prefix(series)
        items = self._table.query(prefix.partition, Item.sort.startswith(prefix.sort))
        rows = [dictionary_row(DictionaryItem.from_raw_data(item), series) for item in items]
        return tuple(sorted(rows, key=lambda row: row.name))

    # instances

    def commit(
        self, changes: InstanceChanges, *, now_ms: int, due_ms: int
    ) -> frozenset[SeriesResource]:
        """See ``Index``."""
        self._table.batch_write(
            map(instance_item, changes.puts),
            [instance_key(row.instance, row.object_key) for row in changes.deletes],
        )
        self._for_each(self._renew, changes.renewed)
        self._create_studies(changes.studies.values(), now_ms=now_ms)
        moved = self._for_each(
            lambda each: self._move_version(*each, now_ms=now_ms, due_ms=due_ms),
            changes.touched.items(),
        )
        return frozenset(
            series for series, is_due in zip(changes.touched, moved, strict=True) if is_due
        )

    def _renew(self, row: InstanceRow) -> None:
        item = instance_item(row)
        of_same_object = (InstanceItem.etag == item.etag) & (
            InstanceItem.modified_ms == item.modified_ms
        )
        self._table.put_if(item, of_same_object)

    def _create_studies(self, rows: Iterable[StudyRow], *, now_ms: int) -> None:
        if now_ms >= self._forget_studies_ms:
            self._existing_studies = set()
            self._forget_studies_ms = now_ms + _REMEMBERED_MS
        absent = [row for row in rows if row.study_instance_uid not in self._existing_studies]
        self._for_each(lambda row: self._create_study(row, now_ms=now_ms), absent)
        if len(self._existing_studies) > _STUDIES_REMEMBERED:
            self._existing_studies = set()
        self._existing_studies |= {row.study_instance_uid for row in absent}

    def _create_study(self, row: StudyRow, *, now_ms: int) -> None:
        item = study_item(replace(row, version=now_ms), shards=self._search_shards)
        self._table.put_if(item, StudyItem.partition.does_not_exist())

    def _move_version(
        self, series: SeriesResource, absent: SeriesRow | None, *, now_ms: int, due_ms: int
    ) -> bool:
        """Move the version; whether this set the due time."""
        key = series_key(series)
        answer = self._add_to_version(key, due_ms=due_ms)
        while answer is None:
            if absent is None:
                return False
            # Versions begin at the time of day, so that none ever comes again after a loss.
            row = replace(absent, series=series, version=now_ms, compact_due_ms=None)
            self._table.put_if(
                series_item(row, shards=self._search_shards), SeriesItem.version.does_not_exist()
            )
            answer = self._add_to_version(key, due_ms=due_ms)
        due_before = answer.get("Attributes", {}).get(COMPACT_DUE.name)
        if due_before is None:
            return True
        previous_ms = int(due_before["N"])
        if previous_ms >= now_ms:
            # The answer to an attempt that did set it may have been lost on the way.
            return previous_ms == due_ms and _was_retried(answer)
        return self._replace_due(key, previous_ms=previous_ms, due_ms=due_ms)

    def _add_to_version(self, key: ItemKey, *, due_ms: int) -> dict[str, Any] | None:
        return self._table.update(
            key,
            [
                SeriesItem.version.add(1),
                SeriesItem.compact_due_ms.set(SeriesItem.compact_due_ms | due_ms),
            ],
            SeriesItem.version.exists(),
            returned="ALL_OLD",
        )

    def _replace_due(self, key: ItemKey, *, previous_ms: int, due_ms: int) -> bool:
        answer = self._table.update(
            key,
            [SeriesItem.compact_due_ms.set(due_ms)],
            SeriesItem.compact_due_ms == previous_ms,
        )
        return answer is not None

    def query_instances(
        self, series: SeriesResource, after: str | None = None, *, limit: int = 1000
    ) -> Page[InstanceRow]:
        """See ``Index``; the objects of one instance are on one page unless it cannot hold them."""
        return self._page_of_series(series, after, limit=limit, row_of=instance_row)

    def query_instance_answers(
        self, series: SeriesResource, after: str | None = None, *, limit: int = 1000
    ) -> Page[InstanceAnswer]:
        """See ``Index``; transfers no more of each item than what it is asked for."""
        return self._page_of_series(
            series, after, limit=limit, row_of=instance_answer, attributes=ANSWER_ATTRIBUTES
        )

    def query_stored_objects(
        self, series: SeriesResource, after: str | None = None, *, limit: int = 1000
    ) -> Page[StoredObject]:
        """See ``Index``; transfers no more of each item than what it is asked for."""
        return self._page_of_series(
            series, after, limit=limit, row_of=stored_object, attributes=STORED_ATTRIBUTES
        )

    def _page_of_series(
        self,
        series: SeriesResource,
        after: str | None,
        *,
        limit: int,
        row_of: Callable[[InstanceItem], H],
        attributes: Sequence[str] | None = None,
    ) -> Page[H]:
        prefix = instances_prefix(series)
        start = prefix.sort

        def of_instance(part: str) -> tuple[H, ...]:
            key = ItemKey(prefix.partition, part)
            return self._rows_of_instance(key, row_of=row_of, attributes=attributes)

        if after is not None:
            start, _, object_key = after.partition(_AFTER_SORT_KEY)
            if object_key:
                rest = [row for row in of_instance(start) if row.object_key > object_key]
                return _page_of_instance(rest, start, limit=limit)
        # BETWEEN includes its upper end, which no item has as its sort key.
        between = Item.sort.between(start, end_of(prefix.sort))
        items = list(
            self._table.query(prefix.partition, between, limit=limit + 1, attributes=attributes)
        )
        if len(items) <= limit:
            return Page(_rows(items, row_of))
        last = _instance_part(items[-1])
        whole = [item for item in items if _instance_part(item) != last]
        if not whole:
            return _page_of_instance(of_instance(last), last, limit=limit)
        return Page(_rows(whole, row_of), last)

    def get_instance(self, instance: InstanceResource) -> tuple[InstanceRow, ...]:
        """See ``Index``."""
        return self._rows_of_instance(instance_prefix(instance), row_of=instance_row)

    def _rows_of_instance(
        self,
        prefix: ItemKey,
        *,
        row_of: Callable[[InstanceItem], H],
        attributes: Sequence[str] | None = None,
    ) -> tuple[H, ...]:
        items = self._table.query(
            prefix.partition, Item.sort.startswith(prefix.sort), attributes=attributes
        )
        return _rows(items, row_of)

    def held_checksums(
        self, keys: Collection[InstanceRowKey]
    ) -> Mapping[InstanceRowKey, HeldChecksum]:
        """See ``Index``."""
        where = {key: instance_key(key.instance, key.object_key) for key in keys}
        items = self._table.batch_get(where.values())
        held = {
            key: held_checksum(InstanceItem.from_raw_data(items[each]))
            for key, each in where.items()
            if each in items
        }
        return {key: each for key, each in held.items() if each.checksum}

    # series

    def get_series(self, series: SeriesResource) -> SeriesRow | None:
        """See ``Index``."""
        item = self._table.get(series_key(series))
        return None if item is None else series_row(SeriesItem.from_raw_data(item))

    def query_series(self, study_instance_uid: str) -> tuple[SeriesRow, ...]:
        """See ``Index``."""
        items = self._table.query(
            partition_key(study_instance_uid), Item.sort.startswith(SERIES_PREFIX)
        )
        rows = [series_row(SeriesItem.from_raw_data(item)) for item in items]
        return tuple(sorted(rows, key=lambda row: row.series))

    def fold_series(self, row: SeriesRow) -> bool:
        """See ``Index``."""
        answer = self._table.update(
            series_key(row.series),
            [SeriesItem.body.set(series_body(row))],
            SeriesItem.version == row.version,
        )
        return answer is not None

    def settle_series(
        self, series: SeriesResource, version: int, *, stable_due_ms: int | None = None
    ) -> bool:
        """See ``Index``."""
        stable_due = SeriesItem.stable_due_ms
        answer = self._table.update(
            series_key(series),
            [
                SeriesItem.compact_due_ms.remove(),
                stable_due.remove() if stable_due_ms is None else stable_due.set(stable_due_ms),
            ],
            (SeriesItem.version == version) & SeriesItem.compact_due_ms.exists(),
        )
        if answer is not None:
            return True
        row = self.get_series(series)
        return row is not None and row.version == version and row.compact_due_ms is None

    def overdue_series(self, now_ms: int, *, limit: int = 1000) -> tuple[SeriesResource, ...]:
        """See ``Index``."""
        return self._due_series(DUE_INDEX, SeriesItem.compact_due_ms, now_ms, limit=limit)

    def _due_series(
        self, index_name: str, due: NumberAttribute, now_ms: int, *, limit: int
    ) -> tuple[SeriesResource, ...]:
        shards = self._for_each(
            lambda shard: list(
                self._table.query_index(index_name, str(shard), due < now_ms, limit=limit)
            ),
            range(self._search_shards),
        )
        items = [item for shard in shards for item in shard]
        items.sort(key=lambda item: int(item[due.attr_name]["N"]))
        named = [self._named(SeriesItem.from_raw_data(item)) for item in items[:limit]]
        return tuple(each for each in named if isinstance(each, SeriesResource))

    # stability

    def quiet_series(self, now_ms: int, *, limit: int = 1000) -> tuple[SeriesResource, ...]:
        """See ``Index``."""
        return self._due_series(QUIET_INDEX, SeriesItem.stable_due_ms, now_ms, limit=limit)

    def mark_stable(self, series: SeriesResource, version: int) -> bool:
        """See ``Index``."""
        answer = self._table.update(
            series_key(series),
            [SeriesItem.stable_version.set(version)],
            SeriesItem.version == version,
        )
        return answer is not None

    def end_quiet(self, series: SeriesResource, version: int) -> bool:
        """See ``Index``."""
        answer = self._table.update(
            series_key(series), [SeriesItem.stable_due_ms.remove()], SeriesItem.version == version
        )
        return answer is not None

    # changes

    def told(self, series: SeriesResource) -> Told:
        """See ``Index``."""
        return self._log.told(series)

    def tell(self, tidings: Tidings) -> bool:
        """See ``Index``."""
        return self._log.tell(tidings)

    def record_change(self, change: Change, *, after: int | None = None) -> bool:
        """See ``Index``."""
        return self._log.record(change, after=after)

    def recorded_version(self, change: Change) -> int:
        """See ``Index``."""
        return self._log.recorded_version(change)

    def flush_changes(self) -> None:
        """See ``Index``."""
        self._log.flush()

    def changes(
        self,
        since: int = 0,
        *,
        to: int | None = None,
        types: Collection[ChangeType] = (),
        limit: int = 100,
        backwards: bool = False,
    ) -> Page[Change]:
        """See ``Index``."""
        return self._log.changes(since, to, types=types, limit=limit, backwards=backwards)

    def log_state(self) -> LogState:
        """See ``Index``."""
        return self._log.state()

    def claim_cursor(self, name: str, claim: str, *, now_ms: int, until_ms: int) -> int | None:
        """See ``Index``."""
        return self._log.claim_cursor(name, claim, now_ms=now_ms, until_ms=until_ms)

    def move_cursor(self, name: str, claim: str, sequence: int, *, until_ms: int) -> bool:
        """See ``Index``."""
        return self._log.move_cursor(name, claim, sequence, until_ms=until_ms)

    # damage

    def note_damage(self, damage: Damage) -> Damage:
        """See ``Index``."""
        is_news = (
            DamageItem.found_ms.does_not_exist()
            | (DamageItem.etag != damage.object_etag)
            | (DamageItem.modified_ms != damage.object_modified_ms)
        )
        if self._table.put_if(damage_item(damage), is_news):
            return damage
        item = self._table.get(damage_key(damage.object_key))
        return damage if item is None else damage_row(DamageItem.from_raw_data(item))

    def clear_damage(self, damage: Damage) -> None:
        """See ``Index``."""
        is_same = (DamageItem.etag == damage.object_etag) & (
            DamageItem.modified_ms == damage.object_modified_ms
        )
        self._table.delete_if(damage_key(damage.object_key), is_same)

    def damages(self, after: str | None = None, *, limit: int = 1000) -> Page[Damage]:
        """See ``Index``."""
        behind = None if after is None else Item.sort > after
        items = list(self._table.query(DAMAGE_PARTITION, behind, limit=limit + 1))
        read = tuple(damage_row(DamageItem.from_raw_data(item)) for item in items[:limit])
        return Page(read, read[-1].object_key if len(items) > limit else None)

    # studies

    def get_studies(self, study_instance_uids: Collection[str]) -> Mapping[str, StudyRow]:
        """See ``Index``."""
        items = self._table.batch_get(map(study_key, study_instance_uids))
        rows = [study_row(StudyItem.from_raw_data(item)) for item in items.values()]
        return {row.study_instance_uid: row for row in rows}

    def fold_study(
        self, row: StudyRow, *, expected_version: int, moved: CountsMove | None = None
    ) -> bool:
        """See ``Index``.

        Raises:
            UnavailableError: Others were at the counts each time; nothing was written.
        """
        condition: Condition = StudyItem.version == expected_version
        if not expected_version:
            condition |= StudyItem.version.does_not_exist()
        item = study_item(row, shards=self._search_shards)
        if moved is None:
            return self._table.put_if(item, condition)
        for attempt in range(_COUNT_ATTEMPTS):
            patients, more = self._moved_patients(moved)
            failed = self._table.put_and_add(
                [(item, condition), *patients],
                (counts_key(row.study_instance_uid), _additions(moved, patients=more)),
            )
            if failed is None:
                return True
            if failed[0]:
                return False
            self._table.back_off(attempt)
        raise UnavailableError("the counts are written to faster than they can be moved")

    def _moved_patients(self, moved: CountsMove) -> tuple[list[tuple[PatientItem, Condition]], int]:
        """Give what becomes of the patients' items, and how many patients more there are."""
        keys = {patient_id: patient_studies_key(patient_id) for patient_id in moved.studies}
        items = self._table.batch_get(keys.values())
        puts: list[tuple[PatientItem, Condition]] = []
        more = 0
        for patient_id, key in keys.items():
            held = items.get(key)
            before = 0 if held is None else int(PatientItem.from_raw_data(held).studies)
            after = before + moved.studies[patient_id]
            condition: Condition = PatientItem.studies == before
            if held is None:
                condition = PatientItem.studies.does_not_exist()
            puts.append((PatientItem(key.partition, key.sort, studies=after), condition))
            more += (after > 0) - (before > 0)
        return puts, more

    def count_archive(self) -> ArchiveCounts:
        """See ``Index``; adds up the shards."""
        items = [CountsItem.from_raw_data(each) for each in self._table.query(COUNTS_PARTITION)]
        names = [each.name for each in fields(ArchiveCounts)]
        return ArchiveCounts(
            **{name: sum(int(getattr(item, name) or 0) for item in items) for name in names}
        )

    # search

    @property
    def search_shards(self) -> int:
        """See ``Index``."""
        return self._search_shards

    def scan_studies(
        self,
        path: SearchPath,
        shard: int,
        *,
        low: str = "",
        high: str | None = None,
        after: str | None = None,
        limit: int = 1000,
        backwards: bool = False,
        containing: Mapping[str, tuple[str, ...]] | None = None,
    ) -> EntryPage:
        """See ``Index``; keys over 1,024 bytes are cut, and what is given is the key as cut.

        With ``containing``, an entry at an end of the page may count among the entries read.
        """
        pieces = sharp_pieces(path, containing)
        descending = (path is SearchPath.DATE) != backwards
        stretch = Stretch.of(low, high, after, descending=descending)
        if stretch.is_empty:
            return EntryPage(())
        name = SEARCH_KEYS[path].name
        found: list[RawItem] = []
        scanned, last = 0, None
        for page in self._table.scan_index(
            path.value,
            str(shard),
            _range_condition(getattr(StudyItem, path.value), stretch.low, stretch.high),
            filter_condition=_carrying([piece for _, piece in pieces]) if pieces else None,
            attributes=[
                PARTITION_KEY.name,
                SORT_KEY.name,
                name,
                *([CARRIED] if containing else []),
            ],
            limit=limit + stretch.left_out_first,
            descending=descending,
        ):
            within = [item for item in page.items if stretch.holds(item[name]["S"])]
            found += within
            scanned += page.scanned - (len(page.items) - len(within))
            last = page.last
            if pieces and len(found) >= MOST_FOUND:
                break
        keywords = tuple(containing or ())
        entries = tuple(self._study_entry(item, name, keywords) for item in found[:limit])
        token: str | None = None
        if len(found) > limit:
            token = entries[-1].sort_key
        elif last is not None:
            token = last[name]["S"]
        return EntryPage(entries, token, min(scanned, limit))

    def _study_entry(self, item: RawItem, name: str, keywords: Sequence[str]) -> StudyEntry:
        carried: dict[str, str] = {}
        if keywords:
            texts = parse_carried(item.get(CARRIED, {}).get("S"))
            carried = {keyword: texts[keyword] for keyword in keywords if keyword in texts}
        return StudyEntry(item[name]["S"], self._study_uid(item), carried)

    def count_studies(
        self, path: SearchPath, shard: int, *, low: str = "", high: str | None = None
    ) -> int:
        """See ``Index``; at an end over 1,020 bytes a few more may be counted."""
        stretch = Stretch.of(low, high, None, descending=False)
        if stretch.is_empty:
            return 0
        low, high = stretch.low, stretch.high
        if low and high is not None:
            high = just_below(high)
        condition = _range_condition(getattr(StudyItem, path.value), low, high)
        return self._table.count_index(path.value, str(shard), condition)

    def find_uid(self, uid: str) -> tuple[SeriesResource | InstanceResource, ...]:
        """See ``Index``."""
        items = self._table.query_index(UID_INDEX, uid_key(uid))
        named = {self._named(Item.from_raw_data(item)) for item in items}
        series = sorted(each for each in named if isinstance(each, SeriesResource))
        instances = sorted(each for each in named if isinstance(each, InstanceResource))
        return (*series, *instances)

    # Orthanc's identifiers

    def note_identifiers(self, identifiers: Mapping[str, Resource]) -> None:
        """See ``Index``."""
        items = [identifier_item(key, resource) for key, resource in identifiers.items()]
        self._table.batch_write(items, [])

    def find_identifier(self, orthanc_id: str) -> Resource | None:
        """See ``Index``."""
        item = self._table.get(identifier_key(orthanc_id))
        return None if item is None else identified(IdentifierItem.from_raw_data(item))

    def missing_identifiers(self, orthanc_ids: Collection[str]) -> frozenset[str]:
        """See ``Index``."""
        keys = {each: identifier_key(each) for each in orthanc_ids}
        items = self._table.eventual_batch_get(keys.values())
        return frozenset(each for each, key in keys.items() if key not in items)

    def _for_each(self, function: Callable[[T], R], arguments: Collection[T]) -> list[R]:
        """Give the results in the order of the arguments; the first failure is raised at the end."""
        if len(arguments) < 2 or self._parallel < 2:
            return [function(argument) for argument in arguments]
        with ThreadPoolExecutor(min(self._parallel, len(arguments))) as pool:
            return list(pool.map(function, arguments))

    def _study_uid(self, item: RawItem) -> str:
        # Scans give many entries, of which hardly one needs more than its key.
        named = parse_item_key(key_of(item))
        return str(self._named(Item.from_raw_data(item)) if named is None else named)

    def _named(self, item: Item) -> str | SeriesResource | InstanceResource | None:
        """Give what an item of a secondary index names, from the item itself if need be."""
        named = named_by(item)
        if named is not None:
            return named
        whole = self._table.get(ItemKey(item.partition, item.sort))
        return None if whole is None else named_by(Item.from_raw_data(whole))


def _read(model: type[ObjectItem], item: RawItem | None) -> ObjectItem | None:
    return None if item is None else model.from_raw_data(item)


def _additions(moved: CountsMove, *, patients: int) -> list[Action]:
    return [
        CountsItem.patients.add(patients),
        CountsItem.studies.add(sum(moved.studies.values())),
        CountsItem.series.add(moved.series),
        CountsItem.instances.add(moved.instances),
        CountsItem.total_bytes.add(moved.total_bytes),
        CountsItem.saved_bytes.add(moved.saved_bytes),
    ]


def _settled_etag(row: ObjectRow, held: list[RawItem]) -> str | None:
    if len(held) == 1:
        return instance_row(InstanceItem.from_raw_data(held[0])).object_etag
    if held or row.rejection is None:
        return None
    return row.rejection.etag


def _object_key_of(item: RawItem) -> str:
    key = key_of(item)
    if key.partition.startswith(DOCUMENT_PREFIX):
        return key.partition.removeprefix(DOCUMENT_PREFIX)
    if key.partition.startswith(OBJECT_PREFIX):
        return key.partition.removeprefix(OBJECT_PREFIX)
    return instance_row(InstanceItem.from_raw_data(item)).object_key


def _walked(item: RawItem) -> SeriesResource | ObjectRow | None:
    key = key_of(item)
    if key.partition.startswith(OBJECT_PREFIX):
        object_key = key.partition.removeprefix(OBJECT_PREFIX)
        return object_row(object_key, ObjectItem.from_raw_data(item))
    if key.partition.startswith(DOCUMENT_PREFIX):
        return ObjectRow(object_key=key.partition.removeprefix(DOCUMENT_PREFIX))
    if not key.sort.startswith((SERIES_PREFIX, INSTANCE_PREFIX)):
        return None
    named = named_by(Item.from_raw_data(item))
    return named.series if isinstance(named, InstanceResource) else cast("SeriesResource", named)


def _format_item_token(key: ItemKey) -> str:
    return key.sort + _AFTER_SORT_KEY + key.partition


def _parse_item_token(token: str) -> ItemKey:
    sort, _, partition = token.partition(_AFTER_SORT_KEY)
    return ItemKey(partition, sort)


def _was_retried(answer: Mapping[str, Any]) -> bool:
    return bool(answer["ResponseMetadata"].get("RetryAttempts", 0))


def _instance_part(item: RawItem) -> str:
    """Give what the sort keys of all items of the same instance begin with."""
    return key_of(item).sort.rpartition("#")[0] + "#"


def _rows(items: Iterable[RawItem], row_of: Callable[[InstanceItem], H]) -> tuple[H, ...]:
    rows = [row_of(InstanceItem.from_raw_data(item)) for item in items]
    return tuple(sorted(rows, key=lambda row: (row.instance, row.object_key)))


def _page_of_instance(rows: Collection[H], prefix: str, *, limit: int) -> Page[H]:
    """Cut a page out of one instance's rows; after the last of them comes the next instance."""
    page = tuple(islice(rows, limit))
    if len(page) == len(rows):
        return Page(page, end_of(prefix))
    return Page(page, prefix + _AFTER_SORT_KEY + page[-1].object_key)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """A part of an ordered index: without its upper end, maybe without its lower one.

    DynamoDB finds what lies between two ends with both of them.
    """

    low: str
    high: str | None
    without_low: bool = False
    descending: bool

    @classmethod
    def of(cls, low: str, high: str | None, after: str | None, *, descending: bool) -> Stretch:
        """Give what a scan is of, in keys as DynamoDB takes them."""
        low, high = fit_low(low), None if high is None else fit_high(high)
        without_low = False
        if after is not None:
            after = fit_sort_key(after)
            if descending:
                high = after if high is None else min(high, after)
            else:
                without_low = after >= low
                low = max(low, after)
        return cls(low=low, high=high, without_low=without_low, descending=descending)

    @property
    def is_empty(self) -> bool:
        """Whether no sort key is in it."""
        return self.high is not None and self.high <= self.low

    @property
    def left_out_first(self) -> int:
        """How many of the entries that DynamoDB reads first may lie outside."""
        if self.descending:
            return int(bool(self.low) and self.high is not None)
        return int(self.without_low)

    def holds(self, sort_key: str) -> bool:
        """Whether a sort key that DynamoDB finds lies inside."""
        return sort_key != self.high and not (self.without_low and sort_key == self.low)


def _carrying(pieces: Sequence[str]) -> Condition:
    """Let those items through whose texts, as they are written, may contain all pieces."""
    carried = StudyItem.carried
    condition: Condition = carried.contains(in_carried(pieces[0]))
    for piece in pieces[1:]:
        condition &= carried.contains(in_carried(piece))
    condition |= carried.contains(in_carried(CARRIED_CUT))
    return condition


def _range_condition(attribute: UnicodeAttribute, low: str, high: str | None) -> Condition | None:
    # A key condition takes one operator, and no empty text.
    if low and high is not None:
        return attribute.between(low, high)
    if high is not None:
        return attribute < high
    return attribute >= low if low else None
