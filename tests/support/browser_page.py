"""Web pages run by a headless browser, which report what their scripts have found."""

from __future__ import annotations

import http.client
import json
import os
import queue
import shutil
import signal
import subprocess
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Final

from tests.support.serving import PATIENCE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_BROWSERS: Final = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")

FOREIGN_HOST: Final = "foreign.example"
"""A name that the browser takes for this machine, and nobody else does."""

_PAGE: Final = """<!doctype html><meta charset="utf-8"><title>a page</title><script type="module">
const report = (found) => fetch("/report", {method: "POST", body: JSON.stringify(found)});
try {
  await report(await (async () => {%s})());
} catch (error) {
  await report({error: String(error)});
}
</script>"""


def find_browser() -> str | None:
    """Give the path of a Chromium, if there is one."""
    return next((path for name in _BROWSERS if (path := shutil.which(name))), None)


def run_page(
    browser: str, script: str, *, host: str, profile: Path, rebound_to: int | None = None
) -> dict[str, Any]:
    """Give what a script returns that runs in a page of ``http://HOST``, on a port of its own.

    The script is the body of an async function; what it throws is given as ``error``. Where a port
    is given, all else that is asked of the page's origin is answered by the server there, as if the
    page's name led to it by now.
    """
    reports: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
    with _page_server(_PAGE % script, reports, rebound_to) as port:
        process = subprocess.Popen(
            [browser, *browser_options(profile), f"http://{host}:{port}/"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            return reports.get(timeout=PATIENCE_SECONDS)
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def browser_options(profile: Path) -> list[str]:
    """Give the options of a headless browser that keeps to this machine."""
    options = [
        "--headless=new",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--disable-background-networking",
        "--no-first-run",
        "--no-proxy-server",
        f"--host-resolver-rules=MAP {FOREIGN_HOST} 127.0.0.1",
        f"--user-data-dir={profile}",
    ]
    if os.geteuid() == 0:
        options.append("--no-sandbox")
    return options


class _PageServer(ThreadingHTTPServer):
    """Gives a page, takes its report, and passes on what else is asked of its origin."""

    def __init__(
        self, page: str, reports: queue.SimpleQueue[dict[str, Any]], rebound_to: int | None
    ) -> None:
        super().__init__(("127.0.0.1", 0), _PageHandler)
        self.page = page.encode()
        self.reports = reports
        self.rebound_to = rebound_to


class _PageHandler(BaseHTTPRequestHandler):
    server: _PageServer

    def do_GET(self) -> None:
        if self.path == "/":
            self._answer(200, self.server.page)
        else:
            self._pass_on()

    def do_POST(self) -> None:
        if self.path == "/report":
            length = int(self.headers["Content-Length"])
            self.server.reports.put(json.loads(self.rfile.read(length)))
            self._answer(200, b"")
        else:
            self._pass_on()

    def do_DELETE(self) -> None:
        self._pass_on()

    def _pass_on(self) -> None:
        """Let the other server answer the request as it was sent, its Host included."""
        if self.server.rebound_to is None:
            self._answer(404, b"")
            return
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        other = http.client.HTTPConnection("127.0.0.1", self.server.rebound_to)
        other.request(self.command, self.path, body, dict(self.headers.items()))
        answer = other.getresponse()
        content = answer.read()
        other.close()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("date", "server", "connection", "transfer-encoding"):
                self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nobody reads it."""


@contextmanager
def _page_server(
    page: str, reports: queue.SimpleQueue[dict[str, Any]], rebound_to: int | None
) -> Iterator[int]:
    with _PageServer(page, reports, rebound_to) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()
