"""``dicomulus explain``: how a search is answered, and what it reads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from dicomulus.api.routes import answer
from dicomulus.api.search import COST_HEADER, EXPLAIN_HEADER, PLAN_HEADER
from dicomulus.cli.folders import require_index
from dicomulus.composition import local_archive
from dicomulus.errors import ConfigurationError, DicomulusError
from dicomulus.wire.message import Headers, Request, parse_query

if TYPE_CHECKING:
    from dicomulus.settings import Settings
    from dicomulus.wire.message import Response


def explain(settings: Settings, url: str) -> list[str]:
    """Run a search on a local archive, and tell its plan and its cost, by the line.

    Args:
        settings: The archive's.
        url: The search as a client sends it, with or without host and base path.

    Raises:
        ConfigurationError: The folder was never indexed, or the URL is no search that is answered.
    """
    require_index(Path(settings.source_folder), Path(settings.data_folder))
    try:
        response = answer(local_archive(settings), _request(settings, url))
    except DicomulusError as exc:
        raise ConfigurationError(f"no answer: {exc}") from exc
    if response.header(PLAN_HEADER) is None:
        raise ConfigurationError("that is no search")
    return _lines(response)


def _request(settings: Settings, url: str) -> Request:
    parts = urlsplit(url)
    path = "/" + parts.path.lstrip("/")
    if not path.startswith(settings.base_path + "/"):
        path = settings.base_path + path
    # The results are counted, so they come as JSON whatever the client takes.
    query = tuple(each for each in parse_query(parts.query) if each[0] != "accept")
    return Request("GET", path, query=query, headers=Headers.of({EXPLAIN_HEADER: "true"}))


def _lines(response: Response) -> list[str]:
    body = response.body if isinstance(response.body, bytes) else b"".join(response.body)
    lines = [
        f"Plan:     {response.header(PLAN_HEADER)}",
        f"Cost:     {response.header(COST_HEADER)}",
        f"Results:  {len(json.loads(body))}",
    ]
    total = response.header("X-Total-Count")
    if total is not None:
        lines.append(f"Matches:  {total}")
    warnings = (value for name, value in response.headers if name == "Warning")
    lines += [f"Warning:  {value.partition(': ')[2]}" for value in warnings]
    return lines
