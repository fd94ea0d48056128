"""Entity tags."""

from __future__ import annotations

import pytest

from dicomulus.wire.conditional import format_etag, is_not_modified


@pytest.mark.parametrize(
    "if_none_match",
    ['"a"', 'W/"a"', '"b", "a"', '"b","a"', '"b" , W/"a"', "*", " * ", '"x,y", "a"'],
)
def test_a_named_tag_is_not_modified(if_none_match: str) -> None:
    """RFC 9110 §13.1.2: by weak comparison."""
    assert is_not_modified(if_none_match, '"a"')


@pytest.mark.parametrize("if_none_match", [None, "", '"b"', "a", '"A"', '"b, a"', '"a', "**"])
def test_another_tag_or_none_is_modified(if_none_match: str | None) -> None:
    assert not is_not_modified(if_none_match, '"a"')


def test_a_weak_tag_of_ours_compares_too() -> None:
    assert is_not_modified('"a"', 'W/"a"')


def test_a_tag_is_quoted() -> None:
    assert format_etag("1-gzip") == '"1-gzip"'


@pytest.mark.parametrize("opaque", ['"', "a b", "\n", "\u20ac"])
def test_what_no_tag_may_hold_is_refused(opaque: str) -> None:
    with pytest.raises(ValueError, match="entity tag"):
        format_etag(opaque)
