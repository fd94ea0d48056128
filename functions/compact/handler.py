"""Brings the series up to date that a batch of messages says are due, and records their rest."""

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
from dicomulus.adapters.aws.metrics import COMPACTION_LAG, MESSAGES_RETURNED, SERIES_COMPACTED
from dicomulus.composition import aws_archive, clock_ms
from dicomulus.ports import CompactSeries, StabiliseSeries
from dicomulus.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Collection

    from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse
    from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
    from aws_lambda_powertools.utilities.typing import LambdaContext

    from dicomulus.dicom.resource import SeriesResource

logger = function_log()
metrics = FunctionMetrics()
settings = Settings.from_env()
archive = aws_archive(settings)
dead_letters = DeadLetters(settings.compact_dead_letters_url, "compact")
processor = BatchProcessor(EventType.SQS, raise_on_entire_batch_failure=False)


def compact(record: SQSRecord) -> None:
    """Compact what one message names, or record that it is stable.

    Raises:
        InvalidBodyError: It is no message of this queue.
        UnavailableError: A series is still due.
    """
    messages = parse_changes(record.body, bucket=settings.storage_bucket)
    compacted = archive.compaction.compact(
        [message.series for message in messages if isinstance(message, CompactSeries)]
    )
    archive.stability.announce(compacted)
    measure(record, compacted)
    for message in messages:
        if isinstance(message, StabiliseSeries):
            archive.stability.handle(message)


def measure(record: SQSRecord, compacted: Collection[SeriesResource]) -> None:
    """Measure what one message has led to, and how long after it was sent."""
    metrics.add(SERIES_COMPACTED, len(compacted))
    sent_ms = record.raw_event["attributes"].get("SentTimestamp")
    if compacted and sent_ms:
        metrics.add(COMPACTION_LAG, max(0, clock_ms() - int(sent_ms)) / 1000)


def compact_or_explain(record: SQSRecord) -> None:
    """Compact what one message names; the last failure is told in the dead-letter queue."""
    dead_letters.explain(record.raw_event, partial(compact, record))


@logger.inject_lambda_context
@metrics.of_invocations
@traced()
def handler(event: dict[str, Any], context: LambdaContext) -> PartialItemFailureResponse:
    """Compact message by message; give back those that are not done."""
    answer = process_partial_response(event, compact_or_explain, processor, context)
    metrics.add(MESSAGES_RETURNED, len(answer["batchItemFailures"]))
    return answer
