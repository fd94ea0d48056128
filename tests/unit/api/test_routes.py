"""Each path has its transaction, and what is no path says what it is (PS3.18 §10.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicomulus.api.route import find_route
from dicomulus.api.routes import ROUTES
from dicomulus.dicom.resource import is_addressable
from dicomulus.errors import InvalidResourceError, MethodNotAllowedError, RouteNotFoundError
from dicomulus.wire.message import parse_segments
from tests.support.archives import small_archive

if TYPE_CHECKING:
    from pathlib import Path

    from dicomulus.api.route import Route

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


@pytest.mark.parametrize("path", ["", "/study", "/studies/1/2", "/studies/1/series/2/frames"])
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


def test_outside_the_base_path_there_is_nothing(tmp_path: Path) -> None:
    small = small_archive(tmp_path, base_path="/archive/dicom-web")
    with pytest.raises(RouteNotFoundError, match="/archive/dicom-web"):
        small.ask("/studies")
