"""One synthesis of the app, shared by all tests of the template."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from aws_cdk.assertions import Template


@dataclass(frozen=True, slots=True)
class Synthesised:
    """The templates of one deployment."""

    stateful: Template
    service: Template

    def resources(self, kind: str) -> dict[str, Any]:
        """Give the resources of a CloudFormation type in both stacks, by logical name."""
        found: dict[str, Any] = {}
        for template in (self.stateful, self.service):
            found |= template.find_resources(kind)
        return found


def synthesise(context: Mapping[str, str] | None = None) -> Synthesised:
    """Synthesise a deployment, without building its layers."""
    from aws_cdk import App
    from aws_cdk.assertions import Template

    from infra.app import compose
    from infra.deployment import Deployment

    # No stack is bundled, so that the template alone is made, without pip.
    app = App(context={"aws:cdk:bundling-stacks": [], **(context or {})}, analytics_reporting=False)
    stateful, service = compose(app, Deployment.from_context(app.node.try_get_context))
    return Synthesised(Template.from_stack(stateful), Template.from_stack(service))


@pytest.fixture(scope="session")
def _node() -> Iterator[None]:
    """Skip where the CDK has no Node to run on; keep docker out of reach where it has."""
    if shutil.which("node") is None:
        pytest.skip("Node is not on the PATH, and the CDK's templates are made by it")
    pytest.importorskip("aws_cdk", reason="the CDK is not installed: make infra installs it")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CDK_DOCKER", "/nonexistent/docker")
        patch.setenv("JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION", "1")
        yield


@pytest.fixture(scope="session")
def synthesised(_node: None) -> Synthesised:
    """Give the templates of a stage that keeps its data."""
    return synthesise({"stage": "prod"})
