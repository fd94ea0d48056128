"""cdk-nag's packs AwsSolutions and HIPAA find nothing that is not accepted with a reason."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.infra.conftest import OPEN, checked

if TYPE_CHECKING:
    from pathlib import Path

    from tests.infra.conftest import Checked


@pytest.mark.usefixtures("_node")
def test_an_open_stage_for_trying_things_out_is_clean(tmp_path: Path) -> None:
    assert checked(OPEN, tmp_path).findings == []


def test_a_stage_with_every_protection_is_clean(hardened: Checked) -> None:
    assert hardened.findings == []


def test_every_reason_is_a_sentence(hardened: Checked) -> None:
    reasons = list(hardened.reasons())
    assert len(reasons) > 20
    for rule, reason in reasons:
        assert len(reason.split()) >= 6, f"{rule}: {reason}"


def test_a_finding_that_is_accepted_is_found_elsewhere(hardened: Checked) -> None:
    """Nothing is accepted for a whole stack or app, where it would hide what comes later."""
    for path in hardened.accepting():
        assert path.count("/") >= 1, path


def test_with_a_key_of_ones_own_only_the_log_of_the_buckets_does_without(
    hardened: Checked,
) -> None:
    without = hardened.accepting("HIPAA.Security-S3DefaultEncryptionKMS")
    assert {path.split("/")[2] for path in without} == {"AccessLogs"}
    assert not hardened.accepting("HIPAA.Security-CloudWatchLogGroupEncrypted")
    assert not hardened.accepting("AwsSolutions-APIG3")


@pytest.mark.usefixtures("_node")
def test_what_nobody_accepted_ends_synthesis(tmp_path: Path) -> None:
    from aws_cdk import aws_s3 as s3

    def add_open_bucket(stack: Any) -> None:
        s3.Bucket(stack, "Open")

    rules = {rule for rule, _ in checked(None, tmp_path, add=add_open_bucket).findings}
    assert {"AwsSolutions-S1", "AwsSolutions-S10", "HIPAA.Security-S3BucketLoggingEnabled"} <= rules


@pytest.mark.usefixtures("_node")
def test_a_wildcard_is_accepted_for_one_resource_of_one_role(tmp_path: Path) -> None:
    from aws_cdk import Stack
    from aws_cdk import aws_iam as iam
    from aws_cdk import aws_s3 as s3

    from infra.checks import accept_wildcard

    def add_role(stack: Any) -> None:
        other = Stack(stack.node.scope, "Other")
        near, far = (s3.Bucket(scope, "B") for scope in (stack, other))
        role = iam.Role(stack, "R", assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"))
        for bucket in (near, far):
            for pattern in ("a/*", "b/*"):
                resource = bucket.arn_for_objects(pattern)
                role.add_to_policy(
                    iam.PolicyStatement(actions=["s3:GetObject"], resources=[resource])
                )
            accept_wildcard(role, bucket.arn_for_objects("a/*"), reason="a test of acceptance")

    found = [rule for rule, _ in checked(None, tmp_path, add=add_role).findings if "IAM5" in rule]
    assert len(found) == 2
    assert all(rule.endswith("/b/*]") for rule in found)
