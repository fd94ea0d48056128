from __future__ import annotations

import base64
import json
import math
import struct
import subprocess
import sys
import zlib
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dicomulus.dicom import element_tree
from dicomulus.dicom.byte_source import NeedMoreError, Prefix, RangedSource, whole
from dicomulus.dicom.dataset_json import ConvertedInstance, convert
from dicomulus.dicom.part10 import Encoding, locate
from dicomulus.dicom.resource import InstanceResource
from dicomulus.errors import RejectedObjectError
from tests.unit.dicom.encoding import (
    BIG_ENDIAN,
    EXPLICIT,
    IMPLICIT,
    ITEM_END,
    SEQUENCE_END,
    UNDEFINED,
    encode_element,
    encode_file_meta,
    encode_fragments,
    encode_item,
    encode_object,
    encode_uids,
)

_BIG_ENDIAN_UID = "1.2.840.10008.1.2.2"
_IMPLICIT_UID = "1.2.840.10008.1.2"


def _even(value: bytes) -> bytes:
    return value + b" " * (len(value) % 2)


def _convert(*elements: bytes) -> ConvertedInstance:
    return convert(whole(encode_object(*elements)))


def _attribute(tag: int, vr: str, value: bytes) -> tuple[Any, tuple[str, ...]]:
    converted = _convert(encode_element(tag, vr, value))
    assert json.loads(converted.json, strict=False) == converted.attributes
    return converted.attributes[f"{tag:08X}"], converted.warnings


# --- numbers written as text -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("vr", "value", "text"),
    [
        ("DS", b"1.0000000001", "[1.0000000001]"),
        ("DS", b"0.12345678901234567890", "[0.12345678901234567890]"),
        ("DS", b" -1.5e-3 ", "[-1.5e-3]"),
        ("DS", b"+1.50", "[1.5]"),
        ("DS", b".5", "[0.5]"),
        ("DS", b"1.", "[1]"),
        ("DS", b"007", "[7]"),
        ("DS", b"1\\\\2", "[1,null,2]"),
        ("DS", b"NaN", "[null]"),
        ("DS", b"1e999", "[1.7976931348623157e+308]"),
        ("DS", b"-Infinity", "[-1.7976931348623157e+308]"),
        ("IS", b"1\\\\2", "[1,null,2]"),
        ("IS", b"1.5", "[1.5]"),
        ("IS", b"+12", "[12]"),
        ("IS", b"9007199254740991", "[9007199254740991]"),
        ("IS", b"9007199254740993", '["9007199254740993"]'),
    ],
)
def test_numbers_keep_what_they_say(vr: str, value: bytes, text: str) -> None:
    tag = 0x00189999 if vr == "DS" else 0x00209998
    converted = _convert(encode_element(tag, vr, _even(value)))
    member = f'"{tag:08X}":{{"vr":"{vr}","Value":{text}}}'
    assert member.encode() in converted.json
    assert converted.warnings == ()


@pytest.mark.parametrize(
    ("vr", "value"),
    [("IS", b"1" * 5000), ("DS", b"1,5"), ("IS", b"1A"), ("DS", b"1_000"), ("IS", b"0x1F")],
)
def test_what_is_no_number_is_kept_as_string(vr: str, value: bytes) -> None:
    """PS3.18 §F.2.3.1: DS and IS may be strings."""
    attribute, warnings = _attribute(0x00280030, vr, _even(value))
    assert attribute == {"vr": vr, "Value": [value.decode()]}
    assert warnings == (f"00280030: {vr} {value.decode()[:16]!r} kept as string",)


