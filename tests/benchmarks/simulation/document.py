"""The figures of docs/scale.md."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Final

from dicomulus.cli.cost.latencies import latency_of
from tests.benchmarks.charts import FLOOR, OURS, THEIRS, Line, time_chart
from tests.benchmarks.cost_document import table
from tests.benchmarks.simulation.batches import BatchShape
from tests.benchmarks.simulation.capacity import PARTITION_WRITE_UNITS
from tests.benchmarks.simulation.latency import (
    COLD_START,
    GATEWAY,
    INVOKE,
    NOTIFICATION,
    RECEIVE,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from pathlib import Path

    from tests.benchmarks.simulation.scenarios import Outcome

_BLOCK: Final = re.compile(
    r"(<!-- figures: ([a-z-]+) -->\n).*?(<!-- end of figures -->)", re.DOTALL
)


def rate_table(shape: BatchShape) -> str:
    """Write how many instances a second one study takes."""
    size = shape.ledger.deployed.ingest_batch
    rows = []
    for name, canonical, partitions in (
        ("any keys, a new table of 4 partitions", False, 4),
        ("any keys, a table warm for 80,000 units", False, 80),
        ("keys that name their instances", True, 4),
    ):
        for series in (1, 4, 16):
            keyed = BatchShape(shape.ledger, canonical=canonical)
            units = keyed.units_of(series_share=series / size, partitions=partitions)
            rows.append(
                [name, str(series), f"{units:.3f}", f"{PARTITION_WRITE_UNITS / units:,.0f}"]
            )
    return table(
        [
            "objects",
            f"series in a batch of {size}",
            "write units of an instance on the study's partition",
            "instances/s until it splits",
        ],
        rows,
    )


def _seconds(value: float) -> str:
    if math.isnan(value):
        return "not within the hour"
    return f"{value:,.1f} s" if value < 10 else f"{value:,.0f} s"


def _runs(outcomes: Sequence[Outcome]) -> str:
    rows = []
    for each in outcomes:
        run = each.ingest
        asked = run.written_units + run.refused_units
        rows.append(
            [
                each.scenario.name,
                each.scenario.settings,
                f"{run.uploaded:,}",
                f"{run.deepest:,}",
                f"{run.waiting_at_the_end:,}",
                _seconds(run.oldest_seconds),
                f"{run.percentile(50):,.1f} / {run.percentile(99):,.0f} s",
                f"{100 * run.hottest_share:.0f}%",
                f"{100 * run.refused_units / asked:.1f}%",
                f"{run.failed_batches} / {run.returned}",
                f"{run.lost} / {run.dead}",
                _seconds(run.drained_seconds),
            ]
        )
    return table(
        [
            "load",
            "settings",
            "instances",
            "deepest queue",
            "waiting at the last upload",
            "oldest message",
            "upload to searchable, p50 / p99",
            "hottest partition",
            "writes throttled",
            "batches that failed / messages returned",
            "lost / dead letters",
            "empty after the last upload",
        ],
        rows,
    )


def _limits(outcomes: Sequence[Outcome]) -> str:
    rows = []
    for each in outcomes:
        for number, use in enumerate(each.uses[:4]):
            rows.append(
                [
                    each.scenario.name if number == 0 else "",
                    each.scenario.settings if number == 0 else "",
                    f"**{use.what}**" if number == 0 else use.what,
                    f"{use.used:,.0f} of {use.limit:,.0f}",
                    f"{100 * use.share:.0f}%",
                    f"{1 / use.share:,.2f}",
                    use.whose,
                ]
            )
    return table(
        ["load", "settings", "limit", "used", "share", "met at times the load", "moved by"], rows
    )


def _reads(outcomes: Sequence[Outcome]) -> str:
    rows = []
    for each in outcomes:
        if each.viewers is not None:
            rows += [
                [
                    one.operation,
                    f"{one.count / each.viewers.plan.seconds:,.1f}",
                    f"{one.p50_ms:,.0f} ms",
                    f"{one.p99_ms:,.0f} ms",
                ]
                for one in each.viewers.answers
            ]
    return table(["answer", "a second", "p50", "p99"], rows)


def _readers(outcomes: Sequence[Outcome]) -> str:
    rows = []
    for each in outcomes:
        run = each.viewers
        if run is not None:
            rows += [
                [
                    "requests a second, mean and most",
                    f"{run.requests_a_second:,.0f}, {run.most_requests_a_second:,.0f}",
                ],
                ["functions at work for readers, mean", f"{run.functions_at_work:,.0f}"],
                ["functions at work in all, most", f"{run.most_functions_at_work:,.0f}"],
                ["environments started", f"{run.cold_starts:,}"],
                ["requests throttled", f"{run.throttled:,}"],
                ["bytes a second to readers", f"{run.bytes_a_second / 1e9:,.1f} GB"],
            ]
    return table(["500 viewers", ""], rows)


def latency_table() -> str:
    """Write the distributions that are drawn from."""
    named = {
        "S3, GET and HEAD": latency_of("s3:GetObject"),
        "S3, PUT and LIST": latency_of("s3:PutObject"),
        "DynamoDB, one item": latency_of("dynamodb:UpdateItem"),
        "DynamoDB, batch or query": latency_of("dynamodb:Query"),
        "event from S3 to the queue": NOTIFICATION,
        "ReceiveMessage": RECEIVE,
        "Lambda, to the function and back": INVOKE,
        "API Gateway": GATEWAY,
        "a function's start": COLD_START,
    }
    return table(
        ["what", "median", "p99", "from"],
        [
            [name, f"{each.median_ms:g} ms", f"{each.p99_ms:g} ms", each.source]
            for name, each in named.items()
        ],
    )


QUICK: Final[dict[str, Callable[[BatchShape], str]]] = {
    "study-rate": rate_table,
    "distributions": lambda _: latency_table(),
}
"""Figures that no simulation is needed for."""

SIMULATED: Final[dict[str, Callable[[Sequence[Outcome]], str]]] = {
    "runs": _runs,
    "limits": _limits,
    "reads": _reads,
    "readers": _readers,
}


def with_quick(text: str, shape: BatchShape) -> str:
    """Give the document with the figures that need no simulation made anew."""
    return _replaced(text, {name: made(shape) for name, made in QUICK.items()})


def with_simulated(text: str, outcomes: Sequence[Outcome]) -> str:
    """Give the document with the figures of a simulation."""
    return _replaced(text, {name: made(outcomes) for name, made in SIMULATED.items()})


def places(text: str) -> Collection[str]:
    """Name the places for figures."""
    return {found[2] for found in _BLOCK.finditer(text)}


def _replaced(text: str, made: dict[str, str]) -> str:
    def written(found: re.Match[str]) -> str:
        return f"{found[1]}{made[found[2]]}\n{found[3]}" if found[2] in made else found[0]

    return _BLOCK.sub(written, text)


# --- charts ---------------------------------------------------------------------------------------

_COLOURS: Final = (OURS, THEIRS, "#2e7d32", "#6a1b9a", FLOOR)


def write_charts(outcomes: Sequence[Outcome], folder: Path) -> None:
    """Draw how deep the queue is over time."""
    groups = {
        "scale-one-study.svg": (
            "One study: messages that wait",
            [each for each in outcomes if each.scenario.ingest.studies == 1],
        ),
        "scale-many-studies.svg": (
            "Many studies: messages that wait",
            [each for each in outcomes if each.scenario.ingest.studies > 1],
        ),
    }
    for name, (title, members) in groups.items():
        lines = [
            Line(
                _label(each),
                tuple((at, float(depth)) for at, depth, *_ in each.ingest.series[::5]),
                _COLOURS[number % len(_COLOURS)],
            )
            for number, each in enumerate(members)
        ]
        chart = time_chart(title, lines, y_label="messages; behind each name the most")
        (folder / name).write_text(chart, encoding="utf-8")


def _label(each: Outcome) -> str:
    plan = each.scenario.ingest
    if plan.studies == 1:
        return f"{plan.uploads_a_second:,.0f}/s"
    settings = "" if each.scenario.settings == "as deployed" else ", large"
    return f"{plan.uploads_a_second:,.0f}/s, {plan.studies} studies{settings}"
