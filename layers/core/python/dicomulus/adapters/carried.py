"""Which pieces of text an index leaves out entries by."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dicomulus.ports import CARRIED_KEYWORDS, SearchPath

if TYPE_CHECKING:
    from collections.abc import Mapping

MOST_PIECES: Final = 16
"""Pieces that an index looks for: queries to SQLite and to DynamoDB may only be so complex."""

LONGEST_PIECE: Final = 256
"""Characters of a piece that an index looks for; no entry carries as many."""

MOST_FOUND: Final = 1_000
"""Entries with the texts looked for after which a page ends, however many it may read."""


def sharp_pieces(
    path: SearchPath, containing: Mapping[str, tuple[str, ...]] | None
) -> list[tuple[str, str]]:
    """Give keywords and pieces to look for, the longest first, which leave out the most.

    Raises:
        ValueError: The index does not carry these texts.
    """
    if not containing:
        return []
    if path is not SearchPath.DATE or not containing.keys() <= set(CARRIED_KEYWORDS):
        raise ValueError(f"{path} does not carry {', '.join(containing)}")
    pieces = [
        (keyword, piece[:LONGEST_PIECE])
        for keyword, of_keyword in containing.items()
        for piece in of_keyword
        if piece
    ]
    return sorted(pieces, key=lambda each: len(each[1]), reverse=True)[:MOST_PIECES]
