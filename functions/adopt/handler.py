"""Takes a bucket that exists as the storage area when CloudFormation asks for that."""

from __future__ import annotations

import os
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from dicomulus.adapters.aws.adoption import Adoption, start_backfill
from dicomulus.adapters.aws.custom_resource import answered
from dicomulus.adapters.aws.function_log import function_log

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aws_lambda_powertools.utilities.typing import LambdaContext

logger = function_log()


def adopt(asked: Mapping[str, Any]) -> dict[str, str]:
    """Check the bucket, have it tell EventBridge of every change, and have its content indexed.

    Raises:
        ConfigurationError: It cannot be adopted, and why.
    """
    adopted = Adoption(
        asked["Bucket"],
        account_id=asked["AccountId"],
        region=os.environ["AWS_REGION"],
        kms_key_arn=asked.get("KmsKeyArn", ""),
    ).adopt()
    if adopted.versioning != "Enabled":
        logger.warning("what is replaced or deleted in this bucket cannot be had back")
    run = start_backfill(asked["StateMachineArn"])
    logger.info("backfill started", extra={"run": run})
    return {name.title(): str(value) for name, value in asdict(adopted).items()} | {"Run": run}


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> Mapping[str, str]:
    """Answer CloudFormation; where the resource goes, the bucket stays as it is."""
    bucket = event["ResourceProperties"]["Bucket"]
    return answered(event, adopt, physical_id=f"adopted-{bucket}")
