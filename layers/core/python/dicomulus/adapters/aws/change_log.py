"""The log of changes in a DynamoDB table.

What is told or recorded is written in one transaction with what makes that happen once, and with its
place at the end of the log. Where others are at the end as well, it is written with a piece that
waits for a place instead, and then all pieces that wait take the next places in one transaction, by
whoever comes first. So those who write at the same time wait for one another once, not one after
the other, and what breaks off in between is put in its place by the next.

A piece is only written when what it follows upon has its place, so two that wait have no order.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Final
from uuid import uuid4

from dicomulus.adapters.aws.change_items import (
    CursorItem,
    LifeItem,
    LogItem,
    NameItem,
    PendingItem,
    Piece,
    ToldItem,
    VersionItem,
    format_key,
    numbered,
    pack_pieces,
    pack_told,
    parse_key,
    unpack_pieces,
    unpack_told,
)
from dicomulus.adapters.aws.dynamodb_table import key_of
from dicomulus.adapters.aws.keys import (
    LOG_KEY,
    ItemKey,
    change_key,
    change_version_key,
    cursor_key,
    patient_life_key,
    pending_key,
    pending_partition,
    study_life_key,
    told_key,
    told_prefix,
)
from dicomulus.adapters.aws.table import Item
from dicomulus.adapters.changed import page_of
from dicomulus.adapters.lives import PatientLife, StudyLife, concerns_study, outcome_of
from dicomulus.errors import UnavailableError
from dicomulus.ports import LogState, Page, Told

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from pynamodb.expressions.condition import Condition

    from dicomulus.adapters.aws.change_items import ToldBody
    from dicomulus.adapters.aws.dynamodb_table import DynamoDbTable
    from dicomulus.adapters.aws.table import RawItem
    from dicomulus.adapters.lives import Outcome
    from dicomulus.dicom.resource import SeriesResource
    from dicomulus.ports import Change, ChangeType, Tidings

PENDING_SHARDS: Final = 4
"""Partitions of what waits. One takes 250 pieces a second: each is put and deleted in
transactions, 4 write units of 1,000."""

MOST_PIECES: Final = 50
"""Pieces that take their places in one transaction, of whose 100 items each needs one."""

BUSY_APPENDS: Final = 20
"""Appends by way of pieces that wait, after one that others were in the way of."""

_ATTEMPTS: Final = 20
"""Times that something is tried which others are quicker at."""

_ITEMS_READ: Final = 16
"""Items of the log that the first request reads; each further one reads twice as many."""

_MOST_ITEMS_READ: Final = 1_024

_PIECES_READ: Final = 8
"""Pieces whose entries are read in one request; each has some hundreds, pages mostly as many."""

_LAST_SEQUENCE: Final = 10**15
"""No entry has a higher one."""


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A piece that waits, and where."""

    key: ItemKey
    piece: Piece


