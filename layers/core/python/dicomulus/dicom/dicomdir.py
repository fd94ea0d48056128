"""The DICOMDIR of a file-set, written from the attributes of its instances (PS3.3 §F, PS3.10 §8)."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from itertools import groupby, zip_longest
from typing import TYPE_CHECKING, Final

from dicomulus.dicom.dictionary import vr_of
from dicomulus.dicom.json_model import format_value, items, values

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    Attributes = Mapping[str, object]

MEDIA_STORAGE_DIRECTORY: Final = "1.2.840.10008.1.3.10"
"""SOP Class of a DICOMDIR (PS3.4 §I.4)."""

_EXPLICIT_VR_LITTLE_ENDIAN: Final = "1.2.840.10008.1.2.1"
_UTF_8: Final = "ISO_IR 192"
_IMAGE: Final = "IMAGE"
_STORAGE: Final = "1.2.840.10008.5.1.4.1.1."

# PS3.3 Table F.4-1, by the part of the SOP Class UID behind that of storage; whole ones first, then
# families of them. All others are images.
_RECORD_TYPES: Final = {
    "66": "RAW DATA",
    "66.1": "REGISTRATION",
    "66.2": "FIDUCIAL",
    "66.3": "REGISTRATION",
    "66.5": "SURFACE",
    "66.6": "TRACT",
    "67": "VALUE MAP",
    "4.2": "SPECTROSCOPY",
    "77.1.5.3": "STEREOMETRIC",
    "78.6": "SR DOCUMENT",
    "79.1": "SR DOCUMENT",
    "80.1": "MEASUREMENT",
    "88.59": "KEY OBJECT DOC",
    "131": "PRESENTATION",
    "481.1": _IMAGE,
    "481.2": "RT DOSE",
    "481.3": "RT STRUCTURE SET",
    "481.4": "RT TREAT RECORD",
    "481.5": "RT PLAN",
    "481.6": "RT TREAT RECORD",
    "481.7": "RT TREAT RECORD",
    "481.8": "RT PLAN",
    "481.9": "RT TREAT RECORD",
}
_RECORD_TYPES_OF_FAMILIES: Final = (
    ("9.", "WAVEFORM"),
    ("11.", "PRESENTATION"),
    ("68.", "SURFACE SCAN"),
    ("78.", "MEASUREMENT"),
    ("88.", "SR DOCUMENT"),
    ("90.", "ASSESSMENT"),
    ("104.", "ENCAP DOC"),
    ("481.", "RADIOTHERAPY"),
)
_CONTENT: Final = ("00080023", "00080033", "00200013")
_LABELLED_CONTENT: Final = (*_CONTENT, "00700080", "00700081", "00700084")

# PS3.3 §F.5: what each record tells of its instance. Those that no instance need have are left out.
_KEYS: Final = {
    "PATIENT": ("00100010", "00100020"),
    "STUDY": ("00080020", "00080030", "00080050", "00081030", "0020000D", "00200010"),
    "SERIES": ("00080060", "0020000E", "00200011"),
    _IMAGE: ("00200013",),
    "ASSESSMENT": ("00080012", "00080013", "00200013"),
    "ENCAP DOC": (*_CONTENT, "0040A043", "00420010", "00420012"),
    "FIDUCIAL": _LABELLED_CONTENT,
    "KEY OBJECT DOC": (*_CONTENT, "0040A043"),
    "MEASUREMENT": _LABELLED_CONTENT,
    "PRESENTATION": ("00200013", "00700080", "00700081", "00700082", "00700083", "00700084"),
    "RADIOTHERAPY": ("00200013", "00700081", "00700084"),
    "RAW DATA": _CONTENT,
    "REGISTRATION": _LABELLED_CONTENT,
    "RT DOSE": ("00200013", "30040006", "3004000A"),
    "RT PLAN": ("00200013", "300A0002", "300A0006", "300A0007"),
    "RT STRUCTURE SET": ("00200013", "30060002", "30060008", "30060009"),
    "RT TREAT RECORD": ("00200013", "30080250", "30080251"),
    "SPECTROSCOPY": (
        "00080008",
        *_CONTENT,
        "00280008",
        "00280010",
        "00280011",
        "00289001",
        "00289002",
    ),
    "SR DOCUMENT": (*_CONTENT, "0040A043", "0040A491", "0040A493"),
    "STEREOMETRIC": ("00200013",),
    "SURFACE": _LABELLED_CONTENT,
    "SURFACE SCAN": _CONTENT,
    "TRACT": _LABELLED_CONTENT,
    "VALUE MAP": _LABELLED_CONTENT,
    "WAVEFORM": _CONTENT,
}

KEYS: Final = frozenset(tag for tags in _KEYS.values() for tag in tags)
"""All attributes that records tell."""

# PS3.5 §7.1.2
_LONG_VRS: Final = frozenset({"OB", "SQ", "UC", "UN", "UR", "UT"})
_NUMBERS: Final = {"US": "<H", "SS": "<h", "UL": "<L", "SL": "<l", "FL": "<f", "FD": "<d"}
_LARGEST_SHORT_BYTES: Final = 0xFFFE

_ITEM: Final = struct.Struct("<HHL")
_ITEM_TAG: Final = (0xFFFE, 0xE000)
_IN_USE: Final = 0xFFFF


@dataclass(frozen=True, slots=True)
class DirectoryEntry:
    """One file of the file-set; ``attributes`` are DICOM JSON, of which ``KEYS`` are enough."""

    file_id: tuple[str, ...]
    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    attributes: Attributes


@dataclass(slots=True)
class _Record:
    """A record, and where the one after it and the first one below it are."""

    content: bytes
    """Of the item, without the elements that say where others are."""
    below: list[_Record]
    position: int = 0

    @property
    def size(self) -> int:
        return _ITEM.size + len(_links(0, 0)) + len(self.content)


def record_type(sop_class_uid: str) -> str:
    """Give the type of the record for an instance of a SOP Class (PS3.3 Table F.4-1)."""
    within = sop_class_uid.removeprefix(_STORAGE)
    if within == sop_class_uid:
        return _IMAGE
    families = (kind for start, kind in _RECORD_TYPES_OF_FAMILIES if within.startswith(start))
    return _RECORD_TYPES.get(within) or next(families, _IMAGE)


def write_dicomdir(
    entries: Sequence[DirectoryEntry], sop_instance_uid: str, *, implementation_class_uid: str
) -> bytes:
    """Write the DICOMDIR of files of one study, those of a series one after the other.

    Series and instances without a number have that of their place.
    """
    meta = _file_meta(sop_instance_uid, implementation_class_uid)
    head = meta + _element("00041130", "CS", b"")
    # Two offsets, a flag, and the head of the sequence come before the first item.
    first = len(head) + 2 * _UL_BYTES + _US_BYTES + _SQ_HEAD_BYTES
    roots = [_patient(entries)] if entries else []
    records = list(_in_order(roots))
    position = first
    for record in records:
        record.position = position
        position += record.size
    root = roots[0].position if roots else 0
    body = b"".join(_items(roots))
    return b"".join(
        (
            head,
            _element("00041200", "UL", struct.pack("<L", root)),
            _element("00041202", "UL", struct.pack("<L", root)),
            _element("00041212", "US", struct.pack("<H", 0)),
            _element("00041220", "SQ", body),
        )
    )


# --- records -------------------------------------------------------------------------------------


def _patient(entries: Sequence[DirectoryEntry]) -> _Record:
    first = entries[0].attributes
    study = _Record(_content("STUDY", first, number="1"), _series(entries))
    return _Record(_content("PATIENT", first), [study])


def _series(entries: Iterable[DirectoryEntry]) -> list[_Record]:
    records = []
    by_series = groupby(entries, key=lambda entry: entry.attributes.get("0020000E"))
    for number, (_, files) in enumerate(by_series, start=1):
        held = list(files)
        leaves = [_leaf(entry, place) for place, entry in enumerate(held, start=1)]
        content = _content("SERIES", held[0].attributes, number=str(number))
        records.append(_Record(content, leaves))
    return records


def _leaf(entry: DirectoryEntry, place: int) -> _Record:
    kind = record_type(entry.sop_class_uid)
    reference = b"".join(
        (
            _element("00041500", "CS", "\\".join(entry.file_id).encode("ascii")),
            _element("00041510", "UI", entry.sop_class_uid.encode("ascii", "replace")),
            _element("00041511", "UI", entry.sop_instance_uid.encode("ascii", "replace")),
            _element("00041512", "UI", entry.transfer_syntax_uid.encode("ascii", "replace")),
        )
    )
    return _Record(_content(kind, entry.attributes, number=str(place), reference=reference), [])


_NUMBER_KEYS: Final = frozenset({"00200010", "00200011", "00200013"})
"""What orders studies, series and instances for who browses; a record must have a value."""


def _content(
    kind: str, attributes: Attributes, *, number: str = "", reference: bytes = b""
) -> bytes:
    keys = {tag: _json_element(tag, attributes.get(tag)) for tag in _KEYS[kind]}
    keys["00080005"] = _element("00080005", "CS", _UTF_8.encode("ascii"))
    for tag in _NUMBER_KEYS & keys.keys():
        if not values(attributes, tag):
            keys[tag] = _element(tag, vr_of(tag) or "IS", number.encode("ascii"))
    return b"".join(
        (
            _element("00041430", "CS", kind.encode("ascii")),
            reference,
            *(keys[tag] for tag in sorted(keys)),
        )
    )


def _in_order(records: Iterable[_Record]) -> Iterable[_Record]:
    for record in records:
        yield record
        yield from _in_order(record.below)


def _items(siblings: Sequence[_Record]) -> Iterable[bytes]:
    for record, after in zip_longest(siblings, siblings[1:]):
        links = _links(
            after.position if after else 0, record.below[0].position if record.below else 0
        )
        content = links + record.content
        yield _ITEM.pack(*_ITEM_TAG, len(content)) + content
        yield from _items(record.below)


def _links(following: int, below: int) -> bytes:
    return b"".join(
        (
            _element("00041400", "UL", struct.pack("<L", following)),
            _element("00041410", "US", struct.pack("<H", _IN_USE)),
            _element("00041420", "UL", struct.pack("<L", below)),
        )
    )


# --- encoding ------------------------------------------------------------------------------------


def _element(tag: str, vr: str, value: bytes) -> bytes:
    """Write an element in Explicit VR Little Endian (PS3.5 §7.1.2), padded to an even length."""
    if len(value) % 2:
        value += b"\0" if vr in ("UI", "OB", "UN") else b" "
    where = struct.pack("<HH", int(tag[:4], 16), int(tag[4:], 16))
    if vr in _LONG_VRS:
        return where + vr.encode("ascii") + struct.pack("<HL", 0, len(value)) + value
    if len(value) > _LARGEST_SHORT_BYTES:
        # A value that its VR has no room for is none that a directory has.
        value = b""
    return where + vr.encode("ascii") + struct.pack("<H", len(value)) + value


_UL_BYTES: Final = len(_element("00041200", "UL", b"\0\0\0\0"))
_US_BYTES: Final = len(_element("00041212", "US", b"\0\0"))
_SQ_HEAD_BYTES: Final = len(_element("00041220", "SQ", b""))


def _json_element(tag: str, element: object) -> bytes:
    """Write an element of DICOM JSON; without a value that can be told it has no length."""
    told = element if isinstance(element, dict) else {}
    vr = str(told.get("vr") or vr_of(tag) or "UN")
    write = _WRITERS.get(vr, _text)
    return _element(tag, vr, write({tag: told}, tag))


def _text(attributes: Attributes, tag: str) -> bytes:
    return "\\".join(format_value(value) for value in values(attributes, tag)).encode()


def _numbers(form: str) -> Callable[[Attributes, str], bytes]:
    parse = float if form[-1] in "fd" else int

    def write(attributes: Attributes, tag: str) -> bytes:
        try:
            told = (parse(str(value)) for value in values(attributes, tag))
            return b"".join(struct.pack(form, number) for number in told)
        except (ValueError, OverflowError, struct.error):
            return b""

    return write


def _sequence(attributes: Attributes, tag: str) -> bytes:
    written = []
    for item in items(attributes, tag):
        content = b"".join(_json_element(key, item[key]) for key in sorted(item))
        written.append(_ITEM.pack(*_ITEM_TAG, len(content)) + content)
    return b"".join(written)


def _nothing(attributes: Attributes, tag: str) -> bytes:  # noqa: ARG001 - one of several
    return b""


_WRITERS: Final[dict[str, Callable[[Attributes, str], bytes]]] = {
    **{vr: _numbers(form) for vr, form in _NUMBERS.items()},
    **dict.fromkeys(("AT", "OB", "OD", "OF", "OL", "OV", "OW", "SV", "UN", "UV"), _nothing),
    "SQ": _sequence,
}


def _file_meta(sop_instance_uid: str, implementation_class_uid: str) -> bytes:
    """Write preamble and file meta information (PS3.10 §7.1)."""
    group = b"".join(
        (
            _element("00020001", "OB", b"\0\1"),
            _element("00020002", "UI", MEDIA_STORAGE_DIRECTORY.encode("ascii")),
            _element("00020003", "UI", sop_instance_uid.encode("ascii")),
            _element("00020010", "UI", _EXPLICIT_VR_LITTLE_ENDIAN.encode("ascii")),
            _element("00020012", "UI", implementation_class_uid.encode("ascii")),
        )
    )
    length = _element("00020000", "UL", struct.pack("<L", len(group)))
    return b"\0" * 128 + b"DICM" + length + group
