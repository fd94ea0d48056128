"""Objects as the files of a folder."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import stat
import time
import uuid
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

from dicomulus.adapters.local.file_keys import RESERVED_PREFIX, key_of_path, path_of_key
from dicomulus.adapters.local.file_lock import FileLock
from dicomulus.adapters.local.folder_walk import FolderId, FolderWalk
from dicomulus.errors import (
    ConfigurationError,
    InvalidResourceError,
    ObjectChangedError,
    ObjectNotFoundError,
    PreconditionFailedError,
    StoreForbiddenError,
    unavailable,
)
from dicomulus.ports import ObjectInfo, ObjectRead

# Paths are bytes here, since names need not be text, and pathlib knows no bytes.
# ruff: noqa: PTH102, PTH105, PTH108, PTH112, PTH116, PTH123

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

CHUNK_BYTES: Final = 1_048_576
"""Largest piece of a stream, and of a copy."""

CLOCK_TICK_SECONDS: Final = 0.05
"""Two writes within it may leave one modification time; file systems' clocks tick 1 to 10 ms."""

NEAR_BYTES: Final = 16_384
"""Bytes that a disk reads about as fast as none, so that they are not worth another look."""

READ_ATTEMPTS: Final = 5
"""Reads of an object that is being written, before the caller is told to come back."""

_OPEN_FLAGS: Final = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)

_NOTHING_THERE: Final = frozenset(
    {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG}
)

_NO_LINKS: Final = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK})


