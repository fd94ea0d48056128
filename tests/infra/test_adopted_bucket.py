"""What the templates say where a bucket that exists is adopted."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from infra.deployment import Deployment
from infra.rights import RIGHTS
from tests.infra.conftest import checked
from tests.infra.test_template import actions, function, statements

if TYPE_CHECKING:
    from tests.infra.conftest import Checked, Synthesised

BUCKET = "hospital-archive"
PREFIX = "DICOM archive/ü+(1)/"
KEY = "arn:aws:kms:eu-central-1:123456789012:key/0d2a3a3a-b6ee-9c5d-8fcf-6c0d7a7a0c3f"


@pytest.fixture(scope="module")
def adopting(_node: None, tmp_path_factory: pytest.TempPathFactory) -> Checked:
    """Give the templates of a stage over somebody's bucket, a part of it, under their key."""
    context = {
        "stage": "prod",
        "adopt_bucket": BUCKET,
        "adopt_bucket_kms_key_arn": KEY,
        "storage_prefix": PREFIX,
    }
    return checked(context, tmp_path_factory.mktemp("adopting"))


@pytest.fixture(scope="module")
def templates(adopting: Checked) -> Synthesised:
    return adopting.templates


def logical(reference: dict[str, Any]) -> str:
    """Give the logical name that a reference names."""
    return str(reference["Ref"] if "Ref" in reference else reference["Fn::GetAtt"][0])


def rule(templates: Synthesised) -> tuple[str, dict[str, Any]]:
    """Give the rule of the bucket's events, by its logical name."""
    ((name, found),) = templates.stateful.find_resources("AWS::Events::Rule").items()
    return name, found["Properties"]


def test_the_rules_of_good_practice_hold_as_for_a_bucket_of_our_own(adopting: Checked) -> None:
    assert adopting.findings == []


def test_no_storage_bucket_is_made_and_nothing_of_the_adopted_one_is_a_resource(
    templates: Synthesised,
) -> None:
    """The deployment may go, too, and the bucket does not notice."""
    buckets = templates.resources("AWS::S3::Bucket")
    assert not [name for name in buckets if "StorageBucket" in name]
    assert BUCKET not in json.dumps(buckets)
    assert BUCKET not in json.dumps(templates.resources("AWS::S3::BucketPolicy"))


def test_the_rule_takes_what_changes_objects_under_the_prefix_as_it_is_written(
    templates: Synthesised,
) -> None:
    _, properties = rule(templates)
    pattern = properties["EventPattern"]
    assert pattern["source"] == ["aws.s3"]
    assert {"Object Created", "Object Deleted"} <= set(pattern["detail-type"])
    assert pattern["detail"]["bucket"] == {"name": [BUCKET]}
    assert pattern["detail"]["object"] == {"key": [{"prefix": PREFIX}]}


def test_events_go_to_the_queue_of_ingest_or_are_kept(templates: Synthesised) -> None:
    _, properties = rule(templates)
    (target,) = properties["Targets"]
    queues = templates.stateful.find_resources("AWS::SQS::Queue")
    assert "IngestQueue" in logical(target["Arn"])
    assert logical(target["DeadLetterConfig"]["Arn"]) in queues
    assert target["RetryPolicy"]["MaximumEventAgeInSeconds"] == 86_400
    kept = queues[logical(target["DeadLetterConfig"]["Arn"])]["Properties"]
    assert kept["MessageRetentionPeriod"] == 14 * 86_400


def test_only_this_rule_may_send_to_the_queues(templates: Synthesised) -> None:
    name, properties = rule(templates)
    allowed = [
        (logical(statement["Resource"]), statement)
        for policy in templates.resources("AWS::SQS::QueuePolicy").values()
        for statement in policy["Properties"]["PolicyDocument"]["Statement"]
        if statement["Effect"] == "Allow"
    ]
    (target,) = properties["Targets"]
    assert {queue for queue, _ in allowed} == {
        logical(target["Arn"]),
        logical(target["DeadLetterConfig"]["Arn"]),
    }
    for _, statement in allowed:
        assert statement["Principal"] == {"Service": "events.amazonaws.com"}
        assert statement["Action"] == "sqs:SendMessage"
        (arn,) = statement["Condition"]["ArnEquals"].values()
        assert logical(arn) == name


def test_what_is_kept_is_found_by_redrive(templates: Synthesised) -> None:
    from dicomulus.adapters.aws.redrive import OUTPUTS

    outputs = templates.stateful.find_outputs("*")
    for _, url, target in OUTPUTS:
        assert {url, target} <= set(outputs)


