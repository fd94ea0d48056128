"""The stack of what answers and follows; it can go and come back without loss."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aws_cdk import CfnOutput, Stack

from dicomulus.settings import Settings
from infra.adoption import Adoption
from infra.functions import Functions
from infra.notification import Notification
from infra.one_origin import OneOrigin
from infra.operations import Operations
from infra.packages import Packages
from infra.probe import PathProbe
from infra.reconciliation import Reconciliation
from infra.rest_api import RestApi

if TYPE_CHECKING:
    from constructs import Construct

    from infra.deployment import Deployment
    from infra.stateful_stack import StatefulStack


class ServiceStack(Stack):
    """Layers, functions, gateway."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        deployment: Deployment,
        stateful: StatefulStack,
        **options: Any,
    ) -> None:
        """Compose the stack over the stateful one."""
        super().__init__(scope, construct_id, **options)
        base_path = Settings().base_path
        gateway = RestApi(self, "Gateway", deployment=deployment, key=stateful.encryption.key)
        known_url = self._known_base_url(gateway, deployment, stateful, base_path=base_path)
        gateway.answer_refusals(known_url)
        base_url = known_url or self._gateway_url(gateway, deployment) + base_path
        events = stateful.event_dead_letters
        settings = Settings(
            public_base_url=base_url,
            base_path=base_path,
            allowed_origins=deployment.allowed_origins,
            allow_delete=deployment.allow_delete,
            storage_compression=deployment.storage_compression,
            orthanc_path=Settings().orthanc_path if deployment.orthanc else "",
            table_name=stateful.index.table.table_name,
            storage_bucket=stateful.storage.bucket.bucket_name,
            storage_prefix=deployment.storage_prefix,
            cache_bucket=stateful.storage.cache_bucket.bucket_name,
            ingest_queue_url=stateful.queues.ingest.queue_url,
            compact_queue_url=stateful.queues.compact.queue_url,
            ingest_dead_letters_url=stateful.queues.ingest_dead_letters.queue_url,
            compact_dead_letters_url=stateful.queues.compact_dead_letters.queue_url,
            event_dead_letters_url=events.queue_url if events is not None else "",
            search_shards=deployment.search_shards,
            oidc_issuer=deployment.oidc_issuer,
            oidc_audience=deployment.oidc_audience,
            oidc_scopes=deployment.oidc_scopes,
            oidc_roles_claim=deployment.oidc_roles_claim,
            oidc_clients=deployment.oidc_clients,
            oidc_introspection_url=deployment.oidc_introspection_url,
            oidc_secret_arn=deployment.oidc_secret_arn,
            webhook_url=deployment.webhook_url,
            webhook_secret_arn=deployment.webhook_secret_arn,
            event_bus_name=deployment.event_bus,
        )
        packages = Packages(self, "Packages", deployment=deployment)
        functions = Functions(
            self,
            "Functions",
            deployment=deployment,
            stateful=stateful,
            packages=packages,
            settings=settings,
        )
        gateway.connect(functions, base_path=base_path, orthanc_path=settings.orthanc_path)
        self.reconciliation = Reconciliation(
            self,
            "Reconciliation",
            deployment=deployment,
            stateful=stateful,
            function=functions.reconcile,
        )
        CfnOutput(
            self,
            "ReconcileStateMachine",
            value=self.reconciliation.state_machine.state_machine_arn,
        )
        if functions.notify is not None:
            Notification(
                self,
                "Notification",
                deployment=deployment,
                stateful=stateful,
                function=functions.notify,
            )
        path: list[Construct] = [functions]
        if functions.adopt is not None:
            adoption = Adoption(
                self,
                "Adoption",
                deployment=deployment,
                function=functions.adopt,
                reconciliation=self.reconciliation,
            )
            adoption.resource.node.add_dependency(functions)
            path.append(adoption)
        PathProbe(
            self,
            "Probe",
            deployment=deployment,
            function=functions.probe,
            of={
                "Core": packages.core.layer_version_arn,
                "Dependencies": packages.dependencies.layer_version_arn,
                "StorageBucket": settings.storage_bucket,
                "StoragePrefix": settings.storage_prefix,
            },
            after=path,
        )
        CfnOutput(self, "DicomWeb", value=base_url)
        if settings.orthanc_path:
            host = base_url.removesuffix(base_path)
            CfnOutput(self, "Orthanc", value=host + settings.orthanc_path)
        if deployment.monitoring:
            Operations(
                self,
                "Operations",
                deployment=deployment,
                stateful=stateful,
                gateway=gateway,
                key=stateful.encryption.key,
            )

    def _known_base_url(
        self,
        gateway: RestApi,
        deployment: Deployment,
        stateful: StatefulStack,
        *,
        base_path: str,
    ) -> str:
        """Give the base URL where it is not at the gateway's own address, else nothing."""
        host = deployment.domain_name
        if deployment.one_origin:
            one_origin = OneOrigin(
                self,
                "OneOrigin",
                deployment=deployment,
                api_host=self._gateway_host(gateway),
                base_path=base_path,
                storage_bucket=stateful.storage.bucket.bucket_name,
                key=stateful.encryption.key,
            )
            host = one_origin.host
            CfnOutput(self, "Site", value=f"https://{host}/")
        return deployment.public_base_url or (f"https://{host}{base_path}" if host else "")

    def _gateway_host(self, gateway: RestApi) -> str:
        # Of the API's id, not of its stage: the stage waits for the methods and they for the
        # functions, which are told this URL.
        return f"{gateway.api.rest_api_id}.execute-api.{self.region}.{self.url_suffix}"

    def _gateway_url(self, gateway: RestApi, deployment: Deployment) -> str:
        return f"https://{self._gateway_host(gateway)}/{deployment.stage}"
