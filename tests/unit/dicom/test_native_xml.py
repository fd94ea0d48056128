"""Documents of the Native DICOM Model, read back by a parser of XML (PS3.19 §A.1)."""

from __future__ import annotations

import re
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicomulus.dicom.byte_source import whole
from dicomulus.dicom.dataset_json import convert
from dicomulus.dicom.json_stream import parse_data_set
from dicomulus.dicom.native_xml import native_xml
from dicomulus.dicom.part10 import MAX_DEPTH
from dicomulus.metadata.base_url import resolve
from tests.support.native_model import NAMESPACE, DataSet, as_text, read_document
from tests.support.pydicom_corpus import instances_apart

CORPUS = instances_apart()

# Characters that mean something to XML, that it changes, or that it does not have.
AWKWARD = st.sampled_from(
    list("&<>\"'-\r\n\t ^=]\0\x01\x0b\x0c\x1b\x1f\x7f\x85\ud800\udfff\ufffe\uffff")
)
ANY_TEXT = st.text(AWKWARD | st.characters(exclude_categories=()), min_size=1)
PIECES = st.text(st.characters(exclude_characters="^=").filter(lambda c: is_char(c)), max_size=5)

NAME_GROUPS = st.lists(PIECES, max_size=5).map(lambda parts: "^".join(parts).rstrip("^"))
NAMES = st.fixed_dictionaries(
    dict.fromkeys(("Alphabetic", "Ideographic", "Phonetic"), NAME_GROUPS)
).map(lambda groups: {group: text for group, text in groups.items() if text} or None)

TEXTS = st.text(
    AWKWARD.filter(lambda c: is_char(c)) | st.characters().filter(lambda c: is_char(c)), min_size=1
)
NUMBERS = (
    st.sampled_from(["0.50", "1E-7", "-0", "18446744073709551615"]) | st.integers() | st.floats()
)


def is_char(character: str) -> bool:
    """XML 1.0 §2.2, production 2."""
    code = ord(character)
    return (
        code in (0x9, 0xA, 0xD)
        or 0x20 <= code <= 0xD7FF
        or 0xE000 <= code <= 0xFFFD
        or code >= 0x10000
    )


