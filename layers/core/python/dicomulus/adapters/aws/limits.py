"""What AWS allows between a client and the archive, and how the functions are set up within it."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, Final, Literal

from dicomulus.settings import Settings

FunctionName = Literal[
    "authorize",
    "ingest",
    "compact",
    "read",
    "render",
    "store",
    "manage",
    "sweep",
    "adopt",
    "probe",
    "reconcile",
    "orthanc",
    "notify",
]

MAX_GATEWAY_BYTES: Final = 10_485_760
"""Bytes of a request's body that API Gateway takes."""

MAX_INVOKE_BYTES: Final = 6_291_456
"""Bytes of an event, or of a buffered answer, that Lambda takes; bodies are base64 in it."""

MAX_LAMBDA_STREAM_BYTES: Final = 200_000_000
"""Bytes after which Lambda ends a streamed answer."""

FULL_SPEED_BYTES: Final = 6_291_456
"""Bytes of a streamed answer that Lambda sends as fast as it can."""

SLOW_BYTES_PER_SECOND: Final = 2_097_152
"""Speed of the rest of a streamed answer."""

MAX_STREAM_BYTES: Final = 150_000_000
"""Bytes of one answer of ours, with room below Lambda's end of a stream."""

MAX_SEARCH_PAGE_BYTES: Final = 4_000_000
"""Bytes of a page of search results, which thereby stays in what a stream sends at full speed."""

MAX_STORE_BYTES: Final = 4_400_000
"""Bytes of a STOW-RS body: in base64 and with its envelope it is what Lambda takes."""

PATIENT_ATTEMPTS: Final = 6
"""Times that a function which a queue or a schedule starts sends a request; to be throttled is its
ordinary day, and nobody waits for an answer."""

DELETE_SECONDS: Final = 20
"""Time that one request deletes for: a last batch fits in before the gateway's 29 s are over."""


MAX_RECEIVES: Final = 5
"""Deliveries of a message before it goes to the dead-letter queue."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchLimits:
    """What a queue hands to its function at once."""

    messages: int
    window_seconds: int
    functions: int
    """Most of the function at the same time, so that a backlog leaves the account its share."""


# Objects of one study share the move of their series' versions, so a second gathers a batch. Some
# 50 functions are more than DynamoDB takes of one study and less than it takes of many.
INGEST_BATCH: Final = BatchLimits(messages=32, window_seconds=1, functions=50)
COMPACT_BATCH: Final = BatchLimits(messages=5, window_seconds=0, functions=20)


def _of_provider(settings: Settings) -> dict[str, Any]:
    names = [each.name for each in fields(settings) if each.name.startswith("oidc_")]
    return {name: getattr(settings, name) for name in names}


def behind_authorizer(settings: Settings) -> Settings:
    """Leave out the provider: what comes through the gateway is authorized."""
    return replace(settings, **_of_provider(Settings()))


def _reading(settings: Settings) -> Settings:
    return replace(
        settings,
        max_stream_bytes=min(settings.max_stream_bytes or MAX_STREAM_BYTES, MAX_STREAM_BYTES),
        max_direct_bytes=min(settings.max_direct_bytes or FULL_SPEED_BYTES, FULL_SPEED_BYTES),
        search_page_bytes=MAX_SEARCH_PAGE_BYTES,
    )


def _storing(settings: Settings) -> Settings:
    most = min(settings.max_request_bytes, MAX_STORE_BYTES)
    return replace(settings, allow_store=True, max_request_bytes=most)


def function_settings(function: FunctionName, settings: Settings) -> Settings:
    """Give what one function is told, of what all of them are; limits of one's own may be lower."""
    if function == "authorize":
        return Settings(**_of_provider(settings))
    settings = behind_authorizer(settings)
    if function != "notify":
        settings = replace(settings, webhook_url="", webhook_secret_arn="", event_bus_name="")
    if function in ("read", "render"):
        return _reading(settings)
    if function == "manage":
        return replace(settings, delete_seconds=DELETE_SECONDS)
    if function == "store":
        return _storing(settings)
    if function == "orthanc":
        return replace(_storing(_reading(settings)), delete_seconds=DELETE_SECONDS)
    # Of what is left nobody waits for an answer.
    settings = replace(settings, aws_attempts=PATIENT_ATTEMPTS)
    if function == "probe":
        return replace(settings, allow_store=True)
    return settings
