"""Attribute matching on DICOM JSON (PS3.4 §C.2.2.2)."""

from __future__ import annotations

import fnmatch
import re
import unicodedata
from contextlib import suppress
from dataclasses import dataclass, replace
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, Final

from dicomulus.dicom.attributes import is_creator
from dicomulus.dicom.temporal import (
    FIRST_DATE,
    FIRST_TIME,
    LAST_DATE,
    LAST_TIME,
    UTC,
    date_range,
    date_time_instants,
    date_time_range,
    has_offset,
    is_range,
    moved,
    normal_date,
    normal_time,
    parse_zone,
    time_range,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from datetime import timedelta

    from dicomulus.dicom.level_json import Element

    Predicate = Callable[[Element | None], bool]
    Filter = Callable[[Mapping[str, Element]], bool]
    # The same within a data set of which the time zone may be known.
    _ZonedFilter = Callable[[Mapping[str, Element], timedelta | None], bool]

WILDCARD_VRS: Final = frozenset({"AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT", "UN"})
"""VRs with wildcards (PS3.4 §C.2.2.2.4), and UN, which private attributes are taken for."""

NUMBER_VRS: Final = frozenset({"DS", "FD", "FL", "IS", "SL", "SS", "SV", "UL", "US", "US/SS", "UV"})
_TEXT_VRS: Final = frozenset({"AS", "AT"})

# Viewers ask for any of several modalities without saying so (multiplevaluematching).
_LIST_TAGS: Final = frozenset({"00080060", "00080061"})

_JOINED_TAGS: Final = frozenset({"00080050", "00080090", "00100010", "00100020"})
"""Attributes of one value that search has an ordered index for.

A backslash in one of them is not meant to divide values, and an index has one key a study.
"""

_FIRST_TAGS: Final = frozenset({"00080020", "00080030"})
"""The same for date and time, of which the first value counts."""

# Date and time attributes that are matched together when both are ranges (PS3.4 §C.2.2.2.5).
_PAIRS: Final = {
    "00080020": "00080030",  # Study
    "00080021": "00080031",  # Series
    "00080022": "00080032",  # Acquisition
    "00080023": "00080033",  # Content
    "00400244": "00400245",  # PerformedProcedureStepStart
    "00400250": "00400251",  # PerformedProcedureStepEnd
}

_TIME_ZONE: Final = "00080201"

_SEPARATORS: Final = re.compile(r"[,\\]")
_NAME_TOKENS: Final = re.compile(r"[\s^,=.\\-]+")
_NAME_GROUPS: Final = ("Alphabetic", "Ideographic", "Phonetic")
_BAD_UID: Final = re.compile(r"[\s*?\"'<>]|[^\x20-\x7e]")
_ALL_CARETS: Final = "^^^^"
_EMPTY_KEY: Final = '""'


@dataclass(frozen=True, slots=True)
class MatchKey:
    """One attribute to match: its path of tags, its VR and the value asked for.

    ``creators`` names the private creator of each tag of the path, with an empty text for tags of
    the standard; it may be left out where all are.
    """

    path: tuple[str, ...]
    vr: str
    value: str
    creators: tuple[str, ...] = ()
    starts: tuple[LiteralStart, ...] = ()
    """What matching values begin with where they are stored, if that was looked up."""

    @property
    def tag(self) -> str:
        """The attribute itself, without the sequences around it."""
        return self.path[-1]

    @property
    def is_universal(self) -> bool:
        """Whether every value, and none, matches (PS3.4 §C.2.2.2.3)."""
        # Of a name, so in each component group.
        parts = self.value.split("=") if self.vr == "PN" else (self.value,)
        return not any(part.strip().strip("*") for part in parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Semantics:
    """What a query asks of matching beyond its keys (PS3.18 §8.3.4.2)."""

    fuzzy: bool = False
    """Names match by a prefix of any of their components, too."""
    empty_values: bool = False
    """A value of two quotation marks matches the empty attribute."""
    multiple_values: bool = False
    """A backslash divides values of which any may match."""
    zone: timedelta | None = None
    """How far ahead of UTC the zone is that dates and times are meant in (PS3.18 §8.3.4)."""
    caseless: bool = False
    """Text matches whatever its case, as names do anyway."""


LITERAL: Final = Semantics()


def fold(text: str) -> str:
    """Fold case, accents and widths; a Hangul syllable stays one character."""
    if text.isascii():
        return text.lower()
    decomposed = unicodedata.normalize("NFKD", text)
    plain = "".join(c for c in decomposed if not unicodedata.combining(c))
    return unicodedata.normalize("NFC", plain).casefold()


def lower_case(text: str) -> str:
    """Give a text in lower case; a letter that only looks like one of ASCII then stays."""
    if text.isascii():
        return text.lower()
    return "".join(
        each if (low := each.lower()).isascii() > each.isascii() else low for each in text
    )


def normal_name(text: str) -> str:
    """Fold one component group of a name, without insignificant spaces and carets."""
    return "^".join(part.strip() for part in fold(text).split("^")).rstrip("^")


# --- values of attributes -------------------------------------------------------------------------


def values_of(element: Element | None) -> list[Any]:
    """Give the values that say something."""
    values = element.get("Value", ()) if element else ()
    return [
        value
        for value in values
        if value not in (None, "", {}) and not (isinstance(value, str) and value.isspace())
    ]


def joined_text(element: Element | None) -> str:
    """Give a text attribute as one text, the values as they were before they were divided."""
    return "\\".join(_texts(element))


def joined_name(element: Element | None) -> dict[str, str]:
    """Give the component groups of a name attribute, folded."""
    names = [value for value in values_of(element) if isinstance(value, dict)]
    groups: dict[str, str] = {}
    for group in _NAME_GROUPS:
        texts = [str(name[group]) for name in names if name.get(group)]
        if texts and (text := normal_name("\\".join(texts))):
            groups[group] = text
    return groups


def first_text(element: Element | None) -> str:
    """Give the first value that says something; empty if there is none."""
    return next(iter(_texts(element)), "")


def _texts(element: Element | None) -> list[str]:
    """Give values as text; names and items, which an odd object may have anywhere, are none."""
    return [str(value).strip() for value in values_of(element) if not isinstance(value, dict)]


def _names_of(tag: str, element: Element | None) -> list[dict[str, str]]:
    if tag in _JOINED_TAGS:
        names = [joined_name(element)]
    else:
        names = [joined_name({"Value": [value]}) for value in values_of(element)]
    return [name for name in names if name]


def _texts_of(tag: str, element: Element | None) -> list[str]:
    if tag in _JOINED_TAGS:
        return [text] if (text := joined_text(element)) else []
    if tag in _FIRST_TAGS:
        return [text] if (text := first_text(element)) else []
    return _texts(element)


# --- filters --------------------------------------------------------------------------------------


def filter_of(keys: Iterable[MatchKey], semantics: Semantics = LITERAL) -> Filter:
    """Make the test whether a DICOM JSON object matches all keys.

    Keys within one sequence are matched by one and the same item (PS3.4 §C.2.2.2.6).

    Raises:
        ValueError: A value breaks the rules of its VR; the text says the rule.
    """
    asked = [(_steps(key), key) for key in keys]
    test = _level_filter(asked, semantics)
    # Only where it matters is the zone looked for: a search tests very many rows.
    if semantics.zone is None and not any(_says_offset(key) for _, key in asked):
        return lambda elements: test(elements, None)
    return lambda elements: test(elements, _zone_of(elements))


def _zone_of(elements: Mapping[str, Element]) -> timedelta | None:
    """Give the zone of a data set's dates and times, if it says one (PS3.3 §C.12.1.1.8)."""
    text = first_text(elements.get(_TIME_ZONE))
    try:
        return parse_zone(text) if text else None
    except ValueError:
        return None


_Step = tuple[str, str]
"""A tag and its private creator, which is empty for tags of the standard."""


def _steps(key: MatchKey) -> tuple[_Step, ...]:
    return tuple(zip(key.path, key.creators or ("",) * len(key.path), strict=True))


def _level_filter(
    keys: Sequence[tuple[tuple[_Step, ...], MatchKey]], semantics: Semantics
) -> _ZonedFilter:
    here = {steps[0]: key for steps, key in keys if len(steps) == 1}
    below: dict[_Step, list[tuple[tuple[_Step, ...], MatchKey]]] = {}
    for steps, key in keys:
        if len(steps) > 1:
            below.setdefault(steps[0], []).append((steps[1:], key))
    tests = [
        _pair_filter(here.pop((date, "")), here.pop((time, "")), semantics)
        for date, time in _ranged_pairs(here, semantics)
    ]
    tests += [_element_filter(step, key, semantics) for step, key in here.items()]
    tests += [_item_filter(step, _level_filter(inner, semantics)) for step, inner in below.items()]
    return lambda elements, zone: all(test(elements, zone) for test in tests)


def _item_filter(step: _Step, inner: _ZonedFilter) -> _ZonedFilter:
    def matches(elements: Mapping[str, Element], zone: timedelta | None) -> bool:
        tags = stored_tags(elements, *step)
        values = (value for tag in tags for value in values_of(elements.get(tag)))
        # Files have attributes in any VR, and then what should be items may be anything.
        items = [value for value in values if isinstance(value, dict)]
        # Without any item, each key is matched against an attribute that is not there.
        return any(inner(item, zone) for item in items or [{}])

    return matches


def _element_filter(step: _Step, key: MatchKey, semantics: Semantics) -> _ZonedFilter:
    tag, creator = step
    if creator:
        return _private_filter(step, key, semantics)
    if is_creator(tag) and not key.is_universal:
        return lambda elements, _: any(_blocks(elements, tag, key.value.strip()))
    if _is_zoned(key, semantics):
        return _zoned_filter(key, semantics)
    test = predicate(key, semantics)
    return lambda elements, _: test(elements.get(tag))


def _is_zoned(key: MatchKey, semantics: Semantics) -> bool:
    return key.vr == "DT" and (semantics.zone is not None or _says_offset(key))


def _says_offset(key: MatchKey) -> bool:
    """Whether one of the values of a key is a date-time of a zone of its own."""
    return any(map(has_offset, key.value.split("\\")))


def _zoned_filter(key: MatchKey, semantics: Semantics) -> _ZonedFilter:
    tag = key.tag
    by_zone: dict[timedelta | None, Predicate] = {None: predicate(key, semantics)}

    def matches(elements: Mapping[str, Element], zone: timedelta | None) -> bool:
        if zone not in by_zone:
            by_zone[zone] = predicate(key, semantics, stored_zone=zone)
        return by_zone[zone](elements.get(tag))

    return matches


# --- private attributes ---------------------------------------------------------------------------


def stored_tags(elements: Mapping[str, Element], tag: str, creator: str) -> tuple[str, ...]:
    """Give where a data set has an attribute: in whichever block the creator has reserved."""
    if not creator:
        return (tag,)
    return tuple(f"{tag[:4]}{block}{tag[6:]}" for block in _blocks(elements, tag, creator))


def _blocks(elements: Mapping[str, Element], tag: str, creator: str) -> Iterator[str]:
    prefix = tag[:4] + "00"
    for each, element in elements.items():
        if each.startswith(prefix) and each[6:] >= "10" and first_text(element) == creator:
            yield each[6:]


def _private_filter(step: _Step, key: MatchKey, semantics: Semantics) -> _ZonedFilter:
    """Match a private attribute by the VR that the data set gives it."""
    by_vr: dict[str, _ZonedFilter] = {}

    def matches(elements: Mapping[str, Element], zone: timedelta | None) -> bool:
        found = [elements[tag] for tag in stored_tags(elements, *step) if tag in elements]
        for element in found or [{"vr": "UN"}]:
            vr = element["vr"]
            if vr not in by_vr:
                by_vr[vr] = _filter_of_vr(replace(key, vr=vr), semantics)
            if by_vr[vr]({key.tag: element}, zone):
                return True
        return False

    return matches


def _filter_of_vr(key: MatchKey, semantics: Semantics) -> _ZonedFilter:
    is_list = key.vr == "UI" or (semantics.multiple_values and "\\" in key.value)
    tests = []
    for part in _value_list(key) if is_list else (key,):
        with suppress(ValueError):  # no such value can be in an attribute of this VR
            tests.append(_element_filter((key.tag, ""), part, semantics))
    return lambda elements, zone: any(test(elements, zone) for test in tests)


# --- dates and times together ---------------------------------------------------------------------


def _ranged_pairs(keys: Mapping[_Step, MatchKey], semantics: Semantics) -> list[tuple[str, str]]:
    ranged = {
        tag
        for (tag, _), key in keys.items()
        if not key.is_universal and is_range(key.value) and is_plain(key, semantics)
    }
    return [(date, time) for date, time in _PAIRS.items() if date in ranged and time in ranged]


def combined_range(date: MatchKey, time: MatchKey) -> tuple[str, str]:
    """Give the first and last date-time of two ranges taken together, as 20 digits each.

    Raises:
        ValueError: A range is malformed.
    """
    (first_date, last_date), (first_time, last_time) = (
        date_range(date.value),
        time_range(time.value),
    )
    low = first_date + (first_time if first_date != FIRST_DATE else FIRST_TIME)
    high = last_date + (last_time if last_date != LAST_DATE else LAST_TIME)
    return low, high


def _pair_filter(date: MatchKey, time: MatchKey, semantics: Semantics) -> _ZonedFilter:
    low, high = combined_range(date, time)
    by_zone: dict[timedelta | None, tuple[str, str]] = {}

    def matches(elements: Mapping[str, Element], zone: timedelta | None) -> bool:
        day = normal_date(first_text(elements.get(date.tag)))
        if day is None:
            return False
        of_day = normal_time(first_text(elements.get(time.tag))) or FIRST_TIME
        # The range is moved to the zone of the data set rather than every value to UTC.
        if zone not in by_zone:
            by = UTC if semantics.zone is None or zone is None else zone - semantics.zone
            by_zone[zone] = moved(low, by), moved(high, by)
        first, last = by_zone[zone]
        return first <= day + of_day <= last

    return matches


# --- single attributes ----------------------------------------------------------------------------


def predicate(
    key: MatchKey, semantics: Semantics = LITERAL, *, stored_zone: timedelta | None = None
) -> Predicate:
    """Make the test of one attribute.

    Args:
        key: What is asked for.
        semantics: How it is meant.
        stored_zone: The zone of stored date-times without an offset, if it is known. It counts
            where the query says its zone too; otherwise they are compared as they are written.

    Raises:
        ValueError: The value breaks the rules of the VR; the text says the rule.
    """
    if key.vr == "UI" and not (key.is_universal or _is_for_empty(key, semantics)):
        return _uid_predicate(key)
    if semantics.multiple_values or key.tag in _LIST_TAGS:
        tests = [_single_predicate(part, semantics, stored_zone) for part in _value_list(key)]
        return lambda element: any(test(element) for test in tests)
    return _single_predicate(key, semantics, stored_zone)


def _value_list(key: MatchKey) -> list[MatchKey]:
    """Divide a list of values, of which those that say nothing are left out."""
    has_commas = key.vr == "UI" or key.tag in _LIST_TAGS
    separator = _SEPARATORS if has_commas else re.compile(r"\\")
    values = [part.strip() for part in separator.split(key.value)]
    return [replace(key, value=value) for value in values if value] or [replace(key, value="")]


def _single_predicate(
    key: MatchKey, semantics: Semantics, stored_zone: timedelta | None
) -> Predicate:
    if key.is_universal:
        return _anything
    if _is_for_empty(key, semantics):
        return _nothing
    if key.vr == "PN":
        return _name_predicate(key, semantics)
    if key.vr == "DT":
        test = _date_time_test(key.value, semantics.zone, stored_zone)
    elif semantics.caseless and _has_case(key):
        of_lower = _text_test(replace(key, value=lower_case(key.value)))
        test = lambda text: of_lower(lower_case(text))  # noqa: E731 - mypy knows its type
    else:
        test = _text_test(key)
    tag = key.tag
    return lambda element: any(test(text) for text in _texts_of(tag, element))


def _has_case(key: MatchKey) -> bool:
    return key.vr in WILDCARD_VRS or key.vr in _TEXT_VRS


def _is_for_empty(key: MatchKey, semantics: Semantics) -> bool:
    return semantics.empty_values and key.value.strip() == _EMPTY_KEY


def _anything(_: Element | None) -> bool:
    return True


def _nothing(element: Element | None) -> bool:
    if not element:
        return True
    values = values_of(element)
    if element["vr"] == "PN":
        values = _names_of("", element)
    return not values and (len(element) == 1 or "Value" in element)


def _text_test(key: MatchKey) -> Callable[[str], bool]:
    value = key.value.strip()
    if key.vr in WILDCARD_VRS:
        return _pattern_test(value)
    if key.vr in NUMBER_VRS:
        return _number_test(value)
    if key.vr in _TEXT_VRS:
        return value.__eq__
    if key.vr == "DA":
        return _between(normal_date, *date_range(value))
    if key.vr == "TM":
        return _between(normal_time, *time_range(value))
    raise ValueError(f"attributes of VR {key.vr} cannot be matched")


def _between(normal: Callable[[str], str | None], low: str, high: str) -> Callable[[str], bool]:
    def test(text: str) -> bool:
        value = normal(text)
        return value is not None and low <= value <= high

    return test


def _date_time_test(
    value: str, zone: timedelta | None, stored_zone: timedelta | None
) -> Callable[[str], bool]:
    of_query = of_stored = zone or UTC
    if stored_zone is not None and (zone is not None or has_offset(value)):
        of_stored = stored_zone
    low, high = date_time_range(value, of_query)

    def test(text: str) -> bool:
        instants = date_time_instants(text, of_stored)
        return instants is not None and low <= instants[0] <= high

    return test


def _number_test(value: str) -> Callable[[str], bool]:
    wanted = number_of(value)
    if wanted is None:
        raise ValueError("must be a number")
    return lambda text: number_of(text) == wanted


def number_of(text: str) -> Decimal | None:
    """Read a number; none if the text is not one, or not a finite one."""
    if "_" in text:  # which Decimal takes as digits grouped
        return None
    try:
        number = Decimal(text)
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


def _pattern_test(pattern: str) -> Callable[[str], bool]:
    if not has_wildcard(pattern):
        return pattern.__eq__
    # Brackets mean themselves; the translation takes time linear in the text.
    glob = re.compile(fnmatch.translate(pattern.replace("[", "[[]")))
    return lambda text: glob.match(text) is not None


def has_wildcard(pattern: str) -> bool:
    """Whether a value has one of the two wildcard characters (PS3.4 §C.2.2.2.4)."""
    return "*" in pattern or "?" in pattern


# --- UIDs -----------------------------------------------------------------------------------------


def uid_list(value: str) -> tuple[str, ...]:
    """Give the UIDs of a list divided by commas or backslashes (PS3.4 §C.2.2.2.2), each once.

    Raises:
        ValueError: One cannot be a UID. Letters are let through: real files have such UIDs.
    """
    uids = tuple(dict.fromkeys(part.strip() for part in _SEPARATORS.split(value)))
    for uid in uids:
        if _BAD_UID.search(uid) or not any(map(str.isdigit, uid)):
            raise ValueError("must be a UID or a list of UIDs, without wildcards")
    return uids


def _uid_predicate(key: MatchKey) -> Predicate:
    wanted = frozenset(uid_list(key.value))
    return lambda element: not wanted.isdisjoint(_texts(element))


# --- names ----------------------------------------------------------------------------------------


def _name_predicate(key: MatchKey, semantics: Semantics) -> Predicate:
    tests = [_name_test(key.value)]
    if semantics.fuzzy and not has_wildcard(key.value):
        tests.append(_fuzzy_name_test(key.value))
    tag = key.tag
    return lambda element: any(test(name) for name in _names_of(tag, element) for test in tests)


def _name_test(value: str) -> Callable[[Mapping[str, str]], bool]:
    """Match all component groups, or each its own where the value names several."""
    if "=" not in value:
        test = _name_group_test(value)
        return lambda name: any(test(group) for group in name.values())
    parts = zip(_NAME_GROUPS, value.split("="), strict=False)
    tests = {group: _name_group_test(part) for group, part in parts if part.strip().strip("*")}
    return lambda name: all(g in name and test(name[g]) for g, test in tests.items())


def _name_group_test(value: str) -> Callable[[str], bool]:
    pattern = normal_name(value)
    test = _pattern_test(pattern)
    if not has_wildcard(pattern):
        return test
    # "Doe^*" finds the name "Doe" too: carets at a name's end may be left out (PS3.5 §6.2.1.1).
    return lambda group: test(group) or test(group + _ALL_CARETS[group.count("^") :])


def _fuzzy_name_test(value: str) -> Callable[[Mapping[str, str]], bool]:
    wanted = name_tokens(fold(value))

    def test(name: Mapping[str, str]) -> bool:
        return bool(wanted) and any(
            all(any(token.startswith(start) for token in name_tokens(group)) for start in wanted)
            for group in name.values()
        )

    return test


def name_tokens(folded: str) -> list[str]:
    """Divide a folded name into its words."""
    return [token for token in _NAME_TOKENS.split(folded) if token]


# --- what a plan needs to know --------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LiteralStart:
    """What every matching value begins with; ``whole`` if it is the value itself."""

    text: str
    whole: bool


def literal_start(key: MatchKey, semantics: Semantics = LITERAL) -> LiteralStart | None:
    """Give what the values matching a text or name key begin with; none if that is open.

    Names are given folded, for their alphabetic component group, without the carets at the end;
    other text in lower case where that does not count.
    """
    if key.vr not in WILDCARD_VRS or key.is_universal or not is_plain(key, semantics):
        return None
    value = key.value.strip()
    if semantics.caseless and key.vr != "PN":
        value = lower_case(value)
    if key.vr == "PN":
        if semantics.fuzzy and not has_wildcard(value):
            return None
        value = normal_name(value.partition("=")[0])
    text = re.split(r"[*?]", value, maxsplit=1)[0]
    whole = text == value
    if key.vr == "PN":
        text = text.rstrip("^ ")
    return LiteralStart(text, whole) if text else None


def single_keys(key: MatchKey, semantics: Semantics) -> tuple[MatchKey, ...]:
    """Give a key for each of the values of which any may match; itself if it has one value."""
    is_list = semantics.multiple_values and "\\" in key.value and key.vr != "UI"
    return tuple(_value_list(key)) if is_list and not _is_for_empty(key, semantics) else (key,)


def is_plain(key: MatchKey, semantics: Semantics) -> bool:
    """Whether a key is neither for the empty attribute nor for any of several values."""
    if _is_for_empty(key, semantics):
        return False
    return key.vr == "UI" or not (semantics.multiple_values and "\\" in key.value)


def folded_pieces(key: MatchKey, semantics: Semantics = LITERAL) -> tuple[str, ...]:
    """Give folded texts that every matching value contains once folded; none may be known."""
    if key.vr not in WILDCARD_VRS or key.is_universal or not is_plain(key, semantics):
        return ()
    if key.vr == "PN":
        return tuple(_name_pieces(key, semantics))
    folded = map(fold, re.split(r"[*?]", key.value.strip()))
    return tuple(piece for piece in folded if piece)


def _name_pieces(key: MatchKey, semantics: Semantics) -> Iterator[str]:
    groups = key.value.split("=")[: len(_NAME_GROUPS)]  # nothing is asked by any further one
    for group in groups:
        if semantics.fuzzy and not has_wildcard(key.value):
            yield from name_tokens(fold(group))
            continue
        # A name may be stored without the carets and spaces that the pieces end with.
        pieces = (_stripped(normal_name(piece)) for piece in re.split(r"[*?]", group))
        yield from filter(None, pieces)


def _stripped(piece: str) -> str:
    return piece.strip("^ ")
