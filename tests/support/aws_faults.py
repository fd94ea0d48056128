"""What can go wrong between a function and AWS, put between botocore and whichever emulator plays.

Every request of every client passes an interceptor, which sees its service and operation, carries it
out or not, and gives what the client sees of that. botocore's own retries work as they do deployed.
"""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Any, Final
from unittest import mock

import botocore.endpoint
import botocore.httpsession
import moto.core.botocore_stubber
from botocore.awsrequest import AWSResponse
from botocore.exceptions import (
    ConnectionClosedError,
    ConnectTimeoutError,
    EndpointConnectionError,
    ReadTimeoutError,
)
from urllib3.exceptions import ProtocolError

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterator

    from botocore.awsrequest import AWSPreparedRequest

    CarryOut = Callable[[], AWSResponse]
    Interceptor = Callable[["Call", CarryOut], AWSResponse]


@dataclass(frozen=True, slots=True)
class Call:
    """One request on its way to AWS; a retry is another one."""

    service: str
    """Name of the service as botocore writes it, such as ``dynamodb``."""
    operation: str
    request: AWSPreparedRequest
    parameters: dict[str, Any]
    """What the client was asked for, as its names are: ``Bucket``, ``TableName``, ``QueueUrl``."""

    @property
    def name(self) -> str:
        """Name of service and operation, such as ``s3:GetObject``."""
        return f"{self.service}:{self.operation}"

    def change_body(self, content: dict[str, Any]) -> None:
        """Have another JSON sent."""
        body = json.dumps(content).encode()
        self.request.body = body
        self.request.headers["Content-Length"] = str(len(body))


class _Current(threading.local):
    service = ""
    operation = ""
    parameters: dict[str, Any] = {}  # noqa: RUF012 (replaced as a whole, per thread)


_CURRENT = _Current()


@contextmanager
def intercepted(interceptor: Interceptor) -> Iterator[None]:
    """Have all requests of all clients pass an interceptor, in whichever thread they are made."""
    endpoint: Any = botocore.endpoint.Endpoint
    session = botocore.httpsession.URLLib3Session
    stubber = moto.core.botocore_stubber.BotocoreStubber
    get_response = endpoint._do_get_response
    make_call: Any = botocore.client.BaseClient._make_api_call  # type: ignore[attr-defined]
    send: Any = session.send
    play: Any = stubber.__call__

    def named_call(self: Any, operation: str, parameters: dict[str, Any]) -> Any:
        _CURRENT.parameters = parameters
        return make_call(self, operation, parameters)

    def named(self: Any, request: Any, operation_model: Any, context: Any) -> Any:
        _CURRENT.service = operation_model.service_model.service_name
        _CURRENT.operation = operation_model.name
        return get_response(self, request, operation_model, context)

    def sent(self: Any, request: Any) -> Any:
        return interceptor(_call(request), lambda: send(self, request))

    def played(self: Any, event_name: str, request: Any, **more: Any) -> Any:
        if not self.enabled:
            return None
        return interceptor(_call(request), lambda: play(self, event_name, request, **more))

    with (
        mock.patch.object(botocore.client.BaseClient, "_make_api_call", named_call),
        mock.patch.object(endpoint, "_do_get_response", named),
        mock.patch.object(session, "send", sent),
        mock.patch.object(stubber, "__call__", played),
    ):
        yield


def _call(request: AWSPreparedRequest) -> Call:
    return Call(_CURRENT.service, _CURRENT.operation, request, _CURRENT.parameters)


@contextmanager
def instant_retries(slept: list[float] | None = None) -> Iterator[None]:
    """Have botocore's retries not wait; note for how long they would have."""
    clock = mock.Mock()
    clock.sleep = (lambda _: None) if slept is None else slept.append
    with mock.patch.object(botocore.endpoint, "time", clock):
        yield


# --- answers that are none ------------------------------------------------------------------------


