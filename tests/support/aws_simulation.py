"""The deployed functions in a world where requests to AWS fail, and functions die, at random.

Each invocation of a function is an actor that stops before every request to AWS. Whatever comes of
the request is drawn: it is carried out, refused, carried out and its answer lost, a part of a batch
is, or the function ends there. Messages are delivered late, twice at a time, in any order and in any
batches; a message that fails comes again as SQS has it, and goes to the dead-letter queue after as
many deliveries as are deployed. A run is a function of its seed.
"""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache, partial
from io import BytesIO
from typing import TYPE_CHECKING, Any, Final
from unittest import mock

import botocore.session

from dicomulus import composition
from dicomulus.adapters.aws.changes import parse_changes
from dicomulus.adapters.aws.dynamodb_table import DynamoDbTable
from dicomulus.adapters.aws.function_metrics import FunctionMetrics
from dicomulus.adapters.aws.limits import MAX_RECEIVES, function_settings
from dicomulus.adapters.aws.redrive import DeadLetterQueue, Redrive
from dicomulus.adapters.aws.s3_store import S3Store
from dicomulus.adapters.local.sqlite_index import SqliteIndex
from dicomulus.api.routes import answer
from dicomulus.cli.emulate.event_source import Context, EventSource
from dicomulus.dicom.resource import canonical_key
from dicomulus.errors import InvalidBodyError, UnavailableError
from dicomulus.http_server import application
from dicomulus.ports import LookAtObjects
from tests.support import aws_faults
from tests.support.aws_faults import intercepted
from tests.support.deployed import BASE_URL, Deployed
from tests.support.memory_store import MemoryStore
from tests.support.simulation import (
    INSTANCES,
    KEYS,
    MARKER,
    PACES,
    Actor,
    Content,
    StaleAnswerError,
    as_no_actor,
    content_of,
    current_actor,
    pause,
)

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from botocore.awsrequest import AWSResponse

    from dicomulus.adapters.aws.limits import FunctionName
    from dicomulus.dicom.resource import InstanceResource
    from tests.support.aws_faults import Call, CarryOut

MAX_ACTORS: Final = 6
MOST_HELD: Final = 40
"""Messages that Lambda's pollers have taken at most before they hand some over."""

ALLOWED_STATUSES: Final = frozenset({200, 202, 204, 404, 409, 410, 503})
"""What a client may be told meanwhile: answers, what is or is not there, and to come again."""

_NEVER_MS: Final = 1 << 60
_MARKER_IN_BYTES: Final = re.compile(rb"[a-z0-9/.]+\|\d+")


class LostMessageError(AssertionError):
    """A message is neither done nor in the dead-letter queue."""


class UnexplainedError(AssertionError):
    """A dead letter does not say why it is one, though a function could have said it."""


class WrongStatusError(AssertionError):
    """A client was told what is not so, or that the server has a defect."""


class Clock:
    """A clock that goes on by a millisecond whenever it is looked at, so that runs repeat."""

    def __init__(self) -> None:
        """Start at some time."""
        self._now_ms = 1_800_000_000_000

    def time_ns(self) -> int:
        """Give the time since the epoch."""
        self._now_ms += 1
        return self._now_ms * 1_000_000


