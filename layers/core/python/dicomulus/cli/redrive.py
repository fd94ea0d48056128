"""``dicomulus redrive``: the messages that failed for good, with their reasons, and back to work."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Protocol

from dicomulus.cli.text import counted, printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

_SHOWN: Final = 5
"""Subjects of one message that are listed; programs are told all."""

_INTERNAL: Final = ("body", "receipt_handle")
"""Fields of a letter that nobody can do anything with."""


class Walk(Protocol):
    """Walks over one dead-letter queue."""

    def walk(
        self, is_wanted: Callable[[Any], bool], *, moves: bool, limit: int | None = None
    ) -> Iterator[Any]:
        """Give the messages that are wanted, moved back before where that is asked."""


def redrive(
    walks: Mapping[str, Walk],
    *,
    only: str = "",
    limit: int | None = None,
    moves: bool = False,
    as_json: bool = False,
) -> Iterator[str]:
    """Tell line by line what is in some dead-letter queues, and move it back where that is asked.

    Args:
        walks: What walks over each, by name.
        only: Only messages whose reason or subject has this text in it.
        limit: At most so many messages of each queue.
        moves: Move them back to where they came from.
        as_json: One JSON object for each message.
    """

    def is_wanted(letter: Any) -> bool:
        return any(only in text for text in (letter.reason, *letter.subjects))

    wanted = is_wanted if only else lambda _: True
    total = 0
    for name, walk in walks.items():
        count = 0
        for letter in walk.walk(wanted, moves=moves, limit=limit):
            count += 1
            told = {"queue": name, "moved": moves, **asdict(letter)}
            yield from [_format_json(told)] if as_json else _format_text(told, head=count == 1)
        total += count
    if not as_json:
        yield _summary(total, queues=len(walks), moves=moves)


def _format_json(told: Mapping[str, Any]) -> str:
    return json.dumps({key: value for key, value in told.items() if key not in _INTERNAL})


def _format_text(told: Mapping[str, Any], *, head: bool) -> Iterator[str]:
    if head:
        yield printable(f"{told['queue']}:")
    sent = datetime.fromtimestamp(told["first_sent_ms"] / 1000, tz=UTC)
    yield printable(f"  {told['reason']} (first sent {sent:%Y-%m-%d %H:%M:%S} UTC)")
    subjects = told["subjects"]
    for subject in subjects[:_SHOWN]:
        yield printable(f"    {subject}")
    if len(subjects) > _SHOWN:
        yield f"    and {counted(len(subjects) - _SHOWN, 'other')}"


def _summary(total: int, *, queues: int, moves: bool) -> str:
    messages = counted(total, "message")
    if moves:
        return f"{messages} moved back"
    where = f"in {counted(queues, 'dead-letter queue')}"
    if not total:
        return f"0 messages {where}"
    return f"{messages} {where}; nothing was moved, --move moves them back"
