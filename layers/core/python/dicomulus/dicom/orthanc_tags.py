"""Data sets as Orthanc's REST API writes them, made of DICOM JSON."""

from __future__ import annotations

import json
import struct
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

from dicomulus.dicom.attributes import creator_tag, is_creator, is_private
from dicomulus.dicom.dictionary import keyword_from_tag, tag_from_keyword
from dicomulus.dicom.json_model import format_value
from dicomulus.dicom.orthanc_id import Level

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from dicomulus.dicom.level_json import Element

MAX_VALUE_BYTES: Final = 256
"""Bytes of a value over which Orthanc gives none."""

_PIXEL_DATA: Final = "7FE00010"
_TAG_DIGITS: Final = frozenset("0123456789ABCDEFabcdef")

_UNNAMED: Final = "Unknown Tag & Data"
_CREATOR: Final = "PrivateCreator"

# Orthanc gives these as text, joined by backslashes.
_NUMBER_VRS: Final = frozenset({"SL", "SS", "UL", "US", "FL", "FD"})
_TEXT_VRS: Final = frozenset(
    "AE AS CS DA DS DT IS LO LT PN SH ST TM UC UI UR UT".split()  # noqa: SIM905 - as PS3.5 lists them
)

MAIN_TAGS: Final[Mapping[Level, tuple[str, ...]]] = {
    Level.PATIENT: (
        "00100010",  # PatientName
        "00100020",  # PatientID
        "00100030",  # PatientBirthDate
        "00100040",  # PatientSex
        "00101000",  # OtherPatientIDs
    ),
    Level.STUDY: (
        "00080020",  # StudyDate
        "00080030",  # StudyTime
        "00080050",  # AccessionNumber
        "00080080",  # InstitutionName
        "00080090",  # ReferringPhysicianName
        "00080201",  # TimezoneOffsetFromUTC
        "00081030",  # StudyDescription
        "0020000D",  # StudyInstanceUID
        "00200010",  # StudyID
        "00321032",  # RequestingPhysician
        "00321060",  # RequestedProcedureDescription
    ),
    Level.SERIES: (
        "00080021",  # SeriesDate
        "00080031",  # SeriesTime
        "00080060",  # Modality
        "00080070",  # Manufacturer
        "00080201",  # TimezoneOffsetFromUTC
        "00081010",  # StationName
        "0008103E",  # SeriesDescription
        "00081070",  # OperatorsName
        "00180010",  # ContrastBolusAgent
        "00180015",  # BodyPartExamined
        "00180024",  # SequenceName
        "00181030",  # ProtocolName
        "00181090",  # CardiacNumberOfImages
        "00181400",  # AcquisitionDeviceProcessingDescription
        "0020000E",  # SeriesInstanceUID
        "00200011",  # SeriesNumber
        "00200037",  # ImageOrientationPatient
        "00200105",  # NumberOfTemporalPositions
        "00201002",  # ImagesInAcquisition
        "00400244",  # PerformedProcedureStepStartDate
        "00400245",  # PerformedProcedureStepStartTime
        "00400254",  # PerformedProcedureStepDescription
        "00400275",  # RequestAttributesSequence
        "00540081",  # NumberOfSlices
        "00540101",  # NumberOfTimeSlices
        "00541000",  # SeriesType
    ),
    Level.INSTANCE: (
        "00080012",  # InstanceCreationDate
        "00080013",  # InstanceCreationTime
        "00080018",  # SOPInstanceUID
        "00200012",  # AcquisitionNumber
        "00200013",  # InstanceNumber
        "00200032",  # ImagePositionPatient
        "00200037",  # ImageOrientationPatient
        "00200100",  # TemporalPositionIdentifier
        "00204000",  # ImageComments
        "00280008",  # NumberOfFrames
        "00541330",  # ImageIndex
    ),
}
"""The main DICOM tags of each level, as Orthanc has had them since 1.12.5."""

# PS3.3 Tables C.7-1, C.7-3, C.7-5 and C.12-1 with the macros that they name, as of 2011.
MODULES: Final[Mapping[Level, frozenset[str]]] = {
    Level.PATIENT: frozenset(
        [
            "00081120",
            "00100010",
            "00100020",
            "00100021",
            "00100024",
            "00100030",
            "00100032",
            "00100040",
            "00101000",
            "00101001",
            "00101002",
            "00102160",
            "00102201",
            "00102202",
            "00102292",
            "00102293",
            "00102294",
            "00102297",
            "00102298",
            "00102299",
            "00104000",
            "00120062",
            "00120063",
            "00120064",
        ]
    ),
    Level.STUDY: frozenset(
        [
            "00080020",
            "00080030",
            "00080050",
            "00080051",
            "00080090",
            "00080096",
            "00081030",
            "00081032",
            "00081048",
            "00081049",
            "00081060",
            "00081062",
            "00081110",
            "0020000D",
            "00200010",
            "00321034",
            "00401012",
        ]
    ),
    Level.SERIES: frozenset(
        [
            "00080021",
            "00080031",
            "00080060",
            "0008103E",
            "0008103F",
            "00081050",
            "00081052",
            "00081070",
            "00081072",
            "00081111",
            "00081250",
            "00102210",
            "00180015",
            "00181030",
            "00185100",
            "0020000E",
            "00200011",
            "00200060",
            "00280108",
            "00280109",
            "00400244",
            "00400245",
            "00400253",
            "00400254",
            "00400260",
            "00400275",
            "00400280",
        ]
    ),
    Level.INSTANCE: frozenset(
        [
            "00080005",
            "00080012",
            "00080013",
            "00080014",
            "00080016",
            "00080018",
            "0008001A",
            "0008001B",
            "00080110",
            "00080201",
            "0018A001",
            "00200013",
            "00280303",
            "0040A390",
            "01000410",
            "01000420",
            "01000424",
            "01000426",
            "04000500",
            "04000561",
            "4FFE0001",
            "FFFAFFFA",
        ]
    ),
}
"""The attributes of each level's module."""