class Body(BytesIO):
    """A body as urllib3 gives it, which may break off."""

    def __init__(self, content: bytes, *, breaks: bool = False) -> None:
        super().__init__(content)
        self._breaks = breaks

    def read(self, size: int | None = -1, /) -> bytes:
        """Give the next bytes, or break off where there are no more."""
        piece = super().read(size)
        if not piece and size != 0 and self._breaks:
            raise ProtocolError("Connection broken")
        return piece

    def stream(self, size: int = 65_536, **_: Any) -> Iterator[bytes]:
        """Give all pieces."""
        while piece := self.read(size):
            yield piece


def refusal(call: Call, status: int, code: str) -> AWSResponse:
    """Answer with an error as the call's service writes it."""
    if call.service == "s3":
        text = f"<Error><Code>{code}</Code><Message>injected</Message></Error>"
        headers = {"Content-Type": "application/xml"}
    else:
        text = json.dumps({"__type": f"com.amazonaws.{call.service}#{code}", "message": "injected"})
        headers = {"Content-Type": "application/x-amz-json-1.0"}
    content = b"" if call.operation.startswith("Head") else text.encode()
    headers["Content-Length"] = str(len(content))
    return _response(call, status, headers, Body(content))


THROTTLING: Final = {
    "dynamodb": (
        (400, "ProvisionedThroughputExceededException"),
        (400, "ThrottlingException"),
        (400, "RequestLimitExceeded"),
    ),
    "s3": ((503, "SlowDown"), (503, "ServiceUnavailable")),
    "sqs": ((400, "RequestThrottled"), (503, "ServiceUnavailable")),
}
SERVER_ERRORS: Final = {
    "dynamodb": (500, "InternalServerError"),
    "s3": (500, "InternalError"),
    "sqs": (500, "InternalFailure"),
}
EXPIRED: Final = {
    "dynamodb": (400, "ExpiredTokenException"),
    "s3": (400, "ExpiredToken"),
    "sqs": (403, "ExpiredToken"),
}


def throttled(call: Call, _carry_out: CarryOut) -> AWSResponse:
    """Refuse: there are too many requests."""
    kinds = THROTTLING[call.service]
    return refusal(call, *kinds[len(call.request.url) % len(kinds)])


def failed(call: Call, _carry_out: CarryOut) -> AWSResponse:
    """Fail, and leave everything as it was."""
    return refusal(call, *SERVER_ERRORS[call.service])


def failed_after(call: Call, carry_out: CarryOut) -> AWSResponse:
    """Do it, and say that it failed."""
    carry_out()
    return refusal(call, *SERVER_ERRORS[call.service])


def expired(call: Call, _carry_out: CarryOut) -> AWSResponse:
    """Refuse: the credentials are too old."""
    return refusal(call, *EXPIRED[call.service])


def unreachable(call: Call, _carry_out: CarryOut) -> AWSResponse:
    """Find nobody there."""
    raise EndpointConnectionError(endpoint_url=call.request.url)


def connect_timed_out(call: Call, _carry_out: CarryOut) -> AWSResponse:
    """Find nobody there in time."""
    raise ConnectTimeoutError(endpoint_url=call.request.url)


def reset(call: Call, _carry_out: CarryOut) -> AWSResponse:
    """Lose the connection before anything was done."""
    raise ConnectionClosedError(endpoint_url=call.request.url)


def reset_after(call: Call, carry_out: CarryOut) -> AWSResponse:
    """Do it, and lose the connection before that is said."""
    carry_out()
    raise ConnectionClosedError(endpoint_url=call.request.url)


def timed_out(call: Call, _carry_out: CarryOut) -> AWSResponse:
    """Be too slow, and do nothing."""
    raise ReadTimeoutError(endpoint_url=call.request.url)


def timed_out_after(call: Call, carry_out: CarryOut) -> AWSResponse:
    """Do it, and be too slow to say so."""
    carry_out()
    raise ReadTimeoutError(endpoint_url=call.request.url)


