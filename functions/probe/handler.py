"""Proves that an object which is put is answered: at a deployment, and by a schedule."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dicomulus.adapters.aws.custom_resource import answered, is_rolling_back
from dicomulus.adapters.aws.function_log import function_log
from dicomulus.adapters.aws.function_metrics import FunctionMetrics
from dicomulus.adapters.aws.metrics import PROBE_DURATION, PROBES_FAILED
from dicomulus.composition import aws_probe
from dicomulus.services.probe import AT_DEPLOYMENT, Patience
from dicomulus.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aws_lambda_powertools.utilities.typing import LambdaContext

NOT_PROVEN = "not proven: nothing may be written to the adopted bucket"

logger = function_log()
metrics = FunctionMetrics()
settings = Settings.from_env()


@metrics.of_invocations
def prove(patience: Patience, context: LambdaContext) -> dict[str, str]:
    """Run a probe, and count how it went.

    Raises:
        UnavailableError: It was not answered, and what was missing.
    """
    try:
        report = aws_probe(settings).run(patience)
    except Exception:
        metrics.add(PROBES_FAILED, 1)
        raise
    metrics.add(PROBES_FAILED, 0)
    metrics.add(PROBE_DURATION, report.bundle_seconds)
    return {"Path": f"proven: answered {report.bundle_seconds:.0f} s after it was put"}


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> Mapping[str, str]:
    """Answer CloudFormation, or whoever else asks: by a schedule, or by hand."""

    def act(_: object) -> Mapping[str, str]:
        is_update = event.get("RequestType") == "Update"
        # Whatever was found broken is so for what it goes back to, too, perhaps.
        if is_update and is_rolling_back(event["StackId"]):
            return {"Path": "not proven: the deployment goes back"}
        if not settings.allow_store:
            return {"Path": NOT_PROVEN}
        proven: Mapping[str, str] = prove(AT_DEPLOYMENT if is_asked else Patience(), context)
        return proven

    is_asked = "ResponseURL" in event
    return answered(event, act, physical_id="probe") if is_asked else act(event)
