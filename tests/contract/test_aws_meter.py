"""The benchmark's meter, on requests whose units are known."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import boto3
import pytest

from tests.benchmarks.aws_meter import Meter
from tests.support.aws import REGION, moto_aws

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.aws import MotoAws

KEY = {"p": {"S": "study"}, "s": {"S": "a"}}
FIVE_KB: dict[str, Any] = {"b": {"B": b"b" * 5000}}


@pytest.fixture
def aws() -> Iterator[MotoAws]:
    with moto_aws() as aws:
        yield aws


@pytest.fixture
def meter(aws: MotoAws) -> Meter:
    meter = Meter(boto3.client("dynamodb", region_name=REGION))
    meter.connect(aws.dynamodb, aws.s3, aws.sqs)
    return meter


def put(aws: MotoAws, attributes: dict[str, Any] | None = None, *, sort: str = "a") -> None:
    item = {**KEY, "s": {"S": sort}, **(attributes or {})}
    aws.dynamodb.put_item(TableName=aws.table_name, Item=item)


def test_a_put_and_a_removal_count_by_the_size_of_the_item(aws: MotoAws, meter: Meter) -> None:
    with meter.reading() as bill:
        put(aws, FIVE_KB)
        aws.dynamodb.delete_item(TableName=aws.table_name, Key=KEY)
    assert bill.requests == {"dynamodb:PutItem": 1, "dynamodb:DeleteItem": 1}
    assert bill.write_units == 5 + 5


def test_an_item_with_a_uid_counts_in_the_index_of_uids_too(aws: MotoAws, meter: Meter) -> None:
    with meter.reading() as bill:
        put(aws, {"u": {"S": "1.2.3"}})
    assert bill.write_units == 2


def test_each_write_of_a_batch_counts(aws: MotoAws, meter: Meter) -> None:
    put(aws, FIVE_KB, sort="gone")
    writes = [
        {"PutRequest": {"Item": {**KEY, **FIVE_KB}}},
        {"DeleteRequest": {"Key": {**KEY, "s": {"S": "gone"}}}},
    ]
    with meter.reading() as bill:
        aws.dynamodb.batch_write_item(RequestItems={aws.table_name: writes})
    assert bill.write_units == 5 + 5


def test_a_write_that_meets_no_condition_counts(aws: MotoAws, meter: Meter) -> None:
    put(aws, FIVE_KB)
    with (
        meter.reading() as bill,
        pytest.raises(aws.dynamodb.exceptions.ConditionalCheckFailedException),
    ):
        aws.dynamodb.put_item(
            TableName=aws.table_name, Item=KEY, ConditionExpression="attribute_not_exists(p)"
        )
    assert bill.write_units == 5


def test_a_page_counts_as_one_read_and_a_batch_as_one_for_each_item(
    aws: MotoAws, meter: Meter
) -> None:
    for sort in "abc":
        put(aws, {"b": {"B": b"b" * 1000}}, sort=sort)
    with meter.reading() as page:
        aws.dynamodb.query(
            TableName=aws.table_name,
            KeyConditionExpression="p = :p",
            ExpressionAttributeValues={":p": {"S": "study"}},
            ConsistentRead=True,
        )
    with meter.reading() as batch:
        keys = [{**KEY, "s": {"S": sort}} for sort in "abcd"]
        aws.dynamodb.batch_get_item(
            RequestItems={aws.table_name: {"Keys": keys, "ConsistentRead": True}}
        )
    assert page.read_units == 1
    assert batch.read_units == 4


def test_a_read_that_is_not_strong_counts_half(aws: MotoAws, meter: Meter) -> None:
    put(aws, FIVE_KB)
    with meter.reading() as bill:
        aws.dynamodb.get_item(TableName=aws.table_name, Key=KEY)
    assert bill.read_units == 1


def test_objects_and_messages_are_counted(aws: MotoAws, meter: Meter) -> None:
    with meter.reading() as bill:
        aws.s3.put_object(Bucket=aws.cache_bucket, Key="k", Body=b"12345")
        aws.s3.get_object(Bucket=aws.cache_bucket, Key="k")
        entries = [{"Id": str(n), "MessageBody": "m" * 60_000} for n in range(3)]
        aws.sqs.send_message_batch(QueueUrl=aws.compact_queue_url, Entries=entries)
    assert bill.requests == {"s3:PutObject": 1, "s3:GetObject": 1, "sqs:SendMessageBatch": 1}
    assert bill.s3_bytes == 5
    assert bill.sqs_requests == 3


def test_a_new_bill_begins_empty(aws: MotoAws, meter: Meter) -> None:
    with meter.reading() as first:
        put(aws)
    with meter.reading() as second:
        pass
    assert first.write_units == 1
    assert second.write_units == 0


@pytest.mark.parametrize(
    "less",
    [
        {"FilterExpression": "contains(b, :x)", "ExpressionAttributeValues": {":x": {"B": b"x"}}},
        {"ProjectionExpression": "#s", "ExpressionAttributeNames": {"#s": "s"}},
        {"Select": "COUNT"},
    ],
)
def test_a_query_counts_by_what_it_read_and_not_by_what_it_gave(
    aws: MotoAws, meter: Meter, less: dict[str, Any]
) -> None:
    for sort in "abc":
        put(aws, FIVE_KB, sort=sort)
    values = {":p": {"S": "study"}, **less.pop("ExpressionAttributeValues", {})}
    names = {"#p": "p", **less.pop("ExpressionAttributeNames", {})}
    with meter.reading() as bill:
        aws.dynamodb.query(
            TableName=aws.table_name,
            KeyConditionExpression="#p = :p",
            ExpressionAttributeNames=names,
            ExpressionAttributeValues=values,
            ConsistentRead=True,
            **less,
        )
    assert bill.requests == {"dynamodb:Query": 1}
    assert bill.read_units == 4


def test_a_transaction_counts_twice(aws: MotoAws, meter: Meter) -> None:
    item = {**KEY, **FIVE_KB}
    with meter.reading() as bill:
        aws.dynamodb.transact_write_items(
            TransactItems=[{"Put": {"TableName": aws.table_name, "Item": item}}]
        )
    assert bill.write_units == 10
