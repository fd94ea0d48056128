"""Compaction: bundles, series and study rows brought up to date with the instance rows.

A series' due time stays until the bundle, its fold and the study's fold have been written for the
version it still has, and the log of changes was told, so whatever interrupts a compaction leaves
the series due.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from itertools import groupby
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from dicomulus.errors import (
    CorruptFragmentError,
    CorruptReadError,
    ObjectNotFoundError,
    PreconditionFailedError,
    UnavailableError,
)
from dicomulus.metadata.block import ENCODINGS
from dicomulus.metadata.bundle import (
    KEPT_LEVEL,
    bundle_key,
    bundle_prefix,
    format_bundle,
    parse_bundle,
)
from dicomulus.ports import NOT_YET_COUNTED
from dicomulus.services.bundles import Wanted, build_bundles
from dicomulus.services.cache_keys import pointed_prefix, thumbnail_prefix
from dicomulus.services.folds import chosen, fold_series, fold_study
from dicomulus.services.identifier_notes import SaidPatientIds
from dicomulus.services.tidings import Seen, tell

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from dicomulus.dicom.main_tags import MainTags
    from dicomulus.dicom.resource import SeriesResource
    from dicomulus.metadata.bundle import Bundle
    from dicomulus.ports import (
        CountsMove,
        Index,
        InstanceRow,
        ObjectInfo,
        ObjectStore,
        SeriesRow,
        StudyRow,
    )
    from dicomulus.services.fragments import FragmentReader
    from dicomulus.services.identifier_notes import IdentifierNotes

logger = logging.getLogger(__name__)

_ATTEMPTS: Final = 20
"""Times that a compaction overtaken by writes begins anew before it is left for later."""


_NOTHING_SAID: Final[Mapping[SeriesResource, frozenset[str]]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class _Held:
    """A bundle that is there, and the object that it was read from."""

    bundle: Bundle
    info: ObjectInfo


@dataclass(frozen=True, slots=True)
class _Looks:
    """What was seen of the series of a study on the way."""

    said: dict[SeriesResource, frozenset[str]]
    """The Patient IDs that instances say."""
    seen: dict[SeriesResource, Seen]
    """What the log of changes is to be told."""


class Compaction:
    """Publishes bundles and folds."""

    def __init__(
        self,
        index: Index,
        cache: ObjectStore,
        *,
        fragments: FragmentReader,
        tags: MainTags,
        default_base_url: str,
        max_bases: int,
        stable_age_seconds: int,
        clock_ms: Callable[[], int],
        identifiers: IdentifierNotes | None = None,
    ) -> None:
        """Publish for the default base URL, if it is not empty, and for those kept already.

        No more than ``max_bases`` in all are kept.

        A series that is up to date counts as stable that many seconds later. Where Orthanc's
        identifiers are to be noted, those of instances whose study has another Patient ID are.
        """
        self._index = index
        self._cache = cache
        self._fragments = fragments
        self._tags = tags
        self._default_base_url = default_base_url
        self._max_bases = max_bases
        self._stable_age_ms = 1000 * stable_age_seconds
        self._clock_ms = clock_ms
        self._identifiers = identifiers

    def compact(self, series: Collection[SeriesResource]) -> dict[SeriesResource, int]:
        """Bring series and their studies up to date; one that cannot be stops no other.

        Returns:
            The versions at which they are up to date; those that do not exist are left out.

        Raises:
            UnavailableError: Something one of them needs is missing, or writes kept overtaking
                it. It is still due; the others are done.
        """
        ordered = sorted(set(series))
        done: dict[SeriesResource, int] = {}
        failures: list[UnavailableError] = []
        for study_instance_uid, group in groupby(ordered, key=lambda s: s.study_instance_uid):
            try:
                done |= self._compact_study(study_instance_uid, tuple(group), failures)
            except UnavailableError as exc:
                failures.append(exc)
        if failures:
            raise failures[0]
        return done

    def _compact_study(
        self,
        study_instance_uid: str,
        group: tuple[SeriesResource, ...],
        failures: list[UnavailableError],
    ) -> dict[SeriesResource, int]:
        pending = group
        done: dict[SeriesResource, int] = {}
        looks = _Looks({}, {})
        for _ in range(_ATTEMPTS):
            versions = self._compact_each(pending, failures, looks)
            study = self.fold_study(study_instance_uid, looks.said)
            # A series stays due until the log says what was seen.
            pending = tuple(
                series
                for series, version in versions.items()
                if not tell(self._index, looks.seen[series], study, clock_ms=self._clock_ms)
                or not self._settle(series, version)
            )
            done |= {s: version for s, version in versions.items() if s not in pending}
            if not pending:
                return done
        raise UnavailableError("a series changes faster than it can be compacted")

    def _settle(self, series: SeriesResource, version: int) -> bool:
        stable_due_ms = self._clock_ms() + self._stable_age_ms
        return self._index.settle_series(series, version, stable_due_ms=stable_due_ms)

    def _compact_each(
        self,
        group: tuple[SeriesResource, ...],
        failures: list[UnavailableError],
        looks: _Looks,
    ) -> dict[SeriesResource, int]:
        versions: dict[SeriesResource, int] = {}
        for series in group:
            try:
                version = self._compact_series(series, looks)
            except UnavailableError as exc:
                failures.append(exc)
                continue
            if version is not None:
                versions[series] = version
        return versions

    def _compact_series(self, series: SeriesResource, looks: _Looks) -> int | None:
        """Publish one series; give the version it was published at."""
        for _ in range(_ATTEMPTS):
            row = self._index.get_series(series)
            if row is None:
                return None
            told = self._index.told(series)
            rows = chosen(self.instance_rows(series))
            uids = frozenset(each.instance.sop_instance_uid for each in rows)
            looks.seen[series] = Seen(told, uids)
            published = self._publish(row, rows)
            text_of = self._text_of()
            folded = fold_series(row, rows, text_of=text_of, tags=self._tags)
            if isinstance(text_of, SaidPatientIds):
                looks.said[series] = frozenset(text_of.found)
            if self._index.fold_series(folded) and published:
                logger.info(
                    "series compacted",
                    extra={
                        "series_instance_uid": series.series_instance_uid,
                        "version": row.version,
                        "instances": len(rows),
                    },
                )
                return row.version
        raise UnavailableError("a series changes faster than it can be compacted")

    def _text_of(self) -> Callable[[InstanceRow], bytes]:
        text_of = self._fragments.text
        return text_of if self._identifiers is None else SaidPatientIds(text_of)

    def instance_rows(self, series: SeriesResource) -> Iterator[InstanceRow]:
        """Give all instance rows of a series."""
        after: str | None = None
        while True:
            page = self._index.query_instances(series, after)
            yield from page.items
            if page.next is None:
                return
            after = page.next

    def fold_study(
        self, study_instance_uid: str, said: Mapping[SeriesResource, frozenset[str]] = _NOTHING_SAID
    ) -> StudyRow:
        """Bring a study row up to date with its series rows, and give it.

        Args:
            study_instance_uid: The study.
            said: The Patient IDs that the instances of some of its series say.
        """
        for _ in range(_ATTEMPTS):
            before = self._index.get_studies([study_instance_uid]).get(study_instance_uid)
            version = before.version if before else 0
            rows = self._index.query_series(study_instance_uid)
            after = fold_study(study_instance_uid, rows, version=version + 1)
            if self._identifiers is not None:
                self._identifiers.note_fold(before, after, series=rows, said=said)
            after, moved = self._counted(before, after, rows)
            if self._index.fold_study(after, expected_version=version, moved=moved):
                return after
        raise UnavailableError("a study changes faster than it can be folded")

    def _counted(
        self, before: StudyRow | None, after: StudyRow, series: Sequence[SeriesRow]
    ) -> tuple[StudyRow, CountsMove | None]:
        """Have a fold in the counts of the archive, and tell by how much it moves them.

        What changes while nobody asks for the counts leaves them, and comes back as new.
        """
        is_asked_for = self._identifiers is not None
        if not is_asked_for and (before is None or before.counted_bytes is None):
            return after, None
        from dicomulus.services.counts import counted, counts_move  # for who has them alone

        after = counted(after, series) if is_asked_for else after
        return after, counts_move(before, after)

    def count_study(self, study_instance_uid: str) -> None:
        """Have a study in the counts, and found by identifiers, that was folded without them."""
        row = self._index.get_studies([study_instance_uid]).get(study_instance_uid)
        if self._identifiers is None or row is None:
            return
        if row.counted_bytes in (None, NOT_YET_COUNTED):
            self.fold_study(study_instance_uid)

    def _publish(self, row: SeriesRow, rows: list[InstanceRow]) -> bool:
        """Write the series' bundles; whether none was overtaken by somebody else's."""
        if not rows:
            self._forget(row.series)
            return True
        held = self._held(row.series)
        before = {
            (base_url, encoding): held.get(bundle_key(row.series, base_url, encoding))
            for base_url in self._bases(held)
            for encoding in ENCODINGS
        }
        bundles = build_bundles(
            rows,
            [Wanted(*kind, each.bundle.parts() if each else {}) for kind, each in before.items()],
            version=row.version,
            level=KEPT_LEVEL,
            fragments=self._fragments,
        )
        published = [
            self._put(row.series, bundle, each)
            for bundle, each in zip(bundles, before.values(), strict=True)
        ]
        return all(published)

    def _forget(self, series: SeriesResource) -> None:
        """Delete all that was derived from a series without instances."""
        for prefix in (bundle_prefix(series), pointed_prefix(series), thumbnail_prefix(series)):
            for info in self._cache.list(prefix):
                # What an instance that arrives just now points to is made again when it is missed.
                self._cache.delete(info.key)

    def _bases(self, held: Mapping[str, _Held]) -> tuple[str, ...]:
        """Name the base URLs to publish for, the default first; the bundles of others go."""
        latest = sorted(held.values(), key=lambda each: each.info.modified_ms, reverse=True)
        default = (self._default_base_url,) if self._default_base_url else ()
        named = dict.fromkeys((*default, *(each.bundle.base_url for each in latest)))
        kept = tuple(named)[: self._max_bases]
        for each in latest:
            if each.bundle.base_url not in kept:
                self._remove(each.info)
        return kept

    def _held(self, series: SeriesResource) -> dict[str, _Held]:
        """Read the series' bundles; what is of no use to any reader is removed."""
        held: dict[str, _Held] = {}
        for info in self._cache.list(bundle_prefix(series)):
            try:
                read = self._cache.get(info.key)
                bundle = parse_bundle(read.data)
            except ObjectNotFoundError:
                continue
            except (CorruptFragmentError, CorruptReadError):
                self._remove(info)
                continue
            held[info.key] = _Held(bundle, read.info)
        return held

    def _remove(self, info: ObjectInfo) -> None:
        try:
            self._cache.delete(info.key, if_match=info.etag)
        except PreconditionFailedError:
            # Somebody has replaced it, which publishing will notice.
            return

    def _put(self, series: SeriesResource, bundle: Bundle, before: _Held | None) -> bool:
        try:
            self._cache.put(
                bundle_key(series, bundle.base_url, bundle.encoding),
                format_bundle(bundle),
                if_match=before.info.etag if before else None,
                if_none_match=before is None,
            )
        except PreconditionFailedError:
            return False
        return True
