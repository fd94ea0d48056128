"""Objects that change while workers index, compact and read them, one step at a time.

Each actor is a thread that stops before every call of a port, or every request to DynamoDB. The
simulation lets one of them go on at a time, chosen by its random numbers, changes objects in
between, delivers messages late, twice and in any order, and lets actors die wherever they stand.
A run is a function of its seed.
"""

from __future__ import annotations

import json
import threading
from collections import Counter
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from dicomulus.adapters.ledger import Ledger
from dicomulus.composition import compose, one_by_one
from dicomulus.dicom.resource import (
    InstanceResource,
    PatientResource,
    SeriesResource,
    canonical_key,
)
from dicomulus.errors import NotFoundError, UnavailableError
from dicomulus.metadata.gzip_assembly import identity
from dicomulus.ports import ChangeType, CompactSeries, LookAtObjects
from dicomulus.services.delete import Delete
from dicomulus.settings import Settings
from tests.support.encodings import decoded

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from dicomulus.ports import (
        Change,
        ChangedResource,
        ChangeQueue,
        Index,
        InstanceRow,
        Message,
        ObjectStore,
    )
    from dicomulus.services.archive import Archive
    from dicomulus.services.metadata import MetadataState
    from tests.support.memory_store import MemoryStore

BASE_URL = "http://archive.example/dicom-web"
MAX_ACTORS = 8
MARKER = "00204000"
"""ImageComments: says which object and which generation of it an answer comes from."""

STABLE_AGE_SECONDS = 10

PACES = (1.0, 0.03, 0.001)
"""How often an actor's turn comes. The slow ones are overtaken, which is where mistakes show."""

_STEP_TIMEOUT_SECONDS = 600
"""Far above what a slow actor waits for its turn on a busy machine."""


class CrashError(BaseException):
    """The process of an actor ends here; nothing in the package may catch it."""


class WrongChangeError(AssertionError):
    """A change was recorded twice, too early, out of order, or not at all."""


class StaleAnswerError(AssertionError):
    """A reader was given an answer that lacks an acknowledged write."""


# --- objects -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Content:
    """What an object holds: an instance, or nothing that can be indexed."""

    data: bytes
    instance: InstanceResource | None
    marker: str


def _element(group: int, number: int, vr: str, value: str) -> bytes:
    data = value.encode()
    data += b"\0" * (len(data) % 2) if vr == "UI" else b" " * (len(data) % 2)
    tag = group.to_bytes(2, "little") + number.to_bytes(2, "little")
    return tag + vr.encode() + len(data).to_bytes(2, "little") + data


def content_of(instance: InstanceResource, marker: str, *, number: int) -> Content:
    """Make a small object of an instance."""
    syntax = _element(0x0002, 0x0010, "UI", "1.2.840.10008.1.2.1")
    dataset = [
        _element(0x0008, 0x0016, "UI", "1.2.840.10008.5.1.4.1.1.2"),
        _element(0x0008, 0x0018, "UI", instance.sop_instance_uid),
        _element(0x0008, 0x0020, "DA", "20240229"),
        _element(0x0008, 0x0060, "CS", "CT"),
        _element(0x0010, 0x0020, "LO", f"patient of {instance.study_instance_uid}"),
        _element(0x0020, 0x000D, "UI", instance.study_instance_uid),
        _element(0x0020, 0x000E, "UI", instance.series_instance_uid),
        _element(0x0020, 0x0013, "IS", str(number)),
        _element(0x0020, 0x4000, "LT", marker),
    ]
    data = b"\0" * 128 + b"DICM" + syntax + b"".join(dataset)
    return Content(data, instance, marker)


INSTANCES = tuple(
    InstanceResource(f"1.{study}", f"1.{study}.{series}", f"1.{study}.{series}.{number}")
    for study in (1, 2)
    for series in (1, 2)
    for number in (1, 2)
)
KEYS = (canonical_key(INSTANCES[0]), canonical_key(INSTANCES[4]), "a.dcm", "b.dcm", "c", "d/e")


# --- changes -------------------------------------------------------------------------------------

STABLE_TYPES = (ChangeType.STABLE_SERIES, ChangeType.STABLE_STUDY)
BEGINNINGS = (
    ChangeType.NEW_INSTANCE,
    ChangeType.NEW_SERIES,
    ChangeType.NEW_STUDY,
    ChangeType.NEW_PATIENT,
)


