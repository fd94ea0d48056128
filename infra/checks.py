"""The rules that the templates are held to, and how a finding is accepted with a reason.

The packs AwsSolutions and HIPAA of cdk-nag run whenever the templates are written.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from aws_cdk import Acknowledgment, Reference, Stack, Tokenization, Validations
from cdk_nag import AwsSolutionsChecks, HIPAASecurityChecks

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aws_cdk import App
    from constructs import IConstruct


def add_checks(app: App) -> None:
    """Have synthesis fail over anything that the packs find and nobody has accepted."""
    Validations.of(app).add_plugins(AwsSolutionsChecks(app), HIPAASecurityChecks(app))


def accept(construct: IConstruct, reasons: Mapping[str, str]) -> None:
    """Accept findings, by their rules, of a construct and all that it is made of."""
    Validations.of(construct).acknowledge(
        *(Acknowledgment(id=rule, reason=reason) for rule, reason in reasons.items())
    )


def accept_wildcard(role: IConstruct, resource: str, *, reason: str) -> None:
    """Accept that a role's policy names many resources by one pattern, such as a bucket's objects.

    Args:
        role: Whose policies these are.
        resource: The pattern as the policy has it.
        reason: Why it cannot be narrower.
    """
    pattern = _flat(Stack.of(role).resolve(_as_seen_from(role, resource)))
    name = f"AwsSolutions-IAM5[Resource::{pattern}]"
    # With its pack a name is compared as the CDK writes both; without, spaces are in the way.
    accept(role, {name if " " not in name else f"AwsSolutions::{name}": reason})


def _as_seen_from(scope: IConstruct, text: str) -> str:
    """Replace references to another stack by the imports that they become."""
    for token in Tokenization.reverse_string(text).tokens:
        if not Reference.is_reference(token):
            continue
        owner = Stack.of(cast("Reference", token).target)
        if owner.node.path != Stack.of(scope).node.path:
            text = text.replace(token.to_string(), owner.export_value(token.to_string()))
    return text


def _flat(value: object) -> str:
    """Write a resolved reference as cdk-nag does in the names of its findings."""
    if not isinstance(value, dict):
        return str(value).replace("${", "<").replace("}", ">")
    ((function, argument),) = value.items()
    match function:
        case "Fn::Join":
            return str(argument[0]).join(map(_flat, argument[1]))
        case "Fn::GetAtt":
            return f"<{argument[0]}.{argument[1]}>"
        case "Fn::ImportValue" | "Fn::Sub":
            return _flat(argument)
        case "Ref":
            return f"<{argument}>"
        case _:
            raise ValueError(f"a pattern with {function} has no name")
