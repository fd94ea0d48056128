"""``dicomulus status``: what is in an archive, and what is not and why."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from dicomulus.cli.folders import require_index
from dicomulus.cli.reconcile_record import read_records
from dicomulus.cli.scan_record import read_record
from dicomulus.cli.text import counted, format_size, printable
from dicomulus.composition import local_runtime
from dicomulus.services.status import duplicates

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from dicomulus.cli.reconcile_record import ReconcileRecords
    from dicomulus.cli.scan_record import ScanRecord
    from dicomulus.services.status import Duplicates
    from dicomulus.settings import Settings

_EXAMPLES: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """All that is told."""

    source: str
    data: str
    studies: int
    series: int
    instances: int
    objects: int
    """Files that hold them, duplicates included."""
    object_bytes: int
    checksums_pending: int
    damaged: int
    compactions_pending: int
    compressed: int
    """Files of them that are compressed at rest."""
    documents: int
    """Resources that have attachments, metadata or labels."""
    attachments: int
    attachment_bytes: int
    damaged_objects: tuple[str, ...]
    """Keys of the files whose bytes are not those that came, as a verification found."""
    duplicates: tuple[Duplicates, ...]
    rejected: Mapping[str, tuple[str, ...]]
    """Keys by reason."""
    scan: ScanRecord | None
    reconciled: ReconcileRecords


def read_status(settings: Settings) -> Status:
    """Read the state of a local archive; its folder itself is not looked at.

    Raises:
        ConfigurationError: It was never indexed.
    """
    data = Path(settings.data_folder)
    require_index(Path(settings.source_folder), data)
    runtime = local_runtime(settings)
    statistics = runtime.statistics
    return Status(
        source=settings.source_folder,
        data=settings.data_folder,
        **asdict(statistics.counts()),
        damaged_objects=tuple(each.object_key for each in runtime.archive.damages.now()),
        duplicates=tuple(duplicates(runtime.archive.index, statistics.duplicated())),
        rejected=statistics.rejections(),
        scan=read_record(data),
        reconciled=read_records(data),
    )


def format_json(status: Status) -> str:
    """Write a status for programs: every duplicate and every key that is not indexed."""
    members: dict[str, Any] = {
        **asdict(status),
        "duplicates": [
            {**asdict(each.instance), "served": each.served, "others": each.others}
            for each in status.duplicates
        ],
    }
    return json.dumps(members, indent=2, ensure_ascii=False)


def format_text(status: Status, *, everything: bool) -> str:
    """Write a status for people: examples, or everything."""
    limit = None if everything else _EXAMPLES
    lines = (
        f"Folder: {status.source}",
        f"Index and cache: {status.data}",
        *_counts(status),
        *_scan(status.scan),
        *_reconciled(status.reconciled),
        *_damaged(status.damaged_objects, limit),
        *_duplicates(status.duplicates, limit),
        *_rejected(status.rejected, limit),
        *_unreadable(status.scan, limit),
    )
    return "\n".join(map(printable, lines))


def _counts(status: Status) -> Iterator[str]:
    yield (
        f"{counted(status.studies, 'study', 'studies')}, {status.series:,} series, "
        f"{counted(status.instances, 'instance')} in {counted(status.objects, 'file')}, "
        f"{format_size(status.object_bytes)}"
    )
    if status.compressed:
        one, many = "file is compressed at rest", "files are compressed at rest"
        yield counted(status.compressed, one, many)
    if status.documents:
        yield (
            f"{counted(status.documents, 'resource')} with attachments, metadata or labels; "
            f"{counted(status.attachments, 'attachment')}, {format_size(status.attachment_bytes)}"
        )
    if status.damaged:
        one, many = (
            "file ends early or contradicts itself",
            "files end early or contradict themselves",
        )
        yield f"{counted(status.damaged, one, many)}; served as stored"
    if status.compactions_pending:
        wait = counted(status.compactions_pending, "series waits", "series wait")
        yield f"{wait} for compaction"
    if status.checksums_pending:
        yield f"{counted(status.checksums_pending, 'checksum')} pending"


def _scan(scan: ScanRecord | None) -> Iterator[str]:
    if scan is None:
        yield "The folder has not been compared as a whole yet"
        return
    yield (
        f"Compared with the folder {_when(scan.finished_ms)}: "
        f"{counted(scan.files, 'file')}, "
        f"{format_size(scan.file_bytes)}"
    )


def _when(moment_ms: int) -> str:
    when = datetime.fromtimestamp(moment_ms / 1000, UTC).astimezone()
    age = max(0, round(time.time() - moment_ms / 1000))
    return f"{when:%Y-%m-%d %H:%M:%S} ({age:,} s ago)"


def _reconciled(records: ReconcileRecords) -> Iterator[str]:
    if records.compared is not None:
        total = sum(records.compared.counts.values())
        found = counted(total, "finding") if total else "nothing was wrong"
        yield f"Reconciled {_when(records.compared.finished_ms)}: {found}"
    if records.verified is not None:
        files = records.verified.checked.get("verified", 0)
        share = f", one share in {records.verified.days:,}" if records.verified.days > 1 else ""
        yield f"Verified {_when(records.verified.finished_ms)}: {counted(files, 'file')}{share}"


def _damaged(keys: tuple[str, ...], limit: int | None) -> Iterator[str]:
    if not keys:
        return
    one, many = "file is damaged", "files are damaged"
    yield f"{counted(len(keys), one, many)}: other bytes than those that came"
    yield from _listed(keys, limit)


def _duplicates(found: tuple[Duplicates, ...], limit: int | None) -> Iterator[str]:
    if not found:
        return
    files = sum(len(each.others) for each in found)
    instances = counted(len(found), "instance has", "instances have")
    yield f"Duplicates: {instances} {counted(files, 'more file')}"
    for each in found[:limit]:
        yield f"  served: {each.served}"
        yield from (f"    also: {key}" for key in each.others[:limit])
        yield from _more(len(each.others), limit, indent=4)
    yield from _more(len(found), limit, indent=2)


def _rejected(rejected: Mapping[str, tuple[str, ...]], limit: int | None) -> Iterator[str]:
    if not rejected:
        return
    yield f"Not indexed: {counted(sum(map(len, rejected.values())), 'file')}"
    for reason, keys in sorted(rejected.items(), key=lambda item: -len(item[1])):
        yield f"  {reason}: {len(keys):,}"
        yield from _listed(keys, limit)


def _unreadable(scan: ScanRecord | None, limit: int | None) -> Iterator[str]:
    if scan is None or not scan.unreadable:
        return
    yield f"Unreadable: {counted(len(scan.unreadable), 'folder or file', 'folders or files')}"
    yield from _listed([f"{key}: {why}" for key, why in sorted(scan.unreadable.items())], limit)


def _listed(lines: Iterable[str], limit: int | None) -> Iterator[str]:
    every = tuple(lines)
    yield from (f"    {line}" for line in every[:limit])
    yield from _more(len(every), limit, indent=4)


def _more(count: int, limit: int | None, *, indent: int) -> Iterator[str]:
    if limit is not None and count > limit:
        yield f"{' ' * indent}and {count - limit:,} more"
