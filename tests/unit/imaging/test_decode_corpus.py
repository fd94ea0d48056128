"""Every frame of pydicom's files is what pydicom makes of the whole file, or refused for a reason."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pytest

from dicomulus.dicom.json_stream import parse_data_set
from dicomulus.errors import FrameNotFoundError, ResponseTooLargeError
from dicomulus.imaging.decode import decode_frame
from dicomulus.imaging.image_pixel import ImagePixel
from dicomulus.services.fragments import FragmentReader
from tests.support import pydicom_corpus
from tests.support.archives import small_archive
from tests.support.rendering import image_files

if TYPE_CHECKING:
    import numpy.typing as npt

    from dicomulus.errors import DicomulusError
    from dicomulus.ports import InstanceRow
    from tests.support.archives import Small

# File, and why no array is made of it.
REFUSED: Final[dict[str, type[DicomulusError]]] = {
    # The code stream says it has 14,540,801 columns of tiles: its header is damaged.
    "test_files/JPEG2000-embedded-sequence-delimiter.dcm": ResponseTooLargeError,
    # The object ends before its only frame does.
    "test_files/MR_truncated.dcm": FrameNotFoundError,
}

# What pydicom leaves to a decoder that is under the GPL, or stumbles over elsewhere in the file.
BEYOND_PYDICOM: Final = {
    "test_files/JPEG-lossy.dcm": "JPEG Extended of 12 bits",
    "test_files/JPGExtended.dcm": "JPEG Extended of 12 bits",
    "test_files/badVR.dcm": "NumberOfFrames is 1A",
}


FILES: Final = image_files()


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Small:
    return small_archive(tmp_path_factory.mktemp("corpus"))


def frames_of(small: Small, name: str) -> tuple[InstanceRow, list[npt.NDArray[Any]]]:
    (row,) = small.take({name: FILES[name]}).indexed
    fragments = FragmentReader(small.index, small.cache, queue=small.queue)
    pixel = ImagePixel.from_attributes(parse_data_set(fragments.text(row)))
    frames = small.archive.retrieve.frames_of(row)
    syntax = frames.transfer_syntax_uid
    read = [b"".join(content.chunks) for content in frames.contents]
    return row, [decode_frame(frame, pixel, transfer_syntax_uid=syntax) for frame in read]


@pytest.mark.parametrize("name", sorted(FILES.keys() - REFUSED.keys() - BEYOND_PYDICOM.keys()))
def test_frames_are_pydicoms_pixel_array(small: Small, name: str) -> None:
    _, frames = frames_of(small, name)
    expected = pydicom_corpus.read(FILES[name]).pixel_array
    if len(frames) == 1 and expected.ndim == frames[0].ndim:
        expected = expected[np.newaxis]
    assert np.array_equal(np.stack(frames), expected, equal_nan=expected.dtype.kind == "f")
    assert frames[0].dtype.newbyteorder("<") == expected.dtype.newbyteorder("<")


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_what_cannot_be_decoded_is_refused_for_a_reason(small: Small, name: str) -> None:
    with pytest.raises(REFUSED[name]):
        frames_of(small, name)


@pytest.mark.parametrize("name", ["test_files/JPEG-lossy.dcm", "test_files/JPGExtended.dcm"])
def test_jpeg_extended_of_12_bits_is_decoded(small: Small, name: str) -> None:
    """The two pixels are those that pydicom's own tests expect of its decoder under the GPL."""
    _, (frame,) = frames_of(small, name)
    assert frame.dtype == np.uint16
    assert frame.shape == (1024, 256)
    assert (frame[420, 140], frame[230, 120]) == (244, 95)


def test_a_number_of_frames_that_is_none_costs_no_frame(small: Small) -> None:
    _, frames = frames_of(small, "test_files/badVR.dcm")
    assert frames[0].shape == (10, 10)
