"""Documents of resources: read, changed without losing anybody's change, and followed by rows.

A change is a function from document to document. It is applied to the document as it is, written
on condition that it still is so, and applied anew otherwise. The row of the index comes after the
document, by the writer and by whoever looks at the key, and is never of an older document than
one that was acknowledged.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from uuid import uuid4

from dicomulus.dicom.own_keys import document_key
from dicomulus.errors import (
    DamagedDocumentError,
    DicomulusError,
    ObjectChangedError,
    ObjectNotFoundError,
    PreconditionFailedError,
    UnavailableError,
)
from dicomulus.ports import ChangeType, DocumentRow, Rejection
from dicomulus.services.resource_document import (
    FIRST_USER_NUMBER,
    MAX_DOCUMENT_BYTES,
    ResourceDocument,
    format_document,
    parse_document,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

    from dicomulus.dicom.resource import Resource
    from dicomulus.ports import Index, ObjectInfo, ObjectStore
    from dicomulus.services.changes import Changes
    from dicomulus.services.resource_document import AttachmentEntry, Gone, MetadataEntry

    _Versioned = AttachmentEntry | Gone | MetadataEntry

    DocumentChange = Callable[[ResourceDocument], ResourceDocument]

ATTEMPTS: Final = 40
"""Times that a change is applied to a document that others change as well. With 16 writers at one
document somebody gets through each time, so the last one needs some 16 of them."""

_FIRST_PAUSE_SECONDS: Final = 0.005
_LONGEST_PAUSE_SECONDS: Final = 0.5

_RECENT_SECONDS: Final = 86_400
"""Age up to which a look at a document records what changed in it: events come sooner. Older changes
are told by who made them; an index that is made again does not tell of all that ever was."""

_LOOKS: Final = 5
"""Times that a document which changes while it is looked at is looked at in one go."""


@dataclass(frozen=True, slots=True)
class Held:
    """A document as it was read, and the object that it was read from, if there is one."""

    document: ResourceDocument
    info: ObjectInfo | None = None
    text: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentReport:
    """What became of the documents that were looked at."""

    rows: tuple[DocumentRow, ...] = ()
    rejected: Mapping[str, str] = field(default_factory=dict)
    """Keys of those that are damaged, to the reason."""
    gone: tuple[str, ...] = ()
    failed: Mapping[str, DicomulusError] = field(default_factory=dict)
    """Those that must be looked at again."""


class Documents:
    """The documents of an archive's resources."""

    def __init__(
        self,
        index: Index,
        storage: ObjectStore,
        *,
        changes: Changes,
        clock_ms: Callable[[], int],
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        """Keep documents in the storage area, their rows and what changed in the index."""
        self._index = index
        self._storage = storage
        self._changes = changes
        self._clock_ms = clock_ms
        self._pause = pause

    def read(self, resource: Resource) -> ResourceDocument:
        """Read the document of a resource; an empty one where there is none.

        Raises:
            DamagedDocumentError: It is damaged, so that nothing is known of what it told.
        """
        return self._read(resource).document

    def read_rows(self, resources: Collection[Resource]) -> Mapping[Resource, ResourceDocument]:
        """Give the documents of many resources by the index; those that have none are absent."""
        keys = {document_key(resource): resource for resource in resources}
        rows = self._index.get_documents(keys)
        return {keys[key]: parse_document(row.content) for key, row in rows.items()}

    def update(self, resource: Resource, change: DocumentChange) -> ResourceDocument:
        """Apply a change to the document of a resource, and write what it gives.

        A change that gives what it was given writes nothing. What it raises ends the update.

        Raises:
            DamagedDocumentError: The document is damaged; nobody changes what it does not know.
            PayloadTooLargeError: The document would be over its limit.
            UnavailableError: Others were quicker each time.
        """
        for attempt in range(ATTEMPTS):
            held = self._read(resource)
            changed = change(held.document)
            if changed == held.document:
                return self._follow(held)
            written = self._write(held, changed)
            if written is not None:
                return self._follow(written)
            self._back_off(attempt)
        raise UnavailableError("a document is written to faster than it can be changed")

    def remove(self, resource: Resource) -> ResourceDocument:
        """Remove the document of a resource that is gone, and its row; give what it was.

        A document written later begins with a higher version, and with revision 0.

        Raises:
            UnavailableError: Others were quicker each time.
        """
        key = document_key(resource)
        for attempt in range(ATTEMPTS):
            held = self._read(resource)
            if held.info is None:
                self._forget(key)
                return held.document
            try:
                self._storage.delete(key, if_match=held.info.etag)
            except PreconditionFailedError:
                self._back_off(attempt)
                continue
            self._forget(key)
            return held.document
        raise UnavailableError("a document is written to faster than it can be removed")

    def look_at(self, object_keys: Collection[str]) -> DocumentReport:
        """Make the rows of some documents agree with them; one bad document stops no other."""
        rows: list[DocumentRow] = []
        rejected: dict[str, str] = {}
        gone: list[str] = []
        failed: dict[str, DicomulusError] = {}
        for key in dict.fromkeys(object_keys):
            try:
                seen = self._look(key)
            except DicomulusError as exc:
                failed[key] = exc
                continue
            if isinstance(seen, DocumentRow):
                rows.append(seen)
                # Whoever wrote it may have ended before it came to that.
                since_version = self._clock_ms() - 1000 * _RECENT_SECONDS
                self._record(parse_document(seen.content), since_version=since_version)
            elif seen is None:
                gone.append(key)
            else:
                rejected[key] = seen
        return DocumentReport(rows=tuple(rows), rejected=rejected, gone=tuple(gone), failed=failed)

    # documents

    def _read(self, resource: Resource) -> Held:
        key = document_key(resource)
        try:
            read = self._storage.get(key, length=MAX_DOCUMENT_BYTES + 1)
        except ObjectNotFoundError:
            return Held(ResourceDocument(resource=resource))
        document = parse_document(read.data)
        if document.resource != resource:
            raise DamagedDocumentError("a document lies under the key of another resource")
        return Held(document, read.info, read.data)

    def _write(self, held: Held, changed: ResourceDocument) -> Held | None:
        """Write a document in the place of another; nothing is given if others were quicker."""
        key = document_key(changed.resource)
        version = max(held.document.version + 1, self._clock_ms())
        document = changed.stamped(version, uuid4().hex)
        text = format_document(document)
        try:
            if held.info is None:
                info = self._storage.put(key, text, if_none_match=True)
            else:
                info = self._storage.put(key, text, if_match=held.info.etag)
        except (PreconditionFailedError, ObjectNotFoundError):
            # The answer to an attempt that did write may have been lost on the way.
            now = self._read(changed.resource)
            return now if now.document.write == document.write else None
        return Held(document, info, text)

    def _back_off(self, attempt: int) -> None:
        longest = min(_LONGEST_PAUSE_SECONDS, _FIRST_PAUSE_SECONDS * 2**attempt)
        self._pause(random.uniform(0, longest))  # noqa: S311 - jitter, no secret

    # rows

    def _follow(self, held: Held) -> ResourceDocument:
        """Have the index know a document that was just seen."""
        if held.info is not None:
            self._index.put_document(_row(held.document, held.info, held.text))
            self._record(held.document, since_version=held.document.version)
        return held.document

    def _record(self, document: ResourceDocument, *, since_version: int) -> None:
        for kind, number, version in _news(document, since_version):
            self._changes.record_updated(document.resource, kind, number=number, version=version)

    def _forget(self, key: str) -> None:
        row = self._index.get_documents([key]).get(key)
        if row is not None and self._storage.head(key) is None:
            self._index.forget_document(key, row.version)

    def _look(self, key: str) -> DocumentRow | str | None:
        """Give the row that a document has now, why it has none, or nothing if it is gone."""
        for _ in range(_LOOKS):
            # A row of a newer version, known before the document is read, is of one that is no
            # more: somebody has brought back an older one.
            known = self._index.get_documents([key]).get(key)
            seen, etag = self._seen(key)
            if not self._settle(key, seen, known, etag=etag):
                continue
            now = self._storage.head(key)
            if ("" if now is None else now.etag) == etag:
                return seen
        raise ObjectChangedError("the document keeps changing")

    def _seen(self, key: str) -> tuple[DocumentRow | str | None, str]:
        try:
            read = self._storage.get(key, length=MAX_DOCUMENT_BYTES + 1)
        except ObjectNotFoundError:
            return None, ""
        return self._row_or_reason(key, read.data, read.info), read.info.etag

    def _settle(
        self, key: str, seen: DocumentRow | str | None, known: DocumentRow | None, *, etag: str
    ) -> bool:
        """Write down what was seen, unless the row has become that of something newer."""
        if isinstance(seen, str):
            self._index.reject_objects({key: Rejection(etag=etag, reason=seen)})
            return True
        if seen is not None:
            instead_of = None if known is None else known.version
            is_written = self._index.put_document(seen, instead_of=instead_of)
        else:
            is_written = known is None or self._index.forget_document(key, known.version)
        if self._index.note_objects({key: frozenset()})[key].rejection is not None:
            self._index.reject_objects({key: None})
        return is_written

    def _row_or_reason(self, key: str, text: bytes, info: ObjectInfo) -> DocumentRow | str:
        try:
            document = parse_document(text)
        except DamagedDocumentError as exc:
            return str(exc)
        if document_key(document.resource) != key:
            return "a document lies under the key of another resource"
        return _row(document, info, text)


def _news(document: ResourceDocument, since_version: int) -> Iterator[tuple[ChangeType, int, int]]:
    """Give kind, number and version of what users changed in a document from some version on."""
    kinds: tuple[tuple[ChangeType, Mapping[int, _Versioned]], ...] = (
        (ChangeType.UPDATED_METADATA, document.metadata),
        (ChangeType.UPDATED_METADATA, document.gone_metadata),
        (ChangeType.UPDATED_ATTACHMENT, document.attachments),
        (ChangeType.UPDATED_ATTACHMENT, document.gone_attachments),
    )
    for kind, entries in kinds:
        for number, entry in entries.items():
            if number >= FIRST_USER_NUMBER and entry.version >= since_version:
                yield kind, number, entry.version


def _row(document: ResourceDocument, info: ObjectInfo, text: bytes) -> DocumentRow:
    return DocumentRow(
        object_key=info.key,
        object_etag=info.etag,
        resource=document.resource,
        version=document.version,
        labels=document.labels,
        content=text,
        attached_bytes=sum(each.size for each in document.attachments.values()),
        attached_stored_bytes=sum(each.stored_size for each in document.attachments.values()),
    )
