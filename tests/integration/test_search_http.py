"""Search over HTTP: the keys and attributes that PS3.18 requires, on real files and made ones."""

from __future__ import annotations

import re
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

import pytest

from dicomulus.dicom.attributes import COMPUTED
from dicomulus.dicom.dictionary import tag_from_keyword, vr_of
from tests.support.search_client import (
    ALL_RESOURCES,
    LEVELS,
    UID_TAG,
    SearchClient,
    first,
    uids_of,
)
from tests.support.stored_values import (
    Question,
    StoredValues,
    nobodys,
    questions,
    texts_at,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from tests.support.clinic import Clinic
    from tests.support.search_client import Json

# PS3.18 Tables 10.6.1-3 to 10.6.1-5: what a search has to match.
REQUIRED_KEYS: Final = {
    "study": (
        "StudyDate",
        "StudyTime",
        "AccessionNumber",
        "ModalitiesInStudy",
        "ReferringPhysicianName",
        "PatientName",
        "PatientID",
        "StudyInstanceUID",
        "StudyID",
    ),
    "series": (
        "Modality",
        "SeriesInstanceUID",
        "SeriesNumber",
        "PerformedProcedureStepStartDate",
        "PerformedProcedureStepStartTime",
        "RequestAttributesSequence.ScheduledProcedureStepID",
        "RequestAttributesSequence.RequestedProcedureID",
    ),
    "instance": ("SOPClassUID", "SOPInstanceUID", "InstanceNumber"),
}

KEYS: Final = [(level, key) for level, keys in REQUIRED_KEYS.items() for key in keys]
FEW: Final = 12
"""Questions that the resources below the key's own are asked, of those that this one is."""


class Archive(SearchClient):
    """What answers, and what it has to answer from."""

    def __init__(self, base_url: str, stored: StoredValues) -> None:
        super().__init__(base_url)
        self.stored = stored


@pytest.fixture(scope="module")
def archive(served_clinic: Clinic) -> Iterator[Archive]:
    archive = Archive(served_clinic.base_url, StoredValues(served_clinic.contents.values()))
    yield archive
    archive.close()


def tag_of(keyword: str) -> str:
    tag = tag_from_keyword(keyword)
    assert tag is not None
    return tag


# --- match keys -----------------------------------------------------------------------------------


def asked_of(stored: StoredValues, key: str) -> tuple[list[str], Iterator[Question]]:
    """Give the path of stored attributes that a key is about, and what to ask."""
    path = ["Modality"] if key == "ModalitiesInStudy" else key.split(".")
    vr = vr_of(tag_of(path[-1]))
    assert vr is not None
    values = stored.values(*path)
    assert len(values) >= (1 if "." in key else 2), f"the files say too little of {key}"
    return path, questions(vr, values)


def matched(
    archive: Archive, key: str, at: str, asked: Iterable[Question], resources: Mapping[str, str]
) -> int:
    """Ask the resources; give the number of questions that found some and not all."""
    path = asked_of(archive.stored, key)[0]
    telling = 0
    for question in asked:
        for found, resource in resources.items():
            bounds = archive.stored.bounds(found, at=at, path=path, test=question.finds)
            uids = archive.uids(f"{resource}?{key}={quote(question.value, safe='*')}", found)
            assert bounds.must <= uids <= bounds.may, (resource, key, question.value)
            telling += 0 < len(uids) < len(archive.stored.uids(found))
    return telling


@pytest.mark.parametrize(("level", "key"), KEYS)
def test_a_required_key_finds_what_has_the_value_and_nothing_else(
    archive: Archive, level: str, key: str
) -> None:
    """PS3.18 Tables 10.6.1-3 to 10.6.1-5, PS3.4 §C.2.2.2: single values, wildcards, ranges, lists."""
    _, asked = asked_of(archive.stored, key)
    assert matched(archive, key, level, asked, {level: ALL_RESOURCES[level]})


@pytest.mark.parametrize(
    ("level", "key"), [(level, key) for level, key in KEYS if level != "instance"]
)
def test_a_required_key_restricts_the_levels_below_its_own(
    archive: Archive, level: str, key: str
) -> None:
    """PS3.18 Table 10.6.1-1: a search for all series or all instances matches those above, too."""
    asked = list(asked_of(archive.stored, key)[1])
    some = asked[:: max(1, len(asked) // FEW)]
    below = {found: ALL_RESOURCES[found] for found in LEVELS[LEVELS.index(level) + 1 :]}
    assert matched(archive, key, level, some, below)


@pytest.mark.parametrize(("level", "key"), KEYS)
def test_a_required_key_can_be_named_by_its_tag(archive: Archive, level: str, key: str) -> None:
    """PS3.18 §8.3.4.1."""
    by_tag = ".".join(map(tag_of, key.split(".")))
    resource = ALL_RESOURCES[level]
    for question in islice(asked_of(archive.stored, key)[1], 3):
        value = quote(question.value, safe="*")
        by_keyword = archive.get(f"{resource}?{key}={value}")
        assert archive.get(f"{resource}?{by_tag}={value}").content == by_keyword.content


@pytest.mark.parametrize(("level", "key"), KEYS)
def test_a_value_that_nothing_has_finds_nothing(archive: Archive, level: str, key: str) -> None:
    path, _ = asked_of(archive.stored, key)
    value = quote(nobodys(vr_of(tag_of(path[-1])) or ""))
    for found in LEVELS[LEVELS.index(level) :]:
        assert archive.search(f"{ALL_RESOURCES[found]}?{key}={value}") == []


@pytest.mark.parametrize(("level", "key"), KEYS)
def test_an_empty_value_restricts_nothing(archive: Archive, level: str, key: str) -> None:
    """PS3.4 §C.2.2.2.3: universal matching."""
    found = archive.uids(f"{ALL_RESOURCES[level]}?{key}=", level)
    assert found == archive.stored.uids(level)


@pytest.mark.parametrize("key", [*REQUIRED_KEYS["series"], *REQUIRED_KEYS["instance"]])
def test_a_required_key_restricts_searches_below_a_study_and_a_series(
    archive: Archive, key: str
) -> None:
    """PS3.18 Table 10.6.1-1: series of a study, instances of a study, instances of a series."""
    level = "series" if key in REQUIRED_KEYS["series"] else "instance"
    path, asked = asked_of(archive.stored, key)
    some = list(asked)
    for question in some[:: max(1, len(some) // 5)]:
        test = question.finds
        hit = next(d for d in archive.stored.datasets if any(map(test, texts_at(d, path))))
        study = f"/studies/{hit.StudyInstanceUID}"
        resources = {"instance": f"{study}/instances"}
        if level == "series":
            resources["series"] = f"{study}/series"
        else:
            resources["within"] = f"{study}/series/{hit.SeriesInstanceUID}/instances"
        for name, resource in resources.items():
            found = "instance" if name == "within" else name
            inside = archive.uids(resource, found)
            bounds = archive.stored.bounds(found, at=level, path=path, test=test)
            uids = archive.uids(f"{resource}?{key}={quote(question.value, safe='*')}", found)
            assert uids
            assert bounds.must & inside <= uids <= bounds.may & inside, (resource, question.value)


def test_keys_of_one_search_all_have_to_match(archive: Archive) -> None:
    for dataset in {each.StudyInstanceUID: each for each in archive.stored.datasets}.values():
        name, modality = texts_at(dataset, ["PatientName"]), texts_at(dataset, ["Modality"])
        if not (name and modality):
            continue
        both = f"/studies?PatientName={quote(name[0])}&ModalitiesInStudy={modality[0]}"
        other = f"/studies?PatientName={quote(name[0])}&ModalitiesInStudy=XC"
        assert str(dataset.StudyInstanceUID) in archive.uids(both, "study")
        assert archive.search(other) == []


def test_a_range_of_dates_and_one_of_times_are_one_range(archive: Archive) -> None:
    """PS3.4 §C.2.2.2.5: from 24 August 2004, 18:00 to 16 June 2011, 11:00."""
    low, high = ("20040824", "180000"), ("20110617", "110000")
    expected = {
        str(dataset.StudyInstanceUID)
        for dataset in archive.stored.datasets
        if (date := texts_at(dataset, ["StudyDate"]))
        and low <= (date[0].replace(".", ""), *texts_at(dataset, ["StudyTime"])) <= high
    }
    query = f"/studies?StudyDate={low[0]}-{high[0]}&StudyTime={low[1]}-{high[1]}"
    assert archive.uids(query, "study") == expected
    apart = archive.uids(f"/studies?StudyDate={low[0]}-{high[0]}", "study")
    of_time = archive.uids(f"/studies?StudyTime={high[1]}-{low[1]}", "study")
    assert expected - of_time  # in the range, although its time of day is in neither alone
    assert expected <= apart


def test_both_keys_within_a_sequence_are_met_by_one_item(archive: Archive) -> None:
    """PS3.4 §C.2.2.2.6."""
    steps = archive.stored.values("RequestAttributesSequence", "ScheduledProcedureStepID")
    procedures = archive.stored.values("RequestAttributesSequence", "RequestedProcedureID")
    pairs = set()
    for step in steps:
        for procedure in procedures:
            found = archive.search(
                "/series?RequestAttributesSequence.ScheduledProcedureStepID="
                f"{quote(step)}&00400275.00401001={quote(procedure)}"
            )
            pairs |= {(step, procedure)} if found else set()
    stored = {
        (*texts_at(item, ["ScheduledProcedureStepID"]), *texts_at(item, ["RequestedProcedureID"]))
        for dataset in archive.stored.datasets
        for item in dataset.get("RequestAttributesSequence") or ()
    }
    assert pairs == {pair for pair in stored if len(pair) == 2}
    assert pairs


# --- attributes that are returned -----------------------------------------------------------------

RETURNED: Final = {
    "/studies": ("study",),
    "/series": ("study", "series"),
    "/instances": ("study", "series", "instance"),
    "/studies/{study}/series": ("series",),
    "/studies/{study}/instances": ("series", "instance"),
    "/studies/{study}/series/{series}/instances": ("instance",),
}
"""PS3.18 §10.6.3.3: whose attributes each resource returns, those of the path's levels left out."""


@pytest.fixture(scope="module")
def usage() -> dict[str, dict[str, str]]:
    """The conformance statement's tables: tags and whether they are required, by level."""
    text = (Path(__file__).parents[2] / "docs" / "conformance.md").read_text(encoding="utf-8")
    tables = {}
    for level in LEVELS:
        part = text.partition(f"\n#### {level.capitalize()}\n")[2].partition("\n#")[0]
        rows = re.findall(r"^\| \((\w{4}),(\w{4})\) \| \w+ \| ([RC]) \|$", part, re.MULTILINE)
        tables[level] = {group + element: returned for group, element, returned in rows}
    return tables


@pytest.fixture(scope="module")
def instances(archive: Archive) -> dict[str, Json]:
    """The metadata of every instance."""
    studies = archive.stored.uids("study")
    metadata = [each for uid in studies for each in archive.search(f"/studies/{uid}/metadata")]
    return {first(each, UID_TAG["instance"]): each for each in metadata}


def results(archive: Archive, template: str) -> list[Json]:
    """Search a resource everywhere that there is one."""
    series = {
        (str(each.StudyInstanceUID), str(each.SeriesInstanceUID))
        for each in archive.stored.datasets
    }
    paths = {template.format(study=study, series=uid) for study, uid in series}
    return [found for path in sorted(paths) for found in archive.search(path)]


def test_every_required_key_is_in_the_conformance_statement(
    usage: dict[str, dict[str, str]],
) -> None:
    for level, keys in REQUIRED_KEYS.items():
        assert {tag_of(key.partition(".")[0]) for key in keys} <= usage[level].keys()


@pytest.mark.parametrize("template", RETURNED)
def test_required_attributes_are_returned_and_others_where_they_say_something(
    archive: Archive, template: str, usage: dict[str, dict[str, str]]
) -> None:
    """PS3.18 Tables 10.6.3-3 to 10.6.3-5; empty but there, of ModalitiesInStudy alone not."""
    listed: dict[str, str] = {}
    for level in RETURNED[template]:
        listed |= usage[level]
    required = {tag for tag, returned in listed.items() if returned == "R"} - {"00080061"}
    level = RETURNED[template][-1]
    found = results(archive, template)
    assert set(uids_of(found, level)) == archive.stored.uids(level)
    for each in found:
        assert list(each) == sorted(each)
        assert required <= each.keys() <= listed.keys()
        assert all(each[tag].get("Value") for tag in each.keys() - required)


@pytest.mark.parametrize("template", RETURNED)
def test_attributes_are_those_of_the_files(
    archive: Archive, template: str, instances: dict[str, Json]
) -> None:
    """What the archive does not make itself is what one of the instances has."""
    level = RETURNED[template][-1]
    below: dict[str, list[Json]] = {}
    for each in instances.values():
        below.setdefault(first(each, UID_TAG[level]), []).append(each)
    for found in results(archive, template):
        of_files = below[first(found, UID_TAG[level])]
        for tag in found.keys() - COMPUTED:
            absent = {"vr": found[tag]["vr"]}
            assert found[tag] in [each.get(tag, absent) for each in of_files], (found, tag)


def test_counts_and_modalities_are_those_of_the_files(archive: Archive) -> None:
    datasets = archive.stored.datasets
    for study in archive.search("/studies"):
        inside = [
            each for each in datasets if each.StudyInstanceUID == first(study, UID_TAG["study"])
        ]
        modalities = {value for each in inside for value in texts_at(each, ["Modality"])}
        assert set(study.get("00080061", {"Value": []})["Value"]) == modalities
        assert first(study, "00201206") == len({each.SeriesInstanceUID for each in inside})
        assert first(study, "00201208") == len(inside)
    for series in archive.search("/series"):
        uid = first(series, UID_TAG["series"])
        assert first(series, "00201209") == sum(each.SeriesInstanceUID == uid for each in datasets)


@pytest.mark.parametrize("level", LEVELS)
def test_a_key_is_returned_and_so_is_what_is_asked_for(archive: Archive, level: str) -> None:
    """PS3.18 §10.6.3.3: attributes matched, even universally, and those of includefield."""
    wanted = {"study": "StudyDescription", "series": "BodyPartExamined", "instance": "ImageType"}
    matched = {"study": "PatientAge", "series": "ProtocolName", "instance": "ImageComments"}
    path = f"{ALL_RESOURCES[level]}?includefield={wanted[level]}&{matched[level]}="
    plain = archive.search(ALL_RESOURCES[level])
    told = archive.search(path)
    extra = {tag_of(wanted[level]), tag_of(matched[level])}
    for tag in extra:
        assert any(tag in each for each in told)
    for each, with_more in zip(plain, told, strict=True):
        assert {tag: value for tag, value in with_more.items() if tag not in extra} == each


@pytest.mark.parametrize("resource", ["/studies", "/series"])
def test_attributes_of_lower_levels_are_left_out_by_name(archive: Archive, resource: str) -> None:
    """PS3.18 §10.6.3.3."""
    response = archive.get(f"{resource}?includefield=SOPInstanceUID,00201208")
    assert "00080018 (SOPInstanceUID)" in response.headers["Warning"]
    assert response.json() == archive.search(resource)


def test_all_is_every_attribute_of_the_level(archive: Archive) -> None:
    for level, resource in ALL_RESOURCES.items():
        plain, told = archive.search(resource), archive.search(f"{resource}?includefield=all")
        assert any(len(more) > len(each) for each, more in zip(plain, told, strict=True))
        for each, more in zip(plain, told, strict=True):
            assert each.items() <= more.items(), level


# --- patients -------------------------------------------------------------------------------------


def test_patients_are_the_studies_of_one_patient_id(archive: Archive) -> None:
    """An extension; studies without PatientID belong to nobody."""
    studies: dict[str, list[Json]] = {}
    for study in archive.search("/studies"):
        for patient_id in study["00100020"].get("Value", []):
            studies.setdefault(patient_id, []).append(study)
    patients = {first(each, "00100020"): each for each in archive.search("/patients")}
    assert patients.keys() == studies.keys() == set(archive.stored.values("PatientID"))
    for patient_id, patient in patients.items():
        own = studies[patient_id]
        assert archive.search(f"/patients/{quote(patient_id, safe='')}/studies") == own
        assert first(patient, "00201200") == len(own)
        for of_patient, of_study in ("00201202", "00201206"), ("00201204", "00201208"):
            assert first(patient, of_patient) == sum(first(each, of_study) for each in own)
        assert patient["00100010"] in [each["00100010"] for each in own]


@pytest.mark.parametrize("key", ["PatientID", "PatientName", "PatientBirthDate", "PatientSex"])
def test_patients_are_found_by_what_is_known_of_them(archive: Archive, key: str) -> None:
    vr = vr_of(tag_of(key))
    assert vr is not None
    ids = {
        str(each.StudyInstanceUID): texts_at(each, ["PatientID"])
        for each in archive.stored.datasets
    }
    for question in questions(vr, archive.stored.values(key)):
        bounds = archive.stored.bounds("study", at="study", path=[key], test=question.finds)
        found = archive.search(f"/patients?{key}={quote(question.value, safe='*')}")
        uids = {first(each, "00100020") for each in found}
        must = {uid for study in bounds.must for uid in ids[study]}
        assert must <= uids <= {uid for study in bounds.may for uid in ids[study]}, question.value
