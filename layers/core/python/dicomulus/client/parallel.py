"""Work on a server by several threads, ended early by the server or by the user."""

from __future__ import annotations

import time
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from threading import Event

R = TypeVar("R")

AHEAD: Final = 2
"""Tasks that wait for each one under way."""

GRACE_SECONDS: Final = 5.0
"""After an interrupt: time for what is under way."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How the work came to its end."""

    stopped: str = ""
    """Why it was given up, if it was."""
    interrupted: bool = False


class Parallel(Generic[R]):
    """Runs tasks; their results are collected in the thread that runs it."""

    def __init__(self, jobs: int, *, stopped: Event, collect: Callable[[R], str]) -> None:
        """Prepare to work.

        Args:
            jobs: Tasks at a time.
            stopped: Is set to have tasks end early.
            collect: Takes each result, and gives the reason if all must be given up.
        """
        self._jobs = jobs
        self._stopped = stopped
        self._collect = collect
        self._reason = ""
        self._pending: set[Future[R]] = set()

    def run(self, tasks: Iterable[Callable[[], R]]) -> Ended:
        """Run tasks, which are asked for as they are needed, until the end or an interrupt."""
        pool = ThreadPoolExecutor(self._jobs, thread_name_prefix="transfer")
        interrupted = False
        try:
            self._run(tasks, pool)
        except KeyboardInterrupt:
            interrupted = True
            self._wind_up()
        finally:
            self._stopped.set()
            pool.shutdown(wait=True, cancel_futures=True)
        return Ended(self._reason, interrupted)

    def _run(self, tasks: Iterable[Callable[[], R]], pool: ThreadPoolExecutor) -> None:
        for task in tasks:
            self._pending.add(pool.submit(task))
            while len(self._pending) > AHEAD * self._jobs and not self._reason:
                self._take()
            if self._reason:
                break
        while self._pending:
            self._take()

    def _take(self, timeout_seconds: float | None = None) -> None:
        done, self._pending = wait(self._pending, timeout_seconds, FIRST_COMPLETED)
        for future in done:
            if future.cancelled():
                continue
            reason = self._collect(future.result())
            # What one request met, the others would meet too.
            if reason and not self._reason and not self._stopped.is_set():
                self._reason = reason
                self._cancel()
                self._stopped.set()

    def _cancel(self) -> None:
        for future in self._pending:
            future.cancel()

    def _wind_up(self) -> None:
        self._cancel()
        deadline = time.monotonic() + GRACE_SECONDS
        while self._pending and (left := deadline - time.monotonic()) > 0:
            self._take(left)
        self._stopped.set()
        while self._pending:
            self._take()
