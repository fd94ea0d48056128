"""What the stacks of a deployment tell of themselves: their outputs, by which commands find its parts."""

from __future__ import annotations

from typing import Literal

import boto3
from botocore.exceptions import ClientError

from dicomulus.adapters.aws.failures import translated_failures
from dicomulus.errors import ConfigurationError

StackKind = Literal["Stateful", "Service"]
"""What holds data, and what answers and follows."""


def stack_name(stage: str, kind: StackKind) -> str:
    """Give the name of a stack of a deployment."""
    return f"Dicomulus-{stage}-{kind}"


def outputs_of_stack(name: str) -> dict[str, str]:
    """Give the values of a stack's outputs by their names.

    Raises:
        ConfigurationError: There is no such stack, or it may not be asked.
    """
    try:
        with translated_failures("CloudFormation"):
            stacks = boto3.client("cloudformation").describe_stacks(StackName=name)["Stacks"]
    except (ClientError, ConfigurationError) as exc:
        raise ConfigurationError(f"the stack {name}: {exc}") from exc
    return {
        each.get("OutputKey", ""): each.get("OutputValue", "")
        for each in stacks[0].get("Outputs", ())
    }
