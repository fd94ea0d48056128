"""What the templates of a deployment with every protection say of tokens, keys, logs and WAF."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from dicomulus.adapters.aws.limits import MAX_STORE_BYTES
from dicomulus.settings import Settings
from infra.rights import RIGHTS
from tests.infra.conftest import HARDENED
from tests.infra.test_template import statements

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.infra.conftest import Checked, Synthesised

PATIENT_DATA = re.compile(r"\.path\b|querystring|rawpath|request\.(header|body)|useragent", re.I)


@pytest.fixture(scope="module")
def templates(hardened: Checked) -> Synthesised:
    return hardened.templates


def only(resources: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Give the properties of the one resource of its kind."""
    assert len(resources) == 1
    (found,) = resources.values()
    properties: dict[str, Any] = found["Properties"]
    return properties


def function(templates: Synthesised, name: str) -> dict[str, Any]:
    """Give the properties of a function."""
    (found,) = (
        each["Properties"]
        for each in templates.resources("AWS::Lambda::Function").values()
        if each["Properties"]["Environment"]["Variables"]["POWERTOOLS_SERVICE_NAME"].endswith(
            f"-{name}"
        )
    )
    properties: dict[str, Any] = found
    return properties


def listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


# --- tokens --------------------------------------------------------------------------------------


def test_every_method_but_preflights_asks_the_authorizer(templates: Synthesised) -> None:
    (authorizer,) = templates.resources("AWS::ApiGateway::Authorizer")
    methods = [
        each["Properties"] for each in templates.resources("AWS::ApiGateway::Method").values()
    ]
    assert len({method["HttpMethod"] for method in methods}) == 6
    for method in methods:
        if method["HttpMethod"] == "OPTIONS":
            assert method["AuthorizationType"] == "NONE"
        else:
            assert method["AuthorizationType"] == "CUSTOM"
            assert method["AuthorizerId"] == {"Ref": authorizer}


def test_each_request_is_asked_about_anew(templates: Synthesised) -> None:
    """A token that was taken back gets 401 for what it got before, and for what has not changed."""
    authorizer = only(templates.resources("AWS::ApiGateway::Authorizer"))
    assert authorizer["AuthorizerResultTtlInSeconds"] == 0
    assert authorizer["Type"] == "REQUEST"
    assert authorizer["IdentitySource"] == "method.request.header.Authorization"
    stage = only(templates.resources("AWS::ApiGateway::Stage"))
    assert "CacheClusterEnabled" not in stage


def test_the_authorizer_may_read_its_secret_and_nothing_else(templates: Synthesised) -> None:
    own = [
        each
        for each in statements(templates, "authorize")
        if not str(each["Action"]).startswith(("['logs:", "logs:", "['xray:", "xray:"))
    ]
    assert own == [
        {
            "Action": "secretsmanager:GetSecretValue",
            "Effect": "Allow",
            "Resource": HARDENED["oidc_secret_arn"],
        }
    ]


def test_the_authorizer_alone_knows_of_the_provider(templates: Synthesised) -> None:
    for name in RIGHTS:
        assert "OIDC" not in str(function(templates, name)["Environment"])
    told = function(templates, "authorize")["Environment"]["Variables"]
    settings = Settings.from_env({k: v for k, v in told.items() if k.startswith("DICOMULUS_")})
    assert settings.oidc_issuer == HARDENED["oidc_issuer"]
    assert settings.oidc_audience == HARDENED["oidc_audience"]
    assert not settings.table_name


def test_tokens_that_do_not_count_are_no_alarm(templates: Synthesised) -> None:
    """To Lambda they are failures of the function."""
    alarms = {
        each["Properties"]["AlarmName"]
        for each in templates.resources("AWS::CloudWatch::Alarm").values()
    }
    assert "dicomulus-prod-authorize-throttles" in alarms
    assert "dicomulus-prod-read-errors" in alarms
    assert "dicomulus-prod-authorize-errors" not in alarms


def test_refusals_say_what_to_send(templates: Synthesised) -> None:
    answers = {
        each["Properties"]["ResponseType"]: each["Properties"]
        for each in templates.resources("AWS::ApiGateway::GatewayResponse").values()
    }
    header = "gatewayresponse.header.WWW-Authenticate"
    assert answers["UNAUTHORIZED"]["StatusCode"] == "401"
    assert "Bearer" in answers["UNAUTHORIZED"]["ResponseParameters"][header]
    assert "insufficient_scope" in answers["ACCESS_DENIED"]["ResponseParameters"][header]
    # The latter is of a function that raises: the provider cannot be asked.
    for kind in ("AUTHORIZER_FAILURE", "AUTHORIZER_CONFIGURATION_ERROR"):
        assert answers[kind]["StatusCode"] == "503"
        assert "gatewayresponse.header.Retry-After" in answers[kind]["ResponseParameters"]
    for answer in answers.values():
        assert answer["ResponseParameters"]["gatewayresponse.header.Cache-Control"] == "'no-store'"


