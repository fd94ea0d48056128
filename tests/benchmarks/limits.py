"""What this server promises of its speed, held against a run's figures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.benchmarks.results import FIRST_BYTE, in_turns
from tests.benchmarks.search_questions import DESCRIPTIONS, KEYED, ONE_MATCH

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.benchmarks.results import Measurement, Results, SearchFigure
    from tests.benchmarks.search_questions import Question


@dataclass(frozen=True, slots=True)
class Verdict:
    """One promise, and what was measured of it."""

    promise: str
    limit: str
    measured: str
    is_kept: bool


def verdicts(results: Results) -> list[Verdict]:
    """Judge every promise of which there are figures."""
    return [
        *_answer_times(results),
        *_ratios(results),
        *_growth(results),
        *_rates(results),
        *search_verdicts(results),
        *retrieval_verdicts(results),
    ]


def retrieval_verdicts(results: Results) -> list[Verdict]:
    """Judge what is promised of large objects, large studies and many frames."""
    return [*_first_bytes(results), *_frame_rates(results), *_memory_limits(results)]


def search_verdicts(results: Results) -> list[Verdict]:
    """Judge what is promised of searches."""
    return [*_search_times(results), *_only_matches(results), *_steady_reads(results)]


# request, coding, milliseconds
_ANSWER_LIMITS = (
    ("series metadata", "gzip", 2.0),
    ("study metadata", "gzip", 6.0),
    ("series metadata", "identity", 15.0),
    ("study metadata", "identity", 60.0),
    ("series metadata", "304", 1.0),
    ("study metadata", "304", 1.0),
    ("study list, limit=100", "identity", 5.0),
    ("series list", "identity", 5.0),
    ("instance list", "identity", 10.0),
)

# request, times as fast as Orthanc as it comes, with each server's defaults
_ORTHANC_LIMITS = (("series metadata", 30.0), ("study metadata", 50.0))

_LIST_LIMIT_MS = 5.0
_SEARCHED_STUDIES = 100_000
_MOST_STUDIES = 1_000_000
_KEYED_LIMIT_MS = 10.0
_DESCRIPTION_LIMIT_MS = 300.0
_NGINX_LIMIT = 4.0
_SERIES_CPU_LIMIT_MS = 1.5
_CLIENTS_LIMIT = 1_000.0
_FIRST_BYTE_LIMIT_MS = 50.0
_FRAMES_LIMIT = 1_000.0
_MEMORY_LIMIT_BYTES = 200_000_000
_INGEST_LIMIT = 1_500.0
_INGEST_CORES = 2
_GROWN_INGEST_SHARE = 0.80
_LARGE_INGEST_SHARE = 0.85
_BUSY_LOAD = 1.0
"""Load average from which on the time that passes says little."""
_GROWN_LIST_SHARE = 1.25
"""How much longer an answer of the grown archive may take and still count as the same."""


def _answer_times(results: Results) -> Iterator[Verdict]:
    for request, variant, limit_ms in _ANSWER_LIMITS:
        ours = compared(results, request, "Dicomulus", variant)
        if ours and ours.median_ms is not None:
            yield Verdict(
                f"{request}, {variant}: median",
                f"at most {limit_ms:g} ms",
                f"{ours.median_ms:.2f} ms",
                ours.median_ms <= limit_ms,
            )
    ours = compared(results, "series metadata", "Dicomulus", "gzip")
    if ours and ours.cpu_ms is not None:
        yield Verdict(
            "series metadata, gzip: server CPU",
            f"at most {_SERIES_CPU_LIMIT_MS:g} ms",
            f"{ours.cpu_ms:.2f} ms",
            ours.cpu_ms <= _SERIES_CPU_LIMIT_MS,
        )


def _ratios(results: Results) -> Iterator[Verdict]:
    for request, limit in _ORTHANC_LIMITS:
        ours = compared(results, request, "Dicomulus", "gzip")
        theirs = compared(results, request, "Orthanc", "default")
        if ours and theirs and ours.median_ms and theirs.median_ms:
            times = theirs.median_ms / ours.median_ms
            yield Verdict(
                f"{request}, both as they come: faster than Orthanc",
                f"at least {limit:g} times",
                f"{times:.0f} times",
                times >= limit,
            )
    for request, _ in _ORTHANC_LIMITS:
        ours = compared(results, request, "Dicomulus", "gzip")
        floor = compared(results, request, "nginx", "gzip")
        if ours and floor and ours.median_ms and floor.median_ms:
            times = ours.median_ms / floor.median_ms
            yield Verdict(
                f"{request}, gzip: slower than nginx (a target, no limit)",
                f"at most {_NGINX_LIMIT:g} times",
                f"{times:.1f} times",
                times <= _NGINX_LIMIT,
            )


def _growth(results: Results) -> Iterator[Verdict]:
    lists = results.of("latency", "study list, limit=100", peer="Dicomulus", variant="identity")
    last = lists[-1] if lists else None
    if last is not None and last.median_ms is not None:
        yield Verdict(
            f"study list, limit=100, at {last.instances:,} instances: median",
            f"at most {_LIST_LIMIT_MS:g} ms",
            f"{last.median_ms:.2f} ms",
            last.median_ms <= _LIST_LIMIT_MS,
        )
    for request in ("study list, limit=1", "series list"):
        points = results.of("latency", request, peer="Dicomulus", variant="identity")
        before = compared(results, request, "Dicomulus", "identity")
        if before is None or points[-1].instances <= before.instances:
            continue
        if before.cpu_ms and points[-1].cpu_ms:
            share = points[-1].cpu_ms / before.cpu_ms
            yield Verdict(
                f"{request}: CPU at {points[-1].instances:,} instances against "
                f"{before.instances:,}",
                f"at most {_GROWN_LIST_SHARE:g} times",
                f"{share:.2f} times",
                share <= _GROWN_LIST_SHARE,
            )


def _rates(results: Results) -> Iterator[Verdict]:
    ingests = results.of("ingest", "64x64", peer="Dicomulus")
    if ingests:
        yield from _ingest_rates(results, ingests)
    for each in results.of("clients", "series metadata", peer="Dicomulus", variant="gzip"):
        if each.per_second:
            yield _rate("series metadata to eight clients", each.per_second, _CLIENTS_LIMIT, "/s")


def _ingest_rates(results: Results, ingests: Sequence[Measurement]) -> Iterator[Verdict]:
    first, last = ingests[0], ingests[-1]
    # The start of the processes weighs little only where there is much to do.
    asked_all = {each.instances for each in results.measurements if each.part == "first"}
    judged = [each for each in ingests if each.instances + each.count in asked_all] or ingests
    if judged[0].per_second and judged[0].cpu_ms:
        yield _rate("ingest in place", judged[0].per_second, _INGEST_LIMIT, " instances/s")
        limit_ms = _INGEST_CORES / _INGEST_LIMIT * 1000
        yield Verdict(
            "ingest in place: CPU an instance, which is that rate on two cores",
            f"at most {limit_ms:.2f} ms",
            f"{judged[0].cpu_ms:.2f} ms",
            judged[0].cpu_ms <= limit_ms,
        )
    if last is not first:
        grown = f"ingest up to {last.instances + last.count:,} instances against the first"
        yield from _share(results, f"{grown} {first.count:,}", last, first, _GROWN_INGEST_SHARE)
    sizes = [results.of("ingest", in_turns(rows), peer="Dicomulus") for rows in (512, 64)]
    for large, small in zip(*sizes, strict=True):
        promise = "ingest of 531 KB files against that of small ones"
        yield from _share(results, promise, large, small, _LARGE_INGEST_SHARE)


def _rate(promise: str, measured: float, limit: float, unit: str) -> Verdict:
    return Verdict(promise, f"at least {limit:,.0f}{unit}", f"{measured:,.0f}", measured >= limit)


def _share(
    results: Results, promise: str, one: Measurement, other: Measurement, limit: float
) -> Iterator[Verdict]:
    """Compare two rates: by the time that passed, or by CPU time on a machine that was busy."""
    if not (one.per_second and other.per_second and one.cpu_ms and other.cpu_ms):
        return
    by_clock = one.per_second / other.per_second
    by_cpu = other.cpu_ms / one.cpu_ms
    measured = f"{by_clock:.0%} (by CPU {by_cpu:.0%})"
    is_kept = (by_cpu if is_busy(results) else by_clock) >= limit
    yield Verdict(promise, f"at least {limit:.0%}", measured, is_kept)


def _search_times(results: Results) -> Iterator[Verdict]:
    for questions, limit_ms in ((KEYED, _KEYED_LIMIT_MS), (DESCRIPTIONS, _DESCRIPTION_LIMIT_MS)):
        for each in _searches(results, questions, studies=_SEARCHED_STUDIES):
            # On a machine that was busy, only the server's own time says what it promises.
            judged_ms = each.cpu_ms if is_busy(results) else each.median_ms
            yield Verdict(
                f"{each.question}, among {each.studies:,} studies: median",
                f"at most {limit_ms:g} ms",
                f"{each.median_ms:.2f} ms (CPU {each.cpu_ms:.2f} ms)",
                each.status == 200 and judged_ms <= limit_ms,
            )


def _only_matches(results: Results) -> Iterator[Verdict]:
    for each in _searches(results, ONE_MATCH, studies=_MOST_STUDIES):
        yield Verdict(
            f"{each.question}, among {each.studies:,} studies: on the first page",
            "1 study",
            f"{each.found} after {each.median_ms:,.0f} ms",
            (each.status, each.found) == (200, 1),
        )


def _steady_reads(results: Results) -> Iterator[Verdict]:
    for question in KEYED:
        costs = {each.studies: _reads(each) for each in _searches(results, (question,))}
        if len(costs) > 1:
            yield Verdict(
                f"{question.name}: reads of the index among {', '.join(f'{n:,}' for n in costs)}",
                "equally many",
                ", ".join(costs.values()),
                len(set(costs.values())) == 1,
            )


def _searches(
    results: Results, questions: Sequence[Question], *, studies: int | None = None
) -> list[SearchFigure]:
    names = [each.name for each in questions]
    return [
        each
        for each in results.searches
        if each.question in names and studies in (None, each.studies)
    ]


def _reads(each: SearchFigure) -> str:
    """Give the calls of the index that a server counted, such as ``2`` of ``reads=2; ...``."""
    return each.cost.partition(";")[0].removeprefix("reads=")


def is_busy(results: Results) -> bool:
    """Tell whether others worked on the machine before the run began."""
    return float(results.data["load_before"]) >= _BUSY_LOAD


def compared(results: Results, request: str, peer: str, variant: str) -> Measurement | None:
    """Give the figure of an answer at the size at which all servers were compared."""
    asked_all = {each.instances for each in results.measurements if each.part == "first"}
    found = [
        each
        for each in results.of("latency", request, peer=peer, variant=variant)
        if each.instances in asked_all
    ]
    return found[0] if found else None


def _first_bytes(results: Results) -> Iterator[Verdict]:
    for each in results.retrievals:
        if each.asked == FIRST_BYTE:
            yield Verdict(
                f"{each.subject}: first byte, median",
                f"at most {_FIRST_BYTE_LIMIT_MS:.0f} ms",
                f"{each.median_ms:.1f} ms",
                each.median_ms <= _FIRST_BYTE_LIMIT_MS,
            )


def _frame_rates(results: Results) -> Iterator[Verdict]:
    for each in results.retrievals:
        if each.per_second is not None:
            yield Verdict(
                f"{each.subject}, {each.asked}",
                f"at least {_FRAMES_LIMIT:,.0f}/s",
                f"{each.per_second:,.0f}",
                each.per_second >= _FRAMES_LIMIT,
            )


def _memory_limits(results: Results) -> Iterator[Verdict]:
    most: dict[str, int] = {}
    for each in results.retrievals:
        if each.most_bytes is not None:
            most[each.subject] = max(most.get(each.subject, 0), each.most_bytes)
    for subject, taken in most.items():
        yield Verdict(
            f"memory of the server, {subject}",
            f"less than {_MEMORY_LIMIT_BYTES / 1e6:.0f} MB",
            f"{taken / 1e6:.0f} MB",
            taken < _MEMORY_LIMIT_BYTES,
        )
