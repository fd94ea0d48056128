"""CPU time of conversion and ingest, an instance: ``python -m tests.benchmarks.bench_ingest``.

Processor time in one process, because it tells the same on a loaded machine; the best of some rounds.
"""

from __future__ import annotations

import argparse
import io
import json
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pydicom

from dicomulus.composition import local_runtime
from dicomulus.dicom.byte_source import whole
from dicomulus.dicom.dataset_json import convert, convert_carefully
from dicomulus.settings import Settings
from tests.benchmarks.datasets import Shape, link_study, study_files

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dicomulus.composition import LocalRuntime

_BATCH: Final = 64
"""Objects looked at together, about as many as a worker of the command gets."""

_COMPARED_EVERY: Final = 9
"""Studies from one comparison with an empty archive to the next."""


def main() -> None:
    """Print one line for each figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=1, help="of 1,800 instances (default: 1)")
    parser.add_argument("--rows", type=int, default=64, help="of the images; 512 makes 531 KB")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--cache", type=Path, default=Path(tempfile.gettempdir()) / "dicomulus-bench"
    )
    parsed = parser.parse_args()
    shape = Shape(rows=parsed.rows)
    files = [study_files(parsed.cache, shape, number) for number in range(parsed.studies)]
    _print_conversion([path.read_bytes() for path in files[0][:300]], rounds=parsed.rounds)
    _print_ingest(files, parsed.cache)


def _print_conversion(contents: Sequence[bytes], *, rounds: int) -> None:
    ways: tuple[tuple[str, Callable[[bytes], object]], ...] = (
        ("one pass", lambda content: convert(whole(content))),
        ("carefully", lambda content: convert_carefully(whole(content))),
        ("pydicom", _with_pydicom),
    )
    for name, way in ways:
        best = min(_cpu_ms(partial(_each, way, contents)) for _ in range(rounds))
        print(f"conversion, {name}: {best / len(contents):.3f} ms")


def _each(way: Callable[[bytes], object], contents: Sequence[bytes]) -> None:
    for content in contents:
        way(content)


def _with_pydicom(content: bytes) -> str:
    dataset = pydicom.dcmread(io.BytesIO(content), stop_before_pixels=True)
    return json.dumps(dataset.to_json_dict(1024, lambda element: str(element.tag)))


def _print_ingest(studies: Sequence[Sequence[Path]], cache: Path) -> None:
    """Add study after study to one archive, and now and then one to an empty archive, to compare."""
    with tempfile.TemporaryDirectory(dir=cache) as scratch:
        runtime = _archive_of(studies, Path(scratch, "growing"))
        keys = sorted(info.key for info in runtime.folder.list())
        step = len(studies[0])
        for start in range(0, len(keys), step):
            part = keys[start : start + step]
            spent = _cpu_ms(partial(_look_at, runtime, part)) / len(part)
            if start == 0:
                print(f"ingest into an empty archive: {spent:.3f} ms")
            elif start // step % _COMPARED_EVERY == 0:
                # The first study again: of one ingested just now, the converter remembers much.
                empty = _archive_of(studies[:1], Path(scratch, f"empty-{start}"))
                first = sorted(info.key for info in empty.folder.list())
                alone = _cpu_ms(partial(_look_at, empty, first)) / len(first)
                print(f"ingest with {start:,} before: {spent:.3f} ms; with none: {alone:.3f} ms")


def _archive_of(studies: Sequence[Sequence[Path]], scratch: Path) -> LocalRuntime:
    folder, data = scratch / "dicom", scratch / "data"
    for number, files in enumerate(studies):
        link_study(list(files), folder / f"{number:04d}")
    return local_runtime(Settings(source_folder=str(folder), data_folder=str(data)))


def _look_at(runtime: LocalRuntime, keys: Sequence[str]) -> None:
    for start in range(0, len(keys), _BATCH):
        report = runtime.archive.ingest.look_at(keys[start : start + _BATCH])
        if report.failed or report.rejected:
            raise SystemExit(f"not indexed: {report.failed} {report.rejected}")


def _cpu_ms(work: Callable[[], object]) -> float:
    started = time.process_time()
    work()
    return 1_000 * (time.process_time() - started)


if __name__ == "__main__":
    main()
