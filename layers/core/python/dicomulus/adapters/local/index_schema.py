"""The tables of the SQLite index."""

from __future__ import annotations

from typing import Final

from dicomulus.adapters.local.database import Schema
from dicomulus.ports import SearchPath

INSTANCE_COLUMNS: Final = (
    "sop_instance_uid",
    "object_key",
    "object_etag",
    "object_size",
    "object_modified_ms",
    "checksum",
    "sop_class_uid",
    "transfer_syntax_uid",
    "instance_number",
    "damaged",
    "attributes",
    "further",
    "main_tags",
    "levels_digest",
    "fragment_data",
    "fragment_pointer",
    "fragment_dictionary",
    "fragment_raw_length",
    "fragment_crc32",
    "frame_table",
    "frame_table_pointer",
    "warnings",
    "compressed_size",
)
"""Columns of ``instance`` besides its series, in the order of their values everywhere."""

SERIES_COLUMNS: Final = (
    "version",
    "folded_version",
    "compact_due_ms",
    "instance_count",
    "total_size",
    "answer",
    "attributes",
    "study_attributes",
    "main_tags",
    "sop_class_uids",
    "stable_version",
    "stable_due_ms",
    "modified_ms",
    "saved_bytes",
)
"""Columns of ``series`` besides its key, in the order of their values everywhere."""

CARRIED_COLUMNS: Final = {
    "PatientID": "patient_id",
    "AccessionNumber": "accession_number",
    "PatientName": "patient_name",
    "StudyDescription": "study_description",
}
"""The column of each text that the date index carries, by keyword, in their order everywhere."""

SEARCH_KEY_COLUMNS: Final = (*SearchPath, *CARRIED_COLUMNS.values())
"""Columns of ``study`` that hold its search keys."""

STUDY_COLUMNS: Final = (
    "study_instance_uid",
    "version",
    "series_count",
    "instance_count",
    "attributes",
    "answer",
    "counted_bytes",
    "counted_saved_bytes",
    *SEARCH_KEY_COLUMNS,
)
"""Columns of ``study``, in the order of their values everywhere."""

