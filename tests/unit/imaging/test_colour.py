"""Colours of palettes are those that pydicom gives them, of any depth."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pydicom
import pytest
from pydicom.pixels.processing import apply_color_lut

from dicomulus.errors import NotAcceptableError
from dicomulus.imaging.colour import palette_colours, true_colours
from dicomulus.imaging.image_pixel import ImagePixel
from tests.support import pydicom_corpus

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

PALETTES: Final = tuple(
    name
    for name in pydicom_corpus.FILES
    if pydicom_corpus.read((pydicom_corpus.ROOT / name).read_bytes()).get(
        "PhotometricInterpretation"
    )
    == "PALETTE COLOR"
)


def never(path: Sequence[str]) -> bytes:
    raise AssertionError(path)


def colours(
    pixels: npt.NDArray[Any], attributes: Mapping[str, object], **described: object
) -> npt.NDArray[np.uint8]:
    size = {"00280010": pixels.shape[0], "00280011": pixels.shape[1]}
    numbers = size | {"00280100": 8 * pixels.dtype.itemsize, "00280103": described.get("signed", 0)}
    json = {tag: {"vr": "US", "Value": [number]} for tag, number in numbers.items()}
    pixel = ImagePixel.from_attributes(json)
    return palette_colours(pixels, pixel, attributes, read_bulk=never)


def palette(
    descriptor: Sequence[int], *tables: bytes, segmented: bool = False
) -> dict[str, object]:
    attributes: dict[str, object] = {}
    for index, table in enumerate(tables, start=1):
        attributes[f"0028110{index}"] = {"vr": "US", "Value": list(descriptor)}
        tag = f"0028122{index}" if segmented else f"0028120{index}"
        attributes[tag] = {"vr": "OW", "InlineBinary": base64.b64encode(table).decode()}
    return attributes


def words(*numbers: int) -> bytes:
    return np.array(numbers, "<u2").tobytes()


@pytest.mark.parametrize("name", PALETTES)
def test_palettes_of_files(name: str) -> None:
    dataset = pydicom.dcmread(pydicom_corpus.ROOT / name)
    pixels = dataset.pixel_array
    pixels = pixels if pixels.ndim == 2 else pixels[0]
    expected = apply_color_lut(pixels, dataset)
    if expected.dtype.itemsize == 2:
        expected = expected >> 8
    json = dataset.to_json_dict(bulk_data_threshold=1 << 30)
    found = palette_colours(
        pixels.astype(pixels.dtype.newbyteorder("<")),
        ImagePixel.from_attributes(json),
        json,
        read_bulk=never,
    )
    assert np.array_equal(found, expected)


def test_values_outside_of_a_palette_have_its_first_and_last_colour() -> None:
    pixels = np.array([[0, 9, 10, 11, 12, 300]], "<u2")
    table = bytes([10, 20])
    found = colours(pixels, palette([2, 10, 8], table, table, bytes([30, 40])))
    first, last = [10, 10, 30], [20, 20, 40]
    assert found.tolist() == [[first, first, first, last, last, last]]


def test_the_first_value_of_signed_pixels_may_be_negative() -> None:
    pixels = np.array([[-3, -2, -1, 0]], "<i2")
    table = bytes([1, 2])
    for first in (-2, 65534):
        found = colours(pixels, palette([2, first, 8], table, table, table), signed=1)
        assert found[0, :, 0].tolist() == [1, 1, 2, 2]


def test_words_that_hold_8_bits_are_not_black() -> None:
    pixels = np.array([[0, 1]], "u1")
    for bits in (8, 16):
        table = words(10, 200)
        found = colours(pixels, palette([2, 0, bits], table, table, table))
        assert found[0, :, 0].tolist() == [10, 200]


def test_segments_are_expanded() -> None:
    """PS3.3 §C.7.9.2: discrete, linear, and indirect ones that point to both."""
    pixels = np.arange(12, dtype="u1").reshape(1, 12)
    table = bytes([0, 2, 0, 10, 1, 4, 50, 2, 2, 0, 0, 0, 0])
    found = colours(pixels, palette([12, 0, 8], table, table, table, segmented=True))
    assert found[0, :, 0].tolist() == [0, 10, 20, 30, 40, 50, 0, 10, 20, 30, 40, 50]
    table = words(0, 2, 0, 0x1000, 1, 4, 0x5000, 2, 2, 0, 0)
    found = colours(pixels, palette([12, 0, 16], table, table, table, segmented=True))
    assert found[0, :, 0].tolist() == [0, 16, 32, 48, 64, 80, 0, 16, 32, 48, 64, 80]


@pytest.mark.parametrize(
    "table",
    [
        bytes([1, 4, 50, 0]),  # a line that begins nowhere
        bytes([3, 4, 50, 0]),  # a kind that there is none of
        bytes([0, 1, 7, 2, 1, 3, 0, 0, 0]),  # one that points to itself
        bytes([0, 1, 7, 2, 1, 99, 0, 0, 0]),  # one that points beyond the end
        b"",
    ],
)
def test_segments_that_make_no_table_are_refused(table: bytes) -> None:
    pixels = np.zeros((1, 2), "u1")
    with pytest.raises(NotAcceptableError):
        colours(pixels, palette([12, 0, 8], table, table, table, segmented=True))


def test_segments_cannot_fill_the_memory() -> None:
    pixels = np.zeros((1, 2), "u1")
    line = bytes([0, 1, 7]) + bytes([1, 255, 9]) * 200
    table = line + bytes([2, 255, 3, 0, 0, 0]) * 50
    with pytest.raises(NotAcceptableError, match="too many"):
        colours(pixels, palette([0, 0, 8], table, table, table, segmented=True))


@pytest.mark.parametrize(
    "attributes",
    [
        {},
        palette([2, 0, 8], b"12", b"12", b"1"),
        palette([2, 0], b"12", b"12", b"12"),
        palette([2, 0, 8], b"12", b"12"),
    ],
)
def test_a_palette_that_is_none_is_refused(attributes: dict[str, object]) -> None:
    with pytest.raises(NotAcceptableError):
        colours(np.zeros((1, 2), "u1"), attributes)


def test_values_of_32_bits_are_no_places_in_a_palette() -> None:
    with pytest.raises(NotAcceptableError):
        colours(np.zeros((1, 2), "u4"), palette([2, 0, 8], b"12", b"12", b"12"))


def test_deep_colours_keep_their_upper_bits() -> None:
    pixels = np.array([[[0, 0x7F0, 0xFFF]]], "u2")
    json = {
        tag: {"vr": "US", "Value": [number]}
        for tag, number in {"00280010": 1, "00280011": 1, "00280100": 16, "00280101": 12}.items()
    }
    pixel = ImagePixel.from_attributes(json)
    assert true_colours(pixels, pixel).tolist() == [[[0, 0x7F, 0xFF]]]
    with pytest.raises(NotAcceptableError):
        true_colours(pixels.astype(float), pixel)
