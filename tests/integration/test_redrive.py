"""``dicomulus redrive``: dead letters are listed with their reasons, and moved back on demand."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from moto import mock_aws

from dicomulus.adapters.aws.dead_letters import DeadLetters
from dicomulus.adapters.aws.limits import MAX_RECEIVES
from dicomulus.adapters.aws.redrive import OUTPUTS, subjects_of
from dicomulus.cli.exit_status import ERROR
from dicomulus.cli.main import main
from dicomulus.errors import UnavailableError
from tests.support.aws import REGION

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True)
class Queues:
    """The queues of a stage ``dev``."""

    sqs: Any
    ingest: str
    ingest_dead: str
    compact_dead: str

    def fail(self, body: str, reason: str) -> None:
        """Let ingest fail of a message for good."""
        record = {
            "messageId": "1",
            "body": body,
            "attributes": {
                "ApproximateReceiveCount": str(MAX_RECEIVES),
                "SentTimestamp": "1772435649000",
            },
        }

        def handle() -> None:
            raise UnavailableError(reason)

        DeadLetters(self.ingest_dead, "ingest", client=self.sqs).explain(record, handle)

    def waiting(self, url: str) -> list[str]:
        """Give the bodies in a queue, and leave them there."""
        answer = self.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, VisibilityTimeout=0)
        return [message["Body"] for message in answer.get("Messages", ())]


@pytest.fixture
def queues(monkeypatch: pytest.MonkeyPatch) -> Iterator[Queues]:
    """The queues, named by a stack as a deployment names them."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    with mock_aws():
        sqs = boto3.client("sqs", region_name=REGION)
        urls = {}
        for name in ("Ingest", "Compact"):
            dead = sqs.create_queue(QueueName=f"{name}-dead")["QueueUrl"]
            arn = sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])
            redrive = {
                "deadLetterTargetArn": arn["Attributes"]["QueueArn"],
                "maxReceiveCount": MAX_RECEIVES,
            }
            urls[f"{name}QueueUrl"] = sqs.create_queue(
                QueueName=name, Attributes={"RedrivePolicy": json.dumps(redrive)}
            )["QueueUrl"]
            urls[f"{name}DeadLettersUrl"] = dead
        template = {
            "Resources": {"Any": {"Type": "AWS::SNS::Topic"}},
            "Outputs": {name: {"Value": url} for name, url in urls.items()},
        }
        boto3.client("cloudformation", region_name=REGION).create_stack(
            StackName="Dicomulus-dev-Stateful", TemplateBody=json.dumps(template)
        )
        yield Queues(
            sqs, urls["IngestQueueUrl"], urls["IngestDeadLettersUrl"], urls["CompactDeadLettersUrl"]
        )


def look_at(*keys: str) -> str:
    return json.dumps({"look_at_objects": keys})


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[str]:
    assert main(["redrive", *arguments]) == 0
    return capsys.readouterr().out.splitlines()


def test_what_failed_is_told_with_its_reason_and_stays(
    queues: Queues, capsys: pytest.CaptureFixture[str]
) -> None:
    queues.fail(look_at("a/b.dcm"), "S3: SlowDown")
    queues.sqs.send_message(
        QueueUrl=queues.compact_dead, MessageBody='{"compact_series":["1.2","1.2.3"]}'
    )
    for _ in range(2):
        lines = told(capsys)
        assert lines[:3] == [
            "ingest:",
            "  unavailable: S3: SlowDown (first sent 2026-03-02 07:14:09 UTC)",
            "    a/b.dcm",
        ]
        assert lines[3] == "compact:"
        assert "timed out or crashed" in lines[4]
        assert lines[5] == "    1.2/1.2.3"
        assert lines[-1].startswith("2 messages in 2 dead-letter queues; nothing was moved")
    assert queues.waiting(queues.ingest) == []


def test_what_is_wanted_goes_back_and_the_rest_stays(
    queues: Queues, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(12):
        queues.fail(look_at(f"{number:02d}.dcm"), "S3: SlowDown" if number % 2 else "S3: Other")
    assert (
        told(capsys, "--only", "SlowDown", "--limit", "2", "--move")[-1] == "2 messages moved back"
    )
    assert told(capsys, "--only", "SlowDown", "--move")[-1] == "4 messages moved back"
    assert told(capsys, "--only", "02.dcm", "--move")[-1] == "1 message moved back"
    bodies = set(queues.waiting(queues.ingest))
    assert bodies == {look_at(f"{number:02d}.dcm") for number in (1, 2, 3, 5, 7, 9, 11)}
    assert told(capsys)[-1].startswith("5 messages in 2")


def test_programs_are_told_everything(queues: Queues, capsys: pytest.CaptureFixture[str]) -> None:
    queues.fail(look_at("a", "b"), "S3: SlowDown")
    (line,) = told(capsys, "--queue", queues.ingest_dead, "--json")
    letter = json.loads(line)
    assert letter["reason"] == "unavailable: S3: SlowDown"
    assert letter["subjects"] == ["a", "b"]
    assert letter["moved"] is False
    assert "receipt_handle" not in letter


def test_a_queue_by_its_url_goes_back_to_the_one_before_it(
    queues: Queues, capsys: pytest.CaptureFixture[str]
) -> None:
    queues.fail(look_at("a"), "S3: SlowDown")
    told(capsys, "--queue", queues.ingest_dead, "--move")
    assert queues.waiting(queues.ingest) == [look_at("a")]


def test_what_eventbridge_could_not_send_tells_why(
    queues: Queues, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is before that queue, so that one has to say where its messages go."""
    url = queues.sqs.create_queue(QueueName="rule")["QueueUrl"]
    event = {"source": "aws.s3", "detail": {"bucket": {"name": "b"}, "object": {"key": "a +%.dcm"}}}
    given = {"ERROR_CODE": "NO_PERMISSIONS", "ERROR_MESSAGE": "not authorised"}
    queues.sqs.send_message(
        QueueUrl=url,
        MessageBody=json.dumps(event),
        MessageAttributes={
            name: {"DataType": "String", "StringValue": value} for name, value in given.items()
        },
    )
    assert main(["redrive", "--queue", url]) == ERROR
    assert "--to" in capsys.readouterr().err
    lines = told(capsys, "--queue", url, "--to", queues.ingest, "--move")
    assert "not sent by EventBridge: NO_PERMISSIONS: not authorised" in lines[1]
    assert lines[2] == "    a +%.dcm"
    assert queues.waiting(queues.ingest) == [json.dumps(event)]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--stage", "none"], "Dicomulus-none-Stateful"),
        (["--queue", f"https://sqs.{REGION}.amazonaws.com/123456789012/none"], "/none"),
    ],
)
def test_what_is_not_there_is_named(
    queues: Queues, arguments: list[str], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["redrive", *arguments]) == ERROR
    error = capsys.readouterr().err
    assert named in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("body", "subjects"),
    [
        ('{"stabilise_series":["1.2","1.2.3",7]}', ("1.2/1.2.3",)),
        ('{"Records":[{"s3":{"object":{"key":"a+b%2Bc"}}}]}', ("a b+c",)),
        ('{"Event":"s3:TestEvent"}', ()),
        ("no JSON", ()),
        ("[]", ()),
    ],
)
def test_the_subjects_of_any_message(body: str, subjects: tuple[str, ...]) -> None:
    assert subjects_of(body) == subjects


def test_outputs_name_every_queue_once() -> None:
    assert len({url for _, url, _ in OUTPUTS}) == len(OUTPUTS)
