"""Whatever requests to AWS meet, the adapters succeed at another attempt or are unavailable."""

from __future__ import annotations

import random
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError
from botocore.retries import standard
from botocore.retries.quota import RetryQuota

from dicomulus.adapters.aws.dynamodb_index import DynamoDbIndex
from dicomulus.adapters.aws.dynamodb_table import DynamoDbTable
from dicomulus.adapters.aws.failures import translated_failures
from dicomulus.adapters.aws.limits import PATIENT_ATTEMPTS, function_settings
from dicomulus.adapters.aws.retries import (
    ATTEMPTS,
    CONNECT_SECONDS,
    READ_SECONDS,
    longest_seconds,
    longest_throttled_seconds,
)
from dicomulus.adapters.aws.s3_store import S3Store, s3_client
from dicomulus.adapters.aws.sqs_queue import SqsQueue, sqs_client
from dicomulus.errors import ConfigurationError, UnavailableError
from dicomulus.ports import CompactSeries
from dicomulus.settings import Settings
from infra import limits
from tests.support import aws_faults
from tests.support.aws import REGION, moto_aws
from tests.support.aws_faults import ALWAYS, BODIES, instant_retries, intercepted
from tests.support.builders import instance_of, instance_row, putting, series_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from botocore.awsrequest import AWSResponse

    from dicomulus.adapters.aws.limits import FunctionName
    from tests.support.aws import MotoAws
    from tests.support.aws_faults import Call, CarryOut

GATEWAY_SECONDS = 29
"""What API Gateway waits for an answer that is not streamed."""


@pytest.fixture(scope="module")
def aws() -> Iterator[MotoAws]:
    with moto_aws() as aws:
        yield aws


@pytest.fixture(scope="module")
def adapters(aws: MotoAws) -> tuple[S3Store, DynamoDbIndex, SqsQueue]:
    store = S3Store(aws.storage_bucket, client=s3_client(REGION))
    index = DynamoDbIndex(DynamoDbTable(aws.table_name, region=REGION), search_shards=2)
    queue = SqsQueue(aws.ingest_queue_url, aws.compact_queue_url, client=sqs_client(REGION))
    store.put("a", b"0123456789" * 100)
    commit(index)
    return store, index, queue


def commit(index: DynamoDbIndex) -> None:
    index.commit(putting(instance_row(instance_of())), now_ms=1_000, due_ms=2_000)


