"""The index in a SQLite file."""

from __future__ import annotations

import json
import zlib
from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from dicomulus.adapters.carried import MOST_FOUND, sharp_pieces
from dicomulus.adapters.local import change_log, document_rows
from dicomulus.adapters.local.database import Database
from dicomulus.adapters.local.index_schema import (
    CARRIED_COLUMNS,
    INDEX_SCHEMA,
    INSTANCE_COLUMNS,
    SEARCH_KEY_COLUMNS,
    SERIES_COLUMNS,
    STUDY_COLUMNS,
)
from dicomulus.adapters.local.study_scan import (
    Stretch,
    count_statement,
    entries_statement,
    last_key_statement,
)
from dicomulus.dicom.orthanc_id import Level, level_of
from dicomulus.dicom.own_keys import is_document_key
from dicomulus.dicom.resource import (
    InstanceResource,
    PatientResource,
    SeriesResource,
    instance_of_key,
)
from dicomulus.ports import (
    ArchiveCounts,
    Damage,
    DictionaryRow,
    EntryPage,
    Fragment,
    HeldChecksum,
    InstanceAnswer,
    InstanceRow,
    ObjectRow,
    Page,
    Rejection,
    SearchKeys,
    SearchPath,
    SeriesRow,
    StoredObject,
    StudyEntry,
    StudyRow,
)

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from dicomulus.dicom.resource import Resource
    from dicomulus.ports import (
        Change,
        ChangeType,
        CountsMove,
        DocumentRow,
        InstanceChanges,
        InstanceRowKey,
        LogState,
        Tidings,
        Told,
    )


def _list(names: Iterable[str]) -> str:
    return ", ".join(names)


def _marks(count: int) -> str:
    return ", ".join("?" * count)


_INSTANCE_LIST: Final = _list(INSTANCE_COLUMNS)
_SERIES_LIST: Final = _list(SERIES_COLUMNS)
_STUDY_LIST: Final = _list(STUDY_COLUMNS)
_UNFOLDED: Final = ("version", "compact_due_ms", "stable_version", "stable_due_ms")
_FOLD_COLUMNS: Final = tuple(c for c in SERIES_COLUMNS if c not in _UNFOLDED)

# Only names of columns are joined into statements.
# ruff: noqa: S608