class ChangeLog:
    """Tells, records and reads."""

    def __init__(self, table: DynamoDbTable) -> None:
        """Use a table."""
        self._table = table
        self._busy = 0

    # told

    def told(self, series: SeriesResource) -> Told:
        """See ``Index.told``."""
        life = self._study_life(series.study_instance_uid)[0]
        bodies = self._bodies(series)
        if bodies:
            self._settle({parse_key(bodies[-1].pending)})
        instances: set[str] = set()
        for body in bodies:
            instances.difference_update(body.gone)
            instances.update(body.arrived)
        return Told(
            series=series,
            generation=len(bodies),
            instances=frozenset(instances),
            study_generation=life.generation,
            patient_id=life.patient_id,
        )

    def _bodies(self, series: SeriesResource) -> list[ToldBody]:
        """Read all that a series told, from its first time on."""
        prefix = told_prefix(series)
        for attempt in range(_ATTEMPTS):
            items = list(self._table.query(prefix.partition, Item.sort.startswith(prefix.sort)))
            # An item that is there only after the query has passed its place may precede one
            # that the query still comes to.
            if all(
                key_of(item) == told_key(series, generation)
                for generation, item in enumerate(items, 1)
            ):
                return [unpack_told(ToldItem.from_raw_data(item).body) for item in items]
            self._table.back_off(attempt)
        raise UnavailableError("a series tells more than can be read")

    def tell(self, tidings: Tidings) -> bool:
        """See ``Index.tell``."""
        key = told_key(tidings.told.series, tidings.told.generation + 1)
        pending = pending_key(tidings.date_ms, key, PENDING_SHARDS)
        for attempt in range(_ATTEMPTS):
            lives = self._lives(tidings)
            outcome = outcome_of(tidings, lives.study, lives.patient)
            if outcome is None:
                return False
            self._settle(lives.waiting)
            piece = Piece.of_told(key, outcome.changes)
            body = pack_told(tidings, outcome.changes, pending)
            puts: list[tuple[Item, Condition]] = [
                (ToldItem(key.partition, key.sort, body=body), Item.sort.does_not_exist()),
                *lives.puts(outcome, pending),
            ]
            if self._write(puts, _Waiting(pending, piece)):
                return True
            if self._table.get(key) is not None:
                return False
            self._table.back_off(attempt)
        raise UnavailableError("what lies above a series changes faster than it can be told of")

    def _lives(self, tidings: Tidings) -> _Lives:
        lives = _Lives(tidings.told.series.study_instance_uid)
        if concerns_study(tidings):
            lives.study, lives.study_item = self._study_life(lives.study_instance_uid)
            named = {lives.study.patient_id, tidings.patient_id} - {None}
            keys = {patient_life_key(each or ""): each or "" for each in named}
            items = self._table.batch_get(keys)
            lives.patient_items = {
                keys[key]: LifeItem.from_raw_data(item) for key, item in items.items()
            }
        return lives

    def _study_life(self, study_instance_uid: str) -> tuple[StudyLife, LifeItem | None]:
        raw = self._table.get(study_life_key(study_instance_uid))
        if raw is None:
            return StudyLife(), None
        item = LifeItem.from_raw_data(raw)
        life = StudyLife(
            generation=int(item.generation),
            series_count=int(item.children),
            patient_id=item.patient_id,
        )
        return life, item

    # recorded

    def record(self, change: Change, *, after: int | None) -> bool:
        """See ``Index.record_change``."""
        key = change_version_key(change.type.value, change.resource, change.number)
        pending = pending_key(change.date_ms, _versioned(key, change.version), PENDING_SHARDS)
        piece = Piece.of_change(change)
        for attempt in range(_ATTEMPTS):
            known = self._version_item(key)
            if known is not None:
                self._settle({parse_key(known.pending)})
            if not _is_news(change, known, after=after):
                return False
            item = VersionItem(
                key.partition, key.sort, version=change.version, pending=format_key(pending)
            )
            unchanged = (
                Item.sort.does_not_exist()
                if known is None
                else VersionItem.version == known.version
            )
            if self._write([(item, unchanged)], _Waiting(pending, piece)):
                return True
            self._table.back_off(attempt)
        raise UnavailableError("a resource changes faster than it can be told of")

    def recorded_version(self, change: Change) -> int:
        """See ``Index.recorded_version``."""
        key = change_version_key(change.type.value, change.resource, change.number)
        known = self._version_item(key)
        return 0 if known is None else int(known.version)

    def _version_item(self, key: ItemKey) -> VersionItem | None:
        item = self._table.get(key)
        return None if item is None else VersionItem.from_raw_data(item)

    # places in the log

    def _write(self, puts: list[tuple[Item, Condition]], mine: _Waiting) -> bool:
        """Put items with a piece that takes its place; whether nothing was in the way."""
        if not self._busy:
            if self._table.transact([*puts, self._at_end([mine])]):
                return True
            self._busy = BUSY_APPENDS
            return False
        self._busy -= 1
        if not self._table.transact([*puts, _pending_put(mine.key, mine.piece)]):
            return False
        self._take_places(mine)
        return True

    def flush(self) -> None:
        """See ``Index.flush_changes``."""
        attempt = 0
        while waiting := self._all_waiting():
            if self._append(waiting):
                attempt = 0
                continue
            attempt += 1
            if attempt == _ATTEMPTS:
                raise _outrun()
            self._table.back_off(attempt)

    def _settle(self, keys: Collection[ItemKey]) -> None:
        """Have what waits under some keys take its place, if it still waits."""
        for key, item in self._table.batch_get(keys).items() if keys else ():
            (piece,) = unpack_pieces(PendingItem.from_raw_data(item).body)
            self._take_places(_Waiting(key, piece))

    def _take_places(self, mine: _Waiting) -> None:
        """Have a piece take its place, and with it others that wait where many do."""
        waiting = [mine]
        for attempt in range(_ATTEMPTS):
            if self._append(waiting):
                return
            self._table.back_off(attempt)
            if self._table.get(mine.key) is None:
                return
            others = [each for each in self._all_waiting() if each.key != mine.key]
            waiting = [mine, *others[: MOST_PIECES - 1]]
        raise _outrun()

    def _all_waiting(self) -> list[_Waiting]:
        """Give what waits, those who wait longest first, as many as one transaction takes."""
        items = [
            item
            for shard in range(PENDING_SHARDS)
            for item in self._table.query(pending_partition(shard), limit=MOST_PIECES)
        ]
        items.sort(key=lambda item: key_of(item).sort)
        return [
            _Waiting(key_of(item), *unpack_pieces(PendingItem.from_raw_data(item).body))
            for item in items[:MOST_PIECES]
        ]

    def _append(self, waiting: list[_Waiting]) -> bool:
        return self._table.transact(
            [self._at_end(waiting)], [(each.key, Item.sort.exists()) for each in waiting]
        )

    def _at_end(self, waiting: list[_Waiting]) -> tuple[Item, Condition]:
        """Give the item of the log that has pieces take the next places, if these are free."""
        last = self._last_sequence()
        if not last:
            name = NameItem(LOG_KEY.partition, LOG_KEY.sort, identity=uuid4().hex)
            self._table.put_if(name, Item.sort.does_not_exist())
        key = change_key(last + 1)
        item = LogItem(
            key.partition,
            key.sort,
            length=sum(each.piece.count for each in waiting),
            body=pack_pieces(each.piece for each in waiting),
        )
        return item, Item.sort.does_not_exist()

    def _last_sequence(self) -> int:
        newest = self._table.query(change_key(0).partition, limit=1, descending=True)
        return max((_last_of(LogItem.from_raw_data(item)) for item in newest), default=0)

    # who is told

    def claim_cursor(self, name: str, claim: str, *, now_ms: int, until_ms: int) -> int | None:
        """See ``Index.claim_cursor``."""
        free = CursorItem.claim.does_not_exist() | (CursorItem.until_ms < now_ms)
        answer = self._table.update(
            cursor_key(name),
            [CursorItem.claim.set(claim), CursorItem.until_ms.set(until_ms)],
            free | (CursorItem.claim == claim),
            returned="ALL_NEW",
        )
        if answer is None:
            return None
        return int(CursorItem.from_raw_data(answer["Attributes"]).sequence or 0)

    def move_cursor(self, name: str, claim: str, sequence: int, *, until_ms: int) -> bool:
        """See ``Index.move_cursor``."""
        answer = self._table.update(
            cursor_key(name),
            [CursorItem.sequence.set(sequence), CursorItem.until_ms.set(until_ms)],
            CursorItem.claim == claim,
        )
        return answer is not None

    # reading

    def state(self) -> LogState:
        """See ``Index.log_state``."""
        item = self._table.get(LOG_KEY)
        identity = "" if item is None else NameItem.from_raw_data(item).identity
        return LogState(identity=identity, last=self._last_sequence())

    def changes(
        self,
        since: int,
        to: int | None,
        *,
        types: Collection[ChangeType],
        limit: int,
        backwards: bool,
    ) -> Page[Change]:
        """See ``Index.changes``; of pieces without a change of these types nothing is read."""
        bounds = _Bounds(since, to, frozenset(types))
        items = self._items_down(bounds) if backwards else self._items_up(bounds)
        found = (change for item in items for change in self._changes_of(item, bounds, backwards))
        return page_of(islice(found, limit + 1), limit=limit, backwards=backwards)

    def _items_up(self, bounds: _Bounds) -> Iterator[LogItem]:
        """Give the items of the log from the one that holds the first entry asked for."""
        expected = bounds.since + 1
        for raw in self._raw_items_up(expected):
            item = LogItem.from_raw_data(raw)
            # An item that was put only after a query had passed its place may precede one that
            # is found. Whoever reads on finds both.
            if _first_of(item) > expected or not bounds.may_hold(item):
                return
            yield item
            expected = _last_of(item) + 1

    def _raw_items_up(self, first: int) -> Iterator[RawItem]:
        at = change_key(first)
        holding = list(
            self._table.query(at.partition, Item.sort <= at.sort, limit=1, descending=True)
        )
        yield from holding
        after = at
        for limit in _growing():
            items = list(self._table.query(after.partition, Item.sort > after.sort, limit=limit))
            yield from items
            if len(items) < limit:
                return
            after = key_of(items[-1])

    def _items_down(self, bounds: _Bounds) -> Iterator[LogItem]:
        """Give the items of the log from the one that holds the last entry asked for, backwards."""
        before = change_key(_LAST_SEQUENCE if bounds.to is None else bounds.to)
        condition = Item.sort <= before.sort
        for limit in _growing():
            items = list(
                self._table.query(before.partition, condition, limit=limit, descending=True)
            )
            for raw in items:
                item = LogItem.from_raw_data(raw)
                if _last_of(item) <= bounds.since:
                    return
                yield item
            if len(items) < limit:
                return
            condition = Item.sort < key_of(items[-1]).sort

    def _changes_of(self, item: LogItem, bounds: _Bounds, backwards: bool) -> Iterator[Change]:
        placed: list[tuple[int, Piece]] = []
        first = _first_of(item)
        for piece in unpack_pieces(item.body):
            if bounds.wants(piece, first):
                placed.append((first, piece))
            first += piece.count
        if backwards:
            placed.reverse()
        for start in range(0, len(placed), _PIECES_READ):
            some = placed[start : start + _PIECES_READ]
            told = self._told_items(piece for _, piece in some)
            for first, piece in some:
                changes = numbered(_entries_of(piece, told), first)
                yield from filter(bounds.holds, reversed(changes) if backwards else changes)

    def _told_items(self, pieces: Iterable[Piece]) -> Mapping[ItemKey, RawItem]:
        keys = [piece.told for piece in pieces if piece.told is not None]
        for attempt in range(_ATTEMPTS):
            found = self._table.batch_get(keys) if keys else {}
            if len(found) == len(set(keys)):
                return found
            # A reader may meet one item of a transaction before the other (read-committed).
            self._table.back_off(attempt)
        raise UnavailableError("an entry of the log of changes cannot be read yet")


