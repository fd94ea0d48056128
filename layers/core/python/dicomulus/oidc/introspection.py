"""Asking the provider whether a token still counts (RFC 7662)."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.parse import quote_plus, urlencode

from dicomulus.errors import ConfigurationError
from dicomulus.oidc.documents import checked_url

if TYPE_CHECKING:
    from dicomulus.oidc.documents import Documents

_HINT: Final = "access_token"


@dataclass(frozen=True, slots=True)
class Introspection:
    """The provider's introspection endpoint, and who asks it."""

    url: str
    client_id: str
    client_secret: str = field(repr=False)
    documents: Documents

    def __post_init__(self) -> None:
        """Refuse what cannot work.

        Raises:
            ConfigurationError: The URL is unsafe, or the client has no name or secret.
        """
        checked_url(self.url)
        if not self.client_id or not self.client_secret:
            raise ConfigurationError("oidc_introspection_url: the client that asks has no secret")

    def is_active(self, token: str) -> bool:
        """Whether the provider still stands by a token.

        Raises:
            UnavailableError: It does not say.
        """
        body = urlencode({"token": token, "token_type_hint": _HINT}).encode("ascii")
        # Both are encoded as in a form before they are joined (RFC 6749 §2.3.1).
        pair = f"{quote_plus(self.client_id)}:{quote_plus(self.client_secret)}".encode("ascii")
        credentials = f"Basic {base64.b64encode(pair).decode('ascii')}"
        answer = self.documents.post(self.url, body, {"Authorization": credentials})
        return answer.get("active") is True
