"""The same archive in this server and its peers, asked the same, at several sizes."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import statistics
import tempfile
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import dicomulus
from tests.benchmarks.datasets import Shape, link_study, study_files
from tests.benchmarks.debian import UnavailableError, debian_root
from tests.benchmarks.http_client import Connection
from tests.benchmarks.interleaving import Contender, UnexpectedAnswerError, time_in_turns
from tests.benchmarks.load import has_wrk, throughput_in_turns
from tests.benchmarks.machine import load_average
from tests.benchmarks.peers import Dicomulus, Nginx, Orthanc, etag_of, upload
from tests.benchmarks.processes import free_port
from tests.benchmarks.results import Measurement, in_turns

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from tests.benchmarks.debian import DebianRoot
    from tests.benchmarks.peers import Ingested, Running
    from tests.benchmarks.results import Results

GZIP: Final = {"Accept-Encoding": "gzip"}
ZSTD: Final = {"Accept-Encoding": "zstd"}
FRAME: Final = {"Accept": 'multipart/related; type="application/octet-stream"'}
LARGE_ROWS: Final = 512
"""Rows and columns of the images with which ingest is measured a second time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How much is measured."""

    shape: Shape = field(default_factory=Shape)
    studies: tuple[int, ...] = (1, 10, 40, 100)
    """Sizes of the archive, ascending."""
    compared_at: int = 10
    """The size at which everything is compared; at the others only what should not grow."""
    rounds: int = 7
    burst_seconds: float = 0.3
    load_seconds: int = 4
    starts: int = 3
    """Times that servers are started for their first answers."""
    upload_seconds: float = 5_400.0
    """Longest upload to Orthanc for one size; if it takes longer, Orthanc's part ends there."""
    has_large_images: bool = True
    ingest_turns: int = 5
    """Times that images of each size are indexed into an empty archive."""


@dataclass(frozen=True, slots=True)
class Resources:
    """Paths below the base URL of what is asked for."""

    study: str
    series: str
    instance: str

    @classmethod
    def of(cls, running: Running) -> Resources:
        """Find the first study's first series' first instance that a server names."""
        study = f"/studies/{_first(running, '/studies', '0020000D')}"
        series = f"{study}/series/{_first(running, f'{study}/series', '0020000E')}"
        found = _first(running, f"{series}/instances?limit=1", "00080018")
        return cls(study, series, f"{series}/instances/{found}")


def _first(running: Running, path: str, tag: str) -> str:
    with Connection(running.base_url) as connection:
        matches = json.loads(connection.get(path).body)
    values: list[str] = sorted(match[tag]["Value"][0] for match in matches)
    return values[0]


def compare(plan: Plan, results: Results, *, cache: Path, tell: Callable[[str], None]) -> None:
    """Measure everything of a plan, and add it to the results."""
    try:
        root = debian_root(cache)
    except UnavailableError as error:
        root = None
        results.skipped["Orthanc"] = results.skipped["nginx"] = str(error)
    if not has_wrk():
        results.skipped["eight clients"] = "wrk is not installed"
    with tempfile.TemporaryDirectory(dir=cache, prefix="run-") as folder:
        _Comparison(plan, results, cache=cache, work=Path(folder), root=root, tell=tell).run()


