"""Native DICOM Model documents read back to DICOM JSON (PS3.18 Table F.3.1-1), by a parser of XML.

The reader is strict: what is not in the schema of PS3.19 §A.1.6 fails it.
"""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

from dicomulus.wire.media_types import parse_media_type
from dicomulus.wire.multipart import read_parts
from tests.support.archives import body_of
from tests.support.encodings import decoded

if TYPE_CHECKING:
    from collections.abc import Mapping
    from xml.etree.ElementTree import Element

    from dicomulus.wire.content_coding import ContentCoding
    from dicomulus.wire.message import Response

NAMESPACE = "{http://dicom.nema.org/PS3.19/models/NativeDICOM}"
SPACE = "{http://www.w3.org/XML/1998/namespace}space"
COMPONENTS = ["FamilyName", "GivenName", "MiddleName", "NamePrefix", "NameSuffix"]
MULTIPART = 'multipart/related; type="application/dicom+xml"'

DataSet = dict[str, dict[str, Any]]


def documents_of(response: Response) -> list[bytes]:
    """Give the parts of an answer."""
    content_type = response.header("Content-Type")
    assert content_type is not None
    parsed = parse_media_type(content_type)
    assert (parsed.essence, parsed.parameter("type")) == (
        "multipart/related",
        "application/dicom+xml",
    )
    coding: ContentCoding = "gzip" if response.header("Content-Encoding") else "identity"
    found = []
    for part in read_parts(BytesIO(decoded(body_of(response), coding)), parsed):
        assert part.headers.get("Content-Type") == "application/dicom+xml"
        found.append(part.content.read())
    return found


def data_sets_of(response: Response) -> list[DataSet]:
    """Give the data sets in the parts of an answer."""
    return [read_document(document) for document in documents_of(response)]


def read_document(document: bytes) -> DataSet:
    """Read a document; numbers stay text."""
    root = ET.fromstring(document)
    assert root.tag == NAMESPACE + "NativeDicomModel"
    assert root.attrib == {SPACE: "preserve"}
    return _data_set(root)


def as_text(data_set: Mapping[str, Any]) -> DataSet:
    """Write a data set as a document has it: numbers as text, names without empty ends."""
    return {tag: _element_as_text(element) for tag, element in data_set.items()}


def _element_as_text(element: Mapping[str, Any]) -> dict[str, Any]:
    if element["vr"] == "SQ":
        return {**element, "Value": [as_text(item) for item in element.get("Value", [])]}
    if "Value" not in element:
        return dict(element)
    return {**element, "Value": [_value_as_text(value) for value in element["Value"]]}


def _value_as_text(value: object) -> object:
    if isinstance(value, dict):
        groups = {group: text.rstrip("^") for group, text in value.items()}
        return {group: text for group, text in groups.items() if text} or None
    return None if value is None else str(value)


def _data_set(parent: Element) -> DataSet:
    assert not parent.text
    blocks: dict[tuple[str, str], str] = {}
    found: DataSet = {}
    for attribute in parent:
        assert attribute.tag == NAMESPACE + "DicomAttribute"
        assert not attribute.tail
        assert set(attribute.attrib) <= {"tag", "vr", "keyword", "privateCreator"}
        tag = attribute.attrib["tag"]
        creator = attribute.attrib.get("privateCreator")
        if creator is not None:
            assert tag[4:6] == "00"
            tag = blocks[tag[:4], creator] + tag[6:]
        assert tag not in found
        found[tag] = _element(attribute)
        if creator is None and int(tag[3], 16) % 2 and tag[4:6] == "00" and tag[6:] >= "10":
            (value, *_) = found[tag].get("Value") or [None]
            blocks.setdefault((tag[:4], str(value)), tag[:4] + tag[6:])
    assert list(found) == sorted(found)
    return found


def _element(attribute: Element) -> dict[str, Any]:
    assert not attribute.text
    element: dict[str, Any] = {"vr": attribute.attrib["vr"]}
    kinds = {child.tag.removeprefix(NAMESPACE) for child in attribute}
    if not kinds:
        return element | ({"Value": []} if element["vr"] == "SQ" else {})
    (kind,) = kinds
    children = list(attribute)
    if kind == "BulkData":
        (child,) = children
        return element | {"BulkDataURI": child.attrib["uri"]}
    if kind == "InlineBinary":
        (child,) = children
        return element | {"InlineBinary": child.text}
    numbers = [child.attrib["number"] for child in children]
    assert numbers == [str(number) for number in range(1, len(children) + 1)]
    assert kind == {"SQ": "Item", "PN": "PersonName"}.get(element["vr"], "Value")
    return element | {"Value": [_value(child, kind) for child in children]}


def _value(child: Element, kind: str) -> object:
    if kind == "Item":
        return _data_set(child)
    return _name(child) if kind == "PersonName" else child.text


def _name(name: Element) -> dict[str, str] | None:
    groups: dict[str, str] = {}
    for group in name:
        components = {child.tag.removeprefix(NAMESPACE): child.text or "" for child in group}
        assert [each for each in COMPONENTS if each in components] == list(components)
        text = "^".join(components.get(each, "") for each in COMPONENTS).rstrip("^")
        groups[group.tag.removeprefix(NAMESPACE)] = text
    assert [g for g in ("Alphabetic", "Ideographic", "Phonetic") if g in groups] == list(groups)
    return groups or None
