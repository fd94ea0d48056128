"""What encrypts data at rest: the services' own keys, or one key of the customer's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from aws_cdk import Aws, Duration, RemovalPolicy
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from constructs import Construct

if TYPE_CHECKING:
    from infra.deployment import Deployment
    from infra.rights import Rights

_PENDING_DAYS: Final = 30
"""Days in which a key's deletion can be taken back; without it nothing can be read any more."""

# What sends to a queue or topic that the key encrypts, and says for which account.
_SENDERS: Final = ("cloudwatch", "s3")

_WRITING: Final = ("Delete", "Put", "Update", "Write")

_ENCRYPT: Final = ("kms:Decrypt", "kms:GenerateDataKey")
_TABLE_READ: Final = ("kms:Decrypt", "kms:DescribeKey")
_TABLE_WRITE: Final = (
    *_TABLE_READ,
    "kms:Encrypt",
    "kms:GenerateDataKey",
    "kms:GenerateDataKeyWithoutPlaintext",
    "kms:ReEncryptFrom",
    "kms:ReEncryptTo",
)


class Encryption(Construct):
    """The customer's key, if a deployment asks for one."""

    def __init__(self, scope: Construct, construct_id: str, *, deployment: Deployment) -> None:
        """Make the key, or take the one that is named."""
        super().__init__(scope, construct_id)
        self.key: kms.IKey | None = None
        if deployment.kms == "customer":
            self.key = self._own_key(retained=deployment.is_retained)
        elif deployment.kms != "managed":
            self.key = kms.Key.from_key_arn(self, "Key", deployment.kms)

    def _own_key(self, *, retained: bool) -> kms.Key:
        key = kms.Key(
            self,
            "Key",
            description="Dicomulus: data at rest",
            enable_key_rotation=True,
            pending_window=Duration.days(_PENDING_DAYS),
            removal_policy=RemovalPolicy.RETAIN if retained else RemovalPolicy.DESTROY,
        )
        for statement in service_statements():
            key.add_to_resource_policy(statement)
        return key


def service_statements() -> list[iam.PolicyStatement]:
    """Give what a key's policy must allow AWS's services, besides what it allows its account."""
    logs = f"logs.{Aws.REGION}.{Aws.URL_SUFFIX}"
    groups = f"arn:{Aws.PARTITION}:logs:{Aws.REGION}:{Aws.ACCOUNT_ID}:log-group:*"
    return [
        iam.PolicyStatement(
            sid="MessagesOfServicesOfThisAccount",
            principals=[iam.ServicePrincipal(f"{name}.amazonaws.com") for name in _SENDERS],
            actions=list(_ENCRYPT),
            resources=["*"],
            conditions={"StringEquals": {"aws:SourceAccount": Aws.ACCOUNT_ID}},
        ),
        # EventBridge names no source to KMS, so that a condition on one refuses every event (AWS).
        # Which rule may send is said by the queue, whose policy names it.
        iam.PolicyStatement(
            sid="EventsOfQueuesThatLetThemIn",
            principals=[iam.ServicePrincipal("events.amazonaws.com")],
            actions=list(_ENCRYPT),
            resources=["*"],
        ),
        iam.PolicyStatement(
            sid="LogsOfThisAccount",
            principals=[iam.ServicePrincipal(logs)],
            actions=[
                *_ENCRYPT,
                "kms:DescribeKey",
                "kms:Encrypt",
                "kms:ReEncryptFrom",
                "kms:ReEncryptTo",
            ],
            resources=["*"],
            conditions={"ArnLike": {"kms:EncryptionContext:aws:logs:arn": groups}},
        ),
    ]


def key_statements(rights: Rights, key: kms.IKey | None) -> list[iam.PolicyStatement]:
    """Give what a function may do with the key: what its other rights need, by way of services."""
    if key is None:
        return []
    objects = {*rights.storage, *rights.cache}
    writes_rows = any(word in action for action in rights.table for word in _WRITING)
    needed: dict[str, tuple[str, ...]] = {}
    if "s3:PutObject" in objects:
        # Parts of an upload are read with the key when they are put together.
        needed["s3"] = _ENCRYPT
    elif "s3:GetObject" in objects:
        needed["s3"] = ("kms:Decrypt",)
    if rights.send_to:
        needed["sqs"] = _ENCRYPT
    elif rights.receive_from:
        needed["sqs"] = ("kms:Decrypt",)
    if rights.table or rights.indexes:
        needed["dynamodb"] = _TABLE_WRITE if writes_rows else _TABLE_READ
    return [
        iam.PolicyStatement(
            actions=sorted(actions),
            resources=[key.key_arn],
            conditions={
                "StringEquals": {"kms:ViaService": f"{service}.{Aws.REGION}.{Aws.URL_SUFFIX}"}
            },
        )
        for service, actions in needed.items()
    ]
