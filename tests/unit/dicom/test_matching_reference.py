"""The archive's matching against the reference matcher, on what files and viewers make up."""

# ruff: noqa: DTZ001 - of zones that only the query and the study know

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import assume, event, given
from hypothesis import strategies as st

from dicomulus.dicom.query import ALL_INSTANCES, STUDIES, Level, parse_search
from dicomulus.errors import InvalidQueryError
from tests.support.reference_matcher import matches
from tests.support.search_strategies import KINDS, ZONES, entities_about, parameters, searches

if TYPE_CHECKING:
    from dicomulus.dicom.query import Query, SearchResource
    from tests.support.search_strategies import Elements, Parameters


def parsed(resource: SearchResource, asked: Parameters) -> Query:
    try:
        return parse_search(asked, resource)
    except InvalidQueryError:
        event("refused")
        assume(False)
        raise


def found(study: Elements, series: Elements, instance: Elements, query: Query) -> bool:
    entities = {Level.STUDY: study, Level.SERIES: series, Level.INSTANCE: instance}
    tests = {level: query.filter_at(level) for level in entities}
    return all(test is None or test(entities[level]) for level, test in tests.items())


def check(data: st.DataObject, resource: SearchResource, asked: Parameters) -> None:
    query = parsed(resource, asked)
    study, series, instance = data.draw(entities_about(asked))
    expected = matches(study, series, instance, query)
    event(f"matches: {expected}")
    assert found(study, series, instance, query) == expected


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
def test_a_key_finds_what_the_words_of_the_standard_say(kind: str, data: st.DataObject) -> None:
    """PS3.4 §C.2.2.2."""
    check(data, ALL_INSTANCES, data.draw(parameters(ALL_INSTANCES, most=1, kinds=[kind])))


@given(data=st.data(), search=searches())
def test_keys_together_find_what_the_words_of_the_standard_say(
    data: st.DataObject, search: tuple[SearchResource, Parameters]
) -> None:
    check(data, *search)


@given(
    low=st.datetimes(datetime(2023, 12, 30), datetime(2024, 3, 2)),
    minutes=st.integers(0, 3_000),
    behind=st.integers(-1_800, 4_800),
    of_query=st.sampled_from(ZONES),
    of_study=st.sampled_from(ZONES) | st.none(),
)
def test_ranges_are_of_the_zone_of_the_query(
    low: datetime, minutes: int, behind: int, of_query: str, of_study: str | None
) -> None:
    """PS3.18 §8.3.4, by the clock: both are put into UTC."""
    low = low.replace(second=0, microsecond=0)
    high, stored = low + timedelta(minutes=minutes), low + timedelta(minutes=behind)
    asked = (
        ("StudyDate", f"{low:%Y%m%d}-{high:%Y%m%d}"),
        ("StudyTime", f"{low:%H%M}-{high:%H%M}"),
        ("TimezoneOffsetFromUTC", of_query),
    )
    study: Elements = {
        "00080020": {"vr": "DA", "Value": [f"{stored:%Y%m%d}"]},
        "00080030": {"vr": "TM", "Value": [f"{stored:%H%M}"]},
    }
    if of_study is not None:
        study["00080201"] = {"vr": "SH", "Value": [of_study]}
    apart = minutes_ahead(of_study or of_query) - minutes_ahead(of_query)
    expected = 0 <= behind - apart <= minutes
    query = parsed(STUDIES, asked)
    assert matches(study, {}, {}, query) == expected
    assert found(study, {}, {}, query) == expected


def minutes_ahead(zone: str) -> int:
    return int(zone[0] + "1") * (60 * int(zone[1:3]) + int(zone[3:]))
