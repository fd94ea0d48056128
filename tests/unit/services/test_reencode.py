"""Objects written anew hold what pydicom reads in the originals (PS3.18 §8.7.3.4)."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from pydicom import config, dcmread
from pydicom.data import get_testdata_files
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import UID

from dicomulus.errors import NotAcceptableError
from tests.support.archives import small_archive
from tests.support.datasets import (
    DEFLATED,
    EXPLICIT_BIG_ENDIAN,
    EXPLICIT_LITTLE_ENDIAN,
    IMPLICIT_LITTLE_ENDIAN,
    JPEG_BASELINE,
    ct_dataset,
    ct_instance,
    encode,
)

if TYPE_CHECKING:
    from tests.support.archives import Small

NATIVE = {
    "1.2.840.10008.1.2",
    "1.2.840.10008.1.2.1",
    "1.2.840.10008.1.2.1.99",
    "1.2.840.10008.1.2.2",
    "",
}
LARGEST_BYTES = 20_000_000
PIXEL_DATA = 0x7FE00010


def native_files() -> list[Path]:
    """Give pydicom's own test files that hold no compressed pixels, each name once."""
    found: dict[str, Path] = {}
    for path in map(Path, get_testdata_files()):
        if path.is_file() and path.stat().st_size < LARGEST_BYTES:
            found.setdefault(path.name, path)
    return [found[name] for name in sorted(found) if _is_native(found[name])]


def _is_native(path: Path) -> bool:
    data_set = dcmread(path, force=True, specific_tags=["SOPInstanceUID"])
    meta = getattr(data_set, "file_meta", Dataset())
    return str(meta.get("TransferSyntaxUID", "")) in NATIVE


@pytest.fixture
def small(tmp_path: Path) -> Small:
    return small_archive(tmp_path)


def rewritten(small: Small, content: bytes) -> bytes | None:
    """Give an object in its new encoding; nothing if it is no instance."""
    report = small.take({"a": content})
    if not report.indexed:
        return None
    written = small.archive.retrieve.reencoded(report.indexed[0])
    again = b"".join(written.chunks)
    assert len(again) == written.length
    return again


def elements(content: bytes) -> dict[int, object]:
    """Give what pydicom reads, without group lengths, by tag."""
    data_set = dcmread(BytesIO(content), force=True)
    return {int(each.tag): each for each in data_set if each.tag.element}


def with_decoded_pixels(content: bytes, *, is_decoded: bool) -> dict[int, object]:
    found = elements(content)
    if is_decoded and PIXEL_DATA in found:
        found[PIXEL_DATA] = dcmread(BytesIO(content)).pixel_array.tolist()
    return found


@pytest.mark.parametrize("path", native_files(), ids=lambda path: path.name)
def test_pydicoms_files_read_alike_afterwards(small: Small, path: Path) -> None:
    content = path.read_bytes()
    again = rewritten(small, content)
    if again is None:
        # Tests of ingest tell why; a rejected object is never retrieved.
        assert list(small.look_at(["a"]).rejected) == ["a"]
        return
    assert dcmread(BytesIO(again)).file_meta.TransferSyntaxUID == EXPLICIT_LITTLE_ENDIAN
    # pydicom leaves the bytes of big endian pixels as they are until it decodes them.
    is_big_endian = dcmread(path, force=True).original_encoding == (False, False)
    assert with_decoded_pixels(again, is_decoded=is_big_endian) == with_decoded_pixels(
        content, is_decoded=is_big_endian
    )


@pytest.mark.parametrize(
    "transfer_syntax",
    [
        IMPLICIT_LITTLE_ENDIAN,
        EXPLICIT_LITTLE_ENDIAN,
        EXPLICIT_BIG_ENDIAN,
        DEFLATED,
    ],
)
@pytest.mark.parametrize("bits", [8, 16])
def test_pixels_leave_little_endian_whatever_they_were(
    small: Small, transfer_syntax: str, bits: int
) -> None:
    content = ct_instance(transfer_syntax=transfer_syntax, frames=3, bits_allocated=bits)
    plain = ct_instance(frames=3, bits_allocated=bits)
    again = rewritten(small, content)
    assert again is not None
    assert dcmread(BytesIO(again)).PixelData == dcmread(BytesIO(plain)).PixelData


def test_without_file_meta_it_leaves_with_one(small: Small) -> None:
    again = rewritten(small, ct_instance(has_file_meta=False))
    assert again is not None
    read = dcmread(BytesIO(again))
    assert read.file_meta.MediaStorageSOPInstanceUID == read.SOPInstanceUID
    assert read.file_meta.MediaStorageSOPClassUID == read.SOPClassUID
    assert UID(read.file_meta.ImplementationClassUID).is_valid


def test_what_follows_the_pixels_stays(small: Small) -> None:
    raw = {
        0x7FE10010: ("LO", b"CREATOR "),
        0x7FE11001: ("OB", b"\1\2"),
        0xFFFCFFFC: ("OB", b"\0\0"),
    }
    for transfer_syntax in (IMPLICIT_LITTLE_ENDIAN, EXPLICIT_LITTLE_ENDIAN):
        again = rewritten(small, ct_instance(transfer_syntax=transfer_syntax, raw=raw))
        assert again is not None
        assert {0x7FE11001, 0xFFFCFFFC} <= elements(again).keys()


