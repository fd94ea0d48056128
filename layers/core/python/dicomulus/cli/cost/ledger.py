"""The ledger: what each operation asks of AWS, as it was counted on the deployed archive.

Its file is part of the package. ``python -m tests.benchmarks.ledger --count --update`` counts it anew.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

FILE: Final = "ledger.json"

INGEST: Final = "ingest"
"""Of keys of the bucket's owner: each has an item that says what it held."""
INGEST_CANONICAL: Final = "ingest, canonical keys"
"""Of keys that name their instance, as STOW-RS and uploads write them."""
INGEST_SHORT: Final = "ingest of studies of one instance"
INGEST_SHORT_CANONICAL: Final = "ingest of studies of one instance, canonical keys"
INGEST_ONE: Final = "ingest, one instance"
INGEST_FULL: Final = "ingest, a batch of one series"
INGEST_MIXED: Final = "ingest, a batch of as many series"
"""The three differ in instances and series of a batch, and in nothing else."""
COMPACTION: Final = "compaction"
STABILITY: Final = "a study comes to rest"
SWEEP: Final = "sweep"
RECONCILE_OBJECTS: Final = "reconcile, objects of a series"
RECONCILE_CANONICAL: Final = "reconcile, objects of a series, canonical keys"
RECONCILE_ROWS: Final = "reconcile, rows of a study"
"""A run compares objects with their rows, and rows with their objects: each that is of its share."""
STUDY_LIST: Final = "study list, limit=100"
STUDY_BY_PATIENT: Final = "study list by PatientID"
STUDY_BY_UID: Final = "study list by StudyInstanceUID"
SERIES_LIST: Final = "series list"
SERIES_METADATA: Final = "series metadata"
STUDY_METADATA: Final = "study metadata"
INSTANCE_METADATA: Final = "instance metadata"
NOT_MODIFIED: Final = "series metadata, not modified"
FRAME: Final = "frame"


@dataclass(frozen=True, slots=True)
class Round:
    """Requests of one kind that go out together, or one after the other."""

    operation: str
    """Service and operation, such as ``dynamodb:GetItem``."""
    calls: int
    at_once: int
    """Of them that are under way at the same time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """What was asked of AWS for a number of results."""

    count: int
    """Instances, series or answers that the quantities are of."""
    invocations: int
    """Of a function, for all of them."""
    function: str
    requests: Mapping[str, int]
    read_units: float
    written: Mapping[str, float]
    """Write units by where they fall: ``study``, ``object`` or the name of a secondary index."""
    sqs_requests: float
    s3_bytes: int
    """Bytes of objects that S3 gave."""
    answer_bytes: int = 0
    rounds: tuple[Round, ...] = ()
    """Of one invocation of those in the middle, in their order."""
    processor_ms: float = 0.0
    """Of one invocation, without the way through the network, measured on some machine."""

    @property
    def write_units(self) -> float:
        """Give the write units of all of them."""
        return sum(self.written.values())

    def calls(self, operation: str) -> float:
        """Give the requests of a kind for one result."""
        return self.requests.get(operation, 0) / self.count


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployed:
    """What the functions are given, as far as it costs."""

    memory_mb: Mapping[str, int]
    ingest_batch: int
    ingest_window_seconds: int
    ingest_functions: int
    compact_batch: int
    compact_functions: int
    reconcile_batch: int
    """Objects of a listing that one invocation gets."""
    search_shards: int
    sweep_minutes: int
    alarm_metrics: int
    """Metrics that alarms look at: each is charged, not the alarm."""
    dashboards: int
    metrics: int
    """Metrics of our own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemBytes:
    """Bytes of stored items with their share of the indexes, as DynamoDB counts them."""

    instance: float
    canonical_instance: float
    """Of an instance whose object's key names it."""
    series: float
    """With its dictionary."""
    study: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """All that was counted."""

    instances: int
    """Of the series that operations were counted on."""
    bundle_bytes: int
    """Of what the cache bucket keeps of that series."""
    stored: ItemBytes
    deployed: Deployed
    operations: Mapping[str, Operation] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Operation:
        return self.operations[name]


def read_ledger() -> Ledger:
    """Read the ledger of this version of the package."""
    return parse_ledger(json.loads((files(__package__) / FILE).read_text(encoding="utf-8")))


def parse_ledger(read: Mapping[str, Any]) -> Ledger:
    """Give the ledger of parsed JSON."""
    return Ledger(
        instances=read["instances"],
        bundle_bytes=read["bundle_bytes"],
        stored=ItemBytes(**read["stored"]),
        deployed=Deployed(**read["deployed"]),
        operations={
            name: Operation(
                **{**each, "rounds": tuple(Round(**one) for one in each.get("rounds", ()))}
            )
            for name, each in read["operations"].items()
        },
    )
