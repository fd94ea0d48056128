"""Retrieve metadata of studies, series and instances (PS3.18 §10.4.1.1.2).

A clean read is one strong read of the version and one of the bundle tagged with it; anything
else is built from rows. Nothing here opens a DICOM object.
"""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from dicomulus.errors import (
    CorruptFragmentError,
    CorruptReadError,
    ObjectNotFoundError,
    PreconditionFailedError,
    SeriesGoneError,
    SeriesNotFoundError,
    StudyGoneError,
    StudyNotFoundError,
    UnavailableError,
)
from dicomulus.metadata.base_url import resolve
from dicomulus.metadata.block import ENCODINGS
from dicomulus.metadata.bundle import (
    FORMAT_REVISION,
    KEPT_LEVEL,
    Bundle,
    base_of,
    bundle_key,
    bundle_prefix,
    format_bundle,
    parse_bundle,
)
from dicomulus.metadata.gzip_assembly import json_array
from dicomulus.services.absence import absence
from dicomulus.services.bundles import Wanted, build_bundles
from dicomulus.services.folds import choose, chosen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from dicomulus.dicom.resource import InstanceResource, SeriesResource
    from dicomulus.metadata.block import Block, Encoding
    from dicomulus.ports import Index, ObjectInfo, ObjectStore, SeriesRow
    from dicomulus.services.compaction import Compaction
    from dicomulus.services.fragments import FragmentReader

logger = logging.getLogger(__name__)

_FAST_LEVEL: Final = 1
"""Level of what is built for one answer."""


@dataclass(frozen=True, slots=True)
class MetadataState:
    """What an answer depends on, read before anything else."""

    rows: tuple[SeriesRow, ...]

    @property
    def encodings(self) -> tuple[Encoding, ...]:
        """In which the answer can be given: zstd frames, unlike blocks of gzip, stand alone."""
        return ENCODINGS if len(self.rows) == 1 else ("gzip",)

    def tag(self, base_url: str, *, view: str = "full") -> str:
        """Give a text that changes whenever the answer in a view does."""
        digest = hashlib.blake2b(digest_size=12)
        digest.update(f"{FORMAT_REVISION} {view} {base_url}".encode())
        for row in self.rows:
            digest.update(f" {row.series.series_instance_uid} {row.version}".encode())
        return digest.hexdigest()


