"""Charts of a run as SVG: bars and lines over logarithmic scales."""

from __future__ import annotations

import math
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Final

from tests.benchmarks.limits import compared

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from tests.benchmarks.results import Results

OURS: Final = "#1565c0"
THEIRS: Final = "#c62828"
FLOOR: Final = "#90a4ae"

_WIDTH: Final = 960
_INK: Final = "#263238"
_FAINT: Final = "#eceff1"
_GREY: Final = "#546e7a"


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar of a chart; without a value it is a heading."""

    label: str
    value: float | None = None
    colour: str = OURS


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a chart, labelled at its last point."""

    label: str
    points: tuple[tuple[float, float], ...]
    colour: str
    dash: str = ""


def write_charts(results: Results, folder: Path) -> None:
    """Write the charts of the documentation."""
    charts = {
        "bench-metadata.svg": bar_chart(
            "Metadata of 450 and of 1,800 instances, warm, one client",
            _metadata_bars(results),
            "ms",
        ),
        "bench-growth.svg": line_chart(
            "Answers as the archive grows",
            list(_growth_lines(results)),
            x_label="instances in the archive",
            y_label="median, ms",
        ),
        "bench-ingest.svg": line_chart(
            "Ingest as the archive grows",
            list(_ingest_lines(results)),
            x_label="instances in the archive afterwards",
            y_label="instances/s",
        ),
    }
    for name, chart in charts.items():
        (folder / name).write_text(chart, encoding="utf-8")


def _metadata_bars(results: Results) -> list[Bar]:
    shown = (
        ("nginx, gzip, finished file", "nginx", "gzip", FLOOR),
        ("Dicomulus, not modified", "Dicomulus", "304", OURS),
        ("Dicomulus, gzip", "Dicomulus", "gzip", OURS),
        ("Dicomulus, zstd", "Dicomulus", "zstd", OURS),
        ("Dicomulus, identity", "Dicomulus", "identity", OURS),
        ("Orthanc, as it comes (identity)", "Orthanc", "default", THEIRS),
        ("Orthanc, gzip turned on", "Orthanc", "gzip", THEIRS),
    )
    bars = []
    for request in ("series metadata", "study metadata"):
        bars.append(Bar(request.capitalize()))
        for label, peer, variant, colour in shown:
            found = compared(results, request, peer, variant)
            if found is not None and found.median_ms is not None:
                bars.append(Bar(label, found.median_ms, colour))
    return bars


def _growth_lines(results: Results) -> Iterator[Line]:
    shown = (
        ("study list, limit=1", ""),
        ("series list", "2 5"),
        ("series metadata", "8 5"),
    )
    for request, dash in shown:
        for peer, variant, colour in (
            ("Orthanc", "default", THEIRS),
            ("Dicomulus", "gzip" if request == "series metadata" else "identity", OURS),
        ):
            found = results.of("latency", request, peer=peer, variant=variant)
            points = tuple((float(each.instances), each.median_ms or 0.0) for each in found)
            if points:
                yield Line(f"{peer}, {request}", points, colour, dash)


def _ingest_lines(results: Results) -> Iterator[Line]:
    for peer, label, colour in (
        ("Dicomulus", "Dicomulus, in place", OURS),
        ("Orthanc", "Orthanc, POST by 4 clients", THEIRS),
    ):
        found = results.of("ingest", "64x64", peer=peer)
        points = tuple(
            (float(each.instances + each.count), each.per_second or 0.0) for each in found
        )
        if points:
            yield Line(label, points, colour)


# --- bars -----------------------------------------------------------------------------------------

_BAR_PITCH: Final = 26
_BAR_LEFT: Final = 270
_BAR_RIGHT: Final = 860


