"""Bundles are read as they were written, or not at all."""

from __future__ import annotations

import json
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicomulus.dicom.resource import SeriesResource
from dicomulus.errors import CorruptFragmentError
from dicomulus.metadata.bundle import (
    TAG_BYTES,
    build_bundle,
    bundle_key,
    bundle_prefix,
    format_bundle,
    parse_base_url,
    parse_bundle,
)
from dicomulus.metadata.gzip_assembly import identity, json_array
from tests.support.archives import BASE_URL
from tests.support.builders import series_of

urls = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=200)
INSTANCE = b'{"00081190":{"vr":"UR","Value":["\x01/studies/1.2"]}}'
BUNDLE = format_bundle(build_bundle([INSTANCE, INSTANCE], version=7, base_url=BASE_URL))


@given(
    texts=st.lists(st.binary(max_size=300), max_size=5),
    version=st.integers(0, 2**64 - 1),
    base_url=urls,
)
def test_a_bundle_is_read_as_it_was_written(
    texts: list[bytes], version: int, base_url: str
) -> None:
    bundle = build_bundle(texts, version=version, base_url=base_url)
    written = format_bundle(bundle)
    assert parse_bundle(written) == bundle
    assert parse_base_url(written[:TAG_BYTES]) == base_url
    assert (bundle.version, bundle.count) == (version, len(texts))


def test_a_bundle_holds_its_instances_with_the_base_url() -> None:
    bundle = parse_bundle(BUNDLE)
    instances = json.loads(b"".join(identity(json_array([bundle.block]))))
    assert [each["00081190"]["Value"] for each in instances] == [[BASE_URL + "/studies/1.2"]] * 2


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
    "head",
    [b"GIF8" + BUNDLE[4:], BUNDLE[:4] + struct.pack("<H", 1) + BUNDLE[6:], b"", BUNDLE[:44]],
    ids=["magic", "revision", "empty", "within the base URL"],
)
def test_the_base_url_of_something_else_is_not_read(head: bytes) -> None:
    with pytest.raises(CorruptFragmentError):
        parse_base_url(head)


def test_every_series_and_base_url_has_a_key_of_its_own() -> None:
    series = [
        series_of(1, 1),
        series_of(1, 2),
        SeriesResource("1.2.1/1", "2"),
        series_of("..", "."),
    ]
    keys = {bundle_key(each, url) for each in series for url in ("http://a", "http://b")}
    assert len(keys) == 8
    assert all(key.startswith(tuple(map(bundle_prefix, series))) for key in keys)
    assert not any(".." in key.split("/") for key in keys)
