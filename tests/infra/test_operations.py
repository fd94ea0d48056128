"""Alarms, dashboard, queries, budget, and what a stage leaves behind."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from dicomulus.adapters.aws.limits import MAX_RECEIVES
from infra.layers import ROOT
from tests.unit.test_docs import HEADING, anchor_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.infra.conftest import Checked, Synthesised

ALARM_METRIC_USD = 0.10
"""Price of one metric of an alarm in a month (CloudWatch)."""


@pytest.fixture(scope="module")
def alarms(open_stage: Synthesised) -> dict[str, dict[str, Any]]:
    """Every alarm by its name, without the stage."""
    found = open_stage.resources("AWS::CloudWatch::Alarm").values()
    return {
        each["Properties"]["AlarmName"].removeprefix("dicomulus-dev-"): each["Properties"]
        for each in found
    }


def functions(synthesised: Synthesised) -> set[str]:
    """Names of the functions that are not CloudFormation's own."""
    found = synthesised.resources("AWS::Lambda::Function").values()
    told = [each["Properties"]["Environment"]["Variables"] for each in found]
    names = {each["POWERTOOLS_SERVICE_NAME"].split("-")[-1] for each in told}
    return names - {"adopt", "probe", "publish"}


def test_every_alarm_names_what_to_do_where_that_stands(alarms: dict[str, Any]) -> None:
    text = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    anchors = set(map(anchor_of, HEADING.findall(text)))
    for name, alarm in alarms.items():
        said = re.fullmatch(r"(.+)\. What to do: (.+)#(.+)", alarm["AlarmDescription"])
        assert said, name
        assert said[2] == "docs/operations.md"
        assert said[3] in anchors, f"{name}: {said[3]}"


def test_every_alarm_tells_the_topic_also_when_it_is_over(
    open_stage: Synthesised, alarms: dict[str, Any]
) -> None:
    (topic,) = open_stage.resources("AWS::SNS::Topic")
    for alarm in alarms.values():
        assert alarm["AlarmActions"] == alarm["OKActions"] == [{"Ref": topic}]
    (subscription,) = open_stage.resources("AWS::SNS::Subscription").values()
    assert subscription["Properties"]["Protocol"] == "email"
    assert subscription["Properties"]["Endpoint"] == "operator@example.org"


def test_alarms_may_send_to_their_topic(open_stage: Synthesised) -> None:
    """A topic's own policy replaces the one by which SNS lets the account's alarms in."""
    (topic,) = open_stage.resources("AWS::SNS::Topic")
    (policy,) = open_stage.resources("AWS::SNS::TopicPolicy").values()
    (allowed,) = (
        each
        for each in policy["Properties"]["PolicyDocument"]["Statement"]
        if each["Effect"] == "Allow"
    )
    assert allowed["Principal"] == {"Service": "cloudwatch.amazonaws.com"}
    assert allowed["Action"] == "sns:Publish"
    assert allowed["Resource"] == {"Ref": topic}
    condition = {"StringEquals": {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}}
    assert allowed["Condition"] == condition


def test_no_data_is_no_alarm_but_of_a_schedule(alarms: dict[str, Any]) -> None:
    at_rest = {name for name, each in alarms.items() if each["TreatMissingData"] == "breaching"}
    assert "sweep-at-rest" in at_rest
    assert all(name.endswith("-at-rest") for name in at_rest)
    others = [each for name, each in alarms.items() if name not in at_rest]
    assert {each["TreatMissingData"] for each in others} == {"notBreaching"}


def test_every_queue_and_its_dead_letters_are_watched(alarms: dict[str, Any]) -> None:
    for name in ("ingest", "compact"):
        dead = alarms[f"{name}-dead-letters"]
        assert dead["MetricName"] == "ApproximateNumberOfMessagesVisible"
        assert (dead["Threshold"], dead["EvaluationPeriods"]) == (0, 1)
        assert f"{name.capitalize()}DeadLetters" in json.dumps(dead["Dimensions"])
        assert alarms[f"{name}-age"]["MetricName"] == "ApproximateAgeOfOldestMessage"


def test_a_scheduled_run_that_could_not_be_started_is_told(alarms: dict[str, Any]) -> None:
    alarm = alarms["reconciliation-not-started"]
    assert alarm["MetricName"] == "ApproximateNumberOfMessagesVisible"
    assert "ScheduleDeadLetters" in json.dumps(alarm["Dimensions"])
    assert alarm["Threshold"] == 0


