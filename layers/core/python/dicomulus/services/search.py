"""Search for studies, the series of a study, the instances of a series (PS3.18 §10.6)."""

from __future__ import annotations

import heapq
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Final, TypeVar

from dicomulus.dicom.attributes import INSTANCE_RETURN
from dicomulus.dicom.json_members import format_members, members
from dicomulus.dicom.level_json import parse_json_object
from dicomulus.dicom.matching import filter_of, first_text, is_plain, uid_list
from dicomulus.dicom.resource import InstanceResource
from dicomulus.ports import SearchPath
from dicomulus.services.folds import chosen
from dicomulus.services.search_plan import plan_studies

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from dicomulus.dicom.level_json import Element
    from dicomulus.dicom.matching import Filter
    from dicomulus.dicom.query import Query
    from dicomulus.dicom.resource import SeriesResource
    from dicomulus.ports import Index, InstanceRow, Page, SeriesRow, StudyEntry, StudyRow
    from dicomulus.services.fragments import FragmentReader
    from dicomulus.services.search_keys import KeyRange
    from dicomulus.services.search_plan import Plan

    _Elements = dict[str, Element]

_Row = TypeVar("_Row")

_READ_ROWS: Final = 100
"""Study rows read in one call."""

_READ_ENTRIES: Final = 1_000
"""Most entries of an ordered index read in one call."""

_READ_INSTANCES: Final = 16
"""Most instances, named by a query, that are read one by one rather than with their series."""

_SERIES_NUMBER: Final = "00200011"
_SOP_INSTANCE_UID: Final = "00080018"


@dataclass(frozen=True, slots=True)
class ResultPage:
    """One page of results, each a DICOM JSON object with byte 0x01 for the base URL.

    ``remaining`` counts the matches after the page; ``None``: some, how many is not known.
    """

    texts: tuple[bytes, ...]
    remaining: int | None = 0


class Search:
    """Answers searches from the index."""

    def __init__(self, index: Index, fragments: FragmentReader, *, max_results: int) -> None:
        """Search an index; a page has at most ``max_results`` results."""
        self._index = index
        self._fragments = fragments
        self._max_results = max_results

    def studies(self, query: Query) -> ResultPage:
        """Find studies: newest first, or along the values of the index that the query allows."""
        limit = self._limit(query)
        rows = self._matching_studies(query, wanted=query.offset + limit + 1)
        page = list(islice(rows, query.offset, query.offset + limit + 1))
        texts = tuple(_study_text(row, query) for row in page[:limit])
        return ResultPage(texts, None if len(page) > limit else 0)

    def series(self, study_instance_uid: str, query: Query) -> ResultPage:
        """Find series of a study, by SeriesNumber, then Series Instance UID."""
        rows = [row for row in self._index.query_series(study_instance_uid) if row.instance_count]
        test = _test_of(query)
        if test is not None:
            rows = [row for row in rows if test(_series_elements(row))]
        rows.sort(key=_series_order)
        return self._page(rows, query, text_of=partial(_series_text, query=query))

    def instances(self, series: SeriesResource, query: Query) -> ResultPage:
        """Find instances of a series, by InstanceNumber, then SOP Instance UID.

        Raises:
            DerivedDataMissingError: An attribute beyond the main ones is asked for, and the row
                that has it is being rebuilt.
        """
        rows: Sequence[InstanceRow] = chosen(self._instance_rows(series, query))
        test = _test_of(query)
        if test is not None:
            elements_of = self._instance_elements(query)
            rows = [row for row in rows if test(elements_of(row))]
        return self._page(rows, query, text_of=partial(self._instance_text, query=query))

    def _limit(self, query: Query) -> int:
        return self._max_results if query.limit is None else min(query.limit, self._max_results)

    def _page(
        self, rows: Sequence[_Row], query: Query, *, text_of: Callable[[_Row], bytes]
    ) -> ResultPage:
        end = query.offset + self._limit(query)
        texts = tuple(map(text_of, rows[query.offset : end]))
        return ResultPage(texts, max(len(rows) - end, 0))

    # --- studies ---------------------------------------------------------------------------------

    def _matching_studies(self, query: Query, *, wanted: int) -> Iterator[StudyRow]:
        plan = plan_studies(query)
        if plan.uids is not None:
            rows = self._named_studies(plan.uids)
        else:
            rows = self._studies_along(plan, wanted=wanted)
        test = plan.rest
        return rows if test is None else (row for row in rows if test(_study_elements(row)))

    def _named_studies(self, uids: Sequence[str]) -> Iterator[StudyRow]:
        rows = [row for batch in _batches(uids, _READ_ROWS) for row in self._read(batch)]
        return iter(sorted(rows, key=_by_date, reverse=True))

    def _studies_along(self, plan: Plan, *, wanted: int) -> Iterator[StudyRow]:
        size = _READ_ENTRIES if plan.rest else min(wanted, _READ_ENTRIES)
        for batch in _batches(self._uids_along(plan, page_size=size), min(wanted, _READ_ROWS)):
            for row in self._read(batch):
                # An entry may be older than its row: the row decides.
                if plan.path is not SearchPath.DATE or _is_dated(row, plan.ranges):
                    yield row

    def _uids_along(self, plan: Plan, *, page_size: int) -> Iterator[str]:
        """Give each study once: an index repeats one whose key is changing."""
        seen: set[str] = set()
        for span in plan.ranges:
            for entry in self._merged(plan.path, span, page_size=page_size):
                uid = entry.study_instance_uid
                if uid not in seen and plan.may_match(entry.carried):
                    seen.add(uid)
                    yield uid

    def _merged(self, path: SearchPath, span: KeyRange, *, page_size: int) -> Iterator[StudyEntry]:
        """Read all shards of an index as one, the first page of each at the same time."""

        def scan(shard: int, after: str | None = None) -> Page[StudyEntry]:
            return self._index.scan_studies(
                path, shard, low=span.low, high=span.high, after=after, limit=page_size
            )

        shards = range(self._index.search_shards)
        if len(shards) == 1:
            return _run(partial(scan, 0), scan(0))
        with ThreadPoolExecutor(len(shards)) as pool:
            firsts = list(pool.map(scan, shards))
        runs = [_run(partial(scan, shard), first) for shard, first in enumerate(firsts)]
        return heapq.merge(*runs, key=_sort_key, reverse=path is SearchPath.DATE)

    def _read(self, uids: Sequence[str]) -> list[StudyRow]:
        """Read studies in the order given; emptied ones are hidden."""
        rows = self._index.get_studies(uids)
        found = (rows[uid] for uid in uids if uid in rows)
        return [row for row in found if row.instance_count and row.search_keys]

    # --- instances -------------------------------------------------------------------------------

    def _instance_rows(self, series: SeriesResource, query: Query) -> Iterator[InstanceRow]:
        key = query.key(_SOP_INSTANCE_UID)
        uids = uid_list(key.value) if key and is_plain(key, query.semantics) else ()
        if uids and len(uids) <= _READ_INSTANCES:
            for uid in uids:
                instance = InstanceResource(
                    series.study_instance_uid, series.series_instance_uid, uid
                )
                yield from self._index.get_instance(instance)
            return
        after: str | None = None
        while True:
            page = self._index.query_instances(series, after)
            yield from page.items
            if page.next is None:
                return
            after = page.next

    def _instance_elements(self, query: Query) -> Callable[[InstanceRow], _Elements]:
        """Give what reads the attributes that the query matches, from as little as possible."""
        if all(key.path[0] in INSTANCE_RETURN for key in query.keys):
            return lambda row: parse_json_object(row.attributes)
        return lambda row: (
            parse_json_object(self._fragments.text(row)) | parse_json_object(row.attributes)
        )

    def _instance_text(self, row: InstanceRow, query: Query) -> bytes:
        if not (query.include or query.include_all):
            return row.attributes
        return _with_included(row.attributes, [self._fragments.text(row)], query)


