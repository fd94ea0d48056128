"""A store that refuses to be written or looked at, or loses or changes what was written."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING, Any, cast

from tests.support.archives import small_archive

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from dicomulus.ports import ObjectInfo, ObjectStore
    from tests.support.archives import Small


class FailingStore:
    """Passes everything on, but for what it is told to do."""

    def __init__(self, inner: ObjectStore) -> None:
        self._inner = inner
        self.errors: list[Exception] = []
        """Raised by the next writes, the last one first."""
        self.head_errors: list[Exception] = []
        """Raised by the next looks at objects."""
        self.sync_errors: list[Exception] = []
        """Raised when what was written is to become durable."""
        self.loses = False
        """What is written is gone at once."""
        self.overwrites = b""
        """What others write in its place, once."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def head(self, key: str) -> ObjectInfo | None:
        if self.head_errors:
            raise self.head_errors.pop()
        return self._inner.head(key)

    def make_durable(self, keys: Collection[str]) -> None:
        if self.sync_errors:
            raise self.sync_errors.pop()
        self._inner.make_durable(keys)

    def put(self, key: str, body: bytes | IO[bytes], **conditions: Any) -> ObjectInfo:
        if self.errors:
            raise self.errors.pop()
        info = self._inner.put(key, body, **conditions)
        if self.loses:
            self._inner.delete(key)
        if self.overwrites:
            self._inner.put(key, self.overwrites)
            self.overwrites = b""
        return info


def failing_archive(folder: Path, **settings: Any) -> tuple[Small, FailingStore]:
    """Make an empty archive over such a store."""
    held: list[FailingStore] = []

    def around(inner: ObjectStore) -> ObjectStore:
        held.append(FailingStore(inner))
        return cast("ObjectStore", held[0])

    return small_archive(folder, storage=around, **settings), held[0]
