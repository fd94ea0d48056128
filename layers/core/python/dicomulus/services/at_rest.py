"""The form in which instances lie in the storage area: as they came, or compressed.

An instance that changes its form is for a while in both. Its new form is written where nothing was,
which one writer alone can do, and indexed; then the old one goes, if it still is what was read.
Whatever interrupts that leaves both forms, of equal bytes, and the same call goes on. Only the
archive's own keys have two forms: what others put elsewhere is not rewritten.
"""

from __future__ import annotations

import io
import logging
from contextlib import suppress
from dataclasses import replace
from typing import IO, TYPE_CHECKING, Final

from dicomulus.dicom.resource import (
    canonical_key,
    compressed_key,
    is_compressed_key,
    other_form,
)
from dicomulus.errors import (
    AdoptedObjectError,
    CorruptObjectError,
    ObjectChangedError,
    ObjectNotFoundError,
    PreconditionFailedError,
    UnavailableError,
)
from dicomulus.metadata.seekable_gzip import is_worthwhile
from dicomulus.ports import InstanceChanges
from dicomulus.services.absence import absence

if TYPE_CHECKING:
    from collections.abc import Callable

    from dicomulus.dicom.resource import InstanceResource
    from dicomulus.ports import Index, InstanceRow, ObjectInfo, ObjectStore
    from dicomulus.services.ingest import Ingest

logger = logging.getLogger(__name__)

SETTLED_SECONDS: Final = 120
"""Age from which a form that is there beside the other was left by somebody who no longer works
on it: a write and a look at it take seconds."""

WITHDRAWAL_SECONDS: Final = 60
"""Time in which what was just written may be taken back, since nobody else goes on with it yet."""

READ_BYTES: Final = 8_388_608
"""Bytes of an object that are read at a time to be written again."""

_SHA256: Final = "sha256:"


