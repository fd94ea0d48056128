"""The functions as they are deployed, over moto: what they do with batches, and what they are told."""

from __future__ import annotations

import json
import logging
import sys
from io import BytesIO
from typing import TYPE_CHECKING, Any

import pytest
import requests

from dicomulus.cli.emulate.event_source import Context
from dicomulus.composition import aws_archive
from dicomulus.errors import (
    DeleteForbiddenError,
    InstanceGoneError,
    SeriesGoneError,
    StudyGoneError,
    UnavailableError,
)
from dicomulus.settings import Settings
from dicomulus.wire.message import Headers, Request
from tests.support.datasets import ct_instance
from tests.support.deployed import BASE_URL, deployed
from tests.support.serving import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dicomulus.wire.message import Response
    from tests.support.deployed import Deployed

STUDIES = Request("GET", "/dicom-web/studies", base_url=BASE_URL)


@pytest.fixture
def system() -> Iterator[Deployed]:
    """An empty deployment."""
    with deployed() as system:
        yield system


def request(method: str, path: str) -> Request:
    """Make a request for a path below the base path."""
    return Request(method, f"/dicom-web{path}", base_url=BASE_URL)


def studies(system: Deployed) -> list[dict[str, Any]]:
    """Give all studies as the reading function answers."""
    found: list[dict[str, Any]] = json.loads(whole(system.reader()(STUDIES)))
    return found


def sqs_event(*bodies: str) -> dict[str, Any]:
    """Write an event of SQS with these messages, numbered from 0."""
    return {
        "Records": [
            {
                "messageId": str(number),
                "receiptHandle": "handle",
                "body": body,
                "attributes": {},
                "messageAttributes": {},
                "md5OfBody": "",
                "eventSource": "aws:sqs",
                "eventSourceARN": "arn:aws:sqs:eu-central-1:123456789012:queue",
                "awsRegion": "eu-central-1",
            }
            for number, body in enumerate(bodies)
        ]
    }


def look_at(*keys: str) -> str:
    """Write a message that names objects."""
    return json.dumps({"look_at_objects": keys})


def module_of(handler: Any) -> Any:
    """Give the module of a function as it was started."""
    return sys.modules[handler.__module__]


def failures(answer: Any) -> list[str]:
    """Give the numbers of the messages that a function gives back."""
    return [each["itemIdentifier"] for each in answer["batchItemFailures"]]


def whole(response: Response) -> bytes:
    """Give an answer's body."""
    return response.body if isinstance(response.body, bytes) else b"".join(response.body)


def test_a_deleted_object_is_gone_and_a_replaced_one_is_answered_anew(system: Deployed) -> None:
    system.put("a.dcm", ct_instance())
    system.settle()
    system.put("a.dcm", ct_instance(patient_id="another"))
    system.settle()
    (study,) = studies(system)
    assert study["00100020"]["Value"] == ["another"]
    system.clients.s3.delete_object(Bucket=system.settings.storage_bucket, Key="a.dcm")
    system.settle()
    assert studies(system) == []


def test_what_is_deleted_over_http_is_gone_and_its_event_changes_nothing() -> None:
    with deployed(allow_delete=True) as system:
        for number in (1, 2):
            named: Any = {"study_instance_uid": "1.2", "series_instance_uid": "1.2.3"}
            system.put(f"{number}.dcm", ct_instance(**named, instance_number=number))
        system.settle()
        reader, manager = system.reader(), system.manager()
        (first, second) = (
            each["00080018"]["Value"][0]
            for each in json.loads(whole(reader(request("GET", "/studies/1.2/metadata"))))
        )
        series = "/studies/1.2/series/1.2.3"
        for path, error in (
            (f"{series}/instances/{first}", InstanceGoneError),
            (series, SeriesGoneError),
            ("/studies/1.2", StudyGoneError),
        ):
            assert manager(request("DELETE", path)).status == 204
            with pytest.raises(error):
                reader(request("GET", f"{path}/metadata"))
        system.settle()
        assert studies(system) == []
        with pytest.raises(SeriesGoneError):
            reader(request("GET", f"{series}/instances/{second}/metadata"))


