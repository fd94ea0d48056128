"""The tables of docs/cost.md: ``python -m tests.benchmarks.cost_document [--update-docs]``."""

from __future__ import annotations

import argparse
import re
import sys
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, get_args

from dicomulus.cli.cost import ledger as names
from dicomulus.cli.cost import usage as used
from dicomulus.cli.cost.bill import (
    Part,
    answers_of_a_million,
    ingest_of_a_million,
    lines_of,
    monthly_bill,
    usd_of,
)
from dicomulus.cli.cost.latencies import LATENCIES, latency_of
from dicomulus.cli.cost.ledger import read_ledger
from dicomulus.cli.cost.peers import health_imaging, healthcare_api
from dicomulus.cli.cost.prices import SOURCE, Prices
from dicomulus.cli.cost.workload import CLINIC, CT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from dicomulus.cli.cost.bill import Line
    from dicomulus.cli.cost.ledger import Ledger
    from dicomulus.cli.cost.workload import Workload

DOCUMENT: Final = Path(__file__).resolve().parents[2] / "docs" / "cost.md"

INGEST_LIMIT_USD: Final = 12.0
"""What the ingest of a million instances may cost, all in."""

MODELS: Final = {"CT": CT, "mixed clinic": CLINIC}

FULL_BATCHES: Final = replace(CT, batch=32)
"""Series that come quickly, so that a batch is as large as it gets."""

