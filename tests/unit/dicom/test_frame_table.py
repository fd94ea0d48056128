from __future__ import annotations

import io
import random
import struct
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.encaps import generate_frames

from dicomulus.dicom.byte_source import RangedSource, whole
from dicomulus.dicom.dataset_json import ConvertedInstance, convert
from dicomulus.dicom.encapsulation import scan_fragments
from dicomulus.dicom.frame_table import (
    EncapsulatedFrames,
    FrameTable,
    NativeFrames,
    decode_frame_table,
)
from dicomulus.dicom.part10 import data_set_source
from dicomulus.errors import CorruptFragmentError, FrameNotFoundError
from tests.unit.dicom.encoding import (
    BIG_ENDIAN,
    EXPLICIT,
    SEQUENCE_END,
    UNDEFINED,
    encode_element,
    encode_fragments,
    encode_item,
    encode_object,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dicomulus.dicom.byte_source import ByteSource
    from dicomulus.dicom.part10 import Encoding

_JPEG: Final = "1.2.840.10008.1.2.4.50"
_RLE: Final = "1.2.840.10008.1.2.5"
_MPEG4: Final = "1.2.840.10008.1.2.4.102"
_BIG_ENDIAN_UID: Final = "1.2.840.10008.1.2.2"

_PYDICOM_FILES: Final = Path(pydicom.__file__).parent / "data" / "test_files"


def _image(
    *,
    rows: int,
    columns: int,
    bits: int = 8,
    samples: int = 1,
    frames: int | None = None,
    photometric: str = "MONOCHROME2",
    encoding: Encoding = EXPLICIT,
) -> list[bytes]:
    order = ">" if encoding.big_endian else "<"

    def number(tag: int, value: int) -> bytes:
        return encode_element(tag, "US", struct.pack(f"{order}H", value), encoding=encoding)

    name = photometric.encode() + b" " * (len(photometric) % 2)
    elements = [
        number(0x00280002, samples),
        encode_element(0x00280004, "CS", name, encoding=encoding),
    ]
    if frames is not None:
        count = str(frames).encode()
        elements.append(
            encode_element(0x00280008, "IS", count + b" " * (len(count) % 2), encoding=encoding)
        )
    return [
        *elements,
        number(0x00280010, rows),
        number(0x00280011, columns),
        number(0x00280100, bits),
    ]


def _encapsulated(
    fragments: Sequence[bytes],
    *,
    frames: int | None,
    table: Sequence[int] = (),
    syntax: str = _JPEG,
    before: bytes = b"",
    end: bytes = SEQUENCE_END,
) -> bytes:
    value = encode_fragments(fragments, table=table, end=end)
    return encode_object(
        *_image(rows=2, columns=2, frames=frames),
        before,
        encode_element(0x7FE00010, "OB", value, length=UNDEFINED),
        transfer_syntax_uid=syntax,
    )


def _frames(content: bytes, table: FrameTable) -> list[bytes]:
    source = data_set_source(whole(content), convert(whole(content)).header)
    frames = [_frame(source, table, n + 1) for n in range(table.number_of_frames)]
    assert [table.frame_length(n + 1) for n in range(len(frames))] == [len(f) for f in frames]
    return frames


def _frame(source: ByteSource, table: FrameTable, number: int) -> bytes:
    length = table.frame_length(number)
    if isinstance(table, NativeFrames):
        read = source.read(*table.part_range(number, 0, length))
        return table.part_bytes(number, 0, length, read)
    return b"".join(source.read(*piece) for piece in table.pieces(number, 0, length))


def _read(content: bytes) -> tuple[ConvertedInstance, list[bytes]]:
    converted = convert(whole(content))
    table = converted.frame_table
    if table is None:
        return converted, []
    assert decode_frame_table(table.encode()) == table
    return converted, _frames(content, table)


# --- native ----------------------------------------------------------------------------------------


def test_native_frames_follow_each_other() -> None:
    pixels = encode_element(0x7FE00010, "OW", bytes(range(24)))
    converted, frames = _read(encode_object(*_image(rows=2, columns=2, bits=16, frames=3), pixels))
    assert frames == [bytes(range(8)), bytes(range(8, 16)), bytes(range(16, 24))]
    assert converted.warnings == ()


def test_without_number_of_frames_there_is_one() -> None:
    pixels = encode_element(0x7FE00010, "OB", b"abcdef")
    _, frames = _read(encode_object(*_image(rows=1, columns=5), pixels))
    assert frames == [b"abcde"]


def test_frames_that_are_not_there_are_not_promised() -> None:
    pixels = encode_element(0x7FE00010, "OB", b"abcdef")
    converted, frames = _read(encode_object(*_image(rows=1, columns=4, frames=1_000_000), pixels))
    assert frames == [b"abcd"]
    assert converted.warnings == ("7FE00010: 1000000 frames declared, 1 held",)


@given(
    rows=st.integers(1, 9),
    columns=st.integers(1, 9),
    frames=st.integers(1, 6),
    seed=st.integers(0, 2**32),
)
def test_frames_of_single_bits_begin_at_their_first_pixel(
    rows: int, columns: int, frames: int, seed: int
) -> None:
    """PS3.5 §8.1.1, Annex D: bits are packed without gaps, also between frames."""
    bits = [random.Random(seed).randrange(2) for _ in range(rows * columns * frames)]
    packed = sum(bit << place for place, bit in enumerate(bits))
    value = packed.to_bytes(-(-len(bits) // 16) * 2, "little")
    content = encode_object(
        *_image(rows=rows, columns=columns, bits=1, frames=frames),
        encode_element(0x7FE00010, "OW", value),
    )
    _, read = _read(content)
    for index, frame in enumerate(read):
        wanted = bits[index * rows * columns : (index + 1) * rows * columns]
        unpacked = int.from_bytes(frame, "little")
        assert [unpacked >> place & 1 for place in range(len(wanted))] == wanted
        assert unpacked >> len(wanted) == 0
    assert len(read) == frames


@pytest.mark.parametrize(
    ("vr", "bits", "written", "expected"),
    [
        ("OB", 8, b"abcdef", [b"abc", b"def"]),
        ("OW", 8, b"badcfe", [b"abc", b"def"]),
        ("OW", 16, b"badcfehgjilk", [b"abcdef", b"ghijkl"]),
        ("OW", 32, b"dcbahgfelkjiponmtsrqxwvu", [b"abcdefghijkl", b"mnopqrstuvwx"]),
    ],
)
def test_big_endian_frames_are_given_in_little_endian(
    vr: str, bits: int, written: bytes, expected: list[bytes]
) -> None:
    image = _image(rows=1, columns=3, bits=bits, frames=2, encoding=BIG_ENDIAN)
    pixels = encode_element(0x7FE00010, vr, written, encoding=BIG_ENDIAN)
    content = encode_object(
        *image, pixels, transfer_syntax_uid=_BIG_ENDIAN_UID, encoding=BIG_ENDIAN
    )
    assert _read(content)[1] == expected


@pytest.mark.parametrize(("tag", "vr", "bits"), [(0x7FE00008, "OF", 32), (0x7FE00009, "OD", 64)])
def test_float_pixel_data_has_frames(tag: int, vr: str, bits: int) -> None:
    value = bytes(range(bits // 4))
    content = encode_object(
        *_image(rows=1, columns=1, bits=bits, frames=2), encode_element(tag, vr, value)
    )
    assert _read(content)[1] == [value[: bits // 8], value[bits // 8 :]]


@pytest.mark.parametrize(("length", "expected"), [(16, [8, 8]), (24, [12, 12])])
def test_subsampled_colour_is_believed_when_the_length_fits(
    length: int, expected: list[int]
) -> None:
    image = _image(rows=2, columns=2, samples=3, frames=2, photometric="YBR_FULL_422")
    content = encode_object(*image, encode_element(0x7FE00010, "OB", bytes(length)))
    assert list(map(len, _read(content)[1])) == expected


def test_an_image_without_a_size_has_no_frames() -> None:
    converted, frames = _read(encode_object(encode_element(0x7FE00010, "OB", b"ab")))
    assert (converted.frame_table, frames) == (None, [])
    assert converted.warnings == ("7FE00010: rows, columns or bits allocated are missing",)


def test_native_data_under_a_compressed_syntax_is_recognised_by_its_length() -> None:
    pixels = encode_element(0x7FE00010, "OB", b"abcd")
    image = _image(rows=2, columns=2)
    converted, frames = _read(encode_object(*image, pixels, transfer_syntax_uid=_JPEG))
    assert frames == [b"abcd"]
    assert converted.warnings == ("7FE00010: not encapsulated as the transfer syntax says",)
    other = encode_object(*_image(rows=3, columns=3), pixels, transfer_syntax_uid=_JPEG)
    assert _read(other)[0].frame_table is None


# --- encapsulated ----------------------------------------------------------------------------------

_SOI, _EOI = b"\xff\xd8\xff", b"\xff\xd9"


def test_one_frame_is_all_fragments() -> None:
    _, frames = _read(_encapsulated([b"ab", b"cdef", b"gh"], frames=None))
    assert frames == [b"abcdefgh"]


def test_as_many_fragments_as_frames_are_one_each() -> None:
    _, frames = _read(_encapsulated([b"ab", b"cdef", b"gh"], frames=3, syntax=_RLE))
    assert frames == [b"ab", b"cdef", b"gh"]


def test_the_basic_offset_table_tells_frames_apart() -> None:
    converted, frames = _read(_encapsulated([b"ab", b"cdef", b"gh"], frames=2, table=[0, 22]))
    assert frames == [b"abcdef", b"gh"]
    assert converted.warnings == ()


def test_the_extended_offset_table_tells_frames_apart() -> None:
    before = encode_element(0x7FE00001, "OV", struct.pack("<2Q", 0, 10))
    before += encode_element(0x7FE00002, "OV", struct.pack("<2Q", 2, 6))
    _, frames = _read(_encapsulated([b"ab", b"cdef", b"gh"], frames=2, before=before))
    assert frames == [b"ab", b"cdefgh"]


@pytest.mark.parametrize("table", [[0, 11], [0, 0], [10, 22], [0], [0, 10, 22], [0, 4_000_000_000]])
def test_an_offset_table_that_contradicts_the_items_is_ignored(table: list[int]) -> None:
    fragments = [_SOI + b"1", b"2" + _EOI + b"\0", _SOI + b"3" + _EOI]
    converted, frames = _read(_encapsulated(fragments, frames=2, table=table))
    assert frames == [_SOI + b"12" + _EOI + b"\0", _SOI + b"3" + _EOI]
    assert converted.warnings == ("7FE00010: the offset table is wrong and ignored",)


def test_frames_are_told_apart_by_where_code_streams_end_and_begin() -> None:
    # The second fragment looks like the beginning of a stream, but nothing ended before it.
    fragments = [_SOI + b"1", _SOI + b"2", b"3" + _EOI + b"\0", _SOI + b"4" + _EOI]
    converted, frames = _read(_encapsulated(fragments, frames=2))
    assert frames == [b"".join(fragments[:3]), fragments[3]]
    assert converted.warnings == ()


def test_jpeg_2000_streams_are_told_apart() -> None:
    start = b"\xff\x4f\xff\x51"
    fragments = [start + b"1", b"2" + _EOI + b"\0", start + b"3" + _EOI + b"\0"]
    _, frames = _read(_encapsulated(fragments, frames=2, syntax="1.2.840.10008.1.2.4.90"))
    assert frames == [b"".join(fragments[:2]), fragments[2]]


def test_whole_streams_are_frames_even_if_another_number_is_declared() -> None:
    fragments = [_SOI + b"1" + _EOI, _SOI + b"2" + _EOI]
    converted, frames = _read(_encapsulated(fragments, frames=5))
    assert frames == fragments
    assert converted.warnings == ("00280008: 5 frames declared, 2 found",)


def test_frames_that_nothing_tells_apart_are_not_guessed() -> None:
    converted, frames = _read(_encapsulated([b"ab", b"cd", b"ef"], frames=2, syntax=_RLE))
    assert frames == []
    assert converted.warnings == ("7FE00010: nothing tells where its frames begin",)
    table = converted.frame_table
    assert isinstance(table, EncapsulatedFrames)
    assert table.value_length == 3 * 10


def test_video_is_one_stream_for_all_frames() -> None:
    _, frames = _read(_encapsulated([b"ab", b"cd"], frames=250, syntax=_MPEG4))
    assert frames == [b"abcd"]


def test_a_missing_delimiter_loses_nothing() -> None:
    converted, frames = _read(_encapsulated([b"ab", b"cd"], frames=2, end=b""))
    assert frames == [b"ab", b"cd"]
    assert not converted.damaged


def test_a_fragment_cut_short_is_damage() -> None:
    converted, frames = _read(_encapsulated([b"ab", b"cdefgh"], frames=2)[:-12])
    assert frames == [b"ab", b"cd"]
    assert converted.damaged
    assert converted.warnings == ("7FE00010: the object ends within a fragment",)


def test_elements_after_the_fragments_are_part_of_the_metadata() -> None:
    content = _encapsulated([b"ab"], frames=1) + encode_element(0xFFFCFFFC, "OB", bytes(4))
    assert convert(whole(content)).attributes["FFFCFFFC"] == {
        "vr": "OB",
        "InlineBinary": "AAAAAA==",
    }


def test_no_fragments_are_no_frames() -> None:
    converted, _ = _read(_encapsulated([], frames=1))
    assert converted.frame_table is None
    assert converted.warnings == ("7FE00010: no fragments",)


def test_undefined_length_without_items_is_damage() -> None:
    pixels = encode_element(0x7FE00010, "OW", b"abcdefghijklmnop", length=UNDEFINED)
    converted, _ = _read(encode_object(*_image(rows=2, columns=2), pixels))
    assert converted.damaged
    assert converted.frame_table is None


# --- reads -----------------------------------------------------------------------------------------


def _count_reads(content: bytes, *, near_bytes: int = 1_048_576) -> tuple[int, int]:
    reads: list[int] = []

    def fetch(start: int, length: int) -> bytes:
        reads.append(length)
        return content[start : start + length]

    source = RangedSource(fetch, len(content), near_bytes=near_bytes)
    assert convert(source).frame_table == convert(whole(content)).frame_table
    return len(reads), sum(reads)


def test_a_native_image_takes_one_read() -> None:
    pixels = encode_element(0x7FE00010, "OW", bytes(2 * 1000 * 1000))
    content = encode_object(*_image(rows=1000, columns=1000, bits=16), pixels)
    assert _count_reads(content) == (1, 65_536)


def test_a_compressed_image_of_one_frame_takes_one_read() -> None:
    content = _encapsulated([bytes(2_000_000)], frames=1)
    assert _count_reads(content) == (1, 65_536)


def test_small_fragments_share_reads() -> None:
    content = _encapsulated([bytes(10_000)] * 2000, frames=2000)
    reads, _ = _count_reads(content)
    assert reads <= 10


def test_large_fragments_are_passed_over() -> None:
    content = _encapsulated([bytes(3_000_000)] * 10, frames=10)
    reads, size = _count_reads(content)
    assert reads <= 12
    assert size < 200_000


# --- stored form -----------------------------------------------------------------------------------


@given(
    offset=st.integers(0, 2**40),
    frames=st.integers(0, 2**20),
    frame_bits=st.integers(1, 2**36),
    unit=st.sampled_from([1, 2, 4, 8]),
    deflated=st.booleans(),
)
def test_a_native_table_is_small_and_comes_back(
    offset: int, frames: int, frame_bits: int, unit: int, deflated: bool
) -> None:
    length = -(-frames * frame_bits // 8)
    table = NativeFrames(offset, length, frame_bits, frames, unit, deflated)
    assert decode_frame_table(table.encode()) == table
    if length < 2**35:
        assert len(table.encode()) < 24


@given(
    offset=st.integers(0, 2**40),
    lengths=st.lists(st.integers(0, 2**33), min_size=1, max_size=60),
    data=st.data(),
)
def test_an_encapsulated_table_comes_back(
    offset: int, lengths: list[int], data: st.DataObject
) -> None:
    cuts = data.draw(st.sets(st.integers(1, len(lengths))))
    edges = sorted({0, len(lengths), *cuts})
    counts = tuple(after - before for before, after in pairwise(edges))
    table = EncapsulatedFrames.of(offset, tuple(lengths), counts)
    assert decode_frame_table(table.encode()) == table
    numbers = range(1, len(counts) + 1)
    assert sum(map(table.frame_length, numbers)) == sum(lengths)


def test_a_table_of_one_frame_is_small() -> None:
    assert len(EncapsulatedFrames.of(2**33, (2**33,), (1,)).encode()) < 24
    assert len(EncapsulatedFrames.of(5_000_000, (800_000,), (1,)).encode()) < 24


def test_a_table_of_many_frames_takes_about_three_bytes_each() -> None:
    sizes = random.Random(7)
    lengths = tuple(2 * sizes.randrange(20_000, 80_000) for _ in range(20_000))
    table = EncapsulatedFrames.of(5000, lengths, (1,) * len(lengths))
    assert len(table.encode()) < 3 * len(lengths)
    assert decode_frame_table(table.encode()) == table


@given(data=st.binary(max_size=60))
def test_other_bytes_are_no_table(data: bytes) -> None:
    for candidate in (data, b"\1\0" + data, b"\1\1" + data, b"\1\5" + data):
        try:
            table = decode_frame_table(candidate)
        except CorruptFragmentError:
            continue
        assert table.number_of_frames >= 0


@pytest.mark.parametrize("number", [-1, 0, 4])
@pytest.mark.parametrize(
    "table",
    [NativeFrames(0, 3, 8, 3), EncapsulatedFrames.of(0, (1, 1, 1), (1, 1, 1))],
    ids=["native", "encapsulated"],
)
def test_other_frame_numbers_are_not_found(table: FrameTable, number: int) -> None:
    with pytest.raises(FrameNotFoundError):
        table.pieces(number, 0, 1)


# --- hostile bytes ---------------------------------------------------------------------------------


@given(value=st.binary(max_size=300))
def test_fragments_of_any_bytes_lie_within_the_object(value: bytes) -> None:
    for content in (value, encode_item(b"") + value, encode_item(b"") + encode_item(b"ab") + value):
        scan = scan_fragments(whole(content), 0)
        assert len(scan.lengths) == len(scan.begins_stream) == len(scan.ends_stream)
        assert scan.offset + sum(scan.lengths) + 8 * len(scan.lengths) <= len(content)
        assert scan.end <= len(content)


# --- real files ------------------------------------------------------------------------------------

_TWINS: Final = {
    "MR_small_bigendian.dcm": "MR_small.dcm",
    "MR_small_expb.dcm": "MR_small.dcm",
    "SC_rgb_small_odd_big_endian.dcm": "SC_rgb_small_odd.dcm",
    "liver_expb_1frame.dcm": "liver_1frame.dcm",
    "rtdose_expb.dcm": "rtdose.dcm",
    "rtdose_expb_1frame.dcm": "rtdose_1frame.dcm",
}
"""Big endian files whose pixels are those of a little endian one."""


@pytest.mark.parametrize("name", list(_TWINS))
def test_big_endian_files_give_the_frames_of_their_twins(name: str) -> None:
    ours = _read((_PYDICOM_FILES / name).read_bytes())[1]
    assert ours == _read((_PYDICOM_FILES / _TWINS[name]).read_bytes())[1]
    assert ours


@pytest.mark.parametrize(
    "name", sorted(path.name for path in _PYDICOM_FILES.glob("*.dcm") if path.name not in _TWINS)
)
def test_frames_of_files_are_those_that_pydicom_finds(name: str) -> None:
    content = (_PYDICOM_FILES / name).read_bytes()
    dataset = pydicom.dcmread(io.BytesIO(content), force=True)
    if "PixelData" not in dataset or "StudyInstanceUID" not in dataset:
        pytest.skip("no image, or no instance")
    if name == "MR_truncated.dcm":
        pytest.skip("its only frame is cut short")
    number = int(dataset.get("NumberOfFrames") or 1) if name != "badVR.dcm" else 1
    converted, ours = _read(content)
    if converted.header.pixel is not None and converted.header.pixel.length is None:
        theirs = list(generate_frames(dataset.PixelData, number_of_frames=number))
    else:
        step = len(dataset.PixelData) // number
        theirs = [dataset.PixelData[i * step : (i + 1) * step] for i in range(number)]
        theirs = [frame[: len(our)] for our, frame in zip(ours, theirs, strict=True)]
    assert ours == theirs