# --- binary numbers --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("vr", "layout", "numbers", "expected"),
    [
        ("US", "2H", (1, 65535), [1, 65535]),
        ("SS", "2h", (-1, 5), [-1, 5]),
        ("UL", "I", (2**32 - 1,), [2**32 - 1]),
        ("SL", "i", (-(2**31),), [-(2**31)]),
        ("FL", "f", (0.5,), [0.5]),
        ("FD", "2d", (0.1, -2.5), [0.1, -2.5]),
        (
            "FD",
            "3d",
            (math.nan, math.inf, -math.inf),
            [None, sys.float_info.max, -sys.float_info.max],
        ),
        ("FL", "f", (math.inf,), [3.4028234663852886e38]),
        ("SV", "2q", (-(2**53) + 1, -(2**53)), [-(2**53) + 1, "-9007199254740992"]),
        ("UV", "2Q", (2**53 - 1, 2**64 - 1), [2**53 - 1, "18446744073709551615"]),
        ("AT", "2H", (0x0010, 0x000F), ["0010000F"]),
    ],
)
@pytest.mark.parametrize("order", ["<", ">"])
def test_binary_numbers(
    vr: str, layout: str, numbers: tuple[float, ...], expected: list[Any], order: str
) -> None:
    encoding = BIG_ENDIAN if order == ">" else EXPLICIT
    uid = _BIG_ENDIAN_UID if order == ">" else "1.2.840.10008.1.2.1"
    element = encode_element(
        0x00189999, vr, struct.pack(f"{order}{layout}", *numbers), encoding=encoding
    )
    content = encode_object(element, transfer_syntax_uid=uid, encoding=encoding)
    assert convert(whole(content)).attributes["00189999"] == {"vr": vr, "Value": expected}


@pytest.mark.parametrize(("vr", "length"), [("FL", 6), ("FD", 4), ("US", 3), ("AT", 6), ("SV", 12)])
def test_bytes_that_fit_no_number_are_kept_as_unknown(vr: str, length: int) -> None:
    value = bytes(range(length))
    attribute, warnings = _attribute(0x00189999, vr, value)
    assert attribute == {"vr": "UN", "InlineBinary": base64.b64encode(value).decode()}
    assert warnings == (f"00189999: {length} bytes are no value of {vr}; kept as UN",)


def test_numbers_in_inline_binary_are_little_endian() -> None:
    words = encode_element(0x00281201, "OW", b"\0\1\0\2", encoding=BIG_ENDIAN)
    content = encode_object(words, transfer_syntax_uid=_BIG_ENDIAN_UID, encoding=BIG_ENDIAN)
    inline = convert(whole(content)).attributes["00281201"]["InlineBinary"]
    assert base64.b64decode(inline) == b"\1\0\2\0"


# --- text ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("vr", "value", "expected"),
    [
        ("CS", b"ORIGINAL\\PRIMARY ", ["ORIGINAL", "PRIMARY"]),
        ("CS", b"A\\\\B", ["A", None, "B"]),
        ("AE", b" STATION\0", ["STATION"]),
        ("LO", b" leading stays ", [" leading stays"]),
        ("ST", b"a\\b ", ["a\\b"]),
        ("LT", b" a\\b\r\n", [" a\\b\r\n"]),
        ("UT", b"a\\b ", ["a\\b"]),
        ("UR", b"http://x\\y ", ["http://x\\y"]),
        ("UC", b"a\\b ", ["a", "b"]),
        ("UI", b"1.2.3\0", ["1.2.3"]),
        ("DA", b"20200101", ["20200101"]),
        ("SH", b'"quoted"\x01', ['"quoted"\x01']),
    ],
)
def test_text_is_parted_and_trimmed_by_its_vr(vr: str, value: bytes, expected: list[Any]) -> None:
    attribute, warnings = _attribute(0x00189999, vr, _even(value) if len(value) % 2 else value)
    assert attribute == {"vr": vr, "Value": expected}
    assert warnings == ()


@pytest.mark.parametrize("vr", ["LO", "CS", "DS", "IS", "PN", "US", "AT", "UI", "OB", "SQ", "UT"])
@pytest.mark.parametrize("value", [b"", b"  "])
def test_an_empty_attribute_has_its_vr_alone(vr: str, value: bytes) -> None:
    """PS3.18 §F.2.5."""
    if value and vr in ("US", "AT", "OB", "SQ"):
        value = b""
    assert _attribute(0x00189999, vr, value) == ({"vr": vr}, ())


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"Doe^John", [{"Alphabetic": "Doe^John"}]),
        (b"Doe^John=I=P ", [{"Alphabetic": "Doe^John", "Ideographic": "I", "Phonetic": "P"}]),
        (b"=I", [{"Ideographic": "I"}]),
        (b"A\\\\B ", [{"Alphabetic": "A"}, None, {"Alphabetic": "B"}]),
    ],
)
def test_person_names_have_the_groups_that_are_not_empty(value: bytes, expected: list[Any]) -> None:
    assert _attribute(0x00100010, "PN", value) == ({"vr": "PN", "Value": expected}, ())


