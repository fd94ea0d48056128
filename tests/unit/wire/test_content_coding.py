"""The choice of a content coding."""

from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicomulus.wire.content_coding import ContentCoding, negotiate


@pytest.mark.parametrize(
    ("accept_encoding", "coding"),
    [
        (None, "identity"),
        ("", "identity"),
        ("gzip", "gzip"),
        ("GZIP", "gzip"),
        ("x-gzip", "gzip"),
        ("gzip, deflate, br, zstd", "zstd"),
        ("gzip, deflate", "gzip"),
        ("gzip;q=1.0, zstd;q=0.5", "gzip"),
        ("gzip;q=0.5, zstd ; q=0.5", "zstd"),
        ("gzip;q=0", "identity"),
        ("gzip;q=0, *", "identity"),
        ("*", "gzip"),
        ("*;q=0.1", "gzip"),
        ("identity, *;q=0.1", "identity"),
        ("identity;q=0.2, gzip;q=0.5", "gzip"),
        ("identity;q=0", "identity"),
        ("br", "identity"),
        ("gzip;q=x", "identity"),
        ("gzip;q=2", "identity"),
        ("gzip;q=nan", "identity"),
        ("gzip;v=1", "identity"),
        ("gzip, identity", "gzip"),
    ],
)
def test_the_client_chooses(accept_encoding: str | None, coding: str) -> None:
    """RFC 9110 §12.5.3; zstd has to be named, since clients send * and know only gzip."""
    assert negotiate(accept_encoding, ("zstd", "gzip")) == coding


def test_what_there_is_not_is_not_chosen() -> None:
    assert negotiate("zstd, gzip;q=0.1", ("gzip",)) == "gzip"
    assert negotiate("zstd, gzip", ()) == "identity"


@given(st.text())
def test_any_header_gets_an_answer(text: str) -> None:
    assert negotiate(text, ("zstd", "gzip")) in get_args(ContentCoding)
