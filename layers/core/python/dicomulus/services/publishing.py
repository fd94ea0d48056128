"""Publishing: those outside who asked for it are told of every change, in order, at least once.

How far each was told is in the index, and is moved on only after he has taken it. One publisher at
a time has his place there, for as long as it has said; one that died loses it by then.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from uuid import uuid4

from dicomulus.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dicomulus.ports import ChangeTarget, Index

logger = logging.getLogger(__name__)

CLAIM_MS: Final = 60_000
"""Milliseconds for which a publisher has a place: more than a target may take for one call."""

_FIRST_PAUSE_MS: Final = 1_000
_LONGEST_PAUSE_MS: Final = 300_000
"""Between two attempts at a target that does not take what it is sent; doubled each time."""


@dataclass(slots=True)
class _Troubles:
    """Attempts at a target that failed in a row."""

    attempts: int = 0
    again_ms: int = 0
    """When the next one is due."""


class Publisher:
    """Tells targets what is new to them."""

    def __init__(
        self, index: Index, targets: Sequence[ChangeTarget], *, clock_ms: Callable[[], int]
    ) -> None:
        """Tell targets of the index's log."""
        self._index = index
        self._targets = targets
        self._clock_ms = clock_ms
        self._claim = uuid4().hex
        self._troubles = {target.name: _Troubles() for target in targets}

    @property
    def is_failing(self) -> bool:
        """Whether somebody did not take what he was sent last."""
        return any(troubles.attempts for troubles in self._troubles.values())

    def publish(self, *, until_ms: int) -> bool:
        """Tell every target what is new, until a time.

        Returns:
            Whether each has been told all.
        """
        outcomes = [self._tell(target, until_ms) for target in self._targets]
        return all(outcomes)

    def _tell(self, target: ChangeTarget, until_ms: int) -> bool:
        troubles = self._troubles[target.name]
        now_ms = self._clock_ms()
        if now_ms < troubles.again_ms:
            return False
        sequence = self._index.claim_cursor(
            target.name, self._claim, now_ms=now_ms, until_ms=now_ms + CLAIM_MS
        )
        if sequence is None:
            return False
        try:
            is_done = self._tell_from(target, sequence, until_ms)
        except UnavailableError as exc:
            troubles.attempts += 1
            troubles.again_ms = self._clock_ms() + pause_ms(troubles.attempts)
            logger.warning(
                "changes could not be published",
                extra={
                    "target": target.name,
                    "attempts": troubles.attempts,
                    "reason": str(exc),
                },
            )
            return False
        troubles.attempts = 0
        return is_done

    def _tell_from(self, target: ChangeTarget, sequence: int, until_ms: int) -> bool:
        log = self._index.log_state().identity
        is_done = False
        try:
            while not is_done and self._clock_ms() < until_ms:
                changes = self._index.changes(sequence, limit=target.most).items
                is_done = not changes
                if is_done:
                    continue
                target.send(changes, log=log)
                sequence = changes[-1].sequence
                claimed_ms = self._clock_ms() + CLAIM_MS
                if not self._index.move_cursor(
                    target.name, self._claim, sequence, until_ms=claimed_ms
                ):
                    # It took so long that another tells him by now.
                    return False
        finally:
            self._index.move_cursor(target.name, self._claim, sequence, until_ms=0)
        return is_done


def pause_ms(attempts: int) -> int:
    """Give how long to wait after so many attempts that failed in a row."""
    return int(min(_LONGEST_PAUSE_MS, _FIRST_PAUSE_MS * 2 ** min(attempts - 1, 20)))
