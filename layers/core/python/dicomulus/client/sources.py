"""Finding the files to be sent: in folders, in zip files, or as they are named."""

from __future__ import annotations

import os
import stat
import zipfile
import zlib
from collections import OrderedDict
from dataclasses import dataclass
from threading import Lock
from typing import IO, TYPE_CHECKING, Final, Protocol, Self, cast

from dicomulus.errors import SourceFileError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

_ZIP_MAGICS: Final = (b"PK\x03\x04", b"PK\x05\x06")
_DICOM_MAGIC_OFFSET: Final = 128
_DICOM_MAGIC: Final = b"DICM"

MAX_INFLATION: Final = 1_032
"""Bytes that one byte of deflate can become: a zip file that declares more counts bytes twice."""

_OPEN_ZIPS: Final = 8
"""Zip files kept open at a time; the directory of a large one takes seconds to read."""

_ENCRYPTED: Final = 0x1


class Source(Protocol):
    """A file to be sent, wherever it lies."""

    @property
    def name(self) -> str:
        """What the user knows it by."""
        ...

    @property
    def size(self) -> int:
        """Bytes in it."""
        ...

    @property
    def fingerprint(self) -> tuple[bytes, int, int]:
        """Names this content of this file: its place, size and time of change in ns."""
        ...

    def open(self) -> IO[bytes]:
        """Open it for reading, from its start.

        Raises:
            SourceFileError: It is gone, cannot be read, or is another than was found.
        """
        ...


@dataclass(frozen=True, slots=True)
class Unusable:
    """Something found that cannot be sent, and whether that is a failure or was to be expected."""

    name: str
    reason: str
    is_failure: bool = False


@dataclass(frozen=True, slots=True)
class FileSource:
    """A file of its own."""

    path: Path
    size: int
    modified_ns: int

    @classmethod
    def found(cls, path: Path, status: os.stat_result) -> FileSource:
        """Take a file as it is now."""
        return cls(path, status.st_size, status.st_mtime_ns)

    @property
    def name(self) -> str:
        """Its path as found."""
        return os.fspath(self.path)

    @property
    def fingerprint(self) -> tuple[bytes, int, int]:
        """Its absolute path, size and time."""
        return os.fsencode(self.path.absolute()), self.size, self.modified_ns

    def open(self) -> IO[bytes]:
        """Open it, if it is still as it was found."""
        try:
            content = self.path.open("rb")
            status = os.fstat(content.fileno())
        except OSError as exc:
            raise SourceFileError(exc.strerror or "cannot be read") from exc
        if (status.st_size, status.st_mtime_ns) != (self.size, self.modified_ns):
            content.close()
            raise SourceFileError("changed while it was being sent")
        return content


