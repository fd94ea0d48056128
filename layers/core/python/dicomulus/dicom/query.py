"""The query parameters of a search, understood (PS3.18 §8.3.4)."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from dicomulus.dicom.attributes import (
    INSTANCE_RETURN,
    PATIENT_FURTHER,
    PATIENT_RETURN,
    SERIES_RETURN,
    STUDY_FURTHER,
    STUDY_RETURN,
    creator_tag,
    is_creator,
    is_private,
)
from dicomulus.dicom.dictionary import keyword_from_tag, tag_from_keyword, vr_of
from dicomulus.dicom.labels import LabelKey, LabelsConstraint, is_label
from dicomulus.dicom.main_tags import BUILT_IN
from dicomulus.dicom.matching import (
    LITERAL,
    MatchKey,
    Semantics,
    filter_of,
    has_wildcard,
    predicate,
    stored_tags,
)
from dicomulus.dicom.temporal import parse_zone
from dicomulus.errors import InvalidQueryError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import timedelta

    from dicomulus.dicom.level_json import Element
    from dicomulus.dicom.main_tags import MainTags
    from dicomulus.dicom.matching import Filter

MAX_NUMBER: Final = 2_147_483_647
"""Highest limit and offset that are taken; more is a mistake."""

MAX_VALUE_LENGTH: Final = 65_536
"""Characters of a value to match: about a thousand UIDs."""

# --- what is searched -----------------------------------------------------------------------------


MAX_ORDER_KEYS: Final = 8
"""Attributes to order by: the value of each is in the link to the next page."""


MAX_LABELS: Final = 100
"""Labels of one search."""


class Level(StrEnum):
    """What a search finds."""

    PATIENT = "patient"
    STUDY = "study"
    SERIES = "series"
    INSTANCE = "instance"


RETURNED: Final[Mapping[Level, Mapping[str, str]]] = {
    Level.PATIENT: PATIENT_RETURN,
    Level.STUDY: STUDY_RETURN,
    Level.SERIES: SERIES_RETURN,
    Level.INSTANCE: INSTANCE_RETURN,
}
"""What each level returns unasked."""

_PLURAL: Final = {
    Level.PATIENT: "patients",
    Level.STUDY: "studies",
    Level.SERIES: "series",
    Level.INSTANCE: "instances",
}


@dataclass(frozen=True, slots=True)
class SearchResource:
    """What a target resource finds; ``parents`` are levels that it answers with the found one."""

    level: Level
    parents: tuple[Level, ...] = ()

    @property
    def returned(self) -> frozenset[str]:
        """The tags that are returned unasked."""
        return frozenset(tag for level in (self.level, *self.parents) for tag in RETURNED[level])


# PS3.18 Table 10.6.1-1, §10.6.3.3: what lies above the resources that the path names is returned.
PATIENTS: Final = SearchResource(Level.PATIENT)
STUDIES: Final = SearchResource(Level.STUDY)
STUDY_SERIES: Final = SearchResource(Level.SERIES)
ALL_SERIES: Final = SearchResource(Level.SERIES, (Level.STUDY,))
SERIES_INSTANCES: Final = SearchResource(Level.INSTANCE)
STUDY_INSTANCES: Final = SearchResource(Level.INSTANCE, (Level.SERIES,))
ALL_INSTANCES: Final = SearchResource(Level.INSTANCE, (Level.STUDY, Level.SERIES))


# --- the query ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class OrderKey:
    """An attribute along which results come."""

    tag: str
    descending: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """A search of one resource.

    ``include`` are tags of whole attributes to return beyond those of ``resource.returned``, at
    the found level or above it. ``page`` is the token of a link to a next page, as it was given
    out. ``notes`` are sentences that the answer has to carry as warnings.
    """

    resource: SearchResource
    keys: tuple[MatchKey, ...] = ()
    semantics: Semantics = LITERAL
    include: frozenset[str] = frozenset()
    include_all: bool = False
    limit: int | None = None
    offset: int = 0
    order: tuple[OrderKey, ...] = ()
    page: str = ""
    notes: tuple[str, ...] = ()
    tags: MainTags = BUILT_IN
    """Which attributes belong to which level."""
    labels: LabelKey | None = None
    """What is asked of the labels of the found resources."""
    studies: tuple[str, ...] | None = None
    """Studies that are known to hold all that is found, where these are few."""

    @property
    def level(self) -> Level:
        """What is found."""
        return self.resource.level

    def key(self, tag: str) -> MatchKey | None:
        """Give the key of a top-level attribute if it restricts anything."""
        restricting = (key for key in self.keys if key.path == (tag,) and not key.is_universal)
        return next(restricting, None)

    def keys_at(self, level: Level) -> tuple[MatchKey, ...]:
        """Give the restricting keys of one level; those of patients are the study's."""
        return tuple(
            key for key in self.keys if not key.is_universal and self._level_of(key) is level
        )

    def filter_at(self, level: Level, *, without: Iterable[str] = ()) -> Filter | None:
        """Make the test of the keys of one level other than these; none if nothing is left."""
        left_out = frozenset(without)
        keys = [key for key in self.keys_at(level) if key.path[0] not in left_out]
        return filter_of(keys, self.semantics) if keys else None

    def included_in(self, elements: Mapping[str, Element]) -> frozenset[str]:
        """Give the tags to include of a data set, where private ones may be in other blocks."""
        stored = {
            tag
            for key in self.keys
            if key.creators and key.creators[0]
            for tag in stored_tags(elements, key.path[0], key.creators[0])
        }
        return self.include | stored | set(map(creator_tag, stored)) if stored else self.include

    def _level_of(self, key: MatchKey) -> Level:
        tag = key.path[0]
        if self.level is not Level.PATIENT and tag in RETURNED[self.level]:
            return self.level  # what several levels have is meant of the one that is found
        if is_private(tag) and self.level is Level.INSTANCE:
            return Level.INSTANCE  # which has all of its blocks
        return home_of(tag, self.tags) or Level.INSTANCE