class InTurn:
    """An executor that does each piece of work when its result is asked for, in the same thread."""

    def __init__(self, *_: Any, **__: Any) -> None:
        """Take what a pool of threads takes."""

    def map(self, function: Callable[[Any], Any], *iterables: Iterable[Any]) -> Iterator[Any]:
        """Give the results one by one."""
        return map(function, *iterables)

    def submit(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Future[Any]:
        """Do it now."""
        future: Future[Any] = Future()
        future.set_result(function(*args, **kwargs))
        return future

    def shutdown(self, **_: Any) -> None:
        """Have nothing to end."""


@dataclass(slots=True, eq=False)
class Held:
    """A message that was received and is not settled."""

    function: FunctionName
    message: dict[str, Any]
    deliveries: int = 0
    """How often it is being handed over now: more than once where SQS delivers twice."""
    is_done: bool = False
    has_failed: bool = False

    @property
    def receives(self) -> int:
        """How often it was received."""
        return int(self.message["Attributes"]["ApproximateReceiveCount"])


@dataclass(slots=True, kw_only=True)
class Weather:
    """How often what fails, drawn once for a run."""

    fault: float
    """Requests that meet some fault."""
    crash: float
    """Steps at which a function ends."""
    down: float
    """Requests that fail of a service that is down."""
    poisoned: frozenset[str]
    """Keys whose objects cannot be read."""
    twice: float
    """Deliveries that are made twice at a time."""

    @classmethod
    def drawn(cls, random: random.Random) -> Weather:
        """Draw how it is."""
        poisoned = frozenset(random.sample(KEYS, random.choice((0, 0, 1, 2))))
        return cls(
            fault=random.choice((0.01, 0.05, 0.15, 0.4)),
            crash=random.choice((0, 0.005, 0.02)),
            down=random.choice((0, 0.9, 1)),
            poisoned=poisoned,
            twice=random.choice((0, 0.1, 0.3)),
        )


@dataclass
class Model:
    """What the objects are, and what is known of messages about them."""

    contents: dict[str, Content] = field(default_factory=dict)
    registered: dict[str, Content] = field(default_factory=dict)
    """By marker, what was ever made."""
    moves: Counter[str] = field(default_factory=Counter)
    """By key, how often its object has changed."""
    awaited: Counter[str] = field(default_factory=Counter)
    """By key, the events of its bucket that have not been received."""
    dead: Counter[str] = field(default_factory=Counter)
    """By key, messages that are in the dead-letter queue."""
    holders: dict[InstanceResource, set[str]] = field(default_factory=dict)
    """By instance, the keys that ever held it."""


class FaultySimulation:
    """One deployment in one world."""

    def __init__(self, random: random.Random, system: Deployed) -> None:
        """Take a deployment with nothing in it."""
        self.random = random
        self.system = system
        self.weather = Weather.drawn(random)
        self.model = Model()
        self.calls: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self.statuses: Counter[int] = Counter()
        self.dead_letters = 0
        self._down: str | None = None
        self._calm = False
        self._held: list[Held] = []
        self._actors: list[tuple[Actor, Callable[[Actor], None]]] = []
        self._environments: dict[FunctionName, list[Any]] = {}
        self._generation = 0
        self._keys = random.sample(KEYS, random.randint(2, len(KEYS)))
        self._instances = random.sample(INSTANCES, random.randint(1, len(INSTANCES)))
        self._may_be_unexplained: Counter[str] = Counter()
        self._failed_for_good: Counter[str] = Counter()
        self._forget_first_events()

    @contextmanager
    def running(self) -> Iterator[FaultySimulation]:
        """Have faults injected into what the actors do."""
        with ExitStack() as stack:
            patch = mock.patch.object
            stack.enter_context(patch(composition, "time", Clock()))
            stack.enter_context(patch(composition, "ThreadPoolExecutor", InTurn))
            stack.enter_context(patch(DynamoDbTable, "back_off", lambda *_: None))
            stack.enter_context(aws_faults.instant_retries())
            # Of a process, which here has several functions at a time, as Lambda never does.
            stack.enter_context(
                patch(FunctionMetrics, "of_invocations", lambda _, handler: handler)
            )
            stack.enter_context(patch(FunctionMetrics, "add", lambda *_: None))
            stack.enter_context(patch(FunctionMetrics, "add_rejections", lambda *_: None))
            # Reading the services' models is most of what starting a function takes.
            shared = cache(botocore.session.create_loader)
            stack.enter_context(patch(botocore.session, "create_loader", shared))
            stack.enter_context(intercepted(self._intercept))
            yield self

    # --- requests ----------------------------------------------------------------------------

    def _intercept(self, call: Call, carry_out: CarryOut) -> AWSResponse:
        if current_actor() is None:
            return carry_out()
        pause()
        self.calls[call.name] += 1
        do = partial(self._watched, call, carry_out)
        fault = self._fault_of(call)
        if fault is None:
            return do()
        self.faults[fault.__name__] += 1
        if call.parameters.get("QueueUrl") in self._dead_letter_urls.values():
            self._may_be_unexplained[call.parameters["MessageBody"]] += 1
        return fault(call, do)

    def _fault_of(self, call: Call) -> Callable[[Call, CarryOut], AWSResponse] | None:
        if self._calm:
            return None
        if call.operation == "GetObject" and call.parameters["Key"] in self.weather.poisoned:
            return aws_faults.failed
        is_down = call.service == self._down and self.random.random() < self.weather.down
        if not is_down and self.random.random() >= self.weather.fault:
            return None
        faults: list[Any] = [*aws_faults.ALWAYS, aws_faults.expired]
        if call.operation == "GetObject":
            faults += aws_faults.BODIES
        if call.operation in aws_faults.PARTLY:
            faults += [_partly(self.random)] * 3
        chosen: Callable[[Call, CarryOut], AWSResponse] = self.random.choice(faults)
        return chosen

    def _watched(self, call: Call, carry_out: CarryOut) -> AWSResponse:
        """Carry out a request, and note what it did to objects and dead letters."""
        answer = carry_out()
        parameters = call.parameters
        is_storage = parameters.get("Bucket") == self.system.settings.storage_bucket
        if is_storage and call.operation in ("PutObject", "DeleteObject"):
            self._look(parameters["Key"], by_function=True)
        if call.name == "sqs:SendMessage":
            self._died(parameters["MessageBody"])
        return answer

    def _died(self, body: str) -> None:
        self.model.dead.update(self._keys_of(body))
        self._failed_for_good[body] += 1

    # --- objects -----------------------------------------------------------------------------

    def _look(self, key: str, *, by_function: bool) -> None:
        """Have the model say of a key what the bucket says."""
        model = self.model
        before = model.contents.get(key)
        after = self._stored(key)
        if (before is None) is (after is None) and before == after:
            # Written again as it was, of which the bucket tells, too.
            if after is not None and by_function:
                model.awaited[key] += 1
            return
        model.moves[key] += 1
        model.awaited[key] += 1
        if after is None:
            del model.contents[key]
            return
        model.contents[key] = after
        if after.instance is not None:
            model.holders.setdefault(after.instance, set()).add(key)

    def _stored(self, key: str) -> Content | None:
        s3 = self.system.clients.s3
        with as_no_actor():
            try:
                answer = s3.get_object(Bucket=self.system.settings.storage_bucket, Key=key)
            except s3.exceptions.NoSuchKey:
                return None
            data = answer["Body"].read()
        found = _MARKER_IN_BYTES.search(data)
        if found is None:
            raise AssertionError(f"{key}: not of this simulation")
        return self.model.registered[found[0].decode()]

    def _new_content(self, key: str, instance: InstanceResource | None = None) -> Content:
        self._generation += 1
        marker = f"{key}|{self._generation}"
        if instance is None and self.random.random() < 0.1:
            content = Content(f"no DICOM {marker}".encode(), None, marker)
        else:
            chosen = instance or self.random.choice(self._instances)
            content = content_of(chosen, marker, number=INSTANCES.index(chosen) % 2)
        self.model.registered[marker] = content
        return content

    def expected(self, instance: InstanceResource) -> Content | None:
        """What answers must give of an instance, by the objects as they are."""
        contents = self.model.contents
        held = [key for key, content in contents.items() if content.instance == instance]
        if not held:
            return None
        with as_no_actor():
            listed = self.system.clients.s3.list_objects_v2(
                Bucket=self.system.settings.storage_bucket
            )
        seconds = {
            each["Key"]: int(each["LastModified"].timestamp()) for each in listed["Contents"]
        }
        canonical = canonical_key(instance)
        return contents[min(held, key=lambda key: (key != canonical, seconds[key], key))]

    def _settled(self) -> set[InstanceResource]:
        """Give the instances for whose keys, all that ever held them, nothing is still to be done."""
        if self._is_any_unreceived():
            return set()
        model = self.model
        waiting = {key for each in self._held for key in self._keys_of(each.message["Body"])}
        return {
            instance
            for instance in INSTANCES
            if not any(
                model.awaited[key] > 0 or model.dead[key] or key in waiting
                for key in model.holders.get(instance, ())
            )
        }

    def _is_any_unreceived(self) -> bool:
        """Whether a message waits that nobody has seen, of which an emulator may send too many."""
        name: Any = "ApproximateNumberOfMessages"
        with as_no_actor():
            told = self.system.clients.sqs.get_queue_attributes(
                QueueUrl=self.system.settings.ingest_queue_url, AttributeNames=[name]
            )
        return told["Attributes"][name] != "0"

    # --- what happens ------------------------------------------------------------------------

    def run(self, steps: int) -> None:
        """Let things happen, a step at a time."""
        events = {
            self._change: self.random.choice((0.5, 1, 3)),
            self._receive: 5,
            self._deliver: 5,
            self._read: 3,
            self._store: self.random.choice((0, 1)),
            self._delete: self.random.choice((0, 0.5)),
            self._sweep: 0.3,
            self._service_goes_down: 0.3,
        }
        for _ in range(steps):
            if self._actors and self.random.random() < 0.8:
                self._go_on(crash=self.random.random() < self.weather.crash)
            else:
                self.random.choices(tuple(events), weights=tuple(events.values()))[0]()

    def _service_goes_down(self) -> None:
        self._down = self.random.choice((None, "dynamodb", "s3", "sqs"))

    def _change(self) -> None:
        key = self.random.choice(self._keys)
        bucket, s3 = self.system.settings.storage_bucket, self.system.clients.s3
        if key in self.model.contents and self.random.random() < 0.3:
            s3.delete_object(Bucket=bucket, Key=key)
        else:
            self.system.put(key, self._new_content(key).data)
        self._look(key, by_function=False)

    def _start(
        self, work: Callable[[], None], ended: Callable[[Actor], None] = lambda _: None
    ) -> None:
        actor = Actor(work, self.random.choice(PACES))
        self._actors.append((actor, ended))
        if self.random.random() < 0.4:
            # All of it while the others stand still.
            while not actor.finished:
                crash = self.random.random() < self.weather.crash and not self._calm
                self._step(len(self._actors) - 1, crash=crash)

    def _go_on(self, *, crash: bool) -> None:
        paces = [actor.pace for actor, _ in self._actors]
        (place,) = self.random.choices(range(len(paces)), weights=paces)
        self._step(place, crash=crash)

    def _step(self, place: int, *, crash: bool) -> None:
        actor, ended = self._actors[place]
        actor.step(crash=crash)
        if actor.finished:
            del self._actors[place]
            if actor.error is not None:
                raise actor.error
            ended(actor)

    # functions

    @contextmanager
    def _environment(self, name: FunctionName, make: Callable[[], Any]) -> Iterator[Any]:
        """Have an environment of a function, which is used again unless the function ended in it."""
        free = self._environments.setdefault(name, [])
        environment = free.pop() if free else _undisturbed(make)
        yield environment
        free.append(environment)

    def _invoke(self, name: FunctionName, event: dict[str, Any]) -> Any:
        with self._environment(name, lambda: self.system.handler(name)) as handler:
            return handler(event, Context(function_name=name))

    def _ask(self, name: FunctionName, method: str, path: str, body: bytes = b"") -> Answer:
        """Ask an HTTP function as the gateway does.

        Raises:
            WrongStatusError: It is told what no client may be told.
        """
        with self._environment(name, lambda: self._application(name)) as asked:
            told = ask(asked, method, path, body)
        self.statuses[told.status] += 1
        if told.status not in ALLOWED_STATUSES:
            raise WrongStatusError(f"{method} {path}: {told.status} {told.body!r}")
        if told.status == 503 and "Retry-After" not in told.headers:
            raise WrongStatusError(f"{method} {path}: 503 without Retry-After")
        return told

    def _application(self, name: FunctionName) -> Any:
        handle = self.system.answering(name)
        settings = function_settings(name, self.system.settings)
        return application(handle, settings=settings, port=8080)

    # messages

    @property
    def _urls(self) -> dict[FunctionName, str]:
        settings = self.system.settings
        return {"ingest": settings.ingest_queue_url, "compact": settings.compact_queue_url}

    @property
    def _dead_letter_urls(self) -> dict[FunctionName, str]:
        settings = self.system.settings
        return {
            "ingest": settings.ingest_dead_letters_url,
            "compact": settings.compact_dead_letters_url,
        }

    def _keys_of(self, body: str) -> set[str]:
        bucket = self.system.settings.storage_bucket
        try:
            changes = parse_changes(body, bucket=bucket)
        except InvalidBodyError:
            return set()
        return {
            key for each in changes if isinstance(each, LookAtObjects) for key in each.object_keys
        }

    def _forget_first_events(self) -> None:
        """Take what S3 tells when it is told to tell."""
        sqs = self.system.clients.sqs
        url = self.system.settings.ingest_queue_url
        for message in sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get(
            "Messages", ()
        ):
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])

    def _receive(self) -> None:
        """Have the pollers take messages, each of which is then to be handed over."""
        for name, url in self._urls.items():
            if len(self._held) >= MOST_HELD:
                return
            answer = self.system.clients.sqs.receive_message(
                QueueUrl=url, MaxNumberOfMessages=10, MessageSystemAttributeNames=["All"]
            )
            for message in answer.get("Messages", ()):
                held = Held(name, dict(message))
                self._held.append(held)
                if held.receives == 1 and "Records" in message["Body"]:
                    self.model.awaited.subtract(self._keys_of(message["Body"]))

    def _deliver(self) -> None:
        waiting = [each for each in self._held if not each.deliveries]
        if not waiting or len(self._actors) >= MAX_ACTORS:
            return
        name = self.random.choice(waiting).function
        of_one = [each for each in waiting if each.function == name]
        batch = self.random.sample(of_one, self.random.randint(1, min(5, len(of_one))))
        times = 2 if self.random.random() < self.weather.twice and not self._calm else 1
        for each in batch:
            each.deliveries = times
        for _ in range(times):
            self._hand_over(name, batch)

    def _hand_over(self, name: FunctionName, batch: list[Held]) -> None:
        source = EventSource(
            self._urls[name],
            name,
            handler=lambda *_: None,
            batch=mock.Mock(),
            sqs=self.system.clients.sqs,
        )
        event = {"Records": [source.record(each.message) for each in batch]}  # type: ignore[arg-type]
        answers: list[Any] = []

        def ended(actor: Actor) -> None:
            failed = self._failed(batch, answers, actor)
            for each in batch:
                self._settle(
                    each, done=each.message["MessageId"] not in failed, crashed=not answers
                )

        self._start(lambda: answers.append(self._invoke(name, event)), ended)

    def _failed(self, batch: list[Held], answers: list[Any], actor: Actor) -> set[str]:
        if actor.crashed or not answers:
            answers.clear()
            return {each.message["MessageId"] for each in batch}
        return {each["itemIdentifier"] for each in answers[0]["batchItemFailures"]}

    def _settle(self, held: Held, *, done: bool, crashed: bool) -> None:
        held.deliveries -= 1
        held.is_done |= done
        held.has_failed |= not done
        body = held.message["Body"]
        if crashed:
            self._may_be_unexplained[body] += 1
        if held.deliveries:
            return
        self._held.remove(held)
        arguments: Any = {
            "QueueUrl": self._urls[held.function],
            "ReceiptHandle": held.message["ReceiptHandle"],
        }
        if held.is_done:
            self.system.clients.sqs.delete_message(**arguments)
            return
        # Its visibility timeout is over at some time; when that is, is drawn by when it is received.
        self.system.clients.sqs.change_message_visibility(**arguments, VisibilityTimeout=0)
        if held.receives >= MAX_RECEIVES:
            self._died(body)

    # clients

    def _read(self) -> None:
        if len(self._actors) < MAX_ACTORS:
            instance = self.random.choice(self._instances)
            kinds = (self._read_series, self._read_series, self._read_study, self._read_instance)
            self._start(partial(self.random.choice(kinds), instance))

    def _expectations(
        self, wanted: Callable[[InstanceResource], bool]
    ) -> Callable[[], dict[InstanceResource, Content | None]]:
        """Note what is settled now; the result gives what of that has not moved meanwhile."""
        settled = {each: self.expected(each) for each in self._settled() if wanted(each)}
        moves = Counter(self.model.moves)

        def unmoved() -> dict[InstanceResource, Content | None]:
            return {
                instance: content
                for instance, content in settled.items()
                if not any(
                    self.model.moves[key] != moves[key]
                    for key in {*self.model.holders.get(instance, ()), canonical_key(instance)}
                )
            }

        return unmoved

    def _read_series(self, instance: InstanceResource) -> None:
        series = instance.series
        unmoved = self._expectations(lambda each: each.series == series)
        path = f"/studies/{series.study_instance_uid}/series/{series.series_instance_uid}/metadata"
        self._compare(self._ask("read", "GET", path), unmoved(), path)

    def _read_study(self, instance: InstanceResource) -> None:
        study = instance.study_instance_uid
        unmoved = self._expectations(lambda each: each.study_instance_uid == study)
        path = f"/studies/{study}/metadata"
        self._compare(self._ask("read", "GET", path), unmoved(), path)

    def _compare(
        self, told: Answer, expected: dict[InstanceResource, Content | None], path: str
    ) -> None:
        if told.status == 503 or told.is_broken_off:
            return
        markers = told.markers() if told.status == 200 else {}
        for each, content in expected.items():
            if markers.get(each.sop_instance_uid) != (content.marker if content else None):
                raise StaleAnswerError(f"{path}: {each}: {markers}, not {content}")

    def _read_instance(self, instance: InstanceResource) -> None:
        """Read an object; whatever is given is one that was there, whole."""
        unmoved = self._expectations(lambda each: each == instance)
        told = self._ask("read", "GET", instance.path)
        if told.status == 503 or told.is_broken_off:
            return
        if told.status == 200:
            known = {content.data for content in self.model.registered.values()}
            if not any(data in told.body for data in known):
                raise StaleAnswerError(f"{instance}: bytes of no object: {told.body!r}")
        for content in unmoved().values():
            if (content is None) is (told.status == 200):
                raise StaleAnswerError(f"{instance}: {told.status}, not {content}")
            if content is not None and content.data not in told.body:
                raise StaleAnswerError(f"{instance}: other bytes than those of {content.marker}")

    def _store(self) -> None:
        if len(self._actors) < MAX_ACTORS:
            instance = self.random.choice(self._instances)
            content = self._new_content(canonical_key(instance), instance)
            self._start(lambda: self._store_one(instance, content))

    def _store_one(self, instance: InstanceResource, content: Content) -> None:
        """Store an instance; what is told to be stored is in the bucket, or was and went."""
        key = canonical_key(instance)
        moves = self.model.moves[key]
        body = b"--b\r\nContent-Type: application/dicom\r\n\r\n" + content.data + b"\r\n--b--\r\n"
        told = self._ask("store", "POST", "/studies", body)
        if told.status not in (200, 202) or "00081199" not in told.json():
            return
        if self.model.moves[key] == moves:
            raise StaleAnswerError(f"{key}: told to be stored, and nothing was written")

    def _delete(self) -> None:
        if len(self._actors) < MAX_ACTORS:
            instance = self.random.choice(self._instances)
            study = f"/studies/{instance.study_instance_uid}"
            series = f"{study}/series/{instance.series_instance_uid}"
            path = self.random.choice((study, series, instance.path))
            self._start(lambda: self._delete_one(path))

    def _delete_one(self, path: str) -> None:
        self._ask("manage", "DELETE", path)

    def _sweep(self) -> None:
        if len(self._actors) < MAX_ACTORS:
            self._start(self._sweep_once)

    def _sweep_once(self) -> None:
        with self._environment("sweep", self._sweeper) as handler, suppress(UnavailableError):
            # That one has failed then; the schedule starts the next.
            handler({}, Context(function_name="sweep"))

    def _sweeper(self) -> Any:
        handler = self.system.handler("sweep")
        sys.modules[handler.__module__].GRACE_MS = -1  # type: ignore[attr-defined]
        return handler

    # --- the end -----------------------------------------------------------------------------

    def bury(self) -> None:
        """Let nothing new happen while it all still fails, until every message has had its end.

        Raises:
            LostMessageError: One has none.
            UnexplainedError: A dead letter has no reason, and no failure of its function either.
        """
        self._down = self.random.choice((None, self._down))
        self._until_quiet()
        letters = [
            letter
            for name, url in self._dead_letter_urls.items()
            for letter in Redrive(
                DeadLetterQueue(name=name, url=url, target_url=self._urls[name]),
                client=self.system.clients.sqs,
            ).walk(lambda _: True, moves=False)
        ]
        self.dead_letters = len(letters)
        buried = Counter(letter.body for letter in letters)
        if lost := self._failed_for_good.keys() - buried.keys():
            raise LostMessageError(f"failed for good, and in no dead-letter queue: {lost}")
        for letter in letters:
            is_told = ": " in letter.reason and "no reason recorded" not in letter.reason
            if not is_told and not self._may_be_unexplained[letter.body]:
                raise UnexplainedError(f"{letter.body}: {letter.reason}")

    def settle(self) -> None:
        """Let the dust settle: nothing fails any more, dead letters go back, sweeps run."""
        self._calm = True
        self._until_quiet()
        for name, url in self._dead_letter_urls.items():
            queue = DeadLetterQueue(name=name, url=url, target_url=self._urls[name])
            for _ in Redrive(queue, client=self.system.clients.sqs).walk(
                lambda _: True, moves=True
            ):
                pass
        self.model.dead.clear()
        self._failed_for_good.clear()
        for _ in range(2):
            self._until_quiet()
            self._start(self._sweep_once)
        self._until_quiet()
        if self._failed_for_good:
            raise AssertionError(f"still fails: {self._failed_for_good}")

    def _until_quiet(self) -> None:
        quiet = 0
        for _ in range(20_000):
            while self._actors:
                self._go_on(crash=False)
            self._receive()
            if self._held:
                self._deliver()
                quiet = 0
            else:
                quiet += 1
            if quiet == 3:
                return
        raise AssertionError("the dust does not settle")

    def answers(self) -> dict[str, Any]:
        """Give all that the reading function answers, once nothing happens."""
        asked = self._application("read")
        return answers(partial(ask, asked, "GET"))


