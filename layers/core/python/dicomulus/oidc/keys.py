"""The keys of a provider, found by its discovery document and kept for a while."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import jwt

from dicomulus.errors import ConfigurationError, TokenInvalidError, UnavailableError
from dicomulus.oidc.documents import Documents, checked_url

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

ALGORITHMS: Final[Mapping[str, str]] = {
    "RS256": "RSA",
    "RS384": "RSA",
    "RS512": "RSA",
    "PS256": "RSA",
    "PS384": "RSA",
    "PS512": "RSA",
    "ES256": "EC",
    "ES384": "EC",
    "ES512": "EC",
    "EdDSA": "OKP",
}
"""Signatures that count, with the kind of key of each: none that is made with a shared secret."""

KEEP_SECONDS: Final = 600
"""Seconds after which keys are fetched again: so long one counts that the provider took back."""

KEEP_IN_OUTAGE_SECONDS: Final = 86_400
"""Seconds that keys count while the provider cannot be reached."""

RETRY_SECONDS: Final = 30
"""Seconds between two fetches, however many tokens name keys that nobody knows."""

MIN_RSA_BITS: Final = 2_048
"""Shortest RSA key (RFC 7518 §3.3)."""

MAX_KEYS: Final = 100
"""Keys of a provider; more are ignored."""

_DISCOVERY: Final = "/.well-known/openid-configuration"


@dataclass(frozen=True, slots=True)
class _Key:
    name: str | None
    algorithm: str | None
    """The only one that it is for, if the provider says so."""
    key: jwt.PyJWK

    def fits(self, name: str | None, algorithm: str) -> bool:
        """Whether a token may be signed with it that names the key, or none, and the algorithm."""
        if (name is not None and name != self.name) or self.algorithm not in (None, algorithm):
            return False
        # A curve is for one algorithm, an RSA key for many.
        kind = self.key.key_type
        return ALGORITHMS[algorithm] == kind and (
            kind == "RSA" or self.key.algorithm_name == algorithm
        )


class ProviderKeys:
    """The provider's public keys by their names, refreshed in measure; safe for many threads."""

    def __init__(
        self, issuer: str, documents: Documents, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Fetch nothing yet."""
        self._issuer = issuer
        self._documents = documents
        self._clock = clock
        self._lock = threading.Lock()
        self._keys: list[_Key] = []
        self._fetched = self._tried = float("-inf")

    def key(self, key_id: str | None, *, algorithm: str) -> jwt.PyJWK:
        """Give the key that a token is signed with.

        Args:
            key_id: Its name, if the token gives one; without, there must be a single key that fits.
            algorithm: One of ``ALGORITHMS``, for which the key must be.

        Raises:
            TokenInvalidError: The provider has no such key.
            UnavailableError: The provider was never reached, or not for a day.
        """
        with self._lock:
            if self._age() > KEEP_SECONDS:
                self._refresh()
            if self._age() > KEEP_IN_OUTAGE_SECONDS:
                raise UnavailableError("the keys of the OpenID provider cannot be had")
            found = self._find(key_id, algorithm)
            if found is None and self._refresh():
                # The provider may have begun to sign with a key since.
                found = self._find(key_id, algorithm)
        if found is None:
            raise TokenInvalidError("the token is signed with a key that the provider has not")
        return found

    def _age(self) -> float:
        return self._clock() - self._fetched

    def _find(self, key_id: str | None, algorithm: str) -> jwt.PyJWK | None:
        fitting = [each.key for each in self._keys if each.fits(key_id, algorithm)]
        return fitting[0] if len(fitting) == 1 else None

    def _refresh(self) -> bool:
        """Fetch the keys, unless that was tried a moment ago; keep the old ones if it fails."""
        now = self._clock()
        if now - self._tried < RETRY_SECONDS:
            return False
        self._tried = now
        try:
            self._keys = self._fetch()
        except UnavailableError:
            return False
        self._fetched = now
        return True

    def _fetch(self) -> list[_Key]:
        described = self._documents.get(self._issuer.rstrip("/") + _DISCOVERY)
        if described.get("issuer") != self._issuer:
            # Its keys would be somebody else's (OpenID Connect Discovery 1.0 §4.3).
            raise UnavailableError("the provider's description is of another issuer")
        where = described.get("jwks_uri")
        if not isinstance(where, str):
            raise UnavailableError("the provider does not say where its keys are")
        listed = self._documents.get(_https(where)).get("keys")
        if not isinstance(listed, list):
            raise UnavailableError("the provider lists no keys")
        return [found for each in listed[:MAX_KEYS] for found in _parsed(each)]


def _https(url: str) -> str:
    try:
        return checked_url(url)
    except ConfigurationError as exc:
        raise UnavailableError("the provider's keys are where anybody could answer") from exc


def _parsed(listed: Any) -> list[_Key]:
    """Give a key of the list; none if it is not for signatures, or of a kind that is not known."""
    if not isinstance(listed, dict) or listed.get("kty") not in set(ALGORITHMS.values()):
        return []
    if listed.get("use", "sig") != "sig" or "verify" not in listed.get("key_ops", ["verify"]):
        return []
    try:
        key = jwt.PyJWK.from_dict(listed)
    except (jwt.exceptions.PyJWTError, ValueError, TypeError):
        return []
    if listed["kty"] == "RSA" and key.key.key_size < MIN_RSA_BITS:
        return []
    name, algorithm = listed.get("kid"), listed.get("alg")
    return [_Key(name if isinstance(name, str) else None, algorithm, key)]
