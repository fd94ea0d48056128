"""A webhook and an event bus take changes whole, in order, and without anything of a patient."""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from dicomulus.adapters import webhook
from dicomulus.adapters.aws import secrets
from dicomulus.adapters.aws.event_bus import EventBus
from dicomulus.adapters.published import published
from dicomulus.adapters.webhook import SIGNATURE_HEADER, Webhook, signature
from dicomulus.dicom.orthanc_id import orthanc_id
from dicomulus.dicom.resource import PatientResource
from dicomulus.errors import ConfigurationError, UnavailableError
from dicomulus.ports import Change, ChangeType
from tests.support.aws import REGION, moto_aws
from tests.support.builders import instance_of, series_of
from tests.support.receiver import Received, receiving

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dicomulus.ports import ChangedResource

SECRET = "between us"
NOW = 1_800_000_000


def change(
    sequence: int, resource: ChangedResource, kind: ChangeType = ChangeType.NEW_SERIES
) -> Change:
    return Change(
        type=kind,
        resource=resource,
        version=1,
        date_ms=1_700_000_000_123,
        sequence=sequence,
        patient_id="SECRET-ID",
    )


CHANGES = (
    change(1, instance_of(), ChangeType.NEW_INSTANCE),
    change(2, series_of()),
    change(3, "1.2.1", ChangeType.NEW_STUDY),
    change(4, PatientResource("SECRET-ID"), ChangeType.NEW_PATIENT),
)


@pytest.fixture
def received() -> Iterator[Received]:
    """A receiver on loopback."""
    with receiving() as got:
        yield got


def hook(received: Received, secret: str = SECRET) -> Webhook:
    return Webhook(received.url, secret=lambda: secret, now=lambda: NOW)


def test_what_is_told_of_a_change_names_no_patient() -> None:
    assert published(CHANGES[0]) == {
        "sequence": 1,
        "type": "NewInstance",
        "date": "2023-11-14T22:13:20.123+00:00",
        "level": "Instance",
        "id": orthanc_id("SECRET-ID", instance_of()),
        "study_instance_uid": instance_of().study_instance_uid,
        "series_instance_uid": instance_of().series_instance_uid,
        "sop_instance_uid": instance_of().sop_instance_uid,
    }
    patient = published(CHANGES[3])
    assert set(patient) == {"sequence", "type", "date", "level", "id"}
    assert "SECRET" not in json.dumps([published(each) for each in CHANGES])


def test_a_webhook_gets_changes_of_a_log_in_one_request(received: Received) -> None:
    hook(received).send(CHANGES, log="log-1")
    ((headers, body),) = received.requests
    assert headers["Content-Type"] == "application/json"
    assert json.loads(body) == {
        "log": "log-1",
        "changes": [published(each) for each in CHANGES],
    }


def test_a_receiver_sees_that_a_request_is_ours_whole_and_of_now(received: Received) -> None:
    hook(received).send(CHANGES, log="log-1")
    ((headers, body),) = received.requests
    expected = hmac.new(SECRET.encode(), f"{NOW}.".encode() + body, hashlib.sha256).hexdigest()
    assert headers[SIGNATURE_HEADER] == f"t={NOW},v1={expected}"
    assert signature(SECRET, body + b" ", at=NOW) != headers[SIGNATURE_HEADER]
    assert signature("other", body, at=NOW) != headers[SIGNATURE_HEADER]


def test_without_a_secret_nothing_is_signed(received: Received) -> None:
    hook(received, secret="").send(CHANGES, log="log-1")
    assert SIGNATURE_HEADER not in received.requests[0][0]


@pytest.mark.parametrize("status", [302, 307, 400, 410, 429, 500, 503])
def test_another_answer_than_success_is_none(received: Received, status: int) -> None:
    received.statuses = [status]
    with pytest.raises(UnavailableError, match=str(status)):
        hook(received).send(CHANGES, log="log-1")
    assert len(received.requests) == 1


def test_a_receiver_that_is_not_there_is_told_without_its_address(received: Received) -> None:
    with receiving() as gone:
        pass
    with pytest.raises(UnavailableError) as caught:
        hook(gone).send(CHANGES, log="log-1")
    assert "127.0.0.1" not in str(caught.value)


