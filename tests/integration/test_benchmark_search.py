"""The benchmark of searches, on an archive of some hundred studies."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.benchmarks.results import Results
from tests.benchmarks.search_questions import ONE_MATCH, QUESTIONS
from tests.benchmarks.search_runs import SearchPlan, measure_searches

if TYPE_CHECKING:
    from pathlib import Path

STUDIES = 700


def measured(cache: Path, told: list[str]) -> Results:
    results = Results(date="2026-11-23", machine={}, versions={})
    plan = SearchPlan(sizes=(STUDIES,), rounds=1, burst_seconds=0.01)
    measure_searches(plan, results, cache=cache, tell=told.append)
    return results


def test_every_search_is_answered_measured_and_priced_and_an_archive_is_made_once(
    tmp_path: Path,
) -> None:
    told: list[str] = []
    first = measured(tmp_path, told)
    assert [each.question for each in first.searches] == [each.name for each in QUESTIONS]
    by_name = {each.question: each for each in first.searches}
    assert [by_name[each.name].found for each in ONE_MATCH] == [1] * len(ONE_MATCH)
    # The one study that has a file is counted, too.
    assert by_name["/studies/count"].found == STUDIES + 1
    assert by_name["OHIF, list of 101"].found == 101
    assert by_name["OHIF, list of 101"].has_next
    for each in first.searches:
        assert each.status == 200
        assert each.found or each.question.endswith("no match")
        assert 0 < each.min_ms <= each.median_ms <= each.max_ms
        assert each.cpu_ms > 0
        assert each.read_units
        assert each.usd_per_million
    told.clear()
    measured(tmp_path, told)
    assert not [line for line in told if "making" in line]
