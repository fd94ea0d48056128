"""What the functions measure of their work: names, units and dimensions of the metrics.

Each has the dimension ``service``, whose value is ``service_name`` of a function.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

NAMESPACE: Final = "Dicomulus"
"""Namespace of all of them in CloudWatch."""

SERVICE_DIMENSION: Final = "service"
"""Dimension that every metric has: whose it is."""

REASON_DIMENSION: Final = "reason"
"""Further dimension of ``OBJECTS_REJECTED``, which is also there without."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric."""

    name: str
    unit: str
    """Unit as CloudWatch writes it."""


INSTANCES_INDEXED: Final = Metric("InstancesIndexed", "Count")
"""Instances whose rows were written, again or for the first time (ingest)."""

BYTES_INDEXED: Final = Metric("BytesIndexed", "Bytes")
"""Bytes of the objects of these instances, read or not (ingest)."""

OBJECTS_REJECTED: Final = Metric("ObjectsRejected", "Count")
"""Objects that are no instances: in all, and by the reason (ingest)."""

MESSAGES_RETURNED: Final = Metric("MessagesReturned", "Count")
"""Messages of a batch that were given back to their queue (ingest, compact)."""

SERIES_COMPACTED: Final = Metric("SeriesCompacted", "Count")
"""Series whose bundles and rows were brought up to date (compact)."""

COMPACTION_LAG: Final = Metric("CompactionLag", "Seconds")
"""Time from the announcement that a series is due, its delay included, to its bundle (compact)."""

COMPACTIONS_OVERDUE: Final = Metric("CompactionsOverdue", "Count")
"""Series that the schedule found due, whose message was lost or has not helped (sweep)."""

RECONCILE_FINDINGS: Final = Metric("ReconcileFindings", "Count")
"""What a run of reconcile has found: in all, and by the kind of finding (reconcile)."""

FINDING_DIMENSION: Final = "finding"
"""Further dimension of ``RECONCILE_FINDINGS``, which is also there without."""

OBJECTS_DAMAGED: Final = Metric("ObjectsDamaged", "Count")
"""Objects whose bytes are not those of their checksums any more (reconcile)."""

OBJECTS_COMPARED: Final = Metric("ObjectsCompared", "Count")
"""Objects of the storage area that a run has compared with their rows (reconcile)."""

OBJECTS_VERIFIED: Final = Metric("ObjectsVerified", "Count")
"""Objects that a run has read whole (reconcile)."""

RECONCILE_FAILURES: Final = Metric("ReconcileFailures", "Count")
"""Parts of a run that could not be done, which makes it incomplete (reconcile)."""

PROBES_FAILED: Final = Metric("ProbesFailed", "Count")
"""1 for a probe that was not answered, 0 for one that was (probe)."""

PROBE_DURATION: Final = Metric("ProbeDuration", "Seconds")
"""Time from the put of a probe to the bundle that holds it (probe)."""

METRICS: Final = (
    INSTANCES_INDEXED,
    BYTES_INDEXED,
    OBJECTS_REJECTED,
    MESSAGES_RETURNED,
    SERIES_COMPACTED,
    COMPACTION_LAG,
    COMPACTIONS_OVERDUE,
    RECONCILE_FINDINGS,
    OBJECTS_DAMAGED,
    OBJECTS_COMPARED,
    OBJECTS_VERIFIED,
    RECONCILE_FAILURES,
    PROBES_FAILED,
    PROBE_DURATION,
)


def service_name(function: str, *, stage: str = "") -> str:
    """Give the name under which a function of a stage logs and measures."""
    return "-".join(part for part in ("dicomulus", stage, function) if part)
