"""The archive's matching against the reference matcher, on what files and viewers make up."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import assume, event, given
from hypothesis import strategies as st

from dicomulus.dicom.query import ALL_INSTANCES, Level, parse_search
from dicomulus.errors import InvalidQueryError
from tests.support.reference_matcher import matches
from tests.support.search_strategies import KINDS, entities_about, parameters, searches

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
