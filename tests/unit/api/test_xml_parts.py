"""Answers of several Native DICOM Model documents (PS3.18 §8.7.3.2)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from hypothesis import given
from hypothesis import strategies as st

from dicomulus.api.xml_parts import xml_response
from dicomulus.wire.message import Headers, Request
from tests.support.archives import body_of
from tests.support.native_model import data_sets_of, documents_of

if TYPE_CHECKING:
    from dicomulus.wire.message import Response

BOUNDARY = b"dicom--xml"
WORDS = st.lists(
    st.sampled_from(["dicom--xml", "--dicom--xml--", "\r\n", "--", "-", "<", "&#45;", "x"]),
    min_size=1,
)


def with_text(*texts: str) -> list[bytes]:
    """Give DICOM JSON objects with a text each."""
    elements: list[Any] = [{"00104000": {"vr": "LT", "Value": [text]}} for text in texts]
    return [json.dumps(each).encode() for each in elements]


def ask(objects: list[bytes], **headers: str) -> Response:
    lines = {name.replace("_", "-"): value for name, value in headers.items()}
    request = Request("GET", "/", headers=Headers.of(lines))
    return xml_response(request, objects, headers=(("Warning", "299"),))


def test_each_object_is_a_part() -> None:
    response = ask(with_text("one", "two"))
    found = [each["00104000"]["Value"] for each in data_sets_of(response)]
    assert found == [["one"], ["two"]]
    assert response.header("Warning") == "299"
    assert response.header("Vary") == "Accept, Accept-Encoding"
    assert response.header("Cache-Control") == "private, no-cache"


@given(st.lists(WORDS.map("".join), max_size=3))
def test_no_value_ends_a_part(texts: list[str]) -> None:
    """RFC 2046 §5.1.1: the boundary must not occur in the parts, wherever a client looks for it."""
    response = ask(with_text(*texts))
    assert body_of(response).count(BOUNDARY) == len(texts) + 1
    assert all(BOUNDARY not in document for document in documents_of(response))
    assert [each["00104000"]["Value"] for each in data_sets_of(response)] == [[t] for t in texts]


def test_no_object_is_the_closing_boundary_alone() -> None:
    assert body_of(ask([])) == b"--dicom--xml--\r\n"
    assert documents_of(ask([])) == []


def test_what_the_client_has_is_not_sent_again() -> None:
    etag = str(ask(with_text("one")).header("ETag"))
    assert ask(with_text("one"), If_None_Match=etag).status == 304
    assert ask(with_text("two"), If_None_Match=etag).status == 200


def test_long_answers_are_compressed_for_clients_that_take_it() -> None:
    response = ask(with_text("long" * 1_000), Accept_Encoding="gzip")
    assert response.header("Content-Encoding") == "gzip"
    assert len(body_of(response)) < 1_000
    assert len(data_sets_of(response)) == 1
