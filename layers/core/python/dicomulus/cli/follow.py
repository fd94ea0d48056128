"""The follower: keeps the index of a folder in step with it for as long as it runs."""

from __future__ import annotations

import logging
import os
import queue
import signal
import threading
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from dicomulus.cli.logs import configure_logging
from dicomulus.cli.scan_record import write_record
from dicomulus.cli.scanner import Scanner
from dicomulus.cli.upkeep import Upkeep
from dicomulus.cli.verifier import Verifier
from dicomulus.cli.watch import Watch
from dicomulus.cli.work import start_worker
from dicomulus.composition import clock_ms, local_runtime, publisher
from dicomulus.errors import DicomulusError, UnavailableError
from dicomulus.ports import LookAtObjects
from dicomulus.services.scan import scan_prefix

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dicomulus.cli.news import News
    from dicomulus.cli.scan_record import ScanRecord
    from dicomulus.settings import Settings

logger = logging.getLogger(__name__)

RETRY_SECONDS: Final = 1.0
"""From a look that failed to the next one; doubled each time."""

RETRIES: Final = 6
"""Looks at an object that fails, before only scans and events have it looked at."""

BACKLOG: Final = 512
"""Objects that wait: so many that their series go on growing."""

EVER_MS: Final = 2**53
"""A time after every due time."""

PUBLISH_SECONDS: Final = 1.0
"""Between two looks for changes that somebody outside is to be told."""

REST_SECONDS: Final = 20.0
"""Idle time after which worker processes are ended."""

NICENESS: Final = 5
"""Those who wait for an answer come before those who wait for the index."""

_BUSY_SECONDS: Final = 0.05
_IDLE_SECONDS: Final = 0.2
_MESSAGES: Final = 64


