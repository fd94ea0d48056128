"""Single bits in RLE, and deflated frames (PS3.5 §G, §A.4.13)."""

from __future__ import annotations

import struct
import zlib
from dataclasses import replace
from typing import Final

import numpy as np
import pytest

from dicomulus.errors import NotAcceptableError
from dicomulus.imaging import packed_frames
from dicomulus.imaging.decode import decode_frame
from dicomulus.imaging.image_pixel import ImagePixel
from dicomulus.imaging.packed_frames import DEFLATED_IMAGE_FRAME, RLE, check_rle, unpacked
from dicomulus.imaging.pydicom_frames import decode_here

BITS: Final = ImagePixel(
    rows=30,
    columns=50,
    samples_per_pixel=1,
    photometric_interpretation="MONOCHROME2",
    bits_allocated=1,
    bits_stored=1,
    is_signed=False,
    planar_configuration=0,
)
WORDS: Final = replace(BITS, bits_allocated=16, bits_stored=16)
VALUES: Final = (np.arange(1500).reshape(30, 50) // 90 % 2).astype(np.uint8)
PACKED: Final = np.packbits(VALUES.reshape(-1), bitorder="little").tobytes()


def deflated(content: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(content) + packer.flush() + b"\0"


def in_rle(content: bytes, *, segments: int = 1) -> bytes:
    """Write runs as runs, everything else as it is, and a code that means nothing between."""
    written = bytearray(struct.pack("<16L", segments, 64, *[0] * 14))
    position = 0
    while position < len(content):
        run = 1
        while run < 128 and content[position : position + run + 1] == content[
            position : position + 1
        ] * (run + 1):
            run += 1
        written += bytes([257 - run]) if run > 1 else b"\0"
        written += content[position : position + 1]
        written += b"\x80"
        position += run
    return bytes(written)


@pytest.mark.parametrize(
    ("frame", "syntax"), [(deflated(PACKED), DEFLATED_IMAGE_FRAME), (in_rle(PACKED), RLE)]
)
def test_single_bits(frame: bytes, syntax: str) -> None:
    assert np.array_equal(decode_frame(frame, BITS, transfer_syntax_uid=syntax), VALUES)


def test_deflated_words() -> None:
    values = np.arange(1500, dtype="<u2").reshape(30, 50) * 40
    frame = deflated(values.tobytes())
    found = decode_frame(frame, WORDS, transfer_syntax_uid=DEFLATED_IMAGE_FRAME)
    assert np.array_equal(found, values)


def test_what_is_copied_is_copied_whole() -> None:
    content = bytes(range(100)) + bytes(88)
    frame = struct.pack("<16L", 1, 64, *[0] * 14) + b"\x63" + content[:100] + b"\xa9\0"
    found = decode_frame(frame, BITS, transfer_syntax_uid=RLE)
    assert np.packbits(found.reshape(-1), bitorder="little").tobytes() == content


@pytest.mark.parametrize(
    ("frame", "syntax"),
    [
        (b"no deflate", DEFLATED_IMAGE_FRAME),
        (deflated(PACKED[:-1]), DEFLATED_IMAGE_FRAME),
        (in_rle(PACKED[:-9]), RLE),
        (in_rle(PACKED, segments=2), RLE),
        (b"short", RLE),
    ],
)
def test_frames_that_are_not_packed_so_are_refused(frame: bytes, syntax: str) -> None:
    with pytest.raises(NotAcceptableError):
        decode_frame(frame, BITS, transfer_syntax_uid=syntax)


def test_a_segment_that_unpacks_to_far_more_than_the_image_is_refused_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two bytes become 128: a frame of 200 MB would take 13 GB of memory."""
    monkeypatch.setattr(packed_frames, "MAX_UNCHECKED_BYTES", 0)
    grey = replace(BITS, bits_allocated=8, bits_stored=8)
    check_rle(in_rle(bytes(1_500)), grey)
    with pytest.raises(ValueError, match="more than the image has"):
        check_rle(in_rle(bytes(5_000)), grey)


def test_a_large_frame_in_rle_is_what_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed_frames, "MAX_UNCHECKED_BYTES", 0)
    values = np.arange(1_500, dtype="<u2").reshape(30, 50)
    planes = [values.tobytes()[1::2], values.tobytes()[::2]]
    packed = [in_rle(plane)[64:] for plane in planes]
    header = struct.pack("<16L", 2, 64, 64 + len(packed[0]), *[0] * 13)
    assert np.array_equal(decode_here(b"".join([header, *packed]), WORDS, RLE), values)


def test_a_deflated_frame_does_not_grow_to_what_no_image_has() -> None:
    samples = replace(BITS, samples_per_pixel=60_000, bits_allocated=8, bits_stored=8)
    with pytest.raises(ValueError, match="more bits"):
        unpacked(deflated(bytes(90_000_000)), DEFLATED_IMAGE_FRAME, samples)
