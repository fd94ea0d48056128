"""Stored JSON objects whose elements are parsed when they are asked for."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from dicomulus.dicom.json_members import format_members, members
from dicomulus.dicom.level_json import StoredElements, json_object, parse_json_object

_TAGS = ("00080005", "00080061", "00081030", "00081110", "0020000D")

# What might be taken for the beginning of an element if strings were not told apart.
_TRAPS = st.sampled_from(
    ['"00080061":', ',"00081030":{"vr":"SQ"}', "00080061", '"SQ"', "\\", "\x01"]
)
_VALUES = st.lists(st.one_of(st.text(), _TRAPS, st.integers()))
_PLAIN = st.fixed_dictionaries({"vr": st.just("LO")}, optional={"Value": _VALUES})
_SEQUENCES = st.fixed_dictionaries(
    {"vr": st.just("SQ")},
    optional={"Value": st.lists(st.dictionaries(st.sampled_from(_TAGS), _PLAIN))},
)
_OBJECTS = st.dictionaries(st.sampled_from(_TAGS), st.one_of(_PLAIN, _PLAIN, _SEQUENCES))


@given(first=_OBJECTS, second=_OBJECTS, asked=st.permutations([*_TAGS, "00100010"]))
def test_elements_asked_for_one_by_one_are_those_of_the_whole_objects(
    first: dict[str, Any], second: dict[str, Any], asked: list[str]
) -> None:
    texts = json_object(first), json_object(second, retrieve_path="/studies/1.2")
    whole = parse_json_object(texts[0]) | parse_json_object(texts[1])
    stored = StoredElements(*texts)
    assert [stored.get(tag) for tag in asked] == [whole.get(tag) for tag in asked]
    assert [tag for tag in asked if tag in stored] == [tag for tag in asked if tag in whole]
    assert dict(StoredElements(*texts)) == whole
    assert dict(stored) == whole


@given(elements=_OBJECTS)
def test_objects_with_sequences_and_without_are_taken_apart_alike(elements: dict[str, Any]) -> None:
    text = json_object(elements, retrieve_path="/studies/1.2")
    found = members(text)
    assert format_members(found) == text
    assert {tag: parse_json_object(member) for tag, member in found.items()} == parse_json_object(
        text
    )


@given(elements=_OBJECTS, with_url=st.booleans(), path=st.none() | st.just("/studies/1.2"))
def test_objects_are_written_in_order_of_tags_with_one_retrieve_url(
    elements: dict[str, Any], with_url: bool, path: str | None
) -> None:
    """PS3.18 §F.2.2: elements in ascending order; RetrieveURL is the one of the path."""
    given_url = {"00081190": {"vr": "UR", "Value": ["http://elsewhere"]}} if with_url else {}
    url = {"00081190": {"vr": "UR", "Value": [f"\x01{path}"]}} if path else given_url
    text = json_object(elements | given_url, retrieve_path=path)
    whole = parse_json_object(text)
    assert whole == elements | url
    assert list(whole) == sorted(whole)
