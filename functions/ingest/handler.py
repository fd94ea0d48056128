"""Looks at the objects that a batch of messages says may have changed."""

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
from dicomulus.errors import InvalidBodyError
from dicomulus.ports import LookAtObjects
from dicomulus.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse
    from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
    from aws_lambda_powertools.utilities.typing import LambdaContext

logger = Logger()
package_logger = logging.getLogger("dicomulus")
copy_config_to_registered_loggers(logger, include={package_logger.name})
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


def look_at(keys: tuple[str, ...]) -> Mapping[str, Exception]:
    """Look at objects, give what failed; an unforeseen failure is the one object's that has it."""
    try:
        return archive.ingest.look_at(keys).failed
    except Exception as exc:  # noqa: BLE001 (one defect must not hold up the other objects)
        if len(keys) == 1:
            # The text of such an exception may hold anything, so only its kind is kept.
            kind = type(exc).__qualname__
            logger.error("look failed", extra={"object_key": keys[0], "error": kind})  # noqa: TRY400
            return {keys[0]: exc}
    return {key: error for key in keys for error in look_at((key,)).values()}


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> PartialItemFailureResponse:
    """Look at everything the batch names at once; give back the messages that are not done."""
    failed = look_at(keys_of_all(event["Records"]))

    def settle(record: SQSRecord) -> None:
        for key in keys_of(record.body):
            if key in failed:
                raise failed[key]

    def settle_or_explain(record: SQSRecord) -> None:
        dead_letters.explain(record.raw_event, partial(settle, record))

    return process_partial_response(event, settle_or_explain, processor, context)
