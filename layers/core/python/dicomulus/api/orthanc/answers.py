"""Answers of Orthanc's REST API: JSON, and texts of one value."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from dicomulus.wire.message import Response

if TYPE_CHECKING:
    from dicomulus.wire.message import Request

JSON: Final = "application/json"
TEXT: Final = "text/plain"

_ENCODER: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))
_TRUE: Final = frozenset({"", "1", "true"})


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


def has_flag(request: Request, name: str) -> bool:
    """Tell whether a query asks for something by a parameter without value, or with a true one."""
    value = request.parameter(name)
    return value is not None and value.lower() in _TRUE
