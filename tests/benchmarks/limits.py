"""What this server promises of its speed, held against a run's figures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.benchmarks.results import Measurement, Results


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
    ]


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
_NGINX_LIMIT = 4.0
_SERIES_CPU_LIMIT_MS = 1.5
_CLIENTS_LIMIT = 1_000.0
_INGEST_LIMIT = 1_500.0
_GROWN_INGEST_SHARE = 0.80
_LARGE_INGEST_SHARE = 0.85
_GROWN_LIST_SHARE = 1.25
"""How much longer an answer of the grown archive may take and still count as the same."""


def _answer_times(results: Results) -> Iterator[Verdict]:
    for request, variant, limit_ms in _ANSWER_LIMITS:
        ours = compared(results, request, "dicomulus", variant)
        if ours and ours.median_ms is not None:
            yield Verdict(
                f"{request}, {variant}: median",
                f"at most {limit_ms:g} ms",
                f"{ours.median_ms:.2f} ms",
                ours.median_ms <= limit_ms,
            )
    ours = compared(results, "series metadata", "dicomulus", "gzip")
    if ours and ours.cpu_ms is not None:
        yield Verdict(
            "series metadata, gzip: server CPU",
            f"at most {_SERIES_CPU_LIMIT_MS:g} ms",
            f"{ours.cpu_ms:.2f} ms",
            ours.cpu_ms <= _SERIES_CPU_LIMIT_MS,
        )


def _ratios(results: Results) -> Iterator[Verdict]:
    for request, limit in _ORTHANC_LIMITS:
        ours = compared(results, request, "dicomulus", "gzip")
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
        ours = compared(results, request, "dicomulus", "gzip")
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
    lists = results.of("latency", "study list, limit=100", peer="dicomulus", variant="identity")
    last = lists[-1] if lists else None
    if last is not None and last.median_ms is not None:
        yield Verdict(
            f"study list, limit=100, at {last.instances:,} instances: median",
            f"at most {_LIST_LIMIT_MS:g} ms",
            f"{last.median_ms:.2f} ms",
            last.median_ms <= _LIST_LIMIT_MS,
        )
    for request in ("study list, limit=1", "series list"):
        points = results.of("latency", request, peer="dicomulus", variant="identity")
        before = compared(results, request, "dicomulus", "identity")
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
    small = results.of("ingest", "64x64", peer="dicomulus")
    if small and small[0].per_second:
        first = small[0].per_second
        yield _rate("ingest of a folder in place", first, _INGEST_LIMIT, "instances/s")
        if len(small) > 1 and small[-1].per_second:
            grown = small[-1].instances + small[-1].count
            yield _share(
                f"ingest up to {grown:,} instances against the first {small[0].count:,}",
                small[-1].per_second / first,
                _GROWN_INGEST_SHARE,
            )
        for large in results.of("ingest", "512x512", peer="dicomulus"):
            if large.per_second:
                yield _share(
                    "ingest of 531 KB files against that of small ones",
                    large.per_second / first,
                    _LARGE_INGEST_SHARE,
                )
    for each in results.of("clients", "series metadata", peer="dicomulus", variant="gzip"):
        if each.per_second:
            yield _rate("series metadata to eight clients", each.per_second, _CLIENTS_LIMIT, "/s")


def _rate(promise: str, measured: float, limit: float, unit: str) -> Verdict:
    unit = unit if unit.startswith("/") else f" {unit}"
    return Verdict(promise, f"at least {limit:,.0f}{unit}", f"{measured:,.0f}", measured >= limit)


def _share(promise: str, measured: float, limit: float) -> Verdict:
    return Verdict(promise, f"at least {limit:.0%}", f"{measured:.0%}", measured >= limit)


def compared(results: Results, request: str, peer: str, variant: str) -> Measurement | None:
    """Give the figure of an answer at the size at which all servers were compared."""
    asked_all = {each.instances for each in results.measurements if each.part == "first"}
    found = [
        each
        for each in results.of("latency", request, peer=peer, variant=variant)
        if each.instances in asked_all
    ]
    return found[0] if found else None
