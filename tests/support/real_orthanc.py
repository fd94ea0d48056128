"""A real Orthanc of this machine: one process over a folder, on a free port of loopback."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from tests.support.serving import PATIENCE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

PROGRAM: Final = shutil.which("Orthanc") or shutil.which("Orthanc", path="/usr/sbin")
"""Where it is installed; None if it is not."""

ABSENT: Final = "Orthanc is not installed (Debian's package orthanc has it)"
"""Why tests that need it are skipped."""

USER_NAME: Final = "importer"
PASSWORD: Final = "its password"

_OPTIONS: Final[Mapping[str, Any]] = {
    "Name": "Peer",
    "HttpBindAddresses": ["127.0.0.1"],
    "RemoteAccessAllowed": True,
    "AuthenticationEnabled": False,
    "DicomServerEnabled": False,
    "Plugins": [],
    "UserMetadata": {"my-note": 1030},
    "UserContentType": {"my-report": 1040},
    "StableAge": 1,
    "SyncStorageArea": False,
}


@dataclass(frozen=True, slots=True)
class RealOrthanc:
    """A running Orthanc."""

    url: str
    process: subprocess.Popen[bytes]
    log: Path


@contextmanager
def real_orthanc(folder: Path, **options: Any) -> Iterator[RealOrthanc]:
    """Run Orthanc over a folder, with options of its configuration; nothing runs on afterwards.

    Raises:
        AssertionError: It ends, or does not answer, instead of serving.
    """
    if PROGRAM is None:
        raise AssertionError(ABSENT)
    folder.mkdir(parents=True, exist_ok=True)
    port = _free_port()
    storage = os.fspath(folder / "storage")
    configuration = folder / "orthanc.json"
    configuration.write_text(
        json.dumps(
            {**_OPTIONS, "StorageDirectory": storage, "IndexDirectory": storage, "HttpPort": port}
            | options
        )
    )
    log = folder / "log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            [*_with_a_known_host_name(), PROGRAM, os.fspath(configuration)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    running = RealOrthanc(f"http://127.0.0.1:{port}", process, log)
    try:
        _wait_until_it_answers(running)
        yield running
    finally:
        _end(process)


def _with_a_known_host_name() -> tuple[str, ...]:
    """Give what a command begins with so that its host's name can be resolved.

    dcmtk resolves it for each UID that it makes, and waits five seconds for a name server where
    the hosts file does not have it.
    """
    try:
        socket.gethostbyname(socket.gethostname())
    except OSError:
        pass
    else:
        return ()
    prefix = ("unshare", "--uts", "sh", "-c", 'hostname localhost; exec "$@"', "sh")
    is_possible = (
        shutil.which("unshare") is not None
        and subprocess.run([*prefix, "true"], check=False, capture_output=True).returncode == 0
    )
    return prefix if is_possible else ()


def _wait_until_it_answers(running: RealOrthanc) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        if running.process.poll() is not None:
            break
        try:
            with urllib.request.urlopen(f"{running.url}/system", timeout=PATIENCE_SECONDS):
                return
        except urllib.error.HTTPError:
            # It asks who we are, so it answers.
            return
        except OSError:
            time.sleep(0.02)
    raise AssertionError(f"Orthanc does not serve: {running.log.read_text(errors='replace')}")


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
    try:
        process.wait(PATIENCE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port
