"""The metrics of a function, written into its log for CloudWatch by Powertools (EMF)."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools import Metrics, single_metric
from aws_lambda_powertools.metrics import MetricUnit

from dicomulus.adapters.aws.metrics import (
    FINDING_DIMENSION,
    NAMESPACE,
    OBJECTS_REJECTED,
    REASON_DIMENSION,
    RECONCILE_FINDINGS,
    SERVICE_DIMENSION,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from dicomulus.adapters.aws.metrics import Metric

    Handler = Callable[[Any, Any], Any]


class FunctionMetrics:
    """What one function measures; its name comes from the environment."""

    def __init__(self) -> None:
        """Measure nothing yet."""
        self._metrics = Metrics(namespace=NAMESPACE)

    def of_invocations(self, handler: Handler) -> Handler:
        """Have all that an invocation measures written when it ends."""
        written: Handler = self._metrics.log_metrics(handler)
        return written

    def add(self, metric: Metric, value: float) -> None:
        """Measure something; several values of an invocation are all kept."""
        self._metrics.add_metric(metric.name, metric.unit, value)

    def add_rejections(self, reasons: Iterable[str]) -> None:
        """Count rejected objects: in all, and by the kind of reason."""
        kinds = Counter(map(_kind_of, reasons))
        self._add_kinds(OBJECTS_REJECTED, REASON_DIMENSION, kinds)

    def add_findings(self, counts: Mapping[str, int]) -> None:
        """Count what a run of reconcile has found: in all, and by the kind of finding."""
        self._add_kinds(RECONCILE_FINDINGS, FINDING_DIMENSION, counts)

    def _add_kinds(self, metric: Metric, dimension: str, counts: Mapping[str, int]) -> None:
        self.add(metric, sum(counts.values()))
        unit = MetricUnit(metric.unit)
        for kind, count in counts.items():
            with single_metric(metric.name, unit, count, namespace=NAMESPACE) as single:
                single.add_dimension(SERVICE_DIMENSION, self._metrics.service or "")
                single.add_dimension(dimension, kind)


def _kind_of(reason: str) -> str:
    """Give a reason without what is of one object, so that there are a few for ever."""
    return reason.partition(":")[0]
