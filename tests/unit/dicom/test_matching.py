"""Attribute matching, against a matcher that reads PS3.4 §C.2.2.2 word by word."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from dicomulus.dicom.matching import (
    LITERAL,
    MatchKey,
    Semantics,
    filter_of,
    fold,
    folded_pieces,
    literal_start,
    normal_name,
    predicate,
    uid_list,
)

if TYPE_CHECKING:
    from dicomulus.dicom.level_json import Element
    from dicomulus.dicom.matching import Filter

STUDY_DESCRIPTION = "00081030"
PATIENT_NAME = "00100010"
PATIENT_ID = "00100020"
SOP_CLASSES = "00080062"
MODALITIES = "00080061"
STUDY_DATE = "00080020"
STUDY_TIME = "00080030"
SERIES_NUMBER = "00200011"
REQUEST = "00400275"
STEP_ID = "00400009"
PROCEDURE_ID = "00401001"


def key(tag: str, vr: str, value: str) -> MatchKey:
    return MatchKey((tag,), vr, value)


def matches(
    vr: str, value: str, *stored: object, tag: str = STUDY_DESCRIPTION, **semantics: Any
) -> bool:
    element: Element | None = {"vr": vr, "Value": list(stored)} if stored else {"vr": vr}
    return predicate(key(tag, vr, value), replace(LITERAL, **semantics))(element)


def name(alphabetic: str = "", ideographic: str = "", phonetic: str = "") -> dict[str, str]:
    groups = {"Alphabetic": alphabetic, "Ideographic": ideographic, "Phonetic": phonetic}
    return {group: text for group, text in groups.items() if text}


def glob(pattern: str, text: str) -> bool:
    """PS3.4 §C.2.2.2.4, one character after the other."""
    if not pattern:
        return not text
    if pattern[0] == "*":
        return glob(pattern[1:], text) or (bool(text) and glob(pattern, text[1:]))
    return bool(text) and pattern[0] in ("?", text[0]) and glob(pattern[1:], text[1:])


# --- texts ----------------------------------------------------------------------------------------

_ALPHABET = "aAbéß[]*?.\\"
_TEXTS = st.text(_ALPHABET.replace("*", "").replace("?", ""), min_size=1, max_size=8)
_PATTERNS = st.text(_ALPHABET, min_size=1, max_size=6)


@given(pattern=_PATTERNS, values=st.lists(_TEXTS, max_size=3))
def test_a_text_matches_where_any_of_its_values_fits_the_pattern(
    pattern: str, values: list[str]
) -> None:
    expected = not pattern.strip("*") or any(glob(pattern, value) for value in values)
    assert matches("LO", pattern, *values) == expected


@pytest.mark.parametrize("vr", ["AE", "CS", "LO", "LT", "SH", "ST", "UC", "UR", "UT"])
def test_texts_are_case_sensitive(vr: str) -> None:
    """PS3.4 §C.2.2.2.1."""
    assert matches(vr, "CHEST", "CHEST")
    assert not matches(vr, "chest", "CHEST")


def test_spaces_around_a_text_say_nothing() -> None:
    assert matches("LO", " CHEST ", "CHEST  ")


@pytest.mark.parametrize("value", ["", "*", "**", "  "])
def test_a_universal_key_matches_what_has_no_value(value: str) -> None:
    """PS3.4 §C.2.2.2.3."""
    assert matches("LO", value)
    assert matches("DA", value)
    assert matches("LO", value, "CHEST")


def test_a_key_with_a_value_does_not_match_an_empty_attribute() -> None:
    assert not matches("LO", "?*", None)
    assert not matches("LO", "A")
    assert not predicate(key(PATIENT_ID, "LO", "A"))(None)


def test_a_star_is_slow_in_no_text() -> None:
    assert not matches("LT", "*a" * 200 + "b", "a" * 5_000)


def test_backslashes_do_not_divide_a_patient_id() -> None:
    assert matches("LO", "A\\B", "A", "B", tag=PATIENT_ID)
    assert matches("LO", "*B", "A", "B", tag=PATIENT_ID)
    assert not matches("LO", "B", "A", "B", tag=PATIENT_ID)


@pytest.mark.parametrize("vr", ["SQ", "OB", "OW", "OB/OW"])
def test_what_has_no_text_cannot_be_matched(vr: str) -> None:
    with pytest.raises(ValueError, match=r"cannot be matched"):
        predicate(key("00091010", vr, "1"))


def test_a_name_where_a_text_should_be_is_no_text() -> None:
    assert not matches("LO", "*A*", {"Alphabetic": "A"})
    assert not matches("LO", "*A*", {"Alphabetic": "A"}, tag=PATIENT_ID)


# --- numbers --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("value", "stored"), [("1", 1), ("01", 1), ("1", "1 "), ("1.50", 1.5)])
def test_numbers_match_by_value(value: str, stored: object) -> None:
    assert matches("DS", value, stored)


def test_other_numbers_do_not_match() -> None:
    assert not matches("IS", "1", 11, "one", None)


@pytest.mark.parametrize("value", ["1*", "one", "1_0", "NaN", "1-2"])
def test_what_is_no_number_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match=r"number"):
        predicate(key(SERIES_NUMBER, "IS", value))


# --- UIDs -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", ["1.2,1.3", "1.2\\1.3", "1.2, 1.3"])
def test_a_list_of_uids_matches_any_of_them(value: str) -> None:
    """PS3.4 §C.2.2.2.2."""
    assert matches("UI", value, "1.3", tag=SOP_CLASSES)
    assert matches("UI", value, "1.9", "1.2", tag=SOP_CLASSES)
    assert not matches("UI", value, "1.23", tag=SOP_CLASSES)


def test_a_uid_of_letters_is_taken() -> None:
    assert uid_list("1.2.ABC-7") == ("1.2.ABC-7",)


@pytest.mark.parametrize("value", ["1.2.*", "1.?", "no-uid", "1.2,,1.3", "1.2,", "1 .2", "1.2\n3"])
def test_what_cannot_be_a_uid_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match=r"UID"):
        uid_list(value)


# --- dates and times ------------------------------------------------------------------------------

_DATES = st.sampled_from(["20240101", "20240115", "20240131", "20240201", "2024.01.15"])
_TIMES = st.sampled_from(["00", "0930", "093015", "093015.25", "23:59:59"])


@given(stored=_DATES, low=_DATES | st.just(""), high=_DATES | st.just(""))
def test_a_date_range_holds_what_lies_between(stored: str, low: str, high: str) -> None:
    assume(low or high)
    day, first, last = (text.replace(".", "") for text in (stored, low, high))
    expected = first <= day <= (last or "9")
    assert matches("DA", f"{low}-{high}", stored) == expected


@pytest.mark.parametrize("stored", ["", "20241301", "unknown"])
def test_a_malformed_date_is_in_no_range(stored: str) -> None:
    assert not matches("DA", "-99991231", stored)


def test_times_match_to_the_precision_asked_for() -> None:
    assert matches("TM", "0930", "093015.25")
    assert not matches("TM", "093015.5", "093015.25")
    assert matches("TM", "0900-0930", "093059")
    assert not matches("TM", "2300-0100", "2330"), "ranges do not cross midnight"
    assert matches("TM", "2359", "235960"), "a leap second is of the minute that it ends"


def test_date_times_match_across_zones() -> None:
    assert matches("DT", "20240101120000+0000", "20240101070000-0500")
    assert matches("DT", "202401-202402", "20240229235959")
    assert not matches("DT", "2024-", "20231231", "later")
    assert not matches("DT", "2024-", "2024-2025"), "a range is no value"


@pytest.mark.parametrize(
    ("date", "time", "stored", "expected"),
    [
        ("20240101-20240103", "1000-1200", ("20240102", "2300"), True),
        ("20240101-20240103", "1000-1200", ("20240101", "0959"), False),
        ("20240101-20240103", "1000-1200", ("20240103", "120059"), True),
        ("20240101-20240103", "1000-1200", ("20240103", "1201"), False),
        ("20240101-", "1000-", ("20240102", "0800"), True),
        ("20240101-", "1000-", ("20240101", "0800"), False),
        ("-20240103", "-1200", ("20240103", "1300"), False),
        ("20240101-20240103", "1000-1200", ("20240102", None), True),
        ("20240101-20240103", "1000-1200", (None, "1100"), False),
        ("20240101-20240103", "1000", ("20240102", "1100"), False),
        ("20240102", "1000-1200", ("20240102", "1100"), True),
        ("20240102", "1000-1200", ("20240102", None), False),
    ],
)
def test_ranges_of_date_and_time_are_one_range(
    date: str, time: str, stored: tuple[str | None, str | None], expected: bool
) -> None:
    """PS3.4 §C.2.2.2.5.1: both as one, as combined date-time matching is performed."""
    test = filter_of([key(STUDY_DATE, "DA", date), key(STUDY_TIME, "TM", time)])
    elements: dict[str, Element] = {
        STUDY_DATE: {"vr": "DA", "Value": [stored[0]]},
        STUDY_TIME: {"vr": "TM", "Value": [stored[1]]},
    }
    assert test(elements) == expected


# --- time zones -----------------------------------------------------------------------------------


def zoned(zone: str | None, **texts: str) -> dict[str, Element]:
    tags = {"date": ("00080020", "DA"), "time": ("00080030", "TM"), "at": ("0008002A", "DT")}
    found = {tags[name][0]: {"vr": tags[name][1], "Value": [texts[name]]} for name in texts}
    return found | ({"00080201": {"vr": "SH", "Value": [zone]}} if zone else {})


def in_zone(hours: int) -> Semantics:
    return Semantics(zone=timedelta(hours=hours))


NIGHT = (key(STUDY_DATE, "DA", "20240101-20240101"), key(STUDY_TIME, "TM", "2200-2300"))


@pytest.mark.parametrize(
    ("zone", "date", "time", "expected"),
    [
        ("+0100", "20240101", "2230", True),
        ("+0300", "20240102", "0030", True),
        ("+0300", "20240101", "2230", False),
        ("-0500", "20240101", "1630", True),
        ("-0500", "20240101", "1729", False),
        (None, "20240101", "2230", True),
        (None, "20240102", "0030", False),
        ("CET", "20240101", "2230", True),
        ("", "20240101", "2230", True),
        ("+0300", "20240102", "0101", False),
        ("+0300", "20240102", "010060", True),
    ],
)
def test_ranges_of_date_and_time_are_of_the_zone_of_the_query(
    zone: str | None, date: str, time: str, expected: bool
) -> None:
    """PS3.4 §C.2.2.2.5: both are the same instant in UTC, where the data set says its zone."""
    assert filter_of(NIGHT, in_zone(1))(zoned(zone, date=date, time=time)) == expected


def test_without_a_zone_in_the_query_times_are_compared_as_stored() -> None:
    assert filter_of(NIGHT)(zoned("+0300", date="20240101", time="2230"))


def test_a_date_or_a_time_alone_is_compared_as_stored() -> None:
    elements = zoned("+0300", date="20240102", time="0030")
    for date, time in [("20240102", "0030"), ("20240102-", "00"), ("20240102", "0000-0030")]:
        keys = [key(STUDY_DATE, "DA", date), key(STUDY_TIME, "TM", time)]
        assert filter_of(keys[:1], in_zone(1))(elements)
        assert filter_of(keys[1:], in_zone(1))(elements)
        assert filter_of(keys, in_zone(1))(elements)


@pytest.mark.parametrize(
    ("asked", "semantics", "zone", "stored", "expected"),
    [
        ("2024010112", in_zone(1), "+0300", "2024010114", True),
        ("2024010112", in_zone(1), "+0300", "2024010112", False),
        ("2024010112", in_zone(1), None, "2024010112", True),
        ("2024010112", in_zone(1), "+0300", "2024010112+0100", True),
        ("2024010112+0000", in_zone(1), "+0300", "2024010115", True),
        ("2024010112+0000", LITERAL, "+0300", "2024010115", True),
        ("2024010112+0000", LITERAL, None, "2024010112", True),
        ("2024010112", LITERAL, "+0300", "2024010112", True),
        ("2024010112-2024010113", in_zone(-5), "+0000", "2024010118", True),
    ],
)
def test_date_times_without_an_offset_are_of_the_zone_of_their_data_set(
    asked: str, semantics: Semantics, zone: str | None, stored: str, expected: bool
) -> None:
    """PS3.3 §C.12.1.1.8."""
    test = filter_of([key("0008002A", "DT", asked)], semantics)
    assert test(zoned(zone, at=stored)) == expected


def test_of_several_date_times_each_has_its_own_zone() -> None:
    several = replace(LITERAL, multiple_values=True)
    test = filter_of([key("0008002A", "DT", "2024010112+0000\\2024010118")], several)
    assert test(zoned("+0300", at="2024010115"))
    assert test(zoned("+0300", at="2024010118"))
    assert not test(zoned("+0300", at="2024010112"))


def test_the_zone_of_a_row_is_not_looked_for_where_it_does_not_matter() -> None:
    class Row(dict[str, Any]):
        asked: ClassVar[list[str]] = []

        def get(self, tag: str, default: Any = None) -> Any:
            self.asked.append(tag)
            return super().get(tag, default)

    assert not filter_of([key(PATIENT_ID, "LO", "A"), *NIGHT])(Row())
    assert "00080201" not in Row.asked


def test_items_of_sequences_are_of_the_zone_of_their_data_set() -> None:
    keys = [MatchKey((REQUEST, "0008002A"), "DT", "2024010112")]
    elements = zoned("+0300") | {REQUEST: {"vr": "SQ", "Value": [zoned(None, at="2024010114")]}}
    assert filter_of(keys, in_zone(1))(elements)


# --- private attributes ---------------------------------------------------------------------------


def private(value: str, *, creator: str = "ACME", path: tuple[str, ...] = ("00091001",)) -> Filter:
    creators = tuple("" if tag == REQUEST else creator for tag in path)
    return filter_of([MatchKey(path, "UN", value, creators)], Semantics(empty_values=True))


def block(number: str, creator: str, vr: str = "LO", *values: object) -> dict[str, Element]:
    return {
        f"000900{number}": {"vr": "LO", "Value": [creator]},
        f"0009{number}01": {"vr": vr, "Value": list(values)},
    }


def test_a_private_attribute_is_found_in_whichever_block_its_creator_has() -> None:
    """PS3.5 §7.8.1."""
    assert private("A*")(block("10", "ACME ", "LO", "ABC"))
    assert private("A*")(block("E4", "ACME", "LO", "ABC"))
    assert private("A*")(block("10", "ACME", "LO", "X") | block("11", "ACME", "LO", "ABC"))
    assert not private("A*")(block("10", "OTHER", "LO", "ABC"))
    assert not private("A*")(block("10", "ACME", "LO", "X") | block("11", "OTHER", "LO", "ABC"))
    assert not private("A*")({"00091001": {"vr": "LO", "Value": ["ABC"]}}), "nobody has the block"


@pytest.mark.parametrize(
    ("vr", "stored", "value", "expected"),
    [
        ("IS", 5, "05", True),
        ("LO", "5", "05", False),
        ("DA", "20240115", "20240101-20240131", True),
        ("LO", "20240101-20240131", "20240101-20240131", True),
        ("IS", 5, "five", False),
        ("DA", "20240115", "five", False),
        ("PN", {"Alphabetic": "Müller"}, "muller", True),
        ("UI", "1.2", "1.2,1.3", True),
        ("UI", "1.2", "1.*", False),
        ("SQ", {}, "five", False),
        ("UI", "1.2", "1.2,five", True),
    ],
)
def test_a_private_attribute_is_matched_by_the_vr_of_the_data_set(
    vr: str, stored: object, value: str, expected: bool
) -> None:
    assert private(value)(block("10", "ACME", vr, stored)) == expected


def test_a_private_date_time_is_of_the_zone_of_its_data_set() -> None:
    keys = [MatchKey(("00091001",), "UN", "2024010112", ("ACME",))]
    test = filter_of(keys, in_zone(1))
    assert test(block("10", "ACME", "DT", "2024010114") | zoned("+0300"))
    assert not test(block("10", "ACME", "DT", "2024010112") | zoned("+0300"))


def test_a_private_attribute_that_is_not_there_is_empty() -> None:
    assert private("")({})
    assert private('""')({})
    assert private('""')(block("10", "ACME"))
    assert not private('""')(block("10", "ACME", "LO", "x"))
    assert not private("x")({})


def test_private_attributes_within_sequences_are_matched_by_the_creator_of_the_item() -> None:
    items = [block("10", "OTHER", "LO", "x"), block("2A", "ACME", "LO", "y")]
    elements: dict[str, Element] = {REQUEST: {"vr": "SQ", "Value": items}}
    assert private("y", path=(REQUEST, "00091001"))(elements)
    assert not private("x", path=(REQUEST, "00091001"))(elements)
    outer = block("22", "ACME", "SQ", *items)
    assert private("y", path=("00091001", "00091001"))(outer)


def test_a_creator_alone_finds_what_has_a_block_of_it() -> None:
    test = filter_of([MatchKey(("00090010",), "LO", "ACME")])
    assert test(block("33", "ACME"))
    assert not test(block("10", "ACME 2"))
    assert filter_of([MatchKey(("00090010",), "LO", "")])({})


# --- names ----------------------------------------------------------------------------------------

YAMADA = name("Yamada^Tarou", "山田^太郎", "やまだ^たろう")


@pytest.mark.parametrize("value", ["yamada^tarou", "YAMADA*", "山田*", "*たろう", "Y?mada^T*"])
def test_a_name_matches_by_any_of_its_component_groups(value: str) -> None:
    assert matches("PN", value, YAMADA, tag=PATIENT_NAME)


def test_component_groups_in_the_key_match_each_its_own() -> None:
    assert matches("PN", "Yamada*=山田*", YAMADA, tag=PATIENT_NAME)
    assert matches("PN", "=山田*", YAMADA, tag=PATIENT_NAME)
    assert not matches("PN", "山田*=", YAMADA, tag=PATIENT_NAME)
    assert not matches("PN", "Yamada*=山田*", name("Yamada^Tarou"), tag=PATIENT_NAME)


@pytest.mark.parametrize("value", ["=", "*=*", "==*", " = "])
def test_a_name_key_without_anything_in_any_group_is_universal(value: str) -> None:
    assert matches("PN", value, tag=PATIENT_NAME)
    assert key(PATIENT_NAME, "PN", value).is_universal
    assert not key(STUDY_DESCRIPTION, "LO", value).is_universal


@pytest.mark.parametrize("value", ["muller^jurgen", "MÜLLER^JÜRGEN", "Mu\u0308ller^*"])
def test_names_match_without_case_and_accents(value: str) -> None:
    assert matches("PN", value, name("Müller^Jürgen"), tag=PATIENT_NAME)


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        ("홍^길?", "홍^길동"),
        ("홍^*", "홍^길동"),
        ("홍^길동", "홍^길동"),
        ("ﾔﾏﾀﾞ*", "ヤマダ^タロウ"),
        ("yamada", "Ｙａｍａｄａ"),  # noqa: RUF001 - of full width
        ("王^小?", "王^小东"),
        ("ΆΛΦΑ*", "Αλφα^Βητα"),
        ("дво*", "Дворжак"),
    ],
)
def test_names_of_all_scripts_match_character_by_character(value: str, stored: str) -> None:
    assert matches("PN", value, name("", stored), tag=PATIENT_NAME)


def test_a_syllable_is_not_the_beginning_of_another() -> None:
    assert not matches("PN", "호*", name("", "홍^길동"), tag=PATIENT_NAME)


@pytest.mark.parametrize("value", ["Doe^*", "Doe", "Doe^^", "doe ^"])
@pytest.mark.parametrize("stored", ["Doe", "Doe^^^^", "Doe ^ "])
def test_carets_at_the_end_of_a_name_say_nothing(value: str, stored: str) -> None:
    """PS3.5 §6.2.1.1."""
    assert matches("PN", value, name(stored), tag=PATIENT_NAME)


def test_fuzzy_matching_takes_the_beginning_of_any_word() -> None:
    stored = name("van der Berg^Anna-Maria")
    assert matches("PN", "mar", stored, tag=PATIENT_NAME, fuzzy=True)
    assert matches("PN", "anna berg", stored, tag=PATIENT_NAME, fuzzy=True)
    assert not matches("PN", "aria", stored, tag=PATIENT_NAME, fuzzy=True)
    assert not matches("PN", "mar", stored, tag=PATIENT_NAME)
    assert matches("PN", "*aria*", stored, tag=PATIENT_NAME, fuzzy=True)


@given(value=st.text("aé^ .-", min_size=1, max_size=6), stored=st.text("aé^ .-", max_size=6))
def test_fuzzy_matching_finds_what_literal_matching_finds(value: str, stored: str) -> None:
    literal = matches("PN", value, name(stored), tag=PATIENT_NAME)
    fuzzy = matches("PN", value, name(stored), tag=PATIENT_NAME, fuzzy=True)
    assert fuzzy or not literal


# --- several values, empty values -----------------------------------------------------------------


@pytest.mark.parametrize("value", ["CT,MR", "CT\\MR", "MR"])
def test_modalities_match_any_of_several(value: str) -> None:
    assert matches("CS", value, "MR", "SR", tag=MODALITIES)
    assert not matches("CS", value, "US", tag=MODALITIES)


@pytest.mark.parametrize("value", ["CT\\", "\\CT", "CT\\\\", "CT,"])
def test_what_is_empty_in_a_list_says_nothing(value: str) -> None:
    assert matches("CS", value, "CT", tag=MODALITIES)
    assert not matches("CS", value, "MR", tag=MODALITIES)


def test_a_list_of_nothing_restricts_nothing() -> None:
    assert matches("CS", ",", "MR", tag=MODALITIES)
    assert matches("LO", "\\", multiple_values=True)


def test_several_values_match_any_where_that_is_asked_for() -> None:
    assert matches("LO", "HEAD\\CHEST", "CHEST", multiple_values=True)
    assert not matches("LO", "HEAD\\CHEST", "CHEST")


def test_the_empty_attribute_may_be_one_of_several_values() -> None:
    both: dict[str, Any] = {"empty_values": True, "multiple_values": True}
    assert matches("LO", 'HEAD\\""', **both)
    assert matches("LO", 'HEAD\\""', "HEAD", **both)
    assert not matches("LO", 'HEAD\\""', "CHEST", **both)
    assert not matches("LO", 'HEAD\\""', multiple_values=True)


@pytest.mark.parametrize(
    ("vr", "stored"), [("LO", " "), ("LO", ""), ("PN", {}), ("PN", {"Alphabetic": " ^ "})]
)
def test_spaces_alone_and_names_without_components_are_empty(vr: str, stored: object) -> None:
    assert matches(vr, '""', stored, empty_values=True)
    assert not matches(vr, "?*", stored)


def test_two_quotation_marks_match_the_empty_attribute_where_that_is_asked_for() -> None:
    assert matches("DA", '""', tag=STUDY_DATE, empty_values=True)
    assert not matches("DA", '""', "20240101", tag=STUDY_DATE, empty_values=True)
    assert not matches("LO", '""')
    test = predicate(key("00091010", "OB", '""'), Semantics(empty_values=True))
    assert not test({"vr": "OB", "InlineBinary": "AAA="})


# --- sequences ------------------------------------------------------------------------------------


def request(step_id: str, procedure_id: str) -> dict[str, Any]:
    return {
        STEP_ID: {"vr": "SH", "Value": [step_id]},
        PROCEDURE_ID: {"vr": "SH", "Value": [procedure_id]},
    }


def test_one_item_matches_all_keys_of_its_sequence() -> None:
    """PS3.4 §C.2.2.2.6."""
    elements: dict[str, Element] = {
        REQUEST: {"vr": "SQ", "Value": [request("S1", "P1"), {}, request("S2", "P2")]}
    }

    def found(step_id: str, procedure_id: str) -> bool:
        keys = [
            MatchKey((REQUEST, STEP_ID), "SH", step_id),
            MatchKey((REQUEST, PROCEDURE_ID), "SH", procedure_id),
        ]
        return filter_of(keys)(elements)

    assert found("S2", "P2")
    assert found("S?", "")
    assert not found("S1", "P2")


def test_a_universal_key_in_a_sequence_matches_without_the_sequence() -> None:
    assert filter_of([MatchKey((REQUEST, STEP_ID), "SH", "")])({})
    assert not filter_of([MatchKey((REQUEST, STEP_ID), "SH", "S1")])({REQUEST: {"vr": "SQ"}})


# --- what a plan relies on ------------------------------------------------------------------------

_NAMES = st.text("aAéßΣς^ .한İﬁ", max_size=8)


@given(text=st.text(), pattern=st.text("aé*?가각한ßｱｶﾞ"))
def test_what_is_folded_stays_folded(text: str, pattern: str) -> None:
    assert fold(fold(text)) == fold(text)
    parts = [fold(part) for part in re.split(r"[*?]", pattern)]
    assert re.split(r"[*?]", fold(pattern)) == parts, "wildcards divide what is asked for"


@given(text=st.text(st.characters(max_codepoint=127)))
def test_ascii_is_folded_as_all_text(text: str) -> None:
    assert fold(text) == fold(text + "é")[:-1]


@given(pattern=st.text("aAé^ ?*ßΣ", min_size=1, max_size=6), stored=_NAMES)
def test_a_matching_name_has_the_start_and_the_pieces_of_its_pattern(
    pattern: str, stored: str
) -> None:
    name_key = key(PATIENT_NAME, "PN", pattern)
    if not predicate(name_key)({"vr": "PN", "Value": [name(stored)]}):
        return
    start = literal_start(name_key)
    assert start is None or normal_name(stored).startswith(start.text)
    assert start is None or not start.whole or normal_name(stored) == start.text
    assert all(piece in normal_name(stored) for piece in folded_pieces(name_key))


@given(pattern=_PATTERNS, stored=_TEXTS)
def test_a_matching_text_has_the_start_and_the_pieces_of_its_pattern(
    pattern: str, stored: str
) -> None:
    text_key = key(STUDY_DESCRIPTION, "LO", pattern)
    if not predicate(text_key)({"vr": "LO", "Value": [stored]}):
        return
    start = literal_start(text_key)
    assert start is None or stored.startswith(start.text)
    assert start is None or not start.whole or stored == start.text
    assert all(piece in fold(stored) for piece in folded_pieces(text_key))


def test_a_key_for_empty_or_for_several_values_has_no_start() -> None:
    assert literal_start(key(PATIENT_ID, "LO", '""'), Semantics(empty_values=True)) is None
    several = Semantics(multiple_values=True)
    assert literal_start(key(PATIENT_ID, "LO", "A\\B"), several) is None
    assert folded_pieces(key(PATIENT_ID, "LO", "A\\B"), several) == ()
    assert literal_start(key(PATIENT_ID, "LO", "A\\B"), LITERAL) is not None
