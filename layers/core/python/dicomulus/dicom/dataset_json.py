"""An object's bytes as DICOM JSON, with everything that indexing needs to know (PS3.18 §F)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from dicomulus.dicom import json_value
from dicomulus.dicom.character_sets import UNDECLARED
from dicomulus.dicom.element_json import (
    SPECIFIC_CHARACTER_SET,
    Context,
    ElementConverter,
    json_character_set,
    with_instance_path,
)
from dicomulus.dicom.element_tree import MAX_WARNINGS, read_tree
from dicomulus.dicom.frame_table import (
    PIXEL_DESCRIPTION_TAGS,
    PixelDescription,
    build_frame_table,
)
from dicomulus.dicom.one_pass import (
    PIXEL_ELEMENT_TAGS,
    SERIES_INSTANCE_UID,
    SOP_CLASS_UID,
    SOP_INSTANCE_UID,
    STUDY_INSTANCE_UID,
    UID_TAGS,
    UnusualError,
    read_members,
)
from dicomulus.dicom.part10 import (
    Findings,
    Header,
    data_set_source,
    parse_file_meta,
    with_pixel,
)
from dicomulus.dicom.resource import InstanceResource, is_addressable
from dicomulus.errors import RejectedObjectError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from collections.abc import Set as AbstractSet

    from dicomulus.dicom.byte_source import ByteSource
    from dicomulus.dicom.encapsulation import Fragments
    from dicomulus.dicom.frame_table import FrameTable
    from dicomulus.dicom.part10 import Element

_MEDIA_STORAGE_SOP_CLASS_UID: Final = "00020002"
MEDIA_STORAGE_DIRECTORY: Final = "1.2.840.10008.1.3.10"

_DESCRIPTIONS_HELD: Final = 256
"""Pixel descriptions kept; those of a series are equal."""


@dataclass(frozen=True, slots=True)
class ConvertedInstance:
    """One instance as the index takes it."""

    json: bytes
    """Its complete DICOM JSON, one object in UTF-8, tags ascending, with the base URL left open."""
    members: Mapping[str, str]
    """The texts that the object is made of, each with its tag, by tag."""
    instance: InstanceResource
    sop_class_uid: str
    """Empty when the object does not tell."""
    header: Header
    frame_table: FrameTable | None
    warnings: tuple[str, ...]
    damaged: bool
    """Part of the object could not be read."""

    @property
    def attributes(self) -> dict[str, Any]:
        """The JSON, parsed at every call."""
        return parse_members(self.members.values())


@dataclass(frozen=True, slots=True)
class _DataSet:
    """A data set converted, its BulkDataURIs without the path of the instance."""

    members: dict[str, str]
    """By tag, in ascending order."""
    uri_tags: AbstractSet[str]
    """Those of the members that have BulkDataURIs in them."""
    uids: Mapping[str, bytes]
    """Values by tag, as far as there are any."""
    pixel_elements: Mapping[int, Element]
    fragments: Fragments | None
    findings: Findings


def convert(source: ByteSource) -> ConvertedInstance:
    """Convert an object; what cannot be converted is kept and listed as warning.

    A data set as the standard wants it takes one pass, every other the careful way, element by element.

    Raises:
        RejectedObjectError: No DICOM object, or one without Study, Series or SOP Instance UID.
        NeedMoreError: The source does not hold what is wanted.
    """
    header = parse_file_meta(source)
    data_set = data_set_source(source, header)
    try:
        converted = _in_one_pass(data_set, header)
    except UnusualError:
        converted = _carefully(data_set, header)
    return _instance_of(converted, header, data_set)


def convert_carefully(source: ByteSource) -> ConvertedInstance:
    """Convert an object as ``convert`` does, without trying the quick way first."""
    header = parse_file_meta(source)
    data_set = data_set_source(source, header)
    return _instance_of(_carefully(data_set, header), header, data_set)


def parse_members(members: Iterable[str]) -> dict[str, Any]:
    """Parse members of a DICOM JSON object."""
    parsed: dict[str, Any] = json.loads("{" + ",".join(members) + "}", strict=False)
    return parsed


def _in_one_pass(source: ByteSource, header: Header) -> _DataSet:
    findings = Findings(list(header.warnings))
    converter = ElementConverter(findings, big_endian=False)
    read = read_members(
        source, header.dataset_offset, encoding=header.encoding, converter=converter
    )
    return _DataSet(
        members=read.members,
        uri_tags=converter.uri_tags,
        uids=read.uids,
        pixel_elements=read.pixel_elements,
        fragments=read.fragments,
        findings=findings,
    )


def _carefully(source: ByteSource, header: Header) -> _DataSet:
    findings = Findings(list(header.warnings))
    tree = read_tree(source, header.dataset_offset, encoding=header.encoding, findings=findings)
    converter = ElementConverter(findings, big_endian=header.encoding.big_endian)
    return _DataSet(
        members=converter.members(tree.nodes, Context()),
        uri_tags=converter.uri_tags,
        uids={
            node.tag: node.value
            for node in tree.nodes
            # Half a UID is one of something else.
            if node.tag in UID_TAGS and node.value and len(node.value) == node.element.length
        },
        pixel_elements={
            node.element.tag: node.element
            for node in tree.nodes
            if node.element.tag in PIXEL_ELEMENT_TAGS
        },
        fragments=tree.fragments,
        findings=findings,
    )


def _instance_of(converted: _DataSet, header: Header, source: ByteSource) -> ConvertedInstance:
    uids = {tag: _uid(value) for tag, value in converted.uids.items()}
    instance = _instance(uids, header)
    members, text = _object(converted, instance)
    header = with_pixel(header, converted.pixel_elements, ())
    built = build_frame_table(
        source,
        header,
        description=_pixel_description(members),
        fragments=converted.fragments,
    )
    return ConvertedInstance(
        json=text.encode("utf-8", "replace"),
        members=members,
        instance=instance,
        sop_class_uid=uids.get(SOP_CLASS_UID)
        or header.file_meta.get(_MEDIA_STORAGE_SOP_CLASS_UID, ""),
        header=header,
        frame_table=built.table,
        warnings=(*converted.findings.warnings, *built.warnings)[:MAX_WARNINGS],
        damaged=converted.findings.damaged,
    )


def _uid(value: bytes) -> str:
    return json_value.split_text(value, "UI", character_set=UNDECLARED)[0].strip()


def _instance(uids: Mapping[str, str], header: Header) -> InstanceResource:
    if header.file_meta.get(_MEDIA_STORAGE_SOP_CLASS_UID) == MEDIA_STORAGE_DIRECTORY:
        raise RejectedObjectError("a media directory, not an instance")
    wanted = {
        "Study Instance UID": uids.get(STUDY_INSTANCE_UID, ""),
        "Series Instance UID": uids.get(SERIES_INSTANCE_UID, ""),
        "SOP Instance UID": uids.get(SOP_INSTANCE_UID, ""),
    }
    missing = [name for name, uid in wanted.items() if not uid]
    if missing:
        raise RejectedObjectError(f"no {', '.join(missing)}")
    unusable = [name for name, uid in wanted.items() if not is_addressable(uid)]
    if unusable:
        raise RejectedObjectError(f"too long or of control characters: {', '.join(unusable)}")
    return InstanceResource(*wanted.values())


def _object(converted: _DataSet, instance: InstanceResource) -> tuple[dict[str, str], str]:
    """Give the members completed, and the text they make."""
    members = converted.members
    for tag in converted.uri_tags & members.keys():
        members[tag] = with_instance_path(members[tag], instance)
    text = "{" + ",".join(members.values()) + "}"
    if SPECIFIC_CHARACTER_SET in members or text.isascii():
        return members, text
    converted.findings.warnings.append("text beyond ASCII without Specific Character Set")
    members = dict(sorted({**members, SPECIFIC_CHARACTER_SET: json_character_set()}.items()))
    return members, "{" + ",".join(members.values()) + "}"


def _pixel_description(members: Mapping[str, str]) -> PixelDescription:
    return _described(tuple(members[tag] for tag in PIXEL_DESCRIPTION_TAGS if tag in members))


@lru_cache(_DESCRIPTIONS_HELD)
def _described(members: tuple[str, ...]) -> PixelDescription:
    return PixelDescription.from_attributes(parse_members(members))
