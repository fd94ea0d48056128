"""The templates held to CloudFormation's own schemas, by cfn-lint."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

cfnlint = pytest.importorskip("cfnlint.api", reason="cfn-lint is not installed")

if TYPE_CHECKING:
    from aws_cdk.assertions import Template

    from tests.infra.conftest import Checked, Synthesised

REGIONS = ["us-east-1"]
"""The oldest one, which has everything; with several of them the rules take as many times longer."""

WRITTEN_BY_THE_CDK = {"W3005"}
"""A function depends on its role, which it names: the CDK says both, for policies that come later."""


def findings(template: Template) -> list[str]:
    """Give what cfn-lint has to say of a template, errors and warnings."""
    text = json.dumps(template.to_json(), indent=1)
    return [
        f"{match.rule.id} {match.message} (line {match.linenumber})"
        for match in cfnlint.lint(text, regions=REGIONS)
        if match.rule.severity in ("error", "warning") and match.rule.id not in WRITTEN_BY_THE_CDK
    ]


def test_an_open_stage_breaks_no_rule(open_stage: Synthesised) -> None:
    assert findings(open_stage.stateful) == []
    assert findings(open_stage.service) == []


def test_a_stage_with_every_protection_breaks_no_rule(hardened: Checked) -> None:
    assert findings(hardened.templates.stateful) == []
    assert findings(hardened.templates.service) == []


def test_what_breaks_a_rule_is_found() -> None:
    """The rules are on."""
    broken = {
        "Resources": {
            "Bucket": {"Type": "AWS::S3::Bucket", "Properties": {"NoSuchProperty": True}},
        }
    }
    assert any("NoSuchProperty" in match.message for match in cfnlint.lint(json.dumps(broken)))
