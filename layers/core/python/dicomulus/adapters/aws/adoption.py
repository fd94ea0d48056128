"""A bucket that exists taken as the storage area: checked, and made to tell EventBridge of changes.

A bucket's notification configuration is one document, and the others who use the bucket have theirs
in it. It is read, one element is added, and it is written back as the very bytes that were read, so
that nothing of others is lost by a library that does not know it yet. S3 takes no condition with that
write, so that it is read again immediately before and after.
"""

from __future__ import annotations

import json
import logging
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from xml.etree import ElementTree as ET

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from dicomulus.adapters.aws.failures import error_code, status_code
from dicomulus.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mypy_boto3_s3 import S3Client
    from mypy_boto3_stepfunctions import SFNClient

logger = logging.getLogger(__name__)

_NAMESPACE: Final = "http://s3.amazonaws.com/doc/2006-03-01/"
_ROOT: Final = "NotificationConfiguration"
_EVENT_BRIDGE: Final = "EventBridgeConfiguration"

DETAIL_TYPES: Final = ("Object Created", "Object Deleted", "Object Restore Completed")
"""What may have changed the bytes under a key, a version's removal by its age included, or made them
readable that were archived."""

_LOOKS: Final = 10
"""Reads after the write, a second apart, until S3 shows it."""

_AWS_KEY_ALIAS: Final = "alias/aws/s3"
"""The key of AWS itself, which needs no rights of ours."""


