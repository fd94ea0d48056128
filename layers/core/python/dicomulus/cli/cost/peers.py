"""The same workload at two managed archives, as far as their prices are published."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dicomulus.cli.cost import ledger as names
from dicomulus.cli.cost.prices import HealthcarePrices, HealthImagingPrices
from dicomulus.cli.cost.usage import GB, GIB

if TYPE_CHECKING:
    from dicomulus.cli.cost.ledger import Ledger
    from dicomulus.cli.cost.prices import Prices
    from dicomulus.cli.cost.workload import Workload

HEADER_BYTES = 4_300
"""Bytes of an instance besides its pixel data, which Google stores as structured."""


@dataclass(frozen=True, slots=True)
class PeerUsd:
    """What a month of a workload costs elsewhere."""

    stored: float
    ingested: float
    viewed: float
    not_counted: str
    """What is charged as well, and has no price that could be read."""

    @property
    def usd(self) -> float:
        """What comes to a sum of it."""
        return self.stored + self.ingested + self.viewed


def _answers(workload: Workload) -> tuple[float, float, float]:
    """Give searches, metadata requests and frames of a month."""
    opened = workload.studies * workload.views
    searches = opened * (workload.lists + 2 + 1 + 1)
    metadata = opened * workload.series
    frames = opened * workload.series * (1 + workload.instances * workload.viewed_share)
    return searches, metadata, frames


def _out_usd(ledger: Ledger, workload: Workload, prices: Prices) -> float:
    """Price the way to the internet, which both charge as AWS does."""
    _, metadata, frames = _answers(workload)
    share = workload.instances / ledger.instances
    sent = metadata * ledger[names.SERIES_METADATA].answer_bytes * share
    return (sent + frames * workload.instance_bytes) / GB * prices.out_gb


def health_imaging(
    ledger: Ledger,
    workload: Workload,
    prices: Prices,
    *,
    their: HealthImagingPrices | None = None,
) -> PeerUsd:
    """Price a month of AWS HealthImaging; a series becomes an image set."""
    their = their or HealthImagingPrices()
    sets = workload.studies * workload.series
    size = max(their.least_gb, workload.instances * workload.instance_bytes / GIB)
    first = min(1.0, workload.months)
    later = workload.months - first
    searches, metadata, frames = _answers(workload)
    return PeerUsd(
        stored=sets * size * (first * their.frequent_gb_month + later * their.archive_gb_month),
        ingested=0.0,
        viewed=(searches + metadata + frames) * their.request + _out_usd(ledger, workload, prices),
        not_counted="storage of structured metadata",
    )


def healthcare_api(
    ledger: Ledger, workload: Workload, prices: Prices, *, their: HealthcarePrices | None = None
) -> PeerUsd:
    """Price a month of Google's Cloud Healthcare API, each instance stored by a request."""
    their = their or HealthcarePrices()
    gib = workload.bytes_a_month / GIB * workload.months
    structured = workload.instances_a_month * HEADER_BYTES / GIB * workload.months
    searches, metadata, frames = _answers(workload)
    return PeerUsd(
        stored=gib * their.blob_gib_month + structured * their.structured_gib_month,
        ingested=workload.instances_a_month * their.standard_request,
        viewed=searches * their.complex_request
        + (metadata + frames) * their.standard_request
        + _out_usd(ledger, workload, prices),
        not_counted="its own price of the way to the internet; that of AWS stands for it",
    )
