"""``dicomulus reindex``: rows brought in step with changed lists of main tags."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from dicomulus.cli.folders import require_index
from dicomulus.composition import local_archive
from dicomulus.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dicomulus.ports import SeriesRow
    from dicomulus.services.archive import Archive
    from dicomulus.settings import Settings


@dataclass(slots=True)
class _Totals:
    series: int = 0
    moved: int = 0
    rows: int = 0
    missing: int = 0
    left_due: int = 0


def reindex(settings: Settings) -> None:
    """Renew all rows of a local archive that were made under other lists, and print how many.

    No file is read. Whatever ends it early, the next run goes on where it was.

    Raises:
        ConfigurationError: The archive was never indexed.
    """
    require_index(Path(settings.source_folder), Path(settings.data_folder))
    archive = local_archive(settings)
    totals = _Totals()
    started = time.monotonic()
    by_study = groupby(archive.reindex.series(), key=lambda row: row.series.study_instance_uid)
    for study_instance_uid, series in by_study:
        _renew_study(archive, study_instance_uid, series, totals)
    print(
        f"{totals.series:,} series: {totals.moved:,} renewed with {totals.rows:,} rows, "
        f"{totals.series - totals.moved:,} unchanged; {time.monotonic() - started:.1f} s"
    )
    if totals.missing:
        print(f"  {totals.missing:,} rows are made anew from their files by the next `index`")
    if totals.left_due:
        print(f"  {totals.left_due:,} studies are still to be compacted; `index` does so")


def _renew_study(
    archive: Archive, study_instance_uid: str, series: Iterable[SeriesRow], totals: _Totals
) -> None:
    moved = []
    for row in series:
        renewal = archive.reindex.renew(row)
        totals.series += 1
        totals.rows += renewal.rows
        totals.missing += renewal.missing
        if renewal.moved:
            totals.moved += 1
            moved.append(row.series)
    try:
        archive.compaction.compact(moved)
        archive.compaction.count_study(study_instance_uid)
    except UnavailableError as exc:
        totals.left_due += 1
        print(f"dicomulus: {exc}", file=sys.stderr)
