"""Searches for series and instances: in a series, in a study, or in all studies along a plan."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Final

from dicomulus.dicom.attributes import INSTANCE_RETURN
from dicomulus.dicom.level_json import parse_json_object
from dicomulus.dicom.matching import first_text, is_plain, uid_list
from dicomulus.dicom.query import Level
from dicomulus.dicom.resource import InstanceResource, SeriesResource
from dicomulus.services.folds import chosen
from dicomulus.services.search_match import Match, instance_elements, series_elements
from dicomulus.services.search_plan import plan_studies
from dicomulus.services.search_steps import Step, in_groups
from dicomulus.services.search_token import check_shape
from dicomulus.services.study_walk import STUDY_POSITION, study_elements

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from dicomulus.dicom.query import Query
    from dicomulus.ports import (
        Index,
        InstanceAnswer,
        InstanceRow,
        Page,
        RunAll,
        SeriesRow,
        StudyRow,
    )
    from dicomulus.services.fragments import FragmentReader
    from dicomulus.services.search_meter import SearchMeter
    from dicomulus.services.search_plan import Plan
    from dicomulus.services.search_steps import Position
    from dicomulus.services.study_walk import StudyWalk

NUMBERED: Final = (bool, int, str)
"""The place of a series or an instance among its siblings: no number, the number, the UID."""

_END: Final = (True, 0, "\U0010ffff")
"""Behind all siblings."""

_TESTED_AT_ONCE: Final = 100
"""Instances after which a page may end: to test one may be to read an object of its own."""

_STUDIES_AT_ONCE: Final = 16
"""Studies whose series are read at the same time."""

_NAMED_UIDS: Final = 200
"""Most instances or series, named by a query, that are looked up one by one: more than a request's
line has room for."""

_SERIES_NUMBER: Final = "00200011"
_SERIES_INSTANCE_UID: Final = "0020000E"
_SOP_CLASS_UID: Final = "00080016"
_SOP_INSTANCE_UID: Final = "00080018"

# What only the row of the study, or of the series, knows.
_OF_STUDY_ROW: Final = frozenset({"00080061", "00080062", "00201206", "00201208"})
_OF_SERIES_ROW: Final = frozenset({"00201209"})


class _Tests:
    """What a query asks of each level."""

    def __init__(self, query: Query) -> None:
        """Make the tests once for all rows."""
        self.of_study = query.filter_at(Level.STUDY)
        self.of_series = query.filter_at(Level.SERIES)
        self.of_instance = query.filter_at(Level.INSTANCE)

    @property
    def has_upper(self) -> bool:
        """Whether anything is asked of the levels above the instance."""
        return self.of_study is not None or self.of_series is not None

    def matching(
        self, rows: Iterable[SeriesRow], *, study: StudyRow | None
    ) -> list[tuple[tuple[bool, int, str], SeriesRow]]:
        """Give the series that match, each with its place, in order."""
        found = [row for row in rows if self.is_match(row, study=study)]
        return sorted(((_series_place(row), row) for row in found), key=lambda each: each[0])

    def is_match(self, row: SeriesRow, *, study: StudyRow | None) -> bool:
        """Whether a series matches at its own level and the study's; an emptied one never does.

        Attributes of the study are tested on its row, or else as the series gives them.
        """
        if not row.instance_count:
            return False
        if not self.has_upper:
            return True
        elements = series_elements(row)
        above = elements if study is None else study_elements(study)
        return (self.of_study is None or self.of_study(above)) and (
            self.of_series is None or self.of_series(elements)
        )


class LevelSearch:
    """One search for series or instances."""

    def __init__(
        self,
        query: Query,
        meter: SearchMeter,
        *,
        index: Index,
        walk: StudyWalk,
        fragments: FragmentReader,
        run_all: RunAll,
    ) -> None:
        """Search an index, the studies by ``walk``, what rows do not have by ``fragments``."""
        is_of_series = query.level is Level.SERIES
        self._query = query
        self._uids = _named(query, _SERIES_INSTANCE_UID if is_of_series else _SOP_INSTANCE_UID)
        # Instances of few series are in few studies.
        self._series_uids = () if is_of_series else _named(query, _SERIES_INSTANCE_UID)
        self._meter = meter
        self._tests = _Tests(query)
        self._index = index
        self._walk = walk
        self._fragments = fragments
        self._run_all = run_all

    def __str__(self) -> str:
        """Give the way through all studies as one line, without the values asked for."""
        if self.is_by_uid:
            return f"by the index of UIDs: {len(self._uids or self._series_uids)}"
        then = "then the series of each study"
        if self._query.level is Level.INSTANCE:
            then += " and their instances"
        return f"{self.plan}; {then}"

    @cached_property
    def plan(self) -> Plan:
        """The way to the studies, where the path names none."""
        return plan_studies(self._query)

    @property
    def is_by_uid(self) -> bool:
        """Whether a search of all studies looks its few matches up, or their series."""
        return bool(self._uids or self._series_uids)

    # --- series ----------------------------------------------------------------------------------

    def series_of_study(
        self, study_instance_uid: str, *, after: Position | None
    ) -> Iterator[Step[Match]]:
        """Find series of a study, by SeriesNumber, then Series Instance UID."""
        check_shape(after, *NUMBERED)
        study = self._study_row(study_instance_uid)
        rows = self._read_series(study_instance_uid)
        for place, row in self._tests.matching(rows, study=study):
            if after is None or place > after:
                yield Step(place, Match(position=place, study=study, series=row))

    def all_series(self, *, wanted: int, after: Position | None) -> Iterator[Step[Match]]:
        """Find series in all studies: study by study, in each as ``series_of_study``."""
        if self._uids:
            yield from self._named_series(after=after)
            return
        check_shape(after, *STUDY_POSITION, *NUMBERED)
        for at, study, rows in self._studies_with_series(wanted=wanted, after=after):
            for place, row in self._tests.matching(rows, study=study):
                position = (*at, *place)
                if after is None or at != after[:2] or place > after[2:]:
                    yield Step(position, Match(position=position, study=study, series=row))
            yield Step((*at, *_END))

    def _studies_with_series(
        self, *, wanted: int, after: Position | None
    ) -> Iterator[tuple[Position, StudyRow | None, Sequence[SeriesRow]]]:
        """Go through studies and places between them, with the series of each study."""
        plan = self.plan
        if self._series_uids and plan.uids is None:
            found = {each.study_instance_uid for each in self._find(self._series_uids)}
            asked = self._query.filter_at(Level.STUDY)
            plan = replace(plan, uids=tuple(sorted(found)), rest=asked)
        steps = self._walk.steps(
            plan,
            self._meter,
            wanted=wanted,
            after=None if after is None else after[: len(STUDY_POSITION)],
            includes=True,
        )
        at_once = min(wanted, _STUDIES_AT_ONCE)
        for step, rows in in_groups(steps, at_once, read=self._series_of_all):
            yield step.position, step.found, rows or ()

    def _series_of_all(self, studies: list[StudyRow]) -> Iterator[Sequence[SeriesRow]]:
        reads = [partial(self._index.query_series, row.study_instance_uid) for row in studies]
        for rows in self._run_all(reads):
            self._meter.count(series=len(rows))
            yield rows

    def _named_series(self, *, after: Position | None) -> Iterator[Step[Match]]:
        check_shape(after, str, str)
        found = {each for each in self._find(self._uids) if isinstance(each, SeriesResource)}
        for series in sorted(found):
            place = (series.study_instance_uid, series.series_instance_uid)
            if after is not None and place <= after:
                continue
            study = self._study_of(series.study_instance_uid)
            row = self._series_row(series)
            if row is not None and self._tests.is_match(row, study=study):
                yield Step(place, Match(position=place, study=study, series=row))

    def _read_series(self, study_instance_uid: str) -> tuple[SeriesRow, ...]:
        rows = self._index.query_series(study_instance_uid)
        self._meter.count(series=len(rows))
        return rows

    # --- instances -------------------------------------------------------------------------------

    def instances_of_series(
        self, series: SeriesResource, *, after: Position | None
    ) -> Iterator[Step[Match]]:
        """Find instances of a series, by InstanceNumber, then SOP Instance UID.

        Raises:
            DerivedDataMissingError: An attribute beyond those of the row is asked for, and what
                has it is being rebuilt.
        """
        check_shape(after, *NUMBERED)
        study = self._study_row(series.study_instance_uid)
        is_row_asked = bool(_OF_SERIES_ROW & _asked(self._query))
        row = self._series_row(series) if is_row_asked or self._tests.has_upper else None
        if not self._tests.has_upper or (
            row is not None and self._tests.is_match(row, study=study)
        ):
            yield from self._instances(series, study=study, row=row, after=after)

    def instances_of_study(
        self, study_instance_uid: str, *, after: Position | None
    ) -> Iterator[Step[Match]]:
        """Find instances of a study: series by series, in each as ``instances_of_series``."""
        if self._uids:
            yield from self._named_instances(study_instance_uid, after=after)
            return
        check_shape(after, *NUMBERED, *NUMBERED)
        study = self._study_row(study_instance_uid)
        rows = self._read_series(study_instance_uid)
        yield from self._within(rows, study=study, at=(), after=after)

    def all_instances(self, *, wanted: int, after: Position | None) -> Iterator[Step[Match]]:
        """Find instances in all studies: study by study, in each as ``instances_of_study``."""
        if self._uids:
            yield from self._named_instances(None, after=after)
            return
        check_shape(after, *STUDY_POSITION, *NUMBERED, *NUMBERED)
        for at, study, rows in self._studies_with_series(wanted=wanted, after=after):
            inner = after[2:] if after is not None and at == after[:2] else None
            yield from self._within(rows, study=study, at=at, after=inner)
            yield Step((*at, *_END, *_END))

    def _within(
        self,
        rows: Sequence[SeriesRow],
        *,
        study: StudyRow | None,
        at: Position,
        after: Position | None,
    ) -> Iterator[Step[Match]]:
        """Find instances of one study's series."""
        for place, row in self._tests.matching(rows, study=study):
            if (after is not None and place < after[:3]) or not _may_hold(row, self._query):
                continue
            inner = after[3:] if after is not None and place == after[:3] else None
            here = (*at, *place)
            yield from self._instances(row.series, study=study, row=row, at=here, after=inner)
            yield Step((*here, *_END))

    def _instances(
        self,
        series: SeriesResource,
        *,
        study: StudyRow | None,
        row: SeriesRow | None,
        at: Position = (),
        after: Position | None,
    ) -> Iterator[Step[Match]]:
        test = self._tests.of_instance
        before: Position | None = None
        for number, instance in enumerate(chosen(self._instance_rows(series)), start=1):
            place = _instance_place(instance)
            if after is not None and place <= after:
                continue
            if number % _TESTED_AT_ONCE == 0 and before is not None:
                yield Step((*at, *before))
            before = place
            if test is None or test(instance_elements(instance, self._fragments.text)):
                position = (*at, *place)
                match = Match(position=position, study=study, series=row, instance=instance)
                yield Step(position, match)

    def _instance_rows(self, series: SeriesResource) -> Iterator[InstanceRow | InstanceAnswer]:
        for uid in self._uids:
            yield from self._read_instance(
                InstanceResource(series.study_instance_uid, series.series_instance_uid, uid)
            )
        if self._uids:
            return
        read: Callable[[SeriesResource, str | None], Page[InstanceRow] | Page[InstanceAnswer]] = (
            self._index.query_instances
            if _needs_fragments(self._query)
            else self._index.query_instance_answers
        )
        after: str | None = None
        while True:
            page = read(series, after)
            self._meter.count(instances=len(page.items))
            yield from page.items
            if page.next is None:
                return
            after = page.next

    def _named_instances(
        self, study_instance_uid: str | None, *, after: Position | None
    ) -> Iterator[Step[Match]]:
        """Find instances that the query names, in one study or in any."""
        check_shape(after, str, str, str)
        found = {each for each in self._find(self._uids) if isinstance(each, InstanceResource)}
        for target in sorted(found):
            place = (target.study_instance_uid, target.series_instance_uid, target.sop_instance_uid)
            if study_instance_uid not in (None, target.study_instance_uid):
                continue
            if after is not None and place <= after:
                continue
            study = self._study_of(target.study_instance_uid)
            row = self._series_row(target.series)
            if row is None or not self._tests.is_match(row, study=study):
                continue
            for instance in chosen(self._read_instance(target)):
                test = self._tests.of_instance
                if test is None or test(instance_elements(instance, self._fragments.text)):
                    match = Match(position=place, study=study, series=row, instance=instance)
                    yield Step(place, match)

    def _read_instance(self, instance: InstanceResource) -> tuple[InstanceRow, ...]:
        rows = self._index.get_instance(instance)
        self._meter.count(instances=1)
        return rows

    # --- rows above ------------------------------------------------------------------------------

    def _study_row(self, study_instance_uid: str) -> StudyRow | None:
        """Read the row of a study that the path names, if the query asks anything of it.

        Its attributes decide, as in a search of all studies, where its series contradict each other.
        """
        query = self._query
        is_asked = self._tests.of_study is not None or bool(query.order)
        is_needed = is_asked or bool(_OF_STUDY_ROW & _asked(query))
        return self._study_of(study_instance_uid) if is_needed else None

    def _series_row(self, series: SeriesResource) -> SeriesRow | None:
        self._meter.count(series=1)
        return self._index.get_series(series)

    def _study_of(self, study_instance_uid: str) -> StudyRow | None:
        return self._walk.read([study_instance_uid], self._meter).get(study_instance_uid)

    def _find(self, uids: Sequence[str]) -> Iterator[SeriesResource | InstanceResource]:
        for found in self._run_all([partial(self._index.find_uid, uid) for uid in uids]):
            self._meter.count(entries=len(found))
            yield from found


