"""The steps of a search: matches, and places between them at which a page can end."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Generic, TypeAlias, TypeVar

from dicomulus.errors import SearchTooBroadError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from dicomulus.services.search_meter import SearchMeter

T = TypeVar("T")
R = TypeVar("R")

Scalar: TypeAlias = bool | int | float | str

Position: TypeAlias = tuple[Scalar, ...]
"""A place in the order of a search, just behind which the next page begins."""


@dataclass(frozen=True, slots=True)
class Step(Generic[T]):
    """A match, or none up to here."""

    position: Position
    found: T | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Gathered:
    """The matches of a page, as they are answered.

    ``end`` is where the next page begins, if there is or may be one; a page that may hold no match
    has none.
    """

    items: tuple[bytes, ...]
    has_more: bool
    end: Position | None


def gather(
    steps: Iterable[Step[T]],
    *,
    offset: int,
    limit: int,
    meter: SearchMeter,
    answer_of: Callable[[T], bytes],
) -> Gathered:
    """Take a page's matches, and look for one more.

    Args:
        steps: The search, from where the page begins.
        offset: Matches to leave out before.
        limit: Most matches of the page.
        meter: Tells when the page has to end before it is full.
        answer_of: Gives what is answered of a match.

    Raises:
        SearchTooBroadError: The time is over, and there is no match.
    """
    items: list[bytes] = []
    left_out, size, end = 0, 0, None
    for step in steps:
        found = step.found
        if found is None:
            if items and meter.is_spent:
                return Gathered(items=tuple(items), has_more=True, end=step.position)
            check_time(meter)
            continue
        if left_out < offset:
            left_out += 1
            continue
        if len(items) == limit:
            return Gathered(items=tuple(items), has_more=True, end=end)
        answer = answer_of(found)
        size += len(answer)
        if items and 0 < meter.limits.page_bytes < size:
            return Gathered(items=tuple(items), has_more=True, end=end)
        items.append(answer)
        end = step.position
    return Gathered(items=tuple(items), has_more=False, end=None)


def check_time(meter: SearchMeter) -> None:
    """End a search that has had its time.

    Raises:
        SearchTooBroadError: It has.
    """
    if meter.is_late:
        raise SearchTooBroadError(
            f"Nothing to answer after {meter.limits.seconds:g} seconds and {meter.cost.entries:,} "
            "studies. Narrow the search: by StudyInstanceUID, PatientID, AccessionNumber, the "
            "beginning of PatientName, or StudyDate"
        )


def in_groups(
    steps: Iterable[Step[T]], size: int, *, read: Callable[[list[T]], Iterable[R]]
) -> Iterator[tuple[Step[T], R | None]]:
    """Give each match together with what is read for it, several read at once.

    Args:
        steps: Where the matches come from; steps without one are passed on at their place.
        size: Matches read for at once.
        read: Gives something for each of some matches, in order.
    """
    remaining = iter(steps)
    while group := list(islice(remaining, size)):
        results = iter(read([step.found for step in group if step.found is not None]))
        for step in group:
            yield step, None if step.found is None else next(results)
