"""Sort keys of studies, and the ranges in which matches lie."""

# ruff: noqa: DTZ001 - of whatever zone

from __future__ import annotations

import itertools
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicomulus.dicom.matching import (
    LITERAL,
    MatchKey,
    Semantics,
    filter_of,
    lower_case,
    predicate,
)
from dicomulus.services.search_keys import (
    CUT,
    date_key_range,
    search_keys,
    value_ranges,
    value_starts,
)

UID = "1.2.3"


def attributes(**values: Any) -> dict[str, dict[str, Any]]:
    tags = {
        "date": ("00080020", "DA"),
        "time": ("00080030", "TM"),
        "accession": ("00080050", "SH"),
        "referring": ("00080090", "PN"),
        "description": ("00081030", "LO"),
        "name": ("00100010", "PN"),
        "patient_id": ("00100020", "LO"),
    }
    return {
        tag: {"vr": vr, "Value": [values[word]]}
        for word, (tag, vr) in tags.items()
        if values.get(word)
    }


def test_a_study_lies_by_date_and_time_of_day() -> None:
    keys = search_keys(UID, attributes(date="20240131", time="1030"))
    assert keys.by_date == "20240131103000000000#1.2.3"


@pytest.mark.parametrize("date", ["", "20241301", "yesterday"])
def test_a_study_without_a_sound_date_lies_before_all_dates(date: str) -> None:
    """Newest first, so that it comes last and still is in the list."""
    key = search_keys(UID, attributes(date=date, time="1030")).by_date
    assert key == "00000000103000000000#1.2.3"
    assert not date_key_range(MatchKey(("00080020",), "DA", "-20991231"), None).holds(key)


def test_the_newest_comes_first_among_equal_values() -> None:
    older = search_keys("1.2.4", attributes(patient_id="P", date="20230101")).by_patient_id
    newer = search_keys("1.2.5", attributes(patient_id="P", date="20240101")).by_patient_id
    longer = search_keys("1.2.6", attributes(patient_id="P0", date="20250101")).by_patient_id
    assert newer < older < longer


def test_an_attribute_without_value_keeps_a_study_out_of_its_index() -> None:
    keys = search_keys(UID, {"00100020": {"vr": "LO"}})
    assert (keys.by_patient_id, keys.by_accession_number, keys.by_patient_name) == ("", "", "")


def test_a_uid_of_other_characters_is_quoted_in_keys() -> None:
    assert search_keys("1#2 é", {}).by_date.endswith("#1%232%20%C3%A9")


def test_long_values_and_uids_keep_keys_short() -> None:
    keys = search_keys("9" * 2_000, attributes(patient_id="é" * 500, date="20240101"))
    assert len(keys.by_patient_id.encode()) < 300


def test_the_date_index_carries_what_viewers_look_for() -> None:
    values = attributes(
        patient_id="Ab1",
        accession="X",
        name={"Alphabetic": "Müller^Jürgen", "Ideographic": "山田"},
        description="Chest CT",
    )
    assert search_keys(UID, values).carried == {
        "PatientID": "ab1",
        "AccessionNumber": "x",
        "PatientName": "muller^jurgen=山田",
        "StudyDescription": "chest ct",
    }


def test_what_is_carried_is_bounded_and_says_where_it_was_cut() -> None:
    values = attributes(patient_id="p" * 64, description="é" * 300, name={"Alphabetic": "n" * 150})
    carried = search_keys(UID, values).carried
    assert sum(len(text.encode()) for text in carried.values()) <= 200
    assert carried["PatientID"] == "p" * 64
    assert carried["PatientName"].endswith(CUT)


_TEXT = st.text(st.sampled_from("aAéz*?^= \x01\x02\x03\U0010ffff山やß"), min_size=1, max_size=5)
_LONG = st.builds(lambda text, times: text * times, _TEXT, st.sampled_from([1, 1, 60]))


@given(pattern=_LONG, value=_LONG)
def test_a_range_holds_every_study_whose_patient_id_matches(pattern: str, value: str) -> None:
    key = MatchKey(("00100020",), "LO", pattern)
    values = attributes(patient_id=value)
    ranges = value_ranges(key, LITERAL)
    if ranges and predicate(key)(values.get("00100020")):
        sort_key = search_keys(UID, values).by_patient_id
        assert any(span.holds(sort_key) for span in ranges)


