"""State machines run by moto's interpreter, with handlers of this process as their functions."""

from __future__ import annotations

import io
import json
import logging
import time
import uuid
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import boto3
import moto.stepfunctions.parser.asl.component.state.exec.state_map.item_reader.eval.resource_eval_s3 as item_readers
import moto.stepfunctions.parser.asl.component.state.exec.state_task.lambda_eval_utils as tasks
import pytest

from dicomulus.cli.emulate.event_source import Context
from tests.support.aws import REGION

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Handler = Callable[[Any, Any], Any]

EXECUTING = {"stepfunctions": {"execute_state_machine": True}}
"""What moto must be told to run state machines."""

ROLE = "arn:aws:iam::123456789012:role/any"
_PATIENCE_SECONDS = 60


@contextmanager
def functions_of(handlers: dict[str, Handler]) -> Iterator[list[dict[str, Any]]]:
    """Have handlers invoked in this process where moto would want docker; gives their events."""
    invoked: list[dict[str, Any]] = []

    def invoke(parameters: dict[str, Any], region: str, state_credentials: Any) -> Any:
        event = json.loads(parameters["Payload"])
        invoked.append(event)
        name = parameters["FunctionName"].rpartition(":")[2]
        try:
            answer = handlers[name](event, Context(function_name=name))
        except Exception as exc:  # noqa: BLE001 (as the runtime of Lambda does)
            text = json.dumps({"errorType": type(exc).__name__, "errorMessage": str(exc)})
            return {"FunctionError": "Unhandled", "Payload": json.loads(text), "StatusCode": 200}
        return {"Payload": json.loads(json.dumps(answer)), "StatusCode": 200}

    # It tells at length of whatever fails, and of what it does not know.
    logging.getLogger("moto.stepfunctions").setLevel(logging.CRITICAL)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tasks, "_invoke_lambda_function", invoke)
        patch.setattr(item_readers.ResourceEvalS3, "_get_s3_client", _reading_client)
        yield invoked


class _Items:
    """Lists as Step Functions does: all pages, times in seconds, and nothing as well."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def list_objects_v2(self, **parameters: Any) -> dict[str, Any]:
        pages = self._client.get_paginator("list_objects_v2").paginate(**parameters)
        return {
            "Contents": [
                {
                    "Etag": each["ETag"],
                    "Key": each["Key"],
                    "LastModified": int(each["LastModified"].timestamp()),
                    "Size": each["Size"],
                    "StorageClass": each["StorageClass"],
                }
                for page in pages
                for each in page.get("Contents", ())
            ]
        }

    def get_object(self, **parameters: Any) -> dict[str, Any]:
        return {"Body": io.BytesIO(self._client.get_object(**parameters)["Body"].read())}


def _reading_client(*_: Any, **__: Any) -> _Items:
    return _Items(boto3.client("s3", region_name=REGION))


def as_moto_reads(definition: Any) -> Any:
    """Write a definition as moto's grammar has it.

    It knows no batches, so that each is of one item; no express executions; percentages with
    decimals alone. And nobody wants to wait for retries.
    """
    if isinstance(definition, list):
        return [as_moto_reads(each) for each in definition]
    if not isinstance(definition, dict):
        return "STANDARD" if definition == "EXPRESS" else definition
    written = {key: as_moto_reads(value) for key, value in definition.items()}
    if "ToleratedFailurePercentage" in written:
        written["ToleratedFailurePercentage"] = float(written["ToleratedFailurePercentage"])
    if "IntervalSeconds" in written:
        written |= {"IntervalSeconds": 1, "BackoffRate": 1.0}
    batcher = written.pop("ItemBatcher", None)
    if batcher:
        written["ItemSelector"] = {
            "BatchInput": batcher["BatchInput"],
            "Items.$": "States.Array($$.Map.Item.Value)",
        }
    return written


def run(definition: dict[str, Any], wishes: dict[str, Any]) -> dict[str, Any]:
    """Run a state machine to its end; gives what DescribeExecution says, and the states entered."""
    client = boto3.client("stepfunctions", region_name=REGION)
    machine = client.create_state_machine(
        name="machine",
        definition=json.dumps(as_moto_reads(definition)),
        roleArn=ROLE,
    )["stateMachineArn"]
    try:
        started = client.start_execution(
            stateMachineArn=machine, name=str(uuid.uuid4()), input=json.dumps(wishes)
        )
        arn = started["executionArn"]
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while True:
            described: dict[str, Any] = dict(client.describe_execution(executionArn=arn))
            if described["status"] != "RUNNING":
                break
            assert time.monotonic() < deadline, "the state machine does not end"
            time.sleep(0.05)
        history = client.get_execution_history(executionArn=arn, maxResults=1000)["events"]
        entered = [
            event["stateEnteredEventDetails"]["name"]
            for event in history
            if "stateEnteredEventDetails" in event
        ]
        return {**described, "entered": entered}
    finally:
        client.delete_state_machine(stateMachineArn=machine)
