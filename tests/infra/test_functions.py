"""How the functions are set up: their logs, traces, and what they are told."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from infra.limits import UNTRACED
from infra.rights import TRACE
from tests.support.lambda_folder import SERVICE

if TYPE_CHECKING:
    from tests.infra.conftest import Synthesised

MAX_ENVIRONMENT_BYTES = 4_096
"""Bytes of all variables of a function (Lambda's quota)."""

LONGEST_TEXT = "x" * 128
"""Longer than any name or URL that is put in for a reference at deployment."""


@pytest.fixture(scope="module")
def functions(synthesised: Synthesised) -> dict[str, dict[str, Any]]:
    """Give the properties of all functions that log by Powertools, by the name they log under."""
    found = (each["Properties"] for each in synthesised.resources("AWS::Lambda::Function").values())
    named = (each for each in found if SERVICE in _variables(each))
    return {_variables(each)[SERVICE]: each for each in named if "dicomulus-prod-" in str(each)}


def _variables(properties: dict[str, Any]) -> dict[str, Any]:
    variables: dict[str, Any] = properties.get("Environment", {}).get("Variables", {})
    return variables


def test_functions_of_two_stages_do_not_log_under_one_name(
    functions: dict[str, dict[str, Any]],
) -> None:
    assert "dicomulus-prod-read" in functions
    assert "dicomulus-prod-ingest" in functions


def test_logs_are_lines_of_json_in_the_function_s_own_group(
    functions: dict[str, dict[str, Any]],
) -> None:
    for properties in functions.values():
        assert properties["LoggingConfig"]["LogFormat"] == "JSON"
        assert properties["LoggingConfig"]["ApplicationLogLevel"] == "INFO"
    groups = {json.dumps(each["LoggingConfig"]["LogGroup"]) for each in functions.values()}
    assert len(groups) == len(functions)


def test_what_answers_requests_is_not_traced_for_each_of_them(
    functions: dict[str, dict[str, Any]],
) -> None:
    modes = {name: each["TracingConfig"]["Mode"] for name, each in functions.items()}
    untraced = {f"dicomulus-prod-{name}" for name in UNTRACED}
    assert {name for name, mode in modes.items() if mode == "PassThrough"} == (
        untraced & modes.keys()
    )
    assert {modes[name] for name in modes.keys() - untraced} == {"Active"}


def test_functions_may_say_what_they_are_traced_by(
    functions: dict[str, dict[str, Any]], synthesised: Synthesised
) -> None:
    roles = synthesised.resources("AWS::IAM::Role")
    for properties in functions.values():
        role = roles[properties["Role"]["Fn::GetAtt"][0]]["Properties"]
        allowed = json.dumps(role["Policies"])
        assert all(action in allowed for action in TRACE)


def test_a_circle_of_messages_ends(functions: dict[str, dict[str, Any]]) -> None:
    for properties in functions.values():
        assert properties["RecursiveLoop"] == "Terminate"


def test_what_a_function_is_told_fits_and_is_no_secret(
    functions: dict[str, dict[str, Any]],
) -> None:
    for name, properties in functions.items():
        variables = _variables(properties)
        told = {
            key: value if isinstance(value, str) else LONGEST_TEXT
            for key, value in variables.items()
        }
        size = sum(len(key) + len(value) for key, value in told.items())
        assert size < MAX_ENVIRONMENT_BYTES, name
        for key in told:
            assert not any(word in key for word in ("SECRET", "PASSWORD", "TOKEN")), key


def test_no_function_takes_a_share_of_the_account_s_concurrency(
    functions: dict[str, dict[str, Any]], synthesised: Synthesised
) -> None:
    """A new account has 10 in all; what queues start is bounded where they are read."""
    for properties in functions.values():
        assert "ReservedConcurrentExecutions" not in properties
    mappings = synthesised.resources("AWS::Lambda::EventSourceMapping").values()
    assert mappings
    for mapping in mappings:
        assert mapping["Properties"]["ScalingConfig"]["MaximumConcurrency"] >= 2
