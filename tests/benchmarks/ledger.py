"""The ledger made anew: ``python -m tests.benchmarks.ledger --count --template --update``.

Operations are counted on the deployed archive over moto; with ``--processor`` their processor time
is measured as well, with what moto itself takes left out.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import threading
import time
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from unittest import mock

import moto.core.botocore_stubber

from dicomulus.adapters.aws import metrics
from dicomulus.adapters.aws.dynamodb_index import PARALLEL_REQUESTS, DynamoDbIndex
from dicomulus.adapters.aws.keys import object_item_key, partition_key
from dicomulus.adapters.aws.limits import COMPACT_BATCH, INGEST_BATCH
from dicomulus.adapters.aws.s3_store import S3Store
from dicomulus.adapters.aws.schema import TABLE_SCHEMA
from dicomulus.adapters.aws.sqs_queue import SqsQueue
from dicomulus.adapters.aws.table import item_size_bytes
from dicomulus.adapters.compressed_store import CompressedStore
from dicomulus.api.routes import answer
from dicomulus.cli.cost import ledger as names
from dicomulus.cli.cost.ledger import (
    FILE,
    ItemBytes,
    Ledger,
    Operation,
    Round,
)
from dicomulus.cli.cost.ledger import (
    Deployed as DeployedLimits,
)
from dicomulus.composition import PARALLEL_READS, aws_archive
from dicomulus.dicom.resource import (
    InstanceResource,
    SeriesResource,
    canonical_key,
)
from dicomulus.ports import StabiliseSeries
from dicomulus.services.wishes import Cursor, Wishes
from dicomulus.wire.message import Headers, Request
from infra import limits
from infra.deployment import Deployment as DeploymentOptions
from tests.benchmarks.aws_meter import Meter
from tests.benchmarks.aws_prices import projected
from tests.infra.conftest import synthesise
from tests.support.aws import REGION
from tests.support.datasets import generated_study
from tests.support.deployed import BASE_URL, deployed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from dicomulus.ports import ObjectInfo
    from dicomulus.services.archive import Archive
    from dicomulus.wire.message import Response
    from tests.benchmarks.aws_prices import Bill
    from tests.support.datasets import GeneratedInstance
    from tests.support.deployed import Deployed

LEDGER_FILE: Final = Path(names.__file__).with_name(FILE)

INSTANCES: Final = 450
"""Of the series that everything is counted on."""

STUDIES_LISTED: Final = 99
"""Studies of one instance beside the one that is asked for."""

OTHER_SERIES: Final = 3
"""Series of that study beside the one that is asked for."""

_ITEM_OVERHEAD_BYTES: Final = 100
"""Bytes that DynamoDB adds to each item, in the table and in each index, when it bills storage."""

SCHEDULED: Final = Wishes(days=DeploymentOptions().verify_days // DeploymentOptions().compare_days)
"""What a daily run is asked for, without reading objects whole, which is counted by its bytes."""

_DELAY_SECONDS: Final = 900

_REPEATS: Final = 7
"""Of each operation, to take the least of their processor times."""


def count_ledger(
    *, instances: int = INSTANCES, studies_listed: int = STUDIES_LISTED, previous: Ledger | None
) -> Ledger:
    """Count everything; processor times are those of a previous ledger, or none."""
    with _system() as system:
        counted = _Counted(system, instances=instances, studies_listed=studies_listed)
        operations = counted.operations()
        bundle_bytes = counted.bundle_bytes()
        stored = counted.item_bytes()
    if previous is not None:
        operations = {
            name: replace(each, processor_ms=previous.operations[name].processor_ms)
            if name in previous.operations
            else each
            for name, each in operations.items()
        }
    return Ledger(
        instances=instances,
        bundle_bytes=bundle_bytes,
        stored=stored,
        deployed=deployed_limits(previous),
        operations=operations,
    )


def deployed_limits(previous: Ledger | None) -> DeployedLimits:
    """Give what the functions are given; what only a template tells is kept."""
    told = {
        "ingest": limits.INGEST,
        "compact": limits.COMPACT,
        "read": limits.READ,
        "render": limits.RENDER,
        "store": limits.STORE,
        "manage": limits.MANAGE,
        "sweep": limits.SWEEP,
        "reconcile": limits.RECONCILE,
    }
    return DeployedLimits(
        memory_mb={name: each.memory_mb for name, each in told.items()},
        ingest_batch=INGEST_BATCH.messages,
        ingest_window_seconds=INGEST_BATCH.window_seconds,
        ingest_functions=INGEST_BATCH.functions,
        compact_batch=COMPACT_BATCH.messages,
        compact_functions=COMPACT_BATCH.functions,
        reconcile_batch=limits.RECONCILE_BATCH_OBJECTS,
        search_shards=4,
        sweep_minutes=limits.SWEEP_MINUTES,
        alarm_metrics=previous.deployed.alarm_metrics if previous else 0,
        dashboards=previous.deployed.dashboards if previous else 0,
        metrics=len([each for each in vars(metrics).values() if isinstance(each, metrics.Metric)]),
    )


def watched() -> tuple[int, int]:
    """Give the metrics that alarms look at, and the dashboards, of a deployment's template."""
    made = synthesise({"stage": "prod"})
    alarms = made.resources("AWS::CloudWatch::Alarm").values()
    return (
        sum(alarm_metrics(each["Properties"]) for each in alarms),
        len(made.resources("AWS::CloudWatch::Dashboard")),
    )


