"""Bundles are read as they were written, or not at all."""

from __future__ import annotations

import gzip as reference
import json
import struct
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicomulus.dicom.resource import SeriesResource
from dicomulus.errors import CorruptFragmentError
from dicomulus.metadata.block import ENCODINGS, Block
from dicomulus.metadata.bundle import (
    base_of,
    bundle_key,
    bundle_prefix,
    format_bundle,
    make_bundle,
    parse_bundle,
)
from dicomulus.metadata.gzip_assembly import compress, gzip, identity, json_array
from tests.support.archives import BASE_URL
from tests.support.builders import series_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dicomulus.metadata.block import Encoding
    from dicomulus.metadata.bundle import Bundle

urls = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=200)
encodings = pytest.mark.parametrize("encoding", ENCODINGS)


def bundle_of(
    texts: Sequence[bytes], encoding: Encoding, *, version: int = 7, base_url: str = BASE_URL
) -> Bundle:
    """Give a bundle of one part a text, for zstd of a single part that is no frame."""
    parts = [(bytes([number]) * 16, compress([text], level=1)) for number, text in enumerate(texts)]
    if encoding == "zstd":
        parts = [(bytes(16), Block(b"".join(texts), 1, 2))]
    return make_bundle(
        parts, version=version, base_url=base_url, encoding=encoding, count=len(texts)
    )


BUNDLE = format_bundle(bundle_of([b"{}", b'{"a":1}'], "gzip"))


@given(
    texts=st.lists(st.binary(max_size=300), max_size=5),
    encoding=st.sampled_from(ENCODINGS),
    version=st.integers(0, 2**64 - 1),
    base_url=urls,
)
def test_a_bundle_is_read_as_it_was_written(
    texts: list[bytes], encoding: Encoding, version: int, base_url: str
) -> None:
    bundle = bundle_of(texts, encoding, version=version, base_url=base_url)
    assert parse_bundle(format_bundle(bundle)) == bundle
    assert (bundle.version, bundle.count, bundle.base_url) == (version, len(texts), base_url)


@given(texts=st.lists(st.binary(max_size=300), max_size=5))
def test_each_part_of_a_bundle_can_be_taken_out(texts: list[bytes]) -> None:
    """And put into another bundle, where it says the same."""
    parts = bundle_of(texts, "gzip").parts()
    assert [bytes([number]) * 16 for number in range(len(texts))] == list(parts)
    for block, text in zip(parts.values(), texts, strict=True):
        assert b"".join(identity([block])) == text
        assert block.raw_length == len(text)


def test_the_part_of_a_zstd_bundle_is_all_of_it() -> None:
    bundle = parse_bundle(format_bundle(bundle_of([b"a", b"b"], "zstd")))
    assert bundle.parts() == {bytes(16): Block(b"ab", 1, 2)}
    assert bundle.block.data == b"ab"


def test_a_bundle_holds_its_instances_with_commas_between() -> None:
    bundle = parse_bundle(format_bundle(bundle_of([b"1,2", b"3", b"4"], "gzip")))
    answer = reference.decompress(b"".join(gzip(json_array([bundle.block]))))
    assert json.loads(answer) == [1, 2, 3, 4]
    assert bundle.block.raw_length == 7


@pytest.mark.parametrize("length", [0, 3, 20, 39, 60, len(BUNDLE) - 5, len(BUNDLE) - 1])
def test_a_bundle_cut_anywhere_is_refused(length: int) -> None:
    with pytest.raises(CorruptFragmentError):
        parse_bundle(BUNDLE[:length])


@given(position=st.integers(0, len(BUNDLE) - 1), bit=st.integers(0, 7))
def test_a_changed_bit_is_noticed(position: int, bit: int) -> None:
    damaged = bytearray(BUNDLE)
    damaged[position] ^= 1 << bit
    with pytest.raises(CorruptFragmentError):
        parse_bundle(bytes(damaged))


@pytest.mark.parametrize(
    "other",
    [b"GIF8" + BUNDLE[4:], BUNDLE[:4] + struct.pack("<H", 2) + BUNDLE[6:]],
    ids=["magic", "revision"],
)
def test_something_else_is_no_bundle(other: bytes) -> None:
    with pytest.raises(CorruptFragmentError):
        parse_bundle(other)


@encodings
def test_a_bundle_is_read_and_sent_without_a_zstd_library(encoding: Encoding) -> None:
    bundle = format_bundle(bundle_of([b"{}"], encoding))
    program = f"""if True:
        import sys
        from dicomulus.metadata.bundle import parse_bundle
        from dicomulus.http_server import application
        from dicomulus.services.metadata import Metadata
        parse_bundle({bundle!r})
        sys.exit(any("zstd" in name.split(".") for name in sys.modules))
    """
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_every_series_base_url_and_encoding_has_a_key_of_its_own() -> None:
    series = [
        series_of(1, 1),
        series_of(1, 2),
        SeriesResource("1.2.1/1", "2"),
        series_of("..", "."),
    ]
    urls = ("http://a", "http://b")
    keys = {bundle_key(each, url, kind) for each in series for url in urls for kind in ENCODINGS}
    assert len(keys) == 16
    assert all(key.startswith(tuple(map(bundle_prefix, series))) for key in keys)
    assert not any(".." in key.split("/") for key in keys)
    assert {base_of(key) for key in keys} == {
        base_of(bundle_key(series_of(), url, kind)) for url in urls for kind in ENCODINGS
    }
    assert len({base_of(key) for key in keys}) == 2
