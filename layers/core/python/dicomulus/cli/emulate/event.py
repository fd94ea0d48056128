"""A request as the event that a function is handed, and as the request that comes of it there."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

from dicomulus.adapters.aws.gateway_rules import BINARY_MEDIA_TYPES, is_binary

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from dicomulus.wire.message import Request

# Those of one connection only, and what the gateway's own edge has dealt with.
_NOT_FORWARDED: Final = frozenset(
    {
        "connection",
        "content-length",
        "expect",
        "keep-alive",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)

_CONTEXT: Final = {
    "accountId": "123456789012",
    "apiId": "emulated00",
    "domainName": "emulated00.execute-api.us-east-1.amazonaws.com",
    "extendedRequestId": "A" * 16,
    "identity": {"sourceIp": "127.0.0.1", "userAgent": ""},
    "protocol": "HTTP/1.1",
    "requestId": "00000000-0000-0000-0000-000000000000",
    "requestTime": "01/Jan/2000:00:00:00 +0000",
    "requestTimeEpoch": 946_684_800_000,
    "resourceId": "emulated",
    "stage": "dev",
}


@dataclass(frozen=True, slots=True)
class Asked:
    """What the Web Adapter asks the function's server."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes


def event_of(
    request: Request, body: bytes, *, binary_types: tuple[str, ...] = BINARY_MEDIA_TYPES
) -> dict[str, Any]:
    """Write the event of a proxy integration (API Gateway, REST).

    The path is as it was sent, the query is decoded. A body whose media type does not count as
    binary becomes text: what is no UTF-8 in it is lost.
    """
    headers = _grouped(line for line in request.headers if line[0].lower() not in _NOT_FORWARDED)
    query = _grouped(request.query)
    essence = (request.headers.get("Content-Type") or "").partition(";")[0].strip().lower()
    is_bytes = bool(body) and is_binary(essence, binary_types)
    text = base64.b64encode(body).decode() if is_bytes else body.decode(errors="replace")
    return {
        "path": request.path,
        "httpMethod": request.method,
        "headers": _last_of(headers),
        "multiValueHeaders": headers,
        "queryStringParameters": _last_of(query),
        "multiValueQueryStringParameters": query,
        "requestContext": _CONTEXT | {"path": request.path, "httpMethod": request.method},
        "body": text or None,
        "isBase64Encoded": is_bytes,
    }


def size_of(event: Mapping[str, Any]) -> int:
    """Give the bytes of an event as it is sent."""
    return len(json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode())


def asked_by(event: Mapping[str, Any]) -> Asked:
    """Make the request that the Web Adapter makes of an event.

    Of a header in several lines the last is left; the query is encoded anew.
    """
    query = event["multiValueQueryStringParameters"]
    target = event["path"] + (f"?{urlencode(query, doseq=True)}" if query else "")
    text = event["body"] or ""
    body = base64.b64decode(text) if event["isBase64Encoded"] else text.encode()
    return Asked(event["httpMethod"], target, event["headers"], body)


def _grouped(pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    grouped: dict[str, list[str]] = {}
    for name, value in pairs:
        grouped.setdefault(name, []).append(value)
    return grouped


def _last_of(grouped: Mapping[str, list[str]]) -> dict[str, str]:
    return {name: values[-1] for name, values in grouped.items()}
