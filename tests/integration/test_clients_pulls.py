"""Studies as ZIP files, media, manifests and by URI over HTTP, as people and old viewers take them."""

from __future__ import annotations

import shutil
import subprocess
import zipfile
from io import BytesIO
from typing import TYPE_CHECKING, Any, Final

import pytest
import requests
from pydicom.fileset import FileSet

from dicomulus.wire.media_types import parse_media_type
from dicomulus.wire.multipart import read_parts
from tests.support.pydicom_corpus import read

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.clinic import Clinic

TIMEOUT_SECONDS: Final = 60
CURL: Final = shutil.which("curl")
DCMDUMP: Final = shutil.which("dcmdump")


@pytest.fixture(scope="module")
def studies(served_clinic: Clinic) -> list[str]:
    """The URL of every study."""
    found = get(f"{served_clinic.base_url}/studies").json()
    uids = [study["0020000D"]["Value"][0] for study in found]
    return [f"{served_clinic.base_url}/studies/{uid}" for uid in uids]


def get(url: str, accept: str = "*/*", **parameters: Any) -> requests.Response:
    return requests.get(url, params=parameters, headers={"Accept": accept}, timeout=TIMEOUT_SECONDS)


def uids_of(study: str) -> list[tuple[str, str, str]]:
    """Give study, series and instance of all instances of a study."""
    study_uid = study.rpartition("/")[2]
    found = get(f"{study}/instances").json()
    return sorted(
        (study_uid, each["0020000E"]["Value"][0], each["00080018"]["Value"][0]) for each in found
    )


def test_every_study_is_a_medium_that_leads_to_its_instances(
    studies: list[str], tmp_path: Path
) -> None:
    for number, study in enumerate(studies):
        folder = tmp_path / str(number)
        answer = get(study, "application/zip; transfer-syntax=*", dicomdir="true")
        with zipfile.ZipFile(BytesIO(answer.content)) as opened:
            opened.extractall(folder)
        file_set = FileSet(folder / "DICOMDIR")
        try:
            held = [read(pathed.read_bytes()) for pathed in sorted(folder.rglob("IM*"))]
            told = [(each.SOPInstanceUID, str(each.path)) for each in file_set]
        finally:
            file_set._stage["t"].cleanup()
        assert sorted(uid for uid, _ in told) == sorted(each.SOPInstanceUID for each in held)
        assert sorted(uid for uid, _ in told) == sorted(uid for *_, uid in uids_of(study))
        if DCMDUMP is not None:
            dump = subprocess.run(
                [DCMDUMP, "+fo", folder / "DICOMDIR"], capture_output=True, check=True, timeout=60
            )
            assert b"W:" not in dump.stderr, study


@pytest.mark.skipif(CURL is None, reason="curl is not installed")
def test_curl_saves_a_zip_file_under_its_name(studies: list[str], tmp_path: Path) -> None:
    study = studies[0]
    assert CURL is not None
    subprocess.run(
        [CURL, "-sfOJ", f"{study}?accept=application/zip;transfer-syntax=*"],
        cwd=tmp_path,
        check=True,
        timeout=TIMEOUT_SECONDS,
    )
    (saved,) = tmp_path.iterdir()
    assert saved.name == f"{study.rpartition('/')[2]}.zip"
    with zipfile.ZipFile(saved) as opened:
        assert opened.testzip() is None
        assert len(opened.namelist()) == len(uids_of(study))


def test_a_manifest_leads_to_every_instance(studies: list[str]) -> None:
    for study in studies:
        entries = get(f"{study}/manifest").json()["instances"]
        names = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
        assert sorted(tuple(each[name] for name in names) for each in entries) == uids_of(study)
        first = entries[0]
        answer = requests.get(first["url"], headers=first["headers"], timeout=TIMEOUT_SECONDS)
        assert first["size"] in (None, len(answer.content))
        assert read(answer.content).SOPInstanceUID == first["SOPInstanceUID"]


def test_old_viewers_get_dicom_and_images(served_clinic: Clinic, studies: list[str]) -> None:
    for study in studies:
        _, series, instance = uids_of(study)[0]
        asked = {
            "requestType": "WADO",
            "studyUID": study.rpartition("/")[2],
            "seriesUID": series,
            "objectUID": instance,
        }
        url = f"{served_clinic.base_url}/wado"
        answer = get(url, contentType="application/dicom", **asked)
        assert answer.status_code == 200, answer.text
        assert read(answer.content).SOPInstanceUID == instance
        shown = get(url, **asked)
        if shown.status_code == 200:
            assert shown.headers["Content-Type"].partition(";")[0] in (
                "image/jpeg",
                "application/dicom",
            )
        else:
            # Too large, or not decoded: said, and not broken.
            assert shown.status_code in (406, 413), shown.text


def test_pixel_data_of_a_study_is_that_of_its_instances(
    served_clinic: Clinic, studies: list[str]
) -> None:
    compared = 0
    for study in studies:
        answer = get(f"{study}/pixeldata", 'multipart/related; type="*/*"')
        if answer.status_code == 404:
            continue
        content_type = parse_media_type(answer.headers["Content-Type"])
        found: dict[str, list[bytes]] = {}
        for part in read_parts(BytesIO(answer.content), content_type):
            location = part.headers.get("Content-Location") or ""
            uid = location.partition("/instances/")[2].partition("/")[0]
            found.setdefault(uid, []).append(part.content.read())
        for uid, frames in found.items():
            expected = served_clinic.images.get(uid, [])
            bits = read(served_clinic.contents[uid]).get("BitsAllocated", 0)
            if not expected or bits == 1:
                continue
            # Native pixel data is one value of all frames.
            assert b"".join(frames)[: len(b"".join(expected))] == b"".join(expected), uid
            compared += 1
    assert compared > len(served_clinic.images) // 2


def test_who_goes_away_disturbs_nobody(served_clinic: Clinic, studies: list[str]) -> None:
    as_stored = {"accept": "application/zip; transfer-syntax=*"}
    for study in studies:
        with requests.get(study, as_stored, stream=True, timeout=TIMEOUT_SECONDS) as answer:
            assert next(answer.iter_content(100))
    assert get(f"{served_clinic.base_url}/studies").status_code == 200
    assert "request failed" not in served_clinic.served.log.read_text()
