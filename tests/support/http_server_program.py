"""Serves a few answers of awkward kinds on a port the system chooses, and prints the port."""

from __future__ import annotations

import sys
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from dicomulus.http_server import listen, serve
from dicomulus.settings import Settings
from dicomulus.wire import gunicorn_worker
from dicomulus.wire.message import Response

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dicomulus.wire.message import Request

CHUNK: Final = b"x" * 262_144
LONG: Final = 4_000
"""Chunks of a body that nobody can buffer unnoticed: 1 GB."""


class Endless:
    """A long body that counts how much of it was taken."""

    taken = 0
    closed = False

    def __iter__(self) -> Iterator[bytes]:
        """Give chunks."""
        for _ in range(LONG):
            Endless.taken += 1
            yield CHUNK

    def close(self) -> None:
        """Remember it."""
        Endless.closed = True


def failing() -> Iterator[bytes]:
    """Give a chunk, then fail."""
    yield CHUNK
    raise ValueError("DOE^JANE")


def handle(request: Request) -> Response:
    """Answer by the last segment of the path."""
    match request.segments[-1]:
        case "failing":
            return Response(200, body=failing())
        case "failing-of-known-length":
            return Response(200, body=failing(), content_length=3 * len(CHUNK))
        case "endless":
            return Response(200, body=Endless())
        case "taken":
            return Response(200, body=f"{Endless.taken} {Endless.closed}".encode())
        case "digest":
            digest = sha256()
            while chunk := request.body.read(len(CHUNK)):
                digest.update(chunk)
            return Response(200, body=digest.hexdigest().encode())
    facts = (request.segments, request.query, request.base_url)
    return Response(200, body=repr(facts).encode())


def main() -> None:
    """Serve with as many processes, and as patient with clients that stall, as is said."""
    gunicorn_worker.STALL_SECONDS = gunicorn_worker.HEAD_SECONDS = int(sys.argv[2])  # type: ignore[misc]
    listener = listen("127.0.0.1", 0)
    port = listener.getsockname()[1]
    serve(
        lambda: handle,
        settings=Settings(),
        listener=listener,
        workers=int(sys.argv[1]),
        ready=lambda: print(port, flush=True),
    )
    print("ended", flush=True)


if __name__ == "__main__":
    main()