class _Comparison:
    def __init__(
        self,
        plan: Plan,
        results: Results,
        *,
        cache: Path,
        work: Path,
        root: DebianRoot | None,
        tell: Callable[[str], None],
    ) -> None:
        self._plan = plan
        self._results = results
        self._cache = cache
        self._work = work
        self._root = root
        self._tell = tell
        self._instances = 0
        self._source = work / "source"
        self._source.mkdir()
        self._dicomulus = Dicomulus(self._source, work / "data", free_port(), work / "log")
        self._orthanc = Orthanc(root, work / "orthanc") if root else None
        results.versions["Dicomulus"] = dicomulus.__version__
        if root:
            results.versions["Orthanc"] = root.version("orthanc")
            results.versions["Orthanc DICOMweb plugin"] = root.version("orthanc-dicomweb")
            results.versions["nginx"] = root.version("nginx")

    def run(self) -> None:
        held = 0
        for studies in self._plan.studies:
            self._fill(range(held, studies))
            held = studies
            if studies == self._plan.compared_at:
                self._compare_all()
            else:
                self._compare_growth()
        if self._plan.has_large_images:
            self._ingest_large()

    # --- filling ---------------------------------------------------------------------------------

    def _fill(self, numbers: range) -> None:
        self._tell(f"studies {numbers.start + 1} to {numbers.stop}: generating")
        shape = self._plan.shape
        files = []
        for number in numbers:
            of_study = study_files(self._cache, shape, number)
            link_study(of_study, self._source / f"{number:04d}")
            files += of_study
        # What was just made should not still be on its way to the disk when files are timed.
        os.sync()
        _bring_to_memory(files)
        self._tell(f"{len(files):,} files: indexing by dicomulus")
        self._add_ingest("Dicomulus", "in place", self._dicomulus.index())
        if self._orthanc:
            self._tell(f"{len(files):,} files: uploading to Orthanc")
            with self._orthanc.serve() as running:
                done = upload(running, files, seconds=self._plan.upload_seconds)
                self._add_ingest("Orthanc", "POST, 4 clients", done)
            if done.instances < len(files):
                self._results.skipped[
                    f"Orthanc from {self._instances + len(files):,} instances"
                ] = (
                    f"only {done.instances:,} of {len(files):,} were uploaded in "
                    f"{self._plan.upload_seconds:.0f} s"
                )
                self._orthanc = None
        self._instances += len(files)

    def _add_ingest(
        self, peer: str, variant: str, done: Ingested, *, request: str = "", before: int = -1
    ) -> None:
        self._add(
            Measurement(
                part="ingest",
                request=request or f"{self._plan.shape.rows}x{self._plan.shape.rows}",
                peer=peer,
                variant=variant,
                instances=self._instances if before < 0 else before,
                count=done.instances,
                cpu_ms=done.cpu_seconds / done.instances * 1000,
                per_second=done.instances / done.seconds,
                load=load_average(),
            )
        )

    def _ingest_large(self) -> None:
        """Index one study of small and of large images in turns, each into an empty archive."""
        shape = self._plan.shape
        shapes = (shape, replace(shape, rows=LARGE_ROWS))
        self._tell("images of both sizes: generating and indexing")
        files = {each: study_files(self._cache, each, 0) for each in shapes}
        os.sync()
        for paths in files.values():
            _bring_to_memory(paths)
        turns = [
            (each, self._index_alone(paths))
            for _ in range(self._plan.ingest_turns)
            for each, paths in files.items()
        ]
        for each in shapes:
            done = [ingested for of, ingested in turns if of == each]
            middle = sorted(done, key=lambda ingested: ingested.seconds)[len(done) // 2]
            how = f"in place, the median of {len(done)}"
            self._add_ingest("Dicomulus", how, middle, request=in_turns(each.rows), before=0)
        if self._root:
            large = shapes[1]
            with Orthanc(self._root, self._work / "large-orthanc").serve() as running:
                done_by = upload(running, files[large], seconds=self._plan.upload_seconds)
            name = in_turns(large.rows)
            self._add_ingest("Orthanc", "POST, 4 clients", done_by, request=name, before=0)

    def _index_alone(self, files: list[Path]) -> Ingested:
        with tempfile.TemporaryDirectory(dir=self._work) as name:
            folder = Path(name)
            link_study(files, folder / "source")
            alone = Dicomulus(folder / "source", folder / "data", free_port(), self._work / "log")
            return alone.index()

    # --- asking ----------------------------------------------------------------------------------

    def _compare_growth(self) -> None:
        with ExitStack() as stack:
            servers = _Servers(dicomulus=stack.enter_context(self._dicomulus.serve()))
            if self._orthanc:
                servers.orthanc = stack.enter_context(self._orthanc.serve())
            servers.settle()
            asked = Resources.of(servers.dicomulus)
            for request, path in _lists(asked).items():
                self._time(request, servers.plain(path))
            self._time("series metadata", servers.metadata(f"{asked.series}/metadata"))
            self._time("frame", servers.plain(f"{asked.instance}/frames/1", FRAME))
            self._memory(servers, "after answers")

    def _compare_all(self) -> None:
        self._first_answers()
        with self._all_servers() as servers:
            asked = Resources.of(servers.dicomulus)
            for path in (*_lists(asked).values(), *_metadata(asked).values()):
                servers.check_equal_counts(path)
            for request, path in _lists(asked).items():
                self._time(request, [*servers.plain(path), *servers.compressed(path)])
            for request, path in _metadata(asked).items():
                contenders = servers.metadata(path)
                self._time(request, [*contenders, *servers.not_modified(path)])
                if request == "series metadata":
                    self._load(request, contenders)
            instance = f"{asked.instance}/metadata"
            self._time(
                "instance metadata", [*servers.plain(instance), *servers.compressed(instance)]
            )
            frame = servers.plain(f"{asked.instance}/frames/1", FRAME)
            self._time("frame", frame)
            self._load("frame", frame)
            self._load("study list, limit=100", servers.plain("/studies?limit=100"))
            self._memory(servers, "after answers")

    @contextmanager
    def _all_servers(self) -> Iterator[_Servers]:
        with ExitStack() as stack:
            servers = _Servers(dicomulus=stack.enter_context(self._dicomulus.serve()))
            servers.dicomulus.settle()
            self._memory(servers, "after the start")
            if self._orthanc and self._root:
                compressing = Orthanc(self._root, self._work / "orthanc-gzip", is_compressing=True)
                self._orthanc.copy_to(compressing.folder)
                servers.orthanc = stack.enter_context(self._orthanc.serve())
                self._memory(servers, "after the start", peers=("Orthanc",))
                servers.orthanc_gzip = stack.enter_context(compressing.serve())
            if self._root:
                nginx = Nginx(self._root, self._work / "nginx")
                servers.keep_finished(nginx, _metadata(Resources.of(servers.dicomulus)).values())
                servers.nginx = stack.enter_context(nginx.serve())
            servers.settle()
            yield servers
        shutil.rmtree(self._work / "orthanc-gzip", ignore_errors=True)

    def _first_answers(self) -> None:
        """Start servers again and again, and take the time of their very first answers."""
        self._tell("first answers")
        with self._dicomulus.serve() as running:
            paths = _metadata(Resources.of(running))
        starts: list[tuple[str, str, Mapping[str, str], Dicomulus | Orthanc]] = [
            ("Dicomulus", "gzip", GZIP, self._dicomulus)
        ]
        if self._orthanc:
            starts.append(("Orthanc", "default", {}, self._orthanc))
        for request, path in paths.items():
            for peer, variant, headers, server in starts:
                seconds = [_first_answer(server, path, headers) for _ in range(self._plan.starts)]
                self._add(
                    Measurement(
                        part="first",
                        request=request,
                        peer=peer,
                        variant=variant,
                        instances=self._instances,
                        count=len(seconds),
                        median_ms=statistics.median(seconds) * 1000,
                        min_ms=min(seconds) * 1000,
                        max_ms=max(seconds) * 1000,
                        load=load_average(),
                    )
                )

    # --- results ---------------------------------------------------------------------------------

    def _time(self, request: str, contenders: Sequence[Contender]) -> None:
        self._tell(f"{request}, {self._instances:,} instances")
        plan = self._plan
        for timing in time_in_turns(
            contenders, rounds=plan.rounds, burst_seconds=plan.burst_seconds
        ):
            self._add(
                Measurement(
                    part="latency",
                    request=request,
                    peer=timing.contender.peer,
                    variant=timing.contender.variant,
                    instances=self._instances,
                    count=timing.count,
                    median_ms=timing.median_ms,
                    min_ms=timing.min_ms,
                    max_ms=timing.max_ms,
                    cpu_ms=timing.cpu_ms,
                    body_bytes=timing.body_bytes,
                    load=timing.load,
                )
            )

    def _load(self, request: str, contenders: Sequence[Contender]) -> None:
        if not has_wrk():
            return
        self._tell(f"{request}, eight clients")
        for each in throughput_in_turns(contenders, rounds=3, seconds=self._plan.load_seconds):
            self._add(
                Measurement(
                    part="clients",
                    request=request,
                    peer=each.contender.peer,
                    variant=each.contender.variant,
                    instances=self._instances,
                    count=each.count,
                    median_ms=each.median_ms,
                    cpu_ms=each.cpu_ms,
                    per_second=each.per_second,
                    load=each.load,
                )
            )

    def _memory(
        self, servers: _Servers, when: str, *, peers: tuple[str, ...] = ("Dicomulus", "Orthanc")
    ) -> None:
        for peer, running in servers.archives():
            if peer not in peers:
                continue
            self._add(
                Measurement(
                    part="memory",
                    request=when,
                    peer=peer,
                    instances=self._instances,
                    count=len(running.server.ids),
                    resident_bytes=running.server.resident_bytes(),
                    proportional_bytes=running.server.proportional_bytes(),
                    load=load_average(),
                )
            )

    def _add(self, measurement: Measurement) -> None:
        self._results.measurements.append(measurement)
        self._tell(_line(measurement))


def _bring_to_memory(files: Iterable[Path]) -> None:
    """Read files whole, so that none is read from the disk when it is timed."""
    for path in files:
        path.read_bytes()


def _lists(asked: Resources) -> dict[str, str]:
    return {
        "study list, limit=100": "/studies?limit=100",
        "study list, limit=1": "/studies?limit=1",
        "series list": f"{asked.study}/series",
        "instance list": f"{asked.series}/instances",
    }


def _metadata(asked: Resources) -> dict[str, str]:
    return {
        "series metadata": f"{asked.series}/metadata",
        "study metadata": f"{asked.study}/metadata",
    }


def _first_answer(server: Dicomulus | Orthanc, path: str, headers: Mapping[str, str]) -> float:
    with server.serve() as running, Connection(running.base_url) as connection:
        return connection.measure(path, headers).seconds


@dataclass(slots=True, kw_only=True)
class _Servers:
    """The servers that run, and the ways to ask each."""

    dicomulus: Running
    orthanc: Running | None = None
    orthanc_gzip: Running | None = None
    nginx: Running | None = None
    codings: dict[str, dict[str, int]] = field(default_factory=dict)
    """Codings that nginx has, and the number of each path's answer."""

    def archives(self) -> Iterator[tuple[str, Running]]:
        """Go through those that hold the archive."""
        yield "Dicomulus", self.dicomulus
        if self.orthanc:
            yield "Orthanc", self.orthanc

    def settle(self) -> None:
        """Wait until none has anything left to do."""
        for running in (self.dicomulus, self.orthanc, self.orthanc_gzip, self.nginx):
            if running:
                running.settle()

    def check_equal_counts(self, path: str) -> None:
        """Check that the archives give equally many matches.

        Raises:
            UnexpectedAnswerError: They do not, so that their times are not comparable.
        """
        counts = {}
        for peer, running in self.archives():
            with Connection(running.base_url) as connection:
                counts[peer] = len(json.loads(connection.get(path).body))
        if len(set(counts.values())) > 1 or not all(counts.values()):
            raise UnexpectedAnswerError(f"{counts} for {path}")

    def plain(self, path: str, headers: Mapping[str, str] | None = None) -> list[Contender]:
        """Ask both archives, with no coding accepted."""
        found = [_contender("Dicomulus", "identity", self.dicomulus, path, headers=headers)]
        if self.orthanc:
            found.append(_contender("Orthanc", "default", self.orthanc, path, headers=headers))
        return found

    def compressed(self, path: str) -> list[Contender]:
        """Ask both archives, with gzip accepted."""
        found = [_contender("Dicomulus", "gzip", self.dicomulus, path, headers=GZIP)]
        if self.orthanc_gzip:
            found.append(_contender("Orthanc", "gzip", self.orthanc_gzip, path, headers=GZIP))
        return found

    def metadata(self, path: str) -> list[Contender]:
        """Ask all for metadata, in every coding that the server has."""
        found = [*self.compressed(path), *self.plain(path)]
        if _has_zstd(self.dicomulus, path):
            found.append(_contender("Dicomulus", "zstd", self.dicomulus, path, headers=ZSTD))
        for coding, numbers in self.codings.items():
            if self.nginx and path in numbers:
                finished = f"/{coding}/{numbers[path]}"
                found.append(_contender("nginx", coding, self.nginx, finished))
        return found

    def not_modified(self, path: str) -> list[Contender]:
        """Ask those that know entity tags, with the tag of what they have."""
        tag = etag_of(self.dicomulus, path, GZIP)
        headers = {**GZIP, "If-None-Match": tag}
        found = [_contender("Dicomulus", "304", self.dicomulus, path, headers=headers, status=304)]
        if self.nginx and path in self.codings.get("gzip", {}):
            finished = f"/gzip/{self.codings['gzip'][path]}"
            headers = {"If-None-Match": etag_of(self.nginx, finished, {})}
            found.append(
                _contender("nginx", "304", self.nginx, finished, headers=headers, status=304)
            )
        return found

    def keep_finished(self, nginx: Nginx, paths: Iterable[str]) -> None:
        """Give nginx the finished answers, in every coding that the server has.

        Raises:
            UnexpectedAnswerError: The codings are not of the same text.
        """
        for number, path in enumerate(paths):
            codings: dict[str, Mapping[str, str]] = {"gzip": GZIP, "identity": {}}
            if _has_zstd(self.dicomulus, path):
                codings["zstd"] = ZSTD
            bodies = {}
            for coding, headers in codings.items():
                with Connection(self.dicomulus.base_url) as connection:
                    bodies[coding] = connection.get(path, headers).body
                nginx.keep(coding, str(number), body=bodies[coding])
                self.codings.setdefault(coding, {})[path] = number
            if gzip.decompress(bodies["gzip"]) != bodies["identity"]:
                raise UnexpectedAnswerError(f"gzip and identity differ: {path}")


def _has_zstd(running: Running, path: str) -> bool:
    with Connection(running.base_url) as connection:
        return connection.measure(path, ZSTD).headers.get("content-encoding") == "zstd"


def _contender(
    peer: str,
    variant: str,
    running: Running,
    path: str,
    *,
    headers: Mapping[str, str] | None = None,
    status: int = 200,
) -> Contender:
    return Contender(
        peer=peer,
        variant=variant,
        server=running.server,
        base_url=running.base_url,
        path=path,
        headers=headers or {},
        status=status,
    )


def _line(measured: Measurement) -> str:
    who = f"{measured.peer} {measured.variant}".strip()
    parts = [f"  {who:24} {measured.part} {measured.request}:"]
    if measured.median_ms is not None:
        parts.append(f"{measured.median_ms:.2f} ms")
    if measured.min_ms is not None and measured.max_ms is not None:
        parts.append(f"({measured.min_ms:.2f}-{measured.max_ms:.2f})")
    if measured.per_second is not None:
        parts.append(f"{measured.per_second:,.0f}/s")
    if measured.cpu_ms is not None:
        parts.append(f"CPU {measured.cpu_ms:.2f} ms")
    if measured.resident_bytes is not None:
        parts.append(f"{measured.resident_bytes / 1e6:.0f} MB in {measured.count} processes")
    return " ".join([*parts, f"load {measured.load:.1f}"])
