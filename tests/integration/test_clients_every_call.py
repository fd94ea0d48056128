"""Each call of both dicomweb-clients, against an archive that they fill, read and empty."""

from __future__ import annotations

import inspect
import json
import os
import subprocess
from io import BytesIO
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final

import pytest
from dicomweb_client.api import DICOMwebClient
from PIL import Image
from requests import HTTPError

from tests.support.datasets import generated_study
from tests.support.node_program import installed_program
from tests.support.pydicom_corpus import contents, frames_of, read
from tests.support.serving import eventually, serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pydicom import Dataset

    from tests.support.serving import Served

MULTI_FRAME: Final = "test_files/rtdose.dcm"
"""Fifteen frames of 10 by 10 pixels of 32 bits."""


@pytest.fixture
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("every-call")
    (folder / "source").mkdir()
    with serving(
        folder / "source",
        "--data-dir",
        folder / "data",
        "--allow-store",
        "--allow-delete",
        log=folder / "log",
    ) as served:
        yield served


@pytest.fixture(scope="module")
def study() -> list[bytes]:
    """A study of two series with three instances each."""
    return [each.content for each in generated_study(series=2, instances=3, seed=7)]


@pytest.fixture(scope="module")
def multi_frame() -> bytes:
    return contents()[MULTI_FRAME]


def uids_of(dataset: Dataset) -> tuple[str, str, str]:
    return (
        str(dataset.StudyInstanceUID),
        str(dataset.SeriesInstanceUID),
        str(dataset.SOPInstanceUID),
    )


class Recorder:
    """Stands before a client and keeps the names of what is called of it."""

    def __init__(self, client: DICOMwebClient) -> None:
        self._client = client
        self.called: set[str] = set()

    def __getattr__(self, name: str) -> Any:
        self.called.add(name)
        return getattr(self._client, name)


def calls_of(kind: type) -> set[str]:
    return {name for name, _ in inspect.getmembers(kind, callable) if not name.startswith("_")}


def test_every_call_of_the_python_client_does_what_it_promises(
    served: Served, study: list[bytes], multi_frame: bytes
) -> None:
    client: Any = Recorder(DICOMwebClient(served.base_url))
    client.set_chunk_size(100_000)
    client.set_http_retry_params(retry=True, max_attempts=3)
    assert client.lookup_tag("StudyInstanceUID") == "0020000D"
    assert client.lookup_keyword("0020000D") == "StudyInstanceUID"

    datasets = [read(each) for each in study]
    enhanced = read(multi_frame)
    study_uid = str(datasets[0].StudyInstanceUID)
    stored = client.store_instances(datasets, study_instance_uid=study_uid)
    assert {each.ReferencedSOPInstanceUID for each in stored.ReferencedSOPSequence} == {
        each.SOPInstanceUID for each in datasets
    }
    assert "FailedSOPSequence" not in stored
    assert len(client.store_instances([enhanced]).ReferencedSOPSequence) == 1

    check_searches(client, served, datasets)
    check_objects(client, datasets)
    check_pixels(client, enhanced)
    check_deletion(client, served, datasets, enhanced)
    assert client.called == calls_of(DICOMwebClient)


def check_searches(client: Any, served: Served, datasets: list[Dataset]) -> None:
    study_uid, series_uid, _ = uids_of(datasets[0])
    eventually(lambda: len(served.search("/studies")) == 2, "both studies are found")
    assert len(client.search_for_studies(limit=1, get_remaining=True)) == 2
    found = client.search_for_studies(
        search_filters={"StudyInstanceUID": study_uid}, fields=["StudyDescription"]
    )
    assert [each["0020000D"]["Value"] for each in found] == [[study_uid]]
    assert len(client.search_for_series(study_uid)) == 2
    assert len(client.search_for_instances(study_uid, series_uid, limit=2, offset=1)) == 2
    assert len(client.retrieve_study_metadata(study_uid)) == 6
    assert len(client.retrieve_series_metadata(study_uid, series_uid)) == 3


