"""The servers that are compared: how each is run and filled."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import threading
import time
from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tests.benchmarks.http_client import Connection, ConnectionClosedError
from tests.benchmarks.interleaving import UnexpectedAnswerError
from tests.benchmarks.processes import ServerError, ServerProcesses, free_port, running
from tests.support.serving import COMMAND, environment

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from tests.benchmarks.debian import DebianRoot

UPLOADING_CLIENTS: Final = 4
"""Clients that upload at the same time; Orthanc takes more than with one."""

_QUIET_SHARE: Final = 0.05
"""Share of a core below which a server counts as idle."""

_SETTLE_SECONDS: Final = 180.0


@dataclass(frozen=True, slots=True)
class Running:
    """A server that answers."""

    base_url: str
    """Of the DICOMweb service, or of the folder of finished answers."""
    server: ServerProcesses

    def settle(self) -> None:
        """Wait until the server has nothing left to do, or for three minutes."""
        deadline = time.monotonic() + _SETTLE_SECONDS
        quiet = 0
        while quiet < 2 and time.monotonic() < deadline:
            before = self.server.cpu_seconds()
            time.sleep(0.5)
            is_quiet = self.server.cpu_seconds() - before < 0.5 * _QUIET_SHARE
            quiet = quiet + 1 if is_quiet else 0


@dataclass(frozen=True, slots=True)
class Ingested:
    """What filling an archive took."""

    instances: int
    seconds: float
    cpu_seconds: float


def answers(base_url: str, path: str) -> bool:
    """Tell whether a server answers a request at all."""
    with Connection(base_url) as connection:
        try:
            connection.measure(path)
        except (ConnectionClosedError, OSError):
            return False
    return True


# --- dicomulus -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Dicomulus:
    """This server, over a folder, with a data folder of its own."""

    source: Path
    data: Path
    port: int
    log: Path

    def index(self) -> Ingested:
        """Index what is new in the folder by ``dicomulus index``.

        Raises:
            ServerError: It failed.
        """
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        started = time.perf_counter()
        done = subprocess.run(
            [*COMMAND, "index", os.fspath(self.source), "--data-dir", os.fspath(self.data)],
            check=False,
            capture_output=True,
            text=True,
            env=environment(DICOMULUS_PORT=str(self.port)),
        )
        if done.returncode:
            raise ServerError(f"index ended with {done.returncode}: {done.stderr[-2000:]}")
        seconds = time.perf_counter() - started
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu_seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return Ingested(_indexed_count(done.stdout), seconds, cpu_seconds)

    @contextmanager
    def serve(self) -> Iterator[Running]:
        """Run ``dicomulus serve``."""
        command = [*COMMAND, "serve", os.fspath(self.source), "--data-dir", os.fspath(self.data)]
        base_url = f"http://127.0.0.1:{self.port}/dicom-web"
        with running(
            [*command, "--port", str(self.port)], log=self.log, environment=environment()
        ) as server:
            server.wait_until(lambda: answers(base_url, "/nothing"))
            yield Running(base_url, server)


def _indexed_count(summary: str) -> int:
    """Find the count in a summary such as "1,800 files: 1,800 indexed, 0 unchanged"."""
    words = summary.replace(",", "").split()
    return int(words[words.index("indexed") - 1])


# --- Orthanc -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Orthanc:
    """Orthanc with its DICOMweb plugin, all options at their defaults but those that it is told.

    It listens on the loopback address alone, and for HTTP alone.
    """

    root: DebianRoot
    folder: Path
    """Where its storage, index and log are."""
    is_compressing: bool = False
    """Whether it compresses its answers, which it does not by default."""

    @contextmanager
    def serve(self) -> Iterator[Running]:
        """Run it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        port = free_port()
        options = {
            "StorageDirectory": os.fspath(self.folder / "storage"),
            "IndexDirectory": os.fspath(self.folder / "storage"),
            "Plugins": ["/usr/share/orthanc/plugins/libOrthancDicomWeb.so"],
            "HttpPort": port,
            "HttpBindAddresses": ["127.0.0.1"],
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": False,
            "DicomServerEnabled": False,
        }
        if self.is_compressing:
            options["HttpCompressionEnabled"] = True
        configuration = self.folder / "orthanc.json"
        configuration.write_text(json.dumps(options))
        command = self.root.command("Orthanc", configuration)
        base_url = f"http://127.0.0.1:{port}/dicom-web"
        with running(command, log=self.folder / "log") as server:
            server.wait_until(lambda: answers(base_url, "/studies?limit=1"))
            yield Running(base_url, server)

    def copy_to(self, folder: Path) -> None:
        """Copy the archive, which must not be running."""
        shutil.copytree(self.folder / "storage", folder / "storage")


