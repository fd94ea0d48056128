"""Changes as messages of two SQS queues: objects to look at, series to compact."""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING, Final

from dicomulus.adapters.aws.changes import format_change
from dicomulus.adapters.aws.failures import translated_failures
from dicomulus.adapters.aws.retries import ATTEMPTS, retry_config
from dicomulus.adapters.aws.session import make_client
from dicomulus.errors import ConfigurationError, UnavailableError
from dicomulus.ports import CompactSeries, LookAtObjects, StabiliseSeries

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import SendMessageBatchRequestEntryTypeDef

    from dicomulus.ports import Message

logger = logging.getLogger(__name__)

MAX_BATCH_MESSAGES: Final = 10
"""Messages of one SendMessageBatch."""

MAX_BATCH_BYTES: Final = 262_144
"""Bytes of all messages of a batch: what SQS takes unless a queue is set up for more."""

MAX_MESSAGE_BYTES: Final = 65_536
"""Bytes of one of our messages: what SQS bills as one."""

MAX_DELAY_SECONDS: Final = 900
"""Seconds that SQS keeps a message invisible at most."""

_ATTEMPTS: Final = 4
"""Times that messages which a batch failed to send are sent."""


def sqs_client(
    region: str | None = None, *, endpoint_url: str | None = None, attempts: int = ATTEMPTS
) -> SQSClient:
    """Make a client; without region or endpoint, for those the environment names."""
    client: SQSClient = make_client(
        "sqs", region=region, endpoint_url=endpoint_url, config=retry_config(attempts)
    )
    return client


class SqsQueue:
    """A ``ChangeQueue`` over the ingest and the compaction queue."""

    def __init__(
        self,
        ingest_queue_url: str,
        compact_queue_url: str,
        *,
        client: SQSClient | None = None,
        attempts: int = ATTEMPTS,
    ) -> None:
        """Use two queues, by a client of one's own or the given one."""
        self._urls = {
            LookAtObjects: ingest_queue_url,
            CompactSeries: compact_queue_url,
            StabiliseSeries: compact_queue_url,
        }
        with translated_failures("SQS"):
            self.client = client or sqs_client(attempts=attempts)

    def send(self, messages: Sequence[Message], *, delay_seconds: float = 0) -> None:
        """See ``ChangeQueue``.

        Raises:
            ValueError: The delay is not 0 to 900 seconds.
            UnavailableError: Some message was not taken; others of them may have been.
        """
        if not 0 <= delay_seconds <= MAX_DELAY_SECONDS:
            raise ValueError(f"delay_seconds: {delay_seconds} is not 0 to {MAX_DELAY_SECONDS}")
        for kind, url in self._urls.items():
            bodies = _bodies(each for each in messages if isinstance(each, kind))
            for batch in _batches(bodies):
                if not url:
                    raise ConfigurationError(f"there is no queue for {kind.__name__}")
                self._send_batch(url, batch, delay_seconds=math.ceil(delay_seconds))

    def _send_batch(self, url: str, bodies: Sequence[str], *, delay_seconds: int) -> None:
        entries: list[SendMessageBatchRequestEntryTypeDef] = [
            {"Id": str(number), "MessageBody": body, "DelaySeconds": delay_seconds}
            for number, body in enumerate(bodies)
        ]
        for _ in range(_ATTEMPTS):
            with translated_failures("SQS"):
                answer = self.client.send_message_batch(QueueUrl=url, Entries=entries)
            failed = {each["Id"] for each in answer.get("Failed", ())}
            entries = [each for each in entries if each["Id"] in failed]
            if not entries:
                return
            logger.info("messages not taken", extra={"messages": len(entries)})
        raise UnavailableError("SQS does not take messages")


def _bodies(changes: Iterable[Message]) -> Iterator[str]:
    for change in changes:
        body = format_change(change)
        if len(body.encode()) <= MAX_MESSAGE_BYTES or not isinstance(change, LookAtObjects):
            yield body
        else:
            half = len(change.object_keys) // 2
            keys = change.object_keys
            yield from _bodies(LookAtObjects(part) for part in (keys[:half], keys[half:]))


def _batches(bodies: Iterable[str]) -> Iterator[list[str]]:
    batch: list[str] = []
    size = 0
    for body in bodies:
        length = len(body.encode())
        if batch and (len(batch) == MAX_BATCH_MESSAGES or size + length > MAX_BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(body)
        size += length
    if batch:
        yield batch