def event_pattern(bucket: str, prefix: str = "") -> dict[str, Any]:
    """Give what a rule of EventBridge takes of a bucket's events: keys are there as they are."""
    only = {"object": {"key": [{"prefix": prefix}]}} if prefix else {}
    return {
        "source": ["aws.s3"],
        "detail-type": list(DETAIL_TYPES),
        "detail": {"bucket": {"name": [bucket]}, **only},
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class AdoptedBucket:
    """What was found of a bucket, and done to it."""

    bucket: str
    versioning: str
    """``Enabled``, ``Suspended`` or ``Off``."""
    encryption: str
    """As S3 names it, such as ``AES256`` or ``aws:kms``."""
    changed: bool
    """Whether the notification configuration was written."""


@dataclass(frozen=True, slots=True)
class NotificationConfiguration:
    """A bucket's notification configuration as S3 writes it."""

    text: bytes = field(repr=False)

    @property
    def tells_event_bridge(self) -> bool:
        """Whether every event goes to EventBridge."""
        return any(_local_name(each) == _EVENT_BRIDGE for each in self._elements)

    @property
    def of_others(self) -> list[str]:
        """What others have in it, in any order; two that are equal say the same."""
        return sorted(
            ET.canonicalize(ET.tostring(each), strip_text=True)
            for each in self._elements
            if _local_name(each) != _EVENT_BRIDGE
        )

    def with_event_bridge(self) -> bytes:
        """Give the same bytes with the one element more.

        Raises:
            ConfigurationError: They are no such document.
        """
        ours = f"<{_EVENT_BRIDGE}/>".encode()
        if not self._elements:
            return f'<{_ROOT} xmlns="{_NAMESPACE}">'.encode() + ours + f"</{_ROOT}>".encode()
        head, end, tail = self.text.rpartition(f"</{_ROOT}>".encode())
        if not end:
            raise ConfigurationError("the notification configuration is not as S3 writes it")
        return head + ours + end + tail

    @property
    def _elements(self) -> list[ET.Element]:
        if not self.text.strip():
            return []
        try:
            return list(ET.fromstring(self.text))  # noqa: S314  (from S3 itself)
        except ET.ParseError as exc:
            raise ConfigurationError("the notification configuration does not parse") from exc


class Adoption:
    """Takes one bucket."""

    def __init__(
        self,
        bucket: str,
        *,
        account_id: str,
        region: str,
        kms_key_arn: str = "",
        client: S3Client | None = None,
        wait: Callable[[float], None] = time.sleep,
    ) -> None:
        """Take a bucket of an account and region, whose objects may be under a customer's key."""
        self._bucket = bucket
        self._account_id = account_id
        self._region = region
        self._kms_key_arn = kms_key_arn
        # Another region than the bucket's is an answer here, not something to be got around.
        config = Config(s3={"us_east_1_regional_endpoint": "regional"})
        self._client = client or boto3.client("s3", region_name=region, config=config)
        self._wait = wait

    def adopt(self) -> AdoptedBucket:
        """Check the bucket and have it tell EventBridge; doing so again changes nothing.

        Raises:
            ConfigurationError: It cannot be adopted, and why; nothing was changed then, or what was
                is told.
        """
        with self._explained():
            self._check_place()
            versioning = self._versioning()
            encryption = self._check_encryption()
            changed = self._tell_event_bridge()
        return AdoptedBucket(
            bucket=self._bucket, versioning=versioning, encryption=encryption, changed=changed
        )

    # checks

    def _check_place(self) -> None:
        try:
            answer = self._client.head_bucket(**self._target)
        except ClientError as exc:
            reasons = {
                403: f"is not of the account {self._account_id}, or its policy lets nobody in",
                404: "does not exist",
            }
            reason = reasons.get(status_code(exc), f"cannot be asked: {error_code(exc)}")
            raise self._refused(reason) from exc
        region = answer.get("BucketRegion") or self._region
        if region != self._region:
            raise self._refused(f"is in {region}, the deployment in {self._region}")

    def _versioning(self) -> str:
        return self._client.get_bucket_versioning(**self._target).get("Status", "Off")

    def _check_encryption(self) -> str:
        try:
            answer = self._client.get_bucket_encryption(**self._target)
        except ClientError as exc:
            if error_code(exc) == "ServerSideEncryptionConfigurationNotFoundError":
                return "none"
            raise
        rules = answer["ServerSideEncryptionConfiguration"]["Rules"]
        given = [each.get("ApplyServerSideEncryptionByDefault") for each in rules]
        default = next((each for each in given if each), None)
        if default is None:
            return "none"
        key = default.get("KMSMasterKeyID", "")
        if key and not key.endswith(_AWS_KEY_ALIAS):
            self._check_key(key)
        return default["SSEAlgorithm"]

    def _check_key(self, key: str) -> None:
        if not self._kms_key_arn:
            raise self._refused(
                f"encrypts with the key {key}: name that key by adopt_bucket_kms_key_arn, and let "
                "the key's policy leave it to this account who may use it"
            )
        # An alias says nothing of the key behind it.
        is_named = ":alias/" not in key and not key.startswith("alias/")
        if is_named and key.rpartition("/")[2] != self._kms_key_arn.rpartition("/")[2]:
            raise self._refused(
                f"encrypts with the key {key}, and adopt_bucket_kms_key_arn names another one"
            )

    # notifications

    def _tell_event_bridge(self) -> bool:
        found = self._read()
        if found.tells_event_bridge:
            return False
        wanted = found.with_event_bridge()
        # Whatever has come in between would be gone, so that this span is kept short.
        if self._read().of_others != found.of_others:
            raise self._changed("nothing was written")
        self._write(wanted)
        for _ in range(_LOOKS):
            written = self._read()
            if written.of_others != found.of_others:
                raise self._changed(
                    "EventBridge was added to what had been read before; compare the bucket's "
                    "notifications with what their owners expect"
                )
            if written.tells_event_bridge:
                logger.info("the bucket tells EventBridge", extra={"bucket": self._bucket})
                return True
            self._wait(1)
        raise self._changed("EventBridge was added, and is gone again")

    def _changed(self, what: str) -> ConfigurationError:
        return self._refused(
            f"had its notification configuration changed by somebody else meanwhile: {what}. "
            "Deploy again when nobody else changes it"
        )

    def _read(self) -> NotificationConfiguration:
        """Read it as S3 writes it, not as this version of the library understands it."""
        texts: list[bytes] = []

        def keep(response_dict: dict[str, Any], **_: Any) -> None:
            texts.append(response_dict["body"])

        with self._during("before-parse", "GetBucketNotificationConfiguration", keep):
            self._client.get_bucket_notification_configuration(**self._target)
        return NotificationConfiguration(texts[-1])

    def _write(self, text: bytes) -> None:
        def put(params: dict[str, Any], **_: Any) -> None:
            params["body"] = text

        with self._during("before-call", "PutBucketNotificationConfiguration", put):
            self._client.put_bucket_notification_configuration(
                **self._target,
                NotificationConfiguration={"EventBridgeConfiguration": {}},
                # A destination of others that is gone is none of ours, and no reason to fail.
                SkipDestinationValidation=True,
            )

    @contextmanager
    def _during(self, when: str, operation: str, handler: Callable[..., None]) -> Iterator[None]:
        event = f"{when}.s3.{operation}"
        self._client.meta.events.register(event, handler)
        try:
            yield
        finally:
            self._client.meta.events.unregister(event, handler)

    # words

    @property
    def _target(self) -> Any:
        return {"Bucket": self._bucket, "ExpectedBucketOwner": self._account_id}

    def _refused(self, reason: str) -> ConfigurationError:
        return ConfigurationError(f"adopt_bucket: {self._bucket} {reason}")

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except ClientError as exc:
            raise self._refused(f"cannot be adopted: {exc}") from exc


def start_backfill(state_machine_arn: str, *, client: SFNClient | None = None) -> str:
    """Have all that is in the storage area compared with the index, and indexed; give the run.

    Raises:
        ConfigurationError: It could not be started.
    """
    try:
        started = (client or boto3.client("stepfunctions")).start_execution(
            stateMachineArn=state_machine_arn, input=json.dumps({"reason": "backfill"})
        )
    except ClientError as exc:
        raise ConfigurationError(f"the bucket is adopted, its backfill not started: {exc}") from exc
    return started["executionArn"]


def _local_name(element: ET.Element) -> str:
    return element.tag.rpartition("}")[2]
