"""``dicomulus push``: files stored on a DICOMweb server."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from dicomulus.cli.exit_status import exit_status_of
from dicomulus.cli.folders import user_folder
from dicomulus.cli.notes import listed
from dicomulus.cli.progress import TransferBar
from dicomulus.cli.text import counted, format_size, printable
from dicomulus.client.http_client import ClientOptions, HttpClient
from dicomulus.client.journal import Journal
from dicomulus.client.push import push
from dicomulus.client.send import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from dicomulus.client.push import PushReport


def run_push(
    paths: Sequence[Path],
    url: str,
    *,
    options: ClientOptions,
    jobs: int,
    again: bool,
    as_json: bool,
    everything: bool,
) -> int:
    """Send files and print what became of them; give the exit status.

    Raises:
        ConfigurationError: The URL or a header is none, or there is no place for the journal.
    """
    client = HttpClient(url, options)
    journal = Journal(user_folder() / "push", client.base_url)
    try:
        with TransferBar("Sending", client.meter) as bar:
            report = push(client, paths, journal=journal, again=again, jobs=jobs, progress=bar)
    finally:
        journal.close()
    if as_json:
        print(_format_json(report))
    else:
        for line in _format_text(report, everything=everything):
            print(printable(line))
    return exit_status_of(report)


def _format_json(report: PushReport) -> str:
    members: dict[str, Any] = {
        "url": report.url,
        **{outcome.value: report.counts[outcome] for outcome in Outcome},
        "sent_bytes": report.sent_bytes,
        "sent_before": report.before,
        "untried": report.untried,
        "seconds": round(report.seconds, 3),
        "interrupted": report.interrupted,
        "stopped": report.stopped,
        "warnings": [asdict(note) for note in report.warned],
        "failures": [asdict(note) for note in report.failed],
        "skipped": [asdict(note) for note in report.skipped],
    }
    return json.dumps(members, indent=2)


def _format_text(report: PushReport, *, everything: bool) -> Iterator[str]:
    sent = report.counts[Outcome.SENT] + report.counts[Outcome.WARNED]
    rate = format_size(round(report.sent_bytes / max(report.seconds, 0.001)))
    yield (
        f"Sent: {counted(sent, 'instance')}, {format_size(report.sent_bytes)} "
        f"in {report.seconds:.1f} s ({rate}/s) to {report.url}"
    )
    if report.before:
        yield f"Sent before: {counted(report.before, 'file')}; --again sends them again"
    if present := report.counts[Outcome.PRESENT]:
        yield f"Already there: {counted(present, 'instance')}"
    yield from listed("Stored with a warning", report.warned, everything=everything)
    yield from listed("Skipped", report.skipped, everything=everything)
    yield from listed("Failed", report.failed, everything=True)
    if report.stopped:
        yield f"Given up: {report.stopped}"
    if report.stopped or report.interrupted:
        yield "The same command goes on from here"