@given(pattern=_LONG, alphabetic=_LONG | st.just(""), phonetic=_LONG | st.just(""))
def test_a_range_holds_every_study_of_which_a_name_group_matches(
    pattern: str, alphabetic: str, phonetic: str
) -> None:
    key = MatchKey(("00100010",), "PN", pattern)
    values = attributes(name={"Alphabetic": alphabetic, "Phonetic": phonetic})
    ranges = value_ranges(key, LITERAL)
    if ranges and predicate(key)(values.get("00100010")):
        sort_key = search_keys(UID, values).by_patient_name
        assert any(span.holds(sort_key) for span in ranges)


@pytest.mark.parametrize("pattern", ["*a", "?a", "山田*", "*"])
def test_what_has_no_beginning_in_the_index_has_no_range(pattern: str) -> None:
    assert value_ranges(MatchKey(("00100010",), "PN", pattern), LITERAL) == ()


@given(
    first=st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1)),
    minutes=st.integers(0, 10_000),
    later=st.integers(-3_000, 13_000),
    of_query=st.integers(-14, 14),
    of_study=st.integers(-14, 14) | st.none(),
)
def test_a_range_of_keys_holds_every_study_that_matches_in_another_zone(
    first: datetime, minutes: int, later: int, of_query: int, of_study: int | None
) -> None:
    last, stored = first + timedelta(minutes=minutes), first + timedelta(minutes=later)
    date = MatchKey(("00080020",), "DA", f"{first:%Y%m%d}-{last:%Y%m%d}")
    time = MatchKey(("00080030",), "TM", f"{first:%H%M%S}-{last:%H%M%S}")
    semantics = Semantics(zone=timedelta(hours=of_query))
    values = attributes(date=f"{stored:%Y%m%d}", time=f"{stored:%H%M%S}")
    if of_study is not None:
        values["00080201"] = {"vr": "SH", "Value": [f"{of_study:+03}00"]}
    if filter_of([date, time], semantics)(values):
        assert date_key_range(date, time, semantics).holds(search_keys(UID, values).by_date)


def test_a_date_alone_has_a_range_of_keys_as_it_is_stored() -> None:
    date = MatchKey(("00080020",), "DA", "20240131")
    semantics = Semantics(zone=timedelta(hours=1))
    assert date_key_range(date, None, semantics) == date_key_range(date, None)


@given(
    pattern=st.text("aBcÉé1*?\\", min_size=1, max_size=8),
    value=st.text("AbCéÉ1\u017fK", min_size=1, max_size=8),
)
def test_ranges_hold_every_study_whose_patient_id_matches_in_either_case(
    pattern: str, value: str
) -> None:
    semantics = Semantics(caseless=True, multiple_values=True)
    key = MatchKey(("00100020",), "LO", pattern)
    ranges = value_ranges(key, semantics)
    for one, other in itertools.pairwise(ranges):
        assert one.high is not None
        assert one.high < other.low
    if not ranges or not predicate(key, semantics)({"vr": "LO", "Value": [value]}):
        return
    sort_key = search_keys(UID, attributes(patient_id=value)).by_patient_id
    assert sum(each.holds(sort_key) for each in ranges) == 1
    starts = value_starts(key, semantics)
    assert lower_case(sort_key).startswith(starts)


def test_a_long_value_in_either_case_is_looked_for_by_its_first_letters() -> None:
    semantics = Semantics(caseless=True)
    key = MatchKey(("00100020",), "LO", "Anonymous-1")
    assert len(value_ranges(key, semantics)) == 16
    assert value_starts(key, semantics) == ("anonymous-1\x01",)
    assert len(value_ranges(MatchKey(("00100020",), "LO", "0123-45"), semantics)) == 1
    assert value_ranges(MatchKey(("00100020",), "LO", "É1"), semantics) == ()


def test_a_list_of_values_has_a_range_of_each() -> None:
    semantics = Semantics(multiple_values=True)
    assert len(value_ranges(MatchKey(("00100020",), "LO", "A\\B\\A*"), semantics)) == 2
    assert value_ranges(MatchKey(("00100020",), "LO", "A\\*B"), semantics) == ()
