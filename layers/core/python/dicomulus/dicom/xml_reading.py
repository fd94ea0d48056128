"""Documents of the Native DICOM Model as DICOM JSON (PS3.19 §A.1, PS3.18 §F.3.1).

Nothing is looked up: a document with a declaration of its type, and so with entities of its own,
is refused.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Final
from xml.parsers.expat import ExpatError, ParserCreate

from dicomulus.dicom.json_model import PERSON_NAME_GROUPS
from dicomulus.dicom.native_xml import PERSON_NAME_COMPONENTS
from dicomulus.dicom.part10 import MAX_DEPTH
from dicomulus.errors import RejectedObjectError

MAX_VALUES: Final = 65_536
"""Values or items of one element; they are numbered, so that a document could ask for any."""

MAX_ELEMENTS: Final = 500_000
"""XML elements of a document, each of which takes some 500 bytes of memory."""

_TAG: Final = re.compile(r"[0-9A-Fa-f]{8}")
_FIRST_BLOCK: Final = 0x10
_LAST_BLOCK: Final = 0xFF

_TEXT_ELEMENTS: Final = frozenset({"Value", "InlineBinary", *PERSON_NAME_COMPONENTS})
_INSIDE: Final = {
    "": frozenset({"NativeDicomModel"}),
    "NativeDicomModel": frozenset({"DicomAttribute"}),
    "DicomAttribute": frozenset({"Value", "PersonName", "Item", "InlineBinary", "BulkData"}),
    "Item": frozenset({"DicomAttribute"}),
    "PersonName": frozenset(PERSON_NAME_GROUPS),
    **dict.fromkeys(PERSON_NAME_GROUPS, frozenset(PERSON_NAME_COMPONENTS)),
}
"""What each element may hold."""


def read_native_xml(document: bytes) -> dict[str, Any]:
    """Read a document into elements by tag; numbers stay text.

    Raises:
        RejectedObjectError: It is no such document; the text says where, and quotes no value.
    """
    reader = _Reader()
    parser = ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = reader.begin
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.add_text
    parser.StartDoctypeDeclHandler = _refuse_doctype
    try:
        parser.Parse(document, True)
    except ExpatError as exc:
        raise RejectedObjectError(f"the XML does not parse, line {exc.lineno}") from exc
    except (LookupError, ValueError) as exc:
        # Expat asks Python for encodings that it has not itself.
        raise RejectedObjectError("the XML is in an encoding that is not taken") from exc
    return reader.data_set


def _refuse_doctype(*_: object) -> None:
    raise RejectedObjectError("the XML declares a document type")


@dataclass(slots=True)
class _Attribute:
    """An element under way."""

    tag: str
    vr: str
    creator: str
    values: dict[int, Any] = field(default_factory=dict)
    binary: dict[str, str] = field(default_factory=dict)

    def told(self) -> dict[str, Any]:
        """Give it as DICOM JSON."""
        if self.binary and (self.values or len(self.binary) > 1):
            raise RejectedObjectError(f"{self.tag}: has values of several kinds")
        if not self.values:
            return {"vr": self.vr, **self.binary}
        listed = [self.values.get(number) for number in range(1, max(self.values) + 1)]
        return {"vr": self.vr, "Value": listed}


@dataclass(slots=True)
class _DataSet:
    """A data set under way; private elements wait until all creators are known."""

    elements: dict[str, Any] = field(default_factory=dict)
    private: list[tuple[_Attribute, dict[str, Any]]] = field(default_factory=list)

    def add(self, attribute: _Attribute) -> None:
        """Take an element."""
        told = attribute.told()
        if attribute.creator:
            self.private.append((attribute, told))
        elif attribute.tag in self.elements:
            raise RejectedObjectError(f"{attribute.tag}: comes twice")
        else:
            self.elements[attribute.tag] = told

    def whole(self) -> dict[str, Any]:
        """Give the elements, the private ones in the blocks of their creators (PS3.5 §7.8.1)."""
        blocks: dict[tuple[str, str], int] = {}
        for attribute, told in self.private:
            group, low = attribute.tag[:4], attribute.tag[6:]
            key = group, attribute.creator
            if key not in blocks:
                blocks[key] = self._block(*key)
            tag = f"{group}{blocks[key]:02X}{low}"
            if tag in self.elements:
                raise RejectedObjectError(f"{tag}: comes twice")
            self.elements[tag] = told
        return self.elements

    def _block(self, group: str, creator: str) -> int:
        for block in range(_FIRST_BLOCK, _LAST_BLOCK + 1):
            tag = f"{group}00{block:02X}"
            if tag not in self.elements:
                self.elements[tag] = {"vr": "LO", "Value": [creator]}
                return block
            if self.elements[tag].get("Value") == [creator]:
                return block
        raise RejectedObjectError(f"group {group} has no room for another private creator")


class _Reader:
    def __init__(self) -> None:
        self.data_set: dict[str, Any] = {}
        self._path: list[str] = [""]
        self._data_sets: list[_DataSet] = []
        self._attributes: list[_Attribute] = []
        self._numbers: list[int] = []
        self._name: dict[str, list[str]] = {}
        self._text: list[str] = []
        self._count = 0

    def begin(self, qualified: str, given: dict[str, str]) -> None:
        self._count += 1
        if self._count > MAX_ELEMENTS:
            raise RejectedObjectError(f"the XML has over {MAX_ELEMENTS} elements")
        name = qualified.rpartition(":")[2]
        if name not in _INSIDE.get(self._path[-1], ()):
            raise RejectedObjectError("the XML is not of the Native DICOM Model")
        self._path.append(name)
        if name in ("NativeDicomModel", "Item"):
            self._begin_data_set()
        elif name == "DicomAttribute":
            self._attributes.append(_attribute(given))
        elif name == "BulkData":
            self._attributes[-1].binary["BulkDataURI"] = given.get("uri") or given.get("uuid", "")
        elif name == "PersonName":
            self._name = {}
        elif name in PERSON_NAME_GROUPS:
            self._name[name] = [""] * len(PERSON_NAME_COMPONENTS)
        if name in ("Item", "Value", "PersonName"):
            self._numbers.append(_number(given, after=len(self._attributes[-1].values)))
        self._text.clear()

    def end(self, _: str) -> None:
        name = self._path.pop()
        text = "".join(self._text)
        self._text.clear()
        if name == "NativeDicomModel":
            self.data_set = self._data_sets.pop().whole()
        elif name == "DicomAttribute":
            self._data_sets[-1].add(self._attributes.pop())
        elif name == "Item":
            self._take(self._data_sets.pop().whole())
        elif name == "Value":
            self._take(text or None)
        elif name == "PersonName":
            groups = {group: "^".join(parts).rstrip("^") for group, parts in self._name.items()}
            self._take({group: value for group, value in groups.items() if value} or None)
        elif name == "InlineBinary":
            self._attributes[-1].binary["InlineBinary"] = text
        elif name in PERSON_NAME_COMPONENTS:
            self._name[self._path[-1]][PERSON_NAME_COMPONENTS.index(name)] = text

    def add_text(self, text: str) -> None:
        if self._path[-1] in _TEXT_ELEMENTS:
            self._text.append(text)
        elif text.strip():
            raise RejectedObjectError("the XML has text where there is none in the model")

    def _begin_data_set(self) -> None:
        if len(self._data_sets) > MAX_DEPTH:
            raise RejectedObjectError("sequences nest too deep")
        self._data_sets.append(_DataSet())

    def _take(self, value: object) -> None:
        number, attribute = self._numbers.pop(), self._attributes[-1]
        if number in attribute.values:
            raise RejectedObjectError(f"{attribute.tag}: value {number} comes twice")
        attribute.values[number] = value


def _attribute(given: dict[str, str]) -> _Attribute:
    tag = given.get("tag", "")
    if not _TAG.fullmatch(tag):
        raise RejectedObjectError("an element has no tag")
    creator = given.get("privateCreator", "").strip()
    return _Attribute(tag.upper(), given.get("vr", ""), creator)


def _number(given: dict[str, str], *, after: int) -> int:
    text = given.get("number", str(after + 1))
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= MAX_VALUES):
        raise RejectedObjectError("a value has no number, or one that is too large")
    return int(text[:9])
