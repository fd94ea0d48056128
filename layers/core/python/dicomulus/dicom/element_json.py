"""Elements as members of DICOM JSON objects, one by one and whatever they hold (PS3.18 §F.2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from dicomulus.dicom import json_value
from dicomulus.dicom.character_sets import UNDECLARED, CharacterSet, character_set_of
from dicomulus.dicom.element_tree import MAX_WARNINGS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dicomulus.dicom.element_tree import Node
    from dicomulus.dicom.part10 import Findings
    from dicomulus.dicom.resource import InstanceResource

BASE_URL_PLACEHOLDER: Final = "\x01"
"""Stands for the base URL in BulkDataURI; JSON escapes it everywhere else."""

SPECIFIC_CHARACTER_SET: Final = "00080005"
LUT_DESCRIPTOR: Final = "00283002"
PIXEL_REPRESENTATION: Final = "00280103"

_TEXT_VRS: Final = frozenset(
    {"AE", "AS", "CS", "DA", "DT", "LO", "LT", "SH", "ST", "TM", "UC", "UI", "UR", "UT"}
)
_LONGEST_QUOTED: Final = 16


def json_character_set() -> str:
    """Write Specific Character Set as every answer has it.

    The text of an answer is UTF-8 whatever the object was written in, so the attribute says so. That is
    right by the older rule (PS3.18 §F.2: the value is ISO_IR 192) and by CP-2518, under which another
    value would only tell where the text came from, and it is what clients expect that decode by it.
    """
    return f'"{SPECIFIC_CHARACTER_SET}":{{"vr":"CS","Value":["ISO_IR 192"]}}'


@dataclass(frozen=True, slots=True)
class Context:
    """What an element's conversion depends on beside its own bytes."""

    character_set: CharacterSet = UNDECLARED
    is_signed: bool = False
    lut_entries: int = 0
    path: tuple[str, ...] = ()


def with_instance_path(member: str, instance: InstanceResource) -> str:
    """Complete the BulkDataURIs in a member, which begin with the path of the instance."""
    path = f"{BASE_URL_PLACEHOLDER}{instance.path}/bulkdata/"
    return member.replace(BASE_URL_PLACEHOLDER, path)


class ElementConverter:
    """Converts elements of one object; what cannot be converted is kept and listed as warning.

    The BulkDataURI of an element is the placeholder and the element's path, until
    ``with_instance_path`` completes it.
    """

    def __init__(self, findings: Findings, *, big_endian: bool) -> None:
        """Make a converter that has its warnings in ``findings``."""
        self.findings = findings
        self.big_endian = big_endian
        self.particulars = 0
        """Grows with every warning and every value left out, which are of one object alone."""
        self.uri_tags: set[str] = set()
        """The top-level elements that have BulkDataURIs in them."""

    def members(self, nodes: tuple[Node, ...], outer: Context) -> dict[str, str]:
        """Give a data set's members by tag; of an element that comes twice the last counts."""
        by_tag = {node.tag: node for node in nodes}
        if len(by_tag) < len(nodes):
            self.warn(outer.path, "elements that come twice")
        context = self._context(by_tag, outer)
        return {
            tag: self.member(node, context)
            for tag, node in sorted(by_tag.items())
            # Group lengths and file meta are not part of a data set (PS3.18 §F.2.2).
            if not tag.endswith("0000") and not tag.startswith(("0000", "0002"))
        }

    def _context(self, by_tag: Mapping[str, Node], outer: Context) -> Context:
        character_set, is_signed, lut_entries = outer.character_set, outer.is_signed, 0
        terms = by_tag.get(SPECIFIC_CHARACTER_SET)
        if terms is not None and terms.value is not None:
            texts = json_value.split_text(terms.value, "CS", character_set=UNDECLARED)
            character_set = character_set_of(texts)
            if character_set.problem:
                self.warn((*outer.path, SPECIFIC_CHARACTER_SET), character_set.problem)
        representation = self._number(by_tag.get(PIXEL_REPRESENTATION))
        if representation is not None:
            is_signed = representation == 1
        lut_entries = self._number(by_tag.get(LUT_DESCRIPTOR)) or 0
        return Context(character_set, is_signed, lut_entries, outer.path)

    def _number(self, node: Node | None) -> int | None:
        if node is None or node.value is None or len(node.value) < 2:
            return None
        return int.from_bytes(node.value[:2], "big" if self.big_endian else "little")

    def member(self, node: Node, context: Context) -> str:
        """Write one element, its tag included."""
        if node.tag == SPECIFIC_CHARACTER_SET:
            return json_character_set()
        path = (*context.path, node.tag)
        vr = _settled_vr(node.vr, context)
        if node.items is not None:
            content = self._sequence(node, context, path)
        elif node.value is None:
            content = self._bulk_data(node, path)
        else:
            try:
                content = self._value(node.value, vr, node=node, context=context, path=path)
            except json_value.UnfitValueError:
                self.warn(path, f"{len(node.value)} bytes are no value of {vr}; kept as UN")
                content = json_value.format_inline_binary(node.value, "UN", big_endian=False)
                vr = "UN"
        return f'"{node.tag}":{{"vr":"{vr}"{content}}}'

    def _sequence(self, node: Node, context: Context, path: tuple[str, ...]) -> str:
        objects = []
        for number, nodes in enumerate(node.items or (), start=1):
            inner = Context(context.character_set, context.is_signed, 0, path=(*path, str(number)))
            objects.append("{" + ",".join(self.members(nodes, inner).values()) + "}")
        return f',"Value":[{",".join(objects)}]' if objects else ""

    def _bulk_data(self, node: Node, path: tuple[str, ...]) -> str:
        self.particulars += 1
        if node.element.length == 0 or node.vr == "SQ":
            return ""
        self.uri_tags.add(path[0])
        return f',"BulkDataURI":"{BASE_URL_PLACEHOLDER}{"/".join(path)}"'

    def _value(
        self,
        value: bytes,
        vr: str,
        *,
        node: Node,
        context: Context,
        path: tuple[str, ...],
    ) -> str:
        if json_value.is_number_vr(vr):
            is_cut = len(value) < (node.element.length or 0)
            return json_value.format_numbers(value, vr, big_endian=self.big_endian, is_cut=is_cut)
        if vr == "AT":
            return json_value.format_tags(value, big_endian=self.big_endian)
        if vr in _TEXT_VRS or vr in ("PN", "DS", "IS"):
            return self._text(value, vr, context=context, path=path)
        return json_value.format_inline_binary(value, vr, big_endian=self.big_endian)

    def _text(self, value: bytes, vr: str, *, context: Context, path: tuple[str, ...]) -> str:
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
        """Note something about the element at a path, as long as there is room for it."""
        self.particulars += 1
        if len(self.findings.warnings) < MAX_WARNINGS:
            self.findings.warnings.append(f"{'/'.join(path)}: {text}" if path else text)


def _settled_vr(vr: str, context: Context) -> str:
    """Choose among the VRs that the dictionary leaves open (PS3.5 §A.1, PS3.3 §C.7.6.3, §C.11.1)."""
    if vr == "US/SS":
        return "SS" if context.is_signed else "US"
    if vr == "US/OW" and context.lut_entries == 1:
        return "US"
    return "OW" if "/" in vr else vr
