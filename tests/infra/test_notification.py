"""Who is told of changes on AWS, by what and with which rights."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from dicomulus.adapters.aws.keys import change_key
from dicomulus.adapters.aws.limits import function_settings
from dicomulus.settings import Settings
from infra.deployment import Deployment
from tests.infra.test_template import function

if TYPE_CHECKING:
    from tests.infra.conftest import Checked, Synthesised

URL = "https://hooks.example/changes"


def test_it_follows_the_log_alone_within_seconds(hardened: Checked) -> None:
    mappings = [
        each["Properties"]
        for each in hardened.templates.resources("AWS::Lambda::EventSourceMapping").values()
        if "StartingPosition" in each["Properties"]
    ]
    (mapping,) = mappings
    assert mapping["MaximumBatchingWindowInSeconds"] <= 2
    assert mapping["MaximumRetryAttempts"] == 0
    (filtered,) = mapping["FilterCriteria"]["Filters"]
    pattern = json.loads(filtered["Pattern"])
    assert pattern["dynamodb"]["Keys"] == {"p": {"S": [change_key(1).partition]}}
    assert pattern["eventName"] == ["INSERT"]


def test_the_table_has_a_stream_of_keys_where_it_is_followed(
    hardened: Checked, synthesised: Synthesised
) -> None:
    (table,) = hardened.templates.resources("AWS::DynamoDB::Table").values()
    assert table["Properties"]["StreamSpecification"] == {"StreamViewType": "KEYS_ONLY"}
    (table,) = synthesised.resources("AWS::DynamoDB::Table").values()
    assert "StreamSpecification" not in table["Properties"]


def test_a_schedule_has_told_what_was_missed(hardened: Checked) -> None:
    rules = hardened.templates.resources("AWS::Events::Rule").values()
    (rule,) = [each for each in rules if "Notify" in json.dumps(each["Properties"]["Targets"])]
    assert rule["Properties"]["ScheduleExpression"] == "rate(1 minute)"


def test_it_may_read_its_secret_and_put_on_its_bus(hardened: Checked) -> None:
    policies = hardened.templates.resources("AWS::IAM::Policy").values()
    (policy,) = [
        each["Properties"]["PolicyDocument"]["Statement"]
        for each in policies
        if "NotifyRole" in json.dumps(each["Properties"]["Roles"])
    ]
    found = {json.dumps(each["Action"]): json.dumps(each["Resource"]) for each in policy}
    assert "secret:hook-AbCdEf" in found['"secretsmanager:GetSecretValue"']
    assert "event-bus/changes" in found['"events:PutEvents"']


def test_it_alone_is_told_to_whom(hardened: Checked) -> None:
    told = function(hardened.templates, "notify")["Environment"]["Variables"]
    assert told["DICOMULUS_WEBHOOK_URL"] == URL
    assert told["DICOMULUS_EVENT_BUS_NAME"] == "changes"
    assert "DICOMULUS_WEBHOOK_SECRET" not in told
    for name in ("ingest", "compact", "read", "store", "manage", "sweep"):
        environment = function(hardened.templates, name)["Environment"]["Variables"]
        assert not any("WEBHOOK" in key or "EVENT_BUS" in key for key in environment)


def test_nobody_is_told_unless_it_is_asked_for(synthesised: Synthesised) -> None:
    names = synthesised.resources("AWS::Lambda::Function")
    assert not any("Notify" in name for name in names)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"webhook_secret_arn": "arn:aws:secretsmanager:x"}, "there is no webhook_url"),
        ({"webhook_url": "http://hooks.example"}, "is not https"),
        ({"webhook_url": "https://me@hooks.example"}, "webhook_url"),
    ],
)
def test_a_webhook_that_cannot_be_is_refused(options: dict[str, str], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Deployment.from_context(options.get)


def test_settings_of_other_functions_leave_out_who_is_told() -> None:
    settings = Settings(webhook_url=URL, webhook_secret_arn="arn", event_bus_name="changes")
    assert function_settings("notify", settings).webhook_url == URL
    assert function_settings("compact", settings).webhook_url == ""
