"""What an operator looks at: a dashboard, and questions to the logs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from aws_cdk import Aws, Duration
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_logs as logs
from constructs import Construct

from dicomulus.adapters.aws import metrics

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from aws_cdk import aws_lambda as lambda_

    from infra.deployment import Deployment
    from infra.rest_api import RestApi
    from infra.stateful_stack import StatefulStack

PERIOD: Final = Duration.minutes(5)
"""What one data point is about."""

_COLUMNS: Final = 24
_HEIGHT: Final = 6

# Name, functions whose logs are asked (all without a name), and the question.
QUESTIONS: Final[tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...]] = (
    (
        "what-failed",
        (),
        (
            "fields @timestamp, service, message, code, reason, error, where, key",
            "filter level in ['ERROR', 'CRITICAL'] or message = 'message failed for good'",
            "sort @timestamp desc",
            "limit 200",
        ),
    ),
    (
        "slow-answers",
        ("Read", "Render", "Store", "Manage"),
        (
            "filter message = 'request answered'",
            "fields @timestamp, service, method, path, status, bytes, seconds",
            "sort seconds desc",
            "limit 100",
        ),
    ),
    (
        "refusals-by-code",
        ("Read", "Render", "Store", "Manage"),
        (
            "filter message = 'request refused'",
            "stats count(*) as requests by code, status",
            "sort requests desc",
        ),
    ),
    (
        "cold-starts",
        (),
        (
            "filter @type = 'REPORT' and ispresent(@initDuration)",
            "stats count(*) as n, pct(@initDuration, 50) as p50, pct(@initDuration, 99) as p99 by @log",
        ),
    ),
    (
        "memory-used",
        (),
        (
            "filter @type = 'REPORT'",
            "stats max(@maxMemoryUsed / 1000000) as used, max(@memorySize / 1000000) as had by @log",
        ),
    ),
)


class Dashboard(Construct):
    """One page for a deployment, from what arrives to what it costs."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        deployment: Deployment,
        stateful: StatefulStack,
        gateway: RestApi,
        functions: Mapping[str, lambda_.Function],
    ) -> None:
        """Make the dashboard and the saved questions."""
        super().__init__(scope, construct_id)
        self._deployment = deployment
        self._stateful = stateful
        self._gateway = gateway
        self._functions = functions
        cloudwatch.Dashboard(
            self,
            "Page",
            # Names of dashboards are those of the whole account, and a stage may be in many regions.
            dashboard_name=f"dicomulus-{deployment.stage}-{Aws.REGION}",
            default_interval=Duration.days(1),
            widgets=[self._arriving(), self._answering(), self._index(), self._running()],
        )
        for name, asked, lines in QUESTIONS:
            groups = [
                each.log_group.log_group_name
                for key, each in functions.items()
                if not asked or key in asked
            ]
            logs.CfnQueryDefinition(
                self,
                name,
                name=f"dicomulus/{deployment.stage}/{name}",
                query_string="\n| ".join(lines),
                log_group_names=groups,
            )

    def _own(
        self, metric: metrics.Metric, function: str, *, statistic: str = "Sum"
    ) -> cloudwatch.Metric:
        return own_metric(metric, function, deployment=self._deployment, statistic=statistic)

    def _arriving(self) -> Sequence[cloudwatch.IWidget]:
        queues = self._stateful.queues
        both = (queues.ingest, queues.compact)
        return _row(
            ("Instances indexed", [self._own(metrics.INSTANCES_INDEXED, "ingest")], []),
            (
                "Bytes indexed, objects rejected",
                [self._own(metrics.BYTES_INDEXED, "ingest")],
                [self._own(metrics.OBJECTS_REJECTED, "ingest")],
            ),
            (
                "Messages waiting, and the oldest (s)",
                [
                    each.metric_approximate_number_of_messages_visible(
                        period=PERIOD, statistic="Maximum"
                    )
                    for each in both
                ],
                [
                    each.metric_approximate_age_of_oldest_message(
                        period=PERIOD, statistic="Maximum"
                    )
                    for each in both
                ],
            ),
            (
                "Failed for good",
                [
                    each.metric_approximate_number_of_messages_visible(
                        period=PERIOD, statistic="Maximum"
                    )
                    for each in (queues.ingest_dead_letters, queues.compact_dead_letters)
                ],
                [],
            ),
        )

    def _answering(self) -> Sequence[cloudwatch.IWidget]:
        stage = self._gateway.api.deployment_stage
        read = self._functions["Read"]
        return _row(
            ("Requests", [stage.metric_count(period=PERIOD, statistic="Sum")], []),
            (
                "Time to answer (ms)",
                [stage.metric_latency(period=PERIOD, statistic=each) for each in ("p50", "p99")],
                [],
            ),
            (
                "Refused and failed",
                [
                    stage.metric_client_error(period=PERIOD, statistic="Sum"),
                    stage.metric_server_error(period=PERIOD, statistic="Sum"),
                ],
                [],
            ),
            (
                "Searches and metadata: time of the function (ms)",
                [read.metric_duration(period=PERIOD, statistic=each) for each in ("p50", "p99")],
                [],
            ),
        )

    def _index(self) -> Sequence[cloudwatch.IWidget]:
        table = self._stateful.index.table
        return _row(
            (
                "Units read and written",
                [
                    table.metric_consumed_read_capacity_units(period=PERIOD, statistic="Sum"),
                    table.metric_consumed_write_capacity_units(period=PERIOD, statistic="Sum"),
                ],
                [],
            ),
            (
                "Throttled",
                [
                    table.metric(each, period=PERIOD, statistic="Sum")
                    for each in ("ReadThrottleEvents", "WriteThrottleEvents")
                ],
                [],
            ),
            (
                "Series compacted, and found overdue",
                [self._own(metrics.SERIES_COMPACTED, "compact")],
                [self._own(metrics.COMPACTIONS_OVERDUE, "sweep")],
            ),
            (
                "From due to bundle (s)",
                [
                    self._own(metrics.COMPACTION_LAG, "compact", statistic=each)
                    for each in ("p50", "p90", "Maximum")
                ],
                [],
            ),
        )

    def _running(self) -> Sequence[cloudwatch.IWidget]:
        every = self._functions.values()
        return _row(
            (
                "Invocations",
                [each.metric_invocations(period=PERIOD, statistic="Sum") for each in every],
                [],
            ),
            (
                "Errors and throttles",
                [each.metric_errors(period=PERIOD, statistic="Sum") for each in every],
                [each.metric_throttles(period=PERIOD, statistic="Sum") for each in every],
            ),
            (
                "Time paid (ms of all invocations)",
                [each.metric_duration(period=PERIOD, statistic="Sum") for each in every],
                [],
            ),
            (
                "At the same time",
                [
                    each.metric("ConcurrentExecutions", period=PERIOD, statistic="Maximum")
                    for each in every
                ],
                [],
            ),
        )


def own_metric(
    metric: metrics.Metric,
    function: str,
    *,
    deployment: Deployment,
    statistic: str,
    period: Duration = PERIOD,
) -> cloudwatch.Metric:
    """Give a metric that a function measures itself."""
    service = metrics.service_name(function, stage=deployment.stage)
    return cloudwatch.Metric(
        namespace=metrics.NAMESPACE,
        metric_name=metric.name,
        dimensions_map={metrics.SERVICE_DIMENSION: service},
        statistic=statistic,
        period=period,
    )


def _row(
    *graphs: tuple[str, Sequence[cloudwatch.IMetric], Sequence[cloudwatch.IMetric]],
) -> Sequence[cloudwatch.IWidget]:
    """Put graphs beside each other: title, what is measured at the left, and at the right."""
    return [
        cloudwatch.GraphWidget(
            title=title,
            left=list(left),
            right=list(right),
            width=_COLUMNS // len(graphs),
            height=_HEIGHT,
        )
        for title, left, right in graphs
    ]
