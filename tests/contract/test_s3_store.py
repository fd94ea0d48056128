"""The S3 store keeps the contract of ``ObjectStore``, and what it promises beyond."""

from __future__ import annotations

import hashlib
import io
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from botocore.exceptions import (
    ClientError,
    ConnectTimeoutError,
    NoCredentialsError,
    ReadTimeoutError,
)

from dicomulus.adapters.aws.s3_store import S3Store, s3_client
from dicomulus.errors import (
    ConfigurationError,
    ObjectChangedError,
    ObjectNotFoundError,
    PayloadTooLargeError,
    PreconditionFailedError,
    UnavailableError,
)
from tests.support.aws import REGION, counted_requests, moto_aws
from tests.support.emulators import fault_of_second, only_with
from tests.support.store_contract import ObjectStoreContract

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mypy_boto3_s3 import S3Client

    from tests.support.aws import MotoAws


@pytest.fixture(scope="module")
def aws() -> Iterator[MotoAws]:
    with moto_aws() as aws:
        yield aws


@pytest.fixture(scope="module")
def client(aws: MotoAws) -> S3Client:
    return s3_client(REGION)


class TestS3Store(ObjectStoreContract):
    presigns = True

    @pytest.fixture
    def store(self, aws: MotoAws, client: S3Client) -> Iterator[S3Store]:
        store = S3Store(aws.storage_bucket, client=client)
        yield store
        for info in store.list():
            store.delete(info.key)


class TestS3StoreUnderPrefix(ObjectStoreContract):
    presigns = True

    @pytest.fixture
    def store(self, aws: MotoAws, client: S3Client) -> Iterator[S3Store]:
        store = S3Store(aws.storage_bucket, prefix="archive/", client=client)
        others = S3Store(aws.storage_bucket, client=client)
        others.put("of another", b"1")
        yield store
        others.delete("of another")
        for info in store.list():
            store.delete(info.key)


@pytest.fixture
def store(aws: MotoAws, client: S3Client) -> Iterator[S3Store]:
    store = S3Store(aws.storage_bucket, client=client)
    yield store
    for info in store.list():
        store.delete(info.key)


@contextmanager
def handling(client: S3Client, event: str, handler: Callable[..., Any]) -> Iterator[None]:
    client.meta.events.register_first(event, handler)
    try:
        yield
    finally:
        client.meta.events.unregister(event, handler)


def refused(code: str, status: int) -> ClientError:
    return ClientError(
        {
            "Error": {"Code": code, "Message": code},
            "ResponseMetadata": {
                "HTTPStatusCode": status,
                "HTTPHeaders": {},
                "HostId": "",
                "RequestId": "",
                "RetryAttempts": 0,
            },
        },
        "Operation",
    )


def failing(error: Exception, *, times: int = 1_000) -> Callable[..., None]:
    left = times

    def fail(**_: Any) -> None:
        nonlocal left
        if left:
            left -= 1
            raise error

    return fail


# --- keys and prefixes ---------------------------------------------------------------------------


def test_keys_under_a_prefix_are_below_it_in_the_bucket(
    aws: MotoAws, client: S3Client, store: S3Store
) -> None:
    S3Store(aws.storage_bucket, prefix="archive/", client=client).put("a", b"1")
    assert [info.key for info in store.list()] == ["archive/a"]


def test_a_key_that_s3_cannot_have_is_not_there(store: S3Store) -> None:
    assert store.head("k" * 1_025) is None
    with pytest.raises(ObjectNotFoundError):
        store.get("ü" * 513)


# --- checksums -----------------------------------------------------------------------------------


def telling(checksum: dict[str, str]) -> Callable[..., None]:
    """Put another checksum into an answer."""

    def tell(parsed: dict[str, Any], **_: Any) -> None:
        parsed.pop("ChecksumSHA256", None)
        parsed.update(checksum)

    return tell


@fault_of_second("checksum of a put")
def test_s3_tells_the_checksum_of_what_was_put(store: S3Store) -> None:
    checksum = "sha256:" + hashlib.sha256(b"DICM").hexdigest()
    assert store.put("a", b"DICM").checksum == checksum


def test_s3_keeps_the_checksum_of_what_was_put(store: S3Store) -> None:
    checksum = "sha256:" + hashlib.sha256(b"DICM").hexdigest()
    store.put("a", b"DICM")
    head = store.head("a")
    assert head is not None
    assert head.checksum == checksum


