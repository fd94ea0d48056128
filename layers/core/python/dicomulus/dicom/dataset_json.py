"""An object's bytes as DICOM JSON, with everything that indexing needs to know (PS3.18 §F)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from dicomulus.dicom import json_value
from dicomulus.dicom.character_sets import CharacterSet, character_set_of
from dicomulus.dicom.element_tree import MAX_WARNINGS, Node, read_tree
from dicomulus.dicom.frame_table import PixelDescription, build_frame_table
from dicomulus.dicom.part10 import (
    EXTENDED_OFFSET_TABLE,
    EXTENDED_OFFSET_TABLE_LENGTHS,
    PIXEL_TAGS,
    Findings,
    Header,
    data_set_source,
    parse_file_meta,
    with_pixel,
)
from dicomulus.dicom.resource import InstanceResource
from dicomulus.errors import RejectedObjectError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dicomulus.dicom.byte_source import ByteSource
    from dicomulus.dicom.element_tree import ElementTree
    from dicomulus.dicom.frame_table import FrameTable

BASE_URL_PLACEHOLDER: Final = "\x01"
"""Stands for the base URL in BulkDataURI; JSON escapes it everywhere else."""

_SPECIFIC_CHARACTER_SET: Final = "00080005"
_SOP_CLASS_UID: Final = "00080016"
_SOP_INSTANCE_UID: Final = "00080018"
_STUDY_INSTANCE_UID: Final = "0020000D"
_SERIES_INSTANCE_UID: Final = "0020000E"
_LUT_DESCRIPTOR: Final = "00283002"
_PIXEL_REPRESENTATION: Final = "00280103"
_MEDIA_STORAGE_SOP_CLASS_UID: Final = "00020002"
_MEDIA_STORAGE_DIRECTORY: Final = "1.2.840.10008.1.3.10"

_TEXT_VRS: Final = frozenset(
    {"AE", "AS", "CS", "DA", "DT", "LO", "LT", "SH", "ST", "TM", "UC", "UI", "UR", "UT"}
)
_LONGEST_QUOTED: Final = 16


@dataclass(frozen=True, slots=True)
class ConvertedInstance:
    """One instance as the index takes it."""

    json: bytes
    """Its complete DICOM JSON, one object in UTF-8, tags ascending, with the base URL left open."""
    attributes: Mapping[str, Any]
    """The same, parsed."""
    instance: InstanceResource
    sop_class_uid: str
    """Empty when the object does not tell."""
    header: Header
    frame_table: FrameTable | None
    warnings: tuple[str, ...]
    damaged: bool
    """Part of the object could not be read."""


def convert(source: ByteSource) -> ConvertedInstance:
    """Convert an object, element by element; what cannot be converted is kept and listed as warning.

    Raises:
        RejectedObjectError: No DICOM object, or one without Study, Series or SOP Instance UID.
        NeedMoreError: The source does not hold what is wanted.
    """
    header = parse_file_meta(source)
    data_set = data_set_source(source, header)
    findings = Findings(list(header.warnings))
    tree = read_tree(
        data_set,
        header.dataset_offset,
        encoding=header.encoding,
        findings=findings,
        private_vr=_private_vr,
    )
    nodes = {node.tag: node for node in tree.nodes}
    instance = _instance(nodes, header)
    converter = _Converter(instance, findings, big_endian=header.encoding.big_endian)
    text = converter.instance_object(tree.nodes)
    attributes = json.loads(text, strict=False)
    header = with_pixel(header, _pixel_elements(tree), ())
    built = build_frame_table(
        data_set,
        header,
        description=PixelDescription.from_attributes(attributes),
        fragments=tree.fragments,
    )
    return ConvertedInstance(
        json=text.encode("utf-8", "replace"),
        attributes=attributes,
        instance=instance,
        sop_class_uid=_uid(nodes, _SOP_CLASS_UID)
        or header.file_meta.get(_MEDIA_STORAGE_SOP_CLASS_UID, ""),
        header=header,
        frame_table=built.table,
        warnings=(*findings.warnings, *built.warnings)[:MAX_WARNINGS],
        damaged=findings.damaged,
    )


def json_character_set() -> str:
    """Write Specific Character Set as every answer has it.

    The text of an answer is UTF-8 whatever the object was written in, so the attribute says so. That is
    right by the older rule (PS3.18 §F.2: the value is ISO_IR 192) and by CP-2518, under which another
    value would only tell where the text came from, and it is what clients expect that decode by it.
    """
    return f'"{_SPECIFIC_CHARACTER_SET}":{{"vr":"CS","Value":["ISO_IR 192"]}}'


def _pixel_elements(tree: ElementTree) -> dict[int, Any]:
    wanted = PIXEL_TAGS | {EXTENDED_OFFSET_TABLE, EXTENDED_OFFSET_TABLE_LENGTHS}
    return {node.element.tag: node.element for node in tree.nodes if node.element.tag in wanted}


def _uid(nodes: Mapping[str, Node], tag: str) -> str:
    node = nodes.get(tag)
    if node is None or not node.value:
        return ""
    return json_value.split_text(node.value, "UI", character_set=CharacterSet())[0].strip()


def _instance(nodes: Mapping[str, Node], header: Header) -> InstanceResource:
    if header.file_meta.get(_MEDIA_STORAGE_SOP_CLASS_UID) == _MEDIA_STORAGE_DIRECTORY:
        raise RejectedObjectError("a media directory, not an instance")
    wanted = {
        "Study Instance UID": _uid(nodes, _STUDY_INSTANCE_UID),
        "Series Instance UID": _uid(nodes, _SERIES_INSTANCE_UID),
        "SOP Instance UID": _uid(nodes, _SOP_INSTANCE_UID),
    }
    missing = [name for name, uid in wanted.items() if not uid]
    if missing:
        raise RejectedObjectError(f"no {', '.join(missing)}")
    return InstanceResource(*wanted.values())


@cache
def _private_vr(tag: str, creator: str) -> str | None:
    # Only objects with private elements of unknown VR pay for the import.
    from pydicom.datadict import private_dictionary_VR

    try:
        return private_dictionary_VR(int(tag, 16), creator).replace(" or ", "/")
    except KeyError:
        return None


@dataclass(frozen=True, slots=True)
class _Context:
    """What an element's conversion depends on beside its own bytes."""

    character_set: CharacterSet
    is_signed: bool
    lut_entries: int
    path: tuple[str, ...] = ()