class TagFormat(Enum):
    """How an answer has tags."""

    FULL = "full"
    """By tag, each with name, type and value."""
    HUMAN = "simplify"
    """By name, each with its value alone."""
    SHORT = "short"
    """By tag, each with its value alone."""


# What is read as text comes out as the file has it: 1.00000e+00 stays that.
_DECODER: Final = json.JSONDecoder(strict=False, parse_float=str, parse_int=str)


def parse_exactly(text: bytes) -> dict[str, Element]:
    """Read an instance's JSON, its numbers as the texts that they are written as."""
    found: dict[str, Element] = _DECODER.decode(text.decode())
    return found


def format_tag(tag: str) -> str:
    """Write a tag of 8 digits as answers have it."""
    return f"{tag[:4]},{tag[4:]}".lower()


def parse_tag(text: str) -> str | None:
    """Read a tag, ``0010,0020``, ``0010-0020`` or ``00100020``, or a keyword; None if it is none."""
    digits = text.replace(",", "").replace("-", "")
    if len(digits) == 8 and _TAG_DIGITS.issuperset(digits):
        return digits.upper()
    return tag_from_keyword(text)


def data_set_json(
    elements: Mapping[str, Element],
    tag_format: TagFormat = TagFormat.FULL,
    *,
    whole: Collection[str] = (),
) -> dict[str, Any]:
    """Write a data set up to its pixel data.

    Args:
        elements: What ``parse_exactly`` gave.
        tag_format: How.
        whole: Attributes of which the value is given, however long.
    """
    told = {tag: each for tag, each in elements.items() if tag <= _PIXEL_DATA}
    return _written(told, tag_format, whole)


def tags_json(
    elements: Mapping[str, Element], tags: Iterable[str], tag_format: TagFormat
) -> dict[str, Any]:
    """Write some attributes, those that are there and have a value that is not too long."""
    told = {tag: elements[tag] for tag in tags if tag in elements}
    given = {tag: each for tag, each in told.items() if each["vr"] == "SQ" or _is_given(each)}
    return _written(given, tag_format, ())


def _is_given(element: Element) -> bool:
    text = value_text(element)
    return text is not None and not _is_too_long(text)


def _is_too_long(text: str) -> bool:
    return len(text.encode("utf-8", "replace")) > MAX_VALUE_BYTES


def value_text(element: Element) -> str | None:
    """Give a value as text; None for a sequence, and for what is no text."""
    vr = element["vr"]
    if vr == "AT":
        values = element.get("Value") or [""]
        return format_tag(str(values[0])) if values[0] else ""
    if vr in _NUMBER_VRS:
        values = element.get("Value") or ()
        return "\\".join(_number_text(vr, value) for value in values) if values else None
    if vr not in _TEXT_VRS or "BulkDataURI" in element or "InlineBinary" in element:
        return None
    return "\\".join(format_value(value) for value in element.get("Value", ()))


def _number_text(vr: str, value: object) -> str:
    text = str(value)
    if vr not in ("FL", "FD"):
        return text
    try:
        number = float(text)
        if vr == "FL":
            (number,) = struct.unpack("<f", struct.pack("<f", number))
    except (ValueError, OverflowError):
        return text
    return f"{number:.17g}"


def _written(
    elements: Mapping[str, Element], tag_format: TagFormat, whole: Collection[str]
) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for tag, element in elements.items():
        name = _name(tag)
        creator = _creator_of(elements, tag)
        key = name if tag_format is TagFormat.HUMAN else format_tag(tag)
        kind, value = _kind_and_value(tag, element, tag_format, whole)
        if tag_format is not TagFormat.FULL:
            found[key] = value
            continue
        told = {"Name": name, "Type": kind, "Value": value}
        if creator and kind != "Sequence":
            told = {"Name": name, "PrivateCreator": creator, "Type": kind, "Value": value}
        found[key] = told
    return dict(sorted(found.items()))


def _kind_and_value(
    tag: str, element: Element, tag_format: TagFormat, whole: Collection[str]
) -> tuple[str, Any]:
    if element["vr"] == "SQ":
        items = element.get("Value", ())
        return "Sequence", [_written(item, tag_format, whole) for item in items if item is not None]
    text = value_text(element)
    if text is None:
        return "Null", None
    if tag not in whole and _is_too_long(text):
        return "TooLong", None
    return "String", text


def _name(tag: str) -> str:
    if is_creator(tag):
        return _CREATOR
    return keyword_from_tag(tag) or _UNNAMED


def _creator_of(elements: Mapping[str, Element], tag: str) -> str:
    if not is_private(tag) or is_creator(tag):
        return ""
    element = elements.get(creator_tag(tag))
    return "" if element is None else value_text(element) or ""
