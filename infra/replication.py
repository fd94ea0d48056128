"""A copy of every object elsewhere: replication of the storage bucket, as S3 does it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aws_cdk import CfnOutput, Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3 as s3
from constructs import Construct

from infra.checks import accept, accept_wildcard

if TYPE_CHECKING:
    from aws_cdk import aws_kms as kms

    from infra.deployment import Deployment


class Replication(Construct):
    """The role that S3 copies with, and the bucket's configuration."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        deployment: Deployment,
        bucket: s3.Bucket,
        key: kms.IKey | None = None,
    ) -> None:
        """Have a bucket replicated.

        Args:
            scope: Whose part this is.
            construct_id: Its name there.
            deployment: Names the bucket that copies go to.
            bucket: What is copied.
            key: What it encrypts with, if not S3's own.
        """
        super().__init__(scope, construct_id)
        self._deployment = deployment
        self._key = key
        self.role = iam.Role(self, "Role", assumed_by=iam.ServicePrincipal("s3.amazonaws.com"))
        self._allow(bucket)
        resource = bucket.node.default_child
        if not isinstance(resource, s3.CfnBucket):
            raise TypeError("the storage bucket has no CloudFormation resource")
        resource.replication_configuration = self._configuration()
        CfnOutput(Stack.of(self), "ReplicationRole", value=self.role.role_arn)

    def _configuration(self) -> s3.CfnBucket.ReplicationConfigurationProperty:
        theirs = self._deployment.replica_kms_key_arn
        kinds = s3.CfnBucket
        return kinds.ReplicationConfigurationProperty(
            role=self.role.role_arn,
            rules=[
                kinds.ReplicationRuleProperty(
                    status="Enabled",
                    priority=1,
                    filter=kinds.ReplicationRuleFilterProperty(
                        prefix=self._deployment.storage_prefix
                    ),
                    # What is deleted by mistake is to be had there.
                    delete_marker_replication=kinds.DeleteMarkerReplicationProperty(
                        status="Disabled"
                    ),
                    destination=kinds.ReplicationDestinationProperty(
                        bucket=self._deployment.replica_bucket_arn,
                        encryption_configuration=(
                            kinds.EncryptionConfigurationProperty(replica_kms_key_id=theirs)
                            if theirs
                            else None
                        ),
                    ),
                    source_selection_criteria=(
                        kinds.SourceSelectionCriteriaProperty(
                            sse_kms_encrypted_objects=kinds.SseKmsEncryptedObjectsProperty(
                                status="Enabled"
                            )
                        )
                        if theirs
                        else None
                    ),
                )
            ],
        )

    def _allow(self, bucket: s3.Bucket) -> None:
        """Let the role copy; by a policy of its own, since the bucket is made with the role."""
        copies = f"{self._deployment.replica_bucket_arn}/*"
        objects = bucket.arn_for_objects("*")
        policy = iam.Policy(
            self,
            "Policy",
            roles=[self.role],
            statements=[
                iam.PolicyStatement(
                    actions=["s3:GetReplicationConfiguration", "s3:ListBucket"],
                    resources=[bucket.bucket_arn],
                ),
                iam.PolicyStatement(
                    actions=[
                        "s3:GetObjectVersionAcl",
                        "s3:GetObjectVersionForReplication",
                        "s3:GetObjectVersionTagging",
                    ],
                    resources=[objects],
                ),
                iam.PolicyStatement(
                    actions=["s3:ReplicateObject", "s3:ReplicateTags"], resources=[copies]
                ),
                *self._keys(),
            ],
        )
        accept(
            policy,
            {
                "HIPAA.Security-IAMNoInlinePolicy": (
                    "The role is for this one bucket and goes with it; a managed policy could be "
                    "attached elsewhere"
                )
            },
        )
        accept_wildcard(policy, objects, reason="S3 copies all objects of this bucket")
        accept_wildcard(policy, copies, reason="The copies have the names of the objects")

    def _keys(self) -> list[iam.PolicyStatement]:
        found = []
        if self._key is not None:
            found.append(
                iam.PolicyStatement(actions=["kms:Decrypt"], resources=[self._key.key_arn])
            )
        if self._deployment.replica_kms_key_arn:
            found.append(
                iam.PolicyStatement(
                    actions=["kms:Encrypt"], resources=[self._deployment.replica_kms_key_arn]
                )
            )
        return found
