"""Every image that comes with pydicom, in every transfer syntax that there is for it (PS3.18 §8.7.3)."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pytest
from pydicom.encaps import generate_frames, parse_basic_offsets
from pydicom.uid import UID

from dicomulus.dicom.transfer_syntax import (
    COMPRESSED_TARGETS,
    EXPLICIT_VR_LITTLE_ENDIAN,
    JPEG_LOSSLESS_SV1,
    JPEG_LS_LOSSLESS,
    NOT_ON_THE_WEB,
    RLE_LOSSLESS,
)
from dicomulus.errors import NotAcceptableError
from dicomulus.imaging import decoder_process
from tests.support.archives import body_of, small_archive
from tests.support.pydicom_corpus import frames_of, read
from tests.support.rendering import image_files

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt
    from pydicom import Dataset

    from dicomulus.ports import InstanceRow
    from tests.support.archives import Small

FILES: Final = image_files()

_ALL: Final = frozenset(COMPRESSED_TARGETS)
_ALL_BUT_RLE: Final = _ALL - {RLE_LOSSLESS}

# File, the syntaxes that it is refused in, and why. Among others each of them goes as stored.
REFUSED: Final[dict[str, frozenset[str]]] = {
    # The code stream says it has 14,540,801 columns of tiles: its header is damaged.
    "JPEG2000-embedded-sequence-delimiter": _ALL | {EXPLICIT_VR_LITTLE_ENDIAN},
    # The object ends before its only frame does.
    "MR_truncated": _ALL,
    # 32 bits stored: PS3.5 §8.2 has no compression for them, and files in RLE are given as they are.
    "SC_rgb_rle_32bit": _ALL_BUT_RLE,
    "SC_rgb_rle_32bit_2frame": _ALL_BUT_RLE,
    "badVR": _ALL,
    "rtdose": _ALL,
    "rtdose_1frame": _ALL,
    "rtdose_expb": _ALL,
    "rtdose_expb_1frame": _ALL,
    "rtdose_rle": _ALL_BUT_RLE,
    "rtdose_rle_1frame": _ALL_BUT_RLE,
    # 3 by 3 pixels: less than the encoders take.
    "SC_rgb_small_odd": _ALL_BUT_RLE,
    "SC_rgb_small_odd_big_endian": _ALL_BUT_RLE,
    "SC_rgb_small_odd_jpeg": _ALL_BUT_RLE,
    # JPEG Lossless of luminance and colour differences is understood in two ways.
    "SC_ybr_full_422_uncompressed": frozenset({JPEG_LOSSLESS_SV1}),
    # Single bits.
    "liver_1frame": _ALL,
    "liver_expb_1frame": _ALL,
}

# What pydicom makes no array of: a decoder under the GPL, NumberOfFrames that is 1A, a short value.
BEYOND_PYDICOM: Final = frozenset({"JPEG-lossy", "JPGExtended", "badVR", "MR_truncated"})

AS_STORED: Final = "application/dicom; transfer-syntax=*"


def stem(name: str) -> str:
    return name.rpartition("/")[2].removesuffix(".dcm")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Small]:
    yield small_archive(tmp_path_factory.mktemp("corpus"))
    decoder_process.close()


@pytest.fixture(scope="module")
def rows(small: Small) -> dict[str, InstanceRow]:
    return {row.object_key: row for row in small.take(FILES).indexed}


@pytest.fixture
def row(rows: dict[str, InstanceRow], name: str) -> InstanceRow:
    return rows[name]


@cache
def original(name: str) -> Dataset:
    return read(FILES[name])


@cache
def original_pixels(name: str) -> npt.NDArray[Any]:
    return original(name).pixel_array


def syntax_of(name: str) -> str:
    return str(original(name).file_meta.get("TransferSyntaxUID", ""))


def every_pair(targets: tuple[str, ...], *, is_refused: bool) -> list[Any]:
    """Give file and target, all that are refused or all that are not."""
    return [
        pytest.param(name, target, id=f"{stem(name)}-{UID(target).name}")
        for name in sorted(FILES)
        for target in targets
        if (target in REFUSED.get(stem(name), ())) == is_refused
    ]


def given(small: Small, row: InstanceRow, target: str) -> Dataset:
    response = small.ask(row.instance.path, accept=f"application/dicom; transfer-syntax={target}")
    body = body_of(response)
    assert len(body) == response.length
    assert response.header("Content-Type") == f"application/dicom; transfer-syntax={target}"
    dataset = read(body)
    assert dataset.file_meta.TransferSyntaxUID == target
    return dataset


def assert_same_values(dataset: Dataset, name: str) -> None:
    expected = original_pixels(name)
    found = dataset.pixel_array
    assert np.array_equal(found, expected, equal_nan=expected.dtype.kind == "f")
    assert found.dtype.newbyteorder("<") == expected.dtype.newbyteorder("<")


# --- objects -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "target"),
    every_pair((EXPLICIT_VR_LITTLE_ENDIAN, *COMPRESSED_TARGETS), is_refused=False),
)
def test_pixels_are_pydicoms_in_any_transfer_syntax(
    small: Small, row: InstanceRow, name: str, target: str
) -> None:
    dataset = given(small, row, target)
    if stem(name) not in BEYOND_PYDICOM:
        assert_same_values(dataset, name)
    elif stem(name).startswith("JP"):
        pixels = dataset.pixel_array
        # As in pydicom's own tests of its decoder under the GPL.
        assert (pixels[420, 140], pixels[230, 120]) == (244, 95)


@pytest.mark.parametrize(
    ("name", "target"),
    every_pair((EXPLICIT_VR_LITTLE_ENDIAN, *COMPRESSED_TARGETS), is_refused=True),
)
def test_what_cannot_be_transcoded_is_refused_alone(
    small: Small, row: InstanceRow, name: str, target: str
) -> None:
    with pytest.raises(NotAcceptableError, match=r"transfer-syntax=\*"):
        small.ask(row.instance.path, accept=f"application/dicom; transfer-syntax={target}")


@pytest.mark.parametrize("name", sorted(FILES), ids=stem)
def test_an_object_leaves_bit_for_bit_where_its_syntax_may(
    small: Small, row: InstanceRow, name: str
) -> None:
    response = small.ask(row.instance.path, accept=AS_STORED)
    if syntax_of(name) in NOT_ON_THE_WEB:
        assert read(body_of(response)).file_meta.TransferSyntaxUID == EXPLICIT_VR_LITTLE_ENDIAN
    else:
        assert body_of(response) == FILES[name]


@pytest.mark.parametrize("name", sorted(FILES), ids=stem)
def test_all_but_the_pixels_stays(small: Small, row: InstanceRow, name: str) -> None:
    """But for what tells how they are written (PS3.3 Table C.7-11a)."""
    told = ("PhotometricInterpretation", "PlanarConfiguration", "LossyImageCompression")
    if EXPLICIT_VR_LITTLE_ENDIAN in REFUSED.get(stem(name), ()):
        return
    dataset = given(small, row, EXPLICIT_VR_LITTLE_ENDIAN)
    for each in (dataset, expected := read(FILES[name])):
        for keyword in (*told, "PixelData", "ExtendedOffsetTable", "ExtendedOffsetTableLengths"):
            if keyword in each:
                delattr(each, keyword)
    if stem(name) != "badVR":  # whose own names another instance
        assert dataset.file_meta.MediaStorageSOPInstanceUID == dataset.SOPInstanceUID
    found = {element.tag: element for element in dataset}
    assert found == {element.tag: element for element in expected if element.tag.element}


@pytest.mark.parametrize("target", COMPRESSED_TARGETS)
@pytest.mark.parametrize("name", ["test_files/SC_rgb_rle_16bit_2frame.dcm"], ids=stem)
def test_compressed_frames_have_a_table_of_their_offsets(
    small: Small, row: InstanceRow, name: str, target: str
) -> None:
    value = given(small, row, target).PixelData
    offsets = parse_basic_offsets(value)
    begin = 8 + 4 * len(offsets)
    assert len(offsets) == len(list(generate_frames(value, number_of_frames=2))) == 2
    assert [value[begin + offset :][:4] for offset in offsets] == [b"\xfe\xff\x00\xe0"] * 2


# --- frames and bulk data ------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(set(FILES) - {"test_files/badVR.dcm"}), ids=stem)
def test_frames_are_the_bytes_of_the_file(small: Small, row: InstanceRow, name: str) -> None:
    """Of big endian and unaligned ones: the bytes that they have in little endian, from a byte on."""
    for number, expected in enumerate(frames_of(original(name)), start=1):
        accept = "application/octet-stream; transfer-syntax=*"
        response = small.ask(f"{row.instance.path}/frames/{number}", accept=accept)
        assert body_of(response) == expected


@pytest.mark.parametrize(
    ("name", "target"),
    [
        each
        for each in every_pair((EXPLICIT_VR_LITTLE_ENDIAN, JPEG_LS_LOSSLESS), is_refused=False)
        if stem(each.values[0]) not in BEYOND_PYDICOM
    ],
)
def test_frames_are_decoded_and_encoded_like_objects(
    small: Small, row: InstanceRow, name: str, target: str
) -> None:
    dataset = given(small, row, target)
    accept = f"application/octet-stream; transfer-syntax={target}"
    for number, expected in enumerate(frames_of(dataset), start=1):
        response = small.ask(f"{row.instance.path}/frames/{number}", accept=accept)
        assert response.header("Content-Type") == accept
        assert body_of(response) in (expected, expected.removesuffix(b"\0"))


@pytest.mark.parametrize("name", sorted(FILES), ids=stem)
def test_pixel_data_is_one_native_value(small: Small, row: InstanceRow, name: str) -> None:
    if EXPLICIT_VR_LITTLE_ENDIAN in REFUSED.get(stem(name), ()) or stem(name) in BEYOND_PYDICOM:
        return
    accept = f"application/octet-stream; transfer-syntax={EXPLICIT_VR_LITTLE_ENDIAN}"
    response = small.ask(f"{row.instance.path}/bulkdata/7FE00010", accept=accept)
    expected = given(small, row, EXPLICIT_VR_LITTLE_ENDIAN).PixelData
    assert body_of(response) in (expected, expected.removesuffix(b"\0"))
