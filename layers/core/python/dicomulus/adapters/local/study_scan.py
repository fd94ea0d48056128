"""The statements that read the ordered indexes over studies."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from dicomulus.adapters.local.index_schema import CARRIED_COLUMNS
from dicomulus.ports import CARRIED_CUT, SearchPath

if TYPE_CHECKING:
    from collections.abc import Iterable

# Only names of columns are joined into statements.
# ruff: noqa: S608

Statement = tuple[str, tuple[object, ...]]
"""The text of a statement, and its values."""

_GLOB_CHARACTERS: Final = {ord(character): f"[{character}]" for character in "*?["}
_GOES_ON: Final = f"*{CARRIED_CUT}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """A part of an ordered index, and the direction in which it is read."""

    path: SearchPath
    low: str = ""
    without_low: bool = False
    high: str | None = None
    with_high: bool = False
    descending: bool

    def after(self, sort_key: str) -> Stretch:
        """Give what comes behind a sort key."""
        if self.descending:
            is_nearer = self.high is None or sort_key <= self.high
            return replace(self, high=sort_key, with_high=False) if is_nearer else self
        is_nearer = sort_key >= self.low
        return replace(self, low=sort_key, without_low=True) if is_nearer else self

    def up_to(self, sort_key: str) -> Stretch:
        """Give what comes before a sort key of the stretch, and that key's entry."""
        if self.descending:
            return replace(self, low=sort_key, without_low=False)
        return replace(self, high=sort_key, with_high=True)

    @property
    def where(self) -> Statement:
        """The condition that the stretch is, with one term for each end."""
        terms = ["path = ?", f"sort_key {'>' if self.without_low else '>='} ?"]
        values = [self.path.value, self.low]
        if self.high is not None:
            terms.append(f"sort_key {'<=' if self.with_high else '<'} ?")
            values.append(self.high)
        return " AND ".join(terms), tuple(values)

    @property
    def order(self) -> str:
        """The order in which it is read."""
        return f"ORDER BY sort_key {'DESC' if self.descending else 'ASC'}"


def count_statement(stretch: Stretch) -> Statement:
    """Count the entries of a stretch."""
    where, values = stretch.where
    return f"SELECT count(*) FROM study_search WHERE {where}", values


def last_key_statement(stretch: Stretch, limit: int) -> Statement:
    """Find the sort key of the last of so many entries; nothing if there are fewer."""
    where, values = stretch.where
    text = f"SELECT sort_key FROM study_search WHERE {where} {stretch.order} LIMIT 1 OFFSET ?"
    return text, (*values, limit - 1)


def entries_statement(
    stretch: Stretch,
    keywords: Iterable[str] = (),
    pieces: Iterable[tuple[str, str]] = (),
    *,
    limit: int,
) -> Statement:
    """Read the first entries of a stretch that may contain all of some pieces.

    Args:
        stretch: Where to look.
        keywords: Which texts are wanted with them.
        pieces: What must be in which text, by keyword.
        limit: Most entries to give.
    """
    where, values = stretch.where
    columns = ["sort_key", "study_instance_uid", *map(CARRIED_COLUMNS.__getitem__, keywords)]
    terms, patterns = [where], []
    for keyword, piece in pieces:
        column = CARRIED_COLUMNS[keyword]
        # GLOB takes half the time of instr. It ends at a NUL, which no folded text has.
        terms.append(f"({column} GLOB ? OR {column} GLOB ?)")
        patterns += [f"*{piece.translate(_GLOB_CHARACTERS)}*", _GOES_ON]
    text = (
        f"SELECT {', '.join(columns)} FROM study_search "
        f"WHERE {' AND '.join(terms)} {stretch.order} LIMIT ?"
    )
    return text, (*values, *patterns, limit)
