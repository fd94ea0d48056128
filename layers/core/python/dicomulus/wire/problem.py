"""Errors as problem details, with the status that each kind has (RFC 9457)."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from dicomulus import errors
from dicomulus.wire.message import Response

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dicomulus.errors import DicomulusError

PROBLEM_JSON: Final = "application/problem+json"

TYPE_PREFIX: Final = "urn:dicomulus:problem:"
"""What a problem's type URI begins with; its code follows."""

STATUS: Final[dict[type[DicomulusError], HTTPStatus]] = {
    errors.InvalidRequestError: HTTPStatus.BAD_REQUEST,
    errors.TargetTooLongError: HTTPStatus.REQUEST_URI_TOO_LONG,
    errors.HeadersTooLargeError: HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
    errors.TransferCodingError: HTTPStatus.NOT_IMPLEMENTED,
    errors.NotFoundError: HTTPStatus.NOT_FOUND,
    errors.GoneError: HTTPStatus.GONE,
    errors.MethodNotAllowedError: HTTPStatus.METHOD_NOT_ALLOWED,
    errors.UnauthorizedError: HTTPStatus.UNAUTHORIZED,
    errors.ForbiddenError: HTTPStatus.FORBIDDEN,
    errors.MisdirectedRequestError: HTTPStatus.MISDIRECTED_REQUEST,
    errors.NotOfferedError: HTTPStatus.NOT_IMPLEMENTED,
    errors.NotAcceptableError: HTTPStatus.NOT_ACCEPTABLE,
    errors.UnsupportedMediaTypeError: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    errors.PayloadTooLargeError: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    # PS3.18 §8.5: 413 is also for an answer that is too large.
    errors.ResponseTooLargeError: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    errors.RangeNotSatisfiableError: HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
    errors.SearchTooBroadError: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    errors.UnavailableError: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.RejectedObjectError: HTTPStatus.CONFLICT,
    # The index knew the object: it went away in between, and the index will follow.
    errors.ObjectNotFoundError: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.PreconditionFailedError: HTTPStatus.PRECONDITION_FAILED,
    errors.RevisionMismatchError: HTTPStatus.CONFLICT,
    errors.CorruptFragmentError: HTTPStatus.INTERNAL_SERVER_ERROR,
    errors.DamagedContentError: HTTPStatus.INTERNAL_SERVER_ERROR,
    # As Orthanc tells it.
    errors.AttachmentDamagedError: HTTPStatus.BAD_REQUEST,
    errors.CorruptObjectError: HTTPStatus.INTERNAL_SERVER_ERROR,
    errors.ConfigurationError: HTTPStatus.INTERNAL_SERVER_ERROR,
    # Of the command alone: no request meets them.
    errors.RemoteError: HTTPStatus.INTERNAL_SERVER_ERROR,
    errors.SourceFileError: HTTPStatus.INTERNAL_SERVER_ERROR,
}

_FAULTS: Final = {
    HTTPStatus.SERVICE_UNAVAILABLE: "The answer cannot be given now; the same request will succeed "
    "later"
}
_TOLD: Final = frozenset({HTTPStatus.NOT_IMPLEMENTED})
"""Statuses of a client's mistakes among those of the server's."""

_RETRY_AFTER_SECONDS: Final = 1
_PLAIN: Final = (str, int, float, bool, tuple, list)


def status_of(kind: type[DicomulusError]) -> HTTPStatus:
    """Find the status of a class of errors, its own or that of its nearest base."""
    for base in kind.__mro__:
        if base in STATUS:
            return STATUS[base]
    return HTTPStatus.INTERNAL_SERVER_ERROR


def problem(error: DicomulusError) -> Response:
    """Answer a request with the error that it met."""
    status = status_of(type(error))
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR and status not in _TOLD:
        # Its own text names files and services of the server, and is for the log.
        detail = _FAULTS.get(status, "The server has a fault, which its log names")
        return _response(status, code=error.code, detail=detail, headers=_hints(error))
    own = {name: value for name, value in vars(error).items() if isinstance(value, _PLAIN)}
    return _response(status, code=error.code, detail=str(error), own=own, headers=_hints(error))


def unexpected_problem() -> Response:
    """Answer a request that met a defect; the details are for the log, not for the client."""
    return _response(
        HTTPStatus.INTERNAL_SERVER_ERROR, code="internal", detail="The server has a defect"
    )


def _response(
    status: HTTPStatus,
    *,
    code: str,
    detail: str,
    own: Mapping[str, object] | None = None,
    headers: tuple[tuple[str, str], ...] = (),
) -> Response:
    fields = {
        **(own or {}),
        "type": TYPE_PREFIX + code,
        "title": status.phrase,
        "status": int(status),
        "code": code,
        "detail": detail,
    }
    body = json.dumps(fields, ensure_ascii=False).encode("utf-8", errors="replace")
    # An error is as of now: nobody may keep it.
    own_headers = (("Content-Type", PROBLEM_JSON), ("Cache-Control", "no-store"))
    return Response(status, own_headers + headers, body)


def _hints(error: DicomulusError) -> tuple[tuple[str, str], ...]:
    """Give the headers that tell a client what it can do next."""
    if isinstance(error, errors.MethodNotAllowedError):
        return (("Allow", ", ".join(error.allowed)),)
    if isinstance(error, (errors.UnauthorizedError, errors.ScopeMissingError)):
        return (("WWW-Authenticate", _challenge(error)),)
    if isinstance(error, errors.RangeNotSatisfiableError):
        return (("Content-Range", f"bytes */{error.complete_length}"),)
    if status_of(type(error)) is HTTPStatus.SERVICE_UNAVAILABLE:
        seconds = getattr(error, "retry_after_seconds", _RETRY_AFTER_SECONDS)
        return (("Retry-After", str(seconds)),)
    return ()


def _challenge(error: DicomulusError) -> str:
    """Write what to send, and what was wrong with what was sent (RFC 6750 §3)."""
    challenge = 'Bearer realm="dicomulus"'
    if isinstance(error, errors.ScopeMissingError):
        return f'{challenge}, error="insufficient_scope", scope="{error.scope}"'
    if isinstance(error, errors.TokenInvalidError):
        return f'{challenge}, error="invalid_token"'
    return challenge
