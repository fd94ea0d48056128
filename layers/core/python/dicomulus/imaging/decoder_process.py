"""Frames decoded and encoded in a process of its own, which a damaged one may take with it.

Codecs in C abort or crash at some of what they are given; a server that decoded by itself would go
with all the answers that it is giving. The process is started by the first frame and stays.
"""

from __future__ import annotations

import atexit
import json
import os
import struct
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import asdict
from typing import IO, TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from dicomulus.imaging.image_pixel import ImagePixel, Pixels

MAX_DECODE_SECONDS: Final = 30.0
"""For one frame, the process' start included; a codec that takes longer is taken to go round."""

LENGTHS: Final = struct.Struct(">LQ")
"""Before each message: bytes of its JSON, and of the frame or the pixels after it."""

_Answer = tuple[dict[str, Any], bytes]

_WORKER: Final = "dicomulus.imaging.decoder_worker"


class DecoderProcess:
    """Decodes one frame at a time, in a process that is started again when it has ended."""

    def __init__(self, worker: str = _WORKER) -> None:
        """Run a module that answers as ``decoder_worker`` does."""
        self._worker = worker
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = 0
        atexit.register(self.close)

    def decode(self, frame: bytes, pixel: ImagePixel, transfer_syntax_uid: str) -> Pixels:
        """Decode a frame.

        Raises:
            ValueError: It cannot be decoded, or the process ended over it.
        """
        described, pixels = self._asked(frame, pixel, transfer_syntax_uid)
        return np.frombuffer(pixels, described["dtype"]).reshape(described["shape"])

    def recode(
        self, frame: bytes, pixel: ImagePixel, transfer_syntax_uid: str, *, target: str
    ) -> tuple[dict[str, Any], bytes]:
        """Give a frame in another transfer syntax, and what the data set has to say of it.

        Raises:
            ValueError: It cannot be given so, or the process ended over it.
        """
        return self._asked(frame, pixel, transfer_syntax_uid, target=target)

    def _asked(
        self, frame: bytes, pixel: ImagePixel, transfer_syntax_uid: str, **further: str
    ) -> _Answer:
        told = asdict(pixel) | {"transfer_syntax_uid": transfer_syntax_uid} | further
        head = json.dumps(told).encode()
        with self._lock:
            process = self._running()
            timer = threading.Timer(MAX_DECODE_SECONDS, process.kill)
            timer.start()
            try:
                answer, content = _exchange(process, head, frame)
            except (EOFError, OSError) as exc:
                self._end()
                raise ValueError("the decoder ended over the frame") from exc
            except BaseException:
                # What is left of the answer must not become that of the next frame.
                self._end()
                raise
            finally:
                timer.cancel()
        described = json.loads(answer)
        if not described:
            raise ValueError("the frame is none that is decoded")
        return described, content

    def close(self) -> None:
        """Let the process end; the next frame starts another."""
        with self._lock:
            process = self._given_up()
        if process is None:
            return
        with suppress(OSError):
            process.communicate()  # closes its input, at whose end it ends

    def _running(self) -> subprocess.Popen[bytes]:
        # After a fork the process is still the parent's.
        is_own = self._process is not None and self._owner == os.getpid()
        if self._process is not None and is_own and self._process.poll() is not None:
            self._end()  # the system has ended it since, as for want of memory
        if self._process is None or not is_own:
            environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
            self._process = subprocess.Popen(  # noqa: S603 - this interpreter, a module of ours
                [sys.executable, "-P", "-m", self._worker],  # -P: no module of the current folder
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,  # what codecs say of a frame is of no use to anybody
                env=environment,
            )
            self._owner = os.getpid()
        return self._process

    def _end(self) -> None:
        process = self._given_up()
        if process is None:
            return
        process.kill()
        with suppress(OSError):
            process.communicate()

    def _given_up(self) -> subprocess.Popen[bytes] | None:
        """Give the process if it is this one's child, and forget it."""
        process, self._process = self._process, None
        return process if self._owner == os.getpid() else None


def _exchange(process: subprocess.Popen[bytes], head: bytes, frame: bytes) -> tuple[bytes, bytes]:
    if process.stdin is None or process.stdout is None:
        raise EOFError
    send(process.stdin, head, frame)
    return receive(process.stdout)


def send(stream: IO[bytes], head: bytes, content: bytes | memoryview) -> None:
    """Write one message."""
    stream.write(LENGTHS.pack(len(head), len(content)))
    stream.write(head)
    stream.write(content)
    stream.flush()


def receive(stream: IO[bytes]) -> tuple[bytes, bytes]:
    """Read one message.

    Raises:
        EOFError: The stream ends before the message does.
    """
    head_length, length = LENGTHS.unpack(_read(stream, LENGTHS.size))
    return _read(stream, head_length), _read(stream, length)


def _read(stream: IO[bytes], length: int) -> bytes:
    content = stream.read(length)
    if len(content) < length:
        raise EOFError
    return content


def decode_apart(frame: bytes, pixel: ImagePixel, transfer_syntax_uid: str) -> Pixels:
    """Decode a frame in this process' own decoder process; errors as for its ``decode``."""
    return _DECODER.decode(frame, pixel, transfer_syntax_uid)


def recode_apart(
    frame: bytes, pixel: ImagePixel, transfer_syntax_uid: str, *, target: str
) -> tuple[dict[str, Any], bytes]:
    """Recode a frame in this process' own decoder process; as its ``recode``."""
    return _DECODER.recode(frame, pixel, transfer_syntax_uid, target=target)


_DECODER: Final = DecoderProcess()


def close() -> None:
    """Let this process' own decoder process end."""
    _DECODER.close()