def test_a_message_that_fails_is_tried_to_the_end_before_its_age_alarms(
    open_stage: Synthesised, alarms: dict[str, Any]
) -> None:
    queues = open_stage.stateful.find_resources("AWS::SQS::Queue").values()
    visibility = max(
        each["Properties"]["VisibilityTimeout"]
        for each in queues
        if "RedrivePolicy" in each["Properties"]
    )
    for name in ("ingest", "compact"):
        assert alarms[f"{name}-age"]["Threshold"] > (MAX_RECEIVES - 2) * visibility


def test_every_function_is_watched(open_stage: Synthesised, alarms: dict[str, Any]) -> None:
    wanted = functions(open_stage)
    assert {"ingest", "read"} <= wanted
    for name in wanted:
        assert f"{name}-throttles" in alarms
        expressions = [each.get("Expression") for each in alarms[f"{name}-errors"]["Metrics"]]
        assert "100 * errors / invocations" in expressions


def test_own_metrics_are_those_that_the_functions_write(
    open_stage: Synthesised, alarms: dict[str, Any]
) -> None:
    from dicomulus.adapters.aws import metrics

    written = {each.name for each in metrics.METRICS}
    services = {
        each["Properties"]["Environment"]["Variables"]["POWERTOOLS_SERVICE_NAME"]
        for each in open_stage.resources("AWS::Lambda::Function").values()
    }
    own = [each for each in alarms.values() if each.get("Namespace") == metrics.NAMESPACE]
    assert {each["MetricName"] for each in own} >= {"CompactionLag", "ObjectsRejected"}
    for each in own:
        assert each["MetricName"] in written
        (dimension,) = each["Dimensions"]
        assert dimension["Name"] == metrics.SERVICE_DIMENSION
        assert dimension["Value"] in services


def test_alarms_cost_what_the_document_says(alarms: dict[str, Any]) -> None:
    text = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    told = re.search(r"Alarms and queries cost at most USD (\d+) a month", text)
    assert told
    watched = sum(
        sum("MetricStat" in metric for metric in each.get("Metrics", [])) or 1
        for each in alarms.values()
    )
    assert watched * ALARM_METRIC_USD <= int(told[1])


def lines_of(value: Any) -> Iterator[str]:
    """Every text within a value."""
    if isinstance(value, str):
        yield value
    for each in value.values() if isinstance(value, dict) else value:
        if not isinstance(value, str):
            yield from lines_of(each)


def test_the_dashboard_shows_arrivals_answers_index_and_functions(open_stage: Synthesised) -> None:
    (dashboard,) = open_stage.resources("AWS::CloudWatch::Dashboard").values()
    # Of the whole account, and a stage may be in many regions.
    assert {"Ref": "AWS::Region"} in dashboard["Properties"]["DashboardName"]["Fn::Join"][1]
    shown = "".join(lines_of(dashboard["Properties"]["DashboardBody"]))
    for metric in (
        "InstancesIndexed",
        "ApproximateAgeOfOldestMessage",
        "ObjectsRejected",
        "Latency",
        "5XXError",
        "ConsumedWriteCapacityUnits",
        "WriteThrottleEvents",
        "CompactionLag",
        "Duration",
    ):
        assert f'"{metric}"' in shown


def test_saved_queries_ask_for_what_is_logged(open_stage: Synthesised) -> None:
    asked = [
        each["Properties"] for each in open_stage.resources("AWS::Logs::QueryDefinition").values()
    ]
    assert {each["Name"].split("/")[-1] for each in asked} >= {"what-failed", "slow-answers"}
    sources = [*ROOT.glob("layers/core/python/dicomulus/**/*.py"), *ROOT.glob("functions/*/*.py")]
    code = "".join(path.read_text(encoding="utf-8") for path in sources)
    for each in asked:
        assert each["LogGroupNames"]
        for message in re.findall(r"message = '([^']+)'", each["QueryString"]):
            assert f'"{message}"' in code


def test_a_budget_counts_what_the_stage_costs(open_stage: Synthesised) -> None:
    (budget,) = open_stage.resources("AWS::Budgets::Budget").values()
    told = budget["Properties"]["Budget"]
    assert told["BudgetLimit"] == {"Amount": 50, "Unit": "USD"}
    assert told["CostFilters"] == {"TagKeyValue": ["user:dicomulus-stage$dev"]}
    (function, *_) = open_stage.resources("AWS::Lambda::Function").values()
    assert {"Key": "dicomulus-stage", "Value": "dev"} in function["Properties"]["Tags"]


