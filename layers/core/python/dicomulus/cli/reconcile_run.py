"""``dicomulus reconcile --stage``: a run of a deployment on AWS, started, awaited and told."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Protocol

from dicomulus.cli.exit_status import FAILED
from dicomulus.cli.text import counted, format_size, printable
from dicomulus.services.findings import PROBLEMS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from dicomulus.services.wishes import Wishes


class Runs(Protocol):
    """Starts runs, waits for them and reads their reports."""

    def start(self, wishes: Mapping[str, Any]) -> str:
        """Start a run; give its name."""

    def wait(self, run: str) -> None:
        """Wait until it has ended."""

    def report(self, run: str) -> dict[str, Any]:
        """Read its report."""


def reconcile_stage(runs: Runs, wishes: Wishes, *, as_json: bool) -> int:
    """Run the state machine of a deployment to its end, and print its report.

    Returns:
        The exit status: not 0 where something is wrong that is not made good.
    """
    run = runs.start(
        {
            "reason": "on demand",
            "verify": wishes.verify,
            "verify_days": wishes.days,
            "repair": wishes.repair,
        }
    )
    if not as_json:
        print(f"Run {run}; it goes on whatever becomes of this command", flush=True)
    runs.wait(run)
    report = runs.report(run)
    if as_json:
        print(json.dumps(report, indent=2, ensure_ascii=False))
    else:
        print("\n".join(map(printable, _format_text(report))))
    counts: dict[str, int] = report["counts"]
    is_bad = any(counts[kind.value] for kind in PROBLEMS) or report["incomplete"]
    return FAILED if is_bad or (not wishes.repair and any(counts.values())) else 0


def _format_text(report: Mapping[str, Any]) -> Iterator[str]:
    checked, counts, found = report["checked"], report["counts"], report["found"]
    yield (
        f"{counted(checked['objects'], 'object')}, {format_size(checked['bytes'])}; "
        f"{counted(checked['rows'], 'row')} of {checked['series']:,} series in "
        f"{counted(checked['studies'], 'study', 'studies')}"
    )
    if report["verify"]:
        yield (
            f"verified: {counted(checked['verified'], 'object')}, "
            f"{format_size(checked['verified_bytes'])}; "
            f"{counted(checked['checksums'], 'checksum')} new"
        )
    for kind, count in counts.items():
        if count:
            yield f"{kind}: {count:,}"
            yield from (f"  {name}" for name in found[kind][:10])
    if report["incomplete"]:
        yield f"Incomplete: {', '.join(report['incomplete'])}; the execution tells why"
    if not any(counts.values()):
        yield "The bucket and the index agree"
    elif report["repair"]:
        yield f"Announced or made good: {checked['repairs']:,}"
    else:
        yield "Nothing was changed; without --dry-run it is made good"