def check_objects(client: Any, datasets: list[Dataset]) -> None:
    study_uid, series_uid, sop_uid = uids_of(datasets[0])
    by_uid = {each.SOPInstanceUID: each for each in datasets}
    for retrieved in (client.retrieve_study(study_uid), list(client.iter_study(study_uid))):
        assert {each.SOPInstanceUID: each for each in retrieved} == by_uid
    of_series = client.retrieve_series(study_uid, series_uid)
    assert [each.SOPInstanceUID for each in of_series] == [
        each.SOPInstanceUID for each in client.iter_series(study_uid, series_uid)
    ]
    assert len(of_series) == 3
    assert client.retrieve_instance(study_uid, series_uid, sop_uid) == by_uid[sop_uid]
    assert Image.open(BytesIO(client.retrieve_series_rendered(study_uid, series_uid))).size == (
        64,
        64,
    )


def check_pixels(client: Any, enhanced: Dataset) -> None:
    target = uids_of(enhanced)
    frames = frames_of(enhanced)
    numbers = list(range(1, len(frames) + 1))
    assert client.retrieve_instance_frames(*target, frame_numbers=numbers) == frames
    assert list(client.iter_instance_frames(*target, frame_numbers=[3, 1])) == [
        frames[2],
        frames[0],
    ]
    uri = client.retrieve_instance_metadata(*target)["7FE00010"]["BulkDataURI"]
    assert client.retrieve_bulkdata(uri) == [enhanced.PixelData]
    assert list(client.iter_bulkdata(uri)) == [enhanced.PixelData]
    assert b"".join(client.retrieve_bulkdata(uri, byte_range=(8, 107))) in (
        enhanced.PixelData[8:108],
        enhanced.PixelData,
    )
    rendered = client.retrieve_instance_rendered(*target, media_types=("image/png",))
    assert Image.open(BytesIO(rendered)).format == "PNG"
    of_frame = client.retrieve_instance_frames_rendered(*target, frame_numbers=[2])
    assert Image.open(BytesIO(of_frame)).size == (10, 10)


def check_deletion(client: Any, served: Served, datasets: list[Dataset], enhanced: Dataset) -> None:
    study_uid, series_uid, sop_uid = uids_of(datasets[0])
    client.delete_instance(study_uid, series_uid, sop_uid)
    assert len(client.retrieve_series_metadata(study_uid, series_uid)) == 2
    client.delete_series(study_uid, series_uid)
    assert len(client.retrieve_study_metadata(study_uid)) == 3
    client.delete_study(study_uid)
    with pytest.raises(HTTPError, match="410"):
        client.retrieve_study_metadata(study_uid)
    client.delete_study(str(enhanced.StudyInstanceUID))
    eventually(lambda: served.search("/studies") == [], "no study is found any more")


def test_every_call_of_the_javascript_client_does_what_it_promises(
    served: Served, study: list[bytes], multi_frame: bytes, tmp_path: Path
) -> None:
    program = installed_program("every_call.js", tmp_path)
    for number, content in enumerate([*study, multi_frame]):
        (tmp_path / f"{number}.dcm").write_bytes(content)
    files = [str(tmp_path / f"{number}.dcm") for number in range(len(study) + 1)]
    done = subprocess.run(
        ["node", str(program), served.base_url, *files],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={**os.environ, "NODE_NO_WARNINGS": "1"},
    )
    assert done.returncode == 0, done.stderr
    seen = SimpleNamespace(**json.loads(done.stdout))
    assert seen.missing == []
    assert seen.stored == len(study) + 1
    assert seen.metadata == [6, 3]
    assert seen.objects == {"study": 6, "series": 3, "instance": len(study[0])}
    assert seen.frames == [len(frame) for frame in frames_of(read(multi_frame))]
    assert seen.bulkData == [len(read(multi_frame).PixelData)]
    assert seen.images == {"rendered": "PNG", "thumbnail": "JPEG", "frame": "PNG", "small": "JPEG"}
    assert seen.wado == len(study[0])
