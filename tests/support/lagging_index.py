"""An index of several shards whose ordered reads repeat rows, and show keys of long ago."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any

from dicomulus.ports import CARRIED_CUT, CARRIED_KEYWORDS, EntryPage, SearchPath, StudyEntry

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dicomulus.adapters.local.sqlite_index import SqliteIndex


class LaggingShards:
    """Divides the ordered indexes of another index into shards, in short pages.

    ``stale`` are entries of keys that their studies no longer have.
    """

    def __init__(
        self, index: SqliteIndex, *, shards: int, stale: Sequence[StudyEntry] = (), page: int = 2
    ) -> None:
        self._index = index
        self._shards = shards
        self._stale = stale
        self._page = page

    def __getattr__(self, name: str) -> Any:
        return getattr(self._index, name)

    @property
    def search_shards(self) -> int:
        return self._shards

    def scan_studies(
        self,
        path: SearchPath,
        shard: int,
        *,
        low: str = "",
        high: str | None = None,
        after: str | None = None,
        limit: int = 1000,
        backwards: bool = False,
        containing: Mapping[str, tuple[str, ...]] | None = None,
    ) -> EntryPage:
        texts = dict.fromkeys(CARRIED_KEYWORDS, ()) if path is SearchPath.DATE else None
        found = self._index.scan_studies(
            path, 0, low=low, high=high, limit=10_000, containing=texts
        ).items
        stale = [e for e in self._stale if low <= e.sort_key and (not high or e.sort_key < high)]
        downwards = (path is SearchPath.DATE) != backwards
        ordered = sorted({*_hashable(found), *_hashable(stale)}, reverse=downwards)
        mine = [key for key in ordered if zlib.crc32(key[1].encode()) % self._shards == shard]
        if after is not None:
            mine = [key for key in mine if (key[0] < after if downwards else key[0] > after)]
        read = mine[: min(limit, self._page)]
        entries = [StudyEntry(key, uid, dict(carried)) for key, uid, carried in read]
        items = tuple(entry for entry in entries if _may_contain(entry, containing or {}))
        return EntryPage(items, read[-1][0] if len(mine) > len(read) else None, len(read))

    def count_studies(
        self, path: SearchPath, shard: int, *, low: str = "", high: str | None = None
    ) -> int:
        count, after = 0, None
        while True:
            page = self.scan_studies(path, shard, low=low, high=high, after=after)
            count += page.scanned
            if page.next is None:
                return count
            after = page.next


def _may_contain(entry: StudyEntry, containing: Mapping[str, tuple[str, ...]]) -> bool:
    texts = {keyword: entry.carried.get(keyword, "") for keyword in containing}
    return all(
        text.endswith(CARRIED_CUT) or all(piece in text for piece in containing[keyword])
        for keyword, text in texts.items()
    )


def _hashable(
    entries: Sequence[StudyEntry],
) -> list[tuple[str, str, tuple[tuple[str, str], ...]]]:
    return [(e.sort_key, e.study_instance_uid, tuple(e.carried.items())) for e in entries]
