"""What proves, at each deployment and then by a schedule, that an object is answered."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aws_cdk import CfnOutput, CustomResource, Duration, Stack
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from constructs import Construct

from infra.limits import PROBE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from aws_cdk import aws_lambda as lambda_

    from infra.deployment import Deployment

_ANSWER_SECONDS = 60
"""Seconds for which CloudFormation waits longer than the function runs."""


class PathProbe(Construct):
    """Invocations of the function ``probe``."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        deployment: Deployment,
        function: lambda_.Function,
        of: Mapping[str, str],
        after: Sequence[Construct],
    ) -> None:
        """Have the function invoked.

        Args:
            scope: Whose part this is.
            construct_id: Its name there.
            deployment: Whether and how often.
            function: What is invoked.
            of: Texts of which at least one changes whenever the path does.
            after: What the path is made of.
        """
        super().__init__(scope, construct_id)
        CfnOutput(Stack.of(self), "ProbeFunctionName", value=function.function_name)
        if deployment.probe:
            self._at_deployment(function, of, after)
        if deployment.probe_hours and deployment.stores:
            events.Rule(
                self,
                "Schedule",
                description="Proves that what is put is answered",
                schedule=events.Schedule.rate(Duration.hours(deployment.probe_hours)),
                targets=[targets.LambdaFunction(function, retry_attempts=0)],
            )

    def _at_deployment(
        self, function: lambda_.Function, of: Mapping[str, str], after: Sequence[Construct]
    ) -> None:
        resource = CustomResource(
            self,
            "Run",
            resource_type="Custom::PathProbe",
            service_token=function.function_arn,
            service_timeout=Duration.seconds(PROBE.timeout_seconds + _ANSWER_SECONDS),
            properties=dict(of),
        )
        for each in after:
            resource.node.add_dependency(each)
        CfnOutput(Stack.of(self), "ProbePath", value=resource.get_att_string("Path"))
