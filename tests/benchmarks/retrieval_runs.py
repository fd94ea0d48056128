"""Retrieval of what is large: objects of gigabytes, studies of many instances, frames at any rate."""

from __future__ import annotations

import json
import random
import statistics
import tempfile
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

import dicomulus
from tests.benchmarks.datasets import Shape, link_study, study_files
from tests.benchmarks.http_client import Connection
from tests.benchmarks.interleaving import Contender, UnexpectedAnswerError
from tests.benchmarks.load import has_wrk, throughput_in_turns
from tests.benchmarks.machine import load_average
from tests.benchmarks.peers import Dicomulus
from tests.benchmarks.processes import free_port
from tests.benchmarks.results import FIRST_BYTE, RetrievalFigure
from tests.support.counted_archive import CountedArchive, storage_reads
from tests.support.large_objects import native, one_fragment_each, several_fragments_each

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from tests.benchmarks.http_client import Answer
    from tests.benchmarks.peers import Running
    from tests.benchmarks.processes import ServerProcesses
    from tests.benchmarks.results import Results
    from tests.support.large_objects import LargeObject

AS_STORED: Final = {"Accept": "application/dicom; transfer-syntax=*"}
PARTS_AS_STORED: Final = {
    "Accept": 'multipart/related; type="application/dicom"; transfer-syntax=*'
}
VIEWER: Final = {"Accept": "multipart/related; type=application/octet-stream; transfer-syntax=*"}
"""What OHIF sends for frames."""

INGEST: Final = "ingest"
ANY_FRAME: Final = "any frame"
PART: Final = "1 kB of any frame"
WHOLE: Final = "the whole"
RENDERED: Final = "any frame rendered, PNG"

_SAMPLE_SECONDS: Final = 0.05
_WAIT_SECONDS: Final = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrievalPlan:
    """How much is measured."""

    object_bytes: int = 2_000_000_000
    fragments: int = 20_000
    """Of the object that has one in each frame."""
    frames_asked: int = 200
    study: Shape = field(default_factory=Shape)
    rounds: int = 5
    load_seconds: int = 10


def measure_retrieval(
    plan: RetrievalPlan, results: Results, *, cache: Path, tell: Callable[[str], None]
) -> None:
    """Ask for all that is large, and add it to the results."""
    results.versions["Dicomulus"] = dicomulus.__version__

    def add(figure: RetrievalFigure) -> None:
        results.retrievals.append(figure)
        tell(_line(figure))

    for write in _writers(plan):
        with tempfile.TemporaryDirectory(dir=cache) as folder:
            _Large(plan, Path(folder), write).measure(add, tell)
    with tempfile.TemporaryDirectory(dir=cache) as folder:
        _measure_study(plan, study_files(cache, plan.study, 0), Path(folder), add)
    if not has_wrk():
        results.skipped["frames to eight clients"] = "wrk is not there"
        return
    with tempfile.TemporaryDirectory(dir=cache) as folder:
        files = study_files(cache, Shape(series=1, instances=100, rows=512), 0)
        _measure_frame_rate(plan, files, Path(folder), add)


