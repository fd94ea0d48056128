"""The functions: each with a role of its own that holds nothing it does not use."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from aws_cdk import Aws, Duration, Size
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from dicomulus.adapters.aws.limits import COMPACT_BATCH, INGEST_BATCH, function_settings
from dicomulus.adapters.aws.metrics import service_name
from dicomulus.dicom.own_keys import OWN_PREFIX
from infra import limits
from infra.access_logs import log_group
from infra.checks import accept, accept_wildcard
from infra.encryption import key_statements
from infra.layers import ROOT
from infra.packages import RUNTIME, architecture_of
from infra.rights import (
    ADOPTION_RIGHTS,
    BUCKET_ACTIONS,
    CHANGES_FORMS,
    DELETE_OBJECTS,
    NOTIFY_RIGHTS,
    ORTHANC_RIGHTS,
    RIGHTS,
    STORE_OBJECTS,
    TRACE,
    Rights,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from aws_cdk import aws_logs as logs
    from aws_cdk import aws_s3 as s3
    from aws_cdk import aws_sqs as sqs

    from dicomulus.adapters.aws.limits import BatchLimits, FunctionName
    from dicomulus.settings import Settings
    from infra.deployment import Deployment
    from infra.packages import Packages
    from infra.stateful_stack import StatefulStack

HTTP_PORT: Final = 8080
"""Port on which the HTTP functions listen, inside their own environment."""

_WEB_ADAPTER_ACCOUNT: Final = "753240598075"
"""AWS account in which the Lambda Web Adapter's layers are published."""

_ACCEPTED: Final = {
    "AwsSolutions-L1": (
        "The layers are built for one version of Python, under support until 2029; it moves with "
        "the locks, when all wheels are there"
    ),
    "HIPAA.Security-IAMNoInlinePolicy": (
        "A function's rights are its own: what could be attached elsewhere would be shared"
    ),
    "HIPAA.Security-LambdaConcurrency": (
        "A reservation is taken from the whole account; queues bound what they start, and the "
        "stage's throttling what requests start"
    ),
    "HIPAA.Security-LambdaDLQ": (
        "It is for events that nobody waits for; messages have their queues' dead-letter queues, "
        "requests are answered, and what a schedule misses it does at the next time"
    ),
    "HIPAA.Security-LambdaInsideVPC": (
        "It calls AWS's services alone, over TLS with a role of its own; a network of one's own "
        "keeps nobody out that IAM lets in, and adds gateways to pay and run"
    ),
}


