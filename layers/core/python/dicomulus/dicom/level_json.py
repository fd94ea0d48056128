"""DICOM JSON objects of search results, with the base URL's placeholder (PS3.18 Annex F)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Element = dict[str, Any]
"""One attribute: ``vr`` and at most one of Value, BulkDataURI, InlineBinary."""

_RETRIEVE_URL: Final = "00081190"

_ENCODER: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


def json_object(elements: Mapping[str, Element], *, retrieve_path: str | None = None) -> bytes:
    """Write elements in ascending order of tags, with RetrieveURL if a path is given.

    The path is below the base URL and percent-encoded; the base URL becomes byte 0x01, which the
    JSON of the elements cannot contain.
    """
    texts = {tag: _text(element) for tag, element in elements.items()}
    if retrieve_path is not None:
        texts[_RETRIEVE_URL] = f'{{"vr":"UR","Value":["\x01{retrieve_path}"]}}'
    members = ",".join(f'"{tag}":{texts[tag]}' for tag in sorted(texts))
    return b"{" + members.encode("utf-8", "replace") + b"}"


def parse_json_object(text: bytes | str) -> dict[str, Element]:
    """Read a stored JSON object; a placeholder stays in its strings as U+0001."""
    parsed: dict[str, Element] = json.loads(text, strict=False)
    return parsed


def has_value(element: Element | None) -> bool:
    """Whether an attribute says anything."""
    return element is not None and len(element) > 1


def first_known(candidates: Iterable[Mapping[str, Element]]) -> dict[str, Element]:
    """Merge levels: of each attribute the first that has a value, else the first at all."""
    merged: dict[str, Element] = {}
    for elements in candidates:
        for tag, element in elements.items():
            if tag not in merged or (has_value(element) and not has_value(merged[tag])):
                merged[tag] = element
    return merged


def _text(element: Element) -> str:
    return _ENCODER.encode(element)
