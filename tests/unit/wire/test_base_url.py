"""The base URL of answers, and whose requests are taken."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dicomulus.errors import InvalidHeaderError, MisdirectedRequestError
from dicomulus.settings import Settings
from dicomulus.wire.base_url import Authority, Endpoint, base_url, own_origins, parse_authority
from dicomulus.wire.message import Headers

if TYPE_CHECKING:
    from collections.abc import Mapping

PROXY = "10.0.0.7"


def base(
    settings: Settings | None = None,
    *,
    host: str | None = None,
    peer: str = "127.0.0.1",
    port: int = 8080,
    forwarded: Mapping[str, str] | None = None,
) -> str:
    lines = dict(forwarded or {}) | ({} if host is None else {"Host": host})
    endpoint = Endpoint(port=port, peer=peer)
    return base_url(settings or Settings(), Headers.of(lines), endpoint=endpoint)


@pytest.mark.parametrize(
    "host",
    [
        "localhost:8080",
        "localhost",
        "LocalHost:8080",
        "127.0.0.1:8080",
        "127.0.0.1",
        "[::1]:8080",
        "0.0.0.0:8080",
        "viewer.localhost:8080",
    ],
)
def test_every_name_of_this_machine_gives_one_base(host: str) -> None:
    """Else each name would need a bundle of its own; a client that leaves the port away is one."""
    assert base(host=host) == "http://127.0.0.1:8080/dicom-web"


def test_the_loopback_address_listened_on_is_that_name() -> None:
    assert base(Settings(host="::1"), host="localhost:8080") == "http://[::1]:8080/dicom-web"
    assert base(Settings(host="127.0.0.2"), host="localhost") == "http://127.0.0.2:8080/dicom-web"
    assert base(Settings(host="localhost"), host="localhost") == "http://127.0.0.1:8080/dicom-web"


def test_the_port_that_a_client_names_is_one_it_can_reach() -> None:
    """The listening port may be mapped to another by a container or a tunnel."""
    assert base(host="localhost:9000") == "http://127.0.0.1:9000/dicom-web"


def test_a_default_port_is_not_written() -> None:
    assert base(port=80, host="localhost") == "http://127.0.0.1/dicom-web"


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:8080", "localhost.evil.example", "192.0.2.1", "[2001:db8::1]"],
)
def test_a_foreign_host_is_refused(host: str) -> None:
    """DNS rebinding: the name of a page's own server, resolved to this machine."""
    with pytest.raises(MisdirectedRequestError):
        base(host=host)


@pytest.mark.parametrize(
    "host", ["", "a b", "a/b", "localhost:x", "localhost:99999", "a, b", "u@h"]
)
def test_a_malformed_host_is_refused(host: str) -> None:
    with pytest.raises(InvalidHeaderError):
        base(host=host)


def test_a_request_without_host_is_refused() -> None:
    with pytest.raises(InvalidHeaderError):
        base()


def test_the_host_listened_on_is_taken() -> None:
    settings = Settings(host="pacs.example", insecure=True)
    assert base(settings, host="PACS.example") == "http://pacs.example:8080/dicom-web"
    with pytest.raises(MisdirectedRequestError):
        base(settings, host="evil.example")


@pytest.mark.parametrize("listening", ["0.0.0.0", "::"])
def test_listening_everywhere_takes_addresses_but_no_foreign_names(listening: str) -> None:
    settings = Settings(host=listening, insecure=True)
    assert base(settings, host="192.0.2.1:8080") == "http://192.0.2.1:8080/dicom-web"
    assert base(settings, host="localhost:8080") == "http://127.0.0.1:8080/dicom-web"
    with pytest.raises(MisdirectedRequestError):
        base(settings, host="evil.example")


def test_the_configured_base_wins_but_does_not_open_the_door() -> None:
    settings = Settings(public_base_url="https://pacs.example/x/dicom-web")
    assert base(settings, host="pacs.example") == "https://pacs.example/x/dicom-web"
    assert base(settings, host="localhost:8080") == "https://pacs.example/x/dicom-web"
    with pytest.raises(MisdirectedRequestError):
        base(settings, host="evil.example")


