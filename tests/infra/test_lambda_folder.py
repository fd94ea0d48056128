"""The built functions, run as Lambda runs them: nothing but their packages and the runtime."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from dicomulus.adapters.aws.limits import COMPACT_BATCH, INGEST_BATCH
from dicomulus.cli.emulate.event_source import EventSource
from dicomulus.cli.emulate.resources import Clients, make_resources
from dicomulus.settings import Settings
from infra.layers import runtime_interpreter
from tests.support.datasets import ct_instance
from tests.support.emulators import served_aws
from tests.support.lambda_folder import (
    REGION,
    CannotBuildError,
    LambdaFolder,
    packaged_functions,
)
from tests.support.lambda_runtime_api import FunctionFailedError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.infra.conftest import Synthesised
    from tests.support.lambda_folder import EventFunction, HttpFunction

HOST = "archive.example"
BASE_URL = f"https://{HOST}/prod/dicom-web"
PREFIX = "archive/"
"""Prefix of the storage bucket that the stage of these tests keeps to."""

SERVED = ("read", "render", "store", "manage", "orthanc")
"""Functions that are HTTP servers; the others handle events."""


class Deployed:
    """The functions of a template in their folders, over buckets, a table and queues of moto."""

    def __init__(self, folder: LambdaFolder, clients: Clients, settings: Settings) -> None:
        """Take what has been made."""
        self.folder = folder
        self.clients = clients
        self.settings = settings

    def put(self, key: str, content: bytes) -> None:
        """Put an object, of which the bucket tells the ingest queue."""
        self.clients.s3.put_object(
            Bucket=self.settings.storage_bucket, Key=PREFIX + key, Body=content
        )

    def pump(self, function: EventFunction) -> int:
        """Hand a function the messages of its queue until there are none."""
        name = function.function.name
        url, batch = {
            "ingest": (self.settings.ingest_queue_url, INGEST_BATCH),
            "compact": (self.settings.compact_queue_url, COMPACT_BATCH),
        }[name]
        source = EventSource(
            url,
            name,
            handler=lambda event, _: function.invoke(event),
            batch=replace(batch, window_seconds=0),
            sqs=self.clients.sqs,
        )
        # Messages of the delayed queue are there after some seconds.
        total = handed = source.pump(wait_seconds=10)
        while handed:
            handed = source.pump()
            total += handed
        return total


@pytest.fixture(scope="module")
def aws() -> Iterator[str]:
    """Give the endpoint of moto's server."""
    with served_aws() as endpoint:
        yield endpoint


@pytest.fixture(scope="module")
def system(open_stage: Synthesised, aws: str, tmp_path_factory: pytest.TempPathFactory) -> Deployed:
    """The functions of a stage, and its buckets, table and queues."""
    if runtime_interpreter() is None:
        pytest.skip("there is no interpreter of the Lambda runtime's version (LAMBDA_PYTHON)")
    session = boto3.Session("any", "any", region_name=REGION)
    clients = Clients(
        session.client("dynamodb", endpoint_url=aws),
        session.client("s3", endpoint_url=aws),
        session.client("sqs", endpoint_url=aws),
    )
    settings = make_resources(clients, Settings(public_base_url=BASE_URL))
    functions = packaged_functions(
        open_stage.resources("AWS::Lambda::Function"),
        open_stage.resources("AWS::Lambda::LayerVersion"),
        open_stage.assembly,
    )
    root = tmp_path_factory.mktemp("lambda")
    root.chmod(0o755)
    try:
        folder = LambdaFolder(root, settings.to_env(), aws, functions)
        for function in functions.values():
            folder.opt(function)
    except CannotBuildError as exc:
        pytest.skip(str(exc))
    return Deployed(folder, clients, settings)


def get(function: HttpFunction, path: str, **headers: str) -> Any:
    """Send a request as the gateway's event makes the adapter send it."""
    return function.request("GET", f"/dicom-web{path}", headers={"Host": HOST, **headers})


def test_an_object_put_into_the_bucket_is_searched_read_shown_stored_and_deleted(
    system: Deployed,
) -> None:
    first = ct_instance(study_instance_uid="1.2", series_instance_uid="1.2.3")
    system.put("a.dcm", first)
    folder = system.folder
    at_once = {"DICOMULUS_COMPACT_DELAY_SECONDS": "0"}
    with (
        folder.event_function("ingest", **at_once) as ingest,
        folder.event_function("compact") as compact,
    ):
        # The bucket also tells that it tells.
        assert system.pump(ingest) == 2
        assert system.pump(compact) == 1
    with folder.http_function("store") as store:
        second = ct_instance(
            study_instance_uid="1.2", series_instance_uid="1.2.3", instance_number=2
        )
        part = b"Content-Type: application/dicom\r\n\r\n" + second
        stored = store.request(
            "POST",
            "/dicom-web/studies",
            b"--b\r\n" + part + b"\r\n--b--\r\n",
            {
                "Host": HOST,
                "Content-Type": 'multipart/related; type="application/dicom"; boundary=b',
            },
        )
        assert stored.status == 200
    with folder.http_function("read") as read:
        (study,) = json.loads(get(read, "/studies?PatientID=*").body)
        assert study["0020000D"]["Value"] == ["1.2"]
        metadata = get(read, "/studies/1.2/series/1.2.3/metadata")
        instances = [each["00080018"]["Value"][0] for each in json.loads(metadata.body)]
        assert len(instances) == 2
        instance = f"/studies/1.2/series/1.2.3/instances/{instances[0]}"
        frame = get(read, f"{instance}/frames/1", Accept="multipart/related; type=*/*")
        assert frame.status == 200
        assert len(frame.body) > 100
    with folder.http_function("render") as render:
        rendered = get(render, f"{instance}/rendered", Accept="image/jpeg")
        assert rendered.body.startswith(b"\xff\xd8"), rendered
    with folder.http_function("manage") as manage:
        answer = manage.request("DELETE", "/dicom-web/studies/1.2", headers={"Host": HOST})
        assert answer.status == 204
    listed = system.clients.s3.list_objects_v2(Bucket=system.settings.storage_bucket)
    assert listed["KeyCount"] == 0


