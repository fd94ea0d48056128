"""An OpenID provider on loopback that lets everybody in who signs in with PKCE."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from tests.support.issuer import AUDIENCE, Issuer

if TYPE_CHECKING:
    from collections.abc import Iterator

CLIENT_ID = "pages"


class Provider(Issuer):
    """A provider with pages to sign in at, which pages of every origin may ask."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.requests: list[dict[str, str]] = []
        """What people were sent with to sign in."""
        self.grants: list[str] = []
        """By what tokens were got."""
        self.token_seconds = 300
        self.audience = AUDIENCE
        self.is_refusing = False
        self._codes: dict[str, dict[str, str]] = {}
        self._refresh: set[str] = set()

    def description(self) -> dict[str, Any]:
        """Give the discovery document."""
        return {
            "issuer": self.url,
            "jwks_uri": f"{self.url}/keys",
            "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
        }

    def authorize(self, query: str) -> str:
        """Let somebody in; give where the browser is sent."""
        asked = dict(parse_qsl(query))
        self.requests.append(asked)
        if self.is_refusing:
            told = {
                "error": "access_denied",
                "error_description": "Not today.",
                "state": asked["state"],
            }
        else:
            code = secrets.token_urlsafe()
            self._codes[code] = asked
            told = {"code": code, "state": asked["state"], "iss": self.url}
        return f"{asked['redirect_uri']}?{urlencode(told)}"

    def redeem(self, form: dict[str, str]) -> dict[str, Any] | None:
        """Give tokens for a code or a refresh token, each once; nothing for what is neither."""
        if form["client_id"] != CLIENT_ID or not self._may(form):
            return None
        self.grants.append(form["grant_type"])
        refresh = secrets.token_urlsafe()
        self._refresh.add(refresh)
        return {
            "token_type": "Bearer",
            "access_token": self.token(aud=self.audience, azp=CLIENT_ID, scope="dicomweb.read"),
            "refresh_token": refresh,
            "expires_in": self.token_seconds,
        }

    def _may(self, form: dict[str, str]) -> bool:
        if form["grant_type"] == "refresh_token":
            known = form["refresh_token"] in self._refresh
            self._refresh.discard(form["refresh_token"])
            return known
        asked = self._codes.pop(form["code"], None)
        digest = hashlib.sha256(form["code_verifier"].encode()).digest()
        return (
            asked is not None
            and asked["code_challenge_method"] == "S256"
            and asked["code_challenge"] == base64.urlsafe_b64encode(digest).decode().rstrip("=")
            and asked["redirect_uri"] == form["redirect_uri"]
        )


@contextmanager
def providing() -> Iterator[Provider]:
    """Run a provider."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            if parts.path == "/authorize":
                self.send_response(302)
                self.send_header("Location", provider.authorize(parts.query))
                self.send_header("Content-Length", "0")
                self.end_headers()
            elif parts.path == "/.well-known/openid-configuration":
                self._answer(200, provider.description())
            else:
                self._answer(200, {"keys": provider.listed})

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            given = provider.redeem(dict(parse_qsl(body)))
            self._answer(200, given) if given else self._answer(400, {"error": "invalid_grant"})

        def _answer(self, status: int, told: dict[str, Any]) -> None:
            content = json.dumps(told).encode()
            self.send_response(status)
            self.send_header("Access-Control-Allow-Origin", "*")
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    provider = Provider(f"http://127.0.0.1:{server.server_port}")
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield provider
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
