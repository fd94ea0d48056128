"""Matching written from the words of PS3.4 §C.2.2.2, slow and plain, to compare the archive with.

It shares no code with the archive's own matching. Where the standard leaves a choice, the comment
at the place says what the archive has chosen; ``docs/conformance.md`` says it to its users.
"""

# ruff: noqa: DTZ001 - dates and times are of zones that only the data set or the query knows

from __future__ import annotations

import calendar
import unicodedata
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

from dicomulus.dicom.attributes import (
    INSTANCE_RETURN,
    SERIES_FURTHER,
    SERIES_RETURN,
    STUDY_FURTHER,
    STUDY_RETURN,
)
from dicomulus.dicom.query import Level

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from dicomulus.dicom.matching import MatchKey, Semantics
    from dicomulus.dicom.query import Query

    Element = Mapping[str, Any]
    Elements = Mapping[str, Element]
    # A tag with its private creator, which is empty for attributes of the standard.
    Step = tuple[str, str]
    Path = tuple[Step, ...]

MODALITY = "00080060"
MODALITIES_IN_STUDY = "00080061"
TIMEZONE_OFFSET_FROM_UTC = "00080201"

# Of these the archive takes a backslash for a character: AccessionNumber, PatientID, and the names
# of patient and referring physician have one value in the standard.
UNDIVIDED = ("00080050", "00080090", "00100010", "00100020")

# Of StudyDate and StudyTime the first value counts.
FIRST_ONLY = ("00080020", "00080030")

PAIRS = (
    ("00080020", "00080030"),  # StudyDate, StudyTime
    ("00080021", "00080031"),  # SeriesDate, SeriesTime
    ("00080022", "00080032"),  # AcquisitionDate, AcquisitionTime
    ("00080023", "00080033"),  # ContentDate, ContentTime
    ("00400244", "00400245"),  # PerformedProcedureStepStartDate, PerformedProcedureStepStartTime
    ("00400250", "00400251"),  # PerformedProcedureStepEndDate, PerformedProcedureStepEndTime
)

GROUPS = ("Alphabetic", "Ideographic", "Phonetic")

TEXT_VRS = ("AE", "CS", "LO", "LT", "SH", "ST", "UC", "UR", "UT", "UN")
NUMBER_VRS = ("DS", "FD", "FL", "IS", "SL", "SS", "SV", "UL", "US", "US/SS", "UV")


def matches(study: Elements, series: Elements, instance: Elements, query: Query) -> bool:
    """Whether an entity matches a query.

    Args:
        study: All attributes of the study, computed ones included; also where a patient is found.
        series: Those of the series; empty where a study is found.
        instance: Those of the instance; empty where a series or a study is found.
        query: What is asked for.
    """
    entities = {Level.STUDY: study, Level.SERIES: series, Level.INSTANCE: instance}
    for level, elements in entities.items():
        keys = [(steps_of(key), key) for key in query.keys if level_of(key, query) is level]
        if not all_match(keys, elements, query.semantics, zone_of(elements)):
            return False
    return True


def level_of(key: MatchKey, query: Query) -> Level:
    """Give whose attribute a key is: of several that have it, the found entity's own."""
    tag = key.path[0]
    own = {Level.STUDY: STUDY_RETURN, Level.SERIES: SERIES_RETURN, Level.INSTANCE: INSTANCE_RETURN}
    if tag in own.get(query.level, ()) or (is_private(tag) and query.level is Level.INSTANCE):
        return query.level
    if tag in STUDY_RETURN or tag in STUDY_FURTHER or is_listed(tag, query.tags.study):
        return Level.STUDY
    if tag in SERIES_RETURN or tag in SERIES_FURTHER or is_listed(tag, query.tags.series):
        return Level.SERIES
    return Level.INSTANCE


def is_listed(tag: str, configured: frozenset[str]) -> bool:
    """Whether a main tag is the same attribute, in whichever block a private one is."""
    if is_creator(tag):
        return any(is_creator(each) and each[:4] == tag[:4] for each in configured)
    if is_private(tag):
        return any(each[:4] + each[6:] == tag[:4] + tag[6:] for each in configured)
    return tag in configured


def is_private(tag: str) -> bool:
    return int(tag[:4], 16) % 2 == 1


def is_creator(tag: str) -> bool:
    return is_private(tag) and tag[4:6] == "00"


def steps_of(key: MatchKey) -> Path:
    creators = key.creators or tuple("" for _ in key.path)
    return tuple(zip(key.path, creators, strict=True))


