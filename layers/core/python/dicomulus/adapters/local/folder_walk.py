"""The regular files below a folder, whatever links, permissions and other programs do."""

from __future__ import annotations

import os
import stat
from collections import deque
from typing import TYPE_CHECKING

from dicomulus.adapters.local.file_keys import is_object_name, key_of_path
from dicomulus.adapters.local.network_file_system import kernel_devices

# Paths are bytes here, since names need not be text, and pathlib knows no bytes.
# ruff: noqa: PTH116, PTH118

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, MutableMapping

FolderId = tuple[int, int]
"""Device and inode."""


class FolderWalk:
    """One walk. Each folder is visited once: at its own place, else by the first link to it."""

    def __init__(
        self,
        root: bytes,
        *,
        hidden: Collection[FolderId],
        unreadable: MutableMapping[str, str],
    ) -> None:
        """Prepare a walk.

        Args:
            root: The folder that keys are relative to, with all links resolved.
            hidden: Folders that are left out.
            unreadable: Takes the key of each folder or file that cannot be looked at, and the
                reason.
        """
        self._root = root
        self._visited = set(hidden)
        self._unreadable = unreadable
        self._folders: list[bytes] = []
        self._links: deque[bytes] = deque()
        self._kernel: frozenset[int] | None = None
        self._device: int | None = None

    def files(self, start: bytes) -> Iterator[tuple[str, os.stat_result]]:
        """Give key and status of each file under a path relative to the root, "" for the root.

        No file is open while the caller works.
        """
        self._folders.append(start)
        while self._folders or self._links:
            # Links wait, so that a folder is found at its own place first.
            folder = self._folders.pop() if self._folders else self._links.popleft()
            yield from self._files_of(folder)

    def _files_of(self, folder: bytes) -> Iterator[tuple[str, os.stat_result]]:
        path = os.path.join(self._root, folder)
        try:
            if not self._is_new(os.stat(path)):
                return
            with os.scandir(path) as found:
                entries = sorted(found, key=lambda entry: entry.name)
        except OSError as exc:
            self._note(folder, exc)
            return
        for entry in entries:
            if not is_object_name(entry.name):
                continue
            relative = folder + b"/" + entry.name if folder else entry.name
            status = self._look(entry, relative)
            if status is None or self._is_of_kernel(status):
                continue
            if stat.S_ISREG(status.st_mode):
                yield key_of_path(relative), status
            elif stat.S_ISDIR(status.st_mode):
                self._remember(entry, relative)

    def _is_new(self, status: os.stat_result) -> bool:
        identity = (status.st_dev, status.st_ino)
        if identity in self._visited:
            return False
        self._visited.add(identity)
        return True

    def _is_of_kernel(self, status: os.stat_result) -> bool:
        """Whether a link has led to a place like ``/proc``, whose files are endless or hang."""
        if self._device is None:
            self._device = os.stat(self._root).st_dev
        if status.st_dev == self._device:
            return False
        if self._kernel is None:
            self._kernel = kernel_devices()
        return status.st_dev in self._kernel

    def _look(self, entry: os.DirEntry[bytes], relative: bytes) -> os.stat_result | None:
        try:
            return entry.stat()
        except OSError as exc:
            self._note(relative, exc)
            return None

    def _remember(self, entry: os.DirEntry[bytes], relative: bytes) -> None:
        if not entry.is_symlink():
            self._folders.append(relative)
        elif not self._is_inside(os.path.realpath(entry.path)):
            self._links.append(relative)

    def _is_inside(self, path: bytes) -> bool:
        # What a link names inside the root is visited at its own place, in this walk or another.
        return path == self._root or path.startswith(self._root.rstrip(b"/") + b"/")

    def _note(self, relative: bytes, exc: OSError) -> None:
        # What vanished between two looks is not there, and that is all.
        if not isinstance(exc, FileNotFoundError):
            self._unreadable[key_of_path(relative)] = exc.strerror or type(exc).__name__
