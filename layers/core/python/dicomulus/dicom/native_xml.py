"""The Native DICOM Model: data sets as XML documents (PS3.19 §A.1)."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from dicomulus.dicom.dictionary import keyword_from_tag
from dicomulus.dicom.json_model import PERSON_NAME_GROUPS, person_name_groups

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from dicomulus.dicom.level_json import Element

NAMESPACE: Final = "http://dicom.nema.org/PS3.19/models/NativeDICOM"

PERSON_NAME_COMPONENTS: Final = (
    "FamilyName",
    "GivenName",
    "MiddleName",
    "NamePrefix",
    "NameSuffix",
)
"""Components of each group of a person name, in the order of PN (PS3.19 Table A.1.5-2)."""

# PS3.19 Table A.1.5-1 wants xml:space, which keeps the blanks of values.
_BEGIN: Final = (
    '<?xml version="1.0" encoding="UTF-8"?>'
    f'<NativeDicomModel xmlns="{NAMESPACE}" xml:space="preserve">'
)
_END: Final = "</NativeDicomModel>"

_HEADS_HELD: Final = 8192
"""Tags, with their VRs, of which the opening is kept."""

_ODD_DIGITS: Final = frozenset("13579BDF")

# XML 1.0 §2.2: these cannot be written at all, not even as references.
_UNWRITABLE: Final = "\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff"
_NOT_PLAIN: Final = re.compile(f'[&<>"\t\n\r{_UNWRITABLE}]|--')
_CANNOT_WRITE: Final = re.compile(f"[{_UNWRITABLE}]")

# Readers make a line feed of a carriage return, and blanks of both and of tabs within attributes
# (XML 1.0 §2.11, §3.3.3). saxutils would do this as well, at the price of importing urllib.request.
_IN_TEXT: Final = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", "\r": "&#13;"})
_IN_ATTRIBUTES: Final = _IN_TEXT | str.maketrans({'"': "&quot;", "\n": "&#10;", "\t": "&#9;"})


def native_xml(elements: Mapping[str, Element]) -> bytes:
    """Write a data set in DICOM JSON, by tag in ascending order, as a document in UTF-8.

    Values that are text stay as they are digit for digit, numbers too if they are given as text.
    Characters that XML does not have, such as control codes, become U+FFFD. No document has two
    hyphens in a row, so that a boundary with two of them cannot occur in one.
    """
    written = [_BEGIN]
    _write_data_set(elements, written)
    written.append(_END)
    return "".join(written).encode()


def _write_data_set(elements: Mapping[str, Element], written: list[str]) -> None:
    creators = _creators(elements)
    for tag, element in elements.items():
        vr = element["vr"]
        creator = creators.get(tag[:6])
        head = _head(tag, vr) if creator is None else _private_head(tag, vr, creator)
        if len(element) == 1:
            written.append(f"{head}/>")
            continue
        written.append(f"{head}>")
        _write_content(element, vr, written)
        written.append("</DicomAttribute>")


def _creators(elements: Mapping[str, Element]) -> dict[str, str]:
    """Give the creators of private blocks, by what the tags of a block begin with (PS3.5 §7.8.1).

    A creator that reserves a second block, which it may not, is not given for that one: its
    elements could not be told from those of the first.
    """
    creators: dict[str, str] = {}
    known: set[tuple[str, str]] = set()
    for tag, element in elements.items():
        if tag[3] in _ODD_DIGITS and tag[4:6] == "00" and tag[6:] >= "10":
            match element.get("Value"):
                case [str(name)] if (tag[:4], name) not in known:
                    known.add((tag[:4], name))
                    creators[tag[:4] + tag[6:]] = name
    return creators


@lru_cache(_HEADS_HELD)
def _head(tag: str, vr: str) -> str:
    keyword = keyword_from_tag(tag)
    named = "" if keyword is None else f' keyword="{keyword}"'
    return f'<DicomAttribute tag="{tag}" vr="{_attribute(vr)}"{named}'


def _private_head(tag: str, vr: str, creator: str) -> str:
    # PS3.19 Table A.1.5-2: the creator says which block it is, so the tag does not.
    return (
        f'<DicomAttribute tag="{tag[:4]}00{tag[6:]}" vr="{_attribute(vr)}"'
        f' privateCreator="{_attribute(creator)}"'
    )


def _write_content(element: Element, vr: str, written: list[str]) -> None:
    if "BulkDataURI" in element:
        written.append(f'<BulkData uri="{_attribute(element["BulkDataURI"])}"/>')
    elif "InlineBinary" in element:
        written.append(f"<InlineBinary>{_text(element['InlineBinary'])}</InlineBinary>")
    elif vr == "SQ":
        _write_items(element["Value"], written)
    elif vr == "PN":
        _write_names(element["Value"], written)
    else:
        _write_values(element["Value"], written)


def _write_values(values: Iterable[object], written: list[str]) -> None:
    for number, value in enumerate(values, 1):
        if value is None:
            written.append(f'<Value number="{number}"/>')
        else:
            written.append(f'<Value number="{number}">{_text(str(value))}</Value>')


def _write_items(items: Iterable[Mapping[str, Element]], written: list[str]) -> None:
    for number, item in enumerate(items, 1):
        written.append(f'<Item number="{number}">')
        _write_data_set(item, written)
        written.append("</Item>")


def _write_names(names: Iterable[object], written: list[str]) -> None:
    for number, name in enumerate(names, 1):
        written.append(f'<PersonName number="{number}">')
        for group, text in zip(PERSON_NAME_GROUPS, person_name_groups(name), strict=True):
            components = _components(text)
            if components:
                written.append(f"<{group}>{components}</{group}>")
        written.append("</PersonName>")


def _components(group: str) -> str:
    """Write the components that are not empty; what no component is for stays with the last."""
    texts = group.split("^", len(PERSON_NAME_COMPONENTS) - 1)
    return "".join(
        f"<{name}>{_text(text)}</{name}>"
        for name, text in zip(PERSON_NAME_COMPONENTS, texts, strict=False)
        if text
    )


def _text(text: str) -> str:
    return _escaped(text, _IN_TEXT) if _NOT_PLAIN.search(text) else text


def _attribute(text: str) -> str:
    return _escaped(text, _IN_ATTRIBUTES) if _NOT_PLAIN.search(text) else text


def _escaped(text: str, escapes: dict[int, str]) -> str:
    return _CANNOT_WRITE.sub("\ufffd", text).translate(escapes).replace("--", "-&#45;")