def check_lives(changes: Iterable[Change], present: set[ChangedResource]) -> None:
    """Compare what a consumer was told with what there is in the end.

    Raises:
        WrongChangeError: Something was told to begin or to end twice in a row, its versions do not
            rise, or the last that was told of it is not so.
    """
    alive: set[ChangedResource] = set()
    versions: dict[tuple[ChangeType, ChangedResource], int] = {}
    for change in changes:
        named = change.type, change.resource
        if change.version <= versions.get(named, -1):
            raise WrongChangeError(f"again, or an older one: {change}")
        versions[named] = change.version
        if change.type in BEGINNINGS:
            if change.resource in alive:
                raise WrongChangeError(f"begins twice: {change}")
            alive.add(change.resource)
        elif change.type is ChangeType.DELETED:
            if change.resource not in alive:
                raise WrongChangeError(f"ends twice: {change}")
            alive.remove(change.resource)
    if alive != present:
        raise WrongChangeError(f"only told {alive - present}, never told {present - alive}")


# --- actors --------------------------------------------------------------------------------------


class Actor:
    """A thread that waits for its turn before every step."""

    def __init__(self, work: Callable[[], None], pace: float) -> None:
        self.pace = pace
        self._turn = threading.Semaphore(0)
        self._waiting = threading.Semaphore(0)
        self._dies = False
        self.finished = False
        self.crashed = False
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(work,), daemon=True)
        self._thread.start()
        self._await()

    def step(self, *, crash: bool = False) -> None:
        """Let the actor do its next step, or die before it."""
        self._dies = crash
        self._turn.release()
        self._await()

    def pause(self) -> None:
        """Wait for the next turn; called in the actor's own thread."""
        self._waiting.release()
        if not self._turn.acquire(timeout=_STEP_TIMEOUT_SECONDS) or self._dies:
            raise CrashError

    def _await(self) -> None:
        if not self._waiting.acquire(timeout=_STEP_TIMEOUT_SECONDS):
            raise TimeoutError("an actor is stuck between two steps")
        if self.finished:
            self._thread.join()

    def _run(self, work: Callable[[], None]) -> None:
        _ACTOR.current = self
        try:
            self.pause()
            work()
        except CrashError:
            self.crashed = True
        except BaseException as exc:  # noqa: BLE001 (the simulation raises it)
            self.error = exc
        finally:
            self.finished = True
            self._waiting.release()


class _Local(threading.local):
    current: Actor | None = None


_ACTOR = _Local()


def current_actor() -> Actor | None:
    """Give the actor whose thread this is."""
    return _ACTOR.current


@contextmanager
def as_no_actor() -> Iterator[None]:
    """Have what the calling thread does be no step of an actor."""
    actor = _ACTOR.current
    _ACTOR.current = None
    try:
        yield
    finally:
        _ACTOR.current = actor


def pause() -> None:
    """Stop until it is the calling actor's turn; outside of actors nothing happens."""
    if _ACTOR.current is not None:
        _ACTOR.current.pause()


class Paused:
    """Stops before every call of what it is around."""

    def __init__(self, inner: object) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._inner, name)
        if not callable(attribute):
            return attribute

        def paused(*args: Any, **kwargs: Any) -> Any:
            pause()
            return attribute(*args, **kwargs)

        return paused


# --- the world -----------------------------------------------------------------------------------


@dataclass
class Delivery:
    """A message on its way."""

    message: Message
    visible_ms: int


