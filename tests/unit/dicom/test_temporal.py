"""Dates, times and date-times as ranges."""

# ruff: noqa: DTZ001, DTZ901 - all are UTC

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from dicomulus.dicom.temporal import (
    date_range,
    date_time_range,
    has_offset,
    moved,
    normal_date,
    normal_time,
    parse_zone,
    time_range,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("20240229", "20240229"),
        ("1997.04.24", "19970424"),
        (" 20240229 ", "20240229"),
        ("20241301", None),
        ("20240200", None),
        ("00000101", None),
        ("2024", None),
        ("٢٠٢٤٠١٠١", None),
        ("", None),
    ],
)
def test_a_date_is_eight_digits_or_the_old_form(text: str, expected: str | None) -> None:
    """PS3.5 Table 6.2-1."""
    assert normal_date(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10", "100000000000"),
        ("1030", "103000000000"),
        ("103059.5", "103059500000"),
        ("10:30:59", "103059000000"),
        ("235960", "235960000000"),
        ("24", None),
        ("103", None),
        ("1030.5", None),
        ("", None),
    ],
)
def test_a_time_may_be_shortened_from_its_end(text: str, expected: str | None) -> None:
    assert normal_time(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("20240101", ("20240101", "20240101")),
        ("20240101-20240131", ("20240101", "20240131")),
        ("20240101-", ("20240101", "99999999")),
        ("-20240131", ("00000001", "20240131")),
    ],
)
def test_a_date_range_includes_both_ends(text: str, expected: tuple[str, str]) -> None:
    """PS3.4 §C.2.2.2.5.1."""
    assert date_range(text) == expected


@pytest.mark.parametrize("text", ["-", "2024", "20240101-2024", "20240101-20240102-", "yesterday"])
def test_what_is_no_date_range_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"must"):
        date_range(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1030", ("103000000000", "103060999999")),
        ("10-11", ("100000000000", "115960999999")),
        ("103015.5-", ("103015500000", "239999999999")),
        ("-08", ("000000000000", "085960999999")),
    ],
)
def test_a_time_means_all_of_its_last_unit(text: str, expected: tuple[str, str]) -> None:
    """A leap second is of the minute that it ends (PS3.5 Table 6.2-1)."""
    assert time_range(text) == expected


@pytest.mark.parametrize("text", ["-", "25", "1", "10-1", "10-11-12"])
def test_only_times_make_a_time_range(text: str) -> None:
    with pytest.raises(ValueError, match=r"must"):
        time_range(text)


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("202402", datetime(2024, 2, 1), datetime(2024, 2, 29, 23, 59, 59, 999_999)),
        (
            "20240101120000-0500",
            datetime(2024, 1, 1, 17),
            datetime(2024, 1, 1, 17, 0, 0, 999_999),
        ),
        (
            "20240101-20240102",
            datetime(2024, 1, 1),
            datetime(2024, 1, 2, 23, 59, 59, 999_999),
        ),
        (
            "20240101+0100-20240102+0100",
            datetime(2023, 12, 31, 23),
            datetime(2024, 1, 2, 22, 59, 59, 999_999),
        ),
        ("2024-", datetime(2024, 1, 1), datetime.max),
        ("00010101+1400", datetime(1, 1, 1), datetime(1, 1, 1, 9, 59, 59, 999_999)),
    ],
)
def test_a_date_time_is_an_instant_or_a_range_in_utc(
    text: str, first: datetime, last: datetime
) -> None:
    """PS3.4 §C.2.2.2.5.1: four digits after a hyphen are an offset where they can be one."""
    assert date_time_range(text) == (first, last)


@pytest.mark.parametrize("text", ["", "-", "20241301", "2024-2025-2026", "now"])
def test_what_is_no_date_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"must"):
        date_time_range(text)


@pytest.mark.parametrize(
    ("text", "minutes"),
    [("+0000", 0), ("-0500", -300), ("+0545", 345), (" +1400 ", 840), ("-1200", -720)],
)
def test_a_zone_is_hours_and_minutes_ahead_of_utc(text: str, minutes: int) -> None:
    """PS3.3 §C.12.1.1.8."""
    assert parse_zone(text) == timedelta(minutes=minutes)


@pytest.mark.parametrize("text", ["", "0100", "+1", "+01:00", "+1500", "+0160", "Z", "CET", "*"])
def test_what_is_no_zone_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"must"):
        parse_zone(text)


def test_a_date_time_without_an_offset_is_of_the_zone_given() -> None:
    first, _ = date_time_range("20240101", timedelta(hours=5))
    assert first == datetime(2023, 12, 31, 19)
    first, _ = date_time_range("20240101-0500", timedelta(hours=5))
    assert first == datetime(2024, 1, 1, 5)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("20240101120000+0100", True),
        ("20240101-20240102+0100", True),
        ("20240101+0100-", True),
        ("20240101", False),
        ("20240101-20240102", False),
        ("2024-2025", False),
        ("2024-0500", True),
        ("later", False),
    ],
)
def test_a_date_time_says_its_zone_by_an_offset(text: str, expected: bool) -> None:
    assert has_offset(text) == expected


@pytest.mark.parametrize(
    ("instant", "hours", "expected"),
    [
        ("20240229233000000000", 1, "20240301003000000000"),
        ("20240101003000000001", -1, "20231231233000000001"),
        ("20240101239999999999", -1, "20240101225999999999"),
        ("20240231120000000000", -24, "20240228120000000000"),
        ("20240101236099000000", 0, "20240101236099000000"),
        ("20240101235960500000", 1, "20240102005960500000"),
        ("00000001000000000000", 1, "00000001000000000000"),
        ("99999999239999999999", 1, "99999999239999999999"),
        ("00010101000000000000", -1, "00010101000000000000"),
        ("09991231230000000000", 1, "10000101000000000000"),
        ("99991231233000000000", 1, "99991231233000000000"),
    ],
)
def test_an_instant_moves_within_the_calendar(instant: str, hours: int, expected: str) -> None:
    assert moved(instant, timedelta(hours=hours)) == expected