def _writers(plan: RetrievalPlan) -> tuple[Callable[[Path], LargeObject], ...]:
    side = 512
    frame = 2 * side * side

    def of_native(path: Path) -> LargeObject:
        return native(path, frames=max(2, plan.object_bytes // frame), side=side)

    def of_single(path: Path) -> LargeObject:
        length = plan.object_bytes // plan.fragments
        return one_fragment_each(path, frames=plan.fragments, side=256, frame_bytes=length)

    def of_several(path: Path) -> LargeObject:
        frames = max(2, plan.object_bytes // 1_000_000)
        return several_fragments_each(path, frames=frames, side=side, frame_bytes=1_000_000)

    return of_native, of_single, of_several


# --- memory --------------------------------------------------------------------------------------


class _Sampler:
    """Looks again and again at the memory that a server takes."""

    def __init__(self, server: ServerProcesses) -> None:
        self._server = server
        self._most = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def taken(self) -> int:
        """Give the most since the last time."""
        most = max(self._most, self._server.proportional_bytes())
        self._most = 0
        return most

    def _run(self) -> None:
        while not self._ended.wait(_SAMPLE_SECONDS):
            self._most = max(self._most, self._server.proportional_bytes())


# --- one large object ----------------------------------------------------------------------------


class _Large:
    def __init__(
        self, plan: RetrievalPlan, folder: Path, write: Callable[[Path], LargeObject]
    ) -> None:
        self._plan = plan
        self._folder = folder
        for name in ("source", "data", "counted"):
            (folder / name).mkdir()
        self._write = write

    def measure(self, add: Callable[[RetrievalFigure], None], tell: Callable[[str], None]) -> None:
        large = self._write(self._folder / "source" / "large.dcm")
        size = large.path.stat().st_size
        subject = f"{large.shape}: {size / 1e9:.2f} GB, {large.frames:,} frames"
        if large.fragments:
            subject += f", {large.fragments:,} fragments, empty offset table"
        tell(subject)
        started = time.perf_counter()
        counted = CountedArchive(large.path, data=self._folder / "counted")
        alone_seconds = time.perf_counter() - started
        archive = Dicomulus(
            self._folder / "source",
            self._folder / "data",
            free_port(),
            self._folder / "log",
        )
        with archive.serve() as running, _Sampler(running.server) as sampler:
            _wait_for_instances(running, 1)
            reads = storage_reads(counted.ingest_calls)
            add(
                replace(
                    _figure(subject, INGEST, [alone_seconds], body_bytes=size),
                    reads=len(reads),
                    read_bytes=sum(reads),
                    most_bytes=sampler.taken(),
                )
            )
            asking = _Asking(subject, running, sampler, counted, add)
            asking.check_frames(large, self._plan.frames_asked)
            self._ask(asking, large)

    def _ask(self, asking: _Asking, large: LargeObject) -> None:
        picks = random.Random(1)
        count = self._plan.frames_asked

        def any_frame(suffix: str = "") -> list[str]:
            return [f"/frames/{picks.randint(1, large.frames)}{suffix}" for _ in range(count)]

        asking.time(ANY_FRAME, any_frame(), VIEWER)
        asking.time(PART, any_frame(), {"Range": "bytes=1000-1999"})
        asking.time(WHOLE, ["", ""], AS_STORED)
        asking.time(RENDERED, any_frame("/rendered")[:20], {"Accept": "image/png"})


class _Asking:
    def __init__(
        self,
        subject: str,
        running: Running,
        sampler: _Sampler,
        counted: CountedArchive,
        add: Callable[[RetrievalFigure], None],
    ) -> None:
        self._subject = subject
        self._running = running
        self._sampler = sampler
        self._counted = counted
        self._add = add
        self._instance = counted.row.instance.path

    def check_frames(self, large: LargeObject, count: int) -> None:
        """Compare some frames with what was written.

        Raises:
            UnexpectedAnswerError: One differs.
        """
        picks = random.Random(2)
        with Connection(self._running.base_url) as connection:
            for number in {1, large.frames, *picks.choices(range(1, large.frames + 1), k=count)}:
                answer = connection.get(f"{self._instance}/frames/{number}")
                if answer.body != large.frame(number):
                    raise UnexpectedAnswerError(f"{self._subject}: frame {number} differs")

    def time(self, asked: str, paths: list[str], headers: Mapping[str, str]) -> None:
        """Time requests, and count in an archive of this process what the last one reads."""
        answers: list[Answer] = []
        before = self._running.server.cpu_seconds()
        with Connection(self._running.base_url) as connection:
            for path in paths:
                answers.append(connection.measure(self._instance + path, headers))
                if answers[-1].status not in (200, 206):
                    raise UnexpectedAnswerError(f"{self._subject}: {asked}: {answers[-1].status}")
        cpu_seconds = self._running.server.cpu_seconds() - before
        _, calls = self._counted.ledger.of(lambda: sum(map(len, self._chunks(paths[-1], headers))))
        reads = storage_reads(calls)
        seconds = [each.seconds for each in answers]
        self._add(
            replace(
                _figure(self._subject, asked, seconds, body_bytes=answers[-1].body_bytes),
                cpu_ms=1000 * cpu_seconds / len(answers),
                reads=len(reads),
                read_bytes=sum(reads),
                most_bytes=self._sampler.taken(),
            )
        )

    def _chunks(self, path: str, headers: Mapping[str, str]) -> Iterator[bytes]:
        body = self._counted.ask(path, **headers).body
        yield from [body] if isinstance(body, bytes) else body


# --- many instances, many frames -----------------------------------------------------------------


def _measure_study(
    plan: RetrievalPlan, files: list[Path], folder: Path, add: Callable[[RetrievalFigure], None]
) -> None:
    with _serving(files, folder) as running, _Sampler(running.server) as sampler:
        study = _first(running, "/studies", ("0020000D",))
        before = running.server.cpu_seconds()
        with Connection(running.base_url) as connection:
            answers = [connection.measure(study, PARTS_AS_STORED) for _ in range(4 * plan.rounds)]
        cpu_seconds = running.server.cpu_seconds() - before
        subject, size = f"a study of {len(files):,} instances", answers[-1].body_bytes
        first = [each.first_seconds for each in answers]
        add(_figure(subject, FIRST_BYTE, first, body_bytes=size))
        whole = _figure(subject, WHOLE, [each.seconds for each in answers], body_bytes=size)
        add(
            replace(
                whole,
                cpu_ms=1000 * cpu_seconds / len(answers),
                most_bytes=sampler.taken(),
            )
        )


def _measure_frame_rate(
    plan: RetrievalPlan, files: list[Path], folder: Path, add: Callable[[RetrievalFigure], None]
) -> None:
    with _serving(files, folder) as running, _Sampler(running.server) as sampler:
        instance = _first(running, "/instances", ("0020000D", "0020000E", "00080018"))
        ways: dict[str, Mapping[str, str]] = {"alone": {}, "in multipart, as OHIF asks": VIEWER}
        contenders = [
            Contender(
                peer="Dicomulus",
                variant=how,
                server=running.server,
                base_url=running.base_url,
                path=f"{instance}/frames/1",
                headers=headers,
            )
            for how, headers in ways.items()
        ]
        for each in throughput_in_turns(contenders, rounds=3, seconds=plan.load_seconds):
            add(
                RetrievalFigure(
                    subject="512x512 frames of 16 bits, eight clients",
                    asked=each.contender.variant,
                    count=each.count,
                    body_bytes=524_288,
                    median_ms=each.median_ms,
                    min_ms=each.median_ms,
                    max_ms=each.median_ms,
                    cpu_ms=each.cpu_ms,
                    per_second=each.per_second,
                    most_bytes=sampler.taken(),
                    load=each.load,
                )
            )


@contextmanager
def _serving(files: list[Path], folder: Path) -> Iterator[Running]:
    link_study(files, folder / "source")
    archive = Dicomulus(folder / "source", folder / "data", free_port(), folder / "log")
    archive.index()
    with archive.serve() as running:
        _wait_for_instances(running, len(files))
        running.settle()
        yield running


def _wait_for_instances(running: Running, count: int) -> None:
    deadline = time.monotonic() + _WAIT_SECONDS
    with Connection(running.base_url) as connection:
        while connection.get("/instances/count").body != b'{"count": %d}' % count:
            if time.monotonic() > deadline:
                raise UnexpectedAnswerError(f"{count} instances are not indexed in time")
            time.sleep(0.05)


def _first(running: Running, search: str, tags: tuple[str, ...]) -> str:
    """Give the path of the first match of a search, from the tags of its UIDs."""
    with Connection(running.base_url) as connection:
        match = json.loads(connection.get(f"{search}?limit=1").body)[0]
    names = ("studies", "series", "instances")
    return "".join(
        f"/{name}/{match[tag]['Value'][0]}" for name, tag in zip(names, tags, strict=False)
    )


def _figure(subject: str, asked: str, seconds: list[float], *, body_bytes: int) -> RetrievalFigure:
    return RetrievalFigure(
        subject=subject,
        asked=asked,
        count=len(seconds),
        body_bytes=body_bytes,
        median_ms=1000 * statistics.median(seconds),
        min_ms=1000 * min(seconds),
        max_ms=1000 * max(seconds),
        load=load_average(),
    )


def _line(figure: RetrievalFigure) -> str:
    parts = [f"  {figure.subject}: {figure.asked}: {figure.median_ms:,.2f} ms"]
    parts.append(f"({figure.min_ms:,.2f}-{figure.max_ms:,.2f})")
    if figure.per_second is not None:
        parts.append(f"{figure.per_second:,.0f}/s")
    if figure.reads is not None:
        parts.append(f"{figure.reads:,} reads of {figure.read_bytes:,} bytes")
    if figure.most_bytes is not None:
        parts.append(f"memory {figure.most_bytes / 1e6:.0f} MB")
    return " ".join([*parts, f"load {figure.load:.1f}"])