class Metadata:
    """Gives metadata as one compressed JSON array, ready to be sent or to be glued into a gzip."""

    def __init__(
        self,
        index: Index,
        cache: ObjectStore,
        *,
        fragments: FragmentReader,
        compaction: Compaction,
        max_bases: int,
        run_all: Callable[[Sequence[Callable[[], Bundle]]], Iterable[Bundle]],
    ) -> None:
        """Read bundles through ``run_all``, which may run the given functions in parallel."""
        self._index = index
        self._cache = cache
        self._fragments = fragments
        self._compaction = compaction
        self._max_bases = max_bases
        self._run_all = run_all

    def series_state(self, series: SeriesResource) -> MetadataState:
        """Read the version of a series: one strong read.

        Raises:
            SeriesNotFoundError: There never was one.
            SeriesGoneError: It is known to hold no instance any more.
        """
        row = self._index.get_series(series)
        if row is None:
            raise SeriesNotFoundError("no such series")
        if _is_empty(row):
            raise SeriesGoneError("the series has no instance any more")
        return MetadataState((row,))

    def study_state(self, study_instance_uid: str) -> MetadataState:
        """Read the versions of all series of a study: one strong query.

        Raises:
            StudyNotFoundError: There never was one.
            StudyGoneError: It is known to hold no instance any more.
        """
        rows = self._index.query_series(study_instance_uid)
        if not rows:
            raise StudyNotFoundError("no such study")
        held = tuple(row for row in rows if not _is_empty(row))
        if not held:
            raise StudyGoneError("the study has no instance any more")
        return MetadataState(held)

    def blocks(self, state: MetadataState, *, base_url: str) -> tuple[Block, ...]:
        """Give the answer for a state: a JSON array over all its series, in order, for a gzip.

        Raises:
            SeriesGoneError: There turned out to be no instance.
        """
        reads = [lambda row=row: self._bundle(row, Wanted(base_url, "gzip")) for row in state.rows]
        bundles = [bundle for bundle in self._run_all(reads) if bundle.count]
        if not bundles:
            raise SeriesGoneError("no instance in it any more")
        return json_array(bundle.block for bundle in bundles)

    def frame(self, state: MetadataState, *, base_url: str) -> Block:
        """Give the answer for a state of one series as one zstd frame.

        Raises:
            SeriesGoneError: There turned out to be no instance.
        """
        (row,) = state.rows
        bundle = self._bundle(row, Wanted(base_url, "zstd"))
        if not bundle.count:
            raise SeriesGoneError("no instance in it any more")
        return bundle.block

    def instance(self, instance: InstanceResource, *, base_url: str) -> bytes:
        """Give an instance's metadata: a JSON array of one object.

        Raises:
            InstanceNotFoundError: There is no such instance.
            GoneError: It was deleted, or there is none in its series any more.
        """
        rows = self._index.get_instance(instance)
        if not rows:
            raise absence(self._index, instance)
        return b"[" + resolve(self._fragments.text(choose(rows)), base_url) + b"]"

    def _bundle(self, row: SeriesRow, wanted: Wanted) -> Bundle:
        key = bundle_key(row.series, wanted.base_url, wanted.encoding)
        try:
            bundle = parse_bundle(self._cache.get(key).data)
        except (CorruptFragmentError, CorruptReadError, ObjectNotFoundError):
            return self._from_rows(row, wanted)
        # A version is never used twice, so an equal one is this very state or a newer one's row
        # set that was published before the version moved on.
        if bundle.version == row.version and bundle.base_url == wanted.base_url:
            return bundle
        return self._from_rows(row, wanted)

    def _from_rows(self, row: SeriesRow, wanted: Wanted) -> Bundle:
        rows = chosen(self._compaction.instance_rows(row.series))
        settled = row.compact_due_ms is None and bool(rows)
        (bundle,) = build_bundles(
            rows,
            [wanted],
            version=row.version,
            level=KEPT_LEVEL if settled else _FAST_LEVEL,
            fragments=self._fragments,
        )
        if settled:
            self._keep(row.series, bundle)
        return bundle

    def _keep(self, series: SeriesResource, bundle: Bundle) -> None:
        """Publish a bundle for a base URL that had none, in place of the oldest if need be."""
        key = bundle_key(series, bundle.base_url, bundle.encoding)
        held = sorted(self._cache.list(bundle_prefix(series)), key=lambda info: info.modified_ms)
        before = next((info for info in held if info.key == key), None)
        try:
            for info in self._in_the_way(key, held):
                self._cache.delete(info.key, if_match=info.etag)
            self._cache.put(
                key,
                format_bundle(bundle),
                if_match=before.etag if before else None,
                if_none_match=before is None,
            )
        except PreconditionFailedError:
            return
        except UnavailableError:
            # The answer is made; it is only not kept for the next one.
            logger.warning("bundle not kept", extra={"cache_key": key})

    def _in_the_way(self, key: str, held: list[ObjectInfo]) -> list[ObjectInfo]:
        """Find the bundles, the oldest first, of base URLs that leave no place for another's."""
        bases = list(dict.fromkeys(base_of(info.key) for info in held))
        if base_of(key) in bases:
            return []
        gone = bases[: max(0, len(bases) - self._max_bases + 1)]
        return [info for info in held if base_of(info.key) in gone]


def _is_empty(row: SeriesRow) -> bool:
    return row.instance_count == 0 and row.folded_version == row.version
