"""The functions over a bucket that was adopted: its events come by EventBridge, and are as good."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from dicomulus.adapters.aws.probe_target import HoldUps, S3Target
from dicomulus.composition import aws_archive
from dicomulus.services.probe import Patience, Probe
from dicomulus.settings import Settings
from dicomulus.wire.message import Request
from tests.support.datasets import ct_instance
from tests.support.deployed import BASE_URL, deployed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.deployed import Deployed

PREFIX = "radiology archive/"


@pytest.fixture(scope="module")
def shared() -> Iterator[Deployed]:
    with deployed(adopt=True, storage_prefix=PREFIX) as system:
        yield system


@pytest.fixture
def system(shared: Deployed) -> Iterator[Deployed]:
    """A deployment over part of somebody's bucket; it is empty again after each test."""
    yield shared
    s3, bucket = shared.clients.s3, shared.settings.storage_bucket
    for each in s3.list_objects_v2(Bucket=bucket).get("Contents", ()):
        s3.delete_object(Bucket=bucket, Key=each["Key"])
    shared.settle()


def patients(system: Deployed) -> list[str]:
    """Give the Patient IDs of all studies, as the reading function answers."""
    response = system.reader()(Request("GET", "/dicom-web/studies", base_url=BASE_URL))
    assert isinstance(response.body, bytes)
    return sorted(study["00100020"]["Value"][0] for study in json.loads(response.body))


KEYS = ("plain.dcm", "Müller/ä ö.dcm", "a+b.dcm", "100%.dcm", "a%2Bb%20.dcm", "日本/é", "dicom/x")


def test_objects_under_any_key_are_answered_and_gone(system: Deployed) -> None:
    """What looks like an escape in such a key is the key's own."""
    for number, key in enumerate(KEYS):
        system.put(
            PREFIX + key, ct_instance(patient_id=f"P{number}", study_instance_uid=f"1.{number}")
        )
    system.settle()
    assert patients(system) == [f"P{number}" for number in range(len(KEYS))]
    for key in KEYS[1:]:
        system.clients.s3.delete_object(Bucket=system.settings.storage_bucket, Key=PREFIX + key)
    system.settle()
    assert patients(system) == ["P0"]


def test_the_objects_stay_as_they_are(system: Deployed) -> None:
    """Not moved, not rewritten, nothing beside them."""
    content = ct_instance()
    system.put(PREFIX + "a.dcm", content)
    s3, bucket = system.clients.s3, system.settings.storage_bucket
    before = s3.head_object(Bucket=bucket, Key=PREFIX + "a.dcm")
    system.settle()
    listed = s3.list_objects_v2(Bucket=bucket)["Contents"]
    assert [each["Key"] for each in listed] == [PREFIX + "a.dcm"]
    after = s3.get_object(Bucket=bucket, Key=PREFIX + "a.dcm")
    assert after["Body"].read() == content
    assert (after["ETag"], after["LastModified"]) == (before["ETag"], before["LastModified"])


def test_what_lies_outside_the_prefix_is_not_even_sent(system: Deployed) -> None:
    system.put("elsewhere/a.dcm", ct_instance())
    system.put(PREFIX.strip("/") + "2/a.dcm", ct_instance())
    answer = system.clients.sqs.receive_message(QueueUrl=system.settings.ingest_queue_url)
    assert "Messages" not in answer


def test_an_object_that_is_replaced_is_answered_anew(system: Deployed) -> None:
    for patient_id in ("first", "second"):
        system.put(PREFIX + "a.dcm", ct_instance(patient_id=patient_id))
        system.settle()
        assert patients(system) == [patient_id]


def test_a_probe_proves_the_way_by_eventbridge(system: Deployed) -> None:
    settings = system.settings
    with system.environment_of("probe"):
        archive = aws_archive(Settings.from_env(), index_here=False)
    seconds: list[float] = [0.0]

    def work(_: float) -> None:
        seconds[0] += 1
        system.settle()

    probe = Probe(
        archive,
        S3Target(settings.storage_bucket, prefix=PREFIX, client=system.clients.s3),
        base_url=BASE_URL,
        hold_up=HoldUps({"ingest": settings.ingest_queue_url}, {}, client=system.clients.sqs),
        now=lambda: seconds[0],
        sleep=work,
    )
    assert probe.run(Patience()).bundle_seconds > 0
    assert patients(system) == []


def test_an_event_of_eventbridge_that_comes_twice_counts_once(system: Deployed) -> None:
    system.put(PREFIX + "a.dcm", ct_instance())
    sqs, url = system.clients.sqs, system.settings.ingest_queue_url
    (message,) = sqs.receive_message(QueueUrl=url, VisibilityTimeout=0)["Messages"]
    event: Any = json.loads(message["Body"])
    assert event["source"] == "aws.s3"
    sqs.send_message(QueueUrl=url, MessageBody=message["Body"])
    system.settle()
    assert len(patients(system)) == 1
