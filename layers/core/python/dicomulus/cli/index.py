"""``dicomulus index``: a folder indexed whole, by all cores, before the command ends."""

from __future__ import annotations

import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from shutil import get_terminal_size
from typing import TYPE_CHECKING, Final, NoReturn

from tqdm import tqdm

from dicomulus.cli.scan_record import ScanRecord, write_record
from dicomulus.cli.text import counted, printable
from dicomulus.cli.upkeep import Upkeep
from dicomulus.composition import clock_ms, local_runtime
from dicomulus.services.scan import scan

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dicomulus.cli.work import Looked
    from dicomulus.composition import LocalRuntime
    from dicomulus.settings import Settings

WAIT_SECONDS: Final = 0.2
"""Time that one step of upkeep may take while nothing ends."""

_EVER_MS: Final = 2**53
"""A time after every due time."""

_BAR_DELAY_SECONDS: Final = 0.3
_LINE_SECONDS: Final = 10.0
_LINE_WIDTH: Final = 79

_SHOWN: Final = 3
"""Keys named as examples."""


@dataclass(slots=True)
class _Totals:
    files: int = 0
    file_bytes: int = 0
    unchanged: int = 0
    indexed: int = 0
    gone: int = 0
    rejected: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    def add(self, looked: Looked) -> int:
        """Add what a batch has come to; give the number of its objects."""
        self.indexed += looked.indexed
        self.gone += looked.gone
        self.rejected |= looked.rejected
        self.failed |= looked.failed
        return looked.indexed + looked.gone + len(looked.rejected) + len(looked.failed)


def index(settings: Settings, *, jobs: int) -> None:
    """Index a folder and print what came of it.

    Whatever ends it early, the next run goes on where it was.

    Raises:
        UnavailableError: The data folder cannot be written to.
    """
    runtime = local_runtime(settings)
    upkeep = Upkeep(settings, jobs=jobs)
    totals = _Totals()
    started = time.monotonic()
    try:
        upkeep.look_at(_compare(runtime, totals))
        _look(upkeep, totals)
        compact_due(runtime, upkeep)
        _record_stable(runtime)
    finally:
        upkeep.close()
    unreadable = {**runtime.folder.unreadable, **totals.failed}
    _print_summary(totals, unreadable, seconds=time.monotonic() - started)
    record = ScanRecord(
        finished_ms=clock_ms(),
        files=totals.files,
        file_bytes=totals.file_bytes,
        unreadable=unreadable,
    )
    write_record(Path(settings.data_folder), record)


def _compare(runtime: LocalRuntime, totals: _Totals) -> list[str]:
    keys: list[str] = []
    with progress("comparing", None, unit="file") as bar:
        for compared in scan(runtime.archive.index, runtime.archive.storage):
            totals.files += compared.listed
            totals.file_bytes += compared.listed_bytes
            if compared.listed:
                totals.unchanged += compared.listed - len(compared.object_keys)
            keys.extend(compared.object_keys)
            bar.update(compared.listed)
    return keys


def _look(upkeep: Upkeep, totals: _Totals) -> None:
    if not upkeep.looks_left:
        return
    with progress("indexing", upkeep.looks_left, unit="file") as bar:
        while upkeep.looks_left:
            for looked in upkeep.step(WAIT_SECONDS):
                bar.update(totals.add(looked))


def compact_due(runtime: LocalRuntime, upkeep: Upkeep) -> None:
    """Compact all that is due, however soon; what stays due, is so because it failed."""
    due = runtime.archive.index.overdue_series(_EVER_MS, limit=_EVER_MS)
    if not due:
        return
    with progress("compacting", len(due), unit="series") as bar:
        upkeep.compact(due)
        while upkeep.compactions_left:
            before = upkeep.compactions_left
            upkeep.step(WAIT_SECONDS)
            bar.update(before - upkeep.compactions_left)


def _record_stable(runtime: LocalRuntime) -> None:
    """Record what became stable while nobody was there to do it."""
    while runtime.archive.stability.record_due():
        pass


class _Lines:
    """Takes the updates of a progress bar and writes each as a line."""

    def write(self, text: str) -> None:
        line = text.strip()
        if line:
            print(line, file=sys.stderr, flush=True)

    def flush(self) -> None:
        """Nothing is held back."""


def progress(what: str, total: int | None, *, unit: str) -> tqdm[NoReturn]:
    """Show how far something has come, by a bar or by a line now and then."""
    # Where nobody watches, a line now and then is enough.
    watched = sys.stderr.isatty()
    return tqdm(
        desc=what,
        total=total,
        unit=f" {unit}",
        file=sys.stderr if watched else _Lines(),
        # Some terminals do not know their size; tqdm would show nothing then.
        ncols=get_terminal_size().columns - 1 if watched else _LINE_WIDTH,
        nrows=get_terminal_size().lines,
        ascii=None if watched else True,
        delay=_BAR_DELAY_SECONDS if watched else _LINE_SECONDS,
        mininterval=0.2 if watched else _LINE_SECONDS,
        maxinterval=1.0 if watched else _LINE_SECONDS,
        leave=False,
        smoothing=0.05,
    )


def _print_summary(totals: _Totals, unreadable: dict[str, str], *, seconds: float) -> None:
    looked_at = totals.indexed + totals.gone + len(totals.rejected)
    rate = f", {looked_at / max(seconds, 0.001):,.0f} files/s" if looked_at else ""
    print(
        f"{counted(totals.files, 'file')}: "
        f"{totals.indexed:,} indexed, {totals.unchanged:,} unchanged, "
        f"{len(totals.rejected):,} not indexable, {totals.gone:,} gone; {seconds:.1f} s{rate}"
    )
    for reason, count in Counter(totals.rejected.values()).most_common():
        print(printable(f"  not indexable: {count:,} x {reason}"))
    for key in _first(unreadable):
        print(printable(f"  unreadable: {key}: {unreadable[key]}"))
    if len(unreadable) > _SHOWN:
        print(f"  unreadable: {len(unreadable) - _SHOWN:,} more; dicomulus status lists them")


def _first(keys: Iterable[str]) -> list[str]:
    return sorted(keys)[:_SHOWN]
