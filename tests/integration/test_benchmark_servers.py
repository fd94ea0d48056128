"""The benchmark's measurements, on servers that are nobody's peer."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.benchmarks.http_client import Connection
from tests.benchmarks.interleaving import Contender, UnexpectedAnswerError, time_in_turns
from tests.benchmarks.peers import answers
from tests.benchmarks.processes import ServerError, cpu_seconds_of, free_port, running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.benchmarks.processes import ServerProcesses


@contextmanager
def server(folder: Path) -> Iterator[tuple[str, ServerProcesses]]:
    port = str(free_port())
    options = ["--bind", "127.0.0.1", "--protocol", "HTTP/1.1", "--directory", str(folder)]
    command = [sys.executable, "-m", "http.server", port, *options]
    base_url = f"http://127.0.0.1:{port}"
    with running(command, log=folder / "log") as processes:
        processes.wait_until(lambda: answers(base_url, "/"))
        yield base_url, processes


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "small").write_bytes(b"s" * 10)
    (tmp_path / "large").write_bytes(b"l" * 500_000)
    return tmp_path


def test_contenders_are_asked_in_turns_and_each_has_figures_of_its_own(folder: Path) -> None:
    with server(folder) as (base_url, processes):
        contenders = [
            Contender(peer=path, variant="", server=processes, base_url=base_url, path=f"/{path}")
            for path in ("small", "large")
        ]
        small, large = time_in_turns(contenders, rounds=3, burst_seconds=0.01)
    asked = [
        line.split()[6].strip("/")
        for line in (folder / "log").read_text().splitlines()
        if "GET /small" in line or "GET /large" in line
    ]
    turns = [path for at, path in enumerate(asked) if at == 0 or asked[at - 1] != path]
    assert turns == ["small", "large"] * 4
    assert (small.body_bytes, large.body_bytes) == (10, 500_000)
    # Beside those that count, three make ready and one begins each turn.
    assert small.count + large.count == len(asked) - 2 * (3 + 3)
    for timing in (small, large):
        assert 0 < timing.min_ms <= timing.median_ms <= timing.max_ms
        assert timing.cpu_ms > 0


def test_an_answer_with_another_status_ends_the_measurement(folder: Path) -> None:
    with server(folder) as (base_url, processes):
        missing = Contender(
            peer="any", variant="", server=processes, base_url=base_url, path="/missing"
        )
        with pytest.raises(UnexpectedAnswerError, match="404 for /missing"):
            time_in_turns([missing], rounds=1, burst_seconds=0.01)


def test_a_server_is_measured_while_it_runs_and_gone_afterwards(folder: Path) -> None:
    with server(folder) as (base_url, processes):
        assert processes.ids == {processes.process.pid}
        before = processes.cpu_seconds()
        with Connection(base_url) as connection:
            for _ in range(50):
                connection.get("/large")
        assert processes.cpu_seconds() > before > 0
        assert processes.resident_bytes() > 1_000_000
        process_id = processes.process.pid
    assert processes.ids == set()
    assert cpu_seconds_of(process_id) == 0


def test_a_server_that_ends_at_once_is_told_with_what_it_said(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "raise SystemExit('no such port')"]
    with (
        running(command, log=tmp_path / "log") as processes,
        pytest.raises(ServerError, match="no such port"),
    ):
        processes.wait_until(lambda: False)
