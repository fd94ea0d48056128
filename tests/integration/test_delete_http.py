"""Deletion as clients see it: by dicomweb-client, while others store, and while the server dies."""

from __future__ import annotations

import json
import os
import random
import signal
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING

import pytest
import requests
from dicomweb_client import DICOMwebClient

from tests.support.datasets import ct_instance
from tests.support.serving import eventually, run_command, serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.serving import Served

STUDY, SERIES, OTHER_SERIES = "1.2.3", "1.2.3.1", "1.2.3.2"
RELATED = {"Content-Type": 'multipart/related; type="application/dicom"; boundary=b'}


def content_of(number: int) -> bytes:
    """Give an instance; odd ones are of one series, even ones of the other."""
    return ct_instance(
        study_instance_uid=STUDY,
        series_instance_uid=SERIES if number % 2 else OTHER_SERIES,
        sop_instance_uid=f"1.2.3.9.{number}",
        instance_number=number,
    )


@pytest.fixture
def source(tmp_path: Path) -> Path:
    source = tmp_path / "source"
    (source / "sub").mkdir(parents=True)
    for number in range(1, 5):
        (source / "sub" / f"{number}.dcm").write_bytes(content_of(number))
    (source / "copy.dcm").write_bytes(content_of(1))
    return source


@pytest.fixture
def served(source: Path, tmp_path: Path) -> Iterator[Served]:
    options = ("--data-dir", tmp_path / "data", "--allow-store", "--allow-delete")
    with serving(source, *options, log=tmp_path / "log") as served:
        eventually(lambda: len(served.instances()) == 4, "four instances")
        yield served


def files(source: Path) -> set[str]:
    return {path.name for path in source.rglob("*.dcm")}


def test_dicomweb_client_deletes_instances_series_and_studies(served: Served, source: Path) -> None:
    client = DICOMwebClient(served.base_url)
    client.delete_instance(STUDY, SERIES, "1.2.3.9.1")
    assert files(source) == {"2.dcm", "3.dcm", "4.dcm"}
    client.delete_series(STUDY, OTHER_SERIES)
    assert files(source) == {"3.dcm"}
    client.delete_study(STUDY)
    assert files(source) == set()
    assert client.search_for_studies() == []
    with pytest.raises(requests.HTTPError, match="410"):
        client.retrieve_study_metadata(STUDY)
    with pytest.raises(requests.HTTPError, match="404"):
        client.delete_study("1.2.4")


def test_what_follows_the_folder_brings_nothing_back(
    served: Served, source: Path, tmp_path: Path
) -> None:
    requests.delete(f"{served.base_url}/studies/{STUDY}/series/{SERIES}", timeout=60)
    (source / "5.dcm").write_bytes(content_of(5))
    eventually(lambda: "1.2.3.9.5" in served.instances(), "what comes later")
    assert served.instances() == {"1.2.3.9.2", "1.2.3.9.4", "1.2.3.9.5"}
    told = run_command("status", "--json", source, "--data-dir", tmp_path / "data")
    assert json.loads(told.stdout)["instances"] == 3


def _store(base_url: str, number: int) -> int:
    part = b"Content-Type: application/dicom\r\n\r\n" + content_of(number)
    body = b"--b\r\n" + part + b"\r\n--b--\r\n"
    return requests.post(f"{base_url}/studies", body, headers=RELATED, timeout=60).status_code


def _delete(base_url: str, number: int) -> int:
    series = SERIES if number % 2 else OTHER_SERIES
    below = (
        f"series/{series}/instances/1.2.3.9.{number}",
        f"series/{series}",
    )[number % 3 == 0]
    return requests.delete(f"{base_url}/studies/{STUDY}/{below}", timeout=60).status_code


def _agree(served: Served, source: Path, data: Path) -> bool:
    """Whether answers tell of exactly the files, and nothing is left to be done."""
    told = json.loads(run_command("status", "--json", source, "--data-dir", data).stdout)
    if told["compactions_pending"]:
        return False
    try:
        metadata = json.loads(served.get(f"/studies/{STUDY}/metadata"))
    except OSError:
        metadata = []
    found = {each["00080018"]["Value"][0].rpartition(".")[2] for each in metadata}
    listed = {uid.rpartition(".")[2] for uid in served.instances()}
    return found == listed == {path.stem.rpartition(".")[2] for path in source.rglob("*.dcm")}


def test_stores_and_deletions_at_the_same_time_end_in_agreement(
    served: Served, source: Path, tmp_path: Path
) -> None:
    (source / "copy.dcm").unlink()
    chance = random.Random(7)
    work = [
        partial(chance.choice((_store, _store, _delete)), served.base_url, chance.randint(1, 8))
        for _ in range(160)
    ]
    with ThreadPoolExecutor(8) as clients:
        statuses = set(clients.map(lambda call: call(), work))
    # 409: the instance was deleted between its being written and its being indexed.
    assert statuses <= {200, 204, 404, 409, 503}
    assert {200, 204} <= statuses
    eventually(lambda: _agree(served, source, tmp_path / "data"), "answers and files agree")


def test_a_deletion_that_dies_with_the_server_is_finished_by_the_same_request(
    source: Path, tmp_path: Path
) -> None:
    for number in range(5, 200):
        (source / f"{number}.dcm").write_bytes(content_of(number))
    options = ("--data-dir", tmp_path / "data", "--allow-delete")
    with serving(source, *options, log=tmp_path / "log") as served:
        eventually(lambda: len(served.instances()) == 199, "all instances")
        with ThreadPoolExecutor(1) as client:
            url = f"{served.base_url}/studies/{STUDY}"
            asked = client.submit(requests.delete, url, timeout=60)
            eventually(lambda: len(files(source)) < 200, "the first file is gone")
            for process_id in served.process_ids:
                with suppress(ProcessLookupError):
                    os.kill(process_id, signal.SIGKILL)
            assert asked.exception() is None or isinstance(
                asked.exception(), requests.ConnectionError
            )
    with serving(source, *options, log=tmp_path / "log") as served:
        answer = requests.delete(f"{served.base_url}/studies/{STUDY}", timeout=60)
        assert answer.status_code == HTTPStatus.NO_CONTENT
        assert files(source) == set()
        assert served.search("/studies") == []
