"""Bundles of rows, oversized fragments among them."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING

import pytest

from dicomulus.metadata import bundle_parts, gzip_assembly
from dicomulus.metadata.block import ENCODINGS, Block
from dicomulus.metadata.fragment import pieces_of
from dicomulus.metadata.zstd_frame import FrameWriter
from dicomulus.services.bundles import Wanted, build_bundles
from dicomulus.services.fragments import FragmentReader
from tests.support.archives import BASE_URL, small_archive
from tests.support.datasets import ct_instance
from tests.support.encodings import decoded

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    from dicomulus.metadata.block import Encoding
    from dicomulus.metadata.bundle import Bundle
    from dicomulus.ports import InstanceRow
    from tests.support.archives import Small

OTHER_URL = "https://elsewhere.example/dicom-web"


def rows_with_large_ones(folder: Path, *large: int) -> tuple[Small, list[InstanceRow]]:
    """Index five instances of which some are too large for a row."""
    small = small_archive(folder, max_row_fragment_bytes=2_000)
    objects = {}
    for number in range(5):
        noise = random.Random(number).randbytes(20_000).hex()
        more = {"ImageComments": noise} if number in large else {}
        objects[f"{number}"] = ct_instance(instance_number=number, attributes=more)
    rows = list(small.take(objects).indexed)
    assert {index for index, row in enumerate(rows) if row.fragment.pointer} == set(large)
    return small, rows


def built(small: Small, rows: list[InstanceRow], *wanted: Wanted, level: int = 9) -> list[Bundle]:
    reader = FragmentReader(small.ledger.index(small.index), small.cache, queue=small.queue)
    return build_bundles(rows, wanted, version=7, level=level, fragments=reader)


def texts_of(bundle: Bundle) -> list[dict[str, Any]]:
    if bundle.encoding == "zstd":
        answer = decoded(bundle.block.data, "zstd")
        assert len(answer) == bundle.block.raw_length
    else:
        answer = decoded(
            b"".join(gzip_assembly.gzip(gzip_assembly.json_array([bundle.block]))), "gzip"
        )
        assert len(answer) == bundle.block.raw_length + 2
    found: list[dict[str, Any]] = json.loads(answer)
    return found


@pytest.mark.parametrize("large", [(), (0,), (4,), (1, 2), (0, 1, 2, 3, 4)])
def test_bundles_say_what_the_rows_say(tmp_path: Path, large: tuple[int, ...]) -> None:
    small, rows = rows_with_large_ones(tmp_path, *large)
    urls = (BASE_URL, OTHER_URL)
    wanted = [Wanted(url, encoding) for url in urls for encoding in ENCODINGS]
    for kind, bundle in zip(wanted, built(small, rows, *wanted), strict=True):
        assert (bundle.base_url, bundle.encoding) == (kind.base_url, kind.encoding)
        assert (bundle.version, bundle.count) == (7, 5)
        metadata = small.archive.metadata
        assert texts_of(bundle) == [
            each
            for row in rows
            for each in json.loads(metadata.instance(row.instance, base_url=bundle.base_url))
        ]


def test_the_blocks_of_an_oversized_fragment_are_copied(tmp_path: Path) -> None:
    small, rows = rows_with_large_ones(tmp_path, 2)
    (bundle,) = built(small, rows, Wanted(OTHER_URL, "gzip"))
    content = small.cache.get(rows[2].fragment.pointer).data
    text = FragmentReader(small.index, small.cache, queue=small.queue).text(rows[2])
    pieces = pieces_of(content, text)
    assert len(pieces) > 1
    url = gzip_assembly.verbatim(OTHER_URL.encode()).data
    assert url.join(piece.data for piece in pieces) in bundle.block.data


def test_fragments_are_read_once_for_all_bundles(tmp_path: Path) -> None:
    small, rows = rows_with_large_ones(tmp_path, 0, 1, 2, 3, 4)
    wanted = [Wanted(url, each) for url in (BASE_URL, OTHER_URL) for each in ENCODINGS]
    reader = FragmentReader(
        small.index, small.ledger.store(small.cache, "cache"), queue=small.queue
    )
    _, calls = small.ledger.of(
        lambda: build_bundles(rows, wanted, version=1, level=1, fragments=reader)
    )
    assert len(calls) == len(rows)


def test_parts_that_are_held_are_taken_as_they_are(tmp_path: Path) -> None:
    small, rows = rows_with_large_ones(tmp_path, 1)
    marks: dict[Encoding, Block] = {
        "gzip": gzip_assembly.compress([b'{"held":1}'], level=1),
        "zstd": framed(b'[{"held":1}]'),
    }
    for encoding, mark in marks.items():
        (bundle,) = built(small, rows, Wanted(BASE_URL, encoding))
        held = dict.fromkeys(bundle.parts(), mark)
        (again,) = built(small, rows, Wanted(BASE_URL, encoding, held))
        assert texts_of(again) == [{"held": 1}]
        (changed,) = built(small, rows[:-1], Wanted(BASE_URL, encoding, held))
        assert len(texts_of(changed)) == 4


def framed(text: bytes) -> Block:
    writer = FrameWriter(level=1)
    writer.write(text)
    return writer.finish()


def test_a_change_leaves_the_other_parts_as_they_were(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bundle_parts, "MOST_BYTES", 1)
    small, rows = rows_with_large_ones(tmp_path, 1, 3)
    (before,) = built(small, rows, Wanted(BASE_URL, "gzip"))
    assert len(before.extents) == len(rows)
    (after,), calls = small.ledger.of(
        lambda: build_bundles(
            rows[1:],
            [Wanted(BASE_URL, "gzip", before.parts())],
            version=8,
            level=9,
            fragments=FragmentReader(
                small.index, small.ledger.store(small.cache, "cache"), queue=small.queue
            ),
        )
    )
    assert calls == []
    assert texts_of(after) == texts_of(before)[1:]


def test_a_series_without_instances_is_an_empty_array(tmp_path: Path) -> None:
    small = small_archive(tmp_path)
    for bundle in built(small, [], *(Wanted(BASE_URL, each) for each in ENCODINGS)):
        assert (bundle.count, texts_of(bundle)) == (0, [])
