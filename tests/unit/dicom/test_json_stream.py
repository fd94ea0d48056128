"""Data sets out of arrays that arrive in pieces."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicomulus.dicom.json_stream import parse_data_set, parse_data_sets
from dicomulus.errors import CorruptFragmentError

_ELEMENTS = st.fixed_dictionaries({"vr": st.just("LO")}, optional={"Value": st.lists(st.text())})
_DATA_SETS = st.dictionaries(st.sampled_from(["00080005", "00081030", "0020000D"]), _ELEMENTS)


def text_of(data_sets: list[dict[str, Any]]) -> bytes:
    return json.dumps(data_sets, ensure_ascii=False, separators=(",", ":")).encode()


@given(data_sets=st.lists(_DATA_SETS), cuts=st.lists(st.integers(min_value=0), max_size=6))
def test_data_sets_do_not_depend_on_where_the_text_is_cut(
    data_sets: list[dict[str, Any]], cuts: list[int]
) -> None:
    text = text_of(data_sets)
    edges = sorted({0, len(text), *(cut % (len(text) + 1) for cut in cuts)})
    pieces = [text[start:end] for start, end in pairwise(edges)]
    assert list(parse_data_sets(pieces)) == data_sets


def test_a_data_set_is_given_as_soon_as_it_is_whole() -> None:
    taken = []

    def pieces() -> Any:
        for piece in (b'[{"00080005":{"vr":"CS"}}', b',{"00080005":{"vr":"SH"}}', b"]"):
            taken.append(piece)
            yield piece

    found = parse_data_sets(pieces())
    assert (next(found)["00080005"]["vr"], len(taken)) == ("CS", 1)
    assert (next(found)["00080005"]["vr"], len(taken)) == ("SH", 2)


@pytest.mark.parametrize("text", [b"", b"[", b'[{"00080005":{"vr":"CS"}}', b'[{"00080005":{"v'])
def test_an_array_that_is_cut_short_is_no_array(text: bytes) -> None:
    with pytest.raises(CorruptFragmentError):
        list(parse_data_sets([text]))


def test_numbers_stay_as_they_are_written() -> None:
    text = b'{"00181060":{"vr":"DS","Value":[0.50,1E400,-0,12345678901234567890]}}'
    values = parse_data_set(text)["00181060"]["Value"]
    assert values == ["0.50", "1E400", "-0", "12345678901234567890"]


def test_a_long_data_set_in_many_pieces_is_not_read_anew_for_each(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    text = text_of([{"00081030": {"vr": "LT", "Value": ["x" * 100_000]}}])
    read: list[int] = []
    decoder = json.JSONDecoder()

    class Counting:
        def raw_decode(self, source: str, start: int) -> tuple[Any, int]:
            read.append(len(source))
            return decoder.raw_decode(source, start)

    monkeypatch.setattr("dicomulus.dicom.json_stream._DECODER", Counting())
    assert len(list(parse_data_sets(bytes([each]) for each in text))) == 1
    assert sum(read) < 5 * len(text)