ADD_SERIES: Final = """
    INSERT OR IGNORE INTO series (study_instance_uid, series_instance_uid) VALUES (?, ?)
"""
FIND_SERIES: Final = """
    SELECT id FROM series WHERE study_instance_uid = ? AND series_instance_uid = ?
"""
READ_SERIES: Final = f"""
    SELECT {_SERIES_LIST} FROM series
    WHERE study_instance_uid = ? AND series_instance_uid = ? AND version IS NOT NULL
"""
READ_SERIES_OF_STUDY: Final = f"""
    SELECT series_instance_uid, {_SERIES_LIST} FROM series
    WHERE study_instance_uid = ? AND version IS NOT NULL
    ORDER BY series_instance_uid
"""
READ_VERSION: Final = "SELECT version, compact_due_ms FROM series WHERE id = ?"
FILL_SERIES: Final = f"""
    UPDATE series SET {_list(f"{c} = ?" for c in SERIES_COLUMNS)} WHERE id = ?
"""
# A power cut can set the file back behind bundles that are on disk already; as versions are never
# behind the time of day, none that such a bundle has comes again.
MOVE_VERSION: Final = """
    UPDATE series SET version = max(version + 1, ?), compact_due_ms = ? WHERE id = ?
"""
FOLD_SERIES: Final = f"""
    UPDATE series SET {_list(f"{c} = ?" for c in _FOLD_COLUMNS)}
    WHERE study_instance_uid = ? AND series_instance_uid = ? AND version = ?
"""
SETTLE_SERIES: Final = """
    UPDATE series SET
        stable_due_ms = CASE WHEN compact_due_ms IS NULL THEN stable_due_ms ELSE ? END,
        compact_due_ms = NULL
    WHERE study_instance_uid = ? AND series_instance_uid = ? AND version = ?
"""
OVERDUE_SERIES: Final = """
    SELECT study_instance_uid, series_instance_uid FROM series
    WHERE compact_due_ms IS NOT NULL AND compact_due_ms < ?
    ORDER BY compact_due_ms LIMIT ?
"""
QUIET_SERIES: Final = """
    SELECT study_instance_uid, series_instance_uid FROM series
    WHERE stable_due_ms IS NOT NULL AND stable_due_ms < ? AND compact_due_ms IS NULL
    ORDER BY stable_due_ms LIMIT ?
"""
MARK_STABLE: Final = """
    UPDATE series SET stable_version = version
    WHERE study_instance_uid = ? AND series_instance_uid = ? AND version = ?
"""
END_QUIET: Final = """
    UPDATE series SET stable_due_ms = NULL
    WHERE study_instance_uid = ? AND series_instance_uid = ? AND version = ?
"""
NOTE_DAMAGE: Final = """
    INSERT INTO damage (object_key, object_etag, object_modified_ms, found_ms)
    VALUES (?1, ?2, ?3, ?4)
    ON CONFLICT DO UPDATE SET object_etag = ?2, object_modified_ms = ?3, found_ms = ?4
    WHERE object_etag != ?2 OR object_modified_ms != ?3
"""
READ_DAMAGE: Final = """
    SELECT object_key, object_etag, object_modified_ms, found_ms FROM damage WHERE object_key = ?
"""
CLEAR_DAMAGE: Final = """
    DELETE FROM damage WHERE object_key = ? AND object_etag = ? AND object_modified_ms = ?
"""
READ_DAMAGES: Final = """
    SELECT object_key, object_etag, object_modified_ms, found_ms FROM damage
    WHERE object_key > ? ORDER BY object_key LIMIT ?
"""
PUT_INSTANCE: Final = f"""
    INSERT INTO instance (series_id, {_INSTANCE_LIST}) VALUES ({_marks(len(INSTANCE_COLUMNS) + 1)})
    ON CONFLICT (series_id, sop_instance_uid, object_key)
    DO UPDATE SET {_list(f"{c} = excluded.{c}" for c in INSTANCE_COLUMNS[2:])}
"""
RENEW_INSTANCE: Final = f"""
    UPDATE instance SET {_list(f"{c} = ?" for c in INSTANCE_COLUMNS[2:])}
    WHERE series_id = ? AND sop_instance_uid = ? AND object_key = ?
    AND object_etag = ? AND object_modified_ms = ?
"""
DELETE_INSTANCE: Final = """
    DELETE FROM instance WHERE series_id = ? AND sop_instance_uid = ? AND object_key = ?
"""
READ_INSTANCES: Final = f"""
    SELECT {_INSTANCE_LIST} FROM instance
    WHERE series_id = ({FIND_SERIES}) AND (sop_instance_uid, object_key) > (?, ?)
    ORDER BY sop_instance_uid, object_key LIMIT ?
"""
READ_INSTANCE_ANSWERS: Final = f"""
    SELECT sop_instance_uid, object_key, object_modified_ms, damaged, instance_number, attributes
    FROM instance
    WHERE series_id = ({FIND_SERIES}) AND (sop_instance_uid, object_key) > (?, ?)
    ORDER BY sop_instance_uid, object_key LIMIT ?
"""
READ_STORED_OBJECTS: Final = f"""
    SELECT sop_instance_uid, object_key, object_etag, object_size, object_modified_ms,
        transfer_syntax_uid, instance_number, damaged
    FROM instance
    WHERE series_id = ({FIND_SERIES}) AND (sop_instance_uid, object_key) > (?, ?)
    ORDER BY sop_instance_uid, object_key LIMIT ?
"""
READ_INSTANCE: Final = f"""
    SELECT {_INSTANCE_LIST} FROM instance
    WHERE series_id = ({FIND_SERIES}) AND sop_instance_uid = ?
    ORDER BY object_key
"""
READ_CHECKSUM: Final = f"""
    SELECT object_etag, object_modified_ms, checksum FROM instance
    WHERE series_id = ({FIND_SERIES}) AND sop_instance_uid = ? AND object_key = ?
    AND checksum <> ''
"""
PUT_DICTIONARY: Final = """
    INSERT OR IGNORE INTO dictionary (series_id, name, content) VALUES (?, ?, ?)
"""
READ_DICTIONARIES: Final = f"""
    SELECT name, content FROM dictionary WHERE series_id = ({FIND_SERIES}) ORDER BY name
"""
ADD_OBJECT_INSTANCE: Final = """
    INSERT OR IGNORE INTO object_instance (object_key, series_id, sop_instance_uid)
    VALUES (?, ?, ?)
"""
PUT_REJECTION: Final = (
    "INSERT OR REPLACE INTO rejection (object_key, etag, reason) VALUES (?, ?, ?)"
)
DELETE_REJECTION: Final = "DELETE FROM rejection WHERE object_key = ?"
READ_OBJECTS: Final = """
    SELECT o.object_key, s.study_instance_uid, s.series_instance_uid, o.sop_instance_uid
    FROM object_instance AS o JOIN series AS s ON s.id = o.series_id
    WHERE o.object_key IN (SELECT value FROM json_each(?1))
    UNION ALL
    SELECT object_key, etag, reason, NULL FROM rejection
    WHERE object_key IN (SELECT value FROM json_each(?1))
"""
READ_SETTLED: Final = """
    SELECT object_key, object_etag, 1 FROM instance
    WHERE object_key IN (SELECT value FROM json_each(?1))
    UNION ALL
    SELECT object_key, object_etag, 1 FROM document
    WHERE object_key IN (SELECT value FROM json_each(?1))
    UNION ALL
    SELECT object_key, etag, 0 FROM rejection
    WHERE object_key IN (SELECT value FROM json_each(?1))
"""
WALK_OBJECTS: Final = """
    SELECT object_key FROM instance WHERE object_key > ?1
    UNION SELECT object_key FROM document WHERE object_key > ?1
    UNION SELECT object_key FROM rejection WHERE object_key > ?1
    ORDER BY 1 LIMIT ?2
"""
WALK_SERIES: Final = """
    SELECT study_instance_uid, series_instance_uid FROM series AS s
    WHERE (study_instance_uid, series_instance_uid) > (?, ?)
    AND (version IS NOT NULL OR EXISTS (SELECT 1 FROM instance WHERE series_id = s.id))
    ORDER BY study_instance_uid, series_instance_uid LIMIT ?
"""
WALK_OBJECT_ROWS: Final = """
    SELECT object_key FROM object_instance WHERE object_key > ?1
    UNION SELECT object_key FROM document WHERE object_key > ?1
    UNION SELECT object_key FROM rejection WHERE object_key > ?1
    ORDER BY 1 LIMIT ?2
"""
FORGET_OBJECT: Final = "DELETE FROM object_instance WHERE object_key = ?"
FIND_UID: Final = """
    SELECT study_instance_uid, series_instance_uid, NULL FROM series
    WHERE series_instance_uid = ?1 AND version IS NOT NULL
    UNION
    SELECT s.study_instance_uid, s.series_instance_uid, i.sop_instance_uid
    FROM instance AS i JOIN series AS s ON s.id = i.series_id
    WHERE i.sop_instance_uid = ?1
"""
NOTE_IDENTIFIER: Final = """
    INSERT OR IGNORE INTO identifier (orthanc_id, level, uid, series_id) VALUES (?, ?, ?, ?)
"""
FIND_IDENTIFIER: Final = """
    SELECT level, uid, study_instance_uid, series_instance_uid
    FROM identifier LEFT JOIN series ON series.id = identifier.series_id
    WHERE orthanc_id = ?
"""
HAS_IDENTIFIER: Final = "SELECT 1 FROM identifier WHERE orthanc_id = ?"
READ_STUDIES: Final = f"""
    SELECT {_STUDY_LIST} FROM study
    WHERE study_instance_uid IN (SELECT value FROM json_each(?))
"""
READ_COUNTS: Final = """
    SELECT patients, studies, series, instances, total_bytes, attached_bytes,
        attached_stored_bytes, saved_bytes
    FROM archive_counts WHERE id = 1
"""
MOVE_COUNTS: Final = """
    UPDATE archive_counts SET patients = patients + ?, studies = studies + ?, series = series + ?,
        instances = instances + ?, total_bytes = total_bytes + ?,
        saved_bytes = saved_bytes + ?
    WHERE id = 1
"""
MOVE_PATIENT: Final = """
    INSERT INTO patient_studies (patient_id, studies) VALUES (?, ?)
    ON CONFLICT DO UPDATE SET studies = studies + excluded.studies
    RETURNING studies
"""
FORGET_PATIENTS: Final = "DELETE FROM patient_studies WHERE patient_id = ? AND studies = 0"
READ_STUDY: Final = f"SELECT {_STUDY_LIST} FROM study WHERE study_instance_uid = ?"
ADD_STUDY: Final = f"""
    INSERT INTO study ({_STUDY_LIST}) VALUES ({_marks(len(STUDY_COLUMNS))})
"""
REPLACE_STUDY: Final = f"""
    UPDATE study SET {_list(f"{c} = ?" for c in STUDY_COLUMNS[1:])} WHERE study_instance_uid = ?
"""
ADD_SEARCH: Final = f"""
    INSERT OR REPLACE INTO study_search
    (path, sort_key, study_instance_uid, {_list(CARRIED_COLUMNS.values())})
    VALUES ({_marks(len(CARRIED_COLUMNS) + 3)})
"""
DELETE_SEARCH: Final = """
    DELETE FROM study_search WHERE path = ? AND sort_key = ? AND study_instance_uid = ?
"""