_BLOCK: Final = re.compile(
    r"(<!-- figures: ([a-z-]+) -->\n).*?(<!-- end of figures -->)", re.DOTALL
)


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Write a table in Markdown."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def amount(value: float) -> str:
    """Write an amount with about three digits."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.2f}" if value >= 1 else f"{value:.4f}"


def _lines(lines: Iterable[Line]) -> str:
    listed = list(lines)
    rows = [
        [line.what, amount(line.amount), line.unit, f"{line.usd_each:.10g}", f"{line.usd:.2f}"]
        for line in listed
        if line.usd >= 0.005
    ]
    little = sum(line.usd for line in listed if line.usd < 0.005)
    if little:
        rows.append(["what comes to less than a cent each", "", "", "", f"{little:.2f}"])
    total = f"**{usd_of(listed):.2f}**"
    return table(
        ["line", "amount", "of", "USD each", "USD"], [*rows, ["**all**", "", "", "", total]]
    )


def _ingest_lines(ledger: Ledger, prices: Prices) -> str:
    return _lines(ingest_of_a_million(ledger, FULL_BATCHES, prices))


def _metadata_lines(ledger: Ledger, prices: Prices) -> str:
    return _lines(
        answers_of_a_million(ledger, names.SERIES_METADATA, CT, prices, counts_bytes_out=False)
    )


def _ingest_variants(ledger: Ledger, prices: Prices) -> str:
    variants = {
        "a bucket of its own, any keys, batches of 32": FULL_BATCHES,
        "the same, batches of 8": replace(CT, batch=8),
        "the same, batches of 2": replace(CT, batch=2),
        "the same, one by one": replace(CT, batch=1),
        "keys that name their instances (STOW-RS, uploads), batches of 32": replace(
            FULL_BATCHES, canonical_keys=True
        ),
        "an adopted bucket (EventBridge), batches of 32": replace(FULL_BATCHES, adopted=True),
        "series of 40 instances, batches of 4": CLINIC,
        "studies of one instance, one by one": replace(
            CT, series=1, instances=1, batch=1, compactions=1
        ),
    }
    rows = []
    for name, workload in variants.items():
        usd = usd_of(ingest_of_a_million(ledger, workload, prices))
        rows.append([name, f"{usd:.2f}", "yes" if usd <= INGEST_LIMIT_USD else "no"])
    return table(["a million instances", "USD", f"at most {INGEST_LIMIT_USD:.0f}"], rows)


_ANSWERS: Final = (
    names.STUDY_LIST,
    names.STUDY_BY_PATIENT,
    names.STUDY_BY_UID,
    names.SERIES_LIST,
    names.SERIES_METADATA,
    names.NOT_MODIFIED,
    names.STUDY_METADATA,
    names.INSTANCE_METADATA,
    names.FRAME,
)


def _answers(ledger: Ledger, prices: Prices) -> str:
    rows = []
    for name in _ANSWERS:
        bare = usd_of(answers_of_a_million(ledger, name, CT, prices, counts_bytes_out=False))
        out = ledger[name].answer_bytes / 1e9 * 1e6 * prices.out_gb
        ms = 1000 * used.seconds_of(ledger, name)
        rows.append([name, f"{ms:.0f} ms", f"{bare:.2f}", f"{out:.2f}"])
    return table(["a million of", "in the function", "USD", "data out, USD"], rows)


def _per_thousand(ledger: Ledger, prices: Prices) -> str:
    rows = []
    for name, each in MODELS.items():
        month = lines_of("stored", used.stored(ledger, each, studies=1000, months=1), prices)
        ingested = lines_of("ingested", used.ingest(ledger, each, studies=1000), prices)
        viewed = lines_of("viewed", used.views(ledger, each, studies=1000), prices)
        bytes_each = each.series * each.instances * each.instance_bytes / 2**20
        rows.append(
            [
                name,
                f"{each.series:g} x {each.instances:g}",
                f"{bytes_each:,.0f} MiB",
                f"{usd_of(month):,.2f}",
                f"{usd_of(ingested):,.2f}",
                f"{usd_of(viewed):,.2f}",
            ]
        )
    return table(
        [
            "1,000 studies",
            "series x instances",
            "a study",
            "stored for a month, USD",
            "ingested, USD",
            "opened once, USD",
        ],
        rows,
    )


def _bill(workload: Workload) -> Callable[[Ledger, Prices], str]:
    def written(ledger: Ledger, prices: Prices) -> str:
        lines = monthly_bill(ledger, workload, prices)
        total = usd_of(lines)
        shown = [line for line in lines if line.usd >= 0.005 * total]
        rows = [
            [
                line.part,
                line.what,
                amount(line.amount),
                line.unit,
                f"{line.usd:,.2f}",
                f"{100 * line.usd / total:.0f}%",
            ]
            for line in shown
        ]
        rest = total - usd_of(shown)
        rows.append(["", "all other lines", "", "", f"{rest:,.2f}", ""])
        rows.append(["", "**all**", "", "", f"**{total:,.2f}**", ""])
        return table(["", "line", "amount", "of", "USD a month", "share"], rows)

    return written


def _peers(ledger: Ledger, prices: Prices) -> str:
    rows = []
    for name, workload in MODELS.items():
        for kept in (1, 12, 84):
            each = replace(workload, months=kept)
            cells = []
            for storage_class in ("standard", "intelligent"):
                ours = monthly_bill(ledger, replace(each, storage_class=storage_class), prices)
                cells.append(f"{usd_of(ours):,.0f}")
            theirs = health_imaging(ledger, each, prices), healthcare_api(ledger, each, prices)
            rows.append([name, str(kept), *cells, *(f"{peer.usd:,.0f}" for peer in theirs)])
    return table(
        [
            "1,000 studies a month",
            "months kept",
            "Dicomulus, Standard",
            "Dicomulus, Intelligent-Tiering",
            "AWS HealthImaging",
            "Google Healthcare API",
        ],
        rows,
    )


def _peer_parts(ledger: Ledger, prices: Prices) -> str:
    rows = []
    for name, workload in MODELS.items():
        lines = monthly_bill(ledger, workload, prices)
        ours = [usd_of(lines, part) for part in get_args(Part)]
        rows.append([name, "Dicomulus, Standard", *(f"{usd:,.2f}" for usd in ours), ""])
        for title, peer in (
            ("AWS HealthImaging", health_imaging(ledger, workload, prices)),
            ("Google Healthcare API", healthcare_api(ledger, workload, prices)),
        ):
            parts = (peer.stored, peer.ingested, peer.viewed, 0.0, 0.0)
            rows.append([name, title, *(f"{usd:,.2f}" for usd in parts), peer.not_counted])
    return table(["", "", *get_args(Part), "charged besides, not counted"], rows)


def _idle(ledger: Ledger, prices: Prices) -> str:
    return _lines(lines_of("idle", used.idle(ledger, CT), prices))


def _levers(ledger: Ledger, prices: Prices) -> str:
    base = usd_of(monthly_bill(ledger, CT, prices))
    changes: Mapping[str, Workload] = {
        "objects in Intelligent-Tiering": replace(CT, storage_class="intelligent"),
        "objects to Glacier Instant Retrieval after a month": replace(CT, storage_class="instant"),
        "kept for 84 months instead of 12": replace(CT, months=84),
        "half as many bytes, by compression before they are stored": replace(
            CT, instance_bytes=CT.instance_bytes / 2
        ),
        "each opening fetches a tenth of the frames": replace(CT, viewed_share=0.1),
        "each opening fetches all frames": replace(CT, viewed_share=1.0),
        "viewer and API from one CloudFront distribution": replace(CT, cloudfront=True),
        "a viewer of another origin, with preflights": replace(CT, cross_origin=True),
        "`authorization` = `oidc`": replace(CT, authorization="oidc"),
        "a customer's KMS key": replace(CT, kms=True),
        "a web ACL": replace(CT, waf=True),
        "keys that name their instances": replace(CT, canonical_keys=True),
        "all of it compared daily: `compare_days` = `1`": replace(CT, compare_days=1),
        "compared once in 30 days: `compare_days` = `30`": replace(CT, compare_days=30),
        "never compared, never verified": replace(CT, reconciles=0, verifications=0),
        "batches of 32 instead of 8": replace(CT, batch=32),
        "batches of 2": replace(CT, batch=2),
    }
    rows = [["as above", f"{base:,.2f}", ""]]
    for name, workload in changes.items():
        usd = usd_of(monthly_bill(ledger, workload, prices))
        rows.append([name, f"{usd:,.2f}", f"{usd - base:+,.2f}"])
    return table(["CT, 1,000 studies a month, kept for 12", "USD a month", "difference"], rows)


def _prices(_: Ledger, prices: Prices) -> str:
    return table(
        ["name", "USD", "from"],
        (
            [f"`{each.name}`", f"{getattr(prices, each.name):.10g}", each.metadata[SOURCE]]
            for each in fields(prices)
        ),
    )


def _latencies(ledger: Ledger, prices: Prices) -> str:
    del ledger, prices
    rows = [
        [name, f"{each.median_ms:g} ms", f"{each.p99_ms:g} ms", each.source]
        for name, each in ((one, latency_of(one)) for one in (*LATENCIES, "dynamodb:GetItem"))
    ]
    return table(["request", "median", "p99", "from"], rows)


SECTIONS: Final[dict[str, Callable[[Ledger, Prices], str]]] = {
    "ingest-million": _ingest_lines,
    "ingest-variants": _ingest_variants,
    "metadata-million": _metadata_lines,
    "answers-million": _answers,
    "per-thousand": _per_thousand,
    "bill-ct": _bill(CT),
    "bill-clinic": _bill(CLINIC),
    "peers": _peers,
    "peer-parts": _peer_parts,
    "idle": _idle,
    "levers": _levers,
    "prices": _prices,
    "latencies": _latencies,
}


def written(text: str) -> str:
    """Give the document with its figures made anew.

    Raises:
        ValueError: It has a place for figures that do not exist, or lacks one.
    """
    places = {found[2] for found in _BLOCK.finditer(text)}
    if places != set(SECTIONS):
        raise ValueError(f"places and figures differ in {sorted(places ^ set(SECTIONS))}")
    ledger, prices = read_ledger(), Prices()
    return _BLOCK.sub(
        lambda found: f"{found[1]}{SECTIONS[found[2]](ledger, prices)}\n{found[3]}", text
    )


def main() -> None:
    """Print the document, or write it."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.cost_document")
    parser.add_argument("--update-docs", action="store_true", help="write docs/cost.md")
    parsed = parser.parse_args()
    text = written(DOCUMENT.read_text(encoding="utf-8"))
    if parsed.update_docs:
        DOCUMENT.write_text(text, encoding="utf-8")
    else:
        sys.stdout.write(text)


if __name__ == "__main__":
    main()
