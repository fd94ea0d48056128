"""Prices of AWS, and of two managed archives, each with where it was read.

All are in USD and of us-east-1 (of Google: its list price), without any free tier or discount.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, Final

from dicomulus.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path

SOURCE: Final = "source"


def _usd(amount: float, source: str) -> float:
    """Give a price as a field that names its source."""
    price: float = field(default=amount, metadata={SOURCE: source})
    return price


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """What AWS charges for one of each. A field is the name by which it is given otherwise."""

    s3_put: float = _usd(5.0e-6, "aws.amazon.com/s3/pricing: PUT, COPY, POST, LIST of Standard")
    s3_get: float = _usd(0.4e-6, "aws.amazon.com/s3/pricing: GET and all other requests")
    s3_standard_gb_month: float = _usd(0.023, "aws.amazon.com/s3/pricing: first 50 TB")
    s3_intelligent_object_month: float = _usd(
        2.5e-6, "aws.amazon.com/s3/pricing: monitoring, objects from 128 KB on"
    )
    s3_intelligent_infrequent_gb_month: float = _usd(
        0.0125, "aws.amazon.com/s3/pricing: Intelligent-Tiering, 30 days untouched"
    )
    s3_intelligent_archive_gb_month: float = _usd(
        0.004, "aws.amazon.com/s3/pricing: Intelligent-Tiering, 90 days untouched"
    )
    s3_instant_gb_month: float = _usd(0.004, "aws.amazon.com/s3/pricing: Glacier Instant Retrieval")
    s3_instant_gb_read: float = _usd(0.03, "aws.amazon.com/s3/pricing: Glacier Instant Retrieval")
    s3_instant_put: float = _usd(
        20.0e-6,
        "aws.amazon.com/s3/pricing: PUT and lifecycle transition, Glacier Instant Retrieval",
    )
    s3_instant_get: float = _usd(
        10.0e-6, "aws.amazon.com/s3/pricing: GET, Glacier Instant Retrieval"
    )
    dynamodb_write: float = _usd(
        0.625e-6, "aws.amazon.com/dynamodb/pricing/on-demand: since November 2024"
    )
    dynamodb_read: float = _usd(
        0.125e-6, "aws.amazon.com/dynamodb/pricing/on-demand: since November 2024"
    )
    dynamodb_gb_month: float = _usd(0.25, "aws.amazon.com/dynamodb/pricing/on-demand")
    dynamodb_backup_gb_month: float = _usd(
        0.20, "aws.amazon.com/dynamodb/pricing/on-demand: point-in-time recovery"
    )
    sqs_request: float = _usd(0.4e-6, "aws.amazon.com/sqs/pricing: standard queue, each 64 KB")
    eventbridge_event: float = _usd(
        1.0e-6, "aws.amazon.com/eventbridge/pricing: S3's events are opt-in, and charged as custom"
    )
    lambda_request: float = _usd(0.2e-6, "aws.amazon.com/lambda/pricing")
    lambda_gb_second: float = _usd(0.0000133334, "aws.amazon.com/lambda/pricing: arm64")
    lambda_stream_gb: float = _usd(
        0.008,
        "aws.amazon.com/lambda/pricing: beyond 6 MB of an answer; from memory, not read again",
    )
    gateway_request: float = _usd(
        3.5e-6, "aws.amazon.com/api-gateway/pricing: REST, first 333 million; each 10 MB streamed"
    )
    out_gb: float = _usd(0.09, "aws.amazon.com/ec2/pricing/on-demand: to the internet, first 10 TB")
    cloudfront_gb: float = _usd(
        0.085, "aws.amazon.com/cloudfront/pricing: US and Europe, first 10 TB"
    )
    cloudfront_request: float = _usd(1.0e-6, "aws.amazon.com/cloudfront/pricing: HTTPS, US")
    logs_gb: float = _usd(0.50, "aws.amazon.com/cloudwatch/pricing: ingestion")
    logs_gb_month: float = _usd(0.03, "aws.amazon.com/cloudwatch/pricing: storage, compressed")
    metric_month: float = _usd(0.30, "aws.amazon.com/cloudwatch/pricing: custom metric")
    alarm_month: float = _usd(0.10, "aws.amazon.com/cloudwatch/pricing: standard resolution")
    dashboard_month: float = _usd(3.0, "aws.amazon.com/cloudwatch/pricing: custom dashboard")
    trace: float = _usd(5.0e-6, "aws.amazon.com/xray/pricing: recorded")
    kms_key_month: float = _usd(1.0, "aws.amazon.com/kms/pricing")
    kms_request: float = _usd(3.0e-6, "aws.amazon.com/kms/pricing: symmetric")
    waf_acl_month: float = _usd(5.0, "aws.amazon.com/waf/pricing")
    waf_rule_month: float = _usd(1.0, "aws.amazon.com/waf/pricing")
    waf_request: float = _usd(0.6e-6, "aws.amazon.com/waf/pricing")
    state_transition: float = _usd(25.0e-6, "aws.amazon.com/step-functions/pricing: standard")


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthImagingPrices:
    """AWS HealthImaging, us-east-1."""

    frequent_gb_month: float = _usd(0.105, "aws.amazon.com/healthimaging/pricing")
    archive_gb_month: float = _usd(0.006, "aws.amazon.com/healthimaging/pricing: 30 days untouched")
    request: float = _usd(5.0e-6, "aws.amazon.com/healthimaging/pricing: 0.005 for 1,000 calls")
    least_gb: float = 0.005
    """An image set counts as 5 MB at least."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthcarePrices:
    """Google's Cloud Healthcare API."""

    blob_gib_month: float = _usd(0.020, "cloud.google.com/healthcare-api/pricing: DICOM")
    structured_gib_month: float = _usd(
        0.24, "cloud.google.com/healthcare-api/pricing: up to 1 TiB, 0.19 beyond"
    )
    standard_request: float = _usd(3.9e-6, "cloud.google.com/healthcare-api/pricing")
    complex_request: float = _usd(
        6.9e-6, "cloud.google.com/healthcare-api/pricing: searches are complex"
    )


def read_prices(path: Path) -> Prices:
    """Read prices of another region or contract from a JSON or TOML file; others stay.

    Raises:
        ConfigurationError: It cannot be read, or names no price of ours.
    """
    given = read_table(path)
    known = {each.name for each in fields(Prices)}
    for name, value in given.items():
        if name not in known:
            raise ConfigurationError(
                f"{path}: {name} is no price; they are {', '.join(sorted(known))}"
            )
        if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
            raise ConfigurationError(f"{path}: {name} is no amount of USD")
    return replace(Prices(), **given)


def read_table(path: Path) -> dict[str, Any]:
    """Read the names and values of a JSON or TOML file.

    Raises:
        ConfigurationError: It cannot be read.
    """
    import tomllib

    try:
        text = path.read_text(encoding="utf-8")
        read = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except (OSError, ValueError) as exc:
        raise ConfigurationError(f"{path} cannot be read: {exc}") from exc
    if not isinstance(read, dict):
        raise ConfigurationError(f"{path} holds no names and values")
    return read