# --- parsing --------------------------------------------------------------------------------------

_RETRIEVE_URL: Final = "00081190"
_CHARACTER_SET: Final = "00080005"
_TIME_ZONE: Final = "00080201"
_PATIENT_COUNTS: Final = frozenset({"00201200", "00201202", "00201204"})

_LABEL: Final = "Label"
_CONSTRAINT: Final = "LabelsConstraint"
_OPTIONS: Final = frozenset(
    {
        "limit",
        "offset",
        "fuzzymatching",
        "emptyvaluematching",
        "multiplevaluematching",
        "page",
        _CONSTRAINT,
    }
)
_LISTS: Final = frozenset({"includefield", "orderby", _LABEL})
_ELSEWHERE: Final = frozenset({"accept", "charset", "mode"})
"""Parameters of every resource, which are not matching's concern (PS3.18 §8.3.3)."""

PARAMETERS: Final = _OPTIONS | _LISTS | _ELSEWHERE
"""All parameters but attributes."""

_TAG: Final = re.compile(r"[0-9A-Fa-f]{8}")
_TRUTH: Final = {"true": True, "false": False}
_SHOWN_LENGTH: Final = 64
_NO_ORDER_VRS: Final = ("SQ", "OB", "OW", "OB/OW", "OD", "OF", "OL", "OV", "UN")


def home_of(tag: str, tags: MainTags) -> Level | None:
    """Give the level that is known to have an attribute; patients' belong to their studies.

    Of none it is known of what may be anywhere in an instance.
    """
    if tag in STUDY_RETURN or tag in STUDY_FURTHER or _lists(tags.study, tag):
        return Level.STUDY
    if tag in SERIES_RETURN or _lists(tags.series, tag):
        return Level.SERIES
    return Level.INSTANCE if tag in INSTANCE_RETURN or tag in tags.instance else None


def _lists(level: frozenset[str], tag: str) -> bool:
    """Whether attributes of a level include one, private ones whatever the number of the block."""
    if tag in level or not is_private(tag):
        return tag in level
    return any(
        is_creator(each) if is_creator(tag) else each[6:] == tag[6:] and not is_creator(each)
        for each in level
        if each[:4] == tag[:4]
    )


@dataclass(frozen=True, slots=True)
class _Scope:
    """What is searched, and which attributes its levels have."""

    resource: SearchResource
    tags: MainTags

    @property
    def found(self) -> str:
        return _PLURAL[self.resource.level]

    def has(self, tag: str) -> bool:
        """Whether an attribute is one of the found level or of a level above it."""
        level = self.resource.level
        if level is Level.INSTANCE:
            return tag not in _PATIENT_COUNTS
        if level is Level.PATIENT:
            return tag in PATIENT_RETURN or tag in PATIENT_FURTHER
        home = home_of(tag, self.tags)
        return home is Level.STUDY or (
            level is Level.SERIES and (home is Level.SERIES or tag in SERIES_RETURN)
        )

    def home(self, tag: str) -> Level | None:
        """Give the level that is known to have an attribute."""
        if tag in _PATIENT_COUNTS:
            return Level.PATIENT
        return home_of(tag, self.tags) or (Level.INSTANCE if is_private(tag) else None)


