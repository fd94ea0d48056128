"""The DynamoDB table of the index, from the schema that the adapter itself has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aws_cdk import RemovalPolicy
from aws_cdk import aws_dynamodb as dynamodb
from constructs import Construct

from dicomulus.adapters.aws.schema import TABLE_SCHEMA, UID_INDEX
from infra.checks import accept

if TYPE_CHECKING:
    from aws_cdk import aws_kms as kms

    from dicomulus.adapters.aws.schema import IndexSchema, KeyAttribute
    from infra.deployment import Deployment


class IndexTable(Construct):
    """An on-demand table that can be restored to any second of the last 35 days."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        deployment: Deployment,
        key: kms.IKey | None = None,
    ) -> None:
        """Make the table and its secondary indexes."""
        super().__init__(scope, construct_id)
        retained = deployment.is_retained
        kinds = dynamodb.TableEncryption
        self.table = dynamodb.Table(
            self,
            "Table",
            partition_key=_attribute(TABLE_SCHEMA.partition_key),
            sort_key=_attribute(TABLE_SCHEMA.sort_key),
            billing_mode=dynamodb.BillingMode.PAY_PER_REQUEST,
            encryption=kinds.AWS_MANAGED if key is None else kinds.CUSTOMER_MANAGED,
            encryption_key=key,
            point_in_time_recovery_specification=dynamodb.PointInTimeRecoverySpecification(
                point_in_time_recovery_enabled=True
            ),
            deletion_protection=retained,
            removal_policy=RemovalPolicy.RETAIN if retained else RemovalPolicy.DESTROY,
            warm_throughput=self._warm(deployment),
            # Without it a table costs the same; who is told of changes follows the log by it.
            stream=dynamodb.StreamViewType.KEYS_ONLY if deployment.notifies else None,
        )
        for index in TABLE_SCHEMA.indexes:
            # Others are written to once a study, or when a series begins to wait.
            is_busy = index.name == UID_INDEX
            self._add_index(index, warm=self._warm(deployment) if is_busy else None)
        accept(
            self.table,
            {
                "HIPAA.Security-DynamoDBInBackupPlan": (
                    "It can be restored to any second of the last 35 days, and all of it can be "
                    "made again from the storage bucket"
                )
            },
        )

    @staticmethod
    def _warm(deployment: Deployment) -> dynamodb.WarmThroughput | None:
        """Give what the table takes from its first second on; it never takes less than it did."""
        if not deployment.warm_write_units:
            return None
        return dynamodb.WarmThroughput(
            write_units_per_second=deployment.warm_write_units,
            # A row is read for each that is written, and a new table takes three times as many.
            read_units_per_second=3 * deployment.warm_write_units,
        )

    def _add_index(self, index: IndexSchema, *, warm: dynamodb.WarmThroughput | None) -> None:
        kinds = dynamodb.ProjectionType
        self.table.add_global_secondary_index(
            index_name=index.name,
            partition_key=_attribute(index.partition_key),
            sort_key=_attribute(index.sort_key) if index.sort_key else None,
            projection_type=kinds.INCLUDE if index.carried else kinds.KEYS_ONLY,
            non_key_attributes=list(index.carried) or None,
            warm_throughput=warm,
        )


def _attribute(attribute: KeyAttribute) -> dynamodb.Attribute:
    kinds = {"S": dynamodb.AttributeType.STRING, "N": dynamodb.AttributeType.NUMBER}
    return dynamodb.Attribute(name=attribute.name, type=kinds[attribute.type])
