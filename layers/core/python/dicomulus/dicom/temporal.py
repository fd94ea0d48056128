"""Dates, times and date-times as ranges that compare as text or instants (PS3.4 §C.2.2.2.5)."""

from __future__ import annotations

import calendar
import re
from datetime import datetime, timedelta
from typing import Final

FIRST_DATE: Final = "00000001"
"""Before every date, and after what stands for a date that is not known."""

LAST_DATE: Final = "99999999"
"""After every date."""

FIRST_TIME: Final = "000000000000"
LAST_TIME: Final = "239999999999"

_DATE: Final = re.compile(r"(?!0000)[0-9]{4}(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01])")
# The form of ACR-NEMA 300, which readers shall take too (PS3.5 Table 6.2-1).
_OLD_DATE: Final = re.compile(r"[0-9]{4}\.[0-9]{2}\.[0-9]{2}")

_HOUR: Final = r"(?:[01][0-9]|2[0-3])"
_MINUTE: Final = r"[0-5][0-9]"
_SECOND: Final = r"(?:[0-5][0-9]|60)(?:\.[0-9]{1,6})?"
_TIME: Final = re.compile(rf"{_HOUR}(?:{_MINUTE}(?:{_SECOND})?)?")
_OLD_TIME: Final = re.compile(rf"{_HOUR}:{_MINUTE}(?::{_SECOND})?")
_LAST_OF_TIME: Final = "235960999999"  # a minute may end with a leap second

_DAY: Final = r"(?:0[1-9]|[12][0-9]|3[01])"
_DATE_TIME: Final = (
    rf"(?!0000)[0-9]{{4}}(?:(?:0[1-9]|1[0-2])(?:{_DAY}(?:{_HOUR}(?:{_MINUTE}(?:{_SECOND})?)?)?)?)?"
)
_OFFSET: Final = r"[+-](?:0[0-9]|1[0-4])[0-5][0-9]"
_ONE_DATE_TIME: Final = re.compile(rf"({_DATE_TIME})({_OFFSET})?")
_DATE_TIME_RANGE: Final = re.compile(
    rf"((?:{_DATE_TIME})(?:{_OFFSET})?)?-((?:{_DATE_TIME})(?:{_OFFSET})?)?"
)
_FIRST_OF_DATE_TIME: Final = "00010101000000000000"
_LAST_OF_DATE_TIME: Final = "99991231235959999999"

UTC: Final = timedelta(0)
"""The zone of what is not said to be of another."""


def normal_date(text: str) -> str | None:
    """Give a date as 8 digits; none if it is malformed."""
    text = text.strip()
    if _OLD_DATE.fullmatch(text):
        text = text.replace(".", "")
    return text if _DATE.fullmatch(text) else None


def normal_time(text: str) -> str | None:
    """Give the first instant of a time as 12 digits, to the microsecond; none if malformed."""
    digits = _time_digits(text)
    return None if digits is None else digits.ljust(12, "0")


def is_range(text: str) -> bool:
    """Whether a date or a time to match is a range."""
    return "-" in text


def date_range(text: str) -> tuple[str, str]:
    """Give the first and the last date that a value to match means, as 8 digits.

    Raises:
        ValueError: The text is neither a date nor a range of dates; it says the rule.
    """
    first, last = _ends(text)
    low = normal_date(first) if first else FIRST_DATE
    high = normal_date(last) if last else LAST_DATE
    if low is None or high is None:
        raise ValueError("must be YYYYMMDD or a range of such dates (PS3.4 §C.2.2.2.5)")
    return low, high


def time_range(text: str) -> tuple[str, str]:
    """Give the first and the last instant of the day that a value to match means, as 12 digits.

    A time without seconds means all of its minute.

    Raises:
        ValueError: The text is neither a time nor a range of times; it says the rule.
    """
    first, last = _ends(text)
    low = _time_digits(first) if first else ""
    high = _time_digits(last) if last else ""
    if low is None or high is None:
        raise ValueError("must be HHMMSS.FFFFFF, shortened or not, or a range of such times")
    return low.ljust(12, "0"), high + _LAST_OF_TIME[len(high) :] if high else LAST_TIME