def test_a_fourth_group_of_a_person_name_is_told() -> None:
    attribute, warnings = _attribute(0x00100010, "PN", b"A=B=C=D ")
    assert attribute["Value"] == [{"Alphabetic": "A", "Ideographic": "B", "Phonetic": "C"}]
    assert warnings == ("00100010: more than three component groups; the first three are kept",)


def test_specific_character_set_says_what_the_answer_is_written_in() -> None:
    converted = _convert(
        encode_element(0x00080005, "CS", b"ISO_IR 100"),
        encode_element(0x00100010, "PN", b"M\xfcller^J\xfcrgen "),
    )
    assert converted.attributes["00080005"] == {"vr": "CS", "Value": ["ISO_IR 192"]}
    assert converted.attributes["00100010"]["Value"] == [{"Alphabetic": "Müller^Jürgen"}]
    assert "Müller".encode() in converted.json


def test_an_item_may_have_a_character_set_of_its_own() -> None:
    item = encode_element(0x00080005, "CS", b"ISO_IR 144") + encode_element(
        0x00080104, "LO", b"\xbb\xee\xda "
    )
    converted = _convert(
        encode_element(0x00080005, "CS", b"ISO_IR 100"),
        encode_element(0x00081140, "SQ", encode_item(item)),
        encode_element(0x00100020, "LO", b"\xfc "),
    )
    (inner,) = converted.attributes["00081140"]["Value"]
    assert inner["00080104"]["Value"] == ["Люк"]
    assert inner["00080005"]["Value"] == ["ISO_IR 192"]
    assert converted.attributes["00100020"]["Value"] == ["ü"]


def test_utf_8_without_character_set_is_recognised_and_declared() -> None:
    converted = _convert(encode_element(0x00100010, "PN", _even("Müller".encode())))
    assert converted.attributes["00100010"]["Value"] == [{"Alphabetic": "Müller"}]
    assert converted.attributes["00080005"]["Value"] == ["ISO_IR 192"]
    assert converted.warnings == ("text beyond ASCII without Specific Character Set",)


def test_plain_ascii_needs_no_character_set() -> None:
    assert "00080005" not in _convert(encode_element(0x00100010, "PN", b"Doe ")).attributes


def test_an_unknown_character_set_is_told() -> None:
    converted = _convert(
        encode_element(0x00080005, "CS", b"KLINGON "), encode_element(0x00100020, "LO", b"\xff ")
    )
    assert converted.attributes["00100020"]["Value"] == ["ÿ"]
    assert converted.warnings == ("00080005: unknown character set",)


# --- bulk data -------------------------------------------------------------------------------------

_PLACE = "\x01/studies/1.2/series/1.3/instances/1.4/bulkdata"


@pytest.mark.parametrize("vr", ["OB", "OW", "OF", "OD", "OL", "OV", "UN"])
def test_binary_values_over_the_limit_are_bulk_data(vr: str) -> None:
    limit = element_tree.INLINE_BYTES
    small, _ = _attribute(0x00091010, vr, bytes(limit))
    assert base64.b64decode(small["InlineBinary"]) == bytes(limit)
    assert _attribute(0x00091010, vr, bytes(limit + 8)) == (
        {"vr": vr, "BulkDataURI": f"{_PLACE}/00091010"},
        (),
    )


def test_pixel_data_is_bulk_data_however_small() -> None:
    attribute, _ = _attribute(0x7FE00010, "OW", b"\1\2")
    assert attribute == {"vr": "OW", "BulkDataURI": f"{_PLACE}/7FE00010"}