def test_nothing_is_deleted_where_the_deployment_does_not_ask_for_it(system: Deployed) -> None:
    system.put("a.dcm", ct_instance(study_instance_uid="1.2"))
    system.settle()
    with pytest.raises(DeleteForbiddenError):
        system.manager()(request("DELETE", "/studies/1.2"))
    assert len(studies(system)) == 1


def test_what_is_stored_over_http_is_answered_and_its_event_changes_nothing(
    system: Deployed,
) -> None:
    part = b"Content-Type: application/dicom\r\n\r\n" + ct_instance()
    body = b"--b\r\n" + part + b"\r\n--b--\r\n"
    headers = {
        "Content-Type": 'multipart/related; type="application/dicom"; boundary=b',
        "Content-Length": str(len(body)),
    }
    stored = system.storer()(
        Request(
            "POST",
            "/dicom-web/studies",
            headers=Headers.of(headers),
            body=BytesIO(body),
            base_url=BASE_URL,
        )
    )
    assert stored.status == 200
    before = studies(system)
    system.settle()
    after = studies(system)
    assert [each["0020000D"] for each in after] == [each["0020000D"] for each in before]
    assert after[0]["00201208"]["Value"] == [1]
    # Nor is the checksum forgotten that storing it has told.
    path = f"/dicom-web/studies/{after[0]['0020000D']['Value'][0]}/manifest"
    text = whole(system.reader()(Request("GET", path, base_url=BASE_URL)))
    assert json.loads(text)["instances"][0]["checksum"].startswith("sha256:")


def test_a_message_that_is_none_is_given_back_and_the_others_are_done(system: Deployed) -> None:
    system.put("a.dcm", ct_instance())
    handler = system.handler("ingest")
    event = sqs_event("{}", look_at("a.dcm"), "not JSON")
    answer = handler(event, Context(function_name="ingest"))
    assert failures(answer) == ["0", "2"]
    assert len(studies(system)) == 1


@pytest.mark.parametrize("error", [UnavailableError("S3: SlowDown"), ValueError("unforeseen")])
def test_an_object_that_cannot_be_read_now_brings_back_its_message_alone(
    error: Exception, system: Deployed, monkeypatch: pytest.MonkeyPatch
) -> None:
    system.put("a.dcm", ct_instance())
    system.put("b.dcm", ct_instance(patient_id="another"))
    handler = system.handler("ingest")
    archive = module_of(handler).archive
    get = archive.storage.get

    def failing_get(key: str, **arguments: Any) -> Any:
        if key == "b.dcm":
            raise error
        return get(key, **arguments)

    monkeypatch.setattr(archive.storage, "get", failing_get)
    answer = handler(sqs_event(look_at("a.dcm"), look_at("b.dcm")), Context(function_name="ingest"))
    assert failures(answer) == ["1"]
    assert len(studies(system)) == 1


def test_an_event_delivered_twice_in_any_order_counts_once(system: Deployed) -> None:
    system.put("a.dcm", ct_instance())
    handler = system.handler("ingest")
    event = sqs_event(look_at("a.dcm"), look_at("a.dcm", "gone.dcm"))
    for _ in range(2):
        assert failures(handler(event, Context(function_name="ingest"))) == []
    system.settle()
    (study,) = studies(system)
    assert study["00201208"]["Value"] == [1]


def test_events_of_keys_outside_the_prefix_are_done_without_a_look(system: Deployed) -> None:
    handler = system.handler("ingest")
    record = {"s3": {"bucket": {"name": "another"}, "object": {"key": "a.dcm"}}}
    answer = handler(
        sqs_event(json.dumps({"Records": [record]}), json.dumps({"Event": "s3:TestEvent"})),
        Context(function_name="ingest"),
    )
    assert failures(answer) == []
    assert studies(system) == []