def test_a_batch_gives_back_the_message_that_failed_and_no_other(system: Deployed) -> None:
    with system.folder.event_function("ingest") as ingest:
        answer = ingest.invoke(sqs_event("no message of ours", '{"look_at_objects": ["gone"]}'))
    assert answer == {"batchItemFailures": [{"itemIdentifier": "0"}]}


def test_an_invocation_is_logged_measured_and_traced_without_anything_of_patients(
    system: Deployed,
) -> None:
    """X-Ray's daemon takes segments as datagrams; what Lambda's log takes are lines of JSON."""
    system.put("patient.dcm", ct_instance(patient_id="PATIENT-4711"))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as daemon:
        daemon.bind(("127.0.0.1", 0))
        address = "{}:{}".format(*daemon.getsockname())
        event = sqs_event('{"look_at_objects": ["patient.dcm"]}')
        with system.folder.event_function("ingest", AWS_XRAY_DAEMON_ADDRESS=address) as ingest:
            ingest.wait_until_ready()
            ingest.api.invoke(event, traced=True)
            log = ingest.process.log.read_text()
        daemon.settimeout(1)
        segments = list(datagrams(daemon))
    assert {"## handler", "dynamodb", "s3"} <= {each["name"] for each in subsegments(segments)}
    lines = [json.loads(line) for line in log.splitlines()]
    measured = {name: line[name] for line in lines if "_aws" in line for name in line}
    assert measured["InstancesIndexed"] == [1.0]
    assert measured["MessagesReturned"] == [0.0]
    assert {line["service"] for line in lines if "_aws" in line} == {"dicomulus-dev-ingest"}
    assert "PATIENT-4711" not in log + json.dumps(segments)


def datagrams(daemon: socket.socket) -> Iterator[dict[str, Any]]:
    """Give what X-Ray's daemon was sent, without the line that tells the format."""
    with contextlib.suppress(TimeoutError):
        while True:
            yield json.loads(daemon.recv(65_536).split(b"\n", 1)[1])


def subsegments(segments: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Give all parts of traces."""
    for each in segments:
        yield each
        yield from subsegments(each.get("subsegments", []))


def test_the_schedule_finds_nothing_to_do(system: Deployed) -> None:
    with system.folder.event_function("sweep") as sweep:
        assert set(sweep.invoke({}).values()) == {0}


def test_an_error_that_is_not_handled_is_reported_and_ends_nothing(system: Deployed) -> None:
    with system.folder.event_function("ingest") as ingest:
        with pytest.raises(FunctionFailedError) as failed:
            ingest.invoke({"nothing": "of a queue"})
        assert failed.value.error.report["errorType"] == "KeyError"
        assert failed.value.error.report["stackTrace"]
        event = sqs_event('{"look_at_objects": ["gone"]}')
        assert ingest.invoke(event) == {"batchItemFailures": []}


def test_a_function_that_cannot_start_says_why(system: Deployed) -> None:
    with (
        system.folder.event_function("ingest", DICOMULUS_TABLE_NAME="") as ingest,
        pytest.raises(FunctionFailedError) as failed,
    ):
        ingest.invoke({})
    assert failed.value.error.report["errorType"] == "ConfigurationError"


def test_every_function_starts_from_its_packages_and_ends_when_it_is_told_to(
    system: Deployed,
) -> None:
    assert {each.name for each in system.folder.functions.values() if each.is_http} == {*SERVED}
    for name, function in system.folder.functions.items():
        if function.is_http:
            with system.folder.http_function(name) as serving:
                statuses = [serving.process.stop()]
        else:
            with system.folder.event_function(name) as handling:
                handling.wait_until_ready()
                statuses = [handling.process.stop()]
        assert statuses[0] in (0, -signal.SIGTERM), name


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
                "eventSourceARN": "arn:aws:sqs:us-east-1:123456789012:queue",
                "awsRegion": "us-east-1",
            }
            for number, body in enumerate(bodies)
        ]
    }
