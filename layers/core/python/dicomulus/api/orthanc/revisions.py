"""Revisions of attachments and metadata, as entity tags: the number, a hyphen and the MD5."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from dicomulus.errors import InvalidHeaderError
from dicomulus.wire.conditional import is_not_modified

if TYPE_CHECKING:
    from dicomulus.wire.message import Request

_REVISION: Final = re.compile(r'"?(?P<number>[0-9]{1,18})-(?P<md5>[0-9A-Za-z]*)"?')


def revision_etag(number: int, md5: str) -> str:
    """Write a revision as an entity tag."""
    return f'"{number}-{md5}"'


def expected_revision(request: Request) -> tuple[int, str] | None:
    """Give number and MD5 that If-Match names, with or without quotation marks.

    Raises:
        InvalidHeaderError: It names no revision.
    """
    text = request.headers.get("If-Match")
    if text is None:
        return None
    match = _REVISION.fullmatch(text.strip())
    if match is None:
        raise InvalidHeaderError("If-Match", "is no revision: a number, a hyphen and an MD5")
    return int(match["number"]), match["md5"]


def is_known_revision(request: Request, etag: str) -> bool:
    """Tell whether If-None-Match names a revision, with or without quotation marks."""
    text = request.headers.get("If-None-Match")
    return text is not None and (text.strip() == etag.strip('"') or is_not_modified(text, etag))