def test_a_checksum_that_s3_made_is_taken(store: S3Store) -> None:
    """S3 keeps a CRC-64/NVME of what was put without any."""
    store.put("a", b"DICM")
    told = {"ChecksumType": "FULL_OBJECT", "ChecksumCRC64NVME": "AQIDBAUGBwg="}
    with handling(store.client, "after-call.s3.HeadObject", telling(told)):
        head = store.head("a")
    assert head is not None
    assert head.checksum == "crc64nvme:0102030405060708"


@pytest.mark.parametrize(
    "told",
    [
        {"ChecksumType": "COMPOSITE", "ChecksumSHA256": "AAAA-2"},
        {"ChecksumType": "FULL_OBJECT", "ChecksumCRC32": "AAAAAA=="},
    ],
)
def test_a_checksum_of_parts_or_too_short_is_none(store: S3Store, told: dict[str, str]) -> None:
    store.put("a", b"DICM")
    with handling(store.client, "after-call.s3.HeadObject", telling(told)):
        head = store.head("a")
    assert head is not None
    assert head.checksum == ""


@pytest.mark.parametrize(
    ("told", "archived"),
    [
        ({"StorageClass": "DEEP_ARCHIVE"}, True),
        ({"StorageClass": "GLACIER", "Restore": 'ongoing-request="true"'}, True),
        ({"StorageClass": "GLACIER", "Restore": 'ongoing-request="false", expiry-date="x"'}, False),
        ({"StorageClass": "GLACIER_IR"}, False),
        ({"StorageClass": "INTELLIGENT_TIERING", "ArchiveStatus": "ARCHIVE_ACCESS"}, True),
        ({"StorageClass": "INTELLIGENT_TIERING"}, False),
    ],
)
def test_what_was_archived_is_to_be_read_when_it_is_restored(
    store: S3Store, told: dict[str, str], archived: bool
) -> None:
    store.put("a", b"DICM")
    with handling(store.client, "after-call.s3.HeadObject", telling(told)):
        head = store.head("a")
    assert head is not None
    assert head.is_archived is archived


# --- reads that break off ------------------------------------------------------------------------


class Breaking(io.BytesIO):
    """A body that breaks off after so many bytes."""

    def __init__(self, content: bytes, *, after: int) -> None:
        super().__init__(content[:after])

    def read(self, size: int | None = -1, /) -> bytes:
        piece = super().read(size)
        if not piece:
            raise ReadTimeoutError(endpoint_url="https://s3")
        return piece


def breaking(times: int, *, after: int) -> Callable[..., None]:
    left = times

    def replace(parsed: dict[str, Any], **_: Any) -> None:
        nonlocal left
        if left:
            left -= 1
            parsed["Body"] = Breaking(parsed["Body"].read(), after=after)

    return replace


@pytest.mark.parametrize("after", [0, 3, 10])
@pytest.mark.parametrize(("start", "length"), [(0, None), (2, None), (0, 10), (1, 9)])
def test_a_read_that_breaks_off_goes_on(
    store: S3Store, after: int, start: int, length: int | None
) -> None:
    store.put("a", b"0123456789")
    with handling(store.client, "after-call.s3.GetObject", breaking(2, after=after)):
        pieces = list(store.stream("a", start=start, length=length))
    end = None if length is None else start + length
    assert b"".join(pieces) == b"0123456789"[start:end]


def test_a_read_that_breaks_off_does_not_go_on_in_another_object(store: S3Store) -> None:
    store.put("a", b"0123456789")
    with handling(store.client, "after-call.s3.GetObject", breaking(1, after=3)):
        stream = store.stream("a")
        assert next(stream) == b"012"
        store.put("a", b"abcdefghij")
        with pytest.raises(ObjectChangedError):
            next(stream)


def test_a_read_that_keeps_breaking_off_is_an_error(store: S3Store) -> None:
    store.put("a", b"0123456789")
    with (
        handling(store.client, "after-call.s3.GetObject", breaking(100, after=0)),
        pytest.raises(UnavailableError),
    ):
        store.get("a")


def test_an_object_that_grows_while_it_is_read_is_read_again(store: S3Store) -> None:
    """S3 refuses a range past the end, and the object may have one by the time it is asked."""
    store.put("a", b"0123456789")
    error = refused("InvalidRange", 416)
    with handling(store.client, "before-call.s3.GetObject", failing(error, times=1)):
        assert store.get("a", start=5).data == b"56789"
    with (
        handling(store.client, "before-call.s3.GetObject", failing(error)),
        pytest.raises(ObjectChangedError),
    ):
        store.get("a", start=5)


def test_a_range_is_one_request(store: S3Store) -> None:
    store.put("a", b"0123456789")
    with counted_requests(store.client) as requests:
        assert store.get("a", start=2, length=3).info.size == 10
    assert requests.counts == {"GetObject": 1}


