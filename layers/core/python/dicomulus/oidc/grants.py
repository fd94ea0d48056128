"""What a token's claims let its bearer do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal

from dicomulus.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Scope = Literal["read", "write", "delete"]

SCOPES: Final[tuple[Scope, ...]] = ("read", "write", "delete")


class Grants:
    """The provider's names of our scopes, and the claims that it puts them into."""

    def __init__(self, names: Iterable[str], *, roles_claim: str = "") -> None:
        """Take the names.

        Args:
            names: Such as ``read=dicomweb.read``; several may be for one scope, and one for several.
            roles_claim: Claim besides ``scope`` and ``scp`` that lists them, such as ``roles`` or
                ``realm_access.roles``.

        Raises:
            ConfigurationError: One is not of that form, or none is for reading.
        """
        self._names: dict[str, set[Scope]] = {}
        for given in names:
            ours, equals, theirs = given.partition("=")
            scope = next((each for each in SCOPES if each == ours.strip()), None)
            if scope is None or not equals or not theirs.strip():
                raise ConfigurationError(
                    f"oidc_scopes: {given!r} is not read=, write= or delete= with a name behind it"
                )
            self._names.setdefault(theirs.strip(), set()).add(scope)
        if not any("read" in scopes for scopes in self._names.values()):
            raise ConfigurationError("oidc_scopes: none of them is for read")
        self._roles_claim = roles_claim

    def scopes(self, claims: Mapping[str, Any]) -> frozenset[Scope]:
        """Give what the claims are for, whatever else they hold."""
        named = [*_names(claims.get("scope")), *_names(claims.get("scp"))]
        if self._roles_claim:
            named += _names(_value(claims, self._roles_claim))
        return frozenset(scope for name in named for scope in self._names.get(name, ()))


def _names(value: Any) -> list[str]:
    # A text separated by spaces (RFC 8693 §4.2), or a list, as some providers have it.
    if isinstance(value, str):
        return value.split()
    if isinstance(value, list):
        return [each for each in value if isinstance(each, str)]
    return []


def _value(claims: Mapping[str, Any], path: str) -> Any:
    """Give a claim by its name, or by the names on the way to it, separated by dots."""
    if path in claims:
        return claims[path]
    found: Any = claims
    for name in path.split("."):
        found = found.get(name) if isinstance(found, dict) else None
    return found
