"""The tables of the documentation, made from a run's results."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from tests.benchmarks.aws_prices import (
    USD_PER_BYTE_OUT,
    USD_PER_GATEWAY_REQUEST,
    USD_PER_LAMBDA_GB_SECOND,
    USD_PER_LAMBDA_REQUEST,
    USD_PER_READ_UNIT,
    USD_PER_S3_REQUEST,
    USD_PER_SQS_REQUEST,
    USD_PER_WRITE_UNIT,
)
from tests.benchmarks.limits import (
    compared,
    is_busy,
    retrieval_verdicts,
    search_verdicts,
    verdicts,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence
    from pathlib import Path

    from tests.benchmarks.limits import Verdict
    from tests.benchmarks.results import Measurement, Results, RetrievalFigure, SearchFigure

_BLOCK: Final = re.compile(
    r"(<!-- figures: ([a-z-]+) -->\n).*?(<!-- end of figures -->)", re.DOTALL
)


def update_document(path: Path, results: Results, *, names: Collection[str] | None = None) -> None:
    """Write a run's figures into the marked places of a document, or into those with some names.

    Raises:
        ValueError: The document has a place for figures that do not exist, or lacks one.
    """
    text = path.read_text(encoding="utf-8")
    places = {found[2] for found in _BLOCK.finditer(text)}
    if places != set(SECTIONS):
        raise ValueError(f"{path} and the figures differ in {sorted(places ^ set(SECTIONS))}")

    def written(found: re.Match[str]) -> str:
        if names is not None and found[2] not in names:
            return found[0]
        return f"{found[1]}{SECTIONS[found[2]](results)}\n{found[3]}"

    path.write_text(_BLOCK.sub(written, text), encoding="utf-8")


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


# --- the run --------------------------------------------------------------------------------------


def _run(results: Results) -> str:
    machine, data = results.machine, results.data
    loads = [each.load for each in results.measurements]
    memory = int(machine["memory_bytes"]) / 2**30
    lines = [
        f"- {results.date}; {machine['processor']}, {machine['cores']} cores, {memory:.0f} GiB, {machine['system']}",
        f"- Python {machine['python']}, SQLite {machine['sqlite']}, zlib {machine['zlib']}",
        "- " + ", ".join(f"{name} {version}" for name, version in results.versions.items()),
        f"- studies of {data['series']} x {data['instances']} instances, {data['rows']}x{data['rows']} pixels",
    ]
    if loads:
        lines.append(
            f"- load average {data['load_before']} before, {min(loads):.1f} to {max(loads):.1f} "
            "during the run, its own servers and clients included"
        )
    if is_busy(results):
        lines.append(
            "- **others worked on this machine during the run: CPU times tell, medians less**"
        )
    lines += [f"- not measured: {what}: {why}" for what, why in results.skipped.items()]
    return "\n".join(lines)


def _limits(results: Results) -> str:
    elsewhere = [*search_verdicts(results), *retrieval_verdicts(results)]
    return _judged(each for each in verdicts(results) if each not in elsewhere)


def _judged(found: Iterable[Verdict]) -> str:
    return _table(
        ["promise", "limit", "measured", "kept"],
        (
            [each.promise, each.limit, each.measured, "yes" if each.is_kept else "**no**"]
            for each in found
        ),
    )


# --- answers --------------------------------------------------------------------------------------


def _answers(results: Results) -> str:
    sizes = {each.instances for each in results.measurements if each.part == "first"}
    shown = [
        each for each in results.measurements if each.part == "latency" and each.instances in sizes
    ]
    return _table(
        ["request", "server", "coding", "body", "median (min to max)", "CPU of the server"],
        _grouped(
            shown,
            lambda each: [
                each.peer,
                _coding(each),
                _size(each.body_bytes),
                _times(each),
                _ms(each.cpu_ms),
            ],
        ),
    )


def _ratios(results: Results) -> str:
    requests = dict.fromkeys(
        each.request for each in results.measurements if each.part == "latency"
    )
    pairs = (
        ("gzip", "Orthanc", "default"),
        ("identity", "Orthanc", "default"),
        ("gzip", "Orthanc", "gzip"),
        ("gzip", "nginx", "gzip"),
        ("identity", "nginx", "identity"),
    )
    rows = []
    for request in requests:
        cells = []
        for our_variant, peer, variant in pairs:
            ours = compared(results, request, "Dicomulus", our_variant)
            theirs = compared(results, request, peer, variant)
            cells.append(_ratio(ours, theirs))
        rows.append([request, *cells])
    heads = [
        "request",
        "Orthanc, both as they come",
        "Orthanc, both identity",
        "Orthanc, both gzip",
        "nginx, gzip",
        "nginx, identity",
    ]
    return _table(heads, (row for row in rows if any(row[1:])))


def _ratio(ours: Measurement | None, theirs: Measurement | None) -> str:
    if not (ours and theirs and ours.median_ms and theirs.median_ms):
        return ""
    times = theirs.median_ms / ours.median_ms
    cpu = theirs.cpu_ms / ours.cpu_ms if ours.cpu_ms and theirs.cpu_ms else 0.0
    return f"{_times_text(times)} (CPU {_times_text(cpu)})"


def _times_text(times: float) -> str:
    return f"{times:.0f}" if times >= 10 else f"{times:.1f}" if times >= 1 else f"{times:.2f}"


def _first(results: Results) -> str:
    return _table(
        ["request", "server", "coding", "median (min to max)"],
        _grouped(
            [each for each in results.measurements if each.part == "first"],
            lambda each: [each.peer, _coding(each), _times(each)],
        ),
    )


def _clients(results: Results) -> str:
    return _table(
        ["request", "server", "coding", "answers/s", "median", "CPU of the server"],
        _grouped(
            [each for each in results.measurements if each.part == "clients"],
            lambda each: [
                each.peer,
                _coding(each),
                _number(each.per_second),
                _ms(each.median_ms),
                _ms(each.cpu_ms),
            ],
        ),
    )


# --- the archive ----------------------------------------------------------------------------------


def _ingest(results: Results) -> str:
    return _table(
        ["images", "server", "how", "instances before", "added", "instances/s", "CPU an instance"],
        _grouped(
            [each for each in results.measurements if each.part == "ingest"],
            lambda each: [
                each.peer,
                each.variant,
                f"{each.instances:,}",
                f"{each.count:,}",
                _number(each.per_second),
                _ms(each.cpu_ms),
            ],
        ),
    )


def _memory(results: Results) -> str:
    return _table(
        ["when", "server", "instances", "processes", "resident", "with shared pages once"],
        _grouped(
            [each for each in results.measurements if each.part == "memory"],
            lambda each: [
                each.peer,
                f"{each.instances:,}",
                str(each.count),
                _size(each.resident_bytes),
                _size(each.proportional_bytes),
            ],
        ),
    )


def _growth(results: Results) -> str:
    shown = [
        each
        for each in results.measurements
        if each.part == "latency" and each.variant in ("identity", "default")
    ]
    sizes = sorted({each.instances for each in shown})
    rows = []
    keys = dict.fromkeys((each.request, each.peer) for each in shown if each.peer != "nginx")
    for request, peer in keys:
        by_size = {
            each.instances: each for each in shown if (each.request, each.peer) == (request, peer)
        }
        if len(by_size) < 2 and len(sizes) > 1:
            continue
        cells = [_with_cpu(by_size.get(size)) for size in sizes]
        rows.append([request, peer, *cells])
    return _table(["request", "server", *(f"{size:,}" for size in sizes)], rows)


def _with_cpu(each: Measurement | None) -> str:
    if each is None or each.median_ms is None or each.cpu_ms is None:
        return ""
    return f"{_short(each.median_ms)} (CPU {_short(each.cpu_ms)})"


# --- searches -------------------------------------------------------------------------------------


def _search_run(results: Results) -> str:
    if not results.searches:
        return ""
    machine, data = results.machine, results.data
    loads = [each.load for each in results.searches]
    software = f"Python {machine['python']}, SQLite {machine['sqlite']}"
    study, entry = data["study_item_bytes"], data["date_entry_bytes"]
    low, high = min(loads), max(loads)
    lines = [
        f"- {results.date}; {machine['processor']}, {machine['cores']} cores, {software}",
        f"- items of DynamoDB, on average: {study} bytes a study, {entry} its entry by date",
        f"- load average {data['load_before']} before, {low:.1f} to {high:.1f} during the run",
    ]
    if is_busy(results):
        lines.append(
            "- **others worked on this machine during the run: CPU times tell and are judged, "
            "medians less**"
        )
    return "\n".join(lines)


def _retrieval_run(results: Results) -> str:
    if not results.retrievals:
        return ""
    machine = results.machine
    software = f"Python {machine['python']}, SQLite {machine['sqlite']}"
    before = results.data["load_before"]
    low, high = (f(each.load for each in results.retrievals) for f in (min, max))
    lines = [
        f"- {results.date}; {machine['processor']}, {machine['cores']} cores, {software}",
        f"- load average {before} before, {low:.1f} to {high:.1f} during the run, its own included",
    ]
    if is_busy(results):
        lines.append("- **others worked on this machine during the run: times tell less**")
    return "\n".join(lines)


def _retrieval_limits(results: Results) -> str:
    return _judged(retrieval_verdicts(results))


def _retrieval_times(results: Results) -> str:
    by_subject: dict[str, list[RetrievalFigure]] = {}
    for each in results.retrievals:
        by_subject.setdefault(each.subject, []).append(each)
    heads = ["of", "asked", "size", "median (min to max)", "answers/s"]
    heads += ["CPU of the server", "reads of the object", "memory of the server"]
    return _table(
        heads,
        (
            ["" if at else subject, *_retrieval_cells(each)]
            for subject, of_subject in by_subject.items()
            for at, each in enumerate(of_subject)
        ),
    )


def _retrieval_cells(each: RetrievalFigure) -> list[str]:
    times = f"{_short(each.median_ms)} ms"
    if each.max_ms != each.min_ms:
        times = f"{_short(each.median_ms)} ({_short(each.min_ms)} to {_short(each.max_ms)}) ms"
    reads = "" if each.reads is None else f"{each.reads:,}: {_size(each.read_bytes)}"
    return [
        each.asked,
        _size(each.body_bytes),
        times,
        _number(each.per_second),
        _ms(each.cpu_ms),
        reads,
        "" if each.most_bytes is None else _size(each.most_bytes),
    ]


def _search_limits(results: Results) -> str:
    return _judged(search_verdicts(results))


def _search_times(results: Results) -> str:
    sizes = sorted({each.studies for each in results.searches})
    rows = [
        [question, _size(by_size[sizes[-1]].body_bytes), *(_search_cell(by_size[n]) for n in sizes)]
        for question, by_size in _by_question(results).items()
    ]
    return _table(["search", "body", *(f"{size:,} studies" for size in sizes)], rows)


def _search_cell(each: SearchFigure) -> str:
    refused = "" if each.status == 200 else f"**{each.status}** after "
    return f"{refused}{_short(each.median_ms)} (CPU {_short(each.cpu_ms)})"


def _search_costs(results: Results) -> str:
    sizes = sorted({each.studies for each in results.searches})
    heads = ["search", "results", "more", "reads, entries, studies"]
    heads += [f"read units, {size:,}" for size in sizes]
    rows = []
    for question, by_size in _by_question(results).items():
        each = by_size[sizes[-1]]
        rows.append(
            [
                question,
                f"{each.found:,}" if each.status == 200 else str(each.status),
                "yes" if each.has_next else "",
                _read(each),
                *(_units(by_size[size]) for size in sizes),
                "" if each.requests is None else f"{each.requests:,}",
                "" if each.usd_per_million is None else f"{each.usd_per_million:,.2f}",
            ]
        )
    return _table([*heads, "requests", "USD a million"], rows)


def _units(each: SearchFigure) -> str:
    return "" if each.read_units is None else f"{each.read_units:,.1f}".removesuffix(".0")


def _read(each: SearchFigure) -> str:
    counts = [part.partition("=")[2] for part in each.cost.split("; ")[:3]]
    return ", ".join(f"{int(count):,}" for count in counts if count)


def _by_question(results: Results) -> dict[str, dict[int, SearchFigure]]:
    found: dict[str, dict[int, SearchFigure]] = {}
    for each in results.searches:
        found.setdefault(each.question, {})[each.studies] = each
    return found


# --- AWS ------------------------------------------------------------------------------------------


def _aws(results: Results) -> str:
    return _table(
        [
            "operation",
            "a million of",
            "requests to AWS, each",
            "read units",
            "write units",
            "from S3",
            "answer",
            "USD a million",
            "data out, USD",
        ],
        (
            [
                each.operation,
                f"{each.per}s" if each.per != "series" else "series",
                ", ".join(
                    f"{_count(made)} {name.partition(':')[2]}"
                    for name, made in each.requests.items()
                    if _count(made) != "0"
                ),
                _count(each.read_units),
                _count(each.write_units),
                _size(round(each.read_bytes)) if each.read_bytes else "",
                _size(each.answer_bytes) if each.answer_bytes else "",
                f"{each.usd_per_million:.2f}",
                f"{each.usd_out_per_million:.2f}" if each.answer_bytes else "",
            ]
            for each in results.operations
        ),
    )


def _prices(_: Results) -> str:
    rows = [
        ["DynamoDB, read unit (4 KB, strong; half of it if not)", _per_million(USD_PER_READ_UNIT)],
        ["DynamoDB, write unit (1 KB)", _per_million(USD_PER_WRITE_UNIT)],
        ["S3, PUT or LIST", _per_million(USD_PER_S3_REQUEST["s3:PutObject"])],
        ["S3, GET or HEAD", _per_million(USD_PER_S3_REQUEST["s3:GetObject"])],
        ["SQS, request of up to 64 KB", _per_million(USD_PER_SQS_REQUEST)],
        ["Lambda, request", _per_million(USD_PER_LAMBDA_REQUEST)],
        ["API Gateway (REST), request", _per_million(USD_PER_GATEWAY_REQUEST)],
        ["Lambda, 100 ms of 1 GB, arm64", _per_million(USD_PER_LAMBDA_GB_SECOND / 10)],
        ["to the internet, 1 MB", _per_million(USD_PER_BYTE_OUT * 1e6)],
    ]
    return _table(["what", "USD a million"], rows)


def _per_million(usd: float) -> str:
    return f"{usd * 1e6:,.3f}"


def _count(number: float) -> str:
    return f"{number:.2f}".rstrip("0").rstrip(".")


# --- cells ----------------------------------------------------------------------------------------


def _grouped(
    measurements: Iterable[Measurement], cells: Callable[[Measurement], list[str]]
) -> list[list[str]]:
    """Give rows by request, whose name stands in the first row of each alone."""
    requests: dict[str, list[Measurement]] = {}
    for each in measurements:
        requests.setdefault(each.request, []).append(each)
    return [
        ["" if at else request, *cells(each)]
        for request, of_request in requests.items()
        for at, each in enumerate(of_request)
    ]


def _coding(each: Measurement) -> str:
    return "identity (its default)" if each.variant == "default" else each.variant


def _times(each: Measurement) -> str:
    if each.median_ms is None or each.min_ms is None or each.max_ms is None:
        return ""
    return f"{_short(each.median_ms)} ({_short(each.min_ms)} to {_short(each.max_ms)}) ms"


def _ms(value: float | None) -> str:
    return "" if value is None else f"{_short(value)} ms"


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f}"


def _size(value: int | None) -> str:
    if value is None:
        return ""
    if value >= 1_000_000:
        return f"{value / 1e6:.1f} MB"
    return f"{value / 1e3:.1f} kB" if value >= 1_000 else f"{value} B"


SECTIONS: Final[dict[str, Callable[[Results], str]]] = {
    "run": _run,
    "limits": _limits,
    "ratios": _ratios,
    "answers": _answers,
    "first": _first,
    "clients": _clients,
    "ingest": _ingest,
    "memory": _memory,
    "growth": _growth,
    "aws": _aws,
    "prices": _prices,
    "search-run": _search_run,
    "search-limits": _search_limits,
    "search-times": _search_times,
    "search-costs": _search_costs,
    "retrieval-run": _retrieval_run,
    "retrieval-limits": _retrieval_limits,
    "retrieval-times": _retrieval_times,
}
"""What stands between the marks of a document, by the mark's name."""

SEARCH_SECTIONS: Final = frozenset(name for name in SECTIONS if name.startswith("search-"))
"""Those that a run of searches alone has figures for."""

RETRIEVAL_SECTIONS: Final = frozenset(name for name in SECTIONS if name.startswith("retrieval-"))
"""Those that a run of retrieval alone has figures for."""