INDEX_SCHEMA: Final = Schema(
    purpose="an index",
    version=8,
    remedy="Remove the data folder: everything in it is made again from the DICOM files.",
    statements=(
        # A series without version has a number and rows, but was never committed.
        """
        CREATE TABLE series (
            id INTEGER PRIMARY KEY,
            study_instance_uid TEXT NOT NULL,
            series_instance_uid TEXT NOT NULL,
            version INTEGER,
            folded_version INTEGER NOT NULL DEFAULT 0,
            compact_due_ms INTEGER,
            instance_count INTEGER NOT NULL DEFAULT 0,
            total_size INTEGER NOT NULL DEFAULT 0,
            saved_bytes INTEGER NOT NULL DEFAULT 0,
            answer BLOB NOT NULL DEFAULT x'7b7d',
            attributes BLOB NOT NULL DEFAULT x'7b7d',
            study_attributes BLOB NOT NULL DEFAULT x'7b7d',
            main_tags TEXT NOT NULL DEFAULT '',
            sop_class_uids TEXT NOT NULL DEFAULT '[]',
            stable_version INTEGER NOT NULL DEFAULT 0,
            stable_due_ms INTEGER,
            modified_ms INTEGER NOT NULL DEFAULT 0,
            UNIQUE (study_instance_uid, series_instance_uid)
        )
        """,
        "CREATE INDEX series_by_uid ON series (series_instance_uid)",
        """
        CREATE INDEX series_by_due ON series (compact_due_ms)
        WHERE compact_due_ms IS NOT NULL
        """,
        """
        CREATE INDEX series_by_stable_due ON series (stable_due_ms)
        WHERE stable_due_ms IS NOT NULL
        """,
        # What searches read comes before what is long, which may go on in pages of its own.
        """
        CREATE TABLE instance (
            id INTEGER PRIMARY KEY,
            series_id INTEGER NOT NULL,
            sop_instance_uid TEXT NOT NULL,
            object_key TEXT NOT NULL,
            object_etag TEXT NOT NULL,
            object_size INTEGER NOT NULL,
            object_modified_ms INTEGER NOT NULL,
            checksum TEXT NOT NULL,
            sop_class_uid TEXT NOT NULL,
            transfer_syntax_uid TEXT NOT NULL,
            instance_number INTEGER,
            damaged INTEGER NOT NULL,
            attributes BLOB NOT NULL,
            further BLOB NOT NULL,
            main_tags TEXT NOT NULL,
            levels_digest BLOB NOT NULL,
            fragment_data BLOB NOT NULL,
            fragment_pointer TEXT NOT NULL,
            fragment_dictionary TEXT NOT NULL,
            fragment_raw_length INTEGER NOT NULL,
            fragment_crc32 INTEGER NOT NULL,
            frame_table BLOB NOT NULL,
            frame_table_pointer TEXT NOT NULL,
            warnings TEXT NOT NULL,
            compressed_size INTEGER,
            UNIQUE (series_id, sop_instance_uid, object_key)
        )
        """,
        "CREATE INDEX instance_by_uid ON instance (sop_instance_uid)",
        "CREATE INDEX instance_by_object ON instance (object_key, object_etag)",
        """
        CREATE TABLE document (
            object_key TEXT PRIMARY KEY,
            object_etag TEXT NOT NULL,
            level TEXT NOT NULL,
            names TEXT NOT NULL,
            version INTEGER NOT NULL,
            attached_bytes INTEGER NOT NULL,
            attached_stored_bytes INTEGER NOT NULL,
            content BLOB NOT NULL
        )
        """,
        """
        CREATE TABLE label (
            level TEXT NOT NULL,
            label TEXT NOT NULL,
            object_key TEXT NOT NULL,
            PRIMARY KEY (level, label, object_key)
        ) WITHOUT ROWID
        """,
        "CREATE INDEX label_by_document ON label (object_key)",
        """
        CREATE TABLE dictionary (
            series_id INTEGER NOT NULL,
            name TEXT NOT NULL,
            content BLOB NOT NULL,
            UNIQUE (series_id, name)
        )
        """,
        """
        CREATE TABLE object_instance (
            object_key TEXT NOT NULL,
            series_id INTEGER NOT NULL,
            sop_instance_uid TEXT NOT NULL,
            PRIMARY KEY (object_key, series_id, sop_instance_uid)
        ) WITHOUT ROWID
        """,
        """
        CREATE TABLE rejection (
            object_key TEXT PRIMARY KEY,
            etag TEXT NOT NULL,
            reason TEXT NOT NULL
        ) WITHOUT ROWID
        """,
        # A study without date key is in no index of search.
        """
        CREATE TABLE study (
            study_instance_uid TEXT PRIMARY KEY,
            version INTEGER NOT NULL,
            series_count INTEGER NOT NULL,
            instance_count INTEGER NOT NULL,
            attributes BLOB NOT NULL,
            answer BLOB NOT NULL,
            counted_bytes INTEGER,
            counted_saved_bytes INTEGER NOT NULL,
            by_date TEXT,
            by_patient_id TEXT,
            by_accession_number TEXT,
            by_patient_name TEXT,
            by_referring_physician_name TEXT,
            patient_id TEXT,
            accession_number TEXT,
            patient_name TEXT,
            study_description TEXT
        )
        """,
        # The date path alone carries texts, each in a column of its own: a scan looks for a piece
        # in one of them, without Python.
        """
        CREATE TABLE study_search (
            path TEXT NOT NULL,
            sort_key TEXT NOT NULL,
            study_instance_uid TEXT NOT NULL,
            patient_id TEXT,
            accession_number TEXT,
            patient_name TEXT,
            study_description TEXT,
            PRIMARY KEY (path, sort_key, study_instance_uid)
        ) WITHOUT ROWID
        """,
        # A number is never given twice, also when the last entry is removed.
        """
        CREATE TABLE change (
            sequence INTEGER PRIMARY KEY AUTOINCREMENT,
            type TEXT NOT NULL,
            resource TEXT NOT NULL,
            number INTEGER NOT NULL,
            version INTEGER NOT NULL,
            patient_id TEXT NOT NULL,
            date_ms INTEGER NOT NULL
        )
        """,
        "CREATE INDEX change_by_type ON change (type, sequence)",
        # What the log says is there: an array of SOP Instance UIDs, deflated.
        """
        CREATE TABLE told_series (
            study_instance_uid TEXT NOT NULL,
            series_instance_uid TEXT NOT NULL,
            generation INTEGER NOT NULL,
            instances BLOB NOT NULL,
            PRIMARY KEY (study_instance_uid, series_instance_uid)
        ) WITHOUT ROWID
        """,
        """
        CREATE TABLE told_study (
            study_instance_uid TEXT PRIMARY KEY,
            generation INTEGER NOT NULL,
            series_count INTEGER NOT NULL,
            patient_id TEXT
        ) WITHOUT ROWID
        """,
        """
        CREATE TABLE told_patient (
            patient_id TEXT PRIMARY KEY,
            generation INTEGER NOT NULL,
            study_count INTEGER NOT NULL
        ) WITHOUT ROWID
        """,
        # Up to where somebody outside was told, and who tells him until when.
        """
        CREATE TABLE change_cursor (
            name TEXT PRIMARY KEY,
            sequence INTEGER NOT NULL,
            claim TEXT NOT NULL,
            until_ms INTEGER NOT NULL
        ) WITHOUT ROWID
        """,
        "CREATE TABLE change_log (identity TEXT NOT NULL)",
        "INSERT INTO change_log VALUES (lower(hex(randomblob(16))))",
        """
        CREATE TABLE change_version (
            type TEXT NOT NULL,
            resource TEXT NOT NULL,
            number INTEGER NOT NULL,
            version INTEGER NOT NULL,
            PRIMARY KEY (type, resource, number)
        ) WITHOUT ROWID
        """,
        """
        CREATE TABLE archive_counts (
            id INTEGER PRIMARY KEY CHECK (id = 1),
            patients INTEGER NOT NULL,
            studies INTEGER NOT NULL,
            series INTEGER NOT NULL,
            instances INTEGER NOT NULL,
            total_bytes INTEGER NOT NULL,
            attached_bytes INTEGER NOT NULL,
            attached_stored_bytes INTEGER NOT NULL,
            saved_bytes INTEGER NOT NULL
        )
        """,
        "INSERT INTO archive_counts VALUES (1, 0, 0, 0, 0, 0, 0, 0, 0)",
        """
        CREATE TABLE patient_studies (
            patient_id TEXT PRIMARY KEY,
            studies INTEGER NOT NULL
        ) WITHOUT ROWID
        """,
        # A patient has its Patient ID for a UID; of a series its number is enough.
        """
        CREATE TABLE identifier (
            orthanc_id BLOB PRIMARY KEY,
            level TEXT NOT NULL,
            uid TEXT NOT NULL,
            series_id INTEGER
        ) WITHOUT ROWID
        """,
        """
        CREATE TABLE damage (
            object_key TEXT PRIMARY KEY,
            object_etag TEXT NOT NULL,
            object_modified_ms INTEGER NOT NULL,
            found_ms INTEGER NOT NULL
        ) WITHOUT ROWID
        """,
    ),
)
