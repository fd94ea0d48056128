from __future__ import annotations

from typing import Any

import pytest

from dicomulus.dicom.json_model import (
    first_value,
    integer_of,
    items,
    person_name_groups,
    text_of,
    texts,
    values,
    vr_of_attribute,
)

_NAME = {"Alphabetic": "Doe^John", "Phonetic": "P"}
_ATTRIBUTES: dict[str, Any] = {
    "00080008": {"vr": "CS", "Value": ["ORIGINAL", None, "AXIAL"]},
    "00081140": {"vr": "SQ", "Value": [{"00081155": {"vr": "UI", "Value": ["1.2"]}}, {}]},
    "00100010": {"vr": "PN", "Value": [_NAME]},
    "00100020": {"vr": "LO"},
    "00200013": {"vr": "IS", "Value": [7]},
    "7FE00010": {"vr": "OW", "BulkDataURI": "x"},
}


def test_values_are_those_that_are_inline() -> None:
    assert values(_ATTRIBUTES, "00080008") == ("ORIGINAL", None, "AXIAL")
    for tag in ("00100020", "7FE00010", "00400001"):
        assert values(_ATTRIBUTES, tag) == ()
        assert first_value(_ATTRIBUTES, tag) is None
        assert text_of(_ATTRIBUTES, tag) == ""


def test_values_are_written_as_text() -> None:
    assert texts(_ATTRIBUTES, "00080008") == ("ORIGINAL", "", "AXIAL")
    assert text_of(_ATTRIBUTES, "00100010") == "Doe^John==P"
    assert text_of(_ATTRIBUTES, "00200013") == "7"


@pytest.mark.parametrize(
    ("value", "groups"),
    [
        (_NAME, ("Doe^John", "", "P")),
        ("Doe^John", ("Doe^John", "", "")),
        ({"Alphabetic": None}, ("", "", "")),
        (None, ("", "", "")),
        (5, ("", "", "")),
    ],
)
def test_person_names_have_three_groups(value: object, groups: tuple[str, str, str]) -> None:
    assert person_name_groups(value) == groups


@pytest.mark.parametrize(
    ("value", "number"),
    [(7, 7), ("7", 7), (7.0, 7), (7.5, None), ("7A", None), (None, None), (True, None), ({}, None)],
)
def test_whole_numbers_may_be_written_as_strings(value: object, number: int | None) -> None:
    assert integer_of({"00200013": {"vr": "IS", "Value": [value]}}, "00200013") == number


def test_items_are_data_sets() -> None:
    first, second = items(_ATTRIBUTES, "00081140")
    assert text_of(first, "00081155") == "1.2"
    assert second == {}
    assert items(_ATTRIBUTES, "00080008") == ()


def test_the_vr_is_empty_where_there_is_none() -> None:
    assert vr_of_attribute(_ATTRIBUTES, "00100010") == "PN"
    assert vr_of_attribute(_ATTRIBUTES, "00400001") == ""
    assert vr_of_attribute({"00100010": "odd"}, "00100010") == ""
