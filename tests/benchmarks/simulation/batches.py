"""What a batch of ingest asks for, from the batches that the ledger counted."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

from dicomulus.cli.cost import ledger as names
from dicomulus.cli.cost.ledger import Round
from dicomulus.cli.cost.usage import waiting_ms

if TYPE_CHECKING:
    from dicomulus.cli.cost.ledger import Ledger

BATCH_WRITE_ITEMS: Final = 25
"""Items of one BatchWriteItem (DynamoDB)."""


@dataclass(frozen=True)
class BatchShape:
    """Of a batch: requests, processor time and write units by its instances and series."""

    ledger: Ledger
    canonical: bool = False

    @cached_property
    def _writes(self) -> tuple[float, float]:
        """Give the units on the study's partition for an instance, and for a series."""
        full, mixed = self.ledger[names.INGEST_FULL], self.ledger[names.INGEST_MIXED]
        series = (mixed.written["study"] - full.written["study"]) / (mixed.count - 1)
        return (full.written["study"] - series) / full.count, series

    @property
    def instance_units(self) -> float:
        """Write units on the study's partition for one instance."""
        return self._writes[0]

    @property
    def series_units(self) -> float:
        """Write units on the study's partition for one series of a batch: its version moves."""
        return self._writes[1]

    @cached_property
    def uid_units(self) -> float:
        """Write units in the index of UIDs for one instance."""
        ingested = self.ledger[names.INGEST]
        return round(ingested.written["by_uid"] / ingested.count)

    @cached_property
    def object_units(self) -> float:
        """Write units on the partition of the key's own item for one instance."""
        ingested = self.ledger[names.INGEST_CANONICAL if self.canonical else names.INGEST]
        return round(ingested.written.get("object", 0) / ingested.count)

    def units_of(self, *, series_share: float, partitions: int | None) -> float:
        """Give the write units that an instance takes of the partition that its study is on.

        Args:
            series_share: Series for each instance of a batch.
            partitions: Of the table, over which the items of keys spread; without, only the study.
        """
        beside = self.object_units / partitions if partitions else 0.0
        return self.instance_units + self.series_units * series_share + beside

    def study_rate(self, *, partition_units: float, partitions: int | None) -> float:
        """Give the instances a second that one partition takes of one study in full batches."""
        share = 1 / self.ledger[names.INGEST_FULL].count
        return partition_units / self.units_of(series_share=share, partitions=partitions)

    @cached_property
    def _processor(self) -> tuple[float, float, float]:
        one, full = self.ledger[names.INGEST_ONE], self.ledger[names.INGEST_FULL]
        mixed = self.ledger[names.INGEST_MIXED]
        series = (mixed.processor_ms - full.processor_ms) / (mixed.count - 1)
        noted = 0.0
        if not self.canonical:
            whole = self.ledger[names.INGEST].processor_ms - full.processor_ms
            noted = max(0.0, whole) / full.count
        instance = (full.processor_ms - one.processor_ms) / (full.count - 1)
        return one.processor_ms - instance - series, instance + noted, series

    def processor_seconds(self, instances: int, series: int) -> float:
        """Give the processor time of a batch."""
        batch, each, moved = self._processor
        return (batch + instances * each + series * moved) / 1000

    @cached_property
    def _batch_reads(self) -> int:
        """Give the reads of what keys held, and of rows that are there: each of all instances."""
        return self.ledger[names.INGEST_FULL].requests["dynamodb:BatchGetItem"]

    def reads(self, instances: int) -> list[Round]:
        """Give what is read before anything is written."""
        return [
            Round("s3:GetObject", instances, min(16, instances)),
            Round("dynamodb:BatchGetItem", self._batch_reads, 1),
        ]

    def notes(self, instances: int) -> Round | None:
        """Give what notes of keys, unless they name their instances."""
        if not self.object_units:
            return None
        return Round("dynamodb:UpdateItem", instances, min(8, instances))

    def rows(self, instances: int) -> Round:
        """Give what writes the rows."""
        return Round("dynamodb:BatchWriteItem", math.ceil(instances / BATCH_WRITE_ITEMS), 1)

    def versions(self, series: int) -> Round:
        """Give what moves the versions."""
        return Round("dynamodb:UpdateItem", series, min(8, series))

    def looks(self, instances: int) -> Round:
        """Give the second look at the objects."""
        return Round("s3:HeadObject", instances, min(16, instances))

    def mean_seconds(self, instances: int, series: int) -> float:
        """Give about how long a batch keeps its poller when nothing is refused."""
        rounds = list(self.rounds(instances, series))
        noted = self.notes(instances)
        rounds += [noted] if noted else []
        rounds.append(Round("sqs:ReceiveMessage", math.ceil(instances / 10), 1))
        return waiting_ms(rounds) / 1000 + self.processor_seconds(instances, series)

    def rounds(self, instances: int, series: int) -> tuple[Round, ...]:
        """Give all of it in its order, for a batch whose keys are known."""
        return (
            *self.reads(instances),
            self.rows(instances),
            self.versions(series),
            self.looks(instances),
        )
