"""The CDK app; with ``CDK_OUTDIR`` set it writes the templates without the CDK's command."""

from __future__ import annotations

import sys
from typing import Final

from aws_cdk import App, Tags

from dicomulus.adapters.aws.stack_outputs import stack_name
from infra.checks import add_checks
from infra.deployment import Deployment, refuse_misspelt
from infra.service_stack import ServiceStack
from infra.stateful_stack import StatefulStack

FLAGS: Final = {
    # What the stateful stack gives cannot be taken away while the other uses it.
    "@aws-cdk/core:defaultCrossStackReferences": "strong",
}
"""What the CDK wants to be told rather than assume."""


def compose(app: App, deployment: Deployment) -> tuple[StatefulStack, ServiceStack]:
    """Add the stacks of a deployment to an app."""
    for flag, value in FLAGS.items():
        app.node.set_context(flag, value)
    stateful = StatefulStack(
        app,
        stack_name(deployment.stage, "Stateful"),
        deployment=deployment,
        description="Dicomulus: what holds data",
    )
    service = ServiceStack(
        app,
        stack_name(deployment.stage, "Service"),
        deployment=deployment,
        stateful=stateful,
        description="Dicomulus: what answers and follows",
    )
    Tags.of(app).add("application", "dicomulus")
    Tags.of(app).add("stage", deployment.stage)
    # What costs are told apart by, whatever else in the account has a tag "stage".
    Tags.of(app).add("dicomulus-stage", deployment.stage)
    return stateful, service


def main() -> int:
    """Synthesise the templates."""
    app = App()
    try:
        refuse_misspelt(app.node.get_all_context())
        deployment = Deployment.from_context(app.node.try_get_context)
    except ValueError as exc:
        sys.stderr.write(f"deployment: {exc}\n")
        return 2
    compose(app, deployment)
    add_checks(app)
    try:
        app.synth()
    except RuntimeError as exc:
        # What the rules found has been written already; a trace of the CDK's says nothing more.
        sys.stderr.write(f"synthesis: {str(exc).splitlines()[0]}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
