"""What a workload uses of each AWS service, from the ledger's counts."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from dicomulus.cli.cost import ledger as names
from dicomulus.cli.cost.latencies import latency_of
from dicomulus.services.reconcile import RECENT_DAYS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from dicomulus.cli.cost.ledger import Ledger, Operation, Round
    from dicomulus.cli.cost.workload import Workload

Usage = dict[str, float]
"""Amounts by the name of their price."""

GIB: Final = 2**30
GB: Final = 1e9

MONTH_SECONDS: Final = 365.25 / 12 * 86_400

FULL_SPEED_BYTES: Final = 6_291_456
"""Bytes of an answer beyond which Lambda charges for the stream."""

GATEWAY_BYTES: Final = 10_485_760
"""Bytes of a streamed answer that the gateway counts as one request."""

POLLERS: Final = 5
"""Requests that Lambda keeps waiting at a queue, also an idle one whose function is limited
(docs.aws.amazon.com/lambda/latest/dg/services-sqs-scaling.html)."""

POLL_SECONDS: Final = 20
"""Seconds that an empty receive waits."""

QUEUES: Final = 2

_LISTED: Final = 1_000
"""Objects of one page of a listing."""

PROCESSOR_MB: Final = 1_769
"""Memory of a function with one processor; with less it has that part of one (Lambda)."""

INIT_PROCESSOR_SECONDS: Final = 0.5
INIT_OTHER_SECONDS: Final = 0.5
"""A start, which is charged as well: its processor time, and as much for packages to be loaded."""

TRACED_SHARE: Final = 0.1
"""Part of the invocations of traced functions that X-Ray records: one a second, and 5%."""

TRACED: Final = frozenset({"ingest", "compact", "sweep"})
"""Functions that are traced by themselves."""

LOG_BYTES: Final = 1_000
"""Bytes of log of an invocation: Lambda's lines of start and end, and one of ours."""

GATEWAY_LOG_BYTES: Final = 550
"""Bytes of the gateway's line for each request."""

LOG_MONTHS: Final = 3
"""Months that logs are kept by default; they are stored at some 15% of their size."""

LOG_STORED_SHARE: Final = 0.15

_MESSAGES: Final[Usage] = {"sqs_request": 3.0}
"""A message is sent, received and deleted."""

_NOTHING: Final = 1e-9
"""What an amount that differs from zero by rounding is less than."""

AUTHORIZE_MB: Final = 1_024
AUTHORIZE_SECONDS: Final = 0.01

WAF_RULES: Final = 4

KMS_SQS_REUSE_SECONDS: Final = 300
"""Seconds that SQS uses a data key."""


@dataclass(frozen=True, slots=True)
class Batch:
    """What ingest asks for, taken apart into what each instance, series and batch adds."""

    instance: Usage
    series: Usage
    """A series that is new, its study with it."""
    batch: Usage


def scaled(usage: Mapping[str, float], times: float) -> Usage:
    """Give a usage so many times."""
    return {name: amount * times for name, amount in usage.items()}


def added(*usages: Mapping[str, float]) -> Usage:
    """Add usages; what comes to nothing is left out."""
    total: Usage = {}
    for usage in usages:
        for name, amount in usage.items():
            total[name] = total.get(name, 0.0) + amount
    return {name: amount for name, amount in total.items() if abs(amount) > _NOTHING}


def requests_of(operation: Operation) -> Usage:
    """Give what an operation asks of S3, DynamoDB and SQS, for all of its results."""
    usage: Usage = {
        "dynamodb_read": operation.read_units,
        "dynamodb_write": operation.write_units,
        "sqs_request": operation.sqs_requests,
    }
    for name, made in operation.requests.items():
        price = s3_price_of(name)
        if price is not None:
            usage[price] = usage.get(price, 0.0) + made
    return usage


def s3_price_of(operation: str) -> str | None:
    """Name the price of a request to S3; some, and those to others, have none."""
    service, _, action = operation.partition(":")
    if service != "s3" or action.startswith(("Delete", "Abort")):
        return None
    writes = ("Put", "Copy", "List", "Create", "Upload", "Complete")
    return "s3_put" if action.startswith(writes) else "s3_get"


