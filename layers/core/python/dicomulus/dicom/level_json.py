"""DICOM JSON objects of search results, with the base URL's placeholder (PS3.18 Annex F)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from dicomulus.dicom.json_members import NESTING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Element = dict[str, Any]
"""One attribute: ``vr`` and at most one of Value, BulkDataURI, InlineBinary."""

_RETRIEVE_URL: Final = "00081190"

_NESTING: Final = NESTING.encode()

_DECODER: Final = json.JSONDecoder(strict=False)

_ENCODER: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


def json_object(elements: Mapping[str, Element], *, retrieve_path: str | None = None) -> bytes:
    """Write elements in ascending order of tags, with RetrieveURL if a path is given.

    The path is below the base URL and percent-encoded; the base URL becomes byte 0x01, which the
    JSON of the elements cannot contain.
    """
    ordered = sorted(elements.items())
    if retrieve_path is None:
        texts = [_members(ordered)]
    else:
        texts = [
            _members([each for each in ordered if each[0] < _RETRIEVE_URL]),
            f'"{_RETRIEVE_URL}":{{"vr":"UR","Value":["\x01{retrieve_path}"]}}',
            _members([each for each in ordered if each[0] > _RETRIEVE_URL]),
        ]
    return b"{" + ",".join(filter(None, texts)).encode("utf-8", "replace") + b"}"


def _members(elements: Iterable[tuple[str, Element]]) -> str:
    # To begin takes an encoder longer than an element does, so it is given all of them at once.
    return _ENCODER.encode(dict(elements))[1:-1]


def parse_json_object(text: bytes | str) -> dict[str, Element]:
    """Read a stored JSON object; a placeholder stays in its strings as U+0001."""
    # A decoder at hand and a text decoded before save half of the time of json.loads.
    source = text.decode() if isinstance(text, bytes) else text
    parsed: dict[str, Element] = _DECODER.decode(source)
    return parsed


class StoredElements(Mapping[str, Element]):
    """The elements of stored objects, parsed when they are asked for.

    A search asks each of very many rows for one or two. Of an element that several objects have,
    that of the last one counts.
    """

    __slots__ = ("_texts", "_whole")

    def __init__(self, *texts: bytes) -> None:
        """Take objects in compact form, as ``json_object`` writes them."""
        self._texts = texts[::-1]
        self._whole: dict[str, Element] | None = None

    def __getitem__(self, tag: str) -> Element:
        """Give an element."""
        element: Element | None = self.get(tag)
        if element is None:
            raise KeyError(tag)
        return element

    def get(self, tag: str, default: Any = None) -> Any:
        """Give an element, or the default where there is none."""
        if self._whole is not None:
            return self._whole.get(tag, default)
        key = f'"{tag}":'.encode()
        for text in self._texts:
            at = text.find(key)
            if at < 0:
                continue
            # Unless there are objects within it, only a member can begin like this.
            if _NESTING in text:
                return self._parsed().get(tag, default)
            return _DECODER.raw_decode(text[at + len(key) :].decode())[0]
        return default

    def __iter__(self) -> Iterator[str]:
        """Go through the tags."""
        return iter(self._parsed())

    def __len__(self) -> int:
        """Count the elements."""
        return len(self._parsed())

    def _parsed(self) -> dict[str, Element]:
        whole = self._whole
        if whole is None:
            whole = self._whole = {}
            for text in reversed(self._texts):
                whole |= parse_json_object(text)
        return whole


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
