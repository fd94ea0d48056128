"""AWS WAF before the gateway's stage, with rules fitted to DICOMweb."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from aws_cdk import Aws, Fn
from aws_cdk import aws_wafv2 as wafv2
from constructs import Construct

from dicomulus.adapters.aws.gateway_rules import THROTTLED
from dicomulus.wire.problem import TYPE_PREFIX
from infra.access_logs import log_group

if TYPE_CHECKING:
    from aws_cdk import aws_apigateway as apigateway
    from aws_cdk import aws_kms as kms

    from infra.deployment import Deployment

# Rule groups of AWS's, each with those of its rules that only count, as ordinary requests of
# DICOMweb break them: bodies are binary and of megabytes, queries and paths list many UIDs, and
# modalities name no user agent.
_MANAGED: Final[dict[str, tuple[str, ...]]] = {
    "AWSManagedRulesAmazonIpReputationList": (),
    "AWSManagedRulesCommonRuleSet": (
        "CrossSiteScripting_BODY",
        "EC2MetaDataSSRF_BODY",
        "GenericLFI_BODY",
        "GenericRFI_BODY",
        "NoUserAgent_HEADER",
        "SizeRestrictions_BODY",
        "SizeRestrictions_QUERYSTRING",
        "SizeRestrictions_URIPATH",
    ),
    "AWSManagedRulesKnownBadInputsRuleSet": (
        "JavaDeserializationRCE_BODY",
        "Log4JRCE_BODY",
        "ReactJSRCE_BODY",
    ),
}

# Who asks for what is in the access log; here it is what was refused, without what may name a
# patient or let somebody in.
_REDACTED_HEADERS: Final = ("authorization", "cookie", "x-amz-security-token")


_TOO_MANY: Final = "too-many"

# As the gateway's own answers; WAF counts anew every half minute or so.
_TOO_MANY_HEADERS: Final = {
    "Access-Control-Allow-Origin": "*",
    "Cache-Control": "no-store",
    "Retry-After": "30",
}


class Firewall(Construct):
    """A web ACL on the stage, and its log of what it refused or counted."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        deployment: Deployment,
        stage: apigateway.Stage,
        key: kms.IKey | None = None,
    ) -> None:
        """Make the ACL and put it before the stage."""
        super().__init__(scope, construct_id)
        self.acl = wafv2.CfnWebACL(
            self,
            "Acl",
            scope="REGIONAL",
            default_action=wafv2.CfnWebACL.DefaultActionProperty(allow={}),
            visibility_config=_visibility("Acl"),
            custom_response_bodies={
                _TOO_MANY: wafv2.CfnWebACL.CustomResponseBodyProperty(
                    content=json.dumps(dict(THROTTLED.members(TYPE_PREFIX))),
                    content_type="APPLICATION_JSON",
                )
            },
            rules=[
                *(_managed(name, priority) for priority, name in enumerate(_MANAGED)),
                _rate(deployment.waf_rate, priority=len(_MANAGED)),
            ],
        )
        wafv2.CfnWebACLAssociation(
            self, "Association", resource_arn=stage.stage_arn, web_acl_arn=self.acl.attr_arn
        )
        stack_uuid = Fn.select(2, Fn.split("/", Aws.STACK_ID))
        group = log_group(
            self,
            "Log",
            deployment=deployment,
            key=key,
            # WAF writes to groups with this prefix alone.
            name=Fn.join("-", ["aws-waf-logs-dicomulus", stack_uuid]),
        )
        wafv2.CfnLoggingConfiguration(
            self,
            "Logging",
            resource_arn=self.acl.attr_arn,
            log_destination_configs=[group.log_group_arn.removesuffix(":*")],
            redacted_fields=[
                *(
                    wafv2.CfnLoggingConfiguration.FieldToMatchProperty(single_header={"Name": name})
                    for name in _REDACTED_HEADERS
                ),
                wafv2.CfnLoggingConfiguration.FieldToMatchProperty(query_string={}),
                wafv2.CfnLoggingConfiguration.FieldToMatchProperty(uri_path={}),
            ],
            logging_filter=_KEPT,
        )


_KEPT: Final = {
    "DefaultBehavior": "DROP",
    "Filters": [
        {
            "Behavior": "KEEP",
            "Requirement": "MEETS_ANY",
            "Conditions": [
                {"ActionCondition": {"Action": action}}
                for action in ("BLOCK", "COUNT", "EXCLUDED_AS_COUNT")
            ],
        }
    ],
}


def _managed(name: str, priority: int) -> wafv2.CfnWebACL.RuleProperty:
    return wafv2.CfnWebACL.RuleProperty(
        name=name,
        priority=priority,
        override_action=wafv2.CfnWebACL.OverrideActionProperty(none={}),
        statement=wafv2.CfnWebACL.StatementProperty(
            managed_rule_group_statement=wafv2.CfnWebACL.ManagedRuleGroupStatementProperty(
                vendor_name="AWS",
                name=name,
                rule_action_overrides=[
                    wafv2.CfnWebACL.RuleActionOverrideProperty(
                        name=rule, action_to_use=wafv2.CfnWebACL.RuleActionProperty(count={})
                    )
                    for rule in _MANAGED[name]
                ],
            )
        ),
        visibility_config=_visibility(name),
    )


def _rate(limit: int, *, priority: int) -> wafv2.CfnWebACL.RuleProperty:
    return wafv2.CfnWebACL.RuleProperty(
        name="RateOfOneAddress",
        priority=priority,
        action=wafv2.CfnWebACL.RuleActionProperty(
            block=wafv2.CfnWebACL.BlockActionProperty(
                custom_response=wafv2.CfnWebACL.CustomResponseProperty(
                    response_code=429,
                    custom_response_body_key=_TOO_MANY,
                    response_headers=[
                        wafv2.CfnWebACL.CustomHTTPHeaderProperty(name=name, value=value)
                        for name, value in _TOO_MANY_HEADERS.items()
                    ],
                )
            )
        ),
        statement=wafv2.CfnWebACL.StatementProperty(
            rate_based_statement=wafv2.CfnWebACL.RateBasedStatementProperty(
                aggregate_key_type="IP", limit=limit
            )
        ),
        visibility_config=_visibility("RateOfOneAddress"),
    )


def _visibility(name: str) -> wafv2.CfnWebACL.VisibilityConfigProperty:
    # A sampled request shows its URL in the console, and so names of patients.
    return wafv2.CfnWebACL.VisibilityConfigProperty(
        cloud_watch_metrics_enabled=True, metric_name=name, sampled_requests_enabled=False
    )
