"""``dicomulus reconcile``: a folder and its index compared in both directions, and made to agree."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from dicomulus.cli.exit_status import FAILED
from dicomulus.cli.index import WAIT_SECONDS, compact_due, progress
from dicomulus.cli.pace import Pace
from dicomulus.cli.reconcile_record import (
    ReconcileRecord,
    read_records,
    write_records,
)
from dicomulus.cli.text import counted, format_size, printable
from dicomulus.cli.upkeep import Upkeep
from dicomulus.composition import clock_ms, local_runtime
from dicomulus.ports import CompactSeries, LookAtObjects
from dicomulus.services.findings import PROBLEMS, Checked, Finding, Findings
from dicomulus.services.wishes import Cursor

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from dicomulus.composition import LocalRuntime
    from dicomulus.ports import Message, ObjectInfo
    from dicomulus.services.wishes import Wishes
    from dicomulus.settings import Settings

_BATCH: Final = 1_000
"""Objects of a listing compared at once."""

_STEP_MS: Final = 5_000
"""Time after which a walk of the rows tells how far it is. To go on within a series, all of its rows
are read again, which takes a second where there are 100,000."""

_SHOWN: Final = 10
"""Names of each kind that people are told; programs are told all."""

_WORDS: Final = {
    Finding.MISSING: ("file not in the index", "files not in the index"),
    Finding.CHANGED: ("file that has changed", "files that have changed"),
    Finding.ORPHAN: ("file in the index that is gone", "files in the index that are gone"),
    Finding.UNREADABLE: ("file that cannot be read", "files that cannot be read"),
    Finding.DAMAGED: (
        "file that is damaged: its bytes are not those of its checksum",
        "files that are damaged: their bytes are not those of their checksums",
    ),
    Finding.METADATA: (
        "file whose stored metadata cannot be read",
        "files whose stored metadata cannot be read",
    ),
    Finding.SERIES: (
        "series that differs from its instances",
        "series that differ from their instances",
    ),
    Finding.STUDY: (
        "study that differs from its series",
        "studies that differ from their series",
    ),
    Finding.IDENTIFIER: (
        "resource that was not found by its Orthanc identifier",
        "resources that were not found by their Orthanc identifiers",
    ),
    Finding.OBJECT_ROW: ("note on a file that is gone", "notes on files that are gone"),
    Finding.DERIVED: (
        "file of the cache that nothing needs",
        "files of the cache that nothing needs",
    ),
    Finding.DERIVED_DAMAGED: (
        "file of the cache that is damaged, and made anew where it is needed",
        "files of the cache that are damaged, and made anew where they are needed",
    ),
}


@dataclass(slots=True)
class _Announced:
    """What was announced, to be done here and now."""

    object_keys: dict[str, None] = field(default_factory=dict)

    def send(self, messages: Sequence[Message], *, delay_seconds: float = 0) -> None:  # noqa: ARG002 - a queue's
        """Keep the keys to look at; series stay due in the index anyway."""
        for message in messages:
            if isinstance(message, LookAtObjects):
                self.object_keys.update(dict.fromkeys(message.object_keys))
            elif not isinstance(message, CompactSeries):
                raise TypeError("reconcile announces looks and compactions alone")


def reconcile(
    settings: Settings, wishes: Wishes, *, jobs: int, as_json: bool, rate_mb: float = 0
) -> int:
    """Compare a folder with its index, print what differs, and make it good unless told otherwise.

    It may be done beside a server. Whatever ends it early, the next run finds what is left.

    Args:
        settings: Those of the archive.
        wishes: What to do.
        jobs: Processes that index.
        as_json: Print everything, for programs.
        rate_mb: Most megabytes a second that a verification reads; 0 for as many as there are.

    Returns:
        The exit status: not 0 where something is wrong that is not made good.
    """
    announced = _Announced()
    runtime = local_runtime(settings, announce_to=announced, pace=Pace(1e6 * rate_mb))
    findings = Findings()
    for part in _parts(runtime, wishes):
        findings.merge(part)
    failed = _make_good(runtime, settings, announced, jobs=jobs) if wishes.repair else {}
    if wishes.repair:
        runtime.archive.damages.clear_gone()
    _keep_record(Path(settings.data_folder), findings, wishes)
    lines = (
        [_format_json(findings, failed, wishes)]
        if as_json
        else list(_format_text(findings, failed, wishes))
    )
    print("\n".join(map(printable, lines)) if not as_json else lines[0])
    is_bad = failed or (not wishes.repair and not findings.is_clean)
    return FAILED if is_bad or any(findings.found.get(kind) for kind in PROBLEMS) else 0


def _parts(runtime: LocalRuntime, wishes: Wishes) -> Iterator[Findings]:
    archive = runtime.archive
    with progress("comparing", None, unit="file") as bar:
        for batch in _batches(archive.storage.list()):
            yield archive.reconcile.compare_objects(batch, wishes)
            bar.update(len(batch))
    folders = Findings()
    folders.add(Finding.UNREADABLE, runtime.folder.unreadable)
    yield folders
    doing = "verifying" if wishes.verify else "looking back"
    with progress(doing, None, unit="file") as bar:
        cursor: Cursor | None = Cursor()
        while cursor is not None:
            deadline_ms = clock_ms() + _STEP_MS
            part, cursor = archive.reconcile.compare_rows(cursor, wishes, deadline_ms=deadline_ms)
            bar.update(part.checked[Checked.VERIFIED if wishes.verify else Checked.ROWS])
            yield part
    for batch in _batches(archive.cache.list()):
        yield archive.derived.compare(batch, wishes)


def _batches(infos: Iterable[ObjectInfo]) -> Iterator[list[ObjectInfo]]:
    every = iter(infos)
    while batch := list(islice(every, _BATCH)):
        yield batch


def _make_good(
    runtime: LocalRuntime, settings: Settings, announced: _Announced, *, jobs: int
) -> dict[str, str]:
    """Look at what was announced, and compact what is due; give what failed."""
    failed: dict[str, str] = {}
    upkeep = Upkeep(settings, jobs=jobs)
    try:
        upkeep.look_at(announced.object_keys)
        if upkeep.looks_left:
            with progress("indexing", upkeep.looks_left, unit="file") as bar:
                while upkeep.looks_left:
                    before = upkeep.looks_left
                    for looked in upkeep.step(WAIT_SECONDS):
                        failed |= looked.failed
                    bar.update(before - upkeep.looks_left)
        compact_due(runtime, upkeep)
    finally:
        upkeep.close()
    return failed


def _keep_record(data_folder: Path, findings: Findings, wishes: Wishes) -> None:
    record = ReconcileRecord(
        finished_ms=clock_ms(),
        repaired=wishes.repair,
        checked={each.value: findings.checked[each] for each in Checked},
        counts={kind.value: count for kind, count in findings.counts.items()},
        days=wishes.days,
    )
    records = replace(read_records(data_folder), compared=record)
    write_records(data_folder, replace(records, verified=record) if wishes.verify else records)


# --- words ---------------------------------------------------------------------------------------


def _format_json(findings: Findings, failed: dict[str, str], wishes: Wishes) -> str:
    members: dict[str, Any] = {
        "repaired": wishes.repair,
        **findings.to_json(),
        "counts": {kind.value: count for kind, count in findings.counts.items()},
        "failed": failed,
    }
    return json.dumps(members, indent=2, ensure_ascii=False)


def _format_text(findings: Findings, failed: dict[str, str], wishes: Wishes) -> Iterator[str]:
    checked = findings.checked
    yield (
        f"{counted(checked[Checked.OBJECTS], 'file')}, {format_size(checked[Checked.BYTES])}; "
        f"{counted(checked[Checked.ROWS], 'row')} of {checked[Checked.SERIES]:,} series in "
        f"{counted(checked[Checked.STUDIES], 'study', 'studies')}"
    )
    if wishes.verify:
        yield (
            f"verified: {counted(checked[Checked.VERIFIED], 'file')}, "
            f"{format_size(checked[Checked.VERIFIED_BYTES])}; "
            f"{counted(checked[Checked.CHECKSUMS], 'checksum')} new"
        )
    for kind, words in _WORDS.items():
        names = sorted(findings.found.get(kind, ()))
        if names:
            yield counted(len(names), *words)
            yield from (f"  {name}" for name in names[:_SHOWN])
            if len(names) > _SHOWN:
                yield f"  and {len(names) - _SHOWN:,} more; --json lists them"
    recent = checked[Checked.RECENT]
    if recent:
        yield f"{recent:,} of the files that differ are so new that they may be under way"
    yield from (f"not made good: {key}: {why}" for key, why in sorted(failed.items())[:_SHOWN])
    yield _outcome(findings, wishes)


def _outcome(findings: Findings, wishes: Wishes) -> str:
    if findings.is_clean and not findings.checked[Checked.RECENT]:
        return "The folder and the index agree"
    if not wishes.repair:
        return "Nothing was changed; without --dry-run it is made good"
    repairs = findings.checked[Checked.REPAIRS]
    if not repairs:
        return "Nothing of it can be made good here: restore these files"
    return f"Made good or looked at again: {repairs:,}"
