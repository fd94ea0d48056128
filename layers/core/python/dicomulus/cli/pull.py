"""``dicomulus pull``: studies of a DICOMweb server as files."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from dicomulus.cli.exit_status import exit_status_of
from dicomulus.cli.notes import listed
from dicomulus.cli.progress import TransferBar
from dicomulus.cli.text import counted, format_size, printable
from dicomulus.client.catalogue import matching_of, studies_of, target_of
from dicomulus.client.http_client import HttpClient
from dicomulus.client.pull import pull
from dicomulus.client.retrieve import Got
from dicomulus.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from dicomulus.client.catalogue import Resource
    from dicomulus.client.http_client import ClientOptions
    from dicomulus.client.pull import PullReport


def run_pull(
    url: str,
    folder: Path,
    *,
    studies: Sequence[str],
    matching: Sequence[str],
    every_study: bool,
    options: ClientOptions,
    jobs: int,
    again: bool,
    as_json: bool,
) -> int:
    """Retrieve into a folder and print what came; give the exit status.

    Raises:
        ConfigurationError: The URL or a condition is none, or nothing is asked for.
        RemoteError: The server cannot be searched.
    """
    base_url, named = target_of(url)
    client = HttpClient(base_url, options)
    resources: Iterable[Resource] = dict.fromkeys([*([named] if named else []), *studies])
    if matching or every_study:
        resources = studies_of(client, matching_of(matching))
    elif not resources:
        raise ConfigurationError(
            "what of it? Say the URL of a study, series or instance, --study UID, "
            "--match Attribute=value or --every-study"
        )
    with TransferBar("Receiving", client.meter) as bar:
        report = pull(client, resources, folder, again=again, jobs=jobs, progress=bar)
    if as_json:
        print(_format_json(report))
    else:
        for line in _format_text(report, folder):
            print(printable(line))
    return exit_status_of(report)


def _format_json(report: PullReport) -> str:
    members: dict[str, Any] = {
        "url": report.url,
        **{got.value: report.counts[got] for got in Got},
        "received_bytes": report.received_bytes,
        "seconds": round(report.seconds, 3),
        "interrupted": report.interrupted,
        "stopped": report.stopped,
        "failures": [asdict(note) for note in report.failed],
    }
    return json.dumps(members, indent=2)


def _format_text(report: PullReport, folder: Path) -> Iterator[str]:
    rate = format_size(round(report.received_bytes / max(report.seconds, 0.001)))
    yield (
        f"Received: {counted(report.counts[Got.RECEIVED], 'instance')}, "
        f"{format_size(report.received_bytes)} in {report.seconds:.1f} s ({rate}/s) into {folder}"
    )
    if present := report.counts[Got.PRESENT]:
        yield f"Already there: {counted(present, 'instance')}; --again receives them again"
    if report.succeeded and not report.counts:
        yield "The server has nothing of that kind"
    yield from listed("Failed", report.failed, everything=True, noun="resource")
    if report.stopped:
        yield f"Given up: {report.stopped}"
    if report.stopped or report.interrupted:
        yield "The same command goes on from here"