def seconds_of(ledger: Ledger, name: str) -> float:
    """Give about how long one invocation takes: its processor time, and waiting for answers."""
    operation = ledger[name]
    processor_ms = operation.processor_ms / _processors(ledger, operation.function)
    return (processor_ms + waiting_ms(operation.rounds)) / 1000


def waiting_ms(rounds: Iterable[Round]) -> float:
    """Give about how long rounds take; one of several requests at once as long as its slowest."""
    total = 0.0
    for each in rounds:
        latency = latency_of(each.operation)
        if each.at_once == 1:
            total += each.calls * latency.mean_ms
        else:
            total += math.ceil(each.calls / each.at_once) * latency.slowest_ms(each.at_once)
    return total


def _processors(ledger: Ledger, function: str) -> float:
    """Give the part of a processor that a function has; more than one is of no use to it."""
    return min(1.0, ledger.deployed.memory_mb[function] / PROCESSOR_MB)


def invoked(ledger: Ledger, function: str, *, seconds: float, cold_share: float) -> Usage:
    """Give what one invocation of a function costs besides what it asks of others."""
    gib = ledger.deployed.memory_mb[function] / 1024
    start = INIT_PROCESSOR_SECONDS / _processors(ledger, function) + INIT_OTHER_SECONDS
    return added(
        {
            "lambda_request": 1,
            "lambda_gb_second": gib * (seconds + cold_share * start),
            "trace": TRACED_SHARE if function in TRACED else 0,
        },
        logged(LOG_BYTES),
    )


def logged(size: float) -> Usage:
    """Give what bytes of log cost, with their storage."""
    return added({"logs_gb": size / GB, "logs_gb_month": size / GB * LOG_STORED_SHARE * LOG_MONTHS})


# --- ingest ---------------------------------------------------------------------------------------


def ingest_parts(ledger: Ledger, *, canonical: bool) -> Batch:
    """Take ingest apart: three counts, in which instances, series and batches differ.

    A series of many instances, as many series of one instance, and a batch of what is known
    already, whose part that does not grow with its instances is that of the batch.
    """
    long = ledger[names.INGEST_CANONICAL if canonical else names.INGEST]
    short = ledger[names.INGEST_SHORT_CANONICAL if canonical else names.INGEST_SHORT]
    one, full = ledger[names.INGEST_ONE], ledger[names.INGEST_FULL]
    growth = scaled(added(requests_of(full), scaled(requests_of(one), -1)), 1 / (full.count - 1))
    batch = added(requests_of(one), scaled(growth, -1))
    of_long = added(requests_of(long), scaled(batch, -long.invocations))
    of_short = added(requests_of(short), scaled(batch, -short.invocations))
    # n instances in one series, and m in m series: the difference is what series add.
    each_short = scaled(of_short, 1 / short.count)
    series = scaled(
        added(scaled(each_short, long.count), scaled(of_long, -1)), 1 / (long.count - 1)
    )
    return Batch(added(each_short, scaled(series, -1)), series, batch)


def ingest_seconds(ledger: Ledger, *, batch: float, canonical: bool) -> float:
    """Give about how long a batch of so many instances takes, in between of those counted."""
    long = names.INGEST_CANONICAL if canonical else names.INGEST
    first, last = seconds_of(ledger, names.INGEST_ONE), seconds_of(ledger, long)
    share = (batch - 1) / (ledger.deployed.ingest_batch - 1)
    return first + (last - first) * share


def ingest(ledger: Ledger, workload: Workload, *, studies: float) -> Usage:
    """Give what it takes until so many studies are stored, indexed, compacted and at rest."""
    series = studies * workload.series
    instances = series * workload.instances
    size = min(workload.batch, workload.instances, ledger.deployed.ingest_batch)
    batches = instances / size
    parts = ingest_parts(ledger, canonical=workload.canonical_keys)
    seconds = ingest_seconds(ledger, batch=size, canonical=workload.canonical_keys)
    events: Usage = {
        "s3_put": instances,
        # S3 sends a message for each object; it is received and deleted ten at a time.
        "sqs_request": instances + 2 * batches * math.ceil(size / 10),
    }
    if workload.adopted:
        events["eventbridge_event"] = instances
    return added(
        events,
        scaled(parts.instance, instances),
        scaled(parts.series, series),
        scaled(parts.batch, batches),
        scaled(invoked(ledger, "ingest", seconds=seconds, cold_share=workload.cold_share), batches),
        compaction(ledger, workload, studies=studies),
    )


