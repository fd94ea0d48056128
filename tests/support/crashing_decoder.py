"""A decoder process that does with a frame what the frame says."""

from __future__ import annotations

import os
import sys
import time

from dicomulus.imaging.decoder_process import receive, send

if __name__ == "__main__":
    while True:
        try:
            _, frame = receive(sys.stdin.buffer)
        except EOFError:
            break
        if frame == b"abort":
            os.abort()
        if frame == b"sleep":
            time.sleep(600)
        if frame == b"half":
            sys.stdout.buffer.write(b"\0\0\0")
            break
        pid = str(os.getpid())
        answer = f'{{"dtype": "|u1", "shape": [1, {len(pid)}]}}'
        send(sys.stdout.buffer, answer.encode(), pid.encode())
