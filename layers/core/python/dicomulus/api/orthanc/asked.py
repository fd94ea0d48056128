"""What the queries of Orthanc's REST API ask for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dicomulus.dicom.orthanc_tags import TagFormat, parse_tag
from dicomulus.errors import InvalidQueryError

if TYPE_CHECKING:
    from dicomulus.wire.message import Request

_TRUE: Final = frozenset({"", "1", "true"})
_FALSE: Final = frozenset({"0", "false"})
_LARGEST: Final = 2**63 - 1


def has_flag(request: Request, name: str, *, default: bool = False) -> bool:
    """Tell whether a parameter without value, or with a true one, is there.

    Raises:
        InvalidQueryError: Its value is neither true nor false.
    """
    value = request.parameter(name)
    if value is None:
        return default
    if value.lower() in _TRUE:
        return True
    if value.lower() in _FALSE:
        return False
    raise InvalidQueryError(name, "is neither true nor false")


def tag_format(request: Request, default: TagFormat) -> TagFormat:
    """Give the form in which tags are asked for."""
    for each in (TagFormat.HUMAN, TagFormat.SHORT, TagFormat.FULL):
        if request.parameter(each.value) is not None:
            return each
    return default


def requested_tags(request: Request) -> tuple[str, ...]:
    """Give the tags that are to be told besides.

    Raises:
        InvalidQueryError: One of them is no attribute.
    """
    for name in ("requested-tags", "requestedTags"):
        if text := request.parameter(name):
            return parse_tags(name, text.split(";"))
    return ()


def parse_tags(name: str, texts: list[str]) -> tuple[str, ...]:
    """Read tags or keywords.

    Raises:
        InvalidQueryError: One of them is no attribute.
    """
    found: list[str] = []
    for text in texts:
        tag = parse_tag(text.strip())
        if tag is None:
            raise InvalidQueryError(name, f"{text!r} is neither a tag nor a keyword")
        found.append(tag)
    return tuple(found)


def window(request: Request) -> tuple[int, int | None]:
    """Give where a list begins, and how many it has at most; 0 asks for all of them.

    Raises:
        InvalidQueryError: One of both is missing, or no whole number.
    """
    if request.parameter("since") is None and request.parameter("limit") is None:
        return 0, None
    return _count(request, "since"), _count(request, "limit") or None


def _count(request: Request, name: str) -> int:
    text = request.parameter(name)
    if text is None:
        raise InvalidQueryError(name, "is needed beside the other of since and limit")
    count = whole_number(text, most=_LARGEST)
    if count is None:
        raise InvalidQueryError(name, "is no whole number")
    return count


def whole_number(text: str, *, most: int) -> int | None:
    """Read a number from 0 that is written in digits; none for another text, or a larger number."""
    if not (text.isascii() and text.isdigit()):
        return None
    digits = text.lstrip("0") or "0"
    # Not of any length: Python refuses to convert thousands of digits.
    is_small = len(digits) <= len(str(most)) and int(digits) <= most
    return int(digits) if is_small else None