# --- data sets and items --------------------------------------------------------------------------


def all_match(
    keys: Sequence[tuple[Path, MatchKey]],
    elements: Elements,
    semantics: Semantics,
    zone: timedelta | None,
) -> bool:
    """Whether a data set, or an item, matches all keys: each by itself but for three cases.

    Keys within one sequence are matched by one item together (§C.2.2.2.6), and a range of dates
    with the range of their times (§C.2.2.2.5, combined date-time matching).
    """
    pairs = paired(keys, semantics)
    in_pairs = [key for pair in pairs for key in pair]
    below = {path[0] for path, _ in keys if len(path) > 1}
    return (
        all(both_match(date, time, elements, semantics, zone) for date, time in pairs)
        and all(
            any_item_matches(first, keys, elements=elements, semantics=semantics, zone=zone)
            for first in below
        )
        and all(
            attribute_matches(path[0], key, elements=elements, semantics=semantics, zone=zone)
            for path, key in keys
            if len(path) == 1 and key not in in_pairs
        )
    )


def paired(
    keys: Sequence[tuple[Path, MatchKey]], semantics: Semantics
) -> list[tuple[MatchKey, MatchKey]]:
    """Give the keys of which both date and time are ranges."""
    ranges = {
        path[0][0]: key
        for path, key in keys
        if len(path) == 1 and "-" in key.value and not is_several(key, semantics)
    }
    return [(ranges[d], ranges[t]) for d, t in PAIRS if d in ranges and t in ranges]


def is_several(key: MatchKey, semantics: Semantics) -> bool:
    return semantics.multiple_values and "\\" in key.value


def any_item_matches(
    first: Step,
    keys: Sequence[tuple[Path, MatchKey]],
    *,
    elements: Elements,
    semantics: Semantics,
    zone: timedelta | None,
) -> bool:
    inner = [(path[1:], key) for path, key in keys if path[0] == first and len(path) > 1]
    items = [
        item
        for element in stored(elements, first)
        for item in element.get("Value", [])
        if isinstance(item, dict) and item
    ]
    # A sequence without items is as one item without attributes.
    return any(all_match(inner, item, semantics, zone) for item in items or [{}])


def attribute_matches(
    step: Step,
    key: MatchKey,
    *,
    elements: Elements,
    semantics: Semantics,
    zone: timedelta | None,
) -> bool:
    if is_creator(key.tag):
        # The creator alone: it may have any block.
        creator = key.value.strip()
        return is_universal(creator, "LO") or blocks_of(elements, key.tag[:4], creator) != []
    found = stored(elements, step) or [{}]
    return any(one_matches(key, element, semantics, zone) for element in found)


def stored(elements: Elements, step: Step) -> list[Element]:
    """Give an attribute, or of a private one all that its creator has (PS3.5 §7.8.1)."""
    tag, creator = step
    if not creator:
        return [elements[tag]] if tag in elements else []
    tags = [tag[:4] + block + tag[6:] for block in blocks_of(elements, tag[:4], creator)]
    return [elements[each] for each in tags if each in elements]


def blocks_of(elements: Elements, group: str, creator: str) -> list[str]:
    found = []
    for number in range(0x10, 0x100):
        block = f"{number:02X}"
        values = elements.get(f"{group}00{block}", {}).get("Value", [])
        if values and str(values[0]).strip() == creator:
            found.append(block)
    return found


# --- one attribute --------------------------------------------------------------------------------


def one_matches(
    key: MatchKey, element: Element, semantics: Semantics, zone: timedelta | None
) -> bool:
    value = key.value.strip()
    vr = element.get("vr", key.vr) if is_private(key.tag) else key.vr
    for part in values_asked_for(key, vr, value, semantics):
        # Universal matching, §C.2.2.2.3.
        if is_universal(part, vr):
            return True
        # Empty value matching; the archive has it for one of several values as well.
        if semantics.empty_values and part == '""':
            if is_empty(element):
                return True
        elif value_matches(key, vr, part, element, semantics, zone):
            return True
    return False


def is_universal(value: str, vr: str) -> bool:
    """An empty key or asterisks; of a name so in each of its component groups."""
    parts = value.split("=") if vr == "PN" else [value]
    return all(set(part.strip()) <= {"*"} for part in parts)


