"""Upkeep: objects looked at and series compacted, several at a time, in other processes if many."""

from __future__ import annotations

import logging
import multiprocessing
import time
from collections import deque
from concurrent.futures import (
    FIRST_COMPLETED,
    BrokenExecutor,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
    wait,
)
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, TypeVar

from dicomulus.cli.logs import facts_of
from dicomulus.cli.work import Looked, compact, interrupts_ignored, look_at, start_worker
from dicomulus.errors import DicomulusError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from concurrent.futures import Future

    from dicomulus.dicom.resource import SeriesResource
    from dicomulus.settings import Settings

T = TypeVar("T")
R = TypeVar("R")

logger = logging.getLogger(__name__)

BATCH: Final = 64
"""Objects looked at in one piece of work: they share the move of their series' versions."""

BACKLOG_DELAY_SECONDS: Final = 10
"""Compaction delay while many objects are new, as their series go on growing."""

PAUSE_SECONDS: Final = 5.0
"""From a compaction that failed to the next one of the series."""

FEW: Final = 128
"""Objects or series for which no processes are started."""


class Upkeep:
    """Work that waits and work under way.

    An object whose look fails in an unforeseen way costs the others of its batch a second look
    and nothing more.
    """

    def __init__(self, settings: Settings, *, jobs: int) -> None:
        """Keep the local archive of some settings.

        Args:
            settings: Those of the archive.
            jobs: Most processes that work at a time.
        """
        self._settings = settings
        delay_seconds = max(settings.compact_delay_seconds, BACKLOG_DELAY_SECONDS)
        self._pool_settings = replace(settings, compact_delay_seconds=delay_seconds)
        self._jobs = jobs
        self._keys: dict[str, None] = {}
        self._single_keys: deque[str] = deque()
        self._series: dict[SeriesResource, None] = {}
        self._looks: dict[Future[Looked], tuple[str, ...]] = {}
        self._compactions: dict[Future[None], tuple[SeriesResource, ...]] = {}
        self._paused: dict[SeriesResource, float] = {}
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="upkeep")
        self._pool: ProcessPoolExecutor | None = None

    def look_at(self, object_keys: Iterable[str]) -> None:
        """Add objects to be looked at."""
        self._keys.update(dict.fromkeys(object_keys))

    def compact(self, series: Iterable[SeriesResource]) -> None:
        """Add series to be compacted, but for those under way or that have failed just now.

        These stay due, so whoever asks for what is due names them again.
        """
        now = time.monotonic()
        self._paused = {each: until for each, until in self._paused.items() if until > now}
        left_out = {each for group in self._compactions.values() for each in group}
        left_out.update(self._paused)
        self._series.update((each, None) for each in series if each not in left_out)

    @property
    def looks_left(self) -> int:
        """How many objects wait or are being looked at."""
        under_way = sum(map(len, self._looks.values()))
        return len(self._keys) + len(self._single_keys) + under_way

    @property
    def compactions_left(self) -> int:
        """How many series wait or are being compacted."""
        return len(self._series) + sum(map(len, self._compactions.values()))

    def step(self, timeout_seconds: float) -> list[Looked]:
        """Begin as much as fits, wait for something to end, and give what has ended."""
        self._begin()
        under_way: list[Future[Any]] = [*self._looks, *self._compactions]
        wait(under_way, timeout=timeout_seconds, return_when=FIRST_COMPLETED)
        for compaction in [each for each in self._compactions if each.done()]:
            self._end_compaction(compaction)
        return [self._end_look(each) for each in list(self._looks) if each.done()]

    def rest(self) -> None:
        """Give back the memory of the worker processes, when nothing is left to do."""
        if self._pool is not None and not (self.looks_left or self.compactions_left):
            self._pool.shutdown()
            self._pool = None

    def close(self) -> None:
        """Wait for the pieces under way, and leave the others."""
        self._thread.shutdown(cancel_futures=True)
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None

    # under way

    def _begin(self) -> None:
        try:
            self._begin_what_fits()
        except BrokenExecutor as exc:
            # Pieces under way say the same when they end, and wait to be counted till then.
            if not (self._looks or self._compactions):
                self._forget_broken_pool(exc)

    def _begin_what_fits(self) -> None:
        # Some more than there are processes, so that none waits for the next piece.
        limit = 2 * self._jobs
        while self._series and len(self._compactions) < limit:
            group = self._next_series()
            self._compactions[self._submit(compact, group)] = group
            for series in group:
                del self._series[series]
        while self._single_keys and len(self._looks) < limit:
            key = self._single_keys[0]
            self._looks[self._submit(look_at, (key,))] = (key,)
            self._single_keys.popleft()
        while self._keys and len(self._looks) < limit:
            keys = tuple(islice(self._keys, BATCH))
            self._looks[self._submit(look_at, keys)] = keys
            for key in keys:
                del self._keys[key]

    def _next_series(self) -> tuple[SeriesResource, ...]:
        """Give all waiting series of one study: they share its fold."""
        study_instance_uid = next(iter(self._series)).study_instance_uid
        return tuple(s for s in self._series if s.study_instance_uid == study_instance_uid)

    def _submit(self, work: Callable[[Settings, T], R], piece: T) -> Future[R]:
        if self._pool is None and max(len(self._keys), len(self._series)) > FEW:
            self._pool = self._start_pool()
        if self._pool is None:
            return self._thread.submit(work, self._settings, piece)
        return self._pool.submit(work, self._pool_settings, piece)

    def _start_pool(self) -> ProcessPoolExecutor:
        pool = ProcessPoolExecutor(
            self._jobs,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=start_worker,
        )
        with interrupts_ignored():
            # The first piece starts the processes.
            pool.submit(look_at, self._pool_settings, ())
        return pool

    # ended

    def _end_look(self, future: Future[Looked]) -> Looked:
        keys = self._looks.pop(future)
        error = future.exception()
        if error is None:
            return future.result()
        self._forget_broken_pool(error)
        if isinstance(error, DicomulusError):
            return Looked(failed=dict.fromkeys(keys, str(error)))
        if len(keys) > 1:
            self._single_keys.extend(keys)
            return Looked()
        facts = {"object_key": keys[0], **facts_of(error)}
        logger.error("object could not be looked at", extra=facts)
        return Looked(failed={keys[0]: f"defect: {type(error).__qualname__}"})

    def _end_compaction(self, future: Future[None]) -> None:
        group = self._compactions.pop(future)
        error = future.exception()
        if error is None:
            return
        # They are still due, so whoever asks for what is due finds them again.
        self._forget_broken_pool(error)
        again = time.monotonic() + PAUSE_SECONDS
        self._paused.update(dict.fromkeys(group, again))
        is_defect = not isinstance(error, DicomulusError)
        logger.error(
            "series could not be compacted",
            extra={
                "study_instance_uid": group[0].study_instance_uid,
                "series": len(group),
                **(facts_of(error) if is_defect else {"reason": str(error)}),
            },
        )

    def _forget_broken_pool(self, error: BaseException) -> None:
        if isinstance(error, BrokenExecutor) and self._pool is not None:
            self._pool.shutdown(wait=False)
            self._pool = None