def compaction(ledger: Ledger, workload: Workload, *, studies: float) -> Usage:
    """Give what it takes until so many studies are compacted and at rest."""
    compacted, rested = ledger[names.COMPACTION], ledger[names.STABILITY]
    series = studies * workload.series
    once = requests_of(compacted)
    # All rows of the series are read; the rest is the same for any.
    rows = compacted.read_units * min(1.0, workload.instances / ledger.instances)
    once["dynamodb_read"] = max(4.0, rows)
    cold = workload.cold_share
    times = added(
        once,
        invoked(ledger, "compact", seconds=seconds_of(ledger, names.COMPACTION), cold_share=cold),
        _MESSAGES,
    )
    rest = added(
        requests_of(rested),
        invoked(ledger, "compact", seconds=seconds_of(ledger, names.STABILITY), cold_share=cold),
        _MESSAGES,
    )
    return scaled(added(scaled(times, workload.compactions), rest), series)


# --- views ----------------------------------------------------------------------------------------


def answer(
    ledger: Ledger,
    name: str,
    workload: Workload,
    *,
    size: float | None = None,
    read: float | None = None,
) -> Usage:
    """Give what one answer takes.

    Args:
        ledger: What was counted.
        name: The answer.
        workload: How clients reach the archive.
        size: Bytes of its body, if not as counted.
        read: Read units, if not as counted.
    """
    operation = ledger[name]
    usage = requests_of(operation)
    if read is not None:
        usage["dynamodb_read"] = read
    sent = operation.answer_bytes if size is None else size
    seconds = seconds_of(ledger, name)
    preflights = 1 if workload.cross_origin and not workload.cloudfront else 0
    counted = max(1, math.ceil(sent / GATEWAY_BYTES)) + preflights
    return added(
        usage,
        {
            "gateway_request": counted,
            "lambda_stream_gb": max(0.0, sent - FULL_SPEED_BYTES) / GB,
            "cloudfront_gb" if workload.cloudfront else "out_gb": sent / GB,
            "cloudfront_request": 1 if workload.cloudfront else 0,
            "waf_request": 1 if workload.waf else 0,
        },
        invoked(ledger, operation.function, seconds=seconds, cold_share=workload.cold_share),
        logged(GATEWAY_LOG_BYTES),
        _authorized() if workload.authorization == "oidc" else {},
    )


def _authorized() -> Usage:
    return added(
        {
            "lambda_request": 1,
            "lambda_gb_second": AUTHORIZE_MB / 1024 * AUTHORIZE_SECONDS,
        },
        logged(LOG_BYTES),
    )


def views(ledger: Ledger, workload: Workload, *, studies: float) -> Usage:
    """Give what it takes when so many studies are opened once, as OHIF opens them."""
    frames = workload.series * (1 + workload.instances * workload.viewed_share)
    share = workload.instances / ledger.instances
    metadata = ledger[names.SERIES_METADATA].answer_bytes * share
    one = added(
        scaled(answer(ledger, names.STUDY_LIST, workload), workload.lists),
        scaled(answer(ledger, names.STUDY_BY_UID, workload), 2),
        answer(ledger, names.STUDY_BY_PATIENT, workload),
        answer(ledger, names.SERIES_LIST, workload),
        scaled(answer(ledger, names.SERIES_METADATA, workload, size=metadata), workload.series),
        scaled(answer(ledger, names.FRAME, workload, size=workload.instance_bytes), frames),
    )
    return scaled(one, studies)


# --- storage --------------------------------------------------------------------------------------


def stored(ledger: Ledger, workload: Workload, *, studies: float, months: float) -> Usage:
    """Give what it takes to hold so many studies for some months."""
    series = studies * workload.series
    instances = series * workload.instances
    kept = ledger.stored
    item = kept.canonical_instance if workload.canonical_keys else kept.instance
    index = (instances * item + series * kept.series + studies * kept.study) / GIB
    bundles = series * ledger.bundle_bytes * workload.instances / ledger.instances / GIB
    return added(
        _objects(workload, instances=instances, months=months),
        {
            "s3_standard_gb_month": bundles * months,
            "dynamodb_gb_month": index * months,
            "dynamodb_backup_gb_month": index * months,
        },
    )


