"""Objects put together from metadata and bulk data that came apart (PS3.18 §10.5.1.4)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from tempfile import SpooledTemporaryFile, TemporaryFile
from typing import IO, TYPE_CHECKING, Any, Final
from urllib.parse import urljoin

from dicomulus.dicom.data_set_encoding import Bulk, Encoded, WholeElement, encode_data_set
from dicomulus.dicom.json_model import integer_of, text_of
from dicomulus.dicom.part10_writing import (
    SEQUENCE_END,
    element_head,
    file_meta,
    item_head,
)
from dicomulus.dicom.resource import InstanceResource, is_addressable
from dicomulus.dicom.store_report import Failed, FailureReason
from dicomulus.dicom.stream_syntax import HEAD_BYTES, jpeg_image_of
from dicomulus.dicom.transfer_syntax import EXPLICIT_VR_LITTLE_ENDIAN
from dicomulus.errors import RejectedObjectError
from dicomulus.services.content import CHUNK_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

MAX_FRAGMENT_BYTES: Final = 1_073_741_824
"""Bytes of one fragment; a longer stream, such as a video, takes several."""

_PIXEL_DATA: Final = "7FE00010"
_ROWS: Final = "00280010"
_LARGEST_OFFSET: Final = 0xFFFFFFFF
_FRAMES: Final = "/frames/"


@dataclass(frozen=True, slots=True)
class BulkPart:
    """Bulk data that a client sent, a stretch of a file."""

    file: IO[bytes]
    start: int
    length: int
    media_type: str
    transfer_syntax_uid: str | None
    """Of pixel data: empty if it is native, none if it is in no syntax that is known."""

    def pieces(self) -> Iterator[bytes]:
        """Give the bytes from the start."""
        for offset in range(0, self.length, CHUNK_BYTES):
            yield self.read(offset, CHUNK_BYTES)

    def read(self, offset: int, length: int) -> bytes:
        """Give some of the bytes."""
        self.file.seek(self.start + offset)
        return self.file.read(min(length, self.length - offset))


class BulkParts:
    """The bulk data of one request, in one file on disk, found by where it says it belongs."""

    def __init__(self, base_url: str) -> None:
        """Begin with none; relative locations are below the base URL's ``studies``."""
        self._base = f"{base_url}/studies"
        self._file = TemporaryFile()  # noqa: SIM115 - closed with what it is for
        self._parts: dict[bytes, list[BulkPart]] = {}
        self._unused: dict[int, BulkPart] = {}

    def close(self) -> None:
        """Free the disk."""
        self._file.close()

    def add(
        self,
        content: IO[bytes],
        *,
        location: str,
        content_id: str,
        media_type: str,
        transfer_syntax_uid: str | None,
    ) -> None:
        """Keep a part; one that says nowhere where it belongs is never found."""
        start = self._file.seek(0, 2)
        while chunk := content.read(CHUNK_BYTES):
            self._file.write(chunk)
        length = self._file.tell() - start
        part = BulkPart(self._file, start, length, media_type, transfer_syntax_uid)
        self._unused[start] = part
        names = set(self._names(location)) if location else set()
        if content_id:
            names.add(f"cid:{content_id.strip('<> ')}")
        for place in map(_place, names):
            self._parts.setdefault(place, []).append(part)

    def find(self, uri: str) -> Sequence[BulkPart]:
        """Give the parts of a BulkDataURI, frame by frame where they are several.

        Raises:
            RejectedObjectError: There is none.
        """
        for name in self._names(uri):
            found = self._parts.get(_place(name)) or self._frames(name)
            if found:
                for part in found:
                    self._unused.pop(part.start, None)
                return found
        raise RejectedObjectError("no part has its bulk data")

    def _names(self, uri: str) -> tuple[str, ...]:
        """Give what a URI may be known by: as it is, and below the base URL."""
        try:
            return tuple(dict.fromkeys((uri, urljoin(self._base, uri))))
        except ValueError:  # of brackets that hold no address
            return (uri,)

    def _frames(self, name: str) -> list[BulkPart]:
        found: list[BulkPart] = []
        while parts := self._parts.get(_place(f"{name}{_FRAMES}{len(found) + 1}")):
            found.append(parts[0])
        return found

    @property
    def unused(self) -> int:
        """Parts that were never asked for."""
        return len(self._unused)


