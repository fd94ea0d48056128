"""The plan of a search for studies: along which index, and what is left to filter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from dicomulus.dicom.matching import folded_pieces, is_plain, literal_start, uid_list
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
    value_ranges,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dicomulus.dicom.matching import Filter, MatchKey
    from dicomulus.dicom.query import Query

_STUDY_INSTANCE_UID: Final = "0020000D"

# The narrower first: values that few studies share.
_VALUE_TAGS: Final = ("00080050", "00100020", "00100010", "00080090")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How to find the studies that match.

    ``uids`` if they are named in the query; otherwise ``ranges`` of ``path``, read one after the
    other, hold all of them. ``rest`` is the test that is left for each study's attributes, and
    ``carried`` what the entries of the date path must contain, by keyword.
    """

    uids: tuple[str, ...] | None = None
    path: SearchPath = SearchPath.DATE
    ranges: tuple[KeyRange, ...] = (KeyRange(),)
    rest: Filter | None = None
    carried: Mapping[str, tuple[str, ...]]

    def may_match(self, carried: Mapping[str, str]) -> bool:
        """Whether what an entry carries leaves it open that its study matches."""
        return all(_may_contain(carried.get(k, ""), pieces) for k, pieces in self.carried.items())


def _may_contain(text: str, pieces: tuple[str, ...]) -> bool:
    return text.endswith(CUT) or all(piece in text for piece in pieces)


def plan_studies(query: Query) -> Plan:
    """Choose the cheapest access path that the keys allow (design: access path by cost)."""
    uid_key = _plain_key(query, _STUDY_INSTANCE_UID)
    if uid_key is not None:
        rest = query.filter_without(_STUDY_INSTANCE_UID)
        return Plan(uids=uid_list(uid_key.value), rest=rest, carried={})
    if value_key := _value_key(query):
        return Plan(
            path=PATH_BY_TAG[value_key.tag],
            ranges=value_ranges(value_key, query.semantics),
            rest=query.filter_without(),
            carried={},
        )
    return _date_plan(query)


def _plain_key(query: Query, tag: str) -> MatchKey | None:
    key = query.key(tag)
    return key if key is not None and is_plain(key, query.semantics) else None


def _value_key(query: Query) -> MatchKey | None:
    """Give the key of a value path: whole values before beginnings of values."""
    keys = [key for tag in _VALUE_TAGS if (key := query.key(tag)) is not None]
    usable = [key for key in keys if value_ranges(key, query.semantics)]
    starts = {key: literal_start(key, query.semantics) for key in usable}
    return min(usable, key=lambda key: not (s := starts[key]) or not s.whole, default=None)


def _date_plan(query: Query) -> Plan:
    carried = {
        keyword: tuple(map(key_text, pieces))
        for keyword, tag in CARRIED_TAGS.items()
        if (key := query.key(tag)) is not None and (pieces := folded_pieces(key, query.semantics))
    }
    date, time = _plain_key(query, STUDY_DATE), _plain_key(query, STUDY_TIME)
    if date is None:
        return Plan(rest=query.filter_without(), carried=carried)
    # The range of keys says all that a date asks for, unless times are asked for too.
    implied = () if query.key(STUDY_TIME) else (STUDY_DATE,)
    return Plan(
        ranges=(date_key_range(date, time),),
        rest=query.filter_without(*implied),
        carried=carried,
    )
