"""CloudFront before viewer and service: one origin, so that no page needs another's permission.

It hands every request for data on and keeps no answer, so that each passes the gateway's own
authorization. The files of the site lie in a bucket that it alone reads.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import jsii
from aws_cdk import (
    AssetHashType,
    Aws,
    BundlingOptions,
    CfnCondition,
    CustomResource,
    DockerImage,
    Duration,
    Fn,
    ILocalBundling,
    RemovalPolicy,
)
from aws_cdk import aws_certificatemanager as acm
from aws_cdk import aws_cloudfront as cloudfront
from aws_cdk import aws_cloudfront_origins as origins
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from aws_cdk import aws_s3 as s3
from constructs import Construct

from dicomulus.adapters.aws.metrics import service_name
from dicomulus.api.viewer import INDEX
from dicomulus.cli.distribution import EVERY_METHOD, FILE_OF_VIEWER, behaviours, policy
from dicomulus.cli.folders import default_viewer_folder
from dicomulus.cli.site import FILES, Site, viewer_settings, write_site
from dicomulus.cli.viewer import install_viewer, is_installed, viewer_mark
from dicomulus.errors import ConfigurationError
from dicomulus.settings import Settings
from infra.access_logs import log_group
from infra.checks import accept, accept_wildcard
from infra.layers import ROOT
from infra.names import alias_records
from infra.packages import RUNTIME, architecture_of

if TYPE_CHECKING:
    from aws_cdk import aws_kms as kms

    from dicomulus.cli.distribution import Behaviour
    from infra.deployment import Deployment

READ_SECONDS: Final = 60
"""Seconds that CloudFront waits for more of an answer: its most, and twice what the gateway takes
for an answer that is not streamed."""

HSTS_DAYS: Final = 365

# What CloudFront would keep for ten seconds, and give to whoever asks for the same URL.
KEPT_ERRORS: Final = (400, 403, 404, 405, 414, 416, 500, 501, 502, 503, 504)

# Neither paths nor queries nor referrers nor cookies: a path may hold a patient's ID and a query
# their name, and so may the viewer's own address. What was asked for is in the gateway's log, as the
# template of the path.
LOGGED: Final = (
    "date",
    "time",
    "x-edge-location",
    "sc-bytes",
    "c-ip",
    "cs-method",
    "sc-status",
    "x-edge-result-type",
    "x-edge-request-id",
    "cs-protocol",
    "cs-bytes",
    "time-taken",
    "ssl-protocol",
    "x-edge-detailed-result-type",
    "sc-content-type",
    "time-to-first-byte",
)

_PUBLISH_SECONDS: Final = 300
_PUBLISH: Final = ROOT / "functions" / "publish"
_PRICE_CLASSES: Final = {
    "100": cloudfront.PriceClass.PRICE_CLASS_100,
    "200": cloudfront.PriceClass.PRICE_CLASS_200,
    "all": cloudfront.PriceClass.PRICE_CLASS_ALL,
}
_ZONE_OF_CLOUDFRONT: Final = "Z2FDTNDATAQYW2"
"""Hosted zone of every distribution's own name (Route 53)."""

_ACCEPTED: Final = {
    "AwsSolutions-CFR2": (
        "Every request for data goes on to the gateway, which waf=true puts a firewall before; "
        "the rest are files that everybody may read"
    ),
    "AwsSolutions-CFR3": (
        "The older log that the rule looks for has queries, and so names of patients; the newer "
        "one is without, and every request for data is in the gateway's"
    ),
}

_ACCEPTED_EVERYWHERE: Final = {
    "AwsSolutions-CFR1": "Where readers are is the operator's to say: countries=CH,AT",
}

_ACCEPTED_WITHOUT_NAME: Final = {
    "AwsSolutions-CFR4": (
        "CloudFront's own names come with CloudFront's own choice of TLS versions; domain_name "
        "with its certificate brings TLS 1.2 as the least"
    ),
}

_ACCEPTED_OF_SITE: Final = {
    "AwsSolutions-S1": "It holds the same files for everybody, and CloudFront alone reads them",
    "HIPAA.Security-S3BucketLoggingEnabled": (
        "It holds the same files for everybody, and CloudFront alone reads them"
    ),
    "HIPAA.Security-S3BucketReplicationEnabled": "All of it is made again with the stack",
    "HIPAA.Security-S3BucketVersioningEnabled": "All of it is made again with the stack",
    "HIPAA.Security-S3DefaultEncryptionKMS": "It holds pages and programs that are public",
}