def test_encapsulated_pixel_data_is_bulk_data() -> None:
    value = encode_fragments([b"ab"])
    element = encode_element(0x7FE00010, "OB", value, length=UNDEFINED)
    attributes = _convert(element).attributes
    assert attributes["7FE00010"] == {"vr": "OB", "BulkDataURI": f"{_PLACE}/7FE00010"}


@pytest.mark.parametrize("encoding", [EXPLICIT, IMPLICIT])
def test_nested_bulk_data_carries_its_path_which_leads_back_to_it(encoding: Encoding) -> None:
    value = bytes(range(256)) * 8
    inner = encode_element(0x00420011, "OB", value, encoding=encoding)
    sequence = encode_element(
        0x00540016, "SQ", encode_item(b"") + encode_item(inner), encoding=encoding
    )
    uid = _IMPLICIT_UID if encoding.implicit else "1.2.840.10008.1.2.1"
    content = encode_object(sequence, transfer_syntax_uid=uid, encoding=encoding)
    item = convert(whole(content)).attributes["00540016"]["Value"][1]
    uri = item["00420011"]["BulkDataURI"]
    assert uri == f"{_PLACE}/00540016/2/00420011"
    path = uri.removeprefix(f"{_PLACE}/").split("/")
    found = locate(whole(content), path)
    assert found.source.read(found.element.value_offset, found.element.length or 0) == value


def test_a_compressed_icon_is_bulk_data_with_its_path() -> None:
    pixels = encode_element(0x7FE00010, "OB", encode_fragments([b"ab"]), length=UNDEFINED)
    icon = encode_element(0x00880200, "SQ", encode_item(pixels, delimited=True))
    converted = _convert(icon, encode_element(0x00880904, "LO", b"after "))
    (item,) = converted.attributes["00880200"]["Value"]
    assert item["7FE00010"]["BulkDataURI"] == f"{_PLACE}/00880200/1/7FE00010"
    assert converted.attributes["00880904"]["Value"] == ["after"]
    assert converted.header.pixel is None


def test_the_placeholder_cannot_come_from_a_value() -> None:
    converted = _convert(
        encode_element(0x00100020, "LO", b"\x01/studies"), encode_element(0x7FE00010, "OB", b"ab")
    )
    assert converted.json.count(b"\x01") == 1


def test_odd_uids_are_kept_and_quoted_in_paths() -> None:
    long_uid = "1." * 40 + "x y/z"
    content = encode_file_meta("1.2.840.10008.1.2.1") + b"".join(
        (
            encode_element(0x00080018, "UI", _even(long_uid.encode())),
            encode_element(0x0020000D, "UI", b"1.2 "),
            encode_element(0x0020000E, "UI", b"abc\0"),
            encode_element(0x7FE00010, "OB", b"ab"),
        )
    )
    converted = convert(whole(content))
    assert converted.instance == InstanceResource("1.2", "abc", long_uid)
    assert converted.attributes["00080018"]["Value"] == [long_uid]
    assert converted.attributes["7FE00010"]["BulkDataURI"].endswith("x%20y%2Fz/bulkdata/7FE00010")


def test_many_binary_numbers_are_bulk_data_and_long_text_is_not() -> None:
    floats, _ = _attribute(0x00186028, "FD", struct.pack("<8193d", *range(8193))[:65528])
    assert len(floats["Value"]) == 8191
    content = encode_object(
        encode_element(0x00720075, "UV", bytes(80_000)),
        encode_element(0x00720070, "UT", b"x" * 80_000),
    )
    attributes = convert(whole(content)).attributes
    assert attributes["00720075"] == {"vr": "UV", "BulkDataURI": f"{_PLACE}/00720075"}
    assert attributes["00720070"]["Value"] == ["x" * 80_000]


# --- structure -------------------------------------------------------------------------------------


def test_tags_are_ascending_and_the_last_of_two_counts() -> None:
    converted = _convert(
        encode_element(0x00100020, "LO", b"second"),
        encode_element(0x00080060, "CS", b"CT"),
        encode_element(0x00100020, "LO", b"last"),
    )
    tags = list(converted.attributes)
    assert tags == sorted(tags)
    assert converted.attributes["00100020"]["Value"] == ["last"]
    assert converted.warnings == ("elements that come twice",)


