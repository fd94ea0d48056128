"""Every limit on the way, how much of it a load uses, and at which load it is met."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tests.benchmarks.simulation.capacity import PARTITION_WRITE_UNITS
from tests.benchmarks.simulation.viewers import ACCOUNT_FUNCTIONS, GATEWAY_REQUESTS

if TYPE_CHECKING:
    from tests.benchmarks.simulation.batches import BatchShape
    from tests.benchmarks.simulation.ingest import IngestPlan, IngestRun
    from tests.benchmarks.simulation.viewers import ViewerRun

S3_PUT_A_SECOND: Final = 3_500
S3_GET_A_SECOND: Final = 5_500
"""Of each prefix, at least (S3)."""

SQS_IN_FLIGHT: Final = 120_000
"""Messages of one queue that were received and not deleted (SQS)."""

TABLE_UNITS: Final = 40_000
"""Write units a second of one table, unless more was asked for (DynamoDB)."""


@dataclass(frozen=True, slots=True)
class LimitUse:
    """How much of a limit is used."""

    what: str
    used: float
    limit: float
    whose: str
    """Who moves it: a setting of the deployment, a quota that AWS raises, or nobody."""

    @property
    def share(self) -> float:
        """Give the part that is used; over one it is exceeded."""
        return self.used / self.limit


def series_of_batch(plan: IngestPlan, run: IngestRun) -> float:
    """Give how many series a full batch holds, as the batches of a run have them."""
    share = run.series_in_batches / max(1, run.uploaded)
    return max(1.0, min(plan.batch, share * plan.batch))


def functions_needed(plan: IngestPlan, run: IngestRun, *, shape: BatchShape) -> float:
    """Give the functions at work that keep up with the uploads in full batches."""
    series = round(series_of_batch(plan, run))
    return plan.uploads_a_second / plan.batch * shape.mean_seconds(plan.batch, series)


def uses(
    plan: IngestPlan, run: IngestRun, viewers: ViewerRun | None, *, shape: BatchShape
) -> list[LimitUse]:
    """Give the use of every limit by a load, the fullest first."""
    rate = plan.uploads_a_second
    mixed = series_of_batch(plan, run) / plan.batch
    partitions = max(1, plan.write_units // PARTITION_WRITE_UNITS)
    study_units = shape.units_of(series_share=mixed, partitions=None)
    table_units = study_units + shape.object_units
    beside = rate * shape.object_units / partitions
    ingest_functions = functions_needed(plan, run, shape=shape)
    read_functions = viewers.functions_at_work if viewers else 0.0
    found = [
        LimitUse(
            "functions of ingest at a time",
            ingest_functions,
            plan.functions,
            "`ingest_concurrency`",
        ),
        LimitUse(
            "write units a second of a study's partition",
            rate / plan.studies * study_units + beside,
            PARTITION_WRITE_UNITS,
            "DynamoDB splits it by itself, in minutes",
        ),
        LimitUse(
            "write units a second that the table is warm for",
            rate * table_units,
            plan.write_units,
            "`warm_write_units`",
        ),
        LimitUse(
            "write units a second that the index of UIDs is warm for",
            rate * shape.uid_units,
            plan.write_units,
            "`warm_write_units`",
        ),
        LimitUse(
            "write units a second of a table", rate * table_units, TABLE_UNITS, "quota of DynamoDB"
        ),
        LimitUse(
            "functions of the account at a time",
            ingest_functions + read_functions,
            viewers.plan.account_functions if viewers else ACCOUNT_FUNCTIONS,
            "quota of Lambda",
        ),
        LimitUse(
            "PUT a second of a study's prefix",
            rate / plan.studies,
            S3_PUT_A_SECOND,
            "more prefixes",
        ),
        LimitUse(
            "GET and HEAD a second of a study's prefix",
            2 * rate / plan.studies,
            S3_GET_A_SECOND,
            "more prefixes",
        ),
        LimitUse("messages in flight", ingest_functions * plan.batch, SQS_IN_FLIGHT, "nobody"),
    ]
    if viewers:
        found.append(
            LimitUse(
                "requests a second that the gateway lets through",
                viewers.requests_a_second,
                viewers.plan.throttle_rate,
                "`throttle_rate`",
            )
        )
        found.append(
            LimitUse(
                "requests a second of the account's gateways",
                viewers.requests_a_second,
                GATEWAY_REQUESTS,
                "quota of API Gateway",
            )
        )
    return sorted(found, key=lambda each: each.share, reverse=True)
