"""Verification while a folder is served: a share of it a day, slowly, going on where it was."""

from __future__ import annotations

import json
import logging
import threading
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Final

from dicomulus.cli.kept_json import keep_json
from dicomulus.cli.pace import Pace
from dicomulus.cli.reconcile_record import ReconcileRecord, read_records, write_records
from dicomulus.composition import clock_ms, local_archive
from dicomulus.errors import DicomulusError
from dicomulus.services.findings import Checked
from dicomulus.services.wishes import Cursor, Wishes, parse_cursor

if TYPE_CHECKING:
    from collections.abc import Callable

    from dicomulus.services.archive import Archive
    from dicomulus.services.findings import Findings
    from dicomulus.settings import Settings

logger = logging.getLogger(__name__)

FIRST_SECONDS: Final = 600.0
"""From the start of a server to its first verification: some run for minutes alone."""

PAUSE_SECONDS: Final = 60.0
"""From one look at the clock to the next, and after something that could not be done."""

DAY_MS: Final = 86_400_000
"""From the beginning of one share to that of the next, unless it takes longer."""

NAME: Final = "verifying.json"

_STEP_MS: Final = 5_000
"""Time after which it is kept how far a share is."""

_BATCH: Final = 100
"""Objects of the cache compared at once."""

_TOLD: Final = (Checked.VERIFIED.value, Checked.VERIFIED_BYTES.value, Checked.CHECKSUMS.value)


class StoppedError(Exception):
    """Nobody is served any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far the verification of an archive has come."""

    share: int = 0
    """Which share it is at."""
    begun_ms: int = 0
    """When that was begun; 0 if it is not yet."""
    cursor: str = ""
    """How far its rows are done; empty if all of it is."""
    checked: dict[str, int] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)

    def with_part(self, part: Findings) -> Progress:
        """Add what has been found since."""
        checked, counts = dict(self.checked), dict(self.counts)
        for each, number in part.checked.items():
            checked[each.value] = checked.get(each.value, 0) + number
        for kind, number in part.counts.items():
            counts[kind.value] = counts.get(kind.value, 0) + number
        return replace(self, checked=checked, counts=counts)


class Verifier:
    """Verifies one share at a time, in a thread."""

    def __init__(
        self,
        settings: Settings,
        *,
        first_seconds: float = FIRST_SECONDS,
        clock_ms: Callable[[], int] = clock_ms,
    ) -> None:
        """Prepare to verify the local archive of some settings; nothing is begun."""
        self._settings = settings
        self._data = Path(settings.data_folder)
        self._first_seconds = first_seconds
        self._clock_ms = clock_ms
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="verify", daemon=True)

    def start(self) -> None:
        """Begin, if the settings ask for it."""
        if self._settings.verify_days:
            self._thread.start()

    def stop(self) -> None:
        """End within the object that is being read."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        wait = self._first_seconds
        while not self._stop.wait(wait):
            wait = PAUSE_SECONDS
            try:
                self.verify_if_due()
            except StoppedError:
                return
            except DicomulusError as exc:
                logger.warning("cannot verify just now", extra={"reason": str(exc)})

    def verify_if_due(self) -> bool:
        """Verify the next share to its end, if a day has gone by since the one before was begun.

        Raises:
            DicomulusError: Something cannot be read or written; it goes on where it was, the next time.
            StoppedError: So it does.
        """
        progress = read_progress(self._data)
        if progress.begun_ms and not progress.cursor:
            if self._clock_ms() < progress.begun_ms + DAY_MS:
                return False
            progress = Progress(share=progress.share + 1)
        if not progress.begun_ms:
            progress = replace(progress, begun_ms=self._clock_ms(), cursor=str(Cursor()))
            self._keep(progress)
        pace = Pace(1e6 * self._settings.verify_rate_mb, sleep=self._sleep)
        self._verify(local_archive(self._settings, pace=pace), progress)
        return True

    def _sleep(self, seconds: float) -> None:
        if self._stop.wait(seconds):
            raise StoppedError

    def _verify(self, archive: Archive, progress: Progress) -> None:
        days = self._settings.verify_days
        wishes = Wishes(verify=True, days=days, compare_days=days, day=progress.share)
        cursor: Cursor | None = parse_cursor(progress.cursor)
        while cursor is not None:
            self._sleep(0)
            deadline_ms = self._clock_ms() + _STEP_MS
            part, cursor = archive.reconcile.compare_rows(cursor, wishes, deadline_ms=deadline_ms)
            progress = progress.with_part(part)
            if cursor is not None:
                progress = replace(progress, cursor=str(cursor))
                self._keep(progress)
        listed = archive.cache.list()
        while batch := list(islice(listed, _BATCH)):
            self._sleep(0)
            progress = progress.with_part(archive.derived.compare(batch, wishes))
        archive.damages.clear_gone()
        self._keep(Progress(share=progress.share, begun_ms=progress.begun_ms))
        self._tell(progress)

    def _tell(self, progress: Progress) -> None:
        record = ReconcileRecord(
            finished_ms=self._clock_ms(),
            repaired=True,
            checked=progress.checked,
            counts=progress.counts,
            days=self._settings.verify_days,
        )
        write_records(self._data, replace(read_records(self._data), verified=record))
        told = {name: progress.checked.get(name, 0) for name in _TOLD}
        logger.info("share verified", extra=told)

    def _keep(self, progress: Progress) -> None:
        keep_json(self._data / NAME, asdict(progress))


def read_progress(data_folder: Path) -> Progress:
    """Read how far the verification is; at its very beginning where nothing that fits is kept."""
    try:
        return Progress(**json.loads((data_folder / NAME).read_text(encoding="utf-8")))
    except (FileNotFoundError, ValueError, TypeError):
        return Progress()
