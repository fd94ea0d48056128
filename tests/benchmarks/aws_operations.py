"""What each operation asks of AWS, metered on the deployed archive over moto."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, Final
from unittest import mock

from dicomulus.adapters.aws.dynamodb_index import DynamoDbIndex
from dicomulus.adapters.aws.limits import INGEST_BATCH
from dicomulus.adapters.aws.s3_store import S3Store
from dicomulus.adapters.aws.sqs_queue import SqsQueue
from dicomulus.adapters.compressed_store import CompressedStore
from dicomulus.api.routes import answer
from dicomulus.composition import aws_archive
from dicomulus.dicom.resource import SeriesResource
from dicomulus.ports import StabiliseSeries
from dicomulus.wire.message import Headers, Request
from tests.benchmarks.aws_meter import Meter
from tests.benchmarks.aws_prices import (
    USD_PER_BYTE_OUT,
    USD_PER_GATEWAY_REQUEST,
    USD_PER_LAMBDA_REQUEST,
    USD_PER_S3_REQUEST,
    USD_PER_SQS_REQUEST,
)
from tests.benchmarks.results import OperationCost
from tests.support.aws import REGION
from tests.support.datasets import generated_study
from tests.support.deployed import BASE_URL, deployed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from dicomulus.services.archive import Archive
    from dicomulus.wire.message import Response
    from tests.benchmarks.aws_prices import Bill
    from tests.support.deployed import Deployed

OTHER_STUDIES: Final = 99
"""Studies of one instance, beside the one that is asked for, for the study list."""

OTHER_SERIES: Final = 3
"""Series of the study beside the one that is asked for."""

_RECEIVE_SHARE: Final = 2 / 10
"""SQS requests by which Lambda takes one message and removes it again, ten at a time."""


def operation_costs(instances: int, *, tell: Callable[[str], None]) -> list[OperationCost]:
    """Ingest a study with a series of so many instances, and ask for it in every way."""
    region = mock.patch.dict(os.environ, AWS_DEFAULT_REGION=REGION)
    with region, deployed() as system:
        return list(_Operations(system, instances, tell=tell).costs())


class _Operations:
    def __init__(self, system: Deployed, instances: int, *, tell: Callable[[str], None]) -> None:
        self._system = system
        self._instances = instances
        self._tell = tell
        with system.environment_of("read"):
            # Whatever is compacted is at rest at once, so that nobody waits for it here.
            settings = replace(system.settings, stable_age_seconds=0)
            self._archive = aws_archive(settings, index_here=False)
        self._meter = Meter(system.clients.dynamodb)
        self._meter.connect(*_clients_of(self._archive))

    def costs(self) -> Iterator[OperationCost]:
        self._put_others()
        main = [
            (f"main/{each.name}", each.content)
            for each in generated_study(series=1, instances=self._instances, seed=1)
        ]
        self._tell(f"AWS: {len(main)} instances over moto")
        yield self._ingest(main)
        with self._meter.reading() as bill:
            self._compact()
        yield self._cost("compaction", "series", bill)
        with self._meter.reading() as bill:
            self._stabilise()
        yield self._cost("a study comes to rest", "study", bill)
        yield from self._answers()

    def _put_others(self) -> None:
        others = [
            (f"other-{seed}/{each.name}", each.content)
            for seed in range(2, OTHER_STUDIES + 2)
            for each in generated_study(series=1, instances=1, seed=seed)
        ]
        # The seed, and so the study, is that of the series that is asked for.
        others += [
            (f"main/{each.name}", each.content)
            for each in generated_study(series=1 + OTHER_SERIES, instances=1, seed=1)
            if each.series_number > 1
        ]
        self._look_at(others)
        self._compact()
        while self._archive.stability.record_due():
            pass

    def _ingest(self, objects: Sequence[tuple[str, bytes]]) -> OperationCost:
        with self._meter.reading() as bill:
            batches = self._look_at(objects)
        usd = bill.usd + batches * USD_PER_LAMBDA_REQUEST
        # The object's upload, and its event from S3 through the queue to the function.
        usd += len(objects) * USD_PER_S3_REQUEST["s3:PutObject"]
        usd += len(objects) * (1 + _RECEIVE_SHARE) * USD_PER_SQS_REQUEST
        bill.requests["s3:PutObject"] += len(objects)
        bill.requests["sqs:event"] += len(objects)
        return self._cost("ingest", "instance", bill, count=len(objects), usd=usd)

    def _look_at(self, objects: Sequence[tuple[str, bytes]]) -> int:
        """Put objects and look at them, as many at once as the queue gives; the batches."""
        bucket = self._system.settings.storage_bucket
        batches = 0
        for first in range(0, len(objects), INGEST_BATCH.messages):
            batch = objects[first : first + INGEST_BATCH.messages]
            for key, content in batch:
                self._system.clients.s3.put_object(Bucket=bucket, Key=key, Body=content)
            self._archive.ingest.look_at([key for key, _ in batch])
            batches += 1
        return batches

    def _compact(self) -> None:
        self._archive.compaction.compact(self._archive.index.overdue_series(2**53))

    def _stabilise(self) -> None:
        """Find the series and its study at rest, as the sweep and its messages do."""
        asked = next(generated_study(series=1, instances=1, seed=1))
        series = SeriesResource(asked.study_instance_uid, asked.series_instance_uid)
        self._archive.stability.handle(StabiliseSeries(series))

    def _answers(self) -> Iterator[OperationCost]:
        asked = next(generated_study(series=1, instances=1, seed=1))
        study = f"/studies/{asked.study_instance_uid}"
        series = f"{study}/series/{asked.series_instance_uid}"
        instance = f"{series}/instances/{asked.sop_instance_uid}"
        yield self._answer("study list, limit=100", "/studies", ("limit", "100"))
        yield self._answer("study list by PatientID", "/studies", ("PatientID", "GEN-000007"))
        yield self._answer("study list by a text within", "/studies", ("PatientID", "*000007*"))
        yield self._answer("series list", f"{study}/series")
        yield self._answer(f"instance list ({self._instances})", f"{series}/instances")
        yield self._answer(f"series metadata ({self._instances})", f"{series}/metadata")
        tag = self._get(f"{series}/metadata").header("ETag") or ""
        yield self._answer(
            "series metadata, not modified", f"{series}/metadata", headers={"If-None-Match": tag}
        )
        yield self._answer(f"study metadata ({1 + OTHER_SERIES} series)", f"{study}/metadata")
        yield self._answer("instance metadata", f"{instance}/metadata")
        frame = {"Accept": 'multipart/related; type="application/octet-stream"'}
        yield self._answer("frame", f"{instance}/frames/1", headers=frame)

    def _answer(
        self,
        operation: str,
        path: str,
        *query: tuple[str, str],
        headers: dict[str, str] | None = None,
    ) -> OperationCost:
        # The first one may find less in the function's memory than all that follow.
        self._get(path, *query, headers=headers)
        with self._meter.reading() as bill:
            body = _whole(self._get(path, *query, headers=headers))
        usd = bill.usd + USD_PER_GATEWAY_REQUEST + USD_PER_LAMBDA_REQUEST
        return self._cost(operation, "answer", bill, usd=usd, answer_bytes=len(body))

    def _get(
        self, path: str, *query: tuple[str, str], headers: dict[str, str] | None = None
    ) -> Response:
        accepted = Headers.of({"Accept-Encoding": "gzip", **(headers or {})})
        request = Request("GET", f"/dicom-web{path}", query, accepted, base_url=BASE_URL)
        return answer(self._archive, request)

    @staticmethod
    def _cost(
        operation: str,
        per: str,
        bill: Bill,
        *,
        count: int = 1,
        usd: float | None = None,
        answer_bytes: int = 0,
    ) -> OperationCost:
        return OperationCost(
            operation=operation,
            per=per,
            requests={name: made / count for name, made in sorted(bill.requests.items())},
            read_units=bill.read_units / count,
            write_units=bill.write_units / count,
            read_bytes=bill.s3_bytes / count,
            answer_bytes=answer_bytes,
            usd_per_million=(bill.usd if usd is None else usd) / count * 1e6,
            usd_out_per_million=answer_bytes * USD_PER_BYTE_OUT * 1e6,
        )


def _whole(response: Response) -> bytes:
    return response.body if isinstance(response.body, bytes) else b"".join(response.body)


def _clients_of(archive: Archive) -> Iterable[object]:
    """Give the clients that an archive's adapters use, each once."""
    if not isinstance(archive.index, DynamoDbIndex):
        raise TypeError("not the archive of a table")
    clients: list[object] = [archive.index.table.client]
    storage = archive.storage
    if isinstance(storage, CompressedStore):
        storage = storage.store
    for adapter in (storage, archive.cache, archive.queue):
        if not isinstance(adapter, S3Store | SqsQueue):
            raise TypeError("not the archive of buckets and queues")
        clients.append(adapter.client)
    return {id(client): client for client in clients}.values()
