"""What stands idle in the templates is what the formula of cost counts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dicomulus.cli.cost.ledger import read_ledger
from dicomulus.cli.cost.usage import WAF_RULES
from tests.benchmarks.ledger import alarm_metrics

if TYPE_CHECKING:
    from tests.infra.conftest import Checked, Synthesised

ANEW = (
    "run: python -m tests.benchmarks.ledger --template --update, "
    "then python -m tests.benchmarks.cost_document --update-docs"
)


def test_alarms_and_dashboards_are_about_as_many_as_are_counted(synthesised: Synthesised) -> None:
    """One alarm more or less is ten cents a month, of some thirteen dollars."""
    deployed = read_ledger().deployed
    alarms = synthesised.resources("AWS::CloudWatch::Alarm").values()
    watched = sum(alarm_metrics(each["Properties"]) for each in alarms)
    assert watched == pytest.approx(deployed.alarm_metrics, rel=0.2), ANEW
    dashboards = synthesised.resources("AWS::CloudWatch::Dashboard")
    assert len(dashboards) == deployed.dashboards, ANEW


def test_the_gateway_makes_no_metrics_of_each_method(synthesised: Synthesised) -> None:
    (stage,) = synthesised.resources("AWS::ApiGateway::Stage").values()
    settings = stage["Properties"].get("MethodSettings", [])
    assert not any(each.get("MetricsEnabled") for each in settings)


def test_each_rule_of_the_web_acl_is_counted(hardened: Checked) -> None:
    (acl,) = hardened.templates.resources("AWS::WAFv2::WebACL").values()
    assert len(acl["Properties"]["Rules"]) == WAF_RULES