# --- keys ----------------------------------------------------------------------------------------


def test_everything_at_rest_has_the_customers_key(templates: Synthesised) -> None:
    (key,) = templates.stateful.find_resources("AWS::KMS::Key")
    here = {"Fn::GetAtt": [key, "Arn"]}
    for name, bucket in templates.stateful.find_resources("AWS::S3::Bucket").items():
        (rule,) = bucket["Properties"]["BucketEncryption"]["ServerSideEncryptionConfiguration"]
        default = rule["ServerSideEncryptionByDefault"]
        if "AccessLogs" in name or "Site" in name:
            assert default == {"SSEAlgorithm": "AES256"}
        else:
            assert default == {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": here}
            assert rule["BucketKeyEnabled"] is True
    for queue in templates.stateful.find_resources("AWS::SQS::Queue").values():
        assert queue["Properties"]["KmsMasterKeyId"] == here
    table = only(templates.stateful.find_resources("AWS::DynamoDB::Table"))
    assert table["SSESpecification"]["KMSMasterKeyId"] == here
    for group in templates.resources("AWS::Logs::LogGroup").values():
        assert "KmsKeyId" in group["Properties"]


def test_the_key_is_renewed_and_not_lost(templates: Synthesised) -> None:
    templates.stateful.has_resource(
        "AWS::KMS::Key",
        {"Properties": {"EnableKeyRotation": True}, "DeletionPolicy": "Retain"},
    )


def test_services_use_the_key_for_this_account_alone(templates: Synthesised) -> None:
    key = only(templates.stateful.find_resources("AWS::KMS::Key"))
    served = [
        each for each in key["KeyPolicy"]["Statement"] if "Service" in each.get("Principal", {})
    ]
    senders = {
        name
        for each in served
        if each.get("Condition", {}).get("StringEquals")
        == {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}
        for name in listed(each["Principal"]["Service"])
    }
    assert senders == {"s3.amazonaws.com", "cloudwatch.amazonaws.com"}
    for each in served:
        if each["Principal"] != {"Service": "events.amazonaws.com"}:
            assert each["Condition"]
        assert set(each["Action"]) <= {
            "kms:Decrypt",
            "kms:DescribeKey",
            "kms:Encrypt",
            "kms:GenerateDataKey",
            "kms:ReEncryptFrom",
            "kms:ReEncryptTo",
        }


def test_event_bridge_uses_the_key_without_saying_for_whom(templates: Synthesised) -> None:
    """KMS is told of no source by EventBridge; the queue's policy says whose events it takes."""
    key = only(templates.stateful.find_resources("AWS::KMS::Key"))
    (granted,) = (
        each
        for each in key["KeyPolicy"]["Statement"]
        if "events.amazonaws.com" in listed(each.get("Principal", {}).get("Service", []))
    )
    assert set(granted["Action"]) == {"kms:Decrypt", "kms:GenerateDataKey"}
    assert "Condition" not in granted


@pytest.mark.parametrize("name", sorted(RIGHTS))
def test_a_function_uses_the_key_for_what_it_does_and_by_way_of_services_alone(
    templates: Synthesised, name: str
) -> None:
    found: dict[str, set[str]] = {}
    for statement in statements(templates, name):
        actions = [each for each in listed(statement["Action"]) if each.startswith("kms:")]
        if actions:
            condition = statement["Condition"]["StringEquals"]["kms:ViaService"]["Fn::Join"][1]
            found[condition[0].rstrip(".")] = set(actions)
    rights = RIGHTS[name]
    objects = {*rights.storage, *rights.cache}
    assert ("s3" in found) == bool(objects & {"s3:GetObject", "s3:PutObject"})
    if "s3" in found:
        assert ("kms:GenerateDataKey" in found["s3"]) == ("s3:PutObject" in objects)
    assert ("sqs" in found) == bool(rights.send_to or rights.receive_from)
    if "sqs" in found:
        assert ("kms:GenerateDataKey" in found["sqs"]) == bool(rights.send_to)
    assert ("dynamodb" in found) == bool(rights.table or rights.indexes)


# --- logs ----------------------------------------------------------------------------------------


def test_the_gateways_log_has_who_what_and_when_without_patient_data(
    templates: Synthesised,
) -> None:
    stage = only(templates.resources("AWS::ApiGateway::Stage"))
    line = json.loads(stage["AccessLogSetting"]["Format"])
    sources = " ".join(line.values())
    for needed in (
        "requestId",
        "requestTime",
        "httpMethod",
        "resourcePath",
        "status",
        "principalId",
    ):
        assert f"$context.{needed}" in sources or f"authorizer.{needed}" in sources
    assert not PATIENT_DATA.search(sources)


def test_nothing_else_writes_down_what_is_asked_for(templates: Synthesised) -> None:
    stage = only(templates.resources("AWS::ApiGateway::Stage"))
    assert not stage.get("TracingEnabled")
    for setting in stage["MethodSettings"]:
        assert setting.get("LoggingLevel", "OFF") == "OFF"
        assert not setting.get("DataTraceEnabled")
        assert setting["ThrottlingRateLimit"] == 2_000
        assert setting["ThrottlingBurstLimit"] == 4_000


def test_access_to_both_buckets_is_logged(templates: Synthesised) -> None:
    buckets = templates.stateful.find_resources("AWS::S3::Bucket")
    (logs,) = (name for name in buckets if "AccessLogs" in name)
    for name, bucket in buckets.items():
        if name != logs:
            logging = bucket["Properties"]["LoggingConfiguration"]
            assert logging["DestinationBucketName"] == {"Ref": logs}
            assert logging["LogFilePrefix"]
            # It may be refused while S3 may not write there.
            (policy,) = (each for each in bucket["DependsOn"] if "AccessLogs" in each)
            assert policy in templates.stateful.find_resources("AWS::S3::BucketPolicy")
    (rule,) = buckets[logs]["Properties"]["LifecycleConfiguration"]["Rules"]
    assert rule["ExpirationInDays"] == 90


# --- WAF -----------------------------------------------------------------------------------------


def rules(templates: Synthesised) -> dict[str, dict[str, Any]]:
    acl = only(templates.resources("AWS::WAFv2::WebACL"))
    return {each["Name"]: each for each in acl["Rules"]}


def test_waf_stands_before_the_stage(templates: Synthesised) -> None:
    association = only(templates.resources("AWS::WAFv2::WebACLAssociation"))
    assert "/stages/" in json.dumps(association["ResourceArn"])
    assert "RateOfOneAddress" in rules(templates)


def test_who_asks_too_much_of_waf_is_told_so_as_by_the_gateway(templates: Synthesised) -> None:
    acl = only(templates.resources("AWS::WAFv2::WebACL"))
    answer = rules(templates)["RateOfOneAddress"]["Action"]["Block"]["CustomResponse"]
    assert answer["ResponseCode"] == 429
    problem = json.loads(acl["CustomResponseBodies"][answer["CustomResponseBodyKey"]]["Content"])
    assert problem["code"] == "throttled"
    sent = {header["Name"]: header["Value"] for header in answer["ResponseHeaders"]}
    assert sent["Access-Control-Allow-Origin"] == "*"
    assert int(sent["Retry-After"]) > 0


@pytest.mark.parametrize(
    ("group", "rule"),
    [
        # What STOW-RS sends is larger than 8 KB and binary; queries and paths list many UIDs.
        ("AWSManagedRulesCommonRuleSet", "SizeRestrictions_BODY"),
        ("AWSManagedRulesCommonRuleSet", "CrossSiteScripting_BODY"),
        ("AWSManagedRulesCommonRuleSet", "SizeRestrictions_QUERYSTRING"),
        ("AWSManagedRulesCommonRuleSet", "SizeRestrictions_URIPATH"),
        ("AWSManagedRulesCommonRuleSet", "NoUserAgent_HEADER"),
        ("AWSManagedRulesKnownBadInputsRuleSet", "JavaDeserializationRCE_BODY"),
    ],
)
def test_waf_lets_dicomweb_pass(templates: Synthesised, group: str, rule: str) -> None:
    assert MAX_STORE_BYTES > 8_192
    managed = rules(templates)[group]["Statement"]["ManagedRuleGroupStatement"]
    counted = {
        each["Name"] for each in managed["RuleActionOverrides"] if "Count" in each["ActionToUse"]
    }
    assert rule in counted


def test_wafs_log_names_neither_patients_nor_credentials(templates: Synthesised) -> None:
    logging = only(templates.resources("AWS::WAFv2::LoggingConfiguration"))
    redacted = json.dumps(logging["RedactedFields"])
    for field in ("authorization", "x-amz-security-token", "QueryString", "UriPath"):
        assert field in redacted
    acl = only(templates.resources("AWS::WAFv2::WebACL"))
    for each in (acl, *acl["Rules"]):
        assert each["VisibilityConfig"]["SampledRequestsEnabled"] is False


# --- what no deployment can be -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("oidc_issuer", ""),
        ("oidc_issuer", "http://login.example"),
        ("oidc_issuer", "https://somebody:secret@login.example"),
        ("oidc_introspection_url", "http://login.example/introspect"),
        ("oidc_audience", ""),
        ("oidc_secret_arn", ""),
        ("oidc_introspection_url", ""),
        ("oidc_cache_seconds", "3601"),
        ("kms", "mine"),
        ("kms", "arn:aws:kms:us-east-1:111122223333:alias/mine"),
        ("authorization", "basic"),
    ],
)
def test_what_cannot_be_is_refused_by_name(name: str, value: str) -> None:
    pytest.importorskip("aws_cdk", reason="the CDK is not installed: make infra installs it")
    from infra.deployment import Deployment

    with pytest.raises(ValueError, match=f"^{name}|^oidc_introspection_url"):
        Deployment.from_context({**HARDENED, name: value}.get)
