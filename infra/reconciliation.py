"""The state machine that compares the storage area with the index, and its schedule."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from aws_cdk import Aws, Duration, Stack, TimeZone
from aws_cdk import aws_iam as iam
from aws_cdk import aws_scheduler as scheduler
from aws_cdk import aws_scheduler_targets as targets
from aws_cdk import aws_sqs as sqs
from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct

from dicomulus.services.run_reports import REPORTS_PREFIX
from infra.access_logs import log_group
from infra.checks import accept, accept_wildcard
from infra.reconciliation_states import reconciliation

if TYPE_CHECKING:
    from aws_cdk import aws_lambda as lambda_

    from infra.deployment import Deployment
    from infra.stateful_stack import StatefulStack

_WINDOW_MINUTES: Final = 30
"""Minutes in which a scheduled run begins; nothing waits for it."""

_DEAD_LETTER_DAYS: Final = 14

_DAYS_OF_ATTEMPTS: Final = 1
"""Days in which a run that could not be started is tried again: then the next one is due."""

_ACCEPTED: Final = {
    "HIPAA.Security-IAMNoInlinePolicy": (
        "Each role is for this machine or its schedule alone, and goes with it; a managed policy "
        "would be there for others to attach"
    ),
}


def scheduled_wishes(deployment: Deployment) -> dict[str, Any]:
    """Give the input of the daily run."""
    verify_days, compare_days = deployment.verify_days, deployment.compare_days
    return {
        "reason": "scheduled",
        "verify": verify_days > 0,
        "verify_days": max(1, verify_days),
        # What is verified is of what is compared.
        "compare_days": min(compare_days, verify_days or compare_days),
        "repair": True,
    }


class Reconciliation(Construct):
    """A standard state machine with a role of its own, started daily and by whoever asks."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        deployment: Deployment,
        stateful: StatefulStack,
        function: lambda_.Function,
    ) -> None:
        """Make the state machine over a function that does the work."""
        super().__init__(scope, construct_id)
        storage = stateful.storage
        definition = reconciliation(
            function_arn=function.function_arn,
            storage_bucket=storage.bucket.bucket_name,
            storage_prefix=deployment.storage_prefix,
            cache_bucket=storage.cache_bucket.bucket_name,
        )
        key = stateful.encryption.key
        self.log_group = log_group(self, "Log", deployment=deployment, key=key)
        self.state_machine = sfn.StateMachine(
            self,
            "StateMachine",
            definition_body=sfn.DefinitionBody.from_string(
                Stack.of(self).to_json_string(definition)
            ),
            state_machine_type=sfn.StateMachineType.STANDARD,
            role=iam.Role(self, "Role", assumed_by=iam.ServicePrincipal("states.amazonaws.com")),
            logs=sfn.LogOptions(
                destination=self.log_group,
                level=sfn.LogLevel.ALL,
                # Keys are the input of every batch, and may be named after patients.
                include_execution_data=False,
            ),
            tracing_enabled=True,
        )
        self._allow(function, stateful, deployment)
        if deployment.reconcile_hour >= 0:
            self._schedule(deployment)
        accept(self, _ACCEPTED)

    def _allow(
        self, function: lambda_.Function, stateful: StatefulStack, deployment: Deployment
    ) -> None:
        bucket, cache = stateful.storage.bucket, stateful.storage.cache_bucket
        machine = self.state_machine.state_machine_arn
        executions = f"arn:{Aws.PARTITION}:states:{Aws.REGION}:{Aws.ACCOUNT_ID}:execution"
        children = f"{executions}:{self.state_machine.state_machine_name}/*"
        reports = cache.arn_for_objects(REPORTS_PREFIX + "*")
        prefix = deployment.storage_prefix
        statements = [
            iam.PolicyStatement(
                actions=["lambda:InvokeFunction"], resources=[function.function_arn]
            ),
            iam.PolicyStatement(
                actions=["s3:ListBucket"],
                resources=[bucket.bucket_arn],
                conditions={"StringLike": {"s3:prefix": prefix + "*"}} if prefix else None,
            ),
            iam.PolicyStatement(actions=["s3:ListBucket"], resources=[cache.bucket_arn]),
            # What a Distributed Map writes its results with.
            iam.PolicyStatement(
                actions=[
                    "s3:AbortMultipartUpload",
                    "s3:GetObject",
                    "s3:ListMultipartUploadParts",
                    "s3:PutObject",
                ],
                resources=[reports],
            ),
            # Its children are executions of the machine itself.
            iam.PolicyStatement(actions=["states:StartExecution"], resources=[machine]),
            iam.PolicyStatement(
                actions=["states:DescribeExecution", "states:StopExecution"],
                resources=[children],
            ),
        ]
        key = stateful.encryption.key
        if key is not None:
            by_s3 = {"kms:ViaService": f"s3.{Aws.REGION}.{Aws.URL_SUFFIX}"}
            statements.append(
                iam.PolicyStatement(
                    actions=["kms:Decrypt", "kms:GenerateDataKey"],
                    resources=[key.key_arn],
                    conditions={"StringEquals": by_s3},
                )
            )
        # A policy of its own: the role's would be named by the machine, and names it.
        rights = iam.Policy(self, "Rights", statements=statements, roles=[self.state_machine.role])
        accept_wildcard(
            rights, reports, reason="A Distributed Map names its results by run and number"
        )
        accept_wildcard(
            rights, children, reason="The executions that a Distributed Map starts have any name"
        )
        accept(
            self.state_machine.role,
            {
                "AwsSolutions-IAM5[Resource::*]": (
                    "Log deliveries and traces have no resources that a policy could name (AWS)"
                )
            },
        )

    def _schedule(self, deployment: Deployment) -> None:
        dead_letters = sqs.Queue(
            self,
            "ScheduleDeadLetters",
            encryption=sqs.QueueEncryption.SQS_MANAGED,
            enforce_ssl=True,
            retention_period=Duration.days(_DEAD_LETTER_DAYS),
        )
        accept(
            dead_letters,
            {"AwsSolutions-SQS3": "It is itself where runs that could not be started end"},
        )
        self.schedule = scheduler.Schedule(
            self,
            "Daily",
            schedule=scheduler.ScheduleExpression.cron(
                minute="0", hour=str(deployment.reconcile_hour), time_zone=TimeZone.ETC_UTC
            ),
            time_window=scheduler.TimeWindow.flexible(Duration.minutes(_WINDOW_MINUTES)),
            target=targets.StepFunctionsStartExecution(
                self.state_machine,
                input=scheduler.ScheduleTargetInput.from_object(scheduled_wishes(deployment)),
                dead_letter_queue=dead_letters,
                role=iam.Role(
                    self,
                    "ScheduleRole",
                    assumed_by=iam.ServicePrincipal("scheduler.amazonaws.com"),
                ),
                max_event_age=Duration.days(_DAYS_OF_ATTEMPTS),
            ),
            description="Compares the storage area with the index",
        )
