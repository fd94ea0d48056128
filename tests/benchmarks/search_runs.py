"""Searches of archives of several sizes: how long they take, what they read and what that costs."""

from __future__ import annotations

import json
import statistics
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import dicomulus
from dicomulus.adapters.local.sqlite_index import SqliteIndex
from dicomulus.api.search import COST_HEADER, EXPLAIN_HEADER
from tests.benchmarks.http_client import Connection
from tests.benchmarks.interleaving import MAX_BURST, UnexpectedAnswerError
from tests.benchmarks.machine import load_average
from tests.benchmarks.results import SearchFigure
from tests.benchmarks.search_archive import INDEX_NAME, search_archive
from tests.benchmarks.search_prices import item_sizes, search_price
from tests.benchmarks.search_questions import QUESTIONS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.benchmarks.http_client import Answer
    from tests.benchmarks.peers import Dicomulus, Running
    from tests.benchmarks.results import Results
    from tests.benchmarks.search_prices import ItemSizes, SearchPrice
    from tests.benchmarks.search_questions import Question

_EXPLAIN: Final = {EXPLAIN_HEADER: "1"}
_ANSWERED: Final = frozenset({200, 413})
"""What a search may end with: a page, or the advice to narrow it."""

_SLOW_SECONDS: Final = 1.0
"""What takes longer is asked for once more, and not in several rounds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchPlan:
    """How much is measured."""

    sizes: tuple[int, ...] = (1_000, 100_000, 1_000_000)
    """Studies of the archives."""
    rounds: int = 5
    burst_seconds: float = 0.2


def measure_searches(
    plan: SearchPlan, results: Results, *, cache: Path, tell: Callable[[str], None]
) -> None:
    """Ask archives of all sizes everything, and add it to the results."""
    results.versions["Dicomulus"] = dicomulus.__version__
    item_bytes = item_sizes()
    results.data["study_item_bytes"] = round(item_bytes.study)
    results.data["date_entry_bytes"] = round(item_bytes.entries["by_date"])
    for size in plan.sizes:
        archive = search_archive(cache, size, tell=tell)
        prices = _prices(archive, item_bytes)
        tell(f"{size:,} studies: searching")
        with archive.serve() as running:
            running.settle()
            for figure in _Searches(plan, running, studies=size, prices=prices).figures():
                results.searches.append(figure)
                tell(_line(figure))


def _prices(archive: Dicomulus, sizes: ItemSizes) -> dict[str, SearchPrice | None]:
    with closing(SqliteIndex(archive.data / INDEX_NAME)) as index:
        return {each.name: search_price(index, each, sizes) for each in QUESTIONS}


class _Searches:
    def __init__(
        self,
        plan: SearchPlan,
        running: Running,
        *,
        studies: int,
        prices: dict[str, SearchPrice | None],
    ) -> None:
        self._plan = plan
        self._running = running
        self._studies = studies
        self._prices = prices

    def figures(self) -> list[SearchFigure]:
        """Ask everything in turns, in several rounds, over one connection."""
        with Connection(self._running.base_url) as connection:
            asked = [_Asked(connection, self._running, each) for each in QUESTIONS]
            for _ in range(self._plan.rounds):
                for each in asked:
                    each.take(self._plan.burst_seconds)
        return [each.figure(self._studies, self._prices[each.question.name]) for each in asked]


class _Asked:
    """One search, and its times so far."""

    def __init__(self, connection: Connection, running: Running, question: Question) -> None:
        self.question = question
        self._connection = connection
        self._running = running
        self._target = _target(connection, question)
        self._first = self._get()
        self._seconds: list[float] = []
        self._cpu_seconds = 0.0

    def take(self, burst_seconds: float) -> None:
        """Ask again and again; what is slow, once in all."""
        is_slow = self._first.seconds > _SLOW_SECONDS
        if is_slow and self._seconds:
            return
        count = 1 if is_slow else int(burst_seconds / self._first.seconds)
        count = max(1, min(MAX_BURST, count))
        if not is_slow:
            self._get()
        before = self._running.server.cpu_seconds()
        self._seconds += [self._connection.measure(self._target).seconds for _ in range(count)]
        self._cpu_seconds += self._running.server.cpu_seconds() - before

    def figure(self, studies: int, price: SearchPrice | None) -> SearchFigure:
        """Give what was measured."""
        first = self._first
        is_page = first.status == 200
        return SearchFigure(
            question=self.question.name,
            studies=studies,
            status=first.status,
            found=_found(first) if is_page else 0,
            has_next="link" in first.headers,
            cost=first.headers.get(COST_HEADER.lower(), ""),
            count=len(self._seconds),
            median_ms=statistics.median(self._seconds) * 1000,
            min_ms=min(self._seconds) * 1000,
            max_ms=max(self._seconds) * 1000,
            cpu_ms=self._cpu_seconds / len(self._seconds) * 1000,
            body_bytes=first.body_bytes,
            read_units=price.read_units if price and is_page else None,
            requests=price.requests if price and is_page else None,
            usd_per_million=price.usd_per_million if price and is_page else None,
            load=load_average(),
        )

    def _get(self) -> Answer:
        answer = self._connection.get(self._target, _EXPLAIN)
        if answer.status not in _ANSWERED:
            raise UnexpectedAnswerError(f"{answer.status} for {self._target}")
        return answer


def _target(connection: Connection, question: Question) -> str:
    """Give what to ask for: for a next page, what the first one's link names."""
    if not question.is_next_page:
        return question.target
    link = connection.get(question.target).headers["link"]
    url = urlsplit(link[1 : link.index(">")])
    return f"{question.path}?{url.query}"


def _found(answer: Answer) -> int:
    content = json.loads(answer.body)
    return int(content["count"]) if isinstance(content, dict) else len(content)


def _line(figure: SearchFigure) -> str:
    priced = "" if figure.read_units is None else f", {figure.read_units:,.1f} read units"
    return (
        f"  {figure.question}: {figure.status}, {figure.found:,} found, {figure.median_ms:.2f} ms "
        f"({figure.min_ms:.2f}-{figure.max_ms:.2f}), CPU {figure.cpu_ms:.2f} ms{priced} "
        f"[{figure.cost}] load {figure.load:.1f}"
    )