def parse_zone(text: str) -> timedelta:
    """Read how far a time zone is ahead of UTC, as TimezoneOffsetFromUTC says it: ``+HHMM``.

    Raises:
        ValueError: It is no such offset; the text says the rule.
    """
    text = text.strip()
    if not re.fullmatch(_OFFSET, text):
        raise ValueError("must be an offset from UTC, +HHMM or -HHMM, of less than 15 hours")
    ahead = timedelta(hours=int(text[1:3]), minutes=int(text[3:]))
    return -ahead if text[0] == "-" else ahead


def has_offset(text: str) -> bool:
    """Whether a DT value to match, or an end of a range, says its zone."""
    text = text.strip()
    one = _ONE_DATE_TIME.fullmatch(text)
    if one:
        return one[2] is not None
    ends = _DATE_TIME_RANGE.fullmatch(text)
    return ends is not None and any(
        (end := _ONE_DATE_TIME.fullmatch(each or "")) and end[2] for each in ends.groups()
    )


def moved(instant: str, by: timedelta) -> str:
    """Move a date and time of 20 digits by whole minutes; an open end stays where it is."""
    if not by or not FIRST_DATE < instant[:8] < LAST_DATE:
        return instant
    minute, seconds = instant[:12], instant[12:]  # which may be a leap second
    try:
        there = _instant(minute.ljust(20, "0")) + by
    except OverflowError:
        return instant
    return f"{there.year:04}{there:%m%d%H%M}{seconds}"


def date_time_instants(text: str, zone: timedelta = UTC) -> tuple[datetime, datetime] | None:
    """Give the first and the last instant that one DT value means, in UTC; none if malformed."""
    parts = _ONE_DATE_TIME.fullmatch(text.strip())
    if parts is None:
        return None
    digits = parts[1].replace(".", "")
    ahead = parse_zone(parts[2]) if parts[2] else zone
    low = _earlier(_instant(digits + _FIRST_OF_DATE_TIME[len(digits) :]), ahead)
    high = _earlier(_instant(digits + _LAST_OF_DATE_TIME[len(digits) :]), ahead)
    return low, high


def date_time_range(text: str, zone: timedelta = UTC) -> tuple[datetime, datetime]:
    """Give the first and the last instant that a DT value or range means, in UTC.

    A value without an offset is one of the zone. A hyphen and four digits at the end are an
    offset where they can be one (PS3.4 §C.2.2.2.5.1).

    Raises:
        ValueError: The text is neither a date-time nor a range of such; it says the rule.
    """
    text = text.strip()
    if one := date_time_instants(text, zone):
        return one
    parts = _DATE_TIME_RANGE.fullmatch(text)
    ends = parts.groups() if parts else (None, None)
    first, last = (date_time_instants(end or "", zone) for end in ends)
    if first is None and last is None:
        raise ValueError("must be YYYYMMDDHHMMSS.FFFFFF&ZZXX, shortened or not, or a range")
    return first[0] if first else datetime.min, last[1] if last else datetime.max  # noqa: DTZ901


def _ends(text: str) -> tuple[str, str]:
    text = text.strip()
    first, hyphen, last = text.partition("-")
    if not hyphen:
        last = first
    if not (first or last):
        raise ValueError("a range must have a beginning or an end")
    return first, last


def _time_digits(text: str) -> str | None:
    text = text.strip()
    if _OLD_TIME.fullmatch(text):
        text = text.replace(":", "")
    return text.replace(".", "") if _TIME.fullmatch(text) else None


def _instant(digits: str) -> datetime:
    year, month = int(digits[:4]), int(digits[4:6])
    day = min(int(digits[6:8]), calendar.monthrange(year, month)[1])
    minute, second = min(int(digits[10:12]), 59), min(int(digits[12:14]), 59)  # a leap second
    return datetime(  # noqa: DTZ001 - what zone it is of, the caller knows
        year, month, day, int(digits[8:10]), minute, second, int(digits[14:])
    )


def _earlier(local: datetime, ahead: timedelta) -> datetime:
    try:
        return local - ahead
    except OverflowError:
        return local
