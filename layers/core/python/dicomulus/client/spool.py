"""The spool of the gateway: what was received, on disk until a server has it."""

from __future__ import annotations

import itertools
import os
import sys
import time
import weakref
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Final

from dicomulus.client.sources import FileSource
from dicomulus.errors import ConfigurationError

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

if TYPE_CHECKING:
    from collections.abc import Iterator

_BUFFER_BYTES: Final = 262_144
_SUFFIX: Final = ".dcm"


class Arriving:
    """A file that is being received.

    An error of the disk is kept instead of raised, for whoever answers the sender. What is not
    accepted is removed, at the latest when nobody knows of it any more.
    """

    def __init__(self, path: Path) -> None:
        """Begin the file."""
        self.name: Final = os.fspath(path)
        self.error: OSError | None = None
        self._descriptor = -1
        self._held = bytearray()
        try:
            self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except OSError as exc:
            self.error = exc
        self._removal = weakref.finalize(self, _discard, self._descriptor, self.name)

    @property
    def file(self) -> Arriving:
        """The file itself, as temporary files have it."""
        return self

    def write(self, content: bytes) -> int:
        """Add bytes, unless an error came before."""
        self._held += content
        if len(self._held) >= _BUFFER_BYTES:
            self._write_held()
        return len(content)

    def flush(self) -> None:
        """Do nothing: what is not accepted may be lost."""

    def close(self) -> None:
        """Remove it, unless it was accepted."""
        self._removal()

    def settle(self) -> None:
        """Bring all of it to the disk.

        Raises:
            OSError: The disk does not take it.
        """
        self._write_held()
        if self.error is not None:
            raise self.error
        os.fsync(self._descriptor)

    def accept_as(self, path: Path) -> None:
        """Give it the name under which it stays.

        Raises:
            OSError: The disk does not take it.
        """
        self.settle()
        Path(self.name).rename(path)
        self._removal.detach()
        os.close(self._descriptor)
        sync_folder(path.parent)

    def _write_held(self) -> None:
        left = memoryview(bytes(self._held))
        self._held.clear()
        try:
            while left and self.error is None:
                left = left[os.write(self._descriptor, left) :]
        except OSError as exc:
            self.error = exc


class Spool:
    """A folder of received files: ``incoming``, ``ready`` to be forwarded, and ``refused``."""

    def __init__(self, folder: Path) -> None:
        """Take a folder for this process alone; what an earlier one left half received goes.

        Raises:
            ConfigurationError: It cannot be used, or another process has it.
        """
        self.folder = folder
        self._incoming, self._ready = folder / "incoming", folder / "ready"
        self.refused = folder / "refused"
        self._numbers = itertools.count()
        self._lock = Lock()
        self._arriving: weakref.WeakValueDictionary[str, Arriving] = weakref.WeakValueDictionary()
        try:
            for each in (self._incoming, self._ready, self.refused):
                each.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._held = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
            _hold(self._held)
            for left in self._incoming.iterdir():
                left.unlink()
        except BlockingIOError as exc:
            raise ConfigurationError(f"spool: {folder} is used by another gateway") from exc
        except OSError as exc:
            raise ConfigurationError(f"spool: {folder}: {exc.strerror}") from exc

    def arriving(self, *_: object, **__: object) -> Arriving:
        """Begin a file; takes and ignores what temporary files are made with."""
        new = Arriving(self._incoming / f"{self._next()}.part")
        with self._lock:
            self._arriving[new.name] = new
        return new

    def arrived(self, path: Path | None) -> Arriving | None:
        """Give the file that is being received under a path."""
        with self._lock:
            return self._arriving.get(str(path))

    def accept(self, arrived: Arriving) -> None:
        """Make a received file one that is forwarded; it is durable when this returns.

        Raises:
            OSError: The disk does not take it.
        """
        arrived.accept_as(self._ready / f"{self._next()}{_SUFFIX}")

    def waiting(self) -> Iterator[FileSource]:
        """Give what is to be forwarded, in the order of its arrival."""
        for name in sorted(os.listdir(self._ready)):  # noqa: PTH208 - names alone, of very many
            path = self._ready / name
            with suppress(FileNotFoundError):
                yield FileSource.found(path, path.stat())

    def count(self) -> int:
        """Count what is to be forwarded."""
        return sum(1 for _ in os.scandir(self._ready))

    def done(self, source: FileSource) -> None:
        """Remove what the server has."""
        source.path.unlink(missing_ok=True)

    def refuse(self, source: FileSource, reason: str) -> Path:
        """Put aside what the server never takes, with the reason beside it."""
        kept = self.refused / source.path.name
        kept.with_suffix(".txt").write_text(reason + "\n", encoding="utf-8")
        source.path.rename(kept)
        sync_folder(self.refused)
        return kept

    def close(self) -> None:
        """Let others have the folder."""
        os.close(self._held)

    def _next(self) -> str:
        """Give a name that sorts after all before it."""
        return f"{time.time_ns():020d}-{os.getpid()}-{next(self._numbers):06d}"


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable, where the system can."""
    if sys.platform == "win32":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _discard(descriptor: int, name: str) -> None:
    if descriptor >= 0:
        os.close(descriptor)
        with suppress(OSError):
            Path(name).unlink()


if sys.platform == "win32":

    def _hold(descriptor: int) -> None:
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError as exc:
            raise BlockingIOError from exc

else:

    def _hold(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
