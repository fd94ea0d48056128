"""Every file that comes with pydicom, in one archive: accounted for, whatever order it came in."""

from __future__ import annotations

import json
import random
import re
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import pytest

from dicomulus.api.routes import answer
from dicomulus.composition import local_archive
from dicomulus.errors import DicomulusError
from dicomulus.services.scan import scan
from dicomulus.settings import Settings
from dicomulus.wire.message import Headers, Request, parse_query
from dicomulus.wire.problem import problem
from tests.support.pydicom_corpus import contents, read
from tests.support.serving import run_command

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from dicomulus.services.archive import Archive

ORDERS: Final = 20
EVER_MS: Final = 2**53
BASE_URL: Final = "http://127.0.0.1:8080/dicom-web"
ACCEPT: Final = "multipart/related; type=*/*; transfer-syntax=*, application/dicom+json, */*;q=0.5"

Answer = tuple[int, str, bytes]
Answers = dict[str, Answer]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files, dozens of which share their instance with another."""
    folder = tmp_path_factory.mktemp("corpus")
    for name, content in contents().items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def archive_of(folder: Path, data: Path) -> Archive:
    return local_archive(
        Settings(source_folder=str(folder), data_folder=str(data), compact_delay_seconds=0)
    )


def look_at(archive: Archive, keys: list[str], cuts: random.Random) -> None:
    """Look at objects in this order, in batches of any size."""
    at = 0
    while at < len(keys):
        size = cuts.randrange(1, 30)
        archive.ingest.look_at(keys[at : at + size])
        at += size


def settle(archive: Archive) -> None:
    archive.compaction.compact(archive.index.overdue_series(EVER_MS))


def answers_of(archive: Archive) -> Answers:
    """Ask for everything there is, on every route; what differs by nature is left out."""
    answers: Answers = {}

    def ask(path: str) -> Any:
        answers[path] = answered(partial(answer, archive), path)
        return json.loads(answers[path][2]) if answers[path][1].endswith("json") else None

    def uids(path: str, tag: str) -> Iterator[str]:
        for match in ask(path):
            yield f"{path.partition('?')[0]}/{match[tag]['Value'][0]}"

    for study in uids("/studies?includefield=all", "0020000D"):
        for series in uids(f"{study}/series?includefield=all", "0020000E"):
            for instance in uids(f"{series}/instances?includefield=all", "00080018"):
                for path in ("", "/metadata", "/frames/1", "/bulkdata/7FE00010"):
                    ask(instance + path)
            ask(series)
            ask(f"{series}/metadata")
        ask(study)
        ask(f"{study}/metadata")
    return answers


def answered(handle: Callable[[Request], Any], path: str) -> Answer:
    """Answer a request; the boundary of a multipart answer is drawn at random, so it goes."""
    target, _, query = path.partition("?")
    request = Request(
        "GET",
        f"/dicom-web{target}",
        parse_query(query),
        headers=Headers((("Accept", ACCEPT),)),
        base_url=BASE_URL,
    )
    try:
        response = handle(request)
    except DicomulusError as error:
        response = problem(error)
    body = response.body if isinstance(response.body, bytes) else b"".join(response.body)
    media_type = response.header("Content-Type") or ""
    boundary = re.search(r"boundary=(\w+)", media_type)
    if boundary:
        body = body.replace(boundary[1].encode(), b"BOUNDARY")
    return response.status, media_type.partition("; boundary=")[0], body


def test_any_order_and_any_rebuild_give_the_same_answers(folder: Path, tmp_path: Path) -> None:
    keys = sorted(contents())
    built = archive_of(folder, tmp_path / "built")
    for compared in scan(built.index, built.storage):
        built.ingest.look_at(list(compared.object_keys))
    settle(built)
    expected = answers_of(built)
    for seed in range(ORDERS):
        order = random.Random(seed)
        order.shuffle(keys)
        archive = archive_of(folder, tmp_path / str(seed))
        look_at(archive, keys, order)
        settle(archive)
        assert differing(answers_of(archive), expected) == [], seed
    look_at(built, keys, random.Random(ORDERS))
    settle(built)
    assert differing(answers_of(built), expected) == []


def differing(answers: Answers, expected: Answers) -> list[str]:
    paths = answers.keys() | expected.keys()
    return sorted(path for path in paths if answers.get(path) != expected.get(path))


def test_no_request_over_the_corpus_is_a_defect(folder: Path, tmp_path: Path) -> None:
    """What has no frames or no such bulk data is not found; all else is given."""
    archive = archive_of(folder, tmp_path)
    archive.ingest.look_at(sorted(contents()))
    settle(archive)
    answers = answers_of(archive)
    assert {status for status, _, _ in answers.values()} == {200, 404}
    missing = {path for path, (status, _, _) in answers.items() if status == 404}
    assert all("/frames/" in path or "/bulkdata/" in path for path in missing)
    assert len(answers) > 400


def test_every_file_is_served_a_duplicate_of_a_named_one_or_rejected_with_a_reason(
    folder: Path, tmp_path: Path
) -> None:
    assert run_command("index", folder, "--data-dir", tmp_path).returncode == 0
    told = run_command("status", "--json", folder, "--data-dir", tmp_path)
    status = json.loads(told.stdout)
    rejected = {key for keys in status["rejected"].values() for key in keys}
    duplicates = {
        other: each["served"] for each in status["duplicates"] for other in each["others"]
    }
    files = {name: read(content) for name, content in contents().items()}
    served = files.keys() - rejected - duplicates.keys()
    assert status["instances"] == len(served)
    assert status["objects"] == len(served) + len(duplicates)
    assert len(rejected) + status["objects"] == len(files)
    assert all(reason.strip() for reason in status["rejected"])
    for other, name in duplicates.items():
        assert name in served
        assert files[other].SOPInstanceUID == files[name].SOPInstanceUID
    assert len(duplicates) > 30
    for name in rejected:
        assert not (
            {"StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"}
            <= {str(element.keyword) for element in files[name]}
        )
