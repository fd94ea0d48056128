"""How long a client waits for AWS, and how often it asks again, before it gives up."""

from __future__ import annotations

from typing import Any, Final

from botocore.config import Config

CONNECT_SECONDS: Final = 1.0
"""Time for a connection within a region, which takes milliseconds."""

READ_SECONDS: Final = 5.0
"""Time for the next bytes of an answer. S3 and DynamoDB take some tens of milliseconds; who waits
longer is served sooner by another of their servers, so that botocore's 60 s would be lost."""

ATTEMPTS: Final = 4
"""Times that a request is sent where somebody waits for an answer."""

_THROTTLED_SECONDS: Final = 1.0
_OTHER_SECONDS: Final = 0.05
_LONGEST_PAUSE_SECONDS: Final = 20.0


def retry_config(attempts: int = ATTEMPTS, **more: Any) -> Config:
    """Give a client's configuration.

    The standard mode sends again what was throttled, met a 5xx or lost its connection, with
    exponential pauses at random, and less of that the more requests fail.
    """
    return Config(
        connect_timeout=CONNECT_SECONDS,
        read_timeout=READ_SECONDS,
        retries={"mode": "standard", "total_max_attempts": attempts},
        **more,
    )


def longest_seconds(attempts: int) -> float:
    """Give the time after which a request whose every attempt is too slow is given up."""
    return attempts * (CONNECT_SECONDS + READ_SECONDS) + _pauses(attempts, _OTHER_SECONDS)


def longest_throttled_seconds(attempts: int) -> float:
    """Give the longest time after which a request whose every attempt is throttled is given up."""
    return _pauses(attempts, _THROTTLED_SECONDS)


def _pauses(attempts: int, first_seconds: float) -> float:
    pauses = (first_seconds * float(2**attempt) for attempt in range(attempts - 1))
    return sum(min(pause, _LONGEST_PAUSE_SECONDS) for pause in pauses)
