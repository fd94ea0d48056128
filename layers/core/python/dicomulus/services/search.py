"""The search for patients, studies, series and instances, page by page (PS3.18 §10.6)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Final

from dicomulus.dicom import orthanc_id
from dicomulus.dicom.query import Level
from dicomulus.dicom.resource import SeriesResource
from dicomulus.errors import SearchTooBroadError
from dicomulus.services.level_search import LevelSearch
from dicomulus.services.patient_search import PatientSearch, plan_of_patient
from dicomulus.services.search_match import Match, answer_of, elements_of
from dicomulus.services.search_meter import SearchCost, SearchLimits, SearchMeter
from dicomulus.services.search_order import sorted_steps
from dicomulus.services.search_plan import plan_studies
from dicomulus.services.search_steps import Step, check_time, gather, in_groups
from dicomulus.services.search_token import format_token, parse_token
from dicomulus.services.study_walk import StudyWalk

if TYPE_CHECKING:
    from dicomulus.dicom.query import Query
    from dicomulus.ports import Index, RunAll
    from dicomulus.services.fragments import FragmentReader
    from dicomulus.services.search_plan import Plan
    from dicomulus.services.search_steps import Gathered, Position

_Find = Callable[["Position | None"], "Iterator[Step[Match]]"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Within:
    """What the path of a search names; nothing is the whole archive."""

    patient_id: str = ""
    study_instance_uid: str = ""
    series_instance_uid: str = ""

    @property
    def series(self) -> SeriesResource:
        """The series that is named."""
        return SeriesResource(self.study_instance_uid, self.series_instance_uid)


EVERYTHING = Within()

_TESTED_AT_ONCE: Final = 100
"""Matches whose labels are read in one call."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultPage:
    """One page of results, each a DICOM JSON object with byte 0x01 for the base URL.

    ``remaining`` counts the matches after the page; ``None``: some, how many is not known.
    ``total`` counts all, where that is known. ``next`` is the token of the next page, if there is
    or may be one.
    """

    texts: tuple[bytes, ...]
    remaining: int | None = 0
    total: int | None = None
    next: str = ""
    plan: str = field(default="", compare=False)
    """How the matches were looked for, without the values asked for."""
    cost: SearchCost = field(default_factory=SearchCost, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Source:
    """Where the matches of a search come from, in order."""

    find: _Find
    """Gives the steps behind a position."""
    plan: str
    is_listed: bool = False
    """All matches are at hand once the first is, so that they can be counted."""


class Search:
    """Answers searches from the index."""

    def __init__(
        self,
        index: Index,
        fragments: FragmentReader,
        *,
        max_results: int,
        run_all: RunAll,
        limits: SearchLimits | None = None,
    ) -> None:
        """Search an index.

        Args:
            index: What is searched.
            fragments: Gives attributes of instances that rows do not have.
            max_results: Most results of a page.
            run_all: Runs independent reads.
            limits: What a page may take.
        """
        self._index = index
        self._fragments = fragments
        self._max_results = max_results
        self._limits = limits or SearchLimits()
        self._run_all = run_all
        self._walk = StudyWalk(index, run_all=run_all)
        self._patients = PatientSearch(self._walk)

    def find(self, query: Query, within: Within = EVERYTHING) -> ResultPage:
        """Find one page of matches.

        Patients and studies come newest first, or along the values of the index that the query
        allows; series by study, then SeriesNumber; instances by series, then InstanceNumber; all
        of them otherwise where ``query.order`` says so.

        Raises:
            InvalidQueryError: The query's token is none of this search.
            SearchTooBroadError: There was no match in the time that a page has.
            DerivedDataMissingError: An attribute beyond those of a row is asked for, and what has
                it is being rebuilt.
        """
        meter = SearchMeter(self._limits)
        after = parse_token(query, of=repr(within))
        limit = self._limit(query)
        wanted = query.offset + limit + 1
        source = self._source(query, within, meter=meter, wanted=wanted)
        steps = source.find(after)
        page = gather(
            steps,
            offset=query.offset,
            limit=limit,
            meter=meter,
            answer_of=lambda match: answer_of(match, query, self._fragments.text),
        )
        remaining = _remaining(page, steps, source, meter=meter)
        at_start = not query.page and (page.items or not query.offset)
        known = None if remaining is None else query.offset + len(page.items) + remaining
        return ResultPage(
            texts=page.items,
            remaining=remaining,
            total=known if at_start else None,
            next=format_token(page.end, query, of=repr(within)) if page.end else "",
            plan=source.plan,
            cost=meter.cost,
        )

    def count(self, query: Query, within: Within = EVERYTHING) -> int:
        """Count all matches.

        Raises:
            SearchTooBroadError: That takes too long.
        """
        meter = SearchMeter(self._limits)
        query = replace(query, order=())  # along which some come twice, as without a value
        if query.level is Level.STUDY and not within.patient_id:
            plan = plan_studies(query)
            if plan.uids is None and plan.rest is None and query.labels is None:
                return self._walk.count(plan, meter)
        source = self._source(query, within, meter=meter, wanted=self._max_results)
        total = 0
        for step in source.find(None):
            if step.found is None:
                check_time(meter)
            else:
                total += 1
        return total

    def matches(self, query: Query, *, wanted: int) -> Iterator[Match]:
        """Go through all matches, in the order of ``find``, whose pages do not count here.

        Args:
            query: What is looked for.
            wanted: How many the caller needs, if it gets them.

        Raises:
            SearchTooBroadError: The time that a page has is over, and it may not be all.
        """
        meter = SearchMeter(self._limits)
        for step in self._source(query, EVERYTHING, meter=meter, wanted=wanted).find(None):
            if meter.is_late:
                raise SearchTooBroadError(
                    f"Not all is found after {meter.limits.seconds:g} seconds and "
                    f"{meter.cost.entries:,} studies. Ask for fewer, or narrow the search"
                )
            if step.found is not None:
                yield step.found

    def _limit(self, query: Query) -> int:
        return self._max_results if query.limit is None else min(query.limit, self._max_results)

    # --- where matches come from -----------------------------------------------------------------

    def _source(self, query: Query, within: Within, *, meter: SearchMeter, wanted: int) -> _Source:
        if query.labels is None:
            return self._unlabelled(query, within, meter=meter, wanted=wanted)
        # Most searches have no need of it.
        from dicomulus.services.label_search import LabelSearch

        level = orthanc_id.Level(query.level.capitalize())
        labels = LabelSearch(self._index, level, query.labels, meter=meter)
        query = replace(query, studies=labels.studies)
        source = self._unlabelled(query, within, meter=meter, wanted=wanted)

        def find(after: Position | None) -> Iterator[Step[Match]]:
            at_once = min(wanted, _TESTED_AT_ONCE)
            for step, is_kept in in_groups(source.find(after), at_once, read=keep):
                yield step if is_kept or step.found is None else Step(step.position)

        def keep(matches: list[Match]) -> list[bool]:
            return labels.keep([match.resource for match in matches])

        return replace(source, find=find, plan=f"{source.plan}; {labels}")

    def _unlabelled(
        self, query: Query, within: Within, *, meter: SearchMeter, wanted: int
    ) -> _Source:
        if query.level is Level.STUDY:
            return self._studies(query, within, meter=meter, wanted=wanted)
        if query.level is Level.PATIENT:
            plan = plan_studies(query)
            find_patients = partial(self._find_patients, plan, meter, wanted)
            return self._planned(query, plan, find_patients, meter=meter)
        if within.study_instance_uid:
            return self._listed(query, within, meter=meter)
        levels = self._levels(query, meter)
        find = levels.all_series if query.level is Level.SERIES else levels.all_instances
        source = _Source(find=lambda after: find(wanted=wanted, after=after), plan=str(levels))
        left = query.order if levels.is_by_uid else levels.plan.order
        return self._sorted(query, source, meter=meter) if left else source

    def _levels(self, query: Query, meter: SearchMeter) -> LevelSearch:
        return LevelSearch(
            query,
            meter,
            index=self._index,
            walk=self._walk,
            fragments=self._fragments,
            run_all=self._run_all,
        )

    def _studies(self, query: Query, within: Within, *, meter: SearchMeter, wanted: int) -> _Source:
        plan = (
            plan_of_patient(within.patient_id, query) if within.patient_id else plan_studies(query)
        )
        return self._planned(
            query, plan, partial(self._find_studies, plan, meter, wanted), meter=meter
        )

    def _find_studies(
        self, plan: Plan, meter: SearchMeter, wanted: int, after: Position | None
    ) -> Iterator[Step[Match]]:
        for step in self._walk.steps(plan, meter, wanted=wanted, after=after):
            row, position = step.found, step.position
            yield Step(position, None if row is None else Match(position=position, study=row))

    def _find_patients(
        self, plan: Plan, meter: SearchMeter, wanted: int, after: Position | None
    ) -> Iterator[Step[Match]]:
        return self._patients.patients(plan, meter, wanted=wanted, after=after)

    def _listed(self, query: Query, within: Within, *, meter: SearchMeter) -> _Source:
        """Search in a study or series that the path names."""
        study, levels = within.study_instance_uid, self._levels(query, meter)

        def find(after: Position | None) -> Iterator[Step[Match]]:
            if query.level is Level.SERIES:
                return levels.series_of_study(study, after=after)
            if within.series_instance_uid:
                return levels.instances_of_series(within.series, after=after)
            return levels.instances_of_study(study, after=after)

        is_listed = query.level is Level.SERIES or bool(within.series_instance_uid)
        source = _Source(find=find, plan="the rows of one study", is_listed=is_listed)
        return self._sorted(query, source, meter=meter) if query.order else source

    def _planned(self, query: Query, plan: Plan, find: _Find, *, meter: SearchMeter) -> _Source:
        source = _Source(find=find, plan=str(plan))
        return self._sorted(query, source, meter=meter) if plan.order else source

    def _sorted(self, query: Query, source: _Source, *, meter: SearchMeter) -> _Source:
        def find(after: Position | None) -> Iterator[Step[Match]]:
            return sorted_steps(
                source.find(None),
                query.order,
                elements_of=lambda match: elements_of(match, self._fragments.text),
                meter=meter,
                after=after,
                newest_first=query.level in (Level.PATIENT, Level.STUDY),
            )

        return _Source(find=find, plan=source.plan, is_listed=True)


def _remaining(
    page: Gathered, steps: Iterator[Step[Match]], source: _Source, *, meter: SearchMeter
) -> int | None:
    """Count the matches behind a page, if they are at hand."""
    if not page.has_more:
        return 0
    if not source.is_listed:
        return None
    count = 1  # which has been taken already, and told that there are more
    for step in steps:
        if step.found is not None:
            count += 1
        elif meter.is_spent:
            return None
    return count