def is_empty(element: Element) -> bool:
    if "InlineBinary" in element or "BulkDataURI" in element:
        return False
    if element.get("vr") == "PN":
        return not names_of(element, divided=True)
    return not texts_of(element) and not any(
        value for value in element.get("Value", []) if isinstance(value, dict)
    )


def values_asked_for(key: MatchKey, vr: str, value: str, semantics: Semantics) -> list[str]:
    """Divide a list of UIDs (§C.2.2.2.2), of several values, or of modalities."""
    if vr == "UI" or key.tag in (MODALITY, MODALITIES_IN_STUDY):
        # PS3.18 divides by commas what DIMSE divides by backslashes.
        value = value.replace(",", "\\")
    elif not semantics.multiple_values:
        return [value]
    # Of a list, parts without anything say nothing.
    return [part.strip() for part in value.split("\\") if part.strip()] or [""]


def value_matches(
    key: MatchKey,
    vr: str,
    value: str,
    element: Element,
    semantics: Semantics,
    zone: timedelta | None,
) -> bool:
    if vr == "PN":
        names = names_of(element, divided=key.tag not in UNDIVIDED)
        return any(name_matches(value, name, fuzzy=semantics.fuzzy) for name in names)
    texts = texts_of(element)
    if key.tag in UNDIVIDED:
        texts = ["\\".join(texts)] if texts else []
    if key.tag in FIRST_ONLY:
        texts = texts[:1]
    return any(text_matches(vr, value, text, semantics, zone) for text in texts)


def texts_of(element: Element) -> list[str]:
    """Give what values say: neither null, nor spaces alone, nor what is no text."""
    texts = [
        str(value).strip()
        for value in element.get("Value", [])
        if value is not None and not isinstance(value, dict)
    ]
    return [text for text in texts if text]


def text_matches(
    vr: str, value: str, text: str, semantics: Semantics, zone: timedelta | None
) -> bool:
    if vr == "UI":
        return text == value
    if vr in TEXT_VRS:
        return fits(value, text)
    if vr in NUMBER_VRS:
        asked, number = number_of(value), number_of(text)
        return asked is not None and asked == number
    if vr == "DA":
        return is_between(day_of(text), range_of(value, day_of, day_of))
    if vr == "TM":
        return is_between(first_of_day(text), range_of(value, first_of_day, last_of_day))
    if vr == "DT":
        return date_time_matches(value, text, semantics, zone)
    if vr in ("AS", "AT"):
        return text == value
    return False


def fits(pattern: str, text: str) -> bool:
    """Wild card matching, §C.2.2.2.4, one character after the other."""
    if not pattern:
        return not text
    if pattern[0] == "*":
        return fits(pattern[1:], text) or (text != "" and fits(pattern, text[1:]))
    return text != "" and pattern[0] in ("?", text[0]) and fits(pattern[1:], text[1:])


def number_of(text: str) -> Decimal | None:
    try:
        number = Decimal(text)
    except InvalidOperation:
        return None
    return number if number.is_finite() and "_" not in text else None


# --- names ----------------------------------------------------------------------------------------


def names_of(element: Element, *, divided: bool) -> list[dict[str, str]]:
    """Give each name, or all as one, by component group."""
    values = [value for value in element.get("Value", []) if isinstance(value, dict)]
    together = [
        {group: "\\".join(value[group] for value in values if value.get(group)) for group in GROUPS}
    ]
    names = [
        {group: usual(value.get(group, "")) for group in GROUPS}
        for value in (values if divided else together)
    ]
    kept = [{group: text for group, text in name.items() if text} for name in names]
    return [name for name in kept if name]


def usual(text: str) -> str:
    """Write a component group without case, accents and what may be left out (PS3.5 §6.2.1)."""
    letters = "".join(
        character
        for character in unicodedata.normalize("NFKD", text)
        if not unicodedata.combining(character)
    )
    # A syllable of Hangul is put together again: it is one character to those who ask.
    plain = unicodedata.normalize("NFC", letters).casefold()
    components = [component.strip() for component in plain.split("^")]
    while components and not components[-1]:
        components.pop()
    return "^".join(components)


def name_matches(value: str, name: Mapping[str, str], *, fuzzy: bool) -> bool:
    if fuzzy and "*" not in value and "?" not in value and is_like(value, name):
        return True
    if "=" not in value:
        return any(group_matches(value, group) for group in name.values())
    return all(
        is_universal(part, "LO") or (group in name and group_matches(part, name[group]))
        for group, part in zip(GROUPS, value.split("="), strict=False)
    )


