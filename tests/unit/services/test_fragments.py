"""The JSON of a row is what was put there, or the object is looked at again."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from dicomulus.errors import CorruptFragmentError, DerivedDataMissingError
from dicomulus.metadata.fragment import compress, dictionary_of
from dicomulus.services.fragments import FragmentReader
from tests.support.archives import small_archive
from tests.support.builders import instance_row
from tests.support.datasets import ct_instance

if TYPE_CHECKING:
    from pathlib import Path

    from dicomulus.ports import InstanceRow
    from tests.support.archives import Small

TEXT = b'{"00100020":{"vr":"LO","Value":["P1"]}}'


@pytest.fixture
def small(tmp_path: Path) -> Small:
    return small_archive(tmp_path)


def reader_of(small: Small) -> FragmentReader:
    return FragmentReader(small.index, small.cache, queue=small.queue)


def pointing(small: Small, content: bytes | None) -> InstanceRow:
    """Give a row whose fragment lies in the cache, or should."""
    fragment = compress(TEXT)
    if content is not None:
        small.cache.put("pointed/a", content)
    return instance_row(fragment=replace(fragment, data=b"", pointer="pointed/a"))


def test_a_fragment_of_the_row_is_read_without_any_store(small: Small) -> None:
    row = instance_row(fragment=compress(TEXT))
    text, calls = small.ledger.of(lambda: reader_of(small).text(row))
    assert (text, calls) == (TEXT, [])


def test_a_fragment_in_the_cache_is_read_from_there(small: Small) -> None:
    row = pointing(small, compress(TEXT).data)
    assert reader_of(small).text(row) == TEXT


def test_a_dictionary_is_read_once_for_many_instances(small: Small) -> None:
    row = instance_row()
    dictionary = dictionary_of(row.instance.series, TEXT)
    small.index.put_dictionary(dictionary)
    rows = [replace(row, fragment=compress(TEXT, dictionary))] * 3
    reader = FragmentReader(small.ledger.index(small.index), small.cache, queue=small.queue)
    texts, calls = small.ledger.of(lambda: [reader.text(each) for each in rows])
    assert texts == [TEXT] * 3
    assert [call.operation for call in calls] == ["query_dictionaries"]


@pytest.mark.parametrize("content", [None, b"", b"damaged"], ids=["gone", "empty", "damaged"])
def test_a_fragment_missing_in_the_cache_has_its_object_looked_at(
    small: Small, content: bytes | None
) -> None:
    row = pointing(small, content)
    with pytest.raises(DerivedDataMissingError):
        reader_of(small).text(row)
    assert small.queue.looks == [row.object_key]


def test_a_dictionary_that_is_gone_has_the_object_looked_at(small: Small) -> None:
    row = instance_row()
    lost = dictionary_of(row.instance.series, TEXT)
    with pytest.raises(DerivedDataMissingError) as caught:
        reader_of(small).text(replace(row, fragment=compress(TEXT, lost)))
    assert isinstance(caught.value.__cause__, CorruptFragmentError)
    assert small.queue.looks == [row.object_key]


def test_the_look_makes_good_what_was_missing(tmp_path: Path) -> None:
    small = small_archive(tmp_path, max_row_fragment_bytes=1)
    (row,) = small.take({"a": ct_instance()}).indexed
    small.cache.delete(row.fragment.pointer)
    reader = reader_of(small)
    with pytest.raises(DerivedDataMissingError):
        reader.text(row)
    small.look_at(small.queue.looks)
    (again,) = small.index.get_instance(row.instance)
    assert b"00080018" in reader.text(again)
