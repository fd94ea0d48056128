"""The scan: which objects an index does not agree with, seen by comparing it with a listing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from dicomulus.dicom.own_keys import has_rows
from dicomulus.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from dicomulus.ports import Index, ObjectInfo, ObjectStore

BATCH: Final = 1_000
"""Objects compared by one read of the index."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """One batch of a scan."""

    object_keys: tuple[str, ...]
    """Those to be looked at: new, changed, unsettled or vanished."""
    listed: int
    """Objects in the listing that the batch stands for; none for vanished ones."""
    listed_bytes: int


def scan(index: Index, storage: ObjectStore) -> Iterator[Compared]:
    """Compare all objects of a store with the index, in batches; those that vanished come last.

    An object whose row or rejection is of its present entity tag is not among the keys, and the
    comparison writes nothing.

    Raises:
        UnavailableError: The store cannot be listed, or the index not be read.
    """
    listed: set[str] = set()
    for batch in _batches(storage.list()):
        listed.update(info.key for info in batch)
        yield _compare(index, batch)
    yield from _vanished(index, storage, listed=listed)


def scan_prefix(index: Index, storage: ObjectStore, *, prefix: str) -> Iterator[Compared]:
    """Compare the objects under a prefix with the index; says nothing of vanished ones."""
    for batch in _batches(storage.list(prefix)):
        yield _compare(index, batch)


def _batches(infos: Iterable[ObjectInfo]) -> Iterator[list[ObjectInfo]]:
    batch: list[ObjectInfo] = []
    for info in infos:
        if not has_rows(info.key):
            continue
        batch.append(info)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _compare(index: Index, batch: list[ObjectInfo]) -> Compared:
    settled = index.indexed_etags([info.key for info in batch])
    return Compared(
        object_keys=tuple(info.key for info in batch if settled.get(info.key) != info.etag),
        listed=len(batch),
        listed_bytes=sum(info.size for info in batch),
    )


def _vanished(index: Index, storage: ObjectStore, *, listed: set[str]) -> Iterator[Compared]:
    after: str | None = None
    while True:
        page = index.known_objects(after, limit=BATCH)
        missing = dict.fromkeys(
            row.object_key for row in page.items if row.object_key not in listed
        )
        gone = tuple(key for key in missing if _is_gone(storage, key))
        if gone:
            yield Compared(object_keys=gone, listed=0, listed_bytes=0)
        if page.next is None:
            return
        after = page.next


def _is_gone(storage: ObjectStore, object_key: str) -> bool:
    """Whether there is no such object, and not merely no way to it or one since the listing."""
    try:
        return storage.head(object_key) is None
    except UnavailableError:
        return False