def group_matches(value: str, group: str) -> bool:
    pattern = usual(value)
    if "*" not in pattern and "?" not in pattern:
        return pattern == group
    # A name of fewer than five components has all of them, the others being empty.
    whole = group + "^" * (4 - group.count("^"))
    return fits(pattern, group) or fits(pattern, whole)


def is_like(value: str, name: Mapping[str, str]) -> bool:
    """Fuzzy matching as the archive does it: each word begins a word of one component group."""
    asked = words_of(usual(value))
    return bool(asked) and any(
        all(any(word.startswith(each) for word in words_of(group)) for each in asked)
        for group in name.values()
    )


def words_of(text: str) -> list[str]:
    for divider in "^,=.\\-":
        text = text.replace(divider, " ")
    return text.split()


# --- dates and times ------------------------------------------------------------------------------


def day_of(text: str) -> str | None:
    """Give a date as YYYYMMDD, also one of the form of ACR-NEMA (PS3.5 Table 6.2-1)."""
    text = text.strip()
    if len(text) == 10 and text[4] == text[7] == ".":
        text = text[:4] + text[5:7] + text[8:]
    if len(text) != 8 or not is_digits(text) or text[:4] == "0000":
        return None
    return text if 1 <= int(text[4:6]) <= 12 and 1 <= int(text[6:]) <= 31 else None


def first_of_day(text: str) -> str | None:
    """Give the first instant of a time as HHMMSSFFFFFF."""
    digits = digits_of_time(text)
    return None if digits is None else digits + "0" * (12 - len(digits))


def last_of_day(text: str) -> str | None:
    """Give the last instant of a time; a minute may have a leap second."""
    digits = digits_of_time(text)
    return None if digits is None else digits + "235960999999"[len(digits) :]


def digits_of_time(text: str) -> str | None:
    text = text.strip()
    if text[2:3] == ":":
        parts = text.split(":")
        if len(parts) not in (2, 3) or any(len(part) < 2 for part in parts):
            return None
        text = "".join(parts)
    whole, point, fraction = text.partition(".")
    if not is_digits(whole) or len(whole) not in (2, 4, 6):
        return None
    if point and not (len(whole) == 6 and 1 <= len(fraction) <= 6 and is_digits(fraction)):
        return None
    limits = (23, 59, 60)
    fields = [int(whole[at : at + 2]) for at in range(0, len(whole), 2)]
    if any(field > limit for field, limit in zip(fields, limits, strict=False)):
        return None
    return whole + fraction


def is_digits(text: str) -> bool:
    return text != "" and set(text) <= set("0123456789")


def range_of(
    value: str, first: Callable[[str], str | None], last: Callable[[str], str | None]
) -> tuple[str, str] | None:
    """Give both ends of a range (§C.2.2.2.5), an open one as empty; none if it is malformed.

    A single value is a range of which it is both ends.
    """
    low, hyphen, high = (part.strip() for part in value.partition("-"))
    ends = (first(low), last(high)) if hyphen else (first(low), last(low))
    if (low and ends[0] is None) or ((high or not hyphen) and ends[1] is None):
        return None
    return ends[0] or "", ends[1] or ""


def is_between(text: str | None, ends: tuple[str, str] | None) -> bool:
    if text is None or ends is None:
        return False
    low, high = ends
    return low <= text and (high == "" or text <= high)


def both_match(
    date: MatchKey,
    time: MatchKey,
    elements: Elements,
    semantics: Semantics,
    zone: timedelta | None,
) -> bool:
    """Combined date-time matching: the range of the query, put into the zone of the data set."""
    days = [day_of(text) for text in texts_of(elements.get(date.tag, {}))[:1]]
    if not days or days[0] is None:
        return False
    times = [first_of_day(text) for text in texts_of(elements.get(time.tag, {}))[:1]]
    # Without a time of its own, what is of a day is taken to begin with it.
    instant = days[0] + ((times[0] if times else None) or "000000000000")
    days_asked = range_of(date.value.strip(), day_of, day_of)
    times_asked = range_of(time.value.strip(), first_of_day, last_of_day)
    if days_asked is None or times_asked is None:
        return False
    low = days_asked[0] and days_asked[0] + (times_asked[0] or "000000000000")
    high = days_asked[1] and days_asked[1] + (times_asked[1] or "235960999999")
    if zone is not None and semantics.zone is not None:
        low = low and there(low, zone - semantics.zone)
        high = high and there(high, zone - semantics.zone)
    return is_between(instant, (low, high))