def rebuilt_answers(system: Deployed, folder: Path) -> dict[str, Any]:
    """Index all objects of a deployment anew, elsewhere, and give all answers of that."""
    settings = system.settings
    index = SqliteIndex(folder / "rebuilt.sqlite")
    archive = composition.compose(
        settings,
        index=index,
        storage=S3Store(settings.storage_bucket),
        cache=MemoryStore(composition.clock_ms),
        # What it would say is done here at once.
        queue=mock.Mock(),
    )
    archive.ingest.look_at([each.key for each in archive.storage.list()])
    archive.compaction.compact(index.overdue_series(_NEVER_MS))
    asked = application(partial(answer, archive), settings=settings, port=8080)
    found = answers(partial(ask, asked, "GET"))
    index.close()
    return found


def answers(get: Callable[[str], Answer]) -> dict[str, Any]:
    """Ask for all that there is."""
    found: dict[str, Any] = {}
    studies = sorted({each.study_instance_uid for each in INSTANCES})
    series = sorted({each.series.path for each in INSTANCES})
    paths = ["/studies", "/series", "/instances"]
    paths += [f"/studies/{study}/{kind}" for study in studies for kind in ("series", "metadata")]
    paths += [f"{path}/{kind}" for path in series for kind in ("instances", "metadata")]
    for path in paths:
        told = get(path + ("?includefield=all" if "metadata" not in path else ""))
        # Of what is gone a new index does not know that it ever was.
        missing = 404 if told.status == 410 else told.status
        found[path] = told.json() if told.status == 200 else missing
    return found


