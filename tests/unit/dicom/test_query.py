"""The query parameters of a search."""

from __future__ import annotations

import pytest

from dicomulus.dicom.matching import MatchKey
from dicomulus.dicom.query import Level, Query, parse_search
from dicomulus.errors import InvalidQueryError
from dicomulus.wire.message import parse_query

OHIF_LIST = (
    "limit=101&offset=0&fuzzymatching=true&includefield=00081030%2C00080060%2C00080090%2C00100030"
)


def parse(text: str, level: Level = Level.STUDY) -> Query:
    return parse_search(parse_query(text), level)


def test_a_viewers_list_is_understood() -> None:
    query = parse(OHIF_LIST)
    assert (query.limit, query.offset, query.keys) == (101, 0, ())
    assert query.semantics.fuzzy
    assert query.include == {"00081030"}, "Modality is of a lower level, the others come unasked"


def test_a_viewers_filters_are_understood() -> None:
    query = parse(OHIF_LIST + "&PatientName=*a*&StudyDescription=%2Ab%2A&ModalitiesInStudy=CT,MR")
    assert query.keys == (
        MatchKey(("00100010",), "PN", "*a*"),
        MatchKey(("00081030",), "LO", "*b*"),
        MatchKey(("00080061",), "CS", "CT,MR"),
    )


def test_no_parameters_make_the_widest_query() -> None:
    assert parse("") == Query(level=Level.STUDY)


@pytest.mark.parametrize("name", ["PatientID", "00100020"])
def test_an_attribute_is_named_by_keyword_or_tag(name: str) -> None:
    assert parse(f"{name}=1").keys == (MatchKey(("00100020",), "LO", "1"),)


def test_tags_may_be_in_lower_case() -> None:
    assert parse("0020000d=1.2").keys == (MatchKey(("0020000D",), "UI", "1.2"),)


def test_sequences_are_joined_by_dots() -> None:
    """PS3.18 §8.3.4.1."""
    query = parse("RequestAttributesSequence.00400009=S1", Level.SERIES)
    assert query.keys == (MatchKey(("00400275", "00400009"), "SH", "S1"),)


# PS3.18 Tables 10.6.1-3, 10.6.1-4, 10.6.1-5: required matching attributes.
REQUIRED_KEYS = {
    Level.STUDY: {
        "StudyDate": "20240101-20240131",
        "StudyTime": "1000-1100",
        "AccessionNumber": "A*",
        "ModalitiesInStudy": "CT",
        "ReferringPhysicianName": "Doe*",
        "PatientName": "Doe*",
        "PatientID": "1",
        "StudyInstanceUID": "1.2,1.3",
        "StudyID": "1",
    },
    Level.SERIES: {
        "Modality": "CT",
        "SeriesInstanceUID": "1.2",
        "SeriesNumber": "1",
        "PerformedProcedureStepStartDate": "20240101",
        "PerformedProcedureStepStartTime": "10",
        "RequestAttributesSequence.ScheduledProcedureStepID": "S1",
        "RequestAttributesSequence.RequestedProcedureID": "P1",
    },
    Level.INSTANCE: {
        "SOPClassUID": "1.2.840.10008.5.1.4.1.1.2",
        "SOPInstanceUID": "1.2",
        "InstanceNumber": "1",
    },
}


@pytest.mark.parametrize(
    ("level", "name", "value"),
    [(level, name, value) for level, keys in REQUIRED_KEYS.items() for name, value in keys.items()],
)
def test_every_required_key_is_taken(level: Level, name: str, value: str) -> None:
    (parsed,) = parse_search([(name, value)], level).keys
    assert parsed.value == value


def test_matched_attributes_are_returned() -> None:
    assert parse("StudyDescription=a").include == {"00081030"}


def test_included_fields_are_repeated_or_listed() -> None:
    query = parse("includefield=StudyDescription,00101010&includefield=PatientSize&includefield=")
    assert query.include == {"00081030", "00101010", "00101020"}


