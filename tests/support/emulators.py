"""Which emulator plays AWS in the tests: moto in this process, or a second, stricter one beside it."""

from __future__ import annotations

import atexit
import http.client
import os
import socket
import subprocess
import tempfile
import threading
import time
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, get_args
from unittest import mock

import moto.core.botocore_stubber
import pytest
from moto import mock_aws

if TYPE_CHECKING:
    from collections.abc import Iterator

EmulatorName = Literal["moto", "second"]

VARIABLE: Final = "DICOMULUS_TEST_AWS"
"""Names the emulator that the tests run against; moto without it."""

SECOND_PYTHON: Final = (
    Path(__file__).resolve().parents[2] / "build" / "second-emulator-venv" / "bin" / "python"
)
"""Interpreter of the second emulator's own environment, made by ``make second-emulator``."""

CREDENTIALS: Final = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
START_SECONDS: Final = 60
STOP_SECONDS: Final = 10
ADDRESS: Final = "127.0.0.1"


def chosen() -> EmulatorName:
    """Give the emulator that the tests are to run against."""
    name = os.environ.get(VARIABLE, "moto")
    for known in get_args(EmulatorName):
        if name == known:
            found: EmulatorName = known
            return found
    raise ValueError(f"{VARIABLE}: {name!r} is not one of {', '.join(get_args(EmulatorName))}")


EMULATOR_FAULTS: Final[dict[str, str]] = {
    "checksum of a put": "the answer to PutObject names no checksum",
    "headers that pages may read": "answers to pages expose all headers, not those of the CORS rule",
}
"""What the second emulator does otherwise than AWS; each is a row in docs/development.md."""


def only_with(emulator: EmulatorName, *, reason: str) -> pytest.MarkDecorator:
    """Mark a test that needs what one emulator alone has."""
    return pytest.mark.skipif(chosen() != emulator, reason=reason)


def fault_of_second(name: str) -> pytest.MarkDecorator:
    """Mark a test that shows a fault of the second emulator, and tells when it is mended."""
    reason = f"the second emulator differs from AWS: {EMULATOR_FAULTS[name]}"
    return pytest.mark.xfail(chosen() == "second", reason=reason, strict=True)


def is_second_here() -> bool:
    """Whether the second emulator's environment has been made."""
    # Its interpreter alone says nothing: where pip reached no network, nothing else is there.
    return (SECOND_PYTHON.parents[1] / ".stamp").is_file()


@contextmanager
def played_aws(emulator: EmulatorName | None = None, *, config: Any = None) -> Iterator[None]:
    """Have all clients that are made meanwhile speak to an AWS with nothing in it.

    Args:
        emulator: Which one plays; by default the chosen one.
        config: What moto is told of itself.
    """
    if (emulator or chosen()) == "moto":
        with mock_aws(config=config), _one_request_at_a_time():
            yield
        return
    endpoint = second_emulator(**{name: os.environ[name] for name in CREDENTIALS})
    _post(endpoint, "/_ministack/reset")
    with mock.patch.dict(os.environ, {"AWS_ENDPOINT_URL": endpoint}):
        yield


@contextmanager
def served_aws() -> Iterator[str]:
    """Have moto listen for other processes, with nothing in it; give its URL.

    What is in moto is in this process, whichever server it came by: there is one at a time.
    """
    from moto.moto_server.threaded_moto_server import ThreadedMotoServer

    server = ThreadedMotoServer(ADDRESS, 0, verbose=False)
    server.start()
    endpoint = "http://{}:{}".format(*server.get_host_and_port())
    try:
        _post(endpoint, "/moto-api/reset")
        yield endpoint
    finally:
        server.stop()


@contextmanager
def _one_request_at_a_time() -> Iterator[None]:
    """Make moto's requests atomic, as those of AWS are: it checks conditions, then writes."""
    stubber = moto.core.botocore_stubber.BotocoreStubber
    original = stubber.__call__
    lock = threading.RLock()

    def serialised(self: Any, *args: Any, **kwargs: Any) -> Any:
        with lock:
            return original(self, *args, **kwargs)

    stubber.__call__ = serialised  # type: ignore[method-assign]
    try:
        yield
    finally:
        stubber.__call__ = original  # type: ignore[method-assign]


@cache
def second_emulator(**credentials: str) -> str:
    """Start a second emulator, which ends with this process; give its URL.

    Args:
        **credentials: The one pair of keys that it knows, by which it checks presigned URLs.
    """
    folder = tempfile.TemporaryDirectory(prefix="second-emulator-")
    port = _free_port()
    log = Path(folder.name) / "log.txt"
    with log.open("w") as output:
        process = subprocess.Popen(
            [str(SECOND_PYTHON), "-m", "ministack"],
            env={
                # Without it, it listens on every address of the machine.
                "BIND_HOST": ADDRESS,
                **credentials,
                "GATEWAY_PORT": str(port),
                "LOG_LEVEL": "WARNING",
                "SERVICES": "s3,dynamodb,sqs,events",
                "TMPDIR": folder.name,
            },
            cwd=folder.name,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def stop() -> None:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        folder.cleanup()

    atexit.register(stop)
    deadline = time.monotonic() + START_SECONDS
    while not _is_ready(port):
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"the second emulator does not start: {log.read_text()}")
        time.sleep(0.1)
    return f"http://{ADDRESS}:{port}"


def _is_ready(port: int) -> bool:
    connection = http.client.HTTPConnection(ADDRESS, port, timeout=START_SECONDS)
    try:
        connection.request("GET", "/_ministack/ready")
        return connection.getresponse().status == http.HTTPStatus.OK
    except OSError:
        return False
    finally:
        connection.close()


def _post(endpoint: str, path: str) -> None:
    host = endpoint.removeprefix("http://")
    connection = http.client.HTTPConnection(host, timeout=START_SECONDS)
    try:
        connection.request("POST", path)
        answer = connection.getresponse()
        answer.read()
        if answer.status != http.HTTPStatus.OK:
            raise RuntimeError(f"{path}: {answer.status}")
    finally:
        connection.close()


def _free_port() -> int:
    with socket.create_server((ADDRESS, 0)) as server:
        port: int = server.getsockname()[1]
        return port
