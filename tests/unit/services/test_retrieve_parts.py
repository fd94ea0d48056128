"""A part of what is stored is read as that part, whatever lies around it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.encaps import encapsulate

from dicomulus.dicom.frame_table import EncapsulatedFrames, NativeFrames
from tests.support.archives import small_archive
from tests.support.datasets import (
    DEFLATED,
    EXPLICIT_BIG_ENDIAN,
    EXPLICIT_LITTLE_ENDIAN,
    IMPLICIT_LITTLE_ENDIAN,
    JPEG_BASELINE,
    code_stream,
    ct_dataset,
    ct_instance,
    encode,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from dicomulus.dicom.frame_table import FrameTable
    from dicomulus.ports import InstanceRow
    from dicomulus.services.content import Content
    from tests.support.archives import Small

CUTS = [(0, 1), (0, 7), (3, 5), (1, 200), (97, 64), (100, 150)]


@pytest.fixture
def small(tmp_path: Path) -> Small:
    return small_archive(tmp_path)


def taken(small: Small, content: bytes) -> InstanceRow:
    (row,) = small.take({"a": content}).indexed
    return row


def bytes_of(content: Content) -> bytes:
    read = b"".join(content.chunks)
    assert len(read) == content.length
    return read


def parts_agree(give: Callable[[], Content]) -> None:
    whole = bytes_of(give())
    for start, length in CUTS:
        size = min(length, len(whole) - start)
        assert bytes_of(give().part(start, size)) == whole[start : start + size]


# --- what is in a part ---------------------------------------------------------------------------


@pytest.mark.parametrize("bits", [1, 8, 16, 32])
@pytest.mark.parametrize(
    "syntax", [IMPLICIT_LITTLE_ENDIAN, EXPLICIT_LITTLE_ENDIAN, EXPLICIT_BIG_ENDIAN, DEFLATED]
)
def test_parts_of_native_frames_and_pixel_data(small: Small, syntax: str, bits: int) -> None:
    content = ct_instance(
        frames=3, rows=61, columns=51, bits_allocated=bits, transfer_syntax=syntax
    )
    row = taken(small, content)
    parts_agree(lambda: small.archive.retrieve.frames_of(row, [2]).contents[0])
    parts_agree(lambda: small.archive.retrieve.bulk_data_of(row, ["7FE00010"]).contents[0])


@pytest.mark.parametrize("fragments", [1, 2, 5])
def test_parts_of_compressed_frames(small: Small, fragments: int) -> None:
    row = taken(small, ct_instance(frames=3, transfer_syntax=JPEG_BASELINE, fragments=fragments))
    parts_agree(lambda: small.archive.retrieve.frames_of(row, [2]).contents[0])


def test_parts_of_objects(small: Small) -> None:
    row = taken(small, ct_instance())
    parts_agree(lambda: small.archive.retrieve.stored(row))


def test_what_is_made_anew_has_no_parts(small: Small) -> None:
    row = taken(small, ct_instance(transfer_syntax=IMPLICIT_LITTLE_ENDIAN))
    content = small.archive.retrieve.reencoded(row)
    assert content.read is None
    with pytest.raises(ValueError, match="only the whole"):
        content.part(0, 1)


def _native(data: st.DataObject) -> tuple[FrameTable, bytes]:
    frames, bits = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 200))
    unit = data.draw(st.sampled_from([1, 2, 4, 8]))
    length = -(-frames * bits // 8)
    table = NativeFrames(5, length, bits, frames, unit)
    return table, data.draw(st.binary(min_size=5 + length, max_size=5 + length))


@given(data=st.data())
def test_a_part_of_a_native_frame_is_that_part_of_the_whole(data: st.DataObject) -> None:
    table, content = _native(data)
    assert isinstance(table, NativeFrames)
    number = data.draw(st.integers(1, table.number_of_frames))
    size = table.frame_length(number)
    where = table.part_range(number, 0, size)
    read = content[where.offset : where.offset + where.length]
    frame = table.part_bytes(number, 0, size, read)
    start = data.draw(st.integers(0, len(frame) - 1))
    length = data.draw(st.integers(1, len(frame) - start))
    where = table.part_range(number, start, length)
    read = content[where.offset : where.offset + where.length]
    assert table.part_bytes(number, start, length, read) == frame[start : start + length]


@given(lengths=st.lists(st.integers(0, 9), min_size=1, max_size=8), data=st.data())
def test_the_pieces_of_a_part_are_those_bytes_of_its_fragments(
    lengths: list[int], data: st.DataObject
) -> None:
    table = EncapsulatedFrames.of(3, lengths, [len(lengths)])
    size = 3 + sum(lengths) + 8 * len(lengths)
    content = data.draw(st.binary(min_size=size, max_size=size))
    frame = b"".join(content[f.offset : f.offset + f.length] for f in table.fragments(1))
    start = data.draw(st.integers(0, len(frame)))
    length = data.draw(st.integers(0, len(frame) - start))
    pieces = [content[p.offset : p.offset + p.length] for p in table.pieces(1, start, length)]
    assert b"".join(pieces) == frame[start : start + length]
    assert b"" not in pieces


# --- what is read for it -------------------------------------------------------------------------


def reads_of(small: Small, content: Content) -> list[int]:
    """Give the size of each read of the object while a content is taken."""
    _, calls = small.ledger.of(lambda: bytes_of(content))
    return [call.object_bytes for call in calls if call.object_bytes]


def test_nothing_is_read_before_it_is_taken(small: Small) -> None:
    row = taken(small, ct_instance(frames=10))
    _, calls = small.ledger.of(lambda: small.archive.retrieve.frames_of(row, [7]))
    assert calls == []


def test_a_part_is_read_as_that_part(small: Small) -> None:
    row = taken(small, ct_instance(frames=10, rows=64, columns=64))
    frame = small.archive.retrieve.frames_of(row, [7]).contents[0]
    value = small.archive.retrieve.bulk_data_of(row, ["7FE00010"]).contents[0]
    for content in (frame, value, small.archive.retrieve.stored(row)):
        assert reads_of(small, content.part(1000, 500)) == [500]


def _in_fragments(length: int, fragment: int) -> bytes:
    stream = code_stream(1, length=length)
    pieces = [stream[at : at + fragment] for at in range(0, len(stream), fragment)]
    dataset = ct_dataset()
    # The fragments of one frame: pydicom would take them for a frame each.
    joined = encapsulate(pieces, has_bot=False)
    dataset.PixelData = joined
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    return encode(dataset, transfer_syntax=JPEG_BASELINE)


def test_a_long_frame_of_many_fragments_comes_in_pieces(small: Small) -> None:
    row = taken(small, _in_fragments(3_000_000, 70_000))
    (content,) = small.archive.retrieve.frames_of(row, [1]).contents
    chunks = list(content.chunks)
    assert max(map(len, chunks)) <= 1_048_576
    assert b"".join(chunks) == code_stream(1, length=3_000_000)
    assert (
        bytes_of(content.part(1_999_990, 20)) == code_stream(1, length=3_000_000)[1_999_990:][:20]
    )


def test_a_long_frame_whose_bytes_change_places_comes_in_pieces(small: Small) -> None:
    content = ct_instance(
        frames=2, rows=801, columns=801, transfer_syntax=EXPLICIT_BIG_ENDIAN, bits_allocated=16
    )
    row = taken(small, content)
    frame = small.archive.retrieve.frames_of(row, [2]).contents[0]
    chunks = list(frame.chunks)
    assert len(chunks) == 2
    assert max(map(len, chunks)) <= 1_048_576
    whole = b"".join(chunks)
    assert bytes_of(frame.part(1_048_570, 20)) == whole[1_048_570:1_048_590]
