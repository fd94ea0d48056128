"""The base URL that answers carry, and the check that a request is meant for this server.

Without the check any web page could read a local archive by DNS rebinding: a name of the page's
own origin that resolves to 127.0.0.1 when asked a second time.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from dicomulus.errors import InvalidHeaderError, MisdirectedRequestError

if TYPE_CHECKING:
    from ipaddress import IPv4Address, IPv6Address

    from dicomulus.settings import Settings
    from dicomulus.wire.message import Headers

CANONICAL_LOOPBACK: Final = "127.0.0.1"
"""The one name that answers give to this machine, so that they are the same for all its names."""

_HOST: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::([0-9]{1,5}))?")
_PREFIX: Final = re.compile(r"(?:/[A-Za-z0-9._~-]+)*")
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """How a request reached the server: the listening port, and the address of the peer."""

    port: int
    peer: str = ""
    scheme: str = "http"
    behind_gateway: bool = False
    """Whether requests come from a gateway alone, which has a name of its own."""


@dataclass(frozen=True, slots=True)
class Authority:
    """A host name, lower case, and the port if one was given."""

    host: str
    port: int | None = None


def parse_authority(text: str, *, header: str = "Host") -> Authority:
    """Parse the host and port of a Host header.

    Raises:
        InvalidHeaderError: It is neither a name nor an address, or the port is none.
    """
    match = _HOST.fullmatch(text.strip())
    if match is None or int(match.group(2) or 0) > 65_535:
        raise InvalidHeaderError(header, "is not a host with or without a port")
    port = match.group(2)
    return Authority(match.group(1).lower(), int(port) if port else None)


def is_loopback(host: str) -> bool:
    """Tell whether a host, as in a URL, is this machine: localhost, 127.0.0.0/8, [::1].

    0.0.0.0 and [::] count, since systems connect to themselves by them.
    """
    if host == "localhost" or host.endswith(".localhost"):
        return True
    address = _address(host)
    return address is not None and (address.is_loopback or address.is_unspecified)


def base_url(settings: Settings, headers: Headers, *, endpoint: Endpoint) -> str:
    """Give the URL that URLs of the answer begin with, without a slash at its end.

    It is the configured one; else what a trusted proxy forwards; else made of the Host header's
    name, every loopback name being one, and its port, or the listening port where it has none.
    Behind a gateway nothing but the configured one is looked at: whatever name it was found by,
    the address that a page could rebind to is the gateway's, whose certificate has another.

    Raises:
        InvalidHeaderError: The Host header or a trusted forwarding header does not parse.
        MisdirectedRequestError: The Host header names another server.
    """
    if endpoint.behind_gateway and settings.public_base_url:
        return settings.public_base_url
    forwarded = _forwarded(settings, headers, endpoint=endpoint)
    if forwarded is None:
        host = parse_authority(headers.get("Host", "") or "")
        _check_host(settings, host.host)
    if settings.public_base_url:
        return settings.public_base_url
    if forwarded is not None:
        return forwarded
    port = host.port or endpoint.port
    return _join(endpoint.scheme, _canonical(settings, host.host), port) + settings.base_path


def own_origins(base: str, headers: Headers, *, endpoint: Endpoint) -> frozenset[str]:
    """Give the origins of this server's own pages: that of the base URL, and that of Host.

    Args:
        base: The request's base URL; that it could be made shows that Host is no foreign one.
        headers: The request's headers.
        endpoint: How the request reached the server.
    """
    urls = [base]
    host = headers.get("Host")
    if host:
        urls.append(f"{endpoint.scheme}://{host.strip().lower()}")
    return frozenset("{0.scheme}://{0.netloc}".format(urlsplit(url)) for url in urls)


def _check_host(settings: Settings, host: str) -> None:
    if is_loopback(host) or host in _own_names(settings):
        return
    # Behind an address, not a name, there is nothing to rebind.
    if _listens_everywhere(settings) and _address(host) is not None:
        return
    raise MisdirectedRequestError(
        "The Host header names another server; set the public URL (--public-url) if it is a name of this one"
    )


def _own_names(settings: Settings) -> set[str]:
    names = {_in_url(settings.host)}
    if settings.public_base_url:
        public = urlsplit(settings.public_base_url).netloc.rpartition("@")[2]
        names.add(parse_authority(public).host)
    return names


def _listens_everywhere(settings: Settings) -> bool:
    address = _address(settings.host)
    return settings.host == "" or (address is not None and address.is_unspecified)


def _canonical(settings: Settings, host: str) -> str:
    if not is_loopback(host):
        return host
    listening = _address(settings.host)
    if listening is not None and listening.is_loopback:
        return _in_url(settings.host)
    return CANONICAL_LOOPBACK


def _join(scheme: str, host: str, port: int) -> str:
    return f"{scheme}://{host}" + ("" if port == _DEFAULT_PORTS[scheme] else f":{port}")


@lru_cache(maxsize=256)
def _address(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host.removeprefix("[").removesuffix("]"))
    except ValueError:
        return None


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host and not host.startswith("[") else host.lower()


def _is_trusted(settings: Settings, peer: str) -> bool:
    address = _address(peer)
    if address is None:
        return False
    return any(address in ip_network(proxy, strict=False) for proxy in settings.trusted_proxies)


def _forwarded(settings: Settings, headers: Headers, *, endpoint: Endpoint) -> str | None:
    """Read the base URL that a trusted proxy was asked for; ``None`` if none says so."""
    if not _is_trusted(settings, endpoint.peer):
        return None
    fields = _forwarded_fields(headers)
    if "host" not in fields:
        return None
    authority = parse_authority(fields["host"], header="X-Forwarded-Host")
    scheme = fields.get("proto", endpoint.scheme).lower()
    if scheme not in _DEFAULT_PORTS:
        raise InvalidHeaderError("X-Forwarded-Proto", "is neither http nor https")
    prefix = fields.get("prefix", "").rstrip("/")
    if _PREFIX.fullmatch(prefix) is None:
        raise InvalidHeaderError("X-Forwarded-Prefix", "is not a path")
    port = authority.port or _port(fields.get("port")) or _DEFAULT_PORTS[scheme]
    return _join(scheme, authority.host, port) + prefix + settings.base_path


def _port(text: str | None) -> int | None:
    if text is None:
        return None
    if not (text.isascii() and text.isdigit()) or not 0 < int(text) <= 65_535:
        raise InvalidHeaderError("X-Forwarded-Port", "is not a port")
    return int(text)


def _forwarded_fields(headers: Headers) -> dict[str, str]:
    """Read Forwarded (RFC 7239), else the X-Forwarded-* headers.

    Of several elements the last counts: the nearest proxy is the trusted one.
    """
    standard = headers.get("Forwarded")
    if standard is not None:
        pairs = (pair.partition("=") for pair in standard.rpartition(",")[2].split(";"))
        return {name.strip().lower(): value.strip().strip('"') for name, _, value in pairs}
    names = ("Host", "Proto", "Port", "Prefix")
    found = ((name.lower(), headers.get(f"X-Forwarded-{name}")) for name in names)
    return {name: value.rpartition(",")[2].strip() for name, value in found if value}
