"""Whether a bearer token counts: signature, issuer, audience, time, client."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import jwt

from dicomulus.errors import ConfigurationError, TokenInvalidError
from dicomulus.oidc.documents import Documents, checked_url
from dicomulus.oidc.grants import Grants
from dicomulus.oidc.introspection import Introspection
from dicomulus.oidc.keys import ALGORITHMS, ProviderKeys

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dicomulus.oidc.grants import Scope
    from dicomulus.settings import Settings

MAX_TOKEN_BYTES: Final = 8_192
"""Bytes of a token; a gateway takes 10,240 of all headers together."""

LEEWAY_SECONDS: Final = 30
"""Seconds that the provider's clock may be ahead of ours, or behind."""

_MAX_KEY_ID: Final = 256

_COMPACT: Final = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+", re.ASCII)
"""Header, claims and signature (RFC 7515 §3.1)."""

_OTHER_CLAIMS: Final = frozenset({"at_hash", "c_hash", "s_hash", "events"})
"""Claims of ID tokens (OpenID Connect Core 1.0 §3.3.2.11) and of tokens about events (RFC 8417)."""

_OTHER_PURPOSES: Final = frozenset({"id", "refresh", "offline", "logout"})
"""What providers that say so in a claim call tokens that are not for access."""

_TYPES: Final = frozenset({"JWT", "AT+JWT", "APPLICATION/AT+JWT", "APPLICATION/JWT"})
"""Types of tokens that let in (RFC 9068 §4), and that of those that say no more."""


@dataclass(frozen=True, slots=True)
class Bearer:
    """Who sends a request, and what for."""

    subject_digest: str
    """Names the same person the same way, and to nobody who does not know them."""
    scopes: frozenset[Scope]


class TokenChecker:
    """Checks the access tokens of one provider."""

    def __init__(
        self,
        issuer: str,
        audience: str,
        *,
        keys: ProviderKeys,
        grants: Grants,
        clients: frozenset[str] = frozenset(),
        introspection: Introspection | None = None,
    ) -> None:
        """Fetch nothing yet.

        Args:
            issuer: The provider's name of itself, exactly as in its tokens.
            audience: The archive's name there.
            keys: Those of the provider.
            grants: What claims are for.
            clients: Applications whose tokens count; all if there is none.
            introspection: Asked about each token that counts otherwise.
        """
        self._issuer = issuer
        self._audience = audience
        self._keys = keys
        self._grants = grants
        self._clients = clients
        self._introspection = introspection

    @classmethod
    def of(cls, settings: Settings, *, documents: Documents | None = None) -> TokenChecker:
        """Make what the settings ask for.

        Raises:
            ConfigurationError: One of them is missing or cannot be.
        """
        documents = documents or Documents()
        checked_url(settings.oidc_issuer)
        if not settings.oidc_audience:
            raise ConfigurationError("oidc_audience: a token for anybody else would count, too")
        introspection = None
        if settings.oidc_introspection_url:
            introspection = Introspection(
                settings.oidc_introspection_url,
                settings.oidc_client_id,
                settings.oidc_client_secret,
                documents,
            )
        return cls(
            settings.oidc_issuer,
            settings.oidc_audience,
            keys=ProviderKeys(settings.oidc_issuer, documents),
            grants=Grants(settings.oidc_scopes, roles_claim=settings.oidc_roles_claim),
            clients=frozenset(settings.oidc_clients),
            introspection=introspection,
        )

    def check(self, token: str) -> Bearer:
        """Find out who bears a token.

        Raises:
            TokenInvalidError: It does not count.
            UnavailableError: The provider does not say whether it does.
        """
        key_id, algorithm = _header(token)
        claims = self._claims(token, self._keys.key(key_id, algorithm=algorithm), algorithm)
        if _is_for_another_purpose(claims):
            raise TokenInvalidError("the token is none that is for access")
        client = claims.get("azp", claims.get("client_id"))
        if self._clients and client not in self._clients:
            raise TokenInvalidError("the token is of an application whose tokens do not count")
        subject = claims.get("sub", client)
        if not isinstance(subject, str) or not subject:
            raise TokenInvalidError("the token says of nobody that they bear it")
        if self._introspection is not None and not self._introspection.is_active(token):
            raise TokenInvalidError("the provider has taken the token back")
        digest = hashlib.sha256(f"{self._issuer}\n{subject}".encode(errors="replace"))
        return Bearer(digest.hexdigest()[:32], self._grants.scopes(claims))

    def _claims(self, token: str, key: jwt.PyJWK, algorithm: str) -> dict[str, Any]:
        try:
            return jwt.decode(
                token,
                key.key,
                algorithms=[algorithm],
                audience=self._audience,
                issuer=self._issuer,
                leeway=LEEWAY_SECONDS,
                options={"require": ["exp", "iss", "aud"]},
            )
        # Claims of kinds that nobody expects make the library fail in ways of their own.
        except (jwt.exceptions.PyJWTError, ValueError, TypeError, OverflowError) as exc:
            raise TokenInvalidError(f"the token does not count: {type(exc).__name__}") from exc


def _is_for_another_purpose(claims: Mapping[str, Any]) -> bool:
    """Whether it is an ID token or the like, whose audience may be an application that is both.

    Cognito says so by ``token_use``, Keycloak by ``typ``; others by what it holds.
    """
    told = (claims.get("token_use"), claims.get("typ"))
    return not _OTHER_CLAIMS.isdisjoint(claims) or any(
        isinstance(each, str) and each.lower() in _OTHER_PURPOSES for each in told
    )


def _header(token: str) -> tuple[str | None, str]:
    """Give the key's name and the algorithm of a token, which are nothing to go by but to find a key.

    Raises:
        TokenInvalidError: It is no signed token, or not signed with a key pair.
    """
    if len(token) > MAX_TOKEN_BYTES or _COMPACT.fullmatch(token) is None:
        raise TokenInvalidError("the token is none that a provider has signed")
    try:
        header = jwt.get_unverified_header(token)
    except (jwt.exceptions.PyJWTError, ValueError, TypeError, RecursionError) as exc:
        raise TokenInvalidError("the token's header does not parse") from exc
    algorithm, key_id, kind = header.get("alg"), header.get("kid"), header.get("typ", "JWT")
    if not isinstance(algorithm, str) or algorithm not in ALGORITHMS:
        raise TokenInvalidError("the token is not signed with a key pair")
    if "crit" in header or not isinstance(kind, str) or kind.upper() not in _TYPES:
        raise TokenInvalidError("the token is of a kind that is not known here")
    if key_id is not None and (not isinstance(key_id, str) or len(key_id) > _MAX_KEY_ID):
        raise TokenInvalidError("the token's key has no name that a key can have")
    return key_id, algorithm
