"""The members of a stored DICOM JSON object as they are written, to be put together anew."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

_DECODER: Final = json.JSONDecoder(strict=False)
_TAG_LENGTH: Final = 8


_KEY_LENGTH: Final = len('"00080005":')

NESTING: Final = '"SQ"'
"""In every object that has objects with tags of their own within it, and in few others."""

_NEXT_MEMBER: Final = re.compile(r',(?="[0-9A-Fa-f]{8}":)')
"""Between two members: within a string, the quotation marks would be escaped."""


def members(text: bytes) -> dict[str, str]:
    """Give the text of each element of an object in compact form, by tag.

    The texts are slices: the base URL's placeholder and escaped characters stay as they are,
    which parsing and writing again would confuse.
    """
    return {tag: member[_KEY_LENGTH:] for tag, member in tagged_members(text).items()}


def tagged_members(text: bytes) -> dict[str, str]:
    """Give what ``members`` gives, each with its tag before it."""
    source = text.decode()
    if NESTING not in source:
        return {m[1 : 1 + _TAG_LENGTH]: m for m in _NEXT_MEMBER.split(source[1:-1]) if m}
    found: dict[str, str] = {}
    position = 1
    while position < len(source) - 1:
        tag = source[position + 1 : position + 1 + _TAG_LENGTH]
        _, end = _DECODER.raw_decode(source, position + _KEY_LENGTH)
        found[tag] = source[position:end]
        position = end + 1
    return found


def join_tagged(parts: Mapping[str, str]) -> str:
    """Write an object of texts with their tags, in ascending order of tags."""
    return "{" + ",".join(parts[tag] for tag in sorted(parts)) + "}"


def format_members(parts: Mapping[str, str]) -> bytes:
    """Write an object of such texts, in ascending order of tags."""
    return ("{" + ",".join(f'"{tag}":{parts[tag]}' for tag in sorted(parts)) + "}").encode()
