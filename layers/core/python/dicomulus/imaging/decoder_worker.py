"""The process that ``decoder_process`` starts: frames in, arrays out, until its input ends."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import warnings
from typing import IO

import numpy as np

from dicomulus.imaging.decoder_process import MAX_DECODE_SECONDS, receive, send
from dicomulus.imaging.image_pixel import ImagePixel
from dicomulus.imaging.pydicom_frames import decode_here


def serve(frames: IO[bytes], arrays: IO[bytes]) -> None:
    """Answer each frame with its array, or with nothing where it is none that is decoded."""
    while True:
        try:
            head, frame = receive(frames)
        except EOFError:
            return
        told = json.loads(head)
        syntax = told.pop("transfer_syntax_uid")
        # Who waits for the frame ends this process before; it may be gone itself.
        _end_in(2 * MAX_DECODE_SECONDS)
        try:
            pixels = np.ascontiguousarray(decode_here(frame, ImagePixel(**told), syntax))
        # What codecs raise is not one family: every way of failing means the same.
        except Exception:  # noqa: BLE001
            _end_in(0)
            send(arrays, b"{}", b"")
            continue
        _end_in(0)
        described = {"dtype": pixels.dtype.str, "shape": pixels.shape}
        send(arrays, json.dumps(described).encode(), pixels.reshape(-1).view(np.uint8).data)


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
