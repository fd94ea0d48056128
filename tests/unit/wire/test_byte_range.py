"""Which part of a representation is asked for (RFC 9110 §14)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicomulus.errors import RangeNotSatisfiableError
from dicomulus.wire.byte_range import Stretch, wanted_range
from dicomulus.wire.conditional import fails_if_match
from dicomulus.wire.message import Headers

ETAG = '"abc"'


def wanted(
    value: str | None, *, length: int = 1_000, if_range: str | None = None
) -> Stretch | None:
    lines = {"Range": value, "If-Range": if_range}
    headers = Headers.of({name: text for name, text in lines.items() if text is not None})
    return wanted_range(headers, etag=ETAG, length=length)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("bytes=0-0", (0, 1)),
        ("bytes=0-499", (0, 500)),
        ("bytes=500-", (500, 500)),
        ("bytes=999-", (999, 1)),
        ("bytes=-1", (999, 1)),
        ("bytes=-500", (500, 500)),
        ("bytes=-5000", (0, 1_000)),
        ("bytes=990-5000", (990, 10)),
        ("bytes=000-0001", (0, 2)),
        ("BYTES=0-0", (0, 1)),
        (" bytes= 1-2 ", (1, 2)),
    ],
)
def test_one_range(value: str, expected: tuple[int, int]) -> None:
    assert wanted(value) == expected


@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        "bytes",
        "bytes=",
        "bytes=-",
        "bytes=a-b",
        "bytes=5-2",
        "bytes=1-2,5-6",
        "bytes=2",
        "bytes=+1-2",
        "bytes=\u0661-\u0662",
        "bytes=0x1-2",
        "lines=0-1",
        "bytes=" + "9" * 5_000 + "-",
    ],
)
def test_what_is_no_single_range_of_bytes_asks_for_the_whole(value: str | None) -> None:
    """RFC 9110 §14.2: such a header may be ignored."""
    assert wanted(value) is None


@pytest.mark.parametrize(
    "value", ["bytes=1000-", "bytes=1000-2000", "bytes=-0", "bytes=" + "9" * 18 + "-"]
)
def test_a_range_behind_the_end_is_refused_with_the_length(value: str) -> None:
    with pytest.raises(RangeNotSatisfiableError) as caught:
        wanted(value)
    assert caught.value.complete_length == 1_000


@pytest.mark.parametrize("value", ["bytes=0-", "bytes=-1", "bytes=0-0"])
def test_of_nothing_there_is_no_part(value: str) -> None:
    with pytest.raises(RangeNotSatisfiableError):
        wanted(value, length=0)


@pytest.mark.parametrize(
    ("condition", "is_met"),
    [
        (ETAG, True),
        (f" {ETAG} ", True),
        ('"other"', False),
        (f"W/{ETAG}", False),
        ("Sat, 28 Nov 2026 12:00:00 GMT", False),
        ("", False),
    ],
)
def test_a_part_is_of_the_representation_that_if_range_names(condition: str, is_met: bool) -> None:
    """RFC 9110 §13.1.5: by strong comparison; no date of an object is told."""
    found = wanted("bytes=0-0", if_range=condition)
    assert (found is not None) == is_met


def test_a_range_that_if_range_takes_back_cannot_be_behind_the_end() -> None:
    assert wanted("bytes=5000-", if_range='"other"') is None


@given(
    length=st.integers(1, 5_000),
    first=st.integers(0, 6_000),
    last=st.one_of(st.none(), st.integers(0, 6_000)),
)
def test_a_part_lies_within_the_whole(length: int, first: int, last: int | None) -> None:
    value = f"bytes={first}-{'' if last is None else last}"
    try:
        found = wanted(value, length=length)
    except RangeNotSatisfiableError:
        assert first >= length
        return
    if found is None:
        assert last is not None
        assert last < first
        return
    content = bytes(length)
    assert found.start == first
    assert len(content[found.start : found.start + found.length]) == found.length > 0


@pytest.mark.parametrize(
    ("if_match", "fails"),
    [
        (None, False),
        ("*", False),
        (ETAG, False),
        (f'"x", {ETAG}', False),
        ('"x"', True),
        (f"W/{ETAG}", True),
        ("nonsense", True),
    ],
)
def test_if_match_names_the_tag_or_fails(if_match: str | None, fails: bool) -> None:
    """RFC 9110 §13.1.1: by strong comparison."""
    assert fails_if_match(if_match, ETAG) == fails
