"""A bucket is adopted in place: what is not so is refused by name, and what others have in it stays."""

from __future__ import annotations

import json
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from moto import mock_aws

from dicomulus.adapters.aws.adoption import Adoption, NotificationConfiguration
from dicomulus.adapters.aws.custom_resource import answered
from dicomulus.cli.emulate.event_source import Context, load_handler
from dicomulus.errors import ConfigurationError
from tests.support.aws import REGION
from tests.support.deployed import FUNCTIONS
from tests.support.notifications import (
    EMPTY,
    OTHERS,
    TELLS_EVENT_BRIDGE,
    NotificationDocument,
    response_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ACCOUNT = "123456789012"
BUCKET = "hospital-archive"
KEY = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/0d2a3a3a-b6ee-9c5d-8fcf-6c0d7a7a0c3f"
OTHER_KEY = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/11111111-b6ee-9c5d-8fcf-6c0d7a7a0c3f"


@pytest.fixture(scope="module")
def played() -> Iterator[Any]:
    with mock_aws():
        client = boto3.client("s3", region_name=REGION)
        client.create_bucket(
            Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"}
        )
        yield client


@pytest.fixture
def s3(played: Any) -> Any:
    """A client, and a bucket of this account and region, encrypted by S3 itself."""
    played.delete_bucket_encryption(Bucket=BUCKET)
    return played


def adoption(s3: Any, **changed: Any) -> Adoption:
    told: dict[str, Any] = {"account_id": ACCOUNT, "region": REGION, **changed}
    return Adoption(told.pop("bucket", BUCKET), client=s3, wait=lambda _: None, **told)


def write(text: bytes) -> Any:
    def written(document: NotificationDocument) -> None:
        document.text = text

    return written


# --- notifications -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "before", [EMPTY, b"", EMPTY.replace(b"/>", b"></NotificationConfiguration>")]
)
def test_a_bucket_that_tells_nobody_tells_eventbridge(s3: Any, before: bytes) -> None:
    document = NotificationDocument(before)
    with document.of(s3):
        assert adoption(s3).adopt().changed
        given = s3.get_bucket_notification_configuration(Bucket=BUCKET)
    assert "EventBridgeConfiguration" in given


def test_what_others_have_told_it_stays_byte_for_byte(s3: Any) -> None:
    """Also what this version of the AWS library does not know."""
    document = NotificationDocument(OTHERS)
    with document.of(s3):
        assert adoption(s3).adopt().changed
    assert document.text == TELLS_EVENT_BRIDGE
    assert document.text.replace(b"<EventBridgeConfiguration/>", b"") == OTHERS
    assert document.requests == ["GET", "GET", "PUT", "GET"]


def test_a_bucket_that_tells_eventbridge_already_is_not_written_to(s3: Any) -> None:
    document = NotificationDocument(TELLS_EVENT_BRIDGE)
    with document.of(s3):
        assert not adoption(s3).adopt().changed
    assert document.requests == ["GET"]


def test_a_change_between_the_reads_is_refused_before_anything_is_written(s3: Any) -> None:
    document = NotificationDocument(EMPTY, before={1: write(OTHERS)})
    with document.of(s3), pytest.raises(ConfigurationError, match="nothing was written") as refused:
        adoption(s3).adopt()
    assert BUCKET in str(refused.value)
    assert document.requests == ["GET", "GET"]
    assert document.text == OTHERS


@pytest.mark.parametrize("theirs", [EMPTY, TELLS_EVENT_BRIDGE.replace(b"theirs", b"renamed")])
def test_a_change_after_the_write_is_refused_and_left_as_it_is(s3: Any, theirs: bytes) -> None:
    """They wrote last, so that theirs is what they want it to be."""
    document = NotificationDocument(OTHERS, after={2: write(theirs)})
    with document.of(s3), pytest.raises(ConfigurationError, match="somebody else"):
        adoption(s3).adopt()
    assert document.requests.count("PUT") == 1
    assert document.text == theirs


def test_eventbridge_that_is_switched_off_again_is_told(s3: Any) -> None:
    document = NotificationDocument(OTHERS, after={2: write(OTHERS)})
    with document.of(s3), pytest.raises(ConfigurationError, match="gone again"):
        adoption(s3).adopt()


