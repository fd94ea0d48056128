"""The files that come with pydicom, laid out so that each of them is an instance of its own."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pydicom
from pydicom.encaps import generate_frames

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydicom import Dataset

ROOT: Final = Path(pydicom.__file__).parent / "data"

FILES: Final = tuple(sorted(path.relative_to(ROOT).as_posix() for path in ROOT.rglob("*.dcm")))
"""All that are called ``.dcm``, relative to the root."""

_REQUIRED: Final = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")


def file_name(name: str) -> str:
    """Give a corpus file's name as one path segment."""
    return name.replace("/", "__")


def contents() -> dict[str, bytes]:
    """Give the files as they are."""
    return {name: (ROOT / name).read_bytes() for name in FILES}


def instances_apart() -> dict[str, bytes]:
    """Give the files that are instances by SOP Instance UID.

    Where several share one, all but the first have the last four characters of theirs replaced,
    everywhere in the file, so that no length changes.
    """
    apart: dict[str, bytes] = {}
    for content in contents().values():
        dataset = read(content)
        if not all(keyword in dataset for keyword in _REQUIRED):
            continue
        uid = str(dataset.SOPInstanceUID)
        free = next(each for each in _similar(uid) if each not in apart)
        apart[free] = content.replace(uid.encode(), free.encode())
    return apart


def read(content: bytes) -> Dataset:
    """Read a file as pydicom does, File Meta Information or not."""
    return pydicom.dcmread(io.BytesIO(content), force=True)


def frames_of(dataset: Dataset) -> list[bytes]:
    """Give the frames of an image as pydicom finds them: code streams, or little-endian pixels.

    Of pixels of one bit each frame begins with a byte of its own, as on the web. A frame that the
    end of the file cuts short is none.

    Raises:
        ValueError: The number of frames is none.
    """
    syntax = dataset.file_meta.get("TransferSyntaxUID")
    count = int(dataset.get("NumberOfFrames") or 1)
    if syntax is not None and syntax.is_encapsulated:
        return list(generate_frames(dataset.PixelData, number_of_frames=count))
    value = dataset.PixelData
    if dataset.original_encoding[1] is False:
        value = _swapped(value, unit=max(2, dataset.BitsAllocated // 8), vr=dataset["PixelData"].VR)
    samples = dataset.Rows * dataset.Columns * dataset.SamplesPerPixel
    if dataset.PhotometricInterpretation == "YBR_FULL_422":
        samples = samples // 3 * 2
    if dataset.BitsAllocated == 1:
        return _bit_frames(value, samples, count)
    length = samples * dataset.BitsAllocated // 8
    frames = (value[at : at + length] for at in range(0, length * count, length))
    return [frame for frame in frames if len(frame) == length]


def _similar(uid: str) -> Iterator[str]:
    yield uid
    for number in range(1_000, 10_000):
        yield f"{uid[:-4]}{number}"


def _swapped(value: bytes, *, unit: int, vr: str) -> bytes:
    if vr == "OB":
        return value
    return b"".join(value[at : at + unit][::-1] for at in range(0, len(value), unit))


def _bit_frames(value: bytes, bits: int, count: int) -> list[bytes]:
    stream = int.from_bytes(value, "little")
    mask = (1 << bits) - 1
    return [
        ((stream >> (bits * index)) & mask).to_bytes(-(-bits // 8), "little")
        for index in range(count)
    ]
