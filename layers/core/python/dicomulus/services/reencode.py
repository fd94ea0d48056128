"""An object written anew as Explicit VR Little Endian, its pixels as they are (PS3.18 §8.7.3.4).

Only the data set's encoding changes. The pixel data is never held in memory and never decoded.
"""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Final

from pydicom import config, dcmread
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_file_meta_info
from pydicom.uid import UID, ExplicitVRLittleEndian

from dicomulus.dicom.frame_table import NativeFrames, decode_frame_table
from dicomulus.dicom.part10 import (
    data_set_source,
    parse_header,
    swap_bytes,
    swap_unit,
)
from dicomulus.errors import NotAcceptableError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dicomulus.dicom.byte_source import ByteSource
    from dicomulus.dicom.part10 import Element, Header
    from dicomulus.ports import InstanceRow

_CHUNK_BYTES: Final = 1_048_576
"""Bytes of pixel data read at a time; divisible by every unit that byte orders exchange."""


@dataclass(frozen=True, slots=True)
class Reencoded:
    """An object in its new encoding, and its length in bytes."""

    length: int
    content: Iterator[bytes]


def explicit_little_endian(source: ByteSource, row: InstanceRow) -> Reencoded:
    """Write a native object as Explicit VR Little Endian with file meta information.

    Raises:
        NotAcceptableError: It cannot be written so.
    """
    header = parse_header(source)
    data_set = data_set_source(source, header)
    end = header.pixel.offset if header.pixel else data_set.size
    read = _read(data_set.read(0, end), header)
    head = _written(read, row, big_endian=header.encoding.big_endian)
    if header.pixel is None:
        return Reencoded(len(head), iter([head]))
    if header.pixel.length is None:
        raise NotAcceptableError("compressed pixel data is given as stored only")
    vr = header.pixel.vr or "OW"
    length = min(header.pixel.length, data_set.size - header.pixel.value_offset)
    element_head = _element_head(header.pixel.tag, vr, length)
    pixels = _pixels(data_set, header.pixel, length=length, unit=_pixel_swap_unit(row))
    return Reencoded(len(head) + len(element_head) + length, _chained(head + element_head, pixels))


def _pixel_swap_unit(row: InstanceRow) -> int:
    table = decode_frame_table(row.frame_table) if row.frame_table else None
    return table.swap_unit if isinstance(table, NativeFrames) else 1


def _chained(head: bytes, pixels: Iterator[bytes]) -> Iterator[bytes]:
    yield head
    yield from pixels


def _pixels(source: ByteSource, element: Element, *, length: int, unit: int) -> Iterator[bytes]:
    for start in range(0, length, _CHUNK_BYTES):
        chunk = source.read(element.value_offset + start, min(_CHUNK_BYTES, length - start))
        yield swap_bytes(chunk, unit)


def _element_head(tag: int, vr: str, length: int) -> bytes:
    numbers = (tag >> 16).to_bytes(2, "little") + (tag & 0xFFFF).to_bytes(2, "little")
    return numbers + vr.encode("ascii") + b"\0\0" + length.to_bytes(4, "little")


def _read(content: bytes, header: Header) -> Dataset:
    """Read what stands before the pixel data, each element so that it can be written."""
    if header.deflated:
        # The content is inflated already, so the file meta must not say otherwise.
        content = _plain_part10(content[header.dataset_offset :])
    with config.disable_value_validation():
        data_set = dcmread(BytesIO(content), force=True)
        for tag in list(data_set.keys()):
            raw = data_set.get_item(tag)
            try:
                data_set[tag]
            except (ValueError, TypeError, KeyError, OverflowError, NotImplementedError):
                data_set[tag] = DataElement(tag, "UN", raw.value or b"")
    return data_set


def _plain_part10(data_set: bytes) -> bytes:
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    buffer = DicomBytesIO()
    write_file_meta_info(buffer, meta, enforce_standard=False)
    return b"\0" * 128 + b"DICM" + buffer.getvalue() + data_set


def _written(data_set: Dataset, row: InstanceRow, *, big_endian: bool) -> bytes:
    meta = data_set.file_meta if hasattr(data_set, "file_meta") else FileMetaDataset()
    meta.MediaStorageSOPClassUID = UID(row.sop_class_uid)
    meta.MediaStorageSOPInstanceUID = UID(row.instance.sop_instance_uid)
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    # A fresh data set does not remember the byte order it was read in, which would be kept.
    fresh = Dataset()
    fresh.update(_swapped(data_set) if big_endian else data_set)
    fresh.file_meta = meta
    buffer = BytesIO()
    with config.disable_value_validation():
        fresh.save_as(buffer, implicit_vr=False, little_endian=True, enforce_file_format=True)
    return buffer.getvalue()


def _swapped(data_set: Dataset) -> Dataset:
    """Bring values that are kept as bytes into little endian, those in items too."""
    for element in data_set:
        if element.VR == "SQ":
            for item in element.value:
                _swapped(item)
        elif isinstance(element.value, bytes):
            element.value = swap_bytes(element.value, swap_unit(element.VR))
    return data_set