def test_a_write_that_s3_shows_late_is_waited_for(s3: Any) -> None:
    """The order of what others have in it may be another by then, and says the same."""
    swapped = TELLS_EVENT_BRIDGE.replace(b"<EventBridgeConfiguration/>", b"").replace(
        b"<QueueConfiguration>",
        b"<EventBridgeConfiguration></EventBridgeConfiguration><QueueConfiguration>",
    )
    document = NotificationDocument(OTHERS, after={2: write(OTHERS), 4: write(swapped)})
    with document.of(s3):
        assert adoption(s3).adopt().changed
    assert document.requests == ["GET", "GET", "PUT", "GET", "GET", "GET"]


@pytest.mark.parametrize(
    "text",
    [b"<html>", OTHERS.replace(b"NotificationConfiguration>", b"n:NotificationConfiguration>")],
)
def test_a_document_of_another_form_is_not_written(text: bytes) -> None:
    with pytest.raises(ConfigurationError):
        NotificationConfiguration(text).with_event_bridge()


def test_a_document_written_with_a_prefix_is_not_written() -> None:
    text = b'<n:NotificationConfiguration xmlns:n="urn:n"><n:A/></n:NotificationConfiguration>'
    with pytest.raises(ConfigurationError, match="not as S3 writes it"):
        NotificationConfiguration(text).with_event_bridge()


# --- what cannot be adopted ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"bucket": "no-such-bucket"}, "no-such-bucket does not exist"),
        ({"region": "eu-west-1"}, f"is in {REGION}, the deployment in eu-west-1"),
    ],
)
def test_a_bucket_elsewhere_is_refused(s3: Any, changed: dict[str, str], named: str) -> None:
    document = NotificationDocument(OTHERS)
    with document.of(s3), pytest.raises(ConfigurationError, match=named):
        adoption(s3, **changed).adopt()
    assert document.requests == []


def test_a_bucket_of_others_is_refused(s3: Any) -> None:
    """Every request says whose bucket is expected, and S3 refuses what is another's."""
    expected = []

    def refuse(request: Any, **_: Any) -> Any:
        expected.append(request.headers["x-amz-expected-bucket-owner"])
        return response_of(request, b"", status=403)

    s3.meta.events.register_first("before-send.s3.HeadBucket", refuse)
    try:
        with pytest.raises(ConfigurationError, match=f"not of the account {ACCOUNT}"):
            adoption(s3).adopt()
    finally:
        s3.meta.events.unregister("before-send.s3.HeadBucket", refuse)
    assert expected == [ACCOUNT.encode()]


def encrypt(s3: Any, **default: str) -> None:
    s3.put_bucket_encryption(
        Bucket=BUCKET,
        ServerSideEncryptionConfiguration={
            "Rules": [{"ApplyServerSideEncryptionByDefault": default}]
        },
    )


@pytest.mark.parametrize(
    ("default", "given"),
    [
        ({"SSEAlgorithm": "AES256"}, ""),
        ({"SSEAlgorithm": "aws:kms"}, ""),
        ({"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": "alias/aws/s3"}, ""),
        ({"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": KEY}, KEY),
        ({"SSEAlgorithm": "aws:kms:dsse", "KMSMasterKeyID": KEY.rpartition("/")[2]}, KEY),
        ({"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": "alias/hospital"}, KEY),
    ],
)
def test_a_bucket_is_adopted_with_the_key_that_it_has(
    s3: Any, default: dict[str, str], given: str
) -> None:
    encrypt(s3, **default)
    with NotificationDocument().of(s3):
        adopted = adoption(s3, kms_key_arn=given).adopt()
    assert adopted.encryption == default["SSEAlgorithm"]


@pytest.mark.parametrize(("key", "given"), [(KEY, ""), ("alias/hospital", ""), (KEY, OTHER_KEY)])
def test_a_key_of_its_owner_that_is_not_named_is_refused_by_name(
    s3: Any, key: str, given: str
) -> None:
    encrypt(s3, SSEAlgorithm="aws:kms", KMSMasterKeyID=key)
    document = NotificationDocument(OTHERS)
    with (
        document.of(s3),
        pytest.raises(ConfigurationError, match="adopt_bucket_kms_key_arn") as exc,
    ):
        adoption(s3, kms_key_arn=given).adopt()
    assert key in str(exc.value)
    assert document.requests == []


