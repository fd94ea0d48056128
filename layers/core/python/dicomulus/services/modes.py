"""Metadata of studies and series in less than full: main tags alone, or with extrapolated ones.

What both promise is exact: an instance has a main tag in the answer exactly where it has it, with
the same value as in its full metadata. Rows say so without their fragments as long as they were
made under today's lists, and what they say of the series is what the instances say.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from heapq import nsmallest
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

from dicomulus.dicom.json_members import join_tagged, tagged_members
from dicomulus.dicom.level_json import parse_json_object
from dicomulus.dicom.main_tags import parse_tags
from dicomulus.errors import SeriesGoneError
from dicomulus.metadata.gzip_assembly import compress, json_array
from dicomulus.metadata.zstd_frame import FrameWriter
from dicomulus.services.folds import chosen, levels_digest, levels_json, levels_text
from dicomulus.services.row_tags import instance_members, is_main, main_members

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from dicomulus.dicom.main_tags import MainTags
    from dicomulus.metadata.block import Block
    from dicomulus.ports import InstanceRow, RunAll, SeriesRow
    from dicomulus.services.compaction import Compaction
    from dicomulus.services.fragments import FragmentReader
    from dicomulus.services.metadata import Metadata, MetadataState
    from dicomulus.settings import Settings

SAMPLED_INSTANCES: Final = 3
"""Instances of a study or series that extrapolated values are taken from."""

_FAST_LEVEL: Final = 1
"""Level of what is built for one answer."""


class MetadataMode(StrEnum):
    """How much of each instance an answer tells."""

    FULL = "full"
    MAIN_DICOM_TAGS = "main-dicom-tags"
    EXTRAPOLATE = "extrapolate"


@dataclass(frozen=True, slots=True)
class View:
    """A mode with all that its answers depend on."""

    mode: MetadataMode
    name: str
    """Differs wherever answers may."""
    extrapolated: frozenset[str] = frozenset()


class Modes:
    """Gives metadata in the mode that is asked for or set."""

    def __init__(
        self,
        full: Metadata,
        compaction: Compaction,
        *,
        fragments: FragmentReader,
        tags: MainTags,
        settings: Settings,
        run_all: RunAll,
    ) -> None:
        """Answer from rows.

        Raises:
            ConfigurationError: An extrapolated tag is none.
        """
        self._full = full
        self._compaction = compaction
        self._fragments = fragments
        self._tags = tags
        self._run_all = run_all
        self._study_mode = MetadataMode(settings.studies_metadata)
        self._series_mode = MetadataMode(settings.series_metadata)
        # What a main tag says of each instance is better than what others say.
        self._study_extrapolated = parse_tags(settings.studies_extrapolated_tags) - tags.all
        self._series_extrapolated = parse_tags(settings.series_extrapolated_tags) - tags.all

    def study_view(self, mode: MetadataMode | None) -> View:
        """Give the view of a study, in the mode that is set if none is asked for."""
        return self._view(mode or self._study_mode, self._study_extrapolated)

    def series_view(self, mode: MetadataMode | None) -> View:
        """Give the view of a series, in the mode that is set if none is asked for."""
        return self._view(mode or self._series_mode, self._series_extrapolated)

    def _view(self, mode: MetadataMode, extrapolated: frozenset[str]) -> View:
        if mode is MetadataMode.FULL:
            return View(mode, mode)
        if mode is MetadataMode.MAIN_DICOM_TAGS:
            return View(mode, f"{mode} {self._tags.name}")
        name = f"{mode} {self._tags.name} {','.join(sorted(extrapolated))}"
        return View(mode, name, extrapolated)

    def blocks(self, state: MetadataState, *, base_url: str, view: View) -> tuple[Block, ...]:
        """Give the answer for a state: a JSON array over all its series, in order, for a gzip.

        Raises:
            SeriesGoneError: There turned out to be no instance.
            DerivedDataMissingError: A fragment that is needed is being rebuilt.
        """
        if view.mode is MetadataMode.FULL:
            return self._full.blocks(state, base_url=base_url)
        blocks = [
            compress(_with_commas(texts), level=_FAST_LEVEL)
            for texts in self._texts_of_series(state, view)
        ]
        if not blocks:
            raise SeriesGoneError("no instance in it any more")
        return json_array(blocks)

    def frame(self, state: MetadataState, *, base_url: str, view: View) -> Block:
        """Give the answer for a state of one series as one zstd frame; errors as for ``blocks``."""
        if view.mode is MetadataMode.FULL:
            return self._full.frame(state, base_url=base_url)
        series = list(self._texts_of_series(state, view))
        if not series:
            raise SeriesGoneError("no instance in it any more")
        writer = FrameWriter(level=_FAST_LEVEL)
        writer.write(b"[")
        for text in _with_commas(chain.from_iterable(series)):
            writer.write(text)
        writer.write(b"]")
        return writer.finish()

    def _texts_of_series(self, state: MetadataState, view: View) -> Iterator[Iterator[bytes]]:
        """Give the instances' JSON of each series that has instances."""
        reads = [partial(self._rows, row) for row in state.rows]
        read: Iterable[list[InstanceRow]] = self._run_all(reads)
        extrapolated: Mapping[str, str] = {}
        if view.extrapolated:
            read = list(read)
            extrapolated = self._extrapolated(chain.from_iterable(read), view.extrapolated)
        for row, rows in zip(state.rows, read, strict=True):
            if rows:
                yield self._texts(row, rows, extrapolated)

    def _rows(self, row: SeriesRow) -> list[InstanceRow]:
        return chosen(self._compaction.instance_rows(row.series))

    # --- main tags -------------------------------------------------------------------------------

    def _texts(
        self, series: SeriesRow, rows: Iterable[InstanceRow], extrapolated: Mapping[str, str]
    ) -> Iterator[bytes]:
        levels = self._levels_of_series(series)
        for row in rows:
            if row.main_tags != self._tags.name:
                own = main_members(self._fragments.text(row), self._tags)
            else:
                if row.levels_digest not in levels:
                    levels[row.levels_digest] = self._levels_of_instance(row)
                own = levels[row.levels_digest] | instance_members(row)
            yield join_tagged({**extrapolated, **own}).encode()

    def _levels_of_series(self, row: SeriesRow) -> dict[bytes, dict[str, str]]:
        """Give what a series row says, under the digest of the instances that say the same.

        Those that do not, maybe because the row is older than they are, have another digest.
        """
        elements: dict[str, Any] = {}
        for text in (row.study_attributes, row.attributes, row.answer):
            elements |= parse_json_object(text)
        levels = levels_json(elements, self._tags)
        return {levels_digest(elements, self._tags): tagged_members(levels)}

    def _levels_of_instance(self, row: InstanceRow) -> dict[str, str]:
        members = tagged_members(self._fragments.text(row))
        elements = parse_json_object(levels_text(members, self._tags))
        return tagged_members(levels_json(elements, self._tags))

    # --- extrapolated ----------------------------------------------------------------------------

    def _extrapolated(self, rows: Iterable[InstanceRow], wanted: frozenset[str]) -> dict[str, str]:
        sampled = nsmallest(SAMPLED_INSTANCES, rows, key=_sampling_order)
        return agreed([tagged_members(self._fragments.text(row)) for row in sampled], wanted)


def _with_commas(texts: Iterable[bytes]) -> Iterator[bytes]:
    for number, text in enumerate(texts):
        yield b"," + text if number else text


def agreed(samples: Sequence[Mapping[str, str]], wanted: Iterable[str]) -> dict[str, str]:
    """Give the members that more than half of the samples have, and have alike."""
    found: dict[str, str] = {}
    for tag in wanted:
        votes = Counter(each[tag] for each in samples if tag in each)
        for member, count in votes.most_common(1):
            if 2 * count > len(samples) and is_main(member):
                found[tag] = member
    return found


def _sampling_order(row: InstanceRow) -> bytes:
    """Order instances as if by chance, but always alike."""
    return hashlib.sha256(row.instance.path.encode()).digest()