def test_group_lengths_and_file_meta_are_left_out() -> None:
    converted = _convert(
        encode_element(0x00020010, "UI", b"1.2 "), encode_element(0x00080000, "UL", bytes(4))
    )
    assert converted.attributes.keys() == {"00080018", "0020000D", "0020000E"}


@pytest.mark.parametrize("delimited", [True, False])
def test_sequences_keep_empty_items(delimited: bool) -> None:
    item = encode_element(0x00080100, "SH", b"T-1 ")
    value = encode_item(b"", delimited=delimited) + encode_item(item, delimited=delimited)
    length = UNDEFINED if delimited else None
    ending = SEQUENCE_END if delimited else b""
    sequence = encode_element(0x00082218, "SQ", value + ending, length=length)
    assert _convert(sequence).attributes["00082218"] == {
        "vr": "SQ",
        "Value": [{}, {"00080100": {"vr": "SH", "Value": ["T-1"]}}],
    }


def test_private_elements_have_the_vr_of_the_private_dictionary() -> None:
    content = encode_object(
        encode_element(0x00191010, "", b"1.50", encoding=IMPLICIT),
        encode_element(0x00190010, "", b"GEMS_ACQU_01", encoding=IMPLICIT),
        encode_element(0x0019101E, "", b"2.5 ", encoding=IMPLICIT),
        encode_element(0x001910FF, "", b"ab", encoding=IMPLICIT),
        transfer_syntax_uid=_IMPLICIT_UID,
        encoding=IMPLICIT,
    )
    attributes = convert(whole(content)).attributes
    assert attributes["00190010"] == {"vr": "LO", "Value": ["GEMS_ACQU_01"]}
    assert attributes["0019101E"] == {"vr": "DS", "Value": [2.5]}
    assert attributes["001910FF"] == {"vr": "UN", "InlineBinary": "YWI="}


@pytest.mark.parametrize(("signed", "vr", "value"), [(b"\0\0", "US", 65535), (b"\1\0", "SS", -1)])
def test_pixel_representation_decides_between_us_and_ss(signed: bytes, vr: str, value: int) -> None:
    content = encode_object(
        encode_element(0x00280103, "US", signed, encoding=IMPLICIT),
        encode_element(0x00280106, "US", b"\xff\xff", encoding=IMPLICIT),
        transfer_syntax_uid=_IMPLICIT_UID,
        encoding=IMPLICIT,
    )
    assert convert(whole(content)).attributes["00280106"] == {"vr": vr, "Value": [value]}


def test_a_known_element_written_as_unknown_is_read_as_what_it_is() -> None:
    content = encode_element(0x00080100, "SH", b"T-1 ", encoding=IMPLICIT)
    converted = _convert(
        encode_element(0x00100020, "UN", b"ID"),
        encode_element(0x00082218, "UN", encode_item(content) + SEQUENCE_END, length=UNDEFINED),
    )
    assert converted.attributes["00100020"] == {"vr": "LO", "Value": ["ID"]}
    (item,) = converted.attributes["00082218"]["Value"]
    assert item == {"00080100": {"vr": "SH", "Value": ["T-1"]}}


def test_deep_nesting_is_cut_without_losing_the_instance() -> None:
    depth = 5000
    opening = encode_element(0x00081140, "SQ", b"", length=UNDEFINED) + encode_element(
        0xFFFEE000, "", b"", length=UNDEFINED
    )
    nested = opening * depth + (ITEM_END + SEQUENCE_END) * depth
    converted = _convert(nested, encode_element(0x00100020, "LO", b"ID"))
    assert converted.attributes["00100020"]["Value"] == ["ID"]
    assert not converted.damaged
    (warning,) = converted.warnings
    assert warning.endswith("sequences nest too deep; this one is left out")


