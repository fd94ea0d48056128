"""The opaque token of a next link: where a page ended, and of which search."""

from __future__ import annotations

import binascii
import hashlib
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import TYPE_CHECKING, Final

from dicomulus.errors import InvalidQueryError

if TYPE_CHECKING:
    from dicomulus.dicom.query import Query
    from dicomulus.services.search_steps import Position

_REVISION: Final = 1
_PARAMETER: Final = "page"
_SCALARS: Final = (bool, int, float, str)


def format_token(position: Position, query: Query, *, of: str) -> str:
    """Write a token.

    Args:
        position: Where the page ended.
        query: The search.
        of: What is searched in, such as the study.
    """
    text = json.dumps([_REVISION, _digest(query, of), list(position)], separators=(",", ":"))
    return urlsafe_b64encode(text.encode()).decode().rstrip("=")


def parse_token(query: Query, *, of: str) -> Position | None:
    """Read the token that a search begins with; none if it begins at the start.

    Raises:
        InvalidQueryError: It is none, or of another search.
    """
    if not query.page:
        return None
    content = _decode(query.page)
    if not isinstance(content, list) or content[:2] != [_REVISION, _digest(query, of)]:
        raise InvalidQueryError(_PARAMETER, "belongs to another search; begin it again without")
    position = content[2] if len(content) == 3 else None
    if not isinstance(position, list) or not all(isinstance(p, _SCALARS) for p in position):
        raise InvalidQueryError(_PARAMETER, "is not the token of a next link")
    return tuple(position)


def check_shape(position: Position | None, *shape: type) -> None:
    """Refuse a position that is none of this kind of search.

    Raises:
        InvalidQueryError: Its parts are not of these types.
    """
    if position is not None and tuple(map(type, position)) != shape:
        raise InvalidQueryError(_PARAMETER, "is not the token of a next link")


def _decode(token: str) -> object:
    try:
        padded = token.encode("ascii") + b"=" * (-len(token) % 4)
        content: object = json.loads(urlsafe_b64decode(padded))
        json.dumps(content, ensure_ascii=False).encode()  # half a character is in no key
    except (ValueError, binascii.Error, RecursionError) as exc:
        raise InvalidQueryError(_PARAMETER, "is not the token of a next link") from exc
    return content


def _digest(query: Query, of: str) -> str:
    """Tell searches apart; how much of each match is returned, and how many, is no matter."""
    keys = sorted((key.path, key.creators, key.value) for key in query.keys)
    asked = () if query.labels is None else (query.labels,)
    told = (query.resource, keys, query.semantics, query.order, of, *asked)
    return hashlib.blake2b(repr(told).encode(), digest_size=8).hexdigest()