class FolderStore:
    """An ``ObjectStore`` over the files of a folder, found wherever they lie in it.

    Links to files and folders are followed. The entity tag is made of inode, size and time of
    modification, so a file changed in place, replaced or moved over is another generation.
    """

    def __init__(
        self,
        folder: Path,
        *,
        writable: bool = False,
        hidden: Iterable[Path] = (),
        clock_tick_seconds: float = CLOCK_TICK_SECONDS,
    ) -> None:
        """Open a folder.

        Args:
            folder: Where the files are.
            writable: Whether ``put`` and ``delete`` are allowed; without, nothing is ever written.
            hidden: Folders that hold no objects, nor by a link to them; they need not exist yet.
                What lies in the folder itself is not hidden by one around it.
            clock_tick_seconds: A file younger than this is read only when it has come of age.

        Raises:
            ConfigurationError: There is no such folder.
        """
        if not folder.is_dir():
            raise ConfigurationError(f"source folder {folder}: there is no such folder")
        self._root = os.path.realpath(os.fsencode(folder))
        self._writable = writable
        self._hidden = tuple(os.path.realpath(os.fsencode(path)) for path in hidden)
        self._hidden_inside = tuple(
            path for path in self._hidden if path != self._root and _is_within(path, self._root)
        )
        self._tick_ns = round(clock_tick_seconds * 1e9)
        self._lock = FileLock(
            Path(os.fsdecode(self._root), os.fsdecode(RESERVED_PREFIX + b".lock"))
        )
        self._unreadable: dict[str, str] = {}

    @property
    def folder(self) -> Path:
        """The folder, with all links resolved."""
        return Path(os.fsdecode(self._root))

    @property
    def unreadable(self) -> Mapping[str, str]:
        """Keys of folders and files that the latest whole walks could not look at, and why.

        An object under one of them is not known to be gone.
        """
        return dict(self._unreadable)

    def key_of(self, path: Path) -> str | None:
        """Give the key that a file at an absolute path has or would have; none if it has none."""
        relative = self._relative(os.fsencode(path))
        if relative is None:
            relative = self._relative(os.path.realpath(os.fsencode(path)))
        if relative is None:
            return None
        key = key_of_path(relative)
        return None if self._path(key) is None else key

    # reading

    @property
    def near_bytes(self) -> int:
        """See ``ObjectStore``."""
        return NEAR_BYTES

    def head(self, key: str) -> ObjectInfo | None:
        """Look at an object.

        Raises:
            UnavailableError: The folder, or the way to the object, cannot be looked at.
        """
        path = self._path(key)
        if path is None:
            return None
        try:
            with self._failures(key):
                return _info(key, _regular(path))
        except ObjectNotFoundError:
            return None

    def get(
        self, key: str, *, start: int = 0, length: int | None = None, if_match: str | None = None
    ) -> ObjectRead:
        """Read a byte range of one generation of an object.

        Raises:
            ObjectNotFoundError: There is no such object.
            ObjectChangedError: It does not have the entity tag ``if_match``, or is being written.
            UnavailableError: It cannot be read.
        """
        for _ in range(READ_ATTEMPTS):
            with self._failures(key), self._opened(key, if_match) as (descriptor, info):
                if length is not None:
                    _expect_no_more(descriptor)
                data = _read(descriptor, start, _cut(info, start, length))
                if _info(key, os.fstat(descriptor)).etag == info.etag:
                    return ObjectRead(info, data)
        raise ObjectChangedError(f"{key} is being written")

    def stream(
        self, key: str, *, start: int = 0, length: int | None = None, if_match: str | None = None
    ) -> Iterator[bytes]:
        """Read a byte range of one generation of an object, in chunks; errors as for ``get``."""
        with self._failures(key), self._opened(key, if_match) as (descriptor, info):
            end = start + _cut(info, start, length)
            for offset in range(start, end, CHUNK_BYTES):
                chunk = _read(descriptor, offset, min(CHUNK_BYTES, end - offset))
                if _info(key, os.fstat(descriptor)).etag != info.etag:
                    raise ObjectChangedError(f"{key} changed while it was read")
                yield chunk

    def presigned_get(self, key: str, **_: object) -> None:  # noqa: ARG002 - of no key
        """See ``ObjectStore``: nobody else reaches a folder."""
        return

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """Walk the objects under a prefix.

        Raises:
            UnavailableError: The folder itself cannot be looked at. Less than that is collected
                in ``unreadable``.
        """
        above, slash, _ = prefix.rpartition("/")
        start = self._relative_path(above) if slash else b""
        if start is None:
            return
        with self._failures(""):
            os.scandir(self._root).close()
        unreadable: dict[str, str] = {}
        walk = FolderWalk(self._root, hidden=self._hidden_ids(), unreadable=unreadable)
        for key, status in walk.files(start):
            if key.startswith(prefix):
                yield _info(key, status)
        elsewhere = {k: why for k, why in self._unreadable.items() if not k.startswith(above)}
        self._unreadable = elsewhere | unreadable

    # writing

    def put(
        self,
        key: str,
        body: bytes | IO[bytes],
        *,
        if_match: str | None = None,
        if_none_match: bool = False,
        durable: bool = True,
    ) -> ObjectInfo:
        """Write an object whole and durably, or but for its name; its checksum is SHA-256.

        Raises:
            StoreForbiddenError: The store is not writable.
            InvalidResourceError: No file can have that key.
            PreconditionFailedError: As the port says.
            UnavailableError: It cannot be written, for lack of space or permission.
        """
        path = self._writable_path(key)
        parent, _ = os.path.split(path)
        with _obstacles(key), self._failures(key):
            self._make_folders(parent)
            with _temporary_file(parent, body, age_ns=2 * self._tick_ns) as (temporary, digest):
                status = os.stat(temporary)
                with self._lock.held():
                    self._check(key, if_match)
                    if if_none_match:
                        _create(key, temporary, path)
                    else:
                        os.replace(temporary, path)
            if durable:
                _sync_folder(parent)
        return _info(key, status, checksum=f"sha256:{digest}")

    def make_durable(self, keys: Collection[str]) -> None:
        """Sync the folders of objects; their contents were synced before they got their names.

        Raises:
            UnavailableError: A folder is gone, or cannot be synced.
        """
        folders: dict[bytes, str] = {}
        for key in keys:
            folder = os.path.split(self._path(key) or b"")[0]
            # Those above may be the work of somebody who has not come to sync them.
            while _is_within(folder, self._root) and folder not in folders:
                folders[folder] = key
                folder = os.path.split(folder)[0]
        for folder, key in folders.items():
            try:
                _sync_folder(folder)
            except OSError as exc:
                raise unavailable(exc, key) from exc

    def presigned_put(self, key: str, **_: object) -> None:  # noqa: ARG002 - of no key
        """Give nothing: there is no way into a folder but through the archive."""
        return

    def delete(self, key: str, *, if_match: str | None = None) -> None:
        """Remove an object; its folder stays.

        Raises:
            StoreForbiddenError: The store is not writable.
            PreconditionFailedError: As the port says.
            UnavailableError: It cannot be removed.
        """
        self._refuse_unless_writable()
        path = self._path(key)
        if path is None:
            return
        with self._failures(key), self._lock.held():
            if self.head(key) is None:
                return
            self._check(key, if_match)
            os.unlink(path)
            _sync_folder(os.path.split(path)[0])

    # paths

    def _path(self, key: str) -> bytes | None:
        relative = self._relative_path(key)
        return None if relative is None else self._root + b"/" + relative

    def _relative_path(self, key: str) -> bytes | None:
        relative = path_of_key(key)
        if relative is None:
            return None
        path = self._root + b"/" + relative
        return None if any(_is_within(path, each) for each in self._hidden_inside) else relative

    def _relative(self, path: bytes) -> bytes | None:
        start = self._root.rstrip(b"/") + b"/"
        return path[len(start) :] if path.startswith(start) else None

    def _hidden_ids(self) -> set[FolderId]:
        found: set[FolderId] = set()
        for path in self._hidden:
            with suppress(FileNotFoundError):
                status = os.stat(path)
                found.add((status.st_dev, status.st_ino))
        return found

    def _writable_path(self, key: str) -> bytes:
        self._refuse_unless_writable()
        path = self._path(key)
        if path is None:
            raise InvalidResourceError(f"{key!r} cannot be the key of a file")
        return path

    def _make_folders(self, folder: bytes) -> None:
        missing: list[bytes] = []
        # The root is never made: where it is gone, a disk may be missing.
        while folder != self._root and not os.path.isdir(folder):
            missing.append(folder)
            folder = os.path.split(folder)[0]
        for each in reversed(missing):
            with suppress(FileExistsError):
                os.mkdir(each)
            _sync_folder(os.path.split(each)[0])

    def _refuse_unless_writable(self) -> None:
        if not self._writable:
            raise StoreForbiddenError("this folder is not written to")

    def _check(self, key: str, if_match: str | None) -> None:
        if if_match is None:
            return
        found = self.head(key)
        if found is None or found.etag != if_match:
            raise PreconditionFailedError(f"{key} does not have the entity tag {if_match}")

    # one generation

    @contextmanager
    def _opened(self, key: str, if_match: str | None) -> Iterator[tuple[int, ObjectInfo]]:
        path = self._path(key)
        if path is None:
            raise ObjectNotFoundError(key)
        # To open a pipe or a device would already be doing something to it.
        _regular(path)
        descriptor = os.open(path, _OPEN_FLAGS)
        try:
            yield descriptor, self._generation(key, descriptor, if_match)
        finally:
            os.close(descriptor)

    def _generation(self, key: str, descriptor: int, if_match: str | None) -> ObjectInfo:
        for _ in range(READ_ATTEMPTS):
            status = os.fstat(descriptor)
            info = _info(key, status)
            if if_match is not None and info.etag != if_match:
                raise ObjectChangedError(f"{key} does not have the entity tag {if_match}")
            age_ns = time.time_ns() - status.st_mtime_ns
            # A time in the future comes from another clock; waiting would tell nothing.
            if not 0 <= age_ns < self._tick_ns:
                return info
            # A write within this tick of the clock would leave the entity tag as it is.
            time.sleep((self._tick_ns - age_ns) / 1e9)
        raise ObjectChangedError(f"{key} is being written")

    @contextmanager
    def _failures(self, key: str) -> Iterator[None]:
        try:
            yield
        except OSError as exc:
            if exc.errno in _NOTHING_THERE and os.path.isdir(self._root):
                raise ObjectNotFoundError(key) from exc
            # Without the folder itself, say on a disk not mounted, nothing is known of its files.
            raise unavailable(exc, key or os.fsdecode(self._root)) from exc


