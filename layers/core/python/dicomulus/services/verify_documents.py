"""Verification of what the archive itself keeps of resources: documents, and contents of attachments."""

from __future__ import annotations

import hashlib
import logging
from functools import partial
from typing import TYPE_CHECKING, Final

from dicomulus.dicom.own_keys import attachment_key
from dicomulus.errors import (
    ConfigurationError,
    CorruptReadError,
    DamagedDocumentError,
    ObjectChangedError,
    ObjectNotFoundError,
    PreconditionFailedError,
    StoreForbiddenError,
    UnavailableError,
)
from dicomulus.ports import ObjectInfo
from dicomulus.services.findings import Checked, Finding, Findings
from dicomulus.services.resource_document import MAX_DOCUMENT_BYTES, parse_document

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from dicomulus.ports import DocumentRow, Index, ObjectStore, RunAll
    from dicomulus.services.damage import Damages
    from dicomulus.services.resource_document import AttachmentEntry, ResourceDocument

logger = logging.getLogger(__name__)

_READS: Final = 2
"""Times that something is read before it counts as damaged: the fault may lie on the way."""

_Trouble = UnavailableError | ConfigurationError


class VerifyDocuments:
    """Compares documents with their rows, and contents with what their documents say of them."""

    def __init__(
        self,
        index: Index,
        storage: ObjectStore,
        *,
        damages: Damages,
        run_all: RunAll,
        pace: Callable[[int], None] = lambda _: None,
    ) -> None:
        """Read through ``run_all``; ``pace`` is told of the bytes read, and may take its time."""
        self._index = index
        self._storage = storage
        self._damages = damages
        self._run_all = run_all
        self._pace = pace

    def verify(self, keys: Sequence[str], *, repair: bool) -> tuple[Findings, list[str]]:
        """Verify documents that have rows, and all that they name.

        A damaged document is put again as its row has it, if the row is of that generation of it.

        Returns:
            What was found, and the keys of documents to be looked at again.
        """
        findings = Findings()
        restored: list[str] = []
        for _key, row in sorted(self._index.get_documents(keys).items()):
            document = _parsed(row.content)
            self._verify_document(row, document, repair, findings, restored)
            if document is not None:
                self._verify_contents(row, document, repair, findings)
        return findings, restored

    # documents

    def _verify_document(
        self,
        row: DocumentRow,
        document: ResourceDocument | None,
        repair: bool,
        findings: Findings,
        restored: list[str],
    ) -> None:
        try:
            info, is_whole = self._compared(row)
        except ObjectNotFoundError:
            return
        except (UnavailableError, ConfigurationError):
            findings.add(Finding.UNREADABLE, [row.object_key])
            return
        findings.checked[Checked.VERIFIED] += 1
        findings.checked[Checked.VERIFIED_BYTES] += info.size
        if is_whole and document is None:
            # The row is, and it is made anew of the document.
            findings.add(Finding.METADATA, [row.object_key])
            restored.append(row.object_key)
        if is_whole:
            if repair:
                self._damages.is_sound(row.object_key)
            return
        findings.add(Finding.DAMAGED, [row.object_key])
        if repair:
            self._damages.found(info, row.resource)
            if document is not None and self._restore(row, info, findings):
                restored.append(row.object_key)

    def _compared(self, row: DocumentRow) -> tuple[ObjectInfo, bool]:
        info = self._storage.head(row.object_key)
        if info is None:
            raise ObjectNotFoundError(row.object_key)
        for _ in range(_READS):
            try:
                read = self._storage.get(row.object_key, length=MAX_DOCUMENT_BYTES + 1)
            except CorruptReadError:
                continue
            info = read.info
            self._pace(len(read.data))
            # Another one than that of the row is one, too: a look at it is on its way.
            if _parsed(read.data) is not None:
                return info, True
        return info, False

    def _restore(self, row: DocumentRow, info: ObjectInfo, findings: Findings) -> bool:
        if info.etag != row.object_etag:
            # It may be of a later form, of which the row has an earlier state.
            return False
        try:
            self._storage.put(row.object_key, row.content, if_match=info.etag)
        except (PreconditionFailedError, ObjectNotFoundError):
            return False
        except (UnavailableError, ConfigurationError, StoreForbiddenError):
            # Not everybody who verifies may write; it stays damaged, and is known to be.
            logger.warning("document not restored", extra={"object_key": row.object_key})
            return False
        findings.checked[Checked.REPAIRS] += 1
        return True

    # contents of attachments

    def _verify_contents(
        self, row: DocumentRow, document: ResourceDocument, repair: bool, findings: Findings
    ) -> None:
        entries = list(document.attachments.values())
        outcomes = self._run_all([partial(self._is_sound, entry) for entry in entries])
        for entry, outcome in zip(entries, outcomes, strict=True):
            key = attachment_key(entry.uuid)
            if isinstance(outcome, (UnavailableError, ConfigurationError)):
                findings.add(Finding.UNREADABLE, [key])
                continue
            if not outcome and not self._is_named(row, entry):
                continue
            findings.checked[Checked.VERIFIED] += 1
            findings.checked[Checked.VERIFIED_BYTES] += entry.stored_size
            if not outcome:
                findings.add(Finding.DAMAGED, [key])
            if repair:
                self._note(row, key, is_sound=outcome)

    def _note(self, row: DocumentRow, key: str, *, is_sound: bool) -> None:
        info = self._storage.head(key)
        if is_sound:
            self._damages.is_sound(key)
        else:
            # Of what is gone there is no generation; it is over when there is one.
            gone = ObjectInfo(key=key, etag="", size=0, modified_ms=0)
            self._damages.found(info or gone, row.resource)

    def _is_sound(self, entry: AttachmentEntry) -> bool | _Trouble:
        key = attachment_key(entry.uuid)
        for _ in range(_READS):
            try:
                if _sums(self._read(key)) == (entry.stored_size, entry.stored_md5):
                    return True
            except (CorruptReadError, ObjectChangedError):
                continue
            except ObjectNotFoundError:
                return False
            except (UnavailableError, ConfigurationError) as exc:
                return exc
        return False

    def _read(self, key: str) -> Iterator[bytes]:
        for chunk in self._storage.stream(key):
            self._pace(len(chunk))
            yield chunk

    def _is_named(self, row: DocumentRow, entry: AttachmentEntry) -> bool:
        """Whether the document still names a content: one that was replaced may be gone."""
        now = self._index.get_documents([row.object_key]).get(row.object_key)
        document = None if now is None else _parsed(now.content)
        return document is not None and entry in document.attachments.values()


def _parsed(text: bytes) -> ResourceDocument | None:
    try:
        return parse_document(text)
    except DamagedDocumentError:
        return None


def _sums(pieces: Iterator[bytes]) -> tuple[int, str]:
    md5, size = hashlib.md5(usedforsecurity=False), 0
    for piece in pieces:
        md5.update(piece)
        size += len(piece)
    return size, md5.hexdigest()
