"""What the templates say of the state machine that compares the storage area with the index."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from dicomulus.services.run_reports import REPORTS_PREFIX
from infra import limits
from infra.deployment import Deployment
from infra.reconciliation import scheduled_wishes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.infra.conftest import Synthesised


def text_of(value: Any) -> str:
    """Give a text of the template, references by their names."""
    if isinstance(value, str):
        return value
    ((kind, argument),) = value.items()
    return "".join(map(text_of, argument[1])) if kind == "Fn::Join" else f"<{argument}>"


def machine(synthesised: Synthesised) -> dict[str, Any]:
    """Give the properties of the state machine."""
    (found,) = synthesised.resources("AWS::StepFunctions::StateMachine").values()
    properties: dict[str, Any] = found["Properties"]
    return properties


def definition(synthesised: Synthesised) -> dict[str, Any]:
    """Give its definition."""
    parsed: dict[str, Any] = json.loads(text_of(machine(synthesised)["DefinitionString"]))
    return parsed


def states(of: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Walk all states of a machine, those of its maps as well."""
    for state in of["States"].values():
        yield state
        if "ItemProcessor" in state:
            yield from states(state["ItemProcessor"])


def statements(synthesised: Synthesised) -> list[dict[str, Any]]:
    """Give the statements of its role."""
    role = machine(synthesised)["RoleArn"]["Fn::GetAtt"][0]
    return [
        statement
        for policy in synthesised.resources("AWS::IAM::Policy").values()
        if {"Ref": role} in policy["Properties"]["Roles"]
        for statement in policy["Properties"]["PolicyDocument"]["Statement"]
    ]


def test_every_task_invokes_the_one_function_and_is_tried_again(synthesised: Synthesised) -> None:
    tasks = [each for each in states(definition(synthesised)) if each["Type"] == "Task"]
    assert len(tasks) == 6
    assert len({task["Parameters"]["FunctionName"] for task in tasks}) == 1
    assert all(task["Retry"] for task in tasks)


def test_what_one_map_cannot_do_stops_no_other(synthesised: Synthesised) -> None:
    maps = [each for each in states(definition(synthesised)) if each["Type"] == "Map"]
    assert len(maps) == 5
    for each in maps:
        (catch,) = each["Catch"]
        assert catch["Next"] == each["Next"]
        assert each["MaxConcurrency"] == limits.RECONCILE_PARALLEL


def test_a_batch_fits_the_input_and_the_time_of_an_express_execution(
    synthesised: Synthesised,
) -> None:
    batched = [each for each in states(definition(synthesised)) if "ItemBatcher" in each]
    assert len(batched) == 4
    for each in batched:
        assert each["ItemBatcher"]["MaxInputBytesPerBatch"] < 262_144
        processor = each["ItemProcessor"]
        assert processor["ProcessorConfig"]["ExecutionType"] == "EXPRESS"
        (task,) = processor["States"].values()
        assert task["TimeoutSeconds"] < 300


def test_a_walk_of_rows_may_take_as_long_as_it_needs(synthesised: Synthesised) -> None:
    rows = definition(synthesised)["States"]["Rows"]["ItemProcessor"]
    assert rows["ProcessorConfig"]["ExecutionType"] == "STANDARD"
    assert rows["States"]["IsWalked"]["Default"] == "CompareRows"


def test_the_machine_may_read_listings_and_write_results_and_nothing_else(
    synthesised: Synthesised,
) -> None:
    on_objects = [
        statement for statement in statements(synthesised) if "s3:PutObject" in statement["Action"]
    ]
    (results,) = on_objects
    assert text_of(results["Resource"]).endswith(f"/{REPORTS_PREFIX}*")
    everything = json.dumps(statements(synthesised))
    assert "s3:DeleteObject" not in everything
    assert "dynamodb:" not in everything


def test_runs_are_logged_without_the_keys_of_objects(synthesised: Synthesised) -> None:
    logging = machine(synthesised)["LoggingConfiguration"]
    assert logging["IncludeExecutionData"] is False
    assert logging["Level"] == "ALL"
    assert machine(synthesised)["TracingConfiguration"] == {"Enabled": True}


def test_it_runs_daily_and_a_start_that_fails_is_kept(synthesised: Synthesised) -> None:
    (schedule,) = synthesised.resources("AWS::Scheduler::Schedule").values()
    properties = schedule["Properties"]
    assert properties["ScheduleExpression"] == "cron(0 2 * * ? *)"
    assert json.loads(properties["Target"]["Input"]) == {
        "reason": "scheduled",
        "verify": True,
        "verify_days": 30,
        "compare_days": 7,
        "repair": True,
    }
    assert properties["Target"]["DeadLetterConfig"]


@pytest.mark.parametrize(
    ("verify_days", "compare_days", "asked"), [(30, 7, 7), (0, 7, 7), (3, 7, 3), (7, 7, 7)]
)
def test_what_is_verified_is_compared_by_then(
    verify_days: int, compare_days: int, asked: int
) -> None:
    wishes = scheduled_wishes(Deployment(verify_days=verify_days, compare_days=compare_days))
    assert wishes["compare_days"] == asked
    assert wishes["verify"] == (verify_days > 0)


def test_reports_go_after_a_while(synthesised: Synthesised) -> None:
    rules = [
        rule
        for bucket in synthesised.resources("AWS::S3::Bucket").values()
        for rule in bucket["Properties"].get("LifecycleConfiguration", {}).get("Rules", ())
        if rule.get("Prefix") == REPORTS_PREFIX
    ]
    assert [rule["ExpirationInDays"] for rule in rules] == [30]
