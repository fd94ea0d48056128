"""The SQS queues keep the contract of ``ChangeQueue``, and read what S3 says of its objects."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from dicomulus.adapters.aws.changes import format_change, key_of_event_record, parse_changes
from dicomulus.adapters.aws.sqs_queue import (
    MAX_BATCH_BYTES,
    MAX_BATCH_MESSAGES,
    MAX_MESSAGE_BYTES,
    SqsQueue,
    sqs_client,
)
from dicomulus.errors import ConfigurationError, InvalidBodyError, UnavailableError
from dicomulus.ports import CompactSeries, LookAtObjects, StabiliseSeries
from tests.support.aws import REGION, STORAGE_BUCKET, moto_aws
from tests.support.builders import series_of
from tests.support.emulators import chosen
from tests.support.queue_contract import ChangeQueueContract

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mypy_boto3_sqs import SQSClient

    from dicomulus.ports import ChangeQueue, Message
    from tests.support.aws import MotoAws


@pytest.fixture(scope="module")
def aws() -> Iterator[MotoAws]:
    with moto_aws() as aws:
        yield aws


@pytest.fixture(scope="module")
def client(aws: MotoAws) -> SQSClient:
    return sqs_client(REGION)


@pytest.fixture
def urls(client: SQSClient) -> tuple[str, str]:
    made = [client.create_queue(QueueName=f"queue-{uuid4()}")["QueueUrl"] for _ in range(2)]
    return made[0], made[1]


def bodies_in(client: SQSClient, url: str) -> list[str]:
    """Take all visible messages out of a queue."""
    bodies: list[str] = []
    while messages := client.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
        for message in messages:
            bodies.append(message["Body"])
            client.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    return bodies


class TestSqsQueue(ChangeQueueContract):
    @pytest.fixture
    def queue(self, client: SQSClient, urls: tuple[str, str]) -> Iterator[SqsQueue]:
        self.urls = urls
        yield SqsQueue(*urls, client=client)  # noqa: PT022  (as the contract has it)

    def receive(self, queue: ChangeQueue, *, after_seconds: float = 0) -> list[Message]:
        assert isinstance(queue, SqsQueue)
        if after_seconds and chosen() != "moto":
            pytest.skip("the clock of another process cannot be put on")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(
                "moto.sqs.models.unix_time_millis",
                lambda *_: (time.time() + after_seconds) * 1000,
            )
            bodies = [body for url in self.urls for body in bodies_in(queue.client, url)]
        return [change for body in bodies for change in parse_changes(body, bucket=STORAGE_BUCKET)]


def test_each_kind_of_change_has_its_queue(client: SQSClient, urls: tuple[str, str]) -> None:
    look, compact, stabilise = (
        LookAtObjects(("a",)),
        CompactSeries(series_of()),
        StabiliseSeries(series_of(), 7),
    )
    SqsQueue(*urls, client=client).send([compact, look, stabilise])
    assert bodies_in(client, urls[0]) == [format_change(look)]
    assert set(bodies_in(client, urls[1])) == {format_change(compact), format_change(stabilise)}


def test_a_batch_keeps_to_the_limits_of_sqs(client: SQSClient, urls: tuple[str, str]) -> None:
    batches: list[list[Any]] = []

    def see(params: Any, **_: Any) -> None:
        batches.append(params["Entries"])

    client.meta.events.register("provide-client-params.sqs.SendMessageBatch", see)
    try:
        keys = tuple(f"{number}/{'k' * 900}" for number in range(1_000))
        SqsQueue(*urls, client=client).send([LookAtObjects(keys), LookAtObjects(("last",))])
    finally:
        client.meta.events.unregister("provide-client-params.sqs.SendMessageBatch", see)
    sizes = [[len(entry["MessageBody"].encode()) for entry in batch] for batch in batches]
    assert len(batches) > 1
    assert all(
        len(batch) <= MAX_BATCH_MESSAGES and sum(batch) <= MAX_BATCH_BYTES for batch in sizes
    )
    assert all(size <= MAX_MESSAGE_BYTES for batch in sizes for size in batch)


def failing_entries(client: SQSClient, *, times: int) -> Any:
    """Make SQS report the first entry of a batch as not taken, so many times."""
    left = times

    def fail(parsed: dict[str, Any], **_: Any) -> None:
        nonlocal left
        if left:
            left -= 1
            entry = parsed["Successful"].pop(0)
            parsed["Failed"] = [{"Id": entry["Id"], "SenderFault": False, "Code": "InternalError"}]

    client.meta.events.register("after-call.sqs.SendMessageBatch", fail)
    return fail


@pytest.mark.parametrize("times", [1, 3])
def test_what_a_batch_did_not_take_is_sent_again(
    client: SQSClient, urls: tuple[str, str], times: int
) -> None:
    handler = failing_entries(client, times=times)
    try:
        SqsQueue(*urls, client=client).send([LookAtObjects(("a",)), LookAtObjects(("b",))])
    finally:
        client.meta.events.unregister("after-call.sqs.SendMessageBatch", handler)
    sent = bodies_in(client, urls[0])
    assert len(sent) == 2 + times
    assert set(sent) == {format_change(LookAtObjects((key,))) for key in "ab"}


def test_messages_never_taken_are_an_error(client: SQSClient, urls: tuple[str, str]) -> None:
    handler = failing_entries(client, times=100)
    try:
        with pytest.raises(UnavailableError):
            SqsQueue(*urls, client=client).send([LookAtObjects(("a",))])
    finally:
        client.meta.events.unregister("after-call.sqs.SendMessageBatch", handler)


@pytest.mark.parametrize("delay_seconds", [-1, 901])
def test_a_delay_that_sqs_does_not_have_is_refused(
    client: SQSClient, urls: tuple[str, str], delay_seconds: float
) -> None:
    with pytest.raises(ValueError, match="delay_seconds"):
        SqsQueue(*urls, client=client).send([LookAtObjects(("a",))], delay_seconds=delay_seconds)


def test_a_queue_that_is_not_there_is_an_error_of_configuration(
    client: SQSClient, urls: tuple[str, str]
) -> None:
    with pytest.raises(ConfigurationError):
        SqsQueue(urls[0] + "-x", "", client=client).send([LookAtObjects(("a",))])
    with pytest.raises(ConfigurationError):
        SqsQueue(urls[0], "", client=client).send([CompactSeries(series_of())])


# --- what S3 says --------------------------------------------------------------------------------


def notification(*keys: str, bucket: str = STORAGE_BUCKET) -> str:
    """Give a notification as S3 writes one; keys as they are in it."""
    return json.dumps(
        {
            "Records": [
                {
                    "eventVersion": "2.6",
                    "eventSource": "aws:s3",
                    "eventName": "ObjectCreated:Put",
                    "s3": {
                        "bucket": {"name": bucket, "arn": f"arn:aws:s3:::{bucket}"},
                        "object": {"key": key, "size": 1, "eTag": "e", "sequencer": "00"},
                    },
                }
                for key in keys
            ]
        }
    )


def bridged(key: str, bucket: str = STORAGE_BUCKET) -> str:
    """Give an event of S3 as EventBridge hands it on."""
    return json.dumps(
        {
            "version": "0",
            "detail-type": "Object Deleted",
            "source": "aws.s3",
            "detail": {
                "bucket": {"name": bucket},
                "object": {"key": key},
                "reason": "DeleteObject",
            },
        }
    )


def test_a_notification_says_to_look_at_its_objects() -> None:
    body = notification("dicom/1.2/3.dcm", "M%C3%BCller+1%2B2.dcm", "dicom/1.2/3.dcm")
    assert parse_changes(body, bucket=STORAGE_BUCKET) == (
        LookAtObjects(("dicom/1.2/3.dcm", "Müller 1+2.dcm")),
    )


def test_the_key_of_a_record_is_encoded_as_in_a_form() -> None:
    record = json.loads(notification("a+b%2Fc%25"))["Records"][0]
    assert key_of_event_record(record) == "a b/c%"


def test_an_event_by_eventbridge_has_its_key_as_it_is() -> None:
    assert parse_changes(bridged("a+b%20c"), bucket=STORAGE_BUCKET) == (
        LookAtObjects(("a+b%20c",)),
    )


def real_event(detail_type: str, key: str, **detail: object) -> str:
    """Write an event as EventBridge hands it to a queue, with all that S3 says."""
    return json.dumps(
        {
            "version": "0",
            "id": "17793124-05d4-b198-2fde-7ededc63b103",
            "detail-type": detail_type,
            "source": "aws.s3",
            "account": "123456789012",
            "time": "2026-03-02T07:14:09Z",
            "region": "eu-central-1",
            "resources": [f"arn:aws:s3:::{STORAGE_BUCKET}"],
            "detail": {
                "version": "0",
                "bucket": {"name": STORAGE_BUCKET},
                "object": {"key": key, "sequencer": "617f08299329d189"},
                "request-id": "N4N7GDK58NMKJ12R",
                "requester": "123456789012",
                **detail,
            },
        }
    )


@pytest.mark.parametrize("key", ["Müller/ä ö.dcm", "a+b", "100%", "a%2Bb%20", "日本/é", "a b\tc"])
def test_keys_of_eventbridge_are_never_decoded(key: str) -> None:
    """What looks like an escape there is the key's own."""
    body = real_event("Object Created", key, reason="PutObject")
    assert parse_changes(body, bucket=STORAGE_BUCKET) == (LookAtObjects((key,)),)


