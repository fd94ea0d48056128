"""The state machine of reconcile, as it is deployed, run over the deployed functions."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from dicomulus.adapters.aws import runs
from dicomulus.adapters.aws.schema import PARTITION_KEY, SORT_KEY
from dicomulus.cli.emulate.event_source import Context
from dicomulus.cli.exit_status import ERROR, FAILED
from dicomulus.cli.main import main
from dicomulus.services import derived
from dicomulus.services import reconcile as service
from dicomulus.wire.message import Request, parse_query
from infra import limits
from infra.reconciliation_states import reconciliation
from tests.support.aws import REGION
from tests.support.datasets import ct_instance, generated_study
from tests.support.deployed import BASE_URL, deployed
from tests.support.state_machine import EXECUTING, ROLE, as_moto_reads, functions_of, run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.deployed import Deployed

FUNCTION = "arn:aws:lambda:eu-central-1:123456789012:function:reconcile"


@pytest.fixture
def system(monkeypatch: pytest.MonkeyPatch) -> Iterator[Deployed]:
    # Nobody waits for objects to come of age.
    monkeypatch.setattr(service, "GRACE_SECONDS", -60)
    monkeypatch.setattr(derived, "DERIVED_AGE_SECONDS", -60)
    monkeypatch.setattr(limits, "RECONCILE_SEGMENTS", 2)
    with deployed(config=EXECUTING) as system:
        yield system


def reconcile(system: Deployed, *, storage_bucket: str = "", **wishes: Any) -> dict[str, Any]:
    definition = definition_of(system, storage_bucket=storage_bucket)
    with functions_of({"reconcile": system.handler("reconcile")}):
        return run(definition, wishes)


def report_of(system: Deployed, **wishes: Any) -> dict[str, Any]:
    done = reconcile(system, **wishes)
    assert done["status"] == "SUCCEEDED", done
    return read_report(system, json.loads(done["output"])["report"])


def read_report(system: Deployed, key: str) -> dict[str, Any]:
    bucket = system.settings.cache_bucket
    report: dict[str, Any] = json.loads(
        system.clients.s3.get_object(Bucket=bucket, Key=key)["Body"].read()
    )
    return report


def definition_of(system: Deployed, *, storage_bucket: str = "") -> dict[str, Any]:
    settings = system.settings
    return reconciliation(
        function_arn=FUNCTION,
        storage_bucket=storage_bucket or settings.storage_bucket,
        storage_prefix=settings.storage_prefix,
        cache_bucket=settings.cache_bucket,
    )


def answers(system: Deployed) -> list[Any]:
    reader = system.reader()

    def answer(path: str) -> Any:
        where, _, query = f"/dicom-web{path}".partition("?")
        asked = Request("GET", where, query=parse_query(query), base_url=BASE_URL)
        response = reader(asked)
        content = response.body
        return json.loads(content if isinstance(content, bytes) else b"".join(content))

    studies = answer("/studies?includefield=all")
    uids = [study["0020000D"]["Value"][0] for study in studies]
    return [studies, answer("/series"), *(answer(f"/studies/{uid}/metadata") for uid in uids)]


def empty_table(system: Deployed) -> None:
    client, table = system.clients.dynamodb, system.settings.table_name
    for item in client.scan(TableName=table)["Items"]:
        key = {name: item[name] for name in (PARTITION_KEY.name, SORT_KEY.name)}
        client.delete_item(TableName=table, Key=key)


def test_an_index_that_was_lost_is_made_again_from_the_bucket(system: Deployed) -> None:
    for number, content in enumerate(generated_study(series=2, instances=2)):
        system.put(f"any/where {number}.dcm", content.content)
    system.put("notes.txt", b"no DICOM")
    system.settle()
    before = answers(system)
    empty_table(system)
    assert answers(system) == [[], []]

    report = report_of(system, reason="backfill")
    system.settle()

    assert report["reason"] == "backfill"
    assert report["counts"]["object-without-row"] == 5
    assert answers(system) == before
    assert not any(report_of(system)["counts"].values())


def test_every_kind_of_difference_is_reported_and_made_good(system: Deployed) -> None:
    named: Any = {"study_instance_uid": "1.2", "series_instance_uid": "1.2.3"}
    for number in range(3):
        system.put(f"{number}.dcm", ct_instance(**named, instance_number=number))
    system.settle()
    s3, bucket = system.clients.s3, system.settings.storage_bucket
    # Nobody tells of any of this.
    s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration={})
    system.put("0.dcm", ct_instance(**named, instance_number=7))
    s3.delete_object(Bucket=bucket, Key="1.dcm")
    system.put("3.dcm", ct_instance(**named, instance_number=8))
    s3.put_object(Bucket=system.settings.cache_bucket, Key="bundles/1.9/1.9.1/x.df", Body=b"")

    told = report_of(system, repair=False)
    assert {kind: names for kind, names in told["found"].items() if names} == {
        "object-without-row": ["3.dcm"],
        "object-changed": ["0.dcm"],
        "row-without-object": ["1.dcm"],
        "derived-unneeded": ["bundles/1.9/1.9.1/x.df"],
    }
    assert told["checked"]["repairs"] == 0

    assert report_of(system)["found"] == told["found"]
    system.settle()
    # What is left of the key that is gone goes with the next run.
    assert report_of(system)["found"] == {"object-row-unneeded": ["1.dcm"]}
    assert report_of(system)["found"] == {}
    (study,), *_ = answers(system)
    assert study["00201208"]["Value"] == [3]


def test_a_scheduled_run_compares_a_share_and_all_that_is_recent(
    system: Deployed, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, content in enumerate(generated_study(series=2, instances=2)):
        system.put(f"any/{number}.dcm", content.content)
    system.settle()
    empty_table(system)
    recent = report_of(system, compare_days=365, repair=False)
    assert recent["counts"]["object-without-row"] == 4
    assert recent["compare_days"] == 365

    monkeypatch.setattr(service, "RECENT_DAYS", -1)
    old = report_of(system, compare_days=2, repair=False)
    assert old["checked"]["objects"] + old["checked"]["left"] == 4
    assert old["counts"]["object-without-row"] == old["checked"]["objects"]
    # Nobody has said otherwise.
    assert report_of(system, repair=False)["checked"]["objects"] == 4


def test_the_runs_of_successive_days_compare_everything_once(
    system: Deployed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "RECENT_DAYS", -1)
    for number, content in enumerate(generated_study(series=2, instances=2)):
        system.put(f"any/{number}.dcm", content.content)
    system.settle()
    handler, totals = system.handler("reconcile"), Counter[str]()
    asked = {"verify": False, "verify_days": 1, "compare_days": 3, "repair": False}
    for day in (1, 2, 3):
        wishes = {"run": f"{day}", "started": f"2030-01-0{day}T02:00:00Z", **asked}
        items = system.clients.s3.list_objects_v2(Bucket=system.settings.storage_bucket)["Contents"]
        listed = [{**each, "LastModified": each["LastModified"].timestamp()} for each in items]
        walk = {"segments": 2, "cursor": {"value": ""}}
        for event in (
            {"Items": listed, "BatchInput": {"task": "objects", "wishes": wishes}},
            *({"task": "rows", "wishes": wishes, "segment": each, **walk} for each in (0, 1)),
        ):
            handler(event, Context(function_name="reconcile"))
        maps: dict[str, Any] = {"failures": {}}
        event = {"task": "report", "wishes": {"reason": "any", **wishes}, "maps": maps}
        answer = handler(event, Context(function_name="reconcile"))
        totals.update(read_report(system, answer["report"])["checked"])
    assert (totals["objects"], totals["left"]) == (4, 8)
    assert (totals["rows"], totals["series"], totals["studies"]) == (4, 2, 1)


def test_what_cannot_be_done_stops_nothing_else_and_fails_the_run_after_its_report(
    system: Deployed,
) -> None:
    system.put("0.dcm", ct_instance())
    system.settle()
    done = reconcile(system, storage_bucket="not-there")
    assert (done["status"], done["error"]) == ("FAILED", "Incomplete")
    report = read_report(system, done["cause"].rpartition(" ")[2])
    assert report["incomplete"] == ["objects"]
    assert report["checked"]["rows"] == 1


def test_a_run_of_which_some_batches_failed_is_incomplete(system: Deployed) -> None:
    manifest = {"ResultFiles": {"FAILED": [{"Key": "any"}], "PENDING": [], "SUCCEEDED": []}}
    bucket = system.settings.cache_bucket
    system.clients.s3.put_object(
        Bucket=bucket, Key="reports/run/objects/m.json", Body=json.dumps(manifest)
    )
    maps = {
        "failures": {},
        "objects": {"ResultWriterDetails": {"Bucket": bucket, "Key": "reports/run/objects/m.json"}},
    }
    event = {"task": "report", "wishes": {"run": "run", "reason": "any"}, "maps": maps}
    answer = system.handler("reconcile")(event, Context(function_name="reconcile"))
    assert not answer["complete"]
    assert read_report(system, answer["report"])["incomplete"] == ["objects"]


def test_objects_are_verified_and_one_that_is_damaged_is_named(system: Deployed) -> None:
    system.put("0.dcm", ct_instance())
    system.settle()
    first = report_of(system, verify=True)
    assert (first["checked"]["verified"], first["checked"]["checksums"]) == (1, 1)
    again = report_of(system, verify=True)
    assert (again["checked"]["verified"], again["checked"]["checksums"]) == (1, 0)
    assert again["found"] == {}


def test_the_command_runs_a_deployment_and_tells_its_report(
    system: Deployed, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    system.put("0.dcm", ct_instance())
    machine = boto3.client("stepfunctions", region_name=REGION).create_state_machine(
        name="any", definition=json.dumps(as_moto_reads(definition_of(system))), roleArn=ROLE
    )
    for stack, output, value in (
        ("Service", "ReconcileStateMachine", machine["stateMachineArn"]),
        ("Stateful", "CacheBucketName", system.settings.cache_bucket),
    ):
        template = {
            "Resources": {"Any": {"Type": "AWS::SNS::Topic"}},
            "Outputs": {output: {"Value": value}},
        }
        boto3.client("cloudformation", region_name=REGION).create_stack(
            StackName=f"Dicomulus-dev-{stack}", TemplateBody=json.dumps(template)
        )
    monkeypatch.setattr(runs, "_PAUSE_SECONDS", 0.05)
    with functions_of({"reconcile": system.handler("reconcile")}):
        assert main(["reconcile", "--stage", "dev", "--dry-run"]) == FAILED
        told = capsys.readouterr().out
        assert "object-without-row: 1\n  0.dcm" in told
        assert "Nothing was changed" in told
        assert main(["reconcile", "--stage", "dev", "--json"]) == 0
    assert main(["reconcile", "--stage", "other"]) == ERROR
    assert "Dicomulus-other-Service" in capsys.readouterr().err
