"""Brings the series up to date that a batch of messages says are due, and records their rest."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.logging.utils import copy_config_to_registered_loggers
from aws_lambda_powertools.utilities.batch import (
    BatchProcessor,
    EventType,
    process_partial_response,
)

from dicomulus.adapters.aws.changes import parse_changes
from dicomulus.adapters.aws.dead_letters import DeadLetters
from dicomulus.composition import aws_archive
from dicomulus.ports import CompactSeries, StabiliseSeries
from dicomulus.settings import Settings

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse
    from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
    from aws_lambda_powertools.utilities.typing import LambdaContext

logger = Logger()
package_logger = logging.getLogger("dicomulus")
copy_config_to_registered_loggers(logger, include={package_logger.name})
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
    for message in messages:
        if isinstance(message, StabiliseSeries):
            archive.stability.handle(message)


def compact_or_explain(record: SQSRecord) -> None:
    """Compact what one message names; the last failure is told in the dead-letter queue."""
    dead_letters.explain(record.raw_event, partial(compact, record))


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> PartialItemFailureResponse:
    """Compact message by message; give back those that are not done."""
    return process_partial_response(event, compact_or_explain, processor, context)
