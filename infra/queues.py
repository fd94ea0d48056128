"""The queues between a change and whoever follows it, each with a dead-letter queue."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from aws_cdk import Aws, Duration
from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from dicomulus.adapters.aws.limits import MAX_RECEIVES
from infra.limits import COMPACT, INGEST, VISIBILITY_FACTOR

if TYPE_CHECKING:
    from aws_cdk import aws_kms as kms

    from infra.limits import FunctionLimits
    from infra.storage import Storage

_DEAD_LETTER_DAYS: Final = 14

# Whatever may have changed the bytes under a key, a version's removal by its age included, or made
# them readable that were archived.
_EVENTS: Final = (
    "s3:ObjectCreated:*",
    "s3:ObjectRemoved:*",
    "s3:LifecycleExpiration:*",
    "s3:ObjectRestore:Completed",
)


class ChangeQueues(Construct):
    """The ingest queue, told by the bucket, and the compact queue, told by ingest with a delay."""

    def __init__(self, scope: Construct, construct_id: str, *, key: kms.IKey | None = None) -> None:
        """Make the queues."""
        super().__init__(scope, construct_id)
        # S3 may send to a queue that SQS itself encrypts; to one with AWS's key it may not.
        kinds = sqs.QueueEncryption
        self._encryption = kinds.SQS_MANAGED if key is None else kinds.KMS
        self._key = key
        self.ingest_dead_letters = self.dead_letters("Ingest")
        self.ingest = self._queue("Ingest", limits=INGEST, dead_letters=self.ingest_dead_letters)
        self.compact_dead_letters = self.dead_letters("Compact")
        self.compact = self._queue(
            "Compact", limits=COMPACT, dead_letters=self.compact_dead_letters
        )

    def dead_letters(self, name: str) -> sqs.Queue:
        """Make a dead-letter queue."""
        return sqs.Queue(
            self,
            f"{name}DeadLetters",
            encryption=self._encryption,
            encryption_master_key=self._key,
            enforce_ssl=True,
            retention_period=Duration.days(_DEAD_LETTER_DAYS),
        )

    def _queue(self, name: str, *, limits: FunctionLimits, dead_letters: sqs.Queue) -> sqs.Queue:
        return sqs.Queue(
            self,
            f"{name}Queue",
            encryption=self._encryption,
            encryption_master_key=self._key,
            enforce_ssl=True,
            visibility_timeout=Duration.seconds(VISIBILITY_FACTOR * limits.timeout_seconds),
            dead_letter_queue=sqs.DeadLetterQueue(
                queue=dead_letters, max_receive_count=MAX_RECEIVES
            ),
        )

    def follow(self, storage: Storage, *, prefix: str) -> None:
        """Have every change under a prefix of the storage bucket sent to the ingest queue.

        The bucket's own property, since CDK's way makes a function with rights on all buckets.
        """
        granted = self.ingest.add_to_resource_policy(
            iam.PolicyStatement(
                sid="ChangesOfTheStorageBucket",
                principals=[iam.ServicePrincipal("s3.amazonaws.com")],
                actions=["sqs:SendMessage"],
                resources=[self.ingest.queue_arn],
                conditions={
                    "ArnEquals": {
                        "aws:SourceArn": f"arn:{Aws.PARTITION}:s3:::{storage.bucket_name}"
                    },
                    "StringEquals": {"aws:SourceAccount": Aws.ACCOUNT_ID},
                },
            )
        )
        rules = [s3.CfnBucket.FilterRuleProperty(name="prefix", value=prefix)] if prefix else []
        only = s3.CfnBucket.NotificationFilterProperty(
            s3_key=s3.CfnBucket.S3KeyFilterProperty(rules=rules)
        )
        bucket = storage.bucket.node.default_child
        if not isinstance(bucket, s3.CfnBucket):
            raise TypeError("the storage bucket has no CloudFormation resource")
        bucket.notification_configuration = s3.CfnBucket.NotificationConfigurationProperty(
            queue_configurations=[
                s3.CfnBucket.QueueConfigurationProperty(
                    event=event,
                    queue=self.ingest.queue_arn,
                    filter=only if prefix else None,
                )
                for event in _EVENTS
            ]
        )
        # S3 tries to send when it is told to, so it must be allowed to by then.
        if granted.policy_dependable is not None:
            storage.bucket.node.add_dependency(granted.policy_dependable)
