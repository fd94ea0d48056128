"""Once the dust settles the deployed archive is right, however AWS fails in between.

Requests are throttled, time out before or after they are carried out, lose their connection, are
done in part; functions die; messages come late, twice and in any order. Meanwhile clients are given
right answers, or told to come again. Each guard is taken out once, to show that the runs notice.
"""

from __future__ import annotations

import json
import os
import random
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any, get_args
from unittest import mock

import aws_lambda_powertools.utilities.batch
import pytest

from dicomulus import composition
from dicomulus.adapters.aws import dynamodb_table, s3_store, sqs_queue
from dicomulus.adapters.aws.dead_letters import DeadLetters
from dicomulus.adapters.aws.dynamodb_index import DynamoDbIndex
from dicomulus.cli.emulate.event_source import Context
from dicomulus.services.ingest import Ingest
from dicomulus.wire.message import Request
from tests.support.aws_faults import intercepted
from tests.support.aws_simulation import FaultySimulation, InTurn, rebuilt_answers
from tests.support.datasets import ct_instance
from tests.support.deployed import BASE_URL, deployed
from tests.support.emulators import EmulatorName, is_second_here
from tests.support.simulation import Actor, current_actor, pause

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from botocore.awsrequest import AWSResponse

    from dicomulus.ports import InstanceChanges
    from tests.support.aws_faults import Call, CarryOut
    from tests.support.deployed import Deployed

STEPS = 150
TELLING_SEEDS = (0, 5, 7, 16)
"""Runs with many failures, dead letters among them."""

CAMPAIGN = os.environ.get("DICOMULUS_FAULT_SEEDS", "")
"""First seed and the one after the last of a longer run, such as ``100:400``; make faults."""

SEEDS_UNTIL_NOTICED = 20
"""Runs in which a missing guard must show."""

CONTEXT = Context(function_name="ingest")

# An invocation that ends has measured nothing, of which Powertools warns.
UNMEASURED = pytest.mark.filterwarnings("ignore:No application metrics:UserWarning")

BUILT = pytest.mark.skipif(
    not is_second_here(), reason="the second emulator is not here; make second-emulator"
)
EMULATORS = [
    pytest.param(name, marks=BUILT if name == "second" else ()) for name in get_args(EmulatorName)
]


def seeds() -> Iterable[int]:
    if not CAMPAIGN:
        return TELLING_SEEDS
    first, end = CAMPAIGN.split(":")
    return range(int(first), int(end))


def simulate(seed: int, folder: Path, *, emulator: EmulatorName = "moto") -> FaultySimulation:
    """Let things happen and fail, settle, and compare with what an index built anew answers."""
    with deployed(emulator=emulator, stable_age_seconds=0, allow_delete=True) as system:
        simulation = FaultySimulation(random.Random(seed), system)
        with simulation.running():
            simulation.run(STEPS)
            simulation.bury()
            simulation.settle()
            found = simulation.answers()
        assert found == rebuilt_answers(system, folder)
    return simulation


@pytest.mark.parametrize("emulator", EMULATORS)
@pytest.mark.parametrize("seed", seeds())
def test_archive_and_objects_agree_however_requests_fail(
    seed: int, emulator: EmulatorName, tmp_path: Path
) -> None:
    simulation = simulate(seed, tmp_path, emulator=emulator)
    print(
        f"seed {seed}: {simulation.calls.total()} requests, {simulation.faults.total()} faults, "
        f"{simulation.dead_letters} dead letters, answers {dict(simulation.statuses)}"
    )


def is_noticed(folder: Path, *, first: int) -> bool:
    """Whether one of the runs fails, the one that is known to tried first."""
    for seed in (first, *range(SEEDS_UNTIL_NOTICED)):
        run = folder / str(seed)
        run.mkdir(exist_ok=True)
        try:
            simulate(seed, run)
        except AssertionError as error:
            print(f"seed {seed}: {type(error).__name__}: {error}"[:300])
            return True
        (run / "rebuilt.sqlite").unlink()
    return False


def overtaken_answer() -> str:
    """Change an object after one invocation has read it; another one handles the change at once.

    Returns:
        Whose the object is, as answered once the first one is done, too.
    """
    with deployed() as system:
        first, second = system.handler("ingest"), system.handler("ingest")
        system.put("a.dcm", ct_instance(patient_id="as it was", study_instance_uid="1.2"))
        event = event_about(system, "a.dcm")
        with stepwise(lambda: first(event, CONTEXT), until="dynamodb:PutItem") as actor:
            system.put("a.dcm", ct_instance(patient_id="as it is", study_instance_uid="1.2"))
            assert second(event, CONTEXT) == {"batchItemFailures": []}
            while not actor.finished:
                actor.step()
        assert actor.error is None
        return patient_of(system)


