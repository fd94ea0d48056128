"""Data sets are written as Orthanc writes them."""

from __future__ import annotations

from typing import Any

import pytest

from dicomulus.dicom.orthanc_id import Level
from dicomulus.dicom.orthanc_tags import (
    MAIN_TAGS,
    MAX_VALUE_BYTES,
    MODULES,
    TagFormat,
    data_set_json,
    format_tag,
    parse_exactly,
    parse_tag,
    tags_json,
    value_text,
)


def written(text: str, *, tag_format: TagFormat = TagFormat.FULL) -> dict[str, Any]:
    return data_set_json(parse_exactly(text.encode()), tag_format)


@pytest.mark.parametrize(
    ("element", "expected"),
    [
        ('{"vr":"DS","Value":[1.00000e+00,-0.0,"05"]}', "1.00000e+00\\-0.0\\05"),
        ('{"vr":"IS","Value":[3]}', "3"),
        ('{"vr":"US","Value":[256,0]}', "256\\0"),
        ('{"vr":"US"}', None),
        ('{"vr":"FL","Value":[178.07992553710938]}', "178.07992553710938"),
        ('{"vr":"FD","Value":[0.1]}', "0.10000000000000001"),
        ('{"vr":"FL","Value":["NaN"]}', "nan"),
        ('{"vr":"AT","Value":["00181063","00181065"]}', "0018,1063"),
        ('{"vr":"AT"}', ""),
        ('{"vr":"LO"}', ""),
        ('{"vr":"LO","Value":["A",null,"B"]}', "A\\\\B"),
        ('{"vr":"PN","Value":[{"Alphabetic":"A^B","Phonetic":"C"}]}', "A^B==C"),
        ('{"vr":"OB","InlineBinary":"AAE="}', None),
        ('{"vr":"OW","BulkDataURI":"x"}', None),
        ('{"vr":"UN","InlineBinary":"AAE="}', None),
        ('{"vr":"UV","Value":[1]}', None),
        ('{"vr":"SQ","Value":[]}', None),
    ],
)
def test_values_are_texts_as_the_file_has_them(element: str, expected: str | None) -> None:
    assert value_text(parse_exactly(f'{{"00080000":{element}}}'.encode())["00080000"]) == expected


def test_a_tag_has_its_name_type_and_value() -> None:
    text = '{"00100010":{"vr":"PN","Value":[{"Alphabetic":"Doe^Jane"}]},"00280010":{"vr":"US","Value":[16]}}'
    assert written(text) == {
        "0010,0010": {"Name": "PatientName", "Type": "String", "Value": "Doe^Jane"},
        "0028,0010": {"Name": "Rows", "Type": "String", "Value": "16"},
    }


@pytest.mark.parametrize(
    ("tag_format", "expected"),
    [(TagFormat.HUMAN, {"PatientID": "1"}), (TagFormat.SHORT, {"0010,0020": "1"})],
)
def test_a_tag_has_its_value_alone(tag_format: TagFormat, expected: dict[str, str]) -> None:
    text = '{"00100020":{"vr":"LO","Value":["1"]}}'
    assert written(text, tag_format=tag_format) == expected


def test_sequences_are_lists_of_data_sets() -> None:
    text = '{"00081140":{"vr":"SQ","Value":[{"00081155":{"vr":"UI","Value":["1.2"]}},{}]}}'
    assert written(text)["0008,1140"] == {
        "Name": "ReferencedImageSequence",
        "Type": "Sequence",
        "Value": [
            {"0008,1155": {"Name": "ReferencedSOPInstanceUID", "Type": "String", "Value": "1.2"}},
            {},
        ],
    }
    assert written(text, tag_format=TagFormat.HUMAN) == {
        "ReferencedImageSequence": [{"ReferencedSOPInstanceUID": "1.2"}, {}]
    }


def test_private_tags_have_the_name_of_their_block() -> None:
    text = '{"00091010":{"vr":"LO","Value":["x"]},"00090010":{"vr":"LO","Value":["ACME"]}}'
    assert written(text) == {
        "0009,0010": {"Name": "PrivateCreator", "Type": "String", "Value": "ACME"},
        "0009,1010": {
            "Name": "Unknown Tag & Data",
            "PrivateCreator": "ACME",
            "Type": "String",
            "Value": "x",
        },
    }


def test_a_long_value_is_left_out_unless_it_is_asked_for() -> None:
    long = "x" * (MAX_VALUE_BYTES + 1)
    elements = parse_exactly(f'{{"00204000":{{"vr":"LT","Value":["{long}"]}}}}'.encode())
    told = {"Name": "ImageComments", "Type": "TooLong", "Value": None}
    assert data_set_json(elements) == {"0020,4000": told}
    assert data_set_json(elements, TagFormat.HUMAN, whole=("00204000",)) == {"ImageComments": long}
    assert tags_json(elements, ("00204000",), TagFormat.HUMAN) == {}


def test_what_follows_the_pixel_data_is_left_out() -> None:
    text = '{"7FE00010":{"vr":"OW","BulkDataURI":"x"},"FFFAFFFA":{"vr":"SQ"}}'
    assert written(text) == {"7fe0,0010": {"Name": "PixelData", "Type": "Null", "Value": None}}


@pytest.mark.parametrize("text", ["0010,0020", "0010-0020", "00100020", "PatientID"])
def test_tags_are_read_in_each_form(text: str) -> None:
    assert parse_tag(text) == "00100020"


def test_what_is_no_tag_is_none() -> None:
    assert [parse_tag(text) for text in ("", "0010", "Nonsense", "0010,00GG")] == [None] * 4


def test_main_tags_and_modules_are_attributes_of_the_dictionary() -> None:
    for level in Level:
        assert list(MAIN_TAGS[level]) == sorted(MAIN_TAGS[level])
        assert all(parse_tag(format_tag(tag)) == tag for tag in MODULES[level])
