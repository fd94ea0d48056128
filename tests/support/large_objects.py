"""Multi-frame objects of any size, in the shapes whose frames are found in different ways."""

from __future__ import annotations

import io
import random
import struct
from dataclasses import dataclass
from itertools import pairwise
from typing import IO, TYPE_CHECKING, Any, Final

import numpy as np
import pydicom
from PIL import Image

from dicomulus.dicom.resource import InstanceResource
from tests.support.datasets import EXPLICIT_LITTLE_ENDIAN, JPEG_BASELINE, ct_dataset, encode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_PIXEL_DATA: Final = b"\xe0\x7f\x10\x00"
_ITEM: Final = b"\xfe\xff\x00\xe0"
_DELIMITER: Final = b"\xfe\xff\xdd\xe0\0\0\0\0"
_UNDEFINED: Final = 0xFFFFFFFF
_LARGEST_COMMENT: Final = 65_000
_IMAGES: Final = 8
"""Different images that frames are made of; a comment in each makes every frame another."""


@dataclass(frozen=True, slots=True)
class LargeObject:
    """An object in a file, and what its frames are."""

    shape: str
    path: Path
    transfer_syntax_uid: str
    frames: int
    fragments: int
    """Items of the pixel data; 0 for native."""
    pixel_bytes: int
    """Bytes of all frames."""
    frame: Callable[[int], bytes]
    """Gives a frame, by its number from 1, as it must be read."""


def native(
    path: Path, *, frames: int, side: int, instance: InstanceResource | None = None
) -> LargeObject:
    """Write 16-bit frames of ``side`` times ``side``, all but begin and end holes in the file."""
    length = 2 * side * side

    def frame(number: int) -> bytes:
        mark = struct.pack("<Q", number)
        return mark + bytes(length - 16) + mark

    with path.open("wb") as file:
        file.write(
            _head(EXPLICIT_LITTLE_ENDIAN, frames=frames, side=side, bits=16, instance=instance)
        )
        file.write(_PIXEL_DATA + b"OW\0\0" + struct.pack("<L", frames * length))
        begin = file.tell()
        for number in range(1, frames + 1):
            mark = struct.pack("<Q", number)
            file.seek(begin + (number - 1) * length)
            file.write(mark)
            file.seek(begin + number * length - 8)
            file.write(mark)
    return LargeObject("native", path, EXPLICIT_LITTLE_ENDIAN, frames, 0, frames * length, frame)


def one_fragment_each(path: Path, *, frames: int, side: int, frame_bytes: int) -> LargeObject:
    """Write JPEG frames of a fragment each, about as long as said, with an empty offset table."""
    return _encapsulated(
        path,
        "a fragment a frame",
        frames=frames,
        side=side,
        frame_bytes=frame_bytes,
        cut=lambda frame, _: [frame],
    )


def several_fragments_each(path: Path, *, frames: int, side: int, frame_bytes: int) -> LargeObject:
    """Write JPEG frames of two to four fragments each, with an empty offset table.

    Nothing but their code streams tells where frames begin.
    """

    def cut(frame: bytes, sizes: random.Random) -> list[bytes]:
        edges = sorted(2 * sizes.randrange(1, len(frame) // 2) for _ in range(sizes.randint(1, 3)))
        edges = sorted({0, *edges, len(frame)})
        return [frame[begin:end] for begin, end in pairwise(edges)]

    return _encapsulated(
        path,
        "several fragments a frame",
        frames=frames,
        side=side,
        frame_bytes=frame_bytes,
        cut=cut,
    )


def _encapsulated(
    path: Path,
    shape: str,
    *,
    frames: int,
    side: int,
    frame_bytes: int,
    cut: Callable[[bytes, random.Random], list[bytes]],
) -> LargeObject:
    streams = [_jpeg(side, seed) for seed in range(_IMAGES)]
    lengths = random.Random(frames)
    padding = [
        max(0, lengths.randrange(frame_bytes // 2, 3 * frame_bytes // 2) - len(streams[0]))
        for _ in range(frames)
    ]

    def frame(number: int) -> bytes:
        stream = streams[number % _IMAGES]
        made = stream[:2] + b"".join(_comments(number, padding[number - 1])) + stream[2:]
        return made + bytes(len(made) % 2)

    with path.open("wb") as file:
        file.write(_head(JPEG_BASELINE, frames=frames, side=side, bits=8))
        file.write(_PIXEL_DATA + b"OB\0\0" + struct.pack("<L", _UNDEFINED) + _ITEM + bytes(4))
        fragments, pixel_bytes = _write_items(
            file, (cut(frame(number), lengths) for number in range(1, frames + 1))
        )
        file.write(_DELIMITER)
    return LargeObject(shape, path, JPEG_BASELINE, frames, fragments, pixel_bytes, frame)


def _write_items(file: IO[bytes], frames: Iterator[list[bytes]]) -> tuple[int, int]:
    count = size = 0
    for fragments in frames:
        for fragment in fragments:
            file.write(_ITEM + struct.pack("<L", len(fragment)))
            file.write(fragment)
            count += 1
            size += len(fragment)
    return count, size


def _comments(number: int, length: int) -> Iterator[bytes]:
    """Give comment segments of a code stream with a number and zeros (T.81 §B.2.4.5)."""
    yield b"\xff\xfe" + struct.pack(">HQ", 10, number)
    while length > 0:
        size = min(length, _LARGEST_COMMENT)
        yield b"\xff\xfe" + struct.pack(">H", size + 2) + bytes(size)
        length -= size


def _jpeg(side: int, seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side), dtype=np.uint8)
    ramp = np.linspace(0, 255, side, dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels // 4 + ramp[None, :] // 2).save(buffer, "JPEG", quality=80)
    return buffer.getvalue()


def _head(
    transfer_syntax: str,
    *,
    frames: int,
    side: int,
    bits: int,
    instance: InstanceResource | None = None,
) -> bytes:
    uids: dict[str, Any] = {}
    if instance is not None:
        uids = {
            "study_instance_uid": instance.study_instance_uid,
            "series_instance_uid": instance.series_instance_uid,
            "sop_instance_uid": instance.sop_instance_uid,
        }
    dataset = ct_dataset(patient_id=f"LARGE-{frames}-{transfer_syntax}", **uids)
    dataset.Rows = dataset.Columns = side
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = bits
    dataset.HighBit = bits - 1
    dataset.PixelRepresentation = 0
    dataset.NumberOfFrames = frames
    # Those of a CT would show nothing of what frames hold here.
    for keyword in ("WindowCenter", "WindowWidth", "RescaleIntercept", "RescaleSlope"):
        if keyword in dataset:
            delattr(dataset, keyword)
    return encode(dataset, transfer_syntax=transfer_syntax)


def instance_of(large: LargeObject) -> InstanceResource:
    """Give the instance that an object holds, from its header."""
    dataset = pydicom.dcmread(large.path, stop_before_pixels=True)
    return InstanceResource(
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.SOPInstanceUID
    )
