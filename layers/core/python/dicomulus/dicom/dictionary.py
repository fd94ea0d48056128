"""The public data dictionary: tag, keyword, Value Representation (PS3.6 §6)."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

DICTIONARY_PATH: Final = Path(__file__).with_name("data_dictionary.txt")
"""One element a line: tag (``x`` for digits that a repeating group leaves open), VR, keyword."""

_NO_KEYWORD: Final = "-"


class _Tables(NamedTuple):
    vr_by_tag: dict[str, str]
    keyword_by_tag: dict[str, str]
    tag_by_keyword: dict[str, str]
    masks: tuple[str, ...]


@cache
def _tables() -> _Tables:
    fields = DICTIONARY_PATH.read_text(encoding="ascii").split()
    tags, vrs, keywords = fields[0::3], fields[1::3], fields[2::3]
    return _Tables(
        vr_by_tag=dict(zip(tags, vrs, strict=True)),
        keyword_by_tag=dict(zip(tags, keywords, strict=True)),
        tag_by_keyword=dict(zip(keywords, tags, strict=True)),
        masks=tuple(tag for tag in tags if "x" in tag),
    )


def _row_of(tag: str) -> str | None:
    """Find the dictionary's own spelling of a tag: itself, or the mask of its repeating group."""
    tables = _tables()
    if tag in tables.vr_by_tag:
        return tag
    # Repeating groups (50xx, 60xx) are even; odd groups are private (PS3.5 §7.6, §7.8).
    if len(tag) != 8 or tag[3] in "13579BDF":
        return None
    return next((mask for mask in tables.masks if _fits(tag, mask)), None)


def _fits(tag: str, mask: str) -> bool:
    return all(wanted in ("x", digit) for digit, wanted in zip(tag, mask, strict=True))


def tag_from_keyword(keyword: str) -> str | None:
    """Give the tag of a keyword as 8 upper-case hexadecimal digits.

    The keyword of a repeating group stands for its first group: ``OverlayData`` is 60003000.
    """
    tag = _tables().tag_by_keyword.get(keyword)
    return None if tag is None or keyword == _NO_KEYWORD else tag.replace("x", "0")


def keyword_from_tag(tag: str) -> str | None:
    """Give the keyword of a tag of 8 upper-case digits; none for private and unknown tags."""
    row = _row_of(tag)
    keyword = _NO_KEYWORD if row is None else _tables().keyword_by_tag[row]
    return None if keyword == _NO_KEYWORD else keyword


def vr_of(tag: str) -> str | None:
    """Give the Value Representation of a tag; none for private and unknown tags.

    Where the standard leaves it to the context, the answer joins the choices by a slash: ``US/SS``,
    ``US/OW``, ``US/SS/OW``, ``OB/OW``.
    """
    row = _row_of(tag)
    return None if row is None else _tables().vr_by_tag[row]
