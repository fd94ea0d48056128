"""Bearer tokens: who may do what, where the server itself is to ask (RFC 6750)."""

from __future__ import annotations

import hashlib
import hmac
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from dicomulus.errors import ConfigurationError
from dicomulus.wire.message import EVERY_SCOPE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dicomulus.settings import Settings
    from dicomulus.wire.message import Headers, Scope

_TOKEN: Final = re.compile(r"[A-Za-z0-9._~+/-]+=*", re.ASCII)
"""What a header can carry as a token (RFC 6750 §2.1)."""

_NAME: Final = "bearer "


class Tokens:
    """The tokens that count, and the scopes of each; without any, everybody has every scope."""

    def __init__(self, scopes: Mapping[str, frozenset[Scope]]) -> None:
        """Keep no token itself, only what recognises it."""
        self._scopes = [(_digest(token), granted) for token, granted in scopes.items()]

    @classmethod
    def of(cls, settings: Settings) -> Tokens:
        """Take the token of the settings, and those of the file that they name.

        Raises:
            ConfigurationError: The file cannot be read or has no token, or a token is none.
        """
        scopes: dict[str, frozenset[Scope]] = {}
        if settings.token:
            scopes[_checked(settings.token, "token")] = EVERY_SCOPE
        if settings.token_file:
            scopes |= _of_file(settings.token_file)
        return cls(scopes)

    def scopes_of(self, headers: Headers) -> frozenset[Scope]:
        """Give the scopes of a request; none if its token is missing or unknown."""
        if not self._scopes:
            return EVERY_SCOPE
        value = headers.get("Authorization") or ""
        if not value.lower().startswith(_NAME):
            return frozenset()
        given = _digest(value[len(_NAME) :].strip())
        # All are compared, and in the same time wherever they differ.
        found = [granted for digest, granted in self._scopes if hmac.compare_digest(digest, given)]
        return frozenset(scope for granted in found for scope in granted)


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