class SqliteIndex:
    """An ``Index`` in one file, for the threads of one process; other processes open their own.

    Every commit is one transaction, and indexed reads lag behind nothing.
    """

    def __init__(self, path: Path) -> None:
        """Open the index, or create it.

        Raises:
            ConfigurationError: The file is of another version, or no index.
            UnavailableError: It cannot be opened now.
        """
        self._database = Database(path, INDEX_SCHEMA)

    def close(self) -> None:
        """Close the file; whoever still uses it gets an error."""
        self._database.close()

    # objects

    def note_objects(
        self, instances: Mapping[str, frozenset[InstanceResource]]
    ) -> Mapping[str, ObjectRow]:
        """Add instances to what keys were seen to hold; a look without news writes nothing."""
        with self._database.reading() as connection:
            rows = _read_objects(connection, instances)
        news = {
            key: held - rows[key].instances
            for key, held in instances.items()
            if held and (rows[key].rejection is not None or not held <= rows[key].instances)
        }
        if not news:
            return rows
        with self._database.writing() as connection:
            for key, held in news.items():
                connection.execute(DELETE_REJECTION, (key,))
                connection.executemany(
                    ADD_OBJECT_INSTANCE,
                    [(key, _series_id(connection, i.series), i.sop_instance_uid) for i in held],
                )
            return _read_objects(connection, instances)

    def reject_objects(self, rejections: Mapping[str, Rejection | None]) -> None:
        """Record why objects are not indexed, or that nothing speaks against them any more."""
        given = [(key, r.etag, r.reason) for key, r in rejections.items() if r is not None]
        ended = [(key,) for key, r in rejections.items() if r is None]
        with self._database.writing() as connection:
            connection.executemany(PUT_REJECTION, given)
            connection.executemany(DELETE_REJECTION, ended)

    def indexed_etags(self, object_keys: Collection[str]) -> Mapping[str, str]:
        """Give the entity tag for which each key's state is settled."""
        rows: dict[str, list[str]] = defaultdict(list)
        rejected: dict[str, str] = {}
        with self._database.reading() as connection:
            for key, etag, is_row in connection.execute(READ_SETTLED, (_array(object_keys),)):
                if is_row:
                    rows[key].append(etag)
                else:
                    rejected[key] = etag
        settled = {key: etags[0] for key, etags in rows.items() if len(etags) == 1}
        return settled | {
            key: etag for key, etag in rejected.items() if key not in rows or is_document_key(key)
        }

    def eventual_etags(self, object_keys: Collection[str]) -> Mapping[str, str]:
        """Give what ``indexed_etags`` does, which costs nothing here."""
        return self.indexed_etags(object_keys)

    def known_objects(self, after: str | None = None, *, limit: int = 1000) -> Page[ObjectRow]:
        """Walk all keys that hold an instance row or a rejection, in their order."""
        with self._database.reading() as connection:
            keys = [key for (key,) in connection.execute(WALK_OBJECTS, (after or "", limit))]
            rows = _read_objects(connection, keys)
        return Page(tuple(rows[key] for key in keys), keys[-1] if len(keys) == limit else None)

    def walk(
        self,
        after: str | None = None,
        *,
        segment: int = 0,
        segments: int = 1,
        limit: int = 1000,
    ) -> Page[SeriesResource | ObjectRow]:
        """Walk the series by their UIDs, then the object rows by their keys."""
        kind, *last = json.loads(after) if after else ("series", "", "")
        with self._database.reading() as connection:
            if kind == "series":
                found = connection.execute(WALK_SERIES, (*last, limit)).fetchall()
                series = [SeriesResource(*uids) for uids in found]
                mine = [s for s in series if _segment(s.study_instance_uid, segments) == segment]
                token = ["series", *found[-1]] if len(found) == limit else ["object", ""]
                return Page(tuple(mine), json.dumps(token))
            keys = [key for (key,) in connection.execute(WALK_OBJECT_ROWS, (*last, limit))]
            rows = _read_objects(connection, keys)
        here = tuple(rows[key] for key in keys if _segment(key, segments) == segment)
        return Page(here, json.dumps(["object", keys[-1]]) if len(keys) == limit else None)

    def forget_object(self, row: ObjectRow) -> bool:
        """Remove an object row that is still as given."""
        with self._database.writing() as connection:
            if _read_objects(connection, [row.object_key])[row.object_key] != row:
                return False
            connection.execute(FORGET_OBJECT, (row.object_key,))
            connection.execute(DELETE_REJECTION, (row.object_key,))
            return True

    # documents

    def get_documents(self, object_keys: Collection[str]) -> Mapping[str, DocumentRow]:
        """Read the rows of documents; those that do not exist are absent."""
        with self._database.reading() as connection:
            return document_rows.read_documents(connection, object_keys)

    def put_document(self, row: DocumentRow, *, instead_of: int | None = None) -> bool:
        """Put the row of a document, unless there is one of a newer version."""
        with self._database.writing() as connection:
            return document_rows.put_document(connection, row, instead_of=instead_of)

    def forget_document(self, object_key: str, version: int) -> bool:
        """Remove the row of a document that is still of that version."""
        with self._database.writing() as connection:
            return document_rows.forget_document(connection, object_key, version)

    def labelled(
        self, level: Level, label: str, after: str | None = None, *, limit: int = 1000
    ) -> Page[Resource]:
        """Give the resources of a level that have a label, by the keys of their documents."""
        with self._database.reading() as connection:
            return document_rows.read_labelled(connection, level, label, after, limit)

    def used_labels(self) -> tuple[str, ...]:
        """Give all labels that any resource has, in order."""
        with self._database.reading() as connection:
            return document_rows.read_used_labels(connection)

    # dictionaries

    def put_dictionary(self, row: DictionaryRow) -> None:
        """Keep a dictionary; the same name again changes nothing."""
        with self._database.writing() as connection:
            series_id = _series_id(connection, row.series)
            connection.execute(PUT_DICTIONARY, (series_id, row.name, row.content))

    def query_dictionaries(self, series: SeriesResource) -> tuple[DictionaryRow, ...]:
        """Give all dictionaries of a series, by name."""
        with self._database.reading() as connection:
            found = connection.execute(READ_DICTIONARIES, _key(series)).fetchall()
        return tuple(DictionaryRow(series=series, name=n, content=c) for n, c in found)

    # instances

    def commit(
        self, changes: InstanceChanges, *, now_ms: int, due_ms: int
    ) -> frozenset[SeriesResource]:
        """Put and delete rows and move the versions, in one transaction."""
        with self._database.writing() as connection:
            ids = _SeriesIds(connection)
            connection.executemany(PUT_INSTANCE, (_put_values(ids, row) for row in changes.puts))
            connection.executemany(
                RENEW_INSTANCE, (_renewed_values(ids, row) for row in changes.renewed)
            )
            connection.executemany(
                DELETE_INSTANCE, (_delete_values(ids, k) for k in changes.deletes)
            )
            for study in changes.studies.values():
                _create_study(connection, study, version=now_ms)
            return frozenset(
                series
                for series, row in changes.touched.items()
                if _move_version(connection, ids[series], row, now_ms=now_ms, due_ms=due_ms)
            )

    def query_instances(
        self, series: SeriesResource, after: str | None = None, *, limit: int = 1000
    ) -> Page[InstanceRow]:
        """Give the instance rows of a series, ordered by instance and object key."""
        with self._database.reading() as connection:
            found = connection.execute(READ_INSTANCES, _page(series, after, limit)).fetchall()
        rows = tuple(_instance_row(series, values) for values in found)
        return Page(rows, _next_page(found, limit))

    def query_instance_answers(
        self, series: SeriesResource, after: str | None = None, *, limit: int = 1000
    ) -> Page[InstanceAnswer]:
        """Give of the instance rows what a search needs, in the same order."""
        with self._database.reading() as connection:
            page = _page(series, after, limit)
            found = connection.execute(READ_INSTANCE_ANSWERS, page).fetchall()
        study_uid, series_uid = _key(series)
        answers = [
            InstanceAnswer(
                InstanceResource(study_uid, series_uid, sop), key, ms, bool(damaged), *rest
            )
            for sop, key, ms, damaged, *rest in found
        ]
        return Page(tuple(answers), _next_page(found, limit))

    def query_stored_objects(
        self, series: SeriesResource, after: str | None = None, *, limit: int = 1000
    ) -> Page[StoredObject]:
        """Give of the instance rows what sending needs, in the same order."""
        with self._database.reading() as connection:
            page = _page(series, after, limit)
            found = connection.execute(READ_STORED_OBJECTS, page).fetchall()
        study_uid, series_uid = _key(series)
        stored = [
            StoredObject(
                InstanceResource(study_uid, series_uid, sop),
                *(key, etag, size, modified_ms, syntax, number),
                bool(damaged),
            )
            for sop, key, etag, size, modified_ms, syntax, number, damaged in found
        ]
        return Page(tuple(stored), _next_page(found, limit))

    def get_instance(self, instance: InstanceResource) -> tuple[InstanceRow, ...]:
        """Give all rows of one instance, ordered by object key."""
        series = instance.series
        with self._database.reading() as connection:
            found = connection.execute(
                READ_INSTANCE, (*_key(series), instance.sop_instance_uid)
            ).fetchall()
        return tuple(_instance_row(series, values) for values in found)

    def held_checksums(
        self, keys: Collection[InstanceRowKey]
    ) -> Mapping[InstanceRowKey, HeldChecksum]:
        """Give the checksums of instance rows; rows without one are absent."""
        held: dict[InstanceRowKey, HeldChecksum] = {}
        with self._database.reading() as connection:
            for key in keys:
                place = (*_key(key.instance.series), key.instance.sop_instance_uid, key.object_key)
                found = connection.execute(READ_CHECKSUM, place).fetchone()
                if found is not None:
                    held[key] = HeldChecksum(*found)
        return held

    # series

    def get_series(self, series: SeriesResource) -> SeriesRow | None:
        """Read one series."""
        with self._database.reading() as connection:
            values = connection.execute(READ_SERIES, _key(series)).fetchone()
        return None if values is None else _series_row(series, values)

    def query_series(self, study_instance_uid: str) -> tuple[SeriesRow, ...]:
        """Read all series of a study, emptied ones too, by Series Instance UID."""
        with self._database.reading() as connection:
            found = connection.execute(READ_SERIES_OF_STUDY, (study_instance_uid,)).fetchall()
        return tuple(
            _series_row(SeriesResource(study_instance_uid, uid), values) for uid, *values in found
        )

    def fold_series(self, row: SeriesRow) -> bool:
        """Write a fold if the series still has ``row.version``."""
        values = [_series_values(row)[SERIES_COLUMNS.index(c)] for c in _FOLD_COLUMNS]
        with self._database.writing() as connection:
            done = connection.execute(FOLD_SERIES, (*values, *_key(row.series), row.version))
            return done.rowcount == 1

    def settle_series(
        self, series: SeriesResource, version: int, *, stable_due_ms: int | None = None
    ) -> bool:
        """Remove the due time if the series still has that version."""
        return self._update_series(SETTLE_SERIES, stable_due_ms, *_key(series), version)

    def overdue_series(self, now_ms: int, *, limit: int = 1000) -> tuple[SeriesResource, ...]:
        """Find series due before a time, the longest overdue first."""
        with self._database.reading() as connection:
            found = connection.execute(OVERDUE_SERIES, (now_ms, limit)).fetchall()
        return tuple(SeriesResource(*uids) for uids in found)

    # stability

    def quiet_series(self, now_ms: int, *, limit: int = 1000) -> tuple[SeriesResource, ...]:
        """Find series whose stable due time is before a time, the longest first."""
        with self._database.reading() as connection:
            found = connection.execute(QUIET_SERIES, (now_ms, limit)).fetchall()
        return tuple(SeriesResource(*uids) for uids in found)

    def mark_stable(self, series: SeriesResource, version: int) -> bool:
        """Set ``stable_version`` if the series still has that version."""
        return self._update_series(MARK_STABLE, *_key(series), version)

    def end_quiet(self, series: SeriesResource, version: int) -> bool:
        """Remove the stable due time if the series still has that version."""
        return self._update_series(END_QUIET, *_key(series), version)

    def _update_series(self, statement: str, *values: object) -> bool:
        with self._database.writing() as connection:
            return connection.execute(statement, values).rowcount == 1

    # changes

    def told(self, series: SeriesResource) -> Told:
        """Give what the log says is there of a series."""
        with self._database.reading() as connection:
            return change_log.read_told(connection, series)

    def tell(self, tidings: Tidings) -> bool:
        """Append what has become of a series; one transaction, so nothing breaks off."""
        with self._database.writing() as connection:
            return change_log.tell(connection, tidings)

    def record_change(self, change: Change, *, after: int | None = None) -> bool:
        """Append a change; one transaction, and transactions come one after the other."""
        with self._database.writing() as connection:
            return change_log.record(connection, change, after=after)

    def recorded_version(self, change: Change) -> int:
        """Give the version recorded before."""
        with self._database.reading() as connection:
            return change_log.recorded_version(connection, change) or 0

    def flush_changes(self) -> None:
        """Nothing is ever between being told and being in the log."""

    def changes(
        self,
        since: int = 0,
        *,
        to: int | None = None,
        types: Collection[ChangeType] = (),
        limit: int = 100,
        backwards: bool = False,
    ) -> Page[Change]:
        """Read the log in order, beginning after a sequence."""
        with self._database.reading() as connection:
            return change_log.read_changes(
                connection, since, to, types=types, limit=limit, backwards=backwards
            )

    def log_state(self) -> LogState:
        """Say which log it is and where it ends."""
        with self._database.reading() as connection:
            return change_log.read_state(connection)

    def claim_cursor(self, name: str, claim: str, *, now_ms: int, until_ms: int) -> int | None:
        """Take the place from which somebody is told on, unless another has it."""
        with self._database.writing() as connection:
            return change_log.claim_cursor(
                connection, name, claim, now_ms=now_ms, until_ms=until_ms
            )

    def move_cursor(self, name: str, claim: str, sequence: int, *, until_ms: int) -> bool:
        """Note up to where somebody was told."""
        with self._database.writing() as connection:
            return change_log.move_cursor(connection, name, claim, sequence, until_ms=until_ms)

    # damage

    def note_damage(self, damage: Damage) -> Damage:
        """Keep that an object is damaged, in one transaction."""
        generation = damage.object_key, damage.object_etag, damage.object_modified_ms
        with self._database.writing() as connection:
            connection.execute(NOTE_DAMAGE, (*generation, damage.found_ms))
            return _damage(connection.execute(READ_DAMAGE, (damage.object_key,)).fetchone())

    def clear_damage(self, damage: Damage) -> None:
        """Forget that one generation of an object is damaged."""
        generation = damage.object_key, damage.object_etag, damage.object_modified_ms
        with self._database.writing() as connection:
            connection.execute(CLEAR_DAMAGE, generation)

    def damages(self, after: str | None = None, *, limit: int = 1000) -> Page[Damage]:
        """Give a page of what is damaged."""
        with self._database.reading() as connection:
            found = connection.execute(READ_DAMAGES, (after or "", limit + 1)).fetchall()
        read = tuple(_damage(values) for values in found[:limit])
        return Page(read, read[-1].object_key if len(found) > limit else None)

    # studies

    def get_studies(self, study_instance_uids: Collection[str]) -> Mapping[str, StudyRow]:
        """Read studies; those that do not exist are absent."""
        with self._database.reading() as connection:
            found = connection.execute(READ_STUDIES, (_array(study_instance_uids),)).fetchall()
        return {values[0]: _study_row(values) for values in found}

    def fold_study(
        self, row: StudyRow, *, expected_version: int, moved: CountsMove | None = None
    ) -> bool:
        """Replace a study row if its version is still the expected one; 0 means no row."""
        with self._database.writing() as connection:
            found = connection.execute(READ_STUDY, (row.study_instance_uid,)).fetchone()
            old = None if found is None else _study_row(found)
            if (0 if old is None else old.version) != expected_version:
                return False
            uid, *values = _study_values(row)
            if old is None:
                connection.execute(ADD_STUDY, (uid, *values))
            else:
                connection.execute(REPLACE_STUDY, (*values, uid))
            _move_search(connection, uid, None if old is None else old.search_keys, row.search_keys)
            if moved is not None:
                _move_counts(connection, moved)
            return True

    def count_archive(self) -> ArchiveCounts:
        """Give the counts."""
        with self._database.reading() as connection:
            found = connection.execute(READ_COUNTS).fetchone()
        names = ArchiveCounts.__dataclass_fields__
        return ArchiveCounts(**dict(zip(names, found, strict=True)))

    # search

    @property
    def search_shards(self) -> int:
        """One: a file is read from one place anyway."""
        return 1

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
        """Read an ordered index; ``shard`` must be 0."""
        _check_shard(shard)
        descending = (path is SearchPath.DATE) != backwards
        stretch = Stretch(path=path, low=low, high=high, descending=descending)
        if after is not None:
            stretch = stretch.after(after)
        keywords, pieces = tuple(containing or ()), sharp_pieces(path, containing)
        with self._database.reading() as connection:
            if pieces:
                return _scan_containing(connection, stretch, keywords, pieces, limit=limit)
            found = connection.execute(
                *entries_statement(stretch, keywords, limit=limit)
            ).fetchall()
        entries = _study_entries(found, keywords)
        more = len(entries) == limit
        return EntryPage(entries, entries[-1].sort_key if more else None, len(entries))

    def count_studies(
        self, path: SearchPath, shard: int, *, low: str = "", high: str | None = None
    ) -> int:
        """Count entries; ``shard`` must be 0."""
        _check_shard(shard)
        with self._database.reading() as connection:
            return _count(connection, Stretch(path=path, low=low, high=high, descending=False))

    def find_uid(self, uid: str) -> tuple[SeriesResource | InstanceResource, ...]:
        """Find the series or instances of a UID in any study."""
        with self._database.reading() as connection:
            found = connection.execute(FIND_UID, (uid,)).fetchall()
        return tuple(
            SeriesResource(study, series) if sop is None else InstanceResource(study, series, sop)
            for study, series, sop in found
        )

    # Orthanc's identifiers

    def note_identifiers(self, identifiers: Mapping[str, Resource]) -> None:
        """Keep what identifiers are of, in one transaction."""
        if not identifiers:
            return
        with self._database.writing() as connection:
            ids = _SeriesIds(connection)
            connection.executemany(
                NOTE_IDENTIFIER,
                [(_digest(key), *_identified(ids, of)) for key, of in identifiers.items()],
            )

    def find_identifier(self, orthanc_id: str) -> Resource | None:
        """Give what an identifier is of."""
        with self._database.reading() as connection:
            found = connection.execute(FIND_IDENTIFIER, (_digest(orthanc_id),)).fetchone()
        return None if found is None else _resource(*found)

    def missing_identifiers(self, orthanc_ids: Collection[str]) -> frozenset[str]:
        """Tell of which identifiers nothing is noted."""
        with self._database.reading() as connection:
            return frozenset(
                each
                for each in orthanc_ids
                if connection.execute(HAS_IDENTIFIER, (_digest(each),)).fetchone() is None
            )