@pytest.mark.parametrize(
    ("detail_type", "detail"),
    [
        ("Object Created", {"reason": "CompleteMultipartUpload"}),
        ("Object Created", {"reason": "CopyObject"}),
        (
            "Object Deleted",
            {"reason": "DeleteObject", "deletion-type": "Delete Marker Created"},
        ),
        ("Object Deleted", {"reason": "DeleteObject", "deletion-type": "Permanently Deleted"}),
        # S3 itself removes it: there is a requester, and no address.
        (
            "Object Deleted",
            {
                "reason": "Lifecycle Expiration",
                "deletion-type": "Permanently Deleted",
                "requester": "s3.amazonaws.com",
            },
        ),
        ("Object Restore Completed", {"restore-expiry-time": "2026-04-02T00:00:00Z"}),
    ],
)
def test_whatever_happens_to_an_object_is_to_look_at_it(
    detail_type: str, detail: dict[str, object]
) -> None:
    body = real_event(detail_type, "archive/a +1.dcm", **detail)
    assert parse_changes(body, bucket=STORAGE_BUCKET, prefix="archive/") == (
        LookAtObjects(("a +1.dcm",)),
    )


def test_the_test_event_of_a_new_notification_says_nothing() -> None:
    body = json.dumps({"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": STORAGE_BUCKET})
    assert parse_changes(body, bucket=STORAGE_BUCKET) == ()


