"""Objects that are known to be damaged: noted once for each generation, till it is another one."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from dicomulus.errors import ConfigurationError, UnavailableError
from dicomulus.ports import Damage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dicomulus.ports import ChangedResource, Index, ObjectInfo, ObjectStore
    from dicomulus.services.changes import Changes

logger = logging.getLogger(__name__)

_HELD_SECONDS: Final = 60
"""Seconds for which what is damaged is known without asking."""


class Damages:
    """Notes what a verification finds."""

    def __init__(
        self,
        index: Index,
        storage: ObjectStore,
        *,
        changes: Changes,
        clock_ms: Callable[[], int],
    ) -> None:
        """Note in the index and in the log of changes what is wrong in the storage area."""
        self._index = index
        self._storage = storage
        self._changes = changes
        self._clock_ms = clock_ms
        self._held: dict[str, Damage] = {}
        self._held_until_ms = 0

    def found(self, info: ObjectInfo, resource: ChangedResource) -> None:
        """Note that an object of a resource is damaged, and tell so once."""
        damage = self._index.note_damage(
            Damage(
                object_key=info.key,
                object_etag=info.etag,
                object_modified_ms=info.modified_ms,
                found_ms=self._clock_ms(),
            )
        )
        self._held[info.key] = damage
        # The time of the first finding: what was noted and not told is told by the next one.
        self._changes.record_damaged(resource, version=damage.found_ms)
        logger.error("object damaged", extra={"object_key": info.key})

    def is_sound(self, object_key: str) -> None:
        """Forget what was known of an object whose bytes are those that came."""
        if self._clock_ms() >= self._held_until_ms:
            self._held = {each.object_key: each for each in self._all()}
            self._held_until_ms = self._clock_ms() + 1000 * _HELD_SECONDS
        damage = self._held.pop(object_key, None)
        if damage is not None:
            try:
                self._index.clear_damage(damage)
            except ConfigurationError:
                # Not everybody who verifies may delete; who reconciles does.
                logger.warning("damage not cleared", extra={"object_key": object_key})

    def now(self) -> Iterator[Damage]:
        """Give the objects that are damaged, or gone, and still are in that generation."""
        for damage in self._all():
            if self._is_there(damage):
                yield damage

    def clear_gone(self) -> None:
        """Forget those that are gone, or another object by now."""
        for damage in self._all():
            if not self._is_there(damage):
                self._index.clear_damage(damage)

    def _all(self) -> Iterator[Damage]:
        after: str | None = None
        while True:
            page = self._index.damages(after)
            yield from page.items
            if page.next is None:
                return
            after = page.next

    def _is_there(self, damage: Damage) -> bool:
        try:
            info = self._storage.head(damage.object_key)
        except (UnavailableError, ConfigurationError):
            # Nothing new is known of it.
            return True
        now = ("", 0) if info is None else (info.etag, info.modified_ms)
        return now == (damage.object_etag, damage.object_modified_ms)