def alarm_metrics(alarm: dict[str, Any]) -> int:
    """Give the metrics that one alarm looks at; what it computes of them is none."""
    return sum("MetricStat" in each for each in alarm.get("Metrics", ())) or 1


@contextmanager
def _system() -> Iterator[Deployed]:
    region = mock.patch.dict(os.environ, AWS_DEFAULT_REGION=REGION)
    with region, deployed() as system:
        yield system


class _Asked:
    """An archive with a study to ask for, and what is asked."""

    def __init__(self, system: Deployed, *, instances: int) -> None:
        self.system = system
        # Nobody takes the messages here.
        system.clients.s3.put_bucket_notification_configuration(
            Bucket=system.settings.storage_bucket, NotificationConfiguration={}
        )
        with system.environment_of("read"):
            # What is compacted is at rest at once, so that nobody waits for it here; a due time
            # lasts for longer than this takes, so that each series gets one, as one of a scanner.
            settings = replace(
                system.settings, stable_age_seconds=0, compact_delay_seconds=_DELAY_SECONDS
            )
            self.archive = aws_archive(settings, index_here=False)
        self.main = list(generated_study(series=1, instances=instances, seed=1))
        first = self.main[0]
        self.series = SeriesResource(first.study_instance_uid, first.series_instance_uid)
        self.first = InstanceResource(
            first.study_instance_uid, first.series_instance_uid, first.sop_instance_uid
        )

    @cached_property
    def listed(self) -> tuple[ObjectInfo, ...]:
        """List the objects of the series."""
        return tuple(self.archive.storage.list("main/"))

    def put(self, objects: Sequence[tuple[str, bytes]]) -> list[str]:
        for key, content in objects:
            self.system.put(key, content)
        return [key for key, _ in objects]

    def put_others(self, studies: int) -> None:
        others = [
            (f"other/{number}.dcm", variant(self.main[0], number).content)
            for number in range(2, studies + 2)
        ]
        # The seed, and so the study, is that of the series that is asked for.
        beside = [
            each
            for each in generated_study(series=1 + OTHER_SERIES, instances=1, seed=1)
            if each.series_number > 1
        ]
        others += [(f"main/{each.name}", each.content) for each in beside]
        for at in range(0, len(others), INGEST_BATCH.messages):
            self.archive.ingest.look_at(self.put(others[at : at + INGEST_BATCH.messages]))
        # Only those of this study, since moto walks its whole table for each query.
        resources = [
            SeriesResource(each.study_instance_uid, each.series_instance_uid) for each in beside
        ]
        self.archive.compaction.compact(resources)
        for series in resources:
            self.archive.stability.handle(StabiliseSeries(series))

    def compact_series(self) -> None:
        """Compact the series that is asked for, as its message does."""
        self.archive.compaction.compact([self.series])

    def stabilise(self) -> None:
        """Find the series and its study at rest, as the sweep and its messages do."""
        self.archive.stability.handle(StabiliseSeries(self.series))

    def compare_objects(self) -> None:
        """Compare the objects of the series with their rows, as a batch of a run does."""
        self.archive.reconcile.compare_objects(self.listed, SCHEDULED)

    def compare_rows(self) -> None:
        """Compare all rows with their objects, as the walk of a run does."""
        self.archive.reconcile.compare_rows(Cursor(), SCHEDULED)

    def sweep(self) -> None:
        """Look for what is overdue, as the function does."""
        self.archive.index.overdue_series(0)
        self.archive.index.quiet_series(0)

    def answers(self) -> Iterator[tuple[str, str, Callable[[], Response]]]:
        """Name each answer, its function, and how it is got."""
        study = f"/studies/{self.series.study_instance_uid}"
        series = f"{study}/series/{self.series.series_instance_uid}"
        instance = f"{series}/instances/{self.first.sop_instance_uid}"
        tag = self.get(f"{series}/metadata").header("ETag") or ""
        frame = {"Accept": 'multipart/related; type="application/octet-stream"'}
        uid = ("StudyInstanceUID", self.series.study_instance_uid)
        for name, function, path, query, headers in (
            (names.STUDY_LIST, "read", "/studies", ("limit", "100"), {}),
            (names.STUDY_BY_PATIENT, "read", "/studies", ("PatientID", "GEN-000001"), {}),
            (names.STUDY_BY_UID, "read", "/studies", uid, {}),
            (names.SERIES_LIST, "read", f"{study}/series", None, {}),
            (names.SERIES_METADATA, "read", f"{series}/metadata", None, {}),
            (names.NOT_MODIFIED, "read", f"{series}/metadata", None, {"If-None-Match": tag}),
            (names.STUDY_METADATA, "read", f"{study}/metadata", None, {}),
            (names.INSTANCE_METADATA, "read", f"{instance}/metadata", None, {}),
            (names.FRAME, "render", f"{instance}/frames/1", None, frame),
        ):

            def got(
                path: str = path,
                query: tuple[str, str] | None = query,
                headers: dict[str, str] = headers,
            ) -> Response:
                return self.get(path, query, headers=headers)

            yield name, function, got

    def get(
        self, path: str, query: tuple[str, str] | None = None, *, headers: Any = None
    ) -> Response:
        accepted = Headers.of({"Accept-Encoding": "gzip", **(headers or {})})
        asked = (query,) if query else ()
        request = Request("GET", f"/dicom-web{path}", asked, accepted, base_url=BASE_URL)
        return answer(self.archive, request)


