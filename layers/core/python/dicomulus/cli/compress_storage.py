"""``dicomulus compress-storage``: the objects that an archive has, compressed, or as they came."""

from __future__ import annotations

import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from dicomulus.cli.exit_status import FAILED
from dicomulus.cli.folders import require_index
from dicomulus.composition import aws_archive, local_archive
from dicomulus.dicom.resource import instance_of_key, is_compressed_key
from dicomulus.errors import DicomulusError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from dicomulus.ports import InstanceRow, SeriesRow
    from dicomulus.services.archive import Archive
    from dicomulus.settings import Settings

_BATCH: Final = 64
"""Objects under way before the next are asked for."""

_THREADS: Final = 4
"""Objects at a time: compressing leaves the interpreter to others."""


@dataclass(slots=True)
class _Totals:
    changed: int = 0
    left: int = 0
    """Of the form already, or not to become smaller."""
    adopted: int = 0
    before_bytes: int = 0
    after_bytes: int = 0
    failures: Counter[str] = field(default_factory=Counter)


def compress_storage(settings: Settings, *, uncompress: bool) -> int:
    """Change the form of all objects of an archive, and print how many.

    Objects under keys of others are left alone. Whatever ends it early, the next run goes on.

    Raises:
        ConfigurationError: The archive was never indexed.
    """
    archive = _archive(settings)
    totals = _Totals()
    started = time.monotonic()
    with ThreadPoolExecutor(_THREADS) as executor:
        for series in archive.reindex.series():
            _change_series(archive, series, totals, executor=executor, uncompress=uncompress)
    _print(totals, seconds=time.monotonic() - started, uncompress=uncompress)
    return FAILED if totals.failures else 0


def _archive(settings: Settings) -> Archive:
    if settings.table_name:
        return aws_archive(settings)
    require_index(Path(settings.source_folder), Path(settings.data_folder))
    # To rewrite what the archive itself has stored is what was asked for.
    return local_archive(replace(settings, allow_store=True))


def _change_series(
    archive: Archive,
    series: SeriesRow,
    totals: _Totals,
    *,
    executor: ThreadPoolExecutor,
    uncompress: bool,
) -> None:
    rows = list(_to_change(archive, series, totals, uncompress=uncompress))
    before = totals.changed
    change = partial(_change, archive, uncompress=uncompress)
    for batch in _batches(rows):
        for row, outcome in zip(batch, executor.map(change, batch), strict=True):
            _count(archive, totals, row, outcome)
    if totals.changed != before:
        with suppress(UnavailableError):
            # What is due otherwise is compacted by whoever sweeps.
            archive.compaction.compact([series.series])


def _batches(rows: list[InstanceRow]) -> Iterable[list[InstanceRow]]:
    return (rows[start : start + _BATCH] for start in range(0, len(rows), _BATCH))


def _to_change(
    archive: Archive, series: SeriesRow, totals: _Totals, *, uncompress: bool
) -> Iterator[InstanceRow]:
    for row in archive.compaction.instance_rows(series.series):
        if instance_of_key(row.object_key) is None:
            totals.adopted += 1
        elif is_compressed_key(row.object_key) != uncompress:
            totals.left += 1
        else:
            yield row


def _change(archive: Archive, row: InstanceRow, *, uncompress: bool) -> bool | DicomulusError:
    change = archive.at_rest.uncompress if uncompress else archive.at_rest.shrink
    try:
        return change(row.instance)
    except DicomulusError as exc:
        return exc


def _count(
    archive: Archive, totals: _Totals, row: InstanceRow, outcome: bool | DicomulusError
) -> None:
    if isinstance(outcome, DicomulusError):
        totals.failures[outcome.code] += 1
        print(f"dicomulus: {row.object_key}: {outcome}", file=sys.stderr)
    elif not outcome:
        totals.left += 1
    else:
        totals.changed += 1
        totals.before_bytes += row.compressed_size or row.object_size
        now = archive.index.get_instance(row.instance)
        totals.after_bytes += sum(each.compressed_size or each.object_size for each in now)


def _print(totals: _Totals, *, seconds: float, uncompress: bool) -> None:
    what = "uncompressed" if uncompress else "compressed"
    print(
        f"{totals.changed:,} objects {what}, {totals.before_bytes / 1e6:,.1f} MB to "
        f"{totals.after_bytes / 1e6:,.1f} MB, {totals.left:,} left as they are; {seconds:.1f} s"
    )
    if totals.adopted:
        print(f"  {totals.adopted:,} objects lie where others put them, and are not rewritten")
    for code, number in sorted(totals.failures.items()):
        print(f"  {number:,} objects failed: {code}; the next run tries them again")
