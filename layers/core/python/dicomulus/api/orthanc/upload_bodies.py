"""The files in the body of an upload to Orthanc's REST API: one, many in a ZIP file, or a form."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from tempfile import SpooledTemporaryFile
from typing import IO, TYPE_CHECKING, Final
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile

from dicomulus.errors import (
    InvalidBodyError,
    PayloadTooLargeError,
    UnsupportedMediaTypeError,
    spooling,
)
from dicomulus.wire.media_types import parse_media_type
from dicomulus.wire.multipart import READ_BYTES, SPOOL_BYTES, PartLimits, read_parts

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from zipfile import ZipInfo

    from dicomulus.wire.message import BodyReader, Request

FORM: Final = "multipart/form-data"

MAX_FILES: Final = 50_000
"""Files in one ZIP file; each is some 600 bytes of memory while it is read."""

MAX_DIRECTORY_BYTES: Final = 16_777_216
"""Bytes of the list of files in a ZIP file, which is read at once."""

LEAST_INFLATED_BYTES: Final = 1_073_741_824
"""Bytes that the files of a ZIP file may have in any case, however few the body may have."""

_ZIP_STARTS: Final = (b"PK\x03\x04", b"PK\x05\x06")
_GZIP_START: Final = b"\x1f\x8b"
_GZIP_WINDOW: Final = 31
"""Tells zlib that its data are a gzip member."""
_ENCRYPTED: Final = 0x1
_BROKEN_ZIP: Final = (
    BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    ValueError,
    # Of places behind the end of all files.
    OverflowError,
    LookupError,
    NotImplementedError,
)


@dataclass(frozen=True, slots=True)
class Upload:
    """What a body holds; each file is closed when the next one is taken."""

    files: Iterator[IO[bytes]]
    is_list: bool
    """Whether there may be any number of files, none included, so that a list is answered."""


def read_upload(request: Request, *, max_bytes: int) -> Upload:
    """Find out what a body holds.

    Args:
        request: The request; its Content-Type counts where it says that the body is a form.
        max_bytes: Bytes that the body may have, and each file in it.

    Raises:
        InvalidBodyError: It has nothing, or does not parse; later also as files are taken.
        PayloadTooLargeError: A limit is exceeded; the same.
        UnsupportedMediaTypeError: It has a content coding other than gzip.
    """
    content_type = parse_media_type(request.headers.get("Content-Type") or "application/dicom")
    coding = (request.headers.get("Content-Encoding") or "identity").strip().lower()
    if coding not in ("identity", "gzip"):
        raise UnsupportedMediaTypeError(f"the body has the content coding {coding}, not gzip")
    if content_type.essence == FORM:
        parts = read_parts(request.body, content_type, limits=PartLimits(max_part_bytes=max_bytes))
        contents = (part.content for part in parts if part.length)
        return Upload(_flattened(contents, max_bytes=max_bytes), is_list=True)
    body = _body_of(request, max_bytes=max_bytes)
    if _starts_with(body, (_GZIP_START,)):
        body = _inflated(body, max_bytes=max_bytes)
    elif coding == "gzip":
        body.close()
        raise InvalidBodyError("the body is not gzip, as its Content-Encoding says")
    if _starts_with(body, _ZIP_STARTS):
        return Upload(_closing(body, _files_of_zip(body, max_bytes=max_bytes)), is_list=True)
    return Upload(_closing(body, iter([body])), is_list=False)


def _flattened(contents: Iterator[IO[bytes]], *, max_bytes: int) -> Iterator[IO[bytes]]:
    for content in contents:
        if _starts_with(content, _ZIP_STARTS):
            yield from _files_of_zip(content, max_bytes=max_bytes)
        else:
            yield content


def _closing(body: IO[bytes], files: Iterator[IO[bytes]]) -> Iterator[IO[bytes]]:
    with body:
        yield from files


def _starts_with(content: IO[bytes], starts: tuple[bytes, ...]) -> bool:
    head = content.read(max(map(len, starts)))
    content.seek(0)
    return head.startswith(starts)


def _body_of(request: Request, *, max_bytes: int) -> IO[bytes]:
    declared = request.content_length
    if declared is not None and declared > max_bytes:
        raise PayloadTooLargeError(f"the body has {declared} bytes, at most {max_bytes} are taken")
    content = _spooled(_chunks(request.body), max_bytes=max_bytes, what="the body")
    if not content.read(1):
        content.close()
        raise InvalidBodyError("the body is empty")
    content.seek(0)
    return content


def _chunks(source: BodyReader) -> Iterator[bytes]:
    while chunk := source.read(READ_BYTES):
        yield chunk


def _spooled(chunks: Iterable[bytes], *, max_bytes: int, what: str) -> IO[bytes]:
    """Keep so many bytes, and no more, in a temporary file."""
    content: IO[bytes] = SpooledTemporaryFile(max_size=SPOOL_BYTES)  # noqa: SIM115 - it is given
    try:
        for chunk in _limited(chunks, max_bytes=max_bytes, what=what):
            with spooling():
                content.write(chunk)
    except BaseException:
        content.close()
        raise
    content.seek(0)
    return content


def _limited(chunks: Iterable[bytes], *, max_bytes: int, what: str) -> Iterator[bytes]:
    length = 0
    for chunk in chunks:
        length += len(chunk)
        if length > max_bytes:
            raise PayloadTooLargeError(f"{what} is longer than {max_bytes} bytes")
        yield chunk


# --- gzip -----------------------------------------------------------------------------------------


def _inflated(body: IO[bytes], *, max_bytes: int) -> IO[bytes]:
    with body:
        return _spooled(_inflate(body), max_bytes=max_bytes, what="the inflated body")


def _inflate(body: IO[bytes]) -> Iterator[bytes]:
    """Inflate members one after the other, a piece of bounded size at a time."""
    member = zlib.decompressobj(wbits=_GZIP_WINDOW)
    data = b""
    while data := data or body.read(READ_BYTES):
        try:
            yield member.decompress(data, READ_BYTES)
        except zlib.error as exc:
            raise InvalidBodyError("the body is gzip that does not inflate") from exc
        data = member.unused_data if member.eof else member.unconsumed_tail
        if member.eof and (data := data or body.read(READ_BYTES)):
            member = zlib.decompressobj(wbits=_GZIP_WINDOW)
    if not member.eof:
        raise InvalidBodyError("the body is gzip that breaks off")


# --- ZIP files ------------------------------------------------------------------------------------


class _Bounded:
    """A file of which no more than so many bytes can be read at once."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.seek = file.seek
        self.tell = file.tell

    def seekable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(min(size, MAX_DIRECTORY_BYTES + 1) if size >= 0 else -1)
        if len(data) > MAX_DIRECTORY_BYTES:
            raise PayloadTooLargeError("the ZIP file lists more files than are taken at a time")
        return data


