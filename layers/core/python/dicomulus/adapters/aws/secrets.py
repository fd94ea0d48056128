"""Secrets of AWS Secrets Manager."""

from __future__ import annotations

import time
from functools import lru_cache
from typing import Final

from dicomulus.adapters.aws.failures import translated_failures
from dicomulus.adapters.aws.retries import ATTEMPTS, retry_config
from dicomulus.adapters.aws.session import make_client

KEPT_SECONDS: Final = 300
"""Time after which a secret is read again, as it may be another one by then."""


def secret_text(arn: str) -> str:
    """Give a secret as text.

    Raises:
        UnavailableError: It cannot be read now.
        ConfigurationError: There is none, or it may not be read.
    """
    return _secret_text(arn, int(time.monotonic() // KEPT_SECONDS))


@lru_cache(4)
def _secret_text(arn: str, _: int) -> str:
    with translated_failures("Secrets Manager"):
        client = make_client(
            "secretsmanager", region=None, endpoint_url=None, config=retry_config(ATTEMPTS)
        )
        return str(client.get_secret_value(SecretId=arn)["SecretString"])
