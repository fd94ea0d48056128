"""Studies pulled by the command from a running archive."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.datasets import ct_instance, uid_of, write_study
from tests.support.serving import Served, run_command, serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

INSTANCES = 30
IMPLICIT = uid_of("implicit")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A large study, and one of two instances that may not leave as they are."""
    folder = tmp_path_factory.mktemp("source")
    write_study(folder, series=3, instances=INSTANCES // 3)
    for number in (1, 2):
        content = ct_instance(
            study_instance_uid=IMPLICIT,
            instance_number=number,
            transfer_syntax="1.2.840.10008.1.2",
        )
        (folder / f"{number}.dcm").write_bytes(content)
    return folder


@pytest.fixture(scope="module")
def served(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("data")
    assert run_command("index", source, "--data-dir", folder).returncode == 0
    # No answer may be larger than an instance: a study is had by its manifest, or not at all.
    limit = {"DICOMULUS_MAX_STREAM_BYTES": "20000"}
    with serving(source, "--data-dir", folder, log=folder / "log", **limit) as running:
        yield running


def pull(*arguments: str | Path) -> tuple[int, dict[str, Any]]:
    ended = run_command("pull", *arguments, "--json")
    return ended.returncode, json.loads(ended.stdout)


def contents(folder: Path) -> list[bytes]:
    return sorted(path.read_bytes() for path in folder.rglob("*.dcm"))


def test_a_study_larger_than_any_answer_comes_byte_by_byte(
    served: Served, source: Path, tmp_path: Path
) -> None:
    [study] = served.values("/studies", "0020000D") - {IMPLICIT}
    url = f"{served.base_url}/studies/{study}"
    ended = run_command("pull", url, tmp_path)
    assert ended.returncode == 0
    assert ended.stdout.startswith(f"Received: {INSTANCES} instances, ")
    originals = sorted(path.read_bytes() for path in source.glob("0*/*.dcm"))
    assert contents(tmp_path) == originals

    shutil.rmtree(next((tmp_path / study).iterdir()))
    status, report = pull(url, tmp_path)
    assert (status, report["received"], report["present"]) == (0, 10, 20)
    assert contents(tmp_path) == originals


def test_what_may_not_leave_as_it_is_comes_as_explicit_vr_little_endian(
    served: Served, tmp_path: Path
) -> None:
    """PS3.18 §8.7.3.4: its size is known only once it is made."""
    status, report = pull(served.base_url, tmp_path, "--study", IMPLICIT)
    assert (status, report["received"]) == (0, 2)
    assert all(b"1.2.840.10008.1.2.1\0" in content[:400] for content in contents(tmp_path))
    assert pull(served.base_url, tmp_path, "--study", IMPLICIT)[1]["present"] == 2


def test_studies_are_chosen_by_a_search(served: Served, tmp_path: Path) -> None:
    status, report = pull(served.base_url, tmp_path, "--match", f"StudyInstanceUID={IMPLICIT}")
    assert (status, report["received"]) == (0, 2)
    assert pull(served.base_url, tmp_path / "all", "--every-study")[1]["received"] == INSTANCES + 2


def test_a_search_that_finds_nothing_is_told(served: Served, tmp_path: Path) -> None:
    ended = run_command("pull", served.base_url, tmp_path, "--match", "PatientID=nobody")
    assert ended.returncode == 0
    assert ended.stdout.endswith("The server has nothing of that kind\n")


def test_a_study_that_is_not_there_is_told(served: Served, tmp_path: Path) -> None:
    ended = run_command("pull", f"{served.base_url}/studies/1.2.3", tmp_path)
    assert ended.returncode == 1
    assert "Failed: 1 resource\n" in ended.stdout
    assert "404 Not Found" in ended.stdout


def test_a_server_alone_is_not_enough(served: Served, tmp_path: Path) -> None:
    ended = run_command("pull", served.base_url, tmp_path)
    assert ended.returncode == 2
    assert ended.stderr.startswith("dicomulus: what of it?")
