"""The gateway: a Regional REST API whose resources are the package's own route table."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from aws_cdk import Duration
from aws_cdk import aws_apigateway as apigateway
from aws_cdk import aws_certificatemanager as acm
from constructs import Construct

from dicomulus.adapters.aws.gateway_rules import (
    NO_SUCH_ROUTE,
    OWN_ANSWERS,
    REQUEST_TOO_LARGE,
    binary_media_types,
)
from dicomulus.api.routes import ROUTES
from dicomulus.api.uploads import PATH as UPLOADS_PATH
from dicomulus.settings import Settings
from dicomulus.wire.cors import ALLOWED_HEADERS, EVERY_ORIGIN, PREFLIGHT_SECONDS
from dicomulus.wire.problem import PROBLEM_JSON, TYPE_PREFIX
from infra.access_logs import StageLog
from infra.checks import accept
from infra.firewall import Firewall
from infra.limits import READ
from infra.names import alias_records

if TYPE_CHECKING:
    from collections.abc import Iterable

    from aws_cdk import aws_kms as kms
    from aws_cdk import aws_lambda as lambda_

    from dicomulus.adapters.aws.gateway_rules import OwnAnswer
    from infra.deployment import Deployment
    from infra.functions import Functions

SIGNATURE_HEADERS: Final = ("X-Amz-Content-Sha256", "X-Amz-Date", "X-Amz-Security-Token")
"""Headers of a signed request, which a page sends besides those of any request."""

ORTHANC_METHODS: Final = ("GET", "HEAD", "POST", "PUT", "DELETE")
REST_OF_PATH: Final = "/{proxy+}"

LOOPBACK_ORIGIN: Final = "https?://(localhost|127[.]0[.]0[.]1|.::1.)(:[0-9]+)?"
"""Pages of the reader's own machine. Without backslashes, about which templates are unclear: of
what browsers send as an origin, nothing but ``[::1]`` fits ``.::1.``."""

_ACCEPTED: Final = {
    "AwsSolutions-APIG2": (
        "The service itself checks paths, parameters and bodies, and says in its answer what is "
        "wrong; the gateway's validation looks for missing parameters and into JSON alone"
    ),
    "AwsSolutions-APIG4": (
        "Preflights carry no credentials, and what the service is able to do is no secret; all "
        "other methods are authorized unless a deployment is asked not to"
    ),
    "AwsSolutions-APIG6": (
        "Execution logs hold paths and queries, and so names of patients; the access log says why "
        "the gateway refused"
    ),
    "AwsSolutions-COG4": (
        "Requests are signed (IAM) or carry a token of any OpenID provider, not of Cognito alone"
    ),
    "HIPAA.Security-APIGWCacheEnabledAndEncrypted": (
        "No shared cache holds patient data; each request is authorized and answered anew"
    ),
    "HIPAA.Security-APIGWExecutionLoggingEnabled": (
        "Execution logs hold paths and queries, and so names of patients"
    ),
    "HIPAA.Security-APIGWSSLEnabled": (
        "A client certificate is for servers behind the gateway; here are functions, which it "
        "calls with IAM"
    ),
    "HIPAA.Security-APIGWXrayEnabled": (
        "The gateway's segments hold the URL with its query, and so names of patients; the "
        "functions trace themselves"
    ),
}

_ACCEPTED_WITHOUT_FIREWALL: Final = {
    "AwsSolutions-APIG3": (
        "Requests are authorized before they reach a function, and throttled; waf=true adds the "
        "firewall, for USD 9 a month and 0.60 for a million requests"
    ),
}


# The stage's URL would be a circle of resources.
_OWN_BASE_URL: Final = f"https://$context.domainName/$context.stage{Settings().base_path}"


class RestApi(Construct):
    """The REST API; its routes come once there are functions to answer them."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        deployment: Deployment,
        key: kms.IKey | None = None,
    ) -> None:
        """Make the API."""
        super().__init__(scope, construct_id)
        self._deployment = deployment
        log = StageLog(self, "Log", deployment=deployment, key=key)
        self.api = apigateway.RestApi(
            self,
            "Api",
            rest_api_name=f"dicomulus-{deployment.stage}",
            description="DICOMweb (PS3.18)",
            endpoint_types=[apigateway.EndpointType.REGIONAL],
            binary_media_types=list(binary_media_types(orthanc=deployment.orthanc)),
            cloud_watch_role=False,
            # With a name of its own it has one address; behind CloudFront that is where it is.
            disable_execute_api_endpoint=deployment.has_api_domain or None,
            deploy_options=apigateway.StageOptions(
                stage_name=deployment.stage,
                # Those of the whole are there in any case; of each method they cost 0.30 USD a month.
                metrics_enabled=False,
                access_log_destination=apigateway.LogGroupLogDestination(log.group),
                access_log_format=log.format,
                throttling_rate_limit=deployment.throttle_rate,
                throttling_burst_limit=deployment.throttle_burst,
            ),
        )
        if log.account is not None:
            # A stage that logs is refused before the account has a role for that.
            self.api.deployment_stage.node.add_dependency(log.account)
        accept(self, _ACCEPTED)
        if deployment.waf:
            stage = self.api.deployment_stage
            Firewall(self, "Firewall", deployment=deployment, stage=stage, key=key)
        else:
            accept(self, _ACCEPTED_WITHOUT_FIREWALL)
        if deployment.has_api_domain:
            self._name()

    def _name(self) -> None:
        deployment = self._deployment
        domain = apigateway.DomainName(
            self,
            "Domain",
            domain_name=deployment.domain_name,
            certificate=acm.Certificate.from_certificate_arn(
                self, "Certificate", deployment.certificate_arn
            ),
            endpoint_type=apigateway.EndpointType.REGIONAL,
            security_policy=apigateway.SecurityPolicy.TLS_1_2,
        )
        domain.add_base_path_mapping(self.api)
        if deployment.hosted_zone_id:
            alias_records(
                self,
                deployment,
                host=domain.domain_name_alias_domain_name,
                zone=domain.domain_name_alias_hosted_zone_id,
            )

    def answer_refusals(self, base_url: str) -> None:
        """Have what the gateway answers by itself look like the archive's own answers.

        Args:
            base_url: The archive's, where it is another than the gateway's own address.
        """
        for own in (*OWN_ANSWERS, self._unknown_route()):
            self._answer_alone(own, base_url=base_url)

    def _unknown_route(self) -> OwnAnswer:
        # A path without a method; where requests are signed, a request without a signature too.
        if self._deployment.authorization != "iam":
            return NO_SUCH_ROUTE
        return replace(
            NO_SUCH_ROUTE,
            status=403,
            code="forbidden",
            detail="The request is not signed, or there is no such resource",
        )

    def _answer_alone(self, own: OwnAnswer, *, base_url: str) -> None:
        uploads = (base_url or _OWN_BASE_URL) + UPLOADS_PATH
        members = own.members(TYPE_PREFIX, uploads=uploads if own is REQUEST_TOO_LARGE else "")
        # Another answer is another deployment of the API: what a stage answers is that of its own.
        apigateway.GatewayResponse(
            self,
            f"Answer{own.kind.title().replace('_', '')}",
            rest_api=self.api,
            type=apigateway.ResponseType.of(own.kind),
            status_code=None if own.status is None else str(own.status),
            # It holds nothing of the archive, so every page may read what went wrong.
            response_headers={
                **{name: f"'{value}'" for name, value in self._hints(own)},
                "Access-Control-Allow-Origin": "'*'",
                "Access-Control-Expose-Headers": "'*'",
                "Cache-Control": "'no-store'",
                "Content-Type": f"'{PROBLEM_JSON}'",
            },
            templates={"application/json": json.dumps(members)},
        )

    def _hints(self, own: OwnAnswer) -> Iterable[tuple[str, str]]:
        return own.hints(bearer=self._deployment.authorization == "oidc")

    def base_url(self, base_path: str) -> str:
        """Give the base URL at the gateway's own address."""
        return f"{self.api.url.removesuffix('/')}{base_path}"

    def connect(self, functions: Functions, *, base_path: str, orthanc_path: str) -> None:
        """Add a resource and a method for every route, GET streamed, and preflights.

        Below ``orthanc_path`` there is one resource for all: it has more routes than a gateway may.
        """
        authorizer = self._authorizer(functions)
        if functions.orthanc is not None:
            self._connect_orthanc(functions.orthanc, authorizer, path=orthanc_path)
        methods: dict[str, set[str]] = {}
        integrations = {
            "read": _integration(functions.read, streamed=True),
            "render": _integration(functions.render, streamed=True),
            "write": _integration(functions.store, streamed=False),
            "delete": _integration(functions.manage, streamed=False),
        }
        for route in ROUTES:
            path = (base_path + route.template).rstrip("/")
            resource = self.api.root.resource_for_path(path)
            # HEAD is answered by the route of GET.
            for method in ("GET", "HEAD") if route.method == "GET" else (route.method,):
                resource.add_method(
                    method,
                    integrations["render" if route.decodes else route.scope],
                    authorization_type=self._authorization(method),
                    authorizer=None if method == "OPTIONS" else authorizer,
                )
                methods.setdefault(path, set()).add(method)
        for path, allowed in methods.items():
            if "OPTIONS" not in allowed:
                self._add_preflight(self.api.root.resource_for_path(path), methods=allowed)

    def _connect_orthanc(
        self,
        function: lambda_.Function,
        authorizer: apigateway.RequestAuthorizer | None,
        *,
        path: str,
    ) -> None:
        integration = _integration(function, streamed=True)
        for template in (path, path + REST_OF_PATH):
            resource = self.api.root.resource_for_path(template)
            for method in ORTHANC_METHODS:
                resource.add_method(
                    method,
                    integration,
                    authorization_type=self._authorization(method),
                    authorizer=authorizer,
                )
            self._add_preflight(resource, methods=set(ORTHANC_METHODS))

    def _authorization(self, method: str) -> apigateway.AuthorizationType:
        kinds = apigateway.AuthorizationType
        # Preflights carry no credentials; what the service is able to do is no secret.
        if method == "OPTIONS":
            return kinds.NONE
        asked = {"iam": kinds.IAM, "oidc": kinds.CUSTOM, "none": kinds.NONE}
        return asked[self._deployment.authorization]

    def _authorizer(self, functions: Functions) -> apigateway.RequestAuthorizer | None:
        if functions.authorize is None:
            return None
        return apigateway.RequestAuthorizer(
            self,
            "Authorizer",
            handler=functions.authorize,
            # A request without one is 401 before the function is asked.
            identity_sources=[apigateway.IdentitySource.header("Authorization")],
            results_cache_ttl=Duration.seconds(self._deployment.oidc_cache_seconds),
        )

    def _add_preflight(self, resource: apigateway.IResource, *, methods: set[str]) -> None:
        """Answer preflights in the gateway: there is one for every frame that a viewer gets."""
        headers = {
            "Access-Control-Allow-Methods": ", ".join(sorted(methods)),
            "Access-Control-Allow-Headers": ", ".join((*ALLOWED_HEADERS, *SIGNATURE_HEADERS)),
            "Access-Control-Max-Age": str(PREFLIGHT_SECONDS),
            "Vary": "Origin",
        }
        prefix = "method.response.header."
        resource.add_method(
            "OPTIONS",
            apigateway.MockIntegration(
                # Where every body counts as bytes, the gateway would answer 500 without it.
                content_handling=apigateway.ContentHandling.CONVERT_TO_TEXT,
                passthrough_behavior=apigateway.PassthroughBehavior.NEVER,
                request_templates={"application/json": '{"statusCode": 204}'},
                integration_responses=[
                    apigateway.IntegrationResponse(
                        status_code="204",
                        response_parameters={prefix + k: f"'{v}'" for k, v in headers.items()},
                        response_templates={
                            "application/json": preflight_template(self._deployment.allowed_origins)
                        },
                    )
                ],
            ),
            authorization_type=apigateway.AuthorizationType.NONE,
            method_responses=[
                apigateway.MethodResponse(
                    status_code="204",
                    response_parameters=dict.fromkeys(map(prefix.__add__, headers), True),
                )
            ],
        )


def preflight_template(allowed_origins: tuple[str, ...]) -> str:
    """Write the template that lets pages of loopback and the allowed origins go on."""
    tests = [f'$origin.matches("{LOOPBACK_ORIGIN}")']
    tests += [f'$origin == "{origin}"' for origin in allowed_origins]
    condition = '$origin != ""' if EVERY_ORIGIN in allowed_origins else " || ".join(tests)
    return "\n".join(
        (
            '#set($origin = $input.params().header.get("Origin"))',
            '#if(!$origin) #set($origin = $input.params().header.get("origin")) #end',
            '#if(!$origin) #set($origin = "") #end',
            f"#if({condition})",
            "#set($context.responseOverride.header.Access-Control-Allow-Origin = $origin)",
            "#end",
        )
    )


def _integration(function: lambda_.Function, *, streamed: bool) -> apigateway.LambdaIntegration:
    modes = apigateway.ResponseTransferMode
    return apigateway.LambdaIntegration(
        function,
        response_transfer_mode=modes.STREAM if streamed else modes.BUFFERED,
        timeout=Duration.seconds(READ.timeout_seconds) if streamed else None,
        scope_permission_to_method=False,
    )
