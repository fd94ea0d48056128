"""The S3 store keeps the contract of ``ObjectStore``, and what it promises beyond."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dicomulus.adapters.aws.s3_store import S3Store, s3_client
from tests.support.aws import REGION, moto_aws
from tests.support.store_contract import ObjectStoreContract

if TYPE_CHECKING:
    from collections.abc import Iterator

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
    @pytest.fixture
    def store(self, aws: MotoAws, client: S3Client) -> Iterator[S3Store]:
        store = S3Store(aws.storage_bucket, client=client)
        yield store
        for info in store.list():
            store.delete(info.key)


class TestS3StoreUnderPrefix(ObjectStoreContract):
    @pytest.fixture
    def store(self, aws: MotoAws, client: S3Client) -> Iterator[S3Store]:
        store = S3Store(aws.storage_bucket, prefix="archive/", client=client)
        S3Store(aws.storage_bucket, client=client).put("of another", b"1")
        yield store
        for info in store.list():
            store.delete(info.key)
