"""Telling DICOM objects from other files, and what they are, by their first elements alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Final

from dicomulus.dicom.byte_source import RangedSource
from dicomulus.dicom.part10 import Findings, data_set_source, iterate_elements, parse_file_meta
from dicomulus.dicom.resource import InstanceResource
from dicomulus.errors import RejectedObjectError

if TYPE_CHECKING:
    from collections.abc import Callable

    from dicomulus.dicom.byte_source import ByteSource
    from dicomulus.dicom.part10 import Header

MEDIA_DIRECTORY: Final = "1.2.840.10008.1.3.10"
"""SOP class of a DICOMDIR (PS3.4 §B.5)."""

_SOP_CLASS: Final = 0x00080016
_SOP_INSTANCE: Final = 0x00080018
_STUDY: Final = 0x0020000D
_SERIES: Final = 0x0020000E
_NAMES: Final = {
    _STUDY: "Study Instance UID",
    _SERIES: "Series Instance UID",
    _SOP_INSTANCE: "SOP Instance UID",
}

_MAX_UID_BYTES: Final = 1_024
_NEAR_BYTES: Final = 65_536
"""A disk reads on over a gap of this size as fast as it jumps."""


@dataclass(frozen=True, slots=True)
class Identity:
    """What an object is."""

    instance: InstanceResource
    sop_class_uid: str
    transfer_syntax_uid: str


@dataclass(frozen=True, slots=True)
class Unfit:
    """Why a file is not stored."""

    reason: str
    is_dicom: bool = False
    """It is a DICOM object that should have been fit."""


def identify(content: IO[bytes], size: int) -> Identity | Unfit:
    """Read an object's UIDs; nothing is converted, and the rest is not read."""
    if size == 0:
        return Unfit("empty")
    source = RangedSource(_fetch_from(content), size, near_bytes=_NEAR_BYTES)
    try:
        header = parse_file_meta(source)
        found = _uids(source, header)
    except RejectedObjectError:
        return Unfit("not DICOM")
    if header.file_meta.get("00020002") == MEDIA_DIRECTORY:
        return Unfit("DICOMDIR")
    missing = [name for tag, name in _NAMES.items() if not found.get(tag)]
    if missing and not header.file_meta:
        # Any bytes may look like an element or two.
        return Unfit("not DICOM")
    if missing:
        return Unfit(f"has no {', '.join(missing)}", is_dicom=True)
    instance = InstanceResource(found[_STUDY], found[_SERIES], found[_SOP_INSTANCE])
    return Identity(instance, found.get(_SOP_CLASS, ""), header.transfer_syntax_uid)


def _uids(source: ByteSource, header: Header) -> dict[int, str]:
    data_set = data_set_source(source, header)
    found: dict[int, str] = {}
    walk = iterate_elements(
        data_set, header.dataset_offset, encoding=header.encoding, findings=Findings()
    )
    for element in walk:
        if element.tag > _SERIES:
            break
        if element.tag in (_SOP_CLASS, *_NAMES):
            length = element.length or 0
            if 0 < length <= _MAX_UID_BYTES and element.value_offset + length <= data_set.size:
                value = data_set.read(element.value_offset, length)
                found[element.tag] = value.decode("latin-1").strip("\0 ")
    return found


def _fetch_from(content: IO[bytes]) -> Callable[[int, int], bytes]:
    def fetch(start: int, length: int) -> bytes:
        content.seek(start)
        return content.read(length)

    return fetch