def _files_of_zip(body: IO[bytes], *, max_bytes: int) -> Iterator[IO[bytes]]:
    """Give the files within, whatever they are called: no name is made use of.

    All that the list of files tells is checked before the first one is given.
    """
    try:
        with ZipFile(_Bounded(body)) as archive:
            members = [
                each
                for each in archive.infolist()
                if each.file_size and not each.filename.endswith("/")
            ]
            _check_members(members, max_bytes=max_bytes)
            for each in members:
                with _member(archive, each, max_bytes=max_bytes) as content:
                    yield content
    except _BROKEN_ZIP as exc:
        raise InvalidBodyError("the body is a ZIP file that does not parse") from exc


def _check_members(members: Sequence[ZipInfo], *, max_bytes: int) -> None:
    if len(members) > MAX_FILES:
        raise PayloadTooLargeError(f"the ZIP file has more than {MAX_FILES} files")
    most = max(max_bytes, LEAST_INFLATED_BYTES)
    if sum(each.file_size for each in members) > most:
        raise PayloadTooLargeError(f"the files in the ZIP file have more than {most} bytes")
    for each in members:
        if each.flag_bits & _ENCRYPTED:
            raise InvalidBodyError("the ZIP file is encrypted")
        # Others may need as much memory as their sender likes.
        if each.compress_type not in (ZIP_STORED, ZIP_DEFLATED):
            raise InvalidBodyError("the ZIP file is compressed by another method than deflate")


def _member(archive: ZipFile, member: ZipInfo, *, max_bytes: int) -> IO[bytes]:
    most = max(max_bytes, LEAST_INFLATED_BYTES)
    with archive.open(member) as source:
        return _spooled(_chunks(source), max_bytes=most, what="a file in the ZIP file")
