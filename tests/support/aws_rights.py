"""What rights requests to AWS need: of each the action and the resource, as IAM names them."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import pytest
from botocore.client import BaseClient
from botocore.exceptions import ClientError

from dicomulus.dicom.own_keys import OWN_PREFIX

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from dicomulus.settings import Settings

Used = set[tuple[str, str]]
"""Actions and the kinds of resources that they were used on."""

ACTIONS: Final[dict[str, tuple[str, ...]]] = {
    # Reading
    "s3:HeadBucket": ("s3:ListBucket",),
    "s3:HeadObject": ("s3:GetObject",),
    "s3:ListObjectsV2": ("s3:ListBucket",),
    "s3:ListObjectVersions": ("s3:ListBucketVersions",),
    # Settings of a bucket
    "s3:GetBucketEncryption": ("s3:GetEncryptionConfiguration",),
    "s3:GetBucketNotificationConfiguration": ("s3:GetBucketNotification",),
    "s3:PutBucketNotificationConfiguration": ("s3:PutBucketNotification",),
    # Batches
    "sqs:ChangeMessageVisibilityBatch": ("sqs:ChangeMessageVisibility",),
    "sqs:DeleteMessageBatch": ("sqs:DeleteMessage",),
    "sqs:SendMessageBatch": ("sqs:SendMessage",),
}
"""Operations whose actions have other names (Service Authorization Reference)."""

_IN_TRANSACTION: Final = {
    "ConditionCheck": "dynamodb:ConditionCheckItem",
    "Delete": "dynamodb:DeleteItem",
    "Put": "dynamodb:PutItem",
    "Update": "dynamodb:UpdateItem",
}


def actions_of(service: str, operation: str, parameters: Mapping[str, Any]) -> set[str]:
    """Give the actions that a request needs."""
    name = f"{service}:{operation}"
    if operation == "TransactWriteItems":
        # DynamoDB asks for the rights of what is in it.
        return {_IN_TRANSACTION[kind] for each in parameters["TransactItems"] for kind in each}
    if operation == "DeleteObject" and "VersionId" in parameters:
        return {"s3:DeleteObjectVersion"}
    needed = set(ACTIONS.get(name, (name,)))
    if "IfMatch" in parameters and operation in ("DeleteObject", "PutObject"):
        # To know whether the tag is that, one must be allowed to read.
        needed.add("s3:GetObject")
    return needed


def kind_of(parameters: Mapping[str, Any], settings: Settings) -> str:
    """Give what a request is about, by the names that the rights have."""
    kinds = {
        settings.storage_bucket: "storage",
        settings.cache_bucket: "cache",
        settings.ingest_queue_url: "ingest",
        settings.compact_queue_url: "compact",
        settings.ingest_dead_letters_url: "ingest_dead_letters",
        settings.compact_dead_letters_url: "compact_dead_letters",
    }
    if "StackName" in parameters:
        return "stack"
    target = parameters.get("Bucket") or parameters.get("QueueUrl")
    own = settings.storage_prefix + OWN_PREFIX
    if target == settings.storage_bucket and parameters.get("Key", "").startswith(own):
        return "own"
    if target is not None:
        return kinds[target]
    return "indexes" if "IndexName" in parameters else "table"


@contextmanager
def recorded_rights(settings: Settings) -> Iterator[Used]:
    """Note what the requests made meanwhile need, and those that are presigned for others.

    A presigned request is made with the rights of who signed it.
    """
    used: Used = set()
    client: Any = BaseClient
    original = client._emit_api_params
    made = client._make_api_call

    def emit(self: Any, api_params: Any, operation_model: Any, *more: Any, **named: Any) -> Any:
        service = operation_model.service_model.service_name
        for action in actions_of(service, operation_model.name, api_params):
            used.add((action, kind_of(api_params, settings)))
        return original(self, api_params, operation_model, *more, **named)

    def call(self: Any, operation: str, parameters: Any) -> Any:
        try:
            return made(self, operation, parameters)
        except ClientError as error:
            is_object = operation in ("GetObject", "HeadObject")
            if is_object and error.response["Error"]["Code"] in ("404", "NoSuchKey"):
                # Who may not list is told 403, so that nobody learns what is there.
                used.add(("s3:ListBucket", kind_of(parameters, settings)))
            raise

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(client, "_emit_api_params", emit)
        patch.setattr(client, "_make_api_call", call)
        yield used
