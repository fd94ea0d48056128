"""Fragments say what was put into them, or say that they do not."""

from __future__ import annotations

import tracemalloc
import zlib
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicomulus.errors import CorruptFragmentError
from dicomulus.metadata.base_url import PLACEHOLDER
from dicomulus.metadata.fragment import (
    MAX_DICTIONARY_BYTES,
    compress,
    compress_apart,
    decompress,
    dictionary_of,
    pieces_of,
)
from dicomulus.metadata.gzip_assembly import identity
from tests.support.builders import series_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from dicomulus.ports import Fragment

TEXT = b'{"00100010":{"vr":"PN","Value":[{"Alphabetic":"Doe^Jane"}]}}'
OTHER = TEXT.replace(b"Jane", b"John")


def read(fragment: Fragment, dictionary: bytes | None = None) -> bytes:
    return decompress(fragment, fragment.data, dictionary)


@given(text=st.binary(max_size=3_000), example=st.none() | st.binary(max_size=3_000))
def test_a_fragment_is_read_as_it_was_written(text: bytes, example: bytes | None) -> None:
    dictionary = None if example is None else dictionary_of(series_of(), example)
    fragment = compress(text, dictionary)
    assert read(fragment, None if dictionary is None else dictionary.content) == text


def test_another_instance_as_dictionary_leaves_little_to_say() -> None:
    text = bytes(range(32, 127)) * 3
    alone, shared = compress(text), compress(text, dictionary_of(series_of(), text))
    assert len(shared.data) < len(alone.data) / 4


def test_a_dictionary_is_named_by_its_content() -> None:
    names = {
        dictionary_of(series_of(number), text).name for number in (1, 2) for text in (TEXT, OTHER)
    }
    assert len(names) == 2


def test_a_dictionary_is_no_longer_than_deflate_looks_back() -> None:
    content = dictionary_of(series_of(), bytes(MAX_DICTIONARY_BYTES) + TEXT).content
    assert len(content) == MAX_DICTIONARY_BYTES
    assert content.endswith(TEXT)


def test_a_wrong_dictionary_is_noticed() -> None:
    """Deflate itself would give another patient's name without an error."""
    fragment = compress(TEXT, dictionary_of(series_of(), TEXT))
    stream = zlib.decompressobj(-15, zdict=OTHER)
    assert stream.decompress(fragment.data) == OTHER
    with pytest.raises(CorruptFragmentError):
        read(fragment, OTHER)


@pytest.mark.parametrize(
    "damage",
    [
        lambda good: replace(good, crc32=good.crc32 ^ 1),
        lambda good: replace(good, raw_length=good.raw_length + 1),
        lambda good: replace(good, raw_length=good.raw_length - 1),
        lambda good: replace(good, data=good.data[:-9]),
        lambda good: replace(good, data=b"\xff" + good.data),
        lambda good: replace(good, data=b""),
    ],
    ids=["crc", "longer", "shorter", "cut", "no deflate", "empty"],
)
def test_damage_is_noticed(damage: Callable[[Fragment], Fragment]) -> None:
    with pytest.raises(CorruptFragmentError):
        read(damage(compress(TEXT)))


def test_a_fragment_that_inflates_without_end_is_not_inflated_further_than_it_says() -> None:
    bomb = zlib.compressobj(9, zlib.DEFLATED, -15)
    data = bomb.compress(bytes(50_000_000)) + bomb.flush()
    peak = _peak_bytes(replace(compress(TEXT), data=data))
    assert peak < 1_000_000


def _peak_bytes(fragment: Fragment) -> int:
    tracemalloc.start()
    try:
        with pytest.raises(CorruptFragmentError):
            read(fragment)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


# --- too large for a row -------------------------------------------------------------------------


@given(pieces=st.lists(st.binary(max_size=2_000), min_size=1, max_size=80))
def test_a_fragment_apart_is_read_as_it_was_written(pieces: list[bytes]) -> None:
    text = PLACEHOLDER.join(pieces)
    fragment, content = compress_apart(text)
    assert fragment.data == b""
    assert decompress(fragment, content, None) == text


@given(
    pieces=st.lists(
        st.binary(max_size=2_000).map(lambda piece: piece.replace(PLACEHOLDER, b"")),
        min_size=1,
        max_size=64,
    )
)
def test_its_pieces_are_those_between_the_places_of_the_base_url(pieces: list[bytes]) -> None:
    text = PLACEHOLDER.join(pieces)
    blocks = pieces_of(compress_apart(text)[1], text)
    assert [b"".join(identity([block])) for block in blocks] == pieces
    assert [(block.raw_length, block.crc32) for block in blocks] == [
        (len(piece), zlib.crc32(piece)) for piece in pieces
    ]


def test_too_many_places_make_no_pieces() -> None:
    text = PLACEHOLDER * 64
    assert pieces_of(compress_apart(text)[1], text) == ()


@pytest.mark.parametrize("content", [b"", b"short", compress(TEXT * 9).data])
def test_content_that_is_not_in_pieces_has_none(content: bytes) -> None:
    assert pieces_of(content, TEXT * 9) == ()


def test_lengths_that_are_damaged_make_no_pieces() -> None:
    text = TEXT + PLACEHOLDER + TEXT
    content = bytearray(compress_apart(text)[1])
    content[-16] ^= 1
    assert pieces_of(bytes(content), text) == ()
    assert pieces_of(compress_apart(text)[1], TEXT) == ()
