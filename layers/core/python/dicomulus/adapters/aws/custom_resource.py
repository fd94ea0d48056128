"""What CloudFormation asks of a function during a deployment, and is answered (custom resources)."""

from __future__ import annotations

import json
import logging
import time
import urllib.request
from typing import TYPE_CHECKING, Any, Final

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from dicomulus.adapters.aws.dead_letters import reason_of
from dicomulus.errors import DicomulusError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

logger = logging.getLogger(__name__)

_ATTEMPTS: Final = 5
"""Times that the answer is sent; without one the deployment waits until its time is over."""

_MAX_REASON_CHARACTERS: Final = 1_000
"""The whole answer may have 4,096 bytes (CloudFormation)."""


def answered(
    event: Mapping[str, Any],
    act: Callable[[Mapping[str, Any]], Mapping[str, str]],
    *,
    physical_id: str,
) -> Mapping[str, str]:
    """Do what a deployment asks for, and tell CloudFormation how that went.

    Args:
        event: As CloudFormation writes it.
        act: Is given the properties, on creation and update; gives the attributes of the resource.
            Where the resource goes, nothing is done.
        physical_id: Names the resource: another name is another resource, and the old one goes.

    Returns:
        What was told; a failure is told, not raised.
    """
    status, reason, data = "SUCCESS", "", {}
    if event["RequestType"] != "Delete":
        try:
            data = dict(act(event["ResourceProperties"]))
        except DicomulusError as exc:
            status, reason = "FAILED", str(exc)
        except Exception as exc:
            logger.exception("custom resource failed")
            status, reason = "FAILED", reason_of(exc)
    answer = {
        "Status": status,
        "Reason": reason[:_MAX_REASON_CHARACTERS],
        "PhysicalResourceId": event.get("PhysicalResourceId", physical_id)
        if event["RequestType"] == "Delete"
        else physical_id,
        **{name: event[name] for name in ("StackId", "RequestId", "LogicalResourceId")},
        "Data": data,
    }
    logger.info("custom resource settled", extra={"status": status, "reason": reason})
    _send(event["ResponseURL"], json.dumps(answer).encode())
    return {"Status": status, "Reason": reason, **data}


def is_rolling_back(stack_id: str) -> bool:
    """Whether a stack goes back to what it was; a resource that fails then leaves it half-way."""
    try:
        answer = boto3.client("cloudformation").describe_stacks(StackName=stack_id)
    except (BotoCoreError, ClientError) as exc:
        logger.warning("the stack's state is not known", extra={"error": type(exc).__qualname__})
        return False
    return "ROLLBACK" in answer["Stacks"][0]["StackStatus"]


def _send(url: str, body: bytes) -> None:
    # The URL is CloudFormation's own, and signed for no content type at all.
    headers = {"Content-Type": "", "Content-Length": str(len(body))}
    for attempt in range(_ATTEMPTS):
        request = urllib.request.Request(url, body, headers, method="PUT")  # noqa: S310 - the same
        try:
            with urllib.request.urlopen(request, timeout=10):  # noqa: S310  (CloudFormation's URL)
                return
        except OSError:
            if attempt == _ATTEMPTS - 1:
                raise
            time.sleep(2**attempt)
