"""Each path has its transaction, and what is no path says what it is (PS3.18 §10.1)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicomulus.api.route import find_route
from dicomulus.api.routes import ROUTES, answer
from dicomulus.dicom.resource import is_addressable
from dicomulus.errors import (
    InvalidResourceError,
    MethodNotAllowedError,
    RouteNotFoundError,
    ScopeMissingError,
    TokenInvalidError,
    TokenMissingError,
)
from dicomulus.wire.message import EVERY_SCOPE, Headers, Request, parse_segments
from tests.support.archives import BASE_URL, small_archive

if TYPE_CHECKING:
    from pathlib import Path

    from dicomulus.api.route import Route
    from dicomulus.wire.message import Response, Scope
    from tests.support.archives import Small

printable = st.characters(codec="utf-8", exclude_categories=("C", "Zl", "Zp", "Zs"))
uids = st.text(printable, min_size=1, max_size=20).filter(is_addressable)


@given(study=uids, series=uids, instance=uids)
def test_uids_of_any_text_come_out_of_the_path(study: str, series: str, instance: str) -> None:
    parts = ("studies", study, "series", series, "instances", instance)
    path = "/" + "/".join(quote(part, safe="") for part in parts)
    _, variables = find_route(ROUTES, "GET", segments=parse_segments(path))
    assert variables == {"study": study, "series": series, "instance": instance}


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.template}")
def test_every_route_is_found_by_its_own_path(route: Route) -> None:
    segments = [part.strip("{}+") for part in route.segments]
    assert find_route(ROUTES, route.method, segments=segments)[0] is route


def test_head_is_answered_by_get() -> None:
    assert find_route(ROUTES, "HEAD", segments=["studies"])[0].method == "GET"


def test_a_path_takes_the_rest_of_the_segments() -> None:
    path = "/studies/1/series/2/instances/3/bulkdata/00540016/1/00189999"
    assert (
        find_route(ROUTES, "GET", segments=parse_segments(path))[1]["path"] == "00540016/1/00189999"
    )


@pytest.mark.parametrize("path", ["/study", "/studies/1/2", "/studies/1/series/2/frames"])
def test_a_path_of_no_transaction_is_not_found(path: str) -> None:
    with pytest.raises(RouteNotFoundError):
        find_route(ROUTES, "GET", segments=parse_segments(path))


def test_a_method_that_a_resource_does_not_have_is_refused_with_those_it_has() -> None:
    with pytest.raises(MethodNotAllowedError) as caught:
        find_route(ROUTES, "PUT", segments=["studies"])
    assert caught.value.allowed == ("GET", "HEAD", "OPTIONS", "POST")


@pytest.mark.parametrize("uid", ["", "1" * 513])
def test_what_cannot_be_a_uid_is_refused(uid: str) -> None:
    with pytest.raises(InvalidResourceError):
        find_route(ROUTES, "GET", segments=["studies", uid, "metadata"])


def asked(
    small: Small, method: str, path: str, scopes: tuple[Scope, ...], **headers: str
) -> Response:
    request = Request(method, f"/dicom-web{path}", (), Headers.of(headers), base_url=BASE_URL)
    return answer(small.archive, replace(request, scopes=frozenset(scopes)))


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.template}")
def test_every_route_asks_who_it_is_and_for_its_scope(tmp_path: Path, route: Route) -> None:
    small = small_archive(tmp_path, allow_delete=True)
    path = "/" + "/".join(part.strip("{}+") for part in route.segments)
    with pytest.raises(TokenMissingError):
        asked(small, route.method, path, ())
    with pytest.raises(TokenInvalidError):
        asked(small, route.method, path, (), Authorization="Bearer unknown")
    others = tuple(EVERY_SCOPE - {route.scope})
    with pytest.raises(ScopeMissingError) as caught:
        asked(small, route.method, path, others)
    assert caught.value.scope == route.scope


def test_a_path_of_no_transaction_tells_nothing_to_the_unknown(tmp_path: Path) -> None:
    with pytest.raises(TokenMissingError):
        asked(small_archive(tmp_path), "GET", "/nothing", ())


def test_a_scope_is_enough_for_its_requests(tmp_path: Path) -> None:
    small = small_archive(tmp_path)
    assert asked(small, "GET", "/studies", ("read",)).status == 200


def test_outside_the_base_path_there_is_nothing(tmp_path: Path) -> None:
    small = small_archive(tmp_path, base_path="/archive/dicom-web")
    with pytest.raises(RouteNotFoundError, match="/archive/dicom-web"):
        small.ask("/studies")
