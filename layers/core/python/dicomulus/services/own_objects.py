"""What the archive keeps of its own in the storage area, and whether anything still needs it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from dicomulus.dicom.content_uuids import documents_of
from dicomulus.dicom.own_keys import DELETION_PREFIX, attachment_of_key
from dicomulus.errors import (
    ConfigurationError,
    DamagedDocumentError,
    ObjectNotFoundError,
    PreconditionFailedError,
    UnavailableError,
)
from dicomulus.services.belongings import UNDER_WAY_MS
from dicomulus.services.findings import Checked, Finding, Findings
from dicomulus.services.resource_document import MAX_DOCUMENT_BYTES, parse_document

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from dicomulus.ports import ObjectInfo, ObjectStore
    from dicomulus.services.belongings import Belongings
    from dicomulus.services.wishes import Wishes

logger = logging.getLogger(__name__)

CONTENT_AGE_MS: Final = 86_400_000
"""Age below which a content is not looked for in documents: its writer may be about to name it."""


class OwnObjects:
    """Finds contents of attachments that no document names, and deletions that were interrupted."""

    def __init__(
        self, storage: ObjectStore, *, belongings: Belongings, clock_ms: Callable[[], int]
    ) -> None:
        """Look in the storage area alone: what no index knows is found as well."""
        self._storage = storage
        self._belongings = belongings
        self._clock_ms = clock_ms

    def compare(self, listed: Sequence[ObjectInfo], wishes: Wishes) -> Findings:
        """Compare some objects of a listing with what would need them."""
        findings = Findings()
        self._compare_notes(listed, wishes, findings)
        for info in listed:
            uuid = attachment_of_key(info.key)
            if uuid is not None and wishes.has_share(info.key):
                findings.checked[Checked.CONTENTS] += 1
                self._compare_content(info, uuid, wishes, findings)
        return findings

    # contents

    def _compare_content(
        self, info: ObjectInfo, uuid: str, wishes: Wishes, findings: Findings
    ) -> None:
        latest_ms = self._clock_ms() - CONTENT_AGE_MS
        if info.modified_ms > latest_ms or self._may_be_named(uuid):
            return
        # It may have been put again since it was listed, or have gone.
        now = self._storage.head(info.key)
        if now is None or now.modified_ms > latest_ms:
            return
        findings.add(Finding.UNNAMED, [info.key])
        if wishes.repair and self._remove(now):
            findings.checked[Checked.REPAIRS] += 1

    def _remove(self, info: ObjectInfo) -> bool:
        try:
            self._storage.delete(info.key, if_match=info.etag)
        except PreconditionFailedError:
            return False
        except (UnavailableError, ConfigurationError) as exc:
            logger.warning("content left", extra={"reason": str(exc)})
            return False
        logger.info("content that no document names removed", extra={"object_key": info.key})
        return True

    def _may_be_named(self, uuid: str) -> bool:
        """Whether a document names a content, or it is not known that none does."""
        prefix = documents_of(uuid)
        if prefix is None:
            return True
        return any(self._names(document.key, uuid) for document in self._storage.list(prefix))

    def _names(self, key: str, uuid: str) -> bool:
        try:
            text = self._storage.get(key, length=MAX_DOCUMENT_BYTES + 1).data
            entries = parse_document(text).attachments.values()
        except ObjectNotFoundError:
            return False
        except DamagedDocumentError:
            # What it told is brought back from elsewhere, maybe.
            return True
        return any(entry.uuid == uuid for entry in entries)

    # notes of deletions

    def _compare_notes(
        self, listed: Iterable[ObjectInfo], wishes: Wishes, findings: Findings
    ) -> None:
        since_ms = self._clock_ms() - UNDER_WAY_MS
        notes = [
            info
            for info in listed
            if info.key.startswith(DELETION_PREFIX) and info.modified_ms <= since_ms
        ]
        findings.add(Finding.UNFINISHED, (info.key for info in notes))
        if wishes.repair:
            findings.checked[Checked.REPAIRS] += sum(map(self._finished, notes))

    def _finished(self, note: ObjectInfo) -> int:
        try:
            return self._belongings.finish_noted(note)
        except (UnavailableError, ConfigurationError) as exc:
            logger.warning("deletion not finished", extra={"reason": str(exc)})
            return 0
