"""What API Gateway is told to take for bytes, and to answer by itself."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

BINARY_MEDIA_TYPES: Final = ("application/dicom", "multipart/related")
"""Media types of bodies that are no text."""

EVERY_MEDIA_TYPE: Final = "*/*"
"""Has every body be bytes, those that name no type too, as clients of Orthanc send them."""


def binary_media_types(*, orthanc: bool) -> tuple[str, ...]:
    """Give the media types of bodies that are no text.

    Args:
        orthanc: Whether clients of Orthanc's REST API are answered.
    """
    return (EVERY_MEDIA_TYPE,) if orthanc else BINARY_MEDIA_TYPES


def is_binary(media_type: str, binary_types: tuple[str, ...]) -> bool:
    """Tell whether a body of a type is handed on as bytes; without parameters, in lower case."""
    return media_type in binary_types or EVERY_MEDIA_TYPE in binary_types


@dataclass(frozen=True, slots=True)
class OwnAnswer:
    """An answer that the gateway gives without a function."""

    kind: str
    """What AWS calls it: the response type of a GatewayResponse."""
    status: int | None
    """None for that of the case."""
    code: str
    detail: str

    def members(self, type_prefix: str, *, uploads: str = "") -> Mapping[str, object]:
        """Give the members of its problem (RFC 9457)."""
        members: dict[str, object] = {
            "type": type_prefix + self.code,
            "title": self.detail,
            "code": self.code,
            "detail": self.detail,
        }
        if self.status is not None:
            members["status"] = self.status
        if uploads:
            members["uploads"] = uploads
        return members

    def hints(self, *, bearer: bool) -> Iterable[tuple[str, str]]:
        """Give the headers that tell a client what it can do next.

        Args:
            bearer: Whether requests are let in by tokens (RFC 6750 §3).
        """
        if self.kind in _OF_PROVIDER:
            yield "Retry-After", str(_RETRY_AFTER_SECONDS)
        if bearer and self.kind == "UNAUTHORIZED":
            yield "WWW-Authenticate", _CHALLENGE
        if bearer and self.kind == "ACCESS_DENIED":
            yield "WWW-Authenticate", f'{_CHALLENGE}, error="insufficient_scope"'


_CHALLENGE: Final = 'Bearer realm="dicomulus"'
_RETRY_AFTER_SECONDS: Final = 5

_OF_PROVIDER: Final = ("AUTHORIZER_CONFIGURATION_ERROR", "AUTHORIZER_FAILURE")
"""Answers where an authorizer gives none: it failed or took too long, or what it said is no policy."""

ACCESS_DENIED: Final = OwnAnswer("ACCESS_DENIED", 403, "forbidden", "The caller may not do this")
AUTHORIZER_FAILURE: Final = OwnAnswer(
    "AUTHORIZER_FAILURE", 503, "unavailable", "The OpenID provider does not answer"
)
# What the gateway says where the function raised anything but "Unauthorized".
AUTHORIZER_ERROR: Final = replace(AUTHORIZER_FAILURE, kind="AUTHORIZER_CONFIGURATION_ERROR")
UNAUTHORIZED: Final = OwnAnswer(
    "UNAUTHORIZED", 401, "unauthorized", "The request carries no valid credentials"
)
INTEGRATION_FAILURE: Final = OwnAnswer(
    "INTEGRATION_FAILURE", 504, "unavailable", "The service gave no answer"
)
INTEGRATION_TIMEOUT: Final = OwnAnswer(
    "INTEGRATION_TIMEOUT", 504, "unavailable", "The service took too long"
)
REQUEST_TOO_LARGE: Final = OwnAnswer(
    "REQUEST_TOO_LARGE",
    413,
    "payload-too-large",
    "The request is over 10 MB, or over the 6 MB that a function is handed, where bytes are base64",
)
THROTTLED: Final = OwnAnswer("THROTTLED", 429, "throttled", "Too many requests at a time")
NO_SUCH_ROUTE: Final = OwnAnswer(
    "MISSING_AUTHENTICATION_TOKEN", 404, "route-not-found", "No such resource"
)
DEFAULT_4XX: Final = OwnAnswer(
    "DEFAULT_4XX", None, "invalid-request", "The gateway refuses the request"
)
DEFAULT_5XX: Final = OwnAnswer("DEFAULT_5XX", None, "unavailable", "The gateway cannot answer")

OWN_ANSWERS: Final = (
    ACCESS_DENIED,
    AUTHORIZER_ERROR,
    AUTHORIZER_FAILURE,
    OwnAnswer("BAD_REQUEST_BODY", 400, "invalid-body", "The body does not parse"),
    OwnAnswer("BAD_REQUEST_PARAMETERS", 400, "invalid-request", "A parameter is missing"),
    OwnAnswer("EXPIRED_TOKEN", 403, "forbidden", "The credentials have expired"),
    INTEGRATION_FAILURE,
    INTEGRATION_TIMEOUT,
    OwnAnswer("INVALID_SIGNATURE", 403, "forbidden", "The request's signature does not fit it"),
    REQUEST_TOO_LARGE,
    THROTTLED,
    UNAUTHORIZED,
    OwnAnswer("WAF_FILTERED", 403, "forbidden", "The firewall refuses the request"),
    DEFAULT_4XX,
    DEFAULT_5XX,
)
"""All but the one for a path without a method, which depends on who may call."""
