"""CloudFront before pages, viewer and service, as the template has it."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from dicomulus.cli.distribution import behaviours
from dicomulus.settings import Settings
from tests.infra.test_template import FUNCTIONS, actions, function

if TYPE_CHECKING:
    from aws_cdk.assertions import Template

    from tests.infra.conftest import Synthesised

CACHING_DISABLED = "4135ea2d-6df8-44a3-9df3-4b5a84be39ad"
ALL_VIEWER_EXCEPT_HOST_HEADER = "b689b0a8-53d0-40ab-baf2-68738e2966ac"
"""AWS's own identifiers, the same in every account."""


def configuration(synthesised: Synthesised) -> dict[str, Any]:
    """Give what the distribution is told."""
    (distribution,) = synthesised.resources("AWS::CloudFront::Distribution").values()
    told: dict[str, Any] = distribution["Properties"]["DistributionConfig"]
    return told


def of_service(synthesised: Synthesised) -> list[dict[str, Any]]:
    """Give the behaviours that hand on to the service."""
    base = Settings().base_path
    found = configuration(synthesised)["CacheBehaviors"]
    return [each for each in found if each["PathPattern"].startswith(base)]


def test_it_has_the_behaviours_of_the_table_in_its_order(open_stage: Synthesised) -> None:
    told = configuration(open_stage)
    wanted = behaviours(Settings().base_path, orthanc_path=Settings().orthanc_path)
    assert [each["PathPattern"] for each in told["CacheBehaviors"]] == [
        each.pattern for each in wanted[:-1]
    ]
    for behaviour, each in zip(
        wanted, [*told["CacheBehaviors"], told["DefaultCacheBehavior"]], strict=True
    ):
        assert set(each["AllowedMethods"]) == set(behaviour.methods)
        assert bool(each.get("FunctionAssociations")) == behaviour.is_viewer


def test_no_answer_of_the_service_is_kept_or_given_to_two(open_stage: Synthesised) -> None:
    """The managed policy is the only one that also keeps requests for one URL apart."""
    assert len(of_service(open_stage)) == 2
    for each in of_service(open_stage):
        assert each["CachePolicyId"] == CACHING_DISABLED


def test_no_refusal_is_kept(open_stage: Synthesised) -> None:
    """CloudFront keeps errors for ten seconds unless told otherwise, whatever the policy is."""
    told = configuration(open_stage)["CustomErrorResponses"]
    assert {each["ErrorCode"] for each in told} >= {400, 403, 404, 500, 502, 503, 504}
    # Nor is any replaced: problems reach the client as they are.
    assert all(set(each) == {"ErrorCode", "ErrorCachingMinTTL"} for each in told)
    assert {each["ErrorCachingMinTTL"] for each in told} == {0}


def test_the_service_is_handed_all_headers_but_the_host(open_stage: Synthesised) -> None:
    for each in of_service(open_stage):
        assert each["OriginRequestPolicyId"] == ALL_VIEWER_EXCEPT_HOST_HEADER
        assert each["Compress"] is False
        assert each["ViewerProtocolPolicy"] == "https-only"


def test_the_service_is_the_stage_of_the_gateway_by_tls(open_stage: Synthesised) -> None:
    (origin,) = [
        each for each in configuration(open_stage)["Origins"] if "CustomOriginConfig" in each
    ]
    assert origin["OriginPath"] == "/dev"
    assert {each["TargetOriginId"] for each in of_service(open_stage)} == {origin["Id"]}
    told = origin["CustomOriginConfig"]
    assert told["OriginProtocolPolicy"] == "https-only"
    assert told["OriginSSLProtocols"] == ["TLSv1.2"]
    # Longer than the gateway takes for an answer that is not streamed.
    assert told["OriginReadTimeout"] > 29


def test_answers_carry_the_distributions_address(open_stage: Synthesised) -> None:
    (name,) = open_stage.resources("AWS::CloudFront::Distribution")
    for each in FUNCTIONS:
        url = function(open_stage, each)["Environment"]["Variables"]["DICOMULUS_PUBLIC_BASE_URL"]
        assert url["Fn::Join"][1] == [
            "https://",
            {"Fn::GetAtt": [name, "DomainName"]},
            "/dicom-web",
        ]
    answers = open_stage.resources("AWS::ApiGateway::GatewayResponse").values()
    (refusal,) = [e for e in answers if e["Properties"]["ResponseType"] == "REQUEST_TOO_LARGE"]
    assert name in json.dumps(refusal)


