"""Objects and frames in other transfer syntaxes: what the corpus has no example of (PS3.18 §8.7.3)."""

from __future__ import annotations

import errno
import struct
import sys
from io import BytesIO
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, generate_frames

from dicomulus.errors import (
    NotAcceptableError,
    ObjectChangedError,
    ResponseTooLargeError,
    StorageFullError,
)
from dicomulus.imaging import decoder_process
from dicomulus.services import transcode
from dicomulus.wire.media_types import parse_media_type
from dicomulus.wire.multipart import read_parts
from tests.support.archives import body_of, small_archive
from tests.support.datasets import (
    EXPLICIT_LITTLE_ENDIAN,
    JPEG_BASELINE,
    RLE,
    ct_dataset,
    ct_instance,
    encode,
    native_frame,
    rle_frame,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dicomulus.ports import InstanceRow
    from tests.support.archives import Small

JPEG_LS: Final = "1.2.840.10008.1.2.4.80"
DEFLATED_FRAMES: Final = "1.2.840.10008.1.2.8.1"
PLAIN: Final = f"application/dicom; transfer-syntax={EXPLICIT_LITTLE_ENDIAN}"
PLAIN_FRAMES: Final = f"application/octet-stream; transfer-syntax={EXPLICIT_LITTLE_ENDIAN}"
OBJECTS: Final = 'multipart/related; type="application/dicom"'


@pytest.fixture(scope="module", autouse=True)
def decoder_ends() -> Iterator[None]:
    yield
    decoder_process.close()


@pytest.fixture
def small(tmp_path: Path) -> Small:
    return small_archive(tmp_path)


def taken(small: Small, content: bytes, key: str = "a") -> InstanceRow:
    (row,) = small.take({key: content}).indexed
    return row


def plain(small: Small, content: bytes) -> Dataset:
    """Give an object as Explicit VR Little Endian, as pydicom reads it."""
    response = small.ask(taken(small, content).instance.path, accept=PLAIN)
    body = body_of(response)
    assert len(body) == response.length
    return dcmread(BytesIO(body))


def parts_of(small: Small, path: str, accept: str) -> list[tuple[str, bytes]]:
    response = small.ask(path, accept=accept)
    told = parse_media_type(response.header("Content-Type") or "")
    read = read_parts(BytesIO(body_of(response)), told)
    return [(part.headers.get("Content-Type") or "", part.content.read()) for part in read]


def with_frames(streams: list[bytes], **attributes: Any) -> bytes:
    """Give an object of 16 by 16 pixels in RLE with these frames."""
    dataset = ct_dataset()
    dataset.Rows = dataset.Columns = 16
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit, dataset.PixelRepresentation = 15, 0
    dataset.NumberOfFrames = len(streams)
    dataset.PixelData = encapsulate(streams)
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    return encode(dataset, transfer_syntax=RLE)


def rle_frames(count: int) -> list[bytes]:
    return [rle_frame(native_frame(number)) for number in range(1, count + 1)]


DAMAGED: Final = b"\3" + bytes(63) + b"no frame"


# --- frames together -----------------------------------------------------------------------------


def test_frames_of_single_bits_are_joined_without_gaps(small: Small) -> None:
    """PS3.5 §8.1.1: the next one begins where the one before ends, within a byte."""
    masks = np.random.default_rng(1).integers(0, 2, size=(5, 3, 7), dtype=np.uint8)
    packed = [np.packbits(mask.reshape(-1), bitorder="little").tobytes() for mask in masks]
    streams = [rle_frame(frame, bits_allocated=8) for frame in packed]
    content = with_frames(streams, Rows=3, Columns=7, BitsAllocated=1, BitsStored=1, HighBit=0)
    dataset = plain(small, content)
    assert len(dataset.PixelData) == 14
    assert np.array_equal(dataset.pixel_array, masks)


def test_bits_above_those_stored_are_kept(small: Small) -> None:
    """They may hold something, and RLE says nothing of them."""
    frame = native_frame(1)[:-2] + b"\xff\xff"
    dataset = plain(small, with_frames([rle_frame(frame)], BitsStored=12, HighBit=11))
    assert dataset.PixelData == frame


@pytest.mark.parametrize("limit", ["MAX_SPOOLED_BYTES", "_MEMORY_BYTES"])
def test_large_objects_are_the_same_as_small_ones(
    small: Small, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    monkeypatch.setattr(transcode, limit, 100)
    dataset = plain(small, with_frames(rle_frames(3)))
    assert dataset.PixelData == b"".join(map(native_frame, (1, 2, 3)))


def test_objects_that_are_too_large_are_not_compressed(
    small: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transcode, "MAX_ENCODED_BYTES", 100)
    row = taken(small, ct_instance())
    with pytest.raises(NotAcceptableError, match="of over 100 bytes"):
        small.ask(row.instance.path, accept=f"application/dicom; transfer-syntax={JPEG_LS}")


def test_pixel_data_too_long_for_a_length_is_not_given_as_one_value(
    small: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transcode, "MAX_NATIVE_BYTES", 100)
    row = taken(small, with_frames(rle_frames(1)))
    with pytest.raises(NotAcceptableError, match="too long"):
        small.ask(row.instance.path, accept=PLAIN)


@pytest.mark.parametrize("offset_table", ["basic", "empty", "extended"])
def test_tables_of_offsets_do_not_outlive_their_frames(small: Small, offset_table: str) -> None:
    content = ct_instance(frames=3, transfer_syntax=RLE, offset_table=offset_table)
    dataset = plain(small, content)
    assert not {"ExtendedOffsetTable", "ExtendedOffsetTableLengths"} & set(dataset.dir())
    assert dataset.PixelData == b"".join(map(native_frame, (1, 2, 3)))


def test_a_study_that_is_too_long_when_decoded_is_told_so_at_once(tmp_path: Path) -> None:
    small = small_archive(tmp_path, max_stream_bytes=20_000)
    # 256 equal bytes in each of two segments (PS3.5 §G.3).
    black = struct.pack("<16L", 2, 64, 68, *[0] * 13) + b"\x81\0" * 4
    row = taken(small, with_frames([black] * 100))
    assert len(parts_of(small, row.instance.series.path, f"{OBJECTS}; transfer-syntax=*")) == 1
    for path in (row.instance.series.path, row.instance.path):
        with pytest.raises(ResponseTooLargeError):
            small.ask(path, accept=OBJECTS)


# --- damage --------------------------------------------------------------------------------------


def test_a_damaged_frame_is_found_before_the_first_byte_is_sent(small: Small) -> None:
    row = taken(small, with_frames([*rle_frames(2), DAMAGED]))
    with pytest.raises(NotAcceptableError, match="cannot be given"):
        small.ask(row.instance.path, accept=PLAIN)


def test_a_damaged_object_goes_as_stored_among_others(small: Small) -> None:
    damaged = with_frames([*rle_frames(2), DAMAGED], InstanceNumber=2)
    sound = with_frames(rle_frames(2), InstanceNumber=1, SOPInstanceUID="1.2.3")
    row = taken(small, sound)
    taken(small, damaged, key="b")
    first, second = parts_of(small, row.instance.series.path, OBJECTS)
    assert first[0] == PLAIN
    assert second == (f"application/dicom; transfer-syntax={RLE}", damaged)


def test_a_damaged_frame_goes_as_stored_after_others(small: Small) -> None:
    row = taken(small, with_frames([*rle_frames(1), DAMAGED, *rle_frames(1)]))
    accept = f"multipart/related; type=application/octet-stream; transfer-syntax={JPEG_LS}"
    first, second, third = parts_of(small, f"{row.instance.path}/frames/1,2,3", accept)
    assert first == third
    assert first[0] == f"application/octet-stream; transfer-syntax={JPEG_LS}"
    assert second == (f"image/dicom-rle; transfer-syntax={RLE}", DAMAGED)


def test_a_damaged_frame_alone_is_refused(small: Small) -> None:
    row = taken(small, with_frames([*rle_frames(1), DAMAGED]))
    with pytest.raises(NotAcceptableError):
        small.ask(f"{row.instance.path}/frames/2", accept=PLAIN_FRAMES)


@pytest.mark.parametrize(
    "attributes",
    [
        {"NumberOfFrames": 3},
        {"Rows": 17},
        {"Rows": 0},
        {"SamplesPerPixel": 2},
        {"BitsAllocated": 8},
    ],
)
@pytest.mark.parametrize("syntax", [EXPLICIT_LITTLE_ENDIAN, JPEG_LS])
def test_what_contradicts_its_frames_is_refused(
    small: Small, attributes: dict[str, int], syntax: str
) -> None:
    row = taken(small, with_frames(rle_frames(2), **attributes))
    with pytest.raises(NotAcceptableError):
        small.ask(row.instance.path, accept=f"application/dicom; transfer-syntax={syntax}")


def test_an_object_that_changes_meanwhile_is_read_again(small: Small) -> None:
    row = taken(small, with_frames(rle_frames(2)))
    changed = with_frames(rle_frames(3))
    small.storage.put("a", changed)
    dataset = dcmread(BytesIO(body_of(small.ask(row.instance.path, accept=PLAIN))))
    assert dataset.NumberOfFrames == 3


def test_a_change_between_frames_ends_the_answer(small: Small) -> None:
    row = taken(small, with_frames(rle_frames(3)))
    accept = f"multipart/related; type=application/octet-stream; transfer-syntax={JPEG_LS}"
    response = small.ask(f"{row.instance.path}/frames/1,2,3", accept=accept)
    small.storage.put("a", with_frames(rle_frames(2)))
    with pytest.raises(ObjectChangedError):
        body_of(response)


@pytest.mark.parametrize(
    "named", [b"1.2.840.10008.1.2.\xed", b"1.2\r\nX-Injected: 1", b"1.2.840.x"]
)
@pytest.mark.parametrize("accept", [OBJECTS, f"{OBJECTS}; transfer-syntax=*"])
def test_a_transfer_syntax_that_is_none_reaches_no_header(
    small: Small, named: bytes, accept: str
) -> None:
    content = with_frames(rle_frames(1))
    meta = content.index(b"\x02\0\x10\0UI") + 8
    content = content[:meta] + named.ljust(20, b"\0") + content[meta + 20 :]
    row = taken(small, content)
    ((told, given),) = parts_of(small, row.instance.series.path, accept)
    assert (told, given) == ("application/dicom", content)


@pytest.mark.parametrize("what", ["", "/frames/1", "/bulkdata/7FE00010"])
@pytest.mark.parametrize("is_multipart", [True, False])
def test_who_has_it_already_costs_no_decoding(
    small: Small, monkeypatch: pytest.MonkeyPatch, what: str, is_multipart: bool
) -> None:
    row = taken(small, with_frames(rle_frames(1)))
    kind, syntax = (PLAIN_FRAMES if what else PLAIN).split("; ")
    accept = f'multipart/related; type="{kind}"; {syntax}' if is_multipart else f"{kind}; {syntax}"
    first = small.ask(row.instance.path + what, accept=accept)
    etag = first.header("ETag") or ""
    assert body_of(first)
    monkeypatch.setattr(decoder_process, "recode_apart", None)
    monkeypatch.setattr("dicomulus.imaging.decode.recode_apart", None)
    again = small.ask(row.instance.path + what, accept=accept, If_None_Match=etag)
    assert (again.status, again.header("ETag")) == (304, etag)
    with pytest.raises(NotAcceptableError):
        small.ask(row.instance.path + what, accept=accept, If_None_Match='"other"')


# --- the data set --------------------------------------------------------------------------------


def test_what_jpeg_baseline_lost_is_said(small: Small) -> None:
    """PS3.3 §C.7.6.1.1.5: once lossy, always lossy."""
    from PIL import Image

    buffer = BytesIO()
    Image.new("L", (16, 16), 90).save(buffer, "JPEG")
    dataset = dcmread(BytesIO(with_frames([], Rows=16)))
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit, dataset.NumberOfFrames = 7, 1
    dataset.PixelData = encapsulate([buffer.getvalue()])
    dataset["PixelData"].is_undefined_length = True
    read = plain(small, encode(dataset, transfer_syntax=JPEG_BASELINE))
    assert read.LossyImageCompression == "01"
    assert set(read.PixelData) == {90}


def test_an_object_without_pixels_is_written_plain_whatever_it_claims(small: Small) -> None:
    content = encode(ct_dataset(), transfer_syntax=RLE)
    dataset = plain(small, content)
    assert dataset.file_meta.TransferSyntaxUID == EXPLICIT_LITTLE_ENDIAN
    assert dataset == dcmread(BytesIO(content))


def test_an_object_without_pixels_is_not_compressed(small: Small) -> None:
    row = taken(small, encode(ct_dataset()))
    with pytest.raises(NotAcceptableError, match="without pixel data"):
        small.ask(row.instance.path, accept=f"application/dicom; transfer-syntax={JPEG_LS}")


def test_overlays_within_the_pixel_data_are_not_lost(small: Small) -> None:
    content = ct_instance(raw={0x60000102: ("US", b"\x0f\0")})
    row = taken(small, content)
    with pytest.raises(NotAcceptableError, match="overlays"):
        small.ask(row.instance.path, accept=f"application/dicom; transfer-syntax={JPEG_LS}")


def icon(stream: bytes) -> Dataset:
    item = Dataset()
    item.Rows = item.Columns = 16
    item.SamplesPerPixel, item.PhotometricInterpretation = 1, "MONOCHROME2"
    item.BitsAllocated = item.BitsStored = 16
    item.HighBit, item.PixelRepresentation = 15, 0
    item.PixelData = encapsulate([stream])
    item["PixelData"].VR = "OB"
    item["PixelData"].is_undefined_length = True
    return item


@pytest.mark.parametrize("syntax", [EXPLICIT_LITTLE_ENDIAN, JPEG_LS])
def test_icons_leave_the_syntax_with_their_image(small: Small, syntax: str) -> None:
    row = taken(small, with_frames(rle_frames(1), IconImageSequence=[icon(*rle_frames(1))]))
    accept = f"application/dicom; transfer-syntax={syntax}"
    dataset = dcmread(BytesIO(body_of(small.ask(row.instance.path, accept=accept))))
    assert dataset.IconImageSequence[0].PixelData == native_frame(1)


def test_an_icon_that_cannot_be_decoded_keeps_its_image_as_stored(small: Small) -> None:
    row = taken(small, with_frames(rle_frames(1), IconImageSequence=[icon(DAMAGED)]))
    with pytest.raises(NotAcceptableError):
        small.ask(row.instance.path, accept=PLAIN)


# --- codecs --------------------------------------------------------------------------------------


@pytest.mark.parametrize("bits", [6, 7])
def test_jpeg_ls_of_6_and_7_bits_goes_both_ways(small: Small, bits: int) -> None:
    """GDCM decodes no such depth."""
    values = np.random.default_rng(bits).integers(0, 1 << bits, size=256, dtype=np.uint16)
    content = with_frames([rle_frame(values.tobytes())], BitsStored=bits, HighBit=bits - 1)
    accept = f"application/dicom; transfer-syntax={JPEG_LS}"
    body = body_of(small.ask(taken(small, content).instance.path, accept=accept))
    (stream,) = generate_frames(dcmread(BytesIO(body)).PixelData, number_of_frames=1)
    assert stream.startswith(b"\xff\xd8\xff")
    assert plain(small, body).PixelData == values.tobytes()


def test_without_decoders_it_is_refused_alone_and_as_stored_among_others(
    small: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "dicomulus.imaging.decode", None)
    content = with_frames(rle_frames(1))
    row = taken(small, content)
    with pytest.raises(NotAcceptableError, match="decoders are missing"):
        small.ask(row.instance.path, accept=PLAIN)
    with pytest.raises(NotAcceptableError, match="decoders are missing"):
        small.ask(f"{row.instance.path}/frames/1", accept=PLAIN_FRAMES)
    ((told, given),) = parts_of(small, row.instance.series.path, OBJECTS)
    assert (told, given) == (f"application/dicom; transfer-syntax={RLE}", content)


def test_a_full_disk_is_no_defect(small: Small, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client may come again; nothing of the answer was sent."""

    class Full(BytesIO):
        def __init__(self, **_: object) -> None:
            super().__init__()

        def write(self, _: object) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(transcode, "SpooledTemporaryFile", Full)
    row = taken(small, ct_instance(transfer_syntax=RLE))
    with pytest.raises(StorageFullError):
        small.ask(row.instance.path, accept=PLAIN)


@pytest.mark.parametrize("planar_configuration", [0, 1])
@pytest.mark.parametrize("bits_allocated", [8, 16])
def test_colours_leave_as_the_planar_configuration_of_the_metadata_says(
    small: Small, bits_allocated: int, planar_configuration: int
) -> None:
    """Who asks for frames reads them by it; RLE has planes whatever it says (PS3.5 §8.2.2)."""
    dataset = dcmread(BytesIO(ct_instance(samples=3, bits_allocated=bits_allocated)))
    colours = dataset.pixel_array
    dataset.compress(RLE, encoding_plugin="pydicom")
    dataset.PlanarConfiguration = planar_configuration
    stored = BytesIO()
    dataset.save_as(stored)
    content = stored.getvalue()

    expected = (colours.transpose(2, 0, 1) if planar_configuration else colours).tobytes()
    path = taken(small, content).instance.path
    assert body_of(small.ask(f"{path}/frames/1", accept=PLAIN_FRAMES)) == expected
    assert body_of(small.ask(f"{path}/bulkdata/7FE00010", accept=PLAIN_FRAMES)) == expected
    decoded = plain(small, content)
    assert decoded.PlanarConfiguration == planar_configuration
    assert np.array_equal(decoded.pixel_array, colours)
