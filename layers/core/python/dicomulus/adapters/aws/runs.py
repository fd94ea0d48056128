"""Runs of a deployment's state machine, started and watched by whoever looks after it."""

from __future__ import annotations

import json
import time
import uuid
from typing import TYPE_CHECKING, Any, Final

import boto3

from dicomulus.adapters.aws.failures import translated_failures
from dicomulus.adapters.aws.stack_outputs import outputs_of_stack, stack_name
from dicomulus.errors import ConfigurationError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mypy_boto3_stepfunctions import SFNClient

_MACHINE_OUTPUT: Final = "ReconcileStateMachine"
_BUCKET_OUTPUT: Final = "CacheBucketName"

_PAUSE_SECONDS: Final = 5.0


class Runs:
    """Starts runs, waits for them and reads their reports."""

    def __init__(
        self,
        *,
        stage: str,
        key_of: Callable[[str], str],
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        """Find the state machine and the cache bucket by the outputs of a stage's stacks.

        Args:
            stage: The deployment.
            key_of: Gives the key of a run's report.
            pause: Waits.

        Raises:
            ConfigurationError: One of them is not there, or nothing says who asks.
        """
        outputs = {
            **outputs_of_stack(stack_name(stage, "Service")),
            **outputs_of_stack(stack_name(stage, "Stateful")),
        }
        missing = [name for name in (_MACHINE_OUTPUT, _BUCKET_OUTPUT) if name not in outputs]
        if missing:
            raise ConfigurationError(f"the stacks of {stage} have no output {', '.join(missing)}")
        self._machine = outputs[_MACHINE_OUTPUT]
        self._bucket = outputs[_BUCKET_OUTPUT]
        self._key_of = key_of
        self._pause = pause
        with translated_failures("Step Functions"):
            self._sfn: SFNClient = boto3.client("stepfunctions")

    def start(self, wishes: Mapping[str, Any]) -> str:
        """Start a run; give its name."""
        with translated_failures("Step Functions"):
            started = self._sfn.start_execution(
                stateMachineArn=self._machine, name=str(uuid.uuid4()), input=json.dumps(wishes)
            )
        return started["executionArn"].rpartition(":")[2]

    def wait(self, run: str) -> None:
        """Wait until a run has ended, however it did."""
        arn = self._machine.replace(":stateMachine:", ":execution:") + f":{run}"
        while True:
            with translated_failures("Step Functions"):
                status = self._sfn.describe_execution(executionArn=arn)["status"]
            if status not in ("RUNNING", "PENDING_REDRIVE"):
                return
            self._pause(_PAUSE_SECONDS)

    def report(self, run: str) -> dict[str, Any]:
        """Read the report of a run that has ended.

        Raises:
            UnavailableError: It ended before it could write one.
        """
        client = boto3.client("s3")
        with translated_failures("S3"):
            try:
                body = client.get_object(Bucket=self._bucket, Key=self._key_of(run))["Body"].read()
            except client.exceptions.NoSuchKey as exc:
                raise UnavailableError(f"the run {run} has no report: see its execution") from exc
        members: dict[str, Any] = json.loads(body)
        return members
