"""Puts the site that its package carries into the site's bucket when CloudFormation asks for it.

It needs nothing that Lambda's runtime has not, so it comes without layers.
"""

from __future__ import annotations

import json
import logging
import os
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import boto3

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

SITE: Final = Path(os.environ.get("SITE_FOLDER") or Path(__file__).parent / "site")
"""The site, with ``files.json`` that lists its files."""

DELETED_AT_ONCE: Final = 1_000
"""Keys of one DeleteObjects (S3)."""

UPLOADED_AT_ONCE: Final = 8
ANSWER_SECONDS: Final = 30

logger = logging.getLogger(__name__)
logger.setLevel(logging.INFO)


def handler(event: dict[str, Any], context: object) -> None:
    """Make the bucket hold the site, or nothing when it goes; tell CloudFormation how it went."""
    bucket = event["ResourceProperties"]["Bucket"]
    reason = ""
    try:
        _make(bucket, is_wanted=event["RequestType"] != "Delete")
    except Exception as exc:
        # Whatever it was, CloudFormation waits an hour for an answer that does not come.
        logger.exception("site not published")
        reason = f"{type(exc).__name__}: {exc}"
    _answer(event, bucket=bucket, reason=reason)


def _make(bucket: str, *, is_wanted: bool) -> None:
    s3 = boto3.client("s3")
    files = json.loads((SITE / "files.json").read_text(encoding="utf-8")) if is_wanted else {}
    pages = [name for name in files if name.endswith(".html")]
    # Pages name the files that they need, so they come last, and what was there goes after them.
    with ThreadPoolExecutor(UPLOADED_AT_ONCE) as pool:
        for names in (files.keys() - set(pages), pages):
            list(pool.map(lambda name: _put(s3, bucket, name, headers=files[name]), names))
    _delete(s3, bucket, keep=set(files))
    logger.info("site published: %d files", len(files))


def _put(s3: S3Client, bucket: str, name: str, *, headers: dict[str, str]) -> None:
    with (SITE / name).open("rb") as file:
        s3.put_object(
            Bucket=bucket,
            Key=name,
            Body=file,
            ContentType=headers["Content-Type"],
            CacheControl=headers["Cache-Control"],
        )


def _delete(s3: S3Client, bucket: str, *, keep: set[str]) -> None:
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket):
        gone = [each["Key"] for each in page.get("Contents", ()) if each["Key"] not in keep]
        for start in range(0, len(gone), DELETED_AT_ONCE):
            keys = gone[start : start + DELETED_AT_ONCE]
            s3.delete_objects(
                Bucket=bucket, Delete={"Objects": [{"Key": key} for key in keys], "Quiet": True}
            )


def _answer(event: dict[str, Any], *, bucket: str, reason: str) -> None:
    answer = {
        "Status": "FAILED" if reason else "SUCCESS",
        "Reason": reason or "done",
        # Of another bucket it is another site, and the earlier one is then emptied.
        "PhysicalResourceId": event.get("PhysicalResourceId") if reason else None,
        **{key: event[key] for key in ("StackId", "RequestId", "LogicalResourceId")},
    }
    answer["PhysicalResourceId"] = answer["PhysicalResourceId"] or f"site-of-{bucket}"
    request = urllib.request.Request(  # noqa: S310 - CloudFormation's own URL
        event["ResponseURL"],
        data=json.dumps(answer).encode(),
        method="PUT",
        # Presigned without a type; urllib would send one of its own.
        headers={"Content-Type": ""},
    )
    with urllib.request.urlopen(request, timeout=ANSWER_SECONDS):  # noqa: S310 - the same
        pass
