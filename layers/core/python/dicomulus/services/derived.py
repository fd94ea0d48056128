"""What the cache store holds, compared with the series that it was made of."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from dicomulus.errors import (
    ConfigurationError,
    CorruptFragmentError,
    CorruptReadError,
    ObjectNotFoundError,
    PreconditionFailedError,
    UnavailableError,
)
from dicomulus.metadata.bundle import is_whole, parse_bundle
from dicomulus.metadata.bundle_parts import digest_of, plan
from dicomulus.services.announcements import instance_rows
from dicomulus.services.cache_keys import is_bundle, is_pointed, is_thumbnail, series_of_cache_key
from dicomulus.services.findings import Checked, Finding, Findings
from dicomulus.services.folds import chosen
from dicomulus.services.sealed import SEALED_SUFFIX, unseal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from dicomulus.dicom.resource import SeriesResource
    from dicomulus.metadata.bundle import Bundle
    from dicomulus.ports import Index, InstanceRow, ObjectInfo, ObjectStore
    from dicomulus.services.announcements import Announcements
    from dicomulus.services.wishes import Wishes

DERIVED_AGE_SECONDS: Final = 86_400
"""Age below which nothing derived is removed: the row that points to it may be about to be written,
and a failed attempt to write it comes back for hours."""


class Derived:
    """Compares what can be made anew."""

    def __init__(
        self,
        index: Index,
        cache: ObjectStore,
        *,
        announcements: Announcements,
        clock_ms: Callable[[], int],
    ) -> None:
        """Compare a cache store with an index."""
        self._index = index
        self._cache = cache
        self._announcements = announcements
        self._clock_ms = clock_ms

    def compare(self, listed: Sequence[ObjectInfo], wishes: Wishes) -> Findings:
        """Compare some objects of the cache store with the series that they were made of."""
        findings = Findings()
        latest_ms = self._clock_ms() - 1000 * DERIVED_AGE_SECONDS
        groups: dict[SeriesResource, list[ObjectInfo]] = defaultdict(list)
        for info in listed:
            series = series_of_cache_key(info.key)
            if series is not None and not wishes.has_share(series.path):
                continue
            findings.checked[Checked.DERIVED] += 1
            if series is not None:
                groups[series].append(info)
        for series, infos in groups.items():
            old = [info for info in infos if info.modified_ms <= latest_ms]
            unneeded = self._unneeded(series, old) if old else []
            findings.add(Finding.DERIVED, (info.key for info in unneeded))
            if wishes.repair:
                self._remove(unneeded, latest_ms, findings)
            if wishes.verify:
                left_out = {info.key for info in unneeded}
                due = [each for each in infos if each.key not in left_out]
                due = [each for each in due if wishes.has_due(each.key)]
                self._verify_contents(series, due, wishes, findings)
                bundles = [each.key for each in due if each in old and is_bundle(each.key)]
                self._verify_bundles(series, bundles, wishes, findings)
        return findings

    def _verify_contents(
        self,
        series: SeriesResource,
        infos: Sequence[ObjectInfo],
        wishes: Wishes,
        findings: Findings,
    ) -> None:
        """Find what is not as it was written; drop it, and have made anew what is needed."""
        damaged: list[ObjectInfo] = []
        for info in infos:
            try:
                if not self._is_whole(info):
                    damaged.append(info)
            except ObjectNotFoundError:
                continue
            except (UnavailableError, ConfigurationError):
                findings.add(Finding.UNREADABLE, [info.key])
        findings.add(Finding.DERIVED_DAMAGED, (info.key for info in damaged))
        if wishes.repair and damaged:
            self._make_anew(series, damaged, findings)

    def _is_whole(self, info: ObjectInfo) -> bool:
        try:
            data = self._cache.get(info.key).data
        except CorruptReadError:
            return False
        if is_pointed(info.key):
            return info.key.endswith(f"/{hashlib.sha256(data).hexdigest()}")
        if is_bundle(info.key):
            return is_whole(data)
        try:
            unseal(data)
        except CorruptFragmentError:
            return False
        return True

    def _make_anew(
        self, series: SeriesResource, damaged: Sequence[ObjectInfo], findings: Findings
    ) -> None:
        for info in damaged:
            with suppress(PreconditionFailedError):
                self._cache.delete(info.key, if_match=info.etag)
                findings.checked[Checked.REPAIRS] += 1
        pointers = {info.key for info in damaged if is_pointed(info.key)}
        if pointers:
            rows = instance_rows(self._index, series)
            pointing = [row for row in rows if pointers & _pointers_of(row)]
            self._announcements.look_again([row.object_key for row in pointing], findings)
        if any(is_bundle(info.key) for info in damaged):
            self._announcements.fold_again(series, findings)

    def _unneeded(self, series: SeriesResource, infos: list[ObjectInfo]) -> list[ObjectInfo]:
        if not self._index.query_stored_objects(series, limit=1).items:
            return infos
        former = [info for info in infos if _is_former(info.key)]
        pointed = [info for info in infos if is_pointed(info.key)]
        if not pointed:
            return former
        rows = instance_rows(self._index, series)
        needed = {key for row in rows for key in _pointers_of(row)}
        return former + [info for info in pointed if info.key not in needed]

    def _verify_bundles(
        self, series: SeriesResource, keys: Sequence[str], wishes: Wishes, findings: Findings
    ) -> None:
        """Find bundles that have the series' version and are not made of its rows.

        So they are where a row was written, and whoever was to move the version never came to it.
        """
        row = self._index.get_series(series)
        if not keys or row is None or row.compact_due_ms is not None:
            return
        parts = list(plan(chosen(instance_rows(self._index, series))))
        made_of = {
            "gzip": tuple(part.digest for part in parts),
            "zstd": (digest_of(parts),),
        }
        bundles = [each for each in map(self._bundle, keys) if each and each.version == row.version]
        is_of_rows = all(
            tuple(part.digest for part in each.extents) == made_of[each.encoding]
            for each in bundles
        )
        if not is_of_rows and self._index.get_series(series) == row:
            findings.add(Finding.SERIES, [series.path])
            if wishes.repair:
                self._announcements.fold_again(series, findings)

    def _bundle(self, key: str) -> Bundle | None:
        """Read a bundle, if it is one that anybody is given."""
        try:
            return parse_bundle(self._cache.get(key).data)
        except (CorruptFragmentError, CorruptReadError, ObjectNotFoundError):
            return None

    def _remove(self, infos: Iterable[ObjectInfo], latest_ms: int, findings: Findings) -> None:
        for info in infos:
            # Put again since it was listed, something needs it again.
            now = self._cache.head(info.key)
            if now is not None and now.modified_ms <= latest_ms:
                self._cache.delete(info.key)
                findings.checked[Checked.REPAIRS] += 1


def _pointers_of(row: InstanceRow) -> set[str]:
    return {row.fragment.pointer, row.frame_table_pointer}


def _is_former(key: str) -> bool:
    """Whether a thumbnail was kept by a version that did not seal it."""
    return is_thumbnail(key) and not key.endswith(SEALED_SUFFIX)
