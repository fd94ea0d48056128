"""The bill of a workload: lines of an amount and a price."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from dicomulus.cli.cost import usage as used

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from dicomulus.cli.cost.ledger import Ledger
    from dicomulus.cli.cost.prices import Prices
    from dicomulus.cli.cost.workload import Workload

Part = Literal["stored", "ingested", "viewed", "checked", "idle"]

# In the order of a bill: the name of the price, what it is for, and of what it is counted.
LABELS: Final[dict[str, tuple[str, str]]] = {
    "s3_standard_gb_month": ("S3, Standard", "GB-month"),
    "s3_intelligent_infrequent_gb_month": ("S3, Intelligent-Tiering, infrequent", "GB-month"),
    "s3_intelligent_archive_gb_month": ("S3, Intelligent-Tiering, archive instant", "GB-month"),
    "s3_intelligent_object_month": ("S3, Intelligent-Tiering, monitoring", "object-month"),
    "s3_instant_gb_month": ("S3, Glacier Instant Retrieval", "GB-month"),
    "s3_instant_put": ("S3, move to Glacier Instant Retrieval", "object"),
    "s3_instant_get": ("S3, GET from Glacier Instant Retrieval", "request"),
    "s3_instant_gb_read": ("S3, read from Glacier Instant Retrieval", "GB"),
    "s3_put": ("S3, PUT and LIST", "request"),
    "s3_get": ("S3, GET and HEAD", "request"),
    "dynamodb_write": ("DynamoDB, write", "unit"),
    "dynamodb_read": ("DynamoDB, read", "unit"),
    "dynamodb_gb_month": ("DynamoDB, storage", "GB-month"),
    "dynamodb_backup_gb_month": ("DynamoDB, point-in-time recovery", "GB-month"),
    "sqs_request": ("SQS", "request"),
    "eventbridge_event": ("EventBridge", "event"),
    "lambda_request": ("Lambda, invocation", "request"),
    "lambda_gb_second": ("Lambda, duration", "GB-second"),
    "lambda_stream_gb": ("Lambda, stream beyond 6 MB", "GB"),
    "gateway_request": ("API Gateway", "request"),
    "out_gb": ("data out, to the internet", "GB"),
    "cloudfront_gb": ("data out, by CloudFront", "GB"),
    "cloudfront_request": ("CloudFront", "request"),
    "waf_request": ("WAF", "request"),
    "waf_acl_month": ("WAF, web ACL", "month"),
    "waf_rule_month": ("WAF, rule", "month"),
    "logs_gb": ("CloudWatch, log", "GB"),
    "logs_gb_month": ("CloudWatch, log kept", "GB-month"),
    "metric_month": ("CloudWatch, metric", "month"),
    "alarm_month": ("CloudWatch, alarm", "month"),
    "dashboard_month": ("CloudWatch, dashboard", "month"),
    "trace": ("X-Ray, trace", "trace"),
    "kms_key_month": ("KMS, key", "month"),
    "kms_request": ("KMS", "request"),
    "state_transition": ("Step Functions", "transition"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of a bill."""

    part: Part
    what: str
    amount: float
    unit: str
    usd_each: float

    @property
    def usd(self) -> float:
        """What it comes to."""
        return self.amount * self.usd_each


def lines_of(part: Part, usage: Mapping[str, float], prices: Prices) -> list[Line]:
    """Price a usage."""
    return [
        Line(
            part=part,
            what=what,
            amount=usage[name],
            unit=unit,
            usd_each=getattr(prices, name),
        )
        for name, (what, unit) in LABELS.items()
        if name in usage
    ]


def monthly_bill(ledger: Ledger, workload: Workload, prices: Prices) -> list[Line]:
    """Give the bill of a month in which as much comes as goes, with the archive full."""
    studies = workload.studies
    return [
        *lines_of(
            "stored", used.stored(ledger, workload, studies=studies, months=workload.months), prices
        ),
        *lines_of("ingested", used.ingest(ledger, workload, studies=studies), prices),
        *lines_of("viewed", used.views(ledger, workload, studies=studies * workload.views), prices),
        *lines_of(
            "checked", used.checked(ledger, workload, studies=studies * workload.months), prices
        ),
        *lines_of("idle", used.idle(ledger, workload), prices),
    ]


def usd_of(lines: Iterable[Line], part: Part | None = None) -> float:
    """Add lines, all or those of a part."""
    return sum(line.usd for line in lines if part in (None, line.part))


# --- single figures -------------------------------------------------------------------------------

MILLION: Final = 1_000_000


def ingest_of_a_million(ledger: Ledger, workload: Workload, prices: Prices) -> list[Line]:
    """Price the ingest of a million instances in series of the workload's length."""
    studies = MILLION / workload.series / workload.instances
    return lines_of("ingested", used.ingest(ledger, workload, studies=studies), prices)


def answers_of_a_million(
    ledger: Ledger, name: str, workload: Workload, prices: Prices, *, counts_bytes_out: bool
) -> list[Line]:
    """Price a million answers, with their way to the internet or without."""
    usage = used.scaled(used.answer(ledger, name, workload), MILLION)
    if not counts_bytes_out:
        for each in ("out_gb", "cloudfront_gb"):
            usage.pop(each, None)
    return lines_of("viewed", usage, prices)
