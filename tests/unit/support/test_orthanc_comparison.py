"""The comparison of two servers' answers finds what differs, and no rule hides more than it says."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.orthanc_comparison import Answer, differences, dropped
from tests.support.orthanc_differences import DIFFERENCES
from tests.support.orthanc_questions import Question

UUID = "5f2a3f7e-5d0e-4c5b-9b53-0b1c8a3f6c11"
OTHER_UUID = "0b1c8a3f-5d0e-4c5b-9b53-5f2a3f7e6c12"


def answer(body: Any, *, status: int = 200, content_type: str = "application/json") -> Answer:
    return Answer(status, content_type, {"ETag": '"0-x"'}, body)


def found(theirs: Answer, ours: Answer, path: str = "/studies/x") -> list[str]:
    return differences(theirs, ours, Question(path), rules=DIFFERENCES)


def test_equal_answers_have_no_differences() -> None:
    assert found(answer({"a": [1, "2"]}), answer({"a": [1, "2"]})) == []


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ({"a": 1}, {"a": "1"}),
        ({"a": 1}, {"a": True}),
        ({"a": 1}, {"a": 1.0}),
        ({"a": [1, 2]}, {"a": [2, 1]}),
        ({"a": [1, 2]}, {"a": [1]}),
        ({"a": None}, {}),
        ({}, {"a": None}),
        ({"a": {"b": "x"}}, {"a": {"b": "y"}}),
        ([], {}),
        (b"x", b"y"),
    ],
)
def test_types_order_and_presence_of_values_count(theirs: Any, ours: Any) -> None:
    assert found(answer(theirs), answer(ours))


def test_status_content_type_and_headers_count() -> None:
    assert found(answer({}), answer({}, status=201)) == ["status 200, ours 201"]
    assert len(found(answer({}), answer({}, content_type="text/plain"))) == 1
    assert len(found(answer({}), Answer(200, "application/json", {}, {}))) == 1


def test_dates_differ_but_must_be_dates() -> None:
    theirs = answer({"LastUpdate": "20260101T101112"})
    assert found(theirs, answer({"LastUpdate": "20270101T000000"})) == []
    assert found(theirs, answer({"LastUpdate": "2027-01-01"}))
    assert found(theirs, answer({"LastUpdate": None}))
    assert found(theirs, answer({}))


def test_names_of_files_differ_but_must_be_uuids() -> None:
    assert found(answer({"FileUuid": UUID}), answer({"FileUuid": OTHER_UUID})) == []
    assert found(answer({"FileUuid": UUID}), answer({"FileUuid": "one"}))


def test_what_is_dropped_is_so_at_any_depth_and_from_lists_of_names() -> None:
    body = {"a": {"b": 1, "c": 2}, "names": ["b", "d"]}
    one, other = dropped("b")(answer(body), answer({"b": 1}))
    assert (one.body, other.body) == ({"a": {"c": 2}, "names": ["d"]}, {})
