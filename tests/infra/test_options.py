"""What is asked for wrongly is refused by its name and in one line, before anything is made."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import pytest

from infra.deployment import LOG_RETENTION_DAYS, Deployment, refuse_misspelt
from infra.layers import ROOT

PROVIDER = {
    "authorization": "oidc",
    "oidc_issuer": "https://login.example.org",
    "oidc_audience": "archive",
}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("verify_days", "a month"),
        ("log_retention_days", "7"),
        ("search_shards", "0"),
        ("throttle_rate", "0"),
        ("throttle_burst", "-1"),
        ("monthly_budget_usd", "-5"),
        ("alarm_email", "operator"),
        ("allowed_origins", "viewer.example.org"),
        ("public_base_url", "images.example.org"),
    ],
)
def test_a_value_that_cannot_be_is_refused_by_its_name(name: str, value: str) -> None:
    with pytest.raises(ValueError, match=f"^{name}: "):
        Deployment.from_context({name: value}.get)


def test_scopes_that_the_authorizer_would_not_start_with_are_refused() -> None:
    Deployment.from_context(PROVIDER.get)
    with pytest.raises(ValueError, match=r"^oidc_scopes: "):
        Deployment.from_context({**PROVIDER, "oidc_scopes": "archive.read"}.get)


@pytest.mark.parametrize(
    ("name", "value", "needed"),
    [
        ("oidc_issuer", "https://login.example.org", "authorization=oidc"),
        ("oidc_clients", "viewer", "authorization=oidc"),
        ("countries", "DE,AT", "one_origin=true"),
        ("waf_rate", "1000", "waf=true"),
    ],
)
def test_what_protects_only_with_another_option_is_refused_without(
    name: str, value: str, needed: str
) -> None:
    with pytest.raises(ValueError, match=f"^{name}: .*{needed}"):
        Deployment.from_context({name: value}.get)


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("athorization", "authorization"),
        ("adopt-bucket", "adopt_bucket"),
        ("Stage", "stage"),
        ("oneorigin", "one_origin"),
    ],
)
def test_a_misspelt_option_is_not_overlooked(key: str, meant: str) -> None:
    with pytest.raises(ValueError, match=f"^{key}: .*{meant}$"):
        refuse_misspelt([key])


def test_keys_of_others_are_let_alone() -> None:
    refuse_misspelt(
        [
            "stage",
            "aws:cdk:bundling-stacks",
            "@aws-cdk/core:defaultCrossStackReferences",
            "acknowledged-issue-numbers",
            "cli-telemetry",
            "hosted-zone:account=111122223333:domainName=example.org:region=us-east-1",
        ]
    )


def test_every_retention_is_one_of_cloudwatch() -> None:
    pytest.importorskip("aws_cdk", reason="the CDK is not installed: make infra installs it")
    from infra.access_logs import retention

    assert len({retention(days) for days in LOG_RETENTION_DAYS}) == len(LOG_RETENTION_DAYS)


def test_synthesis_says_in_one_line_what_is_wrong() -> None:
    if shutil.which("node") is None:
        pytest.skip("Node is not on the PATH, and the CDK's templates are made by it")
    pytest.importorskip("aws_cdk", reason="the CDK is not installed: make infra installs it")
    done = subprocess.run(
        [sys.executable, "-m", "infra.app"],
        cwd=ROOT,
        env={
            **os.environ,
            "CDK_CONTEXT_JSON": json.dumps({"adopt-bucket": "hospital-archive"}),
            "JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION": "20",
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 2
    assert done.stderr == "deployment: adopt-bucket: is no option; the nearest is adopt_bucket\n"
