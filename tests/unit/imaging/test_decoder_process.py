"""A frame that takes its decoder with it takes nothing else."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from typing import TYPE_CHECKING, Final

import numpy as np
import pytest
from PIL import Image

from dicomulus.errors import NotAcceptableError
from dicomulus.imaging import decoder_process
from dicomulus.imaging.decode import decode_frame
from dicomulus.imaging.decoder_process import DecoderProcess, receive, send
from dicomulus.imaging.image_pixel import ImagePixel

if TYPE_CHECKING:
    from collections.abc import Iterator

JPEG_2000: Final = "1.2.840.10008.1.2.4.90"

GREY: Final = ImagePixel(
    rows=4,
    columns=6,
    samples_per_pixel=1,
    photometric_interpretation="MONOCHROME2",
    bits_allocated=8,
    bits_stored=8,
    is_signed=False,
    planar_configuration=0,
)


@pytest.fixture
def crashing() -> Iterator[DecoderProcess]:
    process = DecoderProcess("tests.support.crashing_decoder")
    yield process
    process.close()


def pid_of(process: DecoderProcess) -> int:
    """Give the id of the process that decodes."""
    return int(process.decode(b"", GREY, JPEG_2000).tobytes())


def test_the_process_stays(crashing: DecoderProcess) -> None:
    assert pid_of(crashing) == pid_of(crashing) != os.getpid()


@pytest.mark.parametrize("frame", [b"abort", b"half"])
def test_a_process_that_ends_is_started_again(crashing: DecoderProcess, frame: bytes) -> None:
    before = pid_of(crashing)
    with pytest.raises(ValueError, match="ended over the frame"):
        crashing.decode(frame, GREY, JPEG_2000)
    assert pid_of(crashing) != before


def test_a_process_that_was_killed_meanwhile_costs_no_frame(crashing: DecoderProcess) -> None:
    before = pid_of(crashing)
    os.kill(before, 9)
    os.waitid(os.P_PID, before, os.WEXITED | os.WNOWAIT)
    assert crashing.decode(b"x" * 1_000_000, GREY, JPEG_2000).size
    assert pid_of(crashing) != before


def test_an_answer_that_was_not_taken_is_not_that_of_the_next_frame(
    crashing: DecoderProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would be another patient's."""
    before = pid_of(crashing)

    def fails(_: object) -> tuple[bytes, bytes]:
        raise MemoryError

    monkeypatch.setattr(decoder_process, "receive", fails)
    with pytest.raises(MemoryError):
        crashing.decode(b"first", GREY, JPEG_2000)
    monkeypatch.undo()
    assert pid_of(crashing) != before


def test_a_frame_has_its_time(crashing: DecoderProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    before = pid_of(crashing)
    monkeypatch.setattr(decoder_process, "MAX_DECODE_SECONDS", 0.1)
    with pytest.raises(ValueError, match="ended"):
        crashing.decode(b"sleep", GREY, JPEG_2000)
    monkeypatch.undo()
    assert pid_of(crashing) != before


def test_frames_that_come_together_have_their_own_answers() -> None:
    frames = {}
    for level in range(8):
        buffer = BytesIO()
        Image.new("L", (6, 4), level * 30).save(buffer, "JPEG2000", no_jp2=True)
        frames[level] = buffer.getvalue()

    def decoded(level: int) -> set[int]:
        found = decode_frame(frames[level], GREY, transfer_syntax_uid=JPEG_2000)
        return set(found.reshape(-1).tolist())

    with ThreadPoolExecutor(8) as executor:
        assert list(executor.map(decoded, frames)) == [{level * 30} for level in frames]


def test_a_code_stream_that_aborts_its_codec_is_not_acceptable() -> None:
    """GDCM ends the process where the samples of a JPEG 2000 stream are not those declared."""
    buffer = BytesIO()
    Image.new("L", (6, 4), 90).save(buffer, "JPEG2000", no_jp2=True)
    colour = ImagePixel(4, 6, 3, "RGB", 8, 8, is_signed=False, planar_configuration=0)
    with pytest.raises(NotAcceptableError):
        decode_frame(buffer.getvalue(), colour, transfer_syntax_uid=JPEG_2000)
    found = decode_frame(buffer.getvalue(), GREY, transfer_syntax_uid=JPEG_2000)
    assert np.array_equal(found, np.full((4, 6), 90))


def test_messages_are_read_whole_or_not_at_all() -> None:
    stream = BytesIO()
    send(stream, b"{}", b"content")
    whole = stream.getvalue()
    assert receive(BytesIO(whole)) == (b"{}", b"content")
    for end in range(1, len(whole)):
        with pytest.raises(EOFError):
            receive(BytesIO(whole[:end]))
