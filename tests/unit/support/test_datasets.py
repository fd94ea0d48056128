"""The generated data have the shape that benchmarks and tests say they have."""

from __future__ import annotations

import io
import json

import pytest
from pydicom import Dataset, FileDataset, dcmread
from pydicom.encaps import generate_frames

from tests.support import datasets


def _read(content: bytes) -> FileDataset:
    return dcmread(io.BytesIO(content))


def _count(dataset: Dataset) -> int:
    return sum(1 for _ in dataset.iterall())


def test_a_generated_study_has_the_founding_complaints_shape() -> None:
    first = next(datasets.generated_study(instances=1))
    dataset = _read(first.content)
    header = len(first.content) - len(dataset.PixelData)
    text = json.dumps(
        dataset.to_json_dict(bulk_data_element_handler=lambda _: "bulk"),
        separators=(",", ":"),
        ensure_ascii=False,
    )
    assert 135 <= len(dataset) <= 145
    assert 175 <= _count(dataset) <= 195
    assert sum(element.VR == "SQ" for element in dataset) == 10
    assert 3_800 <= header <= 4_500
    assert 8_000 <= len(text.encode()) <= 10_000
    assert dataset.pixel_array.shape == (64, 64)


def test_a_generated_study_counts_its_series_and_instances() -> None:
    study = list(datasets.generated_study(series=2, instances=3, seed=5))
    assert [(one.series_number, one.instance_number) for one in study] == [
        (1, 1), (1, 2), (1, 3), (2, 1), (2, 2), (2, 3),
    ]  # fmt: skip
    assert len({one.sop_instance_uid for one in study}) == 6
    for one in study:
        dataset = _read(one.content)
        assert dataset.StudyInstanceUID == one.study_instance_uid
        assert dataset.SeriesInstanceUID == one.series_instance_uid
        assert dataset.SOPInstanceUID == one.sop_instance_uid
        assert dataset.file_meta.MediaStorageSOPInstanceUID == one.sop_instance_uid


def test_instances_of_a_series_differ_in_some_twenty_elements() -> None:
    one, other = (_read(x.content) for x in datasets.generated_study(series=1, instances=2))
    differing = [tag for tag in one if tag != other[tag.tag]]
    assert 18 <= len(differing) <= 26


def test_the_seed_decides() -> None:
    first = list(datasets.generated_study(series=1, instances=2, seed=1))
    assert list(datasets.generated_study(series=1, instances=2, seed=1)) == first
    assert list(datasets.generated_study(series=1, instances=2, seed=2)) != first


@pytest.mark.parametrize(
    "transfer_syntax",
    [
        datasets.EXPLICIT_LITTLE_ENDIAN,
        datasets.IMPLICIT_LITTLE_ENDIAN,
        datasets.EXPLICIT_BIG_ENDIAN,
        datasets.DEFLATED,
        datasets.RLE,
    ],
)
@pytest.mark.parametrize("bits", [8, 16])
def test_pixels_read_as_the_frames_given(transfer_syntax: str, bits: int) -> None:
    dataset = _read(
        datasets.ct_instance(transfer_syntax=transfer_syntax, frames=3, bits_allocated=bits)
    )
    pixels = dataset.pixel_array.astype(f"<u{bits // 8}").tobytes()
    assert pixels == b"".join(
        datasets.native_frame(number, bits_allocated=bits) for number in (1, 2, 3)
    )


@pytest.mark.parametrize(
    ("offset_table", "fragments"),
    [("basic", 1), ("basic", 4), ("empty", 1), ("empty", 4), ("extended", 1)],
)
def test_code_streams_are_found_again(offset_table: str, fragments: int) -> None:
    dataset = _read(
        datasets.ct_instance(
            transfer_syntax=datasets.JPEG_2000,
            frames=3,
            fragments=fragments,
            offset_table=offset_table,
        )
    )
    extended = None
    if offset_table == "extended":
        extended = (dataset.ExtendedOffsetTable, dataset.ExtendedOffsetTableLengths)
    found = list(generate_frames(dataset.PixelData, number_of_frames=3, extended_offsets=extended))
    assert found == [
        datasets.code_stream(number, datasets.JPEG_2000, length=200 + 10 * number)
        for number in (1, 2, 3)
    ]


@pytest.mark.parametrize(
    "transfer_syntax",
    [
        datasets.EXPLICIT_LITTLE_ENDIAN,
        datasets.IMPLICIT_LITTLE_ENDIAN,
        datasets.EXPLICIT_BIG_ENDIAN,
    ],
)
def test_raw_elements_are_written_as_given(transfer_syntax: str) -> None:
    dataset = _read(
        datasets.ct_instance(
            transfer_syntax=transfer_syntax,
            attributes={"PatientWeight": "1,5"},
            raw={0x00091001: ("FL", b"sixsix"), 0x00091002: ("OB", b"\0\1")},
        )
    )
    implicit = transfer_syntax == datasets.IMPLICIT_LITTLE_ENDIAN
    raw = dataset.get_item(0x00091001)
    assert (raw.VR, raw.value) == (None if implicit else "FL", b"sixsix")
    assert dataset.get_item("PatientWeight").value == b"1,5 "


def test_a_data_set_without_file_meta_begins_with_its_first_element() -> None:
    content = datasets.ct_instance(has_file_meta=False, omit=("StudyInstanceUID",))
    assert content.startswith(b"\x08\0\x05\0CS")
    assert "StudyInstanceUID" not in dcmread(io.BytesIO(content), force=True)