def parse_search(
    parameters: Iterable[tuple[str, str]],
    resource: SearchResource,
    *,
    tags: MainTags = BUILT_IN,
    ignores_unknown: bool = False,
) -> Query:
    """Understand the decoded query parameters of a search.

    Args:
        parameters: Names and values, in their order.
        resource: What is searched.
        tags: Which attributes each level has.
        ignores_unknown: A name that is neither a parameter nor an attribute becomes a note.

    Raises:
        InvalidQueryError: A parameter is unknown, repeated with another value, or malformed.
    """
    scope = _Scope(resource, tags)
    options: dict[str, str] = {}
    lists: dict[str, list[str]] = {name: [] for name in _LISTS}
    keys: dict[tuple[str, ...], tuple[str, MatchKey]] = {}
    notes: dict[str, None] = {}
    for name, value in parameters:
        if name in _ELSEWHERE:
            continue
        if name in _LISTS:
            lists[name].extend(filter(None, map(str.strip, value.split(","))))
        elif name in _OPTIONS:
            if options.setdefault(name, value) != value:
                raise InvalidQueryError(name, "may be given only once")
        elif ignores_unknown and not _is_attribute(name):
            notes[f"parameter {_shown(name)} is not known and was ignored"] = None
        else:
            key = _parse_key(name, value, scope)
            if keys.setdefault(key.path, (name, key))[1] != key:
                raise InvalidQueryError(name, "may be given only once")
    semantics = Semantics(
        fuzzy=_parse_truth(options, "fuzzymatching"),
        empty_values=_parse_truth(options, "emptyvaluematching"),
        multiple_values=_parse_truth(options, "multiplevaluematching"),
        zone=_parse_zone(*keys.pop((_TIME_ZONE,), ("", None))),
    )
    keys.pop((_CHARACTER_SET,), None)
    matched = _with_creators(keys)
    for name, key in matched:
        _check_value(name, key, semantics)
    fields = _parse_fields(lists["includefield"])
    notes |= {_not_returned(tag, scope): None for tag in fields or () if not scope.has(tag)}
    included = {tag for tag in fields or () if scope.has(tag)} | {path[0] for path in keys}
    return Query(
        resource=resource,
        keys=tuple(key for _, key in matched),
        semantics=semantics,
        include=frozenset(included) - resource.returned,
        include_all=fields is None,
        limit=_parse_number(options, "limit"),
        offset=_parse_number(options, "offset") or 0,
        order=_parse_order(lists["orderby"], scope),
        page=_parse_page(options),
        notes=tuple(notes),
        tags=tags,
        labels=_parse_labels(lists[_LABEL], options),
    )


def _parse_key(name: str, value: str, scope: _Scope) -> MatchKey:
    path = _parse_path(name, parameter=name)
    tag = path[0]
    if tag == _RETRIEVE_URL or tag in _PATIENT_COUNTS:
        raise InvalidQueryError(name, "is made for each answer and cannot be matched")
    if not (scope.has(tag) or path == (_TIME_ZONE,)):
        raise InvalidQueryError(name, _not_matched(tag, scope))
    if len(value) > MAX_VALUE_LENGTH:
        raise InvalidQueryError(name, f"is longer than {MAX_VALUE_LENGTH} characters")
    vr = vr_of(path[-1]) or ("LO" if is_creator(path[-1]) else "UN")
    if vr == "DT" or tag == _TIME_ZONE:
        value = value.rstrip().replace(" ", "+")  # as which an unescaped plus sign arrives
    return MatchKey(path, vr, value)


def _parse_zone(name: str, key: MatchKey | None) -> timedelta | None:
    """Read in which zone the times of a query are meant (PS3.18 §8.3.4)."""
    if key is None or key.is_universal:
        return None
    try:
        return parse_zone(key.value)
    except ValueError as exc:
        raise InvalidQueryError(name, str(exc)) from exc


def _with_creators(
    keys: Mapping[tuple[str, ...], tuple[str, MatchKey]],
) -> list[tuple[str, MatchKey]]:
    """Put private attributes together with the keys that name their creators.

    A key for a creator without any attribute of its finds whatever has a block of that creator.
    """
    used: set[tuple[str, ...]] = set()
    found: dict[tuple[str, ...], tuple[str, MatchKey]] = {}
    for path, (name, key) in keys.items():
        needed = [
            (*path[:depth], creator_tag(tag)) if is_private(tag) and not is_creator(tag) else None
            for depth, tag in enumerate(path)
        ]
        creators = tuple(_creator(keys, each, name) if each else "" for each in needed)
        used.update(filter(None, needed))
        found[path] = name, replace(key, creators=creators if any(creators) else ())
    return [found[path] for path in found if path not in used]


def _creator(
    keys: Mapping[tuple[str, ...], tuple[str, MatchKey]], path: tuple[str, ...], name: str
) -> str:
    if not is_creator(path[-1]):
        raise InvalidQueryError(name, "is in no block that a private creator can have")
    creator = keys[path][1].value.strip() if path in keys else ""
    if not creator or has_wildcard(creator):
        raise InvalidQueryError(
            name,
            f"a private attribute needs the key of its creator, {'.'.join(path)}, with its whole "
            "value (PS3.18 §8.3.4.1)",
        )
    return creator


