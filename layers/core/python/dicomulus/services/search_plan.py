"""The plan of a search for studies: along which indexes, and what is left to test and to sort."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from dicomulus.dicom.dictionary import keyword_from_tag
from dicomulus.dicom.matching import (
    LiteralStart,
    folded_pieces,
    is_plain,
    literal_start,
    single_keys,
    uid_list,
)
from dicomulus.dicom.query import Level, OrderKey
from dicomulus.dicom.temporal import FIRST_DATE, LAST_DATE, date_range
from dicomulus.ports import SearchPath
from dicomulus.services.search_keys import (
    CARRIED_TAGS,
    CUT,
    PATH_BY_TAG,
    STUDY_DATE,
    STUDY_TIME,
    KeyRange,
    date_key_range,
    key_text,
    range_of,
    value_ranges,
    value_starts,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from dicomulus.dicom.matching import Filter, MatchKey
    from dicomulus.dicom.query import Query

ALL_KEYS: Final = KeyRange()
"""The whole of an ordered index."""

_STUDY_INSTANCE_UID: Final = "0020000D"

# How many studies a value finds, and how many values a further character tells apart. Guesses for
# an archive of some years, made only to compare access paths with each other.
_STUDIES_OF_VALUE: Final = {
    "00080050": 1.0,  # AccessionNumber
    "00100020": 5.0,  # PatientID
    "00100010": 8.0,  # PatientName
    "00080090": 2_000.0,  # ReferringPhysicianName
}
_STUDIES_A_DAY: Final = 100.0
_ALL_STUDIES: Final = 1_000_000.0
_TOLD_APART: Final = 8.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Leg:
    """A part of an ordered index, read from one end to the other."""

    path: SearchPath
    span: KeyRange = ALL_KEYS
    backwards: bool = False
    """Against the path's own direction."""
    starts: tuple[str, ...] = ()
    """What keys begin with in lower case; others in the span are none of its."""
    without: SearchPath | None = None
    """Only studies that are not in this index, since they have no value for it."""

    @property
    def is_descending(self) -> bool:
        """Whether the keys fall on the way."""
        return (self.path is SearchPath.DATE) != self.backwards


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How to find the studies that match.

    ``uids`` if they are named in the query; otherwise the ``legs``, one after the other, hold all
    of them, in order. ``rest`` is the test that is left for each study's attributes, ``tested``
    the attributes it is of, and ``carried`` what the entries of the date index must contain, by
    keyword. ``order`` is what the matches have to be sorted by, in memory.
    """

    uids: tuple[str, ...] | None = None
    legs: tuple[Leg, ...] = (Leg(path=SearchPath.DATE),)
    rest: Filter | None = None
    tested: tuple[str, ...] = ()
    carried: Mapping[str, tuple[str, ...]]
    order: tuple[OrderKey, ...] = ()

    def may_match(self, carried: Mapping[str, str]) -> bool:
        """Whether what an entry carries leaves it open that its study matches."""
        return all(_may_contain(carried.get(k, ""), pieces) for k, pieces in self.carried.items())

    def __str__(self) -> str:
        """Give the plan as one line, without the values asked for."""
        return "; ".join(self._parts())

    def _parts(self) -> Iterator[str]:
        if self.uids is not None:
            yield f"studies named: {len(self.uids)}"
        else:
            yield "along " + ", ".join(map(_told, self.legs))
        if self.carried:
            yield "looked through in the index: " + ", ".join(self.carried)
        if self.tested:
            yield "tested in each study: " + ", ".join(map(_name, self.tested))
        if self.order:
            yield "sorted in memory by: " + ", ".join(_name(key.tag) for key in self.order)


def _told(leg: Leg) -> str:
    span = "" if leg.span == ALL_KEYS else " within a range"
    turned = ", backwards" if leg.backwards else ""
    without = f", of studies not in {leg.without.value}" if leg.without else ""
    return f"{leg.path.value}{span}{turned}{without}"


def _name(tag: str) -> str:
    return keyword_from_tag(tag) or tag


def _may_contain(text: str, pieces: tuple[str, ...]) -> bool:
    return text.endswith(CUT) or all(piece in text for piece in pieces)


def plan_studies(query: Query) -> Plan:
    """Choose the cheapest access path that the keys of the study level allow."""
    uids = _named_uids(query)
    if uids is not None:
        return _plan(query, uids=uids, implied=(_STUDY_INSTANCE_UID,), order=query.order)
    value_key = _value_key(query)
    if value_key is not None:
        starts = value_starts(value_key, query.semantics)
        legs = tuple(
            Leg(path=PATH_BY_TAG[value_key.tag], span=span, starts=starts)
            for span in value_ranges(value_key, query.semantics)
        )
        return _plan(query, legs=legs, order=query.order)
    return _date_plan(query)


def _named_uids(query: Query) -> tuple[str, ...] | None:
    """Give the studies that the query names, or that are known to hold all that it finds."""
    uid_key = _plain_key(query, _STUDY_INSTANCE_UID)
    if uid_key is None:
        return query.studies
    named = uid_list(uid_key.value)
    return named if query.studies is None else tuple(set(named).intersection(query.studies))


def patient_legs(patient_id: str) -> tuple[Leg, ...]:
    """Give where the studies of one patient are, and a few others whose long IDs begin alike."""
    return (Leg(path=SearchPath.PATIENT_ID, span=range_of(LiteralStart(patient_id, whole=True))),)


def _plan(
    query: Query,
    *,
    uids: tuple[str, ...] | None = None,
    legs: tuple[Leg, ...] = (Leg(path=SearchPath.DATE),),
    implied: tuple[str, ...] = (),
    carried: Mapping[str, tuple[str, ...]] | None = None,
    order: tuple[OrderKey, ...] = (),
) -> Plan:
    tested = dict.fromkeys(
        key.path[0]
        for key in query.keys_at(Level.STUDY)
        if not key.is_universal and key.path[0] not in implied
    )
    return Plan(
        uids=uids,
        legs=legs,
        rest=query.filter_at(Level.STUDY, without=implied),
        tested=tuple(tested),
        carried=carried or {},
        order=order,
    )


def _plain_key(query: Query, tag: str) -> MatchKey | None:
    key = query.key(tag)
    return key if key is not None and is_plain(key, query.semantics) else None


# --- by a value -----------------------------------------------------------------------------------


def _value_key(query: Query) -> MatchKey | None:
    """Give the key whose index finds the fewest studies, if that is fewer than the dates do."""
    estimates = {
        key: studies
        for tag in PATH_BY_TAG
        if (key := query.key(tag)) is not None and (studies := _estimate(query, key)) is not None
    }
    best = min(estimates, key=lambda key: estimates[key], default=None)
    return best if best is not None and estimates[best] < _dated_studies(query) else None


def _estimate(query: Query, key: MatchKey) -> float | None:
    if not value_ranges(key, query.semantics):
        return None
    start = literal_start(key, query.semantics)
    of_value = _STUDIES_OF_VALUE[key.tag]
    if start is None or start.whole:
        return of_value * len(single_keys(key, query.semantics))
    return max(of_value, _ALL_STUDIES * _TOLD_APART ** -len(start.text))


def _dated_studies(query: Query) -> float:
    date = _plain_key(query, STUDY_DATE)
    if date is None:
        return float("inf")
    first, last = date_range(date.value)
    if first == FIRST_DATE or last == LAST_DATE:
        return _ALL_STUDIES
    # Near enough: a year is taken for 12 times 31 days.
    days = (int(last[:4]) - int(first[:4])) * 372 + int(last[4:]) % 10_000 - int(first[4:])
    return max(1, days) * _STUDIES_A_DAY


# --- by date --------------------------------------------------------------------------------------


def _date_plan(query: Query) -> Plan:
    carried = {
        keyword: tuple(map(key_text, pieces))
        for keyword, tag in CARRIED_TAGS.items()
        if (key := query.key(tag)) is not None and (pieces := folded_pieces(key, query.semantics))
    }
    date, time = _plain_key(query, STUDY_DATE), _plain_key(query, STUDY_TIME)
    if date is None:
        legs, order = _ordered_legs(query, is_looked_through=bool(carried))
        return _plan(query, legs=legs, carried=carried, order=order)
    span = date_key_range(date, time, query.semantics)
    # The range of keys says all that a date asks for, unless times are asked for too.
    implied = () if query.key(STUDY_TIME) else (STUDY_DATE,)
    backwards, order = _dated_order(query.order)
    legs = (Leg(path=SearchPath.DATE, span=span, backwards=backwards),)
    return _plan(query, legs=legs, implied=implied, carried=carried, order=order)


def _ordered_legs(
    query: Query, *, is_looked_through: bool
) -> tuple[tuple[Leg, ...], tuple[OrderKey, ...]]:
    """Give legs that come in the order asked for, and what is left to sort.

    Studies without the value come last, whichever way the values are ordered. What the date index
    is looked through for is little, and cheaper to sort than the rows of all studies to read.
    """
    backwards, order = _dated_order(query.order)
    if backwards:
        dated, undated = KeyRange(FIRST_DATE), KeyRange("", FIRST_DATE)
        return (
            Leg(path=SearchPath.DATE, span=dated, backwards=True),
            Leg(path=SearchPath.DATE, span=undated, backwards=True),
        ), ()
    if len(order) != 1 or is_looked_through or order[0].tag not in PATH_BY_TAG:
        return (Leg(path=SearchPath.DATE),), order
    path = PATH_BY_TAG[order[0].tag]
    by_value = Leg(path=path, backwards=order[0].descending)
    return (by_value, Leg(path=SearchPath.DATE, without=path)), ()


def _dated_order(order: tuple[OrderKey, ...]) -> tuple[bool, tuple[OrderKey, ...]]:
    """Tell whether the date index is read backwards, and what is left to sort then."""
    tags = tuple(key.tag for key in order)
    directions = {key.descending for key in order}
    if tags in ((STUDY_DATE,), (STUDY_DATE, STUDY_TIME)) and len(directions) == 1:
        return directions == {False}, ()
    return False, order
