"""Byte ranges: which part of a representation a request asks for (RFC 9110 §14)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from dicomulus.errors import RangeNotSatisfiableError
from dicomulus.wire.conditional import is_same_strong

if TYPE_CHECKING:
    from dicomulus.wire.message import Headers

MAX_POSITION_DIGITS: Final = 18
"""Digits of a position: more than any object has bytes, and little enough to compute with."""

_SINGLE: Final = re.compile(
    rf"bytes=[ \t]*(?:([0-9]{{1,{MAX_POSITION_DIGITS}}})-([0-9]{{0,{MAX_POSITION_DIGITS}}})"
    rf"|-([0-9]{{1,{MAX_POSITION_DIGITS}}}))[ \t]*",
    re.ASCII | re.IGNORECASE,
)


class Stretch(NamedTuple):
    """A part of a representation, one byte or more."""

    start: int
    length: int

    def content_range(self, complete_length: int) -> str:
        """Write it as Content-Range does."""
        return f"bytes {self.start}-{self.start + self.length - 1}/{complete_length}"


def wanted_range(headers: Headers, *, etag: str, length: int) -> Stretch | None:
    """Give the part that a GET asks for, none where the whole is to be sent.

    The whole answers what is no range of bytes, what names several of them, and a condition that
    the representation does not meet: each of them may be ignored.

    Args:
        headers: Those of the request.
        etag: The strong entity tag of the representation.
        length: Bytes in the whole representation.

    Raises:
        RangeNotSatisfiableError: The range begins behind the end.
    """
    match = _SINGLE.fullmatch((headers.get("Range") or "").strip())
    if match is None:
        return None
    condition = headers.get("If-Range")
    if condition is not None and not is_same_strong(condition, etag):
        return None
    first, last, suffix = match.groups()
    if suffix is not None:
        return _checked(max(0, length - int(suffix)), length, length)
    if last and int(last) < int(first):
        return None
    return _checked(int(first), int(last) + 1 if last else length, length)


def _checked(start: int, end: int, length: int) -> Stretch:
    if start >= length:
        raise RangeNotSatisfiableError(length)
    return Stretch(start, min(end, length) - start)
