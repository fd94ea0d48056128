"""The stack of what holds data or messages; it changes seldom and goes last."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aws_cdk import CfnOutput, Stack
from aws_cdk import aws_s3 as s3

from infra.adoption import AdoptedEvents
from infra.encryption import Encryption
from infra.index_table import IndexTable
from infra.queues import ChangeQueues
from infra.replication import Replication
from infra.storage import Storage

if TYPE_CHECKING:
    from aws_cdk import aws_sqs as sqs
    from constructs import Construct

    from infra.deployment import Deployment


class StatefulStack(Stack):
    """Buckets, table, queues."""

    def __init__(
        self, scope: Construct, construct_id: str, *, deployment: Deployment, **options: Any
    ) -> None:
        """Compose the stack."""
        super().__init__(
            scope, construct_id, termination_protection=deployment.is_retained, **options
        )
        self.encryption = Encryption(self, "Encryption", deployment=deployment)
        key = self.encryption.key
        self.storage = Storage(self, "Storage", deployment=deployment, key=key)
        if deployment.replica_bucket_arn and isinstance(self.storage.bucket, s3.Bucket):
            Replication(
                self,
                "Replication",
                deployment=deployment,
                bucket=self.storage.bucket,
                key=key,
            )
        self.index = IndexTable(self, "Index", deployment=deployment, key=key)
        self.queues = ChangeQueues(self, "Changes", key=key)
        self.queues_by_output = {
            "IngestQueueUrl": self.queues.ingest,
            "IngestDeadLettersUrl": self.queues.ingest_dead_letters,
            "CompactQueueUrl": self.queues.compact,
            "CompactDeadLettersUrl": self.queues.compact_dead_letters,
        }
        self.event_dead_letters: sqs.Queue | None = None
        if deployment.adopt_bucket:
            events = AdoptedEvents(self, "Events", deployment=deployment, queues=self.queues)
            self.event_dead_letters = events.dead_letters
            self.queues_by_output["EventDeadLettersUrl"] = events.dead_letters
        else:
            self.queues.follow(self.storage, prefix=deployment.storage_prefix)
        CfnOutput(self, "StorageBucketName", value=self.storage.bucket.bucket_name)
        CfnOutput(self, "CacheBucketName", value=self.storage.cache_bucket.bucket_name)
        CfnOutput(self, "TableName", value=self.index.table.table_name)
        # By these `dicomulus redrive` finds the queues.
        for name, queue in self.queues_by_output.items():
            CfnOutput(self, name, value=queue.queue_url)
