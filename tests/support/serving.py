"""The command as a process of its own, and what a client sees of it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PATIENCE_SECONDS: Final = 60.0
"""After this long what is awaited does not come any more, however busy the machine."""

COMMAND: Final = (sys.executable, "-m", "dicomulus.cli.main")
_ADDRESS: Final = "DICOMweb: "


def environment(**variables: str) -> dict[str, str]:
    """Give the environment of a command: ours, with its settings replaced by these."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("DICOMULUS_")}
    return inherited | {"PYTHONUNBUFFERED": "1"} | variables


def run_command(*arguments: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    return subprocess.run(
        [*COMMAND, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_SECONDS * 2,
        env=environment(**variables),
    )


def eventually(condition: Callable[[], bool], what: str) -> None:
    """Wait until something holds; fail if it never does."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {PATIENCE_SECONDS:.0f} s")
        time.sleep(0.05)


@dataclass(frozen=True)
class Served:
    """A running server."""

    process: subprocess.Popen[str]
    base_url: str
    log: Path

    def get(self, path: str) -> bytes:
        """Get a resource below the base URL."""
        with urllib.request.urlopen(self.base_url + path, timeout=PATIENCE_SECONDS) as response:
            content: bytes = response.read()
            return content

    def search(self, path: str) -> list[dict[str, Any]]:
        """Get a search answer."""
        found: list[dict[str, Any]] = json.loads(self.get(path))
        return found

    def values(self, path: str, tag: str) -> set[Any]:
        """Give the first values of an attribute in a search answer."""
        return {match[tag]["Value"][0] for match in self.search(path)}

    def instances(self) -> set[str]:
        """Give the SOP Instance UIDs of all instances, found from study to series to instance."""
        studies = [f"/studies/{uid}" for uid in self.values("/studies", "0020000D")]
        series = [
            f"{study}/series/{uid}"
            for study in studies
            for uid in self.values(f"{study}/series", "0020000E")
        ]
        return {uid for each in series for uid in self.values(f"{each}/instances", "00080018")}

    @property
    def process_ids(self) -> set[int]:
        """The processes of the server that have not ended."""
        return processes_of_session(self.process.pid)

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send a signal to the first process; give its exit status."""
        self.process.send_signal(number)
        return self.process.wait(PATIENCE_SECONDS)


@contextmanager
def serving(*arguments: str | Path, log: Path, **variables: str) -> Iterator[Served]:
    """Run ``dicomulus serve`` on a free port; nothing of it is left afterwards."""
    with serving_at(0, *arguments, log=log, **variables) as served:
        yield served


@contextmanager
def serving_at(port: int, *arguments: str | Path, log: Path, **variables: str) -> Iterator[Served]:
    """Run ``dicomulus serve`` on a port; nothing of it is left afterwards."""
    with log.open("a") as errors:
        process = subprocess.Popen(
            [*COMMAND, "serve", *map(str, arguments), "--port", str(port)],
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env=environment(**variables),
            start_new_session=True,
        )
    try:
        yield Served(process, _address(process, log), log)
    finally:
        if process.poll() is None:
            process.terminate()
        process.wait(PATIENCE_SECONDS)
        if process.stdout is not None:
            process.stdout.close()
        eventually(lambda: not processes_of_session(process.pid), "all processes ended")


def processes_of_session(session_id: int) -> set[int]:
    """Give the processes of a session that still run; those ended but not reaped do not."""
    found = set()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(fields[3]) == session_id and fields[0] not in ("Z", "X"):
            found.add(int(entry.name))
    return found


def _address(process: subprocess.Popen[str], log: Path) -> str:
    if process.stdout is None:
        raise AssertionError("the server has no output")
    for line in process.stdout:
        if line.startswith(_ADDRESS):
            return line.removeprefix(_ADDRESS).strip()
    raise AssertionError(f"the server ended before it was ready: {log.read_text()}")
