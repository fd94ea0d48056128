"""Searches as clients send them: names in every script, and each option of dicomweb-client."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import pytest
import requests
from dicomweb_client.api import DICOMwebClient
from pydicom.valuerep import PersonName

from tests.support.datasets import ct_instance, uid_of
from tests.support.pydicom_corpus import read
from tests.support.search_client import UID_TAG, SearchClient, first, uids_of
from tests.support.serving import eventually, serving
from tests.support.stored_values import StoredValues, folded

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.clinic import Clinic
    from tests.support.search_client import Json


@pytest.fixture(scope="module")
def client(served_clinic: Clinic) -> Iterator[SearchClient]:
    client = SearchClient(served_clinic.base_url)
    yield client
    client.close()


# --- character sets -------------------------------------------------------------------------------

SCRIPTS: Final = {
    # pydicom's charset files by PatientID: how names are stored, and what they are
    "H31EXAMPLE": ("ISO 2022 IR 87", "Yamada^Tarou=山田^太郎=やまだ^たろう"),
    "H32EXAMPLE": ("ISO 2022 IR 13, IR 87", "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう"),
    "I2EXAMPLE": ("ISO 2022 IR 149", "Hong^Gildong=洪^吉洞=홍^길동"),
    "X1EXAMPLE": ("ISO_IR 192", "Wang^XiaoDong=王^小東"),
    "X2EXAMPLE": ("GB18030", "Wang^XiaoDong=王^小东"),
    "SCSFREN": ("ISO_IR 100", "Buc^Jérôme"),
    "SCSGERM": ("ISO_IR 100", "Äneas^Rüdiger"),
    "SCSGREEK": ("ISO_IR 126", "Διονυσιος"),
    "SCSRUSS": ("ISO_IR 144", "Люкceмбypг"),  # noqa: RUF001 - of two alphabets
    "SCSARAB": ("ISO_IR 127", "قباني^لنزار"),
    "SCSHBRW": ("ISO_IR 138", "שרון^דבורה"),
    "2008-3": ("ISO 2022 IR 149, alone", "김희중"),
    "2008-4": ("ISO 2022 IR 87, alone", "やまだ^たろう"),
}


def patients(client: SearchClient, name: str, *more: str) -> set[str]:
    """Find patients by a name, sent as UTF-8 in escapes."""
    query = "&".join((f"PatientName={quote(name, safe='*?')}", *more))
    return {first(each, "00100020") for each in client.search(f"/studies?{query}")}


@pytest.mark.parametrize("patient_id", SCRIPTS)
def test_a_name_of_any_character_set_is_found_by_its_utf_8(
    client: SearchClient, patient_id: str
) -> None:
    """By each of its component groups, whole and in part (PS3.18 §8.3.4, PS3.4 §C.2.2.2.1.1)."""
    for group in SCRIPTS[patient_id][1].split("="):
        parts = [group, f"{group[:-1]}*", f"*{group[1:]}", f"*{group[1:-1]}*"]
        parts += [f"{group.partition('^')[0]}*", f"{group[:1]}?{group[2:]}"]
        parts += [group.upper(), group.lower(), folded(group)]
        for part in parts:
            assert patient_id in patients(client, part), part
        assert patient_id not in patients(client, f"{group}x")
    groups = SCRIPTS[patient_id][1].split("=")
    whole = "=".join(groups)
    assert patient_id in patients(client, whole)
    for place, group in enumerate(groups):
        alone = "=".join(group if at == place else "" for at in range(place + 1))
        assert patient_id in patients(client, alone), alone


def test_names_are_those_that_pydicom_reads(served_clinic: Clinic) -> None:
    """So that the table above is no wish."""
    stored = {
        str(dataset.PatientID): PersonName(dataset.PatientName)
        for dataset in map(read, served_clinic.contents.values())
        if dataset.get("PatientID") in SCRIPTS
    }
    assert {uid: str(name) for uid, name in stored.items()} == {
        uid: name for uid, (_, name) in SCRIPTS.items()
    }


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("山田*", {"H31EXAMPLE", "H32EXAMPLE"}),
        ("=山田^太郎", {"H31EXAMPLE", "H32EXAMPLE"}),
        ("Yamada*=山田*", {"H31EXAMPLE"}),
        ("==やまだ*", {"H31EXAMPLE", "H32EXAMPLE"}),
        ("やまだ^たろう", {"H31EXAMPLE", "H32EXAMPLE", "2008-4"}),
        ("王^小?", {"X1EXAMPLE", "X2EXAMPLE"}),
        ("王^小东", {"X2EXAMPLE"}),
        ("王^小東", {"X1EXAMPLE"}),
        ("wang^xiaodong", {"X1EXAMPLE", "X2EXAMPLE"}),
        ("홍*", {"I2EXAMPLE"}),
        ("김*", {"2008-3"}),
        ("aneas^rudiger", {"SCSGERM"}),
        ("ÄNEAS^RÜDIGER", {"SCSGERM"}),
        ("BUC^JEROME", {"SCSFREN"}),
        ("ΔΙΟΝΥΣΙΟΣ", {"SCSGREEK"}),
        ("люкceмбypг", {"SCSRUSS"}),  # noqa: RUF001
    ],
)
def test_component_groups_case_and_accents(
    client: SearchClient, name: str, found: set[str]
) -> None:
    assert patients(client, name) == found


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("太郎", {"H31EXAMPLE", "H32EXAMPLE"}),
        ("たろ やま", {"H31EXAMPLE", "H32EXAMPLE", "2008-4"}),
        ("rüdi", {"SCSGERM"}),
        ("jerome buc", {"SCSFREN"}),
        ("길동", {"I2EXAMPLE"}),
    ],
)
def test_fuzzy_matching_goes_by_the_beginnings_of_words(
    client: SearchClient, name: str, found: set[str]
) -> None:
    """PS3.18 §8.3.4.2; without it the same values find nobody."""
    assert patients(client, name, "fuzzymatching=true") == found
    assert patients(client, name) == set()


# --- character sets of other attributes -----------------------------------------------------------

TEXTS: Final = {
    # specific character set, and a text that it has
    "ISO_IR 100": "Schädel nativ, 3 Ebenen für Öhrchen",
    "ISO_IR 192": "Tête, sans contraste 頭部",
    "GB18030": "腹部平扫 检查",
    "\\ISO 2022 IR 87": "頭部 単純 検査",
    "\\ISO 2022 IR 149": "복부 단순 검사",
    "ISO_IR 13": "ﾄｳﾌﾞ",
    "ISO_IR 144": "Грудная клетка",
}


@pytest.fixture(scope="module")
def described(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SearchClient]:
    """An archive of studies and series that are described in every script."""
    folder = tmp_path_factory.mktemp("described")
    scans = folder / "scans"
    scans.mkdir()
    for number, (character_set, text) in enumerate(TEXTS.items()):
        content = ct_instance(
            patient_id=str(number),
            patient_name=f"Patient^{number}",
            study_instance_uid=uid_of("described", number),
            specific_character_set=character_set,
            attributes={"StudyDescription": text, "SeriesDescription": text},
        )
        (scans / str(number)).write_bytes(content)
    with serving(scans, "--data-dir", folder / "data", log=folder / "log") as served:
        client = SearchClient(served.base_url)
        eventually(lambda: len(client.search("/studies")) == len(TEXTS), "all studies")
        yield client
        client.close()


@pytest.mark.parametrize("character_set", TEXTS)
def test_a_text_of_any_character_set_is_found_by_its_utf_8(
    described: SearchClient, character_set: str
) -> None:
    """Texts but names match as they are, accents and all (PS3.4 §C.2.2.2.1)."""
    text = TEXTS[character_set]
    study = uid_of("described", [*TEXTS].index(character_set))
    for part in (text, f"{text[:3]}*", f"*{text[1:-1]}*", f"{text[0]}?{text[2:]}"):
        for resource, keyword in ("studies", "StudyDescription"), ("series", "SeriesDescription"):
            query = f"/{resource}?{keyword}={quote(part, safe='*?')}&includefield={keyword}"
            assert described.uids(query, "study") == {study}, query
    [found] = described.search(f"/studies?StudyDescription={quote(text)}")
    assert found["00081030"]["Value"] == [text]
    assert found["00080005"]["Value"] == ["ISO_IR 192"]


# --- dicomweb-client ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def dicomweb(served_clinic: Clinic) -> DICOMwebClient:
    return DICOMwebClient(served_clinic.base_url)


@pytest.fixture(scope="module")
def stored(served_clinic: Clinic) -> StoredValues:
    return StoredValues(served_clinic.contents.values())


def study_uids(found: list[Json]) -> list[str]:
    return uids_of(found, "study")


def test_it_finds_studies_by_keyword_and_by_tag(
    dicomweb: DICOMwebClient, stored: StoredValues
) -> None:
    for dataset in stored.datasets:
        uid = str(dataset.StudyInstanceUID)
        filters: dict[str, Any] = {"StudyInstanceUID": uid}
        assert study_uids(dicomweb.search_for_studies(search_filters=filters)) == [uid]
        if dataset.get("PatientName") and dataset.get("PatientID"):
            filters = {"00100010": str(dataset.PatientName), "00100020": dataset.PatientID}
            assert uid in study_uids(dicomweb.search_for_studies(search_filters=filters))


def test_it_finds_series_and_instances_below_and_across_studies(
    dicomweb: DICOMwebClient, stored: StoredValues
) -> None:
    for level, search in (
        ("series", dicomweb.search_for_series),
        ("instance", dicomweb.search_for_instances),
    ):
        assert set(uids_of(search(), level)) == stored.uids(level)
        below = [uid for study in stored.uids("study") for uid in uids_of(search(study), level)]
        assert sorted(below) == sorted(stored.uids(level))
        found = search(search_filters={"Modality": "CT"})
        assert {first(each, "00080060") for each in found} == {"CT"}
        bounds = stored.bounds(level, at="series", path=["Modality"], test="CT".__eq__)
        assert bounds.must == set(uids_of(found, level))


@pytest.mark.parametrize("level", UID_TAG)
@pytest.mark.parametrize("limit", [None, 7])
def test_it_gets_what_remains_page_by_page(
    dicomweb: DICOMwebClient, stored: StoredValues, level: str, limit: int | None
) -> None:
    """It adds what it got to the offset until a page is empty."""
    search = search_of(dicomweb, level)
    found = uids_of(search(limit=limit, get_remaining=True), level)
    assert len(found) == len(set(found))
    assert set(found) == stored.uids(level)


@pytest.mark.parametrize("level", UID_TAG)
def test_its_limit_and_offset_cut_a_page_out_and_it_is_warned(
    dicomweb: DICOMwebClient, level: str, caplog: pytest.LogCaptureFixture
) -> None:
    search = search_of(dicomweb, level)
    whole = search()
    with caplog.at_level(logging.WARNING, logger="dicomweb_client"):
        assert search(limit=4, offset=3) == whole[3:7]
        assert "additional results that can be requested" in caplog.text
        caplog.clear()
        assert search(limit=4, offset=len(whole) - 2) == whole[-2:]
        assert not caplog.records


def search_of(client: DICOMwebClient, level: str) -> Any:
    return {
        "study": client.search_for_studies,
        "series": client.search_for_series,
        "instance": client.search_for_instances,
    }[level]


@pytest.mark.parametrize(
    ("level", "fields"),
    [
        ("study", ["StudyDescription", "00101010"]),
        ("series", ["BodyPartExamined", "00181030", "PatientAge"]),
        ("instance", ["ImageType", "00280004", "BodyPartExamined", "StudyDescription"]),
    ],
)
def test_it_gets_the_fields_that_it_asks_for(
    dicomweb: DICOMwebClient, level: str, fields: list[str]
) -> None:
    """It repeats includefield; fields of levels above are given, too (PS3.18 §10.6.3.3)."""
    plain, told = search_of(dicomweb, level)(), search_of(dicomweb, level)(fields=fields)
    more = {tag for each in told for tag in each} - {tag for each in plain for tag in each}
    tags = {"StudyDescription": "00081030", "BodyPartExamined": "00180015"}
    tags |= {"PatientAge": "00101010", "ImageType": "00080008"}
    assert more == {tags.get(field, field) for field in fields}


def test_its_fuzzy_matching_finds_beginnings_of_names(dicomweb: DICOMwebClient) -> None:
    for value, name in ("jérô", "Buc^Jérôme"), ("太郎", "Yamada^Tarou"), ("lest g", "Lestrade^G"):
        filters = {"PatientName": value}
        found = dicomweb.search_for_studies(fuzzymatching=True, search_filters=filters)
        assert name in {first(each, "00100010").get("Alphabetic") for each in found}
        assert dicomweb.search_for_studies(fuzzymatching=False, search_filters=filters) == []


def test_it_can_order_and_be_told_of_every_option_at_once(dicomweb: DICOMwebClient) -> None:
    options: dict[str, Any] = {
        "fuzzymatching": True,
        "fields": ["StudyDescription"],
        "search_filters": {"PatientName": "compr", "StudyDate": "20040101-20041231"},
        "additional_params": {"orderby": "-StudyDate,StudyID"},
    }
    whole = dicomweb.search_for_studies(**options)
    dates = [first(each, "00080020") for each in whole]
    assert dates == sorted(dates, reverse=True)
    assert len(whole) > 2
    assert dicomweb.search_for_studies(**options, limit=1, get_remaining=True) == whole
    assert dicomweb.search_for_studies(**options, limit=1, offset=1) == whole[1:2]


def test_it_raises_what_the_archive_refuses(dicomweb: DICOMwebClient) -> None:
    with pytest.raises(requests.HTTPError, match="400"):
        dicomweb.search_for_studies(search_filters={"Modality": "CT"})
