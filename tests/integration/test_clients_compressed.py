"""What a bucket sends of a compressed object, every HTTP client that knows gzip gives as DICOM."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import threading
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Final

import httpx
import pytest
import requests
import urllib3

from tests.support.browser_page import find_browser, run_page
from tests.support.compressed import member_of
from tests.support.datasets import ct_instance

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CONTENT: Final = ct_instance(rows=256, columns=256, frames=4)
"""Half a megabyte, in several chunks."""


class Bucket(BaseHTTPRequestHandler):
    """Answers as S3 does to a presigned URL that says how its answer is encoded."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = member_of(CONTENT)
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Type", "application/dicom")
        self.send_header("Content-Encoding", "gzip")
        self.send_header("Access-Control-Allow-Origin", "*")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Bucket)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_libraries_of_python_decode_it(bucket: str) -> None:
    assert requests.get(bucket, timeout=60).content == CONTENT
    assert httpx.get(bucket, timeout=60).content == CONTENT
    assert urllib3.request("GET", bucket).data == CONTENT
    with requests.get(bucket, stream=True, timeout=60) as response:
        assert b"".join(response.iter_content(10_000)) == CONTENT


def test_curl_decodes_it_when_told_to(bucket: str) -> None:
    curl = shutil.which("curl")
    if curl is None:
        pytest.skip("curl is not on the PATH")
    told = subprocess.run([curl, "-sS", "--compressed", bucket], capture_output=True, check=True)
    assert told.stdout == CONTENT


def test_who_does_not_decode_gets_what_gunzip_does(bucket: str, tmp_path: Path) -> None:
    """Such clients do not say that they know gzip, and are not sent there."""
    with urllib.request.urlopen(bucket, timeout=60) as response:
        body = response.read()
    assert body != CONTENT
    file = tmp_path / "object.dcm.gz"
    file.write_bytes(body)
    subprocess.run(["gunzip", str(file)], check=True)
    assert (tmp_path / "object.dcm").read_bytes() == CONTENT


def test_node_decodes_it(bucket: str) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("Node is not on the PATH")
    program = f"""
        const body = Buffer.from(await (await fetch("{bucket}")).arrayBuffer());
        const {{ createHash }} = await import("node:crypto");
        console.log(createHash("sha256").update(body).digest("hex"));
    """
    told = subprocess.run(
        [node, "--input-type=module", "-e", program], capture_output=True, check=True, text=True
    )
    assert told.stdout.strip() == hashlib.sha256(CONTENT).hexdigest()


def test_chromium_decodes_it(bucket: str, tmp_path: Path) -> None:
    browser = find_browser()
    if browser is None:
        pytest.skip("no Chromium is on the PATH")
    script = f"""
        const body = await (await fetch("{bucket}")).arrayBuffer();
        const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", body));
        return {{digest: Array.from(digest, (each) => each.toString(16).padStart(2, "0")).join("")}};
    """
    told = run_page(browser, script, host="127.0.0.1", profile=tmp_path / "profile")
    assert told == {"digest": hashlib.sha256(CONTENT).hexdigest()}