def there(instant: str, ahead: timedelta) -> str:
    """Give the clock of a place that is ahead by whole minutes; its seconds are the same."""
    here = datetime(int(instant[:4]), int(instant[4:6]), 1, int(instant[8:10]), int(instant[10:12]))
    moved = here + timedelta(days=int(instant[6:8]) - 1) + ahead
    return moved.strftime("%Y%m%d%H%M") + instant[12:]


def zone_of(elements: Elements) -> timedelta | None:
    """Read TimezoneOffsetFromUTC (PS3.3 §C.12.1.1.8)."""
    texts = texts_of(elements.get(TIMEZONE_OFFSET_FROM_UTC, {}))
    return offset_of(texts[0]) if texts else None


def offset_of(text: str) -> timedelta | None:
    if len(text) != 5 or text[0] not in "+-" or not is_digits(text[1:]):
        return None
    hours, minutes = int(text[1:3]), int(text[3:])
    if hours > 14 or minutes > 59:
        return None
    ahead = timedelta(hours=hours, minutes=minutes)
    return ahead if text[0] == "+" else -ahead


def date_time_matches(value: str, text: str, semantics: Semantics, zone: timedelta | None) -> bool:
    """Compare in UTC; a stored value without an offset is of its data set's zone, if it has one.

    Where neither the query nor its value says a zone, both are compared as they are written.
    """
    asked = date_time_ends(value)
    if asked is None:
        return False
    ends = [parsed for parsed in map(date_time_of, asked) if parsed]
    says_zone = semantics.zone is not None or any(parsed[2] is not None for parsed in ends)
    of_query = semantics.zone if semantics.zone is not None else timedelta(0)
    of_stored = zone if says_zone and zone is not None else of_query
    found = date_time_of(text)
    if found is None:
        return False
    at = in_utc(found[0], found[2], of_stored)
    low, high = map(date_time_of, asked)
    return (low is None or in_utc(low[0], low[2], of_query) <= at) and (
        high is None or at <= in_utc(high[1], high[2], of_query)
    )


def in_utc(local: datetime, offset: timedelta | None, zone: timedelta) -> datetime:
    return local - (zone if offset is None else offset)


def date_time_ends(value: str) -> tuple[str, str] | None:
    """Divide a range; a hyphen is an offset's where it can be (§C.2.2.2.5)."""
    value = value.strip()
    if date_time_of(value):
        return value, value
    hyphens = [at for at, character in enumerate(value) if character == "-"]
    for at in reversed(hyphens):
        low, high = value[:at], value[at + 1 :]
        if (not low or date_time_of(low)) and (not high or date_time_of(high)) and (low or high):
            return low, high
    return None


def date_time_of(text: str) -> tuple[datetime, datetime, timedelta | None] | None:
    """Give the first and the last instant of a DT value, and its offset from UTC."""
    text = text.strip()
    offset = offset_of(text[-5:]) if len(text) > 5 else None
    if offset is not None:
        text = text[:-5]
    whole, point, fraction = text.partition(".")
    if not is_digits(whole) or len(whole) not in (4, 6, 8, 10, 12, 14) or whole[:4] == "0000":
        return None
    if point and not (len(whole) == 14 and 1 <= len(fraction) <= 6 and is_digits(fraction)):
        return None
    lowest = [int(each) for each in (whole[:4], whole[4:6] or 1, whole[6:8] or 1)]
    year, month, day = lowest
    if not (1 <= month <= 12 and 1 <= day <= 31):
        return None
    last_day = calendar.monthrange(year, month if len(whole) >= 6 else 12)[1]
    clock = [whole[8:10], whole[10:12], whole[12:14]]
    if any(int(each or 0) > limit for each, limit in zip(clock, (23, 59, 60), strict=True)):
        return None
    first = datetime(
        year,
        month,
        min(day, last_day),
        int(clock[0] or 0),
        int(clock[1] or 0),
        min(int(clock[2] or 0), 59),
        int((fraction + "000000")[:6]),
    )
    last = datetime(
        year,
        month if len(whole) >= 6 else 12,
        min(day, last_day) if len(whole) >= 8 else last_day,
        int(clock[0] or 23),
        int(clock[1] or 59),
        min(int(clock[2] or 59), 59),
        int((fraction + "999999")[:6]),
    )
    return first, last, offset
