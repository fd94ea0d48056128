"""Entity tags and the conditions that name them (RFC 9110 §8.8.3, §13.1)."""

from __future__ import annotations

import re
from typing import Final

_ENTITY_TAG: Final = re.compile(r'(W/)?"([\x21\x23-\x7e\x80-\xff]*)"')


def format_etag(opaque: str) -> str:
    """Write a strong entity tag.

    Raises:
        ValueError: The text has a character that no entity tag may have.
    """
    tag = f'"{opaque}"'
    if _ENTITY_TAG.fullmatch(tag) is None:
        raise ValueError("not the text of an entity tag")
    return tag


def is_not_modified(if_none_match: str | None, etag: str) -> bool:
    """Tell whether If-None-Match names the tag, by weak comparison, or is ``*``.

    What does not parse names nothing: a needless 200 harms nobody, a wrong 304 does.
    """
    if if_none_match is None:
        return False
    if if_none_match.strip() == "*":
        return True
    return _opaque(etag) in {match.group(2) for match in _ENTITY_TAG.finditer(if_none_match)}


def is_same_strong(condition: str, etag: str) -> bool:
    """Tell whether a condition is the tag itself, by strong comparison (RFC 9110 §8.8.3.2)."""
    return condition.strip() == etag and not etag.startswith("W/")


def fails_if_match(if_match: str | None, etag: str) -> bool:
    """Tell whether If-Match is there and names other tags alone, by strong comparison."""
    if if_match is None or if_match.strip() == "*":
        return False
    named = (match.group() for match in _ENTITY_TAG.finditer(if_match))
    return not any(is_same_strong(each, etag) for each in named)


def _opaque(etag: str) -> str | None:
    match = _ENTITY_TAG.fullmatch(etag)
    return match.group(2) if match else None
