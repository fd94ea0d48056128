"""OHIF's own requests, in its order and with its headers, as it was seen to send them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import pytest
import requests

from tests.support.pydicom_corpus import read

if TYPE_CHECKING:
    from collections.abc import Container, Iterator

    from tests.support.clinic import Clinic

PAGE: Final = "http://localhost:3000"
"""Where the viewer's page came from."""

LIST: Final = (
    "/studies?limit=101&offset=0&fuzzymatching=true"
    "&includefield=00081030%2C00080060%2C00080090%2C00100030"
)
SERIES: Final = "series?includefield=00080021%2C00080031%2C0008103E%2C00200011"
FRAMES: Final = "multipart/related; type=application/octet-stream; transfer-syntax=*"

STUDY, SERIES_UID, SOP = "0020000D", "0020000E", "00080018"
PATIENT_NAME, PATIENT_ID = "00100010", "00100020"
ACCESSION_NUMBER, MODALITY = "00080050", "00080060"
STUDY_DESCRIPTION, MODALITIES_IN_STUDY = "00081030", "00080061"
NUMBER_OF_FRAMES = "00280008"

Json = dict[str, Any]


class Viewer:
    """Sends what OHIF sends."""

    def __init__(self, base_url: str) -> None:
        self._base_url = base_url
        self._session = requests.Session()
        self._session.headers.update({"Origin": PAGE, "Accept-Encoding": "gzip, deflate, br, zstd"})

    def get(self, path: str, accept: str) -> requests.Response:
        response = self._session.get(self._base_url + path, headers={"Accept": accept}, timeout=30)
        assert response.status_code == 200, (path, response.text)
        assert response.headers["Access-Control-Allow-Origin"] == PAGE
        return response

    def json(self, path: str) -> list[Json]:
        response = self.get(path, "application/dicom+json")
        assert response.headers["Content-Type"].startswith("application/dicom+json")
        found: list[Json] = response.json()
        return found

    def preflight(self, path: str) -> requests.Response:
        """Ask as a browser does before a request with an Accept of more than 128 bytes."""
        return self._session.options(
            self._base_url + path,
            headers={
                "Access-Control-Request-Method": "GET",
                "Access-Control-Request-Headers": "accept,authorization",
            },
            timeout=30,
        )

    def close(self) -> None:
        self._session.close()


@pytest.fixture(scope="module")
def viewer(served_clinic: Clinic) -> Iterator[Viewer]:
    viewer = Viewer(served_clinic.base_url_on("localhost"))
    yield viewer
    viewer.close()


def first(attributes: Json, tag: str) -> Any:
    return attributes[tag]["Value"][0]


def uids(found: list[Json]) -> set[str]:
    return {first(each, STUDY) for each in found}


def test_the_study_list_has_every_study_and_no_attribute_it_stumbles_over(
    viewer: Viewer, served_clinic: Clinic
) -> None:
    """ModalitiesInStudy without a value stops OHIF's whole list."""
    found = viewer.json(LIST)
    stored = {str(read(content).StudyInstanceUID) for content in served_clinic.contents.values()}
    assert uids(found) == stored
    for study in found:
        assert MODALITIES_IN_STUDY not in study or study[MODALITIES_IN_STUDY]["Value"]
    assert sum(MODALITIES_IN_STUDY in study for study in found) > 20


def test_filters_take_raw_asterisks(viewer: Viewer) -> None:
    """Names match whatever their case, texts as they are written (PS3.4 §C.2.2.2.1, §C.2.2.2.4)."""
    found = viewer.json(LIST)
    names = {study_of(each) for each in found if "a" in patient_name(each).lower()}
    assert names < uids(found)
    assert uids(viewer.json(f"{LIST}&PatientName=*a*")) >= names
    described = {study_of(each) for each in found if "b" in value(each, STUDY_DESCRIPTION)}
    assert described < uids(found)
    assert uids(viewer.json(f"{LIST}&StudyDescription=*b*")) == described


@pytest.mark.parametrize(
    ("parameter", "tag"),
    [
        ("PatientID", PATIENT_ID),
        ("00100020", PATIENT_ID),
        ("AccessionNumber", ACCESSION_NUMBER),
        ("StudyDescription", STUDY_DESCRIPTION),
    ],
)
def test_every_text_filter_finds_what_has_the_text_anywhere(
    viewer: Viewer, parameter: str, tag: str
) -> None:
    """Each filter is followed by the list without it, when it is cleared."""
    found = viewer.json(LIST)
    for text in "1", "A", "e", "zzz":
        has = [study_of(each) for each in found if text in value(each, tag)]
        assert [study_of(each) for each in viewer.json(f"{LIST}&{parameter}=*{text}*")] == has
    assert viewer.json(LIST) == found


