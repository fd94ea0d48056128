"""From a run's results to the documentation."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest

from tests.benchmarks.charts import write_charts
from tests.benchmarks.limits import verdicts
from tests.benchmarks.results import (
    Measurement,
    OperationCost,
    Results,
    read_results,
    write_results,
)
from tests.benchmarks.tables import SECTIONS, update_document

if TYPE_CHECKING:
    from pathlib import Path

    from tests.benchmarks.results import Part

BASE = Measurement(
    part="latency",
    request="series metadata",
    peer="Dicomulus",
    variant="gzip",
    instances=18_000,
    count=100,
    median_ms=0.9,
    min_ms=0.6,
    max_ms=14.0,
    cpu_ms=0.8,
    body_bytes=138_786,
    load=1.5,
)


def ingest(peer: str, rate: float, *, before: int) -> Measurement:
    return Measurement(
        part="ingest",
        request="64x64",
        peer=peer,
        instances=before,
        count=1_800,
        per_second=rate,
        cpu_ms=1_000 / rate,
    )


def results(*measurements: Measurement) -> Results:
    return Results(
        date="2026-11-23",
        machine={
            "processor": "A processor",
            "cores": 2,
            "memory_bytes": 8 * 2**30,
            "system": "Linux",
            "python": "3.13.1",
            "sqlite": "3.50",
            "zlib": "1.3",
        },
        versions={"Dicomulus": "0.1.0"},
        data={"series": 4, "instances": 450, "rows": 64, "load_before": "0.50"},
        measurements=list(measurements),
    )


def full() -> Results:
    first: Part = "first"
    return results(
        ingest("Dicomulus", 1_600, before=0),
        ingest("Dicomulus", 1_500, before=16_200),
        ingest("Orthanc", 300, before=0),
        replace(BASE, part=first),
        BASE,
        replace(BASE, peer="Orthanc", variant="default", median_ms=63.0, cpu_ms=40.0),
        replace(BASE, peer="nginx", median_ms=0.3, cpu_ms=0.1),
        replace(BASE, request="series list", variant="identity"),
        replace(BASE, request="series list", variant="identity", instances=1_800),
        replace(BASE, request="series list", peer="Orthanc", variant="default"),
        replace(BASE, request="series list", peer="Orthanc", variant="default", instances=1_800),
    )


def verdict_of(promise: str, of: Results) -> bool:
    [found] = [each for each in verdicts(of) if each.promise.startswith(promise)]
    return found.is_kept


def test_results_are_read_as_they_were_written(tmp_path: Path) -> None:
    written = full()
    written.operations = [
        OperationCost(
            operation="frame",
            per="answer",
            requests={"s3:GetObject": 1.0},
            read_units=1.0,
            write_units=0.0,
            read_bytes=8192.0,
            answer_bytes=8347,
            usd_per_million=4.2,
            usd_out_per_million=0.75,
        )
    ]
    write_results(written, tmp_path / "build" / "results.json")
    assert read_results(tmp_path / "build" / "results.json") == written


@pytest.mark.parametrize(("median_ms", "is_kept"), [(2.0, True), (2.01, False)])
def test_an_answer_over_its_limit_breaks_the_promise(median_ms: float, is_kept: bool) -> None:
    run = full()
    run.measurements = [
        replace(each, median_ms=median_ms) if each == BASE else each for each in run.measurements
    ]
    assert verdict_of("series metadata, gzip: median", run) is is_kept


@pytest.mark.parametrize(("median_ms", "is_kept"), [(27.0, True), (26.9, False)])
def test_orthanc_must_take_thirty_times_as_long(median_ms: float, is_kept: bool) -> None:
    run = results(
        replace(BASE, part="first"),
        BASE,
        replace(BASE, peer="Orthanc", variant="default", median_ms=median_ms),
    )
    assert verdict_of("series metadata, both as they come", run) is is_kept


@pytest.mark.parametrize(("rate", "is_kept"), [(1_200, True), (1_199, False)])
def test_ingest_may_slow_down_by_a_fifth_as_the_archive_grows(rate: float, is_kept: bool) -> None:
    run = results(ingest("Dicomulus", 1_500, before=0), ingest("Dicomulus", rate, before=178_200))
    assert verdict_of("ingest up to 180,000 instances", run) is is_kept


def test_on_a_busy_machine_ingest_is_judged_by_cpu_time() -> None:
    slow = replace(ingest("Dicomulus", 500, before=178_200), cpu_ms=0.8)
    run = results(replace(ingest("Dicomulus", 1_500, before=0), cpu_ms=0.7), slow)
    assert verdict_of("ingest up to 180,000 instances", run) is False
    run.data["load_before"] = "3.10"
    assert verdict_of("ingest up to 180,000 instances", run) is True


def test_what_was_not_measured_is_not_judged() -> None:
    assert verdicts(results()) == []


def test_figures_stand_between_their_marks_and_nothing_else_changes(tmp_path: Path) -> None:
    document = tmp_path / "benchmarks.md"
    marks = "".join(
        f"\nbefore {name}\n\n<!-- figures: {name} -->\nof an earlier run\n<!-- end of figures -->\n"
        for name in SECTIONS
    )
    document.write_text(f"# Title\n{marks}\nend\n")
    update_document(document, full())
    text = document.read_text()
    assert "of an earlier run" not in text
    assert text.startswith("# Title\n\nbefore run\n\n<!-- figures: run -->\n- 2026-11-23; ")
    assert text.endswith("<!-- end of figures -->\n\nend\n")
    assert (
        "| series metadata | Dicomulus | gzip | 138.8 kB | 0.90 (0.60 to 14.0) ms | 0.80 ms |"
        in text
    )
    assert "| series metadata | 70 (CPU 50) |" in text
    update_document(document, full())
    assert document.read_text() == text


def test_a_document_without_a_place_for_some_figures_is_refused(tmp_path: Path) -> None:
    document = tmp_path / "benchmarks.md"
    document.write_text("<!-- figures: run -->\n<!-- end of figures -->\n")
    with pytest.raises(ValueError, match="limits"):
        update_document(document, full())


def test_every_row_of_a_table_has_a_cell_for_each_head() -> None:
    for name, section in SECTIONS.items():
        rows = [line.count("|") for line in section(full()).splitlines() if line.startswith("|")]
        assert len(set(rows)) <= 1, name


def test_charts_are_well_formed_and_show_each_server(tmp_path: Path) -> None:
    write_charts(full(), tmp_path)
    for name in ("bench-metadata.svg", "bench-growth.svg", "bench-ingest.svg"):
        text = " ".join(ET.parse(tmp_path / name).getroot().itertext())
        assert "Dicomulus" in text
        assert "Orthanc" in text
