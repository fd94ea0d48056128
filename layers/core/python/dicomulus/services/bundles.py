"""Bundles made of instance rows, and of the parts of bundles that are there already."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import chain, groupby
from typing import TYPE_CHECKING

from dicomulus.metadata import gzip_assembly
from dicomulus.metadata.base_url import PLACEHOLDER, resolve
from dicomulus.metadata.block import concatenate
from dicomulus.metadata.bundle import make_bundle
from dicomulus.metadata.bundle_parts import digest_of, plan
from dicomulus.metadata.gzip_assembly import members
from dicomulus.metadata.zstd_frame import FrameWriter

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from dicomulus.metadata.block import Block, Encoding
    from dicomulus.metadata.bundle import Bundle
    from dicomulus.metadata.bundle_parts import PlannedPart
    from dicomulus.ports import InstanceRow
    from dicomulus.services.fragments import FragmentReader, InstanceText


@dataclass(frozen=True, slots=True)
class Wanted:
    """A bundle to be made."""

    base_url: str
    encoding: Encoding
    held: Mapping[bytes, Block] = field(default_factory=dict)
    """Parts that need not be made again: those of an earlier bundle of the same kind."""


def build_bundles(
    rows: Sequence[InstanceRow],
    wanted: Sequence[Wanted],
    *,
    version: int,
    level: int,
    fragments: FragmentReader,
) -> list[Bundle]:
    """Make bundles of the same rows; not more than one part's JSON is in memory at a time.

    Raises:
        DerivedDataMissingError: A fragment is gone or damaged; its object is being looked at again.
    """
    parts = list(plan(rows))
    makers = [_maker(each, parts, level=level) for each in wanted]
    for part in parts:
        takers = [maker for maker in makers if maker.needs(part)]
        texts = [fragments.read(row) for row in part.rows] if takers else []
        for maker in takers:
            maker.take(part, texts)
    return [
        make_bundle(
            maker.finish(),
            version=version,
            base_url=each.base_url,
            encoding=each.encoding,
            count=len(rows),
        )
        for each, maker in zip(wanted, makers, strict=True)
    ]


def _maker(wanted: Wanted, parts: Sequence[PlannedPart], *, level: int) -> _Deflating | _Framing:
    return (_Framing if wanted.encoding == "zstd" else _Deflating)(wanted, parts, level=level)


class _Deflating:
    """Makes the parts of a gzip bundle that are not held."""

    def __init__(self, wanted: Wanted, parts: Sequence[PlannedPart], *, level: int) -> None:
        self._base_url = wanted.base_url
        self._parts = parts
        self._level = level
        self._blocks = dict(wanted.held)

    def needs(self, part: PlannedPart) -> bool:
        return part.digest not in self._blocks

    def take(self, part: PlannedPart, texts: Sequence[InstanceText]) -> None:
        blocks = _deflated(texts, self._base_url, level=self._level)
        self._blocks[part.digest] = concatenate(members(blocks))

    def finish(self) -> list[tuple[bytes, Block]]:
        return [(part.digest, self._blocks[part.digest]) for part in self._parts]


class _Framing:
    """Makes the one part of a zstd bundle, a whole JSON array, if it is not held."""

    def __init__(self, wanted: Wanted, parts: Sequence[PlannedPart], *, level: int) -> None:
        self._base_url = wanted.base_url
        self._digest = digest_of(parts)
        self._held = wanted.held.get(self._digest)
        self._writer = None if self._held else FrameWriter(level=level)
        self._next = b"["

    def needs(self, part: PlannedPart) -> bool:  # noqa: ARG002  (of all or of none)
        return self._writer is not None

    def take(self, part: PlannedPart, texts: Sequence[InstanceText]) -> None:  # noqa: ARG002
        if self._writer is not None:
            for each in texts:
                self._writer.write(self._next + resolve(each.text, self._base_url))
                self._next = b","

    def finish(self) -> list[tuple[bytes, Block]]:
        if self._writer is not None:
            self._writer.write(b"]" if self._next == b"," else b"[]")
            self._held = self._writer.finish()
        return [(self._digest, self._held)] if self._held else []


def _joined(texts: Iterable[InstanceText], base_url: str) -> Iterator[bytes]:
    for number, each in enumerate(texts):
        yield resolve(b"," + each.text if number else each.text, base_url)


def _deflated(texts: Sequence[InstanceText], base_url: str, *, level: int) -> Iterator[Block]:
    """Compress the texts, but those that are blocks already."""
    for is_made, group in groupby(texts, key=lambda each: bool(each.pieces)):
        if is_made:
            yield from (_resolved(each.pieces, base_url) for each in group)
        else:
            yield gzip_assembly.compress(_joined(group, base_url), level=level)


def _resolved(pieces: Sequence[Block], base_url: str) -> Block:
    """Set the base URL between the pieces of a text."""
    url = gzip_assembly.verbatim(resolve(PLACEHOLDER, base_url))
    first, *others = pieces
    return concatenate([first, *chain.from_iterable((url, piece) for piece in others)])