def bar_chart(title: str, bars: Sequence[Bar], unit: str) -> str:
    """Draw horizontal bars over a logarithmic scale, each with its value."""
    values = [bar.value for bar in bars if bar.value]
    scale = _Scale.over(values, start=_BAR_LEFT, end=_BAR_RIGHT)
    bottom = 64 + _BAR_PITCH * len(bars)
    parts = [_text(24, 36, title, size=19, weight="bold")]
    for tick in scale.ticks:
        x = scale.at(tick)
        parts.append(_stroke(x, 56, x, bottom, _FAINT))
        parts.append(_text(x, bottom + 20, _tick(tick), anchor="middle", colour=_GREY))
    parts.append(
        _text(_BAR_LEFT - 40, bottom + 20, f"{unit}, logarithmic", anchor="end", colour=_GREY)
    )
    for number, bar in enumerate(bars):
        y = 60 + _BAR_PITCH * number
        if bar.value is None:
            parts.append(_text(24, y + 17, bar.label, weight="bold"))
            continue
        end = scale.at(bar.value)
        parts.append(_text(_BAR_LEFT - 10, y + 17, bar.label, anchor="end"))
        parts.append(
            f'<rect x="{_BAR_LEFT}" y="{y + 3}" width="{max(2.0, end - _BAR_LEFT):.1f}" '
            f'height="{_BAR_PITCH - 6}" rx="2" fill="{bar.colour}"/>'
        )
        parts.append(_text(end + 6, y + 17, f"{_value(bar.value)} {unit}"))
    return _svg(parts, bottom + 36, title)


# --- lines ----------------------------------------------------------------------------------------

_PLOT: Final = (80, 90, 640, 490)
"""Left, top, right and bottom of the plot; labels of lines stand on its right."""

_LABEL_PITCH: Final = 18


def line_chart(title: str, lines: Sequence[Line], *, x_label: str, y_label: str) -> str:
    """Draw lines over logarithmic scales, each with its name and last value at its end."""
    left, top, right, bottom = _PLOT
    across = _Scale.over([x for line in lines for x, _ in line.points], start=left, end=right)
    up = _Scale.over([y for line in lines for _, y in line.points], start=bottom, end=top)
    parts = [_text(24, 36, title, size=19, weight="bold")]
    for tick in across.ticks:
        x = across.at(tick)
        parts.append(_stroke(x, top, x, bottom, _FAINT))
        parts.append(_text(x, bottom + 20, _tick(tick), anchor="middle", colour=_GREY))
    for tick in up.ticks:
        y = up.at(tick)
        parts.append(_stroke(left, y, right, y, _FAINT))
        parts.append(_text(left - 8, y + 5, _tick(tick), anchor="end", colour=_GREY))
    parts.append(_text((left + right) / 2, bottom + 42, x_label, anchor="middle", colour=_GREY))
    parts.append(_text(left - 50, top - 14, f"{y_label} (both scales logarithmic)", colour=_GREY))
    for line in lines:
        parts.extend(_drawn(line, across, up))
    ends = _apart([up.at(line.points[-1][1]) for line in lines])
    for line, y in zip(lines, ends, strict=True):
        label = f"{line.label}: {_value(line.points[-1][1])}"
        parts.append(_text(right + 12, y + 5, label, size=14, colour=line.colour))
    return _svg(parts, bottom + 56, title)


