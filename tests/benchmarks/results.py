"""What a run has measured, written to a file and read from it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    from pathlib import Path

FIRST_BYTE: Final = "first byte"
"""What is asked for where the whole answer is not waited for."""

Part = Literal["latency", "first", "clients", "ingest", "memory"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One figure of one server, with what it depends on."""

    part: Part
    request: str
    """What was asked for, such as ``series metadata``; for ingest and memory, of what."""
    peer: str
    variant: str = ""
    """How: the content coding, or a setting."""
    instances: int
    """Instances in the archive; for ingest, before it."""
    count: int
    """Requests, or instances ingested, that the figure comes from."""
    median_ms: float | None = None
    min_ms: float | None = None
    max_ms: float | None = None
    cpu_ms: float | None = None
    """CPU time of all processes of the server for one request or instance."""
    body_bytes: int | None = None
    per_second: float | None = None
    resident_bytes: int | None = None
    proportional_bytes: int | None = None
    load: float = 0.0
    """Load average of the machine at the end of the measurement."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationCost:
    """What one operation asks of AWS, and what that costs."""

    operation: str
    per: str
    """What one operation is of, such as ``answer`` or ``instance``."""
    requests: dict[str, float]
    """By service and operation, such as ``dynamodb:GetItem``."""
    read_units: float
    write_units: float
    read_bytes: float
    """Bytes of objects that S3 gave."""
    answer_bytes: int
    usd_per_million: float
    """Without the time of functions, and without what follows."""
    usd_out_per_million: float
    """For the answers' way to the internet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchFigure:
    """What one page of one search takes in an archive of some size."""

    question: str
    studies: int
    """In the archive."""
    status: int
    found: int
    """Results on the page, or the count that was asked for."""
    has_next: bool
    """Whether there is a link to a further page."""
    cost: str
    """What the server says that it read of its index."""
    count: int
    """Requests that the times come from."""
    median_ms: float
    min_ms: float
    max_ms: float
    cpu_ms: float
    body_bytes: int
    read_units: float | None
    """Of DynamoDB; ``None`` where no page was given."""
    requests: int | None
    """To DynamoDB."""
    usd_per_million: float | None
    """Of such pages, without the time of functions and the way to the internet."""
    load: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrievalFigure:
    """What it takes to get something of one object, of one study, or of one size of frame."""

    subject: str
    asked: str
    count: int
    """Requests that the times come from."""
    body_bytes: int
    """Of one answer; for ingest, of the object."""
    median_ms: float
    min_ms: float
    max_ms: float
    cpu_ms: float | None = None
    per_second: float | None = None
    reads: int | None = None
    """Reads of the object for one of them."""
    read_bytes: int | None = None
    """Bytes of the object that one of them reads."""
    most_bytes: int | None = None
    """Most memory of all processes of the server meanwhile, what they share counted once."""
    load: float


@dataclass(slots=True)
class Results:
    """All figures of one run."""

    date: str
    machine: dict[str, str | int]
    versions: dict[str, str]
    skipped: dict[str, str] = field(default_factory=dict)
    """Peers and parts that are not there, and why."""
    data: dict[str, str | int] = field(default_factory=dict)
    measurements: list[Measurement] = field(default_factory=list)
    operations: list[OperationCost] = field(default_factory=list)
    searches: list[SearchFigure] = field(default_factory=list)
    retrievals: list[RetrievalFigure] = field(default_factory=list)

    def of(
        self,
        part: Part,
        request: str,
        *,
        peer: str | None = None,
        variant: str | None = None,
        instances: int | None = None,
    ) -> list[Measurement]:
        """Give the measurements of a part and request, in the order they were made."""
        return [
            each
            for each in self.measurements
            if (each.part, each.request) == (part, request)
            and peer in (None, each.peer)
            and variant in (None, each.variant)
            and instances in (None, each.instances)
        ]


def in_turns(rows: int) -> str:
    """Name the ingest of images of one size that took turns with that of another."""
    return f"{rows}x{rows}, one study alone"


def write_results(results: Results, path: Path) -> None:
    """Write results as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(asdict(results), indent=1, sort_keys=True) + "\n")


def read_results(path: Path) -> Results:
    """Read what ``write_results`` wrote."""
    read: dict[str, Any] = json.loads(path.read_text())
    return Results(
        **{
            **read,
            "measurements": [Measurement(**each) for each in read["measurements"]],
            "operations": [OperationCost(**each) for each in read["operations"]],
            # Earlier runs had none.
            "searches": [SearchFigure(**each) for each in read.get("searches", ())],
            "retrievals": [RetrievalFigure(**each) for each in read.get("retrievals", ())],
        }
    )
