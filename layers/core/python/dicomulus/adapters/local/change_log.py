"""The log of changes in a SQLite file; each append is one transaction of its callers."""

from __future__ import annotations

import json
import zlib
from typing import TYPE_CHECKING, Any, Final

from dicomulus.adapters.changed import format_changed, page_of, parse_changed
from dicomulus.adapters.lives import PatientLife, StudyLife, instances_after, outcome_of
from dicomulus.ports import Change, ChangeType, LogState, Page, Told

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection

    from dicomulus.adapters.lives import Outcome
    from dicomulus.dicom.resource import SeriesResource
    from dicomulus.ports import Tidings

_NO_NUMBER: Final = -1
"""Stands for no number where a key has to have one."""

READ_VERSION: Final = """
    SELECT version FROM change_version WHERE type = ? AND resource = ? AND number = ?
"""
NOTE_VERSION: Final = """
    INSERT OR REPLACE INTO change_version (type, resource, number, version) VALUES (?, ?, ?, ?)
"""
ADD_CHANGE: Final = """
    INSERT INTO change (type, resource, number, version, patient_id, date_ms)
    VALUES (?, ?, ?, ?, ?, ?)
"""
_CHANGES: Final = (
    "SELECT sequence, type, resource, number, version, patient_id, date_ms FROM change"
)
_RANGE: Final = "sequence > ? AND sequence <= ?"
READ_CHANGES: Final = {
    False: f"{_CHANGES} WHERE {_RANGE} ORDER BY sequence LIMIT ?",
    True: f"{_CHANGES} WHERE {_RANGE} ORDER BY sequence DESC LIMIT ?",
}
"""By whether they run backwards."""
READ_CHANGES_OF_TYPE: Final = {
    False: f"{_CHANGES} WHERE type = ? AND {_RANGE} ORDER BY sequence LIMIT ?",
    True: f"{_CHANGES} WHERE type = ? AND {_RANGE} ORDER BY sequence DESC LIMIT ?",
}
READ_STATE: Final = """
    SELECT identity, (SELECT coalesce(max(sequence), 0) FROM change) FROM change_log
"""
READ_TOLD: Final = """
    SELECT t.generation, t.instances, s.generation, s.patient_id
    FROM (SELECT ? AS study, ? AS series)
    LEFT JOIN told_series AS t ON t.study_instance_uid = study AND t.series_instance_uid = series
    LEFT JOIN told_study AS s ON s.study_instance_uid = study
"""
WRITE_TOLD_SERIES: Final = """
    INSERT OR REPLACE INTO told_series
    (study_instance_uid, series_instance_uid, generation, instances) VALUES (?, ?, ?, ?)
"""
READ_TOLD_STUDY: Final = """
    SELECT generation, series_count, patient_id FROM told_study WHERE study_instance_uid = ?
"""
WRITE_TOLD_STUDY: Final = """
    INSERT OR REPLACE INTO told_study
    (study_instance_uid, generation, series_count, patient_id) VALUES (?, ?, ?, ?)
"""
READ_TOLD_PATIENT: Final = """
    SELECT generation, study_count FROM told_patient WHERE patient_id = ?
"""
WRITE_TOLD_PATIENT: Final = """
    INSERT OR REPLACE INTO told_patient (patient_id, generation, study_count) VALUES (?, ?, ?)
"""
CLAIM_CURSOR: Final = """
    INSERT INTO change_cursor (name, sequence, claim, until_ms) VALUES (?1, 0, ?2, ?4)
    ON CONFLICT DO UPDATE SET claim = ?2, until_ms = ?4 WHERE claim = ?2 OR until_ms < ?3
"""
READ_CURSOR: Final = "SELECT sequence FROM change_cursor WHERE name = ? AND claim = ?"
MOVE_CURSOR: Final = """
    UPDATE change_cursor SET sequence = ?, until_ms = ? WHERE name = ? AND claim = ?
"""
_LAST: Final = 2**62

# Only constants are joined into statements.
# ruff: noqa: S608


def read_told(connection: sqlite3.Connection, series: SeriesResource) -> Told:
    """See ``Index.told``; one statement sees one state."""
    key = series.study_instance_uid, series.series_instance_uid
    generation, instances, study_generation, patient_id = connection.execute(
        READ_TOLD, key
    ).fetchone()
    return Told(
        series=series,
        generation=generation or 0,
        instances=frozenset(json.loads(zlib.decompress(instances))) if instances else frozenset(),
        study_generation=study_generation or 0,
        patient_id=patient_id,
    )


