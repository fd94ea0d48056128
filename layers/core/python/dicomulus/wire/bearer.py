"""Bearer tokens: who may do what, where the server itself is to ask (RFC 6750)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from dicomulus.errors import ConfigurationError, ScopeMissingError, TokenInvalidError
from dicomulus.wire.message import EVERY_SCOPE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dicomulus.oidc.tokens import TokenChecker
    from dicomulus.settings import Settings
    from dicomulus.wire.message import Headers, Scope

_TOKEN: Final = re.compile(r"[A-Za-z0-9._~+/-]+=*", re.ASCII)
"""What a header can carry as a token (RFC 6750 §2.1)."""

_BEARER: Final = "bearer"
_BASIC: Final = "basic"


class Tokens:
    """The tokens that count, and the scopes of each; without any, everybody has every scope."""

    def __init__(
        self, scopes: Mapping[str, frozenset[Scope]], *, checker: TokenChecker | None = None
    ) -> None:
        """Keep no token itself, only what recognises it.

        Args:
            scopes: The tokens that are known here.
            checker: Knows those of an OpenID provider.
        """
        self._scopes = [(_digest(token), granted) for token, granted in scopes.items()]
        self._checker = checker

    @classmethod
    def of(cls, settings: Settings) -> Tokens:
        """Take the token of the settings, those of the file and those of the provider they name.

        Raises:
            ConfigurationError: The file cannot be read or has no token, a token is none, or the
                provider's cannot be checked.
        """
        # Whoever names an audience believes that tokens are asked for.
        if settings.oidc_audience and not settings.oidc_issuer:
            raise ConfigurationError("oidc_audience: without oidc_issuer no token is asked for")
        scopes: dict[str, frozenset[Scope]] = {}
        if settings.token:
            scopes[_checked(settings.token, "token")] = EVERY_SCOPE
        if settings.token_file:
            scopes |= _of_file(settings.token_file)
        return cls(scopes, checker=_checker(settings) if settings.oidc_issuer else None)

    @property
    def are_asked_for(self) -> bool:
        """Whether a request needs one."""
        return bool(self._scopes) or self._checker is not None

    def scopes_of(self, headers: Headers) -> frozenset[Scope]:
        """Give the scopes of a request; none if its token is missing or unknown.

        Raises:
            ScopeMissingError: It is one of the provider's that is for nothing here.
            UnavailableError: The provider does not say whether it is one of its.
        """
        if not self.are_asked_for:
            return EVERY_SCOPE
        token = _token_in(headers.get("Authorization") or "")
        if token is None:
            return frozenset()
        given = _digest(token)
        # All are compared, and in the same time wherever they differ.
        found = [granted for digest, granted in self._scopes if hmac.compare_digest(digest, given)]
        if found or self._checker is None:
            return frozenset(scope for granted in found for scope in granted)
        return self._of_provider(self._checker, token)

    def _of_provider(self, checker: TokenChecker, token: str) -> frozenset[Scope]:
        try:
            scopes = checker.check(token).scopes
        except TokenInvalidError:
            return frozenset()
        if not scopes:
            # It is known, so that no other token is asked for.
            raise ScopeMissingError("read")
        return scopes


def _token_in(authorization: str) -> str | None:
    """Give the token of a header: itself, or the password of somebody, whatever his name is.

    Clients of Orthanc know no other way than the second one (RFC 7617).
    """
    name, _, value = authorization.partition(" ")
    if name.lower() == _BEARER:
        return value.strip()
    if name.lower() != _BASIC:
        return None
    try:
        return base64.b64decode(value.strip(), validate=True).decode().partition(":")[2]
    except ValueError:
        return None


def _checker(settings: Settings) -> TokenChecker:
    try:
        from dicomulus.oidc.tokens import TokenChecker
    except ImportError as exc:
        raise ConfigurationError(
            "oidc_issuer: what checks its tokens is not installed: install dicomulus[oidc]"
        ) from exc
    return TokenChecker.of(settings)


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", errors="surrogateescape")).digest()


def _of_file(path: str) -> dict[str, frozenset[Scope]]:
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except OSError as exc:
        raise ConfigurationError(f"token_file: {path}: {exc.strerror}") from exc
    except UnicodeDecodeError as exc:
        raise ConfigurationError(f"token_file: {path} is no text") from exc
    numbered = [(number, line.split()) for number, line in enumerate(lines, 1)]
    scopes = {
        _checked(words[0], f"token_file: line {number}"): _parse_scopes(words[1:], number)
        for number, words in numbered
        if words and not words[0].startswith("#")
    }
    if not scopes:
        raise ConfigurationError(f"token_file: {path} has no token")
    return scopes


def _checked(token: str, where: str) -> str:
    # The token stays out of the message, which ends up in logs.
    if _TOKEN.fullmatch(token) is None:
        raise ConfigurationError(f"{where}: not a token, of letters, digits and ._~+/- alone")
    return token


def _parse_scopes(words: list[str], number: int) -> frozenset[Scope]:
    if not words:
        return EVERY_SCOPE
    granted = frozenset(scope for scope in EVERY_SCOPE if scope in words)
    if len(granted) != len(words):
        raise ConfigurationError(f"token_file: line {number}: scopes are read, write and delete")
    return granted
