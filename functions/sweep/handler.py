"""Announces, by a schedule, series whose compaction or stability is overdue."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from dicomulus.adapters.aws.function_log import function_log
from dicomulus.adapters.aws.function_metrics import FunctionMetrics
from dicomulus.adapters.aws.metrics import COMPACTIONS_OVERDUE
from dicomulus.composition import aws_archive, clock_ms
from dicomulus.ports import CompactSeries, StabiliseSeries
from dicomulus.settings import Settings

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

GRACE_MS: Final = 60_000
"""Milliseconds after its due time in which the ordinary message may still be on its way."""

logger = function_log()
metrics = FunctionMetrics()
archive = aws_archive(Settings.from_env())


@logger.inject_lambda_context
@metrics.of_invocations
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, int]:
    """Enqueue the longest overdue series again; what it misses is due the next time."""
    latest_ms = clock_ms() - GRACE_MS
    overdue = archive.index.overdue_series(latest_ms)
    archive.queue.send([CompactSeries(series) for series in overdue])
    metrics.add(COMPACTIONS_OVERDUE, len(overdue))
    if overdue:
        logger.warning("compactions were overdue", extra={"series": len(overdue)})
    quiet = archive.index.quiet_series(latest_ms)
    archive.queue.send([StabiliseSeries(series) for series in quiet])
    if quiet:
        logger.warning("stable series were overdue", extra={"series": len(quiet)})
    archive.index.flush_changes()
    return {"series": len(overdue), "stable": len(quiet)}
