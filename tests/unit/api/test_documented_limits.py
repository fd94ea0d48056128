"""docs/deployment.md tells of every route what comes of an answer or a request that is too large."""

from __future__ import annotations

import re
from pathlib import Path

from dicomulus.adapters.aws.limits import (
    DELETE_SECONDS,
    FULL_SPEED_BYTES,
    MAX_SEARCH_PAGE_BYTES,
    MAX_STORE_BYTES,
    MAX_STREAM_BYTES,
)
from dicomulus.api.routes import ROUTES
from dicomulus.api.uploads import MAX_ANNOUNCED, MAX_ANNOUNCEMENT_BYTES

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "deployment.md"
ROUTE = re.compile(r"`(GET|POST|DELETE|OPTIONS) (/[^` ]*)`")


def section() -> str:
    text = DOCUMENT.read_text(encoding="utf-8")
    return text.split("## Limits of the way through the gateway")[1].split("\n## ")[0]


def told() -> list[tuple[str, str]]:
    """Give the routes of the first cells, in order."""
    rows = [line.split("|")[1] for line in section().splitlines() if line.startswith("| `")]
    return [(method, path) for cell in rows for method, path in ROUTE.findall(cell)]


def test_every_route_is_told_once() -> None:
    routes = [(route.method, route.template) for route in ROUTES]
    assert sorted(told()) == sorted(routes)


def test_the_limits_are_those_of_the_functions() -> None:
    text = section()
    for told_as, real in (
        ("| route | over 6 MB | over 150 MB |", (FULL_SPEED_BYTES >> 20, MAX_STREAM_BYTES / 1e6)),
        ("ends at 4 MB", (MAX_SEARCH_PAGE_BYTES / 1e6,)),
        ("a request over 4.4 MB", (MAX_STORE_BYTES / 1e6,)),
        ("413 over 1 MB: announce 1,000", (MAX_ANNOUNCEMENT_BYTES >> 20, MAX_ANNOUNCED)),
        ("longer than 20 s", (DELETE_SECONDS,)),
    ):
        assert told_as in text
        numbers = [float(n.replace(",", "")) for n in re.findall(r"\d[\d.,]*", told_as)]
        assert [n for n in numbers if n != 413] == list(real)
