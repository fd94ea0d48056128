"""The place of the base URL in stored DICOM JSON text."""

from __future__ import annotations

from typing import Final

PLACEHOLDER: Final = b"\x01"
"""Stands for the base URL. JSON escapes control characters, so no value can contain this byte."""


def resolve(text: bytes, base_url: str) -> bytes:
    """Put the base URL, which needs no JSON escaping, where the text refers to this server."""
    return text.replace(PLACEHOLDER, base_url.encode("ascii"))
