"""The objects in the body of a Store request, whole or as metadata and bulk data (PS3.18 §10.5.1.4)."""

from __future__ import annotations

import codecs
import json
import re
from contextlib import closing
from dataclasses import dataclass
from itertools import chain
from tempfile import SpooledTemporaryFile, TemporaryFile
from typing import IO, TYPE_CHECKING, Any, Final

from dicomulus.dicom.store_report import Failed, FailureReason
from dicomulus.dicom.stream_syntax import HEAD_BYTES, transfer_syntax_of
from dicomulus.dicom.value_encoding import NumberText
from dicomulus.dicom.xml_reading import read_native_xml
from dicomulus.errors import (
    InvalidBodyError,
    InvalidHeaderError,
    PayloadTooLargeError,
    RejectedObjectError,
    UnsupportedMediaTypeError,
    spooling,
)
from dicomulus.services.composing import BulkParts, compose
from dicomulus.wire.media_types import (
    DICOM,
    DICOM_JSON,
    DICOM_XML,
    EXPLICIT_VR_LITTLE_ENDIAN,
    FRAME_MEDIA_TYPES,
    JSON,
    MULTIPART_RELATED,
    OCTET_STREAM,
    parse_media_type,
)
from dicomulus.wire.multipart import MAX_PARTS, READ_BYTES, SPOOL_BYTES, PartLimits, read_parts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dicomulus.wire.media_types import MediaType
    from dicomulus.wire.message import Request
    from dicomulus.wire.multipart import ReceivedPart

MAX_METADATA_BYTES: Final = 67_108_864
"""Bytes of one instance's metadata, and of an XML document; the largest seen are some MB."""

MAX_METADATA_MARKS: Final = 1_000_000
"""Brackets and commas of one instance's JSON. Each is a value of Python at most, of some 100 bytes;
an enhanced image of 10,000 frames with 20 elements each comes near it."""

_MARKS: Final = "{[,"
_JSON_TYPES: Final = frozenset({DICOM_JSON, JSON})
_OLD_TYPES: Final = {"image/x-dicom-rle": "image/dicom-rle", "image/x-jls": "image/jls"}
_DEFLATED_FRAMES: Final = "1.2.840.10008.1.2.8.1"
_LITTLE_ENDIAN: Final = frozenset({EXPLICIT_VR_LITTLE_ENDIAN, "1.2.840.10008.1.2", "*"})
_BLANKS: Final = re.compile(r"[ \t\r\n]*")


def read_objects(request: Request, *, max_bytes: int) -> Iterator[IO[bytes] | Failed]:
    """Give the objects of a body, each to be read before the next is taken.

    Args:
        request: The request.
        max_bytes: Bytes that a part may have.

    Raises:
        UnsupportedMediaTypeError: The body, or a part of it, is of a type that is not taken.
        InvalidBodyError: It does not parse. What was given before was whole.
        PayloadTooLargeError: A limit is exceeded.
    """
    coding = request.headers.get("Content-Encoding") or "identity"
    if coding.strip().lower() != "identity":
        raise UnsupportedMediaTypeError("the body has a content coding; it is taken without one")
    content_type = parse_media_type(request.headers.get("Content-Type") or "")
    if content_type.essence != MULTIPART_RELATED:
        return _of_single(request, content_type, max_bytes)
    parts = read_parts(request.body, content_type, limits=PartLimits(max_part_bytes=max_bytes))
    kind = (content_type.parameter("type") or DICOM).lower()
    if kind == DICOM:
        return _whole_objects(parts)
    if kind in _JSON_TYPES or kind == DICOM_XML:
        return _composed_objects(parts, base_url=request.base_url)
    raise UnsupportedMediaTypeError(
        f"parts are {DICOM}, or metadata as {DICOM_JSON} or {DICOM_XML} with bulk data"
    )


def _of_single(
    request: Request, content_type: MediaType, max_bytes: int
) -> Iterator[IO[bytes] | Failed]:
    essence = content_type.essence
    if essence not in {DICOM, DICOM_XML} | _JSON_TYPES:
        raise UnsupportedMediaTypeError(
            f'the body is neither {DICOM} nor {MULTIPART_RELATED}; type="{DICOM}"'
        )
    return _single(request, essence, max_bytes)