@pytest.fixture(autouse=True)
def _unspent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a client try again however many of its requests have failed before."""
    monkeypatch.setattr(RetryQuota, "acquire", lambda *_: True)


OPERATIONS: dict[str, Callable[[S3Store, DynamoDbIndex, SqsQueue], object]] = {
    "head": lambda store, _index, _queue: store.head("a"),
    "get": lambda store, _index, _queue: store.get("a"),
    "stream": lambda store, _index, _queue: b"".join(store.stream("a", start=1)),
    "put": lambda store, _index, _queue: store.put("b", b"1"),
    "delete": lambda store, _index, _queue: store.delete("c"),
    "list": lambda store, _index, _queue: list(store.list()),
    "commit": lambda _store, index, _queue: commit(index),
    "query": lambda _store, index, _queue: index.query_instances(series_of()),
    "get row": lambda _store, index, _queue: index.get_series(series_of()),
    "search": lambda _store, index, _queue: index.overdue_series(1),
    "send": lambda _store, _index, queue: queue.send([CompactSeries(series_of())] * 12),
}


def times(count: int, fault: Any) -> Callable[[Call, CarryOut], AWSResponse]:
    """Have the first requests meet a fault, each of which it fits."""
    left = count

    def inject(call: Call, carry_out: CarryOut) -> AWSResponse:
        nonlocal left
        if left == 0 or (fault in BODIES and call.operation != "GetObject"):
            return carry_out()
        left -= 1
        answer: AWSResponse = fault(call, carry_out)
        return answer

    return inject


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("fault", [*ALWAYS, *BODIES], ids=lambda fault: fault.__name__)
def test_a_fault_that_passes_is_not_noticed(
    fault: Any, operation: str, adapters: tuple[S3Store, DynamoDbIndex, SqsQueue]
) -> None:
    expected = OPERATIONS[operation](*adapters)
    with intercepted(times(ATTEMPTS - 1, fault)), instant_retries():
        found = OPERATIONS[operation](*adapters)
    if operation not in ("put", "list"):
        assert found == expected


@pytest.mark.parametrize(
    ("fault", "operation"),
    [
        *(
            (fault, operation)
            for fault in (*ALWAYS, aws_faults.expired)
            for operation in OPERATIONS
        ),
        *((fault, operation) for fault in BODIES for operation in ("get", "stream")),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_a_fault_that_stays_is_unavailable(
    fault: Any, operation: str, adapters: tuple[S3Store, DynamoDbIndex, SqsQueue]
) -> None:
    with (
        intercepted(times(1_000, fault)),
        instant_retries(),
        pytest.raises(UnavailableError),
    ):
        OPERATIONS[operation](*adapters)


@pytest.mark.parametrize("operation", ["commit", "query", "send"])
@pytest.mark.parametrize("seed", range(5))
def test_what_of_a_batch_is_left_is_sent_again(
    seed: int, operation: str, adapters: tuple[S3Store, DynamoDbIndex, SqsQueue]
) -> None:
    partly = partial(aws_faults.partly_done, random=random.Random(seed))
    met = 0

    def inject(call: Call, carry_out: CarryOut) -> AWSResponse:
        nonlocal met
        if met == 2 or call.operation not in aws_faults.PARTLY:
            return carry_out()
        met += 1
        return partly(call, carry_out)

    expected = OPERATIONS[operation](*adapters)
    with intercepted(inject), instant_retries():
        assert OPERATIONS[operation](*adapters) == expected


def test_bytes_that_are_not_those_of_the_object_are_not_given(
    adapters: tuple[S3Store, DynamoDbIndex, SqsQueue],
) -> None:
    store, _, _ = adapters
    with intercepted(times(1, aws_faults.corrupted)), pytest.raises(UnavailableError):
        store.get("a")


def test_a_refusal_that_breaks_off_is_unavailable(
    adapters: tuple[S3Store, DynamoDbIndex, SqsQueue],
) -> None:
    """What botocore reads of a failed GetObject, it reads unguarded."""
    store, _, _ = adapters
    with intercepted(times(1, aws_faults.truncated)), pytest.raises(UnavailableError):
        store.get("not there")


THROTTLED: Any = standard.ThrottledRetryableChecker
TRANSIENT: Any = standard.TransientRetryableChecker


@pytest.mark.parametrize(
    "code", sorted({*THROTTLED._THROTTLED_ERROR_CODES, *TRANSIENT._TRANSIENT_ERROR_CODES})
)
def test_what_botocore_tries_again_is_unavailable_in_the_end(code: str) -> None:
    refused = ClientError({"Error": {"Code": code}}, "PutItem")
    with pytest.raises(UnavailableError), translated_failures("DynamoDB"):
        raise refused


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("KMS.DisabledException", ConfigurationError),  # as S3 names it
        ("KMS.NotFoundException", ConfigurationError),
        ("KmsAccessDenied", ConfigurationError),  # as SQS does
        ("KmsThrottled", UnavailableError),
        ("KMS.ThrottlingException", UnavailableError),
    ],
)
def test_a_key_that_may_not_be_used_is_a_matter_of_configuration(
    code: str, error: type[Exception]
) -> None:
    refused = ClientError({"Error": {"Code": code}}, "GetObject")
    with pytest.raises(error, match=code), translated_failures("S3"):
        raise refused


# --- time ----------------------------------------------------------------------------------------


def test_clients_wait_as_long_as_they_are_told(
    adapters: tuple[S3Store, DynamoDbIndex, SqsQueue],
) -> None:
    store, index, queue = adapters
    for client in (store.client, index.table.client, queue.client):
        config: Any = client.meta.config
        assert (config.connect_timeout, config.read_timeout) == (CONNECT_SECONDS, READ_SECONDS)
        assert config.retries == {"mode": "standard", "total_max_attempts": ATTEMPTS}


def test_a_request_is_given_up_while_somebody_still_waits() -> None:
    assert max(longest_seconds(ATTEMPTS), longest_throttled_seconds(ATTEMPTS)) < GATEWAY_SECONDS


@pytest.mark.parametrize(
    ("name", "seconds"),
    [
        ("store", limits.STORE.timeout_seconds),
        ("manage", limits.MANAGE.timeout_seconds),
        ("read", GATEWAY_SECONDS),
        ("render", GATEWAY_SECONDS),
        # Two requests of one batch may meet all of it, and the message still comes back with a reason.
        ("ingest", limits.INGEST.timeout_seconds / 2),
        ("compact", limits.COMPACT.timeout_seconds / 2),
        ("sweep", limits.SWEEP.timeout_seconds),
    ],
)
def test_a_function_outlives_a_request_that_is_given_up(name: FunctionName, seconds: float) -> None:
    attempts = function_settings(name, Settings()).aws_attempts
    assert max(longest_seconds(attempts), longest_throttled_seconds(attempts)) < seconds


def test_who_is_waited_for_by_nobody_has_more_patience() -> None:
    assert function_settings("ingest", Settings()).aws_attempts == PATIENT_ATTEMPTS > ATTEMPTS


@pytest.mark.parametrize("fault", ALWAYS, ids=lambda fault: fault.__name__)
def test_pauses_are_those_that_are_reckoned_with(
    fault: Any, adapters: tuple[S3Store, DynamoDbIndex, SqsQueue]
) -> None:
    slept: list[float] = []
    store, _, _ = adapters
    with intercepted(times(1_000, fault)), instant_retries(slept), pytest.raises(UnavailableError):
        store.head("a")
    assert len(slept) == ATTEMPTS - 1
    assert sum(slept) <= longest_throttled_seconds(ATTEMPTS)