def with_values(vr: str, values: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    lists = st.lists(values | st.none(), min_size=1, max_size=4)
    return st.builds(lambda value: {"vr": vr, "Value": value}, lists)


LEAVES: st.SearchStrategy[dict[str, Any]] = st.one_of(
    st.sampled_from(["LO", "OB", "PN", "FD"]).map(lambda vr: {"vr": vr}),
    with_values("LO", TEXTS),
    with_values("DS", NUMBERS),
    with_values("PN", NAMES),
    st.builds(lambda uri: {"vr": "OW", "BulkDataURI": uri}, TEXTS),
    st.just({"vr": "OB", "InlineBinary": "AAECAw=="}),
)
TAGS = st.sampled_from(["00080005", "00100010", "00081115", "60123000", "0012FFFF", "7FE00010"])
CREATORS = st.sampled_from(["ACME", 'A "quoted" & --\tone', "Ω\r\n"])


def data_sets(elements: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[DataSet]:
    public = st.dictionaries(TAGS, elements, max_size=4)
    blocks = st.dictionaries(st.sampled_from(["10", "11", "FF"]), CREATORS | st.none())
    private = st.dictionaries(
        st.sampled_from(["10", "11", "12", "FF"]),
        st.dictionaries(st.sampled_from(["00", "01", "10", "FF"]), elements, max_size=2),
    )
    return st.builds(_data_set, public, blocks, private)


def _data_set(
    public: DataSet, blocks: dict[str, str | None], private: dict[str, DataSet]
) -> DataSet:
    found = dict(public)
    for block, creator in blocks.items():
        found[f"001100{block}"] = {"vr": "LO", "Value": [creator]} if creator else {"vr": "LO"}
    for block, elements in private.items():
        found |= {f"0011{block}{last}": element for last, element in elements.items()}
    return dict(sorted(found.items()))


NESTED = st.recursive(
    LEAVES,
    lambda inner: st.lists(data_sets(inner), max_size=3).map(
        lambda items: {"vr": "SQ", "Value": items}
    ),
    max_leaves=12,
)


@given(data_sets(NESTED))
def test_a_document_says_what_the_data_set_says(data_set: DataSet) -> None:
    """PS3.18 Table F.3.1-1."""
    assert read_document(native_xml(data_set)) == as_text(data_set)


@pytest.mark.parametrize("name", CORPUS)
def test_real_data_sets_come_back_digit_for_digit(name: str) -> None:
    text = resolve(convert(whole(CORPUS[name])).json, "http://archive.example/dicom--web")
    data_set = parse_data_set(text)
    read = read_document(native_xml(data_set))
    assert read == as_text(data_set)


@given(ANY_TEXT)
def test_what_xml_does_not_have_is_replaced_and_nothing_else(text: str) -> None:
    """XML 1.0 §2.2; a boundary of multipart, which has two hyphens, occurs nowhere."""
    expected = "".join(character if is_char(character) else "\ufffd" for character in text)
    data_set: DataSet = {
        "00091001": {"vr": "OB", "BulkDataURI": text},
        "00104000": {"vr": "LT", "Value": [text]},
    }
    document = native_xml({"00090010": {"vr": "LO", "Value": [text]}} | data_set)
    assert b"--" not in document
    values = list(ET.fromstring(document).iter(NAMESPACE + "Value"))
    assert [value.text for value in values] == [expected, expected]
    creator, bulk = ET.fromstring(document)[1], ET.fromstring(document)[1][0]
    assert creator.attrib["privateCreator"] == bulk.attrib["uri"] == expected


def test_sequences_may_be_as_deep_as_they_are_read() -> None:
    data_set: DataSet = {"00100020": {"vr": "LO", "Value": ["deep"]}}
    for _ in range(2 * MAX_DEPTH):
        data_set = {"00081115": {"vr": "SQ", "Value": [data_set]}}
    assert read_document(native_xml(data_set)) == data_set


def attributes(data_set: DataSet) -> list[dict[str, str]]:
    """The XML attributes of the elements at the top."""
    return [dict(each.attrib) for each in ET.fromstring(native_xml(data_set))]


def test_public_elements_have_their_keyword_where_there_is_one() -> None:
    written = attributes({"00100020": {"vr": "LO"}, "00100FFF": {"vr": "UN"}})
    assert written == [
        {"tag": "00100020", "vr": "LO", "keyword": "PatientID"},
        {"tag": "00100FFF", "vr": "UN"},
    ]


def test_private_elements_name_their_creator_instead_of_their_block() -> None:
    """PS3.19 Table A.1.5-2: gggg00ee."""
    written = attributes(
        {
            "00090010": {"vr": "LO", "Value": ["ONE"]},
            "00090011": {"vr": "LO", "Value": ["TWO"]},
            "00091001": {"vr": "LO"},
            "00091101": {"vr": "LO"},
            "000B1101": {"vr": "LO"},
        }
    )
    assert written == [
        {"tag": "00090010", "vr": "LO"},
        {"tag": "00090011", "vr": "LO"},
        {"tag": "00090001", "vr": "LO", "privateCreator": "ONE"},
        {"tag": "00090001", "vr": "LO", "privateCreator": "TWO"},
        {"tag": "000B1101", "vr": "LO"},
    ]


def test_only_creators_reserve_a_block() -> None:
    """PS3.5 §7.8.1: (gggg,0010-00FF) with gggg odd, and a value."""
    text = {"vr": "LO", "Value": ["ACME"]}
    data_set: DataSet = {
        "00080016": text,
        "00081601": text,
        "0009000F": text,
        "00090010": {"vr": "UN", "InlineBinary": "QUNNRQ=="},
        "00090F01": text,
        "00091001": text,
    }
    assert [each["tag"] for each in attributes(data_set)] == list(data_set)


def test_creators_hold_within_their_own_data_set() -> None:
    """PS3.5 §7.8.1: each item has private creators of its own."""
    item = {"00090010": {"vr": "LO", "Value": ["INNER"]}, "00091001": {"vr": "LO"}}
    data_set: DataSet = {
        "00081115": {"vr": "SQ", "Value": [{"00091001": {"vr": "LO"}}, item]},
        "00090010": {"vr": "LO", "Value": ["OUTER"]},
        "00091001": {"vr": "LO"},
    }
    found = re.findall(r'tag="(0009\d\d01)" vr="LO"(?: privateCreator="(\w+)")?', text_of(data_set))
    assert found == [("00091001", ""), ("00090001", "INNER"), ("00090001", "OUTER")]


def test_a_second_block_of_one_creator_keeps_its_tags() -> None:
    """PS3.5 §7.8.1 forbids it; files have it, and no element of theirs is lost."""
    creator = {"vr": "LO", "Value": ["ACME"]}
    value = {"vr": "LO", "Value": ["x"]}
    data_set = {"00090010": creator, "00090011": creator, "00091001": value, "00091101": value}
    assert [each["tag"] for each in attributes(data_set)[2:]] == ["00090001", "00091101"]
    assert read_document(native_xml(data_set)) == data_set


def text_of(data_set: DataSet) -> str:
    return native_xml(data_set).decode()


def test_names_are_parted_into_components() -> None:
    """PS3.19 Table A.1.5-2; empty components are left out, and what is over stays with the last."""
    name = {"Alphabetic": "Doe^^Q^^MD^more", "Phonetic": "doe"}
    written = text_of({"00100010": {"vr": "PN", "Value": [None, name]}})
    assert (
        '<PersonName number="1"></PersonName><PersonName number="2"><Alphabetic>'
        "<FamilyName>Doe</FamilyName><MiddleName>Q</MiddleName><NameSuffix>MD^more</NameSuffix>"
        "</Alphabetic><Phonetic><FamilyName>doe</FamilyName></Phonetic></PersonName>"
    ) in written


def test_empty_values_keep_their_number() -> None:
    written = text_of({"00080008": {"vr": "CS", "Value": ["MPG", None, "XR3"]}})
    assert '<Value number="2"/><Value number="3">XR3</Value>' in written
