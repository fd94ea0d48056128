"""What a SQLite index holds, in numbers, and what is wrong with some of it."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from dicomulus.adapters.local.database import Database
from dicomulus.adapters.local.index_schema import INDEX_SCHEMA
from dicomulus.dicom.resource import InstanceResource

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

# Contents are JSON texts, kept as bytes.
COUNT: Final = """
    WITH attachment AS (
        SELECT json_extract(each.value, '$.stored_size') AS stored_size
        FROM document, json_each(CAST(document.content AS TEXT), '$.attachments') AS each
    )
    SELECT
        (SELECT count(DISTINCT study_instance_uid) FROM series
         WHERE EXISTS (SELECT 1 FROM instance WHERE instance.series_id = series.id)),
        (SELECT count(DISTINCT series_id) FROM instance),
        (SELECT count(*) FROM (SELECT DISTINCT series_id, sop_instance_uid FROM instance)),
        (SELECT count(*) FROM instance),
        (SELECT coalesce(sum(object_size), 0) FROM instance),
        (SELECT count(*) FROM instance WHERE checksum = ''),
        (SELECT count(*) FROM instance WHERE damaged),
        (SELECT count(*) FROM series WHERE compact_due_ms IS NOT NULL),
        (SELECT count(*) FROM instance WHERE object_key LIKE ?),
        (SELECT count(*) FROM document),
        (SELECT count(*) FROM attachment),
        (SELECT coalesce(sum(stored_size), 0) FROM attachment)
"""
READ_DUPLICATES: Final = """
    SELECT s.study_instance_uid, s.series_instance_uid, i.sop_instance_uid
    FROM instance AS i JOIN series AS s ON s.id = i.series_id
    GROUP BY i.series_id, i.sop_instance_uid HAVING count(*) > 1
    ORDER BY 1, 2, 3
"""
READ_REJECTIONS: Final = "SELECT reason, object_key FROM rejection ORDER BY reason, object_key"
READ_KEYS_BETWEEN: Final = """
    SELECT object_key FROM instance WHERE object_key >= ?1 AND object_key < ?2
    UNION SELECT object_key FROM rejection WHERE object_key >= ?1 AND object_key < ?2
    ORDER BY 1 LIMIT ?3
"""

COMPRESSED_KEYS: Final = "dicom/%.dcm.gz"
"""The keys of objects that are compressed at rest."""

_PAGE: Final = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexCounts:
    """What is indexed."""

    studies: int
    series: int
    instances: int
    objects: int
    """Objects that hold them, duplicates included."""
    object_bytes: int
    checksums_pending: int
    """Objects whose checksum is not known yet."""
    damaged: int
    """Objects that end early or contradict themselves."""
    compactions_pending: int
    """Series whose bundle and counts are not up to date."""
    compressed: int
    """Objects that are compressed at rest."""
    documents: int
    """Resources that have attachments, metadata or labels, or had some."""
    attachments: int
    attachment_bytes: int
    """What they take at rest."""


class SqliteStatistics:
    """Reads an index for those who look after it; writes nothing."""

    def __init__(self, path: Path) -> None:
        """Open an index.

        Raises:
            ConfigurationError: The file is of another version, or no index.
            UnavailableError: It cannot be opened now.
        """
        self._database = Database(path, INDEX_SCHEMA)

    def counts(self) -> IndexCounts:
        """Count what is indexed."""
        with self._database.reading() as connection:
            found = connection.execute(COUNT, (COMPRESSED_KEYS,)).fetchone()
        names = IndexCounts.__dataclass_fields__
        return IndexCounts(**dict(zip(names, found, strict=True)))

    def duplicated(self) -> tuple[InstanceResource, ...]:
        """Give the instances that several objects hold."""
        with self._database.reading() as connection:
            found = connection.execute(READ_DUPLICATES).fetchall()
        return tuple(InstanceResource(*uids) for uids in found)

    def rejections(self) -> Mapping[str, tuple[str, ...]]:
        """Give the keys of the objects that are not indexed, by reason, each in order."""
        keys: dict[str, list[str]] = defaultdict(list)
        with self._database.reading() as connection:
            for reason, key in connection.execute(READ_REJECTIONS):
                keys[reason].append(key)
        return {reason: tuple(found) for reason, found in keys.items()}

    def keys_under(self, folder_key: str) -> Iterator[str]:
        """Walk the keys below a folder that have a row or a rejection, in order."""
        low, high = f"{folder_key}/", f"{folder_key}0"
        while True:
            with self._database.reading() as connection:
                found = connection.execute(READ_KEYS_BETWEEN, (low, high, _PAGE)).fetchall()
            yield from (key for (key,) in found)
            if len(found) < _PAGE:
                return
            low = found[-1][0] + "\0"
