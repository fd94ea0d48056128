"""The walk of a plan for studies: through the index, and each study's row once."""

from __future__ import annotations

import heapq
from collections import deque
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Final

from dicomulus.dicom.level_json import StoredElements
from dicomulus.dicom.matching import lower_case
from dicomulus.ports import SearchPath
from dicomulus.services.search_keys import KeyRange
from dicomulus.services.search_steps import Step
from dicomulus.services.search_token import check_shape

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    from dicomulus.dicom.level_json import Element
    from dicomulus.ports import EntryPage, Index, RunAll, StudyEntry, StudyRow
    from dicomulus.services.search_meter import SearchMeter
    from dicomulus.services.search_plan import Leg, Plan
    from dicomulus.services.search_steps import Position

STUDY_POSITION: Final = (int, str)
"""A study's place: the number of the leg, and the sort key there."""

_READ_ROWS: Final = 100
"""Study rows read in one call."""

_PAGE: Final = 1_000
"""Most entries read in one call of a shard, where each study has to be tested."""

_LOOKED_THROUGH_PAGE: Final = 20_000
"""Most entries read in one call, where the index itself leaves most of them out."""

_JUST_AFTER: Final = "\x01"
"""Makes of a sort key one that follows it and precedes all others after it."""


@dataclass(frozen=True, slots=True)
class _Mark:
    """An entry of a shard, or a place up to which the shard has no further one."""

    sort_key: str
    entry: StudyEntry | None = None


@dataclass(slots=True)
class _Need:
    """How many matches are wanted, and how many there were among the rows that were read."""

    wanted: int
    read: int = 0
    found: int = 0

    @property
    def rows(self) -> int:
        """How many rows to read next, of which each costs a read unit.

        Who goes on with more than he wanted tests what he is given, and may need many.
        """
        left = self.wanted - self.found
        if left <= 0:
            return _READ_ROWS
        if self.found < self.read:
            left = left * self.read // max(1, self.found) + 1
        return min(left, _READ_ROWS)