class ZipArchives:
    """Zip files opened as they are needed."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._open: OrderedDict[Path, zipfile.ZipFile] = OrderedDict()

    def get(self, path: Path) -> zipfile.ZipFile:
        """Open a zip file, or give it if it is open already."""
        with self._lock:
            archive = self._open.pop(path, None) or zipfile.ZipFile(path)
            self._open[path] = archive
            while len(self._open) > _OPEN_ZIPS:
                # Members that are being read keep the file open until they are closed.
                self._open.popitem(last=False)[1].close()
            return archive

    def close(self) -> None:
        """Close all."""
        with self._lock:
            while self._open:
                self._open.popitem()[1].close()


@dataclass(frozen=True, slots=True)
class ZipMember:
    """A file within a zip file, inflated as it is read."""

    archives: ZipArchives
    archive: FileSource
    info: zipfile.ZipInfo

    @property
    def name(self) -> str:
        """The zip file's path and the member's within it."""
        return f"{self.archive.name}/{self.info.filename}"

    @property
    def size(self) -> int:
        """Bytes as declared; a member that has others fails when it is read."""
        return self.info.file_size

    @property
    def fingerprint(self) -> tuple[bytes, int, int]:
        """The zip file's with the member's path."""
        place, _, modified_ns = self.archive.fingerprint
        name = self.info.filename.encode("utf-8", "surrogateescape")
        return place + b"\0" + name, self.size, modified_ns

    def open(self) -> IO[bytes]:
        """Open it."""
        try:
            member = self.archives.get(self.archive.path).open(self.info)
        except (OSError, ValueError, RuntimeError, NotImplementedError, zipfile.BadZipFile) as exc:
            raise SourceFileError("cannot be read from the zip file") from exc
        return cast("IO[bytes]", _CheckedMember(member))


class _CheckedMember:
    """A member whose damage is an error of ours, not of the many kinds that decoders have."""

    def __init__(self, member: IO[bytes]) -> None:
        self._member = member

    def read(self, size: int = -1) -> bytes:
        try:
            return self._member.read(size)
        except (OSError, EOFError, ValueError, zlib.error, zipfile.BadZipFile) as exc:
            raise SourceFileError("is damaged within the zip file") from exc

    def seek(self, offset: int, whence: int = 0) -> int:
        try:
            return self._member.seek(offset, whence)
        except (OSError, EOFError, ValueError, zlib.error, zipfile.BadZipFile) as exc:
            raise SourceFileError("is damaged within the zip file") from exc

    def close(self) -> None:
        self._member.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def find_sources(paths: Iterable[Path], archives: ZipArchives) -> Iterator[Source | Unusable]:
    """Find the files below some paths, in the order of their names, and those within zip files.

    Links are followed; a folder that is met again by one is not entered twice.
    """
    entered: set[tuple[int, int]] = set()
    for path in paths:
        for found in _walk(path, entered):
            if isinstance(found, FileSource) and _is_zip(found):
                yield from _members(found, archives)
            else:
                yield found


def _walk(path: Path, entered: set[tuple[int, int]]) -> Iterator[FileSource | Unusable]:
    # A stack of its own: folders may lie deeper than Python calls.
    waiting = [path]
    while waiting:
        current = waiting.pop()
        try:
            status = current.stat()
            if not stat.S_ISDIR(status.st_mode):
                yield _file(current, status)
                continue
            place = (status.st_dev, status.st_ino)
            if place not in entered:
                entered.add(place)
                waiting.extend(sorted(current.iterdir(), reverse=True))
        except OSError as exc:
            yield Unusable(os.fspath(current), exc.strerror or "cannot be read", is_failure=True)


def _file(path: Path, status: os.stat_result) -> FileSource | Unusable:
    if not stat.S_ISREG(status.st_mode):
        return Unusable(os.fspath(path), "no file")
    return FileSource.found(path, status)


def _is_zip(found: FileSource) -> bool:
    try:
        with found.path.open("rb") as content:
            start = content.read(_DICOM_MAGIC_OFFSET + len(_DICOM_MAGIC))
    except OSError:
        # Opening it again to send it will say why.
        return False
    return start.startswith(_ZIP_MAGICS) and not start.endswith(_DICOM_MAGIC)


def _members(found: FileSource, archives: ZipArchives) -> Iterator[Source | Unusable]:
    try:
        members = archives.get(found.path).infolist()
    except (OSError, ValueError, NotImplementedError, zipfile.BadZipFile):
        yield Unusable(found.name, "a zip file that cannot be read", is_failure=True)
        return
    if sum(member.file_size for member in members) > MAX_INFLATION * found.size:
        yield Unusable(found.name, "a zip file that grows beyond what zip files can", True)
        return
    for info in members:
        if not info.is_dir():
            yield _member(ZipMember(archives, found, info))


def _member(member: ZipMember) -> Source | Unusable:
    if member.info.flag_bits & _ENCRYPTED:
        return Unusable(member.name, "encrypted in the zip file", is_failure=True)
    if member.info.filename.lower().endswith(".zip"):
        return Unusable(member.name, "a zip file within a zip file")
    return member