def test_a_compaction_that_was_missed_is_announced_by_the_sweep(
    system: Deployed, monkeypatch: pytest.MonkeyPatch
) -> None:
    system.put("a.dcm", ct_instance())
    ingest = system.source("ingest", handler=system.handler("ingest"))
    while ingest.pump():
        pass
    system.clients.sqs.purge_queue(QueueUrl=system.settings.compact_queue_url)
    sweep = system.handler("sweep")
    assert sweep({}, Context(function_name="sweep")) == {"series": 0, "stable": 0}
    monkeypatch.setattr(module_of(sweep), "GRACE_MS", -1)
    assert sweep({}, Context(function_name="sweep")) == {"series": 1, "stable": 0}
    compact = system.source("compact", handler=system.handler("compact"))
    assert compact.pump() == 1
    assert sweep({}, Context(function_name="sweep")) == {"series": 0, "stable": 0}


def recorded(system: Deployed) -> list[str]:
    """Give the types of all changes in the log."""
    with system.environment_of("compact"):
        index = aws_archive(Settings.from_env()).index
    types = [change.type.value for change in index.changes().items]
    assert types[:4] == ["NewInstance", "NewSeries", "NewStudy", "NewPatient"]
    return types[4:]


def test_what_is_stable_is_recorded_by_the_delayed_message() -> None:
    with deployed(stable_age_seconds=1) as system:
        system.put("a.dcm", ct_instance())
        system.settle()
        assert recorded(system) == []
        compact = system.source("compact", handler=system.handler("compact"))
        eventually(lambda: compact.pump() == 1, "the delayed message")
        assert recorded(system) == ["StableSeries", "StableStudy", "StablePatient"]
        system.settle()
        assert recorded(system) == ["StableSeries", "StableStudy", "StablePatient"]


def test_what_is_stable_though_its_message_was_lost_is_announced_by_the_sweep(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with deployed(stable_age_seconds=1) as system:
        system.put("a.dcm", ct_instance())
        system.settle()
        system.clients.sqs.purge_queue(QueueUrl=system.settings.compact_queue_url)
        sweep = system.handler("sweep")
        monkeypatch.setattr(module_of(sweep), "GRACE_MS", 0)
        told = {"series": 0, "stable": 1}
        eventually(lambda: sweep({}, Context(function_name="sweep")) == told, "its time")
        system.settle()
        assert recorded(system) == ["StableSeries", "StableStudy", "StablePatient"]
        assert sweep({}, Context(function_name="sweep")) == {"series": 0, "stable": 0}


def test_a_message_that_is_given_back_stays_in_the_queue(system: Deployed) -> None:
    system.settle()  # S3 has told that it was told to tell
    url = system.settings.ingest_queue_url
    for body in ("not JSON", look_at("gone.dcm")):
        system.clients.sqs.send_message(QueueUrl=url, MessageBody=body)
    assert system.source("ingest", handler=system.handler("ingest")).pump() == 2
    left = system.clients.sqs.get_queue_attributes(
        QueueUrl=url, AttributeNames=["ApproximateNumberOfMessagesNotVisible"]
    )
    assert left["Attributes"]["ApproximateNumberOfMessagesNotVisible"] == "1"


def test_a_manifest_leads_to_the_objects_in_the_bucket(system: Deployed) -> None:
    content = ct_instance()
    system.put("a.dcm", content)
    system.settle()
    (study,) = studies(system)
    path = f"/dicom-web/studies/{study['0020000D']['Value'][0]}/manifest"
    text = whole(system.reader()(Request("GET", path, base_url=BASE_URL)))
    (entry,) = json.loads(text)["instances"]
    fetched = requests.get(entry["url"], headers=entry["headers"], timeout=10)
    assert fetched.content == content
    assert fetched.headers["Content-Type"] == "application/dicom"


def test_logs_name_no_patient(system: Deployed, caplog: pytest.LogCaptureFixture) -> None:
    system.put("a.dcm", ct_instance(patient_name="Secret^Sarah", patient_id="S-4711"))
    system.put("b.txt", b"Secret")
    # Starting a function takes the handlers of the package's own logger away.
    services = logging.getLogger("dicomulus.services")
    services.addHandler(caplog.handler)
    try:
        system.settle()
        studies(system)
    finally:
        services.removeHandler(caplog.handler)
    logged = " ".join(str(vars(record)) for record in caplog.records)
    assert "series compacted" in logged
    assert "Secret" not in logged
    assert "S-4711" not in logged