def _not_matched(tag: str, scope: _Scope) -> str:
    home = scope.home(tag)
    if home is None:
        return f"is not among the attributes by which {scope.found} are found"
    return (
        f"belongs to the {home} level, and a search for {scope.found} matches attributes of "
        f"the {scope.resource.level} level and above"
    )


def _not_returned(tag: str, scope: _Scope) -> str:
    """Say that an attribute of a lower level is not returned (PS3.18 §10.6.3.3)."""
    keyword = keyword_from_tag(tag)
    shown = f"includefield {tag} ({keyword})" if keyword else f"includefield {tag}"
    home = scope.home(tag)
    why = f"belongs to the {home} level" if home else f"is not an attribute of {scope.found}"
    return f"{shown} {why} and is not returned with {scope.found}"


def _parse_path(text: str, *, parameter: str) -> tuple[str, ...]:
    """Parse an attribute: keywords or tags, sequences joined by dots (PS3.18 §8.3.4.1)."""
    path = tuple(_parse_tag(part, parameter=parameter) for part in text.split("."))
    for tag in path[:-1]:
        if vr_of(tag) not in ("SQ", None):
            raise InvalidQueryError(parameter, "a part before a dot is not a sequence")
    return path


def _parse_tag(text: str, *, parameter: str) -> str:
    if tag := _tag_of(text):
        return tag
    if parameter in _LISTS:
        raise InvalidQueryError(parameter, f"{_shown(text)} is not an attribute of the standard")
    raise InvalidQueryError(parameter, "is neither a parameter nor an attribute of the standard")


def _tag_of(text: str) -> str | None:
    if not _TAG.fullmatch(text):
        return tag_from_keyword(text)
    tag = text.upper()
    return tag if is_private(tag) or vr_of(tag) is not None else None


def _is_attribute(name: str) -> bool:
    return all(map(_tag_of, name.split(".")))


def _shown(text: str) -> str:
    """Give a text of the query as a header or a message can have it."""
    cut = text[:_SHOWN_LENGTH]
    return "".join(c if c.isascii() and c.isprintable() and c not in '"\\' else "?" for c in cut)


def _check_value(name: str, key: MatchKey, semantics: Semantics) -> None:
    try:
        predicate(key, semantics)
    except ValueError as exc:
        raise InvalidQueryError(name, str(exc)) from exc


def _parse_fields(fields: list[str]) -> list[str] | None:
    """Give the tags of fields to include, within sequences those of the outermost; none is all."""
    if "all" not in fields:
        return [_parse_path(field, parameter="includefield")[0] for field in fields]
    if len(set(fields)) > 1:
        raise InvalidQueryError("includefield", "all must stand alone")
    return None


def _parse_order(fields: list[str], scope: _Scope) -> tuple[OrderKey, ...]:
    keys: dict[str, OrderKey] = {}
    if len(fields) > MAX_ORDER_KEYS:
        raise InvalidQueryError("orderby", f"names more than {MAX_ORDER_KEYS} attributes")
    for field in fields:
        tag = _parse_tag(field.removeprefix("-"), parameter="orderby")
        key = OrderKey(tag, descending=field.startswith("-"))
        if not scope.has(tag):
            raise InvalidQueryError("orderby", f"{_shown(field)} {_not_matched(tag, scope)}")
        if tag == _RETRIEVE_URL or (vr_of(tag) or "UN") in _NO_ORDER_VRS:
            raise InvalidQueryError("orderby", f"{_shown(field)} has no values with an order")
        if keys.setdefault(tag, key) != key:
            raise InvalidQueryError("orderby", f"{_shown(field)} is named in both directions")
    return tuple(keys.values())


def _parse_labels(labels: list[str], options: Mapping[str, str]) -> LabelKey | None:
    text = options.get(_CONSTRAINT, LabelsConstraint.ALL)
    if text not in set(LabelsConstraint):
        raise InvalidQueryError(_CONSTRAINT, f"must be one of {', '.join(LabelsConstraint)}")
    if len(labels) > MAX_LABELS:
        raise InvalidQueryError(_LABEL, f"names more than {MAX_LABELS} labels")
    for label in labels:
        if not is_label(label):
            raise InvalidQueryError(_LABEL, f"{_shown(label)} can be no label")
    constraint = LabelsConstraint(text)
    return LabelKey(tuple(dict.fromkeys(labels)), constraint) if labels else None


def _parse_page(options: Mapping[str, str]) -> str:
    page = options.get("page", "")
    if len(page) > MAX_VALUE_LENGTH:
        raise InvalidQueryError("page", f"is longer than {MAX_VALUE_LENGTH} characters")
    return page


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
