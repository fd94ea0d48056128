"""API Gateway's question who may do what, answered from the bearer token of a request."""

from __future__ import annotations

import json
import logging
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from dicomulus.errors import ConfigurationError, TokenInvalidError, UnavailableError
from dicomulus.oidc.tokens import TokenChecker

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from dicomulus.oidc.grants import Scope
    from dicomulus.oidc.tokens import Bearer
    from dicomulus.settings import Settings

logger = logging.getLogger(__name__)

METHODS: Final[Mapping[Scope, tuple[str, ...]]] = {
    "read": ("GET", "HEAD"),
    "write": ("POST", "PUT"),
    "delete": ("DELETE",),
}
"""Methods that a scope is for, whatever the path but for ``EXCEPTIONS``."""

EXCEPTIONS: Final[Mapping[str, Scope]] = {
    "DELETE/orthanc/*/attachments/*": "write",
    "DELETE/orthanc/*/labels/*": "write",
    "DELETE/orthanc/*/metadata/*": "write",
    "POST/orthanc/*/archive": "read",
    "POST/orthanc/*/media": "read",
    "POST/orthanc/*/verify-md5": "read",
    "POST/orthanc/tools/bulk-content": "read",
    "POST/orthanc/tools/bulk-delete*": "delete",
    "POST/orthanc/tools/count-resources": "read",
    "POST/orthanc/tools/create-archive": "read",
    "POST/orthanc/tools/create-media": "read",
    "POST/orthanc/tools/find": "read",
    "POST/orthanc/tools/lookup": "read",
}
"""What is for another scope than its method is: routes of Orthanc's REST API, with ``*`` for any
characters, slashes too (IAM). What a path hides from them, the function finds out."""

SECRET_SECONDS: Final = 60
"""Seconds between two looks for whether the secret has been replaced."""

_SCHEME: Final = "bearer "


class Unauthorized(Exception):
    """What the gateway answers with 401, for it goes by the message, which is this very word."""

    def __init__(self) -> None:
        """Say the word."""
        super().__init__("Unauthorized")


class Authorizer:
    """Answers the gateway, for requests of one deployment."""

    def __init__(
        self,
        settings: Settings,
        *,
        read_secret: Callable[[str], str] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Check the settings; nobody is asked yet but for the secret.

        Raises:
            ConfigurationError: Tokens cannot be checked like that.
        """
        self._settings = settings
        self._read_secret = read_secret or _read_secret
        self._clock = clock
        self._checker = self._made()

    def __call__(self, event: Mapping[str, Any]) -> dict[str, Any]:
        """Give what the bearer may do: a policy over all methods, so that it may be kept a while.

        Args:
            event: Of an authorizer of the type REQUEST.

        Raises:
            Unauthorized: The request has no token that counts.
            UnavailableError: The provider does not say whether it does.
        """
        try:
            bearer = self._check(_token(event))
        except TokenInvalidError as exc:
            logger.info("token refused", extra={"reason": str(exc)})
            raise Unauthorized from None
        return _policy(bearer, str(event["methodArn"]))

    def _check(self, token: str) -> Bearer:
        try:
            return self._checker.check(token)
        except UnavailableError:
            if not self._settings.oidc_secret_arn or self._clock() - self._made_at < SECRET_SECONDS:
                raise
            # The provider may know another secret by now.
            self._checker = self._made()
            return self._checker.check(token)

    def _made(self) -> TokenChecker:
        self._made_at = self._clock()
        settings = self._settings
        if settings.oidc_secret_arn:
            client_id, secret = _client(self._read_secret(settings.oidc_secret_arn))
            settings = replace(settings, oidc_client_id=client_id, oidc_client_secret=secret)
        return TokenChecker.of(settings)


def _token(event: Mapping[str, Any]) -> str:
    """Give the one token of a request, from its header alone.

    Raises:
        TokenInvalidError: There is none, or several, or one in the URL, where it is logged by all.
    """
    query = event.get("multiValueQueryStringParameters") or event.get("queryStringParameters") or {}
    if "access_token" in query:
        raise TokenInvalidError("a token in the URL does not count")
    sent = event.get("multiValueHeaders") or {
        name: [value] for name, value in (event.get("headers") or {}).items()
    }
    values = [
        value for name, given in sent.items() if name.lower() == "authorization" for value in given
    ]
    if len(values) != 1 or values[0][: len(_SCHEME)].lower() != _SCHEME:
        raise TokenInvalidError("the request has no bearer token, or more than one")
    return str(values[0][len(_SCHEME) :]).strip()


def _policy(bearer: Bearer, method_arn: str) -> dict[str, Any]:
    # arn:aws:execute-api:region:account:api/stage/method/path
    stage = "/".join(method_arn.split("/")[:2])
    methods = [each for scope in sorted(bearer.scopes) for each in METHODS[scope]]
    allowed = [f"{each}/*" for each in methods]
    allowed += [path for path, scope in EXCEPTIONS.items() if scope in bearer.scopes]
    # A refusal counts more than any permission.
    refused = [path for path, scope in EXCEPTIONS.items() if scope not in bearer.scopes]
    if not allowed:
        refused = ["*/*"]
    statements = [
        {
            "Action": "execute-api:Invoke",
            "Effect": effect,
            "Resource": [f"{stage}/{path}" for path in paths],
        }
        for effect, paths in (("Allow", allowed), ("Deny", refused))
        if paths
    ]
    return {
        "principalId": bearer.subject_digest,
        "policyDocument": {"Version": "2012-10-17", "Statement": statements},
        "context": {"scopes": " ".join(sorted(bearer.scopes))},
    }


def _client(secret: str) -> tuple[str, str]:
    try:
        parsed = json.loads(secret)
        return str(parsed["client_id"]), str(parsed["client_secret"])
    except (KeyError, TypeError, ValueError) as exc:
        raise ConfigurationError(
            "oidc_secret_arn: not an object with client_id and client_secret"
        ) from exc


def _read_secret(arn: str) -> str:
    # Some 400 ms of imports, for those alone that keep a secret.
    import boto3

    from dicomulus.adapters.aws.failures import translated_failures

    with translated_failures("Secrets Manager"):
        found = boto3.client("secretsmanager").get_secret_value(SecretId=arn)
    return str(found["SecretString"])
