"""A bucket that exists as the storage bucket: its events by EventBridge, and what asks for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from aws_cdk import Aws, CustomResource, Duration
from aws_cdk import aws_events as events
from aws_cdk import aws_iam as iam
from constructs import Construct

from dicomulus.adapters.aws.adoption import event_pattern
from infra.checks import accept
from infra.limits import ADOPT

if TYPE_CHECKING:
    from aws_cdk import aws_lambda as lambda_
    from aws_cdk import aws_sqs as sqs

    from infra.deployment import Deployment
    from infra.queues import ChangeQueues
    from infra.reconciliation import Reconciliation

# What EventBridge does by itself, said so that it stays.
_RETRY_ATTEMPTS: Final = 185
_MAX_AGE_HOURS: Final = 24

_ANSWER_SECONDS: Final = 60
"""Seconds for which CloudFormation waits longer than the function runs."""


_ACCEPTED: Final = {
    "HIPAA.Security-IAMNoInlinePolicy": (
        "The role is for this function alone, and goes with it; a managed policy would be found "
        "by others and put on their roles"
    ),
}


class AdoptedEvents(Construct):
    """The rule that sends what happens under a prefix of the bucket to the ingest queue."""

    def __init__(
        self, scope: Construct, construct_id: str, *, deployment: Deployment, queues: ChangeQueues
    ) -> None:
        """Make the rule, and a dead-letter queue for what it cannot send."""
        super().__init__(scope, construct_id)
        self.dead_letters = queues.dead_letters("Event")
        rule = events.CfnRule(
            self,
            "Rule",
            description="Changes of the adopted bucket",
            event_pattern=event_pattern(deployment.adopt_bucket, deployment.storage_prefix),
            targets=[
                events.CfnRule.TargetProperty(
                    id="Ingest",
                    arn=queues.ingest.queue_arn,
                    dead_letter_config=events.CfnRule.DeadLetterConfigProperty(
                        arn=self.dead_letters.queue_arn
                    ),
                    retry_policy=events.CfnRule.RetryPolicyProperty(
                        maximum_event_age_in_seconds=3_600 * _MAX_AGE_HOURS,
                        maximum_retry_attempts=_RETRY_ATTEMPTS,
                    ),
                )
            ],
        )
        accept(
            self.dead_letters,
            {"AwsSolutions-SQS3": "It is a dead-letter queue itself: that of an EventBridge rule"},
        )
        for queue in (queues.ingest, self.dead_letters):
            _let_in(queue, rule)


def _let_in(queue: sqs.Queue, rule: events.CfnRule) -> None:
    queue.add_to_resource_policy(
        iam.PolicyStatement(
            sid="ChangesOfTheAdoptedBucket",
            principals=[iam.ServicePrincipal("events.amazonaws.com")],
            actions=["sqs:SendMessage"],
            resources=[queue.queue_arn],
            conditions={"ArnEquals": {"aws:SourceArn": rule.attr_arn}},
        )
    )


class Adoption(Construct):
    """What checks the bucket during a deployment, and has it tell EventBridge."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        deployment: Deployment,
        function: lambda_.Function,
        reconciliation: Reconciliation,
    ) -> None:
        """Ask a function for it, and to have what is there indexed; again when that has changed."""
        super().__init__(scope, construct_id)
        machine = reconciliation.state_machine.state_machine_arn
        if function.role is None:
            raise TypeError("the function has no role")
        start = iam.Policy(
            self,
            "Start",
            statements=[
                iam.PolicyStatement(actions=["states:StartExecution"], resources=[machine])
            ],
            roles=[function.role],
        )
        accept(start, _ACCEPTED)
        self.resource = CustomResource(
            self,
            "Bucket",
            resource_type="Custom::AdoptedBucket",
            service_token=function.function_arn,
            service_timeout=Duration.seconds(ADOPT.timeout_seconds + _ANSWER_SECONDS),
            properties={
                "Bucket": deployment.adopt_bucket,
                "Prefix": deployment.storage_prefix,
                "KmsKeyArn": deployment.adopt_bucket_kms_key_arn,
                "AccountId": Aws.ACCOUNT_ID,
                "StateMachineArn": machine,
            },
        )
        # What is there is indexed by all of these, and by nothing less.
        self.resource.node.add_dependency(start, reconciliation)
