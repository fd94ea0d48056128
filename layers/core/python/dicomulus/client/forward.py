"""Forwarding a spool to a server: without end, in order, until each file is taken or refused."""

from __future__ import annotations

import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Final, cast

from dicomulus.client.identity import Unfit
from dicomulus.client.send import MAX_BATCH, TAKEN, Outcome, Sender, batches, parcel_of
from dicomulus.errors import RemoteError, SourceFileError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dicomulus.client.http_client import HttpClient
    from dicomulus.client.send import Parcel, Sent
    from dicomulus.client.sources import FileSource
    from dicomulus.client.spool import Spool

logger = logging.getLogger(__name__)

FIRST_PAUSE_SECONDS: Final = 1.0
LAST_PAUSE_SECONDS: Final = 60.0
"""Between attempts at a server that does not take anything."""

FILE_PAUSE_SECONDS: Final = 30.0
"""Before another attempt at one file that the server had trouble with."""

IDLE_SECONDS: Final = 5.0
"""Between looks at a spool that nobody says anything of."""


@dataclass(frozen=True, slots=True)
class Tally:
    """What has become of files since the start, and how many wait."""

    forwarded: int = 0
    refused: int = 0
    waiting: int = 0
    trouble: str = ""
    """Why nothing is forwarded at present, if so."""


class Forwarder:
    """Forwards in threads of its own, in rounds of a few batches."""

    def __init__(self, client: HttpClient, spool: Spool, *, jobs: int) -> None:
        """Forward a spool to the client's server, so many requests at a time."""
        self._client = client
        self._sender = Sender(client)
        self._spool = spool
        self._jobs = jobs
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._later: dict[str, float] = {}
        self._forwarded = self._refused = 0
        self._trouble = ""
        self._thread = threading.Thread(target=self._run, name="forwarder")

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    @property
    def has_ended(self) -> bool:
        """Whether it has met what it was not made for."""
        return not (self._thread.is_alive() or self._stop.is_set())

    def wake(self) -> None:
        """Tell that there is something new."""
        self._wake.set()

    def stop(self, grace_seconds: float) -> None:
        """End after the round under way, or break it off when that takes longer than is given."""
        self._stop.set()
        self._wake.set()
        self._thread.join(grace_seconds)
        self._client.stopped.set()
        self._thread.join()

    def tally(self) -> Tally:
        """Tell how it goes."""
        return Tally(self._forwarded, self._refused, self._spool.count(), self._trouble)

    def _run(self) -> None:
        pause_seconds = FIRST_PAUSE_SECONDS
        with ThreadPoolExecutor(self._jobs, thread_name_prefix="forward") as pool:
            while not self._stop.is_set():
                self._wake.clear()
                trouble, has_sent = self._round(pool)
                if trouble:
                    self._note_trouble(trouble)
                    self._stop.wait(pause_seconds)
                    pause_seconds = min(2 * pause_seconds, LAST_PAUSE_SECONDS)
                    continue
                self._trouble, pause_seconds = "", FIRST_PAUSE_SECONDS
                if not has_sent:
                    self._wake.wait(IDLE_SECONDS)

    def _note_trouble(self, trouble: str) -> None:
        if trouble != self._trouble and not self._stop.is_set():
            logger.warning("nothing is forwarded at present", extra={"reason": trouble})
        self._trouble = trouble

    # --- one round --------------------------------------------------------------------------------

    def _next_parcels(self) -> Iterator[Parcel]:
        now = time.monotonic()
        due = (
            source for source in self._spool.waiting() if self._later.get(source.name, 0.0) <= now
        )
        for source in islice(due, self._jobs * MAX_BATCH):
            try:
                parcel = parcel_of(source)
            except SourceFileError as exc:
                self._put_off(source, str(exc))
                continue
            if isinstance(parcel, Unfit):
                self._refuse(source, parcel.reason)
            else:
                yield parcel

    def _round(self, pool: ThreadPoolExecutor) -> tuple[str, bool]:
        """Send some; give the reason if not all took part, and whether there was any."""
        try:
            parcels = list(self._next_parcels())
            together = batches(parcels, max_bytes=lambda: self._sender.batch_bytes)
            reasons = list(pool.map(self._send, together))
        except OSError as exc:
            return f"spool: {exc.strerror}", True
        return next(filter(None, reasons), ""), bool(parcels)

    def _send(self, batch: Sequence[Parcel]) -> str:
        try:
            for sent in self._sender.send(batch):
                self._settle(sent)
        except RemoteError as exc:
            return str(exc)
        return ""

    def _settle(self, sent: Sent) -> None:
        source = cast("FileSource", sent.source)
        if sent.outcome in TAKEN:
            if sent.outcome is Outcome.WARNED:
                logger.warning("forwarded with a warning", extra={"reason": sent.reason})
            self._spool.done(source)
            self._later.pop(source.name, None)
            self._forwarded += 1
        elif sent.outcome is Outcome.REFUSED:
            self._refuse(source, sent.reason)
        else:
            self._put_off(source, sent.reason)

    def _refuse(self, source: FileSource, reason: str) -> None:
        kept = self._spool.refuse(source, reason)
        self._refused += 1
        logger.error("refused, and put aside", extra={"file": str(kept), "reason": reason})

    def _put_off(self, source: FileSource, reason: str) -> None:
        self._later[source.name] = time.monotonic() + FILE_PAUSE_SECONDS
        logger.warning("tried again later", extra={"file": source.name, "reason": reason})
