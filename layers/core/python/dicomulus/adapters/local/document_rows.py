"""The rows of documents in a SQLite index, and the labels that they are found by."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from dicomulus.dicom.orthanc_id import level_of
from dicomulus.dicom.own_keys import names_of, resource_of_level
from dicomulus.ports import DocumentRow, Page

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable

    from dicomulus.dicom.resource import Resource

READ_DOCUMENTS: Final = """
    SELECT object_key, object_etag, level, names, version, content, attached_bytes,
    attached_stored_bytes, (
        SELECT json_group_array(label) FROM label AS l WHERE l.object_key = d.object_key
    )
    FROM document AS d WHERE object_key IN (SELECT value FROM json_each(?))
"""
PUT_DOCUMENT: Final = """
    INSERT INTO document (
        object_key, object_etag, level, names, version, content, attached_bytes,
        attached_stored_bytes
    )
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?8, ?9)
    ON CONFLICT (object_key) DO UPDATE SET
        object_etag = excluded.object_etag, version = excluded.version, content = excluded.content,
        attached_bytes = excluded.attached_bytes,
        attached_stored_bytes = excluded.attached_stored_bytes
    WHERE version <= excluded.version OR version = ?7
"""
FORGET_DOCUMENT: Final = "DELETE FROM document WHERE object_key = ? AND version = ?"
READ_ATTACHED: Final = """
    SELECT attached_bytes, attached_stored_bytes FROM document WHERE object_key = ?
"""
MOVE_ATTACHED: Final = """
    UPDATE archive_counts SET attached_bytes = attached_bytes + ?,
        attached_stored_bytes = attached_stored_bytes + ?
    WHERE id = 1
"""
HAS_DOCUMENT: Final = "SELECT 1 FROM document WHERE object_key = ?"
FORGET_LABELS: Final = "DELETE FROM label WHERE object_key = ?"
ADD_LABEL: Final = "INSERT INTO label (level, label, object_key) VALUES (?, ?, ?)"
READ_LABELLED: Final = """
    SELECT l.object_key, d.names FROM label AS l JOIN document AS d USING (object_key)
    WHERE l.level = ? AND l.label = ? AND l.object_key > ?
    ORDER BY l.object_key LIMIT ?
"""
USED_LABELS: Final = "SELECT DISTINCT label FROM label ORDER BY label"


def read_documents(
    connection: sqlite3.Connection, object_keys: Iterable[str]
) -> dict[str, DocumentRow]:
    """Give the rows of documents by their keys."""
    found = connection.execute(READ_DOCUMENTS, (json.dumps(list(object_keys)),))
    return {
        key: DocumentRow(
            object_key=key,
            object_etag=etag,
            resource=resource_of_level(level, json.loads(names)),
            version=version,
            labels=frozenset(json.loads(labels)),
            content=content,
            attached_bytes=attached,
            attached_stored_bytes=stored,
        )
        for key, etag, level, names, version, content, attached, stored, labels in found
    }


def put_document(
    connection: sqlite3.Connection, row: DocumentRow, *, instead_of: int | None
) -> bool:
    """Put a row within a transaction, unless there is a newer one; whether it is there."""
    level, key = level_of(row.resource), row.object_key
    names = json.dumps(names_of(row.resource))
    sizes = (row.attached_bytes, row.attached_stored_bytes)
    values = (key, row.object_etag, level, names, row.version, row.content, instead_of, *sizes)
    before = _attached(connection, key)
    if connection.execute(PUT_DOCUMENT, values).rowcount == 0:
        return False
    connection.execute(MOVE_ATTACHED, (sizes[0] - before[0], sizes[1] - before[1]))
    connection.execute(FORGET_LABELS, (key,))
    connection.executemany(ADD_LABEL, [(level, label, key) for label in row.labels])
    return True


def forget_document(connection: sqlite3.Connection, object_key: str, version: int) -> bool:
    """Remove a row within a transaction, if it is of that version; whether it is gone."""
    attached, stored = _attached(connection, object_key)
    if connection.execute(FORGET_DOCUMENT, (object_key, version)).rowcount:
        connection.execute(MOVE_ATTACHED, (-attached, -stored))
    if connection.execute(HAS_DOCUMENT, (object_key,)).fetchone() is not None:
        return False
    connection.execute(FORGET_LABELS, (object_key,))
    return True


def _attached(connection: sqlite3.Connection, object_key: str) -> tuple[int, int]:
    found = connection.execute(READ_ATTACHED, (object_key,)).fetchone()
    return (0, 0) if found is None else (found[0], found[1])


def read_labelled(
    connection: sqlite3.Connection, level: str, label: str, after: str | None, limit: int
) -> Page[Resource]:
    """Give the resources of a level that have a label, by the keys of their documents."""
    found = connection.execute(READ_LABELLED, (level, label, after or "", limit)).fetchall()
    resources = tuple(resource_of_level(level, json.loads(names)) for _, names in found)
    return Page(resources, found[-1][0] if len(found) == limit else None)


def read_used_labels(connection: sqlite3.Connection) -> tuple[str, ...]:
    """Give all labels, in order."""
    return tuple(label for (label,) in connection.execute(USED_LABELS))