@dataclass(frozen=True, slots=True)
class Answer:
    """What an HTTP function answered."""

    status: int
    headers: dict[str, str]
    body: bytes
    is_broken_off: bool = False

    def json(self) -> Any:
        """Give the body read as JSON."""
        return json.loads(self.body)

    def markers(self) -> dict[str, str]:
        """Give the marker of each SOP Instance UID in it."""
        found: dict[str, str] = {}
        for each in self.json():
            uid = each["00080018"]["Value"][0]
            if uid in found:
                raise StaleAnswerError(f"{uid} twice")
            found[uid] = each[MARKER]["Value"][0]
        return found


def ask(asked: Any, method: str, path: str, body: bytes = b"") -> Answer:
    """Ask a WSGI application."""
    target, _, query = path.partition("?")
    environ = {
        "REQUEST_METHOD": method,
        "SCRIPT_NAME": "",
        "PATH_INFO": f"/dicom-web{target}",
        "RAW_URI": f"/dicom-web{path}",
        "QUERY_STRING": query,
        "SERVER_NAME": "archive.example",
        "SERVER_PORT": "443",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "HTTP_HOST": BASE_URL.split("/")[2],
        "CONTENT_TYPE": 'multipart/related; type="application/dicom"; boundary=b' if body else "",
        "CONTENT_LENGTH": str(len(body)),
        "HTTP_ACCEPT": "*/*",
        "wsgi.input": BytesIO(body),
        "wsgi.url_scheme": "https",
    }
    told: list[Any] = []

    def start_response(status: str, headers: list[tuple[str, str]], *_: Any) -> Any:
        told.append((int(status.split()[0]), dict(headers)))

    pieces: list[bytes] = []
    outgoing = asked(environ, start_response)
    is_broken_off = False
    try:
        pieces.extend(outgoing)
    except Exception:  # noqa: BLE001 (the server ends the connection there)
        is_broken_off = True
    finally:
        outgoing.close()
    status, headers = told[0]
    return Answer(status, headers, b"".join(pieces), is_broken_off)


def _undisturbed(make: Callable[[], Any]) -> Any:
    with as_no_actor():
        return make()


def _partly(random: random.Random) -> Callable[[Call, CarryOut], AWSResponse]:
    def partly_done(call: Call, carry_out: CarryOut) -> AWSResponse:
        return aws_faults.partly_done(call, carry_out, random=random)

    return partly_done
