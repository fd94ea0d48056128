"""Looks at the objects that a batch of messages says may have changed."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools.utilities.batch import (
    BatchProcessor,
    EventType,
    process_partial_response,
)

from dicomulus.adapters.aws.changes import parse_changes
from dicomulus.adapters.aws.dead_letters import DeadLetters
from dicomulus.adapters.aws.function_log import function_log
from dicomulus.adapters.aws.function_metrics import FunctionMetrics
from dicomulus.adapters.aws.function_trace import traced
from dicomulus.adapters.aws.metrics import BYTES_INDEXED, INSTANCES_INDEXED, MESSAGES_RETURNED
from dicomulus.composition import aws_archive
from dicomulus.errors import InvalidBodyError
from dicomulus.ports import LookAtObjects
from dicomulus.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse
    from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
    from aws_lambda_powertools.utilities.typing import LambdaContext

    from dicomulus.services.ingest import LookReport

logger = function_log()
metrics = FunctionMetrics()
settings = Settings.from_env()
archive = aws_archive(settings)
dead_letters = DeadLetters(settings.ingest_dead_letters_url, "ingest")
processor = BatchProcessor(EventType.SQS, raise_on_entire_batch_failure=False)


def keys_of(body: str) -> tuple[str, ...]:
    """Give the keys that a message names.

    Raises:
        InvalidBodyError: It is no message of this queue.
    """
    changes = parse_changes(body, bucket=settings.storage_bucket, prefix=settings.storage_prefix)
    looks = (change for change in changes if isinstance(change, LookAtObjects))
    return tuple(key for look in looks for key in look.object_keys)


def keys_of_all(records: list[dict[str, Any]]) -> tuple[str, ...]:
    """Give the keys of all messages, once; those that do not parse fail one by one later."""
    keys: dict[str, None] = {}
    for record in records:
        try:
            keys |= dict.fromkeys(keys_of(record["body"]))
        except InvalidBodyError:
            logger.warning("message not understood", extra={"message_id": record["messageId"]})
    return tuple(keys)


def measure(report: LookReport) -> None:
    """Measure what became of objects."""
    metrics.add(INSTANCES_INDEXED, len(report.indexed))
    metrics.add(BYTES_INDEXED, sum(row.object_size for row in report.indexed))
    metrics.add_rejections(report.rejected.values())


def look_at(keys: tuple[str, ...]) -> Mapping[str, Exception]:
    """Look at objects, give what failed; an unforeseen failure is the one object's that has it."""
    try:
        report = archive.ingest.look_at(keys)
    except Exception as exc:  # noqa: BLE001 (one defect must not hold up the other objects)
        if len(keys) == 1:
            # The text of such an exception may hold anything, so only its kind is kept.
            kind = type(exc).__qualname__
            logger.error("look failed", extra={"object_key": keys[0], "error": kind})  # noqa: TRY400
            return {keys[0]: exc}
    else:
        measure(report)
        return report.failed
    return {key: error for key in keys for error in look_at((key,)).values()}


@logger.inject_lambda_context
@metrics.of_invocations
@traced()
def handler(event: dict[str, Any], context: LambdaContext) -> PartialItemFailureResponse:
    """Look at everything the batch names at once; give back the messages that are not done."""
    failed = look_at(keys_of_all(event["Records"]))

    def settle(record: SQSRecord) -> None:
        for key in keys_of(record.body):
            if key in failed:
                raise failed[key]

    def settle_or_explain(record: SQSRecord) -> None:
        dead_letters.explain(record.raw_event, partial(settle, record))

    answer = process_partial_response(event, settle_or_explain, processor, context)
    metrics.add(MESSAGES_RETURNED, len(answer["batchItemFailures"]))
    return answer
