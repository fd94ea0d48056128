"""The npm dicomweb-client in Node against the served archive, compared with pydicom's reading."""

from __future__ import annotations

import json
import os
import subprocess
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.support.node_program import installed_program
from tests.support.pydicom_corpus import read
from tests.support.pydicom_json import differing_from_pydicom

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pydicom import Dataset

    from tests.support.clinic import Clinic

SYNTAXES: Final = 5
"""Transfer syntaxes that must occur among what is read, so that it shows something."""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program beside its installed packages."""
    return installed_program("read.js", tmp_path_factory.mktemp("node"))


@pytest.fixture(scope="module")
def stored(served_clinic: Clinic) -> dict[str, bytes]:
    """The files of some studies: the generated one, and each that holds compressed images."""
    datasets = {uid: read(content) for uid, content in served_clinic.contents.items()}
    studies = {
        str(dataset.StudyInstanceUID)
        for dataset in datasets.values()
        if dataset.file_meta.get("TransferSyntaxUID") is not None
        and dataset.file_meta.TransferSyntaxUID.is_compressed
    }
    studies.add(served_clinic.generated_study_uid)
    return {
        uid: content
        for uid, content in served_clinic.contents.items()
        if str(datasets[uid].StudyInstanceUID) in studies
    }


@pytest.fixture(scope="module")
def seen(program: Path, stored: Mapping[str, bytes], served_clinic: Clinic) -> dict[str, Any]:
    """What the program has read of those studies."""
    studies = sorted({str(read(content).StudyInstanceUID) for content in stored.values()})
    url = served_clinic.base_url_on("localhost")
    done = subprocess.run(
        ["node", str(program), url, *studies],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={**os.environ, "NODE_NO_WARNINGS": "1"},
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_it_finds_all_studies(seen: dict[str, Any], served_clinic: Clinic) -> None:
    stored = {str(read(content).StudyInstanceUID) for content in served_clinic.contents.values()}
    assert set(seen["studies"]) == stored


def test_it_searches_by_what_it_escapes_itself(seen: dict[str, Any], served_clinic: Clinic) -> None:
    searches = seen["searches"]
    datasets = list(map(read, served_clinic.contents.values()))

    def of_modality(*modalities: str) -> list[Dataset]:
        return [each for each in datasets if each.get("Modality") in modalities]

    patients = {each["00100020"]["Value"][0] for each in searches["studiesByName"]}
    assert patients == {"H31EXAMPLE", "H32EXAMPLE"}
    [study] = searches["studiesByWord"]
    assert study["00100010"]["Value"] == [{"Alphabetic": "Buc^Jérôme"}]
    series = {each["0020000E"]["Value"][0] for each in searches["seriesByModality"]}
    assert series == {str(each.SeriesInstanceUID) for each in of_modality("CT", "MR")}
    instances = [each["00080018"]["Value"][0] for each in searches["instancesOfPage"]]
    stored = sorted((str(each.SOPInstanceUID) for each in of_modality("CT")), reverse=True)
    assert instances == stored[1:6]


def test_it_reads_metadata_on_three_levels(
    seen: dict[str, Any], stored: Mapping[str, bytes]
) -> None:
    of_instances = {uid: each["metadata"] for uid, each in seen["instances"].items()}
    assert of_instances.keys() == stored.keys()
    assert seen["ofSeries"] == of_instances
    assert seen["ofStudies"] == of_instances
    for uid, content in stored.items():
        assert differing_from_pydicom(of_instances[uid], content) == [], uid


def test_it_reads_the_frames_that_pydicom_reads(
    seen: dict[str, Any], stored: Mapping[str, bytes], served_clinic: Clinic
) -> None:
    syntaxes = set()
    for uid in stored.keys() & served_clinic.images.keys():
        frames = [sha256(frame).hexdigest() for frame in served_clinic.images[uid]]
        assert seen["instances"][uid]["frames"] == frames, uid
        assert seen["instances"][uid]["bulkData"], uid
        syntaxes.add(read(stored[uid]).file_meta.get("TransferSyntaxUID"))
    assert len(syntaxes) >= SYNTAXES