def _objects(workload: Workload, *, instances: float, months: float) -> Usage:
    size = instances * workload.instance_bytes / GIB
    first = min(1.0, months)
    if workload.storage_class == "standard":
        return added({"s3_standard_gb_month": size * months})
    if workload.storage_class == "instant":
        moved = instances if months > 1 else 0
        return added(
            {
                "s3_standard_gb_month": size * first,
                "s3_instant_gb_month": size * (months - first),
                "s3_instant_put": moved,
            }
        )
    second = min(3.0, months) - first
    return added(
        {
            "s3_standard_gb_month": size * first,
            "s3_intelligent_infrequent_gb_month": size * second,
            "s3_intelligent_archive_gb_month": size * (months - first - second),
            "s3_intelligent_object_month": instances * months,
        }
    )


# --- checks ---------------------------------------------------------------------------------------

VERIFIED_BYTES_A_SECOND: Final = 75e6
"""Bytes that a function reads and hashes."""


def checked(ledger: Ledger, workload: Workload, *, studies: float) -> Usage:
    """Give what it takes in a month to compare so many studies with their objects."""
    series = studies * workload.series
    instances = series * workload.instances
    seconds = instances * workload.instance_bytes / VERIFIED_BYTES_A_SECOND
    gib = ledger.deployed.memory_mb["reconcile"] / 1024
    recent = min(instances, workload.instances_a_month * RECENT_DAYS * 86_400 / MONTH_SECONDS)
    share = instances / workload.compare_days
    objects = recent + (instances - recent) / workload.compare_days
    return added(
        scaled(_listed(ledger, workload, instances, compared=objects), workload.reconciles),
        scaled(_compared(ledger, names.RECONCILE_ROWS, share), workload.reconciles),
        {
            "s3_get": workload.verifications * instances,
            "lambda_gb_second": workload.verifications * seconds * gib,
        },
    )


def _listed(ledger: Ledger, workload: Workload, listed: float, *, compared: float) -> Usage:
    """Give what it takes to list everything, and to compare some of it, batch by batch."""
    canonical = workload.canonical_keys
    name = names.RECONCILE_CANONICAL if canonical else names.RECONCILE_OBJECTS
    operation = ledger[name]
    batches = listed / ledger.deployed.reconcile_batch
    compared /= operation.count
    seconds = seconds_of(ledger, name) * compared / batches if batches else 0
    # What it has found is kept of each.
    seconds += latency_of("s3:PutObject").mean_ms / 1000
    return added(
        scaled(requests_of(operation), compared),
        scaled(invoked(ledger, operation.function, seconds=seconds, cold_share=0), batches),
        {"s3_put": listed / _LISTED + batches},
    )


def _compared(ledger: Ledger, name: str, instances: float) -> Usage:
    """Give what one run asks for some instances, as many at once as were counted."""
    operation = ledger[name]
    each = added(
        requests_of(operation),
        invoked(ledger, operation.function, seconds=seconds_of(ledger, name), cold_share=0),
    )
    return scaled(each, instances / operation.count)


# --- what comes in any case -----------------------------------------------------------------------


def idle(ledger: Ledger, workload: Workload) -> Usage:
    """Give what a month costs in which nobody does anything."""
    deployed = ledger.deployed
    sweeps = MONTH_SECONDS / 60 / deployed.sweep_minutes
    swept = ledger[names.SWEEP]
    return added(
        {
            "sqs_request": QUEUES * POLLERS * MONTH_SECONDS / POLL_SECONDS,
            "alarm_month": deployed.alarm_metrics,
            "metric_month": deployed.metrics,
            "dashboard_month": deployed.dashboards,
            "kms_key_month": 1 if workload.kms else 0,
            "kms_request": QUEUES * MONTH_SECONDS / KMS_SQS_REUSE_SECONDS if workload.kms else 0,
            "waf_acl_month": 1 if workload.waf else 0,
            "waf_rule_month": WAF_RULES if workload.waf else 0,
        },
        scaled(requests_of(swept), sweeps),
        # Five minutes are about as long as Lambda keeps a function that is not used.
        scaled(
            invoked(ledger, "sweep", seconds=seconds_of(ledger, names.SWEEP), cold_share=1), sweeps
        ),
    )
