"""The query parameters of a search, understood (PS3.18 §8.3.4)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from dicomulus.dicom.attributes import (
    INSTANCE_RETURN,
    SERIES_RETURN,
    SERIES_TAGS,
    STUDY_RETURN,
    STUDY_TAGS,
)
from dicomulus.dicom.dictionary import tag_from_keyword, vr_of
from dicomulus.dicom.matching import LITERAL, MatchKey, Semantics, filter_of, predicate
from dicomulus.errors import InvalidQueryError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from dicomulus.dicom.matching import Filter

MAX_NUMBER: Final = 2_147_483_647
"""Highest limit and offset that are taken; more is a mistake."""

MAX_VALUE_LENGTH: Final = 65_536
"""Characters of a value to match: about a thousand UIDs."""


class Level(StrEnum):
    """What a search finds."""

    STUDY = "study"
    SERIES = "series"
    INSTANCE = "instance"


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """A search at one level.

    ``include`` are tags of whole attributes to return beyond those that the level's table says.
    """

    level: Level
    keys: tuple[MatchKey, ...] = ()
    semantics: Semantics = LITERAL
    include: frozenset[str] = frozenset()
    include_all: bool = False
    limit: int | None = None
    offset: int = 0

    def key(self, tag: str) -> MatchKey | None:
        """Give the key of a top-level attribute if it restricts anything."""
        restricting = (key for key in self.keys if key.path == (tag,) and not key.is_universal)
        return next(restricting, None)

    def filter_without(self, *tags: str) -> Filter | None:
        """Make the test of the restricting keys other than these; none if nothing is left."""
        keys = [key for key in self.keys if key.path[0] not in tags and not key.is_universal]
        return filter_of(keys, self.semantics) if keys else None


_RETRIEVE_URL: Final = "00081190"
_CHARACTER_SET: Final = "00080005"
_TIME_ZONE: Final = "00080201"

# Levels above the one searched are matched too: the rows know their study and series.
_KNOWN: Final[Mapping[Level, frozenset[str] | None]] = {
    Level.STUDY: STUDY_TAGS | frozenset(STUDY_RETURN),
    Level.SERIES: SERIES_TAGS | frozenset(SERIES_RETURN) | STUDY_TAGS,
    Level.INSTANCE: None,
}

RETURNED: Final[Mapping[Level, Mapping[str, str]]] = {
    Level.STUDY: STUDY_RETURN,
    Level.SERIES: SERIES_RETURN,
    Level.INSTANCE: INSTANCE_RETURN,
}
"""What each level returns unasked."""

_OPTIONS: Final = frozenset(
    {"limit", "offset", "fuzzymatching", "emptyvaluematching", "multiplevaluematching"}
)
_ELSEWHERE: Final = frozenset({"accept", "charset"})
"""Parameters of every resource, which are not matching's concern (PS3.18 §8.3.3)."""

_TAG: Final = re.compile(r"[0-9A-Fa-f]{8}")
_TRUTH: Final = {"true": True, "false": False}


def parse_search(parameters: Iterable[tuple[str, str]], level: Level) -> Query:
    """Understand the decoded query parameters of a search.

    Raises:
        InvalidQueryError: A parameter is unknown, repeated with another value, or malformed.
    """
    options: dict[str, str] = {}
    keys: dict[tuple[str, ...], tuple[str, MatchKey]] = {}
    fields: list[str] = []
    for name, value in parameters:
        if name in _ELSEWHERE:
            continue
        if name == "includefield":
            fields.extend(part.strip() for part in value.split(","))
        elif name in _OPTIONS:
            if options.setdefault(name, value) != value:
                raise InvalidQueryError(name, "may be given only once")
        else:
            key = _parse_key(name, value, level)
            if keys.setdefault(key.path, (name, key))[1] != key:
                raise InvalidQueryError(name, "may be given only once")
    semantics = Semantics(
        fuzzy=_parse_truth(options, "fuzzymatching"),
        empty_values=_parse_truth(options, "emptyvaluematching"),
        multiple_values=_parse_truth(options, "multiplevaluematching"),
    )
    for name, key in keys.values():
        _check_value(name, key, semantics)
    include, include_all = _parse_fields(fields, level)
    limit = _parse_number(options, "limit")
    return Query(
        level=level,
        keys=tuple(key for _, key in keys.values() if key.path[0] != _CHARACTER_SET),
        semantics=semantics,
        include=(include | {path[0] for path in keys}) - frozenset(RETURNED[level]),
        include_all=include_all,
        limit=limit,
        offset=_parse_number(options, "offset") or 0,
    )


def _parse_key(name: str, value: str, level: Level) -> MatchKey:
    path = _parse_path(name, parameter=name)
    known = _KNOWN[level]
    if known is not None and path[0] not in known:
        raise InvalidQueryError(name, f"is not an attribute by which a {level} is found")
    if path[0] == _RETRIEVE_URL:
        raise InvalidQueryError(name, "is made for each answer and cannot be matched")
    if path[0] == _TIME_ZONE:
        raise InvalidQueryError(name, "times are matched as they are stored, without a zone")
    if len(value) > MAX_VALUE_LENGTH:
        raise InvalidQueryError(name, f"is longer than {MAX_VALUE_LENGTH} characters")
    return MatchKey(path, vr_of(path[-1]) or "UN", value)


def _parse_path(text: str, *, parameter: str) -> tuple[str, ...]:
    """Parse an attribute: keywords or tags, sequences joined by dots (PS3.18 §8.3.4.1)."""
    path = tuple(_parse_tag(part, parameter=parameter) for part in text.split("."))
    for tag in path[:-1]:
        if vr_of(tag) not in ("SQ", None):
            raise InvalidQueryError(parameter, "a part before a dot is not a sequence")
    return path


def _parse_tag(text: str, *, parameter: str) -> str:
    if _TAG.fullmatch(text):
        tag = text.upper()
        is_private = int(tag[:4], 16) % 2 == 1
        if is_private or vr_of(tag) is not None:
            return tag
    elif tag_of := tag_from_keyword(text):
        return tag_of
    if parameter == "includefield":
        raise InvalidQueryError(parameter, f"{text[:64]} is not an attribute of the standard")
    raise InvalidQueryError(parameter, "is neither a parameter nor an attribute of the standard")


def _check_value(name: str, key: MatchKey, semantics: Semantics) -> None:
    try:
        predicate(key, semantics)
    except ValueError as exc:
        raise InvalidQueryError(name, str(exc)) from exc


def _parse_fields(fields: Iterable[str], level: Level) -> tuple[frozenset[str], bool]:
    named = [field for field in fields if field]
    if "all" in named:
        if len(set(named)) > 1:
            raise InvalidQueryError("includefield", "all must stand alone")
        return frozenset(), True
    known = _KNOWN[level]
    tags = {_parse_path(field, parameter="includefield")[0] for field in named}
    # Viewers name attributes of lower levels, which are not returned (PS3.18 §10.6.3.3).
    return frozenset(tag for tag in tags if known is None or tag in known), False


def _parse_truth(options: Mapping[str, str], name: str) -> bool:
    text = options.get(name, "false")
    if text not in _TRUTH:
        raise InvalidQueryError(name, "must be true or false")
    return _TRUTH[text]


def _parse_number(options: Mapping[str, str], name: str) -> int | None:
    text = options.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit()) or len(text) > 10 or int(text) > MAX_NUMBER:
        raise InvalidQueryError(name, f"must be a whole number from 0 to {MAX_NUMBER}")
    return int(text)