def test_the_site_is_read_by_the_distribution_alone(open_stage: Synthesised) -> None:
    (bucket,) = (name for name in open_stage.service.find_resources("AWS::S3::Bucket"))
    (policy,) = (
        each["Properties"]["PolicyDocument"]["Statement"]
        for each in open_stage.resources("AWS::S3::BucketPolicy").values()
        if each["Properties"]["Bucket"] == {"Ref": bucket}
    )
    (allowed,) = [each for each in policy if each["Effect"] == "Allow"]
    assert allowed["Action"] == "s3:GetObject"
    assert allowed["Principal"] == {"Service": "cloudfront.amazonaws.com"}
    (name,) = open_stage.resources("AWS::CloudFront::Distribution")
    assert name in json.dumps(allowed["Condition"]["StringEquals"])


def test_what_fills_the_site_may_write_there_and_nowhere_else(open_stage: Synthesised) -> None:
    role = function(open_stage, "publish")["Role"]["Fn::GetAtt"][0]
    (policy,) = open_stage.resources("AWS::IAM::Role")[role]["Properties"]["Policies"]
    granted: dict[str, str] = {}
    for statement in policy["PolicyDocument"]["Statement"]:
        granted |= dict.fromkeys(actions(statement), json.dumps(statement["Resource"]))
    assert set(granted) == {
        "logs:CreateLogStream",
        "logs:PutLogEvents",
        "s3:DeleteObject",
        "s3:ListBucket",
        "s3:PutObject",
    }
    assert all("SiteBucket" in on for action, on in granted.items() if action[:3] == "s3:")
    assert "Layers" not in function(open_stage, "publish")


def test_the_access_log_has_no_path_no_query_and_no_address_of_a_page(
    open_stage: Synthesised,
) -> None:
    """Names of patients are in the latter, their IDs in ``/patients/{patient}/studies``."""
    assert "Logging" not in configuration(open_stage)
    (delivery,) = open_stage.resources("AWS::Logs::Delivery").values()
    logged = delivery["Properties"]["RecordFields"]
    assert {"date", "time", "cs-method", "sc-status", "x-edge-request-id"} <= set(logged)
    assert not [each for each in logged if re.search("uri|eferer|ookie", each)]


def test_the_access_log_is_made_where_cloudfront_takes_it(open_stage: Synthesised) -> None:
    conditions = open_stage.service.to_json()["Conditions"]
    for kind in ("DeliverySource", "DeliveryDestination", "Delivery"):
        (each,) = open_stage.resources(f"AWS::Logs::{kind}").values()
        told = conditions[each["Condition"]]
        assert told == {"Fn::Equals": [{"Ref": "AWS::Region"}, "us-east-1"]}


def test_pages_may_ask_the_bucket_and_may_load_nothing_else(open_stage: Synthesised) -> None:
    found = open_stage.resources("AWS::CloudFront::ResponseHeadersPolicy").values()
    policies = [each["Properties"]["ResponseHeadersPolicyConfig"] for each in found]
    for each in policies:
        headers = each["SecurityHeadersConfig"]
        assert headers["StrictTransportSecurity"]["AccessControlMaxAgeSec"] >= 31_536_000
        assert headers["ContentTypeOptions"] == {"Override": True}
        assert headers["ReferrerPolicy"]["ReferrerPolicy"] == "no-referrer"
    of_pages = [
        json.dumps(each) for each in policies if "ContentSecurityPolicy" in json.dumps(each)
    ]
    assert len(of_pages) == 2
    assert all("StorageBucket" in each and "object-src 'none'" in each for each in of_pages)


def test_pages_are_let_use_presigned_requests_of_the_bucket(open_stage: Synthesised) -> None:
    """Large objects come from there, and which name CloudFront gives is not known before."""
    (rule,) = (
        rule["AllowedOrigins"]
        for bucket in open_stage.resources("AWS::S3::Bucket").values()
        for rule in bucket["Properties"].get("CorsConfiguration", {}).get("CorsRules", ())
    )
    assert "https://*.cloudfront.net" in rule
    assert "*" not in rule


# --- names of one's own -----------------------------------------------------------------------------


def alone(**options: str) -> Template:
    """Synthesise the distribution of a deployment, and nothing else."""
    from aws_cdk import App, Stack
    from aws_cdk.assertions import Template

    from infra.deployment import Deployment
    from infra.one_origin import OneOrigin

    context = {"one_origin": "true", "authorization": "none", **options}
    app = App(context={"aws:cdk:bundling-stacks": []}, analytics_reporting=False)
    stack = Stack(app, "Stack")
    OneOrigin(
        stack,
        "OneOrigin",
        deployment=Deployment.from_context(context.get),
        api_host="api.example",
        base_path="/dicom-web",
        storage_bucket="bucket",
    )
    return Template.from_stack(stack)