@dataclass(frozen=True, slots=True)
class _Bounds:
    """Which entries are asked for."""

    since: int
    to: int | None
    types: frozenset[ChangeType]

    def may_hold(self, item: LogItem) -> bool:
        """Whether one of them may be in an item, or behind it."""
        return self.to is None or _first_of(item) <= self.to

    def wants(self, piece: Piece, first: int) -> bool:
        """Whether one of them may be in a piece."""
        is_within = first + piece.count - 1 > self.since and (self.to is None or first <= self.to)
        return is_within and (not self.types or not self.types.isdisjoint(piece.types))

    def holds(self, change: Change) -> bool:
        """Whether an entry is one of them."""
        is_within = change.sequence > self.since and (self.to is None or change.sequence <= self.to)
        return is_within and (not self.types or change.type in self.types)


class _Lives:
    """What the log says of what lies above a series, as far as it is told anything of that."""

    def __init__(self, study_instance_uid: str) -> None:
        self.study_instance_uid = study_instance_uid
        self.study = StudyLife()
        self.study_item: LifeItem | None = None
        self.patient_items: dict[str, LifeItem] = {}

    @property
    def waiting(self) -> set[ItemKey]:
        """Where the last pieces about them wait, or did."""
        study = [] if self.study_item is None else [self.study_item]
        return {parse_key(item.pending) for item in (*study, *self.patient_items.values())}

    def patient(self, patient_id: str) -> PatientLife:
        """Give what the log says of a patient."""
        item = self.patient_items.get(patient_id)
        if item is None:
            return PatientLife()
        return PatientLife(generation=int(item.generation), study_count=int(item.children))

    def puts(self, outcome: Outcome, pending: ItemKey) -> Iterator[tuple[Item, Condition]]:
        """Give the items to be put, each on condition that it is as it was."""
        if outcome.study is not None:
            key, life = study_life_key(self.study_instance_uid), outcome.study
            item = LifeItem(
                key.partition,
                key.sort,
                generation=life.generation,
                children=life.series_count,
                patient_id=life.patient_id,
                pending=format_key(pending),
            )
            yield item, _unchanged(self.study_item)
        for patient_id, patient in outcome.patients.items():
            key = patient_life_key(patient_id)
            item = LifeItem(
                key.partition,
                key.sort,
                generation=patient.generation,
                children=patient.study_count,
                pending=format_key(pending),
            )
            yield item, _unchanged(self.patient_items.get(patient_id))


