"""Dead letters of a deployment: what they are, why they are there, and back to where they came from."""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import boto3
from botocore.exceptions import ClientError

from dicomulus.adapters.aws.changes import key_of_event_record
from dicomulus.adapters.aws.dead_letters import FIRST_SENT, REASON
from dicomulus.adapters.aws.failures import translated_failures
from dicomulus.adapters.aws.stack_outputs import outputs_of_stack, stack_name
from dicomulus.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import MessageTypeDef

OUTPUTS: Final = (
    ("ingest", "IngestDeadLettersUrl", "IngestQueueUrl"),
    ("compact", "CompactDeadLettersUrl", "CompactQueueUrl"),
    ("events", "EventDeadLettersUrl", "IngestQueueUrl"),
)
"""Name of a dead-letter queue, its output of the stateful stack and that of the queue before it.

``events`` is of an adopted bucket alone: what EventBridge could not send to the ingest queue.
"""

HOLD_SECONDS: Final = 120
"""Seconds for which what was received is nobody else's, and comes back if this process dies."""

NO_REASON: Final = "timed out or crashed: no reason recorded"
"""What is known of a message that SQS itself has moved."""

_MOST: Final = 10
"""Messages of one ReceiveMessage (SQS)."""

_EMPTY_ANSWERS: Final = 3
"""Receives without a message after which a queue counts as empty: SQS asks a sample of its servers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetterQueue:
    """A dead-letter queue and the queue that its messages go back to."""

    name: str
    url: str
    target_url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """A message that failed for good."""

    message_id: str
    subjects: tuple[str, ...]
    """Keys of the objects, or the series, that it is about."""
    reason: str
    first_sent_ms: int
    receives: int
    body: str
    receipt_handle: str


def queues_of_stage(stage: str) -> tuple[DeadLetterQueue, ...]:
    """Find the dead-letter queues of a deployment by the outputs of its stateful stack.

    Raises:
        ConfigurationError: There is no such stack, or it may not be asked.
    """
    name = stack_name(stage, "Stateful")
    outputs = outputs_of_stack(name)
    found = tuple(
        DeadLetterQueue(name=name, url=outputs[url], target_url=outputs[target])
        for name, url, target in OUTPUTS
        if url in outputs and target in outputs
    )
    if not found:
        raise ConfigurationError(f"the stack {name} names no dead-letter queue; deploy it again")
    return found


def queue_of_url(url: str, *, target_url: str = "") -> DeadLetterQueue:
    """Give a dead-letter queue by its URL; the queue before it is the one that SQS knows.

    Raises:
        ConfigurationError: It is not there, or SQS knows no queue, or several, before it.
    """
    if not target_url:
        with _explained(f"the queue {url}"), translated_failures("SQS"):
            answer = boto3.client("sqs").list_dead_letter_source_queues(QueueUrl=url)
        sources = answer.get("queueUrls", [])
        if len(sources) != 1:
            raise ConfigurationError(
                f"{url} is the dead-letter queue of {len(sources)} queues; name the one that its "
                "messages go to by --to"
            )
        (target_url,) = sources
    return DeadLetterQueue(name=url.rsplit("/", 1)[-1], url=url, target_url=target_url)


class Redrive:
    """Walks over one dead-letter queue."""

    def __init__(self, queue: DeadLetterQueue, *, client: SQSClient | None = None) -> None:
        """Walk by a client of one's own or the given one."""
        self._queue = queue
        with translated_failures("SQS"):
            self._client = client or boto3.client("sqs")

    def walk(
        self, is_wanted: Callable[[DeadLetter], bool], *, moves: bool, limit: int | None = None
    ) -> Iterator[DeadLetter]:
        """Give the messages that are wanted, each moved back before it is given where that is asked.

        Sent first and removed then, so that one that is cut off is there twice and never lost. What
        is not moved is visible to others again when the walk is over.
        """
        held: dict[str, str] = {}
        given = 0
        try:
            for letters in self._received():
                held |= {letter.message_id: letter.receipt_handle for letter in letters}
                for letter in filter(is_wanted, letters):
                    if given == limit:
                        return
                    if moves:
                        self._move(letter)
                        del held[letter.message_id]
                    given += 1
                    yield letter
        finally:
            self._release(list(held.values()))

    def _received(self) -> Iterator[list[DeadLetter]]:
        empty = 0
        seen: set[str] = set()
        while empty < _EMPTY_ANSWERS:
            with _explained(f"the queue {self._queue.url}"), translated_failures("SQS"):
                answer = self._client.receive_message(
                    QueueUrl=self._queue.url,
                    MaxNumberOfMessages=_MOST,
                    VisibilityTimeout=HOLD_SECONDS,
                    MessageAttributeNames=["All"],
                    MessageSystemAttributeNames=["All"],
                )
            letters = [letter_of(message) for message in answer.get("Messages", ())]
            # A walk longer than the hold meets its first messages again.
            new = [letter for letter in letters if letter.message_id not in seen]
            empty = 0 if new else empty + 1
            seen |= {letter.message_id for letter in new}
            if new:
                yield new

    def _move(self, letter: DeadLetter) -> None:
        with translated_failures("SQS"):
            self._client.send_message(QueueUrl=self._queue.target_url, MessageBody=letter.body)
            self._client.delete_message(
                QueueUrl=self._queue.url, ReceiptHandle=letter.receipt_handle
            )

    def _release(self, handles: list[str]) -> None:
        with translated_failures("SQS"):
            for start in range(0, len(handles), _MOST):
                self._client.change_message_visibility_batch(
                    QueueUrl=self._queue.url,
                    Entries=[
                        {"Id": str(number), "ReceiptHandle": handle, "VisibilityTimeout": 0}
                        for number, handle in enumerate(handles[start : start + _MOST])
                    ],
                )