_ACCEPTED_OF_PUBLISH: Final = {
    "AwsSolutions-L1": "The runtime is the one that all functions and layers are tested with",
    "HIPAA.Security-IAMNoInlinePolicy": "The policy is of this one role and goes with it",
    "HIPAA.Security-LambdaConcurrency": "CloudFormation calls it, once a deployment",
    "HIPAA.Security-LambdaDLQ": "It tells CloudFormation of any failure, which ends the deployment",
    "HIPAA.Security-LambdaInsideVPC": "It reaches S3 and CloudFormation alone, over TLS with IAM",
}


class OneOrigin(Construct):
    """The distribution, the site's bucket, and what fills it."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        deployment: Deployment,
        api_host: str,
        base_path: str,
        storage_bucket: str,
        key: kms.IKey | None = None,
    ) -> None:
        """Make the distribution.

        Args:
            scope: Whose part this is.
            construct_id: Its name there.
            deployment: What is deployed.
            api_host: Host name of the gateway, whose stage has the deployment's name.
            base_path: Path of the DICOMweb service.
            storage_bucket: Name of the bucket that large objects are fetched from.
            key: What encrypts logs, if not the service's own.
        """
        super().__init__(scope, construct_id)
        self._deployment = deployment
        self._key = key
        sign_in = deployment.sign_in
        self._connect = (
            f"https://{storage_bucket}.s3.{Aws.REGION}.{Aws.URL_SUFFIX}",
            f"https://{storage_bucket}.s3.{Aws.URL_SUFFIX}",
            *(sign_in.origins if sign_in else ()),
        )
        self.bucket = self._site_bucket()
        self._site = Site(
            base_path=base_path,
            asks_for_token=deployment.authorization != "none",
            sign_in=sign_in,
        )
        self._headers = {is_viewer: self._page_headers(is_viewer) for is_viewer in (False, True)}
        self._service_headers = self._security_headers("ServiceHeaders", policy=None)
        self._find_page = cloudfront.Function(
            self,
            "FileOfViewer",
            code=cloudfront.FunctionCode.from_inline(FILE_OF_VIEWER),
            runtime=cloudfront.FunctionRuntime.JS_2_0,
        )
        self._origins: dict[str, cloudfront.IOrigin] = {
            "site": origins.S3BucketOrigin.with_origin_access_control(
                self.bucket,
                origin_access_control=cloudfront.S3OriginAccessControl(
                    self, "SiteAccess", origin_access_control_name=self._account_name()
                ),
            ),
            "service": origins.HttpOrigin(
                api_host,
                origin_path=f"/{deployment.stage}",
                protocol_policy=cloudfront.OriginProtocolPolicy.HTTPS_ONLY,
                origin_ssl_protocols=[cloudfront.OriginSslPolicy.TLS_V1_2],
                read_timeout=Duration.seconds(READ_SECONDS),
            ),
        }
        self.distribution = self._distribution(base_path)
        accept(self.distribution, self._accepted())
        self.host = deployment.domain_name or self.distribution.distribution_domain_name
        self._publish()
        self._log()
        if deployment.hosted_zone_id:
            alias_records(
                self,
                deployment,
                host=self.distribution.distribution_domain_name,
                zone=_ZONE_OF_CLOUDFRONT,
            )

    # --- what answers ----------------------------------------------------------------------------

    def _distribution(self, base_path: str) -> cloudfront.Distribution:
        deployment = self._deployment
        *others, default = behaviours(
            base_path,
            orthanc_path=Settings().orthanc_path if deployment.orthanc else "",
        )
        certificate = (
            acm.Certificate.from_certificate_arn(self, "Certificate", deployment.certificate_arn)
            if deployment.domain_name
            else None
        )
        return cloudfront.Distribution(
            self,
            "Distribution",
            comment=f"dicomulus-{deployment.stage}",
            default_root_object=INDEX,
            default_behavior=self._behaviour(default),
            additional_behaviors={each.pattern: self._behaviour(each) for each in others},
            domain_names=[deployment.domain_name] if deployment.domain_name else None,
            certificate=certificate,
            # Without a certificate of one's own it is CloudFront's to say.
            minimum_protocol_version=(
                cloudfront.SecurityPolicyProtocol.TLS_V1_2_2021 if certificate else None
            ),
            http_version=cloudfront.HttpVersion.HTTP2_AND_3,
            price_class=_PRICE_CLASSES[deployment.price_class],
            geo_restriction=(
                cloudfront.GeoRestriction.allowlist(*deployment.countries)
                if deployment.countries
                else None
            ),
            error_responses=[
                cloudfront.ErrorResponse(http_status=status, ttl=Duration.seconds(0))
                for status in KEPT_ERRORS
            ],
        )

    def _accepted(self) -> dict[str, str]:
        return (
            _ACCEPTED
            | ({} if self._deployment.countries else _ACCEPTED_EVERYWHERE)
            | ({} if self._deployment.domain_name else _ACCEPTED_WITHOUT_NAME)
        )

    def _behaviour(self, behaviour: Behaviour) -> cloudfront.BehaviorOptions:
        methods = cloudfront.AllowedMethods
        is_service = behaviour.origin == "service"
        is_all = behaviour.methods == EVERY_METHOD
        protocols = cloudfront.ViewerProtocolPolicy
        policies = cloudfront.CachePolicy
        return cloudfront.BehaviorOptions(
            origin=self._origins[behaviour.origin],
            allowed_methods=methods.ALLOW_ALL if is_all else methods.ALLOW_GET_HEAD,
            # Only the managed policy also keeps two requests at a time for one URL apart: any
            # other may give both the answer to the first.
            cache_policy=policies.CACHING_DISABLED if is_service else policies.CACHING_OPTIMIZED,
            # All headers, Authorization and If-None-Match included, but the gateway's own Host.
            origin_request_policy=(
                cloudfront.OriginRequestPolicy.ALL_VIEWER_EXCEPT_HOST_HEADER if is_service else None
            ),
            response_headers_policy=(
                self._service_headers if is_service else self._headers[behaviour.is_viewer]
            ),
            # The service has compressed what is worth it. A request with a token must not come
            # over HTTP even once, a page may.
            compress=not is_service,
            viewer_protocol_policy=(
                protocols.HTTPS_ONLY if is_service else protocols.REDIRECT_TO_HTTPS
            ),
            function_associations=(
                [
                    cloudfront.FunctionAssociation(
                        event_type=cloudfront.FunctionEventType.VIEWER_REQUEST,
                        function=self._find_page,
                    )
                ]
                if behaviour.is_viewer
                else None
            ),
        )

    def _page_headers(self, is_viewer: bool) -> cloudfront.ResponseHeadersPolicy:
        name = "ViewerHeaders" if is_viewer else "PageHeaders"
        return self._security_headers(
            name, policy=policy(is_viewer=is_viewer, connect=self._connect)
        )

    def _security_headers(
        self, name: str, *, policy: str | None
    ) -> cloudfront.ResponseHeadersPolicy:
        headers = cloudfront.ResponseSecurityHeadersBehavior(
            strict_transport_security=cloudfront.ResponseHeadersStrictTransportSecurity(
                access_control_max_age=Duration.days(HSTS_DAYS),
                include_subdomains=False,
                override=True,
            ),
            content_type_options=cloudfront.ResponseHeadersContentTypeOptions(override=True),
            referrer_policy=cloudfront.ResponseHeadersReferrerPolicy(
                referrer_policy=cloudfront.HeadersReferrerPolicy.NO_REFERRER, override=True
            ),
            content_security_policy=(
                cloudfront.ResponseHeadersContentSecurityPolicy(
                    content_security_policy=policy, override=True
                )
                if policy
                else None
            ),
        )
        return cloudfront.ResponseHeadersPolicy(
            self,
            name,
            response_headers_policy_name=f"{self._account_name()}-{name}",
            security_headers_behavior=headers,
        )

    def _account_name(self) -> str:
        # CloudFront's names are those of the whole account, and a stage may be in many regions.
        return f"dicomulus-{self._deployment.stage}-{Aws.REGION}"

    # --- the site --------------------------------------------------------------------------------

    def _site_bucket(self) -> s3.Bucket:
        # What it holds is made again with the stack, so it goes with it, emptied by `publish`.
        bucket = s3.Bucket(
            self,
            "SiteBucket",
            encryption=s3.BucketEncryption.S3_MANAGED,
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
            enforce_ssl=True,
            minimum_tls_version=1.2,
            removal_policy=RemovalPolicy.DESTROY,
        )
        accept(bucket, _ACCEPTED_OF_SITE)
        return bucket

    def _publish(self) -> None:
        """Fill the bucket by a function that carries the site and may write there alone.

        CDK's own way is a function with AWS's command line, and with rights on the bucket of all
        assets.
        """
        digest = _site_hash(self._site, has_viewer=self._deployment.viewer)
        log = log_group(self, "PublishLog", deployment=self._deployment, key=self._key)
        role = iam.Role(
            self,
            "PublishRole",
            assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"),
            inline_policies={
                "own": iam.PolicyDocument(
                    statements=[
                        iam.PolicyStatement(
                            actions=["logs:CreateLogStream", "logs:PutLogEvents"],
                            resources=[log.log_group_arn],
                        ),
                        iam.PolicyStatement(
                            actions=["s3:ListBucket"], resources=[self.bucket.bucket_arn]
                        ),
                        iam.PolicyStatement(
                            actions=["s3:DeleteObject", "s3:PutObject"],
                            resources=[self.bucket.arn_for_objects("*")],
                        ),
                    ]
                )
            },
        )
        function = lambda_.Function(
            self,
            "Publish",
            description="Puts the pages and the viewer into their bucket",
            runtime=RUNTIME,
            architecture=architecture_of(self._deployment.architecture),
            handler="handler.handler",
            code=lambda_.Code.from_asset(
                str(_PUBLISH),
                asset_hash=digest,
                asset_hash_type=AssetHashType.CUSTOM,
                bundling=BundlingOptions(
                    image=DockerImage.from_registry("none"),
                    local=_LocalSite(self._site, self._deployment.viewer),
                ),
            ),
            environment={
                "POWERTOOLS_SERVICE_NAME": service_name("publish", stage=self._deployment.stage)
            },
            memory_size=1_769,
            timeout=Duration.seconds(_PUBLISH_SECONDS),
            role=role,
            log_group=log,
        )
        accept(role, _ACCEPTED_OF_PUBLISH)
        accept(function, _ACCEPTED_OF_PUBLISH)
        accept_wildcard(
            role, self.bucket.arn_for_objects("*"), reason="It makes all objects of this bucket"
        )
        content = CustomResource(
            self,
            "Content",
            service_token=function.function_arn,
            service_timeout=Duration.seconds(_PUBLISH_SECONDS + 60),
            resource_type="Custom::DicomulusSite",
            properties={"Bucket": self.bucket.bucket_name, "Site": digest},
        )
        # It is emptied while its role may still do so.
        content.node.add_dependency(role, self.bucket)

    # --- logs ------------------------------------------------------------------------------------

    def _log(self) -> None:
        """Log requests, without what names patients, where CloudFront can be told to."""
        here = CfnCondition(
            self, "LogsAreHere", expression=Fn.condition_equals(Aws.REGION, "us-east-1")
        )
        name = f"dicomulus-{self._deployment.stage}-one-origin"
        group = log_group(self, "AccessLog", deployment=self._deployment, key=self._key)
        source = logs.CfnDeliverySource(
            self,
            "AccessLogSource",
            name=name,
            log_type="ACCESS_LOGS",
            resource_arn=self.distribution.distribution_arn,
        )
        destination = logs.CfnDeliveryDestination(
            self,
            "AccessLogDestination",
            name=name,
            destination_resource_arn=group.log_group_arn,
            output_format="json",
        )
        delivery = logs.CfnDelivery(
            self,
            "AccessLogDelivery",
            delivery_source_name=source.name,
            delivery_destination_arn=destination.attr_arn,
            record_fields=list(LOGGED),
        )
        delivery.add_resource_dependency(source)
        first = group.node.default_child
        # All are resources of CloudFormation; of a default child its type does not say so.
        for each in (first, source, destination, delivery):
            each.cfn_options.condition = here  # type: ignore[union-attr]


@jsii.implements(ILocalBundling)
class _LocalSite:
    """Writes the package of ``publish`` where synthesis runs."""

    def __init__(self, site: Site, has_viewer: bool) -> None:
        self._site = site
        self._has_viewer = has_viewer

    # jsii passes the options by the names that it finds in the signature.
    def try_bundle(self, output_dir: str, *, image: DockerImage, **_: Any) -> bool:  # noqa: ARG002
        """Write it; whatever fails ends synthesis here, since there is no second way."""
        try:
            viewer = _viewer() if self._has_viewer else None
        except ConfigurationError as exc:
            sys.stderr.write(f"viewer: {exc}\nWithout it: -c viewer=false\n")
            raise
        shutil.copyfile(_PUBLISH / "handler.py", Path(output_dir) / "handler.py")
        write_site(Path(output_dir) / "site", self._site, viewer=viewer)
        return True


def _viewer() -> Path:
    """Give the folder of this user's viewer, or of one that is got for the deployment."""
    if is_installed(default_viewer_folder()):
        return default_viewer_folder()
    install_viewer(ROOT / "build" / "viewer")
    return ROOT / "build" / "viewer"


def _site_hash(site: Site, *, has_viewer: bool) -> str:
    """Name the content of ``publish``'s package, without fetching the viewer for it."""
    with tempfile.TemporaryDirectory() as folder:
        write_site(Path(folder), site, viewer=None)
        listed = json.loads((Path(folder) / FILES).read_text(encoding="utf-8"))
        parts = [(Path(folder) / name).read_bytes() for name in (*listed, FILES)]
    parts += [(_PUBLISH / "handler.py").read_bytes()]
    if has_viewer:
        parts += [viewer_mark().encode(), viewer_settings(site)]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()
