"""Members of a stored DICOM JSON object, as they are written."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from dicomulus.dicom.json_members import format_members, members
from dicomulus.dicom.level_json import json_object

_VALUES = st.lists(st.text() | st.integers() | st.floats(allow_nan=False, allow_infinity=False))
_ELEMENTS = st.fixed_dictionaries({"vr": st.just("LO")}, optional={"Value": _VALUES})
_OBJECTS = st.dictionaries(st.sampled_from(["00080005", "00081030", "0020000D"]), _ELEMENTS)


@given(elements=_OBJECTS, retrieve_path=st.none() | st.just("/studies/1.2"))
def test_what_is_taken_apart_is_put_together_byte_for_byte(
    elements: dict[str, dict[str, Any]], retrieve_path: str | None
) -> None:
    text = json_object(elements, retrieve_path=retrieve_path)
    assert format_members(members(text)) == text


def test_each_member_is_the_text_of_its_element() -> None:
    parts = members(b'{"00080005":{"vr":"CS"},"00081030":{"vr":"LO","Value":["a},\\"b"]}}')
    assert list(parts) == ["00080005", "00081030"]
    assert json.loads(parts["00081030"]) == {"vr": "LO", "Value": ['a},"b']}


def test_members_are_put_in_order_of_their_tags() -> None:
    assert format_members({"00100020": "{}", "00080005": "{}"}) == b'{"00080005":{},"00100020":{}}'