def follow(settings: Settings, jobs: int, verbose: bool) -> None:
    """Follow the folder of a local archive until SIGTERM; runs as a process of its own."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    start_worker()
    configure_logging(verbose=verbose)
    os.nice(NICENESS)
    follower = Follower(settings, jobs=jobs)
    if follower.lead(stop):
        follower.run(stop)


def publish(settings: Settings, stop: threading.Event) -> None:
    """Tell those outside of changes until the stop; whoever is slow keeps nothing else waiting."""
    if not (settings.webhook_url or settings.event_bus_name):
        return
    told = publisher(settings, local_runtime(settings).archive.index)
    while not stop.wait(PUBLISH_SECONDS):
        try:
            told.publish(until_ms=EVER_MS)
        except DicomulusError as exc:
            logger.warning("cannot publish just now", extra={"reason": str(exc)})


class Follower:
    """Takes news from events, scans and messages, and has it looked at."""

    def __init__(self, settings: Settings, *, jobs: int) -> None:
        """Open the archive."""
        self._settings = settings
        self._runtime = local_runtime(settings)
        self._upkeep = Upkeep(settings, jobs=jobs)
        self._news: queue.SimpleQueue[News] = queue.SimpleQueue()
        self._woken = threading.Event()
        self._watch = Watch(self._runtime, self._tell)
        self._verifier = Verifier(settings)
        self._scanner = Scanner(self._runtime.archive, self._tell)
        self._receipts: list[str] = []
        self._attempts: Counter[str] = Counter()
        self._retries: dict[str, float] = {}
        self._failed: dict[str, str] = {}
        self._record: ScanRecord | None = None
        self._had_backlog = False
        self._last_busy = time.monotonic()

    def lead(self, stop: threading.Event) -> bool:
        """Wait until no other process follows the folder; whether that came before the stop."""
        leading = threading.Event()

        def hold() -> None:
            with self._runtime.follower_lock.held():
                leading.set()
                stop.wait()

        threading.Thread(target=hold, name="lead", daemon=True).start()
        if not leading.wait(1) and not stop.is_set():
            logger.warning("another process follows this folder already; this one waits its turn")
        while not leading.wait(_IDLE_SECONDS):
            if stop.is_set():
                return False
        return True

    def run(self, stop: threading.Event) -> None:
        """Follow until the stop."""
        self._watch.start()
        threading.Thread(
            target=publish, args=(self._settings, stop), name="publish", daemon=True
        ).start()
        self._verifier.start()
        try:
            while not stop.is_set():
                try:
                    self._turn()
                except UnavailableError as exc:
                    logger.warning("cannot follow just now", extra={"reason": str(exc)})
                    stop.wait(RETRY_SECONDS)
        finally:
            self._verifier.stop()
            self._upkeep.close()
            self._watch.stop()

    def _tell(self, news: News) -> None:
        self._news.put(news)
        self._woken.set()

    def _turn(self) -> None:
        self._woken.clear()
        while not self._news.empty():
            self._take(self._news.get())
        self._take_retries()
        self._receive()
        self._sweep()
        # Events first, the scan second: nothing falls between them.
        if self._watch.settled:
            busy = self._upkeep.looks_left > 0
            self._scanner.begin_if_due(has_events=self._watch.works, busy=busy)
        for looked in self._upkeep.step(_BUSY_SECONDS):
            self._note_failures(looked.failed)
        if self._upkeep.looks_left or self._upkeep.compactions_left:
            self._last_busy = time.monotonic()
            return
        self._settle()
        self._woken.wait(_IDLE_SECONDS)

    def _take(self, news: News) -> None:
        for key in news.object_keys:
            self._attempts.pop(key, None)
        self._upkeep.look_at(news.object_keys)
        self._upkeep.look_at(news.found_keys)
        archive = self._runtime.archive
        for prefix in news.prefixes:
            for compared in scan_prefix(archive.index, archive.storage, prefix=prefix):
                self._upkeep.look_at(compared.object_keys)
        if news.unclear:
            self._scanner.hasten()
        if news.scanned is not None:
            self._record = news.scanned

    def _take_retries(self) -> None:
        now = time.monotonic()
        due = [key for key, when in self._retries.items() if when <= now]
        for key in due:
            del self._retries[key]
        self._upkeep.look_at(due)

    def _receive(self) -> None:
        for delivery in self._runtime.inbox.receive(_MESSAGES):
            # A series that a message names is due in the index as well, and found there.
            if isinstance(delivery.message, LookAtObjects):
                self._upkeep.look_at(delivery.message.object_keys)
            self._receipts.append(delivery.receipt)

    def _sweep(self) -> None:
        waiting = self._upkeep.looks_left
        self._had_backlog |= waiting > BACKLOG
        # What has waited for the end of a backlog need not wait any longer.
        at_once = self._had_backlog and not waiting
        now_ms = EVER_MS if at_once else clock_ms()
        self._upkeep.compact(self._runtime.archive.index.overdue_series(now_ms))
        self._had_backlog &= not at_once
        self._runtime.archive.stability.record_due()

    def _note_failures(self, failed: Mapping[str, str]) -> None:
        for key in failed:
            self._attempts[key] += 1
            if self._attempts[key] <= RETRIES:
                delay = RETRY_SECONDS * 2.0 ** (self._attempts[key] - 1)
                self._retries[key] = time.monotonic() + delay
        self._failed |= failed

    def _settle(self) -> None:
        """Note that all that was asked for is done."""
        if self._receipts:
            self._runtime.inbox.acknowledge(self._receipts)
            self._receipts.clear()
        if self._record is not None:
            unreadable = {**self._runtime.folder.unreadable, **self._failed}
            self._keep(replace(self._record, unreadable=unreadable))
            self._record = None
            self._failed.clear()
        if time.monotonic() - self._last_busy > REST_SECONDS:
            self._upkeep.rest()

    def _keep(self, record: ScanRecord) -> None:
        try:
            write_record(Path(self._settings.data_folder), record)
        except UnavailableError as exc:
            # The next scan makes another one.
            logger.warning("the findings of a scan are not kept", extra={"reason": str(exc)})
