"""How the pages sign people in at an OpenID provider, instead of asking them for a token."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from dicomulus.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class SignIn:
    """What the pages are told of the provider; all of it may be known to everybody."""

    issuer: str
    client_id: str
    audience: str
    scope: str
    origins: tuple[str, ...]
    """Origins that pages ask for tokens."""

    @property
    def facts(self) -> dict[str, str]:
        """What the pages read."""
        return {
            "issuer": self.issuer,
            "clientId": self.client_id,
            "audience": self.audience,
            "scope": self.scope,
        }


def sign_in_of(settings: Settings) -> SignIn | None:
    """Give how people sign in, if they do."""
    if not (settings.sign_in_client_id and settings.oidc_issuer):
        return None
    issuer = urlsplit(settings.oidc_issuer)
    # The pages read; whoever writes or deletes brings a token of their own.
    pairs = [each.partition("=") for each in settings.oidc_scopes]
    reading = [theirs.strip() for ours, _, theirs in pairs if ours.strip() == "read"]
    return SignIn(
        issuer=settings.oidc_issuer,
        client_id=settings.sign_in_client_id,
        audience=settings.oidc_audience,
        scope=" ".join(settings.sign_in_scopes or ("openid", *reading)),
        origins=(f"{issuer.scheme}://{issuer.netloc}", *settings.sign_in_origins),
    )