@pytest.mark.parametrize(
    ("vr", "value"),
    [("LO", b"M\xfcller  "), ("IS", b"12.5 abc"), ("DS", b"none"), ("DA", b"31.12.99")],
)
def test_values_that_break_rules_keep_their_bytes(small: Small, vr: str, value: bytes) -> None:
    """A conversion and back would lose them."""
    tag = {"LO": 0x00081030, "IS": 0x00200012, "DS": 0x00281050, "DA": 0x00080022}[vr]
    content = ct_instance(raw={tag: (vr, value)})
    again = rewritten(small, content)
    assert again is not None
    assert value + b" " * (len(value) % 2) in again


def test_sequences_keep_their_items_in_any_encoding(small: Small) -> None:
    inner = Dataset()
    inner.CodeValue, inner.Rows = "121", 258
    outer = Dataset()
    outer.ConceptNameCodeSequence = [inner, inner]
    data_set = ct_dataset()
    data_set.ContentSequence = [outer, Dataset()]
    expected = elements(encode(data_set))
    for syntax in (IMPLICIT_LITTLE_ENDIAN, EXPLICIT_BIG_ENDIAN):
        again = rewritten(small, encode(data_set, transfer_syntax=syntax))
        assert again is not None
        assert elements(again) == expected


def test_a_value_too_long_for_its_vr_is_kept_as_unknown(small: Small) -> None:
    """PS3.5 §6.2.2: the length of most VRs has two bytes when it is written with VR."""
    long = b"1\\" * 40_000
    data_set = ct_dataset()
    with config.disable_value_validation():
        content = encode(data_set, transfer_syntax=IMPLICIT_LITTLE_ENDIAN)
    tag = b"\x28\x00\x51\x10" + len(long).to_bytes(4, "little") + long
    at = content.index(b"\x28\x00\x52\x10")
    start = content.index(b"\x28\x00\x50\x10")
    assert start < at
    with_long = content[:start] + tag + content[at:]
    again = rewritten(small, with_long)
    assert again is not None
    assert b"\x28\x00\x51\x10UN\0\0" + len(long).to_bytes(4, "little") + long in again


def test_pixels_cut_at_the_end_of_the_object_leave_as_far_as_they_go(small: Small) -> None:
    content = ct_instance(transfer_syntax=IMPLICIT_LITTLE_ENDIAN)[:-101]
    again = rewritten(small, content)
    assert again is not None
    assert len(dcmread(BytesIO(again)).PixelData) == 512 - 100


def test_an_object_that_only_claims_to_be_deflated_is_read_as_it_is(small: Small) -> None:
    content = ct_instance()
    claimed = b"1.2.840.10008.1.2.1.99"
    plain = EXPLICIT_LITTLE_ENDIAN.encode() + b"\0"
    at = content.index(b"\x02\x00\x10\x00UI")
    head = content[at : at + 8 + len(plain)]
    assert head.endswith(plain)
    lying = b"\x02\x00\x10\x00UI" + len(claimed).to_bytes(2, "little") + claimed
    again = rewritten(small, content.replace(head, lying))
    assert again is not None
    assert elements(again) == elements(content)


def test_compressed_pixels_are_not_written_anew(small: Small) -> None:
    (row,) = small.take({"a": ct_instance(transfer_syntax=JPEG_BASELINE)}).indexed
    with pytest.raises(NotAcceptableError):
        small.archive.retrieve.reencoded(row)


def test_an_icon_of_fragments_keeps_them(small: Small) -> None:
    icon = Dataset()
    icon.PixelData = encapsulate([b"\xff\xd8" + bytes(400) + b"\xff\xd9"])
    icon["PixelData"].VR = "OB"
    icon["PixelData"].is_undefined_length = True
    data_set = ct_dataset()
    data_set.IconImageSequence = [icon]
    content = encode(data_set)
    again = rewritten(small, content)
    assert again is not None
    assert dcmread(BytesIO(again)).IconImageSequence[0].PixelData == icon.PixelData


def test_sequences_too_deep_to_be_read_are_not_written_anew(small: Small) -> None:
    data_set = Dataset()
    for _ in range(40):
        outer = Dataset()
        outer.ContentSequence = [data_set]
        data_set = outer
    deep = ct_dataset()
    deep.ContentSequence = [data_set]
    (row,) = small.take({"a": encode(deep)}).indexed
    with pytest.raises(NotAcceptableError):
        small.archive.retrieve.reencoded(row)


@pytest.mark.parametrize("syntax", [IMPLICIT_LITTLE_ENDIAN, EXPLICIT_BIG_ENDIAN])
def test_large_values_are_copied_in_pieces(small: Small, syntax: str) -> None:
    """An encapsulated document or raw data has any length; memory has not."""
    document = bytes(range(256)) * 12_289
    words = bytearray(document[:-2])
    if syntax == EXPLICIT_BIG_ENDIAN:  # which pydicom leaves to who writes
        words[::2], words[1::2] = words[1::2], words[::2]
    item = Dataset()
    item.add_new(0x54001010, "OW", bytes(words))  # Waveform Data
    item.add_new(0x54001004, "US", 16)
    dataset = ct_dataset()
    dataset.add_new(0x00420011, "OB", document)
    dataset.add_new(0x54000100, "SQ", [item])
    (row,) = small.take({"a": encode(dataset, transfer_syntax=syntax)}).indexed
    written = small.archive.retrieve.reencoded(row)
    chunks = list(written.chunks)
    assert sum(map(len, chunks)) == written.length
    assert max(map(len, chunks)) <= 1_048_576
    again = dcmread(BytesIO(b"".join(chunks)))
    assert again.EncapsulatedDocument == document
    assert again.WaveformSequence[0].WaveformData == document[:-2]
    assert again.WaveformSequence[0].WaveformBitsAllocated == 16
