"""The items of documents, and of the labels that they are found by.

A document's item and the entries of its labels change in one transaction, on condition that the
item is as it was read, so that the entries are always those of the item.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from pynamodb.attributes import (
    BinaryAttribute,
    NumberAttribute,
    UnicodeAttribute,
    UnicodeSetAttribute,
)

from dicomulus.adapters.aws.dynamodb_table import key_of
from dicomulus.adapters.aws.keys import (
    DOCUMENT_PREFIX,
    counts_key,
    document_item_key,
    label_key,
    label_name_key,
)
from dicomulus.adapters.aws.packing import deflate, inflate
from dicomulus.adapters.aws.table import CountsItem, Item
from dicomulus.dicom.orthanc_id import level_of
from dicomulus.dicom.own_keys import names_of, resource_of_level
from dicomulus.errors import UnavailableError
from dicomulus.ports import DocumentRow, Page

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from pynamodb.expressions.condition import Condition
    from pynamodb.expressions.update import Action

    from dicomulus.adapters.aws.dynamodb_table import DynamoDbTable
    from dicomulus.adapters.aws.keys import ItemKey
    from dicomulus.adapters.aws.table import RawItem
    from dicomulus.dicom.resource import Resource
    from dicomulus.ports import ObjectRow

_ATTEMPTS: Final = 40
"""Times that an item is written which others write to as well."""

LABELS_AT_ONCE: Final = 90
"""Entries of labels of one transaction, which has at most 100 items (DynamoDB quotas)."""


class DocumentItem(Item):
    """A document; ``writes`` rises with every write of the item."""

    names = UnicodeAttribute(attr_name="D")
    """Level and names of the resource, as a JSON list; no other item has the attribute."""
    etag = UnicodeAttribute(attr_name="t")
    version = NumberAttribute(attr_name="v")
    writes = NumberAttribute(attr_name="x")
    labels = UnicodeSetAttribute(null=True, attr_name="k")
    attached_bytes = NumberAttribute(null=True, attr_name="y")
    attached_stored_bytes = NumberAttribute(null=True, attr_name="z")
    content = BinaryAttribute(legacy_encoding=False, attr_name="b")


class DocumentItems:
    """Reads and writes these items."""

    def __init__(self, table: DynamoDbTable) -> None:
        """Use a table."""
        self._table = table

    def get(self, object_keys: Collection[str]) -> Mapping[str, DocumentRow]:
        """Read rows (strong); those that do not exist are absent."""
        items = self._table.batch_get(map(document_item_key, object_keys))
        rows = [_row(DocumentItem.from_raw_data(item)) for item in items.values()]
        return {row.object_key: row for row in rows}

    @property
    def is_document(self) -> Condition:
        """What the item of a document, and no other, meets."""
        return DocumentItem.names.exists()

    def settled_etags(
        self,
        rows: Collection[ObjectRow],
        read: Callable[[Iterable[ItemKey]], Mapping[ItemKey, RawItem]],
    ) -> dict[str, str | None]:
        """Give the entity tags for which documents, that may be rejected, are settled."""
        keys = {row.object_key: document_item_key(row.object_key) for row in rows}
        items = read(keys.values())
        etags: dict[str, str | None] = {
            key: DocumentItem.from_raw_data(items[item_key]).etag if item_key in items else None
            for key, item_key in keys.items()
        }
        rejections = {row.object_key: row.rejection for row in rows}
        return etags | {key: each.etag for key, each in rejections.items() if each is not None}

    def put(self, row: DocumentRow, *, instead_of: int | None) -> bool:
        """Put a row, unless there is one of a newer version; whether it is there."""
        for attempt in range(_ATTEMPTS):
            found = self._find(row.object_key)
            old = None if found is None else _row(found)
            if old == row:
                return True
            if old is not None and row.version < old.version != instead_of:
                return False
            # Many labels come and go in several steps, under the version that was.
            before = replace(row, version=0, labels=frozenset()) if old is None else old
            changes = sorted(row.labels ^ before.labels)
            step = frozenset(changes[:LABELS_AT_ONCE])
            is_last = len(changes) <= LABELS_AT_ONCE
            after = row if is_last else replace(before, labels=before.labels ^ step)
            added, removed = step - before.labels, step & before.labels
            self._note_names(level_of(row.resource), added)
            if not self._write(found, _item(after, found), row, added, removed):
                self._table.back_off(attempt)
            elif is_last:
                return True
        raise UnavailableError("the item of a document is written to faster than it can be put")

    def forget(self, object_key: str, version: int) -> bool:
        """Remove a row that is still of a version; whether it is gone."""
        for attempt in range(_ATTEMPTS):
            found = self._find(object_key)
            if found is None:
                return True
            row = _row(found)
            if row.version != version:
                return False
            step = frozenset(sorted(row.labels)[:LABELS_AT_ONCE])
            is_last = step == row.labels
            after = _item(replace(row, labels=row.labels - step), found)
            key = document_item_key(object_key)
            if not self._write(found, key if is_last else after, row, frozenset(), step):
                self._table.back_off(attempt)
            elif is_last:
                return True
        raise UnavailableError("the item of a document is written to faster than it can be removed")

    def labelled(self, level: str, label: str, after: str | None, *, limit: int) -> Page[Resource]:
        """Give the resources of a level that have a label, by the keys of their documents."""
        partition = label_key(level, label, "").partition
        behind = Item.sort > after if after else None
        found = list(self._table.query(partition, behind, limit=limit))
        items = [Item.from_raw_data(item) for item in found]
        resources = tuple(resource_of_level(level, json.loads(item.uids or "")) for item in items)
        return Page(resources, items[-1].sort if len(items) == limit else None)

    def used_labels(self) -> tuple[str, ...]:
        """Give all labels, in order."""
        names = self._table.query(label_name_key("", "").partition)
        used: set[str] = set()
        for label, _, level in (key_of(item).sort.partition("#") for item in names):
            if label not in used and self.labelled(level, label, None, limit=1).items:
                used.add(label)
        return tuple(sorted(used))

    def _find(self, object_key: str) -> DocumentItem | None:
        item = self._table.get(document_item_key(object_key))
        return None if item is None else DocumentItem.from_raw_data(item)

    def _note_names(self, level: str, labels: Iterable[str]) -> None:
        keys = [label_name_key(level, label) for label in labels]
        self._table.batch_write([Item(key.partition, key.sort) for key in keys])

    def _write(
        self,
        found: DocumentItem | None,
        written: DocumentItem | ItemKey,
        row: DocumentRow,
        added: Iterable[str],
        removed: Iterable[str],
    ) -> bool:
        """Write an item, or delete its key, with entries of labels, if it is as it was found."""
        level, names = level_of(row.resource), json.dumps(names_of(row.resource))
        put = [label_key(level, label, row.object_key) for label in added]
        gone = [label_key(level, label, row.object_key) for label in removed]
        unchanged: Condition = (
            DocumentItem.partition.does_not_exist()
            if found is None
            else DocumentItem.writes == found.writes
        )
        return self._table.write_together(
            (written, unchanged),
            [*(Item(key.partition, key.sort, uids=names) for key in put), *gone],
            added=_moved_counts(row.object_key, found, written),
        )


def _moved_counts(
    object_key: str, found: DocumentItem | None, written: DocumentItem | ItemKey
) -> tuple[ItemKey, list[Action]] | None:
    """Give what is to be added to the counts of attachments; nothing where they stay."""
    after = written if isinstance(written, DocumentItem) else None
    more, stored = (
        _number(after, name) - _number(found, name)
        for name in ("attached_bytes", "attached_stored_bytes")
    )
    if not (more or stored):
        return None
    added: list[Action] = [
        CountsItem.attached_bytes.add(more),
        CountsItem.attached_stored_bytes.add(stored),
    ]
    return counts_key(object_key), added


def _number(item: DocumentItem | None, name: str) -> int:
    return 0 if item is None else int(getattr(item, name) or 0)


def _item(row: DocumentRow, found: DocumentItem | None) -> DocumentItem:
    key = document_item_key(row.object_key)
    return DocumentItem(
        key.partition,
        key.sort,
        names=json.dumps([level_of(row.resource), *names_of(row.resource)]),
        etag=row.object_etag,
        version=row.version,
        writes=1 if found is None else int(found.writes) + 1,
        labels=set(row.labels) or None,
        attached_bytes=row.attached_bytes or None,
        attached_stored_bytes=row.attached_stored_bytes or None,
        content=deflate(row.content),
    )


def _row(item: DocumentItem) -> DocumentRow:
    level, *names = json.loads(item.names)
    return DocumentRow(
        object_key=item.partition.removeprefix(DOCUMENT_PREFIX),
        object_etag=item.etag,
        resource=resource_of_level(level, names),
        version=int(item.version),
        labels=frozenset(item.labels or ()),
        content=inflate(item.content),
        attached_bytes=int(item.attached_bytes or 0),
        attached_stored_bytes=int(item.attached_stored_bytes or 0),
    )