def time_chart(title: str, lines: Sequence[Line], *, y_label: str) -> str:
    """Draw what changes with the seconds over even scales; labels tell the highest value."""
    left, top, right, bottom = _PLOT
    longest = max(x for line in lines for x, _ in line.points)
    highest = max(y for line in lines for _, y in line.points)
    steps = [_even_step(longest), _even_step(highest)]
    ends = [
        math.ceil(most / step) * step for most, step in zip((longest, highest), steps, strict=True)
    ]
    parts = [_text(24, 36, title, size=19, weight="bold")]
    for number in range(round(ends[0] / steps[0]) + 1):
        x = left + (right - left) * number * steps[0] / ends[0]
        parts.append(_stroke(x, top, x, bottom, _FAINT))
        parts.append(
            _text(x, bottom + 20, f"{number * steps[0]:,.0f}", anchor="middle", colour=_GREY)
        )
    for number in range(round(ends[1] / steps[1]) + 1):
        y = bottom - (bottom - top) * number * steps[1] / ends[1]
        parts.append(_stroke(left, y, right, y, _FAINT))
        parts.append(
            _text(left - 8, y + 5, f"{number * steps[1]:,.0f}", anchor="end", colour=_GREY)
        )
    parts.append(_text((left + right) / 2, bottom + 42, "seconds", anchor="middle", colour=_GREY))
    parts.append(_text(left - 50, top - 14, y_label, colour=_GREY))
    for number, line in enumerate(lines):
        path = " ".join(
            f"{left + (right - left) * x / ends[0]:.1f},{bottom - (bottom - top) * y / ends[1]:.1f}"
            for x, y in line.points
        )
        parts.append(
            f'<polyline points="{path}" fill="none" stroke="{line.colour}" stroke-width="2.5"/>'
        )
        label = f"{line.label}: {max(y for _, y in line.points):,.0f}"
        y = top + 12 + _LABEL_PITCH * number
        parts.append(_text(right + 12, y, label, size=14, colour=line.colour))
    return _svg(parts, bottom + 56, title)


def _even_step(most: float) -> float:
    """Give a step of 1, 2 or 5 times a power of ten, of which four to nine reach so far."""
    power = 10.0 ** math.floor(math.log10(max(most, 1.0)))
    return next(step * power / 10 for step in (1, 2, 5, 10, 20) if most / (step * power / 10) <= 9)


def _drawn(line: Line, across: _Scale, up: _Scale) -> Iterator[str]:
    places = [(across.at(x), up.at(y)) for x, y in line.points]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    dash = f' stroke-dasharray="{line.dash}"' if line.dash else ""
    yield f'<polyline points="{path}" fill="none" stroke="{line.colour}" stroke-width="2.5"{dash}/>'
    for x, y in places:
        yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{line.colour}"/>'


def _apart(places: Sequence[float]) -> list[float]:
    """Move places of labels down until none covers another; their order is kept."""
    moved = dict.fromkeys(range(len(places)), 0.0)
    last = -math.inf
    for number in sorted(moved, key=lambda number: places[number]):
        last = max(places[number], last + _LABEL_PITCH)
        moved[number] = last
    return [moved[number] for number in range(len(places))]


# --- scales and marks -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Scale:
    """A logarithmic scale over whole decades."""

    low: int
    """Exponent of ten at its start."""
    high: int
    start: float
    end: float

    @classmethod
    def over(cls, values: Iterable[float], *, start: float, end: float) -> _Scale:
        logarithms = [math.log10(value) for value in values if value > 0] or [0.0]
        low = math.floor(min(logarithms))
        return cls(low, max(low + 1, math.ceil(max(logarithms))), start, end)

    @property
    def ticks(self) -> list[float]:
        return [10.0**exponent for exponent in range(self.low, self.high + 1)]

    def at(self, value: float) -> float:
        logarithm = math.log10(value) if value > 0 else self.low
        share = (logarithm - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)


def _tick(value: float) -> str:
    return f"{value:,.0f}" if value >= 1 else f"{value:g}"


def _value(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _text(
    x: float,
    y: float,
    text: str,
    *,
    size: int = 15,
    anchor: str = "start",
    weight: str = "normal",
    colour: str = _INK,
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" '
        f'font-weight="{weight}" fill="{colour}">{escape(text)}</text>'
    )


def _stroke(x1: float, y1: float, x2: float, y2: float, colour: str) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}"/>'


def _svg(parts: Sequence[str], height: float, title: str) -> str:
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height:.0f}" '
        f'font-family="Helvetica, Arial, sans-serif" role="img" aria-label="{escape(title)}">'
    )
    ground = f'<rect width="{_WIDTH}" height="{height:.0f}" fill="#ffffff"/>'
    return "\n".join([head, *(f"  {part}" for part in [ground, *parts]), "</svg>", ""])