FORWARDED = {
    "X-Forwarded-Host": "pacs.example",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Prefix": "/pacs/",
}


def test_a_trusted_proxy_says_what_it_was_asked() -> None:
    settings = Settings(trusted_proxies=("10.0.0.0/8",))
    assert (
        base(settings, host="backend", peer=PROXY, forwarded=FORWARDED)
        == "https://pacs.example/pacs/dicom-web"
    )


def test_anyone_else_who_says_so_is_not_believed() -> None:
    another = Settings(trusted_proxies=("10.0.0.8",))
    for settings, peer in ((Settings(), PROXY), (another, PROXY), (another, "")):
        found = base(settings, host="localhost", peer=peer, forwarded=FORWARDED)
        assert found == "http://127.0.0.1:8080/dicom-web"


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        (
            {"Forwarded": 'for=1.2.3.4;host="pacs.example:444";proto=https'},
            "https://pacs.example:444",
        ),
        ({"Forwarded": "host=evil.example, host=pacs.example"}, "http://pacs.example"),
        ({"X-Forwarded-Host": "evil.example, pacs.example"}, "http://pacs.example"),
        (
            {"X-Forwarded-Host": "pacs.example", "X-Forwarded-Port": "8443"},
            "http://pacs.example:8443",
        ),
        ({"X-Forwarded-Proto": "https"}, "http://127.0.0.1:8080"),
    ],
)
def test_the_nearest_proxys_word_counts(headers: dict[str, str], expected: str) -> None:
    settings = Settings(trusted_proxies=(PROXY,))
    assert (
        base(settings, host="localhost", peer=PROXY, forwarded=headers) == expected + "/dicom-web"
    )


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Forwarded-Host": 'a"b'},
        {"X-Forwarded-Host": "a", "X-Forwarded-Proto": "ftp"},
        {"X-Forwarded-Host": "a", "X-Forwarded-Port": "0"},
        {"X-Forwarded-Host": "a", "X-Forwarded-Port": "x"},
        {"X-Forwarded-Host": "a", "X-Forwarded-Prefix": '/"'},
        {"X-Forwarded-Host": "a", "X-Forwarded-Prefix": "a"},
    ],
)
def test_a_malformed_forwarding_header_is_refused(headers: dict[str, str]) -> None:
    """What it says goes into JSON text as it is."""
    with pytest.raises(InvalidHeaderError):
        base(Settings(trusted_proxies=(PROXY,)), peer=PROXY, forwarded=headers)


def test_behind_a_gateway_every_name_that_leads_to_it_is_a_right_one() -> None:
    """A distribution before the gateway asks it by the gateway's own name, not by the public one."""
    settings = Settings(public_base_url="https://pacs.example/dicom-web")
    headers = Headers.of({"Host": "abc.execute-api.eu-central-1.amazonaws.com"})
    endpoint = Endpoint(port=8080, peer="127.0.0.1", behind_gateway=True)
    assert base_url(settings, headers, endpoint=endpoint) == settings.public_base_url
    with pytest.raises(MisdirectedRequestError):
        base_url(settings, headers, endpoint=Endpoint(port=8080))


def test_pages_of_this_server_have_the_origin_of_its_base_or_of_the_host_asked() -> None:
    headers = Headers.of({"Host": "LOCALHOST:8080"})
    found = own_origins("https://pacs.example/x", headers, endpoint=Endpoint(port=8080))
    assert found == {"https://pacs.example", "http://localhost:8080"}
    assert own_origins("http://a/x", Headers(), endpoint=Endpoint(port=1)) == {"http://a"}


def test_an_authority_is_a_host_and_perhaps_a_port() -> None:
    assert parse_authority(" A.b:1 ") == Authority("a.b", 1)
    assert parse_authority("[::1]") == Authority("[::1]")