def test_a_sequence_that_holds_no_items_is_kept_as_unknown() -> None:
    converted = _convert(
        encode_element(0x00082218, "SQ", b"something"), encode_element(0x00100020, "LO", b"ID")
    )
    inline = converted.attributes["00082218"]["InlineBinary"]
    assert base64.b64decode(inline) == b"something"
    assert converted.attributes["00082218"]["vr"] == "UN"
    assert converted.attributes["00100020"]["Value"] == ["ID"]
    assert converted.warnings == ("00082218: a sequence without items; kept as UN",)


# --- damage ----------------------------------------------------------------------------------------


def test_a_truncated_value_keeps_what_is_there() -> None:
    converted = _convert(encode_element(0x00204000, "LT", b"half a comm", length=100))
    assert converted.attributes["00204000"] == {"vr": "LT", "Value": ["half a comm"]}
    assert converted.damaged
    assert converted.warnings == ("00204000: 11 of 100 bytes of the value are there",)


def test_truncated_numbers_keep_the_whole_ones() -> None:
    converted = _convert(encode_element(0x00189999, "US", b"\1\0\2\0\3", length=100))
    assert converted.attributes["00189999"] == {"vr": "US", "Value": [1, 2]}


def test_a_broken_item_does_not_lose_what_follows_its_sequence() -> None:
    broken = encode_element(0x00080100, "SH", b"T-1 ") + encode_element(
        0x00080104, "LO", b"cut", length=2000
    )
    converted = _convert(
        encode_element(0x00082218, "SQ", encode_item(broken)),
        encode_element(0x00100020, "LO", b"ID"),
    )
    (item,) = converted.attributes["00082218"]["Value"]
    assert item["00080100"]["Value"] == ["T-1"]
    assert item["00080104"]["Value"] == ["cut"]
    assert converted.attributes["00100020"]["Value"] == ["ID"]
    assert converted.damaged


def test_delimiters_left_over_at_the_top_level_are_passed_over() -> None:
    converted = _convert(ITEM_END, SEQUENCE_END, encode_element(0x00100020, "LO", b"ID"))
    assert converted.attributes["00100020"]["Value"] == ["ID"]


@pytest.mark.parametrize(
    ("tail", "damaged", "warning"),
    [
        (bytes(600), False, "zeros follow the last element"),
        (b"\0\0\0\0\0\0\0\0trailing", True, "what follows is no element"),
        (b"\x10\x00\x21", True, "what follows is no element"),
    ],
)
def test_what_follows_the_last_element_is_told(tail: bytes, damaged: bool, warning: str) -> None:
    converted = _convert(tail)
    assert (converted.damaged, converted.warnings) == (damaged, (warning,))


@pytest.mark.parametrize("cut", [0, 8, 16])
def test_a_sequence_cut_before_its_delimiters_keeps_its_items(cut: int) -> None:
    item = encode_item(encode_element(0x00080100, "SH", b"T-1 "), delimited=True)
    sequence = encode_element(0x00082218, "SQ", item + SEQUENCE_END, length=UNDEFINED)
    converted = _convert(sequence[: len(sequence) - cut])
    (kept,) = converted.attributes["00082218"]["Value"]
    assert kept["00080100"]["Value"] == ["T-1"]
    assert converted.damaged == (cut > 0)


def test_items_that_lack_their_delimiter_are_still_told_apart() -> None:
    open_item = encode_item(encode_element(0x00080100, "SH", b"T-1 "), delimited=True)[:-8]
    sequence = encode_element(0x00082218, "SQ", open_item * 2 + SEQUENCE_END, length=UNDEFINED)
    converted = _convert(sequence, encode_element(0x00100020, "LO", b"ID"))
    assert len(converted.attributes["00082218"]["Value"]) == 2
    assert converted.attributes["00100020"]["Value"] == ["ID"]


def test_an_item_longer_than_its_sequence_does_not_take_what_follows() -> None:
    item = encode_element(0xFFFEE000, "", encode_element(0x00080100, "SH", b"T-1 "), length=5000)
    converted = _convert(
        encode_element(0x00082218, "SQ", item), encode_element(0x00100020, "LO", b"ID")
    )
    assert converted.attributes["00082218"]["Value"] == [
        {"00080100": {"vr": "SH", "Value": ["T-1"]}}
    ]
    assert converted.attributes["00100020"]["Value"] == ["ID"]
    assert converted.warnings == ("00082218/1: the item reaches past its sequence",)


