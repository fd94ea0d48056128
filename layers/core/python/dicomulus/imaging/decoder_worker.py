"""The process that ``decoder_process`` starts: frames in, arrays or frames out, until its input ends."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import warnings
from dataclasses import asdict
from typing import IO, Any

import numpy as np

from dicomulus.imaging.decoder_process import MAX_DECODE_SECONDS, receive, send
from dicomulus.imaging.image_pixel import ImagePixel
from dicomulus.imaging.pydicom_frames import decode_here
from dicomulus.imaging.recode import recode_here


def serve(frames: IO[bytes], arrays: IO[bytes]) -> None:
    """Answer each frame with its array or its new form, or with nothing where there is none."""
    described: dict[str, Any]
    content: bytes | memoryview
    while True:
        try:
            head, frame = receive(frames)
        except EOFError:
            return
        # Who waits for the frame ends this process before; it may be gone itself.
        _end_in(2 * MAX_DECODE_SECONDS)
        try:
            described, content = _answer(json.loads(head), frame)
        # What codecs raise is not one family: every way of failing means the same.
        except Exception:  # noqa: BLE001
            described, content = {}, b""
        _end_in(0)
        send(arrays, json.dumps(described).encode(), content)


def _answer(told: dict[str, Any], frame: bytes) -> tuple[dict[str, Any], bytes | memoryview]:
    syntax, target = told.pop("transfer_syntax_uid"), told.pop("target", None)
    pixel = ImagePixel(**told)
    if target is not None:
        recoded = recode_here(frame, pixel, syntax, target)
        return asdict(recoded.form), recoded.content
    pixels = np.ascontiguousarray(decode_here(frame, pixel, syntax))
    described = {"dtype": pixels.dtype.str, "shape": pixels.shape}
    return described, pixels.reshape(-1).view(np.uint8).data


def _end_in(seconds: float) -> None:
    """End this process by then, never for 0, where the system can do that."""
    if hasattr(signal, "alarm"):
        signal.alarm(round(seconds))


def main() -> None:
    """Serve the streams that this process was started with."""
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    # Codecs write to the standard output too, so arrays go another way.
    with os.fdopen(os.dup(sys.stdout.fileno()), "wb") as arrays:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        serve(sys.stdin.buffer, arrays)


if __name__ == "__main__":
    main()
