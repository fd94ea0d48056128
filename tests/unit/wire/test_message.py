"""Requests and responses as values."""

from __future__ import annotations

from urllib.parse import quote, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicomulus.errors import InvalidHeaderError, InvalidRequestError
from dicomulus.wire.message import (
    MAX_QUERY_PARAMETERS,
    Headers,
    Request,
    Response,
    parse_query,
    parse_segments,
)

# Text that UTF-8 can carry: no surrogates.
texts = st.text(st.characters(exclude_categories=["Cs"]))


@given(st.lists(texts.filter(bool), min_size=1))
def test_a_path_gives_back_the_segments_it_was_made_of(segments: list[str]) -> None:
    path = "/" + "/".join(quote(segment, safe="") for segment in segments)
    assert parse_segments(path) == tuple(segments)
    assert parse_segments(path + "/") == tuple(segments)


def test_an_encoded_slash_separates_nothing() -> None:
    request = Request("GET", "/dicom-web/studies/1.2%2F3")
    assert request.segments == ("dicom-web", "studies", "1.2/3")


def test_the_root_has_no_segments() -> None:
    assert parse_segments("/") == ()
    assert parse_segments("") == ()


@given(st.lists(st.tuples(texts, texts)))
def test_a_query_gives_back_the_pairs_it_was_made_of(pairs: list[tuple[str, str]]) -> None:
    """Repeated and empty ones in order, as includefield is sent."""
    assert parse_query(urlencode(pairs)) == tuple(pairs)


@pytest.mark.parametrize("text", ["PatientName=%E4", "%FF=1"])
def test_a_query_that_is_not_utf8_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequestError):
        parse_query(text)


def test_a_path_that_is_not_utf8_is_refused() -> None:
    with pytest.raises(InvalidRequestError):
        parse_segments("/studies/%E4")


def test_a_query_of_too_many_parameters_is_refused() -> None:
    assert len(parse_query("&".join(["a=1"] * MAX_QUERY_PARAMETERS))) == MAX_QUERY_PARAMETERS
    with pytest.raises(InvalidRequestError):
        parse_query("&".join(["a=1"] * (MAX_QUERY_PARAMETERS + 1)))


def test_header_names_compare_without_case() -> None:
    headers = Headers.of({"Content-Type": "a/b"})
    assert headers.get("content-TYPE") == "a/b"
    assert "CONTENT-type" in headers
    assert "Accept" not in headers
    assert headers.get("Accept", "*/*") == "*/*"


def test_header_lines_of_one_name_are_one_list() -> None:
    """RFC 9110 §5.3."""
    headers = Headers((("Accept", "a/b"), ("Host", "x"), ("accept", "c/d")))
    assert headers.get("Accept") == "a/b, c/d"
    assert headers.get_all("Accept") == ("a/b", "c/d")
    assert list(headers) == list(headers.lines)


def test_the_last_of_a_repeated_parameter_counts_where_one_is_asked_for() -> None:
    request = Request("GET", "/", query=(("limit", "1"), ("a", ""), ("limit", "2")))
    assert request.parameter("limit") == "2"
    assert request.parameters("limit") == ("1", "2")
    assert request.parameter("a") == ""
    assert request.parameter("b") is None


@pytest.mark.parametrize("value", ["x", "-1", "1, 1", "²", ""])
def test_a_content_length_that_is_no_number_is_refused(value: str) -> None:
    with pytest.raises(InvalidHeaderError):
        _ = Request("POST", "/", headers=Headers.of({"Content-Length": value})).content_length


def test_a_body_in_chunks_has_no_announced_length() -> None:
    assert Request("POST", "/").content_length is None
    assert Request("POST", "/", headers=Headers.of({"content-length": "7"})).content_length == 7


def test_a_response_knows_the_length_of_bytes() -> None:
    assert Response(200, body=b"abc").length == 3
    assert Response(200, body=iter([b"abc"])).length is None
    assert Response(200, body=iter([b"abc"]), content_length=3).length == 3


def test_headers_are_added_after_the_present_ones() -> None:
    response = Response(200, (("Vary", "Accept"),)).with_headers(
        ("Vary", "Origin"), ("ETag", '"1"')
    )
    assert response.header("vary") == "Accept, Origin"
    assert response.header("etag") == '"1"'