def test_an_open_value_without_end_is_damage() -> None:
    converted = _convert(encode_element(0x00420011, "OB", encode_item(b"ab"), length=UNDEFINED))
    assert converted.attributes["00420011"]["BulkDataURI"] == f"{_PLACE}/00420011"
    assert converted.warnings == ("00420011: the value has no end",)


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        (b"\1\0", {"vr": "US", "Value": [513]}),
        (b"\2\0", {"vr": "OW", "InlineBinary": "AQI="}),
    ],
)
def test_a_lookup_table_of_one_entry_is_a_number(entries: bytes, expected: dict[str, Any]) -> None:
    """PS3.3 §C.11.1.1.1."""
    item = encode_element(0x00283002, "", entries + bytes(4), encoding=IMPLICIT) + encode_element(
        0x00283006, "", b"\1\2", encoding=IMPLICIT
    )
    content = encode_object(
        encode_element(0x00283000, "", encode_item(item), encoding=IMPLICIT),
        transfer_syntax_uid=_IMPLICIT_UID,
        encoding=IMPLICIT,
    )
    (table,) = convert(whole(content)).attributes["00283000"]["Value"]
    assert table["00283006"] == expected


def test_unknown_elements_without_vr_are_unknown_and_group_lengths_left_out() -> None:
    content = encode_object(
        encode_element(0x00101111, "", b"ab", encoding=IMPLICIT),
        encode_element(0x00110000, "", bytes(4), encoding=IMPLICIT),
        encode_element(0x00120000, "", bytes(4), encoding=IMPLICIT),
        transfer_syntax_uid=_IMPLICIT_UID,
        encoding=IMPLICIT,
    )
    attributes = convert(whole(content)).attributes
    assert attributes["00101111"] == {"vr": "UN", "InlineBinary": "YWI="}
    assert not {"00110000", "00120000"} & attributes.keys()


def test_too_many_elements_are_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(element_tree, "MAX_ELEMENTS", 10)
    elements = [encode_element(0x00191001 + n, "LO", b"ab") for n in range(40)]
    converted = _convert(*elements)
    assert len(converted.attributes) == 10
    assert converted.damaged
    assert converted.warnings == ("the data set is too large; the rest of it is left out",)