def test_a_filter_in_escapes_is_one_without(viewer: Viewer) -> None:
    """Axios and fetch escape what the browser's address line does not."""
    plain = viewer.json(f"{LIST}&PatientName=*CompressedSamples^*&StudyDate=20040101-20041231")
    assert plain
    assert plain == viewer.json(
        f"{LIST}&PatientName=%2ACompressedSamples%5E%2A&StudyDate=20040101%2D20041231"
    )
    names = viewer.json(f"{LIST}&PatientName=*%E5%B1%B1%E7%94%B0*")
    assert {value(each, PATIENT_ID) for each in names} == {"H31EXAMPLE", "H32EXAMPLE"}


def test_names_are_found_while_they_are_typed(viewer: Viewer) -> None:
    """The list asks with fuzzymatching=true, so a name without asterisks is found by its words."""
    for typed in "lestr", "Lestrade", "g lestrade", "G^LESTRADE":
        [found] = viewer.json(f"{LIST}&PatientName={typed}")
        assert patient_name(found) == "Lestrade^G"


def test_the_list_has_the_fields_that_it_asks_for_and_is_told_of_the_one_that_no_study_has(
    viewer: Viewer,
) -> None:
    """Of Modality, which the list asks for with every study (PS3.18 §10.6.3.3)."""
    response = viewer.get(LIST, "application/dicom+json")
    for study in response.json():
        assert {"00080090", "00100030"} <= study.keys()
        assert MODALITY not in study
    assert any(study.get(STUDY_DESCRIPTION, {}).get("Value") for study in response.json())
    assert "00080060 (Modality)" in response.headers["Warning"]
    assert "Warning" in response.headers["Access-Control-Expose-Headers"]


def test_a_study_without_modality_is_in_the_list_and_found_by_none(
    viewer: Viewer, served_clinic: Clinic
) -> None:
    """It has no ModalitiesInStudy at all, rather than an empty one."""
    has_modality: dict[str, bool] = {}
    for content in served_clinic.contents.values():
        dataset = read(content)
        study = str(dataset.StudyInstanceUID)
        has_modality[study] = has_modality.get(study, False) or bool(dataset.get("Modality"))
    without = {study for study, has in has_modality.items() if not has}
    assert without
    listed = {study_of(each): each for each in viewer.json(LIST)}
    for study in without:
        assert MODALITIES_IN_STUDY not in listed[study]
    several = "CT,MR,US,OT,SR,NM,CR,SEG,ECG,RTPLAN,RTDOSE,RTSTRUCT"
    assert uids(viewer.json(f"{LIST}&ModalitiesInStudy={several}")) == listed.keys() - without


def test_pages_of_the_list_go_on_by_offset(viewer: Viewer) -> None:
    whole = viewer.json(LIST)
    asked = LIST.replace("limit=101&offset=0", "limit=10&offset={}")
    pages = [viewer.json(asked.format(offset)) for offset in range(0, len(whole) + 10, 10)]
    assert [each for page in pages for each in page] == whole
    assert pages[-1] == []


def study_of(attributes: Json) -> str:
    return str(first(attributes, STUDY))


def value(attributes: Json, tag: str) -> str:
    values = attributes.get(tag, {}).get("Value", [])
    return str(values[0] or "") if values else ""


def patient_name(attributes: Json) -> str:
    values = attributes.get(PATIENT_NAME, {}).get("Value", [{}])
    return str((values[0] or {}).get("Alphabetic", ""))


@pytest.mark.parametrize(
    ("parameter", "modalities"), [("CT", {"CT"}), ("MR", {"MR"}), ("CT,MR", {"CT", "MR"})]
)
def test_the_modality_filter_takes_one_or_several(
    viewer: Viewer, parameter: str, modalities: set[str]
) -> None:
    found = viewer.json(f"{LIST}&ModalitiesInStudy={parameter}")
    assert found
    for study in found:
        assert modalities & set(study[MODALITIES_IN_STUDY]["Value"])


def test_several_studies_come_joined_by_a_backslash(viewer: Viewer) -> None:
    two = sorted(uids(viewer.json(LIST)))[:2]
    assert uids(viewer.json(f"{LIST}&StudyInstanceUID={'%5C'.join(two)}")) == set(two)