def truncated(call: Call, carry_out: CarryOut) -> AWSResponse:
    """Give half of a body, and lose the connection."""
    return _cut(carry_out(), breaks=True)


def cut_short(call: Call, carry_out: CarryOut) -> AWSResponse:
    """Give half of a body, and end as if that was all."""
    return _cut(carry_out(), breaks=False)


def _cut(answer: AWSResponse, *, breaks: bool) -> AWSResponse:
    content = answer.raw.read()
    half = content[: len(content) // 2]
    return _with_body(answer, Body(half, breaks=breaks))


def _with_body(answer: AWSResponse, body: Body) -> AWSResponse:
    headers: Any = answer.headers
    return AWSResponse(answer.url, answer.status_code, headers, body)


def _response(call: Call, status: int, headers: Any, body: Body) -> AWSResponse:
    return AWSResponse(call.request.url, status, headers, body)


def corrupted(call: Call, carry_out: CarryOut) -> AWSResponse:
    """Give a body with another last byte."""
    answer = carry_out()
    content = answer.raw.read()
    changed = content[:-1] + bytes([content[-1] ^ 1]) if content else content
    return _with_body(answer, Body(changed))


ALWAYS: Final = (
    throttled,
    failed,
    failed_after,
    unreachable,
    connect_timed_out,
    reset,
    reset_after,
    timed_out,
    timed_out_after,
)
"""What every request may meet."""

BODIES: Final = (truncated, cut_short)
"""What the body of an object may meet besides."""


# --- batches of which a part is done --------------------------------------------------------------


def partly_done(call: Call, carry_out: CarryOut, *, random: random.Random) -> AWSResponse:
    """Do some of a batch, and give the others back."""
    body: Any = call.request.body
    content = json.loads(body)
    if call.operation == "SendMessageBatch":
        return _partly_sent(call, content, carry_out, random=random)
    (table,) = content["RequestItems"]
    listed = content["RequestItems"][table]
    entries = listed["Keys"] if call.operation == "BatchGetItem" else listed
    left = [each for each in entries if random.random() < 0.5] or [random.choice(entries)]
    done = [each for each in entries if each not in left]
    answer: dict[str, Any] = {"Responses": {table: []}} if listed is not entries else {}
    if done:
        again = done if listed is entries else {**listed, "Keys": done}
        call.change_body({**content, "RequestItems": {table: again}})
        answer = json.loads(_content(carry_out()))
    name = "UnprocessedKeys" if call.operation == "BatchGetItem" else "UnprocessedItems"
    rest = left if listed is entries else {**listed, "Keys": left}
    return _answer(call, {**answer, name: {table: rest}})


def _partly_sent(
    call: Call, content: dict[str, Any], carry_out: CarryOut, *, random: random.Random
) -> AWSResponse:
    entries = content["Entries"]
    left = [each for each in entries if random.random() < 0.5] or [random.choice(entries)]
    done = [each for each in entries if each not in left]
    answer: dict[str, Any] = {"Successful": []}
    if done:
        call.change_body({**content, "Entries": done})
        answer = json.loads(_content(carry_out()))
    failed_ones = [
        {"Id": each["Id"], "SenderFault": False, "Code": "InternalError"} for each in left
    ]
    return _answer(call, {**answer, "Failed": [*answer.get("Failed", ()), *failed_ones]})


PARTLY: Final = frozenset({"BatchGetItem", "BatchWriteItem", "SendMessageBatch"})
"""Operations of which a part may be done."""


def _content(answer: AWSResponse) -> bytes:
    if answer.status_code >= 300:
        raise AssertionError(f"a part of a batch is refused: {answer.content!r}")
    content: bytes = answer.content
    return content


def _answer(call: Call, content: dict[str, Any]) -> AWSResponse:
    body = json.dumps(content).encode()
    headers = {"Content-Type": "application/x-amz-json-1.0", "Content-Length": str(len(body))}
    return _response(call, 200, headers, Body(body))
