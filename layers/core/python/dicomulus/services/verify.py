"""Verification: objects read whole, and their bytes compared with what their rows say of them."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final

from dicomulus.errors import (
    ConfigurationError,
    CorruptObjectError,
    ObjectChangedError,
    ObjectNotFoundError,
    UnavailableError,
)
from dicomulus.ports import InstanceChanges
from dicomulus.services.findings import Checked, Finding, Findings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from dicomulus.ports import Index, InstanceRow, ObjectStore, RunAll

logger = logging.getLogger(__name__)

ALGORITHM: Final = "sha256"

_GROUP: Final = 8
"""Objects read before anybody looks at the time; each is in memory a MiB at a time."""

_GROUP_BYTES: Final = 4_294_967_296
"""Bytes of them together, unless one has more: what S3 sends a function in a minute."""


class Verify:
    """Reads objects, and keeps the checksums that are not known yet."""

    def __init__(
        self,
        index: Index,
        storage: ObjectStore,
        *,
        clock_ms: Callable[[], int],
        run_all: RunAll,
        pace: Callable[[int], None] = lambda _: None,
    ) -> None:
        """Read through ``run_all``; ``pace`` is told of the bytes read, and may take its time."""
        self._index = index
        self._storage = storage
        self._clock_ms = clock_ms
        self._run_all = run_all
        self._pace = pace

    def groups(self, rows: Sequence[InstanceRow]) -> Iterator[tuple[int, Sequence[InstanceRow]]]:
        """Give rows by the group, and how many there are with it."""
        group: list[InstanceRow] = []
        for done, row in enumerate(rows):
            size = sum(each.object_size for each in group) + row.object_size
            if group and (len(group) == _GROUP or size > _GROUP_BYTES):
                yield done, group
                group = []
            group.append(row)
        if group:
            yield len(rows), group

    def verify(self, rows: Sequence[InstanceRow], *, keep: bool) -> Findings:
        """Read the objects of rows whole, and keep the checksums of those that have none.

        An object that is another by now, or gone, is none of this: others find it by that.
        """
        findings = Findings()
        digests = self._run_all([partial(self._digest, row) for row in rows])
        known: list[InstanceRow] = []
        for row, digest in zip(rows, digests, strict=True):
            if isinstance(digest, CorruptObjectError):
                logger.error("object damaged", extra={"object_key": row.object_key})
                findings.add(Finding.DAMAGED, [row.object_key])
            elif isinstance(digest, (UnavailableError, ConfigurationError)):
                findings.add(Finding.UNREADABLE, [row.object_key])
            elif digest is not None:
                findings.checked[Checked.VERIFIED] += 1
                findings.checked[Checked.VERIFIED_BYTES] += row.object_size
                checksum = f"{ALGORITHM}:{digest}"
                if not row.checksum.startswith(f"{ALGORITHM}:"):
                    known.append(replace(row, checksum=checksum))
                elif row.checksum != checksum:
                    logger.error("object damaged", extra={"object_key": row.object_key})
                    findings.add(Finding.DAMAGED, [row.object_key])
        if keep:
            self._keep(known)
            findings.checked[Checked.CHECKSUMS] += len(known)
        return findings

    def _digest(
        self, row: InstanceRow
    ) -> str | UnavailableError | ConfigurationError | CorruptObjectError | None:
        digest = hashlib.sha256()
        try:
            for chunk in self._storage.stream(row.object_key, if_match=row.object_etag):
                digest.update(chunk)
                self._pace(len(chunk))
        except (ObjectChangedError, ObjectNotFoundError):
            return None
        except (UnavailableError, ConfigurationError, CorruptObjectError) as exc:
            # What may not be read, for its key's sake or its own, keeps nobody from the others.
            return exc
        return digest.hexdigest()

    def _keep(self, rows: Sequence[InstanceRow]) -> None:
        """Write checksums; no answer that is kept has them, so no version moves."""
        known = [each for each in map(self._as_it_is, rows) if each is not None]
        if known:
            now_ms = self._clock_ms()
            self._index.commit(InstanceChanges(renewed=known), now_ms=now_ms, due_ms=now_ms)

    def _as_it_is(self, row: InstanceRow) -> InstanceRow | None:
        """Give a row with its new checksum as it is by now, if it still is of the same object.

        To read the object may have taken minutes, in which the row was made anew for other tags.
        """
        for now in self._index.get_instance(row.instance):
            if (now.object_key, now.object_etag, now.object_modified_ms) == (
                row.object_key,
                row.object_etag,
                row.object_modified_ms,
            ):
                return replace(now, checksum=row.checksum)
        return None
