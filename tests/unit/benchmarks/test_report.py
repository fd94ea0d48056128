"""From a run's results to the documentation."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest

from tests.benchmarks.charts import write_charts
from tests.benchmarks.limits import verdicts
from tests.benchmarks.results import (
    FIRST_BYTE,
    Measurement,
    OperationCost,
    Results,
    RetrievalFigure,
    SearchFigure,
    read_results,
    write_results,
)
from tests.benchmarks.search_questions import DESCRIPTIONS, KEYED, ONE_MATCH
from tests.benchmarks.tables import (
    RETRIEVAL_SECTIONS,
    SEARCH_SECTIONS,
    SECTIONS,
    update_document,
)

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


SEARCH = SearchFigure(
    question=KEYED[0].name,
    studies=100_000,
    status=200,
    found=5,
    has_next=False,
    cost="reads=2; entries=1005; studies=5; series=0; instances=0; units=5.2",
    count=900,
    median_ms=1.2,
    min_ms=0.9,
    max_ms=7.0,
    cpu_ms=0.8,
    body_bytes=3_901,
    read_units=7.0,
    requests=5,
    usd_per_million=4.58,
    load=0.9,
)
REFUSED = replace(
    SEARCH,
    question="OHIF, ModalitiesInStudy, no match",
    status=413,
    found=0,
    cost="",
    read_units=None,
    requests=None,
    usd_per_million=None,
)


RETRIEVAL = RetrievalFigure(
    subject="native: 2.00 GB",
    asked="any frame",
    count=200,
    body_bytes=524_288,
    median_ms=1.5,
    min_ms=1.1,
    max_ms=9.0,
    cpu_ms=1.2,
    reads=1,
    read_bytes=524_288,
    most_bytes=120_000_000,
    load=0.9,
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


def searched(*figures: SearchFigure) -> Results:
    run = results()
    run.searches = list(figures)
    run.data |= {"study_item_bytes": 530, "date_entry_bytes": 174}
    return run


def full() -> Results:
    first: Part = "first"
    run = results(
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
    of_searches = searched(SEARCH, REFUSED, larger(SEARCH), larger(REFUSED))
    run.searches = of_searches.searches
    run.retrievals = [RETRIEVAL, replace(RETRIEVAL, asked=FIRST_BYTE, reads=None, read_bytes=None)]
    run.data |= of_searches.data
    return run


def larger(figure: SearchFigure) -> SearchFigure:
    return replace(figure, studies=1_000_000)


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


@pytest.mark.parametrize(("median_ms", "is_kept"), [(10.0, True), (10.01, False)])
def test_a_search_with_an_access_path_has_ten_milliseconds(median_ms: float, is_kept: bool) -> None:
    run = searched(replace(SEARCH, median_ms=median_ms, cpu_ms=9.0))
    assert verdict_of("PatientID, among 100,000 studies", run) is is_kept
    run.data["load_before"] = "3.10"
    assert verdict_of("PatientID, among 100,000 studies", run) is True


@pytest.mark.parametrize(("median_ms", "is_kept"), [(300.0, True), (300.1, False)])
def test_a_text_within_has_three_hundred_milliseconds(median_ms: float, is_kept: bool) -> None:
    name = DESCRIPTIONS[1].name
    run = searched(replace(SEARCH, question=name, median_ms=median_ms))
    assert verdict_of(name, run) is is_kept


@pytest.mark.parametrize(
    ("status", "found", "is_kept"), [(200, 1, True), (200, 0, False), (413, 0, False)]
)
def test_the_only_match_among_a_million_must_be_on_the_first_page(
    status: int, found: int, is_kept: bool
) -> None:
    name = ONE_MATCH[0].name
    run = searched(replace(larger(SEARCH), question=name, status=status, found=found))
    assert verdict_of(name, run) is is_kept


@pytest.mark.parametrize(("reads", "is_kept"), [(2, True), (3, False)])
def test_a_larger_archive_must_not_be_read_more_often(reads: int, is_kept: bool) -> None:
    run = searched(SEARCH, replace(larger(SEARCH), cost=f"reads={reads}; entries=9"))
    assert verdict_of("PatientID: reads of the index", run) is is_kept


@pytest.mark.parametrize(
    ("figure", "promise", "is_kept"),
    [
        (replace(RETRIEVAL, most_bytes=199_999_999), "memory of the server", True),
        (replace(RETRIEVAL, most_bytes=200_000_000), "memory of the server", False),
        (replace(RETRIEVAL, asked=FIRST_BYTE, median_ms=50.0), "native: 2.00 GB: first byte", True),
        (
            replace(RETRIEVAL, asked=FIRST_BYTE, median_ms=50.1),
            "native: 2.00 GB: first byte",
            False,
        ),
        (replace(RETRIEVAL, per_second=1_000.0), "native: 2.00 GB, any frame", True),
        (replace(RETRIEVAL, per_second=999.0), "native: 2.00 GB, any frame", False),
    ],
)
def test_what_is_large_is_given_soon_and_in_little_memory(
    figure: RetrievalFigure, promise: str, is_kept: bool
) -> None:
    run = results()
    run.retrievals = [figure]
    assert verdict_of(promise, run) is is_kept


def test_a_run_of_retrieval_alone_leaves_all_other_figures(tmp_path: Path) -> None:
    document = tmp_path / "benchmarks.md"
    marks = "".join(
        f"\n<!-- figures: {name} -->\n{name} of an earlier run\n<!-- end of figures -->\n"
        for name in SECTIONS
    )
    document.write_text(marks)
    update_document(document, full(), names=RETRIEVAL_SECTIONS)
    kept = {name for name in SECTIONS if f"{name} of an earlier run" in document.read_text()}
    assert kept == set(SECTIONS) - RETRIEVAL_SECTIONS
    assert (
        "| native: 2.00 GB | any frame | 524.3 kB | 1.50 (1.10 to 9.00) ms |  | 1.20 ms "
        "| 1: 524.3 kB | 120.0 MB |"
    ) in document.read_text()


def test_a_run_of_searches_alone_leaves_all_other_figures(tmp_path: Path) -> None:
    document = tmp_path / "benchmarks.md"
    marks = "".join(
        f"\n<!-- figures: {name} -->\n{name} of an earlier run\n<!-- end of figures -->\n"
        for name in SECTIONS
    )
    document.write_text(marks)
    update_document(document, searched(SEARCH, REFUSED), names=SEARCH_SECTIONS)
    kept = {name for name in SECTIONS if f"{name} of an earlier run" in document.read_text()}
    assert kept == set(SECTIONS) - SEARCH_SECTIONS
    assert "| PatientID | 5 |  | 2, 1,005, 5 | 7 | 5 | 4.58 |" in document.read_text()
    assert "| **413** after 1.20 (CPU 0.80) |" in document.read_text()


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
