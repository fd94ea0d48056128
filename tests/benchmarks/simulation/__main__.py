"""Simulate loads: ``python -m tests.benchmarks.simulation [--update-docs]``."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Final

from dicomulus.cli.cost.ledger import read_ledger
from tests.benchmarks.simulation.batches import BatchShape
from tests.benchmarks.simulation.document import (
    SIMULATED,
    rate_table,
    with_quick,
    with_simulated,
    write_charts,
)
from tests.benchmarks.simulation.scenarios import run_scenario, scenarios

DOCUMENT: Final = Path(__file__).resolve().parents[3] / "docs" / "scale.md"


def main() -> None:
    """Simulate, and print what came of it."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.simulation")
    parser.add_argument("--only", metavar="TEXT", default="", help="loads whose name has this text")
    parser.add_argument("--update-docs", action="store_true", help="write docs/scale.md")
    parsed = parser.parse_args()
    ledger = read_ledger()
    shape = BatchShape(ledger)
    started = time.monotonic()
    outcomes = []
    for scenario in scenarios(ledger, shape):
        if parsed.only in scenario.name:
            print(
                f"[{time.monotonic() - started:4.0f} s] {scenario.name}, {scenario.settings}",
                flush=True,
            )
            outcomes.append(run_scenario(scenario, ledger=ledger, shape=shape))
    print(f"[{time.monotonic() - started:4.0f} s] done\n")
    for written in (rate_table(shape), *(made(outcomes) for made in SIMULATED.values())):
        print(written, end="\n\n")
    if parsed.update_docs and not parsed.only:
        text = with_quick(DOCUMENT.read_text(encoding="utf-8"), shape)
        DOCUMENT.write_text(with_simulated(text, outcomes), encoding="utf-8")
        write_charts(outcomes, DOCUMENT.parent / "images")


if __name__ == "__main__":
    main()
