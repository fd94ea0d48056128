"""``dicomulus cost``: what a deployment costs a month, by one's own figures."""

from __future__ import annotations

import json
from dataclasses import asdict, fields, replace
from typing import TYPE_CHECKING, Any, get_args

from dicomulus.cli.cost.bill import Line, Part, monthly_bill, usd_of
from dicomulus.cli.cost.ledger import read_ledger
from dicomulus.cli.cost.peers import health_imaging, healthcare_api
from dicomulus.cli.cost.prices import SOURCE, Prices, read_prices
from dicomulus.cli.cost.workload import MODELS, Workload, read_workload

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from dicomulus.cli.cost.ledger import Ledger


def run(parsed: argparse.Namespace) -> None:
    """Print the bill that is asked for.

    Raises:
        ConfigurationError: A figure or a price is none.
    """
    prices = read_prices(parsed.prices) if parsed.prices else Prices()
    if parsed.show_prices:
        print("\n".join(_price_lines(prices)))
        return
    base = read_workload(parsed.workload) if parsed.workload else MODELS[parsed.model]
    given: dict[str, Any] = {
        each.name: getattr(parsed, each.name)
        for each in fields(Workload)
        if getattr(parsed, each.name) is not None
    }
    workload = replace(base, **given)
    ledger = read_ledger()
    lines = monthly_bill(ledger, workload, prices)
    if parsed.json:
        print(json.dumps(as_json(ledger, workload, lines, prices), indent=1))
    else:
        print("\n".join(format_bill(ledger, workload, lines, prices)))


def as_json(
    ledger: Ledger, workload: Workload, lines: list[Line], prices: Prices
) -> dict[str, Any]:
    """Give a bill for programs."""
    return {
        "workload": asdict(workload),
        "lines": [{**asdict(line), "usd": line.usd} for line in lines],
        "usd_a_month": {part: usd_of(lines, part) for part in get_args(Part)},
        "usd_a_month_in_all": usd_of(lines),
        "usd_for_1000_studies": _per_thousand(workload, lines),
        "elsewhere": {
            "AWS HealthImaging": asdict(health_imaging(ledger, workload, prices)),
            "Google Cloud Healthcare API": asdict(healthcare_api(ledger, workload, prices)),
        },
        "prices": asdict(prices),
    }


def _per_thousand(workload: Workload, lines: list[Line]) -> float | None:
    return usd_of(lines) / workload.studies * 1000 if workload.studies else None


def format_bill(
    ledger: Ledger, workload: Workload, lines: list[Line], prices: Prices
) -> Iterator[str]:
    """Give a bill as text, by the line."""
    gib = workload.bytes_a_month / 2**30
    yield (
        f"{workload.studies:,.0f} studies a month of {workload.series:g} series of "
        f"{workload.instances:g} instances: {gib:,.1f} GiB, kept {workload.months:g} months"
    )
    for part in get_args(Part):
        yield ""
        yield f"{part.capitalize():46}{'amount':>18} {'USD each':>14} {'USD':>11}"
        for line in lines:
            if line.part == part:
                amount = f"{line.amount:,.2f}" if line.amount < 100 else f"{line.amount:,.0f}"
                what = f"  {line.what} ({line.unit})"
                yield f"{what:46}{amount:>18} {line.usd_each:>14.10f} {line.usd:>11,.2f}"
        yield f"{'':46}{'':18} {'':14} {usd_of(lines, part):>11,.2f}"
    yield ""
    yield f"A month in all: {usd_of(lines):,.2f} USD"
    per_thousand = _per_thousand(workload, lines)
    if per_thousand is not None:
        yield f"For 1,000 studies: {per_thousand:,.2f} USD"
    yield ""
    yield "The same elsewhere, as far as prices are published:"
    for name, peer in (
        ("AWS HealthImaging", health_imaging(ledger, workload, prices)),
        ("Google Cloud Healthcare API", healthcare_api(ledger, workload, prices)),
    ):
        yield f"  {name}: {peer.usd:,.2f} USD, without {peer.not_counted}"
    yield ""
    yield "USD of us-east-1 without free tier, taxes and support. What it rests on: docs/cost.md"


def _price_lines(prices: Prices) -> Iterator[str]:
    for each in fields(prices):
        yield f"{each.name} = {getattr(prices, each.name):.10g}  # {each.metadata[SOURCE]}"