def upload(running_server: Running, files: Sequence[Path], *, seconds: float) -> Ingested:
    """Post files to Orthanc's REST interface, by four clients, until they are there or time is up.

    Raises:
        UnexpectedAnswerError: One was refused.
    """
    left = deque(files)
    refusals: list[int] = []
    deadline = time.monotonic() + seconds
    counts = [0] * UPLOADING_CLIENTS

    def client(number: int) -> None:
        with Connection(running_server.base_url.removesuffix("/dicom-web")) as connection:
            while time.monotonic() < deadline and not refusals:
                try:
                    path = left.popleft()
                except IndexError:
                    return
                answer = connection.send("POST", "/instances", body=path.read_bytes())
                if answer.status != 200:
                    refusals.append(answer.status)
                counts[number] += 1

    cpu_before = running_server.server.cpu_seconds()
    started = time.perf_counter()
    threads = [
        threading.Thread(target=client, args=(number,)) for number in range(UPLOADING_CLIENTS)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took = time.perf_counter() - started
    if refusals:
        raise UnexpectedAnswerError(f"Orthanc: {refusals[0]} for an upload")
    cpu_seconds = running_server.server.cpu_seconds() - cpu_before
    return Ingested(sum(counts), took, cpu_seconds)


# --- nginx ---------------------------------------------------------------------------------------

_NGINX: Final = """
daemon off;
user root;
worker_processes auto;
pid {folder}/nginx.pid;
error_log stderr;
events {{ }}
http {{
  access_log off;
  sendfile on;
  tcp_nopush on;
  keepalive_requests 1000000;
  default_type application/dicom+json;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  server {{
    listen 127.0.0.1:{port};
    root {folder}/answers;
    location /gzip/ {{ add_header Content-Encoding gzip; }}
    location /zstd/ {{ add_header Content-Encoding zstd; }}
  }}
}}
"""


@dataclass(frozen=True, slots=True)
class Nginx:
    """nginx over finished answers: what no server of ours can do better than."""

    root: DebianRoot
    folder: Path

    def keep(self, coding: str, name: str, *, body: bytes) -> None:
        """Keep a finished answer, to be given at ``/<coding>/<name>``."""
        path = self.folder / "answers" / coding / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)

    @contextmanager
    def serve(self) -> Iterator[Running]:
        """Run it."""
        (self.folder / "answers").mkdir(parents=True, exist_ok=True)
        port = free_port()
        configuration = self.folder / "nginx.conf"
        configuration.write_text(_NGINX.format(folder=self.folder, port=port))
        command = self.root.command("nginx", "-c", configuration)
        base_url = f"http://127.0.0.1:{port}"
        with running(command, log=self.folder / "log") as server:
            server.wait_until(lambda: answers(base_url, "/"))
            yield Running(base_url, server)


def etag_of(running_server: Running, path: str, headers: Mapping[str, str]) -> str:
    """Give the entity tag of an answer."""
    with Connection(running_server.base_url) as connection:
        return connection.get(path, headers).headers["etag"]
