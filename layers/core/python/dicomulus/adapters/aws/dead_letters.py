"""Messages that failed for good, put into the dead-letter queue with the reason of that."""

from __future__ import annotations

import logging
from traceback import extract_tb
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import BotoCoreError, ClientError

from dicomulus.adapters.aws.limits import MAX_RECEIVES
from dicomulus.adapters.aws.sqs_queue import sqs_client
from dicomulus.errors import DicomulusError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import MessageAttributeValueTypeDef

logger = logging.getLogger(__name__)

REASON: Final = "Reason"
"""Attribute of a message in a dead-letter queue: why it failed the last time."""

FUNCTION: Final = "Function"
"""Attribute: the function that failed."""

RECEIVE_COUNT: Final = "ReceiveCount"
"""Attribute: how often it was delivered before."""

FIRST_SENT: Final = "FirstSent"
"""Attribute: when it was first sent, in milliseconds since the epoch."""

MAX_REASON_CHARACTERS: Final = 1_000


class DeadLetters:
    """What a function does with a message at its last attempt.

    SQS itself moves a message whose function crashed or ran out of time, but can tell no reason.
    So what can be told is told here: the message is sent to the dead-letter queue with its reason,
    and only then counts as done in its own.
    """

    def __init__(self, queue_url: str, function: str, *, client: SQSClient | None = None) -> None:
        """Send to a dead-letter queue; without a URL all is left to SQS."""
        self._queue_url = queue_url
        self._function = function
        self._client = client

    def explain(self, record: Mapping[str, Any], handle: Callable[[], None]) -> None:
        """Handle a record of SQS; at its last attempt its failure is told, and is no failure.

        Raises:
            Exception: What ``handle`` raised, where the message comes again or could not be sent.
        """
        try:
            handle()
        except Exception as exc:
            if not (self._queue_url and is_last_attempt(record) and self._bury(record, exc)):
                raise

    def _bury(self, record: Mapping[str, Any], error: Exception) -> bool:
        reason = reason_of(error)
        told = {"message_id": record["messageId"], "reason": reason}
        attributes = record["attributes"]
        values = {
            REASON: reason,
            FUNCTION: self._function,
            RECEIVE_COUNT: attributes["ApproximateReceiveCount"],
            FIRST_SENT: attributes.get("SentTimestamp", ""),
        }
        try:
            # Made when it is needed, which is seldom; a cold start need not wait for it.
            self._client = self._client or sqs_client()
            self._client.send_message(
                QueueUrl=self._queue_url,
                MessageBody=record["body"],
                MessageAttributes={name: _text(value) for name, value in values.items() if value},
            )
        except (BotoCoreError, ClientError):
            # SQS moves it then, without the reason, so that this is where it can be read.
            logger.warning("a dead letter was not taken with its reason", extra=told)
            return False
        logger.error("message failed for good", extra=told)
        return True


def is_last_attempt(record: Mapping[str, Any]) -> bool:
    """Whether SQS moves a message to the dead-letter queue instead of delivering it again."""
    count = record["attributes"].get("ApproximateReceiveCount", "0")
    return int(count) >= MAX_RECEIVES


def reason_of(error: Exception) -> str:
    """Tell a failure in one line: an error of this package by code and text, a defect by its place.

    The text of an unforeseen error may hold anything of a patient; its kind and place do not.
    """
    if isinstance(error, DicomulusError):
        text = f"{error.code}: {error}"
    else:
        frames = extract_tb(error.__traceback__)
        place = f" at {frames[-1].filename}:{frames[-1].lineno}" if frames else ""
        text = f"defect: {type(error).__qualname__}{place}"
    line = "".join(char if char.isprintable() else " " for char in text)
    return line[:MAX_REASON_CHARACTERS]


def _text(value: str) -> MessageAttributeValueTypeDef:
    return {"DataType": "String", "StringValue": value}
