"""Pulling studies, series and instances from a server into a folder."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final

from dicomulus.client.catalogue import (
    Holding,
    instances_of,
    manifest_of,
    path_of,
    series_of,
)
from dicomulus.client.files import Files
from dicomulus.client.parallel import Parallel
from dicomulus.client.progress import Note, Quiet
from dicomulus.client.retrieve import FATAL, Got, Pulled, Retriever
from dicomulus.dicom.resource import InstanceResource, SeriesResource
from dicomulus.errors import (
    RemoteAnswerError,
    RemoteError,
    RemoteRefusedError,
    StorageFullError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from dicomulus.client.catalogue import Resource
    from dicomulus.client.http_client import HttpClient
    from dicomulus.client.progress import Progress


_TOO_LARGE: Final = 413


@dataclass(slots=True)
class PullReport:
    """What has become of all instances."""

    url: str
    counts: Counter[Got] = field(default_factory=Counter)
    received_bytes: int = 0
    failed: list[Note] = field(default_factory=list)
    stopped: str = ""
    """Why it ended before its end, if it did."""
    interrupted: bool = False
    seconds: float = 0.0

    @property
    def succeeded(self) -> bool:
        """Whether everything that was asked for is in the folder."""
        return not (self.failed or self.stopped or self.interrupted)

    def add(self, pulled: Pulled) -> None:
        """Take what has become of an instance."""
        self.counts[pulled.got] += 1
        if pulled.got is Got.RECEIVED:
            self.received_bytes += pulled.size_bytes
        if pulled.got is Got.FAILED:
            self.failed.append(Note(pulled.name, pulled.reason))


def pull(
    client: HttpClient,
    resources: Iterable[Resource],
    folder: Path,
    *,
    again: bool = False,
    jobs: int = 4,
    progress: Progress | None = None,
) -> PullReport:
    """Have everything that some resources hold, as files.

    Args:
        client: Of the server.
        resources: Studies, series and instances; taken as they are needed.
        folder: Where the files go.
        again: Also what is there already, whole.
        jobs: Requests at a time.
        progress: Is told, from this thread.
    """
    return _Pull(client, folder, again=again, jobs=jobs, progress=progress or Quiet()).run(
        resources
    )


@dataclass(frozen=True, slots=True)
class _Results:
    pulled: tuple[Pulled, ...]
    reason: str = ""
    """Why all must be given up."""


class _Pull:
    def __init__(
        self, client: HttpClient, folder: Path, *, again: bool, jobs: int, progress: Progress
    ) -> None:
        self._client = client
        self._files = Files(folder)
        self._retriever = Retriever(client, self._files, again=again)
        self._again = again
        self._jobs = jobs
        self._progress = progress
        self._expected_bytes = 0
        self._report = PullReport(client.base_url)

    def run(self, resources: Iterable[Resource]) -> PullReport:
        began = time.monotonic()
        parallel = Parallel(self._jobs, stopped=self._client.stopped, collect=self._collect)
        ended = parallel.run(self._tasks(resources))
        self._report.stopped = self._report.stopped or ended.stopped
        self._report.interrupted = ended.interrupted
        self._report.seconds = time.monotonic() - began
        return self._report

    def _collect(self, results: _Results) -> str:
        for pulled in results.pulled:
            self._report.add(pulled)
            self._progress.done(pulled.size_bytes)
        return results.reason

    # --- what there is to do ----------------------------------------------------------------------

    def _tasks(self, resources: Iterable[Resource]) -> Iterator[Callable[[], _Results]]:
        try:
            for resource in resources:
                yield from self._tasks_of(resource)
        except RemoteError as exc:
            self._report.stopped = str(exc)

    def _tasks_of(self, resource: Resource) -> Iterator[Callable[[], _Results]]:
        try:
            manifest = manifest_of(self._client, resource)
        except RemoteRefusedError as exc:
            if exc.status == _TOO_LARGE and not isinstance(resource, InstanceResource):
                yield from self._tasks_of_members(resource)
                return
            if exc.status not in (404, 410):
                raise
            self._report.add(Pulled(path_of(resource), Got.FAILED, reason=str(exc)))
            return
        if manifest is None:
            yield from self._tasks_without_manifest(resource)
            return
        self._expected_bytes += sum(holding.size or 0 for holding in manifest)
        self._progress.expect(self._expected_bytes)
        for holding in manifest:
            yield partial(self._one, holding)

    def _tasks_of_members(self, resource: str | SeriesResource) -> Iterator[Callable[[], _Results]]:
        """Go by the manifests of what is in it, where its own is too long."""
        members: Iterator[Resource] = (
            instances_of(self._client, resource)
            if isinstance(resource, SeriesResource)
            else series_of(self._client, resource)
        )
        for member in members:
            yield from self._tasks_of(member)

    def _tasks_without_manifest(self, resource: Resource) -> Iterator[Callable[[], _Results]]:
        """Go by series where the server can tell which there are."""
        if isinstance(resource, InstanceResource):
            yield partial(self._series, resource, [resource])
            return
        try:
            each = (
                [resource]
                if isinstance(resource, SeriesResource)
                else list(series_of(self._client, resource))
            )
            known = [(series, list(instances_of(self._client, series))) for series in each]
        except RemoteRefusedError:
            known = []
        if not known:
            yield partial(self._series, resource, [])
        for series, instances in known:
            yield partial(self._series, series, instances)

    # --- what is done -----------------------------------------------------------------------------

    def _one(self, holding: Holding) -> _Results:
        if self._client.stopped.is_set():
            return _Results(())
        try:
            return _Results((self._retriever.pull(holding),))
        except (RemoteError, StorageFullError) as exc:
            return _Results((), str(exc))

    def _series(self, resource: Resource, instances: list[InstanceResource]) -> _Results:
        """Have a series in one answer if all of it is missing; what is missing then, by itself."""
        missing = [each for each in instances if self._again or not self._has(each)]
        present = set(instances).difference(missing)
        pulled = [Pulled(each.path, Got.PRESENT) for each in instances if each in present]
        try:
            if not present:
                reason = self._together(resource, pulled)
                if reason and not instances:
                    pulled.append(Pulled(path_of(resource), Got.FAILED, reason=reason))
                received = {each.name for each in pulled}
                missing = [each for each in missing if each.path not in received]
            for instance in missing:
                before = len(pulled)
                reason = self._together(instance, pulled)
                if len(pulled) == before and not self._client.stopped.is_set():
                    reason = reason or "the answer does not have it"
                    pulled.append(Pulled(instance.path, Got.FAILED, reason=reason))
        except (RemoteError, StorageFullError) as exc:
            return _Results(tuple(pulled), str(exc))
        return _Results(tuple(pulled))

    def _together(self, resource: Resource, pulled: list[Pulled]) -> str:
        """Retrieve by one request; give the reason if not all came.

        Raises:
            RemoteUnavailableError: The server does not answer.
            RemoteRefusedError: It wants to know who is asking.
        """
        if self._client.stopped.is_set():
            return "stopped"
        try:
            for each in self._retriever.pull_together(resource):
                pulled.append(each)  # noqa: PERF402 - those before an error count
        except RemoteRefusedError as exc:
            if exc.status in FATAL:
                raise
            return str(exc)
        except RemoteAnswerError as exc:
            return str(exc)
        return ""

    def _has(self, instance: InstanceResource) -> bool:
        return self._files.has(Holding(instance))
