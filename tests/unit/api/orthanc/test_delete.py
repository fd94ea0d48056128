"""Deletion of resources of Orthanc's REST API."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from dicomulus.api.routes import answer
from dicomulus.errors import (
    DeleteForbiddenError,
    IdentifierNotFoundError,
    InvalidBodyError,
    ScopeMissingError,
)
from dicomulus.wire.message import Request
from tests.support.archives import body_of, small_archive
from tests.support.datasets import ct_instance

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.archives import Small

# Two instances in one series, one in another, one in another study, one of another patient.
FILES = {
    "a": ct_instance(instance_number=1),
    "b": ct_instance(instance_number=2),
    "c": ct_instance(series_instance_uid="1.2.3"),
    "d": ct_instance(study_instance_uid="1.2"),
    "e": ct_instance(patient_id="P-0002"),
}


@pytest.fixture
def small(tmp_path: Path) -> Small:
    return small_archive(tmp_path, orthanc_path="/orthanc", allow_delete=True)


@pytest.fixture
def stored(small: Small) -> dict[str, dict[str, str]]:
    """What was told of each file as it was stored."""
    told = {
        name: json.loads(body_of(small.orthanc("/instances", method="POST", body=content)))
        for name, content in FILES.items()
    }
    small.compact()
    return told


def delete(small: Small, path: str) -> Any:
    return json.loads(body_of(small.orthanc(path, method="DELETE")))


def is_there(small: Small, told: dict[str, str]) -> bool:
    try:
        return small.orthanc(f"{told['Path']}/file").status == 200
    except IdentifierNotFoundError:
        return False


def ancestor(level: str, identifier: str) -> dict[str, Any]:
    path = {"Patient": "patients", "Study": "studies", "Series": "series"}[level]
    told = {"ID": identifier, "Path": f"/{path}/{identifier}", "Type": level}
    return {"RemainingAncestor": told}


def test_what_remains_of_the_nearest_level_is_told(
    small: Small, stored: dict[str, dict[str, str]]
) -> None:
    first = stored["a"]
    series, study, patient = (first[f"Parent{level}"] for level in ("Series", "Study", "Patient"))
    assert delete(small, first["Path"]) == ancestor("Series", series)
    assert delete(small, stored["b"]["Path"]) == ancestor("Study", study)
    assert delete(small, stored["c"]["Path"]) == ancestor("Patient", patient)
    assert delete(small, stored["d"]["Path"]) == {"RemainingAncestor": None}
    assert {name: is_there(small, told) for name, told in stored.items()} == {
        "a": False,
        "b": False,
        "c": False,
        "d": False,
        "e": True,
    }


@pytest.mark.parametrize(
    ("level", "gone", "remains"),
    [
        ("Series", "ab", "Study"),
        ("Study", "abc", "Patient"),
        ("Patient", "abcd", None),
    ],
)
def test_all_below_goes_with_a_resource(
    small: Small, stored: dict[str, dict[str, str]], level: str, gone: str, remains: str | None
) -> None:
    first = stored["a"]
    path = {"Patient": "patients", "Study": "studies", "Series": "series"}[level]
    told = delete(small, f"/{path}/{first[f'Parent{level}']}")
    nothing = {"RemainingAncestor": None}
    assert told == (ancestor(remains, first[f"Parent{remains}"]) if remains else nothing)
    assert [name for name, each in stored.items() if not is_there(small, each)] == list(gone)
    with pytest.raises(IdentifierNotFoundError):
        delete(small, f"/{path}/{first[f'Parent{level}']}")


def test_an_identifier_counts_at_its_own_level_alone(
    small: Small, stored: dict[str, dict[str, str]]
) -> None:
    with pytest.raises(IdentifierNotFoundError):
        delete(small, f"/studies/{stored['a']['ParentPatient']}")
    assert is_there(small, stored["a"])


def test_many_go_at_once_and_what_is_not_there_is_passed_over(
    small: Small, stored: dict[str, dict[str, str]]
) -> None:
    named = [
        stored["a"]["ParentSeries"],
        "nothing",
        {"Level": "Instance", "ID": stored["d"]["ID"]},
        {"Level": "Study", "ID": stored["e"]["ID"]},
        stored["a"]["ID"],
    ]
    body = json.dumps({"Resources": named}).encode()
    assert body_of(small.orthanc("/tools/bulk-delete", method="POST", body=body)) == b""
    assert [name for name, told in stored.items() if is_there(small, told)] == ["c", "e"]


@pytest.mark.parametrize(
    "body", [b"", b"[]", b'{"Resources":5}', b'{"Resources":[5]}', b"[" * 9999]
)
def test_a_list_that_is_none_is_refused(small: Small, body: bytes) -> None:
    with pytest.raises(InvalidBodyError):
        small.orthanc("/tools/bulk-delete", method="POST", body=body)


@pytest.mark.parametrize("broken", [5, {"ID": 5}, {"ID": "x", "Level": "Nonsense"}])
def test_nothing_of_a_list_goes_that_is_not_understood(
    small: Small, stored: dict[str, dict[str, str]], broken: object
) -> None:
    told = stored["a"]
    body = json.dumps({"Resources": [told["ID"], broken]}).encode()
    with pytest.raises(InvalidBodyError):
        small.orthanc("/tools/bulk-delete", method="POST", body=body)
    assert is_there(small, told)


def test_deleting_has_to_be_allowed(tmp_path: Path) -> None:
    small = small_archive(tmp_path, orthanc_path="/orthanc")
    with pytest.raises(DeleteForbiddenError):
        small.orthanc("/instances/x", method="DELETE")
    with pytest.raises(DeleteForbiddenError):
        small.orthanc("/tools/bulk-delete", method="POST", body=b"{}")
    request = Request("DELETE", "/orthanc/instances/x", scopes=frozenset({"read", "write"}))
    with pytest.raises(ScopeMissingError):
        answer(small.archive, request)
