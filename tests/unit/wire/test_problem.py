"""Errors as problem details."""

from __future__ import annotations

import json
from http import HTTPStatus

import pytest

from dicomulus import errors
from dicomulus.errors import DicomulusError
from dicomulus.wire.problem import PROBLEM_JSON, STATUS, problem, status_of, unexpected_problem

EVERY_ERROR = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, DicomulusError) and kind is not DicomulusError
]


@pytest.mark.parametrize("kind", EVERY_ERROR)
def test_every_error_reaches_a_status(kind: type[DicomulusError]) -> None:
    assert any(base in STATUS for base in kind.__mro__)
    assert 400 <= status_of(kind) < 600


def test_every_row_of_the_table_is_an_error_of_the_tree() -> None:
    assert set(STATUS) <= set(EVERY_ERROR)


def test_an_error_outside_the_tree_is_a_defect() -> None:
    assert status_of(DicomulusError) is HTTPStatus.INTERNAL_SERVER_ERROR


def test_a_kind_has_the_status_of_its_nearest_base() -> None:
    assert status_of(errors.InvalidQueryError) is HTTPStatus.BAD_REQUEST
    assert status_of(errors.StudyNotFoundError) is HTTPStatus.NOT_FOUND
    assert status_of(errors.ObjectChangedError) is HTTPStatus.SERVICE_UNAVAILABLE
    assert status_of(errors.OriginForbiddenError) is HTTPStatus.FORBIDDEN


def test_a_problem_names_the_error_with_its_own_fields() -> None:
    """RFC 9457 §3.1, §3.2."""
    response = problem(errors.InvalidQueryError("limit", "is negative"))
    assert response.status == 400
    assert response.header("Content-Type") == PROBLEM_JSON
    assert isinstance(response.body, bytes)
    assert json.loads(response.body) == {
        "type": "urn:dicomulus:problem:invalid-query",
        "title": "Bad Request",
        "status": 400,
        "code": "invalid-query",
        "detail": "limit: is negative",
        "parameter": "limit",
        "rule": "is negative",
    }


def test_text_that_utf8_cannot_carry_is_no_second_error() -> None:
    body = problem(errors.InvalidResourceError("\ud800")).body
    assert isinstance(body, bytes)
    assert json.loads(body)["detail"] == "?"


def test_a_refused_method_names_those_there_are() -> None:
    """RFC 9110 §15.5.6."""
    response = problem(errors.MethodNotAllowedError("PUT", ("GET", "HEAD")))
    assert (response.status, response.header("Allow")) == (405, "GET, HEAD")


@pytest.mark.parametrize("error", [errors.ObjectChangedError(), errors.ObjectNotFoundError()])
def test_what_will_pass_says_when_to_come_back(error: DicomulusError) -> None:
    response = problem(error)
    assert (response.status, response.header("Retry-After")) == (503, "1")


def test_a_defect_tells_the_client_nothing_of_itself() -> None:
    response = unexpected_problem()
    assert isinstance(response.body, bytes)
    assert json.loads(response.body)["code"] == "internal"
    assert response.status == 500


@pytest.mark.parametrize("kind", [kind for kind in EVERY_ERROR if status_of(kind) in (500, 503)])
def test_a_fault_of_the_server_names_nothing_of_it(kind: type[DicomulusError]) -> None:
    body = problem(kind("/home/jane/index.sqlite cannot be opened")).body
    assert isinstance(body, bytes)
    assert b"jane" not in body
    assert json.loads(body)["code"] == kind.code
