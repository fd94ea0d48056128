"""The templates' roles hold what the functions were seen to need, on the very resources.

What they need is what ``infra.rights`` lists: ``tests/integration/test_functions_rights.py`` shows of
each right there that its function needs it, and that it needs no other.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import pytest

from dicomulus.dicom.own_keys import OWN_PREFIX
from infra.rights import BUCKET_ACTIONS, CHANGES_FORMS, ORTHANC_RIGHTS, RIGHTS
from tests.infra.conftest import HARDENED
from tests.infra.test_template import actions, statements

if TYPE_CHECKING:
    from tests.infra.conftest import Checked, Synthesised

KINDS: Final = {
    "CacheBucket": "cache",
    "CompactDeadLetters": "compact_dead_letters",
    "CompactQueue": "compact",
    "IndexTable": "table",
    "IngestDeadLetters": "ingest_dead_letters",
    "IngestQueue": "ingest",
    "StorageBucket": "storage",
}
"""Part of a resource's logical name, and what the rights call it."""

_EXPORTED: Final = re.compile(r"ExportsOutputFnGetAtt(?:Storage|Changes|Index)(\w+?)[0-9A-F]{8}Arn")

# Lambda's pollers use the role of the function that they feed.
BY_LAMBDA: Final = ("sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ReceiveMessage")

# A bucket that is gone may be made again, under its name, by anybody.
OF_THIS_ACCOUNT: Final = {"StringEquals": {"aws:ResourceAccount": {"Ref": "AWS::AccountId"}}}

OF_BUCKETS: Final = frozenset(
    action for rights in RIGHTS.values() for action in (*rights.storage, *rights.cache)
)

OF_EVERY_FUNCTION: Final = frozenset(
    {
        "logs:CreateLogStream",
        "logs:PutLogEvents",
        "xray:PutTelemetryRecords",
        "xray:PutTraceSegments",
    }
)


def resource_of(value: Any) -> str:
    """Write a resource as its kind, and what of it."""
    if isinstance(value, str):
        return value
    if "Ref" in value:
        return {"AWS::StackId": "stack"}[value["Ref"]]
    if "Fn::Join" in value:
        return "".join(map(resource_of, value["Fn::Join"][1]))
    exported = _EXPORTED.search(value["Fn::ImportValue"])
    assert exported, value
    name = exported[1] if exported[1] != "Table" else "IndexTable"
    return KINDS[name]


def granted(templates: Synthesised, name: str) -> set[tuple[str, str]]:
    """Give actions and resources of a function's role, but for what every function has."""
    found: set[tuple[str, str]] = set()
    for statement in statements(templates, name):
        given = set(actions(statement))
        if given <= OF_EVERY_FUNCTION or all(each.startswith("kms:") for each in given):
            continue
        # With another condition it might not be a right when it is needed.
        condition = {"Condition": OF_THIS_ACCOUNT} if given & OF_BUCKETS else {}
        assert statement == statement | {"Effect": "Allow"} | condition
        assert statement.keys() == {"Action", "Effect", "Resource", *condition}
        assert isinstance(statement["Resource"], (str, dict))
        found |= {(action, resource_of(statement["Resource"])) for action in given}
    return found


def needed(
    name: str, *, prefix: str = "", deletes: bool = False, attaches: bool = True
) -> set[tuple[str, str]]:
    """Give actions and resources that a function needs where nothing else is asked for."""
    rights = (RIGHTS | ORTHANC_RIGHTS)[name]
    found = {(action, "table") for action in rights.table}
    found |= {(action, "table/index/*") for action in rights.indexes}
    of_objects = {"storage": f"storage/{prefix}{rights.storage_keys}*", "cache": "cache/*"}
    for kind, given in (("storage", rights.storage), ("cache", rights.cache)):
        for action in given:
            if (action, kind, name) == ("s3:DeleteObject", "storage", "manage") and not deletes:
                continue
            found.add((action, kind if action in BUCKET_ACTIONS else of_objects[kind]))
    if attaches:
        found |= {(action, f"storage/{prefix}{OWN_PREFIX}*") for action in rights.own}
    found |= {("sqs:SendMessage", queue) for queue in rights.send_to}
    found |= {(action, queue) for queue in rights.receive_from for action in BY_LAMBDA}
    found |= {("sqs:GetQueueAttributes", queue) for queue in rights.looks_at}
    found |= {(action, "stack") for action in rights.stack}
    return found


@pytest.mark.parametrize("name", sorted(RIGHTS))
def test_a_role_holds_what_its_function_needs_and_nothing_else(
    synthesised: Synthesised, name: str
) -> None:
    assert granted(synthesised, name) == needed(name, attaches=False)


@pytest.mark.parametrize("name", sorted(RIGHTS | ORTHANC_RIGHTS))
def test_deletion_and_a_prefix_change_what_they_must_alone(
    open_stage: Synthesised, name: str
) -> None:
    assert granted(open_stage, name) == needed(name, prefix="archive/", deletes=True)


@pytest.mark.parametrize("name", sorted(RIGHTS | ORTHANC_RIGHTS))
def test_more_protection_takes_no_right_and_adds_those_to_the_key_alone(
    hardened: Checked, name: str
) -> None:
    deletes = HARDENED["allow_delete"] == "true"
    changes_form = HARDENED["storage_compression"] == "true" and name in CHANGES_FORMS
    takes_back = {("s3:DeleteObject", "storage/*")} if changes_form else set()
    assert granted(hardened.templates, name) == needed(name, deletes=deletes) | takes_back


def test_every_function_is_accounted_for(synthesised: Synthesised) -> None:
    """A new one needs rights, and a test that shows them to be needed."""
    names = {
        each["Properties"]["Environment"]["Variables"]["POWERTOOLS_SERVICE_NAME"].split("-")[-1]
        for each in synthesised.resources("AWS::Lambda::Function").values()
    }
    assert names == set(RIGHTS)


def test_the_bucket_may_send_to_the_queue_that_it_is_told_to_tell_and_nobody_else(
    synthesised: Synthesised,
) -> None:
    policies = synthesised.resources("AWS::SQS::QueuePolicy").values()
    senders = [
        (statement["Principal"]["Service"], statement["Condition"])
        for policy in policies
        for statement in policy["Properties"]["PolicyDocument"]["Statement"]
        if statement["Effect"] == "Allow"
    ]
    assert [service for service, _ in senders] == ["s3.amazonaws.com"]
    ((_, condition),) = senders
    assert set(condition) == {"ArnEquals", "StringEquals"}