class AtRest:
    """Chooses and changes forms."""

    def __init__(
        self,
        index: Index,
        storage: ObjectStore,
        *,
        ingest: Ingest,
        compresses: bool,
        clock_ms: Callable[[], int],
    ) -> None:
        """Compress what arrives from now on, or do not."""
        self._index = index
        self._storage = storage
        self._ingest = ingest
        self._compresses = compresses
        self._clock_ms = clock_ms

    @property
    def compresses(self) -> bool:
        """Whether what arrives is compressed where that makes it smaller."""
        return self._compresses

    def key_for(self, instance: InstanceResource, content: IO[bytes]) -> str:
        """Give the key for an instance that arrives, by what it holds: the rest of a file."""
        compressed = self._compresses and is_worthwhile(content)
        return compressed_key(instance) if compressed else canonical_key(instance)

    def compress(self, instance: InstanceResource) -> bool:
        """Have an instance lie compressed, whether that makes it smaller or not.

        Returns:
            Whether anything was to be done.

        Raises:
            InstanceNotFoundError: There is no such instance.
            AdoptedObjectError: Its object lies under a key of somebody else's.
            ObjectChangedError: It was replaced meanwhile.
            CorruptObjectError: It is not what its row says; nothing was changed.
            PreconditionFailedError: Both forms are there, and hold different bytes.
            UnavailableError: Somebody is changing its form just now.
        """
        return self._change(instance, compressed_key(instance), gain=False)

    def shrink(self, instance: InstanceResource) -> bool:
        """Do as ``compress``, where that makes the object smaller."""
        return self._change(instance, compressed_key(instance), gain=True)

    def uncompress(self, instance: InstanceResource) -> bool:
        """Have an instance lie as it came; as ``compress``."""
        return self._change(instance, canonical_key(instance), gain=False)

    def is_compressed(self, row: InstanceRow) -> bool:
        """Whether a row's object is compressed where it is stored."""
        return is_compressed_key(row.object_key)

    def forget_copy(self, row: InstanceRow) -> str | None:
        """Remove the other form of an object that was just deleted, if it holds the same bytes.

        Somebody may have written it while the object was deleted.

        Returns:
            The key of what was removed.
        """
        key = other_form(row.object_key)
        info = None if key is None else self._storage.head(key)
        if key is None or info is None or not self._has_bytes_of(info, row):
            return None
        try:
            self._storage.delete(key, if_match=info.etag)
        except PreconditionFailedError:
            # What is there by now was put after the deletion had begun.
            return None
        return key

    def _has_bytes_of(self, info: ObjectInfo, row: InstanceRow) -> bool:
        if info.size != row.object_size:
            return False
        checksums = info.checksum, row.checksum
        if not all(each.startswith(_SHA256) for each in checksums):
            # Of the same instance and the same length, a moment after: another form of it.
            return True
        return info.checksum == row.checksum

    # changing the form

    def _change(self, instance: InstanceResource, wanted: str, *, gain: bool) -> bool:
        rows = {row.object_key: row for row in self._index.get_instance(instance)}
        source = rows.get(other_form(wanted) or "")
        if source is None:
            if wanted in rows:
                return False
            if rows:
                raise AdoptedObjectError(
                    "the object lies where others put it, and is not rewritten"
                )
            raise absence(self._index, instance)
        if gain and wanted not in rows and not is_worthwhile(self._pieces(source)):
            return False
        self._replace(source, wanted)
        return True

    def _replace(self, source: InstanceRow, wanted: str) -> None:
        info, since_ms = self._written(source, wanted)
        try:
            self._index_copy(source, info)
            self._delete(source)
        except (ObjectChangedError, CorruptObjectError):
            if since_ms is not None and self._clock_ms() - since_ms < 1000 * WITHDRAWAL_SECONDS:
                with suppress(PreconditionFailedError):
                    self._storage.delete(wanted, if_match=info.etag)
            self._ingest.look_at([wanted, source.object_key])
            raise
        self._ingest.look_at([source.object_key])
        logger.info("object changed its form", extra={"object_key": wanted})

    def _delete(self, source: InstanceRow) -> None:
        """Delete the old form, which is the one that was read.

        Raises:
            ObjectChangedError: It is not, or it was deleted by somebody else.
        """
        now = self._storage.head(source.object_key)
        if now is None or now.etag != source.object_etag:
            raise ObjectChangedError("the object changed while its form was to be")
        try:
            self._storage.delete(source.object_key, if_match=source.object_etag)
        except PreconditionFailedError as exc:
            raise ObjectChangedError("the object changed while its form was to be") from exc

    def _written(self, source: InstanceRow, wanted: str) -> tuple[ObjectInfo, int | None]:
        """Give the new form; with the time when it was written, if it was written just now.

        Raises:
            CorruptObjectError: The object is not what its row says.
        """
        found = self._storage.head(wanted)
        if found is not None:
            self._check_copy(source, found)
            return found, None
        since_ms = self._clock_ms()
        try:
            info = self._storage.put(wanted, self._content(source), if_none_match=True)
        except PreconditionFailedError as exc:
            raise UnavailableError("somebody changes the form of the instance") from exc
        except ObjectNotFoundError as exc:
            raise ObjectChangedError("the object is gone") from exc
        return info, since_ms

    def _check_copy(self, source: InstanceRow, found: ObjectInfo) -> None:
        """Make sure that what is there is another's copy, who is not at it any more."""
        if self._clock_ms() - found.modified_ms < 1000 * SETTLED_SECONDS:
            raise UnavailableError("somebody changes the form of the instance")
        copy = self._storage.stream(found.key, if_match=found.etag)
        content = self._content(source)
        is_equal = all(chunk == content.read(len(chunk)) for chunk in copy)
        if not is_equal or content.read(1):
            raise PreconditionFailedError("both forms of the instance hold different bytes")

    def _index_copy(self, source: InstanceRow, info: ObjectInfo) -> None:
        """Have the new form known, with the checksum that the old one had."""
        known = source.checksum if source.checksum.startswith(_SHA256) else ""
        told = info.checksum if info.checksum.startswith(_SHA256) else ""
        if known and told and known != told:
            raise CorruptObjectError("the object is not what its row says")
        report = self._ingest.look_at([info.key])
        if error := report.failed.get(info.key):
            raise error
        rows = [row for row in report.indexed if row.instance == source.instance]
        if not rows or rows[0].object_etag != info.etag:
            raise ObjectChangedError("the object changed while its form was to be")
        checksum = known or told
        if checksum and not rows[0].checksum:
            now_ms = self._clock_ms()
            renewed = [replace(rows[0], checksum=checksum)]
            self._index.commit(InstanceChanges(renewed=renewed), now_ms=now_ms, due_ms=now_ms)

    def _content(self, row: InstanceRow) -> IO[bytes]:
        return io.BufferedReader(_ObjectFile(self._storage, row), READ_BYTES)

    def _pieces(self, row: InstanceRow) -> IO[bytes]:
        return io.BufferedReader(_ObjectFile(self._storage, row), 1)


class _ObjectFile(io.RawIOBase):
    """The object of a row as a file that is read in ranges."""

    def __init__(self, storage: ObjectStore, row: InstanceRow) -> None:
        super().__init__()
        self._storage = storage
        self._row = row
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._row.object_size}
        self._at = base[whence] + offset
        return self._at

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]
        length = min(len(buffer), self._row.object_size - self._at)
        if length <= 0:
            return 0
        data = self._storage.get(
            self._row.object_key,
            start=self._at,
            length=length,
            if_match=self._row.object_etag,
        ).data
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)
