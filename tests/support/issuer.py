"""An OpenID provider on loopback: keys of its own, a description, tokens, and what it takes back."""

from __future__ import annotations

import base64
import json
import time
from contextlib import contextmanager
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

if TYPE_CHECKING:
    from collections.abc import Iterator

AUDIENCE: Final = "https://archive.example"
CLIENT: Final = ("archive", "pass:word/ä")
SUBJECT: Final = "f9e1c1d0-someone"
SCOPES: Final = "dicomweb.read dicomweb.write dicomweb.delete"


@cache
def private_key(kind: str, number: int = 0) -> Any:
    """Make a private key, once: RSA ones take a while."""
    del number
    if kind == "short":
        return rsa.generate_private_key(public_exponent=65_537, key_size=1_024)
    if kind == "RSA":
        return rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
    if kind == "EdDSA":
        return ed25519.Ed25519PrivateKey.generate()
    return ec.generate_private_key({"P-256": ec.SECP256R1(), "P-384": ec.SECP384R1()}[kind])


def public_jwk(key: Any, **more: Any) -> dict[str, Any]:
    """Write the public half of a key as a provider lists it."""
    kinds: tuple[tuple[type, Any], ...] = (
        (rsa.RSAPrivateKey, jwt.algorithms.RSAAlgorithm),
        (ec.EllipticCurvePrivateKey, jwt.algorithms.ECAlgorithm),
        (ed25519.Ed25519PrivateKey, jwt.algorithms.OKPAlgorithm),
    )
    (algorithm,) = (algorithm for kind, algorithm in kinds if isinstance(key, kind))
    return {**algorithm.to_jwk(key.public_key(), as_dict=True), **more}


def encoded(value: object) -> str:
    """Write a part of a token."""
    text = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(text).rstrip(b"=").decode()


class Issuer:
    """The provider; what it says can be changed at any time."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.key = private_key("RSA")
        self.listed: list[dict[str, Any]] = [public_jwk(self.key, kid="one", use="sig")]
        self.claims_issuer = url
        self.keys_url = url + "/keys"
        self.asked: list[str] = []
        self.is_down = False
        self.answers: dict[str, bytes] = {}
        """Paths that are answered with these bytes instead."""
        self.revoked: set[str] = set()

    def claims(self, **changed: Any) -> dict[str, Any]:
        """Give the claims of an ordinary token; ``None`` leaves one out."""
        now = int(time.time())
        ordinary = {
            "iss": self.url,
            "aud": AUDIENCE,
            "sub": SUBJECT,
            "azp": "viewer",
            "scope": SCOPES,
            "iat": now,
            "exp": now + 300,
        }
        return {name: value for name, value in (ordinary | changed).items() if value is not None}

    def token(
        self,
        *,
        key: Any = None,
        algorithm: str = "RS256",
        header: dict[str, Any] | None = None,
        **changed: Any,
    ) -> str:
        """Sign a token."""
        return jwt.encode(
            self.claims(**changed),
            self.key if key is None else key,
            algorithm=algorithm,
            headers={"kid": "one"} if header is None else header,
        )

    def rotate(self, name: str) -> None:
        """Sign with a new key, and list no other."""
        self.key = private_key("RSA", 1 if self.key is private_key("RSA") else 0)
        self.listed = [public_jwk(self.key, kid=name)]

    def answer(self, path: str, body: bytes, authorization: str) -> tuple[int, bytes]:
        """Answer a request."""
        self.asked.append(path)
        if self.is_down:
            return 500, b"{}"
        if path in self.answers:
            return 200, self.answers[path]
        if path == "/.well-known/openid-configuration":
            found: Any = {"issuer": self.claims_issuer, "jwks_uri": self.keys_url}
        elif path == "/keys":
            found = {"keys": self.listed}
        elif path == "/introspect":
            return self._introspected(parse_qs(body.decode()), authorization)
        elif path == "/elsewhere":
            return 302, b""
        else:
            return 404, b"{}"
        return 200, json.dumps(found).encode()

    def _introspected(self, form: dict[str, list[str]], authorization: str) -> tuple[int, bytes]:
        from urllib.parse import quote_plus

        expected = base64.b64encode(":".join(map(quote_plus, CLIENT)).encode()).decode()
        if authorization != f"Basic {expected}":
            return 401, b"{}"
        (token,) = form["token"]
        return 200, json.dumps({"active": token not in self.revoked}).encode()


@contextmanager
def issuing() -> Iterator[Issuer]:
    """Run a provider."""

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            given = self.headers.get("Authorization") or ""
            status, content = issuer.answer(self.path, self.rfile.read(length), given)
            self.send_response(status)
            if status == 302:
                self.send_header("Location", issuer.url + "/keys")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = _answer

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    issuer = Issuer(f"http://127.0.0.1:{server.server_port}")
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield issuer
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