class _Counted:
    def __init__(self, system: Deployed, *, instances: int, studies_listed: int) -> None:
        self._asked = _Asked(system, instances=instances)
        self._studies_listed = studies_listed
        self._meter = Meter(system.clients.dynamodb)
        self._meter.connect(*_clients_of(self._asked.archive))

    def operations(self) -> dict[str, Operation]:
        asked, size = self._asked, INGEST_BATCH.messages
        main = [(f"main/{each.name}", each.content) for each in asked.main]
        counted = {
            names.INGEST: self._batches(main, size),
            names.COMPACTION: self._count("compact", asked.compact_series),
            names.STABILITY: self._count("compact", asked.stabilise),
            names.SWEEP: self._count("sweep", asked.sweep),
            # Of a table that holds this study alone.
            names.RECONCILE_OBJECTS: self._compared(),
            names.RECONCILE_ROWS: self._per_instance(asked.compare_rows),
            **dict(self._other_ingest(main)),
            names.RECONCILE_CANONICAL: self._compared_canonical(),
        }
        asked.put_others(self._studies_listed)
        # Batches that were looked at again have moved its version.
        asked.compact_series()
        for name, function, got in asked.answers():
            # The first one may find less in the function's memory than all that follow.
            size = len(whole(got()))
            operation = self._count(function, partial(_read_whole, got))
            counted[name] = replace(operation, answer_bytes=size)
        return counted

    def _other_ingest(self, main: Sequence[tuple[str, bytes]]) -> Iterator[tuple[str, Operation]]:
        size = INGEST_BATCH.messages
        canonical = list(generated_study(series=1, instances=len(main), seed=2))
        yield names.INGEST_CANONICAL, self._batches(_canonical(canonical), size)
        short = [variant(canonical[0], 1000 + number) for number in range(size)]
        named = [(f"short/{number}.dcm", each.content) for number, each in enumerate(short)]
        # New series are written of while others are still read, in no fixed order.
        yield names.INGEST_SHORT, replace(self._batches(named, size), rounds=())
        short = [variant(canonical[0], 2000 + number) for number in range(size)]
        yield (
            names.INGEST_SHORT_CANONICAL,
            replace(self._batches(_canonical(short), size), rounds=()),
        )
        # What each instance and each series adds to a batch, from batches that differ in them.
        yield names.INGEST_ONE, self._batches(main[:1], 1, again=True)
        yield names.INGEST_FULL, self._batches(main[:size], size, again=True)
        mixed = [
            (f"mixed/{number}.dcm", variant(canonical[0], 3000 + number, same_study=True).content)
            for number in range(size)
        ]
        yield names.INGEST_MIXED, self._batches(mixed, size, again=True)

    def _batches(
        self, objects: Sequence[tuple[str, bytes]], size: int, *, again: bool = False
    ) -> Operation:
        """Ingest in batches of a size; again for batches of a series that is known already."""
        batches = [objects[at : at + size] for at in range(0, len(objects), size)]
        keys = [self._asked.put(batch) for batch in batches]
        if again:
            for batch in keys:
                self._asked.archive.ingest.look_at(batch)
        bills = []
        for batch in keys:
            with self._meter.reading() as bill:
                self._asked.archive.ingest.look_at(batch)
            bills.append(bill)
        return _operation("ingest", bills, count=len(objects), middle=bills[len(bills) // 2])

    def _count(self, function: str, action: Callable[[], object]) -> Operation:
        with self._meter.reading() as bill:
            action()
        return _operation(function, [bill], count=1, middle=bill)

    def _compared(self) -> Operation:
        self._asked.listed  # noqa: B018  (the listing is counted by its length)
        return self._per_instance(self._asked.compare_objects)

    def _compared_canonical(self) -> Operation:
        first = next(generated_study(series=1, instances=1, seed=2))
        archive = self._asked.archive
        ((key, _),) = _canonical([first])
        listed = tuple(archive.storage.list(key.rpartition("/")[0] + "/"))
        return self._per_instance(lambda: archive.reconcile.compare_objects(listed, SCHEDULED))

    def _per_instance(self, action: Callable[[], object]) -> Operation:
        return replace(self._count("reconcile", action), count=len(self._asked.main))

    def bundle_bytes(self) -> int:
        """Give what the cache bucket keeps of the series that is asked for."""
        uid = self._asked.series.series_instance_uid
        return sum(info.size for info in self._asked.archive.cache.list("") if uid in info.key)

    def item_bytes(self) -> ItemBytes:
        """Measure the items of the study that is asked for, with their copies in indexes."""
        table = self._asked.system.settings.table_name
        dynamodb = self._asked.system.clients.dynamodb
        pages = dynamodb.get_paginator("scan").paginate(TableName=table)
        items: list[Any] = [item for page in pages for item in page["Items"]]
        of_study = [
            item
            for item in items
            if item["p"]["S"] == partition_key(self._asked.series.study_instance_uid)
        ]
        uid = self._asked.series.series_instance_uid

        def bytes_of(prefix: str) -> float:
            mine = [
                _stored_bytes(item)
                for item in of_study
                if item["s"]["S"].startswith(prefix) and uid in item["s"]["S"]
            ]
            return sum(mine) / len(mine)

        key = object_item_key(f"main/{self._asked.main[0].name}").partition
        note = next(_stored_bytes(item) for item in items if item["p"]["S"] == key)
        (study,) = (_stored_bytes(item) for item in of_study if item["s"]["S"] == "#STUDY")
        return ItemBytes(
            instance=round(bytes_of("INSTANCE#") + note),
            canonical_instance=round(bytes_of("INSTANCE#")),
            series=round(bytes_of("SERIES#") + bytes_of("DICT#")),
            study=round(study),
        )


def variant(made: GeneratedInstance, number: int, *, same_study: bool = False) -> GeneratedInstance:
    """Give an instance of another study and patient, or of another series of the same."""
    end = f"{number:06}"
    others = {made.series_instance_uid, made.sop_instance_uid}
    if not same_study:
        others.add(made.study_instance_uid)
    content = made.content
    for uid in others:
        content = content.replace(uid.encode(), (uid[: -len(end)] + end).encode())
    if not same_study:
        content = content.replace(b"GEN-000001", f"GEN-{end}".encode())
    return replace(
        made,
        study_instance_uid=made.study_instance_uid
        if same_study
        else made.study_instance_uid[: -len(end)] + end,
        series_instance_uid=made.series_instance_uid[: -len(end)] + end,
        sop_instance_uid=made.sop_instance_uid[: -len(end)] + end,
        content=content,
    )


def _canonical(made: Sequence[GeneratedInstance]) -> list[tuple[str, bytes]]:
    return [
        (
            canonical_key(
                InstanceResource(
                    each.study_instance_uid, each.series_instance_uid, each.sop_instance_uid
                )
            ),
            each.content,
        )
        for each in made
    ]


def _operation(function: str, bills: Sequence[Bill], *, count: int, middle: Bill) -> Operation:
    requests: dict[str, int] = {}
    written: dict[str, float] = {}
    for bill in bills:
        for name, made in bill.requests.items():
            requests[name] = requests.get(name, 0) + made
        for place, units in bill.written.items():
            written[place] = written.get(place, 0) + units
    return Operation(
        count=count,
        invocations=len(bills),
        function=function,
        requests=dict(sorted(requests.items())),
        read_units=sum(bill.read_units for bill in bills),
        written=dict(sorted(written.items())),
        sqs_requests=sum(bill.sqs_requests for bill in bills),
        s3_bytes=sum(bill.s3_bytes for bill in bills),
        rounds=_rounds(middle.calls),
    )


def _rounds(calls: Sequence[tuple[str, str]]) -> tuple[Round, ...]:
    """Find what went out together: calls of one kind in a row that were made by threads of a pool."""
    found = []
    main = threading.main_thread().name
    for (operation, is_pooled), group in itertools.groupby(
        ((operation, thread != main) for operation, thread in calls)
    ):
        made = len(list(group))
        most = PARALLEL_READS if operation.startswith("s3:") else PARALLEL_REQUESTS
        found.append(Round(operation, made, min(most, made) if is_pooled else 1))
    return tuple(found)


def _stored_bytes(item: Any) -> int:
    copies = (projected(item, index) for index in TABLE_SCHEMA.indexes)
    held = [item, *(copy for copy in copies if copy is not None)]
    return sum(item_size_bytes(each) + _ITEM_OVERHEAD_BYTES for each in held)


def whole(response: Response) -> bytes:
    """Give the body of an answer."""
    return response.body if isinstance(response.body, bytes) else b"".join(response.body)


def _read_whole(got: Callable[[], Response]) -> bytes:
    return whole(got())


def _clients_of(archive: Archive) -> list[object]:
    """Give the clients that an archive's adapters use, each once."""
    if not isinstance(archive.index, DynamoDbIndex):
        raise TypeError("not the archive of a table")
    clients: list[object] = [archive.index.table.client]
    storage = archive.storage
    inner = storage.store if isinstance(storage, CompressedStore) else storage
    for adapter in (inner, archive.cache, archive.queue):
        if not isinstance(adapter, S3Store | SqsQueue):
            raise TypeError("not the archive of buckets and queues")
        clients.append(adapter.client)
    return list({id(client): client for client in clients}.values())


# --- processor time -------------------------------------------------------------------------------


def measure_processor_ms(instances: int = INSTANCES) -> dict[str, float]:
    """Measure the processor time of an invocation of each, without what moto takes."""
    with _moto_time() as spent, _system() as system:
        asked = _Asked(system, instances=instances)
        size = INGEST_BATCH.messages
        own = asked.put([(f"main/{each.name}", each.content) for each in asked.main])
        for at in range(0, len(own), size):
            asked.archive.ingest.look_at(own[at : at + size])
        asked.put_others(0)

        def least(action: Callable[[], object]) -> float:
            action()
            times = []
            for _ in range(_REPEATS):
                spent.clear()
                started = time.process_time()
                action()
                times.append(time.process_time() - started - sum(spent))
            return round(1000 * min(times), 1)

        def look_at_new_keys() -> Callable[[], object]:
            """Give looks of which each is at keys that no other was."""
            named = (
                asked.put([(f"{number}/{e.name}", e.content) for e in asked.main[:size]])
                for number in range(_REPEATS + 1)
            )
            ready = iter(list(named))
            return lambda: asked.archive.ingest.look_at(next(ready))

        batch = own[:size]
        other = next(generated_study(series=1, instances=1, seed=2))
        mixed = [variant(other, 3000 + n, same_study=True) for n in range(size)]
        mixed_keys = asked.put([(f"mixed/{n}.dcm", e.content) for n, e in enumerate(mixed)])
        full = least(lambda: asked.archive.ingest.look_at(batch))
        measured = {
            names.INGEST: least(look_at_new_keys()),
            names.INGEST_CANONICAL: full,
            names.INGEST_SHORT: full,
            names.INGEST_SHORT_CANONICAL: full,
            names.INGEST_FULL: full,
            names.INGEST_ONE: least(lambda: asked.archive.ingest.look_at(batch[:1])),
            names.INGEST_MIXED: least(lambda: asked.archive.ingest.look_at(mixed_keys)),
            names.COMPACTION: least(asked.compact_series),
            names.STABILITY: least(asked.stabilise),
            names.SWEEP: least(asked.sweep),
            names.RECONCILE_OBJECTS: least(asked.compare_objects),
            names.RECONCILE_CANONICAL: least(asked.compare_objects),
            names.RECONCILE_ROWS: least(asked.compare_rows),
        }
        asked.compact_series()
        for name, _, got in asked.answers():
            measured[name] = least(partial(_read_whole, got))
    return measured


@contextmanager
def _moto_time() -> Iterator[list[float]]:
    """Note the processor seconds of each request that moto answers."""
    stubber = moto.core.botocore_stubber.BotocoreStubber
    original = stubber.__call__
    spent: list[float] = []

    def timed(self: Any, *args: Any, **kwargs: Any) -> Any:
        started = time.thread_time()
        try:
            return original(self, *args, **kwargs)
        finally:
            spent.append(time.thread_time() - started)

    with mock.patch.object(stubber, "__call__", timed):
        yield spent


def write_ledger(ledger: Ledger, path: Path = LEDGER_FILE) -> None:
    """Write a ledger as JSON."""
    path.write_text(json.dumps(asdict(ledger), indent=1, sort_keys=True) + "\n", encoding="utf-8")


def main() -> None:
    """Count and measure what is asked for, and write the package's file if asked to."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.ledger")
    parser.add_argument("--count", action="store_true", help="count operations anew")
    parser.add_argument("--processor", action="store_true", help="measure processor times anew")
    parser.add_argument("--template", action="store_true", help="count what a template watches")
    parser.add_argument("--update", action="store_true", help="write the package's file")
    parsed = parser.parse_args()
    ledger = names.read_ledger()
    ledger = replace(ledger, deployed=deployed_limits(ledger))
    if parsed.count:
        ledger = count_ledger(previous=ledger)
    if parsed.processor:
        ledger = with_processor_ms(ledger, measure_processor_ms())
    if parsed.template:
        alarms, dashboards = watched()
        deployed = replace(ledger.deployed, alarm_metrics=alarms, dashboards=dashboards)
        ledger = replace(ledger, deployed=deployed)
    if parsed.update:
        write_ledger(ledger)
    print(json.dumps(asdict(ledger), indent=1, sort_keys=True))


def with_processor_ms(ledger: Ledger, measured: dict[str, float]) -> Ledger:
    """Give a ledger with other processor times."""
    operations = {
        name: replace(each, processor_ms=measured[name]) for name, each in ledger.operations.items()
    }
    return replace(ledger, operations=operations)


if __name__ == "__main__":
    main()
