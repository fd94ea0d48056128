"""What the provider is asked over HTTP: small JSON documents, from where they are said to be."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPException
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from dicomulus.errors import ConfigurationError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from email.message import Message
    from http.client import HTTPResponse
    from typing import IO

TIMEOUT_SECONDS: Final = 5
"""Seconds to wait for the provider; a gateway gives its authorizer no more than 29."""

MAX_DOCUMENT_BYTES: Final = 524_288
"""Bytes of a document; key sets of large providers are some 10 KB."""


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Takes a redirect for an error: keys come from where the provider has said."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: Message,
        newurl: str,
    ) -> None:
        """Go nowhere."""


@dataclass(frozen=True, slots=True)
class Documents:
    """Fetches JSON objects; proxies are those of the environment."""

    timeout_seconds: float = TIMEOUT_SECONDS

    def get(self, url: str) -> dict[str, Any]:
        """Fetch a document.

        Raises:
            UnavailableError: It cannot be had, is too long, or is no JSON object.
        """
        return self._fetched(urllib.request.Request(checked_url(url), headers=_ACCEPT))  # noqa: S310

    def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> dict[str, Any]:
        """Send a form and fetch the answer.

        Raises:
            UnavailableError: There is none that is a JSON object.
        """
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        given = {**_ACCEPT, **form, **headers}
        return self._fetched(urllib.request.Request(checked_url(url), body, given))  # noqa: S310

    def _fetched(self, request: urllib.request.Request) -> dict[str, Any]:
        where = urlsplit(request.full_url).netloc
        opener = urllib.request.build_opener(_NoRedirects)
        try:
            with opener.open(request, timeout=self.timeout_seconds) as answer:
                return _object(answer, where)
        except urllib.error.HTTPError as exc:
            with exc:
                raise UnavailableError(f"{where} answered {exc.code}") from exc
        # ValueError: no JSON, or no text.
        except (OSError, ValueError, RecursionError, HTTPException) as exc:
            raise UnavailableError(f"{where} gave no answer that counts") from exc


_ACCEPT: Final = {"Accept": "application/json", "User-Agent": "dicomulus"}


def _object(answer: HTTPResponse, where: str) -> dict[str, Any]:
    if answer.status != HTTPStatus.OK:
        raise UnavailableError(f"{where} answered {answer.status}")
    content = answer.read(MAX_DOCUMENT_BYTES + 1)
    if len(content) > MAX_DOCUMENT_BYTES:
        raise UnavailableError(f"{where} answered with more than {MAX_DOCUMENT_BYTES} bytes")
    parsed = json.loads(content)
    if not isinstance(parsed, dict):
        raise UnavailableError(f"{where} answered with no JSON object")
    return parsed


def checked_url(url: str) -> str:
    """Refuse a URL over which others could answer for the provider.

    Raises:
        ConfigurationError: It is neither ``https`` nor of this very machine, or has more than
            host and path.
    """
    parts = urlsplit(url)
    if not parts.hostname or parts.username or parts.fragment:
        raise ConfigurationError(f"oidc: {url!r} is no URL of a provider")
    if parts.scheme == "https" or (parts.scheme == "http" and _is_loopback(parts.hostname)):
        return url
    raise ConfigurationError(f"oidc: {url!r} is not https, over which alone a provider is asked")


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
