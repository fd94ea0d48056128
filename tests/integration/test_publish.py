"""The function that fills the site's bucket, as CloudFormation calls it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import boto3
import pytest
from moto import mock_aws

from dicomulus.cli.emulate.one_origin import invoke_publish
from dicomulus.cli.site import Site, write_site

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mypy_boto3_s3 import S3Client

FUNCTIONS = Path(__file__).resolve().parents[2] / "functions"
BUCKET = "site"


@pytest.fixture
def s3() -> Iterator[S3Client]:
    # CloudFormation's answer goes to a server of the test's, which moto lets through.
    with mock_aws():
        client = boto3.client("s3", region_name="us-east-1")
        client.create_bucket(Bucket=BUCKET)
        yield client


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    write_site(tmp_path, Site(base_path="/dicom-web", asks_for_token=False), viewer=None)
    return {"SITE_FOLDER": str(tmp_path), "AWS_DEFAULT_REGION": "us-east-1"}


def keys(s3: S3Client) -> set[str]:
    """Give the keys in the bucket."""
    return {each["Key"] for each in s3.list_objects_v2(Bucket=BUCKET).get("Contents", ())}


def test_the_site_is_put_with_its_headers(s3: S3Client, environment: dict[str, str]) -> None:
    answer = invoke_publish(FUNCTIONS, BUCKET, kind="Create", environment=environment)
    assert answer["Status"] == "SUCCESS"
    assert {"index.html", "config.json", "pages/app.js"} <= keys(s3)
    assert "files.json" not in keys(s3)
    found = s3.get_object(Bucket=BUCKET, Key="index.html")
    assert found["ContentType"] == "text/html; charset=utf-8"
    assert found["CacheControl"] == "no-cache"
    assert b"<title>Dicomulus</title>" in found["Body"].read()


def test_what_the_next_site_lacks_goes(s3: S3Client, environment: dict[str, str]) -> None:
    s3.put_object(Bucket=BUCKET, Key="pages/of-long-ago.js", Body=b"old")
    invoke_publish(FUNCTIONS, BUCKET, kind="Update", environment=environment)
    assert "pages/of-long-ago.js" not in keys(s3)
    assert "index.html" in keys(s3)


def test_the_bucket_is_emptied_when_it_goes(s3: S3Client, environment: dict[str, str]) -> None:
    created = invoke_publish(FUNCTIONS, BUCKET, kind="Create", environment=environment)
    answer = invoke_publish(FUNCTIONS, BUCKET, kind="Delete", environment=environment)
    assert answer["Status"] == "SUCCESS"
    assert answer["PhysicalResourceId"] == created["PhysicalResourceId"]
    assert keys(s3) == set()


def test_a_failure_is_told_at_once(s3: S3Client, environment: dict[str, str]) -> None:
    """Without an answer CloudFormation would wait for its time to be over."""
    answer = invoke_publish(FUNCTIONS, "another", kind="Create", environment=environment)
    assert answer["Status"] == "FAILED"
    assert "NoSuchBucket" in answer["Reason"]
    assert answer["PhysicalResourceId"]
