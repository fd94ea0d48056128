"""A small archive for the tests that look at its pages: what is in it, and how that should look."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from pydicom.data import get_testdata_file
from pydicom.encaps import encapsulate

from tests.support.datasets import JPEG_BASELINE, ct_dataset, encode
from tests.support.pydicom_corpus import read
from tests.support.rendering import reference_levels

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt
    from pydicom.dataset import Dataset

SIDE: Final = 128
"""Columns and rows of a slice."""

SLICES: Final = 8

STUDIES: Final = 5
"""One of each kind."""

HOSTILE_NAME: Final = "<script>document.write('taken')</script>^<b>Bold</b>"

REPORT: Final = "reportsi.dcm"


def slice_pixels(number: int) -> npt.NDArray[np.uint16]:
    """A slice whose disc is elsewhere in each, on a ramp."""
    y, x = np.mgrid[0:SIDE, 0:SIDE]
    ramp = 900 + x * 2.0
    disc = np.hypot(x - 30 - 8 * number, y - 60) < 20
    return np.asarray(np.where(disc, 1150, ramp), np.uint16)


def slice_content(number: int) -> bytes:
    """A slice as a file."""
    dataset = _with_pixels(ct_dataset(instance_number=number, patient_name="Müller^Jürgen"))
    dataset.PixelData = slice_pixels(number).tobytes()
    return encode(dataset)


def frames_content() -> bytes:
    """All slices as the frames of one instance, without a window."""
    dataset = _with_pixels(ct_dataset(patient_id="P-0003", patient_name="Frames^Felix"))
    del dataset.WindowCenter, dataset.WindowWidth
    dataset.NumberOfFrames = SLICES
    dataset.PixelData = b"".join(slice_pixels(n).tobytes() for n in range(1, SLICES + 1))
    return encode(dataset)


def broken_content() -> bytes:
    """An image that nothing decodes."""
    dataset = _with_pixels(ct_dataset(patient_id="P-0004", patient_name="Broken^Bo"))
    dataset.PixelData = encapsulate([b"\xff\xd8 no JPEG at all \xff\xd9"])
    dataset["PixelData"].is_undefined_length = True
    return encode(dataset, transfer_syntax=JPEG_BASELINE)


def _with_pixels(dataset: Dataset) -> Dataset:
    dataset.Rows = dataset.Columns = SIDE
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
    dataset.PixelRepresentation = 0
    dataset.SliceThickness = "5"
    return dataset


def hostile_content() -> bytes:
    """A file whose texts would be HTML, if they were taken for it."""
    dataset = ct_dataset(patient_id="P-0002", patient_name=HOSTILE_NAME)
    dataset.StudyDescription = dataset.SeriesDescription = "<script>document.title='taken'</script>"
    return encode(dataset)


def corpus_file(name: str) -> bytes:
    """A file that comes with pydicom."""
    path = get_testdata_file(name, download=False)
    assert isinstance(path, str)
    with open(path, "rb") as file:  # noqa: PTH123
        return file.read()


@dataclass(frozen=True)
class Shown:
    """What is in the folder."""

    folder: Path

    @cached_property
    def slices(self) -> list[Dataset]:
        """The slices, in order."""
        return [read(slice_content(number)) for number in range(1, SLICES + 1)]

    @property
    def study(self) -> str:
        """The study of the slices."""
        return str(self.slices[0].StudyInstanceUID)

    @property
    def series(self) -> str:
        """Their series."""
        return str(self.slices[0].SeriesInstanceUID)

    def levels(self, number: int) -> npt.NDArray[Any]:
        """Grey levels of a slice as pydicom makes them; numbers begin at 1."""
        return reference_levels(slice_pixels(number), self.slices[number - 1])

    def write(self) -> None:
        """Write the files."""
        self.folder.mkdir(exist_ok=True)
        for number in range(1, SLICES + 1):
            (self.folder / f"ct{number}.dcm").write_bytes(slice_content(number))
        (self.folder / "hostile.dcm").write_bytes(hostile_content())
        (self.folder / "frames.dcm").write_bytes(frames_content())
        (self.folder / "broken.dcm").write_bytes(broken_content())
        (self.folder / REPORT).write_bytes(corpus_file(REPORT))