def answer_after_a_crash() -> str:
    """Have an invocation end between the row of a changed object and its series' version.

    Returns:
        Whose the object is, as answered once its messages are done.
    """
    with deployed(stable_age_seconds=0) as system:
        system.put("a.dcm", ct_instance(patient_id="as it was", study_instance_uid="1.2"))
        system.settle()
        assert patient_of(system) == "as it was"
        system.put("a.dcm", ct_instance(patient_id="as it is", study_instance_uid="1.2"))
        handler, event = system.handler("ingest"), event_about(system, "a.dcm")
        with stepwise(lambda: handler(event, CONTEXT), until="dynamodb:UpdateItem") as actor:
            actor.step(crash=True)
        assert actor.crashed
        system.settle()
        return patient_of(system)


@contextmanager
def stepwise(work: Callable[[], Any], *, until: str) -> Iterator[Actor]:
    """Have an actor that goes from request to request, and stands before one of this name."""
    made: list[str] = []

    def held(call: Call, carry_out: CarryOut) -> AWSResponse:
        if current_actor() is not None:
            made.append(call.name)
            pause()
        return carry_out()

    with intercepted(held), mock.patch.object(composition, "ThreadPoolExecutor", InTurn):
        actor = Actor(work, 1)
        while until not in made:
            actor.step()
        yield actor


def patient_of(system: Deployed) -> str:
    """Give whose the only instance is, as answered."""
    told = system.reader()(Request("GET", "/dicom-web/studies/1.2/metadata", base_url=BASE_URL))
    body = told.body if isinstance(told.body, bytes) else b"".join(told.body)
    patient: str = json.loads(body)[0]["00100020"]["Value"][0]
    return patient


def event_about(system: Deployed, key: str) -> dict[str, Any]:
    """Write an event of SQS with a message that names an object."""
    message: Any = {
        "MessageId": "1",
        "ReceiptHandle": "1",
        "Body": json.dumps({"look_at_objects": [key]}),
        "MD5OfBody": "",
        "Attributes": {"ApproximateReceiveCount": "1"},
    }
    source = system.source("ingest", handler=lambda *_: None)
    return {"Records": [source.record(message)]}


def test_an_invocation_that_was_overtaken_looks_again() -> None:
    assert overtaken_answer() == "as it is"


def test_without_the_second_look_it_would_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Ingest, "_has_moved", lambda *_: False)
    assert overtaken_answer() == "as it was"


def test_if_messages_were_done_before_their_work_it_would_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = aws_lambda_powertools.utilities.batch
    handle = batch.process_partial_response

    def acknowledging(*arguments: Any, **more: Any) -> dict[str, list[dict[str, str]]]:
        handle(*arguments, **more)
        return {"batchItemFailures": []}

    monkeypatch.setattr(batch, "process_partial_response", acknowledging)
    assert is_noticed(tmp_path, first=0)


@UNMEASURED
def test_a_version_moves_though_the_row_is_right_already() -> None:
    assert answer_after_a_crash() == "as it is"


@UNMEASURED
def test_without_the_add_of_a_no_op_it_would_not(monkeypatch: pytest.MonkeyPatch) -> None:
    commit = DynamoDbIndex.commit

    def without(self: DynamoDbIndex, changes: InstanceChanges, **more: Any) -> Any:
        held = [row for put in changes.puts for row in self.get_instance(put.instance)]
        if changes.puts and all(put in held for put in changes.puts):
            changes = replace(changes, touched={})
        return commit(self, changes, **more)

    monkeypatch.setattr(DynamoDbIndex, "commit", without)
    assert answer_after_a_crash() == "as it was"


def test_if_dead_letters_were_dropped_it_would_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DeadLetters, "_bury", lambda *_: True)
    assert is_noticed(tmp_path, first=9)


def test_if_failures_were_not_told_apart_it_would_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (dynamodb_table, s3_store, sqs_queue):
        monkeypatch.setattr(module, "translated_failures", lambda _: nullcontext())
    assert is_noticed(tmp_path, first=0)
