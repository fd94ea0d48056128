"""Scans of a folder again and again: the safety net of events, and their stand-in."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, Final

from dicomulus.cli.news import News
from dicomulus.cli.scan_record import ScanRecord
from dicomulus.composition import clock_ms
from dicomulus.errors import UnavailableError
from dicomulus.services.scan import scan

if TYPE_CHECKING:
    from collections.abc import Callable

    from dicomulus.services.archive import Archive

logger = logging.getLogger(__name__)

SAFETY_SECONDS: Final = 60.0
"""From one scan to the next where events tell of changes: some are never told."""

POLL_SECONDS: Final = 2.0
"""From one scan to the next where no events come."""

QUIET_SHARE: Final = 5
"""A scan is followed by at least this many times its own duration without one."""


class Scanner:
    """Runs one scan at a time, in a thread."""

    def __init__(self, archive: Archive, tell: Callable[[News], None]) -> None:
        """Prepare to scan an archive's storage; ``tell`` is called from the thread."""
        self._archive = archive
        self._tell = tell
        self._scanning = threading.Event()
        self._hurry = True
        self._ended = 0.0
        self._seconds = 0.0

    def hasten(self) -> None:
        """Have the next scan begin as soon as the pause after the last one is over."""
        self._hurry = True

    def begin_if_due(self, *, has_events: bool, busy: bool) -> None:
        """Begin a scan if it is time for one, and what the one before found is done."""
        if busy or self._scanning.is_set() or time.monotonic() < self._due(has_events=has_events):
            return
        self._hurry = False
        self._scanning.set()
        threading.Thread(target=self._scan, name="scan", daemon=True).start()

    def _due(self, *, has_events: bool) -> float:
        if not self._ended:
            return 0.0
        pause = POLL_SECONDS if self._hurry or not has_events else SAFETY_SECONDS
        return self._ended + max(pause, QUIET_SHARE * self._seconds)

    def _scan(self) -> None:
        started = time.monotonic()
        files = file_bytes = 0
        try:
            for compared in scan(self._archive.index, self._archive.storage):
                files += compared.listed
                file_bytes += compared.listed_bytes
                if compared.object_keys:
                    self._tell(News(found_keys=compared.object_keys))
            record = ScanRecord(finished_ms=clock_ms(), files=files, file_bytes=file_bytes)
            self._tell(News(scanned=record))
        except UnavailableError as exc:
            logger.warning("folder cannot be scanned just now", extra={"reason": str(exc)})
        finally:
            self._ended = time.monotonic()
            self._seconds = self._ended - started
            self._scanning.clear()
