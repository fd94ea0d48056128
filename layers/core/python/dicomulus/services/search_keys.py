"""The sort keys of studies in the ordered indexes, and the ranges in which matches lie.

A date key is date and time of day, 20 digits, then ``#`` and the study's UID. A value key is the
value, 0x01, the date and time inverted so that the newest comes first, then the same.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import timedelta
from itertools import product
from typing import TYPE_CHECKING, Final

from dicomulus.dicom.matching import (
    LITERAL,
    LiteralStart,
    combined_range,
    first_text,
    fold,
    joined_name,
    joined_text,
    literal_start,
    single_keys,
)
from dicomulus.dicom.resource import quote_uid
from dicomulus.dicom.temporal import date_range, is_range, moved, normal_date, normal_time
from dicomulus.ports import CARRIED_CUT, SearchKeys, SearchPath

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from dicomulus.dicom.level_json import Element
    from dicomulus.dicom.matching import MatchKey, Semantics

STUDY_DATE: Final = "00080020"
STUDY_TIME: Final = "00080030"

PATH_BY_TAG: Final = {
    "00080050": SearchPath.ACCESSION_NUMBER,
    "00080090": SearchPath.REFERRING_PHYSICIAN_NAME,
    "00100010": SearchPath.PATIENT_NAME,
    "00100020": SearchPath.PATIENT_ID,
}
"""The attributes that have an index of their own."""

CARRIED_TAGS: Final = {
    "PatientID": "00100020",
    "AccessionNumber": "00080050",
    "PatientName": "00100010",
    "StudyDescription": "00081030",
}
"""What the date index carries, as viewers look for any part of these (first ones first)."""

CUT: Final = CARRIED_CUT
"""At the end of a carried text that goes on."""

_VALUE_BYTES: Final = 128
_CASED_LETTERS: Final = 4
"""Letters of a value that are looked for in both cases: 16 ranges."""
_MOST_VALUES: Final = 16
"""Values of a list that are looked for each in a range of its own."""
_CARRIED_BYTES: Final = 200
_UID_LENGTH: Final = 512
_ZONES_APART: Final = timedelta(days=2)
"""More than any two offsets from UTC differ: from -12 to +14 hours, and files have worse."""
_NO_DATE: Final = "00000000"
_NO_TIME: Final = "000000000000"
_END_OF_VALUE: Final = "\x01"
_AFTER_END_OF_VALUE: Final = "\x02"
_OTHER_GROUPS: Final = "\x03"
"""Before the names of which a group other than the alphabetic one is in the Latin script."""
_AFTER_OTHER_GROUPS: Final = "\x04"
_AFTER_DIGITS: Final = "~"
_LAST_CHARACTER: Final = "\U0010ffff"
_END_OF_LATIN: Final = "\u0250"

_INVERTED: Final = str.maketrans("0123456789", "9876543210")
# Control characters order the parts of a key, the last character ends a range.
_REPLACEMENT: Final = "\ufffd"
_LONGEST_CHARACTER_BYTES: Final = 4
_UNUSED: Final = dict.fromkeys(
    [*range(0x20), ord(_LAST_CHARACTER), *range(0xD800, 0xE000)], _REPLACEMENT
)


@dataclass(frozen=True, slots=True)
class KeyRange:
    """Sort keys ``low`` <= key < ``high``; ``None`` is no upper end."""

    low: str = ""
    high: str | None = None

    def holds(self, sort_key: str) -> bool:
        """Whether a key lies in the range."""
        return self.low <= sort_key and (self.high is None or sort_key < self.high)


# --- keys -----------------------------------------------------------------------------------------


def search_keys(study_instance_uid: str, attributes: Mapping[str, Element]) -> SearchKeys:
    """Give the keys under which a study with these attributes is found."""
    uid = _uid_part(study_instance_uid)
    instant = _instant(attributes)
    ending = f"{_END_OF_VALUE}{instant.translate(_INVERTED)}#{uid}"

    def key(value: str) -> str:
        return value + ending if value else ""

    return SearchKeys(
        by_date=f"{instant}#{uid}",
        by_patient_id=key(value_part(joined_text(attributes.get("00100020")))),
        by_accession_number=key(value_part(joined_text(attributes.get("00080050")))),
        by_patient_name=key(_name_part(attributes.get("00100010"))),
        by_referring_physician_name=key(_name_part(attributes.get("00080090"))),
        carried=_carried(attributes),
    )


def _instant(attributes: Mapping[str, Element]) -> str:
    date = normal_date(first_text(attributes.get(STUDY_DATE))) or _NO_DATE
    time = normal_time(first_text(attributes.get(STUDY_TIME))) or _NO_TIME
    return date + time


def _uid_part(study_instance_uid: str) -> str:
    quoted = quote_uid(study_instance_uid)
    if len(quoted) <= _UID_LENGTH:
        return quoted
    return hashlib.sha256(quoted.encode()).hexdigest()


def key_text(text: str) -> str:
    """Replace the characters that keys use otherwise, one by one."""
    return text.translate(_UNUSED)


def value_of_key(sort_key: str) -> str | None:
    """Give the value that a sort key of a value path is of; None where the key tells it in part."""
    value = sort_key.partition(_END_OF_VALUE)[0]
    is_whole = len(value.encode()) <= _VALUE_BYTES - _LONGEST_CHARACTER_BYTES
    return value if is_whole and _REPLACEMENT not in value else None


def value_part(text: str) -> str:
    """Give what an ordered index has of a value, by which it is ordered there."""
    return _cut(key_text(text), _VALUE_BYTES)


def _name_part(element: Element | None) -> str:
    groups = joined_name(element)
    name = value_part(groups.pop("Alphabetic", ""))
    if any(group < _END_OF_LATIN for group in groups.values()):
        return _OTHER_GROUPS + name
    return name


def _cut(text: str, max_bytes: int) -> str:
    return text.encode()[:max_bytes].decode(errors="ignore")


def _carried(attributes: Mapping[str, Element]) -> dict[str, str]:
    carried: dict[str, str] = {}
    left = _CARRIED_BYTES - len(CUT) * len(CARRIED_TAGS)
    for keyword, tag in CARRIED_TAGS.items():
        text = _carried_text(tag, attributes.get(tag))
        if text:
            kept = _cut(text, left)
            left -= len(kept.encode())
            carried[keyword] = kept if kept == text else kept + CUT
    return carried


def _carried_text(tag: str, element: Element | None) -> str:
    text = "=".join(joined_name(element).values()) if tag == "00100010" else joined_text(element)
    return fold(key_text(text))


# --- ranges ---------------------------------------------------------------------------------------


def value_ranges(key: MatchKey, semantics: Semantics) -> tuple[KeyRange, ...]:
    """Give the ranges of a value path that hold all matches of a key; none if it has no start.

    They do not overlap.
    """
    if key.starts:
        return _joined(map(range_of, key.starts))
    each = [_ranges_of_one(one, semantics) for one in single_keys(key, semantics)]
    if not all(each) or len(each) > _MOST_VALUES:
        return ()
    return _joined(range_ for ranges in each for range_ in ranges)


def _joined(ranges: Iterable[KeyRange]) -> tuple[KeyRange, ...]:
    joined: list[KeyRange] = []
    for each in sorted(ranges, key=lambda range_: range_.low):
        last = joined[-1] if joined else None
        if last is None or (last.high is not None and last.high < each.low):
            joined.append(each)
        elif last.high is not None:
            high = None if each.high is None else max(last.high, each.high)
            joined[-1] = KeyRange(last.low, high)
    return tuple(joined)


def _ranges_of_one(key: MatchKey, semantics: Semantics) -> tuple[KeyRange, ...]:
    start = literal_start(key, semantics)
    if start is None:
        return ()
    if key.vr != "PN":
        return tuple(map(range_of, _cased(start) if semantics.caseless else (start,)))
    # Only the alphabetic group is a key; other scripts are looked for in the other groups as well.
    if start.text >= _END_OF_LATIN:
        return ()
    return KeyRange(_OTHER_GROUPS, _AFTER_OTHER_GROUPS), range_of(start)


def value_starts(key: MatchKey, semantics: Semantics) -> tuple[str, ...]:
    """Give what the sort keys of all matches begin with in lower case, if ranges do not tell it."""
    if not semantics.caseless or key.vr == "PN" or key.starts:
        return ()
    starts = (literal_start(one, semantics) for one in single_keys(key, semantics))
    return tuple(
        value_part(start.text) + (_END_OF_VALUE if start.whole else "") for start in starts if start
    )


def _cased(start: LiteralStart) -> Iterator[LiteralStart]:
    """Give the beginnings, in either case, of which every value of either case has one.

    Each letter makes twice as many, so that only the first letters are told apart.
    """
    choices: list[dict[str, None]] = []
    letters = 0
    for each in start.text:
        cases = dict.fromkeys((each, each.upper()))
        letters += len(cases) > 1
        if not each.isascii() or letters > _CASED_LETTERS:
            break
        choices.append(cases)
    is_whole = start.whole and len(choices) == len(start.text)
    for parts in product(*choices) if choices else ():
        yield LiteralStart("".join(parts), is_whole)


def range_of(start: LiteralStart) -> KeyRange:
    """Give the range of a value path that holds all values with a beginning, or that are it."""
    if start.whole:
        return exact_range(start.text)
    text = value_part(start.text)
    return KeyRange(text, text + _LAST_CHARACTER)


def exact_range(value: str) -> KeyRange:
    """Give the range of a value path that holds all studies with a value."""
    text = value_part(value)
    return KeyRange(text + _END_OF_VALUE, text + _AFTER_END_OF_VALUE)


def date_key_range(
    date: MatchKey, time: MatchKey | None, semantics: Semantics = LITERAL
) -> KeyRange:
    """Give the range of the date path that holds all matches of a date, or of date and time.

    Where the query says its time zone, the range is that of any zone that a study may be of.
    """
    if time is not None and is_range(date.value) and is_range(time.value):
        low, high = combined_range(date, time)
        if semantics.zone is not None:
            low, high = moved(low, -_ZONES_APART), moved(high, _ZONES_APART)
    else:
        low, high = date_range(date.value)
    return KeyRange(low, high + _AFTER_DIGITS)
