"""Results sorted in memory, where no index has the order asked for."""

from __future__ import annotations

from functools import cmp_to_key
from typing import TYPE_CHECKING, Final, TypeVar

from dicomulus.dicom.dictionary import vr_of
from dicomulus.dicom.matching import (
    NUMBER_VRS,
    first_text,
    joined_name,
    joined_text,
    number_of,
)
from dicomulus.dicom.temporal import normal_date, normal_time
from dicomulus.errors import InvalidQueryError, SearchTooBroadError
from dicomulus.services.search_keys import PATH_BY_TAG, value_part
from dicomulus.services.search_steps import Step, check_time

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from dicomulus.dicom.level_json import Element
    from dicomulus.dicom.query import OrderKey
    from dicomulus.services.search_meter import SearchMeter
    from dicomulus.services.search_steps import Position, Scalar

T = TypeVar("T")

MAX_SORTED: Final = 10_000
"""Most matches that are sorted; each costs the reading of its row on every page."""


def sorted_steps(
    steps: Iterable[Step[T]],
    order: Sequence[OrderKey],
    *,
    elements_of: Callable[[T], Mapping[str, Element]],
    meter: SearchMeter,
    after: Position | None,
    newest_first: bool,
) -> Iterator[Step[T]]:
    """Sort matches; what has no value for an attribute comes after all that have one.

    Args:
        steps: The matches, from the first on.
        order: What to sort by.
        elements_of: Gives a match's attributes.
        meter: Ends what takes too long.
        after: Where the page before ended.
        newest_first: Of equal matches, take those of higher positions first.

    Raises:
        SearchTooBroadError: There are more than ``MAX_SORTED``, or the time is over.
        InvalidQueryError: ``after`` is no place in this order.
    """
    found: list[Step[T]] = []
    for step in steps:
        if step.found is None:
            check_time(meter)
            continue
        if len(found) == MAX_SORTED:
            raise SearchTooBroadError(
                f"More than {MAX_SORTED:,} matches to sort: leave out orderby, or narrow the search"
            )
        values = _sort_values(elements_of(step.found), order)
        found.append(Step((*values, *step.position), step.found))
    compare = _comparison(order, newest_first=newest_first)
    found.sort(key=cmp_to_key(lambda one, other: compare(one.position, other.position)))
    for step in found:
        if after is None or _follows(step.position, after, compare):
            yield step


def _sort_values(elements: Mapping[str, Element], order: Sequence[OrderKey]) -> list[Scalar]:
    values: list[Scalar] = []
    for key in order:
        value = _sort_value(key.tag, elements.get(key.tag))
        values += [value is None, "" if value is None else value]
    return values


def _sort_value(tag: str, element: Element | None) -> Scalar | None:
    vr = vr_of(tag)
    if vr == "PN":
        return value_part("=".join(joined_name(element).values())) or None
    # Like the index of the attribute, where there is one; a long text would make a long token.
    text = value_part(joined_text(element) if tag in PATH_BY_TAG else first_text(element))
    if vr == "DA":
        return normal_date(text)
    if vr == "TM":
        return normal_time(text)
    if vr in NUMBER_VRS:
        number = number_of(text)
        return None if number is None else float(number)
    return text or None


def _comparison(
    order: Sequence[OrderKey], *, newest_first: bool
) -> Callable[[Position, Position], int]:
    directions = [-1 if key.descending else 1 for key in order]
    width = 2 * len(order)

    def compare(one: Position, other: Position) -> int:
        for number, direction in enumerate(directions):
            (is_missing, value), (is_other_missing, other_value) = (
                position[2 * number : 2 * number + 2] for position in (one, other)
            )
            if is_missing != is_other_missing:
                return 1 if is_missing else -1
            if value != other_value:
                # Both are of one attribute, so both are texts or both numbers.
                return direction if value > other_value else -direction  # type: ignore[operator]
        places = one[width:], other[width:]
        if places[0] == places[1]:
            return 0
        is_behind = places[0] > places[1]
        return -1 if is_behind is newest_first else 1

    return compare


def _follows(
    position: Position, after: Position, compare: Callable[[Position, Position], int]
) -> bool:
    try:
        if len(position) == len(after):
            return compare(position, after) > 0
    except TypeError:
        pass
    raise InvalidQueryError("page", "is not the token of a next link")