def tell(connection: sqlite3.Connection, tidings: Tidings) -> bool:
    """See ``Index.tell``."""
    told = tidings.told
    if read_told(connection, told.series).generation != told.generation:
        return False
    study = connection.execute(READ_TOLD_STUDY, (told.series.study_instance_uid,)).fetchone()
    outcome = outcome_of(
        tidings,
        StudyLife(generation=study[0], series_count=study[1], patient_id=study[2])
        if study
        else StudyLife(),
        lambda patient_id: _patient_life(connection, patient_id),
    )
    if outcome is None:
        return False
    _write_told(connection, tidings, outcome)
    connection.executemany(ADD_CHANGE, map(_values, outcome.changes))
    return True


def _patient_life(connection: sqlite3.Connection, patient_id: str) -> PatientLife:
    found = connection.execute(READ_TOLD_PATIENT, (patient_id,)).fetchone()
    return PatientLife(generation=found[0], study_count=found[1]) if found else PatientLife()


def _write_told(connection: sqlite3.Connection, tidings: Tidings, outcome: Outcome) -> None:
    series = tidings.told.series
    uids = json.dumps(sorted(instances_after(tidings)), ensure_ascii=False)
    connection.execute(
        WRITE_TOLD_SERIES,
        (
            series.study_instance_uid,
            series.series_instance_uid,
            tidings.told.generation + 1,
            zlib.compress(uids.encode(), 1),
        ),
    )
    if outcome.study is not None:
        life = outcome.study
        connection.execute(
            WRITE_TOLD_STUDY,
            (series.study_instance_uid, life.generation, life.series_count, life.patient_id),
        )
    for patient_id, patient in outcome.patients.items():
        connection.execute(
            WRITE_TOLD_PATIENT, (patient_id, patient.generation, patient.study_count)
        )


def recorded_version(connection: sqlite3.Connection, change: Change) -> int | None:
    """Give the version last recorded of a change's type, resource and number."""
    found = connection.execute(READ_VERSION, _values(change)[:3]).fetchone()
    return None if found is None else int(found[0])


def record(connection: sqlite3.Connection, change: Change, *, after: int | None) -> bool:
    """See ``Index.record_change``."""
    before = recorded_version(connection, change)
    if before is not None and before >= change.version:
        return False
    if after is not None and after != (before or 0):
        return False
    values = _values(change)
    connection.execute(NOTE_VERSION, values[:4])
    connection.execute(ADD_CHANGE, values)
    return True


def read_changes(
    connection: sqlite3.Connection,
    since: int,
    to: int | None,
    *,
    types: Collection[ChangeType],
    limit: int,
    backwards: bool,
) -> Page[Change]:
    """See ``Index.changes``; each type is read along an index of its own."""
    bounds = (since, _LAST if to is None else to, limit + 1)
    if types:
        # One statement sees one state: nothing is given that comes after something it does not see.
        named = sorted({kind.value for kind in types})
        statement = " UNION ALL ".join(
            f"SELECT * FROM ({READ_CHANGES_OF_TYPE[backwards]})" for _ in named
        )
        values = [each for kind in named for each in (kind, *bounds)]
        found = sorted(connection.execute(statement, values), reverse=backwards)
    else:
        found = connection.execute(READ_CHANGES[backwards], bounds).fetchall()
    return page_of(map(_change, found[: limit + 1]), limit=limit, backwards=backwards)


def read_state(connection: sqlite3.Connection) -> LogState:
    """See ``Index.log_state``."""
    identity, last = connection.execute(READ_STATE).fetchone()
    return LogState(identity=identity, last=last)


def claim_cursor(
    connection: sqlite3.Connection, name: str, claim: str, *, now_ms: int, until_ms: int
) -> int | None:
    """See ``Index.claim_cursor``."""
    connection.execute(CLAIM_CURSOR, (name, claim, now_ms, until_ms))
    found = connection.execute(READ_CURSOR, (name, claim)).fetchone()
    return None if found is None else int(found[0])


def move_cursor(
    connection: sqlite3.Connection, name: str, claim: str, sequence: int, *, until_ms: int
) -> bool:
    """See ``Index.move_cursor``."""
    return connection.execute(MOVE_CURSOR, (sequence, until_ms, name, claim)).rowcount == 1


def _values(change: Change) -> tuple[object, ...]:
    return (
        change.type.value,
        format_changed(change.resource),
        _NO_NUMBER if change.number is None else change.number,
        change.version,
        change.patient_id,
        change.date_ms,
    )


def _change(values: Any) -> Change:
    sequence, kind, resource, number, version, patient_id, date_ms = values
    return Change(
        type=ChangeType(kind),
        resource=parse_changed(resource),
        version=version,
        number=None if number == _NO_NUMBER else number,
        patient_id=patient_id,
        date_ms=date_ms,
        sequence=sequence,
    )
