"""One synthesis of the app, shared by all tests of the template."""

from __future__ import annotations

import contextlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from aws_cdk import Stack
    from aws_cdk.assertions import Template


@dataclass(frozen=True, slots=True)
class Synthesised:
    """The templates of one deployment."""

    stateful: Template
    service: Template
    assembly: Path
    """Where the files of the functions are, as they are deployed."""

    def resources(self, kind: str) -> dict[str, Any]:
        """Give the resources of a CloudFormation type in both stacks, by logical name."""
        found: dict[str, Any] = {}
        for template in (self.stateful, self.service):
            found |= template.find_resources(kind)
        return found


OPEN: Final = {"stage": "dev", "authorization": "none", "one_origin": "true", "orthanc": "true"}
"""The context of a stage with as little protection as one can ask for, and all else."""

HARDENED: Final = {
    "stage": "prod",
    "authorization": "oidc",
    "oidc_issuer": "https://login.example/realms/clinic",
    "oidc_audience": "https://archive.example",
    "oidc_introspection_url": "https://login.example/introspect",
    "oidc_secret_arn": "arn:aws:secretsmanager:us-east-1:111122223333:secret:oidc-AbCdEf",
    "kms": "customer",
    "waf": "true",
    "allow_delete": "true",
    "storage_compression": "true",
    "orthanc": "true",
    "webhook_url": "https://hooks.example/changes",
    "webhook_secret_arn": "arn:aws:secretsmanager:us-east-1:111122223333:secret:hook-AbCdEf",
    "event_bus": "changes",
    "replica_bucket_arn": "arn:aws:s3:::copies-elsewhere",
    "replica_kms_key_arn": "arn:aws:kms:eu-west-1:111122223333:key/mrk-0123456789abcdef0123456789abcdef",
}
"""The context of a stage with all of it."""


@dataclass(frozen=True, slots=True)
class Checked:
    """The templates of one deployment, held to the rules, and what the rules found."""

    templates: Synthesised
    findings: list[tuple[str, list[str]]]
    """Rule and the paths of constructs that break it."""
    accepted: dict[str, dict[str, str]]
    """Path of a construct to the rules that are accepted there, with their reasons."""

    def reasons(self) -> Iterator[tuple[str, str]]:
        """Give every accepted rule with its reason."""
        for rules in self.accepted.values():
            yield from rules.items()

    def accepting(self, rule: str = "") -> list[str]:
        """Give the paths of constructs where a rule, or any, is accepted."""
        return [path for path, rules in self.accepted.items() if not rule or rule in rules]


def checked(
    context: Mapping[str, str] | None, folder: Path, *, add: Callable[[Stack], None] | None = None
) -> Checked:
    """Write the templates of a deployment, or of one stack with what is added, and check them."""
    from aws_cdk import App, Stack
    from aws_cdk.assertions import Template

    from infra.app import compose
    from infra.checks import add_checks
    from infra.deployment import Deployment

    app = App(
        context={"aws:cdk:bundling-stacks": [], **(context or {})},
        analytics_reporting=False,
        outdir=str(folder),
    )
    if add is None:
        stacks: tuple[Stack, ...] = compose(app, Deployment.from_context(app.node.try_get_context))
    else:
        stacks = (Stack(app, "One"),) * 2
        add(stacks[0])
    add_checks(app)
    with contextlib.suppress(RuntimeError):
        app.synth()
    # A pack that has found nothing is not in the report.
    report = json.loads((folder / "validation-report.json").read_text())
    accepted: dict[str, dict[str, str]] = {}
    for metadata in folder.glob("*.metadata.json"):
        for path, entries in json.loads(metadata.read_text()).items():
            for entry in entries:
                if entry["type"] == "aws:cdk:acknowledged-rules":
                    for rule, reason in entry["data"].items():
                        name = rule.removeprefix("Annotation::")
                        accepted.setdefault(path.strip("/"), {})[name] = reason
    stateful, service = (
        Template.from_json(json.loads((folder / stack.template_file).read_text()))
        for stack in stacks
    )
    return Checked(
        Synthesised(stateful, service, folder),
        [
            (violation["ruleName"], [each["constructPath"] for each in constructs])
            for pack in report["pluginReports"]
            for violation in pack["violations"]
            for constructs in (violation["violatingConstructs"],)
        ],
        accepted,
    )


def synthesise(context: Mapping[str, str] | None = None) -> Synthesised:
    """Synthesise a deployment, without building its layers."""
    from aws_cdk import App
    from aws_cdk.assertions import Template

    from infra.app import compose
    from infra.deployment import Deployment

    # No stack is bundled, so that the template alone is made, without pip.
    app = App(context={"aws:cdk:bundling-stacks": [], **(context or {})}, analytics_reporting=False)
    stateful, service = compose(app, Deployment.from_context(app.node.try_get_context))
    templates = Template.from_stack(stateful), Template.from_stack(service)
    return Synthesised(*templates, Path(app.outdir))


@pytest.fixture(scope="session")
def _node() -> Iterator[None]:
    """Skip where the CDK has no Node to run on; keep docker out of reach where it has."""
    if shutil.which("node") is None:
        pytest.skip("Node is not on the PATH, and the CDK's templates are made by it")
    pytest.importorskip("aws_cdk", reason="the CDK is not installed: make infra installs it")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CDK_DOCKER", "/nonexistent/docker")
        patch.setenv("JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION", "20")
        yield


@pytest.fixture(scope="session")
def synthesised(_node: None) -> Synthesised:
    """Give the templates of a stage that keeps its data."""
    return synthesise({"stage": "prod"})


@pytest.fixture(scope="session")
def hardened(_node: None, tmp_path_factory: pytest.TempPathFactory) -> Checked:
    """Give the templates of a stage with every protection."""
    return checked(HARDENED, tmp_path_factory.mktemp("hardened"))


@pytest.fixture(scope="session")
def open_stage(_node: None) -> Synthesised:
    """Give a development stage on x86_64 that everybody may call, at one origin with its viewer."""
    return synthesise(
        {
            "authorization": "none",
            "architecture": "x86_64",
            "allowed_origins": "https://viewer.example",
            "storage_prefix": "archive/",
            "allow_delete": "true",
            "one_origin": "true",
            "orthanc": "true",
            "alarm_email": "operator@example.org",
            "monthly_budget_usd": "50",
            "ingest_concurrency": "500",
            "ingest_batch": "100",
            "warm_write_units": "40000",
        }
    )