@dataclass
class World:
    """Clock, objects and messages."""

    now_ms: int = 1_700_000_000_000
    messages: list[Delivery] = field(default_factory=list)
    contents: dict[str, Content] = field(default_factory=dict)
    modified_ms: dict[str, int] = field(default_factory=dict)
    unsettled: Counter[str] = field(default_factory=Counter)
    """By key, the object events that are not acknowledged yet."""
    moves: Counter[str] = field(default_factory=Counter)
    """By key, how often its object has changed."""
    holders: dict[InstanceResource, set[str]] = field(default_factory=dict)
    """By instance, the keys that ever held it."""

    def clock_ms(self) -> int:
        return self.now_ms

    def is_deleted(self, key: str) -> None:
        """Note that an object has just gone."""
        self.now_ms += 1
        self.moves[key] += 1
        del self.contents[key]

    def send(self, messages: Sequence[Message], *, delay_seconds: float = 0) -> None:
        for message in messages:
            if isinstance(message, LookAtObjects):
                self.unsettled.update(message.object_keys)
            self.messages.append(Delivery(message, self.now_ms + int(1000 * delay_seconds)))

    def expected(self, instance: InstanceResource) -> Content | None:
        """What answers must give of an instance, by the objects as they are."""
        held = [key for key, content in self.contents.items() if content.instance == instance]
        canonical = canonical_key(instance)
        return (
            self.contents[min(held, key=lambda k: (k != canonical, self.modified_ms[k], k))]
            if held
            else None
        )

    def is_settled(self, instance: InstanceResource) -> bool:
        """Whether every event of every key that ever held the instance is acknowledged."""
        return not any(self.unsettled[key] for key in self.holders.get(instance, ()))


class WatchedDeletion:
    """The storage area as one deletion sees it, which notes what that takes away.

    Till the deletion is over the readers know no more than that; then it is as if it had
    acknowledged the events of all these objects.
    """

    def __init__(self, inner: MemoryStore, world: World) -> None:
        self._inner = inner
        self._world = world
        self.deleted: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def delete(self, key: str, *, if_match: str | None = None) -> None:
        """Delete an object, and note it in the same step."""
        pause()
        self._inner.delete(key, if_match=if_match)
        if key in self._world.contents:
            self._world.is_deleted(key)
            self._world.unsettled[key] += 1
            self.deleted.append(key)

    def end(self, *, is_done: bool) -> None:
        """Take the objects' events as handled, or have them sent."""
        self._world.unsettled.subtract(self.deleted)
        if not is_done:
            self._world.send([LookAtObjects((key,)) for key in self.deleted])


class WatchedStability:
    """An index that lets no change be recorded twice, or too early."""

    def __init__(self, inner: Index, world: World) -> None:
        self._inner = inner
        self._world = world
        self._settled_ms: dict[tuple[SeriesResource, int], int] = {}
        self._recorded: dict[tuple[ChangeType, object], int] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def settle_series(
        self, series: SeriesResource, version: int, *, stable_due_ms: int | None = None
    ) -> bool:
        """Note since when a version has been there at least."""
        self._settled_ms.setdefault((series, version), self._world.now_ms)
        return self._inner.settle_series(series, version, stable_due_ms=stable_due_ms)

    def record_change(self, change: Change, *, after: int | None = None) -> bool:
        """Compare a change with those before and with the time."""
        is_news = self._inner.record_change(change, after=after)
        if is_news:
            named = change.type, change.resource
            if change.version <= self._recorded.get(named, 0):
                raise WrongChangeError(f"again, or an older one: {change}")
            self._recorded[named] = change.version
        if change.type is ChangeType.STABLE_SERIES:
            series = cast("SeriesResource", change.resource)
            since_ms = self._settled_ms.get((series, change.version), change.date_ms)
            if change.date_ms - since_ms < 1000 * STABLE_AGE_SECONDS:
                raise WrongChangeError(f"too early: {change}")
        return is_news