# --- writes --------------------------------------------------------------------------------------


def test_a_write_that_meets_another_is_tried_again(store: S3Store) -> None:
    error = refused("ConditionalRequestConflict", 409)
    body = io.BytesIO(b"skipped12")
    body.seek(7)
    with handling(store.client, "before-call.s3.PutObject", failing(error, times=2)):
        store.put("a", body, if_none_match=True)
    assert store.get("a").data == b"12"
    with (
        handling(store.client, "before-call.s3.PutObject", failing(error)),
        pytest.raises(PreconditionFailedError),
    ):
        store.put("b", b"1", if_none_match=True)


def test_what_is_too_large_for_s3_is_refused(store: S3Store) -> None:
    error = refused("EntityTooLarge", 400)
    with (
        handling(store.client, "before-call.s3.PutObject", failing(error)),
        pytest.raises(PayloadTooLargeError),
    ):
        store.put("a", b"1")


def test_the_time_of_a_put_is_that_of_s3(store: S3Store) -> None:
    def tell(parsed: dict[str, Any], **_: Any) -> None:
        parsed["ResponseMetadata"]["HTTPHeaders"]["date"] = "Mon, 23 Nov 2026 03:00:00 GMT"

    with handling(store.client, "after-call.s3.PutObject", tell):
        assert store.put("a", b"1").modified_ms == 1_795_402_800_000


# --- presigned -----------------------------------------------------------------------------------


def test_a_presigned_request_gives_the_object_under_the_name_asked_for(store: S3Store) -> None:
    etag = store.put("a b", b"1234").etag
    presigned = store.presigned_get(
        "a b", expires_seconds=60, if_match=etag, content_type="application/dicom"
    )
    assert presigned is not None
    headers = {**presigned.headers, "Range": "bytes=1-2"}
    answer = requests.request(presigned.method, presigned.url, headers=headers, timeout=10)
    assert (answer.status_code, answer.content) == (206, b"23")
    assert answer.headers["Content-Type"] == "application/dicom"


def test_the_entity_tag_is_part_of_what_is_signed(store: S3Store) -> None:
    etag = store.put("a", b"1").etag
    presigned = store.presigned_get("a", expires_seconds=61, if_match=etag)
    assert presigned is not None
    query = parse_qs(urlsplit(presigned.url).query)
    assert query["X-Amz-SignedHeaders"] == ["host;if-match"]
    assert query["X-Amz-Expires"] == ["61"]
    store.put("a", b"2")
    answer = requests.get(presigned.url, headers=presigned.headers, timeout=10)
    assert answer.status_code == 412


@only_with("second", reason="moto does not look at signatures")
def test_a_presigned_request_without_what_is_signed_is_refused(store: S3Store) -> None:
    etag = store.put("a", b"1").etag
    presigned = store.presigned_get("a", expires_seconds=61, if_match=etag)
    assert presigned is not None
    assert requests.get(presigned.url, timeout=10).status_code == 403
    for other in (presigned.url.replace("/a?", "/b?"), presigned.url + "0"):
        refused = requests.get(other, headers=presigned.headers, timeout=10)
        assert refused.status_code == 403


# --- failures ------------------------------------------------------------------------------------

CALLS: list[Callable[[S3Store], object]] = [
    lambda store: store.head("a"),
    lambda store: store.get("a"),
    lambda store: list(store.stream("a", start=1)),
    lambda store: store.put("a", b"1"),
    lambda store: store.delete("a"),
    lambda store: list(store.list()),
]


@pytest.mark.parametrize("call", CALLS, ids=["head", "get", "stream", "put", "delete", "list"])
@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (refused("SlowDown", 503), UnavailableError),
        (refused("500", 500), UnavailableError),
        (refused("InvalidObjectState", 403), UnavailableError),
        (ConnectTimeoutError(endpoint_url="https://s3"), UnavailableError),
        (refused("NoSuchBucket", 404), ConfigurationError),
        (refused("AccessDenied", 403), ConfigurationError),
        (refused("403", 403), ConfigurationError),
        (NoCredentialsError(), ConfigurationError),
        (refused("InvalidRequest", 400), ClientError),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else str(value),
)
def test_failures_of_s3_are_ours(
    store: S3Store,
    call: Callable[[S3Store], object],
    error: Exception,
    expected: type[Exception],
) -> None:
    with handling(store.client, "before-call", failing(error)), pytest.raises(expected) as raised:
        call(store)
    assert error in (raised.value, raised.value.__cause__)
