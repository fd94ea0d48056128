"""Which pages may read answers."""

from __future__ import annotations

import pytest

from dicomulus.errors import OriginForbiddenError
from dicomulus.wire.cors import (
    check_embedding,
    check_origin,
    is_allowed,
    is_preflight,
    preflight_response,
    with_cors,
)
from dicomulus.wire.message import Headers, Request, Response

OWN = ("https://pacs.example",)


@pytest.mark.parametrize(
    "origin",
    [
        "https://pacs.example",
        "http://localhost:3000",
        "http://127.0.0.1",
        "https://[::1]:8443",
        "http://viewer.localhost",
    ],
)
def test_own_and_loopback_pages_may_read(origin: str) -> None:
    assert is_allowed(origin, own=OWN, allowed=())


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "http://pacs.example",
        "https://pacs.example:444",
        "http://localhost.evil.example",
        "null",
        "file://",
        "",
        "http://[",
        "ftp://localhost",
    ],
)
def test_foreign_pages_may_not(origin: str) -> None:
    assert not is_allowed(origin, own=OWN, allowed=("https://viewer.example",))
    with pytest.raises(OriginForbiddenError):
        check_origin(origin, own=OWN, allowed=("https://viewer.example",))
    answer = with_cors(Response(200), origin, own=OWN, allowed=())
    assert answer.header("Access-Control-Allow-Origin") is None
    assert answer.header("Vary") == "Origin"


def test_origins_are_allowed_by_name_or_all() -> None:
    assert is_allowed("https://viewer.example", own=(), allowed=("https://viewer.example",))
    assert is_allowed("null", own=(), allowed=("null",))
    assert is_allowed("https://any.example", own=(), allowed=("*",))


def test_clients_that_are_no_browsers_are_not_checked() -> None:
    check_origin(None, own=(), allowed=())
    assert with_cors(Response(200), None, own=(), allowed=()).headers == (("Vary", "Origin"),)


EMBEDDED = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"}
FRAMED = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"}
LINKED = {
    "Sec-Fetch-Site": "cross-site",
    "Sec-Fetch-Mode": "navigate",
    "Sec-Fetch-Dest": "document",
}


@pytest.mark.parametrize("how", [EMBEDDED, FRAMED])
@pytest.mark.parametrize("page", ["https://evil.example/page", "", "http://["])
def test_foreign_pages_may_not_show_what_they_may_not_read(how: dict[str, str], page: str) -> None:
    with pytest.raises(OriginForbiddenError):
        check_embedding(Headers.of(how | {"Referer": page}), own=OWN, allowed=())


@pytest.mark.parametrize("how", [EMBEDDED, FRAMED])
@pytest.mark.parametrize("page", ["http://localhost:3000/x", "https://viewer.example/"])
def test_allowed_pages_may_show_what_they_may_read(how: dict[str, str], page: str) -> None:
    allowed = ("https://viewer.example",)
    check_embedding(Headers.of(how | {"Referer": page}), own=OWN, allowed=allowed)


def test_pages_without_an_origin_may_show_what_they_may_read() -> None:
    """Files opened in a browser have none."""
    for how in (EMBEDDED, FRAMED):
        check_embedding(Headers.of(how), own=OWN, allowed=("null",))
        check_embedding(Headers.of(how), own=OWN, allowed=("*",))


@pytest.mark.parametrize("how", [LINKED, EMBEDDED | {"Sec-Fetch-Site": "same-origin"}, {}])
def test_links_own_pages_and_other_clients_are_not_checked(how: dict[str, str]) -> None:
    check_embedding(Headers.of(how | {"Referer": "https://evil.example/"}), own=(), allowed=())


def test_a_page_of_the_internet_may_use_an_own_network_where_it_is_allowed() -> None:
    name = "Access-Control-Allow-Private-Network"
    asked = Headers.of({"Access-Control-Request-Private-Network": "true"})
    assert preflight_response(("GET",), asked).header(name) == "true"
    assert preflight_response(("GET",), Headers()).header(name) is None


def test_an_allowed_page_may_read_the_headers_it_needs() -> None:
    answer = with_cors(Response(404), OWN[0], own=OWN, allowed=())
    assert answer.header("Access-Control-Allow-Origin") == OWN[0]
    exposed = answer.header("Access-Control-Expose-Headers") or ""
    assert {"ETag", "Content-Length", "Warning", "Link"} <= set(exposed.split(", "))


def test_a_preflight_is_an_options_request_that_asks_for_a_method() -> None:
    asks = Headers.of({"Access-Control-Request-Method": "GET"})
    assert is_preflight(Request("OPTIONS", "/", headers=asks))
    assert not is_preflight(Request("OPTIONS", "/"))
    assert not is_preflight(Request("GET", "/", headers=asks))


def test_a_preflight_allows_authorization_by_name() -> None:
    """A wildcard never covers it."""
    answer = preflight_response(("GET", "POST"))
    assert answer.status == 204
    assert answer.header("Access-Control-Allow-Methods") == "GET, POST"
    assert "Authorization" in (answer.header("Access-Control-Allow-Headers") or "").split(", ")
