"""A webhook: changes sent to a URL, signed."""

from __future__ import annotations

import hashlib
import hmac
import time
from http.client import HTTPException
from typing import TYPE_CHECKING, Final
from urllib.error import HTTPError
from urllib.request import HTTPRedirectHandler, Request, build_opener

from dicomulus import __version__
from dicomulus.adapters.published import as_json, published
from dicomulus.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dicomulus.ports import Change

SIGNATURE_HEADER: Final = "Dicomulus-Signature"

TIMEOUT_SECONDS: Final = 10
"""Time that the receiver has to answer."""

MOST_CHANGES: Final = 100
"""Changes of one request: some 40 KB."""

_SUCCESS: Final = range(200, 300)


class _NoRedirects(HTTPRedirectHandler):
    """What is meant for one receiver is sent to no other."""

    def redirect_request(self, *_: object, **__: object) -> None:
        """Follow none."""


class Webhook:
    """Sends changes by POST; the receiver has taken them when he answers 2xx."""

    name = "webhook"
    most = MOST_CHANGES

    def __init__(
        self,
        url: str,
        *,
        secret: Callable[[], str] = lambda: "",
        now: Callable[[], float] = time.time,
    ) -> None:
        """Send to a URL.

        Args:
            url: Where the receiver is.
            secret: Gives what requests are signed with; empty for no signature.
            now: Gives the time in seconds since the epoch.
        """
        self._url = url
        self._secret = secret
        self._now = now
        self._opener = build_opener(_NoRedirects)

    def send(self, changes: Sequence[Change], *, log: str) -> None:
        """See ``ChangeTarget.send``."""
        body = as_json({"log": log, "changes": [published(each) for each in changes]}).encode()
        headers = {
            "Content-Type": "application/json",
            "User-Agent": f"dicomulus/{__version__}",
        }
        secret = self._secret()
        if secret:
            headers[SIGNATURE_HEADER] = signature(secret, body, at=int(self._now()))
        request = Request(self._url, data=body, headers=headers, method="POST")  # noqa: S310 - the setting is http(s)
        try:
            with self._opener.open(request, timeout=TIMEOUT_SECONDS) as answer:
                status = answer.status
        except HTTPError as exc:
            status = exc.code
            exc.close()
        except (OSError, HTTPException) as exc:
            raise UnavailableError(f"the webhook does not answer: {type(exc).__name__}") from exc
        if status not in _SUCCESS:
            raise UnavailableError(f"the webhook answers {status}")


def signature(secret: str, body: bytes, *, at: int) -> str:
    """Sign a body and the time it is sent at, in seconds since the epoch, by HMAC-SHA256.

    Who knows the secret makes the same of what he got, and sees that it is ours, whole and of now.
    """
    digest = hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256)
    return f"t={at},v1={digest.hexdigest()}"
