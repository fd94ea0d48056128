"""Which spellings of a value an index has, found out by few questions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dicomulus.dicom.matching import LiteralStart
from dicomulus.ports import EntryPage, SearchPath, StudyEntry
from dicomulus.services.search_keys import search_keys
from dicomulus.services.spellings import spellings

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any


class Keys:
    """An ordered index in shards, which counts what it is asked."""

    def __init__(self, values: Iterable[str], shards: int = 2) -> None:
        self.search_shards = shards
        self.asked = 0
        keys = [
            search_keys(f"1.{n}", {"00100020": {"vr": "LO", "Value": [value]}}).by_patient_id
            for n, value in enumerate(values)
        ]
        self._shards = [sorted(keys[shard::shards]) for shard in range(shards)]

    def scan_studies(
        self, _: SearchPath, shard: int, *, low: str, high: str, after: str | None, limit: int
    ) -> EntryPage:
        """Give an empty page first, as an index may."""
        self.asked += after is None
        if after is None:
            return EntryPage((), low, 0)
        found = [key for key in self._shards[shard] if low <= key < high][:limit]
        entries = tuple(StudyEntry(key, key, {}) for key in found)
        return EntryPage(entries, None, len(entries))


def found(keys: Keys, text: str, *, whole: bool = True) -> list[str] | None:
    index: Any = keys
    starts = spellings(index, SearchPath.PATIENT_ID, LiteralStart(text, whole))
    return None if starts is None else [start.text for start in starts]


_VALUES = st.lists(st.text("aAbB1^ ", min_size=1, max_size=4).filter(str.strip), max_size=12)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(values=_VALUES, text=st.text("ab1^", min_size=1, max_size=3), whole=st.booleans())
def test_all_spellings_that_are_there_are_found_and_no_others(
    values: list[str], text: str, whole: bool
) -> None:
    values = [value.strip() for value in values]
    expected = {
        value[: len(text)]
        for value in values
        if (value.lower() == text if whole else value.lower().startswith(text))
    }
    assert found(Keys(values), text, whole=whole) == sorted(expected)


def test_few_questions_find_a_value_among_many_that_begin_alike() -> None:
    keys = Keys((f"PATIENT{number:05}" for number in range(5_000)), shards=1)
    assert found(keys, "patient01234") == ["PATIENT01234"]
    assert keys.asked <= 3
    assert found(keys, "patienz") == []


def test_very_many_spellings_are_not_counted_up() -> None:
    letters = "abcdefgh"
    values = [
        "".join(c.upper() if number >> at & 1 else c for at, c in enumerate(letters))
        for number in range(256)
    ]
    assert found(Keys(values, shards=1), letters) is None


@pytest.mark.parametrize("text", ["müller", "a" * 101])
def test_what_is_not_looked_up_is_left_to_others(text: str) -> None:
    assert found(Keys(["a"]), text) is None
