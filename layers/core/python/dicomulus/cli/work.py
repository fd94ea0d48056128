"""Pieces of work on a local archive, done in any thread or process that is handed the settings."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING

from dicomulus.composition import local_archive

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from dicomulus.dicom.resource import SeriesResource
    from dicomulus.services.archive import Archive
    from dicomulus.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """What became of some objects."""

    indexed: int = 0
    gone: int = 0
    rejected: Mapping[str, str] = field(default_factory=dict)
    """Object key to reason."""
    failed: Mapping[str, str] = field(default_factory=dict)
    """Object key to reason, of what must be looked at again."""


archive_of = cache(local_archive)
"""Gives the one archive that this process has for some settings."""


def look_at(settings: Settings, object_keys: tuple[str, ...]) -> Looked:
    """Make the rows of some objects agree with them."""
    report = archive_of(settings).ingest.look_at(object_keys)
    return Looked(
        indexed=len(report.indexed),
        gone=len(report.gone),
        rejected=dict(report.rejected),
        failed={key: str(error).removeprefix(f"{key}: ") for key, error in report.failed.items()},
    )


def compact(settings: Settings, series: tuple[SeriesResource, ...]) -> None:
    """Publish some series, if they are still due."""
    archive: Archive = archive_of(settings)
    rows = map(archive.index.get_series, series)
    due = [row.series for row in rows if row is not None and row.compact_due_ms is not None]
    archive.compaction.compact(due)


def start_worker() -> None:
    """Prepare a worker process: it ends with its parent, who alone hears Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent()


def end_with_parent() -> None:
    """End this process as soon as the one that started it has ended, however that came.

    Nothing is lost by that: every write to the index is a transaction, every file is moved into
    place whole.
    """
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, name="end-with-parent", daemon=True).start()


@contextmanager
def interrupts_ignored() -> Iterator[None]:
    """Ignore Ctrl-C meanwhile, so that processes started now ignore it from their first moment.

    Only the main thread may do that.
    """
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
