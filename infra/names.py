"""Names of one's own for what AWS gives long ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aws_cdk import aws_route53 as route53

if TYPE_CHECKING:
    from constructs import Construct

    from infra.deployment import Deployment


def alias_records(scope: Construct, deployment: Deployment, *, host: str, zone: str) -> None:
    """Have the deployment's domain name lead to a host of AWS's, by IPv4 and IPv6.

    Args:
        scope: Whose records they are.
        deployment: Names the domain and the hosted zone that it lies in.
        host: Name that AWS has given.
        zone: Hosted zone of that name.
    """
    for kind in ("A", "AAAA"):
        route53.CfnRecordSet(
            scope,
            f"Record{kind}",
            name=deployment.domain_name,
            type=kind,
            hosted_zone_id=deployment.hosted_zone_id,
            alias_target=route53.CfnRecordSet.AliasTargetProperty(
                dns_name=host, hosted_zone_id=zone
            ),
        )
