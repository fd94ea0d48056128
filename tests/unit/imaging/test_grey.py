"""Grey levels are those of a reference built from pydicom's modality and VOI functions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pytest
from pydicom.dataset import Dataset

from dicomulus.errors import NotAcceptableError
from dicomulus.imaging import values
from dicomulus.imaging.frame_attributes import frame_attributes
from dicomulus.imaging.grey import grey_levels
from dicomulus.imaging.image_pixel import ImagePixel
from dicomulus.imaging.parameters import Window, WindowFunction
from tests.support.rendering import reference_levels

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

RANDOM: Final = np.random.default_rng(5)
DTYPES: Final = ("u1", "i1", "u2", "i2", "u4", "i4", "f4", "f8")


def image(dtype: str, *, rows: int = 300, low: int | None = None, high: int | None = None) -> Any:
    """Give more values than two bytes have, so that both ways of computing are taken."""
    kind = np.dtype(dtype)
    if kind.kind == "f":
        return RANDOM.uniform(low or -1000, high or 3000, (rows, 300)).astype(kind)
    bounds = np.iinfo(kind)
    first = max(bounds.min, -2000) if low is None else low
    last = min(bounds.max, 4000 if high is None else high)
    return RANDOM.integers(first, last, (rows, 300), dtype=kind, endpoint=True)


def data_set(pixels: npt.NDArray[Any], **attributes: object) -> Dataset:
    dataset = Dataset()
    dataset.set_original_encoding(is_implicit_vr=False, is_little_endian=True)
    bits = 8 * pixels.dtype.itemsize
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = bits
    dataset.PixelRepresentation = int(pixels.dtype.kind == "i")
    if pixels.dtype.kind == "f":
        setattr(dataset, "FloatPixelData" if bits == 32 else "DoubleFloatPixelData", b"")
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    return dataset


def levels(
    pixels: npt.NDArray[Any],
    dataset: Dataset | Mapping[str, object],
    *,
    window: Window | None = None,
    number: int = 1,
    bulk: dict[tuple[str, ...], bytes] | None = None,
) -> npt.NDArray[np.uint8]:
    json = dataset.to_json_dict() if isinstance(dataset, Dataset) else dataset
    attributes = frame_attributes(json, number)

    def read_bulk(path: Sequence[str]) -> bytes:
        return (bulk or {})[tuple(path)]

    pixel = ImagePixel.from_attributes(attributes)
    return grey_levels(pixels, pixel, attributes, window=window, read_bulk=read_bulk)


def assert_near(found: npt.NDArray[np.uint8], expected: npt.NDArray[Any]) -> None:
    assert found.dtype == np.uint8
    assert np.abs(found - expected).max() <= 2
    assert np.ptp(found) > 200, "an image of one level would show nothing"


def lut_item(
    entries: Sequence[int], *, first: int = 0, bits: int = 16, as_words: bool = False
) -> Dataset:
    item = Dataset()
    vr = "SS" if first < 0 else "US"
    item.add_new(0x00283002, vr, [len(entries) % 65536, first, bits])
    if as_words:
        item.add_new(0x00283006, "OW", np.array(entries, "<u2").tobytes())
    else:
        item.add_new(0x00283006, "US", list(entries))
    return item


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID", None])
@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i2", "u4", "i4"])
def test_windows_of_the_image(dtype: str, function: str | None) -> None:
    """PS3.3 §C.11.2.1.2, §C.11.2.1.3."""
    pixels = image(dtype)
    dataset = data_set(
        pixels, WindowCenter=40, WindowWidth=120, RescaleSlope=1.5, RescaleIntercept=-30
    )
    if function:
        dataset.VOILUTFunction = function
    assert_near(levels(pixels, dataset), reference_levels(pixels, dataset))


@pytest.mark.parametrize("function", WindowFunction)
@pytest.mark.parametrize("dtype", ["u2", "i2", "f4"])
def test_a_window_asked_for_takes_the_place_of_the_images_own(
    dtype: str, function: WindowFunction
) -> None:
    pixels = image(dtype)
    asked = Window(300.0, 900.0, function)
    own = data_set(pixels, WindowCenter=1, WindowWidth=2, VOILUTSequence=[lut_item([0] * 16)])
    wanted = data_set(pixels, WindowCenter=300, WindowWidth=900, PixelRepresentation=1)
    wanted.BitsStored = wanted.BitsAllocated = 16
    wanted.VOILUTFunction = function.value.replace("-", "_").upper()
    assert_near(levels(pixels, own, window=asked), reference_levels(pixels, wanted))


def test_the_first_of_several_windows_counts() -> None:
    pixels = image("u2")
    both = data_set(pixels, WindowCenter=[40, 1000], WindowWidth=[400, 10])
    first = data_set(pixels, WindowCenter=40, WindowWidth=400)
    assert np.array_equal(levels(pixels, both), levels(pixels, first))


@pytest.mark.parametrize("as_words", [True, False])
@pytest.mark.parametrize("bits", [8, 10, 16])
@pytest.mark.parametrize("dtype", ["u1", "i2", "u2"])
def test_voi_lut_sequences(dtype: str, bits: int, as_words: bool) -> None:
    """PS3.3 §C.11.2.1.1, entries before the first and after the last repeated."""
    first = -50 if dtype == "i2" else 20
    # Of entries of 8 bits pydicom counts the places in 8 bits too.
    pixels = image(dtype, low=first, high=first + 255) if bits == 8 else image(dtype)
    entries = [round(n * (2**bits - 1) / 199) for n in range(200)]
    item = lut_item(entries, first=first, bits=bits, as_words=as_words)
    dataset = data_set(pixels, VOILUTSequence=[item], WindowCenter=1, WindowWidth=1)
    assert_near(levels(pixels, dataset), reference_levels(pixels, dataset))


def test_modality_lut_sequences_come_before_the_window() -> None:
    pixels = image("u2", low=0, high=4095)
    entries = [round((n / 4095) ** 2 * 4095) for n in range(4096)]
    dataset = data_set(
        pixels,
        ModalityLUTSequence=[lut_item(entries, as_words=True)],
        WindowCenter=2000,
        WindowWidth=3000,
    )
    assert_near(levels(pixels, dataset), reference_levels(pixels, dataset))


def test_a_table_that_lies_in_bulk_data_is_read_from_there() -> None:
    pixels = image("u2", low=0, high=4095)
    entries = np.arange(4096, dtype="<u2")[::-1] << 4
    inline = data_set(pixels, VOILUTSequence=[lut_item(entries.tolist(), bits=16, as_words=True)])
    json = inline.to_json_dict()
    item = json["00283010"]["Value"][0]
    item["00283006"] = {"vr": "OW", "BulkDataURI": "\x01/studies/1/bulkdata/00283010/1/00283006"}
    held: dict[tuple[str, ...], bytes] = {("00283010", "1", "00283006"): entries.tobytes()}
    assert np.array_equal(levels(pixels, json, bulk=held), levels(pixels, inline))


def test_entries_of_8_bits_lie_two_to_a_word() -> None:
    pixels = image("u1")
    words, bytes_ = data_set(pixels), data_set(pixels)
    entries = list(range(255, -1, -1))
    words.VOILUTSequence = [lut_item(entries, bits=8, as_words=True)]
    bytes_.VOILUTSequence = [lut_item(entries, bits=8)]
    bytes_.VOILUTSequence[0].add_new(0x00283006, "OW", bytes(entries))
    assert np.array_equal(levels(pixels, bytes_), levels(pixels, words))


@pytest.mark.parametrize("attributes", [{"LUTDescriptor": [4, 0]}, {"LUTDescriptor": [4, 0, 99]}])
def test_a_table_that_is_none_is_refused(attributes: dict[str, object]) -> None:
    pixels = image("u1")
    item = lut_item([1, 2, 3, 4])
    item.add_new(0x00283002, "US", attributes["LUTDescriptor"])
    with pytest.raises(NotAcceptableError, match="00283002"):
        levels(pixels, data_set(pixels, VOILUTSequence=[item]))
    del item.LUTData
    item.add_new(0x00283002, "US", [4, 0, 8])
    with pytest.raises(NotAcceptableError, match="00283006"):
        levels(pixels, data_set(pixels, VOILUTSequence=[item]))


@pytest.mark.parametrize(
    "table",
    [
        {"vr": "OW", "InlineBinary": "not base 64"},
        {"vr": "US", "Value": [1, "two"]},
        {"vr": "US", "Value": [1, None]},
        "none",
    ],
)
def test_entries_that_are_none_are_refused(table: object) -> None:
    pixels = image("u1")
    json = data_set(pixels, VOILUTSequence=[lut_item([1, 2, 3, 4])]).to_json_dict()
    json["00283010"]["Value"][0]["00283006"] = table
    with pytest.raises(NotAcceptableError, match="00283006"):
        levels(pixels, json)


def test_the_first_value_of_a_signed_table_may_be_written_without_sign() -> None:
    pixels = image("i2", low=-100, high=100)
    written, meant = data_set(pixels), data_set(pixels)
    meant.VOILUTSequence = [lut_item(range(200), first=-100, bits=8)]
    written.VOILUTSequence = [lut_item(range(200), first=0, bits=8)]
    written.VOILUTSequence[0].add_new(0x00283002, "US", [200, 65436, 8])
    assert np.array_equal(levels(pixels, written), levels(pixels, meant))


def test_low_is_white_in_monochrome1_whatever_else_says_so() -> None:
    """PS3.3 §C.7.6.3.1.2, §C.8.11.3.1.2: INVERSE and MONOCHROME1 mean the same inversion."""
    pixels = image("u2")
    window = {"WindowCenter": 500, "WindowWidth": 800}
    plain = 255 - levels(pixels, data_set(pixels, **window)).astype(int)
    for attributes in (
        {"PhotometricInterpretation": "MONOCHROME1"},
        {"PresentationLUTShape": "INVERSE"},
        {"PhotometricInterpretation": "MONOCHROME1", "PresentationLUTShape": "INVERSE"},
    ):
        inverted = levels(pixels, data_set(pixels, **window, **attributes))
        assert np.abs(inverted - plain).max() <= 1


@pytest.mark.parametrize("dtype", DTYPES)
def test_without_a_window_the_values_that_occur_are_one(dtype: str) -> None:
    pixels = image(dtype)
    low, high = float(pixels.min()), float(pixels.max())
    assert_near(levels(pixels, data_set(pixels)), 255 * (pixels.astype(float) - low) / (high - low))


@pytest.mark.parametrize("rows", [3, 300])
@pytest.mark.parametrize(
    ("dtype", "padding", "limit"),
    [("i2", -2000, None), ("i2", -2000, -1900), ("u2", 60000, 65535), ("u2", 65535, 60000)],
)
def test_padding_is_out_of_the_automatic_window(
    dtype: str, padding: int, limit: int | None, rows: int
) -> None:
    """PS3.3 §C.7.5.1.1.2."""
    pixels = image(dtype, rows=rows, low=0, high=1000)
    expected = levels(pixels, data_set(pixels))
    padded = pixels.copy()
    padded[0, :10] = padding if limit is None else (padding + limit) // 2
    dataset = data_set(padded)
    vr = "SS" if dtype == "i2" else "US"
    dataset.add_new(0x00280120, vr, padding)
    if limit is not None:
        dataset.add_new(0x00280121, vr, limit)
    assert np.array_equal(levels(padded, dataset)[1:], expected[1:])


def test_a_padding_value_of_the_wrong_sign_is_understood() -> None:
    pixels = image("i2", low=0, high=1000)
    expected = levels(pixels, data_set(pixels))
    pixels[0, 0] = -2000
    dataset = data_set(pixels)
    dataset.add_new(0x00280120, "US", 63536)
    assert np.array_equal(levels(pixels, dataset)[1:], expected[1:])


def test_what_is_no_number_is_black_and_out_of_the_window() -> None:
    pixels = image("f4")
    expected = levels(pixels, data_set(pixels))
    pixels[0, 0], pixels[0, 1] = np.nan, np.inf
    found = levels(pixels, data_set(pixels))
    assert found[0, 0] == 0
    assert np.array_equal(found[1:], expected[1:])


@pytest.mark.parametrize("dtype", DTYPES)
def test_an_image_of_one_value_is_black(dtype: str) -> None:
    pixels = np.full((300, 300), 7, dtype)
    assert not levels(pixels, data_set(pixels)).any()


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
def test_a_width_that_is_not_allowed_is_a_threshold(function: str) -> None:
    pixels = np.arange(256, dtype="u1").reshape(16, 16)
    dataset = data_set(pixels, WindowCenter=100, WindowWidth=0, VOILUTFunction=function)
    found = levels(pixels, dataset).reshape(-1)
    assert set(found[:99].tolist()) == {0}
    assert set(found[101:].tolist()) == {255}


def test_functional_groups_tell_of_each_frame() -> None:
    """PS3.3 §C.7.6.16.2.9, §C.7.6.16.2.10: a frame's own before the shared, before the image's."""

    def group(slope: float | None, window: tuple[int, int] | None) -> Dataset:
        item = Dataset()
        if slope is not None:
            item.PixelValueTransformationSequence = [Dataset()]
            item.PixelValueTransformationSequence[0].RescaleSlope = slope
            item.PixelValueTransformationSequence[0].RescaleIntercept = 0
        if window:
            item.FrameVOILUTSequence = [Dataset()]
            item.FrameVOILUTSequence[0].WindowCenter = window[0]
            item.FrameVOILUTSequence[0].WindowWidth = window[1]
        return item

    pixels = image("u2")
    dataset = data_set(pixels, WindowCenter=1, WindowWidth=2)
    dataset.SharedFunctionalGroupsSequence = [group(2, (500, 900))]
    dataset.PerFrameFunctionalGroupsSequence = [group(None, (1000, 300)), group(4, None)]
    first = data_set(pixels, RescaleSlope=2, RescaleIntercept=0, WindowCenter=1000, WindowWidth=300)
    second = data_set(pixels, RescaleSlope=4, RescaleIntercept=0, WindowCenter=500, WindowWidth=900)
    assert_near(levels(pixels, dataset, number=1), reference_levels(pixels, first))
    assert_near(levels(pixels, dataset, number=2), reference_levels(pixels, second))


@pytest.mark.parametrize("dtype", ["i4", "u2"])
def test_blocks_do_not_show(monkeypatch: pytest.MonkeyPatch, dtype: str) -> None:
    pixels = image(dtype)
    whole = levels(pixels, data_set(pixels))
    monkeypatch.setattr(values, "BLOCK_PIXELS", 700)
    assert np.array_equal(levels(pixels, data_set(pixels)), whole)