def _single(request: Request, essence: str, max_bytes: int) -> Iterator[IO[bytes] | Failed]:
    with SpooledTemporaryFile(max_size=SPOOL_BYTES) as content:
        length = _spool(request, content, max_bytes)
        if not length:
            return
        if essence == DICOM:
            yield content
            return
        bulk = BulkParts(request.base_url)
        with closing(bulk):
            yield from _Metadata(essence, _Stretch(content, 0, length), length).composed(bulk)


def _spool(request: Request, content: IO[bytes], max_bytes: int) -> int:
    length = 0
    while chunk := request.body.read(READ_BYTES):
        length += len(chunk)
        if length > max_bytes:
            raise PayloadTooLargeError(f"the body is longer than {max_bytes} bytes")
        with spooling():
            content.write(chunk)
    content.seek(0)
    return length


def _whole_objects(parts: Iterator[ReceivedPart]) -> Iterator[IO[bytes] | Failed]:
    for number, part in enumerate(parts):
        refusal = _refusal_of(part)
        # After others, which may be stored by now, it has failed alone.
        if refusal is not None and not number:
            raise refusal
        if refusal is not None:
            yield Failed(FailureReason.CANNOT_UNDERSTAND, comment=str(refusal))
            continue
        yield part.content


def _refusal_of(
    part: ReceivedPart,
) -> InvalidHeaderError | UnsupportedMediaTypeError | None:
    try:
        kind = parse_media_type(part.headers.get("Content-Type") or DICOM)
    except InvalidHeaderError as exc:
        return exc
    if kind.essence == DICOM:
        return None
    return UnsupportedMediaTypeError(f"a part is {kind.essence}, not {DICOM}")


def _composed_objects(
    parts: Iterator[ReceivedPart], *, base_url: str
) -> Iterator[IO[bytes] | Failed]:
    """Keep all parts, then put each instance together: bulk data may come in any order."""
    metadata: list[_Metadata] = []
    # One file for all metadata: of parts there may be more than files that are open at a time.
    with spooling(), closing(BulkParts(base_url)) as bulk, TemporaryFile() as file:
        for part in parts:
            kind = parse_media_type(part.headers.get("Content-Type") or OCTET_STREAM)
            if kind.essence in _JSON_TYPES or kind.essence == DICOM_XML:
                metadata.append(_Metadata.copied(kind.essence, part, file))
            else:
                _add_bulk(bulk, part, kind)
        if not metadata:
            raise InvalidBodyError("the body has no metadata")
        has_failed = False
        for made in chain.from_iterable(each.composed(bulk) for each in metadata):
            has_failed = has_failed or isinstance(made, Failed)
            yield made
        # An instance that has failed may not have come to ask for all of its bulk data.
        for _ in range(0 if has_failed else bulk.unused):
            comment = "bulk data that no instance refers to"
            yield Failed(FailureReason.CANNOT_UNDERSTAND, comment=comment)


def _add_bulk(bulk: BulkParts, part: ReceivedPart, kind: MediaType) -> None:
    media_type = _OLD_TYPES.get(kind.essence, kind.essence)
    head = part.content.read(HEAD_BYTES)
    part.content.seek(0)
    bulk.add(
        part.content,
        location=part.headers.get("Content-Location") or "",
        content_id=part.headers.get("Content-ID") or "",
        media_type=media_type,
        transfer_syntax_uid=_pixel_syntax(media_type, kind.parameter("transfer-syntax"), head),
    )


def _pixel_syntax(media_type: str, named: str | None, head: bytes) -> str | None:
    """Give the syntax of a part as pixel data: empty if native, none if it is not known."""
    if media_type == OCTET_STREAM:
        if named is None or named in _LITTLE_ENDIAN:
            return ""
        return named if named in FRAME_MEDIA_TYPES or named == _DEFLATED_FRAMES else None
    if named is None or named == "*":
        return transfer_syntax_of(media_type, head)
    return named if FRAME_MEDIA_TYPES.get(named) == media_type else None


class _Stretch:
    """A stretch of a file, to be read once from its start, whatever else is read of the file."""

    def __init__(self, file: IO[bytes], start: int, length: int) -> None:
        self._file = file
        self._at = start
        self._end = start + length

    def read(self, size: int) -> bytes:
        """Read at most so many bytes; empty at the end."""
        self._file.seek(self._at)
        piece = self._file.read(min(size, self._end - self._at))
        self._at += len(piece)
        return piece


