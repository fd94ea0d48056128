"""What tells an operator how a deployment is: alarms, their topic, a dashboard, queries, a budget.

Each alarm names the section of docs/operations.md that says what to do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from aws_cdk import Aws, CfnOutput, Duration, Stack
from aws_cdk import aws_budgets as budgets
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sns_subscriptions as subscriptions
from aws_cdk import aws_sqs as sqs
from aws_cdk import aws_stepfunctions as stepfunctions
from constructs import Construct

from dicomulus.adapters.aws import metrics
from dicomulus.adapters.aws.schema import TABLE_SCHEMA
from infra.checks import accept
from infra.dashboard import PERIOD, Dashboard, own_metric
from infra.limits import SWEEP_MINUTES

if TYPE_CHECKING:
    from aws_cdk import aws_kms as kms

    from infra.deployment import Deployment
    from infra.rest_api import RestApi
    from infra.stateful_stack import StatefulStack

RUNBOOK: Final = "docs/operations.md"

OF_DEPLOYMENTS: Final = ("Adopt", "Probe", "Publish")
"""Functions that CloudFormation calls: it is told of their failures and ends the deployment."""

_OPERATIONS: Final = ("GetItem", "Query", "PutItem", "UpdateItem", "BatchWriteItem")


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """One alarm: what is watched, and from when on somebody has to look."""

    name: str
    metric: cloudwatch.IMetric
    above: float
    """Value that a data point must be over to count."""
    periods: int = 1
    """Data points that are looked at."""
    counting: int = 1
    """So many of these must be over it."""
    text: str
    section: str
    """Heading of the runbook, as an anchor."""
    is_heartbeat: bool = False
    """Whether no data at all, or a value that is not over it, is what is wrong."""


class Operations(Construct):
    """The alarms of a deployment and whom they tell."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        deployment: Deployment,
        stateful: StatefulStack,
        gateway: RestApi,
        key: kms.IKey | None = None,
    ) -> None:
        """Watch what the stack holds so far; so it is made last.

        Args:
            scope: Whose part this is.
            construct_id: Its name there.
            deployment: What is deployed.
            stateful: The queues and the table.
            gateway: What answers requests.
            key: What encrypts the topic, if not SNS itself.
        """
        super().__init__(scope, construct_id)
        self._deployment = deployment
        self._stateful = stateful
        self._gateway = gateway
        every = Stack.of(self).node.find_all()
        self._functions = {
            each.node.id: each
            for each in every
            if isinstance(each, lambda_.Function) and each.node.id not in OF_DEPLOYMENTS
        }
        self._machines = [each for each in every if isinstance(each, stepfunctions.StateMachine)]
        self._unstarted = [
            each
            for each in every
            if isinstance(each, sqs.Queue) and each.node.id == "ScheduleDeadLetters"
        ]
        self.topic = self._topic(key)
        for watch in self._watches():
            self._alarm(watch)
        Dashboard(
            self,
            "Dashboard",
            deployment=deployment,
            stateful=stateful,
            gateway=gateway,
            functions=self._functions,
        )
        if deployment.monthly_budget_usd:
            self._budget()
        CfnOutput(Stack.of(self), "AlarmTopicArn", value=self.topic.topic_arn)

    # --- whom they tell --------------------------------------------------------------------------

    def _topic(self, key: kms.IKey | None) -> sns.Topic:
        topic = sns.Topic(
            self,
            "Alarms",
            display_name=f"Dicomulus {self._deployment.stage}",
            master_key=key,
            enforce_ssl=True,
        )
        # A policy of one's own, and what refuses plain HTTP is one, replaces SNS's own, by which
        # the account's alarms are let in.
        topic.add_to_resource_policy(
            iam.PolicyStatement(
                sid="AlarmsOfThisAccount",
                principals=[iam.ServicePrincipal("cloudwatch.amazonaws.com")],
                actions=["sns:Publish"],
                resources=[topic.topic_arn],
                conditions={"StringEquals": {"aws:SourceAccount": Aws.ACCOUNT_ID}},
            )
        )
        if self._deployment.alarm_email:
            topic.add_subscription(subscriptions.EmailSubscription(self._deployment.alarm_email))
        if key is None:
            reason = (
                "CloudWatch cannot send to a topic under the key that AWS manages, and alarms hold "
                "names of metrics alone; kms=customer takes a key of the customer's"
            )
            accept(topic, {"HIPAA.Security-SNSEncryptedKMS": reason, "AwsSolutions-SNS2": reason})
        return topic

    def _alarm(self, watch: Watch) -> None:
        operators, missing = cloudwatch.ComparisonOperator, cloudwatch.TreatMissingData
        alarm = cloudwatch.Alarm(
            self,
            watch.name,
            alarm_name=f"dicomulus-{self._deployment.stage}-{watch.name}",
            alarm_description=f"{watch.text}. What to do: {RUNBOOK}#{watch.section}",
            metric=watch.metric,
            threshold=watch.above,
            comparison_operator=(
                operators.LESS_THAN_OR_EQUAL_TO_THRESHOLD
                if watch.is_heartbeat
                else operators.GREATER_THAN_THRESHOLD
            ),
            evaluation_periods=watch.periods,
            datapoints_to_alarm=watch.counting,
            # A queue or function that has nothing to do says nothing.
            treat_missing_data=(missing.BREACHING if watch.is_heartbeat else missing.NOT_BREACHING),
        )
        action = actions.SnsAction(self.topic)
        alarm.add_alarm_action(action)
        alarm.add_ok_action(action)

    def _budget(self) -> None:
        deployment = self._deployment
        told = [
            budgets.CfnBudget.SubscriberProperty(
                address=deployment.alarm_email, subscription_type="EMAIL"
            )
        ]
        budgets.CfnBudget(
            self,
            "Budget",
            budget=budgets.CfnBudget.BudgetDataProperty(
                budget_name=f"dicomulus-{deployment.stage}-{Aws.REGION}",
                budget_type="COST",
                time_unit="MONTHLY",
                budget_limit=budgets.CfnBudget.SpendProperty(
                    amount=deployment.monthly_budget_usd, unit="USD"
                ),
                cost_filters={"TagKeyValue": [f"user:dicomulus-stage${deployment.stage}"]},
            ),
            notifications_with_subscribers=[
                budgets.CfnBudget.NotificationWithSubscribersProperty(
                    notification=budgets.CfnBudget.NotificationProperty(
                        comparison_operator="GREATER_THAN",
                        notification_type=kind,
                        threshold=percent,
                        threshold_type="PERCENTAGE",
                    ),
                    subscribers=told,
                )
                # Spent so far, and what the month will end with.
                for kind, percent in (("ACTUAL", 80), ("ACTUAL", 100), ("FORECASTED", 100))
            ],
        )

    # --- what is watched -------------------------------------------------------------------------

    def _watches(self) -> list[Watch]:
        return [
            *self._of_queues(),
            *self._of_functions(),
            *self._of_answers(),
            *self._of_index(),
            *self._of_path(),
            *self._of_work(),
            *self._of_comparison(),
            *self._of_machines(),
        ]

    def _of_queues(self) -> list[Watch]:
        queues = self._stateful.queues
        dead_letters = {
            output.removesuffix("DeadLettersUrl").lower(): queue
            for output, queue in self._stateful.queues_by_output.items()
            if output.endswith("DeadLettersUrl")
        }
        return [
            *(
                Watch(
                    name=f"{name}-dead-letters",
                    metric=_visible(queue),
                    above=0,
                    text=f"Messages to {name} have failed for good",
                    section="what-failed-for-good",
                )
                for name, queue in dead_letters.items()
            ),
            # A message that failed comes again after nine minutes, and a backlog that three
            # quarters of an hour have not drained grows.
            *(
                Watch(
                    name=f"{name}-age",
                    metric=queue.metric_approximate_age_of_oldest_message(
                        period=PERIOD, statistic="Maximum"
                    ),
                    above=45 * 60,
                    periods=3,
                    counting=3,
                    text=f"A message to {name} has waited for over 45 minutes",
                    section="queue-age",
                )
                for name, queue in (("ingest", queues.ingest), ("compact", queues.compact))
            ),
        ]

    def _of_functions(self) -> list[Watch]:
        found = []
        for name, function in self._functions.items():
            rate = cloudwatch.MathExpression(
                expression="100 * errors / invocations",
                using_metrics={
                    "errors": function.metric_errors(period=PERIOD, statistic="Sum"),
                    "invocations": function.metric_invocations(period=PERIOD, statistic="Sum"),
                },
                label=f"{name}: failed, %",
                period=PERIOD,
            )
            errors = Watch(
                name=f"{name.lower()}-errors",
                metric=rate,
                # One failure is tried again; two periods of three are no accident.
                above=5,
                periods=3,
                counting=2,
                text=f"Over 5 % of the invocations of {name.lower()} fail",
                section="function-errors",
            )
            throttles = Watch(
                name=f"{name.lower()}-throttles",
                metric=function.metric_throttles(period=PERIOD, statistic="Sum"),
                above=0,
                periods=3,
                counting=2,
                text=f"Lambda refuses to start {name.lower()}",
                section="throttles",
            )
            # To Lambda a 401 is a failure. What else fails there is a 503 of the gateway's.
            found += [throttles] if name == "Authorize" else [errors, throttles]
        return [*found, self._of_concurrency()]

    def _of_concurrency(self) -> Watch:
        usage = cloudwatch.Metric(
            namespace="AWS/Usage",
            metric_name="ResourceCount",
            dimensions_map={
                "Service": "Lambda",
                "Resource": "ConcurrentExecutions",
                "Type": "Resource",
                "Class": "None",
            },
            statistic="Maximum",
            period=PERIOD,
        )
        return Watch(
            name="concurrency",
            metric=cloudwatch.MathExpression(
                expression="100 * usage / SERVICE_QUOTA(usage)",
                using_metrics={"usage": usage},
                label="Concurrent functions of the account, % of its quota",
                period=PERIOD,
            ),
            above=80,
            periods=2,
            counting=2,
            text="The account runs over 80 % of the functions that it may run at a time",
            section="throttles",
        )

    def _of_answers(self) -> list[Watch]:
        stage = self._gateway.api.deployment_stage
        read = self._functions["Read"]
        return [
            Watch(
                name="answers-5xx",
                metric=stage.metric_server_error(period=PERIOD, statistic="Average"),
                above=0.01,
                periods=3,
                counting=2,
                text="Over 1 % of the requests are answered with 5xx",
                section="answers",
            ),
            # A broad search goes on for 20 s; one request in a hundred should be no such search.
            Watch(
                name="read-p99",
                metric=read.metric_duration(period=PERIOD, statistic="p99"),
                above=10_000,
                periods=3,
                counting=3,
                text="One in a hundred searches or metadata answers takes over 10 s",
                section="answers",
            ),
        ]

    def _of_index(self) -> list[Watch]:
        table = self._stateful.index.table
        events = {
            "reads": table.metric("ReadThrottleEvents", statistic="Sum", period=PERIOD),
            "writes": table.metric("WriteThrottleEvents", statistic="Sum", period=PERIOD),
        }
        for number, index in enumerate(TABLE_SCHEMA.indexes):
            events[f"index{number}"] = cloudwatch.Metric(
                namespace="AWS/DynamoDB",
                metric_name="WriteThrottleEvents",
                dimensions_map={
                    "TableName": table.table_name,
                    "GlobalSecondaryIndexName": index.name,
                },
                statistic="Sum",
                period=PERIOD,
            )
        return [
            # One study of over 900 instances a second is throttled till its partition splits.
            Watch(
                name="index-throttles",
                metric=cloudwatch.MathExpression(
                    expression=f"SUM([{', '.join(events)}])",
                    using_metrics=events,
                    label="Throttled requests of the index",
                    period=PERIOD,
                ),
                above=1_000,
                periods=6,
                counting=4,
                text="The index is throttled for twenty minutes",
                section="index",
            ),
            Watch(
                name="index-errors",
                metric=cloudwatch.MathExpression(
                    expression=f"SUM([{', '.join(name.lower() for name in _OPERATIONS)}])",
                    using_metrics={
                        name.lower(): table.metric(
                            "SystemErrors",
                            statistic="Sum",
                            period=PERIOD,
                            dimensions_map={"TableName": table.table_name, "Operation": name},
                        )
                        for name in _OPERATIONS
                    },
                    label="Errors of DynamoDB's own",
                    period=PERIOD,
                ),
                above=10,
                periods=3,
                counting=2,
                text="DynamoDB answers with errors of its own",
                section="index",
            ),
        ]

    def _of_path(self) -> list[Watch]:
        if not (self._deployment.probe_hours and self._deployment.stores):
            return []
        return [
            Watch(
                name="probe-failed",
                metric=self._own(metrics.PROBES_FAILED, "probe", statistic="Sum"),
                above=0,
                text="An object that was put as a probe was not answered",
                section="probe",
            )
        ]

    def _of_work(self) -> list[Watch]:
        sweep = self._functions["Sweep"]
        return [
            # A series is compacted seconds after its last change. Older ones are read from rows.
            Watch(
                name="compaction-lag",
                metric=self._own(metrics.COMPACTION_LAG, "compact", statistic="p90"),
                above=600,
                periods=3,
                counting=3,
                text="One in ten series waits for over ten minutes for its bundle",
                section="compaction",
            ),
            Watch(
                name="compactions-overdue",
                metric=self._own(metrics.COMPACTIONS_OVERDUE, "sweep", statistic="Sum"),
                above=0,
                periods=6,
                counting=4,
                text="Compactions are found overdue again and again",
                section="compaction",
            ),
            # Somebody puts in what is no DICOM, or a sender has changed.
            Watch(
                name="objects-rejected",
                metric=self._own(
                    metrics.OBJECTS_REJECTED, "ingest", statistic="Sum", period=Duration.hours(1)
                ),
                above=100,
                text="Over 100 objects in an hour are no instances",
                section="rejected",
            ),
            Watch(
                name="sweep-at-rest",
                metric=sweep.metric_invocations(
                    period=Duration.minutes(SWEEP_MINUTES * 3), statistic="Sum"
                ),
                above=0,
                text=f"The schedule has not called sweep for {SWEEP_MINUTES * 3} minutes",
                section="schedules",
                is_heartbeat=True,
            ),
        ]

    def _of_comparison(self) -> list[Watch]:
        hour, day = Duration.hours(1), Duration.days(1)
        return [
            Watch(
                name="objects-damaged",
                metric=self._own(
                    metrics.OBJECTS_DAMAGED, "reconcile", statistic="Sum", period=hour
                ),
                above=0,
                text="The bytes of an object are not those of its checksum any more",
                section="reconcile-and-verify",
            ),
            # Some events are lost, which is what the comparison is for.
            Watch(
                name="reconcile-findings",
                metric=self._own(
                    metrics.RECONCILE_FINDINGS, "reconcile", statistic="Maximum", period=day
                ),
                above=100,
                text="Storage area and index differed in over 100 places",
                section="findings",
            ),
        ]

    def _of_machines(self) -> list[Watch]:
        return [
            *(
                Watch(
                    name=f"{queue.node.path.split('/')[1].lower()}-not-started",
                    metric=_visible(queue),
                    above=0,
                    text="A scheduled run of a state machine could not be started",
                    section="schedules",
                )
                for queue in self._unstarted
            ),
            *map(_failed, self._machines),
        ]

    def _own(
        self,
        metric: metrics.Metric,
        function: str,
        *,
        statistic: str,
        period: Duration = PERIOD,
    ) -> cloudwatch.Metric:
        return own_metric(
            metric, function, deployment=self._deployment, statistic=statistic, period=period
        )


def _visible(queue: sqs.Queue) -> cloudwatch.Metric:
    return queue.metric_approximate_number_of_messages_visible(period=PERIOD, statistic="Maximum")


def _failed(machine: stepfunctions.StateMachine) -> Watch:
    return Watch(
        name=f"{machine.node.path.split('/')[1].lower()}-failed",
        metric=cloudwatch.MathExpression(
            expression="SUM([failed, timedout])",
            using_metrics={
                "failed": machine.metric_failed(period=PERIOD, statistic="Sum"),
                "timedout": machine.metric_timed_out(period=PERIOD, statistic="Sum"),
            },
            label="Runs that failed",
            period=PERIOD,
        ),
        above=0,
        text="A run of a state machine has failed",
        section="schedules",
    )
