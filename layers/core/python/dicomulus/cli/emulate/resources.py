"""Buckets, table and queues as the templates describe them, made by plain calls."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from dicomulus.adapters.aws.bucket_cors import storage_cors_rule
from dicomulus.adapters.aws.limits import MAX_RECEIVES
from dicomulus.adapters.aws.schema import create_table_arguments

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_events import EventBridgeClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sqs import SQSClient

    from dicomulus.settings import Settings

STORAGE_BUCKET: Final = "dicomulus-storage"
ADOPTED_BUCKET: Final = "hospital-archive"
RULE: Final = "dicomulus-events"
CACHE_BUCKET: Final = "dicomulus-cache"
TABLE: Final = "dicomulus-index"

VISIBILITY_SECONDS: Final = 60
"""Seconds after which a message whose function failed is delivered again; deployed it is minutes,
but here somebody waits."""

EVENTS: Final = ("s3:ObjectCreated:*", "s3:ObjectRemoved:*")
"""What the storage bucket tells the ingest queue."""


@dataclass(frozen=True, slots=True)
class Clients:
    """A client of each service."""

    dynamodb: DynamoDBClient
    s3: S3Client
    sqs: SQSClient
    events: EventBridgeClient | None = None
    """Of EventBridge, where a bucket is adopted."""


def make_resources(clients: Clients, settings: Settings) -> Settings:
    """Make what is not there yet; give the settings with the names of everything.

    With a client of EventBridge the storage bucket is somebody else's that is adopted.
    """
    # With boto3, whose absence is told in words before.
    from dicomulus.adapters.aws.adoption import event_pattern

    storage_bucket = STORAGE_BUCKET if clients.events is None else ADOPTED_BUCKET
    with suppress(clients.dynamodb.exceptions.ResourceInUseException):
        clients.dynamodb.create_table(**create_table_arguments(TABLE))
    region = clients.s3.meta.region_name
    # The oldest region must not be named.
    where: Any = {} if region == "us-east-1" else {"LocationConstraint": region}
    for bucket in (storage_bucket, CACHE_BUCKET):
        if where:
            clients.s3.create_bucket(Bucket=bucket, CreateBucketConfiguration=where)
        else:
            clients.s3.create_bucket(Bucket=bucket)
    rule = storage_cors_rule(settings.allowed_origins, public_base_url=settings.public_base_url)
    clients.s3.put_bucket_cors(Bucket=storage_bucket, CORSConfiguration={"CORSRules": [rule]})
    # Without versions, as moto tells nothing of an object that only gets a delete marker.
    ingest_queue_url, ingest_dead_letters_url = _make_queue(clients.sqs, "ingest")
    compact_queue_url, compact_dead_letters_url = _make_queue(clients.sqs, "compact")
    ingest_queue_arn = _arn_of(clients.sqs, ingest_queue_url)
    if clients.events is None:
        told: Any = [{"QueueArn": ingest_queue_arn, "Events": list(EVENTS)}]
        clients.s3.put_bucket_notification_configuration(
            Bucket=storage_bucket, NotificationConfiguration={"QueueConfigurations": told}
        )
    else:
        clients.s3.put_bucket_notification_configuration(
            Bucket=storage_bucket, NotificationConfiguration={"EventBridgeConfiguration": {}}
        )
        # Its module wants boto3, which the command must be able to say is missing.
        from dicomulus.adapters.aws.adoption import event_pattern

        pattern = event_pattern(storage_bucket, settings.storage_prefix)
        clients.events.put_rule(Name=RULE, EventPattern=json.dumps(pattern))
        clients.events.put_targets(Rule=RULE, Targets=[{"Id": "Ingest", "Arn": ingest_queue_arn}])
    return replace(
        settings,
        table_name=TABLE,
        storage_bucket=storage_bucket,
        cache_bucket=CACHE_BUCKET,
        ingest_queue_url=ingest_queue_url,
        compact_queue_url=compact_queue_url,
        ingest_dead_letters_url=ingest_dead_letters_url,
        compact_dead_letters_url=compact_dead_letters_url,
    )


def _make_queue(sqs: SQSClient, name: str) -> tuple[str, str]:
    """Make a queue and its dead-letter queue; give their URLs."""
    dead_letters = sqs.create_queue(QueueName=f"dicomulus-{name}-dead-letters")["QueueUrl"]
    redrive = {
        "deadLetterTargetArn": _arn_of(sqs, dead_letters),
        "maxReceiveCount": MAX_RECEIVES,
    }
    queue = sqs.create_queue(
        QueueName=f"dicomulus-{name}",
        Attributes={
            "VisibilityTimeout": str(VISIBILITY_SECONDS),
            "RedrivePolicy": json.dumps(redrive),
        },
    )["QueueUrl"]
    return queue, dead_letters


def _arn_of(sqs: SQSClient, queue_url: str) -> str:
    attributes = sqs.get_queue_attributes(QueueUrl=queue_url, AttributeNames=["QueueArn"])
    return attributes["Attributes"]["QueueArn"]
