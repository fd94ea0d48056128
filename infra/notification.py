"""What has the function ``notify`` tell those outside of changes: the table's stream, a schedule."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from aws_cdk import Aws, Duration
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from dicomulus.adapters.aws.keys import change_key
from dicomulus.adapters.aws.schema import PARTITION_KEY
from infra.checks import accept_wildcard
from infra.limits import NOTIFY_MINUTES

if TYPE_CHECKING:
    from infra.deployment import Deployment
    from infra.stateful_stack import StatefulStack

STREAM: Final = (
    "dynamodb:DescribeStream",
    "dynamodb:GetRecords",
    "dynamodb:GetShardIterator",
)
"""What Lambda does with a stream, by the rights of the function that it hands records to."""

_WINDOW_SECONDS: Final = 1
"""Seconds in which what was appended becomes one invocation."""


class Notification(Construct):
    """Invocations of the function ``notify``, and its rights to where changes go."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        deployment: Deployment,
        stateful: StatefulStack,
        function: lambda_.Function,
    ) -> None:
        """Have the function invoked within seconds of an append, and once in a while."""
        super().__init__(scope, construct_id)
        self._follow_log(function, stateful)
        events.Rule(
            self,
            "Schedule",
            description="Tells those outside of changes what was missed",
            schedule=events.Schedule.rate(Duration.minutes(NOTIFY_MINUTES)),
            targets=[targets.LambdaFunction(function, retry_attempts=0)],
        )
        if deployment.webhook_secret_arn:
            _allow(function, ("secretsmanager:GetSecretValue",), deployment.webhook_secret_arn)
        if deployment.event_bus:
            _allow(function, ("events:PutEvents",), _bus_arn(deployment.event_bus))

    def _follow_log(self, function: lambda_.Function, stateful: StatefulStack) -> None:
        stream_arn = stateful.index.table.table_stream_arn
        if stream_arn is None:
            raise ValueError("the table has no stream")
        _allow(function, STREAM, stream_arn)
        # ListStreams has no resources.
        _allow(function, ("dynamodb:ListStreams",), "*")
        if function.role is not None:
            accept_wildcard(function.role, "*", reason="Streams are listed all or none")
        function.add_event_source_mapping(
            "Stream",
            event_source_arn=stream_arn,
            starting_position=lambda_.StartingPosition.LATEST,
            batch_size=100,
            max_batching_window=Duration.seconds(_WINDOW_SECONDS),
            # The schedule tells what this one does not.
            retry_attempts=0,
            filters=[
                lambda_.FilterCriteria.filter(
                    {
                        "eventName": lambda_.FilterRule.is_equal("INSERT"),
                        "dynamodb": {
                            "Keys": {
                                PARTITION_KEY.name: {
                                    "S": lambda_.FilterRule.is_equal(change_key(1).partition)
                                }
                            }
                        },
                    }
                )
            ],
        )


def _bus_arn(bus: str) -> str:
    if bus.startswith("arn:"):
        return bus
    return f"arn:{Aws.PARTITION}:events:{Aws.REGION}:{Aws.ACCOUNT_ID}:event-bus/{bus}"


def _allow(function: lambda_.Function, actions: tuple[str, ...], resource: str) -> None:
    function.add_to_role_policy(iam.PolicyStatement(actions=sorted(actions), resources=[resource]))
