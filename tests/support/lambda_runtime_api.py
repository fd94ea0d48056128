"""A small implementation of the Lambda Runtime API, to which a function's runtime talks."""

from __future__ import annotations

import json
import queue
import threading
import time
import uuid
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType
    from typing import Self

VERSION: Final = "/2018-06-01/runtime"

TRACE_ID: Final = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled="
"""A trace; ``1`` behind it says that it is recorded."""

ANSWER_SECONDS: Final = 60.0
"""Time that a function has on a busy machine, to start and to answer."""


@dataclass(frozen=True, slots=True)
class FunctionError:
    """What a runtime reports of a function that failed."""

    kind: str
    """The header ``Lambda-Runtime-Function-Error-Type``."""
    report: Mapping[str, Any]
    """``errorType``, ``errorMessage`` and ``stackTrace``."""


class FunctionFailedError(Exception):
    """A function's invocation, or its start, failed."""

    def __init__(self, error: FunctionError) -> None:
        """Carry what was reported."""
        super().__init__(error.report.get("errorMessage"))
        self.error = error


@dataclass(frozen=True, slots=True)
class _Invocation:
    event: bytes
    timeout_seconds: float
    is_traced: bool = False
    request_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    outcome: queue.Queue[bytes | FunctionError] = field(default_factory=queue.Queue)


class RuntimeApi:
    """The Runtime API of one execution environment: one invocation at a time."""

    def __init__(self, function_arn: str) -> None:
        """Listen on a free port of loopback."""
        self._function_arn = function_arn
        self._waiting: queue.Queue[_Invocation | None] = queue.Queue()
        self._under_way: dict[str, _Invocation] = {}
        self._is_ready = threading.Event()
        self._start: list[FunctionError] = []
        self._server = _Server(self)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def address(self) -> str:
        """Value of ``AWS_LAMBDA_RUNTIME_API``."""
        return f"127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        """Begin to answer."""
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End; a runtime that waits for its next invocation is let go."""
        self._waiting.put(None)
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def is_ready(self, *, within_seconds: float) -> bool:
        """Whether the function has asked for its first invocation.

        Raises:
            FunctionFailedError: It has reported that it cannot start.
        """
        is_ready = self._is_ready.wait(within_seconds)
        if self._start:
            raise FunctionFailedError(self._start[0])
        return is_ready

    def invoke(self, event: object, *, timeout_seconds: float = 60, traced: bool = False) -> Any:
        """Hand an event to the function and give its answer.

        Raises:
            FunctionFailedError: It reports an error.
            TimeoutError: It gives no answer.
        """
        invocation = _Invocation(json.dumps(event).encode(), timeout_seconds, traced)
        self._under_way[invocation.request_id] = invocation
        self._waiting.put(invocation)
        try:
            outcome = invocation.outcome.get(timeout=ANSWER_SECONDS)
        except queue.Empty:
            raise TimeoutError("the function gives no answer") from None
        if isinstance(outcome, FunctionError):
            raise FunctionFailedError(outcome)
        return json.loads(outcome)

    def next_invocation(self) -> _Invocation | None:
        """Give the next invocation when there is one."""
        self._is_ready.set()
        return self._waiting.get()

    def headers_of(self, invocation: _Invocation) -> dict[str, str]:
        """Give the headers that an invocation is handed over with."""
        return {
            "Content-Type": "application/json",
            "Lambda-Runtime-Aws-Request-Id": invocation.request_id,
            "Lambda-Runtime-Deadline-Ms": str(
                int(1_000 * (time.time() + invocation.timeout_seconds))
            ),
            "Lambda-Runtime-Invoked-Function-Arn": self._function_arn,
            "Lambda-Runtime-Trace-Id": f"{TRACE_ID}{invocation.is_traced:d}",
        }

    def take(self, path: str, body: bytes, kind: str) -> bool:
        """Take what a runtime posts; whether there is such a resource."""
        match path.removeprefix(VERSION).strip("/").split("/"):
            case ["init", "error"]:
                self._start.append(FunctionError(kind, json.loads(body)))
                self._is_ready.set()
            case ["invocation", request_id, "response"] if request_id in self._under_way:
                self._under_way.pop(request_id).outcome.put(body)
            case ["invocation", request_id, "error"] if request_id in self._under_way:
                error = FunctionError(kind, json.loads(body))
                self._under_way.pop(request_id).outcome.put(error)
            case _:
                return False
        return True


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, api: RuntimeApi) -> None:
        super().__init__(("127.0.0.1", 0), _Requests)
        self.api = api


class _Requests(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self) -> None:
        if self.path != f"{VERSION}/invocation/next":
            self._answer(404)
            return
        invocation = self.server.api.next_invocation()
        if invocation is None:
            self.close_connection = True
            return
        self._answer(200, invocation.event, self.server.api.headers_of(invocation))

    def do_POST(self) -> None:
        kind = self.headers.get("Lambda-Runtime-Function-Error-Type", "")
        is_known = self.server.api.take(self.path, self._body(), kind)
        self._answer(202 if is_known else 404, b'{"status":"OK"}' if is_known else b"")

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers["Content-Length"]))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _answer(
        self, status: int, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> None:
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""
