"""The id under which the gateway logs a request, so that lines of both logs can be joined."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from dicomulus.wire.message import Headers

REQUEST_CONTEXT: Final = "X-Amzn-Request-Context"
"""Header in which the Lambda Web Adapter tells what the gateway knows of a request, as JSON."""

_ID: Final = re.compile(r"[0-9A-Za-z-]{1,64}")


def correlation_id(headers: Headers) -> str | None:
    """Give the gateway's id of a request; nothing where no gateway tells one."""
    told = headers.get(REQUEST_CONTEXT)
    if told is None:
        return None
    try:
        context = json.loads(told)
    except ValueError:
        return None
    found = context.get("requestId") if isinstance(context, dict) else None
    return found if isinstance(found, str) and _ID.fullmatch(found) else None
