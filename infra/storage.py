"""The buckets: the storage area, and the cache of what can be rebuilt from it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from aws_cdk import Aws, Duration, Fn, RemovalPolicy
from aws_cdk import aws_s3 as s3
from constructs import Construct

from dicomulus.adapters.aws.bucket_cors import storage_cors_rule
from dicomulus.services.run_reports import REPORTS_PREFIX
from infra.access_logs import OWN_KEYS, AccessLogBucket
from infra.checks import accept

if TYPE_CHECKING:
    from aws_cdk import aws_kms as kms

    from infra.deployment import Deployment

_NONCURRENT_DAYS: Final = 90
"""Days that an object replaced or deleted can be had back."""

_ABANDONED_UPLOAD_DAYS: Final = 7

_ACCEPTED: Final = {
    "HIPAA.Security-S3BucketReplicationEnabled": (
        "S3 keeps each object in three zones; a copy in another region doubles the price and "
        "needs a bucket there, so that it is the operator's decision (docs/operations.md)"
    ),
}
_REPORT_DAYS: Final = 30
"""Days that the reports of runs are kept."""


class Storage(Construct):
    """Two private, encrypted buckets that answer over TLS only, and one for the log of access."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        deployment: Deployment,
        key: kms.IKey | None = None,
    ) -> None:
        """Make the buckets."""
        super().__init__(scope, construct_id)
        self._key = key
        self.access_logs = AccessLogBucket(self, "AccessLogs", deployment=deployment)
        removal = RemovalPolicy.RETAIN if deployment.is_retained else RemovalPolicy.DESTROY
        # The queue's policy names the bucket and the bucket's notifications name the queue. Made
        # of the stack's own id, the name is known to both without a circle, and is used by no other.
        stack_uuid = Fn.select(2, Fn.split("/", Aws.STACK_ID))
        self.bucket_name = deployment.adopt_bucket or Fn.join(
            "-", ["dicomulus-storage", stack_uuid]
        )
        self.bucket: s3.IBucket = (
            s3.Bucket.from_bucket_name(self, "AdoptedBucket", deployment.adopt_bucket)
            if deployment.adopt_bucket
            else self._storage_bucket(deployment, removal=removal)
        )
        self.cache_bucket = self._bucket(
            "CacheBucket",
            removal=removal,
            lifecycle_rules=[
                s3.LifecycleRule(
                    prefix=REPORTS_PREFIX,
                    expiration=Duration.days(_REPORT_DAYS),
                    abort_incomplete_multipart_upload_after=Duration.days(_ABANDONED_UPLOAD_DAYS),
                )
            ],
        )
        accept(
            self.cache_bucket,
            {
                "HIPAA.Security-S3BucketVersioningEnabled": (
                    "All of it can be made again; old versions would keep what was deleted"
                )
            },
        )

    def _storage_bucket(self, deployment: Deployment, *, removal: RemovalPolicy) -> s3.Bucket:
        return self._bucket(
            "StorageBucket",
            removal=removal,
            bucket_name=self.bucket_name,
            versioned=True,
            cors=[_cors_rule(deployment)],
            lifecycle_rules=[
                s3.LifecycleRule(
                    noncurrent_version_expiration=Duration.days(_NONCURRENT_DAYS),
                    abort_incomplete_multipart_upload_after=Duration.days(_ABANDONED_UPLOAD_DAYS),
                    expired_object_delete_marker=True,
                )
            ],
        )

    def _bucket(
        self,
        construct_id: str,
        *,
        removal: RemovalPolicy,
        bucket_name: str | None = None,
        versioned: bool = False,
        cors: list[s3.CorsRule] | None = None,
        lifecycle_rules: list[s3.LifecycleRule] | None = None,
    ) -> s3.Bucket:
        kinds = s3.BucketEncryption
        bucket = s3.Bucket(
            self,
            construct_id,
            bucket_name=bucket_name,
            encryption=kinds.S3_MANAGED if self._key is None else kinds.KMS,
            encryption_key=self._key,
            # One data key serves many objects, else every read would be a call of KMS, too.
            bucket_key_enabled=None if self._key is None else True,
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
            enforce_ssl=True,
            minimum_tls_version=1.2,
            versioned=versioned,
            cors=cors,
            lifecycle_rules=lifecycle_rules,
            removal_policy=removal,
        )
        self.access_logs.follow(bucket, prefix=construct_id)
        accept(bucket, _ACCEPTED)
        if self._key is None:
            accept(bucket, OWN_KEYS)
        return bucket


def _cors_rule(deployment: Deployment) -> s3.CorsRule:
    rule = storage_cors_rule(
        deployment.origins_of_pages, public_base_url=deployment.public_base_url
    )
    return s3.CorsRule(
        allowed_origins=rule["AllowedOrigins"],
        allowed_methods=[s3.HttpMethods(method) for method in rule["AllowedMethods"]],
        allowed_headers=rule["AllowedHeaders"],
        exposed_headers=rule["ExposeHeaders"],
        max_age=rule["MaxAgeSeconds"],
    )
