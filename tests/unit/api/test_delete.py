"""DELETE of studies, series and instances, and what is said of them afterwards."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from dicomulus.errors import DeleteForbiddenError, NotFoundError
from dicomulus.wire.problem import problem
from tests.support.archives import body_of, small_archive
from tests.support.datasets import ct_instance

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.archives import Small

STUDY, SERIES = "1.2.3", "1.2.3.1"
NUMBERS = (1, 2)
STUDY_PATH = f"/studies/{STUDY}"
SERIES_PATH = f"{STUDY_PATH}/series/{SERIES}"
GONE = 410


@pytest.fixture
def small(tmp_path: Path) -> Small:
    small = small_archive(tmp_path, allow_delete=True)
    small.take(
        {
            str(number): ct_instance(
                study_instance_uid=STUDY, series_instance_uid=SERIES, instance_number=number
            )
            for number in NUMBERS
        }
    )
    small.compact()
    return small


def paths(small: Small) -> list[str]:
    """Give the paths of a study, its series and one of its instances."""
    return [STUDY_PATH, SERIES_PATH, small.row_of("1").instance.path]


def status(small: Small, path: str, *, method: str = "GET") -> int:
    """Give the status of an answer."""
    try:
        return small.ask(path, method=method).status
    except NotFoundError as error:
        return problem(error).status


@pytest.mark.parametrize("level", range(3))
def test_what_is_deleted_is_answered_by_no_content_also_again(small: Small, level: int) -> None:
    small.storage.delete("2")
    small.look_at(["2"])
    path = paths(small)[level]
    for _ in range(2):
        response = small.ask(path, method="DELETE")
        assert (response.status, response.body) == (204, b"")
    assert json.loads(body_of(small.ask("/studies"))) == []


def test_a_deleted_instance_of_a_series_that_is_there_is_gone(small: Small) -> None:
    path = paths(small)[2]
    for _ in range(2):
        assert status(small, path, method="DELETE") == 204
    for suffix in ("", "/metadata", "/frames/1", "/rendered", "/thumbnail"):
        assert status(small, path + suffix) == GONE
    assert status(small, path + "9") == status(small, path + "9", method="DELETE") == 404


@pytest.mark.parametrize(
    "suffix",
    ["", "/metadata", "/rendered", "/thumbnail", "/series/1.2.3.1", "/series/1.2.3.1/metadata"],
)
def test_a_deleted_study_is_gone_and_one_that_never_was_is_not_found(
    small: Small, suffix: str
) -> None:
    small.ask(STUDY_PATH, method="DELETE")
    assert status(small, STUDY_PATH + suffix) == GONE
    assert status(small, "/studies/5.5" + suffix) == 404


@pytest.mark.parametrize("suffix", ["", "/metadata", "/frames/1", "/rendered", "/thumbnail"])
def test_an_instance_of_a_deleted_series_is_gone(small: Small, suffix: str) -> None:
    path = paths(small)[2]
    small.ask(SERIES_PATH, method="DELETE")
    assert status(small, path + suffix) == GONE


def test_a_study_that_comes_again_is_there_again(small: Small) -> None:
    small.ask(STUDY_PATH, method="DELETE")
    small.take({"1": ct_instance(study_instance_uid=STUDY, series_instance_uid=SERIES)})
    assert status(small, STUDY_PATH + "/metadata") == 200


def test_what_never_was_is_not_found(small: Small) -> None:
    assert status(small, "/studies/5.5", method="DELETE") == 404


@pytest.mark.parametrize("level", range(3))
def test_nothing_is_deleted_unless_that_is_allowed(tmp_path: Path, level: int) -> None:
    small = small_archive(tmp_path)
    small.take({"1": ct_instance(study_instance_uid=STUDY, series_instance_uid=SERIES)})
    with pytest.raises(DeleteForbiddenError):
        small.ask(paths(small)[level], method="DELETE")
    assert len(list(small.storage.list())) == 1