# --- Orthanc's identifiers -----------------------------------------------------------------------


def _digest(orthanc_id: str) -> bytes:
    return bytes.fromhex(orthanc_id.replace("-", ""))


def _identified(ids: _SeriesIds, resource: Resource) -> tuple[str, str, int | None]:
    level = level_of(resource).value
    if isinstance(resource, PatientResource):
        return level, resource.patient_id, None
    if isinstance(resource, str):
        return level, resource, None
    if isinstance(resource, SeriesResource):
        return level, "", ids[resource]
    return level, resource.sop_instance_uid, ids[resource.series]


def _resource(level: str, uid: str, study: str, series: str) -> Resource:
    match Level(level):
        case Level.PATIENT:
            return PatientResource(uid)
        case Level.STUDY:
            return uid
        case Level.SERIES:
            return SeriesResource(study, series)
        case Level.INSTANCE:
            return InstanceResource(study, series, uid)


# --- objects -------------------------------------------------------------------------------------


def _read_objects(connection: sqlite3.Connection, keys: Iterable[str]) -> dict[str, ObjectRow]:
    keys = list(keys)
    instances = {key: _own_instance(key) for key in keys}
    rejections: dict[str, Rejection] = {}
    for key, first, second, sop in connection.execute(READ_OBJECTS, (_array(keys),)):
        if sop is None:
            rejections[key] = Rejection(etag=first, reason=second)
        else:
            instances[key].add(InstanceResource(first, second, sop))
    return {
        key: ObjectRow(
            object_key=key, instances=frozenset(instances[key]), rejection=rejections.get(key)
        )
        for key in keys
    }