def test_a_receiver_that_does_not_answer_in_time_has_not_taken_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(webhook, "TIMEOUT_SECONDS", 0.05)
    silent = Webhook("http://127.0.0.1:1")
    with pytest.raises(UnavailableError):
        silent.send(CHANGES, log="log-1")


# --- EventBridge ---------------------------------------------------------------------------------


class Bus:
    """Takes events as EventBridge does, but for some that fail."""

    def __init__(self) -> None:
        self.taken: list[dict[str, Any]] = []
        self.calls: list[int] = []
        self.failing: list[int] = []

    def put_events(self, *, Entries: list[dict[str, Any]]) -> dict[str, Any]:
        self.calls.append(len(Entries))
        failed = {self.failing.pop(0)} if self.failing else set()
        outcomes: list[dict[str, str]] = []
        for place, entry in enumerate(Entries):
            if place in failed:
                outcomes.append({"ErrorCode": "InternalFailure", "ErrorMessage": "no"})
            else:
                self.taken.append(entry)
                outcomes.append({"EventId": str(len(self.taken))})
        return {"FailedEntryCount": len(failed), "Entries": outcomes}

    @property
    def sequences(self) -> list[int]:
        return [json.loads(entry["Detail"])["sequence"] for entry in self.taken]


def test_a_change_is_an_event_of_its_type() -> None:
    bus = Bus()
    EventBus("changes", client=bus).send(CHANGES, log="log-1")
    assert [entry["DetailType"] for entry in bus.taken] == [each.type.value for each in CHANGES]
    assert {entry["Source"] for entry in bus.taken} == {"dicomulus"}
    assert {entry["EventBusName"] for entry in bus.taken} == {"changes"}
    assert json.loads(bus.taken[0]["Detail"]) == {"log": "log-1", **published(CHANGES[0])}


def test_a_call_has_ten_events_at_most() -> None:
    bus = Bus()
    many = [change(number, series_of(1, number)) for number in range(25)]
    EventBus("changes", client=bus).send(many, log="log-1")
    assert bus.calls == [10, 10, 5]


def test_events_that_failed_are_put_again() -> None:
    bus = Bus()
    bus.failing = [1, 0]
    EventBus("changes", client=bus).send(CHANGES, log="log-1")
    assert bus.calls == [4, 1, 1]
    assert sorted(bus.sequences) == [1, 2, 3, 4]


def test_events_of_one_resource_arrive_in_their_order_although_one_failed() -> None:
    bus = Bus()
    bus.failing = [0]
    again = [change(number, series_of(1, number % 2)) for number in range(1, 9)]
    EventBus("changes", client=bus).send(again, log="log-1")
    odd = [each for each in bus.sequences if each % 2]
    assert odd == sorted(odd)
    assert sorted(bus.sequences) == list(range(1, 9))


def test_events_that_go_on_failing_are_an_error() -> None:
    bus = Bus()
    bus.failing = [0] * 99
    with pytest.raises(UnavailableError):
        EventBus("changes", client=bus).send(CHANGES[:1], log="log-1")


def test_a_bus_of_eventbridge_takes_them() -> None:
    with moto_aws():
        events = boto3.client("events", region_name=REGION)
        bus = events.create_event_bus(Name="changes")["EventBusArn"]
        events.create_archive(ArchiveName="all", EventSourceArn=bus)
        EventBus("changes", client=events).send(CHANGES, log="log-1")
        assert events.describe_archive(ArchiveName="all")["EventCount"] == len(CHANGES)


def test_a_secret_is_read_once_in_a_while() -> None:
    with moto_aws():
        manager = boto3.client("secretsmanager", region_name=REGION)
        arn = manager.create_secret(Name="hook", SecretString=SECRET)["ARN"]
        assert secrets.secret_text(arn) == SECRET
        manager.delete_secret(SecretId=arn, ForceDeleteWithoutRecovery=True)
        assert secrets.secret_text(arn) == SECRET
        with pytest.raises(ConfigurationError):
            secrets.secret_text(arn + "x")
