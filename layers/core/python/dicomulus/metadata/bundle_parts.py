"""Into which parts a bundle is divided, so that a change leaves most of them as they are.

Where a part ends depends on the instances alone, not on how many came before: one more or one less
moves no end but its own part's.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from dicomulus.ports import InstanceRow

LEAST_BYTES: Final = 4_194_304
"""Bytes of JSON from which a part may end; ordinary series are one part, which compresses best."""

MOST_BYTES: Final = 8_388_608
"""Bytes of JSON after which a part ends, which bounds memory while it is made."""

_END_AT_ONE_OF: Final = 64
"""One of so many instances may end a part; which ones is told by the CRC-32 of their JSON."""

_DIGEST_BYTES: Final = 16


@dataclass(frozen=True, slots=True)
class PlannedPart:
    """Instances that are compressed together."""

    digest: bytes
    """Equal exactly where the instances' JSON is."""
    rows: tuple[InstanceRow, ...]


def plan(rows: Iterable[InstanceRow]) -> Iterator[PlannedPart]:
    """Divide the rows of a series, in order, into parts."""
    part: list[InstanceRow] = []
    raw_length = 0
    for row in rows:
        part.append(row)
        raw_length += row.fragment.raw_length
        may_end = row.fragment.crc32 % _END_AT_ONE_OF == 0
        if raw_length >= MOST_BYTES or (may_end and raw_length >= LEAST_BYTES):
            yield _planned(part)
            part, raw_length = [], 0
    if part:
        yield _planned(part)


def digest_of(parts: Iterable[PlannedPart]) -> bytes:
    """Give a digest that is equal exactly where those of the parts in order are."""
    digest = hashlib.blake2b(digest_size=_DIGEST_BYTES)
    for part in parts:
        digest.update(part.digest)
    return digest.digest()


def _planned(rows: list[InstanceRow]) -> PlannedPart:
    digest = hashlib.blake2b(digest_size=_DIGEST_BYTES)
    for row in rows:
        # A stream and the name of its dictionary, or a pointer, both made of content, say all.
        fragment = row.fragment
        said = f"{len(fragment.data)} {fragment.pointer} {fragment.dictionary} {fragment.crc32}\n"
        digest.update(said.encode())
        digest.update(fragment.data)
    return PlannedPart(digest.digest(), tuple(rows))
