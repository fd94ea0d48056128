"""What the AWS libraries raise, as the errors of this package."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    HTTPClientError,
    NoCredentialsError,
    NoRegionError,
)
from botocore.exceptions import (
    ConnectionError as BotoConnectionError,
)
from pynamodb.exceptions import PynamoDBException
from urllib3.exceptions import HTTPError as Urllib3Error

from dicomulus.errors import ConfigurationError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator

_CONFIGURATION_CODES: Final = frozenset(
    {
        "403",  # an answer to HEAD has no body that names the error
        "AccessDenied",
        "AccessDeniedException",
        "AWS.SimpleQueueService.NonExistentQueue",
        "InvalidAccessKeyId",
        "NoSuchBucket",
        "QueueDoesNotExist",
        "ResourceNotFoundException",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    }
)

_TRANSIENT_CODES: Final = frozenset(
    {
        "400",  # an answer to HEAD has no body; of what is refused so, only credentials are not ours
        "BandwidthLimitExceeded",
        "EC2ThrottledException",
        "ExpiredToken",  # Lambda hands out new credentials, to other environments at first
        "ExpiredTokenException",
        "InternalError",
        "InternalServerError",
        "InvalidObjectState",  # archived, and not restored yet
        "LimitExceededException",
        "PriorRequestNotComplete",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestThrottledException",
        "RequestTimeout",
        "RequestTimeoutException",
        "ServiceUnavailable",
        "ServiceUnavailableException",
        "SlowDown",
        "ThrottledException",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
        "TransactionInProgressException",
    }
)

_OF_KEYS: Final = "kms"
"""What the codes begin with, in capitals or not, by which a service passes on what KMS refuses it."""

_THROTTLED: Final = "throttl"

_FIRST_SERVER_ERROR: Final = 500


@contextmanager
def translated_failures(service: str) -> Iterator[None]:
    """Raise what the AWS libraries raise as errors of this package.

    What is neither a transient failure nor one of set-up is a defect of the caller, and is let
    through as it is.

    Raises:
        UnavailableError: The service throttles, fails or cannot be reached, after all retries.
        ConfigurationError: The table, bucket or queue is not there or may not be used.
    """
    try:
        yield
    except Urllib3Error as exc:
        # botocore reads what S3 says of a failed GetObject without a look at how that goes.
        raise UnavailableError(f"{service} breaks off") from exc
    except (PynamoDBException, ClientError, BotoCoreError) as exc:
        cause = exc.cause if isinstance(exc, PynamoDBException) else exc
        if isinstance(cause, (NoCredentialsError, NoRegionError)):
            raise ConfigurationError(f"{service}: {cause}") from exc
        if isinstance(cause, (BotoConnectionError, HTTPClientError)):
            raise UnavailableError(f"{service} cannot be reached") from exc
        if not isinstance(cause, ClientError):
            raise
        _translate(service, cause)
        raise


def error_code(error: ClientError) -> str:
    """Give the code by which a service names an error."""
    return error.response.get("Error", {}).get("Code", "")


def status_code(error: ClientError) -> int:
    """Give the HTTP status that an error came with."""
    return error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)


def _translate(service: str, error: ClientError) -> None:
    code = error_code(error)
    is_of_key = code.lower().startswith(_OF_KEYS)
    if code in _CONFIGURATION_CODES or (is_of_key and _THROTTLED not in code.lower()):
        raise ConfigurationError(f"{service}: {code}") from error
    if code in _TRANSIENT_CODES or is_of_key or status_code(error) >= _FIRST_SERVER_ERROR:
        raise UnavailableError(f"{service}: {code}") from error
