"""What the functions measure of their work, as CloudWatch reads it from their logs (EMF)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from dicomulus.adapters.aws.metrics import (
    BYTES_INDEXED,
    COMPACTION_LAG,
    COMPACTIONS_OVERDUE,
    INSTANCES_INDEXED,
    MESSAGES_RETURNED,
    METRICS,
    NAMESPACE,
    OBJECTS_REJECTED,
    SERIES_COMPACTED,
)
from dicomulus.cli.emulate.event_source import Context
from tests.support.datasets import ct_instance
from tests.support.deployed import deployed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.deployed import Deployed


@pytest.fixture
def system() -> Iterator[Deployed]:
    """An empty deployment."""
    with deployed() as system:
        yield system


def measured(output: str) -> list[dict[str, Any]]:
    """Give what was measured, from what functions wrote."""
    lines = (json.loads(line) for line in output.splitlines() if line.startswith("{"))
    return [line for line in lines if "_aws" in line]


def sums(measurements: list[dict[str, Any]], **dimensions: str) -> dict[str, float]:
    """Add up each metric of these dimensions and no others."""
    found: dict[str, float] = {}
    for each in measurements:
        (directive,) = each["_aws"]["CloudWatchMetrics"]
        assert directive["Namespace"] == NAMESPACE
        (names,) = directive["Dimensions"]
        if {name: each[name] for name in names} == dimensions:
            for metric in directive["Metrics"]:
                value = each[metric["Name"]]
                total = sum(value) if isinstance(value, list) else value
                found[metric["Name"]] = found.get(metric["Name"], 0) + total
    return found


def test_what_is_ingested_and_rejected_is_counted(
    system: Deployed, capsys: pytest.CaptureFixture[str]
) -> None:
    content = ct_instance()
    system.put("a.dcm", content)
    system.put("b.dcm", b"no DICOM at all")
    system.settle()
    measurements = measured(capsys.readouterr().out)
    ingest = sums(measurements, service="dicomulus-ingest")
    assert ingest[INSTANCES_INDEXED.name] == 1
    assert ingest[BYTES_INDEXED.name] == len(content)
    assert ingest[OBJECTS_REJECTED.name] == 1
    assert ingest[MESSAGES_RETURNED.name] == 0
    reason = "no DICOM object"
    by_reason = sums(measurements, service="dicomulus-ingest", reason=reason)
    assert by_reason == {OBJECTS_REJECTED.name: 1}
    compact = sums(measurements, service="dicomulus-compact")
    assert compact[SERIES_COMPACTED.name] == 1
    assert 0 <= compact[COMPACTION_LAG.name] < 60


def test_messages_given_back_are_counted(
    system: Deployed, capsys: pytest.CaptureFixture[str]
) -> None:
    record = {"messageId": "0", "body": "?", "attributes": {}, "eventSource": "aws:sqs"}
    for name in ("ingest", "compact"):
        system.handler(name)({"Records": [record]}, Context(function_name=name))
        found = sums(measured(capsys.readouterr().out), service=f"dicomulus-{name}")
        assert found[MESSAGES_RETURNED.name] == 1


def test_a_sweep_that_finds_nothing_says_so(
    system: Deployed, capsys: pytest.CaptureFixture[str]
) -> None:
    system.handler("sweep")({}, Context(function_name="sweep"))
    found = sums(measured(capsys.readouterr().out), service="dicomulus-sweep")
    assert found == {COMPACTIONS_OVERDUE.name: 0}


def test_names_of_metrics_are_different() -> None:
    assert len({metric.name for metric in METRICS}) == len(METRICS)