def _test_of(query: Query) -> Filter | None:
    keys = [key for key in query.keys if not key.is_universal]
    return filter_of(keys, query.semantics) if keys else None


def _study_elements(row: StudyRow) -> _Elements:
    return parse_json_object(row.attributes) | parse_json_object(row.answer)


def _series_elements(row: SeriesRow) -> _Elements:
    texts = (row.study_attributes, row.attributes, row.answer)
    return {tag: element for text in texts for tag, element in parse_json_object(text).items()}


def _study_text(row: StudyRow, query: Query) -> bytes:
    return _with_included(row.answer, [row.attributes], query)


def _series_text(row: SeriesRow, query: Query) -> bytes:
    further = [row.attributes] if query.include_all else [row.study_attributes, row.attributes]
    return _with_included(row.answer, further, query)


def _with_included(answer: bytes, further: Iterable[bytes], query: Query) -> bytes:
    """Add the included attributes that are known to a ready answer."""
    if not (query.include or query.include_all):
        return answer
    parts: dict[str, str] = {}
    for text in further:
        known = members(text)
        parts |= {tag: known[tag] for tag in known if query.include_all or tag in query.include}
    return format_members(parts | members(answer))


def _series_order(row: SeriesRow) -> tuple[bool, int, str]:
    text = first_text(parse_json_object(row.answer).get(_SERIES_NUMBER))
    try:
        return False, int(text), row.series.series_instance_uid
    except ValueError:
        return True, 0, row.series.series_instance_uid


def _by_date(row: StudyRow) -> str:
    return row.search_keys.by_date if row.search_keys else ""


def _is_dated(row: StudyRow, ranges: Iterable[KeyRange]) -> bool:
    return any(span.holds(_by_date(row)) for span in ranges)


def _sort_key(entry: StudyEntry) -> str:
    return entry.sort_key


def _run(
    scan: Callable[[str | None], Page[StudyEntry]], first: Page[StudyEntry]
) -> Iterator[StudyEntry]:
    """Go through one shard, page by page."""
    page = first
    yield from page.items
    while page.next is not None:
        page = scan(page.next)
        yield from page.items


def _batches(items: Iterable[str], size: int) -> Iterator[list[str]]:
    remaining = iter(items)
    while batch := list(islice(remaining, size)):
        yield batch