def test_the_function_that_adopts_may_change_notifications_of_one_bucket_and_nothing_else(
    templates: Synthesised,
) -> None:
    granted = {
        (action, json.dumps(statement["Resource"]))
        for statement in statements(templates, "prod-adopt")
        for action in actions(statement)
        if not action.startswith(("logs:", "xray:", "states:"))
    }
    assert {action for action, _ in granted} == {
        "s3:GetBucketNotification",
        "s3:GetBucketVersioning",
        "s3:GetEncryptionConfiguration",
        "s3:ListBucket",
        "s3:PutBucketNotification",
    }
    (resource,) = {resource for _, resource in granted}
    assert f":s3:::{BUCKET}" in resource
    assert "*" not in resource


def test_what_is_in_the_bucket_is_indexed_once_all_that_does_so_is_there(
    templates: Synthesised,
) -> None:
    (machine,) = templates.resources("AWS::StepFunctions::StateMachine")
    (asked,) = templates.resources("Custom::AdoptedBucket").values()
    assert asked["Properties"]["StateMachineArn"] == {"Ref": machine}
    template = templates.service.to_json()["Resources"]
    before = {template[name]["Type"] for name in asked["DependsOn"]}
    assert machine in asked["DependsOn"]
    assert {"AWS::IAM::Policy", "AWS::Lambda::EventSourceMapping"} <= before
    role = function(templates, "prod-adopt")["Role"]["Fn::GetAtt"][0]
    further = [
        each["Properties"]["PolicyDocument"]["Statement"]
        for each in templates.resources("AWS::IAM::Policy").values()
        if {"Ref": role} in each["Properties"]["Roles"]
    ]
    assert further == [
        [{"Action": "states:StartExecution", "Effect": "Allow", "Resource": {"Ref": machine}}]
    ]


def test_no_probe_is_scheduled_where_nothing_may_be_written(templates: Synthesised) -> None:
    """The one at the deployment says that nothing was proven."""
    assert templates.resources("Custom::PathProbe")
    assert not [name for name in templates.resources("AWS::Events::Rule") if "Probe" in name]


def test_the_deployment_asks_for_the_bucket_that_functions_are_told(
    templates: Synthesised,
) -> None:
    (asked,) = templates.resources("Custom::AdoptedBucket").values()
    properties = asked["Properties"]
    assert properties["Bucket"] == BUCKET
    assert properties["Prefix"] == PREFIX
    assert properties["KmsKeyArn"] == KEY
    adopt = function(templates, "prod-adopt")
    assert int(properties["ServiceTimeout"]) > adopt["Timeout"]
    for name in RIGHTS:
        told = function(templates, f"prod-{name}")["Environment"]["Variables"]
        assert told["DICOMULUS_STORAGE_BUCKET"] == BUCKET
        assert told["DICOMULUS_STORAGE_PREFIX"] == PREFIX


@pytest.mark.parametrize("name", sorted(RIGHTS))
def test_nobody_writes_or_deletes_in_the_bucket_unless_that_is_asked_for(
    templates: Synthesised, name: str
) -> None:
    for statement in statements(templates, f"prod-{name}"):
        if BUCKET in json.dumps(statement["Resource"]):
            assert set(actions(statement)) <= {"s3:GetObject", "s3:ListBucket"}
    told = function(templates, f"prod-{name}")["Environment"]["Variables"]
    assert "DICOMULUS_ALLOW_STORE" not in told


def of_key(templates: Synthesised, name: str) -> set[str]:
    """Give what a function may do with the key, always by way of S3."""
    found = set()
    for statement in statements(templates, f"prod-{name}"):
        if statement["Resource"] == KEY:
            (via,) = statement["Condition"]["StringEquals"].values()
            assert via["Fn::Join"][1][0] == "s3."
            found |= set(actions(statement))
    return found


def test_who_reads_objects_may_decrypt_and_nobody_else(templates: Synthesised) -> None:
    readers = {name for name, rights in RIGHTS.items() if "s3:GetObject" in rights.storage}
    assert {"ingest", "read", "render"} <= readers
    for name in (*RIGHTS, "adopt"):
        assert of_key(templates, name) == ({"kms:Decrypt"} if name in readers else set())


# --- what one can ask for ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"adopt_bucket": "Not A Bucket"}, "adopt_bucket"),
        ({"adopt_bucket": "s3://b"}, "adopt_bucket"),
        ({"adopt_bucket": BUCKET, "adopt_bucket_kms_key_arn": "alias/k"}, "kms_key_arn"),
        ({"adopt_bucket_kms_key_arn": KEY}, "without adopt_bucket"),
        ({"adopt_bucket_store": "true"}, "without adopt_bucket"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_deployed(
    given: dict[str, str], named: str
) -> None:
    with pytest.raises(ValueError, match=named):
        Deployment.from_context(given.get)


def test_a_bucket_of_our_own_is_stored_into_and_an_adopted_one_where_that_is_said() -> None:
    assert Deployment().stores
    assert not Deployment(adopt_bucket=BUCKET).stores
    assert Deployment(adopt_bucket=BUCKET, adopt_bucket_store=True).stores