def _segment(text: str, segments: int) -> int:
    return zlib.crc32(text.encode()) % segments


def _own_instance(object_key: str) -> set[InstanceResource]:
    # A canonical key counts as having held its own instance, so that it needs no row.
    own = instance_of_key(object_key)
    return set() if own is None else {own}


# --- series --------------------------------------------------------------------------------------


class _SeriesIds(dict[SeriesResource, int]):
    """The numbers of the series that one transaction handles."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        super().__init__()
        self._connection = connection

    def __missing__(self, series: SeriesResource) -> int:
        self[series] = found = _series_id(self._connection, series)
        return found


def _series_id(connection: sqlite3.Connection, series: SeriesResource) -> int:
    found = connection.execute(FIND_SERIES, _key(series)).fetchone()
    if found is None:
        connection.execute(ADD_SERIES, _key(series))
        found = connection.execute(FIND_SERIES, _key(series)).fetchone()
    return int(found[0])


def _move_version(
    connection: sqlite3.Connection,
    series_id: int,
    row: SeriesRow | None,
    *,
    now_ms: int,
    due_ms: int,
) -> bool:
    version, due = connection.execute(READ_VERSION, (series_id,)).fetchone()
    sets_due = due is None or due < now_ms
    if version is not None:
        connection.execute(MOVE_VERSION, (now_ms, due_ms if sets_due else due, series_id))
        return sets_due
    if row is None:
        return False
    fresh = replace(row, stable_version=0, stable_due_ms=None)
    _, folded_version, _, *fold = _series_values(fresh)
    connection.execute(FILL_SERIES, (now_ms + 1, folded_version, due_ms, *fold, series_id))
    return True


def _key(series: SeriesResource) -> tuple[str, str]:
    return series.study_instance_uid, series.series_instance_uid


def _series_values(row: SeriesRow) -> tuple[object, ...]:
    return (
        row.version,
        row.folded_version,
        row.compact_due_ms,
        row.instance_count,
        row.total_size,
        row.answer,
        row.attributes,
        row.study_attributes,
        row.main_tags,
        json.dumps(row.sop_class_uids),
        row.stable_version,
        row.stable_due_ms,
        row.modified_ms,
        row.saved_bytes,
    )


def _series_row(series: SeriesResource, values: Any) -> SeriesRow:
    version, folded_version, due, count, size, *texts = values[:8]
    main_tags, classes, stable_version, stable_due, modified_ms, saved_bytes = values[8:]
    answer, attributes, study_attributes = texts
    return SeriesRow(
        series=series,
        version=version,
        folded_version=folded_version,
        compact_due_ms=due,
        stable_version=stable_version,
        stable_due_ms=stable_due,
        instance_count=count,
        total_size=size,
        modified_ms=modified_ms,
        saved_bytes=saved_bytes,
        answer=answer,
        attributes=attributes,
        study_attributes=study_attributes,
        main_tags=main_tags,
        sop_class_uids=tuple(json.loads(classes)),
    )


# --- damage --------------------------------------------------------------------------------------


def _damage(values: Any) -> Damage:
    object_key, object_etag, object_modified_ms, found_ms = values
    return Damage(
        object_key=object_key,
        object_etag=object_etag,
        object_modified_ms=object_modified_ms,
        found_ms=found_ms,
    )


# --- changes -------------------------------------------------------------------------------------


# --- instances -----------------------------------------------------------------------------------


def _page(series: SeriesResource, after: str | None, limit: int) -> tuple[object, ...]:
    sop, key = json.loads(after) if after else ("", "")
    return (*_key(series), sop, key, limit)


def _next_page(found: Sequence[Any], limit: int) -> str | None:
    return json.dumps(found[-1][:2]) if len(found) == limit else None


def _put_values(ids: _SeriesIds, row: InstanceRow) -> tuple[object, ...]:
    fragment = row.fragment
    return (
        ids[row.instance.series],
        row.instance.sop_instance_uid,
        row.object_key,
        row.object_etag,
        row.object_size,
        row.object_modified_ms,
        row.checksum,
        row.sop_class_uid,
        row.transfer_syntax_uid,
        row.instance_number,
        row.damaged,
        row.attributes,
        row.further,
        row.main_tags,
        row.levels_digest,
        fragment.data,
        fragment.pointer,
        fragment.dictionary,
        fragment.raw_length,
        fragment.crc32,
        row.frame_table,
        row.frame_table_pointer,
        json.dumps(row.warnings) if row.warnings else "",
        row.compressed_size,
    )


def _renewed_values(ids: _SeriesIds, row: InstanceRow) -> tuple[object, ...]:
    series_id, sop_instance_uid, object_key, *values = _put_values(ids, row)
    expected = (row.object_etag, row.object_modified_ms)
    return (*values, series_id, sop_instance_uid, object_key, *expected)


def _delete_values(ids: _SeriesIds, key: InstanceRowKey) -> tuple[object, ...]:
    return ids[key.instance.series], key.instance.sop_instance_uid, key.object_key


def _instance_row(series: SeriesResource, values: Any) -> InstanceRow:
    sop, key, etag, size, modified_ms, checksum, sop_class, syntax, number = values[:9]
    damaged, attributes, further, main_tags, digest = values[9:14]
    data, pointer, dictionary, raw_length, crc32 = values[14:19]
    frame_table, frame_table_pointer, warnings, compressed_size = values[19:]
    return InstanceRow(
        instance=InstanceResource(series.study_instance_uid, series.series_instance_uid, sop),
        object_key=key,
        object_etag=etag,
        object_size=size,
        object_modified_ms=modified_ms,
        compressed_size=compressed_size,
        checksum=checksum,
        sop_class_uid=sop_class,
        transfer_syntax_uid=syntax,
        instance_number=number,
        attributes=attributes,
        further=further,
        main_tags=main_tags,
        levels_digest=digest,
        fragment=Fragment(
            data=data, pointer=pointer, dictionary=dictionary, raw_length=raw_length, crc32=crc32
        ),
        frame_table=frame_table,
        frame_table_pointer=frame_table_pointer,
        warnings=tuple(json.loads(warnings)) if warnings else (),
        damaged=bool(damaged),
    )


# --- studies -------------------------------------------------------------------------------------


def _create_study(connection: sqlite3.Connection, row: StudyRow, *, version: int) -> None:
    if connection.execute(READ_STUDY, (row.study_instance_uid,)).fetchone() is None:
        uid, _, *values = _study_values(row)
        connection.execute(ADD_STUDY, (uid, version, *values))
        _move_search(connection, row.study_instance_uid, None, row.search_keys)


def _move_counts(connection: sqlite3.Connection, moved: CountsMove) -> None:
    patients = 0
    for patient_id, more in moved.studies.items():
        (studies,) = connection.execute(MOVE_PATIENT, (patient_id, more)).fetchone()
        patients += (studies > 0) - (studies - more > 0)
        connection.execute(FORGET_PATIENTS, (patient_id,))
    more = sum(moved.studies.values())
    sizes = moved.total_bytes, moved.saved_bytes
    connection.execute(MOVE_COUNTS, (patients, more, moved.series, moved.instances, *sizes))


def _study_values(row: StudyRow) -> tuple[object, ...]:
    return (
        row.study_instance_uid,
        row.version,
        row.series_count,
        row.instance_count,
        row.attributes,
        row.answer,
        row.counted_bytes,
        row.counted_saved_bytes,
        *_search_key_values(row.search_keys),
    )


def _search_key_values(keys: SearchKeys | None) -> tuple[str | None, ...]:
    if keys is None:
        return (None,) * len(SEARCH_KEY_COLUMNS)
    return (*(getattr(keys, path.value) for path in SearchPath), *_carried_values(keys.carried))


def _study_row(values: Any) -> StudyRow:
    uid, version, series_count, instance_count, attributes, answer, *rest = values
    counted, counted_saved, *search_keys = rest
    return StudyRow(
        study_instance_uid=uid,
        version=version,
        series_count=series_count,
        instance_count=instance_count,
        attributes=attributes,
        answer=answer,
        counted_bytes=counted,
        counted_saved_bytes=counted_saved,
        search_keys=_search_keys(*search_keys),
    )


def _search_keys(
    by_date: str | None,
    by_patient_id: str,
    by_accession_number: str,
    by_patient_name: str,
    by_referring_physician_name: str,
    *carried: str | None,
) -> SearchKeys | None:
    if by_date is None:
        return None
    return SearchKeys(
        by_date=by_date,
        by_patient_id=by_patient_id,
        by_accession_number=by_accession_number,
        by_patient_name=by_patient_name,
        by_referring_physician_name=by_referring_physician_name,
        carried=_named(CARRIED_COLUMNS, carried),
    )


# --- search --------------------------------------------------------------------------------------


def _check_shard(shard: int) -> None:
    if shard != 0:
        raise ValueError("a SQLite index has one shard")


def _count(connection: sqlite3.Connection, stretch: Stretch) -> int:
    return int(connection.execute(*count_statement(stretch)).fetchone()[0])


def _scan_containing(
    connection: sqlite3.Connection,
    stretch: Stretch,
    keywords: Sequence[str],
    pieces: Sequence[tuple[str, str]],
    *,
    limit: int,
) -> EntryPage:
    """Read what may contain all pieces of the first entries.

    Where these end is looked up first, so that an entry that comes or goes meanwhile moves none
    of the others to another page.
    """
    last = connection.execute(*last_key_statement(stretch, limit)).fetchone()
    end = None if last is None else str(last[0])
    if end is not None:
        stretch = stretch.up_to(end)
    statement = entries_statement(stretch, keywords, pieces, limit=MOST_FOUND)
    found = connection.execute(*statement).fetchall()
    if len(found) == MOST_FOUND:
        end = str(found[-1][0])
        stretch = stretch.up_to(end)
    scanned = limit if last is not None and end == last[0] else _count(connection, stretch)
    return EntryPage(_study_entries(found, keywords), end, scanned)


def _study_entries(found: Sequence[Any], keywords: Sequence[str]) -> tuple[StudyEntry, ...]:
    if not keywords:
        return tuple([StudyEntry(sort_key, uid, {}) for sort_key, uid in found])
    return tuple([StudyEntry(key, uid, _named(keywords, texts)) for key, uid, *texts in found])


def _named(keywords: Iterable[str], texts: Iterable[str | None]) -> dict[str, str]:
    return {k: text for k, text in zip(keywords, texts, strict=True) if text is not None}


def _carried_values(carried: Mapping[str, str]) -> tuple[str | None, ...]:
    return tuple(map(carried.get, CARRIED_COLUMNS))


def _move_search(
    connection: sqlite3.Connection, uid: object, old: SearchKeys | None, new: SearchKeys | None
) -> None:
    before, after = set(_entries(old)), set(_entries(new))
    connection.executemany(DELETE_SEARCH, [(p, key, uid) for p, key, *_ in before - after])
    connection.executemany(ADD_SEARCH, [(p, key, uid, *t) for p, key, *t in after - before])


def _entries(keys: SearchKeys | None) -> Iterator[tuple[str | None, ...]]:
    if keys is None:
        return
    yield SearchPath.DATE.value, keys.by_date, *_carried_values(keys.carried)
    for path in SearchPath:
        sort_key = getattr(keys, path.value)
        if path is not SearchPath.DATE and sort_key:
            yield path.value, sort_key, *_carried_values({})


def _array(texts: Iterable[str]) -> str:
    return json.dumps(list(texts))