def test_whether_versions_are_kept_is_told(s3: Any) -> None:
    with NotificationDocument().of(s3):
        assert adoption(s3).adopt().versioning == "Off"
        s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
        assert adoption(s3).adopt().versioning == "Enabled"


# --- what CloudFormation is told -----------------------------------------------------------------


@pytest.fixture
def told() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A URL as CloudFormation gives, and what is sent there."""
    received: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            # The URL is signed for no content type.
            assert not self.headers["Content-Type"]
            received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Keep quiet."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/answer", received
    server.shutdown()
    thread.join()
    server.server_close()


def asked(kind: str, url: str, **changed: Any) -> dict[str, Any]:
    return {
        "RequestType": kind,
        "ResponseURL": url,
        "StackId": "stack",
        "RequestId": "request",
        "LogicalResourceId": "Adoption",
        "ResourceProperties": {"Bucket": BUCKET},
        **changed,
    }


def test_a_deployment_is_told_what_was_done(told: tuple[str, list[dict[str, Any]]]) -> None:
    url, received = told
    answered(asked("Create", url), lambda given: {"Got": given["Bucket"]}, physical_id="own")
    (answer,) = received
    assert answer["Status"] == "SUCCESS"
    assert answer["Data"] == {"Got": BUCKET}
    assert answer["PhysicalResourceId"] == "own"
    assert (answer["StackId"], answer["RequestId"]) == ("stack", "request")


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ConfigurationError("adopt_bucket: why"), "adopt_bucket: why"),
        (ValueError("Secret"), "defect: ValueError at "),
    ],
)
def test_a_deployment_is_told_why_it_fails(
    told: tuple[str, list[dict[str, Any]]], error: Exception, reason: str
) -> None:
    url, received = told

    def fail(_: Any) -> Any:
        raise error

    answered(asked("Update", url), fail, physical_id="own")
    assert received[0]["Status"] == "FAILED"
    assert received[0]["Reason"].startswith(reason)
    assert "Secret" not in received[0]["Reason"]


def test_a_resource_that_goes_has_nothing_done_to_it(
    told: tuple[str, list[dict[str, Any]]],
) -> None:
    url, received = told

    def act(_: Any) -> Any:
        raise AssertionError("nothing is to be done")

    event = asked("Delete", url, PhysicalResourceId="old")
    answered(event, act, physical_id="own")
    assert received[0]["Status"] == "SUCCESS"
    assert received[0]["PhysicalResourceId"] == "old"


# --- the function --------------------------------------------------------------------------------


def test_the_function_adopts_and_has_what_is_there_indexed(
    s3: Any, told: tuple[str, list[dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_REGION", REGION)
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    monkeypatch.setattr(sys.modules["dicomulus.adapters.aws.adoption"].boto3, "client", clients(s3))
    states = boto3.session.Session().client("stepfunctions", region_name=REGION)
    machine = states.create_state_machine(
        name="reconcile",
        definition='{"StartAt":"End","States":{"End":{"Type":"Succeed"}}}',
        roleArn=f"arn:aws:iam::{ACCOUNT}:role/any",
    )["stateMachineArn"]
    url, received = told
    properties = {
        "Bucket": BUCKET,
        "Prefix": "radiology/",
        "KmsKeyArn": "",
        "AccountId": ACCOUNT,
        "StateMachineArn": machine,
    }
    handler = load_handler(FUNCTIONS, "adopt")
    document = NotificationDocument(OTHERS)
    with document.of(s3):
        for kind in ("Create", "Update", "Delete"):
            event = asked(kind, url, ResourceProperties=properties, PhysicalResourceId="old")
            handler(event, Context(function_name="adopt"))
    assert document.text == TELLS_EVENT_BRIDGE
    assert [answer["Status"] for answer in received] == ["SUCCESS"] * 3
    assert [answer["Data"].get("Changed") for answer in received] == ["True", "False", None]
    runs = states.list_executions(stateMachineArn=machine)["executions"]
    assert len(runs) == 2
    given = states.describe_execution(executionArn=runs[0]["executionArn"])["input"]
    assert json.loads(given) == {"reason": "backfill"}


def clients(s3: Any) -> Callable[..., Any]:
    """Give what makes clients: of S3 always this one."""
    make = boto3.client

    def client(service: str, **given: Any) -> Any:
        return s3 if service == "s3" else make(service, **given)  # type: ignore[call-overload]

    return client