def test_all_fields_are_included_on_one_word() -> None:
    assert parse("includefield=all").include_all
    assert parse("includefield=all&includefield=all").include_all


def test_private_attributes_are_matched_where_whole_instances_are() -> None:
    assert parse("00091001=x", Level.INSTANCE).keys == (MatchKey(("00091001",), "UN", "x"),)
    with pytest.raises(InvalidQueryError, match="00091001"):
        parse("00091001=x")


def test_other_concerns_parameters_are_let_pass() -> None:
    assert parse("accept=application/json&charset=utf-8") == Query(level=Level.STUDY)


def test_the_same_parameter_twice_is_one() -> None:
    query = parse("PatientID=1&00100020=1&limit=5&limit=5")
    assert len(query.keys) == 1
    assert query.limit == 5


def test_the_character_set_of_a_query_restricts_nothing() -> None:
    assert parse("SpecificCharacterSet=ISO_IR%20100").keys == ()


@pytest.mark.parametrize(
    ("text", "parameter"),
    [
        ("NoSuchKeyword=1", "NoSuchKeyword"),
        ("9998FFFE=1", "9998FFFE"),
        ("001000=1", "001000"),
        ("=1", ""),
        ("patientid=1", "patientid"),
        ("Modality=CT", "Modality"),
        ("PatientMotherBirthName=x", "PatientMotherBirthName"),
        ("RetrieveURL=x", "RetrieveURL"),
        ("TimezoneOffsetFromUTC=%2B0100", "TimezoneOffsetFromUTC"),
        ("PatientID=1&PatientID=2", "PatientID"),
        ("PatientID=1&00100020=2", "00100020"),
        ("PatientID.StudyDate=1", "PatientID.StudyDate"),
        ("ProcedureCodeSequence=1", "ProcedureCodeSequence"),
        ("limit=-1", "limit"),
        ("limit=ten", "limit"),
        ("limit=", "limit"),
        ("limit=99999999999", "limit"),
        ("limit=%D9%A1", "limit"),
        ("limit=1&limit=2", "limit"),
        ("offset=-1", "offset"),
        ("offset=1.5", "offset"),
        ("fuzzymatching=yes", "fuzzymatching"),
        ("emptyvaluematching=1", "emptyvaluematching"),
        ("multiplevaluematching=", "multiplevaluematching"),
        ("StudyDate=2024-01-01", "StudyDate"),
        ("StudyDate=20241301", "StudyDate"),
        ("StudyDate=-", "StudyDate"),
        ("StudyTime=9am", "StudyTime"),
        ("StudyInstanceUID=1.2.*", "StudyInstanceUID"),
        ("StudyInstanceUID=none", "StudyInstanceUID"),
        ("includefield=NoSuchKeyword", "includefield"),
        ("includefield=all,StudyDate", "includefield"),
        ("PatientID=" + "1" * 65_537, "PatientID"),
    ],
)
def test_what_breaks_a_rule_is_refused_by_name(text: str, parameter: str) -> None:
    """PS3.18 §8.3.4: a parameter is never ignored, or the answer would be of another question."""
    with pytest.raises(InvalidQueryError) as caught:
        parse(text)
    assert caught.value.parameter == parameter


def test_an_error_does_not_repeat_the_value() -> None:
    with pytest.raises(InvalidQueryError) as caught:
        parse("PatientBirthDate=1.4.1970")
    assert "1970" not in str(caught.value)


def test_studies_above_are_matched_with_the_series() -> None:
    assert len(parse("StudyInstanceUID=1.2&PatientID=1", Level.SERIES).keys) == 2


def test_a_filter_leaves_out_what_a_plan_has_settled() -> None:
    query = parse("StudyDate=20240101&PatientID=*")
    assert query.filter_without("00080020") is None
    test = query.filter_without()
    assert test is not None
    assert test({"00080020": {"vr": "DA", "Value": ["20240101"]}})
    assert not test({})