class _Converter:
    def __init__(self, instance: InstanceResource, findings: Findings, *, big_endian: bool) -> None:
        self.bulk_data_path = f"{instance.path}/bulkdata/"
        self.findings = findings
        self.big_endian = big_endian

    def instance_object(self, nodes: tuple[Node, ...]) -> str:
        context = _Context(CharacterSet(), is_signed=False, lut_entries=0)
        members = self.members(nodes, context)
        if _SPECIFIC_CHARACTER_SET not in members and not all(map(str.isascii, members.values())):
            members[_SPECIFIC_CHARACTER_SET] = json_character_set()
            self.warn((), "text beyond ASCII without Specific Character Set")
        return "{" + ",".join(members[tag] for tag in sorted(members)) + "}"

    def members(self, nodes: tuple[Node, ...], outer: _Context) -> dict[str, str]:
        """Give a data set's members by tag; of an element that comes twice the last counts."""
        by_tag = {node.tag: node for node in nodes}
        if len(by_tag) < len(nodes):
            self.warn(outer.path, "elements that come twice")
        context = self.context(by_tag, outer)
        return {
            tag: self.member(node, context)
            for tag, node in sorted(by_tag.items())
            # Group lengths and file meta are not part of a data set (PS3.18 §F.2.2).
            if not tag.endswith("0000") and not tag.startswith(("0000", "0002"))
        }

    def context(self, by_tag: Mapping[str, Node], outer: _Context) -> _Context:
        character_set, is_signed, lut_entries = outer.character_set, outer.is_signed, 0
        terms = by_tag.get(_SPECIFIC_CHARACTER_SET)
        if terms is not None and terms.value is not None:
            texts = json_value.split_text(terms.value, "CS", character_set=CharacterSet())
            character_set = character_set_of(texts)
            if character_set.problem:
                self.warn((*outer.path, _SPECIFIC_CHARACTER_SET), character_set.problem)
        representation = self.number(by_tag.get(_PIXEL_REPRESENTATION))
        if representation is not None:
            is_signed = representation == 1
        lut_entries = self.number(by_tag.get(_LUT_DESCRIPTOR)) or 0
        return _Context(character_set, is_signed, lut_entries, outer.path)

    def number(self, node: Node | None) -> int | None:
        if node is None or node.value is None or len(node.value) < 2:
            return None
        return int.from_bytes(node.value[:2], "big" if self.big_endian else "little")

    def member(self, node: Node, context: _Context) -> str:
        if node.tag == _SPECIFIC_CHARACTER_SET:
            return json_character_set()
        path = (*context.path, node.tag)
        vr = _settled_vr(node.vr, context)
        if node.items is not None:
            content = self.sequence(node, context, path)
        elif node.value is None:
            content = self.bulk_data(node, path)
        else:
            try:
                content = self.value(node.value, vr, node=node, context=context, path=path)
            except json_value.UnfitValueError:
                self.warn(path, f"{len(node.value)} bytes are no value of {vr}; kept as UN")
                content = json_value.format_inline_binary(node.value, "UN", big_endian=False)
                vr = "UN"
        return f'"{node.tag}":{{"vr":"{vr}"{content}}}'

    def sequence(self, node: Node, context: _Context, path: tuple[str, ...]) -> str:
        objects = []
        for number, nodes in enumerate(node.items or (), start=1):
            inner = _Context(context.character_set, context.is_signed, 0, path=(*path, str(number)))
            objects.append("{" + ",".join(self.members(nodes, inner).values()) + "}")
        return f',"Value":[{",".join(objects)}]' if objects else ""

    def bulk_data(self, node: Node, path: tuple[str, ...]) -> str:
        if node.element.length == 0 or node.vr == "SQ":
            return ""
        uri = self.bulk_data_path + "/".join(path)
        return f',"BulkDataURI":"{BASE_URL_PLACEHOLDER}{uri}"'

    def value(
        self,
        value: bytes,
        vr: str,
        *,
        node: Node,
        context: _Context,
        path: tuple[str, ...],
    ) -> str:
        if json_value.is_number_vr(vr):
            is_cut = len(value) < (node.element.length or 0)
            return json_value.format_numbers(value, vr, big_endian=self.big_endian, is_cut=is_cut)
        if vr == "AT":
            return json_value.format_tags(value, big_endian=self.big_endian)
        if vr in _TEXT_VRS or vr in ("PN", "DS", "IS"):
            return self.text(value, vr, context=context, path=path)
        return json_value.format_inline_binary(value, vr, big_endian=self.big_endian)

    def text(self, value: bytes, vr: str, *, context: _Context, path: tuple[str, ...]) -> str:
        texts = json_value.split_text(value, vr, character_set=context.character_set)
        if vr == "PN":
            content, is_complete = json_value.format_person_names(texts)
            if not is_complete:
                self.warn(path, "more than three component groups; the first three are kept")
            return content
        if vr in ("DS", "IS"):
            content, unfit = json_value.format_number_texts(texts)
            for text in unfit:
                self.warn(path, f"{vr} {text[:_LONGEST_QUOTED]!r} kept as string")
            return content
        return json_value.format_texts(texts)

    def warn(self, path: tuple[str, ...], text: str) -> None:
        if len(self.findings.warnings) < MAX_WARNINGS:
            self.findings.warnings.append(f"{'/'.join(path)}: {text}" if path else text)


def _settled_vr(vr: str, context: _Context) -> str:
    """Choose among the VRs that the dictionary leaves open (PS3.5 §A.1, PS3.3 §C.7.6.3, §C.11.1)."""
    if vr == "US/SS":
        return "SS" if context.is_signed else "US"
    if vr == "US/OW" and context.lut_entries == 1:
        return "US"
    return "OW" if "/" in vr else vr