def letter_of(message: MessageTypeDef) -> DeadLetter:
    """Read a message of a dead-letter queue."""
    given = message.get("MessageAttributes", {})
    told = {name: value.get("StringValue", "") for name, value in given.items()}
    system: Mapping[Any, str] = message.get("Attributes", {})
    return DeadLetter(
        message_id=message["MessageId"],
        subjects=subjects_of(message["Body"]),
        reason=_reason(told),
        first_sent_ms=int(told.get(FIRST_SENT) or system.get("SentTimestamp", "0")),
        receives=int(system.get("ApproximateReceiveCount", "0")),
        body=message["Body"],
        receipt_handle=message["ReceiptHandle"],
    )


def subjects_of(body: str) -> tuple[str, ...]:
    """Give what a message is about, of whatever kind it is: keys with their bucket's prefix, UIDs."""
    try:
        return tuple(_subjects(json.loads(body)))
    except (ValueError, TypeError, KeyError, AttributeError):
        return ()


def _subjects(content: Mapping[str, Any]) -> Iterator[str]:
    if "look_at_objects" in content:
        yield from map(str, content["look_at_objects"])
    for kind in ("compact_series", "stabilise_series"):
        if kind in content:
            yield "/".join(map(str, content[kind][:2]))
    for record in content.get("Records", ()):
        yield key_of_event_record(record)
    if content.get("source") == "aws.s3":
        yield content["detail"]["object"]["key"]


def _reason(told: Mapping[str, str]) -> str:
    if REASON in told:
        return told[REASON]
    if "ERROR_CODE" in told:  # of EventBridge
        return f"not sent by EventBridge: {told['ERROR_CODE']}: {told.get('ERROR_MESSAGE', '')}"
    return NO_REASON


@contextmanager
def _explained(what: str) -> Iterator[None]:
    """Say of what AWS refuses what it is about."""
    try:
        yield
    except (ClientError, ConfigurationError) as exc:
        raise ConfigurationError(f"{what}: {exc}") from exc