class StudyWalk:
    """Finds studies along a plan."""

    def __init__(self, index: Index, *, run_all: RunAll) -> None:
        """Walk through an index, all of its shards at once through ``run_all``."""
        self._index = index
        self._run_all = run_all

    def steps(
        self,
        plan: Plan,
        meter: SearchMeter,
        *,
        wanted: int,
        after: Position | None = None,
        includes: bool = False,
    ) -> Iterator[Step[StudyRow]]:
        """Go through the matching studies, in the plan's order.

        Args:
            plan: Where they are.
            meter: Counts what is read.
            wanted: How many the caller needs, if it gets them.
            after: Where to begin.
            includes: Begin with the study at ``after`` itself rather than behind it.

        Raises:
            InvalidQueryError: ``after`` is no place of a study.
        """
        check_shape(after, *STUDY_POSITION)
        leg, sort_key = (0, None) if after is None else (int(after[0]), str(after[1]))
        if plan.uids is not None:
            return self._named(plan, meter, sort_key=sort_key, includes=includes)
        return self._along(
            plan, meter, wanted=wanted, first=leg, sort_key=sort_key, includes=includes
        )

    def read(self, uids: Collection[str], meter: SearchMeter) -> dict[str, StudyRow]:
        """Read studies; those that do not exist or are emptied are absent."""
        rows = self._index.get_studies(uids)
        meter.count(studies=len(uids))
        return {uid: row for uid, row in rows.items() if row.instance_count and row.search_keys}

    def count(self, plan: Plan, meter: SearchMeter) -> int:
        """Count the entries of a plan that leaves nothing to test."""
        shards = range(self._index.search_shards)
        counts = self._run_all(
            [
                partial(
                    self._index.count_studies,
                    leg.path,
                    shard,
                    low=leg.span.low,
                    high=leg.span.high,
                )
                for leg in plan.legs
                for shard in shards
            ]
        )
        total = 0
        for counted in counts:
            meter.count(entries=counted)
            total += counted
        return total

    # --- named studies ---------------------------------------------------------------------------

    def _named(
        self, plan: Plan, meter: SearchMeter, *, sort_key: str | None, includes: bool
    ) -> Iterator[Step[StudyRow]]:
        uids = plan.uids or ()
        rows = [row for batch in _batches(uids, _READ_ROWS) for row in self._read(batch, meter)]
        for row in sorted(rows, key=date_key, reverse=True):
            key = date_key(row)
            if sort_key is not None and not (key < sort_key or (includes and key == sort_key)):
                continue
            if plan.rest is None or plan.rest(study_elements(row)):
                yield Step((0, key), row)

    # --- along indexes ---------------------------------------------------------------------------

    def _along(
        self,
        plan: Plan,
        meter: SearchMeter,
        *,
        wanted: int,
        first: int,
        sort_key: str | None,
        includes: bool,
    ) -> Iterator[Step[StudyRow]]:
        seen: set[str] = set()
        need = _Need(wanted)
        for number, leg in enumerate(plan.legs):
            if number < first:
                continue
            span = leg.span
            if number == first and sort_key is not None:
                span = _rest_of(leg, sort_key, includes=includes)
            marks = self._marks(plan, leg, span=span, meter=meter, wanted=wanted)
            for batch, end in self._divided(marks, _entry_test(plan, leg), seen=seen, need=need):
                need.read += len(batch)
                for step in self._tested(plan, batch, number=number, meter=meter):
                    need.found += 1
                    yield step
                # No page needs to end where there is nothing behind it.
                if end is not None:
                    yield Step((number, end))

    def _divided(
        self,
        marks: Iterable[_Mark],
        may_match: Callable[[StudyEntry], bool],
        *,
        seen: set[str],
        need: _Need,
    ) -> Iterator[tuple[list[StudyEntry], str | None]]:
        """Give entries to read the rows of, and the place up to which they are all, but the last.

        Each study is given once: an index repeats one whose key is changing.
        """
        size = need.rows
        batch: list[StudyEntry] = []
        for mark in marks:
            entry = mark.entry
            if entry is not None:
                if entry.study_instance_uid not in seen and may_match(entry):
                    seen.add(entry.study_instance_uid)
                    batch.append(entry)
                if len(batch) < size:
                    continue
            yield batch, mark.sort_key
            batch = []
            size = need.rows
        if batch:
            yield batch, None

    def _tested(
        self, plan: Plan, entries: Sequence[StudyEntry], *, number: int, meter: SearchMeter
    ) -> Iterator[Step[StudyRow]]:
        if not entries:
            return
        rows = self.read([entry.study_instance_uid for entry in entries], meter)
        for entry in entries:
            row = rows.get(entry.study_instance_uid)
            if row is None or not _is_of_plan(row, plan, plan.legs[number]):
                continue
            if plan.rest is None or plan.rest(study_elements(row)):
                yield Step((number, entry.sort_key), row)

    def _marks(
        self, plan: Plan, leg: Leg, *, span: KeyRange, meter: SearchMeter, wanted: int
    ) -> Iterator[_Mark]:
        """Read all shards of an index as one."""
        shards = _Shards(self._index, plan, leg, span=span, meter=meter, wanted=wanted)
        runs = shards.runs(self._run_all)
        return heapq.merge(*runs, key=_sort_key, reverse=leg.is_descending)

    def _read(self, uids: Sequence[str], meter: SearchMeter) -> list[StudyRow]:
        rows = self.read(uids, meter)
        return [rows[uid] for uid in uids if uid in rows]


