"""``dicomulus explain``: the plan of a search and what it cost, from a folder that was indexed."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from dicomulus.cli.exit_status import ERROR
from dicomulus.cli.main import main
from tests.support.datasets import ct_instance

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> list[str]:
    """A folder of three patients that was indexed, and its data folder, as arguments."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    source = tmp_path / "scans"
    source.mkdir()
    for number in range(1, 4):
        content = ct_instance(patient_id=f"P{number}", patient_name=f"Müller^{number}")
        (source / f"{number}.dcm").write_bytes(content)
    arguments = [str(source), "--data-dir", str(tmp_path / "data")]
    assert main(["index", "--jobs", "1", *arguments]) == 0
    capsys.readouterr()
    return arguments


@pytest.fixture
def told(folders: list[str], capsys: pytest.CaptureFixture[str]) -> Told:
    return Told(folders, capsys)


class Told:
    """Explains searches, and gives what is told by its name."""

    def __init__(self, folders: list[str], capsys: pytest.CaptureFixture[str]) -> None:
        self._folders = folders
        self._capsys = capsys

    def __call__(self, url: str) -> dict[str, str]:
        assert main(["explain", url, *self._folders]) == 0
        lines = (line.partition(":") for line in self._capsys.readouterr().out.splitlines())
        return {name: value.strip() for name, _, value in lines}


def test_the_plan_says_which_index_is_read_and_not_what_for(told: Told) -> None:
    """Plans may be shown to others, and values are patients'."""
    by_patient = told("/studies?PatientID=P2")
    by_name = told("/studies?PatientName=M%C3%BCller*")
    by_date = told("/studies")
    assert len({by_patient["Plan"], by_name["Plan"], by_date["Plan"]}) == 3
    assert "patient_id" in by_patient["Plan"]
    assert "P2" not in str(by_patient)
    assert "ller" not in str(by_name)
    assert (by_patient["Results"], by_patient["Matches"]) == ("1", "1")
    assert (by_name["Results"], by_name["Matches"]) == ("3", "3")


def test_the_cost_is_told_in_numbers(told: Told) -> None:
    cost = told("/studies?PatientID=P2")["Cost"]
    parts = dict(part.strip().split("=") for part in cost.split(";"))
    assert parts.keys() >= {"reads", "entries", "studies"}
    assert all(re.fullmatch(r"[\d.]+", value) for value in parts.values())
    assert int(parts["studies"]) == 1


def test_a_page_that_is_not_all_says_so_without_its_address(told: Told) -> None:
    page = told("/studies?limit=1&includefield=Modality")
    assert page["Results"] == "1"
    assert "Matches" not in page
    assert page["Warning"] == "There are additional results that can be requested"


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:8080/dicom-web/studies?PatientID=P2",
        "/dicom-web/studies?PatientID=P2",
        "studies?PatientID=P2",
        "/studies?PatientID=P2&accept=multipart/related;type=%22application/dicom%2Bxml%22",
    ],
)
def test_a_url_is_taken_as_a_client_sends_it(told: Told, url: str) -> None:
    assert told(url) == told("/studies?PatientID=P2")


@pytest.mark.parametrize("url", ["/series?Modality=CT", "/instances?Rows=16", "/patients"])
def test_every_level_is_explained(told: Told, url: str) -> None:
    assert told(url)["Results"] == "3"


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("/studies?PatientNam=x", "PatientNam: is neither a parameter nor an attribute"),
        ("/studies?limit=-1", "limit: must be a whole number"),
        ("/nowhere", "there is no such resource"),
        ("/studies/count", "that is no search"),
        ("/studies/1.2", "no answer"),
        ("/studies?PatientName=%FF", "not UTF-8"),
    ],
)
def test_what_is_no_search_is_one_line(
    folders: list[str], capsys: pytest.CaptureFixture[str], url: str, why: str
) -> None:
    assert main(["explain", url, *folders]) == ERROR
    output = capsys.readouterr()
    assert output.out == ""
    assert why in output.err
    assert output.err.count("\n") == 1


def test_a_folder_that_was_never_indexed_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [str(tmp_path), "--data-dir", str(tmp_path / "none")]
    assert main(["explain", "/studies", *arguments]) == ERROR
    assert capsys.readouterr().err.count("\n") == 1