@pytest.mark.parametrize(
    "body", [notification("archive/a", bucket="other"), bridged("a"), notification("archived/a")]
)
def test_other_buckets_and_prefixes_say_nothing(body: str) -> None:
    assert parse_changes(body, bucket=STORAGE_BUCKET, prefix="archive/") == ()


def test_keys_are_given_without_the_prefix() -> None:
    body = notification("archive/a/1")
    assert parse_changes(body, bucket=STORAGE_BUCKET, prefix="archive/") == (
        LookAtObjects(("a/1",)),
    )


@pytest.mark.parametrize(
    "body",
    [
        "",
        "[]",
        "1",
        "null",
        "{}",
        '{"Records":[{}]}',
        '{"Records":[{"s3":{"bucket":{"name":"b"},"object":{"key":1}}}]}',
        '{"compact_series":["1"]}',
        '{"look_at_objects":1}',
        '{"source":"aws.s3"}',
    ],
)
def test_a_message_of_no_known_kind_is_refused(body: str) -> None:
    with pytest.raises(InvalidBodyError):
        parse_changes(body, bucket=STORAGE_BUCKET)


def test_what_s3_sends_by_moto_is_understood(aws: MotoAws, client: SQSClient) -> None:
    url = client.create_queue(QueueName="notified")["QueueUrl"]
    arn = client.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]
    aws.s3.put_bucket_notification_configuration(
        Bucket=aws.storage_bucket,
        NotificationConfiguration={
            "QueueConfigurations": [
                {"QueueArn": arn["QueueArn"], "Events": ["s3:ObjectCreated:*"]},
            ]
        },
    )
    aws.s3.put_object(Bucket=aws.storage_bucket, Key="Müller/a b+c.dcm", Body=b"1")
    changes = [
        change
        for body in bodies_in(client, url)
        for change in parse_changes(body, bucket=aws.storage_bucket)
    ]
    assert changes == [LookAtObjects(("Müller/a b+c.dcm",))]