def _unchanged(item: LifeItem | None) -> Condition:
    if item is None:
        return Item.sort.does_not_exist()
    return LifeItem.generation == item.generation


def _pending_put(key: ItemKey, piece: Piece) -> tuple[Item, Condition]:
    item = PendingItem(key.partition, key.sort, body=pack_pieces([piece]))
    return item, Item.sort.does_not_exist()


def _versioned(key: ItemKey, version: int) -> ItemKey:
    return ItemKey(key.partition, f"{key.sort}#{version}")


def _is_news(change: Change, known: VersionItem | None, *, after: int | None) -> bool:
    version = 0 if known is None else int(known.version)
    if known is not None and version >= change.version:
        return False
    return after is None or after == version


def _entries_of(piece: Piece, told: Mapping[ItemKey, RawItem]) -> tuple[Change, ...]:
    if piece.change is not None:
        return (piece.change,)
    assert piece.told is not None  # noqa: S101  (one of both is there)
    return unpack_told(ToldItem.from_raw_data(told[piece.told]).body).changes


def _growing() -> Iterator[int]:
    limit = _ITEMS_READ
    while True:
        yield limit
        limit = min(2 * limit, _MOST_ITEMS_READ)


def _first_of(item: LogItem) -> int:
    return int(item.sort)


def _last_of(item: LogItem) -> int:
    return int(item.sort) + int(item.length) - 1


def _outrun() -> UnavailableError:
    return UnavailableError("the log of changes is written to faster than it can be appended to")
