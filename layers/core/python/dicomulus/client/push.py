"""Pushing files to a server: found, looked into, sent several batches at a time, noted as done."""

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from dicomulus.client.identity import Unfit
from dicomulus.client.parallel import Parallel
from dicomulus.client.progress import Note, Quiet
from dicomulus.client.send import TAKEN, Outcome, Sender, batches, parcel_of
from dicomulus.client.sources import Unusable, ZipArchives, find_sources
from dicomulus.errors import ConfigurationError, RemoteError, SourceFileError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from dicomulus.client.http_client import HttpClient
    from dicomulus.client.journal import Journal
    from dicomulus.client.progress import Progress
    from dicomulus.client.send import Parcel, Sent
    from dicomulus.client.sources import Source
    from dicomulus.errors import DicomulusError


@dataclass(slots=True)
class PushReport:
    """What has become of all files."""

    url: str
    counts: Counter[Outcome] = field(default_factory=Counter)
    sent_bytes: int = 0
    before: int = 0
    """Files that the journal has as done."""
    untried: int = 0
    """Files given up because the server was, or the user had had enough."""
    warned: list[Note] = field(default_factory=list)
    failed: list[Note] = field(default_factory=list)
    skipped: list[Note] = field(default_factory=list)
    stopped: str = ""
    """Why it ended before its end, if it did."""
    interrupted: bool = False
    seconds: float = 0.0

    @property
    def succeeded(self) -> bool:
        """Whether every DICOM file found is on the server now."""
        return not (self.failed or self.stopped or self.interrupted)

    def add(self, sent: Sent) -> None:
        """Take what has become of a file."""
        self.counts[sent.outcome] += 1
        note = Note(sent.source.name, sent.reason)
        if sent.outcome in TAKEN:
            self.sent_bytes += 0 if sent.outcome is Outcome.PRESENT else sent.source.size
            if sent.outcome is Outcome.WARNED:
                self.warned.append(note)
        else:
            self.failed.append(note)


def push(
    client: HttpClient,
    paths: Sequence[Path],
    *,
    journal: Journal,
    again: bool = False,
    jobs: int = 4,
    progress: Progress | None = None,
) -> PushReport:
    """Send every DICOM file below some paths.

    Args:
        client: Of the server.
        paths: Files, folders and zip files.
        journal: Files in it are left out, unless ``again``; those that are taken are noted in it.
        again: Send everything.
        jobs: Requests at a time.
        progress: Is told, from this thread but for what to expect.
    """
    archives = ZipArchives()
    try:
        return _Push(client, journal, again=again, jobs=jobs, progress=progress or Quiet()).run(
            paths, archives
        )
    finally:
        archives.close()


@dataclass(frozen=True, slots=True)
class _Batch:
    results: tuple[Sent, ...]
    untried: int
    error: DicomulusError | None


class _Push:
    def __init__(
        self, client: HttpClient, journal: Journal, *, again: bool, jobs: int, progress: Progress
    ) -> None:
        self._client = client
        self._sender = Sender(client)
        self._journal = journal
        self._again = again
        self._jobs = jobs
        self._progress = progress
        self._report = PushReport(client.base_url)

    def run(self, paths: Sequence[Path], archives: ZipArchives) -> PushReport:
        began = time.monotonic()
        threading.Thread(target=self._measure, args=(paths,), daemon=True).start()
        together = batches(
            self._parcels(find_sources(paths, archives)),
            max_bytes=lambda: self._sender.batch_bytes,
        )
        parallel = Parallel(self._jobs, stopped=self._client.stopped, collect=self._collect)
        ended = parallel.run(partial(self._send, batch) for batch in together)
        self._report.stopped, self._report.interrupted = ended.stopped, ended.interrupted
        self._report.seconds = time.monotonic() - began
        return self._report

    def _measure(self, paths: Sequence[Path]) -> None:
        archives = ZipArchives()
        size_bytes = 0
        for found in find_sources(paths, archives):
            if self._client.stopped.is_set():
                break
            size_bytes += 0 if isinstance(found, Unusable) else found.size
        archives.close()
        self._progress.expect(size_bytes)

    # --- finding ----------------------------------------------------------------------------------

    def _parcels(self, found: Iterable[Source | Unusable]) -> Iterator[Parcel]:
        for each in found:
            if isinstance(each, Unusable):
                notes = self._report.failed if each.is_failure else self._report.skipped
                notes.append(Note(each.name, each.reason))
                self._progress.done(0)
            elif not self._again and self._journal.has(each.fingerprint):
                self._report.before += 1
                self._progress.done(each.size)
            else:
                yield from self._looked_into(each)

    def _looked_into(self, source: Source) -> Iterator[Parcel]:
        try:
            parcel = parcel_of(source)
        except SourceFileError as exc:
            parcel = Unfit(str(exc), is_dicom=True)
        if not isinstance(parcel, Unfit):
            yield parcel
            return
        notes = self._report.failed if parcel.is_dicom else self._report.skipped
        notes.append(Note(source.name, parcel.reason))
        self._progress.done(source.size)

    # --- sending ----------------------------------------------------------------------------------

    def _send(self, batch: Sequence[Parcel]) -> _Batch:
        results: list[Sent] = []
        error: DicomulusError | None = None
        if not self._client.stopped.is_set():
            try:
                for sent in self._sender.send(batch):
                    results.append(sent)  # noqa: PERF402 - those before an error count
            except RemoteError as exc:
                error = exc
        try:
            self._journal.add(each.source.fingerprint for each in results if each.outcome in TAKEN)
        except ConfigurationError as exc:
            error = exc
        return _Batch(tuple(results), len(batch) - len(results), error)

    def _collect(self, batch: _Batch) -> str:
        for sent in batch.results:
            self._report.add(sent)
            self._progress.done(sent.source.size)
        self._report.untried += batch.untried
        return "" if batch.error is None else str(batch.error)