class Simulation:
    """One archive in one world."""

    def __init__(
        self,
        random: random.Random,
        *,
        index: Index,
        storage: MemoryStore,
        cache: MemoryStore,
        world: World,
        pause_index: bool = True,
    ) -> None:
        self.random = random
        self.world = world
        self.storage = storage
        self.ledger = Ledger()
        self.index = index
        self._actors: list[tuple[Actor, Delivery | None]] = []
        self._generation = 0
        # Few keys and instances collide often, many take more ways past each other.
        self._keys = random.sample(KEYS, random.randint(1, len(KEYS)))
        self._instances = random.sample(INSTANCES, random.randint(1, len(INSTANCES)))
        self.archive = self._compose(index, cache, pause_index=pause_index)
        self.clean_reads = 0
        self.consumed: list[Change] = []
        self._consumes = False
        self._announces = random.random() < 0.4

    def _compose(self, index: Index, cache: MemoryStore, *, pause_index: bool) -> Archive:
        stepped = cast("Index", Paused(index)) if pause_index else index
        return compose(
            Settings(
                compact_delay_seconds=5,
                stable_age_seconds=STABLE_AGE_SECONDS,
                prefix_bytes=256,
                max_bases=1,
            ),
            index=cast("Index", WatchedStability(self.ledger.index(stepped), self.world)),
            storage=cast("ObjectStore", Paused(self.storage)),
            cache=self.ledger.store(cast("ObjectStore", Paused(cache)), "cache"),
            queue=cast("ChangeQueue", Paused(self.world)),
            clock=self.world.clock_ms,
        )

    # what happens

    def run(self, steps: int) -> None:
        """Let things happen, a step at a time."""
        events = {
            self._change: self.random.choice((0.5, 1, 4)),
            self._deliver: 5,
            self._read: 4,
            self._consume: 0.5,
            self._advance: 1,
            self._repeat: 0.5,
            self._compact: self.random.choice((0, 3)),
            self._delete: self.random.choice((0, 1)),
        }
        for _ in range(steps):
            if self._actors and self.random.random() < 0.6:
                self._go_on(crash=self.random.random() < 0.02)
            else:
                self.random.choices(tuple(events), weights=tuple(events.values()))[0]()

    def settle(self) -> None:
        """Let the dust settle: nothing changes any more, every message is delivered."""
        for _ in range(100_000):
            if self._actors:
                self._go_on(crash=False)
            elif self.world.messages:
                self.world.now_ms = max(
                    self.world.now_ms, *(each.visible_ms for each in self.world.messages)
                )
                self._deliver()
            else:
                return
        raise AssertionError("the dust does not settle")

    def sweep(self) -> None:
        """Compact what is overdue and record what is stable, as the scheduled sweep does."""
        self.archive.compaction.compact(self.index.overdue_series(self.world.now_ms + 10**9))
        self.world.now_ms += 1000 * STABLE_AGE_SECONDS + 1
        while self.archive.stability.record_due():
            pass
        self._read_changes()

    def _change(self) -> None:
        key = self.random.choice(self._keys)
        self.world.now_ms += 1
        self.world.moves[key] += 1
        if key in self.world.contents and self.random.random() < 0.3:
            del self.world.contents[key]
            self.storage.delete(key)
        else:
            content = self._new_content(key)
            self.world.contents[key] = content
            self.world.modified_ms[key] = self.world.now_ms
            self.storage.put(key, content.data)
            if content.instance is not None:
                self.world.holders.setdefault(content.instance, set()).add(key)
        self.world.send([LookAtObjects((key,))])

    def _new_content(self, key: str) -> Content:
        self._generation += 1
        marker = f"{key}|{self._generation}"
        if self.random.random() < 0.1:
            return Content(f"no DICOM {marker}".encode(), None, marker)
        chosen = self.random.choice(self._instances)
        return content_of(chosen, marker, number=INSTANCES.index(chosen) % 2)

    def _deliver(self) -> None:
        visible = [each for each in self.world.messages if each.visible_ms <= self.world.now_ms]
        if not visible or len(self._actors) >= MAX_ACTORS:
            return
        delivery = self.random.choice(visible)
        self.world.messages.remove(delivery)
        self._start(lambda: self._handle(delivery.message), delivery)

    def _repeat(self) -> None:
        """Deliver a message a second time, or bring an event of nothing."""
        if self.world.messages:
            self.world.send([self.random.choice(self.world.messages).message])
        else:
            self.world.send([LookAtObjects((self.random.choice(self._keys),))])

    def _compact(self) -> None:
        """Compact whatever is due or not, as a sweep does."""
        if len(self._actors) < MAX_ACTORS:
            series = self.random.choice(self._instances).series
            self._start(lambda: self._compact_series(series), None)

    def _delete(self) -> None:
        """Have a client delete something."""
        if len(self._actors) < MAX_ACTORS:
            instance = self.random.choice(self._instances)
            level = self.random.randrange(3)
            self._start(lambda: self._delete_one(instance, level), None)

    def _consume(self) -> None:
        """Read on in the log of changes, from where it was read up to."""
        if len(self._actors) < MAX_ACTORS and not self._consumes:
            self._consumes = True
            self._start(self._read_changes, None)

    def _advance(self) -> None:
        self.world.now_ms += self.random.randrange(8_000)

    def _read(self) -> None:
        if len(self._actors) < MAX_ACTORS:
            series = self.random.choice(self._instances).series
            self._start(lambda: self._read_series(series), None)

    def _start(self, work: Callable[[], None], delivery: Delivery | None) -> None:
        actor = Actor(work, self.random.choice(PACES))
        self._actors.append((actor, delivery))
        if self.random.random() < (0.7 if delivery is None else 0.4):
            # All of it while the others stand still.
            while not actor.finished:
                self._step(len(self._actors) - 1, crash=False)

    def _go_on(self, *, crash: bool) -> None:
        paces = [actor.pace for actor, _ in self._actors]
        (place,) = self.random.choices(range(len(paces)), weights=paces)
        self._step(place, crash=crash)

    def _step(self, place: int, *, crash: bool) -> None:
        actor, delivery = self._actors[place]
        actor.step(crash=crash)
        if not actor.finished:
            return
        del self._actors[place]
        if actor.error is not None and not isinstance(actor.error, UnavailableError):
            raise actor.error
        if delivery is not None:
            self._finish(delivery, done=actor.error is None and not actor.crashed)

    def _finish(self, delivery: Delivery, *, done: bool) -> None:
        if not done:
            delivery.visible_ms = self.world.now_ms + 1_000
            self.world.messages.append(delivery)
        elif isinstance(delivery.message, LookAtObjects):
            self.world.unsettled.subtract(delivery.message.object_keys)

    # what the actors do

    def _delete_one(self, instance: InstanceResource, level: int) -> None:
        watched = WatchedDeletion(self.storage, self.world)
        delete = Delete(
            self.archive.index,
            cast("ObjectStore", watched),
            cache=self.archive.cache,
            ingest=self.archive.ingest,
            at_rest=self.archive.at_rest,
            belongings=self.archive.belongings,
            compaction=self.archive.compaction,
            seconds=0,
            clock_ms=self.world.clock_ms,
            run_all=one_by_one,
        )
        is_done = False
        try:
            with suppress(NotFoundError):
                if level == 0:
                    delete.study(instance.study_instance_uid)
                elif level == 1:
                    delete.series(instance.series)
                else:
                    delete.instance(instance)
            is_done = True
        finally:
            watched.end(is_done=is_done)

    def _handle(self, message: Message) -> None:
        if isinstance(message, LookAtObjects):
            report = self.archive.ingest.look_at(message.object_keys)
            for error in report.failed.values():
                raise error
        elif isinstance(message, CompactSeries):
            compacted = self.archive.compaction.compact([message.series])
            # The sweep makes good for messages that are lost.
            if self._announces:
                self.archive.stability.announce(compacted)
        else:
            self.archive.stability.handle(message)

    def _compact_series(self, series: SeriesResource) -> None:
        self.archive.compaction.compact([series])

    def _read_changes(self) -> None:
        try:
            while page := self._changes_after_last():
                self.consumed.extend(page)
        finally:
            self._consumes = False

    def _changes_after_last(self) -> tuple[Change, ...]:
        since = self.consumed[-1].sequence if self.consumed else 0
        return self.archive.index.changes(since, limit=3).items

    def _read_series(self, series: SeriesResource) -> None:
        """Read as a user agent does; what was acknowledged before must be in the answer."""
        world = self.world
        settled = {
            instance: world.expected(instance)
            for instance in INSTANCES
            if instance.series == series and world.is_settled(instance)
        }
        moves = {key: world.moves[key] for key in KEYS}
        markers = self.markers(lambda: self.archive.metadata.series_state(series))
        for instance, content in settled.items():
            keys = world.holders.get(instance, set())
            if any(world.moves[key] != moves[key] for key in keys):
                continue
            if markers.get(instance.sop_instance_uid) != (content.marker if content else None):
                raise StaleAnswerError(f"{instance}: {markers}, not {content}")

    def markers(self, read_state: Callable[[], MetadataState]) -> dict[str, str]:
        """Read metadata; give the marker of each SOP Instance UID in it."""
        try:
            text = self._text(read_state())
        except NotFoundError:
            return {}
        found: dict[str, str] = {}
        for each in json.loads(text):
            uid = each["00080018"]["Value"][0]
            if uid in found:
                raise StaleAnswerError(f"{uid} twice")
            found[uid] = each[MARKER]["Value"][0]
        return found

    def _text(self, state: MetadataState) -> bytes:
        """Read metadata in either encoding, by turns of the version."""
        metadata = self.archive.metadata
        if "zstd" in state.encodings and state.rows[0].version % 2:
            return decoded(metadata.frame(state, base_url=BASE_URL).data, "zstd")
        return b"".join(identity(metadata.blocks(state, base_url=BASE_URL)))

    # what must be true in the end

    def check(self) -> None:
        """Compare rows, counts and metadata with the objects."""
        self._check_rows()
        for study in {instance.study_instance_uid for instance in INSTANCES}:
            self._check_study(study)
        if leftover := self.index.overdue_series(self.world.now_ms + 10**9):
            raise AssertionError(f"still due: {leftover}")
        self._check_changes()

    def _check_changes(self) -> None:
        """Compare what the consumer was given with what is stable now."""
        if [each.sequence for each in self.consumed] != list(range(1, len(self.consumed) + 1)):
            raise WrongChangeError(f"gaps or repetitions: {self.consumed}")
        if leftover := self.index.quiet_series(self.world.now_ms + 10**9):
            raise WrongChangeError(f"still to be recorded: {leftover}")
        expected: set[tuple[ChangedResource, int]] = set()
        for study in {instance.study_instance_uid for instance in INSTANCES}:
            rows = self.index.query_series(study)
            expected |= {(row.series, row.version) for row in rows if row.instance_count}
            if any(row.instance_count for row in rows):
                expected.add((study, sum(row.version for row in rows)))
        found = Counter(
            (each.resource, each.version) for each in self.consumed if each.type in STABLE_TYPES
        )
        if {found[each] for each in expected} - {1} or max(found.values(), default=1) > 1:
            raise WrongChangeError(f"{expected} are stable, recorded was {found}")
        check_lives(self.consumed, self._present())

    def _present(self) -> set[ChangedResource]:
        """Give what must be there by the objects, on all levels."""
        held = {instance for instance in INSTANCES if self.world.expected(instance)}
        studies = {each.study_instance_uid for each in held}
        patients = {PatientResource(f"patient of {study}") for study in studies}
        return held | {each.series for each in held} | studies | patients

    def _check_rows(self) -> None:
        rows = {(row.instance, row.object_key, row.object_etag) for row in self._all_rows()}
        etags = {info.key: info.etag for info in self.storage.list()}
        held = {
            (content.instance, key, etags[key])
            for key, content in self.world.contents.items()
            if content.instance is not None
        }
        if rows != held:
            raise AssertionError(f"rows without object {rows - held}, objects {held - rows}")

    def _all_rows(self) -> Iterable[InstanceRow]:
        for series in {instance.series for instance in INSTANCES}:
            yield from self.archive.compaction.instance_rows(series)

    def _check_study(self, study: str) -> None:
        counts: Counter[SeriesResource] = Counter()
        for instance in INSTANCES:
            if instance.study_instance_uid == study and self.world.expected(instance):
                counts[instance.series] += 1
        row = self.index.get_studies([study]).get(study)
        if (row.instance_count if row else 0) != counts.total():
            raise AssertionError(f"study {study}: {row}, not {counts}")
        if (row.series_count if row else 0) != len(counts):
            raise AssertionError(f"study {study}: {row}, not {counts}")
        for each in self.index.query_series(study):
            if each.instance_count != counts[each.series]:
                raise AssertionError(f"series {each}, not {counts[each.series]}")
        for series in counts:
            self._check_metadata(series)

    def _check_metadata(self, series: SeriesResource) -> None:
        expected = {
            instance.sop_instance_uid: content.marker
            for instance in INSTANCES
            if instance.series == series and (content := self.world.expected(instance))
        }
        for attempt in ("first", "second"):
            found, calls = self.ledger.of(
                lambda: self.markers(lambda: self.archive.metadata.series_state(series))
            )
            if found != expected:
                raise AssertionError(f"{series}: {found}, not {expected}")
            made = [(call.port, call.operation) for call in calls]
            if attempt == "second" and made != [("index", "get_series"), ("cache", "get")]:
                raise AssertionError(f"no clean read of {series}: {made}")
            self.clean_reads += 1
