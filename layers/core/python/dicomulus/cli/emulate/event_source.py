"""A queue's messages handed to a function, as Lambda's event source mapping does."""

from __future__ import annotations

import importlib.util
import sys
import time
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from dicomulus.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import MessageTypeDef

    from dicomulus.adapters.aws.limits import BatchLimits

    Handler = Callable[[Any, Any], Any]

MAX_RECEIVED: Final = 10
"""Messages of one ReceiveMessage (SQS)."""

HANDLER: Final = "handler.py"
"""File of a function's folder that Lambda is told to run."""


_REMAINING_MS: Final = 60_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What a handler is told of its invocation."""

    function_name: str
    memory_limit_in_mb: int = 1_769
    aws_request_id: str = field(default_factory=lambda: str(uuid.uuid4()))

    @property
    def invoked_function_arn(self) -> str:
        """Name of the function everywhere in AWS."""
        return f"arn:aws:lambda:us-east-1:123456789012:function:{self.function_name}"

    def get_remaining_time_in_millis(self) -> int:
        """Milliseconds until the invocation is ended, which here it never is."""
        return _REMAINING_MS


def load_handler(functions: Path, name: str) -> Handler:
    """Load a function's handler from its folder, as the runtime does from its package.

    Raises:
        ConfigurationError: There is no such function.
    """
    path = functions / name / HANDLER
    spec = importlib.util.spec_from_file_location(f"emulated_{name}_handler", path)
    if not path.is_file() or spec is None or spec.loader is None:
        raise ConfigurationError(f"functions: there is no {path}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    handler: Handler = module.handler
    return handler


class EventSource:
    """One queue and the function that it feeds."""

    def __init__(
        self,
        queue_url: str,
        function_name: str,
        *,
        handler: Handler,
        batch: BatchLimits,
        sqs: SQSClient,
    ) -> None:
        """Feed a handler from a queue."""
        self._queue_url = queue_url
        self._function_name = function_name
        self._handler = handler
        self._batch = batch
        self._sqs = sqs

    def pump(self, *, wait_seconds: int = 0) -> int:
        """Hand over one batch; what the function reports as failed stays in the queue.

        Args:
            wait_seconds: Wait so long for the first message.

        Returns:
            How many messages were handed over.
        """
        messages = self._receive(wait_seconds)
        if not messages:
            return 0
        event = {"Records": [self.record(message) for message in messages]}
        answer = self._handler(event, Context(function_name=self._function_name)) or {}
        failed = {each["itemIdentifier"] for each in answer.get("batchItemFailures", ())}
        for message in messages:
            if message["MessageId"] not in failed:
                self._sqs.delete_message(
                    QueueUrl=self._queue_url, ReceiptHandle=message["ReceiptHandle"]
                )
        return len(messages)

    def _receive(self, wait_seconds: int) -> list[MessageTypeDef]:
        messages = list(self._receive_some(MAX_RECEIVED, wait_seconds))
        end = time.monotonic() + self._batch.window_seconds
        while messages and len(messages) < self._batch.messages and time.monotonic() < end:
            more = self._receive_some(min(MAX_RECEIVED, self._batch.messages - len(messages)), 0)
            messages += more
            if not more:
                time.sleep(0.1)
        return messages

    def _receive_some(self, most: int, wait_seconds: int) -> Sequence[MessageTypeDef]:
        answer = self._sqs.receive_message(
            QueueUrl=self._queue_url,
            MaxNumberOfMessages=min(most, self._batch.messages),
            WaitTimeSeconds=wait_seconds,
            MessageSystemAttributeNames=["All"],
        )
        return answer.get("Messages", ())

    def record(self, message: MessageTypeDef) -> dict[str, Any]:
        """Write a message as it is part of an event."""
        region = self._sqs.meta.region_name
        account, queue_name = self._queue_url.split("/")[-2:]
        return {
            "messageId": message["MessageId"],
            "receiptHandle": message["ReceiptHandle"],
            "body": message["Body"],
            "attributes": message.get("Attributes", {}),
            "messageAttributes": {},
            "md5OfBody": message["MD5OfBody"],
            "eventSource": "aws:sqs",
            "eventSourceARN": f"arn:aws:sqs:{region}:{account}:{queue_name}",
            "awsRegion": region,
        }
