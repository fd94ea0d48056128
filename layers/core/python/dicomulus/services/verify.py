"""Verification: objects read whole, and their bytes compared with what is known of them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

from dicomulus.errors import (
    ConfigurationError,
    CorruptObjectError,
    CorruptReadError,
    ObjectChangedError,
    ObjectNotFoundError,
    UnavailableError,
)
from dicomulus.ports import InstanceChanges, ObjectInfo
from dicomulus.services.crc64 import Crc64Nvme
from dicomulus.services.findings import Checked, Finding, Findings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from dicomulus.ports import Index, InstanceRow, ObjectStore, RunAll
    from dicomulus.services.damage import Damages

ALGORITHM: Final = "sha256"

_STORES: Final = "crc64nvme:"
"""Begins a checksum that a store makes by itself."""

_READS: Final = 2
"""Times that an object is read before it counts as damaged: the fault may lie on the way."""

_GROUP: Final = 8
"""Objects read before anybody looks at the time; each is in memory a MiB at a time."""

_GROUP_BYTES: Final = 4_294_967_296
"""Bytes of them together, unless one has more: what S3 sends a function in a minute."""


@dataclass(frozen=True, slots=True)
class _Verified:
    """What became of the bytes of an object."""

    checksum: str
    """Their SHA-256."""
    is_damaged: bool


class _Sums(NamedTuple):
    """What bytes come to."""

    sha256: str
    of_store: str | None
    is_refused: bool
    """Whether the store itself has said that they are not what it was given; it may have ended."""


_Outcome = _Verified | UnavailableError | ConfigurationError | None


class Verify:
    """Reads objects, and keeps the checksums that are not known yet."""

    def __init__(
        self,
        index: Index,
        storage: ObjectStore,
        *,
        damages: Damages,
        clock_ms: Callable[[], int],
        run_all: RunAll,
        pace: Callable[[int], None] = lambda _: None,
    ) -> None:
        """Read through ``run_all``; ``pace`` is told of the bytes read, and may take its time."""
        self._index = index
        self._storage = storage
        self._damages = damages
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
        """Read the objects of rows whole; keep what is damaged, and checksums that were unknown.

        An object that is another by now, or gone, is none of this: others find it by that.
        """
        findings = Findings()
        outcomes = self._run_all([partial(self._verified, row) for row in rows])
        known: list[InstanceRow] = []
        for row, outcome in zip(rows, outcomes, strict=True):
            if isinstance(outcome, (UnavailableError, ConfigurationError)):
                findings.add(Finding.UNREADABLE, [row.object_key])
            elif outcome is not None:
                findings.checked[Checked.VERIFIED] += 1
                findings.checked[Checked.VERIFIED_BYTES] += row.object_size
                if outcome.is_damaged:
                    findings.add(Finding.DAMAGED, [row.object_key])
                elif row.checksum != outcome.checksum:
                    known.append(replace(row, checksum=outcome.checksum))
                if keep:
                    self._note(row, outcome)
        if keep:
            self._keep(known)
            findings.checked[Checked.CHECKSUMS] += len(known)
        return findings

    def _note(self, row: InstanceRow, outcome: _Verified) -> None:
        if outcome.is_damaged:
            self._damages.found(_info_of(row), row.instance)
        else:
            self._damages.is_sound(row.object_key)

    def _verified(self, row: InstanceRow) -> _Outcome:
        try:
            return self._compared(row, self._expected(row))
        except (ObjectChangedError, ObjectNotFoundError):
            return None
        except (UnavailableError, ConfigurationError) as exc:
            # What may not be read, for its key's sake or its own, keeps nobody from the others.
            return exc

    def _expected(self, row: InstanceRow) -> str:
        """Give the checksum that an object must have: its row's, else the store's own."""
        if row.checksum.startswith(f"{ALGORITHM}:"):
            return row.checksum
        info = self._storage.head(row.object_key)
        is_same = info is not None and info.etag == row.object_etag
        return (is_same and info is not None and info.checksum) or row.checksum

    def _compared(self, row: InstanceRow, expected: str) -> _Verified:
        for _ in range(_READS):
            sums = self._sums(row, expected)
            if not sums.is_refused and (not expected or expected in sums):
                return _Verified(sums.sha256, is_damaged=False)
        return _Verified(sums.sha256, is_damaged=True)

    def _sums(self, row: InstanceRow, expected: str) -> _Sums:
        """Read an object to its end; what the store makes is made where it is expected."""
        sha256 = hashlib.sha256()
        crc64 = Crc64Nvme() if expected.startswith(_STORES) else None
        is_refused = False
        try:
            for chunk in self._storage.stream(row.object_key, if_match=row.object_etag):
                sha256.update(chunk)
                if crc64 is not None:
                    crc64.update(chunk)
                self._pace(len(chunk))
        except (CorruptObjectError, CorruptReadError):
            is_refused = True
        other = None if crc64 is None else _STORES + crc64.hexdigest()
        return _Sums(f"{ALGORITHM}:{sha256.hexdigest()}", other, is_refused)

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


def _info_of(row: InstanceRow) -> ObjectInfo:
    return ObjectInfo(
        key=row.object_key,
        etag=row.object_etag,
        size=row.object_size,
        modified_ms=row.object_modified_ms,
    )
