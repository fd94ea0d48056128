"""Server processes on this machine: started, measured and ended by their ids."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.support.serving import processes_of_session

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

START_SECONDS: Final = 120.0
"""Time that a server has to answer, or to end."""

_CLOCK_TICKS: Final = os.sysconf("SC_CLK_TCK")
_CPUCLOCK_SCHED: Final = 2


class ServerError(Exception):
    """A server did not start, ended by itself or did not end when told."""


@dataclass(frozen=True, slots=True)
class ServerProcesses:
    """A server: its first process and all of that one's session."""

    process: subprocess.Popen[bytes]
    log: Path

    @property
    def ids(self) -> set[int]:
        """The processes that run now."""
        return processes_of_session(self.process.pid)

    def cpu_seconds(self) -> float:
        """CPU time, user and system, that the running processes have taken since they began."""
        return sum(cpu_seconds_of(process_id) for process_id in self.ids)

    def resident_bytes(self) -> int:
        """Resident size of all processes; what they share is counted once for each."""
        return sum(_status_bytes(process_id, "VmRSS") for process_id in self.ids)

    def proportional_bytes(self) -> int:
        """Resident size of all processes; what they share is divided among them."""
        return sum(_rollup_bytes(process_id, "Pss") for process_id in self.ids)

    def wait_until(self, answers: Callable[[], bool]) -> None:
        """Wait until the server answers.

        Raises:
            ServerError: It has ended, or does not answer in time.
        """
        deadline = time.monotonic() + START_SECONDS
        while not answers():
            if self.process.poll() is not None:
                raise ServerError(f"ended with {self.process.returncode}: {_tail(self.log)}")
            if time.monotonic() > deadline:
                raise ServerError(f"no answer in {START_SECONDS:.0f} s: {_tail(self.log)}")
            time.sleep(0.01)


@contextmanager
def running(
    command: Sequence[str | Path], *, log: Path, environment: Mapping[str, str] | None = None
) -> Iterator[ServerProcesses]:
    """Run a server in a session of its own; nothing of it is left afterwards."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            [os.fspath(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=environment,
            start_new_session=True,
        )
    server = ServerProcesses(process, log)
    try:
        yield server
    finally:
        _end(server)


def _end(server: ServerProcesses) -> None:
    if server.process.poll() is None:
        server.process.terminate()
    try:
        server.process.wait(START_SECONDS)
    except subprocess.TimeoutExpired:
        server.process.kill()
        server.process.wait()
    for process_id in server.ids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process_id, signal.SIGKILL)


def free_port() -> int:
    """Give a port of the loopback address that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def cpu_seconds_of(process_id: int) -> float:
    """CPU time of one process, threads that have ended included; 0 if it has ended."""
    try:
        # A process's CPU clock as the kernel numbers it counts nanoseconds, /proc only ticks.
        return time.clock_gettime((~process_id << 3) | _CPUCLOCK_SCHED)
    except OSError:
        return _cpu_seconds_by_ticks(process_id)


def _cpu_seconds_by_ticks(process_id: int) -> float:
    try:
        fields = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return (int(fields[11]) + int(fields[12])) / _CLOCK_TICKS


def _status_bytes(process_id: int, name: str) -> int:
    return _kilobytes(Path(f"/proc/{process_id}/status"), name)


def _rollup_bytes(process_id: int, name: str) -> int:
    return _kilobytes(Path(f"/proc/{process_id}/smaps_rollup"), name)


def _kilobytes(path: Path, name: str) -> int:
    try:
        lines = path.read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return 0
    for line in lines:
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    return 0


def _tail(log: Path) -> str:
    return log.read_text(errors="replace")[-2000:]
