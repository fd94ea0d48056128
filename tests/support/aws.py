"""AWS as an emulator plays it, and what tests do to it: counting requests, crashing between them."""

from __future__ import annotations

import threading
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import boto3

from dicomulus.adapters.aws.schema import create_table_arguments
from tests.support.emulators import played_aws

if TYPE_CHECKING:
    from collections.abc import Iterator

REGION = "eu-central-1"
TABLE_NAME = "dicomulus-index"
STORAGE_BUCKET = "dicomulus-storage"
CACHE_BUCKET = "dicomulus-cache"
INGEST_QUEUE = "dicomulus-ingest"
COMPACT_QUEUE = "dicomulus-compact"


class CrashError(BaseException):
    """The process ends here: nothing of it runs on, no handler sees it."""


@dataclass(frozen=True, slots=True)
class MotoAws:
    """What is played: names and URLs, and a client of each service."""

    dynamodb: Any
    s3: Any
    sqs: Any
    table_name: str
    storage_bucket: str
    cache_bucket: str
    ingest_queue_url: str
    compact_queue_url: str


@contextmanager
def moto_aws() -> Iterator[MotoAws]:
    """Play AWS with an empty table, two buckets and two queues.

    Keep a table under 2,000 items: every query of moto walks all of it.
    """
    with played_aws():
        dynamodb = boto3.client("dynamodb", region_name=REGION)
        dynamodb.create_table(**create_table_arguments(TABLE_NAME))
        s3 = boto3.client("s3", region_name=REGION)
        for bucket in (STORAGE_BUCKET, CACHE_BUCKET):
            s3.create_bucket(
                Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"}
            )
        sqs = boto3.client("sqs", region_name=REGION)
        yield MotoAws(
            dynamodb=dynamodb,
            s3=s3,
            sqs=sqs,
            table_name=TABLE_NAME,
            storage_bucket=STORAGE_BUCKET,
            cache_bucket=CACHE_BUCKET,
            ingest_queue_url=sqs.create_queue(QueueName=INGEST_QUEUE)["QueueUrl"],
            compact_queue_url=sqs.create_queue(QueueName=COMPACT_QUEUE)["QueueUrl"],
        )


def empty_table(aws: MotoAws) -> None:
    """Make the table anew, which is quicker than starting all over."""
    aws.dynamodb.delete_table(TableName=aws.table_name)
    aws.dynamodb.create_table(**create_table_arguments(aws.table_name))


@dataclass(slots=True)
class RequestCounter:
    """Requests by operation, such as ``UpdateItem``."""

    counts: Counter[str] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def total(self) -> int:
        """All requests."""
        return sum(self.counts.values())


@contextmanager
def counted_requests(*clients: Any) -> Iterator[RequestCounter]:
    """Count the requests that botocore clients make."""
    counter = RequestCounter()

    def count(model: Any, **_: Any) -> None:
        with counter.lock:
            counter.counts[model.name] += 1

    with _before_each_request(count, *clients):
        yield counter


@contextmanager
def crash_after(requests: int, *clients: Any) -> Iterator[None]:
    """Let botocore clients make so many requests, and crash at the next and all that follow."""
    lock = threading.Lock()
    made = 0

    def crash(**_: Any) -> None:
        nonlocal made
        with lock:
            made += 1
            if made > requests:
                raise CrashError

    with _before_each_request(crash, *clients):
        yield


@contextmanager
def _before_each_request(handler: Any, *clients: Any) -> Iterator[None]:
    for client in clients:
        client.meta.events.register_first("before-call", handler)
    try:
        yield
    finally:
        for client in clients:
            client.meta.events.unregister("before-call", handler)
