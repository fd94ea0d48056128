"""The gateway's question to its authorizer, as API Gateway asks it, and what it makes of the answer."""

from __future__ import annotations

import logging
import os
import sys
from contextlib import redirect_stdout
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from dicomulus.adapters.aws.gateway_rules import ACCESS_DENIED, AUTHORIZER_ERROR, UNAUTHORIZED
from dicomulus.cli.emulate.event import event_of
from dicomulus.cli.emulate.event_source import Context, load_handler

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from dicomulus.adapters.aws.gateway_rules import OwnAnswer
    from dicomulus.cli.emulate.event_source import Handler
    from dicomulus.wire.message import Request

logger = logging.getLogger(__name__)

_UNAUTHORIZED: Final = "Unauthorized"
"""What an authorizer has to raise, word for word, for a 401."""


@dataclass(frozen=True, slots=True)
class Authorization:
    """A Lambda authorizer of the type REQUEST, asked about every request, in this process."""

    environment: Mapping[str, str]
    functions: Path

    def __call__(self, request: Request) -> OwnAnswer | None:
        """Give what the gateway answers where the authorizer's policy does not allow a request."""
        if "Authorization" not in request.headers:
            # So that the authorizer is not asked.
            return UNAUTHORIZED
        event = authorizer_event(request)
        handler = _handler(self.functions, tuple(self.environment.items()))
        try:
            answer = handler(event, Context(function_name="authorize"))
        except Exception as exc:
            if str(exc) == _UNAUTHORIZED:
                return UNAUTHORIZED
            logger.exception("invocation failed", extra={"function": "authorize"})
            return AUTHORIZER_ERROR
        return None if allows(answer["policyDocument"], event["methodArn"]) else ACCESS_DENIED


@cache
def _handler(functions: Path, environment: tuple[tuple[str, str], ...]) -> Handler:
    """Start the function, once."""
    os.environ.update(environment)
    # It logs to its standard output, which here belongs to the command.
    with redirect_stdout(sys.stderr):
        return load_handler(functions, "authorize")


def authorizer_event(request: Request) -> dict[str, Any]:
    """Write what API Gateway tells an authorizer of a request: all but its body."""
    event = event_of(request, b"")
    del event["body"], event["isBase64Encoded"]
    context = event["requestContext"]
    api = f"{context['accountId']}:{context['apiId']}/{context['stage']}"
    method_arn = f"arn:aws:execute-api:us-east-1:{api}/{request.method}{request.path}"
    return {"type": "REQUEST", "methodArn": method_arn, "resource": request.path, **event}


def allows(policy: dict[str, Any], method_arn: str) -> bool:
    """Whether a policy allows to call a method: some statement does, and none forbids it."""
    effects = {
        statement["Effect"]
        for statement in policy["Statement"]
        for pattern in statement["Resource"]
        if statement["Action"] == "execute-api:Invoke" and fnmatchcase(method_arn, pattern)
    }
    return effects == {"Allow"}