@dataclass(frozen=True, slots=True)
class _Metadata:
    """A part of metadata, or a body that is nothing else."""

    essence: str
    content: _Stretch
    length: int

    @classmethod
    def copied(cls, essence: str, part: ReceivedPart, file: IO[bytes]) -> _Metadata:
        """Keep a part beyond its turn, at the end of a file."""
        start = file.seek(0, 2)
        while chunk := part.content.read(READ_BYTES):
            file.write(chunk)
        return cls(essence, _Stretch(file, start, part.length), part.length)

    def composed(self, bulk: BulkParts) -> Iterator[IO[bytes] | Failed]:
        """Give the instances that it tells of."""
        told = self._documents() if self.essence == DICOM_XML else _array(self.content)
        for each in told:
            made = each if isinstance(each, Failed) else compose(each, bulk)
            yield made
            if not isinstance(made, Failed):
                made.close()

    def _documents(self) -> Iterator[dict[str, Any] | Failed]:
        if self.length > MAX_METADATA_BYTES:
            raise _metadata_too_large()
        try:
            yield read_native_xml(self.content.read(self.length))
        except RejectedObjectError as exc:
            yield Failed(FailureReason.CANNOT_UNDERSTAND, comment=str(exc))


def _metadata_too_large() -> PayloadTooLargeError:
    return PayloadTooLargeError(f"metadata is longer than {MAX_METADATA_BYTES} bytes")


def _array(content: _Stretch) -> Iterator[dict[str, Any] | Failed]:
    """Read an array of objects, or one object, not much more than an object in memory at a time.

    Raises:
        InvalidBodyError: It is none from the start. One that breaks off later has failed from there.
    """
    reader = _ArrayReader(content)
    given = 0
    try:
        for told in reader.objects():
            given += 1
            if given > MAX_PARTS:
                raise PayloadTooLargeError(f"metadata of over {MAX_PARTS} instances")
            if isinstance(told, dict):
                yield told
            else:
                yield Failed(FailureReason.CANNOT_UNDERSTAND, comment="metadata is no object")
    except (ValueError, RecursionError) as exc:
        if not given:
            raise InvalidBodyError("the metadata is no array of JSON objects") from exc
        yield Failed(FailureReason.CANNOT_UNDERSTAND, comment="the metadata breaks off")


class _ArrayReader:
    """Cuts JSON into the values of its outermost array; numbers stay text."""

    def __init__(self, content: _Stretch) -> None:
        self._content = content
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")()
        self._json = json.JSONDecoder(
            parse_float=NumberText, parse_int=NumberText, parse_constant=_no_constant
        )
        self._text = ""
        self._at = 0
        self._is_whole = False

    def objects(self) -> Iterator[object]:
        """Give the values in order.

        Raises:
            ValueError: The text is no JSON, or no UTF-8.
        """
        if self._next() != "[":
            yield self._value()
        else:
            self._at += 1
            yield from self._listed()
        if self._next():
            raise ValueError("more than an array")

    def _listed(self) -> Iterator[object]:
        if self._next() == "]":
            self._at += 1
            return
        while True:
            yield self._value()
            after = self._next()
            self._at += 1
            if after == "]":
                return
            if after != ",":
                raise ValueError("no comma")

    def _next(self) -> str:
        """Give the next character that is no blank, without taking it; none at the end."""
        while True:
            blank = _BLANKS.match(self._text, self._at)
            self._at = blank.end() if blank else self._at
            if self._at < len(self._text) or self._is_whole:
                return self._text[self._at : self._at + 1]
            self._read_on()

    def _value(self) -> object:
        self._next()
        while True:
            try:
                value, end = self._json.raw_decode(self._text, self._at)
            except ValueError:
                if self._is_whole:
                    raise
            else:
                # A number could go on in what was not read yet; an object has its end.
                if end < len(self._text) or self._is_whole:
                    self._at = end
                    return value
            self._read_on()

    def _read_on(self) -> None:
        """Double what is left, so that a long object is tried a few times only."""
        left = self._text[self._at :]
        if len(left) > MAX_METADATA_BYTES:
            raise _metadata_too_large()
        if sum(map(left.count, _MARKS)) > MAX_METADATA_MARKS:
            raise PayloadTooLargeError(f"metadata of over {MAX_METADATA_MARKS} values")
        piece = self._content.read(max(SPOOL_BYTES, len(left)))
        self._is_whole = not piece
        self._text = left + self._decoder.decode(piece, final=self._is_whole)
        self._at = 0


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is no JSON")
