"""Tells the gateway what the bearer of a request's token may do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dicomulus.adapters.aws.authorizer import Authorizer
from dicomulus.adapters.aws.function_log import function_log
from dicomulus.settings import Settings

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

logger = function_log()
authorizer = Authorizer(Settings.from_env())


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Give the policy; what is raised, the gateway answers with 401, or 503 if it is not that."""
    return authorizer(event)
