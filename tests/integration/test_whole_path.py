"""Objects put into the bucket, answered as by the local archive over the same files."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from typing import TYPE_CHECKING, Any

import pytest
from pydicom.data import get_testdata_file

from dicomulus.api.routes import answer
from dicomulus.composition import local_archive
from dicomulus.errors import DicomulusError
from dicomulus.settings import Settings
from dicomulus.wire.media_types import parse_media_type
from dicomulus.wire.message import Request
from dicomulus.wire.multipart import PartLimits, read_parts
from dicomulus.wire.problem import problem
from tests.support.datasets import generated_study
from tests.support.deployed import BASE_URL, deployed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from dicomulus.wire.message import Response
    from tests.support.deployed import Deployed

LOCAL_URL = "http://127.0.0.1:8080/dicom-web"
PLACEHOLDER = "base:"

PYDICOM_FILES = (
    "CT_small.dcm",
    "MR_small.dcm",
    "JPEG2000.dcm",
    "SC_rgb_rle_2frame.dcm",
    "SC_rgb_small_odd_jpeg.dcm",
    "reportsi.dcm",
    "waveform_ecg.dcm",
    "liver_1frame.dcm",
)


def objects() -> dict[str, bytes]:
    """Give the objects by key: a study of two series, one file twice, what is none, odd names."""
    files = {f"study/{each.name}": each.content for each in generated_study(series=2, instances=3)}
    for name in PYDICOM_FILES:
        path = get_testdata_file(name)
        assert isinstance(path, str)
        with open(path, "rb") as file:  # noqa: PTH123
            files[f"pydicom/{name}"] = file.read()
    files["pydicom/copy of CT.dcm"] = files["pydicom/CT_small.dcm"]
    files["notes+ü/read me.txt"] = b"no DICOM"
    return files


@dataclass(frozen=True, slots=True)
class Both:
    """The two archives over the same objects."""

    aws: Callable[[Request], Response]
    local: Callable[[Request], Response]

    def equal(self, path: str, query: tuple[tuple[str, str], ...] = ()) -> Any:
        """Check that both answer a request equally; give the answer."""
        answers = []
        for answering, url in ((self.aws, BASE_URL), (self.local, LOCAL_URL)):
            request = Request("GET", f"/dicom-web{path}", query, base_url=url)
            try:
                response = answering(request)
            except DicomulusError as error:
                response = problem(error)
            answers.append(comparable(response, url))
        assert answers[0] == answers[1]
        return answers[0]

    def json(self, path: str, query: tuple[tuple[str, str], ...] = ()) -> Any:
        """Check that both give the same JSON; give it."""
        status, _, content = self.equal(path, query)
        assert status == 200
        return json.loads(content)


def comparable(response: Response, base_url: str) -> tuple[int, str, Any]:
    """Give an answer without what may differ: base URL, boundary, entity tag."""
    body = response.body if isinstance(response.body, bytes) else b"".join(response.body)
    content_type = response.header("Content-Type") or ""
    media_type = parse_media_type(content_type)
    if media_type.essence == "multipart/related":
        parts = read_parts(BytesIO(body), media_type, limits=PartLimits())
        content: Any = [
            (
                [(k, v.replace(base_url, PLACEHOLDER)) for k, v in part.headers],
                part.content.read(),
            )
            for part in parts
        ]
        return response.status, media_type.essence, content
    return response.status, content_type, body.replace(base_url.encode(), PLACEHOLDER.encode())


@pytest.fixture(scope="module")
def system() -> Iterator[Deployed]:
    """A deployment that has followed the bucket."""
    with deployed() as system:
        for key, content in objects().items():
            system.put(key, content)
        system.settle()
        yield system


@pytest.fixture(scope="module")
def both(system: Deployed, tmp_path_factory: pytest.TempPathFactory) -> Both:
    """Both archives, with everything indexed and compacted."""
    source: Path = tmp_path_factory.mktemp("source")
    for key, content in objects().items():
        path = source / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    archive = local_archive(
        Settings(
            source_folder=str(source),
            data_folder=str(tmp_path_factory.mktemp("data")),
            compact_delay_seconds=0,
        )
    )
    archive.ingest.look_at(list(objects()))
    archive.compaction.compact(archive.index.overdue_series(2**62))
    return Both(system.reader(), partial(answer, archive))


def study_paths(both: Both) -> list[str]:
    """Give the path of every study."""
    return [f"/studies/{study['0020000D']['Value'][0]}" for study in both.json("/studies")]


def series_paths(both: Both) -> list[str]:
    """Give the path of every series."""
    return [
        f"{study}/series/{series['0020000E']['Value'][0]}"
        for study in study_paths(both)
        for series in both.json(f"{study}/series")
    ]


def instance_paths(both: Both) -> list[str]:
    """Give the path of every instance."""
    return [
        f"{series}/instances/{instance['00080018']['Value'][0]}"
        for series in series_paths(both)
        for instance in both.json(f"{series}/instances")
    ]


def test_nothing_is_written_for_orthancs_api_while_it_is_off(system: Deployed) -> None:
    table = system.settings.table_name
    items = system.clients.dynamodb.scan(TableName=table)["Items"]
    partitions = {item["p"]["S"].partition("#")[0] for item in items if "#" in item["p"]["S"]}
    assert partitions
    assert not partitions & {"ID", "COUNTS"}


def test_every_object_that_is_dicom_is_found_once(both: Both) -> None:
    assert len(instance_paths(both)) == 2 * 3 + len(PYDICOM_FILES)


def test_searches_are_answered_equally(both: Both) -> None:
    for parameter in (
        ("PatientID", "1CT1"),
        ("PatientName", "CompressedSamples*"),
        ("StudyDate", "19900101-20201231"),
        ("ModalitiesInStudy", "MR"),
        ("includefield", "all"),
        ("limit", "2"),
    ):
        both.json("/studies", (parameter,))


@pytest.mark.parametrize("paths", [study_paths, series_paths, instance_paths])
def test_metadata_are_answered_equally(both: Both, paths: Callable[[Both], list[str]]) -> None:
    for path in paths(both):
        assert both.json(f"{path}/metadata")


@pytest.mark.parametrize("paths", [study_paths, series_paths])
def test_objects_are_answered_equally(both: Both, paths: Callable[[Both], list[str]]) -> None:
    for path in paths(both):
        status, media_type, parts = both.equal(path)
        assert (status, media_type) == (200, "multipart/related")
        assert parts


def test_instances_are_answered_equally(both: Both) -> None:
    for path in instance_paths(both):
        status, _, content = both.equal(path)
        assert status == 200
        assert content


def test_frames_are_answered_equally(both: Both) -> None:
    frames = 0
    for path in instance_paths(both):
        status, _, parts = both.equal(f"{path}/frames/1")
        if status == 200:
            frames += len(parts)
    assert frames >= len(PYDICOM_FILES) - 1


def bulk_data_paths(value: Any) -> Iterator[str]:
    """Give the path below the base URL of every bulk data reference."""
    if isinstance(value, dict):
        if "BulkDataURI" in value:
            yield value["BulkDataURI"].removeprefix(PLACEHOLDER)
        for each in value.values():
            yield from bulk_data_paths(each)
    elif isinstance(value, list):
        for each in value:
            yield from bulk_data_paths(each)


def test_bulk_data_are_answered_equally(both: Both) -> None:
    found = [
        uri
        for path in instance_paths(both)
        for uri in bulk_data_paths(both.json(f"{path}/metadata"))
    ]
    assert len(found) >= 2 * 3
    for path in found:
        assert both.equal(path)[0] == 200


@pytest.mark.parametrize("path", ["/studies/1.2.3/metadata", "/studies/1.2.3", "/nothing"])
def test_what_is_not_there_is_refused_equally(both: Both, path: str) -> None:
    assert both.equal(path)[0] == 404
