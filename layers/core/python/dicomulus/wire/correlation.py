"""What the gateway tells of a request: the id under which it logs it, and what its token is for."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

from dicomulus.wire.message import EVERY_SCOPE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dicomulus.wire.message import Headers, Scope

REQUEST_CONTEXT: Final = "X-Amzn-Request-Context"
"""Header in which the Lambda Web Adapter tells what the gateway knows of a request, as JSON."""

_ID: Final = re.compile(r"[0-9A-Za-z-]{1,64}")


def correlation_id(headers: Headers) -> str | None:
    """Give the gateway's id of a request; nothing where no gateway tells one."""
    found = _context(headers).get("requestId")
    return found if isinstance(found, str) and _ID.fullmatch(found) else None


def granted_scopes(headers: Headers) -> frozenset[Scope]:
    """Give the scopes that the gateway's authorizer found; every scope where it has none.

    Its policy goes by paths as they are sent, of which one route has many: with a slash at the
    end, or percent-encoded.
    """
    authorizer = _context(headers).get("authorizer")
    told = authorizer.get("scopes") if isinstance(authorizer, dict) else None
    if not isinstance(told, str):
        return EVERY_SCOPE
    return frozenset(scope for scope in EVERY_SCOPE if scope in told.split())


def _context(headers: Headers) -> Mapping[str, Any]:
    told = headers.get(REQUEST_CONTEXT)
    if told is None:
        return {}
    try:
        context = json.loads(told)
    except (ValueError, RecursionError):
        return {}
    return context if isinstance(context, dict) else {}