def test_a_budget_needs_somebody_to_tell() -> None:
    from infra.deployment import Deployment

    with pytest.raises(ValueError, match="alarm_email"):
        Deployment.from_context({"monthly_budget_usd": "50"}.get)


# --- what is kept and what goes -----------------------------------------------------------------


def test_every_log_is_kept_for_a_time(open_stage: Synthesised, synthesised: Synthesised) -> None:
    for stage in (open_stage, synthesised):
        groups = stage.resources("AWS::Logs::LogGroup").values()
        assert groups
        for group in groups:
            assert group["Properties"]["RetentionInDays"] == 90
        # No function logs to a group that Lambda makes by itself and keeps for ever.
        for function in stage.resources("AWS::Lambda::Function").values():
            assert function["Properties"]["LoggingConfig"]["LogGroup"]


LASTING = {"AWS::S3::Bucket", "AWS::DynamoDB::Table", "AWS::Logs::LogGroup", "AWS::KMS::Key"}


def test_a_stage_that_keeps_its_data_keeps_data_and_logs(synthesised: Synthesised) -> None:
    for kind in LASTING:
        for name, each in synthesised.resources(kind).items():
            assert each["DeletionPolicy"] == "Retain", name


def test_a_development_stage_leaves_only_what_the_document_names(open_stage: Synthesised) -> None:
    text = (ROOT / "docs" / "deployment.md").read_text(encoding="utf-8")
    section = text.split("## Remove")[1].split("\n## ")[0]
    kept = {
        each["Type"]
        for template in (open_stage.stateful, open_stage.service)
        for each in template.to_json()["Resources"].values()
        if each.get("DeletionPolicy") == "Retain"
        # Versions of a layer that nothing uses cost nothing.
    }
    assert kept <= {"AWS::S3::Bucket", "AWS::IAM::Role", "AWS::ApiGateway::Account"}
    buckets = open_stage.resources("AWS::S3::Bucket")
    (lasting,) = (name for name, each in buckets.items() if each["DeletionPolicy"] == "Retain")
    assert "AccessLogs" in lasting
    assert "log of access" in section


# --- a copy elsewhere -----------------------------------------------------------------------------


def test_copies_outlive_what_is_deleted(hardened: Checked) -> None:
    (copied,) = (
        each["Properties"]
        for each in hardened.templates.resources("AWS::S3::Bucket").values()
        if "ReplicationConfiguration" in each["Properties"]
    )
    assert copied["VersioningConfiguration"] == {"Status": "Enabled"}
    (rule,) = copied["ReplicationConfiguration"]["Rules"]
    assert rule["Destination"]["Bucket"] == "arn:aws:s3:::copies-elsewhere"
    assert rule["DeleteMarkerReplication"] == {"Status": "Disabled"}
    # Objects under a key are copied only where that is said, and under a key.
    encrypted = rule["SourceSelectionCriteria"]["SseKmsEncryptedObjects"]
    assert encrypted == {"Status": "Enabled"}
    assert rule["Destination"]["EncryptionConfiguration"]["ReplicaKmsKeyID"]


def test_s3_copies_by_a_role_that_writes_there_alone(hardened: Checked) -> None:
    (role,) = (
        name
        for name, each in hardened.templates.resources("AWS::IAM::Role").items()
        if "s3.amazonaws.com" in json.dumps(each["Properties"]["AssumeRolePolicyDocument"])
    )
    (policy,) = (
        each["Properties"]
        for each in hardened.templates.resources("AWS::IAM::Policy").values()
        if {"Ref": role} in each["Properties"]["Roles"]
    )
    for statement in policy["PolicyDocument"]["Statement"]:
        if "s3:ReplicateObject" in statement["Action"]:
            assert statement["Resource"] == "arn:aws:s3:::copies-elsewhere/*"
        assert "s3:ReplicateDelete" not in statement["Action"]


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"replica_bucket_arn": "copies"}, "is no ARN"),
        ({"replica_bucket_arn": "arn:aws:s3:::c", "adopt_bucket": "theirs"}, "its owner"),
        ({"replica_bucket_arn": "arn:aws:s3:::c", "kms": "customer"}, "replica_kms_key_arn"),
        ({"replica_bucket_arn": "arn:aws:s3:::c", "replica_kms_key_arn": "k"}, "no others"),
    ],
)
def test_copies_that_cannot_be_made_are_refused(given: dict[str, str], why: str) -> None:
    from infra.deployment import Deployment

    with pytest.raises(ValueError, match=why):
        Deployment.from_context(given.get)