class _Shards:
    """The shards of an ordered index, read page by page, all that have no page left at once."""

    def __init__(
        self,
        index: Index,
        plan: Plan,
        leg: Leg,
        *,
        span: KeyRange,
        meter: SearchMeter,
        wanted: int,
    ) -> None:
        self._index = index
        self._leg = leg
        self._span = span
        self._meter = meter
        self._containing = plan.carried if leg.path is SearchPath.DATE else {}
        self._largest = _LOOKED_THROUGH_PAGE if self._containing else _PAGE
        # What a range of values holds mostly matches: the test is of folded and of cut-off values.
        is_tested = leg.without is not None or (
            plan.rest is not None and leg.path is SearchPath.DATE
        )
        self._size = min(max(wanted, _READ_ROWS) if is_tested else wanted, _PAGE)
        self._pages: list[deque[EntryPage]] = [deque() for _ in range(index.search_shards)]
        self._ended = [False] * index.search_shards
        self._after: list[str | None] = [None] * index.search_shards

    def runs(self, run_all: RunAll) -> list[Iterator[_Mark]]:
        """Give each shard's entries in order, with a mark at the end of each page."""
        return [self._run(shard, run_all) for shard in range(len(self._pages))]

    def _run(self, shard: int, run_all: RunAll) -> Iterator[_Mark]:
        while self._pages[shard] or not self._ended[shard]:
            if not self._pages[shard]:
                self._read_on(run_all)
            page = self._pages[shard].popleft()
            for entry in page.items:
                yield _Mark(entry.sort_key, entry)
            if page.next is not None:
                yield _Mark(page.next)

    def _read_on(self, run_all: RunAll) -> None:
        empty = [
            shard for shard, pages in enumerate(self._pages) if not pages and not self._ended[shard]
        ]
        pages = list(run_all([partial(self._scan, shard) for shard in empty]))
        for shard, page in zip(empty, pages, strict=True):
            self._meter.count(entries=page.scanned)
            self._pages[shard].append(page)
            self._after[shard] = page.next
            self._ended[shard] = page.next is None
        # A search that goes on finds little: larger pages make fewer calls of the same cost.
        self._size = min(4 * self._size, self._largest)

    def _scan(self, shard: int) -> EntryPage:
        return self._index.scan_studies(
            self._leg.path,
            shard,
            low=self._span.low,
            high=self._span.high,
            after=self._after[shard],
            limit=self._size,
            backwards=self._leg.backwards,
            containing=self._containing,
        )


def study_elements(row: StudyRow) -> Mapping[str, Element]:
    """Give all attributes that a study's row has."""
    return StoredElements(row.attributes, row.answer)


def _entry_test(plan: Plan, leg: Leg) -> Callable[[StudyEntry], bool]:
    """Make the test whether an entry leaves it open that its study matches."""
    if leg.path is SearchPath.DATE:
        return lambda entry: plan.may_match(entry.carried)
    # Entries of the other indexes carry nothing beyond their keys.
    return lambda entry: not leg.starts or lower_case(entry.sort_key).startswith(leg.starts)


def date_key(row: StudyRow) -> str:
    """Give a study's sort key in the index by date."""
    return row.search_keys.by_date if row.search_keys else ""


def _is_of_plan(row: StudyRow, plan: Plan, leg: Leg) -> bool:
    """Whether a row fits the way to it: an entry may be older than its row, and the row decides."""
    if leg.path is SearchPath.DATE and not any(span.holds(date_key(row)) for span in _spans(plan)):
        return False
    return leg.without is None or not getattr(row.search_keys, leg.without.value)


def _spans(plan: Plan) -> Iterator[KeyRange]:
    return (leg.span for leg in plan.legs if leg.path is SearchPath.DATE)


def _rest_of(leg: Leg, sort_key: str, *, includes: bool) -> KeyRange:
    """Give what is left of a leg's range after a key, or from it on."""
    span = leg.span
    if leg.is_descending:
        high = sort_key + _JUST_AFTER if includes else sort_key
        return KeyRange(span.low, high if span.high is None else min(span.high, high))
    return KeyRange(max(span.low, sort_key if includes else sort_key + _JUST_AFTER), span.high)


def _sort_key(mark: _Mark) -> str:
    return mark.sort_key


def _batches(items: Iterable[str], size: int) -> Iterator[list[str]]:
    remaining = iter(items)
    while batch := list(islice(remaining, size)):
        yield batch