@contextmanager
def _obstacles(key: str) -> Iterator[None]:
    try:
        yield
    except ObjectNotFoundError as exc:
        message = f"{key} cannot be written: its name is too long, or another object is in its way"
        raise InvalidResourceError(message) from exc


def _is_within(path: bytes, folder: bytes) -> bool:
    return path == folder or path.startswith(folder.rstrip(b"/") + b"/")


def _regular(path: bytes) -> os.stat_result:
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):
        raise FileNotFoundError(errno.ENOENT, "not a regular file")
    return status


def _info(key: str, status: os.stat_result, *, checksum: str = "") -> ObjectInfo:
    return ObjectInfo(
        key=key,
        etag=f"{status.st_ino:x}-{status.st_size:x}-{status.st_mtime_ns:x}",
        size=status.st_size,
        modified_ms=status.st_mtime_ns // 1_000_000,
        checksum=checksum,
    )


def _cut(info: ObjectInfo, start: int, length: int | None) -> int:
    rest = max(0, info.size - start)
    return rest if length is None else min(length, rest)


def _expect_no_more(descriptor: int) -> None:
    """Keep the system from reading ahead: of a header it would fetch as much again of the pixels."""
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_RANDOM)


def _read(descriptor: int, start: int, length: int) -> bytes:
    os.lseek(descriptor, start, os.SEEK_SET)
    pieces: list[bytes] = []
    while length > 0:
        piece = os.read(descriptor, length)
        # The object was cut meanwhile; the caller finds that out by its status.
        if not piece:
            break
        pieces.append(piece)
        length -= len(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


@contextmanager
def _temporary_file(
    folder: bytes, body: bytes | IO[bytes], *, age_ns: int
) -> Iterator[tuple[bytes, str]]:
    """Write a body beside its place; give path and SHA-256. It is gone afterwards, if not moved."""
    path = folder + b"/" + RESERVED_PREFIX + b"-" + uuid.uuid4().hex.encode() + b".tmp"
    digest = hashlib.sha256()
    source = io.BytesIO(body) if isinstance(body, bytes) else body
    try:
        with open(path, "xb") as file:
            while chunk := source.read(CHUNK_BYTES):
                digest.update(chunk)
                file.write(chunk)
            file.flush()
            # Dated back, so that whoever writes to the file later leaves another time, and
            # nobody needs to wait before reading it.
            past = time.time_ns() - age_ns
            os.utime(path, ns=(past, past))
            os.fsync(file.fileno())
        yield path, digest.hexdigest()
    finally:
        with suppress(FileNotFoundError):
            os.unlink(path)


def _create(key: str, temporary: bytes, path: bytes) -> None:
    try:
        os.link(temporary, path)
    except FileExistsError as exc:
        raise PreconditionFailedError(f"{key} is there already") from exc
    except OSError as exc:
        if exc.errno not in _NO_LINKS:
            raise
        if os.path.lexists(path):
            raise PreconditionFailedError(f"{key} is there already") from exc
        os.replace(temporary, path)


def _sync_folder(folder: bytes) -> None:
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
