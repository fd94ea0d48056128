"""Run the benchmarks: ``python -m tests.benchmarks``."""

from __future__ import annotations

import argparse
import os
import platform
import time
from dataclasses import asdict
from pathlib import Path
from typing import Final

from tests.benchmarks.aws_operations import operation_costs
from tests.benchmarks.charts import write_charts
from tests.benchmarks.comparison import Plan, compare
from tests.benchmarks.datasets import Shape
from tests.benchmarks.limits import verdicts
from tests.benchmarks.machine import load_average, machine, today
from tests.benchmarks.results import Results, read_results, write_results
from tests.benchmarks.retrieval_runs import RetrievalPlan, measure_retrieval
from tests.benchmarks.search_runs import SearchPlan, measure_searches
from tests.benchmarks.tables import RETRIEVAL_SECTIONS, SEARCH_SECTIONS, update_document

ROOT: Final = Path(__file__).resolve().parents[2]
DOCUMENT: Final = ROOT / "docs" / "benchmarks.md"


def main() -> None:
    """Measure, and say so on the way."""
    parsed = _arguments()
    if parsed.from_results:
        results = read_results(parsed.from_results)
    else:
        results = _measure(parsed)
        write_results(results, parsed.results)
        print(f"results: {parsed.results}")
    for verdict in verdicts(results):
        kept = "kept" if verdict.is_kept else "NOT KEPT"
        print(f"{kept:8} {verdict.promise}: {verdict.measured} ({verdict.limit})")
    if parsed.update_docs and parsed.search_only:
        update_document(DOCUMENT, results, names=SEARCH_SECTIONS)
    elif parsed.update_docs and parsed.retrieval_only:
        update_document(DOCUMENT, results, names=RETRIEVAL_SECTIONS)
    elif parsed.update_docs:
        update_document(DOCUMENT, results)
        write_charts(results, DOCUMENT.parent / "images")


def _measure(parsed: argparse.Namespace) -> Results:
    cache: Path = parsed.cache.resolve()
    cache.mkdir(parents=True, exist_ok=True)
    results = Results(date=today(), machine=machine(), versions={})
    plan = _plan(parsed)
    results.data = {**asdict(plan.shape), "load_before": f"{load_average():.2f}"}
    started = time.monotonic()

    def tell(line: str) -> None:
        print(f"[{time.monotonic() - started:6.0f} s] {line}", flush=True)

    is_whole = not (parsed.aws_only or parsed.search_only or parsed.retrieval_only)
    if is_whole:
        compare(plan, results, cache=cache, tell=tell)
    if is_whole or parsed.search_only:
        measure_searches(_search_plan(parsed), results, cache=cache, tell=tell)
    if is_whole or parsed.retrieval_only:
        measure_retrieval(_retrieval_plan(parsed), results, cache=cache, tell=tell)
    if is_whole or parsed.aws_only:
        results.operations = operation_costs(parsed.instances, tell=tell)
    for what, why in results.skipped.items():
        tell(f"skipped: {what}: {why}")
    return results


def _plan(parsed: argparse.Namespace) -> Plan:
    shape = Shape(series=parsed.series, instances=parsed.instances)
    if parsed.quick:
        return Plan(
            shape=shape,
            studies=(1,),
            compared_at=1,
            rounds=3,
            burst_seconds=0.1,
            load_seconds=1,
            starts=1,
            has_large_images=False,
        )
    return Plan(
        shape=shape,
        studies=tuple(sorted(parsed.studies)),
        compared_at=parsed.compared_at,
        upload_seconds=parsed.upload_minutes * 60,
    )


def _search_plan(parsed: argparse.Namespace) -> SearchPlan:
    if parsed.quick:
        return SearchPlan(sizes=(1_000,), rounds=2, burst_seconds=0.05)
    return SearchPlan(sizes=tuple(sorted(parsed.search_studies)))


def _retrieval_plan(parsed: argparse.Namespace) -> RetrievalPlan:
    if parsed.quick:
        return RetrievalPlan(
            object_bytes=50_000_000,
            fragments=2_000,
            frames_asked=20,
            study=Shape(series=4, instances=50),
            rounds=2,
            load_seconds=1,
        )
    return RetrievalPlan(object_bytes=parsed.object_bytes)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks",
        description="Measure this server beside Orthanc and nginx, on this machine.",
    )
    parser.add_argument("--quick", action="store_true", help="one study, few rounds, no growth")
    parser.add_argument("--series", type=int, default=4, help="series of a study (4)")
    parser.add_argument("--instances", type=int, default=450, help="instances of a series (450)")
    parser.add_argument(
        "--studies",
        type=int,
        nargs="+",
        default=[1, 10, 40, 100],
        help="sizes of the archive (1 10 40 100)",
    )
    parser.add_argument(
        "--compared-at", type=int, default=10, help="size at which everything is asked (10)"
    )
    parser.add_argument(
        "--upload-minutes",
        type=float,
        default=90,
        help="longest upload to Orthanc for one size, after which it is left out (90)",
    )
    parser.add_argument(
        "--cache",
        type=Path,
        default=_default_cache(),
        help="folder of data and peers (%(default)s)",
    )
    parser.add_argument(
        "--results",
        type=Path,
        default=ROOT / "build" / "benchmarks.json",
        help="file to write (build/benchmarks.json)",
    )
    parser.add_argument(
        "--from-results", type=Path, metavar="FILE", help="measure nothing, take these results"
    )
    parser.add_argument(
        "--aws-only", action="store_true", help="only count what operations ask of AWS"
    )
    parser.add_argument(
        "--search-only",
        action="store_true",
        help="only search archives of many studies, whose rows are made for it",
    )
    parser.add_argument(
        "--search-studies",
        type=int,
        nargs="+",
        default=list(SearchPlan().sizes),
        help="sizes of these archives (1000 100000 1000000)",
    )
    parser.add_argument(
        "--retrieval-only",
        action="store_true",
        help="only retrieve what is large, of objects that are made for it and removed",
    )
    parser.add_argument(
        "--object-bytes",
        type=int,
        default=RetrievalPlan().object_bytes,
        help="size of each of these three objects (2000000000)",
    )
    parser.add_argument(
        "--update-docs", action="store_true", help="write tables and charts of the documentation"
    )
    parsed = parser.parse_args()
    if not parsed.quick and parsed.compared_at not in parsed.studies:
        parser.error("--compared-at is none of --studies")
    if platform.system() != "Linux":
        parser.error("the CPU time of servers is read from Linux")
    return parsed


def _default_cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "dicomulus-bench"


if __name__ == "__main__":
    main()