def _asked(query: Query) -> frozenset[str]:
    """Give the attributes that a query returns or orders by, beyond those returned anyway."""
    matched = {key.path[0] for key in query.keys}
    return query.include | matched | {key.tag for key in query.order}


def _named(query: Query, tag: str) -> tuple[str, ...]:
    """Give the UIDs that a query names, if they are few."""
    key = query.key(tag)
    uids = uid_list(key.value) if key is not None and is_plain(key, query.semantics) else ()
    return uids if len(uids) <= _NAMED_UIDS else ()


def _may_hold(row: SeriesRow, query: Query) -> bool:
    """Whether a series can hold instances of the SOP classes asked for."""
    key = query.key(_SOP_CLASS_UID)
    is_folded = row.folded_version == row.version and bool(row.sop_class_uids)
    if key is None or not is_folded or not is_plain(key, query.semantics):
        return True
    return not set(row.sop_class_uids).isdisjoint(uid_list(key.value))


def _needs_fragments(query: Query) -> bool:
    """Whether a query asks for attributes of instances that their answers do not have."""
    matched = [key.path[0] for key in query.keys_at(Level.INSTANCE)]
    above = query.tags.study | query.tags.series
    ordered = [key.tag for key in query.order if key.tag not in above]
    beyond = any(tag not in INSTANCE_RETURN for tag in (*matched, *ordered))
    return beyond or bool(query.include) or query.include_all


def _series_place(row: SeriesRow) -> tuple[bool, int, str]:
    text = first_text(parse_json_object(row.answer).get(_SERIES_NUMBER))
    uid = row.series.series_instance_uid
    try:
        return False, int(text), uid
    except ValueError:
        return True, 0, uid


def _instance_place(row: InstanceRow | InstanceAnswer) -> tuple[bool, int, str]:
    number = row.instance_number
    return number is None, number or 0, row.instance.sop_instance_uid
