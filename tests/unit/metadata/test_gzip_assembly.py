"""One gzip member out of blocks compressed before (RFC 1952)."""

from __future__ import annotations

import gzip as reference
import json
import zlib
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from dicomulus.metadata.gzip_assembly import compress, gzip, identity, json_array

texts = st.lists(st.binary(max_size=2_000), max_size=6)


@given(parts=st.lists(texts, max_size=5), level=st.integers(1, 9))
def test_a_gzip_of_blocks_is_their_texts_joined(parts: list[list[bytes]], level: int) -> None:
    blocks = [compress(part, level=level) for part in parts]
    assert reference.decompress(b"".join(gzip(blocks))) == b"".join(b"".join(p) for p in parts)


@given(parts=st.lists(texts, min_size=1, max_size=5))
def test_the_gzip_has_a_single_member(parts: list[list[bytes]]) -> None:
    """RFC 1952 §2.2 allows several, of which browsers read the first alone."""
    stream = zlib.decompressobj(wbits=31)
    text = stream.decompress(b"".join(gzip([compress(part, level=6) for part in parts])))
    assert (stream.eof, stream.unused_data) == (True, b"")
    assert text == b"".join(b"".join(part) for part in parts)


@given(parts=st.lists(texts, max_size=5))
def test_identity_is_what_the_gzip_holds(parts: list[list[bytes]]) -> None:
    blocks = [compress(part, level=6) for part in parts]
    assert b"".join(identity(blocks)) == b"".join(b"".join(part) for part in parts)


@given(text=st.binary(max_size=5_000), cuts=st.lists(st.integers(0, 5_000), max_size=5))
def test_a_block_does_not_depend_on_where_its_text_is_cut(text: bytes, cuts: list[int]) -> None:
    ends = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    pieces = [text[a:b] for a, b in pairwise(ends)]
    cut, whole = compress(pieces, level=6), compress([text], level=6)
    assert (cut.raw_length, cut.crc32) == (whole.raw_length, whole.crc32)
    assert b"".join(identity([cut])) == text


def test_identity_of_a_large_text_comes_in_pieces() -> None:
    pieces = list(identity([compress([bytes(3_000_000)], level=9)]))
    assert b"".join(pieces) == bytes(3_000_000)
    assert max(map(len, pieces)) <= 262_144


@given(members=st.lists(st.lists(st.integers(), min_size=1), max_size=4))
def test_members_of_blocks_stand_in_one_array(members: list[list[int]]) -> None:
    blocks = [compress([",".join(map(str, each)).encode()], level=1) for each in members]
    text = reference.decompress(b"".join(gzip(json_array(blocks))))
    assert json.loads(text) == [number for each in members for number in each]
