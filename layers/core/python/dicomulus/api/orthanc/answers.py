"""Answers of Orthanc's REST API: JSON, and texts of one value."""

from __future__ import annotations

import json
from http import HTTPStatus
from itertools import chain, islice
from typing import TYPE_CHECKING, Final

from dicomulus.wire.message import Response

if TYPE_CHECKING:
    from collections.abc import Iterator

JSON: Final = "application/json; charset=utf-8"
TEXT: Final = "text/plain"

_ITEMS_PER_CHUNK: Final = 200
"""Items of an array that are written at a time."""

_HEADERS: Final = (("Content-Type", JSON), ("Cache-Control", "private, no-cache"))
_ENCODER: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


def json_response(value: object, *headers: tuple[str, str]) -> Response:
    """Answer with a value as JSON."""
    return bytes_response(_ENCODER.encode(value).encode("utf-8", "replace"), JSON, *headers)


def text_response(text: str, *headers: tuple[str, str]) -> Response:
    """Answer with a text."""
    return bytes_response(text.encode("utf-8", "replace"), TEXT, *headers)


def bytes_response(content: bytes, content_type: str, *headers: tuple[str, str]) -> Response:
    """Answer with bytes, which nobody keeps without asking again."""
    kept = (("Content-Type", content_type), ("Cache-Control", "private, no-cache"))
    return Response(HTTPStatus.OK, (*kept, *headers), content)


def array_response(items: Iterator[object]) -> Response:
    """Answer with a JSON array, whose first items are made before the answer begins."""
    return Response(HTTPStatus.OK, _HEADERS, _begun(_array(items)))


def object_response(members: Iterator[tuple[str, object]]) -> Response:
    """Answer with a JSON object, as ``array_response`` does with an array."""
    return Response(HTTPStatus.OK, _HEADERS, _begun(_object(members)))


def _object(members: Iterator[tuple[str, object]]) -> Iterator[bytes]:
    before = b"{"
    for name, value in members:
        text = f"{_ENCODER.encode(name)}:{_ENCODER.encode(value)}"
        yield before + text.encode("utf-8", "replace")
        before = b","
    yield b"{}" if before == b"{" else b"}"


def _array(items: Iterator[object]) -> Iterator[bytes]:
    before = b"["
    while batch := list(islice(items, _ITEMS_PER_CHUNK)):
        text = _ENCODER.encode(batch)[1:-1]
        yield before + text.encode("utf-8", "replace")
        before = b","
    yield b"[]" if before == b"[" else b"]"


def _begun(chunks: Iterator[bytes]) -> Iterator[bytes]:
    return chain([next(chunks)], chunks)
