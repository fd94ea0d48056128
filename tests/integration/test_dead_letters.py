"""Every message that fails for good is in the dead-letter queue, with its reason where there is one."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from dicomulus.adapters.aws.dead_letters import DeadLetters, reason_of
from dicomulus.adapters.aws.limits import MAX_RECEIVES
from dicomulus.errors import UnavailableError
from tests.support.datasets import ct_instance
from tests.support.deployed import deployed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dicomulus.adapters.aws.limits import FunctionName
    from tests.support.deployed import Deployed


@pytest.fixture
def system() -> Iterator[Deployed]:
    """An empty deployment whose messages come again at once."""
    with deployed() as system:
        settings = system.settings
        for url in (settings.ingest_queue_url, settings.compact_queue_url):
            system.clients.sqs.set_queue_attributes(
                QueueUrl=url, Attributes={"VisibilityTimeout": "0"}
            )
        system.settle()  # S3 has told that it was told to tell
        yield system


def dead(system: Deployed, name: FunctionName) -> list[dict[str, Any]]:
    """Take all messages of a function's dead-letter queue."""
    url = getattr(system.settings, f"{name}_dead_letters_url")
    answer = system.clients.sqs.receive_message(
        QueueUrl=url,
        MaxNumberOfMessages=10,
        MessageAttributeNames=["All"],
        MessageSystemAttributeNames=["All"],
    )
    return [dict(message) for message in answer.get("Messages", ())]


def attributes(message: dict[str, Any]) -> dict[str, str]:
    """Give a message's attributes as texts."""
    given = message.get("MessageAttributes", {})
    return {name: value["StringValue"] for name, value in given.items()}


def pump_until_empty(
    system: Deployed, name: FunctionName, handler: Callable[[Any, Any], Any]
) -> int:
    """Hand over until nothing is left; give how often something was."""
    source = system.source(name, handler=handler)
    times = 0
    while source.pump():
        times += 1
        assert times <= 2 * MAX_RECEIVES
    return times


def failing_ingest(system: Deployed, error: Exception) -> Callable[[Any, Any], Any]:
    """Start ingest over a bucket that fails for every object named bad."""
    handler = system.handler("ingest")
    storage = sys.modules[handler.__module__].archive.storage
    get = storage.get

    def failing_get(key: str, **arguments: Any) -> Any:
        if key.startswith("bad"):
            raise error
        return get(key, **arguments)

    storage.get = failing_get
    return handler


def test_what_fails_for_good_is_told_with_its_reason_and_nothing_else_fails(
    system: Deployed,
) -> None:
    system.put("bad.dcm", ct_instance())
    system.put("good.dcm", ct_instance(patient_id="another"))
    handler = failing_ingest(system, UnavailableError("S3: SlowDown"))
    assert pump_until_empty(system, "ingest", handler) == MAX_RECEIVES
    (message,) = dead(system, "ingest")
    told = attributes(message)
    assert told["Reason"] == "unavailable: S3: SlowDown"
    assert told["Function"] == "ingest"
    assert told["ReceiveCount"] == str(MAX_RECEIVES)
    assert int(told["FirstSent"]) > 0
    assert "bad.dcm" in message["Body"]


def test_a_defect_is_told_by_its_kind_and_place_and_not_by_its_text(system: Deployed) -> None:
    """The text of an unforeseen error may hold anything of a patient."""
    system.put("bad.dcm", ct_instance())
    handler = failing_ingest(system, ValueError("Secret^Sarah"))
    pump_until_empty(system, "ingest", handler)
    (message,) = dead(system, "ingest")
    reason = attributes(message)["Reason"]
    assert reason.startswith("defect: ValueError at ")
    assert "Secret" not in str(message)


@pytest.mark.parametrize("name", ["ingest", "compact"])
def test_a_message_of_no_kind_is_told_so(system: Deployed, name: FunctionName) -> None:
    url = getattr(system.settings, f"{name}_queue_url")
    system.clients.sqs.send_message(QueueUrl=url, MessageBody="no JSON")
    pump_until_empty(system, name, system.handler(name))
    (message,) = dead(system, name)
    assert message["Body"] == "no JSON"
    assert attributes(message)["Reason"].startswith("invalid-body: ")
    assert attributes(message)["Function"] == name


def test_what_crashes_every_time_is_moved_by_sqs_without_a_reason(system: Deployed) -> None:
    system.put("bad.dcm", ct_instance())

    def crash(event: Any, context: Any) -> Any:
        return {"batchItemFailures": [{"itemIdentifier": r["messageId"]} for r in event["Records"]]}

    pump_until_empty(system, "ingest", crash)
    (message,) = dead(system, "ingest")
    assert "bad.dcm" in message["Body"]
    assert attributes(message) == {}


def test_a_reason_that_cannot_be_sent_leaves_the_message_to_sqs(system: Deployed) -> None:
    error = UnavailableError("S3: SlowDown")
    letters = DeadLetters(
        system.settings.ingest_dead_letters_url + "-gone", "ingest", client=system.clients.sqs
    )

    def fail() -> None:
        raise error

    record = {
        "messageId": "1",
        "body": "{}",
        "attributes": {"ApproximateReceiveCount": str(MAX_RECEIVES)},
    }
    with pytest.raises(UnavailableError):
        letters.explain(record, fail)
    early = {**record, "attributes": {"ApproximateReceiveCount": str(MAX_RECEIVES - 1)}}
    told = DeadLetters(system.settings.ingest_dead_letters_url, "ingest", client=system.clients.sqs)
    with pytest.raises(UnavailableError):
        told.explain(early, fail)
    assert dead(system, "ingest") == []
    told.explain(record, fail)
    assert len(dead(system, "ingest")) == 1


def test_a_function_that_knows_no_dead_letter_queue_gives_its_messages_back(
    system: Deployed,
) -> None:
    bare = replace(system, settings=replace(system.settings, ingest_dead_letters_url=""))
    system.put("bad.dcm", ct_instance())
    pump_until_empty(bare, "ingest", failing_ingest(bare, UnavailableError("S3: SlowDown")))
    (message,) = dead(system, "ingest")
    assert attributes(message) == {}


def test_a_reason_is_one_line_that_sqs_takes() -> None:
    reason = reason_of(UnavailableError("a\nb\x00c\uffff" + "x" * 5_000))
    assert reason.startswith("unavailable: a b c ")
    assert len(reason) == 1_000