@pytest.mark.usefixtures("_node")
def test_a_name_of_ones_own_has_its_certificate_and_records() -> None:
    certificate = "arn:aws:acm:us-east-1:123456789012:certificate/a"
    template = alone(
        domain_name="images.example.org",
        certificate_arn=certificate,
        hosted_zone_id="Z1",
        countries="CH,AT",
    )
    template.has_resource_properties(
        "AWS::CloudFront::Distribution",
        {
            "DistributionConfig": {
                "Aliases": ["images.example.org"],
                "ViewerCertificate": {
                    "AcmCertificateArn": certificate,
                    "MinimumProtocolVersion": "TLSv1.2_2021",
                    "SslSupportMethod": "sni-only",
                },
                "Restrictions": {
                    "GeoRestriction": {"RestrictionType": "whitelist", "Locations": ["CH", "AT"]}
                },
            }
        },
    )
    records = template.find_resources("AWS::Route53::RecordSet").values()
    assert {each["Properties"]["Type"] for each in records} == {"A", "AAAA"}
    assert {each["Properties"]["Name"] for each in records} == {"images.example.org"}


@pytest.mark.usefixtures("_node")
def test_the_gateway_alone_may_have_the_name() -> None:
    from aws_cdk import App, Stack
    from aws_cdk import aws_apigateway as apigateway
    from aws_cdk.assertions import Template

    from infra.deployment import Deployment
    from infra.rest_api import RestApi

    given = {
        "domain_name": "images.example.org",
        "certificate_arn": "arn:aws:acm:eu-central-1:123456789012:certificate/a",
        "hosted_zone_id": "Z1",
    }
    stack = Stack(App(analytics_reporting=False), "Stack")
    gateway = RestApi(stack, "Gateway", deployment=Deployment.from_context(given.get))
    gateway.api.root.add_method("GET", apigateway.MockIntegration())
    template = Template.from_stack(stack)
    template.has_resource_properties(
        "AWS::ApiGateway::DomainName",
        {
            "DomainName": "images.example.org",
            "RegionalCertificateArn": given["certificate_arn"],
            "EndpointConfiguration": {"Types": ["REGIONAL"]},
            "SecurityPolicy": "TLS_1_2",
        },
    )
    template.resource_count_is("AWS::ApiGateway::BasePathMapping", 1)
    template.resource_count_is("AWS::Route53::RecordSet", 2)
    # One address, not two.
    template.has_resource_properties(
        "AWS::ApiGateway::RestApi", {"DisableExecuteApiEndpoint": True}
    )


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"one_origin": "true"}, "one_origin"),
        ({"price_class": "7"}, "price_class"),
        ({"countries": "Germany"}, "countries"),
        ({"domain_name": "images.example.org"}, "certificate_arn"),
        ({"hosted_zone_id": "Z1"}, "domain_name"),
        (
            {
                "authorization": "none",
                "one_origin": "true",
                "domain_name": "images.example.org",
                "certificate_arn": "arn:aws:acm:eu-central-1:123456789012:certificate/a",
            },
            "us-east-1",
        ),
    ],
)
def test_what_cannot_be_is_refused(given: dict[str, str], why: str) -> None:
    from infra.deployment import Deployment

    with pytest.raises(ValueError, match=why):
        Deployment.from_context(given.get)


PROVIDED = {
    "authorization": "oidc",
    "one_origin": "true",
    "oidc_issuer": "https://login.example.org/realm",
    "oidc_audience": "archive",
    "sign_in_client_id": "pages",
    "sign_in_origins": "https://tokens.example.org",
}


@pytest.mark.usefixtures("_node")
def test_pages_may_ask_the_provider_for_tokens() -> None:
    found = alone(**PROVIDED).find_resources("AWS::CloudFront::ResponseHeadersPolicy").values()
    told = [json.dumps(each) for each in found if "ContentSecurityPolicy" in json.dumps(each)]
    assert len(told) == 2
    for each in told:
        assert "https://login.example.org https://tokens.example.org" in each


@pytest.mark.parametrize(
    "changed",
    [{"one_origin": "false"}, {"oidc_clients": "another"}],
)
def test_people_sign_in_only_where_there_are_pages_that_are_known(changed: dict[str, str]) -> None:
    from infra.deployment import Deployment

    Deployment.from_context(PROVIDED.get)
    with pytest.raises(ValueError, match="sign_in_client_id"):
        Deployment.from_context((PROVIDED | changed).get)
