"""Who asked for what: the buckets' log of access, and the gateway's, without patient data."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from aws_cdk import Aws, Duration, RemovalPolicy
from aws_cdk import aws_apigateway as apigateway
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from aws_cdk import aws_s3 as s3
from constructs import Construct

from infra.checks import accept

if TYPE_CHECKING:
    from aws_cdk import aws_kms as kms

    from infra.deployment import Deployment

# Paths hold UIDs and queries hold names of patients, so that the template of the path stands for
# both. A user agent is text of the caller's, which could end the line's JSON.
_FIELDS: Final = {
    "requestId": "requestId",
    "extendedRequestId": "extendedRequestId",
    "time": "requestTimeEpoch",
    "method": "httpMethod",
    "resource": "resourcePath",
    "status": "status",
    "answer": "error.responseType",
    "responseBytes": "responseLength",
    "responseMilliseconds": "responseLatency",
    "integrationMilliseconds": "integrationLatency",
    "integrationStatus": "integrationStatus",
    "authorizerStatus": "authorizer.status",
    "principal": "authorizer.principalId",
    "caller": "identity.caller",
    "sourceIp": "identity.sourceIp",
    "waf": "wafResponseCode",
}
"""Name in the log and what API Gateway knows it by."""

OWN_KEYS: Final = {
    "HIPAA.Security-S3DefaultEncryptionKMS": (
        "S3 encrypts every object with keys of its own; kms=customer takes a key of the "
        "customer's, which costs a call of KMS for what is read and written"
    ),
}
"""What is accepted where a deployment does not ask for a key of its own."""


class AccessLogBucket(Construct):
    """The bucket to which S3 writes who read or wrote the objects of others."""

    def __init__(self, scope: Construct, construct_id: str, *, deployment: Deployment) -> None:
        """Make the bucket."""
        super().__init__(scope, construct_id)
        self.bucket = s3.Bucket(
            self,
            "Bucket",
            # S3 writes its logs to no bucket whose default is a key of KMS.
            encryption=s3.BucketEncryption.S3_MANAGED,
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
            enforce_ssl=True,
            minimum_tls_version=1.2,
            lifecycle_rules=[
                s3.LifecycleRule(expiration=Duration.days(deployment.log_retention_days))
            ],
            # Logs come for hours after the last request, so that it could not be emptied in time.
            removal_policy=RemovalPolicy.RETAIN,
        )
        self.bucket.add_to_resource_policy(
            iam.PolicyStatement(
                sid="LogsOfBucketsOfThisAccount",
                principals=[iam.ServicePrincipal("logging.s3.amazonaws.com")],
                actions=["s3:PutObject"],
                resources=[self.bucket.arn_for_objects("*")],
                conditions={"StringEquals": {"aws:SourceAccount": Aws.ACCOUNT_ID}},
            )
        )
        accept(
            self.bucket,
            {
                "HIPAA.Security-S3BucketReplicationEnabled": "Logs are kept for a time, once",
                "HIPAA.Security-S3BucketVersioningEnabled": (
                    "S3 writes each log once, and nobody else may write here"
                ),
                "HIPAA.Security-S3DefaultEncryptionKMS": (
                    "S3 writes its logs to no bucket whose default is a key of KMS"
                ),
            },
        )

    def follow(self, bucket: s3.Bucket, *, prefix: str) -> None:
        """Have the access to a bucket's objects logged, under a prefix of its own.

        The bucket's own property, since CDK's way asks for an access list, which is switched off.
        """
        resource = bucket.node.default_child
        if not isinstance(resource, s3.CfnBucket):
            raise TypeError("the bucket has no CloudFormation resource")
        resource.logging_configuration = s3.CfnBucket.LoggingConfigurationProperty(
            destination_bucket_name=self.bucket.bucket_name, log_file_prefix=f"{prefix}/"
        )
        if self.bucket.policy is not None:
            # S3 asks when it is told to log whether it may.
            bucket.node.add_dependency(self.bucket.policy)


class StageLog(Construct):
    """The log of a gateway's stage: one line of JSON for each request."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        deployment: Deployment,
        key: kms.IKey | None = None,
    ) -> None:
        """Make the log group, and the role that lets API Gateway write if it is asked for."""
        super().__init__(scope, construct_id)
        self.group = log_group(self, "Group", deployment=deployment, key=key)
        self.account: apigateway.CfnAccount | None = None
        if deployment.api_log_role:
            self.account = self._account()
        self.format = apigateway.AccessLogFormat.custom(
            json.dumps({name: f"$context.{source}" for name, source in _FIELDS.items()})
        )

    def _account(self) -> apigateway.CfnAccount:
        policy = "service-role/AmazonAPIGatewayPushToCloudWatchLogs"
        role = iam.Role(
            self,
            "Role",
            assumed_by=iam.ServicePrincipal("apigateway.amazonaws.com"),
            managed_policies=[iam.ManagedPolicy.from_aws_managed_policy_name(policy)],
        )
        account = apigateway.CfnAccount(self, "Account", cloud_watch_role_arn=role.role_arn)
        for lasting in (role, account):
            # Every gateway of the account and region logs by it, also when this one is gone.
            lasting.apply_removal_policy(RemovalPolicy.RETAIN)
        accept(
            role,
            {
                f"AwsSolutions-IAM4[Policy::arn:<AWS::Partition>:iam::aws:policy/{policy}]": (
                    "The role is the account's, for all its gateways, and AWS says what it needs"
                )
            },
        )
        return account


def log_group(
    scope: Construct,
    construct_id: str,
    *,
    deployment: Deployment,
    key: kms.IKey | None,
    name: str | None = None,
) -> logs.LogGroup:
    """Make a log group that is kept for as long as the deployment says."""
    group = logs.LogGroup(
        scope,
        construct_id,
        log_group_name=name,
        retention=retention(deployment.log_retention_days),
        encryption_key=key,
        removal_policy=RemovalPolicy.RETAIN if deployment.is_retained else RemovalPolicy.DESTROY,
    )
    if key is None:
        accept(
            group,
            {
                "HIPAA.Security-CloudWatchLogGroupEncrypted": (
                    "CloudWatch encrypts all logs with keys of its own, and none holds patient "
                    "data; kms=customer takes a key of the customer's"
                )
            },
        )
    return group


def retention(days: int) -> logs.RetentionDays:
    """Give CDK's value of a number of days, one of those that a deployment may ask for."""
    return {
        30: logs.RetentionDays.ONE_MONTH,
        90: logs.RetentionDays.THREE_MONTHS,
        365: logs.RetentionDays.ONE_YEAR,
        2192: logs.RetentionDays.SIX_YEARS,
    }[days]
