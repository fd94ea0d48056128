"""A streamed answer on its way through Lambda and the gateway: its speed, its end, its break."""

from __future__ import annotations

import base64
import http.client
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from dicomulus.adapters.aws.limits import (
    FULL_SPEED_BYTES,
    MAX_LAMBDA_STREAM_BYTES,
    SLOW_BYTES_PER_SECOND,
)
from dicomulus.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CHUNK_BYTES: Final = 65_536


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """Tells the time, and lets it go by."""

    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How fast and how far Lambda streams.

    API Gateway slows a stream down as well, to the same speed but after its first 10 MB, so that
    what it adds is never felt.
    """

    full_speed_bytes: int = FULL_SPEED_BYTES
    slow_bytes_per_second: int = SLOW_BYTES_PER_SECOND
    """0 for as fast as it goes."""
    max_bytes: int = MAX_LAMBDA_STREAM_BYTES


class Stream:
    """A function's answer as it comes to the client."""

    def __init__(
        self,
        connection: http.client.HTTPConnection,
        answer: http.client.HTTPResponse,
        *,
        pace: Pace,
        clock: Clock,
    ) -> None:
        """Pass an answer on, whose status and headers are read."""
        self._connection = connection
        self._answer = answer
        self._pace = pace
        self._clock = clock

    def __iter__(self) -> Iterator[bytes]:
        """Give what comes, not faster than Lambda does.

        Raises:
            UnavailableError: There is more than Lambda streams, or nothing came for too long.
        """
        sent, slow_since = 0, self._clock.now()
        for chunk in self._chunks():
            sent += len(chunk)
            if sent > self._pace.max_bytes:
                raise UnavailableError("the answer is longer than Lambda sends")
            if sent <= self._pace.full_speed_bytes:
                slow_since = self._clock.now()
            yield chunk
            self._wait(sent, slow_since)

    def _wait(self, sent: int, slow_since: float) -> None:
        speed, slow = self._pace.slow_bytes_per_second, sent - self._pace.full_speed_bytes
        if not speed or slow <= 0:
            return
        pause = slow_since + slow / speed - self._clock.now()
        if pause > 0:
            self._clock.sleep(pause)

    def _chunks(self) -> Iterator[bytes]:
        try:
            while chunk := self._answer.read(CHUNK_BYTES):
                yield chunk
        except TimeoutError as exc:
            raise UnavailableError("nothing came from the function for too long") from exc
        except (OSError, http.client.HTTPException) as exc:
            yield broken_off(str(exc))
            return
        if self._answer.length:
            yield broken_off("end of file before message length reached")

    def close(self) -> None:
        """Let the function know that nobody reads on."""
        self._connection.close()


def broken_off(reason: str) -> bytes:
    """Give what the Web Adapter ends an answer with that breaks off.

    Its runtime sends as data what was to be trailers, and then ends the answer properly.
    """
    told = base64.b64encode(reason.encode()).decode()
    return (
        "Lambda-Runtime-Function-Error-Type: Runtime.StreamError\r\n"
        f"Lambda-Runtime-Function-Error-Body: {told}\r\n"
    ).encode()