class Functions(Construct):
    """All functions over one stateful stack."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        deployment: Deployment,
        stateful: StatefulStack,
        packages: Packages,
        settings: Settings,
    ) -> None:
        """Make the functions.

        Args:
            scope: Whose part this is.
            construct_id: Its name there.
            deployment: What is deployed.
            stateful: The buckets, table and queues.
            packages: The layers.
            settings: What all functions are told.
        """
        super().__init__(scope, construct_id)
        accept(self, _ACCEPTED)
        self._deployment = deployment
        self._stateful = stateful
        self._packages = packages
        self._settings = settings
        named = deployment.adopt_bucket_kms_key_arn
        self._adopted_key = kms.Key.from_key_arn(self, "AdoptedKey", named) if named else None

        self.ingest = self._event_function("ingest", limits.INGEST)
        batch = replace(
            INGEST_BATCH,
            messages=deployment.ingest_batch,
            functions=deployment.ingest_concurrency,
        )
        self._feed(self.ingest, stateful.queues.ingest, batch=batch)
        self.compact = self._event_function("compact", limits.COMPACT)
        self._feed(self.compact, stateful.queues.compact, batch=COMPACT_BATCH)
        self.sweep = self._event_function("sweep", limits.SWEEP)
        events.Rule(
            self,
            "SweepSchedule",
            schedule=events.Schedule.rate(Duration.minutes(limits.SWEEP_MINUTES)),
            targets=[targets.LambdaFunction(self.sweep, retry_attempts=0)],
        )
        self.reconcile = self._event_function("reconcile", limits.RECONCILE)
        self.read = self._http_function(
            "read",
            limits.READ,
            invoke_mode="response_stream",
        )
        self.render = self._http_function(
            "render",
            limits.RENDER,
            invoke_mode="response_stream",
            more_layers=(packages.imaging,),
            temporary_mb=limits.RENDER_TEMPORARY_MB,
        )
        self.store = self._http_function(
            "store",
            limits.STORE,
            invoke_mode="buffered",
        )
        self.manage = self._http_function(
            "manage",
            limits.MANAGE,
            invoke_mode="buffered",
        )
        self.orthanc = (
            self._http_function(
                "orthanc",
                limits.ORTHANC,
                invoke_mode="response_stream",
                more_layers=(packages.imaging,),
                temporary_mb=limits.RENDER_TEMPORARY_MB,
            )
            if deployment.orthanc
            else None
        )

        self.notify = self._event_function("notify", limits.NOTIFY) if deployment.notifies else None
        self.authorize: lambda_.Function | None = None
        if deployment.authorization == "oidc":
            self.authorize = self._function(
                "authorize",
                limits.AUTHORIZE,
                handler="handler.handler",
                environment=self._told("authorize"),
                more_layers=(packages.authorization,),
            )
        self.probe = self._event_function("probe", limits.PROBE)
        self.adopt = (
            self._event_function("adopt", limits.ADOPT) if deployment.adopt_bucket else None
        )

    def _event_function(self, name: FunctionName, size: limits.FunctionLimits) -> lambda_.Function:
        return self._function(name, size, handler="handler.handler", environment=self._told(name))

    def _http_function(
        self,
        name: FunctionName,
        size: limits.FunctionLimits,
        *,
        invoke_mode: str,
        more_layers: tuple[lambda_.ILayerVersion, ...] = (),
        temporary_mb: int | None = None,
    ) -> lambda_.Function:
        """Make a function that is an HTTP server behind the Lambda Web Adapter."""
        environment = self._told(name) | {
            "AWS_LAMBDA_EXEC_WRAPPER": "/opt/bootstrap",
            "AWS_LWA_INVOKE_MODE": invoke_mode,
            "AWS_LWA_PORT": str(HTTP_PORT),
            # Any answer says that the worker is up, a 404 too; the open port would not.
            "AWS_LWA_READINESS_CHECK_PATH": "/",
        }
        adapter = lambda_.LayerVersion.from_layer_version_arn(
            self, f"{name.capitalize()}WebAdapter", self._adapter_arn()
        )
        return self._function(
            name,
            size,
            handler="run.sh",
            environment=environment,
            more_layers=(*more_layers, adapter),
            temporary_mb=temporary_mb,
        )

    def _told(self, name: FunctionName) -> dict[str, str]:
        told = function_settings(name, self._settings)
        return replace(told, allow_store=told.allow_store and self._deployment.stores).to_env()

    def _adapter_arn(self) -> str:
        if self._deployment.web_adapter_layer_arn:
            return self._deployment.web_adapter_layer_arn
        from infra.deployment import WEB_ADAPTER_LAYER_VERSION

        kind = {"arm64": "Arm64", "x86_64": "X86"}[self._deployment.architecture]
        return (
            f"arn:{Aws.PARTITION}:lambda:{Aws.REGION}:{_WEB_ADAPTER_ACCOUNT}"
            f":layer:LambdaAdapterLayer{kind}:{WEB_ADAPTER_LAYER_VERSION}"
        )

    def _function(
        self,
        name: str,
        size: limits.FunctionLimits,
        *,
        handler: str,
        environment: Mapping[str, str],
        more_layers: Sequence[lambda_.ILayerVersion] = (),
        temporary_mb: int | None = None,
    ) -> lambda_.Function:
        log = log_group(
            self,
            f"{name.capitalize()}Log",
            deployment=self._deployment,
            key=self._stateful.encryption.key,
        )
        function = lambda_.Function(
            self,
            name.capitalize(),
            runtime=RUNTIME,
            architecture=architecture_of(self._deployment.architecture),
            handler=handler,
            code=lambda_.Code.from_asset(
                str(ROOT / "functions" / name), exclude=["__pycache__", "*.pyc"]
            ),
            layers=[self._packages.core, self._packages.dependencies, *more_layers],
            memory_size=size.memory_mb,
            ephemeral_storage_size=None if temporary_mb is None else Size.mebibytes(temporary_mb),
            timeout=Duration.seconds(size.timeout_seconds),
            environment={
                "POWERTOOLS_SERVICE_NAME": service_name(name, stage=self._deployment.stage),
                "POWERTOOLS_LOG_LEVEL": "INFO",
                **environment,
            },
            role=self._role(name, log),
            log_group=log,
            logging_format=lambda_.LoggingFormat.JSON,
            application_log_level_v2=lambda_.ApplicationLogLevel.INFO,
            system_log_level_v2=lambda_.SystemLogLevel.INFO,
            # What compaction finds missing is ingested again; a circle of that ends.
            recursive_loop=lambda_.RecursiveLoop.TERMINATE,
        )
        self._trace(function, mode="PassThrough" if name in limits.UNTRACED else limits.TRACING)
        return function

    def _trace(self, function: lambda_.Function, *, mode: str) -> None:
        """Trace a function; by the resource's own property, since its role has all it needs."""
        resource = function.node.default_child
        if not isinstance(resource, lambda_.CfnFunction):
            raise TypeError("a function has no CloudFormation resource")
        resource.tracing_config = lambda_.CfnFunction.TracingConfigProperty(mode=mode)

    def _role(self, name: str, log: logs.LogGroup) -> iam.Role:
        rights = (RIGHTS | ORTHANC_RIGHTS | NOTIFY_RIGHTS | ADOPTION_RIGHTS).get(name, Rights())
        rights = replace(rights, storage=self._granted(name, rights))
        storage, table = self._stateful.storage, self._stateful.index.table
        prefix = self._deployment.storage_prefix + rights.storage_keys
        attaches = self._deployment.orthanc and self._deployment.stores
        own = rights.own if attaches else ()
        own_prefix = self._deployment.storage_prefix + OWN_PREFIX
        statements = [
            _allow(("logs:CreateLogStream", "logs:PutLogEvents"), log.log_group_arn),
            _allow(TRACE, "*"),
            _allow(rights.table, table.table_arn),
            _allow(rights.indexes, f"{table.table_arn}/index/*"),
            *_allow_bucket(rights.storage, storage.bucket, prefix=prefix),
            *_allow_bucket(own, storage.bucket, prefix=own_prefix),
            *_allow_bucket(rights.cache, storage.cache_bucket),
            *(_allow(("sqs:SendMessage",), self._queue(each).queue_arn) for each in rights.send_to),
            *(
                _allow(
                    ("sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ReceiveMessage"),
                    self._queue(each).queue_arn,
                )
                for each in rights.receive_from
            ),
            *(
                _allow(("sqs:GetQueueAttributes",), each.queue_arn)
                for each in self._looked_at(rights)
            ),
            _allow(rights.stack, Aws.STACK_ID),
            *key_statements(rights, self._stateful.encryption.key),
            *key_statements(Rights(storage=rights.storage), self._adopted_key),
            *(
                _allow(("secretsmanager:GetSecretValue",), each)
                for each in (self._settings.oidc_secret_arn,)
                if each and name == "authorize"
            ),
        ]
        role = iam.Role(
            self,
            f"{name.capitalize()}Role",
            assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"),
            inline_policies={
                "own": iam.PolicyDocument(
                    statements=[statement for statement in statements if statement is not None]
                )
            },
        )
        for granted, resource, reason in (
            (TRACE, "*", "X-Ray has no resources that a right could be bound to"),
            (rights.indexes, f"{table.table_arn}/index/*", "The indexes of this one table"),
            (
                set(rights.storage) - BUCKET_ACTIONS,
                storage.bucket.arn_for_objects(prefix + "*"),
                "The archive's objects in one bucket, whose names nobody knows beforehand",
            ),
            (
                own,
                storage.bucket.arn_for_objects(own_prefix + "*"),
                "What clients attach, whose names nobody knows beforehand",
            ),
            (
                rights.cache,
                storage.cache_bucket.arn_for_objects("*"),
                "Derived objects in one bucket, named by the studies they are of",
            ),
        ):
            if granted:
                accept_wildcard(role, resource, reason=reason)
        return role

    def _granted(self, name: str, rights: Rights) -> tuple[str, ...]:
        if rights.storage_keys:
            return rights.storage if self._deployment.stores else ()
        withheld = {
            action
            for action, is_asked_for in (
                (DELETE_OBJECTS, self._deployment.allow_delete),
                (STORE_OBJECTS, self._deployment.stores),
            )
            if not is_asked_for
        }
        granted = [each for each in rights.storage if each not in withheld]
        if self._deployment.storage_compression and self._deployment.stores:
            granted += [DELETE_OBJECTS] * (name in CHANGES_FORMS)
        return tuple(dict.fromkeys(granted))

    def _looked_at(self, rights: Rights) -> list[sqs.Queue]:
        queues = [self._queue(each) for each in rights.looks_at]
        events = self._stateful.event_dead_letters
        return [*queues, events] if queues and events is not None else queues

    def _queue(self, name: str) -> sqs.Queue:
        queues = self._stateful.queues
        return {
            "ingest": queues.ingest,
            "compact": queues.compact,
            "ingest_dead_letters": queues.ingest_dead_letters,
            "compact_dead_letters": queues.compact_dead_letters,
        }[name]

    def _feed(self, function: lambda_.Function, queue: sqs.Queue, *, batch: BatchLimits) -> None:
        function.add_event_source_mapping(
            "Queue",
            event_source_arn=queue.queue_arn,
            batch_size=batch.messages,
            max_batching_window=(
                Duration.seconds(batch.window_seconds) if batch.window_seconds else None
            ),
            max_concurrency=batch.functions,
            report_batch_item_failures=True,
        )


def _allow(
    actions: tuple[str, ...], resource: str, *, conditions: Mapping[str, object] | None = None
) -> iam.PolicyStatement | None:
    if not actions:
        return None
    return iam.PolicyStatement(actions=sorted(actions), resources=[resource], conditions=conditions)


def _allow_bucket(
    actions: tuple[str, ...], bucket: s3.IBucket, *, prefix: str = ""
) -> tuple[iam.PolicyStatement | None, ...]:
    on_bucket = tuple(action for action in actions if action in BUCKET_ACTIONS)
    on_objects = tuple(action for action in actions if action not in BUCKET_ACTIONS)
    # Names of buckets are shared by all accounts: of one that is gone, anybody may make another.
    ours = {"StringEquals": {"aws:ResourceAccount": Aws.ACCOUNT_ID}}
    return (
        _allow(on_bucket, bucket.bucket_arn, conditions=ours),
        _allow(on_objects, bucket.arn_for_objects(prefix + "*"), conditions=ours),
    )