def test_items_count_as_elements(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of nothing but empty items would take a minute otherwise."""
    monkeypatch.setattr(element_tree, "MAX_ELEMENTS", 10)
    empty_item = b"\xfe\xff\x00\xe0" + bytes(4)
    converted = _convert(encode_element(0x00400275, "SQ", 40 * empty_item))
    assert len(converted.attributes["00400275"]["Value"]) < 10
    assert converted.damaged


def test_warnings_are_bounded() -> None:
    elements = [encode_element(0x00191001 + n, "DS", b"no") for n in range(200)]
    assert len(_convert(*elements).warnings) == element_tree.MAX_WARNINGS


# --- rejection -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("missing", "name"),
    [
        (0x0020000D, "Study Instance UID"),
        (0x0020000E, "Series Instance UID"),
        (0x00080018, "SOP Instance UID"),
    ],
)
@pytest.mark.parametrize("is_empty", [True, False])
def test_an_object_without_its_uids_is_rejected(missing: int, name: str, is_empty: bool) -> None:
    tags = [tag for tag in (0x00080018, 0x0020000D, 0x0020000E) if tag != missing]
    elements = [encode_element(tag, "UI", b"1.2\0") for tag in tags]
    if is_empty:
        elements.append(encode_element(missing, "UI", b"\0\0"))
    content = encode_file_meta("1.2.840.10008.1.2.1") + b"".join(elements)
    with pytest.raises(RejectedObjectError, match=f"^no {name}$"):
        convert(whole(content))


def test_the_sop_class_may_be_known_from_the_file_meta_alone() -> None:
    meta = encode_file_meta("1.2.840.10008.1.2.1")
    meta += encode_element(0x00020002, "UI", b"1.2.840.10008.5.1.4.1.1.7\0")
    assert convert(whole(meta + encode_uids())).sop_class_uid == "1.2.840.10008.5.1.4.1.1.7"
    assert convert(whole(encode_object())).sop_class_uid == ""


# --- reading in parts ------------------------------------------------------------------------------


def _convert_growing(content: bytes, first_bytes: int) -> ConvertedInstance:
    held = first_bytes
    while True:
        try:
            return convert(Prefix(content[:held], len(content)))
        except NeedMoreError as more:
            held = max(held + 1, more.end)


def _rich_object() -> bytes:
    nested = encode_element(0x00420011, "OB", bytes(2000))
    return encode_object(
        encode_element(0x00080005, "CS", b"ISO_IR 100"),
        encode_element(0x00082218, "SQ", encode_item(nested, delimited=True)),
        encode_element(0x00204000, "LT", b"x" * 3000),
        encode_element(
            0x7FE00010, "OB", encode_fragments([b"a" * 100, b"b" * 50]), length=UNDEFINED
        ),
        encode_element(0xFFFCFFFC, "OB", bytes(6)),
        transfer_syntax_uid="1.2.840.10008.1.2.5",
    )


@given(first_bytes=st.integers(0, 6000))
def test_a_growing_prefix_gives_what_the_whole_gives(first_bytes: int) -> None:
    content = _rich_object()
    assert _convert_growing(content, first_bytes) == convert(whole(content))


@given(near_bytes=st.integers(0, 10_000))
def test_ranged_reads_give_what_the_whole_gives(near_bytes: int) -> None:
    content = _rich_object()
    source = RangedSource(
        lambda start, n: content[start : start + n], len(content), near_bytes=near_bytes
    )
    assert convert(source) == convert(whole(content))


def test_a_deflated_object_is_wanted_whole_at_once() -> None:
    meta = encode_file_meta("1.2.840.10008.1.2.1.99")
    content = meta + zlib.compress(encode_uids(), wbits=-15)
    with pytest.raises(NeedMoreError) as caught:
        convert(Prefix(content[: len(meta) + 12], len(content)))
    assert caught.value.end == len(content)


@given(cut=st.integers(0, 6000))
@example(cut=193).via("within the Series Instance UID")
def test_an_object_cut_anywhere_is_converted_or_rejected(cut: int) -> None:
    content = _rich_object()[:cut]
    try:
        converted = convert(whole(content))
    except RejectedObjectError:
        return
    assert converted.instance == InstanceResource("1.2", "1.3", "1.4")


@given(
    content=st.binary(max_size=400),
    encoding=st.sampled_from([EXPLICIT, IMPLICIT, BIG_ENDIAN]),
)
def test_any_bytes_give_json_or_a_rejection(content: bytes, encoding: Encoding) -> None:
    uid = {EXPLICIT: "1.2.840.10008.1.2.1", IMPLICIT: _IMPLICIT_UID, BIG_ENDIAN: _BIG_ENDIAN_UID}
    meta = encode_file_meta(uid[encoding])
    for data_set in (encode_uids(encoding=encoding) + content, content):
        try:
            converted = convert(whole(meta + data_set))
        except RejectedObjectError:
            continue
        parsed = json.loads(converted.json.decode("utf-8"), strict=False)
        assert list(parsed) == sorted(parsed)


@given(changes=st.dictionaries(st.integers(140, 4000), st.integers(0, 255), max_size=12))
def test_any_change_of_a_sound_object_gives_json_or_a_rejection(changes: dict[int, int]) -> None:
    content = bytearray(_rich_object())
    for position, byte in changes.items():
        content[position % len(content)] = byte
    try:
        converted = convert(whole(bytes(content)))
    except RejectedObjectError:
        return
    json.loads(converted.json.decode("utf-8"), strict=False)


def test_reading_dicom_json_takes_neither_pydicom_nor_numpy() -> None:
    code = (
        "import sys, dicomulus.dicom.json_model, dicomulus.dicom.frame_table;"
        "import dicomulus.dicom.dictionary, dicomulus.dicom.part10;"
        "sys.exit('pydicom' in sys.modules or 'numpy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
