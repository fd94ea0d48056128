"""The query parameters of a search."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicomulus.dicom.main_tags import main_tags
from dicomulus.dicom.matching import MatchKey
from dicomulus.dicom.query import (
    ALL_INSTANCES,
    ALL_SERIES,
    PARAMETERS,
    PATIENTS,
    SERIES_INSTANCES,
    STUDIES,
    STUDY_INSTANCES,
    STUDY_SERIES,
    Level,
    OrderKey,
    Query,
    SearchResource,
    parse_search,
)
from dicomulus.errors import InvalidQueryError
from dicomulus.wire.message import parse_query

if TYPE_CHECKING:
    from dicomulus.dicom.level_json import Element

OHIF_LIST = (
    "limit=101&offset=0&fuzzymatching=true&includefield=00081030%2C00080060%2C00080090%2C00100030"
)


RESOURCES = {
    Level.PATIENT: PATIENTS,
    Level.STUDY: STUDIES,
    Level.SERIES: STUDY_SERIES,
    Level.INSTANCE: SERIES_INSTANCES,
}


def parse(text: str, resource: SearchResource = STUDIES) -> Query:
    return parse_search(parse_query(text), resource)


def test_a_viewers_list_is_understood() -> None:
    query = parse(OHIF_LIST)
    assert (query.limit, query.offset, query.keys) == (101, 0, ())
    assert query.semantics.fuzzy
    assert query.include == {"00081030"}, "Modality is of a lower level, the others come unasked"
    (note,) = query.notes
    assert note == (
        "includefield 00080060 (Modality) belongs to the series level and is not returned "
        "with studies"
    )


def test_a_viewers_filters_are_understood() -> None:
    query = parse(OHIF_LIST + "&PatientName=*a*&StudyDescription=%2Ab%2A&ModalitiesInStudy=CT,MR")
    assert query.keys == (
        MatchKey(("00100010",), "PN", "*a*"),
        MatchKey(("00081030",), "LO", "*b*"),
        MatchKey(("00080061",), "CS", "CT,MR"),
    )


def test_no_parameters_make_the_widest_query() -> None:
    assert parse("") == Query(resource=STUDIES)


@pytest.mark.parametrize("name", ["PatientID", "00100020"])
def test_an_attribute_is_named_by_keyword_or_tag(name: str) -> None:
    assert parse(f"{name}=1").keys == (MatchKey(("00100020",), "LO", "1"),)


def test_tags_may_be_in_lower_case() -> None:
    assert parse("0020000d=1.2").keys == (MatchKey(("0020000D",), "UI", "1.2"),)


def test_sequences_are_joined_by_dots() -> None:
    """PS3.18 §8.3.4.1."""
    query = parse("RequestAttributesSequence.00400009=S1", STUDY_SERIES)
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
    (parsed,) = parse_search([(name, value)], RESOURCES[level]).keys
    assert parsed.value == value


def test_matched_attributes_are_returned() -> None:
    assert parse("StudyDescription=a").include == {"00081030"}


def test_included_fields_are_repeated_or_listed() -> None:
    query = parse("includefield=StudyDescription,00101010&includefield=PatientSize&includefield=")
    assert query.include == {"00081030", "00101010", "00101020"}


def test_all_fields_are_included_on_one_word() -> None:
    assert parse("includefield=all").include_all
    assert parse("includefield=all&includefield=all").include_all


def test_other_concerns_parameters_are_let_pass() -> None:
    assert parse("accept=application/json&charset=utf-8&mode=x&accept=y") == Query(resource=STUDIES)


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
        ("TimezoneOffsetFromUTC=0100", "TimezoneOffsetFromUTC"),
        ("TimezoneOffsetFromUTC=%2B01:00", "TimezoneOffsetFromUTC"),
        ("00080201=CET", "00080201"),
        ("00080201=-0500&TimezoneOffsetFromUTC=-0600", "TimezoneOffsetFromUTC"),
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
        ("page=" + "1" * 65_537, "page"),
        ("page=1&page=2", "page"),
    ],
)
def test_what_breaks_a_rule_is_refused_by_name(text: str, parameter: str) -> None:
    """PS3.18 §8.3.4: a parameter is never ignored, or the answer would be of another question."""
    with pytest.raises(InvalidQueryError) as caught:
        parse(text)
    assert caught.value.parameter == parameter


_NAMES = st.sampled_from(
    [
        *sorted(PARAMETERS),
        *("PatientID", "00100010", "StudyDate", "StudyTime", "StudyInstanceUID", "SeriesNumber"),
        *("00080201", "0008002A", "PixelData", "00091001", "00090010", "00091001.00090010"),
        *("RequestAttributesSequence.00400009", "RequestAttributesSequence", "NumberOfFrames", "-"),
        *("RetrieveURL", "00080005", "AcquisitionDateTime", "PatientSize", "00189073", "..", ""),
    ]
) | st.text(max_size=9)
_VALUES = st.text(max_size=12) | st.text('0123456789-+:.*?,\\"=^e_ true', max_size=24)


@given(
    parameters=st.lists(st.tuples(_NAMES, _VALUES), max_size=6),
    resource=st.sampled_from([*RESOURCES.values(), ALL_SERIES, ALL_INSTANCES]),
    ignores_unknown=st.booleans(),
)
def test_whatever_is_asked_is_understood_or_refused_by_its_name(
    parameters: list[tuple[str, str]], resource: SearchResource, ignores_unknown: bool
) -> None:
    refused, query = None, None
    try:
        query = parse_search(parameters, resource, ignores_unknown=ignores_unknown)
    except InvalidQueryError as exc:
        refused = exc.parameter
    if query is None:
        assert refused in dict(parameters)
        return
    for level in Level:
        test = query.filter_at(level)
        assert test is None or test({}) in (True, False), "a query that is taken can be tested"
    assert all(note.isascii() and note.isprintable() for note in query.notes)
    assert not query.include & resource.returned


def test_an_error_does_not_repeat_the_value() -> None:
    with pytest.raises(InvalidQueryError) as caught:
        parse("PatientBirthDate=1.4.1970")
    assert "1970" not in str(caught.value)


# --- levels ---------------------------------------------------------------------------------------


def test_studies_above_are_matched_with_the_series() -> None:
    assert len(parse("StudyInstanceUID=1.2&PatientID=1", STUDY_SERIES).keys) == 2


def test_a_key_of_a_lower_level_is_refused_with_its_level() -> None:
    with pytest.raises(InvalidQueryError, match=r"Modality: belongs to the series level") as caught:
        parse("Modality=CT")
    assert "a search for studies" in caught.value.rule


@pytest.mark.parametrize("resource", [PATIENTS, STUDIES, STUDY_SERIES])
def test_a_field_of_a_lower_level_is_noted_and_not_returned(resource: SearchResource) -> None:
    """PS3.18 §10.6.3.3."""
    query = parse("includefield=Rows&includefield=00280010,PatientSex", resource)
    assert query.include == {"00100040"} - resource.returned
    (note,) = query.notes
    assert note.startswith("includefield 00280010 (Rows) belongs to the instance level")


def test_a_field_that_no_row_has_is_noted_as_such() -> None:
    (note,) = parse("includefield=PatientMotherBirthName").notes
    assert note == (
        "includefield 00101060 (PatientMotherBirthName) is not an attribute of studies and is "
        "not returned with studies"
    )


@pytest.mark.parametrize(
    ("resource", "unasked"),
    [
        (STUDY_SERIES, {"00080060"}),
        (ALL_SERIES, {"00080060", "00100010"}),
        (SERIES_INSTANCES, {"00080018"}),
        (STUDY_INSTANCES, {"00080018", "00080060"}),
        (ALL_INSTANCES, {"00080018", "00080060", "00100010"}),
    ],
)
def test_relational_resources_return_what_the_path_leaves_open(
    resource: SearchResource, unasked: set[str]
) -> None:
    """PS3.18 §10.6.3.3: so that is not included once more."""
    query = parse("includefield=PatientName,Modality,SOPInstanceUID,StudyDescription", resource)
    telling = {"00080018", "00080060", "00100010"}
    assert resource.returned & telling == unasked
    assert query.include & unasked == set()
    assert "00081030" in query.include


def test_patients_are_found_by_attributes_of_patients_alone() -> None:
    query = parse("PatientName=A*&IssuerOfPatientID=X&OtherPatientIDs=1", PATIENTS)
    assert len(query.keys) == 3
    assert query.keys_at(Level.STUDY) == query.keys, "which the rows of studies have"
    with pytest.raises(InvalidQueryError, match="belongs to the study level"):
        parse("StudyDate=20240101", PATIENTS)


@pytest.mark.parametrize("resource", [PATIENTS, STUDIES, SERIES_INSTANCES])
def test_counts_of_a_patient_cannot_be_matched(resource: SearchResource) -> None:
    with pytest.raises(InvalidQueryError, match="NumberOfPatientRelatedStudies"):
        parse("NumberOfPatientRelatedStudies=1", resource)


def test_keys_are_tested_at_the_level_they_belong_to() -> None:
    query = parse("PatientID=1&Modality=CT&InstanceNumber=2&Rows=512&SeriesNumber=", ALL_INSTANCES)
    assert [key.tag for key in query.keys_at(Level.STUDY)] == ["00100020"]
    assert [key.tag for key in query.keys_at(Level.SERIES)] == ["00080060"]
    assert [key.tag for key in query.keys_at(Level.INSTANCE)] == ["00200013", "00280010"]
    assert query.keys_at(Level.PATIENT) == ()


def test_what_several_levels_have_is_meant_of_the_one_found() -> None:
    text = "InstanceAvailability=ONLINE"
    assert parse(text).keys_at(Level.STUDY)
    assert parse(text, ALL_SERIES).keys_at(Level.STUDY)
    assert parse(text, ALL_INSTANCES).keys_at(Level.INSTANCE)


def test_a_study_is_found_by_the_sop_classes_in_it() -> None:
    query = parse("SOPClassesInStudy=1.2,1.3&includefield=SOPClassesInStudy")
    assert query.keys_at(Level.STUDY) == query.keys
    assert query.include == {"00080062"}


def test_further_main_tags_belong_to_their_level() -> None:
    tags = main_tags(["PatientMotherBirthName"], ["Exposure"])
    text = [("PatientMotherBirthName", "A"), ("includefield", "00101060")]
    query = parse_search(text, STUDIES, tags=tags)
    assert query.include == {"00101060"}
    assert query.keys_at(Level.STUDY) == query.keys
    query = parse_search([*text, ("Exposure", "5")], ALL_INSTANCES, tags=tags)
    assert [key.tag for key in query.keys_at(Level.SERIES)] == ["00181152"]
    with pytest.raises(InvalidQueryError, match="belongs to the series level"):
        parse_search([("Exposure", "5")], STUDIES, tags=tags)


def test_a_filter_leaves_out_what_a_plan_has_settled() -> None:
    query = parse("StudyDate=20240101&PatientID=*")
    assert query.filter_at(Level.STUDY, without=["00080020"]) is None
    assert query.filter_at(Level.SERIES) is None
    test = query.filter_at(Level.STUDY)
    assert test is not None
    assert test({"00080020": {"vr": "DA", "Value": ["20240101"]}})
    assert not test({})


# --- time zones, private attributes ---------------------------------------------------------------


@pytest.mark.parametrize("text", ["%2B0130", "+0130", "%200130"])
@pytest.mark.parametrize("resource", RESOURCES.values())
def test_a_time_zone_is_said_once_for_the_whole_query(text: str, resource: SearchResource) -> None:
    """PS3.18 §8.3.4; an unescaped plus sign is a space by the time it is read."""
    query = parse(f"TimezoneOffsetFromUTC={text}", resource)
    assert query.semantics.zone == timedelta(hours=1, minutes=30)
    assert query.keys == (), "it is not matched itself"


@pytest.mark.parametrize("text", ["", "*"])
def test_an_empty_time_zone_is_none(text: str) -> None:
    query = parse(f"TimezoneOffsetFromUTC={text}&PatientID=1")
    assert query.semantics.zone is None
    assert len(query.keys) == 1


def test_an_offset_within_a_date_time_may_have_an_unescaped_plus_sign() -> None:
    (key,) = parse("AcquisitionDateTime=20240101+0100", SERIES_INSTANCES).keys
    assert key.value == "20240101+0100"


def test_a_private_attribute_is_matched_with_its_creator() -> None:
    """PS3.18 §8.3.4.1."""
    query = parse("00091001=x&00090010=%20ACME%20", SERIES_INSTANCES)
    assert query.keys == (MatchKey(("00091001",), "UN", "x", creators=("ACME",)),)
    assert query.include == {"00091001", "00090010"}
    assert query.keys_at(Level.INSTANCE) == query.keys


def test_creators_of_private_attributes_within_sequences_are_named_there() -> None:
    text = "00091001.00091102=x&00091001.00090011=INNER&00090010=OUTER&00091001.00100020=P"
    assert parse(text, SERIES_INSTANCES).keys == (
        MatchKey(("00091001", "00091102"), "UN", "x", creators=("OUTER", "INNER")),
        MatchKey(("00091001", "00100020"), "LO", "P", creators=("OUTER", "")),
    )


def test_a_creator_alone_is_a_key_of_its_own() -> None:
    (key,) = parse("00090010=ACME", SERIES_INSTANCES).keys
    assert key == MatchKey(("00090010",), "LO", "ACME")


@pytest.mark.parametrize(
    "text",
    [
        "00091001=x",
        "00091001=",
        "00091001=x&00090011=ACME",
        "00091001=x&000B0010=ACME",
        "00091001=x&00090010=",
        "00091001=x&00090010=AC*",
        "00091001=x&00090010=%20",
        "00090001=x",
        "00090101=x&00090001=ACME",
        "RequestAttributesSequence.00091001=x&00090010=ACME",
    ],
)
def test_a_private_attribute_without_its_creator_is_refused(text: str) -> None:
    with pytest.raises(InvalidQueryError) as caught:
        parse(text, SERIES_INSTANCES)
    assert caught.value.parameter in text.split("=")[0]


def test_private_attributes_belong_to_the_level_whose_main_tags_have_them() -> None:
    tags = main_tags(["00091001"], ["00111002"])
    assert {"00090010"} <= tags.study
    assert {"00110010"} <= tags.series
    text = parse_query("00091A01=x&0009001A=ACME")
    for resource in (STUDIES, ALL_SERIES):
        query = parse_search(text, resource, tags=tags)
        assert query.keys_at(Level.STUDY) == query.keys, "whatever the number of the block"
    assert parse_search(text, ALL_INSTANCES, tags=tags).keys_at(Level.INSTANCE), "as it is there"
    with pytest.raises(InvalidQueryError, match="belongs to the instance level"):
        parse_search(parse_query("00091002=x&00090010=ACME"), STUDIES, tags=tags)
    with pytest.raises(InvalidQueryError, match="belongs to the series level"):
        parse_search(parse_query("00111002=x&00110010=ACME"), STUDIES, tags=tags)


def test_a_private_attribute_is_included_from_the_block_that_it_is_in() -> None:
    query = parse("00091001=&00090010=ACME&includefield=Rows", SERIES_INSTANCES)
    elements: dict[str, Element] = {
        "00090010": {"vr": "LO", "Value": ["OTHER"]},
        "00090011": {"vr": "LO", "Value": ["ACME"]},
    }
    assert query.included_in(elements) >= {"00091101", "00090011"}
    assert query.included_in({}) == query.include


# --- order, pages, leniency -----------------------------------------------------------------------


def test_an_order_is_a_list_of_attributes_with_a_hyphen_to_descend() -> None:
    query = parse("orderby=-StudyDate,00100010&orderby=-00080020&orderby=")
    assert query.order == (OrderKey("00080020", descending=True), OrderKey("00100010"))


@pytest.mark.parametrize(
    "text",
    [
        "orderby=Modality",
        "orderby=NoSuchKeyword",
        "orderby=StudyDate,-StudyDate",
        "orderby=ProcedureCodeSequence",
        "orderby=--StudyDate",
        "orderby=RetrieveURL",
    ],
)
def test_an_order_without_meaning_is_refused(text: str) -> None:
    with pytest.raises(InvalidQueryError) as caught:
        parse(text)
    assert caught.value.parameter == "orderby"


def test_the_token_of_a_page_is_kept_as_it_is() -> None:
    assert parse("page=a%2Bb").page == "a+b"


def test_an_unknown_parameter_is_noted_where_it_is_to_be_ignored() -> None:
    parameters = [("nonsense", "1"), ("f\r\noo", "2"), ("PatientID", "1"), ("nonsense", "3")]
    query = parse_search(parameters, STUDIES, ignores_unknown=True)
    assert query.notes == (
        "parameter nonsense is not known and was ignored",
        "parameter f??oo is not known and was ignored",
    )
    assert len(query.keys) == 1


@pytest.mark.parametrize("name", ["Modality", "PatientMotherBirthName", "includefield", "limit"])
def test_what_is_known_but_wrong_is_never_ignored(name: str) -> None:
    with pytest.raises(InvalidQueryError):
        parse_search([(name, "CT")], STUDIES, ignores_unknown=True)


def test_a_viewers_list_of_uids_and_of_modalities_are_taken() -> None:
    query = parse("StudyInstanceUID=1.2%5C1.3&ModalitiesInStudy=CT,MR&%30020000D=1.2%5C1.3")
    assert [key.value for key in query.keys] == ["1.2\\1.3", "CT,MR"]
