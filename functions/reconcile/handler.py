"""Does one part of a run of the state machine that compares the storage area with the index."""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from dicomulus.adapters.aws import metrics as measured
from dicomulus.adapters.aws.function_log import function_log
from dicomulus.adapters.aws.function_metrics import FunctionMetrics
from dicomulus.adapters.aws.map_items import objects_of_items, part_name
from dicomulus.composition import aws_archive, clock_ms
from dicomulus.services.findings import Checked, Finding
from dicomulus.services.wishes import Cursor, Wishes, day_of, parse_cursor
from dicomulus.settings import Settings

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

    from dicomulus.services.run_reports import RunReport

ROWS_SECONDS: Final = 420
"""Time after which a walk of rows is handed to the next invocation. What is begun by then, eight
objects read whole, is done well before the function's time is over."""

logger = function_log()
metrics = FunctionMetrics()
settings = Settings.from_env()
archive = aws_archive(settings)


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Do what the event's task names."""
    asked = event.get("BatchInput", event)
    tasks = {"objects": objects, "derived": derived, "rows": rows, "report": report}
    answer: dict[str, Any] = tasks[asked["task"]](event, asked["wishes"])
    return answer


def objects(event: dict[str, Any], wishes: dict[str, Any]) -> dict[str, Any]:
    """Compare a batch of objects with their rows."""
    infos = objects_of_items(event["Items"], prefix=settings.storage_prefix)
    findings = archive.reconcile.compare_objects(infos, wishes_of(wishes))
    archive.run_reports.keep(wishes["run"], f"objects-{part_name(event['Items'])}", findings)
    return {}


def derived(event: dict[str, Any], wishes: dict[str, Any]) -> dict[str, Any]:
    """Compare a batch of what the cache bucket holds with what it was made of."""
    infos = objects_of_items(event["Items"])
    findings = archive.derived.compare(infos, wishes_of(wishes))
    archive.run_reports.keep(wishes["run"], f"derived-{part_name(event['Items'])}", findings)
    return {}


def rows(event: dict[str, Any], wishes: dict[str, Any]) -> dict[str, Any]:
    """Compare rows with their objects; the answer says where to go on, or nothing at the end."""
    begin = event["cursor"]["value"]
    findings, cursor = archive.reconcile.compare_rows(
        parse_cursor(begin) if begin else Cursor(),
        wishes_of(wishes),
        segment=event["segment"],
        segments=event["segments"],
        deadline_ms=clock_ms() + 1000 * ROWS_SECONDS,
    )
    part = f"rows-{event['segment']}-{part_name([{'Key': begin}])}"
    archive.run_reports.keep(wishes["run"], part, findings)
    return {"cursor": "" if cursor is None else str(cursor)}


@metrics.of_invocations
def report(event: dict[str, Any], wishes: dict[str, Any]) -> dict[str, Any]:
    """Put the report of the run together, measure it, and say where it is."""
    together = archive.run_reports.put_together(wishes["run"])
    failures = sorted({*event["maps"]["failures"], *partly_failed(event["maps"])})
    members = {**wishes, "incomplete": failures, **together.to_json()}
    key = archive.run_reports.write(wishes["run"], members)
    if wishes.get("repair", False):
        archive.damages.clear_gone()
    measure(together, failures=len(failures))
    counts = {kind.value: together.counts[kind] for kind in Finding}
    logger.info("run reported", extra={"report": key, "incomplete": failures, **counts})
    return {"report": key, "complete": not failures, "counts": counts}


def partly_failed(maps: dict[str, Any]) -> list[str]:
    """Name the maps that have gone on although some of their items failed."""
    written = {
        task: result["ResultWriterDetails"]["Key"]
        for task, result in maps.items()
        if isinstance(result, dict) and "ResultWriterDetails" in result
    }
    manifests = {task: json.loads(archive.cache.get(key).data) for task, key in written.items()}
    return [task for task, each in manifests.items() if each["ResultFiles"]["FAILED"]]


def wishes_of(wishes: dict[str, Any]) -> Wishes:
    """Give what a run is asked to do; its shares are those of the day it began."""
    started = datetime.fromisoformat(wishes["started"])
    return Wishes(
        repair=wishes["repair"],
        verify=wishes["verify"],
        days=wishes["verify_days"],
        day=day_of(started.timestamp()),
        # A run that a version before has started says nothing of it.
        compare_days=wishes.get("compare_days", 1),
    )


def measure(together: RunReport, *, failures: int) -> None:
    """Write the metrics of a run."""
    for metric, value in (
        (measured.OBJECTS_COMPARED, together.checked[Checked.OBJECTS]),
        (measured.OBJECTS_VERIFIED, together.checked[Checked.VERIFIED]),
        (measured.OBJECTS_DAMAGED, together.counts[Finding.DAMAGED]),
        (measured.RECONCILE_FAILURES, failures),
    ):
        metrics.add(metric, value)
    metrics.add_findings({kind.value: together.counts[kind] for kind in Finding})
