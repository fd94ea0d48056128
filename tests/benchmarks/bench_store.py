"""Storing by many clients, also while the server is killed: ``python -m tests.benchmarks.bench_store``.

Every answer is checked, and in the end the archive: nothing may be lost, doubled or changed.
"""

from __future__ import annotations

import argparse
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.benchmarks.machine import load_average, machine, today
from tests.benchmarks.processes import cpu_seconds_of
from tests.support.datasets import generated_study
from tests.support.serving import serving
from tests.support.store_load import (
    BATCH,
    CLIENTS,
    Interruptions,
    batches_of,
    check_archive,
    store_all,
)

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from tests.support.serving import Served
    from tests.support.store_load import Load

    Instances = list[tuple[str, bytes]]

DOCUMENT: Final = Path(__file__).resolve().parents[2] / "docs" / "benchmarks.md"
_STUDY: Final = 1_000
"""Instances in a study, in four series."""

_KILLS: Final = 3
_PLACE: Final = re.compile(r"(<!-- storing -->\n).*?(<!-- end of storing -->)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Figure:
    """One way of storing, and what it took."""

    what: str
    instances: int
    load: Load
    cpu_ms: float | None
    """Processor time of all of the server's processes, an instance."""

    @property
    def per_second(self) -> float:
        """Instances stored a second."""
        return self.instances / self.load.seconds


def main() -> None:
    """Measure, print, and write the figures into the document if asked to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--instances", type=int, default=10_000)
    parser.add_argument("--update-docs", action="store_true")
    parsed = parser.parse_args()
    instances = _generated(parsed.instances)
    before = load_average()
    figures = [_undisturbed(instances), _killed(instances)]
    text = _text(figures, instances, before)
    print(text)
    if parsed.update_docs:
        document = DOCUMENT.read_text(encoding="utf-8")
        DOCUMENT.write_text(
            _PLACE.sub(lambda found: found[1] + text + found[2], document), encoding="utf-8"
        )


def _generated(count: int) -> Instances:
    instances = [
        (each.sop_instance_uid, each.content)
        for seed in range(-(-count // _STUDY))
        for each in generated_study(series=4, instances=_STUDY // 4, seed=seed)
    ]
    return instances[:count]


def _undisturbed(instances: Instances) -> Figure:
    with tempfile.TemporaryDirectory() as scratch:
        folder = _folder(scratch)
        with _serving(folder) as served:
            before = _cpu_seconds(served)
            load = store_all(lambda: served.base_url, batches_of(instances))
            cpu_ms = 1_000 * (_cpu_seconds(served) - before) / len(instances)
            check_archive(served, folder, instances)
    return Figure("undisturbed", len(instances), load, cpu_ms)


def _killed(instances: Instances) -> Figure:
    with tempfile.TemporaryDirectory() as scratch:
        folder = _folder(scratch)
        batches = batches_of(instances)
        data, log = folder.parent / "data", folder.parent / "log"
        runs = Interruptions(folder, data, log, batches=len(batches), kills=_KILLS)
        load = runs.run(batches)
        with _serving(folder) as served:
            check_archive(served, folder, instances)
    return Figure(f"killed and started again {_KILLS} times", len(instances), load, None)


def _folder(scratch: str) -> Path:
    folder = Path(scratch, "dicom")
    folder.mkdir()
    return folder


def _serving(folder: Path) -> AbstractContextManager[Served]:
    place = folder.parent
    return serving(folder, "--data-dir", place / "data", "--allow-store", log=place / "log")


def _cpu_seconds(served: Served) -> float:
    return sum(cpu_seconds_of(process_id) for process_id in served.process_ids)


def _text(figures: list[Figure], instances: Instances, load_before: float) -> str:
    described = machine()
    size = sum(len(content) for _, content in instances) / len(instances) / 1_000
    where = f"{described['processor']}, {described['cores']} cores"
    what = f"{len(instances):,} instances of {size:.1f} kB in batches of {BATCH}"
    lines = [
        f"- {today()}; {where}, Python {described['python']}, SQLite {described['sqlite']}",
        f"- {what}, {CLIENTS} clients on the same machine; load average {load_before:.1f} before",
        "",
        "| server | instances/s | server CPU an instance | slowest answer | requests again |",
        "| --- | --- | --- | --- | --- |",
    ]
    for each in figures:
        cpu = "" if each.cpu_ms is None else f"{each.cpu_ms:.2f} ms"
        lines.append(
            f"| {each.what} | {each.per_second:,.0f} | {cpu} | {each.load.slowest_ms:,.0f} ms "
            f"| {each.load.retries:,} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