def test_opening_a_study_shows_all_its_frames(viewer: Viewer, served_clinic: Clinic) -> None:
    study = served_clinic.generated_study_uid
    for _ in range(2):
        [opened] = viewer.json(f"{LIST}&StudyInstanceUID={study}")
    series = viewer.json(f"/studies/{study}/{SERIES}")
    prior = viewer.json(
        f"/studies?00100020={first(opened, PATIENT_ID)}&limit=101&offset=0&fuzzymatching=true"
        "&includefield=00081030%2C00080060%2C00080090%2C00100030"
    )
    assert study in uids(prior)
    assert {first(each, "0008103E") for each in series} == {
        str(read(content).SeriesDescription)
        for content in served_clinic.contents.values()
        if read(content).StudyInstanceUID == study
    }
    frames = shown_frames(viewer, study, series)
    assert frames == {uid: served_clinic.images[uid] for uid in frames}
    assert len(frames) == sum(first(each, "00201209") for each in series)


def test_every_image_is_shown_as_it_is_stored(viewer: Viewer, served_clinic: Clinic) -> None:
    images = served_clinic.images
    cut_short = {uid for uid, frames in images.items() if not frames}
    shown: dict[str, list[bytes]] = {}
    for study in sorted(uids(viewer.json(LIST)) - {served_clinic.generated_study_uid}):
        series = viewer.json(f"/studies/{study}/{SERIES}")
        shown |= shown_frames(viewer, study, series, cut_short=cut_short)
    assert shown == {uid: images[uid] for uid in shown}
    assert len(shown) > 40


def shown_frames(
    viewer: Viewer, study: str, series: list[Json], *, cut_short: Container[str] = ()
) -> dict[str, list[bytes]]:
    """Get every frame of a study, each by a request of its own, as the viewer does."""
    shown: dict[str, list[bytes]] = {}
    for each in series:
        path = f"/studies/{study}/series/{first(each, SERIES_UID)}"
        for metadata in viewer.json(f"{path}/metadata"):
            number_of_frames = metadata.get(NUMBER_OF_FRAMES, {}).get("Value", [1])[0]
            if "7FE00010" not in metadata or not isinstance(number_of_frames, int):
                continue
            instance = f"{path}/instances/{first(metadata, SOP)}"
            if first(metadata, SOP) not in cut_short:
                shown[first(metadata, SOP)] = [
                    cornerstone_frame(viewer.get(f"{instance}/frames/{number}", FRAMES))
                    for number in range(1, number_of_frames + 1)
                ]
    return shown


def cornerstone_frame(response: requests.Response) -> bytes:
    """Take the frame out of an answer as literally as the viewer's parser does.

    The part's header must hold ``Content-Type:`` in that case and a transfer syntax, and everything
    up to the first occurrence of the boundary is the frame.
    """
    content_type = response.headers["Content-Type"]
    assert content_type.startswith("multipart/related")
    match = re.search(r'boundary="?([^";]+)"?', content_type)
    assert match is not None
    delimiter = b"--" + match.group(1).encode()
    body = response.content
    assert body.startswith(delimiter + b"\r\n")
    head, _, rest = body.partition(b"\r\n\r\n")
    assert re.search(rb"\r\nContent-Type: [^\r]*; ?transfer-syntax=[0-9.]+(\r|$)", head), head
    assert b"Content-Encoding" not in head
    frame, found, end = rest.partition(b"\r\n" + delimiter)
    assert found
    assert end.startswith(b"--")
    return frame


def test_a_preflight_lets_the_headers_of_the_viewer_through(
    viewer: Viewer, served_clinic: Clinic
) -> None:
    response = viewer.preflight(f"/studies/{served_clinic.generated_study_uid}/metadata")
    assert response.ok
    assert response.headers["Access-Control-Allow-Origin"] == PAGE
    allowed = {
        each.strip().lower() for each in response.headers["Access-Control-Allow-Headers"].split(",")
    }
    assert {"accept", "authorization"} <= allowed
    assert "GET" in response.headers["Access-Control-Allow-Methods"]


def test_the_accept_query_parameter_wins_over_the_header(
    viewer: Viewer, served_clinic: Clinic
) -> None:
    """OHIF asks for pictures by the parameter, under a header that no picture has."""
    response = viewer.get(
        f"/studies/{served_clinic.generated_study_uid}/metadata?accept=application%2Fjson",
        'multipart/related; type="application/octet-stream"',
    )
    assert response.headers["Content-Type"].startswith("application/json")