def _place(name: str) -> bytes:
    """Stand for a name that may be long, where very many are kept."""
    return hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def compose(elements: Mapping[str, Any], bulk: BulkParts) -> IO[bytes] | Failed:
    """Write an instance as an object; the caller closes it."""
    told = InstanceResource(
        text_of(elements, "0020000D"), text_of(elements, "0020000E"), text_of(elements, "00080018")
    )
    uids = (told.study_instance_uid, told.series_instance_uid, told.sop_instance_uid)
    sop_class_uid = text_of(elements, "00080016")
    is_named = all(uid and is_addressable(uid) for uid in (*uids, sop_class_uid))
    if not is_named:
        reason = "Study, Series, SOP Instance or SOP Class UID is missing"
        return Failed(FailureReason.CANNOT_UNDERSTAND, comment=reason)
    composer = _Composer(bulk)
    try:
        data_set = encode_data_set(_with_image_pixel(elements, bulk), composer.bulk_of)
    except _SyntaxNotSupportedError as exc:
        reason_code = FailureReason.TRANSFER_SYNTAX_NOT_SUPPORTED
        return Failed(reason_code, told, sop_class_uid, str(exc))
    except RejectedObjectError as exc:
        return Failed(FailureReason.CANNOT_UNDERSTAND, told, sop_class_uid, str(exc))
    head = file_meta(
        sop_class_uid=sop_class_uid,
        sop_instance_uid=told.sop_instance_uid,
        transfer_syntax_uid=composer.transfer_syntax_uid,
    )
    return _written(Encoded((head, *data_set.parts)))


def _written(encoded: Encoded) -> IO[bytes]:
    # Closed by whoever takes it.
    file = SpooledTemporaryFile(max_size=CHUNK_BYTES)  # noqa: SIM115
    for piece in encoded.pieces():
        file.write(piece)
    file.seek(0)
    return file


class _SyntaxNotSupportedError(Exception):
    """Pixel data is in no transfer syntax that is known."""


class _Composer:
    def __init__(self, bulk: BulkParts) -> None:
        self.transfer_syntax_uid = EXPLICIT_VR_LITTLE_ENDIAN
        self._bulk = bulk

    def bulk_of(self, uri: str, *, tag: str, is_nested: bool) -> Bulk | WholeElement:
        parts = self._bulk.find(uri)
        if tag == _PIXEL_DATA:
            return self._pixels(parts, is_nested=is_nested)
        if len(parts) > 1:
            raise RejectedObjectError("several parts have its bulk data")
        return parts[0]

    def _pixels(self, parts: Sequence[BulkPart], *, is_nested: bool) -> Bulk | WholeElement:
        syntaxes = {part.transfer_syntax_uid for part in parts}
        syntax = syntaxes.pop()
        if syntaxes:
            raise RejectedObjectError("its parts are of several transfer syntaxes")
        if syntax is None or (syntax and is_nested):
            raise _SyntaxNotSupportedError(f"{parts[0].media_type} is not taken as pixel data")
        if not syntax:
            return parts[0] if len(parts) == 1 else Encoded(tuple(parts))
        self.transfer_syntax_uid = syntax
        return WholeElement(_encapsulated(parts))


def _encapsulated(frames: Sequence[BulkPart]) -> Encoded:
    """Put frames into fragments, one each where they fit (PS3.5 §A.4)."""
    fragments: list[bytes | Bulk] = []
    offsets: list[int] = []
    position = 0
    for frame in frames:
        offsets.append(position)
        for start in range(0, frame.length, MAX_FRAGMENT_BYTES):
            length = min(MAX_FRAGMENT_BYTES, frame.length - start)
            piece = BulkPart(frame.file, frame.start + start, length, frame.media_type, None)
            fragments += [item_head(length + length % 2), piece, b"\0" * (length % 2)]
            position += 8 + length + length % 2
    table = b""
    # Of a single frame nothing needs to be told, and what is too far away cannot be.
    if len(frames) > 1 and offsets[-1] <= _LARGEST_OFFSET:
        table = b"".join(offset.to_bytes(4, "little") for offset in offsets)
    head = element_head(int(_PIXEL_DATA, 16), "OB", None) + item_head(len(table)) + table
    return Encoded((head, *fragments, SEQUENCE_END))


def _with_image_pixel(elements: Mapping[str, Any], bulk: BulkParts) -> Mapping[str, Any]:
    """Say of a JPEG what its metadata may leave out (PS3.18 §10.5.1.4)."""
    pixels = elements.get(_PIXEL_DATA)
    uri = pixels.get("BulkDataURI") if isinstance(pixels, dict) else None
    if not isinstance(uri, str) or integer_of(elements, _ROWS) is not None:
        return elements
    first = bulk.find(uri)[0]
    image = jpeg_image_of(first.read(0, HEAD_BYTES)) if first.media_type == "image/jpeg" else None
    if image is None:
        return elements
    colour = "YBR_FULL_422" if image.is_subsampled else "YBR_FULL"
    colour = "RGB" if image.is_rgb else colour
    allocated = 8 if image.bits <= 8 else 16
    described: dict[str, Any] = {
        "00280002": {"vr": "US", "Value": [image.samples]},
        "00280004": {"vr": "CS", "Value": ["MONOCHROME2" if image.samples == 1 else colour]},
        _ROWS: {"vr": "US", "Value": [image.rows]},
        "00280011": {"vr": "US", "Value": [image.columns]},
        "00280100": {"vr": "US", "Value": [allocated]},
        "00280101": {"vr": "US", "Value": [image.bits]},
        "00280102": {"vr": "US", "Value": [image.bits - 1]},
        "00280103": {"vr": "US", "Value": [0]},
    }
    if image.samples > 1:
        described["00280006"] = {"vr": "US", "Value": [0]}
    return {**described, **elements}
