"""Bundles made of instance rows, and of the parts of bundles that are there already."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import chain, groupby
from typing import TYPE_CHECKING

from dicomulus.metadata import gzip_assembly, zstd_assembly
from dicomulus.metadata.assembly import members
from dicomulus.metadata.base_url import PLACEHOLDER, resolve
from dicomulus.metadata.block import concatenate
from dicomulus.metadata.bundle import make_bundle
from dicomulus.metadata.bundle_parts import plan

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from dicomulus.metadata.block import Block, Encoding
    from dicomulus.metadata.bundle import Bundle
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
    made: list[list[tuple[bytes, Block]]] = [[] for _ in wanted]
    for part in plan(rows):
        texts: list[InstanceText] | None = None
        for each, blocks in zip(wanted, made, strict=True):
            block = each.held.get(part.digest)
            if block is None:
                if texts is None:
                    texts = [fragments.read(row) for row in part.rows]
                block = _compressed(texts, each, level=level)
            blocks.append((part.digest, block))
    return [
        make_bundle(
            blocks,
            version=version,
            base_url=each.base_url,
            encoding=each.encoding,
            count=len(rows),
        )
        for each, blocks in zip(wanted, made, strict=True)
    ]


def _compressed(texts: Sequence[InstanceText], wanted: Wanted, *, level: int) -> Block:
    if wanted.encoding == "zstd":
        return zstd_assembly.compress(_joined(texts, wanted.base_url), level=level)
    blocks = _deflated(texts, wanted.base_url, level=level)
    return concatenate(members(blocks, encoding="gzip"))


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
