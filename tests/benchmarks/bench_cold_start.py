"""The cold start of the reading function: ``python -m tests.benchmarks.bench_cold_start``.

It is started from its built packages in a folder laid out like Lambda's, by the interpreter of the
runtime's version, over an emulator of AWS, and ended after its first answer.
"""

from __future__ import annotations

import argparse
import logging
import re
import statistics
import subprocess
import sys
import tempfile
from collections import Counter
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Final

from infra.layers import runtime_interpreter
from tests.benchmarks.machine import load_average, machine, today
from tests.support.cold_start import METADATA, SEARCH, cold_starts
from tests.support.emulators import served_aws
from tests.support.lambda_folder import CannotBuildError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.support.cold_start import ColdStart

DOCUMENT: Final = Path(__file__).resolve().parents[2] / "docs" / "benchmarks.md"
BUDGET_MS: Final = 700
"""Processor time that a cold start may take, to its first answer."""

_SMALLEST_MS: Final = 2.0
"""Packages whose imports take less are told together."""

_PLACE: Final = re.compile(r"(<!-- cold start -->\n).*?(<!-- end of cold start -->)", re.DOTALL)


def main() -> int:
    """Measure, print, and write the figures into the document if asked to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--update-docs", action="store_true")
    parsed = parser.parse_args()
    try:
        text = _measured(parsed.runs)
    except CannotBuildError as exc:
        sys.stderr.write(f"cold start: not measured: {exc}\n")
        return 0
    print(text)
    if parsed.update_docs:
        document = DOCUMENT.read_text(encoding="utf-8")
        DOCUMENT.write_text(
            _PLACE.sub(lambda found: found[1] + text + found[2], document), encoding="utf-8"
        )
    return 0


def _measured(runs: int) -> str:
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    before = load_average()
    with served_aws() as endpoint, tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        root.chmod(0o755)
        with cold_starts(root, endpoint) as starts:
            metadata = [starts.measure(METADATA) for _ in range(runs)]
            search = [starts.measure(SEARCH) for _ in range(runs)]
            imports = [starts.measure(METADATA, with_imports=True) for _ in range(runs)]
    return _text(metadata, search, imports, load_before=before)


def _text(
    metadata: Sequence[ColdStart],
    search: Sequence[ColdStart],
    imports: Sequence[ColdStart],
    *,
    load_before: float,
) -> str:
    described = machine()
    where = f"{described['processor']}, {described['cores']} cores"
    run = f"median, least and most of {len(metadata)} starts; load average {load_before:.1f} before"
    lines = [
        f"- {today()}; {where}, Python {_runtime_version()}; {run}",
        f"- promised: at most {BUDGET_MS} ms of processor time; measured: {_median(metadata):.0f} ms",
        "",
        "| first answer | processor time | of it the process that listens | and the one that answers |",
        "| --- | --- | --- | --- |",
        _row("metadata of a series", metadata),
        _row("search for studies", search),
        "",
        "| imports of | modules | time |",
        "| --- | --- | --- |",
    ]
    return "\n".join([*lines, *_import_rows(imports)]) + "\n"


def _row(what: str, starts: Sequence[ColdStart]) -> str:
    totals = [each.cpu_ms for each in starts]
    parent = statistics.median(each.parent_ms for each in starts)
    worker = statistics.median(each.worker_ms for each in starts)
    return (
        f"| {what} | {_median(starts):.0f} ms ({min(totals):.0f} to {max(totals):.0f}) "
        f"| {parent:.0f} ms | {worker:.0f} ms |"
    )


def _import_rows(starts: Sequence[ColdStart]) -> list[str]:
    # What disturbs one start does not disturb the same module of all of them.
    modules = {
        name: min(each.imports_ms.get(name, inf) for each in starts)
        for name in starts[0].imports_ms
    }
    times: Counter[str] = Counter()
    counts: Counter[str] = Counter()
    for name, milliseconds in modules.items():
        times[name.partition(".")[0]] += milliseconds  # type: ignore[assignment]
        counts[name.partition(".")[0]] += 1
    large = [(name, each) for name, each in times.most_common() if each >= _SMALLEST_MS]
    rest = times.keys() - dict(large)
    others = sum(counts[name] for name in rest), sum(times[name] for name in rest)
    return [
        *(f"| `{name}` | {counts[name]} | {each:.1f} ms |" for name, each in large),
        f"| {len(rest)} others | {others[0]} | {others[1]:.1f} ms |",
        f"| all | {counts.total()} | {times.total():.0f} ms |",
    ]


def _median(starts: Sequence[ColdStart]) -> float:
    return statistics.median(each.cpu_ms for each in starts)


def _runtime_version() -> str:
    answer = subprocess.run(
        [
            runtime_interpreter() or sys.executable,
            "-c",
            "import platform as p; print(p.python_version())",
        ],
        check=True,
        capture_output=True,
        text=True,
    )
    return answer.stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
